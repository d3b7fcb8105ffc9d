//! The event path: a record's bytes to a decoded event to an element in an open body, for each vendor.
//!
//! Absolute times drift by a quarter between runs of one machine; compare the lines of one run. `value` is the same
//! work done with `serde_json::Value`, to be read beside it. `moengage` and `iterable` are decode, plan and encode; with
//! `-encode` the event is decoded already.

#[path = "../tests/it/cases/account.rs"]
#[allow(clippy::panic, reason = "a bench without its account is none")]
mod account;
mod core;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::clock::Now;
use forebay::destination::Destination;
use forebay::event::{Event, Origin};
use forebay::json::Tape;
use serde_json::Value;

use self::core::{LARGE, SMALL};

const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };
const ORIGIN: Origin<'_> = Origin { topic: "events", partition: 0, offset: 1, timestamp_ms: Some(1_795_207_200_000) };

fn decoded<'a>(record: &'a str, tape: &'a mut Tape) -> Event<'a> {
    Event::decode(record.as_bytes(), ORIGIN, tape).expect("an event")
}

/// Appends the event's element to a body that is begun anew when it is as large as a request.
fn encode(
    destination: &dyn Destination,
    event: &Event<'_>,
    calls: &mut Vec<forebay::destination::Call>,
    body: &mut Vec<u8>,
) {
    if body.len() > 90_000 {
        body.clear();
    }
    calls.clear();
    destination.plan(event, NOW, calls).expect("a call");
    destination.encode(event, &calls[0], NOW, body).expect("an element");
}

fn event_path(criterion: &mut Criterion) {
    for (size, record) in [("small", SMALL), ("large", LARGE)] {
        let mut group = criterion.benchmark_group(size);
        group.throughput(Throughput::Bytes(record.len() as u64));
        group.bench_function("value", |bencher| {
            bencher.iter(|| serde_json::from_str::<Value>(black_box(record)).map(|value| value.to_string().len()));
        });
        let mut tape = Tape::default();
        group.bench_function("decode", |bencher| {
            bencher.iter(|| black_box(&decoded(black_box(record), &mut tape)).kind);
        });
        for vendor in ["moengage", "iterable"] {
            let destination = account::destination(vendor, &Value::Null);
            let (mut body, mut calls) = (Vec::with_capacity(200_000), Vec::new());
            group.bench_function(vendor, |bencher| {
                bencher.iter(|| encode(&*destination, &decoded(black_box(record), &mut tape), &mut calls, &mut body));
            });
            let mut tape = Tape::default();
            let event = decoded(record, &mut tape);
            group.bench_function(format!("{vendor}-encode"), |bencher| {
                bencher.iter(|| encode(&*destination, black_box(&event), &mut calls, &mut body));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, event_path);
criterion_main!(benches);
