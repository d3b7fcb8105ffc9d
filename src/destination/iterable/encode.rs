//! Segment-spec messages to elements of Iterable's requests.
//!
//! | event | becomes |
//! | --- | --- |
//! | identify | an element of `users/bulkUpdate`, or the body of `users/update` |
//! | track | an element of `events/trackBulk`, or the body of `events/track` |
//! | track `Order Completed`, `Cart Updated` | a purchase, the cart: [`commerce`](super::commerce) |
//! | page, screen | the same, as `<name> page`, `<name> screen`; without a name, or with `single_event`, as `Loaded a Page`, `Loaded a Screen`; where `pages` asks for it |
//! | alias | a change of address: [`alias`](super::alias) |
//! | group | an element of `users/bulkUpdate`, or the body of `users/update`: [`group`](super::group) |
//!
//! One element of a wrong type fails the whole request, so types are made right or refused here: ids, addresses, names,
//! integers. Everything else a tenant sends goes out whole inside `dataFields`. Rules: the vendor's API description and
//! the help centre's pages on identity and custom events (2026-11).

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::identity::{Ids, email_of_traits};
use crate::config::{self, Anonymous, Identity};
use crate::destination::UserHash;
use crate::event::{Event, Kind, time};
use crate::json::copy::{self, Style};
use crate::json::{Raw, write};
use crate::outcome::{Reason, Refusal};
use crate::text;

/// The vendor's longest event id, in bytes.
const LONGEST_EVENT_ID: usize = 512;

/// What an account's settings change about elements.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) anonymous: Anonymous,
    pub(super) style: Style,
    pub(super) identity: Identity,
    prefer_user_id: bool,
    merge_nested_objects: bool,
    pub(super) create_new_fields: Option<bool>,
    single: bool,
    pages: Pages,
    pub(super) users: UserHash,
}

/// Which pages and screens are sent, and how.
#[derive(Debug)]
struct Pages {
    /// `all`, `named`, `categorised`: any of these is enough.
    kinds: Vec<String>,
    /// All of them under one name.
    single_event: bool,
}

impl Encoder {
    pub(super) fn new(account: &config::Account, settings: &config::Iterable, users: &UserHash) -> Self {
        Self {
            anonymous: account.anonymous,
            style: Style { flatten: account.flatten, dates: !settings.keep_dates },
            identity: settings.identity,
            prefer_user_id: settings.prefer_user_id,
            merge_nested_objects: settings.merge_nested_objects,
            create_new_fields: settings.create_new_fields,
            single: settings.single,
            pages: Pages { kinds: settings.pages.clone(), single_event: settings.single_event },
            users: users.clone(),
        }
    }

    /// Whether the account wants this page or screen.
    pub(super) fn wants_page(&self, event: &Event<'_>) -> bool {
        self.pages.kinds.iter().any(|kind| match kind.as_str() {
            "named" => event.page_name().is_some(),
            "categorised" => event.page_category().is_some(),
            _ => kind == "all",
        })
    }

    /// A user's element.
    pub(super) fn user(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let email = email_of_traits(event);
        let ids = self.ids(event, email.clone())?;
        self.user_object(event, &ids, email, self.create_in_element(), out)
    }

    /// A user with these ids and the event's traits as fields; `email` is the event's address, whoever the project knows
    /// by it.
    pub(super) fn user_object(
        &self,
        event: &Event<'_>,
        ids: &Ids<'_>,
        email: Option<Cow<'_, str>>,
        create_new_fields: Option<bool>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        out.push(b'{');
        ids.write(out);
        let has_fields = |object: &Raw<'_>| object.fields().next().is_some();
        let traits = event.traits.filter(has_fields).or(event.context.traits.filter(has_fields));
        let address = self.address_field(traits, ids, email)?;
        if traits.is_some() || address.is_some() {
            write::key(out, "dataFields");
            out.push(b'{');
            if let Some(traits) = traits {
                self.user_fields(out, traits);
            }
            if let Some(address) = address {
                write::key(out, "email");
                write::string(out, &address);
            }
            out.push(b'}');
        }
        self.close_user(create_new_fields, out);
        Ok(())
    }

