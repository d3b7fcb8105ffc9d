//! Logs that are not a plain row of records: compacted, transactional, cut, widened, made again.
//!
//! Each time what is there is forwarded, what is not is not waited for, and what is gone is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::config::{Account, ConfigText, Vendor};
use crate::support::events::{Event, Events};
use crate::support::kafka::{Kafka, Message};
use crate::support::process::{Forebay, Setup};
use crate::support::vendors::Vendors;
use crate::support::{eventually, unique};

const JOIN: Duration = Duration::from_mins(1);
const WORK: Duration = Duration::from_mins(1);

/// One account behind one topic.
struct Stage {
    kafka: &'static Kafka,
    topic: String,
    vendors: Vendors,
    config: ConfigText,
    setup: Setup,
    account: String,
    tenants: Vec<String>,
}

impl Stage {
    fn new(name: &str, partitions: i32, topic_config: &[(&str, &str)], sections: &str) -> Self {
        let kafka = Kafka::shared();
        let topic = unique(name);
        kafka.create_topic(&topic, partitions, topic_config);
        let account = Account::new("acme", Vendor::Moengage { data_center: "01", workspace: "WSACME".to_owned() });
        let accounts = [account];
        let vendors = Vendors::start(&accounts);
        let config = ConfigText::new(kafka, &topic, &vendors.url(), &accounts).section(sections);
        let setup = config.setup();
        let [Account { name: account, tenant, .. }] = accounts;
        Self { kafka, topic, vendors, config, setup, account, tenants: vec![tenant] }
    }

    fn events(&self, seed: u64, count: usize) -> Vec<Event> {
        Events::new(seed, &self.tenants).sizes(330..=400).take(count).collect()
    }

    fn produce(&self, events: &[Event], partition: i32) {
        self.kafka.produce(&self.topic, events.iter().map(|event| event.message().partition(partition)));
    }

    fn start(&self) -> Forebay {
        let mut forebay = self.setup.start();
        forebay.wait_ready(JOIN);
        forebay
    }

    fn wait_committed(&self) {
        self.kafka.wait_committed_to_end(&self.config.group(), &self.topic, WORK);
    }

    /// Waits until all of these were accepted.
    fn wait_for(&self, events: &[Event]) {
        eventually(WORK, "every message arrives", || {
            let ids = self.vendors.ids(&self.account);
            let missing = events.iter().filter(|event| !ids.contains_key(&event.message_id)).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} are missing", events.len())) }
        });
    }

    /// How often each was accepted.
    fn counts(&self, events: &[Event]) -> BTreeMap<usize, usize> {
        let ids = self.vendors.ids(&self.account);
        let mut counts = BTreeMap::new();
        for event in events {
            *counts.entry(ids.get(&event.message_id).copied().unwrap_or_default()).or_default() += 1;
        }
        counts
    }

    fn stop(forebay: &mut Forebay) {
        assert_eq!(forebay.metric("forebay_books_imbalance_total", &[]), Some(0.0));
        forebay.sigterm();
        assert_eq!(forebay.wait(JOIN), Some(0));
    }
}

#[test]
fn a_compacted_topic_has_holes_that_nothing_waits_for() {
    let compacted = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("max.compaction.lag.ms", "100"),
    ];
    let stage = Stage::new("compacted", 1, &compacted, "");
    let events = stage.events(1, 400);
    // Twenty keys: nearly all records will be gone. A record after the segment's end closes the segment.
    let keyed = |(index, event): (usize, &Event)| event.message().key(format!("k{}", index % 20)).partition(0);
    stage.kafka.produce(&stage.topic, events.iter().enumerate().map(keyed));
    let left = eventually(WORK, "the log is compacted", || {
        stage.kafka.produce(&stage.topic, [Message::tombstone().key("closes the segment").partition(0)]);
        let left = stage.kafka.consume_all(&stage.topic);
        if left.len() < 200 { Ok(left) } else { Err(format!("{} records", left.len())) }
    });
    let mut forebay = stage.start();
    stage.wait_committed();
    let value = |event: &&Event| left.iter().any(|record| record.value.as_deref() == Some(event.json.as_bytes()));
    let there: Vec<Event> = events.iter().filter(value).cloned().collect();
    assert!(there.len() >= 20, "{} events are left", there.len());
    assert_eq!(stage.counts(&there), [(1, there.len())].into());
    Stage::stop(&mut forebay);
}

