//! The same for what is neither a user nor an event: merges, changes of address, tokens, campaigns, raw elements.

use forebay::clock::Now;
use forebay::explain::Explainer;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::super::{account, mapped};
use super::NOW_MS;

const ROUNDS: usize = 6_000;
const NOW: Now = Now { mono: std::time::Duration::ZERO, wall_ms: NOW_MS };
const REFUSED_AT_MOENGAGE: [&str; 2] = ["guest", "NULL"];

fn one(rng: &mut StdRng, values: &[Value]) -> Value {
    values[rng.random_range(0..values.len())].clone()
}

fn id(rng: &mut StdRng) -> Value {
    let ids = ["u-1", "old-1", "a@b.co", "A@b.co", "c@d.ee", "c@d.ee", "guest", "NULL", "x", "", "ü@", "u "];
    let mut ids: Vec<Value> = ids.iter().map(|id| json!(id)).collect();
    ids.extend([json!(17), Value::Null]);
    one(rng, &ids)
}

fn message(rng: &mut StdRng) -> Value {
    let kind = ["alias", "alias", "identify", "track"][rng.random_range(0..4)];
    let mut event = json!({ "type": kind, "messageId": "m-1", "timestamp": "2026-11-20T12:00:00Z" });
    for place in
        ["/userId", "/previousId", "/traits/id", "/context/traits/userId", "/context/device/token", "/context/os/token"]
    {
        if rng.random_bool(0.6) {
            put(&mut event, place, id(rng));
        }
    }
    let texts = [json!("ios"), json!("Android"), json!("tvOS"), json!("fridge"), json!(""), json!("com.acme")];
    for place in [
        "/context/device/type",
        "/context/device/name",
        "/context/app/namespace",
        "/properties/phone",
        "/properties/code",
    ] {
        if rng.random_bool(0.6) {
            put(&mut event, place, one(rng, &texts));
        }
    }
    let names = [
        json!("OTP"),
        json!("Price Dropped"),
        json!("moe_x"),
        json!("Price Dropped "),
        json!("x".repeat(201)),
        json!(" "),
    ];
    event["event"] = one(rng, &names);
    event
}

fn put(event: &mut Value, place: &str, value: Value) {
    let mut at = event;
    for part in place.split('/').skip(1) {
        at = &mut at[part];
    }
    *at = value;
}

/// An id: text that is not empty, or a number's digits.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn of_traits(event: &Value) -> Option<String> {
    let places = [&event["traits"], &event["context"]["traits"]];
    places.into_iter().find_map(|traits| text(&traits["userId"]).or_else(|| text(&traits["id"])))
}

fn refused(reason: &str) -> Value {
    json!({ "refused": reason })
}

fn call(shape: &str, element: &Value) -> Value {
    json!({ "shape": shape, "element": element })
}

fn is_moengage_id(id: &str) -> bool {
    id.chars().count() > 1 && !REFUSED_AT_MOENGAGE.iter().any(|refused| refused.eq_ignore_ascii_case(id))
}

fn moengage(event: &Value) -> Value {
    if event["type"] == "alias" {
        let Some(retained) = text(&event["userId"]).or_else(|| of_traits(event)) else { return refused("no_user") };
        if !is_moengage_id(&retained) {
            return refused("invalid_user_id");
        }
        let Some(merged) = text(&event["previousId"]) else { return refused("no_user") };
        if !is_moengage_id(&merged) || merged == retained {
            return refused("invalid_user_id");
        }
        let mut call = call("merge", &json!({ "merged_user": merged, "retained_user": retained }));
        call["users"] = json!(2);
        return json!({ "calls": [call] });
    }
    let properties = event.get("properties");
    match event["event"].as_str() {
        Some("Price Dropped") => {
            let attributes = properties.cloned().unwrap_or_else(|| json!({}));
            let element = json!({ "event_name": "Price Dropped", "event_attributes": attributes });
            json!({ "calls": [call("business-event", &element)] })
        }
        Some("OTP") => {
            let Some(phone) = event["properties"]["phone"].as_str().filter(|phone| !phone.is_empty()) else {
                return refused("no_recipient");
            };
            let payload = json!({ "recipient": phone, "personalized_attributes": properties });
            let mut element = json!({ "alert_id": "A", "transaction_id": "m-1", "payloads": { "SMS": payload } });
            if let Some(user) = text(&event["userId"]).or_else(|| of_traits(event)).filter(|user| is_moengage_id(user))
            {
                element["user_id"] = json!(user);
            }
            json!({ "calls": [call("inform", &element)] })
        }
        _ => match text(&event["userId"]).or_else(|| of_traits(event)) {
            None => refused("no_user"),
            Some(user) if !is_moengage_id(&user) => refused("invalid_user_id"),
            Some(_) => refused(match event["event"].as_str().unwrap_or_default() {
                " " => "no_event_name",
                "moe_x" => "reserved_name",
                "Price Dropped " => "no reason at all",
                _ => "name_too_long",
            }),
        },
    }
}

