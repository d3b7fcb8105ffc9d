//! MoEngage's APIs: the bulk endpoint for data, and what else its keys open; authorisation and limits.
//!
//! Vendor's pages (read 2026-11): <https://www.moengage.com/docs/api/bulk/bulk-import-users-and-events> (100 KB a
//! request, 60,000 users and 60,000 events a minute and workspace), <https://www.moengage.com/docs/api/introduction>
//! (hosts, Basic authorisation, families of keys), <https://www.moengage.com/docs/api/rate-limits> (merges 1,000 users a
//! minute and 50 pairs a request, business events 50 an hour and 200 a day, catalogue items 100 requests a minute and 1,000 an
//! hour with 50 items and 5 MB, Inform 10,000 a minute). Never sends a compressed body, nor `MOE-APPKEY` to the bulk endpoint: the
//! vendor asks for neither.

mod answer;
mod attributes;
mod campaign;
mod encode;
mod limits;
mod moment;
mod nested;
mod raw;
#[cfg(test)]
mod tests;
mod zone;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Answer, Budget, Call, Charge, Destination, Elements, Judgement, Per, Shape, ShapeInfo, Target, UserHash, authority,
    limit, percent_encoded,
};
use crate::clock::Now;
use crate::config;
use crate::event::fields::Fields;
use crate::event::{Event, Kind};
use crate::json::Tape;
use crate::outcome::{No, Refusal, Skip};
use campaign::Campaign;
use encode::Encoder;

/// The bulk request: customers, events and devices, mixed.
pub const TRANSITION: Shape = Shape(0);
/// Pairs of users that become one.
pub const MERGES: Shape = Shape(1);
/// Business events, which start campaigns.
pub const BUSINESS: Shape = Shape(2);
/// Alerts of Inform.
pub const ALERTS: Shape = Shape(3);
/// Items of a catalogue.
pub const ITEMS: Shape = Shape(4);

const SHAPES: &[ShapeInfo] = &[
    // "100 KB", and no word on whether that is 1000 or 1024: the smaller. No limit is published on elements; the smallest
    // has some 70 bytes.
    shape("transition", 100_000, 10_000, &["keys"]),
    shape("merge", 128_000, 50, &["keys"]),
    ShapeInfo { own_lane: true, ..shape("business-event", 128_000, 1, CAMPAIGN) },
    ShapeInfo { own_lane: true, ..shape("inform", 128_000, 1, &["inform_keys", "campaign_keys", "keys"]) },
    ShapeInfo { apart: true, own_lane: true, ..shape("catalog", 5_000_000, 50, CAMPAIGN) },
];
const CAMPAIGN: &[&str] = &["campaign_keys", "keys"];