#[test]
fn aborted_transactions_are_not_forwarded_and_control_records_hold_nothing_up() {
    let stage = Stage::new("transactions", 1, &[], "");
    let events = stage.events(1, 400);
    let producer: BaseProducer =
        stage.kafka.client().set("transactional.id", unique("transactions")).create().expect("a producer");
    producer.init_transactions(WORK).expect("transactions");
    for (number, part) in events.chunks(50).enumerate() {
        producer.begin_transaction().expect("a transaction");
        for event in part {
            let headers = rdkafka::message::OwnedHeaders::new()
                .insert(rdkafka::message::Header { key: "tenant", value: Some(&event.tenant) });
            let record = BaseRecord::to(&stage.topic).key(&event.user_id).payload(&event.json).headers(headers);
            producer.send(record.partition(0)).map_err(|(error, _)| error).expect("a record is sent");
        }
        // Also aborted after its records were written, not only before.
        producer.flush(WORK).expect("records are written");
        if number % 2 == 0 {
            producer.commit_transaction(WORK).expect("a commit");
        } else {
            producer.abort_transaction(WORK).expect("an abort");
        }
    }
    let mut forebay = stage.start();
    let (good, bad): (Vec<_>, Vec<_>) = events.chunks(50).enumerate().partition(|(number, _)| number % 2 == 0);
    let of = |parts: Vec<(usize, &[Event])>| parts.iter().flat_map(|(_, part)| part.to_vec()).collect::<Vec<_>>();
    let (good, bad) = (of(good), of(bad));
    stage.wait_for(&good);
    // The last transaction was aborted: what lies behind it is known to be passed when a record follows.
    let last = stage.events(2, 1);
    stage.produce(&last, 0);
    stage.wait_committed();
    assert_eq!(stage.counts(&good), [(1, good.len())].into());
    assert_eq!(stage.counts(&bad), [(0, bad.len())].into());
    Stage::stop(&mut forebay);
}

#[test]
fn a_topic_made_again_while_stopped_is_read_from_its_beginning() {
    let stage = Stage::new("made-again", 1, &[], "");
    let (old, new) = (stage.events(1, 100), stage.events(2, 300));
    stage.produce(&old, 0);
    let mut forebay = stage.start();
    stage.wait_committed();
    Stage::stop(&mut forebay);

    stage.kafka.delete_topic(&stage.topic);
    stage.kafka.create_topic(&stage.topic, 1, &[]);
    stage.produce(&new, 0);
    let mut forebay = stage.start();
    stage.wait_committed();
    assert_eq!(stage.counts(&new), [(1, new.len())].into());
    Stage::stop(&mut forebay);
}

#[test]
fn a_topic_made_again_while_running_loses_nothing() {
    // Whether the change is seen before, or only because reading fails.
    for (count, refresh) in [(50, "500"), (300, "500"), (50, "60000"), (300, "60000")] {
        let mut stage = Stage::new("made-again", 1, &[], "");
        stage.config = stage.config.property("topic.metadata.refresh.interval.ms", refresh);
        stage.setup = stage.config.setup();
        let (old, new) = (stage.events(1, 100), stage.events(2, count));
        stage.produce(&old, 0);
        let mut forebay = stage.start();
        stage.wait_committed();
        stage.kafka.delete_topic(&stage.topic);
        stage.kafka.create_topic(&stage.topic, 1, &[]);
        stage.produce(&new, 0);
        stage.wait_for(&new);
        stage.wait_committed();
        Stage::stop(&mut forebay);
    }
}

#[test]
fn records_that_were_deleted_while_stopped_are_counted_as_expired() {
    let stage = Stage::new("expired", 1, &[], "");
    let (first, second) = (stage.events(1, 100), stage.events(2, 200));
    stage.produce(&first, 0);
    let mut forebay = stage.start();
    stage.wait_committed();
    Stage::stop(&mut forebay);

    stage.produce(&second, 0);
    stage.kafka.delete_records(&stage.topic, 0, 250);
    let mut forebay = stage.start();
    stage.wait_committed();
    assert_eq!(stage.counts(&second[150..]), [(1, 50)].into());
    assert_eq!(stage.counts(&second[..150]), [(0, 150)].into());
    assert_eq!(forebay.metric("forebay_records_expired_total", &[]), Some(150.0));
    Stage::stop(&mut forebay);
}