    /// How the vendor is to take a user's element, and the element's end.
    pub(super) fn close_user(&self, create_new_fields: Option<bool>, out: &mut Vec<u8>) {
        self.write_preference(out);
        flag(out, "mergeNestedObjects", Some(self.merge_nested_objects));
        flag(out, "createNewFields", create_new_fields);
        out.push(b'}');
    }

    /// Whether an unknown user id makes a user.
    pub(super) fn write_preference(&self, out: &mut Vec<u8>) {
        flag(out, "preferUserId", Some(self.prefer_user_id));
    }

    /// The flag as a bulk request has it once for all of its users, and a single one for its user.
    pub(super) fn create_in_element(&self) -> Option<bool> {
        self.create_new_fields.filter(|_| self.single)
    }

    /// Traits as profile fields, the phone under the vendor's name for it. What says who the user is has its place
    /// beside them: as a field it would make somebody else of the user.
    fn user_fields(&self, out: &mut Vec<u8>, traits: Raw<'_>) {
        let (phone, has_number) = (traits.field("phone"), traits.field("phoneNumber").is_some());
        let (start, mut is_told) = (out.len(), false);
        for field in copy::of(traits, self.style.flatten) {
            let is_phone = field.is("phone");
            if is_phone && (is_told || phone != Some(field.value)) {
                // A twin, which may have another form.
            } else if is_phone
                && let Some(phone) = field.value.scalar()
                && !has_number
            {
                write::key(out, "phoneNumber");
                write::string(out, &phone);
                is_told = true;
            } else if !(field.is("email") || field.is("userId")) {
                copy::field(out, field.key(), field.value, self.style);
            }
        }
        copy::last_of_each(out, start, self.style);
    }

    fn event_name<'a>(&self, event: &'a Event<'_>) -> Result<Cow<'a, str>, Refusal> {
        let page_name = || event.page_name().filter(|_| !self.pages.single_event);
        let loaded = |what, otherwise: &'static str| match page_name() {
            Some(name) => Cow::Owned(format!("{} {what}", name.trim())),
            None => Cow::Borrowed(otherwise),
        };
        match event.kind {
            Kind::Page => Ok(loaded("page", "Loaded a Page")),
            Kind::Screen => Ok(loaded("screen", "Loaded a Screen")),
            _ => {
                let name = event.event.as_deref().filter(|name| !name.chars().all(char::is_whitespace));
                name.map(Cow::Borrowed).ok_or_else(|| Refusal::new(Reason::NoEventName, "track without `event`"))
            }
        }
    }

    /// An event's element.
    pub(super) fn event(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let name = self.event_name(event)?;
        let mut properties = Properties::of(event)?;
        let email = properties.email.take().or_else(|| email_of_traits(event));
        let ids = self.ids(event, email)?;
        out.push(b'{');
        ids.write(out);
        out.extend_from_slice(b",\"eventName\":");
        write::string(out, &name);
        id_and_time(event, out);
        if let Some(properties) = event.properties {
            out.extend_from_slice(b",\"dataFields\":");
            copy::object(out, properties, self.style);
        }
        properties.write_ids(out);
        flag(out, "createNewFields", self.create_new_fields);
        out.push(b'}');
        Ok(())
    }
}

/// What stands in an event's properties beside its data fields, read in one pass.
#[derive(Debug, Default)]
pub(super) struct Properties<'a> {
    pub(super) email: Option<Cow<'a, str>>,
    campaign: Option<i64>,
    template: Option<i64>,
}

impl<'a> Properties<'a> {
    /// The ids of campaign and template, as far as there are any.
    pub(super) fn write_ids(&self, out: &mut Vec<u8>) {
        for (name, id) in [("campaignId", self.campaign), ("templateId", self.template)] {
            if let Some(id) = id {
                write::key(out, name);
                write::integer(out, id);
            }
        }
    }

