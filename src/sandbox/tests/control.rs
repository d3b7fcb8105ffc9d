//! The sandbox's own side: its endpoints, the record file, TLS, the accounts file, and that keys stay secret.

use std::sync::Arc;

use super::*;

fn one() -> Ask {
    Ask::iterable(TRACK_BULK, &json!({ "events": [{ "userId": "u1", "eventName": "E", "id": "1" }] }))
}

#[tokio::test]
async fn faults_and_books_are_reached_over_http() {
    let running = both().await;
    let put = |text: &str| Ask { method: Method::PUT, ..Ask::new("/sandbox/faults", &json!({})) }.raw(text.to_owned());
    assert_eq!(put("[[fault]]\nkind = 'status'\nstatus = 500").to(&running).await.json(), json!({ "faults": 1 }));
    assert_eq!(one().to(&running).await.status, 500);
    let wrong = put("[[fault]]\nkind = 'x'").to(&running).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]), (400, &json!("fault 1: there is no kind \"x\"")));
    assert_eq!(one().to(&running).await.status, 500);
    assert_eq!(put("").to(&running).await.status, 200);
    assert_eq!(one().to(&running).await.status, 200);
    let report = Ask::get("/sandbox/report").to(&running).await.json();
    assert_eq!(report["accounts"]["mail"]["requests"], 3);
    assert_eq!(report["accounts"]["mail"]["elements"], json!({ "event": 1 }));
    assert_eq!(report["accounts"]["mail"]["refused"], json!({ "500": 2 }));
    assert_eq!(Ask::new("/sandbox/reset", &json!({})).to(&running).await.status, 200);
    assert_eq!(running.report().accounts["mail"], AccountReport::default());
    assert_eq!(running.accepted(), []);
    assert_eq!(Ask::get("/sandbox/reset").to(&running).await.status, 405);
    assert_eq!(Ask::get("/sandbox/keys").to(&running).await.status, 404);
}

#[tokio::test]
async fn accepted_elements_are_written_as_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("accepted.jsonl");
    let mut options = options(vec![workspace(|_| {}), project(|_| {})]);
    options.record = Recording { keep: Keep::Counts, file: Some(path.clone()) };
    let running = start(options).await.expect("a free port");
    one().to(&running).await;
    assert_eq!(running.accepted(), []);
    let report = running.stop().await;
    assert_eq!(report.accounts["mail"].distinct_ids, 0);
    let text = std::fs::read_to_string(path).expect("the file");
    let line: Value = serde_json::from_str(text.trim_end()).expect("one line of JSON");
    let element = json!({ "userId": "u1", "eventName": "E", "id": "1" });
    let time = "2026-11-21T00:00:30Z";
    assert_eq!(line, json!({ "account": "mail", "endpoint": "events/trackBulk", "time": time, "element": element }));
}

#[tokio::test]
async fn tls_is_spoken_with_the_given_certificate() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let tls = Tls::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).expect("TLS");
    let options = Options { tls: Some(tls), ..options(vec![project(|_| {})]) };
    let running = start(options).await.expect("a free port");
    let base_url = running.base_url(&project(|_| {}));
    assert_eq!(base_url, format!("https://{}/iterable/eu", running.addr()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tcp = TcpStream::connect(running.addr()).await.expect("a connection");
    let stream = connector.connect("localhost".try_into().expect("a name"), tcp).await.expect("TLS");
    assert_eq!(one().over(stream).await.expect("an answer").status, 200);
    running.set_faults(vec![Fault::new(Effect::ResetAfter)]);
    let tcp = TcpStream::connect(running.addr()).await.expect("a connection");
    let stream = connector.connect("localhost".try_into().expect("a name"), tcp).await.expect("TLS");
    assert!(one().over(stream).await.is_err());
}

#[tokio::test]
async fn a_stopped_sandbox_answers_nobody() {
    let running = both().await;
    let addr = running.addr();
    let idle = TcpStream::connect(addr).await.expect("a connection");
    one().to(&running).await;
    assert_eq!(running.stop().await.accounts["mail"].accepted, 1);
    assert!(TcpStream::connect(addr).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn accounts_that_cannot_be_told_apart_are_refused() {
    let twice = vec![Account::iterable("a", Region::Us, "key"), Account::iterable("b", Region::Eu, "key")];
    let error = start(options(twice)).await.expect_err("a mistake");
    assert_eq!(error.to_string(), "account b: one of its keys stands twice: a key belongs to one project");
}

#[test]
fn mistakes_in_an_accounts_file_are_named_without_keys() {
    let wrong = |text: &str| parse_accounts(text).expect_err("a mistake").to_string();
    assert_eq!(
        wrong("[accounts.a.moengage]\nworkspace = 'W'\ndata_center = '2'"),
        "account a: `data_center` is none of 01 to 06 and 101"
    );
    assert_eq!(
        wrong("[accounts.a.iterable]\nregion = 'eu'\nidentity = 'email'"),
        "account a: email-based projects exist in the US only"
    );
    let limit = "[accounts.a.iterable]\nrequests_per_second = { events = 1 }";
    assert_eq!(wrong(limit), "account a: `requests_per_second` names no endpoint: events");
    for keys in [
        "keys = 'hunter2'",
        "keys = [['hunter2']]",
        "keys = [{ value = 'hunter2', kind = 'hunter2' }]",
        "keys = ['hunter2'",
    ] {
        let error = wrong(&format!("[accounts.a.iterable]\n{keys}"));
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn keys_cannot_be_printed() {
    let account = Account::iterable("a", Region::Us, "hunter2");
    let options = options(vec![account]);
    assert!(!format!("{options:?}").contains("hunter2"));
    let running = start(options).await.expect("a free port");
    assert!(!format!("{running:?} {}", running.report()).contains("hunter2"));
}

#[test]
fn a_report_is_a_line_and_a_table() {
    let mut report = Report { seconds: 5.0, ..Report::default() };
    let counts = AccountReport { requests: 3, elements: [("event", 7)].into(), ..AccountReport::default() };
    report.accounts.insert("mail".to_owned(), counts);
    let line = report.line(&Report::default());
    assert!(line.contains("3 requests (+3)  7 elements (+7)"), "{line}");
    let table = report.to_string();
    assert!(
        table.starts_with("account") && table.lines().nth(1).is_some_and(|row| row.starts_with("mail ")),
        "{table}"
    );
}
