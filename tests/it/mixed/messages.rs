//! Messages of all types and raw elements of all shapes; a tenth of them is wrong in one way or another.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::scene::TENANTS;
use crate::support::kafka::Message;

/// A text that `MoEngage` cuts, which is no reason to refuse it.
pub(super) const LONG: usize = 600;

/// Of the generator's user: the id.
fn user(rng: &mut StdRng, tenant: &str) -> String {
    format!("{tenant}-u{}", rng.random_range(0..500))
}

/// One of these.
fn one<T: Clone>(rng: &mut StdRng, values: &[T]) -> T {
    values[rng.random_range(0..values.len())].clone()
}

/// The record number `index`.
pub(super) fn record(rng: &mut StdRng, index: usize) -> Message {
    let tenant = format!("t{:02}", rng.random_range(0..TENANTS));
    let user = user(rng, &tenant);
    let (text, raw) = if rng.random_bool(0.12) {
        let (shape, text) = raw(rng, index, &user);
        (text, Some(shape))
    } else {
        let message = message(rng, index, &user);
        (if rng.random_bool(0.1) { spoilt(rng, message) } else { message.to_string() }, None)
    };
    let mut record = Message::new(text).key(user);
    if let Some(shape) = raw {
        record = record.header("forebay-shape", shape);
        if shape.starts_with("catalog") && rng.random_bool(0.8) {
            record = record.header("forebay-catalog", one(rng, &["shoes", "my shoes/2", "ü"]));
        }
    }
    let tenant = if rng.random_bool(0.002) { "nobody".to_owned() } else { tenant };
    if rng.random_bool(0.002) { record } else { record.header("tenant", tenant) }
}

/// What happened up to a day ago, or three weeks.
fn time(rng: &mut StdRng) -> String {
    let hours = rng.random_range(1..24) + if rng.random_bool(0.05) { 24 * 20 } else { 0 };
    format!("{:.3}", jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours))
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

fn message(rng: &mut StdRng, index: usize, user: &str) -> Value {
    let id = format!("m-{index}");
    let mut message = json!({ "messageId": id, "userId": user, "timestamp": time(rng) });
    let product = json!({ "product_id": "p-1", "name": "Shoe", "price": 79.9, "quantity": 2, "category": "shoes", "message_id": id });
    let long = "x".repeat(LONG);
    let note = one(rng, &["plain", "\u{0}", "\"}]}", "\\", "\u{1F680}", "a\nb", "plain", "plain", &long]);
    let mut traits = json!({ "message_id": id, "plan": "pro", "nested": { "a": [{ "b": note }, { "c": 1 }] }, "phone": "+361234567" });
    let properties = json!({ "message_id": id, "note": note, "at": "2026-03-24T17:46:45Z", "price": 12.5, "tags": ["a", "b"], "deep": { "x": { "y": index } }, "campaignId": 7 });
    let with_products = json!({ "message_id": id, "total": 159.8, "products": [product] });
    let phone = one(rng, &["+361234567", "+361234567", "+361234567", " "]);
    let code = json!({ "message_id": id, "phone": phone, "code": "123456" });
    if rng.random_bool(0.3) {
        traits["email"] = json!(format!("{user}@example.com"));
    }
    let extra = match rng.random_range(0..15) {
        0..=2 => json!({ "type": "identify", "traits": traits, "properties": { "message_id": id } }),
        3 => json!({ "type": "page", "name": (["Home", " ", "Pricing"][index % 3]), "properties": properties }),
        4 => json!({ "type": "screen", "name": "Main", "category": "App", "properties": properties }),
        5 => {
            json!({ "type": "group", "groupId": "g-1", "traits": { "message_id": id, "name": "Initech", "plan": "team" } })
        }
        6 => json!({ "type": "alias", "previousId": format!("{user}-was-{index}") }),
        7 => {
            let [was, is] = ["was", "is"].map(|word| format!("{word}-{index}@example.com"));
            json!({ "type": "alias", "previousId": was, "userId": is, "traits": { "id": user } })
        }
        8 => json!({ "type": "track", "event": "Order Completed", "properties": with_products }),
        9 => json!({ "type": "track", "event": "Cart Updated", "properties": with_products }),
        10 => json!({ "type": "track", "event": "Product Added", "properties": with_products }),
        11 => json!({ "type": "track", "event": "Price Dropped", "properties": properties }),
        12 => json!({ "type": "track", "event": "OTP Requested", "properties": code }),
        _ => {
            json!({ "type": "track", "event": (["Video Content Playing", "Order Refunded", "Deep Link Opened"][index % 3]), "properties": properties })
        }
    };
    merge(&mut message, extra);
    context(rng, &mut message, index, user);
    message
}

/// A device or a browser, an application, consent, traits: each for some messages.
fn context(rng: &mut StdRng, message: &mut Value, index: usize, user: &str) {
    match rng.random_range(0..10) {
        0..=2 => {
            let kind = one(rng, &["ios", "android", "tvos", "fridge"]);
            let device = json!({ "id": "d", "type": kind, "token": format!("token-{index}") });
            let app = json!({ "version": "1.2", "namespace": "com.acme" });
            message["context"] = json!({ "timezone": "Europe/Budapest", "app": app, "device": device });
        }
        3 => message["context"] = json!({ "os": { "token": format!("browser-{index}") } }),
        4 => message["context"] = json!({ "app": { "namespace": one(rng, &["com.acme", "com.other"]) } }),
        _ => {}
    }
    if rng.random_bool(0.5) {
        message["context"]["traits"] = json!({ "email": format!("{user}@example.com") });
    }
    if rng.random_bool(0.6) {
        let given = one(rng, &[json!(true), json!(true), json!(false), json!("true")]);
        message["context"]["consent"] = json!({ "categoryPreferences": { "marketing": given } });
    }
}

