//! `[accounts.NAME]`: one account, in the main file or in an included one.
//!
//! Guarantees that an account has one vendor, and that its data goes to that vendor's hosts, to this machine, or to a
//! host that the main file allows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::destination::FOLDERS;
use crate::event::Kind;

use super::problem::Place;
use super::reader::{Table, Value};
use super::reference::Scope;
use super::sections::MAX_LINGER;
use super::{Account, Anonymous, BaseUrl, Folder, Own, Vendor, fields, limits, url, vendor};

const KINDS: &[(&str, Kind)] = &[
    ("identify", Kind::Identify),
    ("track", Kind::Track),
    ("page", Kind::Page),
    ("screen", Kind::Screen),
    ("alias", Kind::Alias),
    ("group", Kind::Group),
];

const ANONYMOUS: &[(&str, Anonymous)] =
    &[("refuse", Anonymous::Refuse), ("skip", Anonymous::Skip), ("use", Anonymous::Use)];

/// What the main file says about all accounts. What could not be read there is not held against them.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The main file's directory.
    pub(super) directory: &'a Path,
    /// `[delivery] linger`
    pub(super) linger: Duration,
    /// `[delivery] allow_hosts`; `None` if unknown.
    pub(super) allow_hosts: Option<&'a [String]>,
    /// `[secrets] root`
    pub(super) secrets_root: Option<&'a Path>,
}

/// Reads one account. `place` is that of its name.
pub(super) fn account(place: &Place, name: &str, value: &Value<'_>, around: &Surroundings<'_>) -> Option<Account> {
    if !name_is_good(name) {
        let fix = "use 1 to 63 small letters, digits, hyphens and underscores, a letter or digit first";
        value.refuse_at(place, format!("\"{name}\" is not a name for an account"), fix);
    }
    let mut table = value.table()?;
    let tenant = table.take("tenant").and_then(|tenant| self::tenant(&tenant)).unwrap_or_else(|| name.to_owned());
    let below = around.secrets_root.filter(|_| table.included()).map(|root| root.join(&tenant));
    let scope = Scope { directory: around.directory, below: below.as_deref() };
    let vendor = self::vendor(&mut table, scope, around.allow_hosts);
    let iterable = matches!(vendor, Some(Vendor::Iterable(_)));
    let folder = if let Some(Vendor::Folder(settings)) = &vendor { Some(settings.folder()) } else { None };
    let rest = Rest { name, tenant, iterable, folder };
    let account = rest.read(&mut table, around, vendor);
    table.finish();
    account
}

/// What is known when the rest of the table is read.
struct Rest<'a> {
    name: &'a str,
    tenant: String,
    iterable: bool,
    folder: Option<&'static Folder>,
}

impl Rest<'_> {
    fn limits(&self, value: &Value<'_>) -> BTreeMap<String, u32> {
        match self.folder {
            Some(folder) => limits::of_folder(value, folder),
            None if self.iterable => limits::iterable(value),
            None => limits::moengage(value),
        }
    }

    fn read(self, table: &mut Table<'_>, around: &Surroundings<'_>, vendor: Option<Vendor>) -> Option<Account> {
        let raw = if self.iterable { vendor::ITERABLE_RAW } else { vendor::MOENGAGE_RAW };
        let raw: Vec<_> = raw.iter().map(|shape| (*shape, *shape)).collect();
        let mapped = self.folder.is_none_or(|folder| folder.maps);
        // Without a vendor nobody knows which limits and raw shapes there are.
        let known = vendor.is_some();
        let limits = table.take("limits").filter(|_| known).map(|value| self.limits(&value)).unwrap_or_default();
        let raw = mapped
            .then(|| table.take("raw"))
            .flatten()
            .filter(|_| known)
            .and_then(|value| value.picks(&raw))
            .unwrap_or_default();
        // Nor what rules must leave as it is.
        let rules = table.take("fields").zip(vendor.as_ref().map(fields::Bounds::of));
        let rules = rules.map(|(value, bounds)| fields::rules(&value, &bounds));
        let linger = table.duration("linger", &(Duration::ZERO..=MAX_LINGER)).unwrap_or(around.linger);
        let in_flight = table.take("max_in_flight").and_then(|value| value.integer(&(1..=64)));
        let max_calls = table.take("max_calls").and_then(|value| value.integer(&(1..=100_000)));
        let max_age = table.duration("max_age", &(Duration::from_secs(1)..=Duration::from_hours(24 * 3_650)));
        let base_url = mapped.then(|| base_url(table, around.allow_hosts, self.iterable)).flatten();
        let anonymous = if mapped { table.pick("anonymous", Anonymous::Refuse, ANONYMOUS) } else { Anonymous::Use };
        Some(Account {
            name: self.name.to_owned(),
            tenant: self.tenant,
            accept: accept(table),
            anonymous,
            flatten: mapped && table.pick("nested", false, &[("keep", false), ("flatten", true)]),
            max_age,
            filters: table.take("where").map(|value| fields::filters(&value)).unwrap_or_default(),
            only_events: table.texts("only_events"),
            skip_events: table.texts("skip_events"),
            consent: table.texts("consent"),
            fields: rules.unwrap_or_default(),
            raw: raw.into_iter().map(str::to_owned).collect(),
            raw_unfiltered: mapped && table.flag("raw_unfiltered", false),
            limits,
            max_in_flight: in_flight.and_then(|number| u32::try_from(number).ok()).unwrap_or(4),
            max_calls: max_calls.and_then(|number| u32::try_from(number).ok()),
            linger,
            hold: table.flag("hold", false),
            enabled: table.flag("enabled", true),
            base_url,
            vendor: vendor?,
        })
    }
}

