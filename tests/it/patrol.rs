//! Promise 2 while accounts are deferred: the topics are asked what they have, now and then, and their answer is old when
//! it is heard. Nobody else may notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::config::{Account, tenants};
use crate::support::events::{Event, Events};
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::stage::{JOIN, Stage, account, assert_books};

/// So many that the first one's answer is old when the last one's is there.
const PARTITIONS: i32 = 16;
/// Records a second.
const RATE: u32 = 2_000;
/// Within this time after an account was deferred the topics are asked for the first time.
const ASKED: Duration = Duration::from_secs(2);

const HELD: &str = "t00-iterable";

/// Writes events at their rate until it is told to stop; what was written.
fn produce(stage: &Stage<'_>, events: Events, stop: &AtomicBool) -> Vec<Event> {
    let begun = Instant::now();
    let mut written = Vec::new();
    let due = (0_u32..).zip(events).take_while(|(number, _)| {
        let due = begun + Duration::from_secs(1) * *number / RATE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        !stop.load(Ordering::Relaxed)
    });
    stage.kafka.produce(
        &stage.topic,
        due.map(|(_, event)| event).inspect(|event| written.push(event.clone())).map(|event| event.message()),
    );
    written
}

#[test]
fn what_is_read_while_the_topics_are_asked_what_they_have_is_not_read_again() {
    let names = tenants(3);
    let accounts: Vec<Account> = names.iter().map(|name| Account::iterable(name)).collect();
    let stage = Stage::with(Kafka::shared(), "patrol", PARTITIONS, &accounts)
        .configured(|config| config.section("[memory]\nlane = \"64KiB\"\n[delivery]\nlinger = \"20ms\""));
    stage.vendors.revoke(HELD);
    let events = Events::new(1, &names).users(500).identify(0.0).sizes(330..=400);
    let stop = AtomicBool::new(false);
    let (mut forebay, written) = std::thread::scope(|scope| {
        let producing = scope.spawn(|| produce(&stage, events, &stop));
        let mut forebay = stage.config.setup().start();
        eventually(JOIN, "the held account is deferred everywhere", || {
            match account(&mut forebay, HELD)["deferred"].as_array() {
                Some(deferred) if deferred.len() == PARTITIONS as usize => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        std::thread::sleep(ASKED);
        stop.store(true, Ordering::Relaxed);
        (forebay, producing.join().unwrap())
    });
    stage.wait_for_all_but(&[HELD], &written);
    let repeated = stage.repeated().len();
    assert_eq!(repeated, 0, "so many of {} events arrived again", written.len());
    assert!(!forebay.log().contains("made again or cut"), "the topic is as it was");
    assert_books(&mut forebay);
}
