//! A call with more fields than a project at Iterable has room for is refused, of a message or raw; one with as many goes
//! out. Made here, because as files such cases would be long.

use std::time::Duration;

use forebay::clock::Now;
use forebay::explain::Explainer;
use serde_json::{Map, Value, json};

use super::{account, mapped};

const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };

/// So many fields, an object and those in it among them.
fn fields(count: usize) -> Value {
    let named = |range: std::ops::Range<usize>| range.map(|n| (format!("f{n}"), json!(n))).collect::<Map<_, _>>();
    let half = count / 2;
    let mut fields = named(0..half);
    fields.insert("in".to_owned(), named(half..count - 1).into());
    fields.into()
}

fn identify(fields: &Value) -> Value {
    json!({ "event": { "type": "identify", "userId": "u-1", "messageId": "m-1", "traits": fields } })
}

fn track(fields: &Value) -> Value {
    json!({ "event": { "type": "track", "event": "Noted", "userId": "u-1", "messageId": "m-1", "properties": fields } })
}

fn order(traits: &Value, mut properties: Value) -> Value {
    properties["total"] = json!(1);
    properties["products"] = json!([{ "id": "a", "name": "A", "price": 1, "quantity": 1 }]);
    let mut case = track(&properties);
    case["event"]["event"] = json!("Order Completed");
    case["event"]["context"] = json!({ "traits": traits });
    case
}

fn cart(traits: &Value) -> Value {
    let mut case = order(traits, json!({}));
    case["event"]["event"] = json!("Cart Updated");
    case
}

fn of_kind(kind: &str, mut case: Value) -> Value {
    case["event"]["type"] = json!(kind);
    case["event"]["groupId"] = json!("g-1");
    case
}

fn raw(shape: &str, fields: &Value, create: Option<bool>) -> Value {
    let mut event = json!({ "userId": "u-1", "eventName": "Noted", "dataFields": fields });
    if let Some(create) = create {
        event["createNewFields"] = json!(create);
    }
    json!({ "shape": shape, "event": event })
}

/// A case of so many fields.
type Make = fn(&Value) -> Value;

#[test]
fn iterable_gets_no_call_that_no_project_has_room_for() {
    let end = |own: &Value, case: &Value| {
        let raw = ["users/bulkUpdate", "events/trackBulk"];
        let settings = json!({ "raw": raw, "accept": ["identify", "track", "page", "group"], "iterable": own });
        let explainer = Explainer::new(&account::config("iterable", &settings, &Value::Null), NOW);
        let found = mapped(&explainer, case, NOW);
        let end = if found.get("calls").is_some() { Some("sent") } else { found["refused"].as_str() };
        end.unwrap_or("skipped").to_owned()
    };
    let cases: [(usize, &str, Make); 10] = [
        (1000, "a user", identify),
        (1000, "a raw user", |fields| raw("users/bulkUpdate", fields, None)),
        (8000, "an event", track),
        (8000, "a raw event", |fields| raw("events/trackBulk", fields, None)),
        (8000, "a raw event that makes them", |fields| raw("events/trackBulk", fields, Some(true))),
        (1000, "the user of a purchase", |fields| order(fields, json!({}))),
        // `total` is a data field, too.
        (7999, "a purchase", |fields| order(&json!({}), fields.clone())),
        (1000, "the user of a cart", |fields| cart(fields)),
        (8000, "a page", |fields| of_kind("page", track(fields))),
        // `groupId` is one.
        (999, "a group", |fields| of_kind("group", identify(fields))),
    ];
    for (most, name, make) in cases {
        for delivery in ["bulk", "single"] {
            let own = json!({ "delivery": delivery });
            assert_eq!(end(&own, &make(&fields(most))), "sent", "{name}, {delivery}");
            assert_eq!(end(&own, &make(&fields(most + 1))), "too_many_fields", "{name}, {delivery}");
        }
    }
    // Who asks for no new fields has nothing refused for them.
    let none = json!({ "create_new_fields": false });
    for (own, case, expected) in [
        (&none, identify(&fields(1001)), "sent"),
        (&none, track(&fields(8001)), "sent"),
        (&none, cart(&fields(1001)), "sent"),
        (&none, raw("users/bulkUpdate", &fields(1001), None), "sent"),
        (&none, raw("events/trackBulk", &fields(8001), None), "too_many_fields"),
        (&json!({}), raw("events/trackBulk", &fields(8001), Some(false)), "sent"),
        (&json!({}), raw("users/bulkUpdate", &fields(1001), Some(false)), "too_many_fields"),
        (&json!({ "delivery": "single" }), raw("users/bulkUpdate", &fields(1001), Some(false)), "sent"),
    ] {
        assert_eq!(end(own, &case), expected, "{own}");
    }
}
