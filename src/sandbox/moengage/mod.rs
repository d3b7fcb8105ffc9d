//! MoEngage's data API: `/v1/transition`, `/v1/customer/merge`, `/v1/integrations/authentication`; and what its other
//! keys open: business events, alerts of Inform, catalogues ([`campaign`]). All else is 404.
//!
//! The door (path, method, credentials, data centre, address list), then the request (media type, size, JSON, fixed minutes), then
//! the elements ([`rules`]). Bodies and codes are the vendor's pages', read 2026-11; what a wrong data centre answers stands
//! nowhere: here it is a workspace that does not exist.

mod campaign;
mod rules;
mod transition;

use std::collections::HashMap;

use base64::Engine;
use http::Method;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::json;

use super::accounts::{KeyKind, MoengageThrottle, Workspace};
use super::limits::{FairUse, Minute, seconds_to_minute};
use super::reply::Reply;
use super::server::length;
use super::value::{Object, Value, parse};
use super::world::{Call, Desk, Turned, World};
use crate::clock::Now;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Transition,
    Merge,
    Authentication,
    Business,
    Alert,
    Catalog,
}

/// What a workspace has used, and of whom it has heard too often.
#[derive(Debug)]
pub(super) struct State {
    users: Minute,
    events: Minute,
    merges: Minute,
    business_hour: Minute,
    business_day: Minute,
    alerts: Minute,
    catalog: Minute,
    catalog_hour: Minute,
    /// When which transaction of an alert was taken.
    transactions: HashMap<u64, i64, foldhash::fast::RandomState>,
    fair: FairUse,
    /// Of the request at hand: whether it was refused for its users, or for its events.
    users_refused: Option<bool>,
}

/// A refusal in the data API's envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: u16,
    kind: &'static str,
    attribute: Option<&'static str>,
    message: &'static str,
}

const AUTHENTICATION: &str = "Authentication required";
/// "KB" is not defined anywhere; the smaller reading.
const TRANSITION_BYTES: usize = 100_000;
const OTHER_BYTES: usize = 128_000;
/// "5 MB"; the smaller reading, again.
const CATALOG_BYTES: usize = 5_000_000;
const MERGE_PAIRS: usize = 50;

/// The name in `/v1/catalog/{name}/items`.
fn catalog(path: &str) -> Option<&str> {
    let name = path.trim_end_matches('/').strip_prefix("/v1/catalog/")?.strip_suffix("/items")?;
    (!name.is_empty() && !name.contains('/') && !matches!(name, "." | "..")).then_some(name)
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Transition => "transition",
            Self::Merge => "customer/merge",
            Self::Authentication => "integrations/authentication",
            Self::Business => "business_event/trigger",
            Self::Alert => "alerts/send",
            Self::Catalog => "catalog/items",
        }
    }

    const fn most_bytes(self) -> usize {
        match self {
            Self::Transition => TRANSITION_BYTES,
            Self::Catalog => CATALOG_BYTES,
            _ => OTHER_BYTES,
        }
    }

    /// Whether a key of this kind opens it.
    const fn is_open_to(self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::Data => matches!(self, Self::Transition | Self::Merge | Self::Authentication),
            KeyKind::Campaign => matches!(self, Self::Business | Self::Catalog),
            KeyKind::Inform => matches!(self, Self::Alert),
            KeyKind::Any | KeyKind::Server | KeyKind::Client => true,
        }
    }

    /// The endpoint of a path, and the workspace in it.
    fn of(path: &str) -> Option<(Self, Option<&str>)> {
        match path.trim_end_matches('/') {
            "/v1/transition" => Some((Self::Transition, None)),
            "/v1/customer/merge" => Some((Self::Merge, None)),
            "/v1/integrations/authentication" => Some((Self::Authentication, None)),
            "/v1.0/business_event/trigger" => Some((Self::Business, None)),
            "/v1.0/alerts/send" => Some((Self::Alert, None)),
            other if catalog(other).is_some() => Some((Self::Catalog, None)),
            other => {
                let workspace = other.strip_prefix("/v1/transition/").filter(|it| !it.contains('/'))?;
                Some((Self::Transition, Some(workspace)))
            }
        }
    }
}

// === impl Refusal ===

impl Refusal {
    const fn new(status: u16, kind: &'static str, message: &'static str) -> Self {
        Self { status, kind, attribute: None, message }
    }

    const fn field(kind: &'static str, attribute: &'static str, message: &'static str) -> Self {
        Self { status: 400, kind, attribute: Some(attribute), message }
    }

