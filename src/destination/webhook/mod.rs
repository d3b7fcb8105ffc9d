//! A webhook: any HTTPS endpoint, which gets the events as they came, in a JSON array, signed.
//!
//! No mapping: an element is the message byte by byte, but for what `[accounts.NAME.fields]` keeps back. Signed with all of
//! the account's keys, so that the receiver may change its own in between. The URL is a tenant's, so it is trusted little.

mod answer;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use secrecy::SecretString;

use super::{Answer, Budget, Call, Destination, Elements, Judgement, Reach, Shape, ShapeInfo, Sign, Target, UserHash};
use crate::clock::Now;
use crate::config::Key;
use crate::event::{Event, Kind, fields::Fields};
use crate::outcome::{No, Refusal};
pub use settings::FOLDER;

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

/// One account's endpoint. Without a limit of its own it has none.
#[derive(Debug)]
pub struct Webhook {
    origin: String,
    path: String,
    keys: Vec<Key>,
    budgets: Vec<Budget>,
    fields: Option<Fields>,
    users: UserHash,
}

impl Destination for Webhook {
    fn name(&self) -> &'static str {
        FOLDER.name
    }

    fn shapes(&self) -> &'static [ShapeInfo] {
        SHAPES
    }

    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn reach(&self) -> Reach {
        // A receiver has little to say.
        Reach { answer_cap: 64 * 1024, public_only: true }
    }

    fn budgets(&self) -> Vec<Budget> {
        self.budgets.clone()
    }

    fn frame(&self, _shape: Shape) -> (&[u8], &[u8]) {
        (b"[", b"]")
    }

    fn plan(&self, event: &Event<'_>, _now: Now, calls: &mut Vec<Call>) -> Result<(), No> {
        // A receiver may keep users, too: what changes one comes in its order, an alias in that of both.
        let state = matches!(event.kind, Kind::Identify | Kind::Alias | Kind::Group);
        let user = event.user().or_else(|| event.anonymous_id.clone()).unwrap_or_else(|| event.id());
        let before = event.previous_id.as_deref().filter(|_| event.kind == Kind::Alias);
        calls.push(Call::new(EVENTS, self.users.of(&user), state).with(before.map(|id| self.users.of(id))));
        Ok(())
    }

    fn encode(&self, event: &Event<'_>, _call: &Call, _now: Now, body: &mut Vec<u8>) -> Result<(), Refusal> {
        match &self.fields {
            Some(fields) => fields.rewrite(event, body),
            None => body.extend_from_slice(event.whole.get().as_bytes()),
        }
        Ok(())
    }

    fn target(&self, _shape: Shape, _key: &SecretString) -> Target {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Target { path: self.path.clone(), headers }
    }

    fn signer(&self, keys: &[SecretString]) -> Option<Arc<dyn Sign>> {
        Some(Arc::new(sign::Signer::new(keys)))
    }

    fn judge(&self, _shape: Shape, answer: &Answer<'_>, _elements: &dyn Elements, now: Now) -> Judgement {
        answer::judge(answer, now)
    }
}