    /// The same of a purchase: its ids have no more than 32 bits.
    pub(super) fn of_purchase(event: &Event<'a>) -> Result<Self, Refusal> {
        let properties = Self::of(event)?;
        let small = |id: Option<i64>| id.is_none_or(|id| i32::try_from(id).is_ok());
        for (name, id) in [("campaignId", properties.campaign), ("templateId", properties.template)] {
            if !small(id) {
                return Err(no_id(name));
            }
        }
        Ok(properties)
    }

    pub(super) fn of(event: &Event<'a>) -> Result<Self, Refusal> {
        // Of a name that occurs twice the last one counts, whatever the first one is.
        let (mut email, mut campaign, mut template) = (None, None, None);
        let Some(properties) = event.properties else { return Ok(Self::default()) };
        for field in properties.fields() {
            if field.is("email") {
                email = Some(field.value);
            } else if field.is("campaignId") {
                campaign = Some(field.value);
            } else if field.is("templateId") {
                template = Some(field.value);
            }
        }
        let email = email.and_then(Raw::string).filter(|email| !email.is_empty());
        let mut found = Self { email, ..Self::default() };
        if let Some(value) = campaign {
            found.campaign = vendors_id("campaignId", value)?;
        }
        if let Some(value) = template {
            found.template = vendors_id("templateId", value)?;
        }
        Ok(found)
    }
}

/// A whole number above zero, where the vendor's ids begin, or its digits as text; null is absent.
fn vendors_id(name: &'static str, value: Raw<'_>) -> Result<Option<i64>, Refusal> {
    if value.is_null() {
        return Ok(None);
    }
    let digits = value.string().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let text = digits.as_deref().unwrap_or(value.get());
    match text.parse() {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(no_id(name)),
    }
}

fn no_id(name: &str) -> Refusal {
    Refusal::new(Reason::InvalidField, format!("`properties.{name}` is no whole number above 0 that the vendor takes"))
}

fn flag(out: &mut Vec<u8>, name: &str, value: Option<bool>) {
    if let Some(value) = value {
        write::key(out, name);
        out.extend_from_slice(if value { b"true" } else { b"false" });
    }
}

/// Whose repetition an event is, and when it happened; behind what is there already.
pub(super) fn id_and_time(event: &Event<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"id\":\"");
    event_id(out, &event.id());
    if let Some(ms) = event.time_ms() {
        out.extend_from_slice(b"\",\"createdAt\":");
        time::write_unix(out, ms);
    } else {
        out.push(b'"');
    }
}

/// The message's id where the vendor takes it, else its hash: an id that comes again updates the event.
fn event_id(out: &mut Vec<u8>, id: &str) {
    if is_event_id(id) {
        out.extend_from_slice(id.as_bytes());
    } else {
        write::hex(out, &Sha256::digest(id.as_bytes()));
    }
}

/// Whether the vendor takes it as an event's id.
pub(super) fn is_event_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !id.is_empty() && id.len() <= LONGEST_EVENT_ID && text::all(id.as_bytes(), plain)
}

#[cfg(test)]
mod tests {
    use super::{event_id, vendors_id};
    use crate::json::Tape;

    #[test]
    fn ids_of_campaigns() {
        let id = |text| vendors_id("x", Tape::trusted(text).value());
        assert_eq!(id("12"), Ok(Some(12)));
        assert_eq!(id("\"12\""), Ok(Some(12)));
        assert_eq!(id("null"), Ok(None));
        for bad in
            ["0", "-0", "-5", "\"0\"", "\"-5\"", "\"\"", "1.5", "1e3", "\"x7\"", "true", "{}", "99999999999999999999"]
        {
            assert!(id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_that_the_vendor_would_not_take_is_hashed() {
        let id = |text: &str| {
            let mut out = Vec::new();
            event_id(&mut out, text);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(id("0b0f6a8e-5c0c"), "0b0f6a8e-5c0c");
        assert_eq!(id("a:b"), "6783a31eabf68ccc0660f935c0826282bdd2241f3a80a9f2d10d59aea9ebb5d8");
        assert_eq!(id(&"x".repeat(513)).len(), 64);
    }
}
