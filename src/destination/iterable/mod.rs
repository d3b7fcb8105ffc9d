//! Iterable's API: the two bulk endpoints and their single counterparts, authorisation, limits.
//!
//! Vendor's pages (read 2026-11): the API description at <https://api.iterable.com/api-docs> (`trackBulk` 10 requests a
//! second and project, `bulkUpdate` 5, `events/track` 2000, `users/update` 500; 4 MB for `bulkUpdate`). An account uses
//! either the bulk or the single endpoints, never both: the vendor works them off apart, so order would be lost.

mod answer;
mod culprits;
mod encode;
mod failures;
mod group;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Answer, Budget, Call, Charge, Destination, Elements, Judgement, Per, Shape, ShapeInfo, Target, authority, limit,
};
use crate::clock::Now;
use crate::config;
use crate::event::fields::Fields;
use crate::event::{Event, Kind};
use crate::outcome::{No, Refusal, Skip};
use encode::Encoder;

/// Profiles: `users/bulkUpdate`, or `users/update`.
pub const USERS: Shape = Shape(0);
/// Events: `events/trackBulk`, or `events/track`.
pub const EVENTS: Shape = Shape(1);

/// "4 MB" is published for `bulkUpdate` alone, no number of items for either; 1000 is what all integrators send.
const BULK: &[ShapeInfo] = &[
    ShapeInfo { name: "users/bulkUpdate", max_bytes: 3_900_000, max_calls: 1000 },
    ShapeInfo { name: "events/trackBulk", max_bytes: 3_900_000, max_calls: 1000 },
];
const SINGLE: &[ShapeInfo] = &[
    ShapeInfo { name: "users/update", max_bytes: 3_900_000, max_calls: 1 },
    ShapeInfo { name: "events/track", max_bytes: 3_900_000, max_calls: 1 },
];

/// One account at Iterable.
#[derive(Debug)]
pub struct Iterable {
    eu: bool,
    single: bool,
    /// What a body of users ends with.
    users_end: &'static [u8],
    budgets: Vec<Budget>,
    encoder: Encoder,
    fields: Option<Fields>,
}

impl Iterable {
    /// The account's API, from its settings.
    #[must_use]
    pub fn new(account: &config::Account, settings: &config::Iterable) -> Self {
        let host = authority(account, host(settings.eu));
        let project = settings.project.as_ref().unwrap_or(&account.name);
        let budget = |name, shape: Shape, bulk, single| Budget {
            key: format!("{host} {project} {}", shapes(settings.single)[usize::from(shape.0)].name),
            name,
            limit: limit(account, name, if settings.single { single } else { bulk }),
            per: Per::Second,
            charge: Charge::Request,
            shapes: vec![shape],
        };
        Self {
            eu: settings.eu,
            single: settings.single,
            users_end: match settings.create_new_fields {
                None => b"]}",
                Some(true) => b"],\"createNewFields\":true}",
                Some(false) => b"],\"createNewFields\":false}",
            },
            budgets: vec![budget("users", USERS, 5, 500), budget("events", EVENTS, 10, 2000)],
            encoder: Encoder::new(account, settings),
            fields: Fields::new(&account.fields, true),
        }
    }
}

const fn host(eu: bool) -> &'static str {
    if eu { "api.eu.iterable.com" } else { "api.iterable.com" }
}

const fn shapes(single: bool) -> &'static [ShapeInfo] {
    if single { SINGLE } else { BULK }
}

impl Destination for Iterable {
    fn name(&self) -> &'static str {
        "iterable"
    }

    fn shapes(&self) -> &'static [ShapeInfo] {
        shapes(self.single)
    }

    fn origin(&self) -> String {
        format!("https://{}", host(self.eu))
    }

    fn budgets(&self) -> Vec<Budget> {
        self.budgets.clone()
    }

    fn frame(&self, shape: Shape) -> (&[u8], &[u8]) {
        if self.single {
            (b"", b"")
        } else if shape == USERS {
            (b"{\"users\":[", self.users_end)
        } else {
            (b"{\"events\":[", b"]}")
        }
    }

    fn plan(&self, event: &Event<'_>, _now: Now, calls: &mut Vec<Call>) -> Result<(), No> {
        let (shape, state) = match event.kind {
            Kind::Identify | Kind::Group => (USERS, true),
            Kind::Page | Kind::Screen if !self.encoder.wants_page(event) => return Err(Skip::NotSelected.into()),
            Kind::Track | Kind::Page | Kind::Screen => (EVENTS, false),
            Kind::Alias => return Err(Skip::Unsupported.into()),
        };
        let user = self.encoder.user_hash(event)?;
        calls.push(Call { shape, user, state, units: [0, 0] });
        Ok(())
    }

    fn encode(&self, event: &Event<'_>, _call: &Call, _now: Now, body: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut scratch = Vec::new();
        let seen = self.fields.as_ref().map(|fields| fields.apply(event, &mut scratch));
        let event = seen.as_ref().unwrap_or(event);
        match event.kind {
            Kind::Identify => self.encoder.user(event, body),
            Kind::Group => self.encoder.group(event, body),
            _ => self.encoder.event(event, body),
        }
    }

    fn target(&self, shape: Shape, key: &SecretString) -> Target {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(mut value) = HeaderValue::try_from(key.expose_secret()) {
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("api-key"), value);
        }
        let name = self.shapes().get(usize::from(shape.0)).map_or("", |info| info.name);
        Target { path: format!("/api/{name}"), headers }
    }

    fn judge(&self, shape: Shape, answer: &Answer<'_>, elements: &dyn Elements, now: Now) -> Judgement {
        let batch = answer::Batch { events: shape == EVENTS, bulk: !self.single, elements };
        answer::judge(answer, &batch, now)
    }
}
