//! Any JSON object as traits or properties: what is encoded equals the plainest mapping, and a body holds exactly the
//! elements that were put into it, within the vendor's limits.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use forebay::clock::Now;
use forebay::config::Config;
use forebay::destination::{Answer, Shape};
use forebay::event::{Event, Origin};
use forebay::explain::Explainer;
use forebay::json::{Raw, Tape};
use forebay::pipeline::{Action, Parts, Pipeline};
use forebay::source::commit::Contents;
use forebay::source::record::{Headers, Record, kept};
use http::HeaderMap;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::arbitrary::{Json, name, number, object, string, value};
use super::reference::is_expected;
use super::{VENDORS, account, reference};

/// Names that mean something to an encoder, and names of what it writes itself.
const NAMES: &[&str] = &[
    "name",
    "firstname",
    "first_name",
    "firstName",
    "lastName",
    "gender",
    "mobile",
    "phone",
    "phoneNumber",
    "source",
    "age",
    "transactions",
    "revenue",
    "moe_unsubscribe",
    "moeUnsubscribe",
    "id",
    "_id",
    "userId",
    "plan",
    "data",
    "type",
    "customer_id",
    "attributes",
    "actions",
    "dataFields",
    "eventName",
    "createdAt",
    "elements",
    "users",
    "events",
    "preferUserId",
    "email",
    "campaignId",
    "templateId",
    "status",
    "user_id",
    "moe_x",
    "moe_gaid",
    "moe_project_name",
    "USER_ATTRIBUTE_UNIQUE_ID",
    "products",
    "total",
];

const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };

/// As many rounds as fit into a test that runs each time; more by `PROPTEST_CASES`.
pub(super) fn rounds(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn event(kind: &str, field: &str, object: &Json, space: &str) -> String {
    let object = object.text(space);
    format!(
        r#"{{"type":"{kind}","userId":"u-1","messageId":"m-1","event":"Order Placed",{space}"{field}":{object}{space}}}"#
    )
}

/// Whether two JSON values mean the same; numbers that became text mean their number.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::String(a), Value::String(b)) if a != b => {
            // `serde_json` reads the last digits of a number less exactly than it is written.
            let number = |text: &str| text.parse::<f64>().ok();
            number(a).zip(number(b)).is_some_and(|(a, b)| (a - b).abs() <= a.abs() * 1e-15)
        }
        _ => one == other,
    }
}

