//! `/accounts`: for each account how its lane does, what binds it, and until when.
//!
//! The form is public; secrets appear as fingerprints only.

use jiff::Timestamp;
use serde::Serialize;

use super::Admin;
use crate::clock::Now;
use crate::lane::Health;
use crate::metrics::report::{AccountReport, Deferral, Report};

/// Where an account's requests go.
#[derive(Clone, Debug)]
pub struct Place {
    /// `us`, `eu`, or the data centre.
    pub region: String,
    /// The host.
    pub host: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Account {
    #[serde(rename = "account")]
    name: String,
    tenant: String,
    destination: &'static str,
    region: String,
    host: String,
    health: &'static str,
    binds: Binds,
    held_events: u64,
    held_bytes: u64,
    deferred: Vec<Deferred>,
    keys: Vec<Key>,
    limits: Vec<Limit>,
    share: f64,
    last_delivered: Option<String>,
    last_error: Option<LastError>,
}

#[derive(Debug, Serialize)]
struct Binds {
    what: &'static str,
    reason: String,
    until: Option<String>,
}

/// Since which record an account is deferred in a partition, and how far the others are.
#[derive(Debug, Serialize)]
struct Deferred {
    topic: String,
    partition: i32,
    offset: i64,
    time: Option<String>,
    front: i64,
}

#[derive(Debug, Serialize)]
struct Key {
    name: String,
    fingerprint: Option<String>,
    state: String,
}

#[derive(Debug, Serialize)]
struct Limit {
    name: &'static str,
    #[serde(rename = "limit")]
    configured: u32,
    in_force: f64,
}

#[derive(Debug, Serialize)]
struct LastError {
    at: String,
    message: String,
}

/// All accounts, in the order of the configuration; then those that it does not have, as one, if some are deferred.
pub(super) fn list(admin: &Admin, report: &Report) -> Vec<Account> {
    let keys = admin.keys.read().map(|board| board.clone()).unwrap_or_default();
    let nobody = Vec::new();
    let configured = report.accounts.iter().enumerate().zip(&admin.names).zip(&admin.places).map(
        |(((lane, account), names), place)| Account {
            name: names.account.clone(),
            tenant: names.tenant.clone(),
            destination: names.destination,
            region: place.region.clone(),
            host: place.host.clone(),
            health: account.health.name(),
            binds: Binds {
                what: account.binds.what,
                reason: account.binds.reason.clone(),
                until: account.binds.until.and_then(time),
            },
            held_events: account.held_calls,
            held_bytes: account.held_bytes,
            deferred: account.deferred.iter().filter_map(|deferral| deferred(report, deferral)).collect(),
            keys: shown(keys.get(lane).unwrap_or(&nobody), account),
            limits: limits(account),
            share: 1.0,
            last_delivered: account.last_delivered.and_then(time),
            last_error: account
                .last_error
                .as_ref()
                .map(|(at, message)| LastError { at: time(*at).unwrap_or_default(), message: message.clone() }),
        },
    );
    configured.chain(unknown(report)).collect()
}

/// Deferred accounts that the configuration does not have.
fn unknown(report: &Report) -> Option<Account> {
    let nobody = || "_unknown".to_owned();
    (!report.unknown.is_empty()).then(|| Account {
        name: nobody(),
        tenant: nobody(),
        destination: "_unknown",
        region: String::new(),
        host: String::new(),
        health: Health::Held.name(),
        binds: Binds { what: "held", reason: "not_configured".into(), until: None },
        held_events: 0,
        held_bytes: 0,
        deferred: report.unknown.iter().filter_map(|deferral| deferred(report, deferral)).collect(),
        keys: Vec::new(),
        limits: Vec::new(),
        share: 1.0,
        last_delivered: None,
        last_error: None,
    })
}

fn deferred(report: &Report, deferral: &Deferral) -> Option<Deferred> {
    let partition = report.partitions.get(deferral.partition)?;
    let offset = deferral.since.map_or(deferral.offset, |(offset, _)| offset);
    let time = deferral.since.and_then(|(_, ms)| Timestamp::from_millisecond(ms).ok());
    Some(Deferred {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        offset,
        time: time.map(|time| format!("{time:.3}")),
        front: partition.front,
    })
}

fn shown(keys: &[crate::keys::Shown], account: &AccountReport) -> Vec<Key> {
    // Keys that cannot be read are left out of what the lane has.
    let mut readable: Vec<&str> = Vec::new();
    keys.iter()
        .map(|key| {
            let position = readable.iter().filter(|family| **family == key.family).count();
            let in_use = account.keys.iter().filter(|(family, _)| *family == key.family).map(|(_, at)| *at).max();
            let state = match &key.problem {
                Some(problem) => problem.clone(),
                None if in_use == Some(position) => "in use".to_owned(),
                None => "ready".to_owned(),
            };
            if key.problem.is_none() {
                readable.push(key.family);
            }
            Key { name: key.name.clone(), fingerprint: key.fingerprint.clone(), state }
        })
        .collect()
}

fn limits(account: &AccountReport) -> Vec<Limit> {
    let limit = |&(name, limit, share): &(&'static str, u32, f64)| Limit {
        name,
        configured: limit,
        in_force: f64::from(limit) * share,
    };
    account.limits.iter().map(limit).collect()
}

fn time(now: Now) -> Option<String> {
    Timestamp::from_millisecond(now.wall_ms).ok().map(|time| time.to_string())
}
