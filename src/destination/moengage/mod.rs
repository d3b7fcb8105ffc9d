//! MoEngage's Data API: the bulk endpoint, its authorisation and its limits.
//!
//! Vendor's pages (read 2026-11): <https://www.moengage.com/docs/api/bulk/bulk-import-users-and-events> (100 KB a
//! request, 60,000 users and 60,000 events a minute and workspace), <https://www.moengage.com/docs/api/introduction>
//! (hosts, Basic authorisation). Never sends `MOE-APPKEY` or a compressed body: the Data API asks for neither.

mod answer;
mod attributes;
mod encode;
mod zone;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Answer, Budget, Call, Charge, Destination, Elements, Judgement, Per, Shape, ShapeInfo, Target, authority, limit,
    user_hash,
};
use crate::clock::Now;
use crate::config;
use crate::event::fields::Fields;
use crate::event::{Event, Kind};
use crate::outcome::{No, Refusal, Skip};
use encode::Encoder;

/// The bulk request: customers, events and devices, mixed.
pub const TRANSITION: Shape = Shape(0);

const SHAPES: &[ShapeInfo] = &[ShapeInfo {
    name: "transition",
    // "100 KB", and no word on whether that is 1000 or 1024: the smaller.
    max_bytes: 100_000,
    // No limit is published but the bytes; the smallest element has some 70 of them.
    max_calls: 10_000,
}];

/// The vendor's published limit of users and of events a minute.
const PER_MINUTE: u32 = 60_000;

/// One account at MoEngage.
#[derive(Debug)]
pub struct Moengage {
    workspace: String,
    data_center: String,
    path: String,
    forwarded_for: Option<HeaderValue>,
    budgets: Vec<Budget>,
    encoder: Encoder,
    fields: Option<Fields>,
}

impl Moengage {
    /// The account's API, from its settings.
    #[must_use]
    pub fn new(account: &config::Account, settings: &config::Moengage) -> Self {
        let mut path = format!("/v1/transition/{}", percent_encoded(&settings.workspace));
        if let Some(project) = &settings.project_code {
            path.push_str("?project_code=");
            path.push_str(&percent_encoded(project));
        }
        let forwarded: Vec<String> = settings.forwarded_for.iter().map(ToString::to_string).collect();
        let host = authority(account, &format!("api-{}.moengage.com", settings.data_center));
        let budget = |name, units| Budget {
            key: format!("{host} {} {name}", settings.workspace),
            name,
            limit: limit(account, name, PER_MINUTE),
            per: Per::Minute,
            charge: Charge::Units(units),
            shapes: vec![TRANSITION],
        };
        Self {
            budgets: vec![budget("users_per_minute", 0), budget("events_per_minute", 1)],
            workspace: settings.workspace.clone(),
            data_center: settings.data_center.clone(),
            path,
            forwarded_for: HeaderValue::try_from(forwarded.join(", ")).ok().filter(|value| !value.is_empty()),
            encoder: Encoder::new(account, settings),
            fields: Fields::new(&account.fields, false),
        }
    }
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

    fn budgets(&self) -> Vec<Budget> {
        self.budgets.clone()
    }

    fn frame(&self, _shape: Shape) -> (&[u8], &[u8]) {
        (b"{\"type\":\"transition\",\"elements\":[", b"]}")
    }

    fn plan(&self, event: &Event<'_>, _now: Now, calls: &mut Vec<Call>) -> Result<(), No> {
        let (state, units) = match event.kind {
            Kind::Identify | Kind::Group => (true, [1, 0]),
            Kind::Track | Kind::Page | Kind::Screen => (false, [0, 1]),
            Kind::Alias => return Err(Skip::Unsupported.into()),
        };
        let user = user_hash(&self.encoder.customer_id(event)?);
        calls.push(Call { units, ..Call::new(TRANSITION, user, state) });
        Ok(())
    }

    fn encode(&self, event: &Event<'_>, _call: &Call, now: Now, body: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut scratch = Vec::new();
        let seen = self.fields.as_ref().map(|fields| fields.apply(event, &mut scratch));
        let event = seen.as_ref().unwrap_or(event);
        match event.kind {
            Kind::Identify => self.encoder.identify(event, body),
            Kind::Group => self.encoder.group(event, body),
            _ => self.encoder.event(event, now, body),
        }
    }

    fn target(&self, _shape: Shape, key: &SecretString) -> Target {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let credentials = STANDARD.encode(format!("{}:{}", self.workspace, key.expose_secret()));
        if let Ok(mut value) = HeaderValue::try_from(format!("Basic {credentials}")) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(addresses) = &self.forwarded_for {
            headers.insert(HeaderName::from_static("x-forwarded-for"), addresses.clone());
        }
        Target { path: self.path.clone(), headers }
    }

    fn judge(&self, _shape: Shape, answer: &Answer<'_>, _elements: &dyn Elements, now: Now) -> Judgement {
        answer::judge(answer, now)
    }
}

/// As a part of a path or query: all but unreserved characters (RFC 3986) become `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
