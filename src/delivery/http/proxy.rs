//! Which proxy a request goes through, if any: `[delivery] proxy`, else `HTTPS_PROXY` without `NO_PROXY`.
//!
//! Rules: plain `http` goes directly, always (a way by `CONNECT` is for TLS). `[delivery] proxy` takes every `https`
//! origin, loopback and `NO_PROXY` included: who writes it there means it. The environment's proxy takes every `https`
//! origin except loopback and what `NO_PROXY` names. Lower-case variables win, as with curl. Credentials in a proxy's URL
//! are kept as a sensitive header and cannot be printed.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use http::uri::Authority;

use super::error::ClientError;
use super::origin::Origin;

/// The proxies of a client. The default is none.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    configured: Option<Proxy>,
    environment: Option<Proxy>,
    exempt: Vec<Exempt>,
}

/// An HTTP proxy that is asked for a way by `CONNECT`.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// `Proxy-Authorization`, marked sensitive.
    pub(super) credentials: Option<HeaderValue>,
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exempt {
    All,
    /// A domain and everything below it, or an address; at this port, or at any.
    Host(String, Option<u16>),
    /// An address block: its first address as bits, and how many of them count.
    Block(IpAddr, u8),
}

// === impl Proxies ===

impl Proxies {
    /// Reads the setting and, if it is absent, the variables: `env` looks one up.
    pub fn new(configured: Option<&str>, env: impl Fn(&str) -> Option<String>) -> Result<Self, ClientError> {
        if let Some(url) = configured {
            let proxy =
                Proxy::parse(url).map_err(|problem| ClientError::Proxy { setting: "`[delivery] proxy`", problem })?;
            return Ok(Self { configured: Some(proxy), ..Self::default() });
        }
        let variable =
            |name: &'static str| env(name).filter(|value| !value.trim().is_empty()).map(|value| (name, value));
        let environment = match variable("https_proxy").or_else(|| variable("HTTPS_PROXY")) {
            Some((setting, url)) => {
                Some(Proxy::parse(url.trim()).map_err(|problem| ClientError::Proxy { setting, problem })?)
            }
            None => None,
        };
        let exempt = variable("no_proxy").or_else(|| variable("NO_PROXY")).map_or_else(Vec::new, |(_, list)| {
            list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).map(Exempt::parse).collect()
        });
        Ok(Self { configured: None, environment, exempt })
    }

    /// The proxy for this origin.
    pub(super) fn choose(&self, origin: &Origin) -> Option<&Proxy> {
        if !origin.tls {
            return None;
        }
        let environment = || self.environment.as_ref().filter(|_| !origin.is_loopback() && !self.exempts(origin));
        self.configured.as_ref().or_else(environment)
    }

    fn exempts(&self, origin: &Origin) -> bool {
        let address = origin.host.parse().ok();
        self.exempt.iter().any(|entry| entry.matches(origin, address))
    }
}

// === impl Proxy ===

impl Proxy {
    /// Reads `http://[USER:PASSWORD@]HOST[:PORT]`; the scheme may be left out. The problem never repeats the text.
    fn parse(url: &str) -> Result<Self, &'static str> {
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => {
                return Err("only http:// proxies are supported (TLS to the vendor goes through them untouched)");
            }
            None => url,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A password may hold an `@` that nobody escaped.
        let (user, authority) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        let authority: Authority = authority.parse().map_err(|_| "it must be http://[USER:PASSWORD@]HOST[:PORT]")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err("it has no host");
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str().ends_with(authority.host()) => 80,
            None => return Err("its port is not a number up to 65535"),
        };
        Ok(Self { host, port, credentials: user.map(basic).transpose()? })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)?;
        if self.credentials.is_some() { f.write_str(" with credentials (hidden)") } else { Ok(()) }
    }
}

// === impl Exempt ===

impl Exempt {
    fn parse(entry: &str) -> Self {
        if entry == "*" {
            return Self::All;
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
        {
            return Self::Block(address, bits);
        }
        let (host, port) = match entry.rsplit_once(':') {
            // More than one colon and no bracket: an IPv6 address without a port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (entry, None),
        };
        let host = host.trim_start_matches("*.").trim_matches(['.', '[', ']']);
        Self::Host(host.to_ascii_lowercase(), port)
    }

    fn matches(&self, origin: &Origin, address: Option<IpAddr>) -> bool {
        match self {
            Self::All => true,
            Self::Host(host, port) => {
                let below = address.is_none()
                    && origin.host.strip_suffix(host.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (below || origin.host == *host) && port.is_none_or(|port| port == origin.port)
            }
            Self::Block(block, bits) => address.is_some_and(|address| is_within(address, *block, *bits)),
        }
    }
}

fn is_within(address: IpAddr, block: IpAddr, bits: u8) -> bool {
    let (difference, width) = match (address, block) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits() ^ b.to_bits()), 32_u32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits(), 128),
        _ => return false,
    };
    width.checked_sub(u32::from(bits)).is_some_and(|rest| difference.checked_shr(rest).unwrap_or(0) == 0)
}

