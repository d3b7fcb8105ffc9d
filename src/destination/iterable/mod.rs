//! Iterable's API: the two bulk endpoints and their single counterparts, authorisation, limits.
//!
//! Vendor's pages (read 2026-11): the API description at <https://api.iterable.com/api-docs> (`trackBulk` 10 requests a
//! second and project, `bulkUpdate` 5, `events/track` 2000, `users/update` 500; 4 MB for `bulkUpdate`). An account uses
//! either the bulk or the single endpoints, never both: the vendor works them off apart, so order would be lost. Purchases
//! and carts have single endpoints alone.

mod answer;
mod commerce;
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
use commerce::Commerce;
use encode::Encoder;

/// Profiles: `users/bulkUpdate`, or `users/update`.
pub const USERS: Shape = Shape(0);
/// Events: `events/trackBulk`, or `events/track`.
pub const EVENTS: Shape = Shape(1);

/// Purchases: `commerce/trackPurchase`.
pub const PURCHASES: Shape = Shape(2);
/// Carts: `commerce/updateCart`.
pub const CARTS: Shape = Shape(3);

/// "4 MB" is published for `bulkUpdate` alone, no number of items for either; 1000 is what all integrators send.
const BULK: &[ShapeInfo] =
    &[shape("users/bulkUpdate", 1000), shape("events/trackBulk", 1000), shape(PURCHASE, 1), shape(CART, 1)];
const SINGLE: &[ShapeInfo] = &[shape("users/update", 1), shape("events/track", 1), shape(PURCHASE, 1), shape(CART, 1)];
const PURCHASE: &str = "commerce/trackPurchase";
const CART: &str = "commerce/updateCart";

/// Requests a second to the endpoints of commerce together. The vendor publishes no figure: a choice, low enough for
/// the least of the figures that it has for single calls.
const COMMERCE: u32 = 100;

const fn shape(name: &'static str, max_calls: usize) -> ShapeInfo {
    ShapeInfo { name, max_bytes: 3_900_000, max_calls }
}

/// One account at Iterable.
#[derive(Debug)]
pub struct Iterable {
    eu: bool,
    single: bool,
    rudder_cart: bool,
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
        let budget = |name, group: &str, published, shapes: &[Shape]| Budget {
            key: format!("{host} {project} {group}"),
            name,
            limit: limit(account, name, published),
            per: Per::Second,
            charge: Charge::Request,
            shapes: shapes.to_vec(),
        };
        let of_shape = |name, shape: Shape, bulk, single| {
            let published = if settings.single { single } else { bulk };
            budget(name, shapes(settings.single)[usize::from(shape.0)].name, published, &[shape])
        };
        Self {
            eu: settings.eu,
            single: settings.single,
            rudder_cart: settings.rudder_cart,
            users_end: match settings.create_new_fields {
                None => b"]}",
                Some(true) => b"],\"createNewFields\":true}",
                Some(false) => b"],\"createNewFields\":false}",
            },
            budgets: vec![
                of_shape("users", USERS, 5, 500),
                of_shape("events", EVENTS, 10, 2000),
                budget("commerce", "commerce", COMMERCE, &[PURCHASES, CARTS]),
            ],
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
        match shape {
            USERS if !self.single => (b"{\"users\":[", self.users_end),
            EVENTS if !self.single => (b"{\"events\":[", b"]}"),
            _ => (b"", b""),
        }
    }

    fn plan(&self, event: &Event<'_>, _now: Now, calls: &mut Vec<Call>) -> Result<(), No> {
        let (shape, state) = match event.kind {
            Kind::Identify | Kind::Group => (USERS, true),
            Kind::Page | Kind::Screen if !self.encoder.wants_page(event) => return Err(Skip::NotSelected.into()),
            Kind::Page | Kind::Screen => (EVENTS, false),
            Kind::Track => match commerce::of(event, self.rudder_cart) {
                // Both change the user's cart, and the user.
                Some(Commerce::Purchase) => (PURCHASES, true),
                Some(Commerce::Cart) => (CARTS, true),
                None => (EVENTS, false),
            },
            Kind::Alias => return Err(Skip::Unsupported.into()),
        };
        let user = self.encoder.user_hash(event)?;
        calls.push(Call::new(shape, user, state));
        Ok(())
    }

    fn encode(&self, event: &Event<'_>, call: &Call, _now: Now, body: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut scratch = Vec::new();
        let seen = self.fields.as_ref().map(|fields| fields.apply(event, &mut scratch));
        let event = seen.as_ref().unwrap_or(event);
        match (event.kind, call.shape) {
            (Kind::Group, _) => self.encoder.group(event, body),
            (_, USERS) => self.encoder.user(event, body),
            (_, PURCHASES) => self.encoder.purchase(event, body),
            (_, CARTS) => self.encoder.cart(event, body),
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
        let bulk = !self.single && matches!(shape, USERS | EVENTS);
        let batch = answer::Batch { events: shape == EVENTS, bulk, elements };
        answer::judge(answer, &batch, now)
    }
}
