//! What becomes of one record, and why: whose it is, which accounts get it, the request of each call.
//!
//! Asks the same parts as the [`pipeline`](crate::pipeline), in the same order: router, selection, plan, encode. Has no
//! rule of its own, so what it says is what `run` does. Sends nothing and reads no key. Pure.

mod parts;

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::value::RawValue;

pub use parts::{AccountPart, CallPart, End, Explanation, Place, Seen};

use crate::clock::Now;
use crate::config::Config;
use crate::delivery;
use crate::destination::{self, Call, Charge, Destination};
use crate::event::{Event, Origin};
use crate::json::Tape;
use crate::outcome::{No, Reason, Refusal, Skip};
use crate::pipeline::Parts;
use crate::router::{Route, Router, Rule, Selection, Space, decode};
use crate::source::record::Record;

/// What stands where a request has a credential.
const HIDDEN: &str = "(secret)";

/// Explains the records of one configuration.
#[derive(Debug)]
pub struct Explainer {
    router: Router,
    accounts: Vec<Account>,
}

#[derive(Debug)]
struct Account {
    name: String,
    tenant: String,
    held: bool,
    /// Scheme, host, port and prefix: what stands before the vendor's paths.
    base: String,
    destination: Arc<dyn Destination>,
    selection: Selection,
}

/// The account that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its name.
    pub account: &'a str,
    /// Whether a record that names no tenant, or an unknown one, counts as its tenant's.
    pub assume: bool,
}

impl Explainer {
    /// From a checked configuration.
    #[must_use]
    pub fn new(config: &Config, now: Now) -> Self {
        let Parts { router, lanes, .. } = Parts::of(config, now, 0);
        let account = |(account, (settings, selection)): (&crate::config::Account, _)| {
            let settings: crate::lane::Settings = settings;
            let origin = delivery::origin(account, &*settings.destination);
            let origin = origin.map_or_else(|_| settings.destination.origin(), |origin| origin.to_string());
            Account {
                name: account.name.clone(),
                tenant: account.tenant.clone(),
                held: settings.held_by_operator,
                base: format!("{origin}{}", settings.path_prefix),
                destination: settings.destination,
                selection,
            }
        };
        Self { router, accounts: config.accounts.iter().zip(lanes).map(account).collect() }
    }

    /// What becomes of a record; of one account's calls only, if one is asked for.
    #[must_use]
    pub fn explain(&self, record: &Record<'_>, origin: Origin<'_>, asked: Option<Asked<'_>>, now: Now) -> Explanation {
        let mut explanation = Explanation {
            record: place(origin),
            event: None,
            tenant: None,
            tenant_from: None,
            tenant_assumed: false,
            end: None,
            accounts: Vec::new(),
        };
        let wanted = |account: &&Account| asked.is_none_or(|asked| asked.account == account.name);
        let theirs = asked.and_then(|asked| self.accounts.iter().find(|account| account.name == asked.account));
        let (mut tape, mut event, mut tape_again, mut event_again) = (Tape::default(), None, Tape::default(), None);
        let space = Space { tape: &mut tape, event: &mut event };
        let (accounts, event): (Vec<&Account>, &Event<'_>) = match self.router.route(record, origin, space) {
            Route::Skipped(skip) => {
                let setting = (skip == Skip::UnknownTenant).then_some("tenant.unknown");
                explanation.end = Some(End::skipped(skip, skip.meaning(), setting.map(str::to_owned)));
                return explanation;
            }
            Route::Refused(tenant, refusal) => {
                let assumed = theirs.filter(|_| asked.is_some_and(|asked| asked.assume));
                let space = Space { tape: &mut tape_again, event: &mut event_again };
                let event = record.value.map(|value| decode(record, value, origin, space));
                match (assumed, event) {
                    (Some(account), Some(Ok(event))) => {
                        explanation.tenant_assumed = true;
                        (vec![account], event)
                    }
                    (Some(_), Some(Err(refusal))) => {
                        explanation.end = Some(End::refused(&refusal));
                        return explanation;
                    }
                    _ => {
                        explanation.tenant_from = tenant.as_ref().and_then(|_| self.source(record, origin));
                        explanation.tenant = tenant;
                        explanation.end = Some(End::refused(&refusal));
                        return explanation;
                    }
                }
            }
            Route::Lanes(tenant, event) => {
                explanation.tenant_from = self.source(record, origin);
                let lanes = self.router.lanes(tenant);
                (lanes.iter().filter_map(|lane| self.accounts.get(*lane as usize)).collect(), event)
            }
        };
        explanation.tenant = accounts.first().map(|account| account.tenant.clone());
        explanation.event = Some(Seen::of(event));
        explanation.accounts =
            accounts.iter().copied().filter(wanted).map(|account| account.explain(event, now)).collect();
        if let Some(account) = theirs.filter(|_| explanation.accounts.is_empty()) {
            let why = format!("the record is not of its tenant, {}", account.tenant);
            let end = End { outcome: "elsewhere", reason: "", why, setting: None };
            explanation.accounts.push(account.part(Some(end), Vec::new()));
        }
        explanation
    }

