//! Promise 2 where an account cannot keep up: its records stay in Kafka, the others never wait, and all of its own
//! arrives in order when it can take it.

use std::time::{Duration, Instant};

use crate::support::config::{Account, tenants};
use crate::support::events::{Event, Events};
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::process::{Forebay, Setup};
use crate::support::stage::{JOIN, Stage, WORK, account, assert_books, wait_health};

/// So small that a few hundred events fill it.
const SMALL: &str = "[memory]\nlane = \"512KiB\"\ntotal = \"16MiB\"\n[delivery]\nlinger = \"20ms\"";

/// Limits that do not bind, here and there: what is measured is catching up, and not the vendor's limit.
const UNLIMITED: &str = "limits.users_per_minute = 10000000\nlimits.events_per_minute = 10000000";
const SANDBOX_UNLIMITED: &str = "users_per_minute = 0\nevents_per_minute = 0";

/// How many records pass while an account is held; `FOREBAY_DEFERRED_EVENTS` says otherwise.
fn many() -> usize {
    number("FOREBAY_DEFERRED_EVENTS").unwrap_or(12_000)
}

/// For how many seconds an account gets twice what its limit allows; `FOREBAY_TWICE_SECONDS` says otherwise.
fn seconds() -> usize {
    number("FOREBAY_TWICE_SECONDS").unwrap_or(8)
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// [`WORK`], and more for more records than a debug build works off in that time.
fn patience(records: usize) -> Duration {
    WORK + Duration::from_millis(records as u64 * 2)
}

fn events(seed: u64, names: &[String], count: usize) -> Vec<Event> {
    Events::new(seed, names).users(50).sizes(330..=500).take(count).collect()
}

fn of<'e>(tenant: &'e str, events: &'e [Event]) -> impl Iterator<Item = &'e Event> {
    events.iter().filter(move |event| event.tenant == tenant)
}

fn paused(forebay: &mut Forebay) -> f64 {
    forebay.metric("forebay_consumer_paused_partitions", &[]).unwrap()
}

/// Times that a partition paused, since the start.
fn pauses(forebay: &mut Forebay) -> f64 {
    forebay.metric("forebay_consumer_pauses_total", &[]).unwrap()
}

fn wait_caught_up(forebay: &mut Forebay) {
    eventually(WORK, "no account is deferred any more", || {
        match forebay.metric("forebay_lane_deferred_partitions", &[]) {
            Some(0.0) => Ok(()),
            other => Err(format!("{other:?} partitions, {}", forebay.accounts())),
        }
    });
}

/// Two tenants; the key of the first is wrong while all records pass.
struct Held<'a> {
    stage: Stage<'a>,
    events: Vec<Event>,
    setup: Setup,
    key: String,
}

const HELD: &str = "t00-moengage";

