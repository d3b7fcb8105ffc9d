//! Iterable's bodies: what fails a batch, what fails one element and how that is told, and what single calls say.

use super::*;

fn track(events: &Value) -> Ask {
    Ask::iterable(TRACK_BULK, &json!({ "events": events }))
}

fn update(users: &Value) -> Ask {
    Ask::iterable(BULK_UPDATE, &json!({ "users": users }))
}

fn single(endpoint: &str, body: &Value) -> Ask {
    Ask::iterable(&format!("/iterable/eu/api/{endpoint}"), body)
}

#[tokio::test]
async fn one_wrong_type_fails_the_whole_batch() {
    let running = both().await;
    let good = json!({ "email": "a@example.com", "eventName": "E" });
    let cases = [
        (
            json!({ "email": "a@example.com", "eventName": "E", "createdAt": "now" }),
            "createdAt",
            "Number value expected",
        ),
        (json!({ "email": "a@example.com", "eventName": "E", "createdAt": 1.5 }), "createdAt", "Number value expected"),
        (
            json!({ "email": "a@example.com", "eventName": "E", "createNewFields": 1 }),
            "createNewFields",
            "Boolean value expected",
        ),
        (json!({ "email": 1, "eventName": "E" }), "email", "String value expected"),
        (
            json!({ "email": "a@example.com", "eventName": "E", "dataFields": [] }),
            "dataFields",
            "Object value expected",
        ),
        (json!({ "email": "a@example.com" }), "eventName", "Property is required"),
    ];
    for (event, field, expected) in &cases {
        running.reset();
        let got = track(&json!([good, event])).to(&running).await;
        assert_eq!(got.word(), word(400, "BadJsonBody"), "{event}");
        assert_eq!(got.json()["msg"], "[/api/events/trackBulk] Invalid JSON body");
        assert_eq!(got.json()["params"], json!({ format!("obj.events[1].{field}"): expected }));
        assert_eq!(count(&running, "mail").element_count(), 0);
    }
    let got = update(&json!([{ "userId": "u1", "preferUserId": "yes", "dataFields": null }])).to(&running).await;
    assert_eq!(got.json()["params"], json!({ "obj.users[0].preferUserId": "Boolean value expected" }));
}

#[tokio::test]
async fn failed_events_are_listed_by_identity() {
    let running = sandbox(project(|it| {
        it.disallowed_events = vec!["Secret".to_owned()];
        it.forgotten = vec!["gone@example.com".to_owned()];
    }))
    .await;
    let events = json!([
        { "email": "a@example.com", "eventName": "E" },
        { "email": "Sayan", "eventName": "E" },
        { "userId": "trailing ", "eventName": "E" },
        { "email": "GONE@example.com", "eventName": "E" },
        { "userId": "u1", "eventName": "Secret" },
        { "userId": "u2", "eventName": "Secret" },
        { "eventName": "E" },
    ]);
    let got = track(&events).to(&running).await;
    assert_eq!(got.status, 200);
    let body = got.json();
    assert_eq!((&body["successCount"], &body["failCount"]), (&json!(1), &json!(6)));
    assert_eq!(body["invalidEmails"], json!(["sayan"]));
    assert_eq!(body["failedUpdates"]["invalidEmails"], json!(["sayan"]));
    assert_eq!(body["failedUpdates"]["invalidUserIds"], json!(["trailing "]));
    assert_eq!(body["failedUpdates"]["forgottenEmails"], json!(["gone@example.com"]));
    assert_eq!(body["disallowedEventNames"], json!(["Secret"]));
    assert_eq!(body["createdFields"], json!([]));
    let report = count(&running, "mail");
    assert_eq!((report.element_count(), report.failed_count(), report.accepted), (1, 6, 1));
    assert_eq!(report.failed["disallowedEventNames"], 2);
    assert_eq!(report.failed["unlisted"], 1);
}

#[tokio::test]
async fn unknown_users_can_be_refused() {
    let running = sandbox(project(|it| it.unknown_users = UnknownUsers::Refuse)).await;
    let events = json!([{ "email": "A@example.com", "eventName": "E" }, { "userId": "u1", "eventName": "E" }]);
    let body = track(&events).to(&running).await.json();
    assert_eq!(body["failedUpdates"]["notFoundEmails"], json!(["a@example.com"]));
    assert_eq!(body["failedUpdates"]["notFoundUserIds"], json!(["u1"]));
    // The top-level list holds what was not found.
    assert_eq!((&body["invalidUserIds"], &body["invalidEmails"]), (&json!(["u1"]), &json!([])));
    let unknown = single("events/track", &events[0]).to(&running).await;
    assert_eq!(unknown.word(), word(400, "UnknownEmailError"));
    assert_eq!(update(&json!([{ "email": "a@example.com", "userId": "u1" }])).to(&running).await.status, 200);
    assert_eq!(track(&events).to(&running).await.json()["successCount"], 2);
}

