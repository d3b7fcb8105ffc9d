//! What MoEngage makes of one element of a bulk import: taken, thrown away without a word, or reason to refuse the request.
//!
//! Refused is only what the pages document as 400. Pure; the tables are the vendor's.

use super::Refusal;
use crate::sandbox::accounts::Workspace;
use crate::sandbox::value::{Object, Value};

/// An element that is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) kind: &'static str,
    pub(super) actions: u64,
    /// Whether something of it is cut off: too long, too many, or a name that is not free.
    pub(super) trimmed: bool,
    /// Actions with a name that the naming guide forbids.
    pub(super) odd_names: u64,
}

/// An element that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The request is answered 400.
    Refused(Refusal),
    /// The request is answered 200, the element is gone.
    Dropped(&'static str),
}

/// "Future-dated events are not accepted"; clocks differ by a little.
const SKEW_MS: i64 = 60_000;
const MOST_ATTRIBUTES: usize = 100;
const MOST_NAME: usize = 200;
const MOST_TEXT: usize = 512;
const MOST_ITEMS: usize = 50;
const MOST_OBJECTS: usize = 100;

const NOBODY: [&str; 22] = [
    "unknown",
    "guest",
    "null",
    "0",
    "1",
    "true",
    "false",
    "user_attribute_unique_id",
    "(empty)",
    "na",
    "n/a",
    "\"\"",
    "dummy_seller_code",
    "user_id",
    "id",
    "customer_id",
    "uid",
    "userid",
    "none",
    "-2",
    "-1",
    "2",
];
const RESERVED: [&str; 12] = [
    "id",
    "_id",
    "",
    "MOE_TIME_FORMAT",
    "MOE_TIME_TIMEZONE",
    "MOE_GAID",
    "INSTALL",
    "UPDATE",
    "MOE_ISLAT",
    "status",
    "user_id",
    "source",
];
/// Names with the system's prefix that the pages document for use.
const OWN: [&str; 11] = [
    "moe_project_name",
    "moe_em_unsub_categories",
    "moe_gaid",
    "moe_hard_bounce",
    "moe_mobile",
    "moe_mweb",
    "moe_sms_subscription",
    "moe_spam",
    "moe_sub_w",
    "moe_unsubscribe",
    "moe_wa_subscription",
];
const TV_SYSTEMS: [&str; 8] = ["ROKU", "WebOS", "AndroidTV", "tvOS", "Tizen", "FireOS", "VizioTV", "Xbox"];
const FORBIDDEN: &str = "$.<>+%!`&*#|{}?\"=/:\\@'";

/// What becomes of an element.
pub(super) fn element(element: &Value<'_>, workspace: &Workspace, now_ms: i64) -> Result<Taken, Fate> {
    let unknown =
        Fate::Refused(Refusal::field("AttributeError", "type", "type in elements should be customer/event/device"));
    let object = element.object().ok_or(unknown)?;
    match object.text("type") {
        Some("customer") => {
            identified(object, "attributes", workspace)?;
            customer(object)
        }
        Some("event") => {
            identified(object, "user_identifiers", workspace)?;
            event(object, now_ms)
        }
        Some("device") => {
            identified(object, "", workspace)?;
            device(object)
        }
        Some(other) if ["customer", "event", "device"].iter().any(|kind| kind.eq_ignore_ascii_case(other)) => {
            Err(Fate::Dropped("type_case"))
        }
        _ => Err(unknown),
    }
}

/// Whether somebody can have this `customer_id`.
pub(super) fn is_user(id: &str) -> bool {
    id.chars().nth(1).is_some() && !NOBODY.iter().any(|nobody| nobody.eq_ignore_ascii_case(id))
}

fn identified(element: &Object<'_>, instead: &str, workspace: &Workspace) -> Result<(), Fate> {
    match element.get("customer_id") {
        None | Some(Value::Null) => {
            let identifiers = element.get(instead).and_then(Value::object).is_some_and(|it| it.len() > 0);
            if workspace.identity_resolution && identifiers {
                return Ok(());
            }
            let message = "customer_id not found in the payload";
            Err(Fate::Refused(Refusal::field("MissingAttributeError", "customer_id", message)))
        }
        Some(Value::Text(id)) if is_user(id) => Ok(()),
        Some(Value::Text(_)) => Err(Fate::Dropped("customer_id_reserved")),
        Some(_) => Err(Fate::Dropped("customer_id_type")),
    }
}

