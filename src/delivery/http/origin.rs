//! An origin: scheme, host and port, what connections are pooled by.
//!
//! Two spellings of one origin are equal: the host is lower case and without brackets, the port is always there. Never
//! holds a path or credentials, so it may be printed anywhere.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::header::HeaderValue;

use crate::config::{BaseUrl, authority};
use crate::destination::Reach;

/// Where requests go: scheme, host, port; and how far that may be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether it is `https`.
    pub tls: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port, the scheme's own included.
    pub port: u16,
    /// How far it may be trusted: who trusts it less shares no connection with who trusts it more.
    pub reach: Reach,
}

/// The text is not `https://HOST` or `http://HOST`, with or without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an origin: it must be https://HOST or http://HOST, with or without a port, and nothing after it")]
pub struct NotAnOrigin;

// === impl Origin ===

impl Origin {
    /// Host and port as they stand in a `Host` header and in `CONNECT`: brackets around an IPv6 address.
    pub(super) fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// The `Host` header; `None` if the host holds what no header may.
    pub(super) fn host_header(&self) -> Option<HeaderValue> {
        let text = self.to_string();
        let (_, authority) = text.split_once("://")?;
        HeaderValue::try_from(authority).ok()
    }

    /// Whether it is this machine, by name or address.
    pub(super) fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host == "localhost" || self.host.ends_with(".localhost"),
        }
    }

    const fn scheme(&self) -> (&'static str, u16) {
        if self.tls { ("https", 443) } else { ("http", 80) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, port) = self.scheme();
        match (self.port == port, self.host.contains(':')) {
            (true, true) => write!(f, "{scheme}://[{}]", self.host),
            (true, false) => write!(f, "{scheme}://{}", self.host),
            (false, _) => write!(f, "{scheme}://{}", self.authority()),
        }
    }
}

impl From<&BaseUrl> for Origin {
    /// The prefix stays with the caller: it belongs in front of every path.
    fn from(url: &BaseUrl) -> Self {
        Self { tls: url.tls, host: url.host.to_ascii_lowercase(), port: url.port, reach: Reach::TRUSTED }
    }
}

impl FromStr for Origin {
    type Err = NotAnOrigin;

    fn from_str(text: &str) -> Result<Self, NotAnOrigin> {
        let uri = Uri::try_from(text).map_err(|_| NotAnOrigin)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(NotAnOrigin),
        };
        let authority = uri.authority().ok_or(NotAnOrigin)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str().ends_with(authority.host()) => {
                if tls {
                    443
                } else {
                    80
                }
            }
            None => return Err(NotAnOrigin),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if !bare || host.is_empty() {
            return Err(NotAnOrigin);
        }
        Ok(Self { tls, host: host.to_ascii_lowercase(), port, reach: Reach::TRUSTED })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_and_written() {
        for (text, written, port) in [
            ("https://api-01.moengage.com", "https://api-01.moengage.com", 443),
            ("https://API.Iterable.com/", "https://api.iterable.com", 443),
            ("https://api.iterable.com:443", "https://api.iterable.com", 443),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", 8080),
            ("http://localhost", "http://localhost", 80),
            ("https://[::1]:8443", "https://[::1]:8443", 8443),
            ("https://[::1]", "https://[::1]", 443),
        ] {
            let origin: Origin = text.parse().expect(text);
            assert_eq!((origin.to_string().as_str(), origin.port), (written, port));
        }
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for text in [
            "",
            "api.iterable.com",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://k@a",
            "https://a:99999",
            "https://a:",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(NotAnOrigin), "{text}");
        }
    }

    #[test]
    fn the_host_header_names_the_port_unless_it_is_the_default() {
        let header = |text: &str| text.parse::<Origin>().ok().and_then(|origin| origin.host_header());
        assert_eq!(header("https://a").unwrap(), "a");
        assert_eq!(header("http://a:443").unwrap(), "a:443");
        assert_eq!(header("https://[::1]:1").unwrap(), "[::1]:1");
    }

    #[test]
    fn a_base_url_becomes_an_origin() {
        let url = BaseUrl { tls: false, host: "LocalHost".into(), port: 81, prefix: "/x".into() };
        let origin = Origin::from(&url);
        assert_eq!(origin.to_string(), "http://localhost:81");
        assert!(origin.is_loopback());
        assert!(!"https://a".parse::<Origin>().unwrap().is_loopback());
        assert!("https://127.8.0.1".parse::<Origin>().unwrap().is_loopback());
    }
}
