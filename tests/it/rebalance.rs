//! Promise 1, nothing is lost: while partitions go from one member of the group to another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::config::{ConfigText, tenants};
use crate::support::events::{Event, Events};
use crate::support::process::{Forebay, Setup};
use crate::support::stage::{JOIN, Stage, WORK, assert_books};
use crate::support::{eventually, metrics};

fn assigned(forebay: &mut Forebay, count: f64) {
    eventually(JOIN, &format!("{count} partitions are assigned"), || {
        match forebay.metric("forebay_consumer_assigned_partitions", &[]) {
            Some(seen) if (seen - count).abs() < 0.5 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

/// A second member joins a busy one, then the first one goes, then the second one goes on alone.
fn two_members(name: &str, configure: impl FnOnce(ConfigText) -> ConfigText, kill: bool) {
    let stage = Stage::new(name, 4, 2)
        .configured(|config| configure(config).section("[delivery]\ntimeout = \"3s\"\nlinger = \"10ms\""));
    let all: Vec<Event> = Events::new(9, &tenants(2)).sizes(350..=700).take(1_200).collect();
    let (first, rest) = all.split_at(400);
    let (second, third) = rest.split_at(400);
    let setup = stage.config.setup();
    let mut one = setup.start();
    assigned(&mut one, 4.0);
    // Answers take longer than a rebalance: the partitions go with calls in flight.
    stage.vendors.set_faults("[[fault]]\nkind = \"delay_answer\"\ndelay = \"1500ms\"");
    let mut two = setup.start();
    stage.produce(first);
    assigned(&mut two, 2.0);
    assigned(&mut one, 2.0);
    stage.vendors.set_faults("[[fault]]\nkind = \"delay_answer\"\ndelay = \"200ms\"");
    stage.produce(second);
    assert_books(&mut one);
    if kill {
        kill_after_a_commit(&stage, &mut one, third);
    } else {
        stage.produce(third);
        one.sigterm();
        assert_eq!(one.wait(JOIN), Some(0));
    }
    assigned(&mut two, 4.0);
    stage.wait_for_all(&all);
    stage.wait_settled();
    if !kill {
        stage.assert_each_once(&all);
    }
    assert_books(&mut two);
    let sent = two.metric("forebay_calls_delivered_total", &[]);
    assert!(sent.is_some_and(|sent| sent > 0.0), "the second member worked: {sent:?}");
    assert_eq!(stage.letters(), []);
    two.sigterm();
    assert_eq!(two.wait(WORK), Some(0));
}

/// Some of these are in flight, others are settled and committed, when it is killed.
fn kill_after_a_commit(stage: &Stage<'_>, member: &mut Forebay, events: &[Event]) {
    stage.wait_settled();
    stage.vendors.set_faults("[[fault]]\nkind = \"hang\"\nshare = 0.4");
    stage.produce(events);
    eventually(WORK, "a commit with some of these", || match stage.unsettled().len() {
        left if left < events.len() * 3 / 4 => Ok(()),
        left => Err(format!("{left} are left")),
    });
    member.sigkill();
    stage.vendors.set_faults("");
}

#[test]
fn a_member_that_drains_hands_over_without_repeating() {
    two_members("cooperative", |config| config, false);
}

#[test]
fn a_member_that_is_killed_loses_nothing() {
    two_members("cooperative-kill", |config| config, true);
}

#[test]
fn an_eager_assignor_loses_and_repeats_nothing() {
    two_members("eager", |config| config.property("partition.assignment.strategy", "range"), false);
}

#[test]
fn the_new_group_protocol_loses_and_repeats_nothing() {
    two_members("kip-848", ConfigText::new_group_protocol, false);
}

#[test]
fn a_member_that_froze_beyond_its_session_gives_way_and_takes_part_again() {
    let stage = Stage::new("frozen", 4, 2);
    let all: Vec<Event> = Events::new(10, &tenants(2)).sizes(350..=700).take(900).collect();
    let (first, rest) = all.split_at(300);
    let (second, third) = rest.split_at(300);
    let setup = stage.config.setup();
    let mut one = setup.start();
    assigned(&mut one, 4.0);
    let mut two = setup.start();
    assigned(&mut two, 2.0);
    assigned(&mut one, 2.0);
    stage.produce(first);
    stage.wait_settled();
    one.sigstop();
    stage.produce(second);
    assigned(&mut two, 4.0);
    stage.wait_for_all(second);
    one.sigcont();
    assigned(&mut one, 2.0);
    assigned(&mut two, 2.0);
    stage.produce(third);
    stage.wait_for_all(&all);
    stage.wait_settled();
    let again: Vec<String> = stage.repeated().into_iter().collect();
    assert!(
        again.iter().all(|id| second.iter().any(|event| event.message_id == *id)),
        "only what it froze over: {again:?}"
    );
    for member in [&mut one, &mut two] {
        assert_books(member);
        assert_eq!(member.get("/readyz").0, 200);
    }
}

/// A member that keeps its identity, and its partitions, over a restart.
fn static_member(stage: &Stage<'_>, name: &str) -> Setup {
    let properties =
        format!("[kafka.properties]\n\"group.instance.id\" = \"{name}\"\n\"session.timeout.ms\" = \"20000\"\n");
    let text = stage.config.text().replace("[kafka.properties]\n\"session.timeout.ms\" = \"6000\"\n", &properties);
    assert!(text.contains(name), "{text}");
    let setup = stage.config.setup();
    setup.write("config.toml", text);
    setup
}

#[test]
fn a_static_member_takes_its_partitions_again_without_a_rebalance_for_the_others() {
    let stage = Stage::new("static", 4, 2);
    let all: Vec<Event> = Events::new(11, &tenants(2)).sizes(350..=700).take(900).collect();
    let (first, rest) = all.split_at(300);
    let (second, third) = rest.split_at(300);
    let (a, b) = (static_member(&stage, "member-a"), static_member(&stage, "member-b"));
    let mut one = a.start();
    assigned(&mut one, 4.0);
    let mut two = b.start();
    assigned(&mut two, 2.0);
    assigned(&mut one, 2.0);
    stage.produce(first);
    stage.wait_for_all(first);
    stage.wait_settled();
    let rebalances = two.metric("forebay_consumer_rebalances_total", &[]);
    let mut taken = BTreeSet::new();

    // Once in good order, with work in hand, and once not.
    for (part, kill) in [(second, false), (third, true)] {
        stage.vendors.set_faults("[[fault]]\nkind = \"delay_answer\"\ndelay = \"300ms\"");
        stage.produce(&part[..150]);
        if kill {
            one.sigkill();
        } else {
            one.sigterm();
            assert_eq!(one.wait(JOIN), Some(0));
        }
        stage.produce(&part[150..]);
        one = a.start();
        assigned(&mut one, 2.0);
        stage.vendors.set_faults("");
        stage.wait_for_all(part);
        taken.extend(partitions_of(&mut one));
        if !kill {
            stage.assert_each_once(part);
        }
    }
    stage.wait_settled();
    assert_eq!(taken.len(), 2, "the same partitions each time: {taken:?}");
    assert_eq!(two.metric("forebay_consumer_rebalances_total", &[]), rebalances, "the other one saw no rebalance");
    stage.assert_each_once(first);
    assert_eq!(stage.letters(), []);
    assert_books(&mut one);
    assert_books(&mut two);
}

/// The partitions that it has met.
fn partitions_of(member: &mut Forebay) -> BTreeSet<String> {
    let samples = member.metrics().into_iter().filter(|sample| sample.name == "forebay_events_received_total");
    samples.filter_map(|sample| sample.labels.get("partition").cloned()).collect()
}

#[test]
fn a_second_process_with_the_same_static_name_fences_the_first_one_off() {
    let stage = Stage::new("fenced", 2, 1);
    let all: Vec<Event> = Events::new(12, &tenants(1)).sizes(350..=700).take(200).collect();
    let setup = static_member(&stage, "member");
    let mut one = setup.start();
    assigned(&mut one, 2.0);
    stage.produce(&all[..100]);
    stage.wait_for_all(&all[..100]);
    let mut two = setup.start();
    assigned(&mut two, 2.0);
    assert_eq!(one.wait(JOIN), Some(70), "only a new process could go on");
    assert!(one.log().contains("fenced"), "and it says why");
    stage.produce(&all[100..]);
    stage.wait_for_all(&all);
    stage.wait_settled();
    assert_books(&mut two);
}

#[test]
fn a_member_that_lost_its_partitions_sends_and_commits_nothing_of_what_it_holds() {
    let stage = Stage::new("lost", 2, 1);
    // State calls of few users, so that an old one that comes late would be seen.
    let all: Vec<Event> = Events::new(13, &tenants(1)).users(10).identify(1.0).sizes(350..=700).take(400).collect();
    let (held, newer) = all.split_at(200);
    let setup = stage.config.setup();
    let mut one = setup.start();
    assigned(&mut one, 2.0);
    // It holds them unsent, and they would go at once when it wakes up.
    stage.vendors.set_faults(
        "[[fault]]\nkind = \"status\"\nstatus = 429\nbody = \"slow down\"\nheaders = { retry-after = \"6\" }",
    );
    stage.produce(held);
    one.eventually(WORK, "all are held, and each account waits because it was told to", |member| {
        let samples = metrics::parse(&member.try_get("/metrics")?.1);
        let sum = |name, labels: &[_]| metrics::sum(&samples, name, labels).ok_or("none".to_owned());
        let (calls, wire) = (sum("forebay_calls_in_flight", &[])?, sum("forebay_lane_inflight_requests", &[])?);
        // An account that was not refused yet may begin its first request at any moment, also on the way to its sleep.
        let mut waits = 0;
        for account in stage.config.accounts() {
            let refused = [("account", account.name.as_str()), ("outcome", "throttled")];
            waits += usize::from(sum("forebay_http_requests_total", &refused)? >= 1.0);
        }
        if calls >= 400.0 && wire < 0.5 && waits == 2 {
            Ok(())
        } else {
            Err(format!("{calls} held, {wire} requests, {waits} of 2 accounts wait"))
        }
    });
    one.sigstop();
    stage.vendors.set_faults("");
    let mut two = setup.start();
    assigned(&mut two, 2.0);
    stage.produce(newer);
    stage.wait_for_all(&all);
    stage.wait_settled();
    let committed = offsets(&stage);

    one.sigcont();
    assigned(&mut one, 1.0);
    assigned(&mut two, 1.0);
    one.wait_for_log("\"lost\":true", JOIN);
    // Two commits of each of them later.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(offsets(&stage), committed, "nothing was committed that the other one had not");
    stage.assert_each_once(&all);
    for account in stage.config.accounts() {
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        let sequence = stage.vendors.sequence(&account.name);
        for id in &sequence {
            let event = all.iter().find(|event| event.message_id == *id).unwrap();
            let before = last.insert(&event.user_id, id);
            assert!(before < Some(id), "{}: {id} after {before:?}", event.user_id);
        }
    }
    let released = one.metric("forebay_calls_released_total", &[("reason", "revoked")]);
    assert_eq!(released, Some(400.0), "what it held is given back");
    assert_books(&mut one);
    assert_books(&mut two);
}

fn offsets(stage: &Stage<'_>) -> BTreeMap<i32, i64> {
    let committed = stage.kafka.committed(&stage.config.group(), &stage.topic);
    committed.into_iter().map(|(partition, commit)| (partition, commit.offset)).collect()
}
