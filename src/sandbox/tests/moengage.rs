//! MoEngage's bodies: which elements are refused, which vanish, and what a fixed minute holds.

use std::time::Duration;

use super::*;

fn bulk(elements: &Value) -> Ask {
    Ask::moengage(BULK, &json!({ "type": "transition", "elements": elements }))
}

fn event(change: Value) -> Value {
    let mut action = json!({ "action": "Order Placed", "attributes": {}, "current_time": "2026-11-21T00:00:00Z" });
    if let Value::Object(change) = change {
        change.into_iter().for_each(|(name, value)| action[name] = value);
    }
    json!({ "type": "event", "customer_id": "u1", "actions": [action] })
}

#[tokio::test]
async fn what_is_documented_as_400_refuses_the_whole_request() {
    let running = both().await;
    let good = json!({ "type": "customer", "customer_id": "u1" });
    let cases = [
        (json!([]), "MissingAttributeError", "elements"),
        (json!("x"), "MissingAttributeError", "elements"),
        (json!([good, { "type": "user", "customer_id": "u1" }]), "AttributeError", "type"),
        (json!([good, 1]), "AttributeError", "type"),
        (json!([good, { "type": "customer" }]), "MissingAttributeError", "customer_id"),
        (json!([good, { "type": "event", "customer_id": "u1", "actions": [] }]), "MissingAttributeError", "actions"),
        (json!([good, event(json!({ "action": "" }))]), "MissingAttributeError", "action"),
        (
            json!([good, { "type": "device", "customer_id": "u1", "device_id": "d", "attributes": { "platform": "FAX" } }]),
            "AttributeError",
            "platform",
        ),
        (
            json!([{ "type": "customer", "customer_id": "u1", "attributes":
                { "addValueToArrayField": { "a": 1 }, "removeValueFromArrayField": { "a": 2 } } }]),
            "ArrayFieldError",
            "attributes",
        ),
    ];
    for (elements, kind, attribute) in &cases {
        let got = bulk(elements).to(&running).await;
        assert_eq!(got.word(), word(400, kind), "{elements}");
        assert_eq!(got.json()["error"]["attribute"], *attribute, "{elements}");
    }
    assert_eq!(count(&running, "engage").element_count(), 0);
    assert_eq!(running.accepted(), []);
}

#[tokio::test]
async fn most_faults_are_answered_200_and_the_element_is_gone() {
    let running = both().await;
    let cases = [
        (json!({ "type": "Customer", "customer_id": "u1" }), "type_case"),
        (json!({ "type": "customer", "customer_id": "Guest" }), "customer_id_reserved"),
        (json!({ "type": "customer", "customer_id": "x" }), "customer_id_reserved"),
        (json!({ "type": "customer", "customer_id": 17 }), "customer_id_type"),
        (json!({ "type": "customer", "customer_id": "u1", "attributes": [] }), "attributes"),
        (json!({ "type": "customer", "customer_id": "u1", "update_existing_only": "true" }), "update_existing_only"),
        (event(json!({ "action": "moe_order" })), "action_reserved"),
        (event(json!({ "action": 1 })), "action_type"),
        (event(json!({ "attributes": "x" })), "attributes"),
        (event(json!({ "current_time": "yesterday" })), "current_time"),
        (event(json!({ "current_time": "2026-11-21T00:02:00Z" })), "future"),
        (event(json!({ "current_time": NOON_MS })), "future"),
        (event(json!({ "user_timezone_offset": 54_001 })), "user_timezone_offset"),
        (
            event(json!({ "current_time": null, "user_time": "2026-11-21T02:02:00Z", "user_timezone_offset": 7200 })),
            "future",
        ),
        (event(json!({ "current_time": null, "user_time": "2026-11-21T15:02:00" })), "future"),
        (event(json!({ "platform": "TV", "moe_os_type": "Radio" })), "moe_os_type"),
        (event(json!({ "platform": "web", "moe_os_type": "WebOS" })), "moe_os_type"),
        (
            json!({ "type": "device", "customer_id": "u1", "attributes": { "platform": "iOS", "push_id": "t" } }),
            "device_id",
        ),
        (
            json!({ "type": "device", "customer_id": "u1", "device_id": "d", "attributes": { "platform": "iOS" } }),
            "push_id",
        ),
    ];
    for (element, reason) in &cases {
        running.reset();
        assert_eq!(bulk(&json!([element])).to(&running).await.status, 200, "{element}");
        let report = count(&running, "engage");
        assert_eq!(report.dropped_by_vendor, [(*reason, 1)].into(), "{element}");
        assert_eq!((report.accepted, report.element_count()), (1, 0), "{element}");
    }
    running.reset();
    let frame = json!({ "type": "Transition", "elements": [event(json!({}))] });
    assert_eq!(Ask::moengage(BULK, &frame).to(&running).await.status, 200);
    assert_eq!(count(&running, "engage").dropped_count(), 1);
}

