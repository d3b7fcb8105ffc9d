//! A webhook: any HTTPS endpoint, which gets the events as they came, in a JSON array, signed.
//!
//! No mapping: an element is the message byte by byte, but for what `[accounts.NAME.fields]` keeps back. Signed by the
//! rules of Standard Webhooks (<https://www.standardwebhooks.com>, read 2026-11) with all of the account's keys, so that
//! the receiver may change its own at any time between. The URL is a tenant's, so it is trusted little: see
//! [`Webhook::reach`].

mod answer;
mod sign;

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use secrecy::SecretString;

use super::{
    Answer, Budget, Call, Charge, Destination, Elements, Judgement, Per, Reach, Shape, ShapeInfo, Sign, Target,
    user_hash,
};
use crate::clock::Now;
use crate::config;
use crate::event::fields::Fields;
use crate::event::{Event, Kind};
use crate::outcome::{No, Refusal};
use sign::Signer;

/// All events together.
pub const EVENTS: Shape = Shape(0);

/// A million bytes is what nginx takes if nobody tells it otherwise (1 MiB); the number of events is a choice.
const SHAPES: &[ShapeInfo] = &[ShapeInfo {
    name: "events",
    max_bytes: 1_000_000,
    max_calls: 1_000,
    keys: &["keys"],
    apart: false,
    own_lane: false,
}];

/// A receiver has little to say.
const ANSWER_CAP: usize = 64 * 1024;

/// One account's endpoint.
#[derive(Debug)]
pub struct Webhook {
    origin: String,
    path: String,
    budgets: Vec<Budget>,
    fields: Option<Fields>,
}

impl Webhook {
    /// The endpoint, from the account's settings. Without a limit of its own it has none.
    #[must_use]
    pub fn new(account: &config::Account, settings: &config::Webhook) -> Self {
        let budget = |(name, limit): (&'static str, &u32)| Budget {
            key: account.name.clone(),
            name,
            limit: *limit,
            per: Per::Second,
            charge: Charge::Request,
            shapes: vec![EVENTS],
        };
        let limit = account.limits.get("requests_per_second").map(|limit| ("requests_per_second", limit));
        Self {
            origin: settings.origin.clone(),
            path: settings.path.clone(),
            budgets: limit.map(budget).into_iter().collect(),
            fields: Fields::new(&account.fields, &config::needed(&account.vendor)),
        }
    }
}

impl Destination for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn shapes(&self) -> &'static [ShapeInfo] {
        SHAPES
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn reach(&self) -> Reach {
        Reach { answer_cap: ANSWER_CAP, public_only: true }
    }

    fn budgets(&self) -> Vec<Budget> {
        self.budgets.clone()
    }

    fn frame(&self, _shape: Shape) -> (&[u8], &[u8]) {
        (b"[", b"]")
    }

    fn plan(&self, event: &Event<'_>, _now: Now, calls: &mut Vec<Call>) -> Result<(), No> {
        // A receiver may keep users, too: what changes one comes in its order.
        let state = matches!(event.kind, Kind::Identify | Kind::Alias | Kind::Group);
        let user = event.user().or_else(|| event.anonymous_id.clone());
        let user = user_hash(user.as_deref().unwrap_or(&event.id()));
        calls.push(Call::new(EVENTS, user, state));
        Ok(())
    }

    fn encode(&self, event: &Event<'_>, _call: &Call, _now: Now, body: &mut Vec<u8>) -> Result<(), Refusal> {
        match &self.fields {
            Some(fields) => fields.rewrite(event, body),
            None => body.extend_from_slice(event.whole.as_bytes()),
        }
        Ok(())
    }

    fn target(&self, _shape: Shape, _key: &SecretString) -> Target {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Target { path: self.path.clone(), headers }
    }

    fn signer(&self, keys: &[SecretString]) -> Option<Arc<dyn Sign>> {
        Some(Arc::new(Signer::new(keys)))
    }

    fn judge(&self, _shape: Shape, answer: &Answer<'_>, _elements: &dyn Elements, now: Now) -> Judgement {
        answer::judge(answer, now)
    }
}
