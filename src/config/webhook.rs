//! `[accounts.NAME.webhook]`: where a webhook is, and what signs its requests.
//!
//! Guarantees `https`, or this machine; and that a host which shows already that it is not public stands in
//! `[delivery] allow_hosts`. What a name leads to is seen when it is connected to.

use std::net::IpAddr;

use super::reader::Value;
use super::reference::{Scope, keys};
use super::secret::Form;
use super::vendor::KEYS;
use super::{Webhook, is_public, url};

/// `[accounts.NAME.webhook]`
pub(super) fn webhook(value: &Value<'_>, scope: Scope<'_>, allow_hosts: Option<&[String]>) -> Option<Webhook> {
    let mut table = value.table()?;
    let place = table.require("url", "write the URL that events are posted to");
    let (origin, path) = place.and_then(|value| target(&value, allow_hosts)).unwrap_or_default();
    let keys = table.require("keys", KEYS).map(|value| keys(&value, scope, Form::Signing)).unwrap_or_default();
    table.finish();
    Some(Webhook { origin, path, keys })
}

/// Scheme and authority; path and query.
fn target(value: &Value<'_>, allow_hosts: Option<&[String]>) -> Option<(String, String)> {
    const FIX: &str = "write \"https://host/path\"";
    let text = value.filled()?;
    let (before, query) = text.split_once('?').map_or((text, None), |(before, query)| (before, Some(query)));
    let base = match url::base_url(before) {
        Ok(base) => base,
        Err(reason) => {
            value.refuse(format!("this is no URL for a webhook: {reason}"), FIX);
            return None;
        }
    };
    let loopback = url::is_loopback(&base.host);
    if !base.tls && !loopback {
        value.refuse("plain http would carry the events in the clear", "write https");
    }
    if query.is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')) {
        value.refuse("this is no URL for a webhook: its query must be percent-encoded, without a fragment", FIX);
        return None;
    }
    let is_ours = loopback || base.host.parse::<IpAddr>().is_ok_and(|address| !is_public(address));
    if is_ours && allow_hosts.is_some_and(|hosts| !hosts.contains(&base.host)) {
        value.refuse(
            format!("{} is not a public host", base.host),
            format!("if it is meant, add \"{}\" to [delivery] allow_hosts in the main file", base.host),
        );
    }
    let (scheme, authority) = (if base.tls { "https" } else { "http" }, url::authority(&base.host, base.port));
    // What the receiver calls its path may end with a slash, which the prefix of a path does not.
    let slash = if before.ends_with('/') || base.prefix.is_empty() { "/" } else { "" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some((format!("{scheme}://{authority}"), format!("{}{slash}{query}", base.prefix)))
}
