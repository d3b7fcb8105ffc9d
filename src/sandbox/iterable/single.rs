//! The single calls: one element a request, and a status that means it, except for events that the project does not allow.

use serde_json::{Value as Json, json};

use super::bulk::refused;
use super::fields::{Findings, Of};
use super::identity::{self, Failed, Purpose, Who};
use super::{Endpoint, State, envelope};
use crate::sandbox::accounts::{Project, UnknownUsers};
use crate::sandbox::books::fingerprint;
use crate::sandbox::faults::Listed;
use crate::sandbox::reply::Reply;
use crate::sandbox::value::{Object, Value};
use crate::sandbox::world::Desk;

const MOST_ITEMS: usize = 1000;
const MOST_ITEM_BYTES: usize = 30_000;

/// `events/track`
pub(super) fn track(project: &Project, state: &mut State, desk: &mut Desk<'_>, event: &Object<'_>) -> Reply {
    if event.text("id").is_some_and(|id| !identity::is_event_id(id)) {
        return envelope(400, "BadParams", "Event id must be letters, digits and hyphens", &Json::Null);
    }
    let name = event.text("eventName").unwrap_or_default();
    if let Err(reply) = somebody(project, state, desk, event, Purpose::Event) {
        return reply;
    }
    if project.disallowed_events.iter().any(|it| it == name) {
        // 200, and yet dropped.
        desk.book.dropped("disallowed");
        return success(&format!("Event {name} is disallowed from tracking"), &Json::Null);
    }
    let create = event.get("createNewFields").and_then(Value::boolean).unwrap_or(project.create_new_fields);
    if let Some(reply) = learn(project, state, Of::Event(name), event, create) {
        return reply;
    }
    take(desk, Endpoint::Track, "event", event.text("id"), event);
    let id = event.text("id").unwrap_or(&desk.request_id);
    success(&format!("Event with id: {id} tracked."), &json!({ "id": id }))
}

/// `users/update`
pub(super) fn update(project: &Project, state: &mut State, desk: &mut Desk<'_>, user: &Object<'_>) -> Reply {
    if let Err(reply) = somebody(project, state, desk, user, Purpose::Profile) {
        return reply;
    }
    let create = user.get("createNewFields").and_then(Value::boolean).unwrap_or(project.create_new_fields);
    if let Some(reply) = learn(project, state, Of::Profile, user, create) {
        return reply;
    }
    take(desk, Endpoint::Update, "user", super::bulk::profile_id(user), user);
    state.remember(project, desk, user);
    success("User updated.", &Json::Null)
}

/// `users/updateEmail`
pub(super) fn update_email(project: &Project, state: &mut State, desk: &mut Desk<'_>, root: &Object<'_>) -> Reply {
    let new = root.text("newEmail").unwrap_or_default().to_lowercase();
    let Some(old) = root.text("currentEmail").or_else(|| root.text("currentUserId")) else {
        return envelope(400, "BadParams", "currentEmail or currentUserId is required", &Json::Null);
    };
    if !identity::is_email(&new) {
        return envelope(400, "InvalidEmailAddressError", &format!("Invalid email: {new}"), &Json::Null);
    }
    if project.forgotten.contains(&new) {
        return envelope(400, "ForgottenUserError", "The user is forgotten", &Json::Null);
    }
    if state.known.contains(&fingerprint(&new)) {
        return envelope(400, "EmailAlreadyExists", &format!("Email already exists: {new}"), &Json::Null);
    }
    let old = if root.text("currentEmail").is_some() { old.to_lowercase() } else { old.to_owned() };
    if project.unknown_users == UnknownUsers::Refuse && !state.known.contains(&fingerprint(&old)) {
        return envelope(400, "UnknownEmailError", &format!("Email does not exist: {old}"), &Json::Null);
    }
    state.rename(&old, &new);
    take(desk, Endpoint::UpdateEmail, "email", None, root);
    success("Email updated.", &Json::Null)
}

