//! Promise 1, nothing is lost: through crashes, drains and restarts; and only what was in flight comes twice.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay::source::commit::{self, Contents, Place};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::config::{Account, tenants};
use crate::support::events::{Event, Events};
use crate::support::eventually;
use crate::support::stage::{JOIN, Spot, Stage, WORK, assert_books, wait_health};
use crate::support::vendors::message_id;

fn events(seed: u64, tenant_count: usize, count: usize) -> Vec<Event> {
    Events::new(seed, &tenants(tenant_count)).sizes(350..=900).take(count).collect()
}

/// The messages that lie there.
fn messages_at(stage: &Stage<'_>, spots: &BTreeSet<Spot>) -> BTreeSet<String> {
    stage.spots().into_iter().filter(|(_, spot)| spots.contains(spot)).map(|(id, _)| id).collect()
}

#[test]
fn a_sigkill_in_mid_flight_loses_nothing_and_repeats_only_what_was_in_flight() {
    let stage = Stage::new("sigkill", 3, 4);
    let (first, second) = (events(1, 4, 600), events(2, 4, 900));
    stage.produce(&first);
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    stage.wait_for_all(&first);
    stage.wait_settled();

    // One account's requests are never answered, another's are taken and their answers lost.
    stage.vendors.set_faults(
        "[[fault]]\nkind = \"hang\"\naccount = \"t00-moengage\"\n\
         [[fault]]\nkind = \"reset_after\"\naccount = \"t01-iterable\"\ncount = 3",
    );
    stage.produce(&second);
    stage.wait_for_all_but(&["t00-moengage"], &second);
    eventually(WORK, "a commit with something settled above something that is owed", || {
        let unsettled = stage.unsettled();
        let ends: i64 = stage.kafka.end_offsets(&stage.topic).values().sum();
        let committed: i64 =
            stage.kafka.committed(&stage.config.group(), &stage.topic).values().map(|c| c.offset).sum();
        let owed = i64::try_from(unsettled.len()).unwrap();
        if owed < ends - committed { Ok(()) } else { Err(format!("{owed} owed of {}", ends - committed)) }
    });
    forebay.sigkill();
    let in_flight = messages_at(&stage, &stage.unsettled());
    assert!(in_flight.len() < second.len(), "some of the second were settled");
    let before = stage.repeated();

    stage.vendors.set_faults("");
    let mut forebay = setup.start();
    stage.wait_for_all(&first);
    stage.wait_for_all(&second);
    stage.wait_settled();
    stage.assert_each_once(&first);
    let again: Vec<_> = stage.repeated().into_iter().filter(|id| !before.contains(id)).collect();
    assert!(!again.is_empty(), "what was in flight comes again");
    for id in again {
        assert!(in_flight.contains(&id), "{id} was settled, and came again");
    }
    assert_books(&mut forebay);
}

#[test]
fn sigkill_after_sigkill_just_after_a_commit_loses_nothing() {
    let stage = Stage::new("sigkills", 2, 2);
    let events = events(3, 2, 600);
    let setup = stage.config.setup();
    for part in events.chunks(150) {
        // Some are never answered, so that each commit is one with something in flight.
        stage.vendors.set_faults("[[fault]]\nkind = \"hang\"\nshare = 0.4");
        stage.produce(part);
        let before = stage.unsettled().len();
        let mut forebay = setup.start();
        forebay.eventually(WORK, "a commit with some of these", |_| match stage.unsettled().len() {
            left if left < before => Ok(()),
            left => Err(format!("{left} of {before} are left")),
        });
        forebay.sigkill();
    }
    stage.vendors.set_faults("");
    let mut forebay = setup.start();
    stage.wait_for_all(&events);
    stage.wait_settled();
    assert_books(&mut forebay);
}