proptest! {
    #![proptest_config(rounds(600))]

    #[test]
    fn any_traits_and_properties_are_encoded_as_the_plainest_mapping_says(
        object in object(NAMES), identify: bool, flatten: bool, spaced: bool
    ) {
        let (kind, field) = if identify { ("identify", "traits") } else { ("track", "properties") };
        let text = event(kind, field, &object, if spaced { "\n \t" } else { "" });
        let plain: Value = serde_json::from_str(&text).expect("what serde_json reads");
        let nested = if flatten { "flatten" } else { "keep" };
        let found = reference::encoded("moengage", &json!({ "nested": nested }), &text);
        let expected = reference::moengage(&plain, flatten);
        prop_assert!(is_expected(&found, &expected, same), "{text}\nfound {found:?}\nnot   {expected:?}");
        for identity in ["hybrid", "email", "user_id"] {
            let settings = json!({ "nested": nested, "iterable": { "identity": identity } });
            let found = reference::encoded("iterable", &settings, &text);
            let expected = reference::iterable(&plain, flatten, identity);
            prop_assert!(is_expected(&found, &expected, same), "{identity}: {text}\nfound {found:?}\nnot   {expected:?}");
        }
    }

    /// Our scanner and `serde_json`, on any value and on what is left of one when something is cut out or put in.
    #[test]
    fn the_scanner_accepts_what_serde_json_accepts_and_reads_the_same(
        value in value(NAMES), spaced: bool, at: prop::sample::Index, cut in 0_usize..4,
        piece in prop::sample::select(vec!["", "\"", "\\", "{", "}", "[", "]", ":", ",", "0", "-", ".", "e9", "\\u", "\\ud800", "\u{0}", " ", "\u{feff}", "tru", "1e999"])
    ) {
        let text = value.text(if spaced { " \r\n" } else { "" });
        agree(&text)?;
        let mut from = at.index(text.len() + 1);
        while !text.is_char_boundary(from) { from -= 1; }
        let mut to = (from + cut).min(text.len());
        while !text.is_char_boundary(to) { to += 1; }
        let mut broken = text.clone();
        broken.replace_range(from..to, piece);
        agree(&broken)?;
    }

    #[test]
    fn numbers_strings_and_soup_are_judged_alike(
        number in number(), string in string(), name in name(NAMES),
        soup in "[-+0-9.eE]{0,12}", token in "[\\[\\]{}:,\"\\\\ntrueflsa0-9. ]{0,24}"
    ) {
        for text in [number, string, name, soup, token] {
            agree(&text)?;
        }
    }

    #[test]
    fn a_message_is_decoded_exactly_if_serde_json_reads_an_object_of_a_known_type(
        object in object(&["type", "userId", "event", "context", "traits", "properties", "messageId", "timestamp"])
    ) {
        let text = object.text("");
        let plain: Value = serde_json::from_str(&text).expect("an object");
        let origin = Origin { topic: "t", partition: 0, offset: 0, timestamp_ms: None };
        let known = plain["type"].as_str().is_some_and(|kind| forebay::event::Kind::of(kind).is_some());
        prop_assert_eq!(Event::decode(text.as_bytes(), origin, &mut Tape::default()).is_ok(), known, "{}", text);
    }

    #[test]
    fn a_body_holds_exactly_the_encoded_elements_within_the_limits(
        objects in prop::collection::vec((object(NAMES), any::<bool>(), 0_usize..30_000), 1..24)
    ) {
        let events: Vec<String> = objects.iter().enumerate().map(|(index, (object, identify, padding))| {
            let (kind, field) = if *identify { ("identify", "traits") } else { ("track", "properties") };
            let padded = format!(r#","context":{{"traits":{{"x":"{0}"}}}},"userId":"u-{index}","{field}":{{"big":"{0}","own":"#, "y".repeat(*padding));
            let text = event(kind, field, object, "");
            format!("{}{padded}{}}}}}", &text[..text.len() - 1], object.text(""))
        }).collect();
        for vendor in VENDORS {
            bodies_hold(vendor, &events)?;
        }
    }
}

/// Both refuse a text, or both read the same from it. Nesting that only the scanner finds too deep is no difference: its
/// bound is lower on purpose.
fn agree(text: &str) -> Result<(), TestCaseError> {
    let (ours, theirs) = (Tape::parse(text), serde_json::from_str::<Value>(text));
    prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?}: {:?} and {:?}", text, ours, theirs);
    if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
        prop_assert_eq!(read(ours.value()), theirs, "{}", text);
    }
    Ok(())
}

