//! Iterable's API: the two bulk endpoints and their single counterparts, authorisation, limits.
//!
//! Vendor's pages (read 2026-11): the API description at <https://api.iterable.com/api-docs> (`trackBulk` 10 requests a
//! second and project, `bulkUpdate` 5, `events/track` 2000, `users/update` 500; 4 MB for `bulkUpdate`). An account uses
//! either the bulk or the single endpoints, never both: the vendor works them off apart, so order would be lost. Purchases
//! and carts have single endpoints alone.

mod alias;
mod answer;
mod commerce;
mod culprits;
mod encode;
mod failures;
mod group;
mod identity;
mod limits;
mod raw;
mod tokens;

use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Answer, Budget, Call, Charge, Destination, Elements, Judgement, Per, Shape, ShapeInfo, Target, UserHash, authority,
    limit,
};
use crate::clock::Now;
use crate::config;
use crate::event::fields::Fields;
use crate::event::{Event, Kind};
use crate::json::Tape;
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
/// Changes of address in projects that know users by it: `users/updateEmail`.
pub const EMAILS: Shape = Shape(4);
/// Tokens of devices: `users/registerDeviceToken`.
pub const DEVICES: Shape = Shape(5);
/// Tokens of browsers: `users/registerBrowserToken`.
pub const BROWSERS: Shape = Shape(6);
/// Items of a catalogue: `catalogs/{name}/items`.
pub const ITEMS: Shape = Shape(7);

/// "4 MB" is published for `bulkUpdate` alone, no number of items for either; 1000 is what all integrators send.
const BULK: &[ShapeInfo] =
    &[shape("users/bulkUpdate", 1000), shape("events/trackBulk", 1000), PURCHASE, CART, EMAIL, DEVICE, BROWSER, ITEM];
const SINGLE: &[ShapeInfo] =
    &[shape("users/update", 1), shape("events/track", 1), PURCHASE, CART, EMAIL, DEVICE, BROWSER, ITEM];
const PURCHASE: ShapeInfo = shape("commerce/trackPurchase", 1);
const CART: ShapeInfo = shape("commerce/updateCart", 1);
const EMAIL: ShapeInfo = shape("users/updateEmail", 1);
const DEVICE: ShapeInfo = ShapeInfo { keys: REGISTRATION, ..shape("users/registerDeviceToken", 1) };
const BROWSER: ShapeInfo = ShapeInfo { keys: REGISTRATION, ..shape("users/registerBrowserToken", 1) };
/// 1000 items are published, and they are fields of one object, so none can stand there twice.
const ITEM: ShapeInfo = ShapeInfo { apart: true, own_lane: true, ..shape("catalogs/items", 1000) };
/// The vendor opens registrations to keys of applications, and not to a server's.
const REGISTRATION: &[&str] = &["registration_key"];

/// Requests a second to the endpoints of commerce together. The vendor publishes no figure: a choice, low enough for
/// the least of the figures that it has for single calls. The same for changes of address.
const COMMERCE: u32 = 100;
/// Published for devices' tokens; browsers' have no figure and draw on the same.
const TOKENS: u32 = 500;
/// Published for items of catalogues; counted by key, which comes to the same.
const CATALOGS: u32 = 100;

/// Each limit, requests a second: its setting, what is published in bulk and for single calls, and of which requests.
const LIMITS: [(&str, u32, u32, &[Shape]); 6] = [
    ("users", 5, 500, &[USERS]),
    ("events", 10, 2000, &[EVENTS]),
    ("commerce", COMMERCE, COMMERCE, &[PURCHASES, CARTS]),
    ("emails", COMMERCE, COMMERCE, &[EMAILS]),
    ("catalogs", CATALOGS, CATALOGS, &[ITEMS]),
    ("tokens", TOKENS, TOKENS, &[DEVICES, BROWSERS]),
];

const fn shape(name: &'static str, max_calls: usize) -> ShapeInfo {
    ShapeInfo { name, max_bytes: 3_900_000, max_calls, keys: &["keys"], apart: false, own_lane: false }
}

/// One account at Iterable.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Iterable {
    eu: bool,
    single: bool,
    rudder_cart: bool,
    /// Whether there is a key to register tokens with.
    registers: bool,
    /// What a body of users ends with.
    users_end: &'static [u8],
    /// Who shares the limits: host and project.
    group: String,
    /// In the order of [`LIMITS`].
    limits: [u32; LIMITS.len()],
    encoder: Encoder,
    fields: Option<Fields>,
}

impl Iterable {
    /// The account's API, from its settings; it knows users by these hashes.
    #[must_use]
    pub fn new(account: &config::Account, settings: &config::Iterable, users: &UserHash) -> Self {
        let host = authority(account, host(settings.eu));
        let project = settings.project.as_ref().unwrap_or(&account.name);
        Self {
            eu: settings.eu,
            single: settings.single,
            rudder_cart: settings.rudder_cart,
            users_end: match settings.create_new_fields {
                None => b"]}",
                Some(true) => b"],\"createNewFields\":true}",
                Some(false) => b"],\"createNewFields\":false}",
            },
            group: format!("{host} {project}"),
            limits: LIMITS
                .map(|(name, bulk, single, _)| limit(account, name, if settings.single { single } else { bulk })),
            encoder: Encoder::new(account, settings, users),
            fields: Fields::new(&account.fields, &config::needed(&account.vendor)),
            registers: settings.registration_key.is_some(),
        }
    }

