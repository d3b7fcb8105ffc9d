//! The listener: connections, request bodies, and to whom a request is addressed.
//!
//! The address is the vendor's host in `Host`, or a prefix of the path that stands for it. Ends when told to, and takes
//! its connections with it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::io::{Io, Reset, Tls};
use super::reply::{Answer, Reply};
use super::world::{Admitted, Call, Endpoint, Outcome, Turned, World};
use super::{control, iterable, moengage};

/// No vendor takes more than 5 MB; what is larger than this is refused unread.
const MOST_READ: u64 = 16 << 20;

/// Whom a request is addressed to, and what is left of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place<'a> {
    vendor: House,
    region: &'a str,
    path: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum House {
    Moengage,
    Iterable,
}

/// Accepts until `stop` is sent or dropped.
pub(super) async fn run(listener: TcpListener, tls: Option<Tls>, world: Arc<World>, mut stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => {
                    connections.spawn(connection(tcp, peer, tls.clone(), Arc::clone(&world)));
                }
                Err(error) => {
                    // Most likely out of file handles: some will be free again.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn connection(tcp: TcpStream, peer: SocketAddr, tls: Option<Tls>, world: Arc<World>) {
    let reset = Reset::default();
    // Costs latency only.
    let _ = tcp.set_nodelay(true);
    let io = match Io::accept(tcp, tls.as_ref(), reset.clone()).await {
        Ok(io) => io,
        Err(error) => {
            tracing::debug!(%peer, %error, "no connection");
            return;
        }
    };
    let service = service_fn(|request| {
        let (world, reset) = (Arc::clone(&world), reset.clone());
        async move { answer(&world, peer.ip(), &reset, request).await }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "the connection ended");
    }
}

async fn answer(
    world: &World,
    peer: IpAddr,
    reset: &Reset,
    request: Request<Incoming>,
) -> io::Result<Response<Answer>> {
    let (head, body) = request.into_parts();
    let declared = length(&head.headers);
    if declared.is_some_and(|length| length > MOST_READ) {
        let reply = Reply::text(413, "Request Entity Too Large").with("connection", "close");
        return Ok(reply.response());
    }
    let body = read(body, declared).await?;
    if head.uri.path().starts_with("/sandbox/") {
        return Ok(control::answer(world, &head.method, head.uri.path(), &body).response());
    }
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let Some(place) = Place::of(head.uri.path(), host) else {
        return Ok(Reply::text(
            404,
            "This is Forebay's sandbox: address it as /moengage/02/..., /iterable/eu/..., or by the vendor's host.",
        )
        .response());
    };
    let (method, query, headers) = (&head.method, head.uri.query(), &head.headers);
    let call = Call { method, path: place.path, query, headers, region: place.region, peer };
    let outcome = match place.admit(world, &call) {
        Ok(admitted) => world.serve(admitted, call, &body).await,
        Err(turned) => world.turn_away(turned),
    };
    match outcome {
        Outcome::Answer(reply) => Ok(reply.response()),
        Outcome::Reset => {
            reset.order();
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Outcome::Hang => std::future::pending().await,
    }
}

/// What `Content-Length` says.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(mut body: Incoming, declared: Option<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(io::Error::other)?.into_data() else { continue };
        if bytes.len() as u64 + data.remaining() as u64 > MOST_READ {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let read = chunk.len();
            data.advance(read);
        }
    }
    Ok(bytes)
}

// === impl Place ===

impl<'a> Place<'a> {
    fn of(path: &'a str, host: &'a str) -> Option<Self> {
        for (prefix, vendor) in [("/moengage/", House::Moengage), ("/iterable/", House::Iterable)] {
            if let Some(rest) = path.strip_prefix(prefix) {
                let (region, _) = rest.split_once('/')?;
                return Some(Self { vendor, region, path: &rest[region.len()..] });
            }
        }
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let (vendor, region) = match host {
            "api.iterable.com" => (House::Iterable, "us"),
            "api.eu.iterable.com" => (House::Iterable, "eu"),
            _ => (House::Moengage, host.strip_prefix("api-")?.strip_suffix(".moengage.com")?),
        };
        Some(Self { vendor, region, path })
    }

    fn admit(&self, world: &World, call: &Call<'_>) -> Result<Admitted, Turned> {
        match self.vendor {
            House::Moengage => moengage::admit(world, call)
                .map(|(account, endpoint)| Admitted { account, endpoint: Endpoint::Moengage(endpoint) }),
            House::Iterable => iterable::admit(world, call)
                .map(|(account, endpoint)| Admitted { account, endpoint: Endpoint::Iterable(endpoint) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_or_a_prefix() {
        let place = |vendor, region, path| Some(Place { vendor, region, path });
        let transition = "/v1/transition/W";
        assert_eq!(Place::of(transition, "api-101.moengage.com:443"), place(House::Moengage, "101", transition));
        assert_eq!(Place::of("/moengage/02/v1/transition/W", "x"), place(House::Moengage, "02", transition));
        assert_eq!(Place::of("/iterable/eu/api/lists", "127.0.0.1:1"), place(House::Iterable, "eu", "/api/lists"));
        assert_eq!(Place::of("/api/lists", "api.iterable.com"), place(House::Iterable, "us", "/api/lists"));
        assert_eq!(Place::of("/api/lists", "127.0.0.1:1"), None);
        assert_eq!(Place::of("/moengage/02", ""), None);
    }
}