/// What our tools read, as a `Value`.
fn read(raw: Raw<'_>) -> Value {
    if raw.is_object() {
        return raw
            .fields()
            .map(|field| (field.name().into_owned(), read(field.value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
    }
    if raw.is_array() {
        return raw.items().map(read).collect::<Vec<_>>().into();
    }
    match raw.string() {
        Some(text) => json!(text),
        None => serde_json::from_str(raw.get()).unwrap_or_else(|error| panic!("{}: {error}", raw.get())),
    }
}

/// What a pipeline sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Bodies, and how many calls each holds.
    pub(super) bodies: Vec<(Bytes, usize)>,
    /// Offset and reason of each dead letter.
    pub(super) letters: Vec<(i64, &'static str)>,
}

/// Whatever the vendor is: it took everything.
const TAKEN: &[u8] = br#"{"status":"success","code":"Success","msg":"","successCount":1,"failCount":0,"invalidEmails":[],"invalidUserIds":[]}"#;

/// Gives a pipeline these events, and the vendor whatever it wants to send, until nothing is owed.
pub(super) fn sent(config: &Config, events: &[impl AsRef<[u8]>]) -> Sent {
    let mut pipeline = Pipeline::new(Parts::of(config, NOW, 1));
    pipeline.set_keys(NOW, 0, &vec![SecretString::from("key")].into());
    let slot = pipeline.slot("events", 0);
    pipeline.assign(slot, Contents::default());
    let headers = kept([("tenant", &b"acme"[..])]);
    let headers = Headers::of(&headers);
    for (offset, event) in (0..).zip(events) {
        let value = Some(event.as_ref());
        pipeline.record(NOW, &Record { slot, offset, timestamp_ms: None, key: None, value, headers });
    }
    pipeline.drain(NOW);
    let (mut sent, mut actions, none) = (Sent::default(), Vec::new(), HeaderMap::new());
    for second in 1.. {
        // Limits fill with time.
        let now = NOW.later(Duration::from_secs(second));
        pipeline.tick(now);
        pipeline.take_actions(&mut actions);
        for action in actions.drain(..) {
            match action {
                Action::Send(flight) => {
                    sent.bodies.push((flight.body.clone(), flight.calls()));
                    pipeline.answered(now, flight, Ok(Answer { status: 200, headers: &none, body: TAKEN }));
                }
                Action::Write(letter) => {
                    sent.letters.push((letter.offset, letter.refusal.reason.name()));
                    pipeline.letter_written(letter.id);
                }
                Action::Pause { .. } | Action::Sweep { .. } => {}
            }
        }
        assert!(second < 3_600, "something is owed for ever");
        if pipeline.is_settled(slot) {
            break;
        }
    }
    sent
}

fn bodies_hold(vendor: &str, events: &[String]) -> Result<(), TestCaseError> {
    let config = account::config(vendor, &json!({ "max_in_flight": 64 }), &Value::Null);
    let explainer = Explainer::new(&config, NOW);
    let headers = kept([("tenant", &b"acme"[..])]);
    let headers = Headers::of(&headers);
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for (offset, event) in (0..).zip(events) {
        let origin = Origin { topic: "events", partition: 0, offset, timestamp_ms: None };
        let record = Record { slot: 0, offset, timestamp_ms: None, key: None, value: Some(event.as_bytes()), headers };
        for account in explainer.explain(&record, origin, None, NOW).accounts {
            let sent = account.calls.into_iter().filter(|call| call.end.is_none());
            sent.for_each(|call| *expected.entry(call.element).or_default() += 1);
        }
    }
    let sent = sent(&config, events);
    let destination = account::destination(vendor, &Value::Null);
    let shapes = (0..).zip(destination.shapes());
    let frames: Vec<_> = shapes.map(|(shape, info)| (destination.frame(Shape(shape)), info)).collect();
    for (body, calls) in &sent.bodies {
        let found =
            frames.iter().find(|((head, tail), _)| !head.is_empty() && body.starts_with(head) && body.ends_with(tail));
        let body = std::str::from_utf8(body).expect("UTF-8");
        serde_json::from_str::<Value>(body).map_err(|error| TestCaseError::fail(format!("{error}: {body}")))?;
        let ((head, tail), info) = found.expect("a frame");
        prop_assert!(body.len() <= info.max_bytes && *calls <= info.max_calls, "{} bytes", body.len());
        let mut rest = &body[head.len()..body.len() - tail.len()];
        for call in 0..*calls {
            rest = rest.strip_prefix(',').filter(|_| call > 0).unwrap_or(rest);
            let element = expected
                .iter()
                .filter(|(element, _)| rest.starts_with(*element))
                .max_by_key(|(element, _)| element.len());
            let Some((element, _)) = element else {
                return Err(TestCaseError::fail(format!("an element too many: {rest}")));
            };
            let element = element.clone();
            rest = &rest[element.len()..];
            match expected.get_mut(&element) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(expected.remove(&element)),
            }
        }
        prop_assert_eq!(rest, "");
    }
    prop_assert!(expected.is_empty(), "elements that no body holds: {:?}", expected.keys());
    Ok(())
}