impl Held<'_> {
    fn new(name: &str, count: usize) -> Self {
        let mut accounts = [Account::moengage("t00"), Account::moengage("t01"), Account::iterable("t01")];
        for account in &mut accounts[..2] {
            (account.settings, account.sandbox) = (UNLIMITED.to_owned(), SANDBOX_UNLIMITED.to_owned());
        }
        let stage = Stage::with(Kafka::shared(), name, 2, &accounts)
            .patient(patience(count))
            .configured(|config| config.section(SMALL).property("topic.metadata.refresh.interval.ms", "500"));
        stage.vendors.revoke(HELD);
        let events = events(1, &tenants(2), count);
        stage.produce(&events);
        let setup = stage.config.setup().env("FOREBAY_LOG", "forebay=debug");
        let key = stage.config.accounts()[0].key.clone();
        Self { stage, events, setup, key }
    }

    fn count(&self, tenant: &str) -> u64 {
        of(tenant, &self.events).count() as u64
    }

    /// The others get everything, nothing pauses, and the held one waits.
    fn wait_passed(&self, forebay: &mut Forebay) {
        for other in ["t01-moengage", "t01-iterable"] {
            self.stage.wait_accepted(other, self.count("t01"));
        }
        assert_eq!(paused(forebay), 0.0, "nobody waits for a held account");
        let held = wait_health(forebay, HELD, "held");
        let deferred = held["deferred"].as_array().unwrap();
        assert_eq!(deferred.len(), 2, "it is deferred in both partitions: {held}");
        assert!(deferred[0]["time"].is_string() && deferred[0]["front"].as_i64() > deferred[0]["offset"].as_i64());
        assert!(held["held_bytes"].as_u64() < Some(600 * 1024), "{held}");
        assert_eq!(forebay.metric("forebay_lane_binds", &[("account", HELD), ("what", "held")]), Some(1.0));
        assert!(forebay.metric("forebay_lane_binds_seconds", &[("account", HELD)]).is_some(), "{held}");
        assert!(forebay.metric("forebay_lane_deferred_offsets", &[("account", HELD)]) > Some(1_000.0), "{held}");
    }

    fn resume(&self) {
        self.stage.vendors.set_key(HELD, "a-new-key-0123456789");
        self.setup.write(&self.stage.config.accounts()[0].key_file(), "a-new-key-0123456789");
        assert_ne!(self.key, "a-new-key-0123456789");
    }

    fn wait_all(&self, forebay: &mut Forebay) {
        self.stage.wait_accepted(HELD, self.count("t00"));
        self.stage.wait_settled();
        wait_caught_up(forebay);
        assert_books(forebay);
        assert_eq!(self.stage.letters(), []);
    }

    /// Some of the backlog was read again, but not all.
    fn wait_half_way(&self) {
        let taken = self.stage.vendors.report().account(HELD).map_or(0, |report| report.distinct_ids);
        self.stage.wait_accepted(HELD, taken + self.count("t00") / 4);
    }
}

#[test]
fn a_held_account_gets_everything_once_and_in_order_when_it_is_resumed_and_nobody_waited() {
    let held = Held::new("deferred", many());
    let mut forebay = held.setup.start();
    held.wait_passed(&mut forebay);
    let reread = |forebay: &mut Forebay| forebay.metric("forebay_events_reread_total", &[]).unwrap();
    let before = reread(&mut forebay);
    let begun = Instant::now();
    held.resume();
    held.stage.wait_accepted(HELD, held.count("t00"));
    let took = begun.elapsed();
    held.wait_all(&mut forebay);
    held.stage.assert_each_once(&held.events);
    held.stage.assert_order(&held.events);
    let (reread, owed) = (reread(&mut forebay) - before, held.count("t00"));
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let cost = reread / owed as f64;
    println!(
        "{} records; {owed} of a held account caught up in {took:.1?} after its key came back; {reread} read again, \
         {cost:.2} for each delivered; of the others none twice",
        held.events.len()
    );
    assert!(reread > 0.0);
    assert_eq!(pauses(&mut forebay), 0.0, "nothing ever paused");
}

#[test]
fn a_sigkill_in_the_middle_of_catching_up_repeats_only_what_was_not_yet_committed() {
    let held = Held::new("deferred-kill", many());
    let mut forebay = held.setup.start();
    held.wait_passed(&mut forebay);
    held.stage.wait_window_at_end();
    // Slow enough to be killed in the middle.
    held.stage.vendors.set_faults(&format!("[[fault]]\nkind = \"delay\"\ndelay = \"50ms\"\naccount = \"{HELD}\""));
    held.resume();
    held.wait_half_way();
    forebay.sigkill();
    let owed = held.stage.unsettled();
    held.stage.vendors.set_faults("");
    let mut forebay = held.setup.start();
    held.wait_all(&mut forebay);
    held.stage.wait_for_all(&held.events);
    let spots = held.stage.spots();
    for id in held.stage.repeated() {
        assert!(owed.contains(&spots[&id]), "{id} was settled by the last commit and came again");
    }
    held.stage.assert_each_once_at(&["t01-moengage", "t01-iterable"], &held.events);
    held.stage.assert_order(&held.events);
}

