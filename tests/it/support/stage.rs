//! A topic, simulated vendors and a configuration that joins them; and what every test asks of them afterwards.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use forebay::source::commit::{self, Contents, Place};
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::config::{Account, ConfigText, accounts, tenants};
use super::events::{Event, Kind};
use super::kafka::{Kafka, Record};
use super::metrics::{self, Sample};
use super::process::Forebay;
use super::vendors::{Vendors, counted};
use super::{eventually, unique};

/// Long enough for a first join on a busy machine.
pub(crate) const JOIN: Duration = Duration::from_mins(1);
/// Long enough for all that a test wants done, back-off included.
pub(crate) const WORK: Duration = Duration::from_secs(90);

/// Where a record lies.
pub(crate) type Spot = (i32, i64);

/// What a test plays on.
pub(crate) struct Stage<'a> {
    pub(crate) kafka: &'a Kafka,
    pub(crate) topic: String,
    pub(crate) vendors: Vendors,
    pub(crate) config: ConfigText,
    /// How long it waits for what it waits for.
    pub(crate) patience: Duration,
}

impl Stage<'static> {
    /// On the shared broker: so many tenants, each with an account at both vendors.
    pub(crate) fn new(name: &str, partitions: i32, tenant_count: usize) -> Self {
        Self::with(Kafka::shared(), name, partitions, &accounts(&tenants(tenant_count)))
    }

    /// On the shared broker, with these accounts and one partition.
    pub(crate) fn of(name: &str, accounts: &[Account]) -> Self {
        Self::with(Kafka::shared(), name, 1, accounts)
    }
}

impl<'a> Stage<'a> {
    /// On any broker. Without partitions the topic is not made.
    pub(crate) fn with(kafka: &'a Kafka, name: &str, partitions: i32, accounts: &[Account]) -> Self {
        let topic = unique(name);
        if partitions > 0 {
            kafka.create_topic(&topic, partitions, &[]);
        }
        let vendors = Vendors::start(accounts);
        let config = ConfigText::new(kafka, &topic, &vendors.url(), accounts);
        Self { kafka, topic, vendors, config, patience: WORK }
    }

    /// The same with another configuration.
    pub(crate) fn configured(self, change: impl FnOnce(ConfigText) -> ConfigText) -> Self {
        Self { config: change(self.config), ..self }
    }

    /// The same with more to wait for.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Writes events to the topic.
    pub(crate) fn produce(&self, events: &[Event]) {
        self.kafka.produce(&self.topic, events.iter().map(Event::message));
    }

    /// Waits until the group's commits stand at the topic's ends.
    pub(crate) fn wait_settled(&self) {
        self.kafka.wait_committed_to_end(&self.config.group(), &self.topic, self.patience);
    }

    /// The dead letters so far; none if their topic is not made yet.
    pub(crate) fn letters(&self) -> Vec<Record> {
        self.kafka.consume_all(&self.config.dead_letters())
    }