fn is_iterable_id(id: &str) -> bool {
    id.len() <= 52 && !id.ends_with(' ') && id.chars().all(|c| matches!(c, ' '..='~'))
}

fn alias_at_iterable(event: &Value, identity: &str) -> Value {
    let (Some(old), Some(new)) = (text(&event["previousId"]), text(&event["userId"])) else {
        return refused("no_user");
    };
    let address = |text: &str| text.ends_with("@b.co") || text.ends_with("@d.ee");
    if !address(&old) || !address(&new) || old.eq_ignore_ascii_case(&new) {
        return refused("invalid_email");
    }
    let user = of_traits(event);
    let (mut call, mut names) = if identity == "email" {
        (call("users/updateEmail", &json!({ "currentEmail": old, "newEmail": new })), vec![old, new])
    } else {
        let Some(user) = &user else { return refused("no_user") };
        if !is_iterable_id(user) {
            return refused("invalid_user_id");
        }
        let element =
            json!({ "userId": user, "dataFields": { "email": new }, "preferUserId": true, "mergeNestedObjects": true });
        (call("users/bulkUpdate", &element), vec![old, new])
    };
    for name in &mut names {
        *name = name.to_lowercase();
    }
    // Where addresses are ids, one is the same user in any case.
    names.extend(user.map(|user| if identity != "user_id" && user.contains('@') { user.to_lowercase() } else { user }));
    names.sort();
    names.dedup();
    call["users"] = json!(names.len());
    json!({ "calls": [call] })
}

/// The registration behind an identify, if any.
fn token(event: &Value, user: &str) -> Option<Value> {
    let (device, os) = (&event["context"]["device"], &event["context"]["os"]);
    if let Some(token) = text(&device["token"]) {
        let kind = text(&device["type"]).unwrap_or_default().to_lowercase();
        let platform = match kind.as_str() {
            "ios" | "tvos" => "APNS",
            "android" => "GCM",
            _ => return Some(refused("invalid_field")),
        };
        let Some(application) = text(&event["context"]["app"]["namespace"]).or_else(|| text(&device["name"])) else {
            return Some(refused("invalid_field"));
        };
        let mut registered = json!({ "token": token, "platform": platform, "applicationName": application });
        if let Some(properties) = event.get("properties") {
            registered["dataFields"] = properties.clone();
        }
        let element = json!({ "userId": user, "preferUserId": true, "device": registered });
        return Some(call("users/registerDeviceToken", &element));
    }
    let token = text(&os["token"])?;
    Some(call("users/registerBrowserToken", &json!({ "userId": user, "browserToken": token })))
}

fn found(explainer: &Explainer, event: &Value) -> Value {
    mapped(explainer, &json!({ "event": event }), NOW)
}

fn explainer(vendor: &str, settings: &Value) -> Explainer {
    Explainer::new(&account::config(vendor, settings, &Value::Null), NOW)
}

#[test]
fn shapes_of_their_own_agree_with_the_plainest_mapping() {
    let mut rng = StdRng::seed_from_u64(9);
    let alerts = json!({ "OTP": { "alert_id": "A", "channels": { "sms": "/properties/phone" } } });
    let at_moengage =
        json!({ "moengage": { "alias": "merge", "business_events": ["Price Dropped"], "alerts": alerts } });
    let at_moengage = explainer("moengage", &at_moengage);
    let identities = ["hybrid", "email", "user_id"];
    let at_iterable = identities.map(|identity| {
        let settings = json!({ "iterable": { "identity": identity, "registration_key": { "env": "NOBODY" } } });
        (identity, explainer("iterable", &settings))
    });
    let mut ends = std::collections::BTreeMap::<String, u64>::new();
    for _ in 0..ROUNDS {
        let event = message(&mut rng);
        let free = event["event"] == "Price Dropped ";
        if event["type"] == "alias" || (event["type"] == "track" && !free) {
            let expected = moengage(&event);
            assert_eq!(found(&at_moengage, &event), expected, "{event}");
            let end = expected["refused"].as_str().or(expected["calls"][0]["shape"].as_str()).unwrap_or_default();
            *ends.entry(end.to_owned()).or_default() += 1;
        }
        for (identity, explainer) in &at_iterable {
            let found = found(explainer, &event);
            let user = text(&event["userId"]).or_else(|| of_traits(&event)).filter(|user| is_iterable_id(user));
            if event["type"] == "alias" {
                assert_eq!(found, alias_at_iterable(&event, identity), "{identity}: {event}");
            } else if let (Some(user), true) = (user, event["type"] == "identify") {
                match token(&event, &user) {
                    Some(end) if end.get("refused").is_some() => assert_eq!(found, end, "{event}"),
                    Some(call) => assert_eq!(found["calls"][1], call, "{event}"),
                    None => assert_eq!(found["calls"].as_array().map(Vec::len), Some(1), "{event}"),
                }
            }
        }
    }
    // What never happens proves nothing.
    for end in ["merge", "business-event", "inform", "no_recipient", "no_user", "invalid_user_id", "name_too_long"] {
        assert!(ends.get(end).is_some_and(|count| *count > 20), "{end}: {ends:?}");
    }
}
