//! Iterable's API: the endpoints that Forebay writes to, and the three that probes of credentials read.
//!
//! The door (path, key, region, the key's rights), the token bucket of project and endpoint, then size, JSON types ([`schema`]),
//! identities ([`identity`]) and field types ([`fields`]). Bodies and codes are the vendor's description's, and what integrators
//! recorded; read 2026-11.

mod bulk;
mod fields;
mod identity;
mod schema;
mod single;

use std::collections::{HashMap, HashSet};

use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::{Value as Json, json};

use super::accounts::{Identity, IterableThrottle, KeyKind, Project, UnknownUsers};
use super::books::{Keep, fingerprint};
use super::limits::Bucket;
use super::moengage::is_json;
use super::reply::Reply;
use super::server::length;
use super::value::{Object, Value, parse};
use super::world::{Call, Desk, Turned, World};
use fields::Fields;
use identity::Who;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Endpoint {
    Track,
    TrackBulk,
    Update,
    BulkUpdate,
    UpdateEmail,
    DeviceToken,
    BrowserToken,
    Purchase,
    Cart,
    CatalogItems,
    Lists,
    Channels,
    Webhooks,
}

/// What a project holds.
#[derive(Debug)]
pub(super) struct State {
    buckets: HashMap<(Endpoint, u64), Bucket>,
    turn: usize,
    fields: Fields,
    known: HashSet<u64, foldhash::fast::RandomState>,
    users: HashMap<String, serde_json::Map<String, Json>>,
    /// Under which name of [`State::users`] somebody is kept.
    names: HashMap<String, String>,
}

/// "4 MB", of `bulkUpdate`; taken for all.
const MOST_BYTES: usize = 4_000_000;

// === impl Endpoint ===

impl Endpoint {
    /// All of them.
    pub(super) const ALL: [Self; 13] = [
        Self::Track,
        Self::TrackBulk,
        Self::Update,
        Self::BulkUpdate,
        Self::UpdateEmail,
        Self::DeviceToken,
        Self::BrowserToken,
        Self::Purchase,
        Self::Cart,
        Self::CatalogItems,
        Self::Lists,
        Self::Channels,
        Self::Webhooks,
    ];

    /// As reports and limits name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Track => "events/track",
            Self::TrackBulk => "events/trackBulk",
            Self::Update => "users/update",
            Self::BulkUpdate => "users/bulkUpdate",
            Self::UpdateEmail => "users/updateEmail",
            Self::DeviceToken => "users/registerDeviceToken",
            Self::BrowserToken => "users/registerBrowserToken",
            Self::Purchase => "commerce/trackPurchase",
            Self::Cart => "commerce/updateCart",
            Self::CatalogItems => "catalogs/items",
            Self::Lists => "lists",
            Self::Channels => "channels",
            Self::Webhooks => "webhooks",
        }
    }

    /// The endpoint of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.name() == name)
    }

    /// The endpoint of a path.
    fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/api/")?;
        if catalog(path).is_some() {
            return Some(Self::CatalogItems);
        }
        Self::named(rest).filter(|endpoint| *endpoint != Self::CatalogItems)
    }

    const fn is_probe(self) -> bool {
        matches!(self, Self::Lists | Self::Channels | Self::Webhooks)
    }

    /// Requests a second, as the vendor prints them; 0 where it prints none.
    const fn per_second(self) -> u32 {
        match self {
            Self::Track => 2000,
            Self::TrackBulk => 10,
            Self::Update | Self::DeviceToken => 500,
            Self::BulkUpdate => 5,
            Self::CatalogItems | Self::Lists | Self::Channels => 100,
            Self::UpdateEmail | Self::BrowserToken | Self::Purchase | Self::Cart | Self::Webhooks => 0,
        }
    }

    /// Whether a key of this kind may call it.
    const fn is_open_to(self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::Any | KeyKind::Data | KeyKind::Campaign | KeyKind::Inform => true,
            KeyKind::Server => !matches!(self, Self::DeviceToken | Self::BrowserToken),
            KeyKind::Client => {
                matches!(self, Self::Track | Self::Update | Self::UpdateEmail | Self::Purchase | Self::Cart)
                    || !Self::is_open_to(self, KeyKind::Server)
            }
        }
    }
}

/// The name in `/api/catalogs/{name}/items`.
fn catalog(path: &str) -> Option<&str> {
    path.strip_prefix("/api/catalogs/")?.strip_suffix("/items").filter(|name| !name.is_empty() && !name.contains('/'))
}

/// An answer in the usual envelope.
fn envelope(status: u16, code: &str, msg: &str, params: &Json) -> Reply {
    Reply::json(status, &json!({ "msg": msg, "code": code, "params": params }))
}

