//! The encoders against the plainest mapping that can be written with `serde_json::Value`, on random events.
//!
//! It says what the tables at the head of the encoders say, without care for speed. What it does not cover (refusals,
//! escapes, odd JSON) the cases and the unit tests do.

use std::time::Duration;

use forebay::clock::Now;
use forebay::event::{Event, Origin, time};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::account;

mod shapes;

const ROUNDS: usize = 4_000;
const NOW_MS: i64 = 1_795_207_260_000;

fn value(rng: &mut StdRng, depth: u32) -> Value {
    match rng.random_range(0..if depth == 0 { 7 } else { 10 }) {
        0 => Value::Null,
        1 => json!(rng.random::<bool>()),
        2 => json!(rng.random_range(-1_000_000..1_000_000)),
        3 => json!(f64::from(rng.random_range(-1000..1000)) / 8.0),
        4 => json!(""),
        5 => json!(["x", "34", " 1.5 ", "é\"\\\n", "12abc", "true"][rng.random_range(0..6)]),
        6 => json!(["2026-03-24T17:46:45.250Z", "2026-03-24T23:16:45+05:30", "2026-03-24"][rng.random_range(0..3)]),
        7 => (0..rng.random_range(0..3)).map(|_| value(rng, depth - 1)).collect::<Vec<_>>().into(),
        _ => object(rng, &["a", "b", "c d", "T"], depth - 1),
    }
}

fn object(rng: &mut StdRng, names: &[&str], depth: u32) -> Value {
    let mut fields = Map::new();
    for _ in 0..rng.random_range(0..8) {
        let name = names[rng.random_range(0..names.len())];
        fields.insert(name.to_owned(), value(rng, depth));
    }
    fields.into()
}

fn traits(rng: &mut StdRng) -> Value {
    let names = [
        "name",
        "firstname",
        "first_name",
        "firstName",
        "lastName",
        "lastname",
        "gender",
        "mobile",
        "phone",
        "source",
        "age",
        "transactions",
        "revenue",
        "createdAt",
        "created_at",
        "created_time",
        "last_seen",
        "lastSeen",
        "moe_unsubscribe",
        "moeUnsubscribe",
        "plan",
        "id",
        "_id",
        "phoneNumber",
        "nested",
        "ключ",
    ];
    let mut traits = object(rng, &names, 2);
    if rng.random() {
        traits["email"] = json!(["Ann@example.com", "", "b@example.com"][rng.random_range(0..3)]);
    }
    traits
}

fn event(rng: &mut StdRng) -> Value {
    let mut event = json!({ "type": if rng.random() { "identify" } else { "track" }, "userId": "u-1", "event": "Order Placed", "messageId": "m-1" });
    for (name, chance) in [("traits", 0.7), ("properties", 0.7)] {
        if rng.random_bool(chance) {
            event[name] = traits(rng);
        }
    }
    if rng.random() {
        event["context"] = json!({ "page": value(rng, 2), "app": { "version": "1.2" } });
        if rng.random() {
            event["context"]["traits"] = traits(rng);
        }
    }
    if rng.random() {
        event["timestamp"] = json!("2026-11-20T12:00:00+01:00");
    }
    event
}

/// The one element that the encoder makes of a message.
pub(super) fn encoded(vendor: &str, settings: &Value, text: &str) -> Value {
    serde_json::from_str(&element(vendor, settings, text)).expect(text)
}

/// The same, of a message that has no name twice.
fn encoded_without_twins(vendor: &str, settings: &Value, text: &str) -> Value {
    assert_no_twins(&element(vendor, settings, text));
    encoded(vendor, settings, text)
}

fn element(vendor: &str, settings: &Value, text: &str) -> String {
    let destination = account::destination(vendor, settings);
    let now = Now { mono: Duration::ZERO, wall_ms: NOW_MS };
    let origin = Origin { topic: "t", partition: 0, offset: 0, timestamp_ms: None };
    let event = Event::decode(text.as_bytes(), origin).expect(text);
    let (mut calls, mut body) = (Vec::new(), Vec::new());
    destination.plan(&event, now, &mut calls).expect(text);
    assert_eq!(calls.len(), 1);
    destination.encode(&event, &calls[0], now, &mut body).expect(text);
    String::from_utf8(body).expect("UTF-8")
}