/// `users/register*Token` and `commerce/*`
pub(super) fn other(
    project: &Project,
    state: &mut State,
    desk: &mut Desk<'_>,
    endpoint: Endpoint,
    root: &Object<'_>,
) -> Reply {
    let user = root.get("user").and_then(Value::object).unwrap_or(root);
    if let Err(reply) = somebody(project, state, desk, user, Purpose::Profile) {
        return reply;
    }
    let kind = match endpoint {
        Endpoint::Purchase => "purchase",
        Endpoint::Cart => "cart",
        _ => "token",
    };
    let id = root.text("id").filter(|_| endpoint == Endpoint::Purchase);
    if id.is_some_and(|id| id.len() > 512) {
        return envelope(400, "BadParams", "The id is longer than 512 bytes", &Json::Null);
    }
    if let Some(device) = root.get("device").and_then(Value::object)
        && !device.text("platform").is_some_and(|platform| ["APNS", "APNS_SANDBOX", "GCM"].contains(&platform))
    {
        return envelope(400, "BadParams", "device.platform must be APNS, APNS_SANDBOX or GCM", &Json::Null);
    }
    take(desk, endpoint, kind, id, root);
    state.remember(project, desk, user);
    success("Success", &Json::Null)
}

/// `catalogs/{name}/items`
pub(super) fn catalog_items(project: &Project, desk: &mut Desk<'_>, catalog: &str, root: &Object<'_>) -> Reply {
    if project.catalogs.as_ref().is_some_and(|catalogs| !catalogs.iter().any(|name| name == catalog)) {
        let message = format!("Catalog not found: {catalog}");
        let code = "error.catalogs.notFound";
        let body = json!({ "error": "NotFound", "message": message, "code": code, "data": { "args": [catalog] } });
        return Reply::json(404, &body);
    }
    let empty = Object::default();
    let documents = root.get("documents").and_then(Value::object).unwrap_or(&empty);
    if documents.len() > MOST_ITEMS {
        return envelope(400, "BatchTooLarge", "A request can have 1000 items", &Json::Null);
    }
    let is_id = |id: &str| id.len() <= 255 && identity::is_event_id(id);
    let bad = documents.iter().find(|(id, item)| {
        let fields = item.object();
        let size = serde_json::to_vec(item).map_or(0, |bytes| bytes.len());
        !is_id(id) || size > MOST_ITEM_BYTES || fields.is_none_or(|it| it.iter().any(|(name, _)| name.contains('.')))
    });
    if let Some((id, _)) = bad {
        return envelope(400, "BadParams", &format!("Invalid catalog item: {id}"), &Json::Null);
    }
    documents.iter().for_each(|_| desk.book.accepted("item", None, desk.recorder.keep()));
    desk.recorder.element(desk.name, Endpoint::CatalogItems.name(), root, desk.now.wall_ms);
    envelope(202, "Success", "Request to bulk-upload to the catalog processed successfully", &Json::Null)
}

fn success(msg: &str, params: &Json) -> Reply {
    envelope(200, "Success", msg, params)
}

fn take(desk: &mut Desk<'_>, endpoint: Endpoint, kind: &'static str, id: Option<&str>, element: &Object<'_>) {
    desk.book.accepted(kind, id, desk.recorder.keep());
    desk.recorder.element(desk.name, endpoint.name(), element, desk.now.wall_ms);
}

fn learn(project: &Project, state: &mut State, of: Of<'_>, element: &Object<'_>, create: bool) -> Option<Reply> {
    let mut findings = Findings::default();
    state.fields.check(of, element.get("dataFields").and_then(Value::object), create, &mut findings);
    let reply = refused(project, state, &findings);
    if reply.is_none() {
        state.fields.learn(&findings);
    }
    reply
}

/// Whether the element is about somebody; else the refusal.
fn somebody(
    project: &Project,
    state: &State,
    desk: &mut Desk<'_>,
    element: &Object<'_>,
    purpose: Purpose,
) -> Result<(), Reply> {
    let struck = desk.struck().map(|list| Failed { list, who: None });
    let Some(failed) = struck.or_else(|| identity::of(element, project, state, purpose).err()) else { return Ok(()) };
    let (code, msg) = match (failed.list, &failed.who) {
        (Listed::Invalid, Some(Who::Email(email))) => ("InvalidEmailAddressError", format!("Invalid email: {email}")),
        (Listed::Invalid, Some(Who::UserId(id))) => ("InvalidUserIdError", format!("Invalid userId: {id}")),
        (Listed::NotFound, Some(Who::Email(email))) => ("UnknownEmailError", format!("Email does not exist: {email}")),
        (Listed::NotFound, _) => ("UnknownUserIdError", "User does not exist".to_owned()),
        (Listed::Forgotten, _) => ("ForgottenUserError", "The user is forgotten".to_owned()),
        (Listed::Conflict, _) => return Err(envelope(409, "ExternalKeyConflict", "Conflict", &Json::Null)),
        _ => ("BadParams", "Either email or userId must be provided".to_owned()),
    };
    Err(envelope(400, code, &msg, &Json::Null))
}
