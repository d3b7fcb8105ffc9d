//! Promise 1, nothing is lost: while a vendor, a broker or a topic is away.

use std::time::Duration;

use crate::support::config::{Account, accounts, tenants};
use crate::support::events::{Event, Events};
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::process::Forebay;
use crate::support::proxy::FaultProxy;
use crate::support::stage::{JOIN, Stage, WORK, assert_books, wait_health};

fn events(seed: u64, count: usize) -> Vec<Event> {
    Events::new(seed, &tenants(2)).sizes(350..=900).take(count).collect()
}

#[test]
fn a_vendor_that_cannot_be_reached_for_a_while_loses_nothing() {
    let stage = Stage::new("unreachable", 2, 2);
    let wire = FaultProxy::start(stage.vendors.address());
    let stage = stage.configured(|config| config.toward(&format!("http://{}", wire.address())));
    let (first, second) = (events(1, 200), events(2, 200));
    stage.produce(&first);
    let mut forebay = stage.config.setup().start();
    stage.wait_for_all(&first);

    wire.refuse(true);
    wire.cut();
    stage.produce(&second);
    let failing = wait_health(&mut forebay, "t00-moengage", "failing");
    assert_eq!(failing["binds"]["what"], "failing");
    assert!(failing["binds"]["until"].is_string(), "{failing}");
    assert!(!stage.missing(&second).is_empty());
    wire.refuse(false);
    stage.wait_for_all(&second);
    stage.wait_settled();
    wait_health(&mut forebay, "t00-moengage", "ok");
    assert_eq!(stage.letters(), [], "an outage punishes no event");
    assert_books(&mut forebay);
}

#[test]
fn a_vendor_that_answers_nonsense_for_a_while_loses_nothing() {
    let stage = Stage::new("nonsense", 2, 2);
    let events = events(3, 400);
    stage.vendors.set_faults(
        "[[fault]]\nkind = \"status\"\nstatus = 503\ncount = 6\n\
         [[fault]]\nkind = \"not_the_vendor\"\ncount = 4\n\
         [[fault]]\nkind = \"reset_before\"\ncount = 4\n\
         [[fault]]\nkind = \"status\"\nstatus = 500\nbody = \"<html>sorry</html>\"\ncount = 3",
    );
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_for_all(&events);
    stage.wait_settled();
    stage.assert_each_once(&events);
    assert!(stage.vendors.report().faults.iter().all(|fault| fault.hits > 0), "{:?}", stage.vendors.report().faults);
    assert_eq!(stage.letters(), [], "an outage punishes no event");
    assert_books(&mut forebay);
}

#[test]
fn a_broker_that_is_killed_and_comes_back_loses_nothing() {
    let kafka = Kafka::own();
    let stage = Stage::with(&kafka, "broker", 2, &accounts(&tenants(2)));
    let (first, second) = (events(4, 300), events(5, 200));
    stage.produce(&first);
    stage.vendors.set_faults("[[fault]]\nkind = \"delay_answer\"\ndelay = \"300ms\"");
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    forebay.eventually(WORK, "the first ones arrive", |_| {
        if stage.vendors.accepted().is_empty() { Err("none".to_owned()) } else { Ok(()) }
    });
    kafka.stop();
    forebay.eventually(JOIN, "it notices", |forebay| {
        if forebay.log().contains("no broker answers") { Ok(()) } else { Err("it has not".to_owned()) }
    });
    assert_eq!(forebay.get("/livez").0, 200, "a broker's end is no reason for a restart");
    eventually(JOIN, "it is not ready", || match forebay.get("/readyz") {
        (503, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    kafka.start();
    stage.vendors.set_faults("");
    stage.produce(&second);
    stage.wait_for_all(&first);
    stage.wait_for_all(&second);
    stage.wait_settled();
    forebay.wait_ready(JOIN);
    assert_books(&mut forebay);
    forebay.sigterm();
    assert_eq!(forebay.wait(JOIN), Some(0));
}

#[test]
fn without_a_broker_or_a_topic_it_waits_says_so_once_and_goes_on_by_itself() {
    let kafka = Kafka::own_stopped();
    let stage = Stage::with(&kafka, "missing", 0, &[Account::iterable("t00"), Account::moengage("t01")]);
    let mut forebay = stage.config.setup().start();
    forebay.wait_for_log("no broker answers", JOIN);
    eventually(JOIN, "brokers were asked", || match forebay.get("/startupz") {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(forebay.get("/livez").0, 200);
    let (status, checks) = forebay.get("/readyz?verbose");
    assert_eq!(status, 503);
    assert!(checks.contains("[-]brokers") && checks.contains("[+]not_draining"), "{checks}");

    kafka.start();
    forebay.wait_for_log("topics are missing", JOIN);
    assert_eq!(forebay.get("/livez").0, 200);
    let (status, checks) = forebay.get("/readyz");
    assert_eq!(status, 503);
    assert!(checks.contains("[-]topics") && checks.contains("[+]brokers"), "{checks}");

    kafka.create_topic(&stage.topic, 2, &[]);
    let events = events(6, 100);
    stage.produce(&events);
    stage.wait_for_all(&events);
    forebay.wait_ready(Duration::from_secs(20));
    for text in ["no broker answers", "topics are missing", "brokers answer and all topics are there"] {
        assert_eq!(forebay.log().matches(text).count(), 1, "{text:?} once");
    }
    stage.wait_settled();
    stage.assert_each_once(&events);
    assert_books(&mut forebay);
}

#[test]
fn what_the_topic_drops_unread_is_counted_once_and_no_longer_owed() {
    let stage = Stage::new("dropped", 2, 2);
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    let expired = |forebay: &mut Forebay| forebay.metric("forebay_records_expired_total", &[]);
    let mut dropped = 0;
    for partition in [0, 1] {
        // Dropped before it could be read, and nothing follows that would be read.
        forebay.sigstop();
        // The broker has answered what it was asked before.
        std::thread::sleep(Duration::from_secs(1));
        let lost = events(3, 40);
        stage.kafka.produce(&stage.topic, lost.iter().map(|event| event.message().partition(partition)));
        stage.kafka.delete_records(&stage.topic, partition, 40);
        forebay.sigcont();
        dropped += 40;
        eventually(WORK, "what was dropped is counted", || match expired(&mut forebay) {
            Some(count) if count >= f64::from(dropped) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    stage.wait_settled();
    assert_eq!(expired(&mut forebay), Some(f64::from(dropped)), "each once");
    let next = events(4, 40);
    stage.produce(&next);
    stage.wait_for_all(&next);
    stage.wait_settled();
    stage.assert_each_once(&next);
    assert_books(&mut forebay);
}