/// The message with something wrong in it.
fn spoilt(rng: &mut StdRng, mut message: Value) -> String {
    match rng.random_range(0..27) {
        0 => message["userId"] = json!("unknown"),
        1 => message["userId"] = json!("x".repeat(60)),
        2 => message["userId"] = Value::Null,
        3 => merge(&mut message, json!({ "userId": null, "anonymousId": "a-1" })),
        4 => message["event"] = json!(" "),
        5 => message["event"] = json!("moe_reserved"),
        6 => message["timestamp"] = json!("2099-01-01T00:00:00Z"),
        7 => message["context"] = json!({ "traits": { "email": "not an address" } }),
        8 => message["properties"]["campaignId"] = json!("x7"),
        9 => message["properties"]["products"] = json!([{ "product_id": "p" }]),
        10 => message["type"] = json!("purchase"),
        11 => message["integrations"] = json!({ "All": false, "Iterable": true }),
        12 => message["properties"]["big"] = json!("x".repeat(110_000)),
        13 => message["traits"]["email"] = json!(["x"]),
        14 => message["traits"]["INSTALL"] = json!("active"),
        15 => message["properties"]["moe_x"] = json!("mine"),
        16 => message["properties"]["link"] = json!(format!("https://example.com/{}", "p".repeat(600))),
        17 => message["properties"]["n".repeat(250)] = json!("long"),
        18 => (0..120).for_each(|field| message["properties"][format!("f{field}")] = json!(field)),
        19 => message["properties"]["list"] = json!(vec!["x"; 51]),
        20 => message["traits"]["object"] = json!({ "a#b": 1 }),
        21 => message["traits"]["mixed"] = json!([1, { "b": "mixed" }]),
        22 => message["properties"]["flags"] = json!([true, false]),
        23 => message["traits"]["lists"] = json!([[1], [2]]),
        24 => message["userId"] = json!("guest"),
        _ => return broken(rng, &message.to_string()),
    }
    message.to_string()
}

/// The text with something in it that is no JSON.
fn broken(rng: &mut StdRng, text: &str) -> String {
    match rng.random_range(0..4) {
        0 => format!("{text}}}"),
        1 => text.replacen(':', ":\\ud800", 1),
        2 => text.replacen('{', "{\"n\":1e999,", 1),
        _ => text[..text.len() / 2].to_owned(),
    }
}

/// A raw element, and the shape that its header names.
fn raw(rng: &mut StdRng, index: usize, user: &str) -> (&'static str, String) {
    let id = format!("m-{index}");
    let attributes = json!({ "message_id": id, "raw": true });
    let (shape, mut element) = match rng.random_range(0..10) {
        0 => ("transition", json!({ "type": "customer", "customer_id": user, "attributes": attributes })),
        1 => {
            let action = json!({ "action": "Raw", "attributes": attributes, "current_time": time(rng) });
            ("transition", json!({ "type": "event", "customer_id": user, "actions": [action] }))
        }
        2 => {
            let attributes = json!({ "platform": "iOS", "push_id": format!("push-{index}") });
            let device = json!({ "type": "device", "customer_id": user, "device_id": "d", "attributes": attributes });
            ("transition", device)
        }
        3 => ("business-event", json!({ "event_name": "Restocked", "event_attributes": attributes })),
        4 => {
            let payloads = json!({ "SMS": { "recipient": "+361234567", "personalized_attributes": attributes } });
            ("inform", json!({ "alert_id": "R", "transaction_id": id, "user_id": user, "payloads": payloads }))
        }
        5 => ("catalog", json!({ "id": format!("i-{index}"), "title": "Shoe" })),
        6 => ("users/bulkUpdate", json!({ "userId": user, "dataFields": attributes })),
        7 => ("events/trackBulk", json!({ "userId": user, "eventName": "Raw", "id": id, "dataFields": attributes })),
        8 => ("catalogs/items", json!({ format!("i-{index}"): { "title": "Shoe", "price": 79.9 } })),
        _ => ("users/unheardOf", json!({ "userId": user })),
    };
    if rng.random_bool(0.2) {
        match rng.random_range(0..11) {
            0 => return (shape, broken(rng, &element.to_string())),
            1 => element["customer_id"] = json!("guest"),
            2 => element["userId"] = json!(7),
            3 => element["attributes"] = json!({ "moe_x": 1 }),
            4 => merge(&mut element, json!({ "actions": [{ "action": "Raw", "platform": 1 }], "type": "event" })),
            5 => merge(&mut element, json!({ "transaction_id": "x".repeat(51), "event_name": null, "eventName": "" })),
            6 => element["dataFields"] = json!({ "email": "nobody" }),
            7 => element["createdAt"] = json!(1_795_207_200_000_i64),
            8 => merge(&mut element, json!({ "actions": [{ "action": "Raw", "platform": "macos" }], "type": "event" })),
            9 => element["user_id"] = json!("guest"),
            _ => merge(&mut element, json!({ "id": format!("a_{index}"), "payloads": {}, "a.b": { "c.d": 1 } })),
        }
    }
    (shape, element.to_string())
}
