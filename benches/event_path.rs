//! The event path: a record's bytes to a decoded event to an element in an open body, for each vendor.
//!
//! Absolute times drift by a quarter between runs of one machine; compare the lines of one run. `value` is the same
//! work done with `serde_json::Value`, to be read beside it.

#[path = "../tests/it/cases/account.rs"]
#[allow(clippy::panic, reason = "a bench without its account is none")]
mod account;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::clock::Now;
use forebay::event::{Event, Origin};
use serde_json::Value;

const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };
const ORIGIN: Origin<'_> = Origin { topic: "events", partition: 0, offset: 1, timestamp_ms: Some(1_795_207_200_000) };

/// A record as producers write it: 340 bytes.
const SMALL: &str = r#"{"type":"track","messageId":"0b0f6a8e-5c0c-4b55-9f77-0d3b0c1f2a11","userId":"user-0001234","event":"Product Viewed","timestamp":"2026-11-20T20:40:00.123Z","properties":{"product_id":"sku-12345","category":"shoes","price":79.9,"currency":"EUR","in_stock":true},"context":{"app":{"version":"4.12.0"},"device":{"id":"d-1","type":"android"}}}"#;

/// One with nested properties and a browser's context: 1 KB.
const LARGE: &str = r#"{"type":"track","messageId":"0b0f6a8e-5c0c-4b55-9f77-0d3b0c1f2a11","userId":"user-0001234","anonymousId":"7c1f0f7e-0a55-4c1a-8d7e-0b9f6a8e5c0c","event":"Checkout Started","timestamp":"2026-11-20T20:40:00.123Z","originalTimestamp":"2026-11-20T20:40:00.001Z","sentAt":"2026-11-20T20:40:01Z","properties":{"order_id":"50314b8e9bcf000000000000","value":125.4,"revenue":115.4,"shipping":10,"currency":"EUR","coupon":"hasbros","products":[{"product_id":"507f1f77bcf86cd799439011","sku":"45790-32","name":"Monopoly: 3rd Edition","price":19,"quantity":1,"category":"Games"},{"product_id":"505bd76785ebb509fc183733","sku":"46493-32","name":"Uno Card Game","price":3,"quantity":2,"category":"Games"}]},"context":{"ip":"192.0.2.17","locale":"hu-HU","timezone":"Europe/Budapest","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","library":{"name":"analytics.js","version":"2.11.1"},"page":{"path":"/checkout","referrer":"","url":"https://shop.example.com/checkout"},"app":{"version":"4.12.0"}}}"#;

fn event_path(criterion: &mut Criterion) {
    for (size, record) in [("small", SMALL), ("large", LARGE)] {
        let mut group = criterion.benchmark_group(size);
        group.throughput(Throughput::Bytes(record.len() as u64));
        group.bench_function("value", |bencher| {
            bencher.iter(|| serde_json::from_str::<Value>(black_box(record)).map(|value| value.to_string().len()));
        });
        group.bench_function("decode", |bencher| bencher.iter(|| Event::decode(black_box(record.as_bytes()), ORIGIN)));
        for vendor in ["moengage", "iterable"] {
            let destination = account::destination(vendor, &Value::Null);
            let (mut body, mut calls) = (Vec::with_capacity(200_000), Vec::new());
            group.bench_function(vendor, |bencher| {
                bencher.iter(|| {
                    if body.len() > 90_000 {
                        body.clear();
                    }
                    calls.clear();
                    let event = Event::decode(black_box(record.as_bytes()), ORIGIN).expect("an event");
                    destination.plan(&event, NOW, &mut calls).expect("a call");
                    destination.encode(&event, &calls[0], NOW, &mut body).expect("an element");
                    body.len()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, event_path);
criterion_main!(benches);
