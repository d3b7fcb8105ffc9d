//! The HTTP client: connections, TLS, deadlines. Knows no vendor and no tenant.
//!
//! ```text
//! send ─▶ permit of the origin ─▶ connection at rest, else: proxy? ─▶ DNS ─▶ TCP ─▶ CONNECT ─▶ TLS
//!                                        └──────────────▶ request ─▶ answer, capped ─▶ rest again
//! ```
//! Guarantees: one deadline for all of it; a request whose bytes may have left is never sent again here, so what
//! happened is always the caller's to judge; connections are made anew after a while, since vendors move their
//! addresses. Never follows a redirect, never waits between attempts, never prints a header or a path.
//!
//! A [`Client`] belongs to one tokio runtime. It is made for a current-thread one, but needs neither that nor a
//! `LocalSet`: connection drivers are spawned with `tokio::spawn`, because their futures are `Send` anyway.

mod connect;
mod error;
mod guard;
mod origin;
mod pool;
mod proxy;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Body as _;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::error::{ClientError, Phase, TransportError};
pub use self::origin::{NotAnOrigin, Origin};
pub use self::proxy::Proxies;

use self::connect::Connector;
use self::guard::Guard;
use self::pool::{Connection, Host, LongAnswer};
use self::tls::Tls;
use crate::config::Delivery;
use crate::pipeline::MAX_HOST;

/// How much of an answer is read however small the request was, in bytes, and how many times the request otherwise: what many
/// answers could take in memory is bounded by what was sent.
const LEAST_ANSWER: usize = 16 * 1024;
const ANSWER_TIMES: usize = 4;
/// How many of the longest answers may be in memory at a time, of all hosts. Those of one host have room for one of them:
/// a host that is slow to tell a long story keeps it from its own requests first.
const LONG_ANSWERS: usize = 4;
const USER_AGENT: &str = concat!("forebay/", env!("CARGO_PKG_VERSION"));

/// How the client works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The deadline of a request: waiting for a connection, connecting, sending and reading the answer.
    pub timeout: Duration,
    /// Roots beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What stands between us and the origins.
    pub proxies: Proxies,
    /// The most of an answer's body that is read, in bytes; less where the request was small.
    pub answer_cap: usize,
    /// The longest that a connection is used; each draws its own end from the last fifth.
    pub max_connection_age: Duration,
    /// The longest that a connection rests between two requests.
    pub idle: Duration,
    /// The most connections to one origin.
    pub max_connections_per_origin: usize,
    /// Hosts and addresses that need not be public.
    pub allow_hosts: Vec<String>,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, up to the cap.
    pub body: Bytes,
    /// Whether there was more than the cap.
    pub truncated: bool,
    /// A long one's room, which is others' when nobody needs the answer any more.
    _room: Option<LongAnswer>,
}

/// What all requests to one place begin with, made once: see [`Client::head`].
pub struct Head {
    host: Arc<Host>,
    uri: Uri,
    headers: HeaderMap,
}

/// Sends requests over connections that it keeps.
pub struct Client {
    connector: Connector,
    timeout: Duration,
    answer_cap: usize,
    idle: Duration,
    max_connections: usize,
    long_answers: Arc<Semaphore>,
    hosts: Mutex<foldhash::HashMap<Origin, Arc<Host>>>,
}

// === impl Head ===

impl Head {
    fn request(&self, sign: impl FnOnce(&mut HeaderMap), body: Bytes) -> Request<Full<Bytes>> {
        let mut headers = self.headers.clone();
        sign(&mut headers);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        request
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("origin", &self.host.origin).finish_non_exhaustive()
    }
}

// === impl Options ===

impl Options {
    /// The settings of `[delivery]`, and defaults for the rest; `env` looks up a variable.
    pub fn new(delivery: &Delivery, env: impl Fn(&str) -> Option<String>) -> Result<Self, ClientError> {
        Ok(Self {
            timeout: delivery.timeout,
            ca_file: delivery.ca_file.clone(),
            proxies: Proxies::new(delivery.proxy.as_deref(), env)?,
            // An answer may name each of a request's identities; Iterable takes requests of up to 4 MB.
            answer_cap: 4 << 20,
            // MoEngage: the addresses change often, do not cache them.
            max_connection_age: Duration::from_mins(5),
            // Below the 60 s after which AWS's load balancers close, the shortest of the common ones.
            idle: Duration::from_secs(50),
            max_connections_per_origin: MAX_HOST,
            allow_hosts: delivery.allow_hosts.clone(),
        })
    }
}

// === impl Client ===

impl Client {
    /// Reads the root certificates; opens no connection.
    pub fn new(options: Options) -> Result<Self, ClientError> {
        let tls = Tls::new(options.ca_file.as_deref())?;
        Ok(Self {
            connector: Connector {
                tls,
                proxies: options.proxies,
                max_age: options.max_connection_age,
                guard: Guard { allow_hosts: options.allow_hosts },
            },
            timeout: options.timeout,
            answer_cap: options.answer_cap,
            idle: options.idle,
            max_connections: options.max_connections_per_origin,
            long_answers: Arc::new(Semaphore::new(LONG_ANSWERS * pool::blocks(options.answer_cap))),
            hosts: Mutex::default(),
        })
    }