/// No object may have a name twice: `serde_json` would hide it.
fn assert_no_twins(body: &str) {
    fn check(value: forebay::json::Raw<'_>) {
        let mut names = std::collections::HashSet::new();
        for field in value.fields() {
            assert!(names.insert(field.name()), "{} twice in {}", field.key, value.get());
            check(field.value);
        }
        value.items().for_each(check);
    }
    check(forebay::json::Raw::parse(body).expect(body));
}

#[test]
fn encoders_agree_with_the_plainest_mapping() {
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..ROUNDS {
        let event = event(&mut rng);
        let text = if rng.random() { event.to_string() } else { format!("{event:#}") };
        for nested in ["keep", "flatten"] {
            let settings = json!({ "nested": nested });
            assert_eq!(
                encoded_without_twins("moengage", &settings, &text),
                moengage(&event, nested == "flatten"),
                "{text}"
            );
            for identity in ["hybrid", "email", "user_id"] {
                let settings = json!({ "nested": nested, "iterable": { "identity": identity } });
                let expected = iterable(&event, nested == "flatten", identity);
                assert_eq!(encoded_without_twins("iterable", &settings, &text), expected, "{identity}: {text}");
            }
        }
    }
}

fn present(value: &Value) -> Option<&Value> {
    (!value.is_null() && *value != "").then_some(value)
}

/// The first of `traits` and `context.traits` that has fields.
fn source(event: &Value) -> Option<&Map<String, Value>> {
    [&event["traits"], &event["context"]["traits"]]
        .into_iter()
        .find_map(|traits| traits.as_object().filter(|fields| !fields.is_empty()))
}

pub(super) fn put(out: &mut Map<String, Value>, name: &str, value: &Value, flatten: bool) {
    match value {
        Value::Object(fields) if flatten && !fields.is_empty() => {
            fields.iter().for_each(|(inner, value)| put(out, &format!("{name}.{inner}"), value, true));
        }
        Value::Array(items) if flatten && !items.is_empty() => {
            items.iter().enumerate().for_each(|(index, value)| put(out, &format!("{name}[{index}]"), value, true));
        }
        _ => drop(out.insert(name.to_owned(), value.clone())),
    }
}

pub(super) fn put_all(fields: &Map<String, Value>, flatten: bool) -> Map<String, Value> {
    let mut out = Map::new();
    fields.iter().for_each(|(name, value)| put(&mut out, name, value, flatten));
    out
}

fn iso(ms: i64) -> Value {
    let time = jiff::Timestamp::from_millisecond(ms).expect("a time");
    json!(if ms % 1000 == 0 { time.to_string() } else { format!("{time:.3}") })
}

fn time_of(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => time::text(text),
        Value::Number(_) => time::of(forebay::json::Raw::parse(&value.to_string()).expect("a number")),
        _ => None,
    }
}

