//! The encoders against the plainest mapping that can be written with `serde_json::Value`, on random events.
//!
//! It says what the tables at the head of the encoders say, without care for speed, refusals included. What it does not
//! cover (escapes, odd JSON) the cases and the unit tests do.

use std::time::Duration;

use forebay::clock::Now;
use forebay::event::{Event, Origin, time};
use forebay::json::Tape;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::account;

mod refusals;
mod shapes;

pub(super) use refusals::{campaign_and_template, is_address, unkept, unless};

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
        "userId",
        "status",
        "moe_x",
    ];
    let mut traits = object(rng, &names, 2);
    if rng.random() {
        let emails = [json!("Ann@example.com"), json!(""), json!("b@example.com"), json!("b@"), json!(7), Value::Null];
        traits["email"] = emails[rng.random_range(0..emails.len())].clone();
    }
    if rng.random_bool(0.1) {
        let ids = [json!(7), json!("12"), json!("x"), json!(1.5), Value::Null, json!(i64::MAX)];
        traits["campaignId"] = ids[rng.random_range(0..ids.len())].clone();
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

/// What should come out: an element, or a refusal for one of these reasons.
pub(super) type Expected = Result<Value, Vec<&'static str>>;

/// Whether that came out.
pub(super) fn is_expected(
    found: &Result<Value, &'static str>,
    expected: &Expected,
    same: fn(&Value, &Value) -> bool,
) -> bool {
    match (found, expected) {
        (Ok(found), Ok(expected)) => same(found, expected),
        (Err(found), Err(expected)) => expected.contains(found),
        _ => false,
    }
}

/// The one element that the encoder makes of a message, or why it makes none.
pub(super) fn encoded(vendor: &str, settings: &Value, text: &str) -> Result<Value, &'static str> {
    Ok(serde_json::from_str(&element(vendor, settings, text)?).expect(text))
}

/// The same, of a message that has no name twice.
pub(super) fn encoded_without_twins(vendor: &str, settings: &Value, text: &str) -> Result<Value, &'static str> {
    let element = element(vendor, settings, text)?;
    assert_no_twins(&element);
    Ok(serde_json::from_str(&element).expect(text))
}

fn element(vendor: &str, settings: &Value, text: &str) -> Result<String, &'static str> {
    let destination = account::destination(vendor, settings);
    let now = Now { mono: Duration::ZERO, wall_ms: NOW_MS };
    let origin = Origin { topic: "t", partition: 0, offset: 0, timestamp_ms: None };
    let mut tape = Tape::default();
    let event = Event::decode(text.as_bytes(), origin, &mut tape).expect(text);
    let (mut calls, mut body) = (Vec::new(), Vec::new());
    destination.plan(&event, now, &mut calls).expect(text);
    assert_eq!(calls.len(), 1);
    let encoded = destination.encode(&event, &calls[0], now, &mut body);
    encoded.map_err(|refusal| refusal.reason.name())?;
    Ok(String::from_utf8(body).expect("UTF-8"))
}

/// No object may have a name twice: `serde_json` would hide it.
fn assert_no_twins(body: &str) {
    fn check(value: forebay::json::Raw<'_>) {
        let mut names = std::collections::HashSet::new();
        for field in value.fields() {
            assert!(names.insert(field.name()), "{} twice in {}", field.key(), value.get());
            check(field.value);
        }
        value.items().for_each(check);
    }
    check(forebay::json::Tape::parse(body).expect(body).value());
}