    fn reply(self, request_id: &str) -> Reply {
        let mut error = json!({ "message": self.message, "type": self.kind, "request_id": request_id });
        if let Some(attribute) = self.attribute {
            error["attribute"] = attribute.into();
        }
        Reply::json(self.status, &json!({ "status": "fail", "error": error }))
    }
}

// === impl State ===

impl State {
    pub(super) fn new(workspace: &Workspace) -> Self {
        Self {
            users: Minute::new(workspace.users_per_minute),
            events: Minute::new(workspace.events_per_minute),
            merges: Minute::new(workspace.merges_per_minute),
            business_hour: Minute::many(workspace.business_events_per_hour, 60),
            business_day: Minute::many(workspace.business_events_per_day, 24 * 60),
            alerts: Minute::new(workspace.alerts_per_minute),
            catalog: Minute::new(workspace.catalog_per_minute),
            catalog_hour: Minute::many(workspace.catalog_per_hour, 60),
            transactions: HashMap::default(),
            fair: FairUse::default(),
            users_refused: None,
        }
    }

    /// The reply with the headers of the limit that refused it, or else of whichever is nearer to its end.
    fn measured(&mut self, workspace: &Workspace, endpoint: Endpoint, reply: Reply, now: Now) -> Reply {
        if matches!(endpoint, Endpoint::Business | Endpoint::Alert | Endpoint::Catalog) {
            // Their pages show no such headers.
            return reply;
        }
        let throttled = reply.status == 429;
        for minute in [&mut self.users, &mut self.events, &mut self.merges] {
            minute.turn(now.wall_ms);
        }
        let users_bind = self.users_refused.take().unwrap_or_else(|| self.users_are_nearer());
        let minute = match endpoint {
            Endpoint::Merge => &self.merges,
            _ if users_bind => &self.users,
            _ => &self.events,
        };
        // A gateway that refuses says that nothing is left, even if a smaller request would have passed.
        let left = if throttled { 0 } else { minute.left() };
        let (limit, reset) = (minute.limit(), seconds_to_minute(now.wall_ms));
        if limit == 0 || endpoint == Endpoint::Authentication {
            return reply;
        }
        let limit = match workspace.throttle {
            MoengageThrottle::Envoy => format!("{limit}, {limit};w=60"),
            MoengageThrottle::Delta | MoengageThrottle::Epoch => limit.to_string(),
        };
        let reset = match workspace.throttle {
            MoengageThrottle::Epoch => now.wall_ms.div_euclid(1000) + reset,
            MoengageThrottle::Delta | MoengageThrottle::Envoy => reset,
        };
        reply
            .with("x-ratelimit-limit", &limit)
            .with("x-ratelimit-remaining", &left.to_string())
            .with("x-ratelimit-reset", &reset.to_string())
    }

    fn users_are_nearer(&self) -> bool {
        let (users, events) = (&self.users, &self.events);
        events.limit() == 0
            || users.limit() > 0
                && users.left().saturating_mul(events.limit()) < events.left().saturating_mul(users.limit())
    }
}

/// Lets a request in, or says why not.
pub(super) fn admit(world: &World, call: &Call<'_>) -> Result<(usize, Endpoint), Turned> {
    let id = world.request_id();
    let stranger = |refusal: Refusal| Turned { account: None, reply: refusal.reply(&id) };
    let Some((endpoint, in_path)) = Endpoint::of(call.path) else {
        return Err(stranger(Refusal::new(404, "Not Found", "The requested resource could not be found")));
    };
    if call.method != Method::POST {
        return Err(stranger(Refusal::new(405, "Method Not Allowed", "The method is not allowed for the resource")));
    }
    let unknown = |message| stranger(Refusal::new(401, AUTHENTICATION, message));
    let header = call.headers.get(AUTHORIZATION).ok_or_else(|| unknown("Authorization header is required"))?;
    let (user, secret) = header
        .to_str()
        .ok()
        .and_then(basic)
        .ok_or_else(|| unknown("Authorization header has no or invalid identity information"))?;
    let (account, workspace) = world
        .workspace(&user)
        .filter(|(_, workspace)| workspace.data_center == call.region)
        .ok_or_else(|| unknown("Invalid APP_ID used"))?;
    let turned = |refusal: Refusal| Turned { account: Some(account), reply: refusal.reply(&id) };
    if !world.opens(&secret, account) {
        let message = "App Secret key mismatch. Please log in to the dashboard to verify key details.";
        return Err(turned(Refusal::new(401, AUTHENTICATION, message)));
    }
    if !world.kinds(&secret, account).into_iter().any(|kind| endpoint.is_open_to(kind)) {
        return Err(turned(Refusal::new(403, "Forbidden", "The key has no access to this API")));
    }
    in_order(workspace, endpoint, in_path, call).map_err(turned)?;
    if !allowed(workspace, call) {
        let body =
            json!({ "error": "IP Validation Required", "message": "IP Validation Failed. Please check your IP!!" });
        return Err(Turned { account: Some(account), reply: Reply::json(403, &body) });
    }
    Ok((account, endpoint))
}

