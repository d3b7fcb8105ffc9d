//! Each rule of the simulation, over a real socket, by a client that does exactly what it is told.

mod campaign;
mod control;
mod faults;
mod iterable;
mod iterable_door;
mod moengage;
mod moengage_door;

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::*;

/// 2026-11-21T00:00:30Z: the middle of a minute.
const NOON_MS: i64 = 1_795_219_230_000;
const BULK: &str = "/moengage/02/v1/transition/ACME";
const TRACK_BULK: &str = "/iterable/eu/api/events/trackBulk";
const BULK_UPDATE: &str = "/iterable/eu/api/users/bulkUpdate";

/// A request in the making.
#[derive(Clone)]
struct Ask {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// What came back.
#[derive(Debug)]
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Ask {
    fn new(path: &str, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { method: Method::POST, path: path.to_owned(), headers, body: body.to_string().into() }
    }

    fn moengage(path: &str, body: &Value) -> Self {
        Self::new(path, body).header("authorization", &basic("ACME", "secret"))
    }

    fn iterable(path: &str, body: &Value) -> Self {
        Self::new(path, body).header("api-key", "mail-key")
    }

    fn get(path: &str) -> Self {
        Self { method: Method::GET, ..Self::new(path, &json!({})) }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.headers.retain(|(it, _)| *it != name);
        self
    }

    fn raw(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    async fn to(&self, running: &Running) -> Got {
        self.attempt(running).await.expect("an answer")
    }

    async fn attempt(&self, running: &Running) -> io::Result<Got> {
        self.over(TcpStream::connect(running.addr()).await?).await
    }

    async fn over(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<Got> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(self.method.clone()).uri(&self.path);
        if !self.headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(self.body.clone())).expect("a request");
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        connection.abort();
        Ok(Got { status: head.status, headers: head.headers, body })
    }
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Status and the vendor's word for it: MoEngage's `type`, Iterable's `code`.
    fn word(&self) -> (u16, String) {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let word = body.pointer("/error/type").or_else(|| body.get("code")).and_then(Value::as_str);
        (self.status.as_u16(), word.unwrap_or_default().to_owned())
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

fn basic(user: &str, secret: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}")))
}

fn word(status: u16, word: &str) -> (u16, String) {
    (status, word.to_owned())
}

fn workspace(change: impl FnOnce(&mut Workspace)) -> Account {
    let mut account = Account::moengage("engage", "ACME", "02", "secret");
    if let Vendor::Moengage(workspace) = &mut account.vendor {
        change(workspace);
    }
    account
}

fn project(change: impl FnOnce(&mut Project)) -> Account {
    let mut account = Account::iterable("mail", Region::Eu, "mail-key");
    if let Vendor::Iterable(project) = &mut account.vendor {
        change(project);
    }
    account
}

/// With a clock that stands, keeping all elements.
fn options(accounts: Vec<Account>) -> Options {
    let record = Recording { keep: Keep::Elements, file: None };
    Options { record, clock: Clock::manual(NOON_MS), ..Options::new(accounts) }
}

async fn sandbox(account: Account) -> Running {
    start(options(vec![account])).await.expect("a free port")
}

async fn both() -> Running {
    start(options(vec![workspace(|_| {}), project(|_| {})])).await.expect("a free port")
}

fn count(running: &Running, account: &str) -> AccountReport {
    running.report().account(account).cloned().unwrap_or_default()
}
