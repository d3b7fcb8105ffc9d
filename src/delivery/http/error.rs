//! Why a request got no answer, and why a client could not be made.
//!
//! Each error answers what its caller asks: a metric label, and whether the vendor may have the request nevertheless.
//! The texts name the host and the cause, and never a header, a path or a proxy's credentials. The cause is part of the
//! text and not a `source()`: one line says all.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::origin::Origin;

/// A cause longer than this is cut: certificates may name hundreds of hosts.
const LONGEST_CAUSE: usize = 400;

/// Why a [`Client`](super::Client) could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file cannot be read, or is not PEM.
    #[error("failed to read the certificates of `ca_file` {}: {cause}", path.display())]
    CaFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Nobody could be trusted.
    #[error("no root certificates: the system has none ({cause}) and no `ca_file` is set")]
    NoRoots {
        /// What the system's store said.
        cause: String,
    },
    /// The TLS library refuses its own defaults.
    #[error("failed to set up TLS: {0}")]
    Tls(rustls::Error),
    /// A proxy's URL is wrong; the text does not repeat it, as it may hold a password.
    #[error("the proxy in {setting} is wrong: {problem}")]
    Proxy {
        /// `[delivery] proxy`, or the variable's name.
        setting: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
}

/// How far a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for one of the connections that the origin may have.
    Waiting,
    /// Looking the host up.
    Resolving,
    /// Opening a TCP connection.
    Connecting,
    /// Asking the proxy for a way.
    Tunnelling,
    /// Shaking hands.
    Securing,
    /// Sending, and waiting for the answer.
    Answering,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The target cannot be written as a request: nothing was tried, and nothing will help but another target.
    #[error("{origin}: the request cannot be written: bad {part}")]
    Request {
        /// Whereto.
        origin: Origin,
        /// `path` or `host`.
        part: &'static str,
    },
    /// The host's name could not be resolved.
    #[error("{origin}: failed to resolve the host: {cause}")]
    Dns {
        /// Whereto.
        origin: Origin,
        /// The resolver's words.
        cause: String,
    },
    /// The host's name leads to addresses that it may not lead to.
    #[error("{origin}: {address} is not a public address; [delivery] allow_hosts has neither it nor the host")]
    Forbidden {
        /// Whereto.
        origin: Origin,
        /// One of the addresses.
        address: std::net::IpAddr,
    },
    /// None of the host's addresses took the connection.
    #[error("{origin}: failed to connect: {cause}")]
    Connect {
        /// Whereto.
        origin: Origin,
        /// The last address, and its refusal.
        cause: String,
    },
    /// The handshake failed: the certificate, the name, the protocol.
    #[error("{origin}: TLS failed: {cause}")]
    Tls {
        /// Whereto.
        origin: Origin,
        /// What the TLS library says.
        cause: String,
    },
    /// The proxy cannot be reached, or opens no way.
    #[error("{origin}: the proxy {proxy} {cause}")]
    Proxy {
        /// Whereto.
        origin: Origin,
        /// The proxy's host and port.
        proxy: String,
        /// What went wrong, as a predicate.
        cause: String,
    },
    /// The deadline passed.
    #[error("{origin}: no answer within {after:?}, while {}", phase.words())]
    Timeout {
        /// Whereto.
        origin: Origin,
        /// The deadline.
        after: Duration,
        /// What was going on.
        phase: Phase,
    },
    /// The connection ended before the answer was whole.
    #[error("{origin}: the connection was closed before the answer was whole: {cause}")]
    Closed {
        /// Whereto.
        origin: Origin,
        /// What hyper says.
        cause: String,
        /// Whether bytes of the request may have left.
        sent: bool,
    },
    /// What came back is not HTTP.
    #[error("{origin}: the answer is not HTTP: {cause}")]
    NotHttp {
        /// Whereto.
        origin: Origin,
        /// What hyper says.
        cause: String,
    },
}

// === impl Phase ===

impl Phase {
    const fn words(self) -> &'static str {
        match self {
            Self::Waiting => "waiting for a free connection",
            Self::Resolving => "resolving the host",
            Self::Connecting => "connecting",
            Self::Tunnelling => "waiting for the proxy to open a way",
            Self::Securing => "shaking hands (TLS)",
            Self::Answering => "waiting for the answer",
        }
    }
}

// === impl TransportError ===

impl TransportError {
    /// The metric label. `busy` is a deadline that passed before any connection was free.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Request { .. } => "request",
            Self::Dns { .. } => "dns",
            Self::Forbidden { .. } => "forbidden",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Proxy { .. } => "proxy",
            Self::Timeout { phase: Phase::Waiting, .. } => "busy",
            Self::Timeout { .. } => "timeout",
            Self::Closed { .. } => "closed",
            Self::NotHttp { .. } => "not_http",
        }
    }

    /// Whether the vendor may have taken the request although no answer came: sending it again may repeat its calls.
    #[must_use]
    pub const fn may_have_been_received(&self) -> bool {
        match self {
            Self::Request { .. }
            | Self::Dns { .. }
            | Self::Forbidden { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Proxy { .. } => false,
            Self::Timeout { phase, .. } => matches!(phase, Phase::Answering),
            Self::Closed { sent, .. } => *sent,
            Self::NotHttp { .. } => true,
        }
    }

    /// What hyper's error means for a request whose bytes may have left, or not.
    pub(super) fn from_hyper(origin: &Origin, error: &hyper::Error, sent: bool) -> Self {
        let (origin, cause) = (origin.clone(), cause(error));
        if error.is_parse() { Self::NotHttp { origin, cause } } else { Self::Closed { origin, cause, sent } }
    }

    /// A failed handshake.
    pub(super) fn tls(origin: &Origin, error: &io::Error) -> Self {
        Self::Tls { origin: origin.clone(), cause: cause(error) }
    }
}

/// An error and its sources in one line, cut, each said once.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = source.source();
    }
    if let Some((end, _)) = text.char_indices().nth(LONGEST_CAUSE) {
        text.truncate(end);
        text.push('…');
    }
    text
}
