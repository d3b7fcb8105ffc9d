//! The client over real sockets: fakes that the tests share, and a folder of tests by concern.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod deadlines;
mod guard;
mod pace;
mod pooling;
mod trust;
mod tunnels;

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response as Answer};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{Client, Options, Origin, Proxies, Response, TransportError};
use crate::destination::Reach;

const SECRET: &str = "sEcReT-kEy";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The authority that every client of these tests trusts.
static TRUSTED: LazyLock<FakeAuthority> = LazyLock::new(|| FakeAuthority::new("trusted"));

struct FakeAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

/// A vendor that counts.
struct FakeVendor {
    origin: Origin,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
}

impl FakeAuthority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    /// The server's side, with a certificate for this name or address.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        // Were the client to offer h2, this server would take it, and the test fail.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

impl FakeVendor {
    /// Serves over TLS if there is an acceptor.
    async fn start<F, Fut>(acceptor: Option<TlsAcceptor>, answer: F) -> Self
    where
        F: Fn() -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Answer<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = local(&listener, acceptor.is_some());
        let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<_>>>::default());
        let (count, seen) = (Arc::clone(&connections), Arc::clone(&requests));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, seen, answer) = (acceptor.clone(), Arc::clone(&seen), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (seen, answer) = (Arc::clone(&seen), answer.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        seen.lock().unwrap().push(Request::from_parts(head, body));
                        Ok::<_, Infallible>(answer().await)
                    }
                });
                tokio::spawn(async move {
                    match acceptor {
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else { return };
                            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                        }
                        None => {
                            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                        }
                    }
                });
            }
        });
        Self { origin, connections, requests }
    }

    async fn ok() -> Self {
        Self::start(None, || async { Answer::new(Full::from("ok")) }).await
    }

    async fn ok_tls(acceptor: TlsAcceptor) -> Self {
        Self::start(Some(acceptor), || async { Answer::new(Full::from("ok")) }).await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// A server whose every connection is served by `serve`, with its number from 0.
async fn raw<F, Fut>(serve: F) -> Origin
where
    F: Fn(TcpStream, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = local(&listener, false);
    tokio::spawn(async move {
        let mut number = 0;
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, number));
            number += 1;
        }
    });
    origin
}

fn local(listener: &TcpListener, tls: bool) -> Origin {
    Origin { tls, host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port(), reach: Reach::TRUSTED }
}

/// A port that is ours, so that nobody else can listen on it, and where nobody listens.
fn closed_port() -> (Origin, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (
        Origin {
            tls: false,
            host: "127.0.0.1".into(),
            port: socket.local_addr().unwrap().port(),
            reach: Reach::TRUSTED,
        },
        socket,
    )
}

/// Reads a request with a `Content-Length`; empty at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        text.extend_from_slice(&buffer[..count]);
        let so_far = String::from_utf8_lossy(&text);
        if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                return so_far.into_owned();
            }
        }
        if count == 0 {
            return String::new();
        }
    }
}

async fn write(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(text.as_bytes()).await;
}

fn options() -> Options {
    Options {
        timeout: Duration::from_secs(10),
        ca_file: Some(TRUSTED.path().to_owned()),
        proxies: Proxies::default(),
        answer_cap: 1 << 20,
        max_connection_age: Duration::from_mins(5),
        idle: Duration::from_mins(1),
        max_connections_per_origin: 64,
        allow_hosts: Vec::new(),
    }
}

fn client() -> Client {
    Client::new(options()).unwrap()
}

fn client_with(change: impl FnOnce(&mut Options)) -> Client {
    let mut options = options();
    change(&mut options);
    Client::new(options).unwrap()
}

/// Posts a body with a secret header to a secret path.
async fn post(client: &Client, origin: &Origin, body: impl Into<Bytes>) -> Result<Response, TransportError> {
    let mut headers = HeaderMap::new();
    let mut key = HeaderValue::from_static(SECRET);
    key.set_sensitive(true);
    headers.insert("api-key", key);
    let head = client.head(origin, &format!("/v1/{SECRET}?q=1"), &headers)?;
    client.send(&head, |_| {}, body.into()).await
}

/// The error that must come, after a look for secrets in its texts.
async fn fail(client: &Client, origin: &Origin) -> TransportError {
    let error = post(client, origin, "body").await.expect_err("it must fail");
    let printed = format!("{error} {error:?} {client:?}");
    assert!(!printed.contains(SECRET), "{printed}");
    assert!(error.to_string().contains(&origin.host), "{error}");
    error
}

async fn succeed(client: &Client, origin: &Origin) {
    let answer = post(client, origin, "body").await.unwrap();
    assert_eq!((answer.status, &answer.body[..], answer.truncated), (200, &b"ok"[..], false));
}
