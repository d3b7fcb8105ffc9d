//! The event path asks for no memory, event by event, and a request for a few pieces: counted by an allocator that counts.
//!
//! A test binary of its own, because an allocator is a whole program's.
#![allow(unreachable_pub, reason = "shared with the benches")]

#[path = "it/cases/account.rs"]
#[allow(dead_code, clippy::panic, reason = "a part of it is needed, and a test without its account is none")]
mod account;
#[path = "../benches/core/mod.rs"]
mod core;

use forebay::clock::Now;
use forebay::event::{Event, Origin};
use forebay::json::Tape;
use serde_json::Value;

use self::core::allocations;
use self::core::counting::{Counting, allocations as so_far};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_event_allocates_nothing_once_everything_has_grown() {
    let counted = allocations::count(80_000);
    println!("{counted:?}");
    assert!(counted.an_event < 0.01, "{counted:?}");
    // The flight, its receipts, and that its body has two readers; and what the lane looks through.
    assert!(counted.a_request < 6.0, "{counted:?}");
}

/// State calls are no track events, and take other ways.
#[test]
fn nor_does_what_is_written_of_a_customer() {
    let now = Now { mono: std::time::Duration::ZERO, wall_ms: 1_795_207_260_000 };
    let origin = Origin { topic: "events", partition: 0, offset: 1, timestamp_ms: Some(now.wall_ms) };
    let record = br#"{"type":"identify","messageId":"m","userId":"u-1","timestamp":"2026-11-20T20:40:00.123Z","traits":{"email":"a@example.com","plan":"free","visits":7}}"#;
    let (mut tape, mut place) = (Tape::default(), None);
    let event = Event::decode_in(&mut place, record, origin, &mut tape).expect("an event");
    for vendor in ["moengage", "iterable"] {
        let destination = account::destination(vendor, &Value::Null);
        let (mut calls, mut element) = (Vec::new(), Vec::new());
        let mut write = || {
            calls.clear();
            element.clear();
            destination.plan(event, now, &mut calls).expect("a call");
            destination.encode(event, &calls[0], now, &mut element).expect("an element");
        };
        write();
        let before = so_far();
        write();
        assert_eq!(so_far() - before, 0, "{vendor}");
    }
}
