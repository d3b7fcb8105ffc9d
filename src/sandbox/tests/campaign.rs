//! MoEngage's other APIs: who may call them, what they take, and how little of it.

use super::*;

const BUSINESS: &str = "/moengage/02/v1.0/business_event/trigger";
const ALERT: &str = "/moengage/02/v1.0/alerts/send";
const ITEMS: &str = "/moengage/02/v1/catalog/shoes/items";

fn ask(path: &str, body: &Value) -> Ask {
    Ask::moengage(path, body).header("moe-appkey", "ACME")
}

fn alert(transaction: &str) -> Value {
    json!({ "alert_id": "A", "transaction_id": transaction, "user_id": "u1", "payloads": { "SMS": { "recipient": "1" } } })
}

#[tokio::test]
async fn each_family_of_keys_opens_its_own() {
    let key = |value: &str, kind| Key::new(value).kind(kind);
    let keys = vec![key("data", KeyKind::Data), key("campaign", KeyKind::Campaign), key("inform", KeyKind::Inform)];
    let running = sandbox(workspace(|it| it.keys = keys)).await;
    let data = json!({ "type": "transition", "elements": [{ "type": "customer", "customer_id": "u1" }] });
    let event = json!({ "event_name": "E" });
    let items = json!({ "items": [{ "id": "a" }] });
    for (path, body, family) in [
        (BULK, &data, "data"),
        (BUSINESS, &event, "campaign"),
        (ITEMS, &items, "campaign"),
        (ALERT, &alert("t"), "inform"),
    ] {
        for key in ["data", "campaign", "inform"] {
            let got = ask(path, body).header("authorization", &basic("ACME", key)).to(&running).await;
            let expected = if key == family { 200 } else { 403 };
            assert_eq!(got.status, expected, "{path} with the key of {key}");
        }
    }
    let wrong = workspace(|it| it.keys = vec![key("x", KeyKind::Client)]);
    assert!(start(options(vec![wrong])).await.is_err(), "a kind of the other vendor's");
}

#[tokio::test]
async fn business_events_are_few_and_must_exist() {
    let events = |it: &mut Workspace| {
        it.business_events = Some(vec!["Price Dropped".to_owned()]);
        it.business_events_per_hour = 2;
    };
    let running = sandbox(workspace(events)).await;
    let event = |name: &str| json!({ "event_name": name, "event_attributes": { "a": 1 } });
    for bad in [event("Other"), event(""), json!({}), json!({ "event_name": "Price Dropped", "event_attributes": [] })]
    {
        assert_eq!(ask(BUSINESS, &bad).to(&running).await.status, 400, "{bad}");
    }
    for _ in 0..2 {
        let got = ask(BUSINESS, &event("Price Dropped")).to(&running).await;
        assert_eq!(got.json()["message"], "The business event has been triggered");
    }
    let third = ask(BUSINESS, &event("Price Dropped")).to(&running).await;
    assert_eq!((third.status.as_u16(), &third.json()["data"]["code"]), (429, &json!(429)));
    assert_eq!(count(&running, "engage").elements, [("business_event", 2)].into());
}

#[tokio::test]
async fn an_alert_is_sent_once_a_transaction() {
    let running = both().await;
    let mut cases = vec![json!({ "alert_id": "A" }), alert(&"x".repeat(51)), alert("")];
    for change in [json!({ "payloads": {} }), json!({ "payloads": { "FAX": { "recipient": "1" } } })] {
        let mut bad = alert("t");
        bad["payloads"] = change["payloads"].clone();
        cases.push(bad);
    }
    for bad in &cases {
        assert_eq!(ask(ALERT, bad).to(&running).await.status, 400, "{bad}");
    }
    assert_eq!(ask(ALERT, &alert("t")).to(&running).await.json()["message"], "Successfully Received");
    let again = ask(ALERT, &alert("t")).to(&running).await;
    assert_eq!((again.status.as_u16(), &again.json()["status_code"]), (409, &json!(120_105)));
    assert_eq!(ask(ALERT, &alert("t")).without("moe-appkey").to(&running).await.status, 401);
    let report = count(&running, "engage");
    assert_eq!(report.elements, [("alert", 1)].into());
}

#[tokio::test]
async fn a_catalogue_takes_the_good_items_and_lists_the_bad_ones() {
    let running = sandbox(workspace(|it| {
        it.catalogs = Some(vec!["shoes".to_owned()]);
        it.catalog_per_minute = 3;
    }))
    .await;
    let items = json!({ "items": [{ "id": "a" }, { "id": "a" }, { "title": "x" }, { "id": "b" }] });
    let got = ask(ITEMS, &items).to(&running).await.json();
    assert_eq!((&got["message"]["valid"]["count"], &got["message"]["invalid"]["count"]), (&json!(2), &json!(2)));
    assert_eq!(got["message"]["invalid"]["details"][0]["document_ids"], json!(["a", ""]));
    let other = ask("/moengage/02/v1/catalog/hats/items", &items).to(&running).await;
    assert_eq!((other.status.as_u16(), &other.json()["error-code"]), (404, &json!("CATALOG_NOT_FOUND")));
    let many: Vec<Value> = (0..51).map(|n| json!({ "id": n.to_string() })).collect();
    assert_eq!(ask(ITEMS, &json!({ "items": many })).to(&running).await.status, 400);
    for expected in [200, 200, 429] {
        assert_eq!(ask(ITEMS, &json!({ "items": [{ "id": "c" }] })).to(&running).await.status, expected);
    }
    let hourly = sandbox(workspace(|it| it.catalog_per_hour = 1)).await;
    for expected in [200, 429] {
        assert_eq!(ask(ITEMS, &json!({ "items": [{ "id": "c" }] })).to(&hourly).await.status, expected);
    }
}
