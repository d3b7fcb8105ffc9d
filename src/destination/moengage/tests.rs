//! MoEngage's small quotas beside its data.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;

use crate::clock::Now;
use crate::config;
use crate::destination::Answer;
use crate::pipeline::{Action, Parts, Pipeline};
use crate::source::commit::Contents;
use crate::source::record::{Headers, Record, kept};

const HOUR_MS: i64 = 3_600_000;

/// A whole hour, and so many seconds.
fn at(seconds: u64) -> Now {
    let mono = Duration::from_secs(seconds);
    Now { mono, wall_ms: 498_668 * HOUR_MS + i64::try_from(mono.as_millis()).expect("small") }
}

#[test]
fn items_are_a_thousand_requests_an_hour_and_hold_up_no_data() {
    const ITEMS: i64 = 2_500;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.toml");
    let text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n[accounts.acme]\nraw = [\"catalog\"]\n\
                moengage = { workspace = \"W\", data_center = \"02\", keys = [{ file = \"k\" }] }\n";
    std::fs::write(&file, text).expect("a file");
    let config = config::load(&file).unwrap_or_else(|problems| panic!("{problems}")).config;
    let mut pipeline = Pipeline::new(Parts::of(&config, at(0), 1));
    let slot = pipeline.slot("events", 0);
    pipeline.assign(slot, Contents::default());
    pipeline.set_keys(at(0), 0, &vec![SecretString::from("key")].into());
    for offset in 0..=ITEMS {
        // Each into a catalogue of its own, so each is a request of its own; and behind them an event.
        let catalog = offset.to_string();
        let of_item: &[(&str, &[u8])] =
            &[("tenant", b"acme"), ("forebay-shape", b"catalog"), ("forebay-catalog", catalog.as_bytes())];
        let event = r#"{"type":"track","event":"Noted","userId":"u-1","messageId":"m-1"}"#;
        let (headers, value) =
            if offset < ITEMS { (of_item, r#"{"id":"i"}"#) } else { (&[("tenant", &b"acme"[..])][..], event) };
        let headers = kept(headers.iter().copied());
        let (headers, value) = (Headers::of(&headers), Some(value.as_bytes()));
        pipeline.record(at(0), &Record { slot, offset, timestamp_ms: Some(0), key: None, value, headers });
    }
    let (mut items, mut event_at, none, mut actions) =
        (BTreeMap::<i64, u32>::new(), None, HeaderMap::new(), Vec::new());
    for second in 1..3 * 3_600 {
        let now = at(second);
        pipeline.tick(now);
        pipeline.take_actions(&mut actions);
        for action in actions.drain(..) {
            let Action::Send(flight) = action else { panic!("{action:?}") };
            let body: &[u8] = if flight.body.starts_with(b"{\"items\":") {
                *items.entry(now.wall_ms / HOUR_MS).or_default() += 1;
                br#"{"message":{"valid":{"count":1},"invalid":{"count":0}}}"#
            } else {
                event_at = event_at.or(Some(second));
                br#"{"status":"success"}"#
            };
            pipeline.answered(now, flight, Ok(Answer { status: 200, headers: &none, body }));
        }
    }
    let requests: Vec<u32> = items.into_values().collect();
    assert!(requests.iter().all(|requests| *requests <= 1_000), "{requests:?}");
    assert!(requests.iter().take(2).all(|requests| *requests > 900), "the limit is used: {requests:?}");
    assert!(event_at.is_some_and(|second| second <= 3), "{event_at:?}");
}