fn key<'a>(call: &Call<'a>) -> Option<&'a str> {
    // `Api_Key` is documented beside `Api-Key`.
    let header = call.headers.get("api-key").or_else(|| call.headers.get("api_key"))?;
    header.to_str().ok()
}

/// Lets a request in, or says why not.
pub(super) fn admit(world: &World, call: &Call<'_>) -> Result<(usize, Endpoint), Turned> {
    let found = Endpoint::of(call.path).filter(|endpoint| {
        let method = if endpoint.is_probe() { Method::GET } else { Method::POST };
        call.method == method
    });
    let Some(endpoint) = found else {
        return Err(Turned { account: None, reply: envelope(404, "NotFound", "Not found", &Json::Null) });
    };
    let project = key(call).and_then(|key| world.project(key));
    let Some((account, project, kind)) = project else {
        return Err(Turned { account: None, reply: bad_key(call, "Invalid API key") });
    };
    if project.region.to_string() != call.region {
        return Err(Turned { account: Some(account), reply: bad_key(call, "Invalid API key") });
    }
    if !endpoint.is_open_to(kind) {
        let reply = bad_key(call, "Disabled API key or insufficient privileges");
        return Err(Turned { account: Some(account), reply });
    }
    Ok((account, endpoint))
}

fn bad_key(call: &Call<'_>, msg: &str) -> Reply {
    let mut params = json!({ "ip": call.peer.to_string(), "endpoint": call.path });
    if msg.starts_with("Disabled") {
        // The vendor shows eight characters of the key; here they are of its checksum.
        let mark = crc32fast::hash(key(call).unwrap_or_default().as_bytes());
        params["apiKeyIdentifier"] = format!("{mark:08x}").into();
        params["apiKeyType"] = "ServerSide".into();
    }
    envelope(401, "BadApiKey", msg, &params)
}

/// Judges an admitted request, and takes its elements if it is good.
pub(super) fn take(
    project: &Project,
    state: &mut State,
    desk: &mut Desk<'_>,
    endpoint: Endpoint,
    call: &Call<'_>,
    body: &[u8],
) -> Reply {
    if let Err(wait) = state.token(project, endpoint, call, desk.now.mono) {
        return throttled(project, state, endpoint, call, wait);
    }
    match endpoint {
        Endpoint::Lists => return Reply::json(200, &json!({ "lists": [] })),
        Endpoint::Channels => return Reply::json(200, &json!({ "channels": [] })),
        Endpoint::Webhooks => return Reply::json(200, &json!({ "webhooks": [] })),
        _ => {}
    }
    let value = match document(call, body) {
        Ok(value) => value,
        Err(reply) => return reply,
    };
    if let Some(reply) = schema::mistakes(endpoint, call.path, &value) {
        return reply;
    }
    // The schema wants an object at the top.
    let empty = Object::default();
    let root = value.object().unwrap_or(&empty);
    match endpoint {
        Endpoint::TrackBulk => bulk::track(project, state, desk, root),
        Endpoint::BulkUpdate => bulk::update(project, state, desk, root),
        Endpoint::Track => single::track(project, state, desk, root),
        Endpoint::Update => single::update(project, state, desk, root),
        Endpoint::UpdateEmail => single::update_email(project, state, desk, root),
        Endpoint::CatalogItems => single::catalog_items(project, desk, catalog(call.path).unwrap_or_default(), root),
        other => single::other(project, state, desk, other, root),
    }
}

/// Media type, length, size and JSON of a request.
fn document<'a>(call: &Call<'_>, body: &'a [u8]) -> Result<Value<'a>, Reply> {
    let media = call.headers.get(CONTENT_TYPE);
    if !media.is_some_and(is_json) || call.headers.contains_key(CONTENT_ENCODING) {
        let msg = "Expecting text/json or application/json body";
        return Err(envelope(415, "BadJsonBody", msg, &Json::Null));
    }
    if length(call.headers).is_none() {
        return Err(Reply::text(411, "Length Required"));
    }
    if body.len() > MOST_BYTES {
        // The framework's own page, not the vendor's envelope.
        return Err(Reply::text(413, "Request Entity Too Large"));
    }
    let bad = || envelope(400, "BadJsonBody", &format!("[{}] Invalid JSON body", call.path), &json!({}));
    parse(body).map_err(|_| bad())
}

