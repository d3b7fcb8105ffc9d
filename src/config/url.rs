//! The addresses in a configuration: an account's base URL, a proxy, hosts, and the URLs that tell a region.
//!
//! A problem with an address never repeats it: it could hold a password.

use std::net::IpAddr;

use super::BaseUrl;

/// Reads `scheme://host[:port][/path]`. The error says what is wrong with it.
pub(super) fn base_url(text: &str) -> Result<BaseUrl, &'static str> {
    let (tls, rest) = scheme(text).ok_or("it must begin with https:// or http://")?;
    if rest.contains(['?', '#']) {
        return Err("it must have no query and no fragment");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("it must have no user name and no password");
    }
    let (host, port) = host_and_port(authority)?;
    let prefix = path.trim_end_matches('/');
    let segments = || prefix.split('/').skip(1);
    if segments().any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("its path must have no empty, `.` or `..` part");
    }
    if !prefix
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'))
    {
        return Err("its path must be percent-encoded");
    }
    Ok(BaseUrl { tls, host, port: port.unwrap_or(if tls { 443 } else { 80 }), prefix: prefix.to_owned() })
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether this is `http://[user:password@]host[:port]`, and if not, why.
pub(super) fn check_proxy(text: &str) -> Result<(), &'static str> {
    let (tls, rest) = scheme(text).ok_or("it must begin with http://")?;
    if tls {
        return Err("it must begin with http://: the TLS to the vendor goes through the proxy untouched");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it must have no spaces");
    }
    let authority = rest.rsplit_once('@').map_or(rest, |(_, authority)| authority);
    if authority.contains(['/', '?', '#']) {
        return Err("it must have no path, query or fragment");
    }
    host_and_port(authority).map(drop)
}

/// The proxy's address without user name and password.
pub(super) fn without_user(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://(hidden)@{host}"),
        (None, Some((_, host))) => format!("(hidden)@{host}"),
        (_, None) => text.to_owned(),
    }
}

/// The host of something that people copy from a browser's address line; the scheme may be left out.
pub(super) fn pasted_host(text: &str) -> Option<String> {
    let rest = scheme(text).map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    host_and_port(authority).ok().map(|(host, _)| host)
}

/// A host name or an address, without port and brackets, in lower case.
pub(super) fn host(text: &str) -> Option<String> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).to_ascii_lowercase();
    let name = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    (text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(name))).then_some(text)
}

/// Whether nothing sent there leaves this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn scheme(text: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if scheme.eq_ignore_ascii_case("https") {
        Some((true, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Some((false, rest))
    } else {
        None
    }
}

/// Splits `host[:port]`, an IPv6 address in brackets.
pub(super) fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    let end = if authority.starts_with('[') { authority.find(']').map_or(0, |end| end + 1) } else { 0 };
    let (name, port) = match authority[end..].find(':') {
        Some(colon) => (&authority[..end + colon], Some(&authority[end + colon + 1..])),
        None => (authority, None),
    };
    if name.is_empty() {
        return Err("it has no host");
    }
    let name = host(name).ok_or("its host is not a host name or address")?;
    let Some(port) = port else { return Ok((name, None)) };
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    port.map(|port| (name, Some(port))).ok_or("its port must be a number from 1 to 65535")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(tls: bool, host: &str, port: u16, prefix: &str) -> BaseUrl {
        BaseUrl { tls, host: host.to_owned(), port, prefix: prefix.to_owned() }
    }

    #[test]
    fn a_base_url_keeps_its_path_as_a_prefix() {
        assert_eq!(base_url("https://Gateway.example.com"), Ok(url(true, "gateway.example.com", 443, "")));
        assert_eq!(base_url("https://g.example.com/a/b/"), Ok(url(true, "g.example.com", 443, "/a/b")));
        assert_eq!(base_url("http://127.0.0.1:8080/"), Ok(url(false, "127.0.0.1", 8080, "")));
        assert_eq!(base_url("http://[::1]:8080/x"), Ok(url(false, "::1", 8080, "/x")));
        assert_eq!(base_url("HTTP://localhost"), Ok(url(false, "localhost", 80, "")));
    }

    #[test]
    fn a_base_url_has_nothing_else() {
        for wrong in [
            "",
            "api.example.com",
            "ftp://example.com",
            "https://",
            "https:///path",
            "https://user:secret@example.com",
            "https://example.com?x=1",
            "https://example.com/#x",
            "https://example.com:0",
            "https://example.com:99999",
            "https://example.com:",
            "https://exa mple.com",
            "https://[::1",
            "https://::1",
            "https://example.com/a//b",
            "https://example.com/../b",
            "https://example.com/a b",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_proxy_may_have_a_password_which_is_not_shown() {
        assert_eq!(check_proxy("http://user:p@ss@proxy.local:3128"), Ok(()));
        assert_eq!(check_proxy("http://proxy.local/"), Ok(()));
        assert!(check_proxy("https://proxy.local").is_err());
        assert!(check_proxy("proxy.local:3128").is_err());
        assert!(check_proxy("http://proxy.local/path").is_err());
        assert_eq!(without_user("http://user:p@ss@proxy.local:3128"), "http://(hidden)@proxy.local:3128");
        assert_eq!(without_user("http://proxy.local:3128"), "http://proxy.local:3128");
    }

    #[test]
    fn a_pasted_url_gives_its_host() {
        assert_eq!(pasted_host("https://Dashboard-02.moengage.com/v4/#/x?y"), Some("dashboard-02.moengage.com".into()));
        assert_eq!(pasted_host("app.eu.iterable.com/"), Some("app.eu.iterable.com".into()));
        assert_eq!(pasted_host("https://"), None);
    }

    #[test]
    fn loopback_is_an_address_or_localhost() {
        assert!(["localhost", "127.0.0.1", "127.9.9.9", "::1"].into_iter().all(is_loopback));
        assert!(!["127.0.0.1.nip.io", "localhost.example.com", "10.0.0.1", "::"].into_iter().any(is_loopback));
    }
}