#[test]
fn a_crash_soon_after_the_first_join_loses_nothing_that_came_since() {
    for round in 0..4 {
        let stage = Stage::of("latest", &[Account::iterable("t00")]).patient(Duration::from_secs(20));
        let setup = stage.config.setup();
        setup.write("config.toml", stage.config.text().replace("topics = ", "start = \"latest\"\ntopics = "));
        stage.vendors.set_faults("[[fault]]\nkind = \"hang\"");
        let mut forebay = setup.start();
        forebay.wait_for_log("no records lie before us", JOIN);
        let events = events(20 + round, 1, 20);
        stage.produce(&events);
        eventually(WORK, "a request on the wire", || match forebay.metric("forebay_lane_inflight_requests", &[]) {
            Some(count) if count > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        forebay.sigkill();
        stage.vendors.set_faults("");
        let _forebay = setup.start();
        stage.wait_for_all(&events);
    }
}

#[test]
fn sigterm_drains_and_the_next_start_repeats_nothing() {
    let stage = Stage::new("sigterm", 2, 3).configured(|config| config.section("[delivery]\nlinger = \"2s\""));
    let events = events(4, 3, 900);
    stage.vendors.set_faults("[[fault]]\nkind = \"delay_answer\"\ndelay = \"400ms\"");
    stage.produce(&events);
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    forebay.wait_ready(JOIN);
    eventually(WORK, "calls are in flight", || match forebay.metric("forebay_calls_in_flight", &[]) {
        Some(count) if count > 0.0 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    forebay.sigterm();
    eventually(JOIN, "not ready while it drains", || match forebay.try_wait() {
        Some(_) => Ok(()),
        None if forebay.log().contains("draining") => Ok(()),
        None => Err("ready".to_owned()),
    });
    assert_eq!(forebay.wait(JOIN), Some(0), "a clean drain");

    let drained: BTreeSet<String> = stage.vendors.accepted().iter().filter_map(|it| message_id(&it.element)).collect();
    assert!(!drained.is_empty(), "what was read was sent, whatever its linger");
    let mut forebay = setup.start();
    stage.wait_for_all(&events);
    stage.wait_settled();
    stage.assert_each_once(&events);
    assert_books(&mut forebay);
}

#[test]
fn a_restart_beside_a_held_account_repeats_only_that_accounts_events() {
    let stage = Stage::new("held-restart", 3, 4);
    let events = events(5, 4, 800);
    stage.vendors.revoke("t00-moengage");
    stage.produce(&events);
    let setup = stage.config.setup();
    let owes = |stage: &Stage<'_>| {
        let owed: BTreeSet<_> = events.iter().filter(|e| e.tenant == "t00").map(|e| e.message_id.clone()).collect();
        stage.wait_for_all_but(&["t00-moengage"], &events);
        eventually(WORK, "the commits leave the held account's events only", || {
            let left = messages_at(stage, &stage.unsettled());
            if left == owed { Ok(()) } else { Err(format!("{} are left of {}", left.len(), owed.len())) }
        });
    };
    let mut forebay = setup.start();
    owes(&stage);
    wait_health(&mut forebay, "t00-moengage", "held");
    forebay.sigterm();
    assert_eq!(forebay.wait(JOIN), Some(0), "a held account is not waited for");
    let mut forebay = setup.start();
    wait_health(&mut forebay, "t00-moengage", "held");
    owes(&stage);
    forebay.sigkill();

    stage.vendors.set_key("t00-moengage", &stage.config.accounts()[0].key);
    let mut forebay = setup.start();
    stage.wait_for_all(&events);
    stage.wait_settled();
    let others: Vec<&str> = stage.config.accounts().iter().map(|a| a.name.as_str()).collect();
    let others: Vec<&str> = others.into_iter().filter(|name| *name != "t00-iterable").collect();
    stage.assert_each_once_at(&others, &events);
    assert_books(&mut forebay);
}

#[test]
fn a_drain_that_runs_out_of_time_says_so_and_leaves_the_rest_owed() {
    let stage = Stage::of("drain", &[Account::iterable("t00"), Account::moengage("t00")])
        .configured(|config| config.section("[shutdown]\ndrain = \"500ms\""));
    let events = events(6, 1, 50);
    stage.vendors.set_faults("[[fault]]\nkind = \"hang\"\naccount = \"t00-iterable\"");
    stage.produce(&events);
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    stage.wait_for_all_but(&["t00-iterable"], &events);
    forebay.sigterm();
    assert_eq!(forebay.wait(JOIN), Some(75), "unfinished");
    stage.vendors.set_faults("");
    let _forebay = setup.start();
    stage.wait_for_all(&events);
    stage.assert_each_once_at(&["t00-iterable"], &events);
}

#[test]
fn a_second_signal_ends_at_once_with_the_signals_code() {
    let stage = Stage::of("signals", &[Account::iterable("t00")]);
    let events = events(7, 1, 20);
    stage.vendors.set_faults("[[fault]]\nkind = \"hang\"");
    stage.produce(&events);
    let setup = stage.config.setup();
    for (interrupt, code) in [(false, 143), (true, 130)] {
        let mut forebay = setup.start();
        forebay.wait_ready(JOIN);
        eventually(WORK, "a request on the wire", || match forebay.metric("forebay_lane_inflight_requests", &[]) {
            Some(count) if count > 0.0 => Ok(()),
            other => Err(format!("{other:?}")),
        });
        forebay.sigterm();
        forebay.wait_for_log("draining", JOIN);
        if interrupt {
            forebay.sigint();
        } else {
            forebay.sigterm();
        }
        assert_eq!(forebay.wait(Duration::from_secs(10)), Some(code));
    }
    stage.vendors.set_faults("");
    let _forebay = setup.start();
    stage.wait_for_all(&events);
}

/// What may stand beside a commit at offset 10 that is not to be believed; each says that all above is settled.
fn unbelievable(here: Place<'_>) -> Vec<(&'static str, Vec<u8>)> {
    let settled = |place: Place<'_>, base: i64| {
        let above = Contents { window: base, settled: std::iter::once(base + 1..30).collect(), ..Contents::default() };
        commit::encode(place, above).text
    };
    let good = settled(here, 10).into_bytes();
    let damaged = |at: usize, byte: u8| [&good[..at], &[byte], &good[at + 1..]].concat();
    vec![
        ("of another program", b"{\"committed by\": \"another program\"}".to_vec()),
        ("not UTF-8", vec![0xff, 0xfe, b'x', 0x80]),
        ("cut", good[..good.len() - 4].to_vec()),
        ("damaged", damaged(good.len() - 6, if good[good.len() - 6] == b'A' { b'B' } else { b'A' })),
        ("of another version", damaged(0, b'/')),
        ("of another offset", settled(here, 9).into_bytes()),
        ("of another topic", settled(Place { topic: "another", ..here }, 10).into_bytes()),
        ("of another cluster", settled(Place { cluster: "another", ..here }, 10).into_bytes()),
        ("of another partition", settled(Place { partition: 1, ..here }, 10).into_bytes()),
    ]
}

#[test]
#[expect(unsafe_code, reason = "no safe way to commit what another client may: metadata that is not UTF-8")]
fn metadata_that_is_not_ours_or_not_of_here_is_ignored() {
    let stage = Stage::of("foreign", &[Account::iterable("t00")]);
    let events = events(8, 1, 30);
    stage.produce(&events);
    let setup = stage.config.setup();
    let consumer: BaseConsumer = stage.kafka.client().set("group.id", stage.config.group()).create().unwrap();
    let cluster = consumer.client().fetch_cluster_id(JOIN).unwrap();
    let metadata = unbelievable(Place { cluster: &cluster, topic: &stage.topic, partition: 0 });
    for (times, (what, metadata)) in (1..).zip(metadata) {
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&stage.topic, 0);
        element.set_offset(Offset::Offset(10)).unwrap();
        // SAFETY: it is never looked at as text: its bytes are copied.
        element.set_metadata(unsafe { String::from_utf8_unchecked(metadata) });
        consumer.commit(&list, CommitMode::Sync).unwrap();

        let mut forebay = setup.start();
        eventually(WORK, &format!("what is above the commit is read again: metadata {what}"), || {
            let ids = stage.vendors.ids("t00-iterable");
            let short = events[10..].iter().find(|event| ids.get(&event.message_id) != Some(&times));
            short.map_or(Ok(()), |event| Err(format!("{:?} times {}", ids.get(&event.message_id), event.message_id)))
        });
        stage.wait_settled();
        assert_eq!(stage.vendors.ids("t00-iterable").len(), 20, "what was committed is not read");
        assert!(forebay.log().contains("metadata is ignored"), "and it says so: metadata {what}");
        assert_books(&mut forebay);
        forebay.sigterm();
        assert_eq!(forebay.wait(JOIN), Some(0));
    }
}
