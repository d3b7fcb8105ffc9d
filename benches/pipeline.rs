//! The core as the poll thread drives it: record in, request out, answer in, settled; without Kafka and without HTTP.
//!
//! What this costs an event beyond `event_path` is routing, order, the batch's table and the ledger. Eight tenants with
//! an account at each vendor in turn; every answer is good. `metadata` is a commit's text for half a million records
//! of which every third is settled.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::clock::Now;
use forebay::config;
use forebay::destination::Answer;
use forebay::pipeline::{Action, Parts, Pipeline};
use forebay::source::commit::{Contents, Place, encode};
use forebay::source::ledger::Ledger;
use forebay::source::record::{Headers, Record};
use http::HeaderMap;
use secrecy::SecretString;

const SMALL: &str = r#"{"type":"track","messageId":"0b0f6a8e-5c0c-4b55-9f77-0d3b0c1f2a11","userId":"user-0001234","event":"Product Viewed","timestamp":"2026-11-20T20:40:00.123Z","properties":{"product_id":"sku-12345","category":"shoes","price":79.9,"currency":"EUR","in_stock":true},"context":{"app":{"version":"4.12.0"},"device":{"id":"d-1","type":"android"}}}"#;
const MOENGAGE: &[u8] =
    br#"{"status":"success","message":"Your request has been accepted and will be processed soon."}"#;
const ITERABLE: &[u8] = br#"{"successCount":100,"failCount":0,"invalidEmails":[],"invalidUserIds":[]}"#;
const TENANTS: [&str; 8] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"];
const TURN: u64 = 10_000;

/// A pipeline whose limits never bind, reading partition 0 from its beginning.
fn pipeline() -> Pipeline {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ngroup = \"g\"\ntopics = [\"events\"]\n".to_owned();
    for (index, tenant) in TENANTS.iter().enumerate() {
        let vendor = if index % 2 == 0 {
            format!(
                "limits.events_per_minute = 100000000\nmoengage.workspace = \"W\"\nmoengage.data_center = \"0{}\"\nmoengage",
                index / 2 + 1
            )
        } else {
            "limits.requests_per_second.events = 100000\niterable.region = \"us\"\niterable".to_owned()
        };
        let account = format!("[accounts.{tenant}]\n{vendor}.keys = [{{ file = \"k\" }}]\n");
        text.push_str(&account);
    }
    std::fs::write(&path, text).expect("a file");
    let config = config::load(&path).expect("a configuration").config;
    let mut pipeline = Pipeline::new(Parts::of(&config, at(0), 1));
    for lane in 0..8 {
        pipeline.set_keys(at(0), lane, &vec![SecretString::from("key")].into());
    }
    let slot = pipeline.slot("events", 0);
    pipeline.assign(slot, Contents::default());
    pipeline
}

/// The time at a turn: each takes ten seconds, so that limits have refilled.
fn at(turn: u64) -> Now {
    let mono = Duration::from_secs(100 + 10 * turn);
    Now { mono, wall_ms: 1_795_207_260_000 + i64::try_from(mono.as_millis()).unwrap_or(0) }
}

fn answer_all(pipeline: &mut Pipeline, now: Now, actions: &mut Vec<Action>) {
    let headers = HeaderMap::new();
    pipeline.take_actions(actions);
    while !actions.is_empty() {
        for action in actions.drain(..) {
            if let Action::Send(flight) = action {
                let body = if flight.target.path.contains("transition") { MOENGAGE } else { ITERABLE };
                pipeline.answered(now, flight, Ok(Answer { status: 200, headers: &headers, body }));
            }
        }
        pipeline.take_actions(actions);
    }
}

fn core(criterion: &mut Criterion) {
    let (mut pipeline, mut actions, mut offset, mut turn) = (pipeline(), Vec::new(), 0, 0);
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(TURN));
    group.sample_size(20);
    group.bench_function("small", |bencher| {
        bencher.iter(|| {
            turn += 1;
            let now = at(turn);
            pipeline.tick(now);
            for _ in 0..TURN {
                let tenant = TENANTS[usize::try_from(offset % 8).unwrap_or(0)];
                let headers: &[(&str, &[u8])] = &[("tenant", tenant.as_bytes())];
                let record = Record {
                    slot: 0,
                    offset,
                    timestamp_ms: Some(now.wall_ms),
                    key: Some(b"user-0001234"),
                    value: Some(black_box(SMALL.as_bytes())),
                    headers: &headers as &dyn Headers,
                };
                offset += 1;
                pipeline.record(now, &record);
                answer_all(&mut pipeline, now, &mut actions);
            }
            let later = now.later(Duration::from_secs(5));
            pipeline.tick(later);
            answer_all(&mut pipeline, later, &mut actions);
        });
    });
    group.finish();
}

fn commit(criterion: &mut Criterion) {
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

criterion_group!(benches, core, commit);
criterion_main!(benches);