#[tokio::test]
async fn good_elements_are_recorded_in_order() {
    let running = both().await;
    let elements = json!([
        { "type": "customer", "customer_id": "u1", "attributes": { "plan": "pro", "message_id": "m-0" }, "update_existing_only": false },
        event(json!({ "current_time": 1_795_000_000, "platform": "iOS", "user_timezone_offset": 19800 })),
        event(json!({ "current_time": "1795000000", "attributes": { "message_id": "m-1" } })),
        event(json!({ "attributes": { "message_id": "m-1" }, "action": "Cart: full", "user_time": "2026-11-20T19:00:00-05:00", "current_time": null })),
        { "type": "device", "customer_id": "u1", "device_id": "d1", "attributes": { "platform": "iOS", "push_id": "t" } },
    ]);
    assert_eq!(bulk(&elements).to(&running).await.status, 200);
    let kept = running.accepted();
    assert_eq!(kept.iter().map(|it| it.element.clone()).collect::<Value>(), elements);
    assert!(kept.iter().all(|it| &*it.account == "engage" && it.endpoint == "transition" && it.at_ms == NOON_MS));
    let report = count(&running, "engage");
    assert_eq!(report.elements, [("customer", 1), ("device", 1), ("event", 3)].into());
    assert_eq!((report.actions, report.distinct_ids, report.duplicates_by_id, report.odd_names), (3, 2, 1, 1));
    assert!(running.has_id("engage", "m-0") && running.has_id("engage", "m-1") && !running.has_id("engage", "m-2"));
}

#[tokio::test]
async fn what_would_be_cut_off_is_counted() {
    let running = both().await;
    let elements = json!([
        event(json!({ "attributes": { "long": "x".repeat(513) } })),
        event(json!({ "attributes": { "fits": "x".repeat(512) } })),
        event(json!({ "attributes": { "moe_hidden": 1 } })),
        { "type": "customer", "customer_id": "u1", "attributes": { "id": 1 } },
        { "type": "customer", "customer_id": "u1", "attributes": { "a": vec![1; 51] } },
        { "type": "customer", "customer_id": "u1", "attributes": { "a": { "b": { "c": { "d.e": 1 } } } } },
        { "type": "customer", "customer_id": "u1", "attributes": { "a": vec![json!({ "b": 1 }); 100] } },
        { "type": "customer", "customer_id": "u1", "attributes": { "a": [true] } },
        event(json!({ "attributes": { "a": [null, [1]] } })),
        event(json!({ "attributes": { "a": { "b": [true] }, "c": [1] } })),
    ]);
    assert_eq!(bulk(&elements).to(&running).await.status, 200);
    assert_eq!(count(&running, "engage").trimmed_by_vendor, 6);
}

#[tokio::test]
async fn identifiers_stand_for_an_id_where_identity_resolution_is_on() {
    let elements = json!([
        { "type": "event", "user_identifiers": { "moe_mobile": "1" }, "actions": [{ "action": "Order Placed" }] },
        { "type": "customer", "attributes": { "moe_mobile": "1" } },
    ]);
    let on = sandbox(workspace(|it| it.identity_resolution = true)).await;
    assert_eq!(bulk(&elements).to(&on).await.status, 200);
    let off = both().await;
    assert_eq!(bulk(&elements).to(&off).await.word(), word(400, "MissingAttributeError"));
}

