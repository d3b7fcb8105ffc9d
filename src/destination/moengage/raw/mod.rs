//! Raw elements of MoEngage: `transition`, `business-event`, `inform`, `catalog`.
//!
//! Sent as they came. Read of them is what order and limits need, and checked is what the vendor would answer for the
//! whole batch, or drop behind a 200.

mod campaign;
mod identity;
mod times;

use std::borrow::Cow;

use super::TRANSITION;
use super::limits::{Of, check_attributes, check_name};
use crate::clock::Now;
use crate::destination::raw::{Type, check_types, invalid};
use crate::destination::{Call, UserHash};
use crate::event::{Event, RawForm};
use crate::json::Raw;
use crate::outcome::{Reason, Refusal};

/// What the vendor has a type for: an element with another is thrown away behind a 200.
const ELEMENT: &[(&str, Type)] = &[
    ("attributes", Type::Object),
    ("user_identifiers", Type::Object),
    ("device_id", Type::Text),
    ("update_existing_only", Type::Flag),
    ("actions", Type::List),
];
const ACTION: &[(&str, Type)] = &[
    ("attributes", Type::Object),
    ("platform", Type::Text),
    ("moe_os_type", Type::Text),
    ("app_version", Type::Text),
    ("user_timezone_offset", Type::Whole),
];
/// The platforms of events that the vendor knows. Its samples write them in any case, and leave them empty.
const PLATFORMS: &[&str] = &["ANDROID", "iOS", "web", "TV", "unknown", ""];
/// The systems of a television that the vendor knows.
const TV_SYSTEMS: &[&str] = &["ROKU", "WebOS", "AndroidTV", "tvOS", "Tizen", "FireOS", "VizioTV", "Xbox"];

/// The call of a raw record.
pub(super) fn plan(users: &UserHash, event: &Event<'_>, form: &RawForm<'_>, now: Now) -> Result<Call, Refusal> {
    let element = event.whole;
    match form.shape {
        "transition" => transition(users, element, now),
        "business-event" => campaign::business(users, event, element),
        "inform" => campaign::alert(users, event, element),
        "catalog" => campaign::item(users, form, element),
        _ => Err(Refusal::new(Reason::RawNotAllowed, "MoEngage has no raw shape of this name")),
    }
}

fn transition(users: &UserHash, element: Raw<'_>, now: Now) -> Result<Call, Refusal> {
    let kind = element.field("type").and_then(Raw::string).unwrap_or_default();
    let (user, others) = identity::users(users, element, &kind)?;
    check_types(element, ELEMENT)?;
    let attributes = element.field("attributes").filter(|attributes| !attributes.is_null());
    let (state, units) = match &*kind {
        "customer" => {
            attributes.map_or(Ok(()), |attributes| check_attributes(attributes, Of::User))?;
            (true, [1, 0])
        }
        "device" => {
            device(element, attributes)?;
            (true, [0, 0])
        }
        "event" => (false, [0, actions(element, now)?]),
        _ => return Err(invalid("`type` of the raw element is none of customer, event, device")),
    };
    // Two identifiers in one element may be what makes two profiles one.
    let several = others.iter().any(|other| *other != user);
    Ok(Call { units, ..Call::new(TRANSITION, user, state || several).with(others) })
}

fn device(element: Raw<'_>, attributes: Option<Raw<'_>>) -> Result<(), Refusal> {
    fn text<'a>(place: Option<Raw<'a>>, name: &str) -> Cow<'a, str> {
        place.and_then(|it| it.field(name)?.string()).unwrap_or_default()
    }
    if !["ANDROID", "iOS", "web", "TV"].contains(&&*text(attributes, "platform")) {
        return Err(invalid("`attributes.platform` of the raw device is none of ANDROID, iOS, web, TV"));
    }
    if text(attributes, "push_id").is_empty() || text(Some(element), "device_id").is_empty() {
        return Err(invalid("a raw device needs `device_id` and `attributes.push_id`, both texts"));
    }
    Ok(())
}

/// How many actions a raw event has.
fn actions(element: Raw<'_>, now: Now) -> Result<u32, Refusal> {
    let mut count = 0;
    for action in element.field("actions").into_iter().flat_map(Raw::items) {
        let name = action.field("action").and_then(Raw::string).filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| Refusal::new(Reason::NoEventName, "a raw event has an action without a name"))?;
        check_name(&name)?;
        check_types(action, ACTION)?;
        check_system(action)?;
        times::check(action, now)?;
        if let Some(attributes) = action.field("attributes").filter(|attributes| attributes.is_object()) {
            check_attributes(attributes, Of::Event)?;
        }
        count += 1;
    }
    if count == 0 {
        return Err(invalid("`actions` of the raw event is not a list with something in it"));
    }
    Ok(count)
}

/// Whether the vendor knows the platform, and the television's system: "Pass this parameter only when the platform is TV."
fn check_system(action: Raw<'_>) -> Result<(), Refusal> {
    let text = |name| action.field(name).and_then(Raw::string);
    if text("platform").is_some_and(|name| !PLATFORMS.iter().any(|known| known.eq_ignore_ascii_case(&name))) {
        return Err(invalid("`platform` of the raw event is none of ANDROID, iOS, web, TV, unknown"));
    }
    let Some(system) = text("moe_os_type") else { return Ok(()) };
    if text("platform").as_deref() != Some("TV") || !TV_SYSTEMS.contains(&&*system) {
        return Err(invalid("`moe_os_type` of the raw event is none that MoEngage knows, or `platform` is not TV"));
    }
    Ok(())
}