/// A 429 in the form of this project.
fn throttled(project: &Project, state: &mut State, endpoint: Endpoint, call: &Call<'_>, wait: u64) -> Reply {
    let form = match project.throttle {
        IterableThrottle::Rotate => {
            state.turn += 1;
            [IterableThrottle::Params, IterableThrottle::Message, IterableThrottle::Text][(state.turn - 1) % 3]
        }
        form => form,
    };
    let msg = format!("Exceeded rate limit for endpoint: {}, project: {} ", call.path, project.project);
    match form {
        IterableThrottle::Text => Reply::text(429, "Rate limit exceeded. Please try again later."),
        IterableThrottle::Message => envelope(429, "RateLimitExceeded", &msg, &json!({})),
        IterableThrottle::Params | IterableThrottle::Rotate => {
            let bucket = state.bucket(project, endpoint, call);
            let (limit, left) = (bucket.limit(), bucket.left());
            let params = json!({ "rateLimitLimit": limit, "rateLimitRemaining": left, "rateLimitReset": wait });
            envelope(429, "RateLimitExceeded", &msg, &params)
        }
    }
}

/// The answer to a request that some fault refuses.
pub(super) fn refusal(project: &Project, state: &mut State, call: &Call<'_>, status: u16) -> Reply {
    let (code, msg) = match status {
        401 => return bad_key(call, "Disabled API key or insufficient privileges"),
        429 => return throttled(project, state, Endpoint::of(call.path).unwrap_or(Endpoint::Track), call, 1),
        413 => return Reply::text(413, "Request Entity Too Large"),
        400 => ("BadParams", "The request has invalid parameters"),
        403 => ("Forbidden", "Forbidden"),
        404 => ("NotFound", "Not found"),
        409 => ("Conflict", "Conflict"),
        500.. => ("GenericError", "An error occurred. Please try again later"),
        _ => ("BadParams", "The request was refused"),
    };
    envelope(status, code, msg, &Json::Null)
}

// === impl State ===

impl State {
    pub(super) fn new(project: &Project) -> Self {
        Self {
            buckets: HashMap::new(),
            turn: 0,
            fields: Fields::new(project.field_types),
            known: HashSet::default(),
            users: HashMap::new(),
            names: HashMap::new(),
        }
    }

    fn bucket(&mut self, project: &Project, endpoint: Endpoint, call: &Call<'_>) -> &mut Bucket {
        // The catalogue's limit is counted by key, all others by project.
        let owner = if endpoint == Endpoint::CatalogItems { fingerprint(key(call).unwrap_or_default()) } else { 0 };
        let limit = project.requests_per_second.get(endpoint.name()).copied();
        self.buckets
            .entry((endpoint, owner))
            .or_insert_with(|| Bucket::new(limit.unwrap_or_else(|| endpoint.per_second())))
    }

    fn token(
        &mut self,
        project: &Project,
        endpoint: Endpoint,
        call: &Call<'_>,
        mono: std::time::Duration,
    ) -> Result<(), u64> {
        self.bucket(project, endpoint, call).take(mono)
    }

    /// Whether a `users/*` call has made this user, as far as the project's settings make it matter.
    fn knows(&self, who: &Who<'_>) -> bool {
        self.known.contains(&fingerprint(who.text()))
    }

    /// Makes or changes a user.
    fn remember(&mut self, project: &Project, desk: &Desk<'_>, user: &Object<'_>) {
        let email = user.text("email").map(str::to_lowercase);
        let id = user.text("userId");
        if project.unknown_users == UnknownUsers::Refuse || project.identity == Identity::Email {
            self.known.extend(email.iter().map(String::as_str).chain(id).map(fingerprint));
        }
        if desk.recorder.keep() != Keep::Elements {
            return;
        }
        let known = email.iter().map(String::as_str).chain(id).find_map(|name| self.names.get(name).cloned());
        let Some(name) = known.or_else(|| id.map(str::to_owned)).or_else(|| email.clone()) else { return };
        for alias in email.into_iter().chain(id.map(str::to_owned)) {
            self.names.insert(alias, name.clone());
        }
        let nested = user.get("mergeNestedObjects").and_then(Value::boolean).unwrap_or(false);
        let last = self.users.entry(name).or_default();
        for (field, value) in user.get("dataFields").and_then(Value::object).into_iter().flat_map(Object::iter) {
            match (last.get_mut(field), value.owned()) {
                (Some(Json::Object(old)), Json::Object(new)) if nested => old.extend(new),
                (_, new) => {
                    last.insert(field.to_owned(), new);
                }
            }
        }
    }

    /// A user's new e-mail.
    fn rename(&mut self, old: &str, new: &str) {
        self.known.insert(fingerprint(new));
        if let Some(name) = self.names.get(old).cloned() {
            if old.contains('@') {
                self.names.remove(old);
                self.known.remove(&fingerprint(old));
            }
            self.names.insert(new.to_owned(), name);
        }
    }

    /// The last state of a user, by e-mail or user id.
    pub(super) fn user(&self, identity: &str) -> Option<Json> {
        let lowered = identity.to_lowercase();
        let name = self.names.get(identity).or_else(|| self.names.get(&lowered))?;
        self.users.get(name).map(|fields| Json::Object(fields.clone()))
    }
}
