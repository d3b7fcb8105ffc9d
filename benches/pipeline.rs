//! The core as the poll thread drives it, and its parts behind the encoded element; without Kafka and without HTTP.
//!
//! `pipeline` is record in, request out, answer in, settled: what it costs an event beyond `event_path` is routing, order,
//! the batch's table and the ledger. Eight tenants, half of them at each vendor, a hundred events a request; every answer
//! is good. `batch` fills one with encoded elements and takes it, `ledger` reads records and settles them as batches come
//! back, `metadata` is a commit's text for half a million records of which every third is settled, `judge` reads the
//! answer to a request of a thousand events of different users. Times are those of the number of elements that is named.

#[path = "../tests/it/cases/account.rs"]
#[allow(clippy::panic, reason = "a bench without its account is none")]
mod account;
mod core;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::clock::Now;
use forebay::destination::iterable::EVENTS;
use forebay::destination::moengage::TRANSITION;
use forebay::destination::{Answer, Destination, Elements, Shape};
use forebay::event::{Event, Origin};
use forebay::json::Tape;
use forebay::lane::batch::{Batch, Buffers, Ticket};
use forebay::source::Receipt;
use forebay::source::commit::{Contents, Place, encode};
use forebay::source::ledger::Ledger;
use http::HeaderMap;
use serde_json::{Value, json};

use self::core::event::{Form, Size};
use self::core::{Core, ITERABLE, LARGE, MOENGAGE, SMALL};

const TURN: u64 = 10_000;
const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(TURN));
    group.sample_size(20);
    for (size, record) in [("small", SMALL), ("large", LARGE)] {
        let mut core = Core::new(100);
        group.bench_function(size, |bencher| {
            bencher.iter(|| {
                for _ in 0..TURN {
                    core.record(black_box(record));
                    core.answer_all();
                }
            });
        });
        core.flush();
    }
    group.finish();
}

/// Elements of a request, each of another user.
struct Sent(Vec<Vec<u8>>);

impl Elements for Sent {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn element(&self, index: usize) -> &[u8] {
        &self.0[index]
    }
}

impl Sent {
    fn new(destination: &dyn Destination, count: u64) -> Self {
        let element = |seq: u64| {
            let mut record = Vec::new();
            let time = "2026-11-20T20:40:00.123Z";
            let event = core::event::Event { size: Size::Small, form: Form::Segment, seq, user: seq * 7_919, time };
            event.write(&mut record);
            let origin = Origin { topic: "events", partition: 0, offset: 1, timestamp_ms: None };
            let mut tape = Tape::default();
            let event = Event::decode(&record, origin, &mut tape).expect("an event");
            let (mut calls, mut element) = (Vec::new(), Vec::new());
            destination.plan(&event, NOW, &mut calls).expect("a call");
            destination.encode(&event, &calls[0], NOW, &mut element).expect("an element");
            element
        };
        Self((0..count).map(element).collect())
    }
}

fn batch(criterion: &mut Criterion) {
    let destination = account::destination("iterable", &Value::Null);
    let (head, tail) = destination.frame(EVENTS);
    let sent = Sent::new(&*destination, 100);
    let mut buffers = Buffers::default();
    let mut group = criterion.benchmark_group("batch");
    group.throughput(Throughput::Elements(100));
    group.bench_function("100", |bencher| {
        bencher.iter(|| {
            let mut batch = Batch::new(EVENTS, head, std::mem::take(&mut buffers), Duration::ZERO);
            for (offset, element) in (0..).zip(&sent.0) {
                let receipt = Receipt { slot: 0, epoch: 1, offset };
                let ticket = Ticket { receipt, user: 1, state: false, was_late: false, calls: 1, units: [0, 1] };
                let copy = |into: &mut Vec<u8>| into.extend_from_slice(element);
                let _never: Result<_, ()> = batch.append(
                    ticket,
                    |body| {
                        copy(body);
                        Ok(())
                    },
                    copy,
                );
            }
            batch.seal(tail);
            let length = batch.body().len();
            buffers = batch.disband().unwrap_or_default();
            length
        });
    });
    group.finish();
}

fn ledger(criterion: &mut Criterion) {
    // As batches come back: a hundred records of one tenant in eight, while others are still out.
    let order: Vec<i64> = (0..100)
        .flat_map(|batch| (0..8).flat_map(move |tenant| (0..100).map(move |call| 8 * (100 * batch + call) + tenant)))
        .collect();
    let records = i64::try_from(order.len()).expect("few");
    let (mut ledger, mut begin) = (Ledger::new(0, Vec::new()), 0);
    let mut group = criterion.benchmark_group("ledger");
    group.throughput(Throughput::Elements(order.len() as u64));
    group.bench_function("80000", |bencher| {
        bencher.iter(|| {
            for offset in begin..begin + records {
                ledger.read(offset);
                ledger.push(offset, 1);
            }
            for offset in &order {
                ledger.settle(begin + offset);
            }
            begin += records;
            ledger.base()
        });
    });
    group.finish();
    let mut ledger = Ledger::new(0, Vec::new());
    for offset in 0..500_000 {
        ledger.read(offset);
        ledger.push(offset, u16::from(offset % 3 != 0 || offset == 0));
    }
    let place = Place { cluster: "c", topic: "events", partition: 0 };
    criterion.bench_function("metadata", |bencher| {
        bencher.iter(|| {
            let (window, settled) = ledger.view(&[]);
            encode(place, Contents { window, settled, entries: Vec::new() })
        });
    });
}

fn judge(criterion: &mut Criterion) {
    let headers = HeaderMap::new();
    let users: Vec<String> = (0..10).map(|user| format!("user-{:07}", user * 100 * 7_919)).collect();
    let failed = json!({ "successCount": 990, "failCount": 10, "invalidUserIds": users, "failedUpdates": { "invalidUserIds": users } });
    let failed = failed.to_string();
    let cases: [(&str, &str, Shape, &[u8]); 3] = [
        ("moengage", "moengage", TRANSITION, MOENGAGE),
        ("iterable", "iterable", EVENTS, ITERABLE),
        ("iterable-10-failed", "iterable", EVENTS, failed.as_bytes()),
    ];
    let mut group = criterion.benchmark_group("judge");
    for (name, vendor, shape, body) in cases {
        let destination = account::destination(vendor, &Value::Null);
        let sent = Sent::new(&*destination, 1_000);
        let answer = Answer { status: 200, headers: &headers, body };
        group.bench_function(name, |bencher| bencher.iter(|| destination.judge(shape, black_box(&answer), &sent, NOW)));
    }
    group.finish();
}

criterion_group!(benches, pipeline, batch, ledger, judge);
criterion_main!(benches);
