//! A host of little trust: where it may lead to, and how much it may say.

use super::tunnels::FakeProxy;
use super::*;

const LITTLE: Reach = Reach { answer_cap: 64 * 1024, public_only: true };

fn named(host: &str, origin: &Origin) -> Origin {
    Origin { host: host.into(), reach: LITTLE, ..origin.clone() }
}

fn allowing(host: &str) -> Client {
    client_with(|options| options.allow_hosts = vec![host.to_owned()])
}

#[tokio::test]
async fn an_address_of_ours_is_refused_unless_it_or_its_name_is_allowed() {
    let vendor = FakeVendor::ok().await;
    for host in ["127.0.0.1", "localhost"] {
        let origin = named(host, &vendor.origin);
        let error = fail(&client(), &origin).await;
        assert_eq!((error.kind(), error.may_have_been_received()), ("forbidden", false), "{host}");
        succeed(&allowing(host), &origin).await;
        let error = fail(&allowing("other.example"), &origin).await;
        assert_eq!(error.kind(), "forbidden");
    }
    // The name leads to an address that is allowed by itself.
    succeed(&allowing("127.0.0.1"), &named("localhost", &vendor.origin)).await;
}

#[tokio::test]
async fn it_shares_no_connection_with_who_is_trusted() {
    let vendor = FakeVendor::ok().await;
    let client = client();
    succeed(&client, &vendor.origin).await;
    assert_eq!(fail(&client, &named("127.0.0.1", &vendor.origin)).await.kind(), "forbidden");
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_cap() {
    let vendor = FakeVendor::start(None, || async { Answer::new(Full::from(vec![b'x'; 100_000])) }).await;
    let answer = post(&allowing("127.0.0.1"), &named("127.0.0.1", &vendor.origin), "x".repeat(30_000)).await.unwrap();
    assert_eq!((answer.body.len(), answer.truncated), (64 * 1024, true));
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_address_that_was_found_good() {
    let vendor = FakeVendor::ok_tls(TRUSTED.acceptor("localhost")).await;
    let proxy = FakeProxy::start(&vendor.origin).await;
    let through = |allowed: &str| {
        let url = format!("http://127.0.0.1:{}", proxy.origin.port);
        let allow_hosts = vec![allowed.to_owned()];
        client_with(|options| {
            options.proxies = Proxies::new(Some(&url), |_| None).unwrap();
            options.allow_hosts = allow_hosts;
        })
    };
    let origin = named("localhost", &vendor.origin);
    assert_eq!(fail(&through("other.example"), &origin).await.kind(), "forbidden");
    assert_eq!(proxy.requests(), 0);
    succeed(&through("127.0.0.1"), &origin).await;
    let asked = proxy.requests.lock().unwrap()[0].clone();
    assert!(asked.starts_with(&format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", origin.port)), "{asked}");
}
