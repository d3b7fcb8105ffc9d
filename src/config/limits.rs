//! `[accounts.NAME.limits]`: what differs from the vendors' published limits.
//!
//! Guarantees that no limit is zero, and that accounts which share a limit agree on it.

use std::collections::BTreeMap;

use super::problem::{Place, Problem, Sink};
use super::reader::{Table, Value};
use super::{Account, Folder, Vendor};

/// `MoEngage`'s settings, as `limits` names them.
const MOENGAGE: &[&str] = &[
    "users_per_minute",
    "events_per_minute",
    "merges_per_minute",
    "catalog_per_minute",
    "catalog_per_hour",
    "business_events_per_hour",
    "business_events_per_day",
    "alerts_per_minute",
];

/// Iterable's classes of requests, below `requests_per_second`.
const ITERABLE: &[&str] = &["events", "users", "commerce", "tokens", "emails", "catalogs"];

/// Far above what a vendor grants, far below what would overflow.
const MOST: i64 = 100_000_000;

/// Reads the limits of an account at `MoEngage`.
pub(super) fn moengage(value: &Value<'_>) -> BTreeMap<String, u32> {
    value.table().map(|table| numbers(table, MOENGAGE)).unwrap_or_default()
}

/// Reads limits of these names.
pub(super) fn of_folder(value: &Value<'_>, folder: &Folder) -> BTreeMap<String, u32> {
    value.table().map(|table| numbers(table, folder.limits)).unwrap_or_default()
}

/// Reads the limits of an account at Iterable, by class.
pub(super) fn iterable(value: &Value<'_>) -> BTreeMap<String, u32> {
    let Some(mut table) = value.table() else { return BTreeMap::new() };
    let classes = table.take("requests_per_second");
    table.finish();
    let classes = classes.and_then(|classes| classes.table_or("write { events = 10, users = 5 }"));
    classes.map(|table| numbers(table, ITERABLE)).unwrap_or_default()
}

fn numbers(mut table: Table<'_>, names: &[&'static str]) -> BTreeMap<String, u32> {
    let mut limits = BTreeMap::new();
    for name in names {
        let Some(value) = table.take(name) else { continue };
        let Some(number) = value.integer(&(0..=MOST)) else { continue };
        if number == 0 {
            value.refuse(
                "a limit of 0 would send nothing, ever",
                "write at least 1; to stop an account write hold = true",
            );
        }
        limits.insert((*name).to_owned(), u32::try_from(number).unwrap_or(u32::MAX));
    }
    table.finish();
    limits
}

/// Reports accounts that share a limit and do not agree on it.
pub(super) fn check_groups(accounts: &[(Place, Account)], sink: &Sink) {
    let mut first: BTreeMap<String, &(Place, Account)> = BTreeMap::new();
    for entry in accounts {
        let (place, account) = entry;
        let differs = |name: &&&str| {
            let Some(group) = group(account, name) else { return false };
            let (_, other) = first.entry(group).or_insert(entry);
            account.limits.get(**name) != other.limits.get(**name)
        };
        // All of them are looked at, so that each has its first account.
        let differing: Vec<&&str> = names(account).iter().filter(differs).collect();
        let Some(name) = differing.first() else { continue };
        let Some((other_place, other)) = group(account, name).and_then(|group| first.get(&group).copied()) else {
            continue;
        };
        let shown = |account: &Account| account.limits.get(**name).map_or("the default".to_owned(), u32::to_string);
        let message = format!(
            "{name} is {} here and {} for account {} ({}:{}), and both share one limit at the vendor",
            shown(account),
            shown(other),
            other.name,
            other_place.file,
            other_place.line,
        );
        let place = Place { key: format!("accounts.{}.limits", account.name), ..place.clone() };
        sink.error(Problem::at(place, message, "write the same limits in both"));
    }
}

/// The limits that an account's vendor has.
fn names(account: &Account) -> &'static [&'static str] {
    match account.vendor {
        Vendor::Moengage(_) => MOENGAGE,
        Vendor::Iterable(_) => ITERABLE,
        Vendor::Folder(_) => &[],
    }
}

/// Whose limit of this name it is: host and workspace, or host and project. `None`: nobody else's.
fn group(account: &Account, name: &str) -> Option<String> {
    let host = |vendor: String| match &account.base_url {
        Some(url) => format!("{}:{}", url.host, url.port),
        None => vendor,
    };
    match &account.vendor {
        Vendor::Moengage(settings) => {
            Some(format!("moengage {} {} {name}", host(settings.data_center.clone()), settings.workspace))
        }
        Vendor::Iterable(settings) => {
            // Users and events go by bulk endpoints or by single ones, which have limits of their own; all else goes by
            // the same endpoints.
            let single = settings.single && matches!(name, "users" | "events");
            let project = settings.project.as_ref()?;
            Some(format!("iterable {} {single} {project} {name}", host(settings.eu.to_string())))
        }
        Vendor::Folder(_) => None,
    }
}
