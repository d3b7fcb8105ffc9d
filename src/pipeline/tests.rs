//! The wire, shared by lanes of several hosts; records that are given back, and read again.

pub(super) mod rig;

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;

use self::rig::{Rig, Vendor};
use super::{Action, MAX_HOST, Parts, Pipeline};
use crate::clock::Now;
use crate::config::{self, Memory};
use crate::destination::Answer;
use crate::lane::Flight;
use crate::outcome::Release;
use crate::source::commit::Contents;
use crate::source::record::{Headers, Record, kept};
use crate::work::{self, Work};

const LANES: usize = 100;

pub(super) fn at(millis: u64) -> Now {
    let mono = Duration::from_millis(millis);
    Now { mono, wall_ms: 1_795_207_260_000 + i64::try_from(millis).expect("small") }
}

/// A hundred tenants at one host, and one at another.
fn pipeline() -> Pipeline {
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
    for tenant in 0..=LANES {
        // A path is not a host of its own.
        let place = if tenant < LANES { format!("9/{}", tenant % 2) } else { "10".to_owned() };
        writeln!(
            text,
            "[accounts.t{tenant}]\nbase_url = \"http://127.0.0.1:{place}\"\n\
             iterable = {{ region = \"us\", keys = [{{ file = \"k\" }}] }}\n\
             limits = {{ requests_per_second = {{ events = 1000 }} }}"
        )
        .expect("a string");
    }
    let mut pipeline = of(&text);
    for lane in 0..=LANES {
        pipeline.set_keys(at(0), u32::try_from(lane).expect("small"), &vec![SecretString::from("key")].into());
    }
    pipeline
}

/// The pipeline of a configuration, with one partition.
pub(super) fn of(text: &str) -> Pipeline {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    std::fs::write(&path, text).expect("a file");
    let config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}")).config;
    let mut pipeline = Pipeline::new(Parts::of(&config, at(0), 1));
    let slot = pipeline.slot("events", 0);
    pipeline.assign(slot, Contents::default());
    pipeline
}

