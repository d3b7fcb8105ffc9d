//! Health, metrics and accounts over HTTP: read only, on a thread of its own, so that a busy data path fails no probe.
//!
//! Asks the poll thread for a report when somebody wants numbers; probes ask nobody. Ends with the process.

mod accounts;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::dead_letter::Names;
use crate::keys::Board;
use crate::metrics::Metrics;
use crate::metrics::report::Report;
use crate::source::consumer::Message;
use crate::status::{Check, Status};

pub use accounts::Place;

/// How long a report is waited for: a poll thread that is busy answers within a turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the admin thread answers from.
pub struct Admin {
    /// For probes.
    pub status: Arc<Status>,
    /// The registry.
    pub metrics: Arc<Metrics>,
    /// The poll thread's inbox.
    pub inbox: Sender<Message>,
    /// Names, by lane.
    pub names: Vec<Names>,
    /// Where each account's requests go.
    pub places: Vec<Place>,
    /// What may be shown of keys.
    pub keys: Board,
    /// How long each source topic keeps its records.
    pub retention_ms: Arc<RwLock<BTreeMap<String, i64>>>,
}

impl Admin {
    /// A snapshot of the poll thread, or `None` if it does not answer. Blocks.
    fn report(&self) -> Option<Report> {
        let (to, from) = channel();
        self.inbox.send(Message::Report(to)).ok()?;
        from.recv_timeout(PATIENCE).ok()
    }
}

/// Serves on a listener that is bound already.
pub async fn serve(listener: tokio::net::TcpListener, admin: Arc<Admin>) -> std::io::Result<()> {
    let upkeep = Arc::clone(&admin.metrics);
    let routes = Router::new()
        .route("/livez", get(async |State(a): State<Arc<Admin>>, q| probe(&a.status.live(), &q)))
        .route("/readyz", get(async |State(a): State<Arc<Admin>>, q| probe(&a.status.ready(), &q)))
        .route("/startupz", get(async |State(a): State<Arc<Admin>>, q| probe(&a.status.started(), &q)))
        .route("/metrics", get(metrics))
        .route("/accounts", get(accounts))
        .fallback(async || (StatusCode::NOT_FOUND, "there are /livez, /readyz, /startupz, /metrics and /accounts\n"))
        .with_state(admin);
    let fold = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.upkeep();
        }
    };
    tokio::select! {
        served = async { axum::serve(listener, routes).await } => served,
        () = fold => Ok(()),
    }
}

/// Binds the listener; a port of 0 takes any.
pub fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// `ok`, or which checks are not; `?verbose` lists all.
fn probe(checks: &[Check], RawQuery(query): &RawQuery) -> Response {
    let well = checks.iter().all(|check| check.ok);
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = query.as_deref().is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    if well && !verbose {
        return (status, "ok\n").into_response();
    }
    let line = |check: &Check| format!("[{}]{}\n", if check.ok { '+' } else { '-' }, check.name);
    (status, checks.iter().map(line).collect::<String>()).into_response()
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let rendered = tokio::task::spawn_blocking(move || {
        let report = admin.report()?;
        let retention = admin.retention_ms.read().map(|map| map.clone()).unwrap_or_default();
        Some(admin.metrics.render(&report, &admin.names, &retention))
    });
    match rendered.await {
        Ok(Some(text)) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Ok(None) | Err(_) => unavailable(),
    }
}

async fn accounts(State(admin): State<Arc<Admin>>) -> Response {
    match tokio::task::spawn_blocking(move || Some(accounts::list(&admin, &admin.report()?))).await {
        Ok(Some(list)) => axum::Json(list).into_response(),
        Ok(None) | Err(_) => unavailable(),
    }
}

fn unavailable() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the poll thread does not answer\n").into_response()
}
