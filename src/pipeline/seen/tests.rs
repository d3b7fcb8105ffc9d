//! What people are told is so: of one record, and of what really binds.

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Now;
use crate::config::Memory;
use crate::lane::Flight;
use crate::metrics::report::{AccountReport, Report};
use crate::pipeline::tests::rig::{Rig, Vendor};
use crate::pipeline::tests::sent;
use crate::pipeline::{MAX_HOST, Pipeline};
use crate::source::commit::{Contents, Entry};
use crate::source::consumer::State;
use crate::source::record::{Headers, Record, kept};

const SECOND: Duration = Duration::from_secs(1);
const LANE: u64 = 64 << 10;

fn report(pipeline: &Pipeline, now: Now) -> Vec<AccountReport> {
    Report::new(now, pipeline, &State::default()).accounts
}

fn bound(pipeline: &Pipeline, now: Now, account: usize) -> (&'static str, String) {
    let binds = report(pipeline, now)[account].binds.clone();
    (binds.what, binds.reason)
}

/// Lets time pass; how often an account was deferred, and how often since the lowest record that it owes. A record's time is
/// its offset here.
fn times(rig: &mut Rig, time: Duration) -> (usize, usize) {
    let (mut told, mut exact, end) = (0, 0, rig.now.mono + time);
    while rig.now.mono < end {
        rig.step();
        for account in report(&rig.pipeline, rig.now) {
            for deferred in &account.deferred {
                let (offset, time) = deferred.since.expect("it is known since when");
                assert!(time == offset && offset <= deferred.offset, "{deferred:?}");
                told += 1;
                exact += usize::from(offset == deferred.offset);
            }
            let lowest = account.deferred.iter().map(|deferred| deferred.offset).min();
            assert!(lowest.is_none_or(|lowest| account.oldest_ms.is_none_or(|oldest| oldest <= lowest)));
        }
    }
    (told, exact)
}

fn shared(tenants: usize) -> Rig {
    let memory = Memory { lane: LANE, total: 8 << 20 };
    let mut rig = Rig::new(tenants, memory, |tenant| format!("http://127.0.0.1:{}", 9 + tenant));
    rig.pad = 300;
    rig.topic(20_000, |offset| usize::try_from(offset % 3).ok())
}

#[test]
fn since_which_record_an_account_is_deferred_and_of_what_time_that_is_are_said_of_one_record() {
    let vendors: [fn(usize, Now) -> Vendor; 3] = [
        |_, now| if now.mono < 20 * SECOND { Vendor::Down } else { Vendor::Well },
        |_, now| if now.mono < 20 * SECOND { Vendor::Hangs } else { Vendor::Well },
        |_, _| Vendor::Well,
    ];
    for (index, vendor) in vendors.into_iter().enumerate() {
        let mut rig = shared(3).with_keys().vendors(vendor);
        let (told, exact) = times(&mut rig, 40 * SECOND);
        assert!(told > 100 && 3 * exact > told, "{index}: {exact} of {told}");
        rig.finish();
    }
    // What cannot be sent for want of a key is given back at once, but for what the vendor is asked with.
    let mut rig = shared(3);
    let (told, exact) = times(&mut rig, 10 * SECOND);
    assert!(told > 100 && exact == told, "{exact} of {told}");
    rig = rig.with_keys();
    let (told, exact) = times(&mut rig, 30 * SECOND);
    assert!(told > 100 && 3 * exact > told, "{exact} of {told}");
    rig.finish();
}

#[test]
fn a_commit_that_does_not_say_the_time_leaves_it_unknown_until_the_record_was_read() {
    let mut rig = shared(3);
    let account = rig.pipeline.accounts()[0].hash;
    let entries = vec![Entry { account, next: 12_000, holes: vec![6_000, 9_000] }];
    rig.assign(Contents { window: 18_000, settled: Vec::new(), entries });
    let of = |rig: &Rig| {
        let report = report(&rig.pipeline, rig.now);
        report[0].deferred.first().map(|deferred| (deferred.offset, deferred.since))
    };
    assert_eq!(of(&rig), Some((6_000, None)));
    rig.until(SECOND, |rig| of(rig) == Some((6_000, Some((6_000, 6_000))))).expect("one record tells");
    rig.finish();
}

