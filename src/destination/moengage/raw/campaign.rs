//! Raw elements that are no user's data: business events, alerts, items of catalogues.
//!
//! What the vendor's descriptions of these APIs require (`business-events`, `inform`, `catalog`, 2026-11): a business event
//! that is refused has used up one of fifty an hour, an alert on a channel with another name reaches nobody.

use super::super::limits::{Of, check_attributes, check_id, check_name};
use super::super::{ALERTS, BUSINESS, ITEMS};
use crate::destination::raw::{Type, catalog, check_types, invalid};
use crate::destination::{Call, UserHash};
use crate::event::{Event, RawForm};
use crate::json::{Raw, copy};
use crate::outcome::{Reason, Refusal};

const TRIGGER: &[(&str, Type)] =
    &[("event_name", Type::Text), ("event_attributes", Type::Object), ("triggered_by", Type::Text)];
const ALERT: &[(&str, Type)] = &[
    ("alert_id", Type::Text),
    ("alert_reference_name", Type::Text),
    ("transaction_id", Type::Text),
    ("user_id", Type::Text),
    ("payloads", Type::Object),
];
const PAYLOAD: &[(&str, Type)] = &[
    ("recipient", Type::Text),
    ("personalized_attributes", Type::Object),
    ("sender_attributes", Type::List),
    ("personalized_attachments", Type::Object),
    ("live_activity_attributes", Type::Object),
];
const CHANNELS: &[&str] = &["SMS", "RCS", "WHATSAPP", "EMAIL", "PUSH"];
/// What a catalogue may have of attributes, the four that it must have included.
const MOST_ATTRIBUTES: usize = 50;

pub(super) fn business(users: &UserHash, event: &Event<'_>, element: Raw<'_>) -> Result<Call, Refusal> {
    let name = element.field("event_name").and_then(Raw::string).filter(|name| !name.trim().is_empty());
    let no_name = || Refusal::new(Reason::NoEventName, "a raw business event without `event_name`");
    check_name(&name.ok_or_else(no_name)?)?;
    check_types(element, TRIGGER)?;
    let attributes = element.field("event_attributes").filter(|attributes| attributes.is_object());
    check_attributes(attributes.ok_or_else(|| invalid("a raw business event without `event_attributes`"))?, Of::Event)?;
    let by = element.field("triggered_by").and_then(Raw::string);
    if by.is_some_and(|by| by.split_once('@').is_none_or(|(user, host)| user.is_empty() || host.is_empty())) {
        return Err(invalid("`triggered_by` of the raw business event is no e-mail address"));
    }
    Ok(Call::new(BUSINESS, users.of(&event.id()), false))
}

pub(super) fn alert(users: &UserHash, event: &Event<'_>, element: Raw<'_>) -> Result<Call, Refusal> {
    check_types(element, ALERT)?;
    let text = |name| element.field(name).and_then(Raw::string).filter(|text| !text.is_empty());
    if text("alert_id").or_else(|| text("alert_reference_name")).is_none() {
        return Err(invalid("a raw alert needs `alert_id` or `alert_reference_name`"));
    }
    if text("transaction_id").is_none_or(|id| id.chars().count() > super::super::campaign::LONGEST_TRANSACTION) {
        return Err(invalid("a raw alert needs a `transaction_id` of at most 50 characters"));
    }
    let mut nobody = true;
    for payload in element.field("payloads").into_iter().flat_map(Raw::fields) {
        if !CHANNELS.contains(&&*payload.name()) || !payload.value.is_object() {
            return Err(invalid("a payload of the raw alert is not an object for SMS, RCS, WHATSAPP, EMAIL or PUSH"));
        }
        check_types(payload.value, PAYLOAD)?;
        if payload.value.field("recipient").and_then(Raw::string).is_none_or(|recipient| recipient.trim().is_empty()) {
            return Err(Refusal::new(Reason::NoRecipient, "a payload of the raw alert has no `recipient`"));
        }
        nobody = false;
    }
    if nobody {
        return Err(Refusal::new(Reason::NoRecipient, "a raw alert without `payloads`"));
    }
    let user = text("user_id");
    user.as_deref().map_or(Ok(()), check_id)?;
    let user = users.of(&user.unwrap_or_else(|| event.id()));
    Ok(Call::new(ALERTS, user, false))
}

pub(super) fn item(users: &UserHash, form: &RawForm<'_>, element: Raw<'_>) -> Result<Call, Refusal> {
    let id = element.field("id").and_then(Raw::string).filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| invalid("a raw item of a catalogue without `id`"))?;
    let count = copy::of(element, true).count();
    if count > MOST_ATTRIBUTES {
        let detail = format!("an item with {count} attributes: a catalogue at MoEngage has {MOST_ATTRIBUTES}");
        return Err(Refusal::new(Reason::TooManyFields, detail));
    }
    let catalog = catalog(form)?;
    let item = users.of(&format!("{catalog}/{id}"));
    Ok(Call { part: Some(catalog), ..Call::new(ITEMS, item, true) })
}
