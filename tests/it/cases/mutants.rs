//! Every case with a few bytes changed, many times over: whatever comes in, nothing panics, what is encoded is one
//! strict JSON text that fits into a body, and a judgement names only calls that there are.

use std::time::Duration;

use forebay::clock::Now;
use forebay::destination::{Answer, CallVerdict, Destination};
use forebay::event::{Event, Origin, RawForm};
use forebay::json::Tape;
use http::HeaderMap;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::{Sent, VENDORS, account, cases, shape_of};

const ROUNDS: usize = 150;
const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };

fn mutant(rng: &mut StdRng, text: &str) -> Vec<u8> {
    const PIECES: [&[u8]; 24] = [
        b"\"", b"\\", b"{", b"}", b"[", b"]", b":", b",", b"0", b"9", b"-", b".", b"e", b"u", b"null", b"true",
        b"\"\"", b"{}", b"[]", b"1e400", b"\\ud800", b"\xff", b" ", b"T",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.random_range(1..4) {
        let from = rng.random_range(0..=bytes.len());
        let to = bytes.len().min(from + rng.random_range(0..4));
        let piece = PIECES[rng.random_range(0..PIECES.len())];
        bytes.splice(from..to, if rng.random_bool(0.7) { piece.iter().copied() } else { b"".iter().copied() });
    }
    bytes
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn changed_events_are_refused_or_encoded_to_strict_json() {
    let mut rng = StdRng::seed_from_u64(11);
    for vendor in VENDORS {
        for (_, case) in cases(vendor) {
            let Some(event) = case.get("event").or(case.get("value")) else { continue };
            let destination = account::destination(vendor, &case["settings"]);
            for _ in 0..ROUNDS {
                let value = mutant(&mut rng, &text_of(event));
                let origin = Origin { topic: "t", partition: 0, offset: 0, timestamp_ms: Some(0) };
                let mut tape = Tape::default();
                let decoded = match case["shape"].as_str() {
                    Some(shape) => {
                        let form = RawForm { shape, catalog: case["catalog"].as_str() };
                        Event::decode_raw(&value, origin, form, &mut tape)
                    }
                    None => Event::decode(&value, origin, &mut tape),
                };
                if let Ok(event) = decoded {
                    // A schema registry's header may stand before it.
                    let json = if value.first() == Some(&0) { &value[5..] } else { &value[..] };
                    serde_json::from_slice::<Value>(json).expect("serde_json accepts what decoding does");
                    encode(&*destination, &event);
                }
            }
        }
    }
}

fn encode(destination: &dyn Destination, event: &Event<'_>) {
    let mut calls = Vec::new();
    if destination.plan(event, NOW, &mut calls).is_err() {
        return;
    }
    for call in &calls {
        let (head, tail) = destination.frame(call.shape);
        let mut body = head.to_vec();
        if destination.encode(event, call, NOW, &mut body).is_ok() {
            body.extend_from_slice(tail);
            let body = String::from_utf8(body).expect("UTF-8");
            Tape::parse(&body).expect(&body);
            serde_json::from_str::<Value>(&body).expect(&body);
        }
    }
}

#[test]
fn changed_answers_are_judged_whatever_they_are() {
    let mut rng = StdRng::seed_from_u64(12);
    let headers = HeaderMap::new();
    for vendor in VENDORS {
        for (_, case) in cases(vendor) {
            let Some(answer) = case.get("answer") else { continue };
            let destination = account::destination(vendor, &case["settings"]);
            let elements: Vec<_> = case["elements"].as_array().into_iter().flatten().map(Value::to_string).collect();
            let sent = Sent(elements);
            for _ in 0..ROUNDS {
                let body = mutant(&mut rng, &text_of(&answer["body"]));
                let given = answer["status"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or(0);
                let status = if rng.random_bool(0.8) { given } else { rng.random_range(0..1000) };
                let answer = Answer { status, headers: &headers, body: &body };
                let shape = shape_of(&*destination, &case["shape"]);
                let judgement = destination.judge(shape, &answer, &sent, NOW);
                assert!(judgement.calls.is_sorted_by(|(one, _), (other, _)| one < other));
                assert!(judgement.calls.iter().all(|(index, _)| *index < sent.0.len()));
                let apart = judgement.calls.iter().any(|(_, call)| matches!(call, CallVerdict::Apart(_)));
                assert!(!apart || sent.0.len() > 1, "a call alone is never told apart");
            }
        }
    }
}