    /// What has not arrived yet, counted by account.
    pub(crate) fn missing(&self, events: &[Event]) -> BTreeMap<String, usize> {
        let sequences = self.vendors.sequences();
        let missing = |account: &Account| {
            let ids: HashSet<&String> = sequences.get(&account.name).into_iter().flatten().collect();
            let wanted = events.iter().filter(|event| event.tenant == account.tenant);
            (account.name.clone(), wanted.filter(|event| !ids.contains(&event.message_id)).count())
        };
        self.config.accounts().iter().map(missing).filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until each account has each message of its tenant, however often.
    pub(crate) fn wait_for_all(&self, events: &[Event]) {
        self.wait_for_all_but(&[], events);
    }

    /// The same, some accounts excepted.
    pub(crate) fn wait_for_all_but(&self, excepted: &[&str], events: &[Event]) {
        eventually(self.patience, "every message arrives", || {
            let mut missing = self.missing(events);
            missing.retain(|account, _| !excepted.contains(&account.as_str()));
            if missing.is_empty() { Ok(()) } else { Err(format!("missing by account: {missing:?}")) }
        });
    }

    /// Each account has each message of its tenant exactly once.
    pub(crate) fn assert_each_once(&self, events: &[Event]) {
        let names: Vec<&str> = self.config.accounts().iter().map(|account| account.name.as_str()).collect();
        self.assert_each_once_at(&names, events);
    }

    /// The same for some accounts.
    pub(crate) fn assert_each_once_at(&self, accounts: &[&str], events: &[Event]) {
        let mut sequences = self.vendors.sequences();
        for account in self.config.accounts().iter().filter(|account| accounts.contains(&account.name.as_str())) {
            let ids = counted(&sequences.remove(&account.name).unwrap_or_default());
            for event in events.iter().filter(|event| event.tenant == account.tenant) {
                assert_eq!(ids.get(&event.message_id), Some(&1), "{} at {}", event.message_id, account.name);
            }
        }
    }

    /// At each account, what changes a user's state arrived in order, and nothing of the user's before what precedes it.
    /// Of what was repeated both hold: that it arrived in order at first, and that it did at last.
    pub(crate) fn assert_order(&self, events: &[Event]) {
        let mut sequences = self.vendors.sequences();
        for account in self.config.accounts() {
            let sequence = sequences.remove(&account.name).unwrap_or_default();
            let mut places: Vec<(&str, usize)> =
                sequence.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
            let last: HashMap<&str, usize> = places.iter().copied().collect();
            places.reverse();
            let first: HashMap<&str, usize> = places.into_iter().collect();
            for position in [first, last] {
                let of = events.iter().filter(|event| event.tenant == account.tenant);
                assert_in_order(&account.name, of, &position);
            }
        }
    }

    /// Waits until an account has taken so many different messages.
    pub(crate) fn wait_accepted(&self, account: &str, count: u64) {
        eventually(self.patience, &format!("{account} takes {count}"), || {
            match self.vendors.report().account(account).map_or(0, |report| report.distinct_ids) {
                accepted if accepted >= count => Ok(()),
                accepted => Err(accepted.to_string()),
            }
        });
    }

    /// Messages that some account got more than once.
    pub(crate) fn repeated(&self) -> BTreeSet<String> {
        let ids = self.vendors.sequences().into_values().flat_map(|sequence| counted(&sequence));
        ids.filter(|(_, count)| *count > 1).map(|(id, _)| id).collect()
    }

    /// What the group's commits say of each partition, beside its end.
    fn commits(&self) -> Vec<(i32, i64, Contents)> {
        let group = self.config.group();
        let consumer: BaseConsumer = self.kafka.client().set("group.id", &group).create().expect("a consumer");
        let cluster = consumer.client().fetch_cluster_id(JOIN).expect("the cluster's id");
        let committed = self.kafka.committed(&group, &self.topic);
        let contents = |(partition, end)| {
            let commit = committed.get(&partition);
            let offset = commit.map_or(0, |commit| commit.offset);
            let place = Place { cluster: &cluster, topic: &self.topic, partition };
            let contents = commit.and_then(|commit| commit::decode(commit.metadata.as_bytes(), place, offset).ok());
            (partition, end, contents.unwrap_or_else(|| Contents { window: offset, ..Contents::default() }))
        };
        self.kafka.end_offsets(&self.topic).into_iter().map(contents).collect()
    }

    /// Waits until the commits say that all is settled for the accounts that are not deferred.
    pub(crate) fn wait_window_at_end(&self) {
        eventually(self.patience, "what passed is committed", || {
            let behind: Vec<_> =
                self.commits().into_iter().filter(|(_, end, contents)| contents.window < *end).collect();
            if behind.is_empty() { Ok(()) } else { Err(format!("{behind:?}")) }
        });
    }

    /// What the group's commits leave to be read again: everything that they do not call settled.
    pub(crate) fn unsettled(&self) -> BTreeSet<Spot> {
        let mut unsettled = BTreeSet::new();
        for (partition, end, Contents { window, settled, entries, .. }) in self.commits() {
            let by_entry = |at: &i64| entries.iter().any(|entry| *at >= entry.next || entry.holes.contains(at));
            let by_window = |at: &i64| *at >= window && !settled.iter().any(|range| range.contains(at));
            unsettled.extend((0..end).filter(|at| by_window(at) || by_entry(at)).map(|at| (partition, at)));
        }
        unsettled
    }

    /// What the group's commits leave to be read again for one account: by its entry, or if it has none by the window.
    pub(crate) fn unsettled_for(&self, account: &str) -> BTreeSet<Spot> {
        let mut unsettled = BTreeSet::new();
        for (partition, end, Contents { window, settled, entries, .. }) in self.commits() {
            let entry = entries.iter().find(|entry| entry.account == commit::hash(account));
            let is_settled = |at: i64| match entry {
                Some(entry) => at < entry.next && !entry.holes.contains(&at),
                None => at < window || settled.iter().any(|range| range.contains(&at)),
            };
            unsettled.extend((0..end).filter(|at| !is_settled(*at)).map(|at| (partition, at)));
        }
        unsettled
    }

    /// Where each message lies.
    pub(crate) fn spots(&self) -> BTreeMap<String, Spot> {
        let records = self.kafka.consume_all(&self.topic);
        let spot = |record: Record| {
            let json: serde_json::Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
            Some((json["messageId"].as_str()?.to_owned(), (record.partition, record.offset)))
        };
        records.into_iter().filter_map(spot).collect()
    }
}

fn assert_in_order<'e>(account: &str, events: impl Iterator<Item = &'e Event>, position: &HashMap<&str, usize>) {
    let mut last_change: HashMap<&str, usize> = HashMap::new();
    for event in events {
        let (id, user) = (event.message_id.as_str(), event.user_id.as_str());
        let at = position[id];
        let last = last_change.get(user);
        assert!(last.is_none_or(|last| *last < at), "{id} overtook a state call of {user} at {account}");
        if event.kind == Kind::Identify {
            last_change.insert(user, at);
        }
    }
}

