//! From an origin to a connection that takes requests: DNS, TCP, proxy, TLS, HTTP.
//!
//! Resolves anew each time, because vendors move their addresses, and tries all of them in turn. What fails here has
//! sent no byte of a request. Never retries, and has no deadline but the caller's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{Empty, Full};
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::error::{Phase, TransportError, cause};
use super::origin::Origin;
use super::pool::Connection;
use super::proxy::{Proxies, Proxy};
use super::tls::Tls;
use crate::config::authority;

/// How long an address may take if there is another to try: one lost SYN is sent again after 1 s.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// Connections end between this share of their age and all of it, so that they do not all end together.
const LEAST_SHARE_OF_AGE: f64 = 0.8;

/// Makes connections.
pub(super) struct Connector {
    pub(super) tls: Tls,
    pub(super) proxies: Proxies,
    /// The longest that a connection may live.
    pub(super) max_age: Duration,
    pub(super) guard: super::guard::Guard,
}

/// Ends the task when the future that waits for it is dropped.
struct Guard(AbortHandle);

// === impl Connector ===

impl Connector {
    /// Opens a connection; `phase` says how far it is.
    pub(super) async fn connect(&self, origin: &Origin, phase: &mut Phase) -> Result<Connection, TransportError> {
        let stream = match self.proxies.choose(origin) {
            // A proxy would resolve the name by itself, so it is asked for an address that was found good.
            Some(proxy) if origin.reach.public_only => {
                let address = self.resolve(origin, phase).await?.first().map(ToString::to_string);
                tunnel(origin, address.unwrap_or_default(), proxy, phase).await?
            }
            Some(proxy) => tunnel(origin, origin.authority(), proxy, phase).await?,
            None => {
                let addresses = self.resolve(origin, phase).await?;
                *phase = Phase::Connecting;
                tcp(&addresses)
                    .await
                    .map_err(|error| TransportError::Connect { origin: origin.clone(), cause: cause(&error) })?
            }
        };
        *phase = Phase::Securing;
        if origin.tls {
            let stream = self.tls.handshake(origin, stream).await?;
            self.speak(origin, TokioIo::new(stream)).await
        } else {
            self.speak(origin, TokioIo::new(stream)).await
        }
    }

    /// The addresses of the origin that it may lead to; at least one.
    async fn resolve(&self, origin: &Origin, phase: &mut Phase) -> Result<Vec<SocketAddr>, TransportError> {
        let mut addresses = lookup(&origin.host, origin.port, phase)
            .await
            .map_err(|error| TransportError::Dns { origin: origin.clone(), cause: cause(&error) })?;
        self.guard
            .check(origin, &mut addresses)
            .map_err(|address| TransportError::Forbidden { origin: origin.clone(), address })?;
        Ok(addresses)
    }

    /// Starts HTTP. The driver is a task of the runtime and ends with its connection: see [`Connection`].
    async fn speak<T>(&self, origin: &Origin, io: T) -> Result<Connection, TransportError>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake::<T, Full<Bytes>>(io)
            .await
            .map_err(|error| TransportError::from_hyper(origin, &error, false))?;
        let name = origin.clone();
        let driver = tokio::spawn(async move {
            // Only what befalls a connection at rest ends here; a request in flight gets the error itself.
            if let Err(error) = connection.await {
                tracing::debug!(origin = %name, error = cause(&error), "a connection at rest ended");
            }
        });
        let lifetime = self.max_age.mul_f64(rand::random_range(LEAST_SHARE_OF_AGE..=1.0));
        Ok(Connection::new(sender, driver.abort_handle(), lifetime))
    }
}

// === impl Guard ===

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The addresses of a host; at least one.
async fn lookup(host: &str, port: u16, phase: &mut Phase) -> io::Result<Vec<SocketAddr>> {
    *phase = Phase::Resolving;
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Connects to the first address that answers.
async fn tcp(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::NotFound.into();
    for (index, address) in addresses.iter().enumerate() {
        let attempt = TcpStream::connect(address);
        let result = if index + 1 == addresses.len() {
            attempt.await
        } else {
            tokio::time::timeout(ADDRESS_PATIENCE, attempt)
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        };
        match result.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(failed)
}

/// A TCP connection to the origin, or to its address, through the proxy, by `CONNECT`: what follows is between us and the
/// origin.
async fn tunnel(
    origin: &Origin,
    target: String,
    proxy: &Proxy,
    phase: &mut Phase,
) -> Result<TcpStream, TransportError> {
    let refused = |cause: String| TransportError::Proxy {
        origin: origin.clone(),
        proxy: authority(&proxy.host, proxy.port),
        cause,
    };
    let addresses = lookup(&proxy.host, proxy.port, phase).await;
    let addresses = addresses.map_err(|error| refused(format!("cannot be resolved: {}", cause(&error))))?;
    *phase = Phase::Connecting;
    let stream = tcp(&addresses).await;
    let stream = stream.map_err(|error| refused(format!("cannot be reached: {}", cause(&error))))?;
    *phase = Phase::Tunnelling;
    let broken = |error: hyper::Error| refused(format!("ended the connection: {}", cause(&error)));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let _driver = Guard(tokio::spawn(connection.with_upgrades()).abort_handle());
    let request = connect_request(target, proxy)
        .ok_or_else(|| TransportError::Request { origin: origin.clone(), part: "host" })?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    if !answer.status().is_success() {
        return Err(refused(format!("refused: {}{}", answer.status(), hint(answer.status().as_u16()))));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(broken)?;
    match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) if parts.read_buf.is_empty() => Ok(parts.io.into_inner()),
        _ => Err(refused("spoke before TLS began".to_owned())),
    }
}

fn connect_request(authority: String, proxy: &Proxy) -> Option<Request<Empty<Bytes>>> {
    let uri = Uri::builder().authority(authority.as_str()).build().ok()?;
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(uri)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, super::USER_AGENT);
    if let Some(credentials) = &proxy.credentials {
        request = request.header(header::PROXY_AUTHORIZATION, credentials);
    }
    request.body(Empty::new()).ok()
}

const fn hint(status: u16) -> &'static str {
    match status {
        403 => " (its rules do not allow this host)",
        407 => " (it wants other credentials than the proxy's URL has)",
        502..=504 => " (it cannot reach the host)",
        _ => "",
    }
}
