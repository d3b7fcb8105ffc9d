//! Faults: what each does to a request, and which requests it finds.

use std::time::{Duration, Instant};

use super::*;

fn events(count: usize) -> Ask {
    let events: Vec<_> = (0..count).map(|n| json!({ "userId": format!("u{n}"), "eventName": "E" })).collect();
    Ask::iterable(TRACK_BULK, &json!({ "events": events }))
}

fn customers(count: usize) -> Ask {
    let elements: Vec<_> = (0..count).map(|n| json!({ "type": "customer", "customer_id": format!("u{n}") })).collect();
    Ask::moengage(BULK, &json!({ "type": "transition", "elements": elements }))
}

async fn with(faults: &str) -> Running {
    let running = both().await;
    running.set_faults(parse_faults(faults).expect("faults"));
    running
}

fn taken(running: &Running) -> u64 {
    running.report().accounts.values().map(AccountReport::element_count).sum()
}

#[tokio::test]
async fn statuses_have_the_vendors_body_or_their_own() {
    let running =
        with("[[fault]]\nkind = 'status'\nstatus = 503\nheaders = { retry-after = '2' }\naccount = 'mail'").await;
    let got = events(1).to(&running).await;
    assert_eq!((got.word(), got.header("retry-after")), (word(503, "GenericError"), "2"));
    assert_eq!(customers(1).to(&running).await.status, 200);
    running.set_faults(vec![Fault::status(500).account("engage")]);
    assert_eq!(customers(1).to(&running).await.word(), word(500, "ServerError"));
    running.set_faults(parse_faults("[[fault]]\nkind = 'status'\nstatus = 502\nbody = '<html>'").expect("a fault"));
    let got = customers(1).to(&running).await;
    assert_eq!((got.status.as_u16(), &got.body[..]), (502, &b"<html>"[..]));
    assert_eq!(taken(&running), 1);
    assert_eq!(count(&running, "engage").refused, [(500, 1), (502, 1)].into());
}

#[tokio::test]
async fn a_revoked_key_and_a_full_limit_look_like_the_vendors() {
    let running = with("[[fault]]\nkind = 'revoke_key'\ncount = 2\n[[fault]]\nkind = 'throttle'").await;
    assert_eq!(events(1).to(&running).await.word(), word(401, "BadApiKey"));
    assert_eq!(customers(1).to(&running).await.word(), word(401, "Authentication required"));
    assert_eq!(events(1).to(&running).await.word(), word(429, "RateLimitExceeded"));
    assert_eq!(customers(1).to(&running).await.word(), word(429, "Rate Limits Exceeded"));
}