#[test]
fn a_rebalance_in_the_middle_of_catching_up_loses_nothing_and_keeps_the_order() {
    let held = Held::new("deferred-rebalance", many());
    let mut one = held.setup.start();
    held.wait_passed(&mut one);
    held.stage.vendors.set_faults(&format!("[[fault]]\nkind = \"delay\"\ndelay = \"50ms\"\naccount = \"{HELD}\""));
    held.resume();
    held.wait_half_way();
    let mut two = held.setup.start();
    eventually(JOIN, "each has a partition", || {
        let assigned = |of: &mut Forebay| of.metric("forebay_consumer_assigned_partitions", &[]);
        match (assigned(&mut one), assigned(&mut two)) {
            (Some(1.0), Some(1.0)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    held.stage.vendors.set_faults("");
    held.stage.wait_accepted(HELD, held.count("t00"));
    held.stage.wait_for_all(&held.events);
    held.stage.wait_settled();
    wait_caught_up(&mut one);
    wait_caught_up(&mut two);
    held.stage.assert_each_once_at(&["t01-moengage", "t01-iterable"], &held.events);
    held.stage.assert_order(&held.events);
    assert_books(&mut one);
    assert_books(&mut two);
}

#[test]
fn a_topic_that_gains_partitions_while_an_account_catches_up_loses_nothing_and_keeps_the_order() {
    let held = Held::new("deferred-wider", many());
    let mut forebay = held.setup.start();
    held.wait_passed(&mut forebay);
    // Slow enough to be met in the middle.
    held.stage.vendors.set_faults(&format!("[[fault]]\nkind = \"delay\"\ndelay = \"100ms\"\naccount = \"{HELD}\""));
    held.resume();
    held.wait_half_way();
    held.stage.kafka.add_partitions(&held.stage.topic, 4);
    let second = events(2, &tenants(2), 2_000);
    held.stage.produce(&second);
    eventually(JOIN, "the new partitions are assigned", || {
        match forebay.metric("forebay_consumer_assigned_partitions", &[]) {
            Some(4.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let behind = forebay.metric("forebay_lane_deferred_partitions", &[]);
    assert!(behind > Some(0.0), "it was in the middle of catching up");
    held.stage.vendors.set_faults("");
    held.stage.wait_for_all(&second);
    held.wait_all(&mut forebay);
    for part in [&held.events, &second] {
        held.stage.assert_each_once(part);
        held.stage.assert_order(part);
    }
    assert_eq!(pauses(&mut forebay), 0.0, "nothing ever paused");
}

#[test]
fn an_account_with_twice_the_inflow_that_its_limit_allows_delays_itself_alone() {
    // 20 a second of each kind, of which 40 and 10 come; the vendor counts them in minutes of its own.
    let mut slow = Account::moengage("t00");
    slow.settings = "limits.users_per_minute = 1200\nlimits.events_per_minute = 1200".to_owned();
    slow.sandbox = "users_per_minute = 1200\nevents_per_minute = 1200".to_owned();
    let stage = Stage::with(Kafka::shared(), "twice-the-limit", 1, &[slow, Account::moengage("t01")])
        .patient(WORK + Duration::from_secs(3 * seconds() as u64))
        .configured(|config| {
            config.section("[memory]\nlane = \"64KiB\"\ntotal = \"16MiB\"\n[delivery]\nlinger = \"20ms\"")
        });
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    let mut all = Vec::new();
    let begun = Instant::now();
    for round in 0..seconds() {
        let part = events(100 + round as u64, &tenants(2), 100);
        stage.produce(&part);
        all.extend(part);
        let due = begun + Duration::from_secs(1 + round as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    stage.wait_accepted("t01-moengage", of("t01", &all).count() as u64);
    let behind = account(&mut forebay, "t00-moengage");
    assert!(behind["deferred"].as_array().is_some_and(|deferred| !deferred.is_empty()), "{behind}");
    stage.wait_for_all(&all);
    println!("{} s of twice the limit were worked off after {:.1?}", seconds(), begun.elapsed());
    stage.wait_settled();
    wait_caught_up(&mut forebay);
    stage.assert_each_once(&all);
    stage.assert_order(&all);
    assert_eq!(stage.vendors.report().account("t00-moengage").unwrap().throttled, 0, "its limit was kept");
    assert_eq!(pauses(&mut forebay), 0.0, "nothing ever paused");
    assert_books(&mut forebay);
}

#[test]
fn four_hundred_deferred_accounts_in_one_partition_survive_a_crash() {
    let names = tenants(400);
    let accounts: Vec<Account> = names.iter().map(|name| Account::iterable(name)).collect();
    let stage = Stage::with(Kafka::shared(), "four-hundred", 1, &accounts).configured(|config| {
        config.section("[memory]\nlane = \"64KiB\"\ntotal = \"64MiB\"\n[delivery]\nlinger = \"20ms\"")
    });
    for name in &names[..399] {
        stage.vendors.revoke(&format!("{name}-iterable"));
    }
    let last = &names[399];
    // More than half of the accounts owe a record that lies below most of what the last one gets: for them there is room.
    let track = |name: &str, n: usize| Event::track(name, "first", &format!("{name}-first-{n}"), "plain");
    let mut all: Vec<Event> = names[..220].iter().map(|name| track(name, 0)).collect();
    all.extend((0..200).map(|n| track(last, n)));
    all.extend(Events::new(3, &names).users(50).sizes(2_900..=3_000).take(16_000));
    stage.produce(&all);
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    stage.wait_accepted(&format!("{last}-iterable"), of(last, &all).count() as u64);
    assert_eq!(paused(&mut forebay), 0.0);
    eventually(WORK, "the metadata has no room for all of them", || {
        match forebay.metric("forebay_commit_metadata_cut_total", &[]) {
            Some(cut) if cut > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(pauses(&mut forebay), 0.0, "nothing ever paused");
    forebay.sigkill();
    let owed = stage.unsettled_for(&format!("{last}-iterable"));
    for account in stage.config.accounts() {
        stage.vendors.set_key(&account.name, &account.key);
    }
    let mut forebay = setup.start();
    stage.wait_for_all(&all);
    stage.wait_settled();
    wait_caught_up(&mut forebay);
    let (spots, repeated) = (stage.spots(), stage.repeated());
    for id in &repeated {
        assert!(owed.contains(&spots[id]), "{id} was settled by the last commit and came again");
    }
    let no_room = of(last, &all).filter(|event| owed.contains(&spots[&event.message_id])).count();
    let passed = of(last, &all).count();
    println!("{} of {passed} repeated; the metadata had no room for {no_room}", repeated.len());
    assert!(repeated.len() <= no_room, "no more is repeated than there was no room for");
    assert!(
        no_room < passed - 200 + 10,
        "those that owe the lowest records keep their entries, and others what lies above"
    );
    stage.assert_order(&all);
    assert_eq!(stage.letters(), []);
    assert_eq!(pauses(&mut forebay), 0.0, "nothing ever paused");
    assert_books(&mut forebay);
}

#[test]
fn when_no_vendor_answers_reading_stops_but_for_a_look_around_and_goes_on_when_one_does() {
    let stage = Stage::new("all-down", 1, 2).configured(|config| config.section(SMALL));
    stage.vendors.set_faults("[[fault]]\nkind = \"status\"\nstatus = 503");
    let all = events(4, &tenants(2), 3_000);
    stage.produce(&all);
    let mut forebay = stage.config.setup().start();
    eventually(Duration::from_mins(2), "partitions pause", || match paused(&mut forebay) {
        1.0 => Ok(()),
        other => Err(other.to_string()),
    });
    stage.vendors.set_faults("");
    stage.wait_for_all(&all);
    stage.wait_settled();
    stage.assert_each_once(&all);
    stage.assert_order(&all);
    assert_eq!(paused(&mut forebay), 0.0);
    assert!(pauses(&mut forebay) >= 1.0, "the pause was counted");
    assert_books(&mut forebay);
}

#[test]
fn what_the_topic_drops_before_a_deferred_account_comes_back_is_counted_and_the_rest_goes_on() {
    let held = Held::new("deferred-expired", 8_000);
    let mut forebay = held.setup.start();
    held.wait_passed(&mut forebay);
    let ends = held.stage.kafka.end_offsets(&held.stage.topic);
    for (partition, end) in &ends {
        held.stage.kafka.delete_records(&held.stage.topic, *partition, end / 2);
    }
    held.resume();
    forebay.wait_for_log("deferred accounts still owed", WORK);
    assert!(forebay.metric("forebay_records_expired_total", &[]).unwrap() > 0.0);
    held.stage.wait_settled();
    wait_caught_up(&mut forebay);
    // What is still in the topic arrived.
    let spots = held.stage.spots();
    let here = of("t00", &held.events).filter(|event| spots.contains_key(&event.message_id));
    let ids = held.stage.vendors.ids(HELD);
    let mut met = 0;
    for event in here {
        assert!(ids.contains_key(&event.message_id), "{}", event.message_id);
        met += 1;
    }
    assert!(met > 500, "{met} records are still there");
    held.stage.assert_each_once_at(&["t01-moengage", "t01-iterable"], &held.events);
    assert_books(&mut forebay);
}

#[test]
fn what_an_account_owed_waits_for_it_while_the_configuration_does_not_have_it() {
    let held = Held::new("deferred-unknown", 6_000);
    let mut forebay = held.setup.start();
    held.wait_passed(&mut forebay);
    forebay.sigkill();
    let whole = held.stage.config.text();
    let without = whole.replace("[accounts.t00-moengage", "[accounts.another");
    held.setup.write("config.toml", &without);
    let mut forebay = held.setup.start();
    forebay.wait_for_log("no configured account matches", JOIN);
    let unknown = forebay.metric("forebay_lane_deferred_partitions", &[("account", "_unknown")]);
    assert_eq!(unknown, Some(2.0));
    eventually(WORK, "it is known since when they wait", || {
        let unknown = account(&mut forebay, "_unknown");
        let deferred = unknown["deferred"].as_array().map_or(&[][..], Vec::as_slice);
        let told = deferred.len() == 2 && deferred.iter().all(|place| place["time"].is_string());
        if told { Ok(()) } else { Err(unknown.to_string()) }
    });
    let age = forebay.metric("forebay_oldest_owed_seconds", &[("account", "_unknown")]);
    assert!(age.is_some_and(|age| age > 0.0), "{age:?}");
    std::thread::sleep(Duration::from_secs(2));
    forebay.sigkill();
    held.setup.write("config.toml", &whole);
    held.resume();
    let mut forebay = held.setup.start();
    held.stage.wait_for_all(&held.events);
    held.stage.wait_settled();
    wait_caught_up(&mut forebay);
    assert_books(&mut forebay);
}

#[test]
fn a_record_as_large_as_the_lanes_budget_goes_through() {
    let stage = Stage::with(Kafka::shared(), "as-large", 1, &[Account::iterable("t00")])
        .configured(|config| config.section("[memory]\nlane = \"64KiB\"\ntotal = \"8MiB\""));
    let all: Vec<Event> = Events::new(5, &tenants(1)).sizes(70_000..=90_000).take(60).collect();
    stage.produce(&all);
    let mut forebay = stage.config.setup().start();
    stage.wait_for_all(&all);
    stage.wait_settled();
    stage.assert_each_once(&all);
    wait_caught_up(&mut forebay);
    assert_books(&mut forebay);
}