    /// Writes the element of a message, as far as the account may see it.
    fn write(&self, event: &Event<'_>, shape: Shape, body: &mut Vec<u8>) -> Result<(), Refusal> {
        match &self.fields {
            None => self.element(event, shape, body),
            Some(fields) => {
                let mut scratch = Tape::default();
                let seen = fields.apply(event, &mut scratch);
                self.element(&seen, shape, body)
            }
        }
    }

    fn element(&self, event: &Event<'_>, shape: Shape, body: &mut Vec<u8>) -> Result<(), Refusal> {
        match (event.kind, shape) {
            (Kind::Group, _) => self.encoder.group(event, body),
            (Kind::Alias, _) => self.encoder.alias(event, body),
            (_, DEVICES) => self.encoder.device(event, body),
            (_, BROWSERS) => self.encoder.browser(event, body),
            (_, USERS) => self.encoder.user(event, body),
            (_, PURCHASES) => self.encoder.purchase(event, body),
            (_, CARTS) => self.encoder.cart(event, body),
            _ => self.encoder.event(event, body),
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

    fn region(&self) -> String {
        if self.eu { "eu" } else { "us" }.to_owned()
    }

    fn budgets(&self) -> Vec<Budget> {
        let budget = |((name, _, _, of), limit): ((&'static str, _, _, &[Shape]), u32)| {
            // Users and events go by bulk endpoints or by single ones, which have limits of their own.
            let class =
                if matches!(*of, [USERS | EVENTS]) { shapes(self.single)[usize::from(of[0].0)].name } else { name };
            let key = format!("{} {class}", self.group);
            Budget { key, name, limit, per: Per::Second, charge: Charge::Request, shapes: of.to_vec() }
        };
        LIMITS.into_iter().zip(self.limits).map(budget).collect()
    }

    fn frame(&self, shape: Shape) -> (&[u8], &[u8]) {
        match shape {
            USERS if !self.single => (b"{\"users\":[", self.users_end),
            EVENTS if !self.single => (b"{\"events\":[", b"]}"),
            ITEMS => (b"{\"documents\":{", b"},\"replaceUploadedFieldsOnly\":false}"),
            _ => (b"", b""),
        }
    }

    fn plan(&self, event: &Event<'_>, _now: Now, calls: &mut Vec<Call>) -> Result<(), No> {
        if let Some(form) = &event.raw {
            calls.push(self.encoder.plan_raw(event, form)?);
            return Ok(());
        }
        let (shape, state) = match event.kind {
            Kind::Identify | Kind::Group => (USERS, true),
            Kind::Page | Kind::Screen if !self.encoder.wants_page(event) => {
                return Err(No::Skipped(Skip::NotSelected, Some("iterable.pages")));
            }
            Kind::Page | Kind::Screen => (EVENTS, false),
            Kind::Track => match commerce::of(event, self.rudder_cart) {
                // Both change the user's cart, and the user.
                Some(Commerce::Purchase) => (PURCHASES, true),
                Some(Commerce::Cart) => (CARTS, true),
                None => (EVENTS, false),
            },
            Kind::Alias => {
                calls.push(self.encoder.plan_alias(event)?);
                return Ok(());
            }
        };
        // What is sent is what order goes by: two calls to one address are of one user, whatever ids brought them.
        let (user, name) = self.encoder.names(event, || match shape {
            EVENTS | PURCHASES => identity::email(event),
            CARTS => commerce::buyers_email(event),
            _ => identity::email_of_traits(event),
        })?;
        calls.push(Call::new(shape, user, state).known_as(name));
        if event.kind == Kind::Identify && self.registers {
            calls.extend(tokens::of(event).map(|shape| Call::new(shape, user, true).known_as(name)));
        }
        Ok(())
    }

    fn encode(&self, event: &Event<'_>, call: &Call, _now: Now, body: &mut Vec<u8>) -> Result<(), Refusal> {
        let start = body.len();
        if event.raw.is_some() {
            raw::write(event, call.shape, body);
        } else {
            self.write(event, call.shape, body)?;
        }
        // Of a bulk request's users all have the flag that ends the body.
        let in_bulk = call.shape == USERS && !self.single;
        let create = in_bulk.then(|| self.encoder.create_new_fields != Some(false));
        limits::check(body.get(start..).unwrap_or_default(), call.shape, create)
    }

    fn target(&self, shape: Shape, key: &SecretString) -> Target {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(mut value) = HeaderValue::try_from(key.expose_secret()) {
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("api-key"), value);
        }
        let name = self.shapes().get(usize::from(shape.0)).map_or("", |info| info.name);
        let path = match shape {
            ITEMS => format!("/api/catalogs/{}/items", Target::PART),
            _ => format!("/api/{name}"),
        };
        Target { path, headers }
    }

    fn judge(&self, shape: Shape, answer: &Answer<'_>, elements: &dyn Elements, now: Now) -> Judgement {
        let bulk = !self.single && matches!(shape, USERS | EVENTS);
        let batch = answer::Batch { events: shape == EVENTS, bulk, elements };
        answer::judge(answer, &batch, now)
    }
}
