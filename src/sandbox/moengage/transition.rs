//! Bulk import: the frame of the body, the fixed minutes, and the fate of each element.
//!
//! "Accepts first": what the page documents as 400 refuses the whole request, and nothing of it is taken; every other fault of
//! an element is answered 200, and the element is thrown away.

use serde_json::json;

use super::rules::{self, Fate, Taken};
use super::{Endpoint, Refusal, State, throttled};
use crate::sandbox::accounts::Workspace;
use crate::sandbox::books::fingerprint;
use crate::sandbox::reply::Reply;
use crate::sandbox::value::{Object, Value};
use crate::sandbox::world::Desk;

/// Judges a bulk import, and takes it if it is good.
pub(super) fn take(workspace: &Workspace, state: &mut State, desk: &mut Desk<'_>, root: &Object<'_>) -> Reply {
    match judge(workspace, state, desk, root) {
        Ok(Some(elements)) => {
            keep(workspace, state, desk, &elements);
            let message = "Your request has been accepted and will be processed soon.";
            Reply::json(200, &json!({ "status": "success", "message": message, "request_id": desk.request_id }))
        }
        Ok(None) => throttled(workspace, &desk.request_id),
        Err(refusal) => refusal.reply(&desk.request_id),
    }
}

type Judged<'a> = Vec<(&'a Value<'a>, Result<Taken, &'static str>)>;

/// The fate of each element; `None` if the minute has no room for them.
fn judge<'a>(
    workspace: &Workspace,
    state: &mut State,
    desk: &Desk<'_>,
    root: &'a Object<'a>,
) -> Result<Option<Judged<'a>>, Refusal> {
    let frame = frame(root)?;
    let elements = root.get("elements").and_then(Value::array).filter(|elements| !elements.is_empty());
    let elements =
        elements.ok_or(Refusal::field("MissingAttributeError", "elements", "'elements cannot be empty array"))?;
    let (users, events) = units(elements);
    let now = desk.now.wall_ms;
    if !state.users.has(users, now) || !state.events.take(events, now) {
        state.users_refused = Some(!state.users.has(users, now));
        return Ok(None);
    }
    state.users.take(users, now);
    let mut judged = Vec::with_capacity(elements.len());
    for element in elements {
        let fate = match rules::element(element, workspace, now) {
            Ok(taken) => frame.map(|()| taken),
            Err(Fate::Dropped(reason)) => Err(reason),
            Err(Fate::Refused(refusal)) => return Err(refusal),
        };
        judged.push((element, fate));
    }
    Ok(Some(judged))
}

/// The frame's `type`; in the wrong case nothing is made of the elements, without a word.
fn frame(root: &Object<'_>) -> Result<Result<(), &'static str>, Refusal> {
    match root.get("type") {
        None | Some(Value::Null) => {
            Err(Refusal::field("MissingAttributeError", "type", "type not found in the payload"))
        }
        Some(Value::Text(kind)) if kind == "transition" => Ok(Ok(())),
        Some(Value::Text(kind)) if kind.eq_ignore_ascii_case("transition") => Ok(Err("type_case")),
        Some(_) => Err(Refusal::field("AttributeError", "type", "type should be transition")),
    }
}

/// Users and events that a request costs.
fn units(elements: &[Value<'_>]) -> (u64, u64) {
    elements.iter().filter_map(Value::object).fold((0, 0), |(users, events), element| match element.text("type") {
        Some("customer") => (users + 1, events),
        Some("event") => (users, events + element.get("actions").and_then(Value::array).map_or(0, <[_]>::len) as u64),
        _ => (users, events),
    })
}

fn keep(workspace: &Workspace, state: &mut State, desk: &mut Desk<'_>, elements: &Judged<'_>) {
    for (element, fate) in elements {
        let Some(object) = element.object() else { continue };
        let struck = desk.struck().is_some();
        let user = object.text("customer_id").filter(|_| workspace.fair_usage).map(fingerprint);
        let fair = user.is_none_or(|user| state.fair.allows(user, desk.now.wall_ms));
        match fate {
            Err(reason) => desk.book.dropped(reason),
            Ok(_) if struck => desk.book.dropped("fault"),
            Ok(_) if !fair => desk.book.dropped("fair_usage"),
            Ok(taken) => {
                desk.book.accepted(taken.kind, message_id(object), desk.recorder.keep());
                desk.book.report.actions += taken.actions;
                desk.book.report.trimmed_by_vendor += u64::from(taken.trimmed);
                desk.book.report.odd_names += taken.odd_names;
                desk.recorder.element(desk.name, Endpoint::Transition.name(), object, desk.now.wall_ms);
            }
        }
    }
}

/// What tells a duplicate: the vendor has no id, so the attribute of this name, of the first action or of the customer.
fn message_id<'a>(element: &'a Object<'_>) -> Option<&'a str> {
    let bearer = match element.get("actions") {
        Some(actions) => actions.array()?.first()?.object()?,
        None if element.text("type") == Some("customer") => element,
        None => return None,
    };
    bearer.get("attributes")?.object()?.text("message_id")
}