    /// What requests to `path` begin with, which itself begins with a slash.
    pub fn head(&self, origin: &Origin, path: &str, headers: &HeaderMap) -> Result<Head, TransportError> {
        let host = self.host(origin)?;
        let bad_path = || TransportError::Request { origin: origin.clone(), part: "path" };
        if !path.starts_with('/') {
            return Err(bad_path());
        }
        let uri = Uri::from(PathAndQuery::try_from(path).map_err(|_| bad_path())?);
        let mut headers = headers.clone();
        headers.insert(header::HOST, host.header.clone());
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        // Its place is kept: a map that grows is moved.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(Head { host, uri, headers })
    }

    /// Posts `body` with the headers to which `sign` adds its own, and reads the answer.
    ///
    /// Cancel safe: dropping the future closes the connection that was in use.
    pub async fn send(
        &self,
        head: &Head,
        sign: impl FnOnce(&mut HeaderMap),
        body: Bytes,
    ) -> Result<Response, TransportError> {
        let begun = Instant::now();
        let mut phase = Phase::Waiting;
        let exchange = self.exchange(&head.host, begun, head.request(sign, body), &mut phase);
        match tokio::time::timeout_at(begun + self.timeout, exchange).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Timeout { origin: head.host.origin.clone(), after: self.timeout, phase }),
        }
    }

    /// The deadline of a request.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn exchange(
        &self,
        host: &Host,
        begun: Instant,
        mut request: Request<Full<Bytes>>,
        phase: &mut Phase,
    ) -> Result<Response, TransportError> {
        let _permit = host.permit().await;
        let cap = self.cap(host, request.body());
        let mut connection = match host.take(begun) {
            Some(connection) => connection,
            None => self.connect(host, phase).await?,
        };
        loop {
            *phase = Phase::Answering;
            let mut refused = match connection.sender.try_send_request(request).await {
                Ok(answer) => return self.read(host, connection, answer, cap).await,
                Err(refused) => refused,
            };
            match refused.take_message() {
                // It ended while it rested, and no byte was written. Others at rest may have ended too: a fresh one.
                Some(unsent) if connection.reused => {
                    request = unsent;
                    connection = self.connect(host, phase).await?;
                }
                unsent => return Err(TransportError::from_hyper(&host.origin, refused.error(), unsent.is_none())),
            }
        }
    }

    async fn connect(&self, host: &Host, phase: &mut Phase) -> Result<Connection, TransportError> {
        self.expire();
        // Boxed: it is rare, and large beside the rest of a request.
        Box::pin(self.connector.connect(&host.origin, phase)).await
    }

    async fn read(
        &self,
        host: &Host,
        connection: Connection,
        answer: http::Response<Incoming>,
        cap: usize,
    ) -> Result<Response, TransportError> {
        let (head, body) = answer.into_parts();
        let mut answer = Read { body: Bytes::new(), joined: BytesMut::new(), truncated: false, room: None };
        let read = answer.all(body, cap, (host, &self.long_answers)).await;
        read.map_err(|error| TransportError::from_hyper(&host.origin, &error, true))?;
        if answer.truncated {
            drop(connection);
        } else {
            host.put(connection).await;
        }
        let Read { body, joined, truncated, room } = answer;
        let body = if joined.is_empty() { body } else { joined.freeze() };
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body, truncated, _room: room })
    }

    /// How much of the answer to a request is read: it can name what was sent in more than one list, and say little else.
    fn cap(&self, host: &Host, request: &Full<Bytes>) -> usize {
        let sent = request.size_hint().exact().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let of_request = sent.saturating_mul(ANSWER_TIMES).max(LEAST_ANSWER);
        self.answer_cap.min(host.origin.reach.answer_cap).min(of_request)
    }

    /// Closes what has rested too long, at any origin. Runs when a connection is made: only then can they become more.
    fn expire(&self) {
        let now = Instant::now();
        for host in self.hosts.lock().unwrap_or_else(PoisonError::into_inner).values() {
            host.expire(now);
        }
    }

    fn host(&self, origin: &Origin) -> Result<Arc<Host>, TransportError> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(origin) {
            return Ok(Arc::clone(host));
        }
        let header =
            origin.host_header().ok_or_else(|| TransportError::Request { origin: origin.clone(), part: "host" })?;
        let host = Arc::new(Host::new(origin.clone(), header, self.max_connections, self.idle, self.answer_cap));
        hosts.insert(origin.clone(), Arc::clone(&host));
        Ok(host)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A body as far as it was read. One that came in one piece, as most do, is not copied.
struct Read {
    /// The first piece.
    body: Bytes,
    /// All of them, if there are more.
    joined: BytesMut,
    /// Whether there was more than the cap.
    truncated: bool,
    room: Option<LongAnswer>,
}

impl Read {
    /// Reads up to `cap`; once it is a long one, only when there is room for all that it may become.
    async fn all(
        &mut self,
        mut from: Incoming,
        cap: usize,
        (host, of_all): (&Host, &Arc<Semaphore>),
    ) -> Result<(), hyper::Error> {
        while let Some(frame) = from.frame().await {
            let Ok(mut piece) = frame?.into_data() else { continue };
            let read = self.body.len().max(self.joined.len());
            self.truncated = piece.len() > cap - read;
            piece.truncate(cap - read);
            if self.room.is_none() && read + piece.len() > LEAST_ANSWER {
                // Boxed: it is rare.
                self.room = Box::pin(host.long_answer(of_all, cap)).await;
            }
            if self.body.is_empty() {
                self.body = piece;
            } else {
                if self.joined.is_empty() {
                    self.joined.extend_from_slice(&self.body);
                }
                self.joined.extend_from_slice(&piece);
            }
            if self.truncated {
                break;
            }
        }
        Ok(())
    }
}