#[test]
fn encoders_agree_with_the_plainest_mapping() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut ends = std::collections::BTreeMap::<&str, u64>::new();
    let mut check = |found: &Result<Value, &'static str>, expected: &Expected, what: &str| {
        assert!(is_expected(found, expected, Value::eq), "{what}\nfound {found:?}\nnot   {expected:?}");
        *ends.entry(found.as_ref().err().copied().unwrap_or("encoded")).or_default() += 1;
    };
    for _ in 0..ROUNDS {
        let event = event(&mut rng);
        let text = if rng.random() { event.to_string() } else { format!("{event:#}") };
        for nested in ["keep", "flatten"] {
            let settings = json!({ "nested": nested });
            let found = encoded_without_twins("moengage", &settings, &text);
            check(&found, &moengage(&event, nested == "flatten"), &text);
            for identity in ["hybrid", "email", "user_id"] {
                let settings = json!({ "nested": nested, "iterable": { "identity": identity } });
                let expected = iterable(&event, nested == "flatten", identity);
                let found = encoded_without_twins("iterable", &settings, &text);
                check(&found, &expected, &format!("{identity}: {text}"));
            }
        }
    }
    // What never happens proves nothing.
    for end in ["encoded", "invalid_email", "invalid_field", "reserved_name"] {
        assert!(ends.get(end).is_some_and(|count| *count > 20), "{end}: {ends:?}");
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
        Value::Number(_) => time::of(forebay::json::Tape::parse(&value.to_string()).expect("a number").value()),
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
pub(super) fn moengage(event: &Value, flatten: bool) -> Expected {
    if event["type"] == "identify" {
        let attributes = attributes(event, flatten);
        let reasons = unkept(&attributes, true);
        return unless(reasons, json!({ "type": "customer", "customer_id": "u-1", "attributes": attributes }));
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
    let reasons = action.get("attributes").map(|attributes| unkept(attributes, false)).unwrap_or_default();
    unless(reasons, json!({ "type": "event", "customer_id": "u-1", "actions": [action] }))
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

/// The first text that is not empty.
fn first_text(places: &[&Value]) -> Option<Value> {
    places.iter().find(|email| email.as_str().is_some_and(|email| !email.is_empty())).map(|email| (*email).clone())
}

/// The address that a message names.
pub(super) fn email_of(event: &Value) -> Option<Value> {
    let mut places = vec![&event["traits"]["email"], &event["context"]["traits"]["email"]];
    if event["type"] != "identify" {
        places.insert(0, &event["properties"]["email"]);
    }
    first_text(&places)
}

/// A message at Iterable.
pub(super) fn iterable(event: &Value, flatten: bool, identity: &str) -> Expected {
    let is_identify = event["type"] == "identify";
    let email = email_of(event);
    let mut element = if is_identify { json!({}) } else { json!({ "eventName": "Order Placed", "id": "m-1" }) };
    if let Some(email) = email.clone().filter(|_| identity != "user_id") {
        element["email"] = email;
    }
    if identity != "email" || element.get("email").is_none() {
        element["userId"] = json!("u-1");
    }
    let mut reasons = Vec::new();
    if element.get("email").is_some_and(|email| !is_address(email)) {
        reasons.push("invalid_email");
    }
    if !is_identify {
        match campaign_and_template(event) {
            Some(ids) => element.as_object_mut().expect("an element").extend(ids),
            None => reasons.push("invalid_field"),
        }
        if let Some(properties) = event["properties"].as_object() {
            element["dataFields"] = dated(put_all(properties, flatten).into());
        }
        if let Some(ms) = time_of(&event["timestamp"]) {
            element["createdAt"] = json!(ms / 1000);
        }
        return unless(reasons, element);
    }
    if let Some(source) = source(event) {
        let mut fields = source.clone();
        fields.remove("userId");
        let own = fields.remove("email").unwrap_or_default();
        if !(own.is_null() || own.is_string()) {
            reasons.push("invalid_email");
        }
        match (identity, email) {
            ("user_id", Some(email)) if !is_address(&email) => reasons.push("invalid_email"),
            ("user_id", Some(email)) => drop(fields.insert("email".to_owned(), email)),
            (_, Some(email)) if email == own => drop(fields.insert("email".to_owned(), email)),
            _ => {}
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
    unless(reasons, element)
}
