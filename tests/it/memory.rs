//! Promise 6: memory is bounded by configuration, whatever the backlog; and what had to wait is not lost.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::config::{Account, tenants};
use crate::support::events::{Event, Events};
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::memory::{ACCOUNT, BESIDE};
use crate::support::process::Forebay;
use crate::support::stage::{Stage, WORK, account, assert_books};

/// A call in memory is its element and its record: no single one here is larger than this.
const LARGEST_CALL: f64 = 8_000.0;

fn paused(forebay: &mut Forebay) -> f64 {
    forebay.metric("forebay_consumer_paused_partitions", &[]).unwrap()
}

fn wait_paused(forebay: &mut Forebay, wanted: impl Fn(f64) -> bool) {
    eventually(WORK, "partitions pause or resume", || match paused(forebay) {
        count if wanted(count) => Ok(()),
        count => Err(format!("{count} are paused")),
    });
}

#[test]
fn a_held_account_fills_its_budget_and_no_more_and_goes_on_afterwards() {
    let stage = Stage::with(Kafka::shared(), "lane-memory", 2, &[Account::moengage("t00")])
        .configured(|config| config.section("[memory]\nlane = \"64KiB\"\ntotal = \"8MiB\""));
    let events: Vec<Event> = Events::new(1, &tenants(1)).take(600).collect();
    stage.vendors.revoke("t00-moengage");
    stage.produce(&events);
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    eventually(WORK, "the account is deferred in both partitions", || {
        let account = account(&mut forebay, "t00-moengage");
        match account["deferred"].as_array().map(Vec::len) {
            Some(2) => Ok(()),
            _ => Err(account.to_string()),
        }
    });
    for _look in 0..10 {
        let held = forebay.metric("forebay_lane_held_bytes", &[]).unwrap();
        assert!(held <= 65_536.0 + 2.0 * LARGEST_CALL, "{held} bytes in a budget of 64 KiB");
        assert!(held > 0.0, "it keeps what it asks its vendor with");
        assert_eq!(paused(&mut forebay), 0.0, "nobody waits for it");
    }
    assert_eq!(forebay.get("/livez").0, 200, "polling goes on");
    assert_eq!(forebay.get("/readyz").0, 200);
    assert_books(&mut forebay);

    stage.vendors.set_key("t00-moengage", "the-new-key");
    setup.write(&stage.config.accounts()[0].key_file(), "the-new-key");
    let highest = Cell::new(0.0_f64);
    eventually(WORK, "every message arrives", || {
        let held = forebay.metric("forebay_lane_held_bytes", &[]).unwrap();
        highest.set(highest.get().max(held));
        if stage.missing(&events).is_empty() { Ok(()) } else { Err(format!("{:?}", stage.missing(&events))) }
    });
    assert!(highest.get() <= 65_536.0 + 2.0 * LARGEST_CALL, "{} bytes", highest.get());
    stage.wait_settled();
    stage.assert_each_once(&events);
    wait_paused(&mut forebay, |count| count < 0.5);
    assert_books(&mut forebay);
}

#[test]
fn many_slow_accounts_share_the_total() {
    let stage = Stage::new("total-memory", 3, 4)
        .configured(|config| config.section("[memory]\nlane = \"4MiB\"\ntotal = \"8MiB\""));
    let events: Vec<Event> = Events::new(2, &tenants(4)).sizes(2_900..=3_000).take(1_500).collect();
    stage.vendors.set_faults("[[fault]]\nkind = \"status\"\nstatus = 503\nfor = \"4s\"");
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    let highest = Cell::new(0.0_f64);
    let seen = Cell::new(0.0_f64);
    eventually(WORK, "every message arrives", || {
        let held = forebay.metric("forebay_memory_held_bytes", &[]).unwrap();
        highest.set(highest.get().max(held));
        seen.set(seen.get().max(forebay.metric("forebay_lane_deferred_partitions", &[]).unwrap()));
        if stage.missing(&events).is_empty() { Ok(()) } else { Err(format!("{:?}", stage.missing(&events))) }
    });
    assert!(seen.get() > 0.0, "accounts were deferred meanwhile");
    let bound = 8.0 * 1_048_576.0;
    assert!(highest.get() > bound / 2.0, "the budget is used: {}", highest.get());
    assert!(highest.get() <= bound + 4.0 * LARGEST_CALL, "{} bytes of {bound}", highest.get());
    stage.wait_settled();
    stage.assert_each_once(&events);
    wait_paused(&mut forebay, |count| count < 0.5);
    assert_books(&mut forebay);
}

/// Says at its end that it is over.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is held in all, in the next test.
const TOTAL_MIB: u64 = 16;

/// The process, and not only what it counts: nothing is sent for a while, then everything.
fn stays_within(name: &str, (partitions, lane): (i32, &str), accounts: &[Account], events: &[Event]) {
    let total_mib = TOTAL_MIB;
    let stage = Stage::with(Kafka::shared(), name, partitions, accounts)
        .patient(2 * WORK)
        .configured(|config| config.section(&format!("[memory]\ntotal = \"{total_mib}MiB\"\nlane = \"{lane}\"")));
    stage.vendors.set_faults("[[fault]]\nkind = \"status\"\nstatus = 503\nfor = \"6s\"");
    stage.produce(events);
    let forebay = stage.config.setup().start();
    let over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(forebay.own_memory());
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        // Also when the wait fails: the scope waits for the watch.
        let ending = Ending(&over);
        stage.wait_for_all(events);
        drop(ending);
        watch.join().unwrap()
    });
    stage.wait_settled();
    stage.assert_each_once(events);
    let produced: usize = events.iter().map(|event| event.json.len()).sum();
    println!("{name}: {} MiB for {} MiB of records, total = {total_mib} MiB", most >> 20, produced >> 20);
    let bound = (total_mib << 20) + BESIDE + accounts.len() as u64 * ACCOUNT;
    assert!(most <= bound, "{name}: {most} bytes, more than {bound}");
}

#[test]
fn the_process_stays_within_the_total_and_a_constant_whatever_the_backlog_the_lanes_and_the_records() {
    let iterable = |count: usize| tenants(count).iter().map(|tenant| Account::iterable(tenant)).collect::<Vec<_>>();
    let events = |seed, lanes, sizes, count| -> Vec<Event> {
        Events::new(seed, &tenants(lanes)).users(1_000).sizes(sizes).take(count).collect()
    };
    let usual = (4, "16MiB");
    stays_within("small-records", usual, &iterable(4), &events(21, 4, 330..=400, 30_000));
    stays_within("large-records", usual, &iterable(4), &events(22, 4, 70_000..=90_000, 600));
    stays_within("many-lanes", usual, &iterable(1_000), &events(23, 1_000, 1_000..=2_000, 10_000));
    // Each lane is full soon, and the account deferred in every partition.
    stays_within("many-deferred", (32, "64KiB"), &iterable(400), &events(24, 400, 330..=400, 40_000));
}