    /// The place of `[tenant] from` that names the record's tenant.
    fn source(&self, record: &Record<'_>, origin: Origin<'_>) -> Option<String> {
        let (mut tape, mut event) = (Tape::default(), None);
        let space = Space { tape: &mut tape, event: &mut event };
        let event = record.value.and_then(|value| decode(record, value, origin, space).ok());
        self.router.named_by(origin.topic, record, event).map(ToString::to_string)
    }

    /// Whether there is an account of this name.
    #[must_use]
    pub fn knows(&self, account: &str) -> bool {
        self.accounts.iter().any(|known| known.name == account)
    }
}

impl Account {
    fn part(&self, end: Option<End>, calls: Vec<CallPart>) -> AccountPart {
        let (account, destination) = (self.name.clone(), self.destination.name());
        AccountPart { account, destination, held: self.held, end, calls }
    }

    fn explain(&self, event: &Event<'_>, now: Now) -> AccountPart {
        if let Err(rule) = self.selection.check(event, now) {
            return self.part(Some(self.end(&rule.no(), Some(&rule))), Vec::new());
        }
        let mut calls = Vec::new();
        if let Err(no) = self.destination.plan(event, now, &mut calls) {
            return self.part(Some(self.end(&no, None)), Vec::new());
        }
        let calls = calls.iter().map(|call| self.call(event, call, now)).collect();
        self.part(None, calls)
    }

    /// Why the account makes no call: by a rule of the selection, or in the vendor's own words.
    fn end(&self, no: &No, rule: Option<&Rule<'_>>) -> End {
        match no {
            No::Skipped(skip, setting) => {
                let setting = setting.map(|setting| self.setting(setting));
                let why = match (rule, &setting) {
                    (Some(rule), _) => rule.to_string(),
                    (None, Some(setting)) => format!("{setting} leaves it out"),
                    (None, None) => skip.meaning().to_owned(),
                };
                End::skipped(*skip, why, setting)
            }
            No::Refused(refusal) => self.refused(refusal),
        }
    }

    /// A refusal, and the account's setting that it goes back to, if it does.
    fn refused(&self, refusal: &Refusal) -> End {
        let setting = match refusal.reason {
            Reason::Anonymous => Some("anonymous"),
            Reason::RawNotAllowed => Some("raw"),
            Reason::RawWithRules => Some("raw_unfiltered"),
            Reason::NoRecipient => Some("moengage.alerts"),
            _ => None,
        };
        End { setting: setting.map(|setting| self.setting(setting)), ..End::refused(refusal) }
    }

    fn setting(&self, setting: &str) -> String {
        format!("accounts.{}.{setting}", self.name)
    }

    fn call(&self, event: &Event<'_>, call: &Call, now: Now) -> CallPart {
        let destination = &*self.destination;
        let (head, tail) = destination.frame(call.shape);
        let mut body = head.to_vec();
        let encoded = destination
            .encode(event, call, now, &mut body)
            .and_then(|()| destination::fits(destination, call.shape, body.len() - head.len()));
        let element = String::from_utf8_lossy(body.get(head.len()..).unwrap_or_default()).into_owned();
        body.extend_from_slice(tail);
        let target = destination.target(call.shape, &SecretString::from(HIDDEN));
        let target = match &call.part {
            Some(part) => target.of_part(part),
            None => target,
        };
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            let shown = if value.is_sensitive() { HIDDEN } else { value.to_str().unwrap_or_default() };
            (name.to_string(), shown.to_owned())
        };
        let budgets = destination.budgets();
        let budgets = budgets.iter().filter(|budget| budget.shapes.contains(&call.shape));
        let cost = |charge| match charge {
            Charge::Request => 1,
            Charge::Units(index) => call.units.get(usize::from(index)).copied().unwrap_or(0),
        };
        let refused = encoded.err();
        CallPart {
            shape: destination.shapes().get(usize::from(call.shape.0)).map_or("", |info| info.name),
            url: format!("{}{}", self.base, target.path),
            headers: target.headers.iter().map(header).collect(),
            signed: destination.signer(&[]).is_some(),
            part: call.part.as_deref().map(str::to_owned),
            changes_user: call.state,
            users: if call.is_shared() { call.users().count() } else { 1 },
            costs: budgets.map(|budget| (budget.name, cost(budget.charge))).filter(|(_, cost)| *cost > 0).collect(),
            body: refused.is_none().then(|| raw(body)).flatten(),
            element: if refused.is_none() { element } else { String::new() },
            end: refused.as_ref().map(|refusal| self.refused(refusal)),
        }
    }
}

fn place(origin: Origin<'_>) -> Place {
    Place {
        topic: origin.topic.to_owned(),
        partition: origin.partition,
        offset: origin.offset,
        time: origin.timestamp_ms.and_then(written),
    }
}

/// A time as text; none that no calendar has.
fn written(ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(ms).ok().map(|time| time.to_string())
}

/// The body, byte by byte.
fn raw(body: Vec<u8>) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(body).ok()?).ok()
}
