//! Raw elements of Iterable: `users/bulkUpdate`, `events/trackBulk`, `catalogs/items`.
//!
//! Sent as they came, by whichever endpoint the account uses. Read of them is what order needs, and checked are the
//! fields that the vendor has a type for: one wrong type fails everybody's batch. A catalogue's item is an object with one
//! field, the item's id, as in the vendor's `documents`.

use super::encode::Encoder;
use super::identity::{USER_ID_RULE, address_hash, is_email, is_user_id};
use super::{EVENTS, ITEMS, USERS};
use crate::config::Identity;
use crate::destination::raw::{Type, catalog, check_types, invalid};
use crate::destination::{Call, Shape};
use crate::event::{Event, RawForm};
use crate::json::Raw;
use crate::outcome::{Reason, Refusal};

const USER: &[(&str, Type)] = &[
    ("email", Type::Text),
    ("userId", Type::Text),
    ("dataFields", Type::Object),
    ("preferUserId", Type::Flag),
    ("mergeNestedObjects", Type::Flag),
    ("createNewFields", Type::Flag),
];
const IDS: &[(&str, Type)] = &[("email", Type::Text), ("userId", Type::Text)];
const EVENT: &[(&str, Type)] = &[
    ("email", Type::Text),
    ("userId", Type::Text),
    ("eventName", Type::Text),
    ("id", Type::Text),
    ("createdAt", Type::Whole),
    ("dataFields", Type::Object),
    ("campaignId", Type::Id),
    ("templateId", Type::Id),
    ("createNewFields", Type::Flag),
];

/// The vendor's longest id of an item, and its largest item, in bytes.
const LONGEST_ITEM_ID: usize = 255;
const LARGEST_ITEM: usize = 30_000;
/// Seconds beyond this lie in the year 5138.
const LATEST_SECOND: i64 = 100_000_000_000;

impl Encoder {
    /// The call of a raw record.
    pub(super) fn plan_raw(&self, event: &Event<'_>, form: &RawForm<'_>) -> Result<Call, Refusal> {
        let element = event.whole;
        match form.shape {
            "users/bulkUpdate" => {
                check_types(element, USER)?;
                Ok(self.call_of_raw(USERS, element)?.with(self.becomes(element)?))
            }
            "events/trackBulk" => {
                check_types(element, EVENT)?;
                let text = |name| element.field(name).and_then(Raw::string);
                if text("eventName").is_none_or(|name| name.trim().is_empty()) {
                    return Err(Refusal::new(Reason::NoEventName, "a raw event without `eventName`"));
                }
                if text("id").is_some_and(|id| !super::encode::is_event_id(&id)) {
                    return Err(invalid("`id` of the raw event is not 1 to 512 letters, digits and hyphens"));
                }
                let created = element.field("createdAt").and_then(|time| time.get().parse::<i64>().ok());
                if created.is_some_and(|seconds| seconds >= LATEST_SECOND) {
                    return Err(invalid("`createdAt` of the raw event is in milliseconds: Iterable reads seconds"));
                }
                self.call_of_raw(EVENTS, element)
            }
            "catalogs/items" => {
                let catalog = catalog(form)?;
                let item = self.users.of(&format!("{catalog}/{}", item_id(element)?));
                Ok(Call { part: Some(catalog), ..Call::new(ITEMS, item, true) })
            }
            _ => Err(Refusal::new(Reason::RawNotAllowed, "Iterable has no raw shape of this name")),
        }
    }

    /// Hashes of whom its data fields make of the user: by `email` and `userId` among them the vendor changes these.
    fn becomes(&self, element: Raw<'_>) -> Result<impl Iterator<Item = u64> + use<>, Refusal> {
        let fields = element.field("dataFields");
        fields.map_or(Ok(()), |fields| check_types(fields, IDS))?;
        let text =
            |object: Option<Raw<'_>>, name| object.and_then(|object| object.field(name)?.string().map(String::from));
        let changed = |name| text(fields, name).filter(|new| text(Some(element), name).as_ref() != Some(new));
        let (email, user) = (changed("email"), changed("userId"));
        if email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(Refusal::new(Reason::InvalidEmail, "`dataFields.email` of the raw element is no address"));
        }
        if user.as_deref().is_some_and(|user| !is_user_id(user)) {
            return Err(Refusal::new(Reason::InvalidUserId, USER_ID_RULE));
        }
        let email = email.filter(|_| self.identity != Identity::UserId).map(|email| address_hash(&self.users, &email));
        Ok(email.into_iter().chain(user.map(|user| self.hash_of(&user))))
    }

    /// The call of an element about a user, whom it may name twice.
    fn call_of_raw(&self, shape: Shape, element: Raw<'_>) -> Result<Call, Refusal> {
        let text = |name| element.field(name).and_then(Raw::string);
        let (user, email) = (text("userId"), text("email"));
        if user.as_deref().is_some_and(|user| !is_user_id(user)) {
            return Err(Refusal::new(Reason::InvalidUserId, USER_ID_RULE));
        }
        if email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(Refusal::new(Reason::InvalidEmail, "`email` of the raw element is no address"));
        }
        let email = email.filter(|_| self.identity != Identity::UserId).map(|email| address_hash(&self.users, &email));
        let mut names = user.map(|user| self.hash_of(&user)).into_iter().chain(email);
        let no_user = || Refusal::new(Reason::NoUser, "the raw element names no user that this project knows by");
        let first = names.next().ok_or_else(no_user)?;
        Ok(Call::new(shape, first, shape == USERS).known_as(names.next()))
    }
}

/// The id of a raw item that the vendor takes.
fn item_id(element: Raw<'_>) -> Result<String, Refusal> {
    let mut fields = element.fields();
    let (Some(item), None) = (fields.next(), fields.next()) else {
        return Err(invalid("a raw item is an object with one field, named by the item's id"));
    };
    let id = item.name();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if id.is_empty() || id.len() > LONGEST_ITEM_ID || !id.bytes().all(plain) {
        return Err(invalid("an item's id is not 1 to 255 letters, digits and hyphens"));
    }
    if !item.value.is_object() || has_periods(item.value) {
        return Err(invalid("an item is an object without periods in its fields' names, however deep"));
    }
    if item.value.get().len() > LARGEST_ITEM {
        return Err(Refusal::new(Reason::TooLarge, "Iterable takes items of 30,000 bytes"));
    }
    Ok(id.into_owned())
}

/// Whether a field of the value, or of what is in it, has a period in its name.
fn has_periods(value: Raw<'_>) -> bool {
    value.fields().any(|field| field.name().contains('.') || has_periods(field.value)) || value.items().any(has_periods)
}

/// Writes a raw element into its request.
pub(super) fn write(event: &Event<'_>, shape: Shape, out: &mut Vec<u8>) {
    let whole = event.whole.get();
    // Items are fields of one object.
    let within = whole.strip_prefix('{').and_then(|whole| whole.strip_suffix('}'));
    let text = if shape == ITEMS { within.unwrap_or_default().trim() } else { whole };
    out.extend_from_slice(text.as_bytes());
}
