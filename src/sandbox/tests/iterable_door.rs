//! Iterable before the body: keys, regions, rights, media types, sizes, and the token bucket.

use std::time::Duration;

use super::*;

fn one() -> Value {
    json!({ "events": [{ "email": "a@example.com", "eventName": "Order Placed" }] })
}

#[tokio::test]
async fn the_key_decides_and_belongs_to_one_region() {
    let running = both().await;
    let ask = Ask::iterable(TRACK_BULK, &one());
    assert_eq!(ask.to(&running).await.status, 200);
    assert_eq!(ask.clone().without("api-key").header("api_key", "mail-key").to(&running).await.status, 200);
    let wrong = ask.clone().header("api-key", "other").to(&running).await;
    assert_eq!(wrong.word(), word(401, "BadApiKey"));
    assert_eq!(wrong.json()["msg"], "Invalid API key");
    assert_eq!(wrong.json()["params"], json!({ "ip": "127.0.0.1", "endpoint": "/api/events/trackBulk" }));
    assert_eq!(ask.clone().without("api-key").to(&running).await.status, 401);
    let us = Ask::iterable("/iterable/us/api/events/trackBulk", &one());
    assert_eq!(us.to(&running).await.word(), word(401, "BadApiKey"));
    let host = Ask::iterable("/api/events/trackBulk", &one());
    assert_eq!(host.clone().header("host", "api.eu.iterable.com").to(&running).await.status, 200);
    assert_eq!(host.header("host", "api.iterable.com").to(&running).await.status, 401);
}

#[tokio::test]
async fn a_moengage_key_opens_no_project() {
    let running = both().await;
    let got = Ask::iterable(TRACK_BULK, &one()).header("api-key", "secret").to(&running).await;
    assert_eq!(got.word(), word(401, "BadApiKey"));
}

#[tokio::test]
async fn kinds_of_keys_have_rights() {
    let keys = vec![Key::new("server").kind(KeyKind::Server), Key::new("client").kind(KeyKind::Client)];
    let running = sandbox(project(|it| it.keys = keys)).await;
    let token = json!({ "userId": "u1", "browserToken": "t" });
    let register = Ask::iterable("/iterable/eu/api/users/registerBrowserToken", &token);
    let refused = register.clone().header("api-key", "server").to(&running).await;
    assert_eq!(refused.word(), word(401, "BadApiKey"));
    assert_eq!(refused.json()["msg"], "Disabled API key or insufficient privileges");
    assert!(!String::from_utf8_lossy(&refused.body).contains("server"));
    assert_eq!(register.header("api-key", "client").to(&running).await.status, 200);
    let bulk = Ask::iterable(TRACK_BULK, &one());
    assert_eq!(bulk.clone().header("api-key", "client").to(&running).await.status, 401);
    assert_eq!(bulk.header("api-key", "server").to(&running).await.status, 200);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_not_found() {
    let running = both().await;
    assert_eq!(
        Ask::iterable("/iterable/eu/api/events/trackMany", &one()).to(&running).await.word(),
        word(404, "NotFound")
    );
    assert_eq!(Ask::iterable("/iterable/eu/api/catalogs/items", &one()).to(&running).await.status, 404);
    let get = Ask { method: Method::GET, ..Ask::iterable(TRACK_BULK, &one()) };
    assert_eq!(get.to(&running).await.status, 404);
    let lists = Ask::get("/iterable/eu/api/lists").header("api-key", "mail-key");
    assert_eq!(lists.to(&running).await.json(), json!({ "lists": [] }));
}

#[tokio::test]
async fn media_type_length_and_size_are_checked() {
    let running = both().await;
    let ask = Ask::iterable(TRACK_BULK, &one());
    assert_eq!(ask.clone().without("content-type").to(&running).await.status, 415);
    assert_eq!(ask.clone().header("content-encoding", "gzip").to(&running).await.status, 415);
    assert_eq!(ask.clone().header("transfer-encoding", "chunked").to(&running).await.status, 411);
    assert_eq!(ask.clone().raw("{").to(&running).await.word(), word(400, "BadJsonBody"));
    let mut text = one().to_string();
    text.push_str(&" ".repeat(4_000_000 - text.len()));
    assert_eq!(ask.clone().raw(text.clone()).to(&running).await.status, 200);
    text.push(' ');
    let large = ask.clone().raw(text).to(&running).await;
    assert_eq!(large.status, 413);
    assert_eq!(large.header("content-type"), "text/plain; charset=utf-8");
}

#[tokio::test]
async fn each_endpoint_has_its_bucket_per_project() {
    let mut options = options(vec![project(|it| it.keys.push(Key::new("second")))]);
    options.clock = Clock::manual(NOON_MS);
    let clock = options.clock.clone();
    let running = start(options).await.expect("a free port");
    let ask = Ask::iterable(TRACK_BULK, &one());
    for _ in 0..5 {
        assert_eq!(ask.to(&running).await.status, 200);
        assert_eq!(ask.clone().header("api-key", "second").to(&running).await.status, 200);
    }
    let got = ask.to(&running).await;
    assert_eq!(got.word(), word(429, "RateLimitExceeded"));
    assert_eq!(got.json()["msg"], "Exceeded rate limit for endpoint: /api/events/trackBulk, project: 1 ");
    let params = json!({ "rateLimitLimit": 10, "rateLimitRemaining": 0, "rateLimitReset": 1 });
    assert_eq!(got.json()["params"], params);
    assert_eq!(Ask::iterable(BULK_UPDATE, &json!({ "users": [] })).to(&running).await.status, 200);
    clock.advance(Duration::from_millis(100));
    assert_eq!(ask.to(&running).await.status, 200);
    assert_eq!(ask.to(&running).await.status, 429);
    assert_eq!(count(&running, "mail").throttled, 2);
}

#[tokio::test]
async fn the_429_has_three_forms() {
    let running = sandbox(project(|it| {
        it.throttle = IterableThrottle::Rotate;
        it.requests_per_second = [("events/trackBulk".to_owned(), 1)].into();
    }))
    .await;
    let ask = Ask::iterable(TRACK_BULK, &one());
    assert_eq!(ask.to(&running).await.status, 200);
    let (first, second, third) = (ask.to(&running).await, ask.to(&running).await, ask.to(&running).await);
    assert_eq!(first.json()["params"]["rateLimitReset"], 1);
    assert_eq!(second.json()["params"], json!({}));
    assert_eq!((third.status.as_u16(), &third.body[..]), (429, &b"Rate limit exceeded. Please try again later."[..]));
}

#[tokio::test]
async fn a_catalogue_is_limited_by_key() {
    let running = sandbox(project(|it| {
        it.keys.push(Key::new("second"));
        it.requests_per_second = [("catalogs/items".to_owned(), 1)].into();
    }))
    .await;
    let body = json!({ "documents": { "item-1": { "price": 1 } }, "replaceUploadedFieldsOnly": false });
    let ask = Ask::iterable("/iterable/eu/api/catalogs/products/items", &body);
    assert_eq!(ask.to(&running).await.status, 202);
    assert_eq!(ask.to(&running).await.status, 429);
    assert_eq!(ask.clone().header("api-key", "second").to(&running).await.status, 202);
}