/// Whether all places that name the workspace name the same.
fn in_order(workspace: &Workspace, endpoint: Endpoint, in_path: Option<&str>, call: &Call<'_>) -> Result<(), Refusal> {
    let app_key = call.headers.get("moe-appkey").map(|value| value.to_str().unwrap_or_default());
    if app_key.is_some_and(|key| key != workspace.workspace) {
        let message = "MOE_APPKEY doesn't match the Username (APP_KEY) in Authorization header";
        return Err(Refusal::new(401, AUTHENTICATION, message));
    }
    if endpoint == Endpoint::Business {
        return Ok(());
    }
    if matches!(endpoint, Endpoint::Authentication | Endpoint::Alert | Endpoint::Catalog) {
        return app_key.map(|_| ()).ok_or(Refusal::new(
            401,
            AUTHENTICATION,
            "APP_KEY is missing in the request headers",
        ));
    }
    let mut query = call.query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let named = in_path.or_else(|| query.find(|(name, _)| *name == "app_id").map(|(_, value)| value));
    match named {
        None | Some("") => Err(Refusal::new(400, "ParamsRequired", "app_id is required in path/query params")),
        Some(named) if named != workspace.workspace => {
            Err(Refusal::new(409, "Authentication Mismatch", "App key mismatch in params and authentication"))
        }
        Some(_) => Ok(()),
    }
}

fn allowed(workspace: &Workspace, call: &Call<'_>) -> bool {
    let forwarded = call.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let origin = forwarded.split(',').next().and_then(|first| first.trim().parse().ok());
    workspace.allowed_ips.is_empty() || origin.is_some_and(|origin| workspace.allowed_ips.contains(&origin))
}

/// User and password of a Basic authorization.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, secret) = text.split_once(':')?;
    (scheme.eq_ignore_ascii_case("basic") && !user.is_empty()).then(|| (user.to_owned(), secret.to_owned()))
}

/// Judges an admitted request, and takes its elements if it is good.
pub(super) fn take(
    workspace: &Workspace,
    state: &mut State,
    desk: &mut Desk<'_>,
    endpoint: Endpoint,
    call: &Call<'_>,
    body: &[u8],
) -> Reply {
    let reply = match document(endpoint, call, body) {
        Err(refusal) => refusal.reply(&desk.request_id),
        Ok(Value::Object(root)) => match endpoint {
            Endpoint::Transition => transition::take(workspace, state, desk, &root),
            Endpoint::Merge => merge(workspace, state, desk, &root),
            Endpoint::Authentication => authentication(workspace, desk, call, &root),
            Endpoint::Business => campaign::business(workspace, state, desk, &root),
            Endpoint::Alert => campaign::alert(workspace, state, desk, &root),
            Endpoint::Catalog => campaign::items(workspace, state, desk, catalog(call.path).unwrap_or_default(), &root),
        },
        Ok(_) => {
            Refusal::new(400, "Body type is not JSON", "A valid JSON document is required").reply(&desk.request_id)
        }
    };
    state.measured(workspace, endpoint, reply, desk.now)
}

/// Media type, length and JSON of a request.
fn document<'a>(endpoint: Endpoint, call: &Call<'_>, body: &'a [u8]) -> Result<Value<'a>, Refusal> {
    let Some(media) = call.headers.get(CONTENT_TYPE) else {
        return Err(Refusal::new(400, "Missing header value", "Content-Type Header is required"));
    };
    if !is_json(media) || call.headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::new(415, "Unsupported Media Type", "Content-Type should be application/json"));
    }
    if body.is_empty() {
        return Err(Refusal::new(400, "Empty request body", "A valid JSON document is required"));
    }
    if length(call.headers).is_none() {
        return Err(Refusal::new(411, "Length Required", "Content-Length Header is required"));
    }
    if body.len() > endpoint.most_bytes() {
        return Err(Refusal::new(413, "Payload too large", "Payload size cannot exceed 128KB"));
    }
    parse(body).map_err(|_| {
        let message = "Could not decode the request body. The JSON was incorrect or not encoded as UTF-8.";
        Refusal::new(400, "Malformed JSON", message)
    })
}