#[tokio::test]
async fn a_reset_comes_before_or_after_the_acceptance() {
    let running = with("[[fault]]\nkind = 'reset_before'\ncount = 1\n[[fault]]\nkind = 'reset_after'\ncount = 1").await;
    assert!(events(3).attempt(&running).await.is_err());
    assert_eq!(taken(&running), 0);
    assert!(events(3).attempt(&running).await.is_err());
    assert_eq!(taken(&running), 3);
    assert_eq!(events(3).to(&running).await.status, 200);
    assert_eq!(count(&running, "mail").faults, [("reset_after", 1), ("reset_before", 1)].into());
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let running = with("[[fault]]\nkind = 'reset_before'").await;
    let mut stream = TcpStream::connect(running.addr()).await.expect("a connection");
    let head = format!("POST {TRACK_BULK} HTTP/1.1\r\nhost: x\r\napi-key: mail-key\r\ncontent-length: 2\r\n\r\n{{}}");
    stream.write_all(head.as_bytes()).await.expect("written");
    let error = stream.read(&mut [0; 16]).await.expect_err("no end of file");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_hanging_request_is_never_answered_and_not_taken() {
    let running = with("[[fault]]\nkind = 'hang'").await;
    let waited = tokio::time::timeout(Duration::from_millis(50), events(1).attempt(&running)).await;
    assert!(waited.is_err());
    assert_eq!(taken(&running), 0);
    running.stop().await;
}

#[tokio::test]
async fn delays_come_before_or_after_the_acceptance() {
    let running = with("[[fault]]\nkind = 'delay'\ndelay = '30ms'").await;
    let start = Instant::now();
    assert_eq!(events(1).to(&running).await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(30));
    running.set_faults(vec![Fault::new(Effect::DelayAnswer(Duration::from_mins(1)))]);
    let waited = tokio::time::timeout(Duration::from_millis(50), events(1).attempt(&running)).await;
    assert!(waited.is_err());
    assert_eq!(taken(&running), 2);
}

#[tokio::test]
async fn a_poisoned_element_fails_its_batch() {
    let running = with("[[fault]]\nkind = 'poison'\nmarker = 'u2'\nstatus = 400").await;
    assert_eq!(events(3).to(&running).await.word(), word(400, "BadParams"));
    assert_eq!(customers(3).to(&running).await.word(), word(400, "AttributeError"));
    assert_eq!(events(2).to(&running).await.status, 200);
    running.set_faults(parse_faults("[[fault]]\nkind = 'poison'\nmarker = 'u2'\nstatus = 500").expect("a fault"));
    assert_eq!(events(3).to(&running).await.word(), word(500, "GenericError"));
}

#[tokio::test]
async fn a_partial_failure_is_listed_by_one_vendor_and_hidden_by_the_other() {
    let running = with("[[fault]]\nkind = 'partial_failure'\nelements = 0.5\nlist = 'conflict'").await;
    let body = events(100).to(&running).await.json();
    let failed = body["failCount"].as_u64().unwrap_or_default();
    assert!((20..80).contains(&failed), "{failed}");
    assert_eq!(body["successCount"].as_u64(), Some(100 - failed));
    assert_eq!(body["failedUpdates"]["conflictUserIds"].as_array().map(Vec::len), usize::try_from(failed).ok());
    assert_eq!(customers(100).to(&running).await.status, 200);
    let report = count(&running, "engage");
    assert_eq!(report.dropped_by_vendor["fault"] + report.element_count(), 100);
    running.set_faults(vec![Fault::new(Effect::PartialFailure { elements: 1.0, list: Listed::Nowhere })]);
    let body = events(2).to(&running).await.json();
    assert_eq!((&body["failCount"], &body["failedUpdates"]["invalidUserIds"]), (&json!(2), &json!([])));
}

#[tokio::test]
async fn answers_that_are_not_the_vendors() {
    let running = with(
        "[[fault]]\nkind = 'not_the_vendor'\ncount = 1\n[[fault]]\nkind = 'redirect'\nlocation = 'https://x.invalid/'",
    )
    .await;
    let portal = events(1).to(&running).await;
    assert_eq!((portal.status.as_u16(), portal.header("content-type")), (200, "text/html"));
    let away = events(1).to(&running).await;
    assert_eq!((away.status.as_u16(), away.header("location")), (302, "https://x.invalid/"));
    running.set_faults(vec![Fault::new(Effect::HugeAnswer { bytes: 3 << 20 })]);
    assert_eq!(events(1).to(&running).await.body.len(), 3 << 20);
    assert_eq!(taken(&running), 0);
}

#[tokio::test]
async fn answers_that_are_damaged_on_the_way() {
    let running = with("[[fault]]\nkind = 'broken_json'").await;
    let broken = events(1).to(&running).await;
    assert!(broken.status == 200 && serde_json::from_slice::<Value>(&broken.body).is_err());
    running.set_faults(vec![Fault::new(Effect::ShortBody)]);
    assert!(events(1).attempt(&running).await.is_err());
    running.set_faults(vec![Fault::new(Effect::SlowBody(Duration::from_millis(1)))]);
    assert_eq!(customers(1).to(&running).await.json()["status"], "success");
    assert_eq!(taken(&running), 3);
}

#[tokio::test]
async fn faults_have_windows_counts_and_endpoints() {
    let mut options = options(vec![workspace(|_| {}), project(|_| {})]);
    options.clock = Clock::manual(NOON_MS);
    let clock = options.clock.clone();
    let text =
        "[[fault]]\nkind = 'status'\nstatus = 500\nfrom = '10s'\nfor = '5s'\nendpoint = 'events/trackBulk'\ncount = 2";
    options.faults = parse_faults(text).expect("a fault");
    let running = start(options).await.expect("a free port");
    assert_eq!(events(1).to(&running).await.status, 200);
    clock.advance(Duration::from_secs(10));
    assert_eq!(customers(1).to(&running).await.status, 200);
    assert_eq!(events(1).to(&running).await.status, 500);
    assert_eq!(events(1).to(&running).await.status, 500);
    assert_eq!(events(1).to(&running).await.status, 200);
    assert_eq!(running.report().faults, [FaultReport { kind: "status", hits: 2 }]);
    running.set_faults(vec![Fault::status(500).window(Duration::ZERO, Duration::from_secs(5))]);
    assert_eq!(events(1).to(&running).await.status, 500);
    clock.advance(Duration::from_secs(5));
    assert_eq!(events(1).to(&running).await.status, 200);
}

#[tokio::test]
async fn chance_is_seeded() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let account = workspace(|_| {});
        let faults = vec![Fault::status(500).share(0.5)];
        let running = start(Options { faults, seed, ..options(vec![account]) }).await.expect("a free port");
        let mut statuses = Vec::new();
        for _ in 0..32 {
            statuses.push(customers(1).to(&running).await.status.as_u16());
        }
        assert!(statuses.contains(&200) && statuses.contains(&500));
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[test]
fn mistakes_in_a_faults_file_are_named() {
    let wrong = |text: &str| parse_faults(text).expect_err("a mistake").to_string();
    assert_eq!(wrong("[[fault]]\nkind = 'hang'\n[[fault]]\nkind = 'hung'"), "fault 2: there is no kind \"hung\"");
    assert_eq!(wrong("[[fault]]\nkind = 'status'"), "fault 1: a status needs `status`");
    assert_eq!(wrong("[[fault]]\nkind = 'hang'\nstatus = 500"), "fault 1: a hang has no status");
    assert_eq!(wrong("[[fault]]\nkind = 'hang'\nshare = 1.5"), "fault 1: `share` is between 0 and 1, not 1.5");
    assert_eq!(
        wrong("[[fault]]\nkind = 'hang'\nfrom = '-1s'"),
        "fault 1: `from` is a duration like \"10s\", not \"-1s\""
    );
    assert!(wrong("[[fault]]\nkind = 'hang'\nshar = 1").starts_with("line 3: unknown field"));
}