fn track(pipeline: &mut Pipeline, now: Now, offset: i64, tenant: usize) {
    let value = format!(r#"{{"type":"track","event":"E","userId":"u{offset}","messageId":"m{offset}"}}"#);
    record(pipeline, now, offset, tenant, &value);
}

fn record(pipeline: &mut Pipeline, now: Now, offset: i64, tenant: usize, value: &str) {
    let tenant = format!("t{tenant}");
    let headers = kept([("tenant", tenant.as_bytes())]);
    pipeline.record(
        now,
        &Record {
            slot: 0,
            offset,
            timestamp_ms: Some(now.wall_ms),
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::of(&headers),
        },
    );
}

#[expect(clippy::vec_box, reason = "flights come and go boxed")]
pub(super) fn sent(pipeline: &mut Pipeline) -> Vec<Box<Flight>> {
    let mut actions = Vec::new();
    pipeline.take_actions(&mut actions);
    let flight = |action| if let Action::Send(flight) = action { Some(flight) } else { None };
    actions.into_iter().filter_map(flight).collect()
}

#[test]
fn a_host_that_hangs_leaves_the_others_room_on_the_wire_and_its_lanes_go_on_when_it_answers() {
    let mut pipeline = pipeline();
    let (mut offset, mut hanging) = (0, Vec::new());
    for round in 1..=4 {
        for tenant in 0..LANES {
            track(&mut pipeline, at(round * 600), offset, tenant);
            offset += 1;
        }
        pipeline.tick(at(round * 600 + 500));
        hanging.extend(sent(&mut pipeline));
    }
    let kept = MAX_HOST / 8;
    assert_eq!(hanging.len(), MAX_HOST - kept, "of four requests of each of a hundred lanes");
    // Before anybody is taken for one that hangs.
    track(&mut pipeline, at(2_450), offset, LANES);
    pipeline.tick(at(2_950));
    let other = sent(&mut pipeline);
    assert_eq!(other.len(), 1, "the other host's lane does not wait");

    let flight = hanging.pop().expect("one of them");
    let lane = flight.lane;
    pipeline.answered(at(3_000), flight, Err("no answer".into()));
    let next = sent(&mut pipeline);
    let lanes: Vec<u32> = next.iter().map(|flight| flight.lane).collect();
    assert!(lanes.len() == 1 && lanes[0] != lane, "one that waited takes its place: {lanes:?} after {lane}");
    for flight in hanging.into_iter().chain(other).chain(next) {
        pipeline.answered(at(6_000), flight, Err("the end".into()));
    }
    pipeline.abandon(at(6_000));
    pipeline.unassign(&[0], at(6_000));
}

#[test]
fn a_raw_record_that_is_read_again_is_raw_still() {
    const COUNT: i64 = 200;
    let none = HeaderMap::new();
    let body = br#"{"successCount":0,"failCount":0,"failedUpdates":{}}"#;
    let answer = Answer { status: 200, headers: &none, body };
    let mut pipeline = of("[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n[memory]\nlane = \"64KiB\"\n\
         [accounts.acme]\nraw = [\"users/bulkUpdate\"]\n\
         iterable = { region = \"us\", keys = [{ file = \"k\" }] }\n");
    let value = format!(r#"{{"userId":"u-1","dataFields":{{"raw":"{}"}}}}"#, "x".repeat(1_000));
    let headers = kept([("tenant", &b"acme"[..]), ("forebay-shape", b"users/bulkUpdate")]);
    let record = |offset| Record {
        slot: 0,
        offset,
        timestamp_ms: Some(0),
        key: None,
        value: Some(value.as_bytes()),
        headers: Headers::of(&headers),
    };
    // No key yet: what does not fit is given back.
    (0..COUNT).for_each(|offset| pipeline.record(at(0), &record(offset)));
    pipeline.set_keys(at(1_000), 0, &vec![SecretString::from("key")].into());
    let (mut elements, mut again, mut actions) = (0, 0, Vec::new());
    for round in 1..=100 {
        pipeline.tick(at(1_000 + round * 1_000));
        pipeline.take_actions(&mut actions);
        for action in std::mem::take(&mut actions) {
            match action {
                Action::Send(flight) => {
                    let body = String::from_utf8_lossy(&flight.body).into_owned();
                    elements += body.matches(r#""dataFields":{"raw":"x"#).count();
                    pipeline.answered(at(1_000 + round * 1_000), flight, Ok(answer));
                }
                Action::Sweep { from: Some(from), .. } => {
                    again += COUNT - from;
                    (from..COUNT).for_each(|offset| pipeline.swept(at(1_000 + round * 1_000), &record(offset)));
                }
                Action::Write(letter) => panic!("{letter:?}"),
                _ => {}
            }
        }
    }
    assert!(again > 0, "some were read again");
    assert_eq!(elements, usize::try_from(COUNT).expect("small"));
}

#[test]
fn a_release_gives_back_what_was_never_sent_and_keeps_what_was_with_its_attempts() {
    let mut pipeline = pipeline();
    for offset in 0..3 {
        track(&mut pipeline, at(1_000), offset, 0);
    }
    pipeline.tick(at(1_500));
    for flight in sent(&mut pipeline) {
        pipeline.answered(at(2_000), flight, Err("no answer".into()));
    }
    for offset in 3..7 {
        track(&mut pipeline, at(2_000), offset, 0);
    }
    pipeline.release(at(2_000), 0);
    let lane = &pipeline.accounts()[0].lane;
    assert_eq!((lane.held_calls(), lane.books.released[Release::Deferred as usize]), (3, 4));
    let partition = &pipeline.partitions()[0];
    assert_eq!((partition.base(), partition.in_flight(), partition.released), (0, 3, 4));
    assert_eq!(partition.deferred().map(|(lane, lowest, _)| (lane, lowest)).collect::<Vec<_>>(), vec![(0, 0)]);
    pipeline.abandon(at(3_000));
    pipeline.unassign(&[0], at(3_000));
}

#[test]
fn a_call_that_is_refused_as_it_is_written_leaves_no_empty_request_behind() {
    let mut pipeline = pipeline();
    let value =
        r#"{"type":"track","event":"Order Completed","userId":"u","messageId":"m","properties":{"total":"much"}}"#;
    let headers = kept([("tenant", &b"t0"[..])]);
    let (now, headers) = (at(1_000), Headers::of(&headers));
    let value = Some(value.as_bytes());
    pipeline.record(now, &Record { slot: 0, offset: 0, timestamp_ms: Some(now.wall_ms), key: None, value, headers });
    pipeline.tick(at(5_000));
    let mut actions = Vec::new();
    pipeline.take_actions(&mut actions);
    assert!(matches!(&actions[..], [Action::Write(letter)] if letter.account == Some(0)), "{actions:?}");
    assert!(!pipeline.accounts()[0].lane.can_finish(), "nothing is left to be sent");
}

/// Where the tenants of the tests of memory are: one is at a host that is in trouble, one is not.
const ILL: usize = 0;
const WELL: usize = 1;

fn two_hosts() -> Rig {
    hosts(|tenant| format!("http://127.0.0.1:{}", if tenant == WELL { 9 } else { 10 }))
}

/// Eight accounts that are ill, and one that is well at a host of its own.
fn hosts(of: fn(usize) -> String) -> Rig {
    let memory = Memory { lane: 2 << 20, total: 9 << 20 };
    let mut rig = Rig::new(9, memory, of);
    rig.pad = 700;
    // A fortieth of the records is of the one that is well.
    rig.topic(60_000, |offset| match offset % 40 {
        1 => Some(WELL),
        tenant => usize::try_from(tenant % 8).ok().map(|tenant| if tenant == WELL { 8 } else { tenant }),
    })
    .with_keys()
}

fn the_other_host_goes_on(mut rig: Rig) {
    let mut most = 0;
    while rig.taken(WELL) < 1_500 {
        rig.step();
        most = most.max(rig.pipeline.held_bytes());
        assert!(rig.now.mono < Duration::from_mins(2), "the healthy account got {} of 1500", rig.taken(WELL));
    }
    assert_eq!(rig.pauses, 0, "a partition paused; {most} bytes were held");
    assert!(most < 8 << 20, "{most} bytes were held");
    assert_eq!(rig.taken(ILL), 0);
    rig.finish();
}

#[test]
fn a_host_that_is_down_with_a_large_backlog_neither_fills_memory_nor_pauses_anybody() {
    the_other_host_goes_on(two_hosts().vendors(|tenant, _| if tenant == WELL { Vendor::Well } else { Vendor::Down }));
}

#[test]
fn a_host_that_hangs_with_a_large_backlog_neither_fills_memory_nor_pauses_anybody() {
    the_other_host_goes_on(two_hosts().vendors(|tenant, _| if tenant == WELL { Vendor::Well } else { Vendor::Hangs }));
}

#[test]
fn many_hosts_that_hang_at_once_neither_fill_memory_nor_pause_anybody() {
    let rig = hosts(|tenant| format!("http://127.0.0.1:{}", if tenant == WELL { 9 } else { 10 + tenant }));
    the_other_host_goes_on(rig.vendors(|tenant, _| if tenant == WELL { Vendor::Well } else { Vendor::Hangs }));
}

#[test]
fn what_was_sent_before_is_given_back_too_while_the_vendor_has_trouble_but_for_a_probe() {
    let mut pipeline = pipeline();
    let mut now = 1_000;
    // Four requests fail, and their batches wait to be sent again.
    for round in 0..4 {
        track(&mut pipeline, at(now), round, 0);
        pipeline.tick(at(now + 1_500));
        for flight in sent(&mut pipeline) {
            pipeline.answered(at(now + 1_500), flight, Err("no answer".into()));
        }
        now += 100_000;
    }
    let before = pipeline.accounts()[0].lane.held_calls();
    assert!(before > 1);
    pipeline.release(at(now), 0);
    assert_eq!(pipeline.accounts()[0].lane.held_calls(), before, "all were sent before");
    pipeline.release_by(at(now), 0, crate::lane::Lane::release_sent);
    let after = pipeline.accounts()[0].lane.held_calls();
    assert!((1..before).contains(&after), "{after} of {before}");
    assert_eq!((pipeline.partitions()[0].base(), pipeline.partitions()[0].released), (0, (before - after) as u64));
    pipeline.tick(at(now + 100_000));
    let asks = sent(&mut pipeline);
    assert_eq!(asks.iter().map(|flight| flight.calls()).collect::<Vec<_>>(), [after], "what stayed is one batch");
    for flight in asks {
        pipeline.answered(at(now + 100_000), flight, Err("the end".into()));
    }
    pipeline.abandon(at(now + 100_000));
    pipeline.unassign(&[0], at(now + 100_000));
}

#[test]
fn the_calls_of_a_record_that_the_vendor_is_asked_with_are_not_parted() {
    let mut pipeline =
        of("[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n[accounts.t0.iterable]\nregion = \"us\"\n\
        registration_key = { file = \"r\" }\nkeys = [{ file = \"k\" }]\n");
    pipeline.set_keys(at(0), 0, &vec![SecretString::from("key")].into());
    // The registration of the device waits behind its user's call.
    let value =
        r#"{"type":"identify","userId":"u","context":{"device":{"type":"iOS","token":"t"},"app":{"namespace":"a.b"}}}"#;
    record(&mut pipeline, at(1_000), 0, 0, value);
    let held = |pipeline: &Pipeline| pipeline.accounts()[0].lane.held_calls();
    assert_eq!(held(&pipeline), 2);
    pipeline.tick(at(2_500));
    let first = sent(&mut pipeline);
    assert_eq!(first.len(), 1, "the user's");
    for way in [crate::lane::Lane::release_sent, crate::lane::Lane::release_unsent] {
        pipeline.release_by(at(3_000), 0, way);
        assert_eq!(held(&pipeline), 2, "the registration stays while the user's call is on the wire");
    }
    for flight in first {
        pipeline.answered(at(3_500), flight, Err("no answer".into()));
    }
    pipeline.release_by(at(4_000), 0, crate::lane::Lane::release_sent);
    assert_eq!(held(&pipeline), 2, "and while that is what the vendor is asked with");
    pipeline.abandon(at(5_000));
    pipeline.unassign(&[0], at(5_000));
}

#[test]
fn accounts_of_one_workspace_have_equal_parts_of_its_limit() {
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
    for tenant in 0..3 {
        writeln!(
            text,
            "[accounts.t{tenant}]\nlimits = {{ users_per_minute = 600, events_per_minute = 600 }}\n\
             moengage = {{ workspace = \"W\", data_center = \"01\", keys = [{{ file = \"k\" }}] }}"
        )
        .expect("a string");
    }
    let mut rig = Rig::of(&text, Memory { lane: 16 << 20, total: 64 << 20 }).with_keys();
    rig = rig.topic(6_000, |offset| usize::try_from(offset % 3).ok());
    assert!(rig.until(Duration::from_mins(2), |_| false).is_none());
    let taken: Vec<u64> = (0..3).map(|tenant| rig.taken(tenant)).collect();
    assert!(taken.iter().sum::<u64>() > 1_000, "the limit is used: {taken:?}");
    assert!(taken.iter().min() >= taken.iter().max().map(|most| most * 9 / 10).as_ref(), "{taken:?}");
    rig.finish();
}

#[test]
fn an_absurd_limit_delays_its_own_account_at_most() {
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
    for (tenant, limit) in [1, 100_000_000].iter().enumerate() {
        writeln!(
            text,
            "[accounts.t{tenant}]\nlimits = {{ users_per_minute = {limit}, events_per_minute = {limit} }}\n\
             moengage = {{ workspace = \"W{tenant}\", data_center = \"01\", keys = [{{ file = \"k\" }}] }}"
        )
        .expect("a string");
    }
    let (lane, total) = (1 << 20, 8 << 20);
    let mut rig = Rig::of(&text, Memory { total, lane }).with_keys();
    rig.pad = 500;
    // Ten times as much as there is memory for, and half of it of the one that takes next to nothing.
    rig = rig.topic(100_000, |offset| usize::try_from(offset % 2).ok());
    let (begun, mut most, mut most_of_one) = (rig.now.mono, 0, 0);
    while rig.taken(1) < 50_000 {
        rig.step();
        most = most.max(rig.pipeline.held_bytes());
        most_of_one = most_of_one.max(rig.pipeline.accounts()[0].lane.held_bytes());
        assert!(rig.now.mono < begun + Duration::from_secs(30), "the other one got {}", rig.taken(1));
    }
    let size = usize::try_from(lane).expect("small");
    assert!((size / 2..size + size / 8).contains(&most_of_one), "it has its part: {most_of_one}");
    assert!(most < usize::try_from(total).expect("small") / 4 * 3, "{most} bytes were held");
    assert!(rig.until(Duration::from_mins(10), |_| false).is_none());
    assert!((8..=11).contains(&rig.taken(0)), "one a minute: {}", rig.taken(0));
    let reread = rig.pipeline.partitions()[0].reread;
    assert!(reread < 1_000, "{reread} records were read again for nothing");
    assert_eq!(rig.pauses, 0);
    rig.finish();
}

/// An account that sends devices' tokens, too, and a profile of it on the wire.
fn with_tokens(device: &str) -> (Pipeline, String) {
    let mut pipeline = of("[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n[accounts.t0.iterable]\n\
         region = \"us\"\nregistration_key = { file = \"r\" }\nkeys = [{ file = \"k\" }]\n");
    let mut keys = crate::keys::Keys::from(vec![SecretString::from("key")]);
    keys.add("registration_key", Some("another".into()));
    pipeline.set_keys(at(1_000), 0, &keys);
    let value = format!(
        r#"{{"type":"identify","userId":"u","messageId":"m","traits":{{"a":1}},"context":{{"device":{{"type":"{device}","token":"t"}},"app":{{"namespace":"com.acme"}}}}}}"#
    );
    (pipeline, value)
}

fn identify(pipeline: &mut Pipeline, now: Now, offset: i64, value: &str) {
    let headers = kept([("tenant", &b"t0"[..])]);
    let headers = Headers::of(&headers);
    let value = Some(value.as_bytes());
    pipeline.record(now, &Record { slot: 0, offset, timestamp_ms: Some(0), key: None, value, headers });
}

fn end(mut pipeline: Pipeline, flights: impl IntoIterator<Item = Box<Flight>>) {
    for flight in flights {
        pipeline.answered(at(3_000), flight, Err("the end".into()));
    }
    pipeline.abandon(at(3_000));
    pipeline.unassign(&[0], at(3_000));
}

#[test]
fn a_release_does_not_part_the_calls_of_one_record() {
    let (mut pipeline, value) = with_tokens("iOS");
    identify(&mut pipeline, at(1_000), 0, &value);
    pipeline.tick(at(2_000));
    let profile = sent(&mut pipeline);
    assert_eq!((profile.len(), profile[0].calls()), (1, 1), "the token waits for the profile");
    identify(&mut pipeline, at(2_000), 1, &value);
    assert_eq!(pipeline.accounts()[0].lane.held_calls(), 4);
    pipeline.release(at(2_000), 0);
    let lane = &pipeline.accounts()[0].lane;
    assert_eq!((lane.held_calls(), lane.books.released[Release::Deferred as usize]), (2, 2));
    end(pipeline, profile);
}

#[test]
fn a_call_that_was_refused_as_it_came_does_not_hold_its_sibling_back() {
    let (mut pipeline, refused) = with_tokens("toaster");
    let plain = r#"{"type":"identify","userId":"u","messageId":"m","traits":{"a":1}}"#;
    identify(&mut pipeline, at(1_000), 0, plain);
    pipeline.tick(at(2_000));
    let profile = sent(&mut pipeline);
    identify(&mut pipeline, at(2_000), 1, plain);
    identify(&mut pipeline, at(2_000), 2, &refused);
    let lane = &pipeline.accounts()[0].lane;
    assert_eq!((lane.held_calls(), lane.books.owed), (3, 4), "the token is a dead letter");
    pipeline.release(at(2_000), 0);
    assert_eq!(pipeline.accounts()[0].lane.held_calls(), 1, "the user's profiles come again in their order");
    end(pipeline, profile);
}

#[test]
fn a_partition_that_comes_while_memory_is_used_up_is_not_read_beyond_it() {
    let memory = Memory { lane: 4 << 20, total: 1 << 20 };
    let mut rig = Rig::new(1, memory, |_| "http://127.0.0.1:9".to_owned()).with_keys().topic(10_000, |_| Some(0));
    rig.pad = 8 * 1_024;
    rig.step();
    assert!(rig.paused && rig.position < 200, "{} records fill it", rig.position);
    rig.pipeline.unassign(&[0], rig.now);
    rig.assign(Contents::default());
    rig.paused = false;
    rig.step();
    assert!(rig.position < 140, "{} records of 8 KiB were read into 1 MiB", rig.position);
    let all = rig.until(Duration::from_mins(1), |rig| rig.position == 10_000);
    assert!(all.is_some(), "and it goes on: {}", rig.position);
    rig.finish();
}

#[test]
fn a_backlog_of_single_calls_is_not_looked_through_for_each_call() {
    for limit in [1, 100] {
        let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
        for (tenant, how) in ["delivery = \"single\", ", ""].iter().enumerate() {
            writeln!(
                text,
                "[accounts.t{tenant}]\nlimits = {{ requests_per_second = {{ events = {limit} }} }}\nlinger = \"100ms\"\n\
                 iterable = {{ region = \"us\", {how}keys = [{{ file = \"k\" }}] }}"
            )
            .expect("a string");
        }
        let mut rig = Rig::of(&text, Memory { lane: 64 << 20, total: 256 << 20 }).with_keys();
        // Twenty thousand of the one that sends each call in a request of its own.
        rig = rig.topic(22_000, |offset| Some(usize::from(offset % 11 == 0)));
        work::take(Work::Batch);
        rig.until(Duration::from_secs(20), |_| false);
        let (looks, requests) = (work::take(Work::Batch), usize::try_from(rig.taken(0)).expect("small"));
        assert_eq!(rig.taken(1), 2_000, "the other one goes on");
        assert!(requests >= 15 * limit, "{requests} requests");
        assert!(looks < 10 * requests + 1_000, "{looks} looks at a batch for {requests} requests");
        rig.finish();
    }
}
