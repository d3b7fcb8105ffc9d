//! What an explanation is made of, as `--json` writes it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::written;
use crate::event::Event;
use crate::outcome::{Reason, Refusal, Skip};

/// What becomes of one record.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Where it stands.
    pub record: Place,
    /// What was read of it, if it is an event and its tenant is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Seen>,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The place of `[tenant] from` that named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_from: Option<String>,
    /// Whether the tenant is not the record's word, but that of whoever asks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tenant_assumed: bool,
    /// How it ends, if it reaches no account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The tenant's accounts, as far as they were asked for.
    pub accounts: Vec<AccountPart>,
}

/// Where a record stands.
#[derive(Debug, Serialize)]
pub struct Place {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Its timestamp.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// What was read of a message, or of a raw element.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// `type`; of a raw element `raw`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The shape that a raw element's header names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// What it is told apart by.
    pub id: String,
    /// The user's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The name of a track, a page or a screen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// An end without a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct End {
    /// `refused` (a dead letter), `skipped` (counted), or `elsewhere` (another tenant's account).
    pub outcome: &'static str,
    /// The public name of the outcome.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'static str,
    /// The rule, or what exactly is wrong.
    pub why: String,
    /// The setting that says so, from the configuration's top, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
}

/// What one account makes of it.
#[derive(Debug, Serialize)]
pub struct AccountPart {
    /// Its name.
    pub account: String,
    /// Its vendor.
    pub destination: &'static str,
    /// Whether the operator holds it: calls wait.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Why it makes no call.
    #[serde(flatten)]
    pub end: Option<End>,
    /// The calls, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallPart>,
}

/// One call: a request as it would go out if it went alone.
#[derive(Debug, Serialize)]
pub struct CallPart {
    /// The vendor's request form.
    pub shape: &'static str,
    /// Where to.
    pub url: String,
    /// The request's headers, credentials hidden.
    pub headers: BTreeMap<String, String>,
    /// Whether headers are added that sign the body when it goes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// Which of the vendor's collections it goes into, as it stands in the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Whether it changes the user, and so keeps its place among that user's calls.
    pub changes_user: bool,
    /// How many users it is about: where several, it waits for all of them.
    pub users: usize,
    /// What it costs, by the name of the limit.
    pub costs: BTreeMap<&'static str, u32>,
    /// Why it is not sent after all.
    #[serde(flatten)]
    pub end: Option<End>,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// The call's part of the body, as it stands in a batch: one JSON value, or several, separated by commas; or fields, in
    /// a body that lists them by name.
    #[serde(skip)]
    pub element: String,
}

impl End {
    pub(super) fn skipped(skip: Skip, why: impl Into<String>, setting: Option<String>) -> Self {
        Self { outcome: "skipped", reason: skip.name(), why: why.into(), setting }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        let setting = match refusal.reason {
            Reason::NoTenant => Some("tenant.from"),
            Reason::UnknownTenant => Some("tenant.unknown"),
            Reason::TenantConflict => Some("tenant.conflict"),
            _ => None,
        };
        let setting = setting.map(str::to_owned);
        Self { outcome: "refused", reason: refusal.reason.name(), why: refusal.detail.to_string(), setting }
    }
}

impl Seen {
    pub(super) fn of(event: &Event<'_>) -> Self {
        Self {
            kind: if event.raw.is_some() { "raw" } else { event.kind.name() },
            shape: event.raw.as_ref().map(|form| form.shape.to_owned()),
            id: event.id().into_owned(),
            user: event.user().map(Into::into),
            name: event.event.clone().or_else(|| event.name.clone()).map(Into::into),
            time: event.time_ms().and_then(written),
        }
    }
}