#[tokio::test]
async fn users_and_events_are_counted_in_fixed_minutes() {
    let mut options = options(vec![workspace(|it| (it.users_per_minute, it.events_per_minute) = (2, 3))]);
    options.clock = Clock::manual(NOON_MS);
    let clock = options.clock.clone();
    let running = start(options).await.expect("a free port");
    let user = json!({ "type": "customer", "customer_id": "u1" });
    let two_actions =
        json!({ "type": "event", "customer_id": "u1", "actions": [{ "action": "aa" }, { "action": "bb" }] });

    let got = bulk(&json!([user, two_actions])).to(&running).await;
    assert_eq!((got.status.as_u16(), got.header("x-ratelimit-limit")), (200, "3"));
    assert_eq!((got.header("x-ratelimit-remaining"), got.header("x-ratelimit-reset")), ("1", "30"));
    let got = bulk(&json!([user, two_actions])).to(&running).await;
    assert_eq!(got.word(), word(429, "Rate Limits Exceeded"));
    assert_eq!((got.header("x-ratelimit-limit"), got.header("x-ratelimit-remaining")), ("3", "0"));
    // What was refused took nothing: one of each is left.
    assert_eq!(bulk(&json!([user, event(json!({}))])).to(&running).await.status, 200);
    assert_eq!(bulk(&json!([user])).to(&running).await.status, 429);
    clock.advance(Duration::from_secs(30));
    assert_eq!(bulk(&json!([user])).to(&running).await.status, 200);
    assert_eq!(count(&running, "engage").throttled, 2);
}

#[tokio::test]
async fn the_429_has_three_forms() {
    let full = |throttle| workspace(move |it| (it.users_per_minute, it.throttle) = (1, throttle));
    let two = json!([{ "type": "customer", "customer_id": "u1" }, { "type": "customer", "customer_id": "u2" }]);
    let epoch = bulk(&two).to(&sandbox(full(MoengageThrottle::Epoch)).await).await;
    assert_eq!((epoch.status.as_u16(), epoch.header("x-ratelimit-reset")), (429, "1795219260"));
    let envoy = bulk(&two).to(&sandbox(full(MoengageThrottle::Envoy)).await).await;
    assert_eq!((envoy.status.as_u16(), envoy.header("x-ratelimit-limit")), (429, "1, 1;w=60"));
    assert_eq!((envoy.header("x-envoy-ratelimited"), envoy.body.len()), ("true", 0));
    let delta = bulk(&two).to(&sandbox(full(MoengageThrottle::Delta)).await).await;
    assert_eq!((delta.status.as_u16(), delta.header("x-ratelimit-reset")), (429, "30"));
}

#[tokio::test]
async fn a_busy_user_vanishes_without_a_word() {
    let running = both().await;
    let elements: Value = (0..1_000).map(|_| json!({ "type": "customer", "customer_id": "busy" })).collect();
    for _ in 0..6 {
        assert_eq!(bulk(&elements).to(&running).await.status, 200);
    }
    let report = count(&running, "engage");
    assert_eq!((report.element_count(), report.dropped_by_vendor), (5_000, [("fair_usage", 1_000)].into()));
}

#[tokio::test]
async fn merges_skip_bad_pairs_and_are_limited() {
    let running = sandbox(workspace(|it| it.merges_per_minute = 60)).await;
    let path = "/moengage/02/v1/customer/merge?app_id=ACME";
    let pair = json!({ "merged_user": "old", "retained_user": "keep" });
    let got = Ask::moengage(path, &json!({ "merge_data": [pair, { "merged_user": "old" }] })).to(&running).await;
    assert_eq!(got.json(), json!({ "status": "success", "operation": "created" }));
    let many = |count| json!({ "merge_data": vec![pair.clone(); count] });
    assert_eq!(Ask::moengage(path, &many(51)).to(&running).await.word(), word(400, "ValueError"));
    assert_eq!(Ask::moengage(path, &many(50)).to(&running).await.status, 200);
    assert_eq!(Ask::moengage(path, &many(50)).to(&running).await.status, 429);
    let report = count(&running, "engage");
    assert_eq!((report.elements, report.dropped_by_vendor), ([("merge", 51)].into(), [("merge_pair", 1)].into()));
    let bare = Ask::moengage("/moengage/02/v1/customer/merge", &many(1)).to(&running).await;
    assert_eq!(bare.word(), word(400, "ParamsRequired"));
}