/// One account of `/accounts`.
pub(crate) fn account(forebay: &mut Forebay, name: &str) -> serde_json::Value {
    let accounts = forebay.accounts();
    let found = accounts.as_array().and_then(|all| all.iter().find(|account| account["account"] == name));
    found.unwrap_or_else(|| panic!("no account {name} in {accounts}")).clone()
}

/// Waits until an account is in this health.
pub(crate) fn wait_health(forebay: &mut Forebay, name: &str, health: &str) -> serde_json::Value {
    eventually(WORK, &format!("{name} is {health}"), || {
        let account = account(forebay, name);
        if account["health"] == health { Ok(account) } else { Err(account.to_string()) }
    })
}

/// The books of one scrape balance: each partition's and each account's.
pub(crate) fn assert_books(forebay: &mut Forebay) {
    let samples = forebay.metrics();
    let of = |name: &str, key: &Sample| {
        let labels: Vec<(&str, &str)> =
            key.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        metrics::sum(&samples, name, &labels).unwrap_or(0.0)
    };
    let mut met = 0;
    for key in samples.iter().filter(|sample| sample.name == "forebay_events_received_total") {
        let ends = ["forebay_events_settled_total", "forebay_events_released_total", "forebay_events_in_flight"];
        let sum: f64 = ends.iter().map(|name| of(name, key)).sum();
        assert!((key.value - sum).abs() < 0.5, "{:?}: received {}, accounted {sum}", key.labels, key.value);
        met += 1;
    }
    for key in samples.iter().filter(|sample| sample.name == "forebay_calls_owed_total") {
        let ends = ["delivered_total", "dead_lettered_total", "skipped_total", "released_total", "in_flight"];
        let sum: f64 = ends.iter().map(|name| of(&format!("forebay_calls_{name}"), key)).sum();
        assert!((key.value - sum).abs() < 0.5, "{:?}: owed {}, accounted {sum}", key.labels, key.value);
        met += 1;
    }
    assert!(met >= 2, "partitions and accounts are there");
    for zero in ["forebay_books_imbalance_total", "forebay_calls_dropped_unsettled_total"] {
        assert_eq!(metrics::sum(&samples, zero, &[]), Some(0.0), "{zero}");
    }
}