#[test]
fn records_that_are_deleted_before_a_running_process_comes_to_them_are_counted_as_expired() {
    overtake("cooperative-sticky");
}

#[test]
fn an_eager_group_is_overtaken_just_so() {
    overtake("range");
}

fn overtake(strategy: &str) {
    // Little is held and little is fetched ahead, so that the process is overtaken.
    let mut stage = Stage::new("overtaken", 1, &[], "[memory]\nlane = \"64KiB\"\ntotal = \"32MiB\"\n");
    stage.config = stage.config.property("partition.assignment.strategy", strategy);
    stage.setup = stage.config.setup();
    let events = stage.events(1, 40_000);
    stage.vendors.set_faults("[[fault]]\nkind = \"status\"\nstatus = 503\n");
    stage.produce(&events[..30_000], 0);
    let mut forebay = stage.start();
    forebay.eventually(WORK, "the partition pauses", |_| {
        let paused = stage.vendors.report().accounts[&stage.account].requests > 0;
        if paused { Ok(()) } else { Err("no request yet".to_owned()) }
    });
    stage.produce(&events[30_000..], 0);
    stage.kafka.delete_records(&stage.topic, 0, 35_000);
    stage.vendors.set_faults("");
    stage.wait_committed();
    stage.wait_for(&events[35_000..]);
    let missing = stage.counts(&events).get(&0).copied().unwrap_or_default();
    assert!(missing > 0, "the process was overtaken");
    let expired = forebay.metric("forebay_records_expired_total", &[]).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let difference = (expired - missing as f64).abs();
    assert!(difference < 0.5, "{expired} expired, {missing} missing");
    Stage::stop(&mut forebay);
}

#[test]
fn partitions_added_while_running_are_read_from_their_beginning() {
    let mut stage = Stage::new("wider", 1, &[], "");
    stage.config = stage.config.property("topic.metadata.refresh.interval.ms", "500");
    stage.setup = stage.config.setup();
    let (first, second) = (stage.events(1, 100), stage.events(2, 100));
    stage.produce(&first, 0);
    let mut forebay = stage.start();
    stage.wait_committed();
    stage.kafka.add_partitions(&stage.topic, 3);
    stage.produce(&second, 2);
    stage.wait_for(&second);
    stage.wait_committed();
    assert_eq!(stage.counts(&first), [(1, 100)].into());
    assert_eq!(stage.counts(&second), [(1, 100)].into());
    Stage::stop(&mut forebay);
}

#[test]
fn latest_leaves_out_what_was_there_before_and_nothing_that_is_made_later() {
    let mut stage = Stage::new("latest", 1, &[], "");
    let later = format!("{}-later", stage.topic);
    stage.config = stage.config.property("topic.metadata.refresh.interval.ms", "500");
    stage.setup = stage.config.setup();
    let topics = format!("topics = [\"^{}(-later)?$\"]\nstart = \"latest\"", stage.topic);
    let text = stage.config.text().replace(&format!("topics = [\"{}\"]", stage.topic), &topics);
    assert!(text.contains(&topics), "{text}");
    stage.setup.write("config.toml", text);
    let (old, first) = (stage.events(1, 100), stage.events(2, 100));
    let (wider, new) = (stage.events(3, 100), stage.events(4, 100));
    stage.produce(&old, 0);
    let mut forebay = stage.start();
    forebay.wait_for_log("no records lie before us", JOIN);
    stage.produce(&first, 0);
    stage.wait_for(&first);

    // Records that are there before anybody can know of their partition, or of their topic.
    stage.kafka.add_partitions(&stage.topic, 3);
    stage.produce(&wider, 2);
    stage.kafka.create_topic(&later, 1, &[]);
    stage.kafka.produce(&later, new.iter().map(Event::message));
    stage.wait_for(&wider);
    stage.wait_for(&new);
    stage.wait_committed();
    stage.kafka.wait_committed_to_end(&stage.config.group(), &later, WORK);
    assert_eq!(stage.counts(&old), [(0, 100)].into());
    for events in [&first, &wider, &new] {
        assert_eq!(stage.counts(events), [(1, 100)].into());
    }
    Stage::stop(&mut forebay);
}
