//! MoEngage before the body: addresses, credentials, media types, sizes.

use super::*;

fn one() -> Value {
    json!({ "type": "transition", "elements": [{ "type": "customer", "customer_id": "u1" }] })
}

#[tokio::test]
async fn a_good_request_is_answered_as_documented() {
    let running = both().await;
    let got = Ask::moengage(BULK, &one()).to(&running).await;
    assert_eq!(got.status, 200);
    let body = got.json();
    assert_eq!(body["status"], "success");
    assert_eq!(body["message"], "Your request has been accepted and will be processed soon.");
    assert_eq!(body["request_id"].as_str().map(str::len), Some(8));
    let report = count(&running, "engage");
    assert_eq!((report.requests, report.accepted, report.element_count()), (1, 1, 1));
    assert_eq!(report.bytes, one().to_string().len() as u64);
}

#[tokio::test]
async fn the_host_header_is_an_address_too() {
    let running = both().await;
    let ask = Ask::moengage("/v1/transition?app_id=ACME", &one());
    assert_eq!(ask.clone().header("host", "api-02.moengage.com").to(&running).await.status, 200);
    let wrong = ask.clone().header("host", "api-01.moengage.com").to(&running).await;
    assert_eq!(wrong.word(), word(401, "Authentication required"));
    assert_eq!(ask.to(&running).await.status, 404);
}

#[tokio::test]
async fn another_data_center_does_not_know_the_workspace() {
    let running = both().await;
    let got = Ask::moengage("/moengage/101/v1/transition/ACME", &one()).to(&running).await;
    assert_eq!(got.word(), word(401, "Authentication required"));
    assert_eq!(got.json()["error"]["message"], "Invalid APP_ID used");
    assert_eq!(running.report().strangers.get(&401), Some(&1));
}

#[tokio::test]
async fn credentials_are_checked() {
    let running = both().await;
    let ask = Ask::moengage(BULK, &one());
    let refused = word(401, "Authentication required");
    assert_eq!(ask.clone().without("authorization").to(&running).await.word(), refused);
    assert_eq!(ask.clone().header("authorization", "Bearer x").to(&running).await.word(), refused);
    assert_eq!(ask.clone().header("authorization", &basic("ACME", "wrong")).to(&running).await.word(), refused);
    assert_eq!(ask.clone().header("authorization", &basic("OTHER", "secret")).to(&running).await.word(), refused);
    assert_eq!(ask.clone().header("moe-appkey", "OTHER").to(&running).await.word(), refused);
    assert_eq!(ask.clone().header("moe-appkey", "ACME").to(&running).await.status, 200);
    let path = Ask::moengage("/moengage/02/v1/transition/OTHER", &one()).to(&running).await;
    assert_eq!(path.word(), word(409, "Authentication Mismatch"));
    let none = Ask::moengage("/moengage/02/v1/transition", &one()).to(&running).await;
    assert_eq!(none.word(), word(400, "ParamsRequired"));
    assert_eq!(count(&running, "engage").refused, [(400, 1), (401, 2), (409, 1)].into());
}

#[tokio::test]
async fn keys_can_be_replaced_and_revoked() {
    let running = both().await;
    let ask = Ask::moengage(BULK, &one());
    assert!(running.set_keys("engage", vec![Key::new("secret"), Key::new("next")]));
    assert_eq!(ask.clone().header("authorization", &basic("ACME", "next")).to(&running).await.status, 200);
    assert_eq!(ask.to(&running).await.status, 200);
    assert!(running.revoke("engage"));
    assert_eq!(ask.to(&running).await.status, 401);
    assert!(!running.revoke("nobody"));
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let running = both().await;
    assert_eq!(Ask::moengage("/moengage/02/v1/event/ACME", &one()).to(&running).await.status, 404);
    let get = Ask { method: Method::GET, ..Ask::moengage(BULK, &one()) };
    assert_eq!(get.to(&running).await.status, 405);
}

#[tokio::test]
async fn an_address_list_wants_x_forwarded_for() {
    let running = sandbox(workspace(|it| it.allowed_ips = vec!["203.0.113.7".parse().expect("an address")])).await;
    let ask = Ask::moengage(BULK, &one());
    let got = ask.to(&running).await;
    assert_eq!((got.status.as_u16(), &got.json()["error"]), (403, &json!("IP Validation Required")));
    assert_eq!(ask.clone().header("x-forwarded-for", "203.0.113.8").to(&running).await.status, 403);
    assert_eq!(ask.clone().header("x-forwarded-for", "203.0.113.7, 10.0.0.1").to(&running).await.status, 200);
}

#[tokio::test]
async fn media_type_length_and_json_are_checked() {
    let running = both().await;
    let ask = Ask::moengage(BULK, &one());
    assert_eq!(ask.clone().without("content-type").to(&running).await.word(), word(400, "Missing header value"));
    let xml = ask.clone().header("content-type", "text/xml").to(&running).await;
    assert_eq!(xml.word(), word(415, "Unsupported Media Type"));
    assert_eq!(ask.clone().header("content-type", "application/json; charset=utf-8").to(&running).await.status, 200);
    assert_eq!(ask.clone().header("content-encoding", "gzip").to(&running).await.status, 415);
    assert_eq!(ask.clone().header("transfer-encoding", "chunked").to(&running).await.status, 411);
    assert_eq!(ask.clone().raw("").to(&running).await.word(), word(400, "Empty request body"));
    assert_eq!(ask.clone().raw("[1]").to(&running).await.word(), word(400, "Body type is not JSON"));
    assert_eq!(ask.clone().raw("{").to(&running).await.word(), word(400, "Malformed JSON"));
    assert_eq!(ask.clone().raw(&b"{\"a\":\"\xff\"}"[..]).to(&running).await.word(), word(400, "Malformed JSON"));
}

#[tokio::test]
async fn a_transition_has_at_most_100_000_bytes() {
    let running = both().await;
    let padded = |bytes: usize| {
        let mut text = one().to_string();
        text.push_str(&" ".repeat(bytes - text.len()));
        Ask::moengage(BULK, &one()).raw(text)
    };
    assert_eq!(padded(100_000).to(&running).await.status, 200);
    assert_eq!(padded(100_001).to(&running).await.word(), word(413, "Payload too large"));
    let unread = padded(17 << 20).attempt(&running).await;
    assert!(unread.is_err() || unread.is_ok_and(|got| got.status == 413));
}

#[tokio::test]
async fn the_credentials_can_be_probed() {
    let running = both().await;
    let path = "/moengage/02/v1/integrations/authentication";
    let body = json!({ "app_id": "ACME", "app_secret": "secret", "source": "forebay", "region": "02" });
    let ask = Ask::moengage(path, &body).header("moe-appkey", "ACME");
    assert_eq!(ask.to(&running).await.json(), json!({ "status": "success", "app_name": "engage" }));
    assert_eq!(ask.clone().without("moe-appkey").to(&running).await.status, 401);
    let wrong = json!({ "app_id": "ACME", "app_secret": "other", "source": "forebay", "region": "02" });
    assert_eq!(ask.clone().raw(wrong.to_string()).to(&running).await.word(), word(401, "Authentication required"));
    assert_eq!(ask.clone().raw(r#"{"app_id":"ACME"}"#).to(&running).await.word(), word(400, "MissingAttributeError"));
}