fn customer(element: &Object<'_>) -> Result<Taken, Fate> {
    absent_or(element, "update_existing_only", |value| value.boolean().is_some())?;
    absent_or(element, "attributes", |value| value.object().is_some())?;
    let mut taken = Taken { kind: "customer", ..Taken::default() };
    let Some(attributes) = element.get("attributes").and_then(Value::object) else { return Ok(taken) };
    let edited = |name: &str| attributes.get(name).and_then(Value::object);
    if let (Some(added), Some(removed)) = (edited("addValueToArrayField"), edited("removeValueFromArrayField"))
        && added.iter().any(|(name, _)| removed.get(name).is_some())
    {
        let message = "Cannot add and remove values of the same array at the same time";
        return Err(Fate::Refused(Refusal::field("ArrayFieldError", "attributes", message)));
    }
    let reserved = |name: &str| RESERVED.contains(&name) || name.starts_with("USER_ATTRIBUTE_");
    taken.trimmed = trims(attributes) || attributes.iter().any(|(name, _)| reserved(name));
    Ok(taken)
}

fn event(element: &Object<'_>, now_ms: i64) -> Result<Taken, Fate> {
    absent_or(element, "device_id", |value| value.text().is_some())?;
    let missing = |attribute, message| Fate::Refused(Refusal::field("MissingAttributeError", attribute, message));
    let actions = element.get("actions").and_then(Value::array).filter(|actions| !actions.is_empty());
    let actions = actions.ok_or(missing("actions", "actions can not be empty Array"))?;
    let mut taken = Taken { kind: "event", ..Taken::default() };
    let mut dropped = None;
    for item in actions {
        let object = item.object().ok_or(Fate::Dropped("action_type"));
        let name = match object.map(|action| action.get("action")) {
            Ok(Some(Value::Text(name))) if !name.is_empty() => name.as_ref(),
            Ok(None | Some(Value::Null | Value::Text(_))) => {
                return Err(missing("action", "action cannot be empty Unicode string"));
            }
            Ok(Some(_)) | Err(_) => {
                dropped = dropped.or(Some(Fate::Dropped("action_type")));
                continue;
            }
        };
        // A later action may still refuse the request, so the first one that is thrown away does not end this.
        match object.and_then(|action| judged(action, name, now_ms)) {
            Ok(trimmed) => taken.trimmed |= trimmed,
            Err(fate) => dropped = dropped.or(Some(fate)),
        }
        taken.actions += 1;
        taken.odd_names += u64::from(name.contains(|c| FORBIDDEN.contains(c)));
    }
    dropped.map_or(Ok(taken), Err)
}

/// One action with its name; whether something of it is cut off.
fn judged(action: &Object<'_>, name: &str, now_ms: i64) -> Result<bool, Fate> {
    if name.starts_with("moe_") {
        return Err(Fate::Dropped("action_reserved"));
    }
    absent_or(action, "attributes", |value| value.object().is_some())?;
    absent_or(action, "platform", |value| value.text().is_some())?;
    absent_or(action, "app_version", |value| value.text().is_some())?;
    absent_or(action, "user_time", |value| milliseconds(value).is_some())?;
    absent_or(action, "user_timezone_offset", |value| {
        value.integer().is_some_and(|offset| (-54_000..=54_000).contains(&offset))
    })?;
    let on_tv = action.text("platform") == Some("TV");
    absent_or(action, "moe_os_type", |value| on_tv && value.text().is_some_and(|system| TV_SYSTEMS.contains(&system)))?;
    match action.get("current_time") {
        None | Some(Value::Null) => local(action, now_ms)?,
        Some(time) => match milliseconds(time) {
            None => return Err(Fate::Dropped("current_time")),
            Some(time) if time > now_ms.saturating_add(SKEW_MS) => return Err(Fate::Dropped("future")),
            Some(_) => {}
        },
    }
    let attributes = action.get("attributes").and_then(Value::object);
    let cut = attributes.is_some_and(|attributes| attributes.len() > MOST_ATTRIBUTES || trims(attributes));
    Ok(cut || longer(name, MOST_NAME))
}

