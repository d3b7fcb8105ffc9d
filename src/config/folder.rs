//! Vendors that are complete in their folder below `destination`: their account's table, their limits, their keys.
//!
//! What the configuration knows of such a vendor is what its [`Folder`] says; it stands in
//! [`FOLDERS`](crate::destination::FOLDERS), and nowhere else.

use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use crate::destination::{Destination, UserHash};

use super::reader::Value;
use super::reference::{Scope, keys};
use super::{Account, Key, is_public, secret, url, vendor};

/// A vendor.
#[derive(Debug)]
pub struct Folder {
    /// Its name, and that of its table in an account.
    pub name: &'static str,
    /// Its settings below `limits`.
    pub limits: &'static [&'static str],
    /// Whether it makes something else of messages; if not, what would change them is no setting of its accounts:
    /// `anonymous`, `nested`, `raw`, `base_url`.
    pub maps: bool,
    /// Reads its table.
    pub read: fn(&Own<'_>) -> Option<Arc<dyn Settings>>,
}

/// What a vendor's folder has read.
pub trait Settings: Debug + Send + Sync {
    /// The vendor.
    fn folder(&self) -> &'static Folder;

    /// `keys`: current, next.
    fn keys(&self) -> &[Key];

    /// The API of an account with these settings, which knows users by these hashes.
    fn destination(&self, account: &Account, users: &UserHash) -> Arc<dyn Destination>;
}

/// A vendor's own table, and what the main file says of all.
#[derive(Debug)]
pub struct Own<'a> {
    pub(crate) value: &'a Value<'a>,
    pub(super) scope: Scope<'a>,
    /// `[delivery] allow_hosts`; `None` if unknown.
    pub(super) allow_hosts: Option<&'a [String]>,
}

impl Own<'_> {
    /// The keys at this value, each of which must have this form.
    pub(crate) fn keys(&self, value: &Value<'_>, form: secret::Form) -> Vec<Key> {
        keys(value, self.scope, form)
    }

    /// What to write where there are no keys.
    pub(crate) const KEYS: &'static str = vendor::KEYS;

    /// The URL at this value, which a tenant names: scheme and authority; path and query.
    ///
    /// Guarantees `https`, or this machine; and that a host which shows already that it is not public stands in
    /// `[delivery] allow_hosts`. What a name leads to is seen when it is connected to.
    pub(crate) fn endpoint(&self, value: &Value<'_>) -> Option<(String, String)> {
        const FIX: &str = "write \"https://host/path\"";
        let text = value.filled()?;
        let (before, query) = text.split_once('?').map_or((text, None), |(before, query)| (before, Some(query)));
        let base = url::base_url(before);
        let base = base.map_err(|reason| value.refuse(format!("this is no URL to post to: {reason}"), FIX)).ok()?;
        let loopback = url::is_loopback(&base.host);
        if !base.tls && !loopback {
            value.refuse("plain http would carry the events in the clear", "write https");
        }
        if query.is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')) {
            value.refuse("this is no URL to post to: its query must be percent-encoded, without a fragment", FIX);
            return None;
        }
        let is_ours = loopback || base.host.parse::<IpAddr>().is_ok_and(|address| !is_public(address));
        if is_ours && self.allow_hosts.is_some_and(|hosts| !hosts.contains(&base.host)) {
            let fix = format!("if it is meant, add \"{}\" to [delivery] allow_hosts in the main file", base.host);
            value.refuse(format!("{} is not a public host", base.host), fix);
        }
        let (scheme, authority) = (if base.tls { "https" } else { "http" }, url::authority(&base.host, base.port));
        // What the receiver calls its path may end with a slash, which the prefix of a path does not.
        let slash = if before.ends_with('/') || base.prefix.is_empty() { "/" } else { "" };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Some((format!("{scheme}://{authority}"), format!("{}{slash}{query}", base.prefix)))
    }
}