/// A standard attribute's names, in their order, and what it makes of a value.
pub(super) type Standard = (&'static str, &'static [&'static str], fn(&Value) -> Option<Value>);

pub(super) fn text(value: &Value) -> Option<Value> {
    match value {
        Value::String(_) => Some(value.clone()),
        Value::Bool(_) | Value::Number(_) => Some(json!(value.to_string())),
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::String(text) => serde_json::from_str(text).ok().filter(Value::is_number),
        _ => None,
    }
}

fn date(value: &Value) -> Option<Value> {
    time_of(value).map(iso)
}

pub(super) const STANDARD: &[Standard] = &[
    ("name", &["name"], text),
    ("first_name", &["firstname", "first_name", "firstName"], text),
    ("last_name", &["lastname", "last_name", "lastName"], text),
    ("email", &["email"], text),
    ("gender", &["gender"], text),
    ("mobile", &["mobile", "phone"], text),
    ("source", &["source"], text),
    ("age", &["age"], number),
    ("transactions", &["transactions"], number),
    ("revenue", &["revenue"], number),
    ("created_time", &["createdAt", "created_at", "created_time"], date),
    ("last_seen", &["last_seen", "lastSeen"], date),
    ("moe_unsubscribe", &["moe_unsubscribe", "moeUnsubscribe"], |value| Some(value.clone())),
];

fn attributes(event: &Value, flatten: bool) -> Value {
    let mut out = Map::new();
    for (name, value) in source(event).into_iter().flatten() {
        let standard = STANDARD.iter().find(|(_, names, _)| names.contains(&name.as_str()));
        let custom = standard.is_none_or(|(_, _, form)| present(value).is_some() && form(value).is_none());
        if custom && !matches!(name.as_str(), "id" | "_id" | "userId" | "") {
            put(&mut out, name, value, flatten);
        }
    }
    for (attribute, names, form) in STANDARD {
        let places = names.iter().flat_map(|name| [&event["traits"][*name], &event["context"]["traits"][*name]]);
        if let Some(value) = places.filter_map(present).find_map(form) {
            let nested = format!("{attribute}.");
            let item = format!("{attribute}[");
            out.retain(|name, _| !name.starts_with(&nested) && !name.starts_with(&item));
            out.insert((*attribute).to_owned(), value);
        }
    }
    out.into()
}

/// A message at `MoEngage`.
pub(super) fn moengage(event: &Value, flatten: bool) -> Value {
    if event["type"] == "identify" {
        return json!({ "type": "customer", "customer_id": "u-1", "attributes": attributes(event, flatten) });
    }
    let mut action = json!({ "action": "Order Placed" });
    if let Some(properties) = event["properties"].as_object() {
        action["attributes"] = put_all(properties, flatten).into();
    }
    if let Some(version) = event["context"]["app"].get("version") {
        action["app_version"] = version.clone();
    }
    if let Some(ms) = time_of(&event["timestamp"]) {
        action["current_time"] = iso(ms);
    }
    json!({ "type": "event", "customer_id": "u-1", "actions": [action] })
}

pub(super) fn dated(value: Value) -> Value {
    match value {
        Value::String(text) => match text.as_str() {
            "2026-03-24T17:46:45.250Z" | "2026-03-24T23:16:45+05:30" => json!("2026-03-24 17:46:45 +00:00"),
            _ => text.into(),
        },
        Value::Array(items) => items.into_iter().map(dated).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, dated(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

/// A message at Iterable.
pub(super) fn iterable(event: &Value, flatten: bool, identity: &str) -> Value {
    let is_identify = event["type"] == "identify";
    let mut places = vec![&event["traits"]["email"], &event["context"]["traits"]["email"]];
    if !is_identify {
        places.insert(0, &event["properties"]["email"]);
    }
    let email = places.into_iter().find(|email| email.as_str().is_some_and(|email| !email.is_empty())).cloned();
    let mut element = if is_identify { json!({}) } else { json!({ "eventName": "Order Placed", "id": "m-1" }) };
    if let Some(email) = email.clone().filter(|_| identity != "user_id") {
        element["email"] = email;
    }
    if identity != "email" || element.get("email").is_none() {
        element["userId"] = json!("u-1");
    }
    if !is_identify {
        if let Some(properties) = event["properties"].as_object() {
            element["dataFields"] = dated(put_all(properties, flatten).into());
        }
        if let Some(ms) = time_of(&event["timestamp"]) {
            element["createdAt"] = json!(ms / 1000);
        }
        return element;
    }
    if let Some(source) = source(event) {
        let mut fields = source.clone();
        if let Some(email) = email.filter(|_| identity == "user_id") {
            fields.insert("email".to_owned(), email);
        }
        if let Some(phone) = source.get("phone").and_then(text).filter(|_| !source.contains_key("phoneNumber")) {
            fields.remove("phone");
            let mut out = dated(put_all(&fields, flatten).into());
            out["phoneNumber"] = phone;
            element["dataFields"] = out;
        } else {
            element["dataFields"] = dated(put_all(&fields, flatten).into());
        }
    }
    element["preferUserId"] = json!(true);
    element["mergeNestedObjects"] = json!(true);
    element
}