/// An action that has a local time alone: by the offset, or if there is no place where it is that late, it is of the future.
fn local(action: &Object<'_>, now_ms: i64) -> Result<(), Fate> {
    let own = action.text("user_time").and_then(|text| text.rfind(['+', '-'])).is_some_and(|at| at > 10);
    let offset = action.get("user_timezone_offset").and_then(Value::integer).unwrap_or(54_000);
    let offset = if own { 0 } else { offset };
    let utc = action.get("user_time").and_then(milliseconds).map(|local| local.saturating_sub(offset * 1000));
    if utc.is_some_and(|utc| utc > now_ms.saturating_add(SKEW_MS)) {
        return Err(Fate::Dropped("future"));
    }
    Ok(())
}

fn device(element: &Object<'_>) -> Result<Taken, Fate> {
    let text = |object: &Object<'_>, name| object.text(name).is_some_and(|text| !text.is_empty());
    if !text(element, "device_id") {
        return Err(Fate::Dropped("device_id"));
    }
    let attributes = element.get("attributes").and_then(Value::object).ok_or(Fate::Dropped("attributes"))?;
    match attributes.get("platform") {
        Some(Value::Text(platform)) if ["ANDROID", "iOS", "web", "TV"].contains(&platform.as_ref()) => {}
        Some(Value::Text(_)) => {
            let message = "platform should be ANDROID/iOS/web/TV";
            return Err(Fate::Refused(Refusal::field("AttributeError", "platform", message)));
        }
        _ => return Err(Fate::Dropped("platform")),
    }
    if !text(attributes, "push_id") {
        return Err(Fate::Dropped("push_id"));
    }
    Ok(Taken { kind: "device", ..Taken::default() })
}

fn absent_or(object: &Object<'_>, name: &'static str, good: impl Fn(&Value<'_>) -> bool) -> Result<(), Fate> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if good(value) => Ok(()),
        Some(_) => Err(Fate::Dropped(name)),
    }
}

/// ISO-8601, or seconds since the epoch as a number or a text. Milliseconds are read as seconds, as the page's table says.
fn milliseconds(time: &Value<'_>) -> Option<i64> {
    match time {
        Value::Text(text) => text
            .parse::<i64>()
            .ok()
            .map(|seconds| seconds.saturating_mul(1000))
            .or_else(|| text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond))
            .or_else(|| {
                let local = text.parse::<jiff::civil::DateTime>().ok()?;
                local.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp().as_millisecond())
            }),
        Value::Float(seconds) => std::time::Duration::try_from_secs_f64(*seconds)
            .ok()
            .and_then(|since| i64::try_from(since.as_millis()).ok()),
        other => other.integer().map(|seconds| seconds.saturating_mul(1000)),
    }
}

/// Whether the vendor would cut something of these attributes, or leave one out.
fn trims(attributes: &Object<'_>) -> bool {
    let system = |name: &str| name.starts_with("moe_") && !OWN.contains(&name);
    let ignored = |value: &Value<'_>| {
        let first = value.array().and_then(|items| items.iter().find_map(type_of));
        matches!(first, Some("flag" | "list"))
    };
    let cut = |value: &Value<'_>| ignored(value) || trims_value(value, 0);
    attributes.iter().any(|(name, value)| longer(name, MOST_NAME) || system(name) || cut(value))
}

/// The same of a value, at this depth of objects; what is deeper than two levels of keys becomes a text.
fn trims_value(value: &Value<'_>, depth: usize) -> bool {
    match value {
        Value::Text(text) => longer(text, MOST_TEXT),
        Value::Array(items) => {
            let mut types = items.iter().filter_map(type_of);
            let first = types.next();
            let most = if first == Some("object") { MOST_OBJECTS } else { MOST_ITEMS };
            let mixed = types.any(|other| Some(other) != first);
            mixed || items.len() > most || items.iter().any(|item| trims_value(item, depth))
        }
        Value::Object(object) if depth < 2 => {
            object.len() > MOST_ATTRIBUTES
                || object
                    .iter()
                    .any(|(name, value)| name.contains(['$', '.', '%', '#']) || trims_value(value, depth + 1))
        }
        _ => false,
    }
}

/// What a list's items must have in common.
const fn type_of(value: &Value<'_>) -> Option<&'static str> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => "flag",
        Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => "number",
        Value::Text(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    })
}

fn longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}
