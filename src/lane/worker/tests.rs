//! Turns of batches under a limit, through the pipeline and a vendor that takes everything.

use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;

use super::{Found, Search};
use crate::clock::Now;
use crate::config;
use crate::destination::{Answer, Shape};
use crate::lane::Flight;
use crate::pipeline::{Action, Parts, Pipeline};
use crate::source::commit::Contents;
use crate::source::record::{Headers, Record, kept};

pub(in crate::lane) const ANSWER: &[u8] = br#"{"successCount":1,"failCount":0,"invalidEmails":[],"invalidUserIds":[]}"#;
const CONFIG: &str = r#"
[kafka]
brokers = "nobody:1"
topics = ["events"]
[accounts.acme]
iterable = { region = "us", keys = [{ file = "k" }] }
"#;

pub(in crate::lane) fn at(millis: u64) -> Now {
    let mono = Duration::from_millis(millis);
    Now { mono, wall_ms: 1_795_207_260_000 + i64::try_from(millis).expect("small") }
}

pub(in crate::lane) fn pipeline() -> Pipeline {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    std::fs::write(&path, CONFIG).expect("a file");
    let config = config::load(&path).expect("a configuration").config;
    let mut pipeline = Pipeline::new(Parts::of(&config, at(0), 1));
    pipeline.set_keys(at(0), 0, &vec![SecretString::from("key")].into());
    let slot = pipeline.slot("events", 0);
    pipeline.assign(slot, Contents::default());
    pipeline
}

/// Every fifth event of a user is an identify, the others are tracks.
pub(in crate::lane) fn feed(pipeline: &mut Pipeline, now: Now, number: i64) {
    let user = number.wrapping_mul(7_919) % 200;
    let rest = if (number / 200) % 5 == user % 5 {
        r#""type":"identify","traits":{"plan":"pro"}"#
    } else {
        r#""type":"track","event":"Product Viewed","properties":{"price":1.5}"#
    };
    let value = format!(r#"{{"messageId":"m-{number}","userId":"user-{user}",{rest}}}"#);
    let headers = kept([("tenant", &b"acme"[..])]);
    let (timestamp_ms, value) = (Some(now.wall_ms), Some(value.as_bytes()));
    let headers = Headers::of(&headers);
    pipeline.record(now, &Record { slot: 0, offset: number, timestamp_ms, key: None, value, headers });
}

/// Answers what was sent 20 ms ago, and takes what is sent now.
fn exchange(pipeline: &mut Pipeline, now: Now, wire: &mut Vec<(Duration, Box<Flight>)>) {
    let headers = HeaderMap::new();
    let (back, on): (Vec<_>, Vec<_>) =
        wire.drain(..).partition(|(sent, _)| now.mono.saturating_sub(*sent) >= Duration::from_millis(20));
    *wire = on;
    for (_, flight) in back {
        pipeline.answered(now, flight, Ok(Answer { status: 200, headers: &headers, body: ANSWER }));
    }
    let mut actions = Vec::new();
    pipeline.take_actions(&mut actions);
    for action in actions {
        if let Action::Send(flight) = action {
            wire.push((now.mono, flight));
        }
    }
}

#[test]
fn under_a_limit_no_shard_waits_for_ever_behind_another() {
    let (mut pipeline, mut wire, mut number) = (pipeline(), Vec::new(), 0);
    let mut longest = 0;
    // Five requests a second for users, ten for events: far above what 200 events a second need in batches.
    for step in 0..3_000_u64 {
        let now = at(step * 10);
        feed(&mut pipeline, now, number);
        feed(&mut pipeline, now, number + 1);
        number += 2;
        pipeline.tick(now);
        exchange(&mut pipeline, now, &mut wire);
        let oldest = pipeline.accounts()[0].lane.oldest_ms();
        longest = longest.max(oldest.map_or(0, |oldest| now.wall_ms - oldest));
    }
    // What still waits is given back: a batch that is dropped with calls in it is a bug.
    pipeline.abandon(at(31_000));
    pipeline.unassign(&[0], at(31_000));
    exchange(&mut pipeline, at(31_000), &mut wire);
    assert!(longest < 2_500, "the oldest call waited {longest} ms");
}

#[test]
fn of_what_is_ready_the_first_of_each_shape_in_each_queue_is_found() {
    let mut search = Search::default();
    for index in 0..1_000_usize {
        search.offer(Found {
            queue: index % 2,
            index,
            ready: true,
            shape: Shape(u8::try_from(index % 3).unwrap()),
            attempts: u32::from(index < 600),
            opened: Duration::from_millis((1_000 - index) as u64),
        });
    }
    let mut found: Vec<_> = search.found.iter().map(|found| (found.queue, found.shape.0, found.index)).collect();
    found.sort_unstable();
    // Those that failed less first, then the oldest, which here are the last.
    assert_eq!(found, [(0, 0, 996), (0, 1, 994), (0, 2, 998), (1, 0, 999), (1, 1, 997), (1, 2, 995)]);
}