fn name_is_good(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    first && name.len() <= 63 && name.chars().all(rest)
}

/// A tenant's name is a label, a directory's name below `[secrets] root`, and a header's value.
fn tenant(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    if text.len() > 255 || text.trim() != text || text.contains('/') || matches!(text, "." | "..") {
        value.refuse(
            "this is not a name for a tenant",
            "use up to 255 bytes, without slashes and without spaces around it",
        );
        return None;
    }
    Some(text.to_owned())
}

fn vendor(table: &mut Table<'_>, scope: Scope<'_>, allow_hosts: Option<&[String]>) -> Option<Vendor> {
    let names = ["moengage", "iterable"].into_iter().chain(FOLDERS.iter().map(|folder| folder.name));
    let mut found: Vec<_> = names.filter_map(|name| Some((name, table.take(name)?))).collect();
    match (found.pop(), found.is_empty()) {
        (Some((name, value)), true) => match FOLDERS.iter().find(|folder| folder.name == name) {
            Some(folder) => (folder.read)(&Own { value: &value, scope, allow_hosts }).map(Vendor::Folder),
            None if name == "iterable" => vendor::iterable(&value, scope).map(Vendor::Iterable),
            None => vendor::moengage(&value, scope).map(Vendor::Moengage),
        },
        (None, _) => {
            let folders: Vec<&str> = FOLDERS.iter().map(|folder| folder.name).collect();
            let fix = format!("add its table: moengage, iterable or {}", folders.join(" or "));
            table.refuse("this account has no vendor", fix);
            None
        }
        _ => {
            table.refuse("this account has two vendors", "make two accounts; they may have the same tenant");
            None
        }
    }
}

fn accept(table: &mut Table<'_>) -> Vec<Kind> {
    let default = || vec![Kind::Identify, Kind::Track, Kind::Alias];
    let Some(value) = table.take("accept") else { return default() };
    let Some(kinds) = value.picks(KINDS) else { return default() };
    if kinds.is_empty() && value.items().is_some_and(|items| items.is_empty()) {
        value.refuse("no type of message is listed", "list some, or write enabled = false");
    }
    kinds
}

fn base_url(table: &mut Table<'_>, allow_hosts: Option<&[String]>, iterable: bool) -> Option<BaseUrl> {
    let value = table.take("base_url");
    let plaintext = table.flag("allow_plaintext", false);
    let value = value?;
    let base = match url::base_url(value.filled()?) {
        Ok(base) => base,
        Err(reason) => {
            value.refuse(format!("this is no base URL: {reason}"), "write \"https://host\" or \"https://host/path\"");
            return None;
        }
    };
    let loopback = url::is_loopback(&base.host);
    if !base.tls && !loopback && !plaintext {
        value.refuse(
            "plain http would carry the key and the events in the clear",
            "write https, or allow_plaintext = true in this account",
        );
    }
    let vendors = if iterable {
        matches!(base.host.as_str(), "api.iterable.com" | "api.eu.iterable.com")
    } else {
        base.host.ends_with(".moengage.com")
    };
    let allowed = allow_hosts.is_none_or(|hosts| hosts.contains(&base.host));
    if !loopback && !vendors && !allowed {
        value.refuse(
            format!("{} is neither the vendor's nor this machine", base.host),
            format!("if it is meant, add \"{}\" to [delivery] allow_hosts in the main file", base.host),
        );
    }
    Some(base)
}