const fn shape(name: &'static str, max_bytes: usize, max_calls: usize, keys: &'static [&'static str]) -> ShapeInfo {
    ShapeInfo { name, max_bytes, max_calls, keys, apart: false, own_lane: false }
}

/// The vendor's published limit of users and of events a minute.
const PER_MINUTE: u32 = 60_000;

/// Each limit: its setting, what is published, the window, what is counted, and of which requests.
const LIMITS: [(&str, u32, Per, Charge, Shape); 8] = [
    ("users_per_minute", PER_MINUTE, Per::Minute, Charge::Units(0), TRANSITION),
    ("events_per_minute", PER_MINUTE, Per::Minute, Charge::Units(1), TRANSITION),
    ("merges_per_minute", 1_000, Per::Minute, Charge::Units(0), MERGES),
    ("business_events_per_hour", 50, Per::Hour, Charge::Request, BUSINESS),
    ("business_events_per_day", 200, Per::Day, Charge::Request, BUSINESS),
    ("alerts_per_minute", 10_000, Per::Minute, Charge::Request, ALERTS),
    ("catalog_per_minute", 100, Per::Minute, Charge::Request, ITEMS),
    ("catalog_per_hour", 1_000, Per::Hour, Charge::Request, ITEMS),
];

/// One account at MoEngage.
#[derive(Debug)]
pub struct Moengage {
    workspace: String,
    data_center: String,
    /// By shape.
    paths: [String; 5],
    forwarded_for: Option<HeaderValue>,
    /// Who shares the limits: host and workspace.
    group: String,
    /// In the order of [`LIMITS`].
    limits: [u32; LIMITS.len()],
    merges: bool,
    encoder: Encoder,
    campaign: Campaign,
    fields: Option<Fields>,
    users: UserHash,
}

impl Moengage {
    /// The account's API, from its settings; it knows users by these hashes.
    #[must_use]
    pub fn new(account: &config::Account, settings: &config::Moengage, users: &UserHash) -> Self {
        let forwarded: Vec<String> = settings.forwarded_for.iter().map(ToString::to_string).collect();
        Self {
            group: format!(
                "{} {}",
                authority(account, &format!("api-{}.moengage.com", settings.data_center)),
                settings.workspace
            ),
            limits: LIMITS.map(|(name, published, ..)| limit(account, name, published)),
            workspace: settings.workspace.clone(),
            data_center: settings.data_center.clone(),
            paths: paths(settings),
            forwarded_for: HeaderValue::try_from(forwarded.join(", ")).ok().filter(|value| !value.is_empty()),
            merges: settings.merge_aliases,
            encoder: Encoder::new(account, settings),
            campaign: Campaign::new(settings),
            fields: Fields::new(&account.fields, &config::needed(&account.vendor)),
            users: users.clone(),
        }
    }

    /// The call of a track event.
    fn plan_track(&self, event: &Event<'_>) -> Result<Call, No> {
        let name = event.event.as_deref().unwrap_or_default();
        if self.campaign.is_business(name) {
            // About nobody, so it has no order to keep.
            return Ok(Call::new(BUSINESS, self.users.of(&event.id()), false));
        }
        if self.campaign.alert(name).is_some() {
            // An alert may go to somebody who is no user yet.
            let user = self.users.of(&event.user().unwrap_or_else(|| event.id()));
            return Ok(Call::new(ALERTS, user, false));
        }
        let user = self.users.of(&self.encoder.customer_id(event)?);
        Ok(Call { units: [0, 1], ..Call::new(TRANSITION, user, false) })
    }

    /// The element of a message's call, of `event` as the account's rules leave it; `whole` is how it came.
    fn element(
        &self,
        (event, whole): (&Event<'_>, &Event<'_>),
        shape: Shape,
        now: Now,
        body: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        match (shape, event.kind) {
            (MERGES, _) => Encoder::merge(event, body),
            (BUSINESS, _) => self.encoder.business(event, body),
            // A recipient is found in the message as it came.
            (ALERTS, _) => self.encoder.alert(&self.campaign, event, whole, body),
            (_, Kind::Identify) => self.encoder.identify(event, body),
            (_, Kind::Group) => self.encoder.group(event, body),
            _ => self.encoder.event(event, now, body),
        }
    }
}

/// Whether the vendor keeps an attribute's name for itself, of a user or of an event.
pub(crate) fn is_reserved(of_user: bool, name: &str) -> bool {
    let of = if of_user { limits::Of::User } else { limits::Of::Event };
    of.reserves(name.as_bytes())
}

/// The path of each shape.
fn paths(settings: &config::Moengage) -> [String; 5] {
    let workspace = percent_encoded(&settings.workspace);
    let mut transition = format!("/v1/transition/{workspace}");
    if let Some(project) = &settings.project_code {
        transition.push_str("?project_code=");
        transition.push_str(&percent_encoded(project));
    }
    [
        transition,
        format!("/v1/customer/merge?app_id={workspace}"),
        "/v1.0/business_event/trigger".to_owned(),
        "/v1.0/alerts/send".to_owned(),
        format!("/v1/catalog/{}/items", Target::PART),
    ]
}

impl Destination for Moengage {
    fn name(&self) -> &'static str {
        "moengage"
    }

    fn shapes(&self) -> &'static [ShapeInfo] {
        SHAPES
    }

    fn origin(&self) -> String {
        format!("https://api-{}.moengage.com", self.data_center)
    }

    fn region(&self) -> String {
        self.data_center.clone()
    }

    fn budgets(&self) -> Vec<Budget> {
        let budget = |((name, _, per, charge, shape), limit): ((&'static str, _, _, _, Shape), u32)| Budget {
            key: format!("{} {name}", self.group),
            name,
            limit,
            per,
            charge,
            shapes: vec![shape],
        };
        LIMITS.into_iter().zip(self.limits).map(budget).collect()
    }

    fn frame(&self, shape: Shape) -> (&[u8], &[u8]) {
        match shape {
            TRANSITION => (b"{\"type\":\"transition\",\"elements\":[", b"]}"),
            MERGES => (b"{\"merge_data\":[", b"]}"),
            ITEMS => (b"{\"items\":[", b"]}"),
            _ => (b"", b""),
        }
    }

    fn makes(&self, shape: Shape) -> bool {
        self.campaign.makes(shape)
    }

    fn plan(&self, event: &Event<'_>, now: Now, calls: &mut Vec<Call>) -> Result<(), No> {
        if let Some(form) = &event.raw {
            calls.push(raw::plan(&self.users, event, form, now)?);
            return Ok(());
        }
        let call = match event.kind {
            Kind::Identify | Kind::Group => {
                let user = self.users.of(&self.encoder.customer_id(event)?);
                Call { units: [1, 0], ..Call::new(TRANSITION, user, true) }
            }
            Kind::Page | Kind::Screen => {
                let user = self.users.of(&self.encoder.customer_id(event)?);
                Call { units: [0, 1], ..Call::new(TRANSITION, user, false) }
            }
            Kind::Track => self.plan_track(event)?,
            Kind::Alias if !self.merges => return Err(No::Skipped(Skip::NotSelected, Some("moengage.alias"))),
            Kind::Alias => {
                let (merged, retained) = Encoder::merged(event)?;
                let call = Call::new(MERGES, self.users.of(&merged), true).with([self.users.of(&retained)]);
                Call { units: [1, 0], ..call }
            }
        };
        calls.push(call);
        Ok(())
    }

    fn encode(&self, event: &Event<'_>, call: &Call, now: Now, body: &mut Vec<u8>) -> Result<(), Refusal> {
        if event.raw.is_some() {
            body.extend_from_slice(event.whole.get().as_bytes());
            return Ok(());
        }
        match &self.fields {
            None => self.element((event, event), call.shape, now, body),
            Some(fields) => {
                let mut scratch = Tape::default();
                let seen = fields.apply(event, &mut scratch);
                self.element((&seen, event), call.shape, now, body)
            }
        }
    }

    fn target(&self, shape: Shape, key: &SecretString) -> Target {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let credentials = STANDARD.encode(format!("{}:{}", self.workspace, key.expose_secret()));
        if let Ok(mut value) = HeaderValue::try_from(format!("Basic {credentials}")) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if shape != TRANSITION
            && let Ok(workspace) = HeaderValue::try_from(&self.workspace)
        {
            headers.insert(HeaderName::from_static("moe-appkey"), workspace);
        }
        if let Some(addresses) = &self.forwarded_for {
            headers.insert(HeaderName::from_static("x-forwarded-for"), addresses.clone());
        }
        Target { path: self.paths.get(usize::from(shape.0)).cloned().unwrap_or_default(), headers }
    }

    fn judge(&self, shape: Shape, answer: &Answer<'_>, elements: &dyn Elements, now: Now) -> Judgement {
        answer::judge(shape, answer, elements, now)
    }
}
