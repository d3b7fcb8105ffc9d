//! Promise 1, nothing is lost: while partitions go from one member of the group to another.

use crate::support::config::{ConfigText, tenants};
use crate::support::events::{Event, Events};
use crate::support::eventually;
use crate::support::process::Forebay;
use crate::support::stage::{JOIN, Stage, WORK, assert_books};

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