/// Whether a `Content-Type` is `application/json`, with or without parameters.
pub(super) fn is_json(media: &http::HeaderValue) -> bool {
    let media = media.to_str().unwrap_or_default();
    media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The answer to a request that some fault refuses.
pub(super) fn refusal(workspace: &Workspace, state: &mut State, status: u16, now: Now, request_id: &str) -> Reply {
    let (kind, message) = match status {
        400 => ("AttributeError", "The request has an invalid attribute"),
        401 => (AUTHENTICATION, "App Secret key mismatch. Please log in to the dashboard to verify key details."),
        403 => ("Account Suspended", "Account is suspended. Please contact the MoEngage support team."),
        404 => ("Not Found", "The requested resource could not be found"),
        409 => ("Authentication Mismatch", "App key mismatch in params and authentication"),
        413 => ("Payload too large", "Payload size cannot exceed 128KB"),
        429 => return state.measured(workspace, Endpoint::Transition, throttled(workspace, request_id), now),
        500.. => ("ServerError", "An unexpected error occurred while processing the request"),
        _ => ("Error", "The request was refused"),
    };
    let reply = Refusal::new(status, kind, message).reply(request_id);
    state.measured(workspace, Endpoint::Transition, reply, now)
}

/// A 429 in the form of this workspace.
fn throttled(workspace: &Workspace, request_id: &str) -> Reply {
    if workspace.throttle == MoengageThrottle::Envoy {
        return Reply::text(429, "").with("x-envoy-ratelimited", "true");
    }
    let message = "Rate limits for customers exceeded. Please Try After Some Time";
    Refusal::new(429, "Rate Limits Exceeded", message).reply(request_id)
}

fn merge(workspace: &Workspace, state: &mut State, desk: &mut Desk<'_>, root: &Object<'_>) -> Reply {
    let Some(pairs) = root.get("merge_data").and_then(Value::array).filter(|pairs| !pairs.is_empty()) else {
        let refusal = Refusal::field("MissingAttributeError", "merge_data", "merge_data not found in the payload");
        return refusal.reply(&desk.request_id);
    };
    if pairs.len() > MERGE_PAIRS {
        let refusal = Refusal::field("ValueError", "merge_data", "merge_data cannot have more than 50 pairs");
        return refusal.reply(&desk.request_id);
    }
    if !state.merges.take(pairs.len() as u64, desk.now.wall_ms) {
        return throttled(workspace, &desk.request_id);
    }
    for pair in pairs {
        // A pair that fails is skipped, and the answer does not say so.
        let pair = pair.object();
        let side = |name| pair.and_then(|pair| pair.text(name)).filter(|id| rules::is_user(id));
        match (pair, side("merged_user"), side("retained_user")) {
            (Some(pair), Some(merged), Some(retained)) if merged != retained => {
                desk.book.accepted("merge", None, desk.recorder.keep());
                desk.recorder.element(desk.name, Endpoint::Merge.name(), pair, desk.now.wall_ms);
            }
            _ => desk.book.dropped("merge_pair"),
        }
    }
    Reply::json(200, &json!({ "status": "success", "operation": "created" }))
}

fn authentication(workspace: &Workspace, desk: &Desk<'_>, call: &Call<'_>, root: &Object<'_>) -> Reply {
    if let Some(missing) =
        ["app_id", "app_secret", "source", "region"].into_iter().find(|name| root.text(name).is_none())
    {
        return Refusal::field("MissingAttributeError", missing, "A required field is missing").reply(&desk.request_id);
    }
    let secret = call.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(basic);
    let same = secret.is_some_and(|(_, secret)| root.text("app_secret") == Some(&secret))
        && root.text("app_id") == Some(&workspace.workspace)
        && root.text("region") == Some(&workspace.data_center);
    if !same {
        let message = "App Secret key mismatch. Please log in to the dashboard to verify key details.";
        return Refusal::new(401, AUTHENTICATION, message).reply(&desk.request_id);
    }
    Reply::json(200, &json!({ "status": "success", "app_name": &**desk.name }))
}