#[tokio::test]
async fn identities_follow_the_projects_type() {
    let by_id = sandbox(project(|it| it.identity = Identity::UserId)).await;
    let body = track(&json!([{ "email": "a@example.com", "eventName": "E" }])).to(&by_id).await.json();
    assert_eq!((&body["failCount"], &body["failedUpdates"]["invalidEmails"]), (&json!(1), &json!([])));
    let by_email = sandbox(project(|it| (it.identity, it.region) = (Identity::Email, Region::Us))).await;
    let path = "/iterable/us/api/users/bulkUpdate";
    let users = |prefer: bool| json!({ "users": [{ "userId": "u1", "preferUserId": prefer }] });
    let refused = Ask::iterable(path, &users(false)).to(&by_email).await.json();
    assert_eq!(refused["invalidUserIds"], json!(["u1"]));
    assert_eq!(Ask::iterable(path, &users(true)).to(&by_email).await.json()["successCount"], 1);
    assert_eq!(Ask::iterable(path, &users(false)).to(&by_email).await.json()["successCount"], 1);
}

#[tokio::test]
async fn the_same_id_is_the_same_event() {
    let running = both().await;
    let event = |id: &str| json!([{ "userId": "u1", "eventName": "E", "id": id }]);
    assert_eq!(track(&event("id-1")).to(&running).await.status, 200);
    assert_eq!(track(&event("id-1")).to(&running).await.status, 200);
    assert_eq!(track(&event("a:b")).to(&running).await.word(), word(400, "BadParams"));
    let report = count(&running, "mail");
    assert_eq!((report.distinct_ids, report.duplicates_by_id, report.element_count()), (1, 1, 2));
    assert!(running.has_id("mail", "id-1"));
    let profile = json!([{ "userId": "u1", "dataFields": { "message_id": "p-1" } }]);
    assert_eq!(update(&profile).to(&running).await.status, 200);
    assert!(running.has_id("mail", "p-1"));
}

#[tokio::test]
async fn the_first_value_fixes_a_fields_type() {
    let running = both().await;
    let event = |value: Value| json!({ "userId": "u1", "eventName": "E", "dataFields": { "at": value } });
    let first = track(&json!([event(json!("2026-11-20 20:41:00 +00:00"))])).to(&running).await.json();
    assert_eq!(first["createdFields"], json!(["at"]));
    let got = track(&json!([event(json!("2026-11-21 20:41:00 +00:00")), event(json!("soon"))])).to(&running).await;
    assert_eq!(got.word(), word(400, "RequestFieldsTypesMismatched"));
    let error = &got.json()["params"]["validationErrors"]["E:::at"];
    assert_eq!((&error["expectedType"], &error["offendingValue"]), (&json!("date"), &json!("soon")));
    assert_eq!(error["incomingTypes"], json!(["string", "keyword"]));
    assert_eq!(count(&running, "mail").element_count(), 1);
    // Another event's field of the same name is another field.
    let other = json!([{ "userId": "u1", "eventName": "F", "dataFields": { "at": 1 } }]);
    assert_eq!(track(&other).to(&running).await.status, 200);
    let nested = |value: Value| json!([{ "userId": "u1", "dataFields": { "a": { "b": value } } }]);
    assert_eq!(update(&nested(json!(1))).to(&running).await.json()["createdFields"], json!(["a", "a.b"]));
    assert_eq!(update(&nested(json!(2.5))).to(&running).await.status, 200);
    assert_eq!(update(&nested(json!("x"))).to(&running).await.word(), word(400, "RequestFieldsTypesMismatched"));
}

#[tokio::test]
async fn unknown_fields_are_left_out_or_made_or_too_many() {
    let running = both().await;
    let event = json!([{ "userId": "u1", "eventName": "E", "dataFields": { "x": 1 }, "createNewFields": false }]);
    let body = track(&event).to(&running).await.json();
    assert_eq!((&body["filteredOutFields"], &body["successCount"]), (&json!(["x"]), &json!(1)));
    let fields = |count: usize| (0..count).map(|n| (format!("f{n}"), json!(1))).collect::<serde_json::Map<_, _>>();
    let users = |count| json!([{ "userId": "u1", "dataFields": fields(count) }]);
    assert_eq!(update(&users(1001)).to(&running).await.word(), word(400, "UniqueFieldsLimitExceeded"));
    assert_eq!(update(&users(1000)).to(&running).await.status, 200);
}