/// An account of its own partition order: records of four partitions take turns.
#[test]
fn of_a_request_on_the_wire_the_first_record_of_each_partition_is_known() {
    const SLOTS: u32 = 4;
    let mut text = String::from("[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n");
    text.push_str("[accounts.t0]\niterable = { region = \"us\", keys = [{ file = \"k\" }] }\n");
    let rig = Rig::of(&text, Memory { lane: LANE, total: 8 << 20 }).with_keys();
    let (mut pipeline, now) = (rig.pipeline, rig.now);
    for number in 1..4 {
        let slot = pipeline.slot("events", number);
        pipeline.assign(slot, Contents::default());
    }
    let value = format!(r#"{{"type":"track","event":"E","userId":"u","properties":{{"pad":"{}"}}}}"#, "x".repeat(300));
    let headers = kept([("tenant", &b"t0"[..])]);
    let mut wire = Vec::new();
    for number in 0..400_u32 {
        let (slot, offset) = (number % SLOTS, i64::from(number / SLOTS));
        let time = 1_000 * i64::from(slot + 1) + offset;
        let value = Some(value.as_bytes());
        let headers = Headers::of(&headers);
        pipeline.record(now, &Record { slot, offset, timestamp_ms: Some(time), key: None, value, headers });
        if number == 50 {
            pipeline.tick(now.later(5 * SECOND));
            wire.extend(sent(&mut pipeline));
        }
    }
    assert_eq!(wire.iter().map(|flight| flight.calls()).collect::<Vec<_>>(), [51]);
    let deferred = report(&pipeline, now)[0].deferred.clone();
    let told: Vec<_> = deferred.iter().map(|deferred| deferred.since).collect();
    assert_eq!(told, [1, 2, 3, 4].map(|slot| Some((0, 1_000 * slot))));
    end(pipeline, wire, now);
}

fn end(mut pipeline: Pipeline, wire: impl IntoIterator<Item = Box<Flight>>, now: Now) {
    for flight in wire {
        pipeline.answered(now, flight, Err("the end".into()));
    }
    pipeline.abandon(now);
    let slots: Vec<u32> = (0..).take(pipeline.partitions().len()).collect();
    pipeline.unassign(&slots, now);
}

/// So many tenants at each host send one call after the other, and nobody answers.
fn crowd(hosts: usize, tenants: usize, total: u64, pad: usize) -> Rig {
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
    for tenant in 0..hosts * tenants {
        writeln!(
            text,
            "[accounts.t{tenant}]\nbase_url = \"http://127.0.0.1:{}\"\nmax_in_flight = 64\nmax_calls = 1\nlinger = \"0s\"\n\
             iterable = {{ region = \"us\", keys = [{{ file = \"k\" }}] }}\n\
             limits = {{ requests_per_second = {{ events = 1000 }} }}",
            9 + tenant % hosts
        )
        .expect("a string");
    }
    let mut rig = Rig::of(&text, Memory { lane: 16 << 20, total }).with_keys().vendors(|_, _| Vendor::Hangs);
    rig.pad = pad;
    rig
}

#[test]
fn a_lane_that_waits_for_the_wire_says_so_and_for_which_part_of_it() {
    let binds = |rig: &Rig| {
        let told = report(&rig.pipeline, rig.now);
        let waits = told.iter().filter(|account| account.binds.what == "wire");
        waits.map(|account| account.binds.reason.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let only = |reason: &str| std::iter::once(reason.to_owned()).collect::<std::collections::BTreeSet<_>>();
    let mut rig = crowd(1, 8, 256 << 20, 0).topic(2_000, |offset| usize::try_from(offset % 8).ok());
    rig.until(SECOND, |_| false);
    assert_eq!((rig.wire.len(), binds(&rig)), (MAX_HOST - MAX_HOST / 8, only("requests to its host")));
    let other = bound(&rig.pipeline, rig.now, 7);
    assert!(other.0 == "wire" || other.0 == "in_flight", "{other:?}");
    rig.until(3 * SECOND, |_| false);
    assert_eq!(binds(&rig), only("its host's accounts that hang"));
    rig.finish();

    let mut rig = crowd(40, 2, 256 << 20, 0).topic(20_000, |offset| usize::try_from(offset % 80).ok());
    rig.until(3 * SECOND / 2, |_| false);
    assert!(rig.wire.len() > 3 * MAX_HOST, "{}", rig.wire.len());
    assert_eq!(binds(&rig), only("requests to all hosts"));
    rig.finish();

    let mut rig = crowd(1, 8, 32 << 20, 20_000).topic(200, |offset| usize::try_from(offset % 8).ok());
    rig.until(SECOND, |_| false);
    assert_eq!(binds(&rig), only("bytes to its host ([memory] total)"));
    rig.finish();
}

#[test]
fn a_lane_that_memory_has_closed_names_the_setting_that_is_short() {
    let memory = Memory { lane: 4 << 20, total: 1 << 20 };
    let rig = Rig::new(1, memory, |_| "http://127.0.0.1:9".into()).with_keys();
    let mut rig = rig.topic(2_000, |_| Some(0));
    rig.step();
    rig.pipeline.letter_bytes = 900 << 10;
    rig.pipeline.release(rig.now, 0);
    rig.until(5 * SECOND, |rig| rig.pipeline.accounts()[0].lane.held_calls() == 0).expect("what it sent is taken");
    rig.until(SECOND, |_| false);
    assert_eq!(bound(&rig.pipeline, rig.now, 0), ("budget", "[memory] total".to_owned()));
    // It has room itself, and nothing is read again for anybody.
    rig.pipeline.letter_bytes = 2 << 20;
    rig.until(SECOND, |_| false);
    rig.pipeline.accounts[0].closed = None;
    assert_eq!(bound(&rig.pipeline, rig.now, 0), ("budget", "[memory] total".to_owned()));
    rig.pipeline.letter_bytes = 0;
    rig.until(5 * SECOND, |rig| rig.taken(0) == 2_000).expect("it goes on");
    assert_eq!(bound(&rig.pipeline, rig.now, 0), ("nothing", String::new()));
    rig.finish();

    let memory = Memory { lane: 64 << 10, total: 64 << 20 };
    let mut rig = Rig::new(1, memory, |_| "http://127.0.0.1:9".into()).with_keys();
    rig.pad = 2_000;
    let mut rig = rig.topic(200, |_| Some(0));
    rig.step();
    rig.until(SECOND, |rig| rig.pipeline.accounts()[0].closed.is_some()).expect("it is full");
    assert_eq!(bound(&rig.pipeline, rig.now, 0), ("budget", "[memory] lane".to_owned()));
    rig.finish();
}

#[test]
fn what_a_commit_says_is_held_once_for_all_that_are_deferred_and_is_counted() {
    const TENANTS: usize = 300;
    const SETTLED: i32 = 9_000;
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
    for tenant in 0..TENANTS {
        writeln!(text, "[accounts.t{tenant}]\niterable = {{ region = \"us\", keys = [{{ file = \"k\" }}] }}")
            .expect("a string");
    }
    let rig = Rig::of(&text, Memory { lane: 1 << 10, total: 256 << 20 });
    let mut rig = rig.topic(40_000, |offset| usize::try_from(offset % 300).ok());
    // Every second record of what lies further on is settled.
    let settled = (0..i64::from(SETTLED)).map(|index| 20_000 + 2 * index..20_001 + 2 * index).collect();
    rig.assign(Contents { window: 0, settled, entries: Vec::new() });
    let all = |rig: &Rig| rig.pipeline.partitions()[0].deferred().count() == TENANTS;
    rig.until(SECOND, all).expect("nobody has a key: all are deferred");
    let remembered = rig.pipeline.partitions[0].remembered();
    let once = usize::try_from(SETTLED).expect("positive") * size_of::<std::ops::Range<i64>>();
    assert!(remembered > once && remembered < once + TENANTS * 1_024, "{remembered} bytes, {once} for what is settled");
    // They are caught up on, and what was settled is not sent again.
    let mut rig = rig.with_keys();
    rig.pipeline.bounds.lane = 1 << 20;
    let all = |rig: &Rig| rig.position == rig.end && rig.pipeline.partitions()[0].base() == rig.end;
    rig.until(60 * SECOND, all).expect("all is settled");
    assert_eq!(rig.taken.values().sum::<u64>(), 31_000);
    rig.finish();
}