/// `Basic` credentials from a URL's user info.
fn basic(user: &str) -> Result<HeaderValue, &'static str> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let mut plain = unescape(name)?;
    plain.push(b':');
    plain.extend(unescape(password)?);
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(plain)))
        .map_err(|_| "its credentials cannot be sent")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Undoes `%41`.
fn unescape(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("its credentials have a % without two hexadecimal digits")?);
        rest = &tail[2..];
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn proxies(configured: Option<&str>, variables: &[(&str, &str)]) -> Proxies {
        let variables: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Proxies::new(configured, |name| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())).unwrap()
    }

    fn chosen(proxies: &Proxies, origin: &str) -> Option<String> {
        proxies.choose(&origin.parse().unwrap()).map(|proxy| proxy.host.clone())
    }

    #[test]
    fn the_setting_wins_and_takes_every_https_origin() {
        let proxies = proxies(Some("http://set:3128"), &[("HTTPS_PROXY", "http://env"), ("NO_PROXY", "*")]);
        assert_eq!(chosen(&proxies, "https://api.iterable.com").as_deref(), Some("set"));
        assert_eq!(chosen(&proxies, "https://localhost").as_deref(), Some("set"));
        assert_eq!(chosen(&proxies, "http://localhost"), None);
    }

    #[test]
    fn the_environment_spares_loopback_and_no_proxy() {
        let proxies = proxies(
            None,
            &[
                ("HTTPS_PROXY", "env:8080"),
                ("NO_PROXY", "internal, .corp.example,gate:8443,10.0.0.0/8, fd00::/8,9.9.9.9"),
            ],
        );
        for origin in
            ["https://api.iterable.com", "https://eternal", "https://gate", "https://11.0.0.1", "https://[fe00::1]"]
        {
            assert_eq!(chosen(&proxies, origin).as_deref(), Some("env"), "{origin}");
        }
        for origin in [
            "https://127.0.0.1",
            "https://[::1]",
            "https://internal",
            "https://a.internal",
            "https://a.corp.example",
            "https://gate:8443",
            "https://10.9.8.7",
            "https://[fd12::1]",
            "https://9.9.9.9",
            "http://api.iterable.com",
        ] {
            assert_eq!(chosen(&proxies, origin), None, "{origin}");
        }
    }

    #[test]
    fn lower_case_wins_and_empty_is_unset() {
        let both = proxies(None, &[("https_proxy", "low"), ("HTTPS_PROXY", "up")]);
        assert_eq!(chosen(&both, "https://a").as_deref(), Some("low"));
        let empty = proxies(None, &[("https_proxy", " "), ("HTTPS_PROXY", "up")]);
        assert_eq!(chosen(&empty, "https://a").as_deref(), Some("up"));
        let star = proxies(None, &[("HTTPS_PROXY", "up"), ("no_proxy", "*")]);
        assert_eq!(chosen(&star, "https://a"), None);
    }

    #[test]
    fn credentials_are_unescaped_and_hidden() {
        let proxies = proxies(Some("http://us%65r:p%40ss@w0rd@proxy:3128/"), &[]);
        let proxy = proxies.choose(&"https://a".parse().unwrap()).unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy", 3128));
        assert_eq!(proxy.credentials.as_ref().unwrap().as_bytes(), b"Basic dXNlcjpwQHNzQHcwcmQ=");
        let printed = format!("{proxies:?}");
        assert!(printed.contains("hidden") && !printed.contains("w0rd") && !printed.contains("dXNl"), "{printed}");
    }

    #[test]
    fn a_wrong_proxy_is_refused_without_its_text() {
        for url in [
            "socks5://u:secret@h:1",
            "https://u:secret@h:1",
            "http://u:secret@",
            "http://u:secret%zz@h",
            "http://h:99999",
            "http://h/secret",
        ] {
            let error = Proxies::new(Some(url), |_| None).unwrap_err().to_string();
            assert!(error.contains("[delivery] proxy") && !error.contains("secret"), "{url}: {error}");
        }
        let error = Proxies::new(None, |name| (name == "HTTPS_PROXY").then(|| "ftp://h".into())).unwrap_err();
        assert!(error.to_string().contains("HTTPS_PROXY"));
    }
}
