//! Through a proxy by `CONNECT`, or past it.

use super::super::Phase;
use super::*;

/// `user:sEcReT-kEy`, as `Basic` has it.
const CREDENTIALS: &str = "Basic dXNlcjpzRWNSZVQta0V5";

/// A proxy that leads every request to one port, whatever it asks for.
pub(super) struct FakeProxy {
    pub(super) origin: Origin,
    pub(super) requests: Arc<Mutex<Vec<String>>>,
}

impl FakeProxy {
    pub(super) async fn start(target: &Origin) -> Self {
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let (seen, port) = (Arc::clone(&requests), target.port);
        let origin = raw(move |mut stream, _| {
            let seen = Arc::clone(&seen);
            async move {
                let request = read_request(&mut stream).await;
                seen.lock().unwrap().push(request);
                let mut vendor = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                write(&mut stream, "HTTP/1.1 200 Connection established\r\n\r\n").await;
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut vendor).await;
            }
        })
        .await;
        Self { origin, requests }
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn through(proxy: &Origin) -> Client {
    let url = format!("http://user:{SECRET}@127.0.0.1:{}", proxy.port);
    client_with(|options| options.proxies = Proxies::new(Some(&url), |_| None).unwrap())
}

#[tokio::test]
async fn tls_goes_through_the_proxy_end_to_end() {
    let vendor = FakeVendor::ok_tls(TRUSTED.acceptor("vendor.test")).await;
    let proxy = FakeProxy::start(&vendor.origin).await;
    // The name exists for the proxy only.
    let origin = Origin { tls: true, host: "vendor.test".into(), port: 8443, reach: Reach::TRUSTED };
    let client = through(&proxy.origin);
    succeed(&client, &origin).await;
    succeed(&client, &origin).await;
    assert_eq!((vendor.connections(), proxy.requests()), (1, 1));
    let asked = proxy.requests.lock().unwrap()[0].clone();
    assert!(asked.starts_with("CONNECT vendor.test:8443 HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nhost: vendor.test:8443\r\n"), "{asked}");
    assert!(asked.contains(&format!("\r\nproxy-authorization: {CREDENTIALS}\r\n")), "{asked}");
    let received = vendor.requests.lock().unwrap();
    assert!(received.iter().all(|request| !request.headers().contains_key("proxy-authorization")));
    assert_eq!(received[0].headers()["host"], "vendor.test:8443");
}

#[tokio::test]
async fn the_setting_takes_https_to_loopback_and_no_plain_http() {
    let secure = FakeVendor::ok_tls(TRUSTED.acceptor("127.0.0.1")).await;
    let plain = FakeVendor::ok().await;
    let proxy = FakeProxy::start(&secure.origin).await;
    let client = through(&proxy.origin);
    succeed(&client, &plain.origin).await;
    assert_eq!(proxy.requests(), 0);
    succeed(&client, &secure.origin).await;
    assert_eq!(proxy.requests(), 1);
}

#[tokio::test]
async fn the_environment_takes_no_loopback() {
    let vendor = FakeVendor::ok_tls(TRUSTED.acceptor("127.0.0.1")).await;
    let proxy = FakeProxy::start(&vendor.origin).await;
    let url = format!("http://127.0.0.1:{}", proxy.origin.port);
    let proxies = Proxies::new(None, |name| (name == "HTTPS_PROXY").then(|| url.clone())).unwrap();
    succeed(&client_with(|options| options.proxies = proxies), &vendor.origin).await;
    assert_eq!(proxy.requests(), 0);
}

#[tokio::test]
async fn the_vendors_certificate_is_checked_behind_the_proxy_too() {
    let vendor = FakeVendor::ok_tls(FakeAuthority::new("stranger").acceptor("vendor.test")).await;
    let proxy = FakeProxy::start(&vendor.origin).await;
    let origin = Origin { tls: true, host: "vendor.test".into(), port: 443, reach: Reach::TRUSTED };
    assert_eq!(fail(&through(&proxy.origin), &origin).await.kind(), "tls");
    assert_eq!(vendor.requests(), 0);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_with_its_status() {
    let origin = Origin { tls: true, host: "vendor.test".into(), port: 443, reach: Reach::TRUSTED };
    for (status, hint) in
        [("407 Proxy Authentication Required", "credentials"), ("403 Forbidden", "rules"), ("502 Bad Gateway", "reach")]
    {
        let proxy = raw(move |mut stream, _| async move {
            read_request(&mut stream).await;
            write(&mut stream, &format!("HTTP/1.1 {status}\r\nContent-Length: 4\r\n\r\nno!\n")).await;
        })
        .await;
        let error = fail(&through(&proxy), &origin).await;
        let text = error.to_string();
        assert_eq!((error.kind(), error.may_have_been_received()), ("proxy", false));
        assert!(text.contains(status) && text.contains(hint), "{text}");
        assert!(text.contains(&format!("127.0.0.1:{}", proxy.port)) && !text.contains("dXNl"), "{text}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_away_or_closes_or_babbles() {
    let origin = Origin { tls: true, host: "vendor.test".into(), port: 443, reach: Reach::TRUSTED };
    let (away, _socket) = closed_port();
    let closes = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    let babbles = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\n\r\nwelcome").await;
    })
    .await;
    for (proxy, words) in [(away, "cannot be reached"), (closes, "ended the connection"), (babbles, "spoke before TLS")]
    {
        let error = fail(&through(&proxy), &origin).await;
        assert_eq!((error.kind(), error.may_have_been_received()), ("proxy", false));
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_hangs_meets_the_deadline() {
    let proxy = raw(|mut stream, _| async move {
        read_request(&mut stream).await;
        read_request(&mut stream).await;
    })
    .await;
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let client = client_with(|options| {
        options.timeout = Duration::from_millis(300);
        options.proxies = Proxies::new(Some(&url), |_| None).unwrap();
    });
    let origin = Origin { tls: true, host: "vendor.test".into(), port: 443, reach: Reach::TRUSTED };
    let error = fail(&client, &origin).await;
    assert!(matches!(error, TransportError::Timeout { phase: Phase::Tunnelling, .. }), "{error}");
    assert!(!error.may_have_been_received());
}