#[tokio::test]
async fn users_keep_their_last_state() {
    let running = both().await;
    let users = json!([
        { "email": "A@example.com", "userId": "u1", "dataFields": { "plan": "free", "address": { "city": "Ulm" } } },
        { "userId": "u1", "dataFields": { "plan": "pro", "address": { "zip": "1" } }, "mergeNestedObjects": true },
    ]);
    assert_eq!(update(&users).to(&running).await.json()["successCount"], 2);
    let state = json!({ "plan": "pro", "address": { "city": "Ulm", "zip": "1" } });
    assert_eq!(running.user("mail", "a@example.com"), Some(state.clone()));
    let replaced = json!({ "userId": "u1", "dataFields": { "address": {} } });
    assert_eq!(single("users/update", &replaced).to(&running).await.word(), word(200, "Success"));
    assert_eq!(running.user("mail", "u1"), Some(json!({ "plan": "pro", "address": {} })));
    let renamed = json!({ "currentEmail": "a@example.com", "newEmail": "b@example.com" });
    assert_eq!(single("users/updateEmail", &renamed).to(&running).await.status, 200);
    assert!(running.user("mail", "a@example.com").is_none() && running.user("mail", "b@example.com").is_some());
    assert_eq!(single("users/updateEmail", &renamed).to(&running).await.word(), word(400, "EmailAlreadyExists"));
}

#[tokio::test]
async fn single_events_are_answered_by_status_except_disallowed_ones() {
    let running = sandbox(project(|it| it.disallowed_events = vec!["Secret".to_owned()])).await;
    let track = |body: Value| single("events/track", &body);
    let good = track(json!({ "userId": "u1", "eventName": "E", "id": "12345" })).to(&running).await;
    let body = json!({ "msg": "Event with id: 12345 tracked.", "code": "Success", "params": { "id": "12345" } });
    assert_eq!(good.json(), body);
    let secret = track(json!({ "userId": "u1", "eventName": "Secret" })).to(&running).await;
    assert_eq!(secret.word(), word(200, "Success"));
    assert!(secret.json()["msg"].as_str().is_some_and(|msg| msg.contains("is disallowed from tracking")));
    assert_eq!(count(&running, "mail").dropped_count(), 1);
    let invalid = track(json!({ "email": "sayan", "eventName": "E" })).to(&running).await;
    let body = json!({ "msg": "Invalid email: sayan", "code": "InvalidEmailAddressError", "params": null });
    assert_eq!((invalid.status.as_u16(), invalid.json()), (400, body));
    let invalid = track(json!({ "userId": "ü", "eventName": "E" })).to(&running).await;
    assert_eq!(invalid.word(), word(400, "InvalidUserIdError"));
    assert_eq!(track(json!({ "eventName": "E" })).to(&running).await.word(), word(400, "BadParams"));
}

#[tokio::test]
async fn tokens_purchases_and_carts_are_checked() {
    let running = both().await;
    let device = |platform: &str| json!({ "userId": "u1", "device": { "token": "t", "platform": platform, "applicationName": "a" } });
    assert_eq!(single("users/registerDeviceToken", &device("GCM")).to(&running).await.status, 200);
    assert_eq!(single("users/registerDeviceToken", &device("FAX")).to(&running).await.word(), word(400, "BadParams"));
    let item = json!({ "id": "i", "name": "n", "price": 1.5, "quantity": 2, "categories": ["c"] });
    let purchase = json!({ "user": { "userId": "u1" }, "items": [item], "total": 3, "id": "p-1" });
    assert_eq!(single("commerce/trackPurchase", &purchase).to(&running).await.status, 200);
    assert_eq!(single("commerce/trackPurchase", &purchase).to(&running).await.status, 200);
    let cart =
        json!({ "user": { "userId": "u1" }, "items": [{ "id": "i", "name": "n", "price": "1", "quantity": 2 }] });
    let refused = single("commerce/updateCart", &cart).to(&running).await;
    assert_eq!(refused.json()["params"], json!({ "obj.items[0].price": "Number value expected" }));
    let report = count(&running, "mail");
    assert_eq!(report.elements, [("purchase", 2), ("token", 1)].into());
    assert_eq!((report.distinct_ids, report.duplicates_by_id), (1, 1));
}

#[tokio::test]
async fn catalogue_items_are_checked() {
    let running = sandbox(project(|it| it.catalogs = Some(vec!["products".to_owned()]))).await;
    let put = |name: &str, documents: Value| {
        let body = json!({ "documents": documents, "replaceUploadedFieldsOnly": true });
        single(&format!("catalogs/{name}/items"), &body)
    };
    assert_eq!(put("products", json!({ "a-1": { "price": 1 } })).to(&running).await.status, 202);
    assert_eq!(put("other", json!({})).to(&running).await.word(), word(404, "error.catalogs.notFound"));
    assert_eq!(put("products", json!({ "a_1": {} })).to(&running).await.word(), word(400, "BadParams"));
    assert_eq!(put("products", json!({ "a": { "x.y": 1 } })).to(&running).await.word(), word(400, "BadParams"));
    let many = (0..1001).map(|n| (n.to_string(), json!({}))).collect::<serde_json::Map<_, _>>();
    assert_eq!(put("products", json!(many)).to(&running).await.word(), word(400, "BatchTooLarge"));
}
