//! What keys of the other families open: business events, alerts of Inform, items of catalogues.
//!
//! One call a request, and a status that means it, except for catalogues: those answer 200 and list what they did not
//! take. Bodies, limits and codes are the vendor's descriptions', read 2026-11.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use super::State;
use crate::sandbox::accounts::Workspace;
use crate::sandbox::books::fingerprint;
use crate::sandbox::reply::Reply;
use crate::sandbox::value::{Object, Value};
use crate::sandbox::world::Desk;

/// Within this time a transaction is known again.
const REMEMBERED_MS: i64 = 5 * 60 * 1000;
const LONGEST_TRANSACTION: usize = 50;
const MOST_ITEMS: usize = 50;
const CHANNELS: [&str; 5] = ["SMS", "RCS", "WHATSAPP", "EMAIL", "PUSH"];

fn knows(known: Option<&Vec<String>>, name: &str) -> bool {
    known.is_none_or(|known| known.iter().any(|it| it == name))
}

/// `/v1.0/business_event/trigger`
pub(super) fn business(workspace: &Workspace, state: &mut State, desk: &mut Desk<'_>, root: &Object<'_>) -> Reply {
    let now = desk.now.wall_ms;
    let bad = |message: &str| {
        let error =
            json!({ "code": "400 Bad Request", "message": message, "details": [], "request_id": desk.request_id });
        Reply::json(400, &json!({ "error": error }))
    };
    let Some(name) = root.text("event_name").filter(|name| !name.is_empty()) else {
        return bad("event_name is required");
    };
    if !root.get("event_attributes").is_none_or(|it| matches!(it, Value::Object(_))) {
        return bad("event_attributes must be an object");
    }
    if !knows(workspace.business_events.as_ref(), name) {
        return bad("The business event does not exist");
    }
    if !state.business_hour.has(1, now) || !state.business_day.take(1, now) {
        let data = json!({ "code": 429, "title": "Too Many Requests", "description": "The limit is used up" });
        return Reply::json(429, &json!({ "status": "error", "data": data }));
    }
    state.business_hour.take(1, now);
    desk.book.accepted("business_event", None, desk.recorder.keep());
    desk.recorder.element(desk.name, super::Endpoint::Business.name(), root, now);
    Reply::json(200, &json!({ "message": "The business event has been triggered" }))
}

/// `/v1.0/alerts/send`
pub(super) fn alert(workspace: &Workspace, state: &mut State, desk: &mut Desk<'_>, root: &Object<'_>) -> Reply {
    let now = desk.now.wall_ms;
    let answer = |status: u16, code: u32, err: &str, message: &str| {
        let body = json!({ "message": message, "err_code": err, "status_code": code, "request_id": desk.request_id });
        Reply::json(status, &body)
    };
    let bad = |message: &str| answer(400, 120_002, "INVALID_REQUEST", message);
    let alert = root.text("alert_id").or_else(|| root.text("alert_reference_name")).filter(|id| !id.is_empty());
    let Some(alert) = alert else { return bad("alert_id or alert_reference_name is required") };
    let transaction = root.text("transaction_id").filter(|id| !id.is_empty());
    let Some(transaction) = transaction.filter(|id| id.chars().count() <= LONGEST_TRANSACTION) else {
        return bad("transaction_id is required, with 50 characters at most");
    };
    if !matches!(root.get("user_id"), None | Some(Value::Null | Value::Text(_))) {
        return bad("user_id must be a string");
    }
    let payloads = root.get("payloads").and_then(Value::object).filter(|payloads| payloads.len() > 0);
    let Some(payloads) = payloads else { return bad("payloads is required") };
    let sound = |(channel, payload): (&str, &Value<'_>)| {
        let payload = payload.object();
        let attributes = payload.and_then(|payload| payload.get("personalized_attributes"));
        CHANNELS.contains(&channel)
            && payload.and_then(|payload| payload.text("recipient")).is_some_and(|it| !it.is_empty())
            && attributes.is_none_or(|it| matches!(it, Value::Object(_)))
    };
    if !payloads.iter().all(sound) {
        return bad("a payload is of SMS, RCS, WHATSAPP, EMAIL or PUSH, and has a recipient");
    }
    if !knows(workspace.alerts.as_ref(), alert) {
        return bad("the alert does not exist");
    }
    state.transactions.retain(|_, at| now.saturating_sub(*at) < REMEMBERED_MS);
    if state.transactions.contains_key(&fingerprint(transaction)) {
        return answer(409, 120_105, "DUPLICATE_REQUEST_RECEIVED", "Duplicate request received");
    }
    if !state.alerts.take(1, now) {
        return answer(429, 140_110, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded");
    }
    state.transactions.insert(fingerprint(transaction), now);
    desk.book.accepted("alert", Some(transaction), desk.recorder.keep());
    desk.recorder.element(desk.name, super::Endpoint::Alert.name(), root, now);
    Reply::json(200, &json!({ "message": "Successfully Received", "request_id": desk.request_id }))
}

/// `/v1/catalog/{name}/items`
pub(super) fn items(
    workspace: &Workspace,
    state: &mut State,
    desk: &mut Desk<'_>,
    catalog: &str,
    root: &Object<'_>,
) -> Reply {
    let now = desk.now.wall_ms;
    let refused =
        |status, code: &str, message: &str| Reply::json(status, &json!({ "error-code": code, "message": message }));
    if !knows(workspace.catalogs.as_ref(), catalog) {
        return refused(404, "CATALOG_NOT_FOUND", "The catalog does not exist");
    }
    let items = root.get("items").and_then(Value::array).filter(|items| !items.is_empty());
    let Some(items) = items.filter(|items| items.len() <= MOST_ITEMS) else {
        return refused(400, "INVALID_ITEMS", "items is a list of 1 to 50 items");
    };
    if !state.catalog_hour.has(1, now) || !state.catalog.take(1, now) {
        return refused(429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded");
    }
    state.catalog_hour.take(1, now);
    let (mut bad, mut ids) = (Vec::new(), HashSet::new());
    for item in items {
        let id = item.object().and_then(|item| item.text("id")).unwrap_or_default();
        if id.is_empty() || !ids.insert(id) {
            bad.push(Json::from(id));
            desk.book.dropped("item");
            continue;
        }
        desk.book.accepted("item", None, desk.recorder.keep());
        if let Some(item) = item.object() {
            desk.recorder.element(desk.name, super::Endpoint::Catalog.name(), item, now);
        }
    }
    let mut invalid = Map::new();
    invalid.insert("count".to_owned(), bad.len().into());
    if !bad.is_empty() {
        let message = "an item has an id that no other item of the request has";
        let detail = json!({ "error-id": 1, "message": message, "count": bad.len(), "document_ids": bad });
        invalid.insert("details".to_owned(), json!([detail]));
    }
    let valid = items.len() - bad.len();
    Reply::json(200, &json!({ "message": { "valid": { "count": valid }, "invalid": invalid } }))
}
