//! Who is one user to order: whoever is one to the vendor, by what is sent, whatever ids a message brought.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay::clock::Now;
use forebay::destination::Call;
use forebay::event::{Event, Origin, RawForm};
use forebay::json::Tape;
use serde_json::{Value, json};

use super::account;

const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };
const ORIGIN: Origin<'_> = Origin { topic: "t", partition: 0, offset: 0, timestamp_ms: None };

/// The calls of a message (or of a raw element), and the ids that each element names: addresses in lower case.
fn planned(settings: &Value, message: &Value, raw: Option<&'static str>) -> Vec<(Call, BTreeSet<String>)> {
    let destination = account::destination("iterable", settings);
    let text = message.to_string();
    let mut tape = Tape::default();
    let event = match raw {
        Some(shape) => Event::decode_raw(text.as_bytes(), ORIGIN, RawForm { shape, catalog: None }, &mut tape),
        None => Event::decode(text.as_bytes(), ORIGIN, &mut tape),
    };
    let event = event.expect("an event");
    let mut calls = Vec::new();
    destination.plan(&event, NOW, &mut calls).expect(&text);
    let named = |call: Call| {
        let mut body = Vec::new();
        destination.encode(&event, &call, NOW, &mut body).expect(&text);
        let element: Value = serde_json::from_slice(&body).expect("JSON");
        let user = element.get("user").unwrap_or(&element);
        let lowered = |id: &str| if id.contains('@') { id.to_lowercase() } else { id.to_owned() };
        let ids = [&user["userId"], &user["email"]].into_iter().filter_map(Value::as_str);
        (call, ids.map(lowered).collect())
    };
    calls.into_iter().map(named).collect()
}

fn message(kind: &str, event: &str, user: Option<&str>, email: Option<&str>, own: Option<&str>) -> Value {
    let mut message = json!({ "type": kind, "messageId": "m-1", "event": event, "context": { "traits": {} } });
    message["context"]["device"] = json!({ "token": "t", "type": "ios", "name": "app" });
    message["properties"] = json!({
        "total": 1, "product_id": "p", "name": "P", "price": 1, "quantity": 1,
        "products": [{ "product_id": "p", "name": "P", "price": 1, "quantity": 1 }],
    });
    if event == "Product Added" {
        message["properties"]["products"] = Value::Null;
    }
    if let Some(user) = user {
        message["userId"] = json!(user);
    }
    if let Some(email) = email {
        message["context"]["traits"]["email"] = json!(email);
    }
    if let Some(own) = own {
        message["properties"]["email"] = json!(own);
    }
    message
}

/// Any two calls that name one id of a user stand in one order; and of what an element names nothing is forgotten.
#[test]
fn two_calls_to_one_id_are_of_one_user_whatever_else_they_name() {
    let users = [None, Some("u-1"), Some("u-2"), Some("ann@x.co")];
    let emails = [None, Some("ann@x.co"), Some("ANN@X.co"), Some("bob@x.co")];
    for identity in ["hybrid", "email", "user_id"] {
        let settings = json!({
            "accept": ["identify", "track", "page", "group"],
            "raw": ["users/bulkUpdate"],
            "iterable": { "identity": identity, "cart": "rudder", "registration_key": { "env": "NOBODY" } },
        });
        let mut calls = Vec::new();
        for round in 0..64 {
            let (user, email, own) = (&users[round % 4], &emails[round / 4 % 4], &emails[round / 16]);
            let names_one = if identity == "user_id" { user.is_some() } else { user.is_some() || email.is_some() };
            if !names_one {
                continue;
            }
            for (kind, event) in [
                ("identify", ""),
                ("group", ""),
                ("page", ""),
                ("track", "E"),
                ("track", "Order Completed"),
                ("track", "Cart Updated"),
                ("track", "Product Added"),
            ] {
                calls.extend(planned(&settings, &message(kind, event, *user, *email, *own), None));
            }
            let raw = json!({ "userId": user, "email": email });
            if identity != "user_id" {
                calls.extend(planned(&settings, &raw, Some("users/bulkUpdate")));
            }
        }
        assert!(calls.len() > 100);
        for (call, ids) in &calls {
            assert!(!ids.is_empty() && !call.is_shared(), "{identity}: {call:?}");
            assert_eq!(call.users().count(), ids.len(), "{identity}: {ids:?}");
            for (other, of_other) in &calls {
                let common = call.users().any(|user| other.users().any(|own| own == user));
                assert_eq!(common, ids.intersection(of_other).next().is_some(), "{identity}: {ids:?}, {of_other:?}");
            }
        }
    }
}
