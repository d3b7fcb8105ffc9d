//! Segment-spec messages to elements of MoEngage's bulk request.
//!
//! | event | becomes |
//! | --- | --- |
//! | identify | `customer`; with `context.device.type` and `.token` also `device`, behind it |
//! | track | `event` with one action |
//! | page, screen | `event` with the action `Viewed <name> Page`, `Viewed <name> Screen`; without a name `Viewed Page`, `Viewed Screen` |
//! | alias | a pair of a merge request, with `alias = "merge"` |
//! | track, named in the settings | a business event, an alert: [`campaign`](super::campaign) |
//! | group | `customer` with the group's traits and `group_id` |
//!
//! The vendor answers 200 first and looks at the elements later, so all that it would drop without a word is refused
//! here: ids that it does not take, names that it keeps for itself, events of the future. Rules: pages
//! `data/data-overview`, `event/track-event`, `bulk/bulk-import-users-and-events` (2026-11).

use std::borrow::Cow;

use super::{attributes, zone};
use crate::clock::Now;
use crate::config::{self, Anonymous};
use crate::event::{Context, Event, Kind, time};
use crate::json::copy::{self, Style};
use crate::json::{Raw, write};
use crate::outcome::{No, Reason, Refusal};

/// By how much a producer's clock may be ahead of ours: a guess that covers badly kept clocks, not wrong time zones.
const SKEW_MS: i64 = 5 * 60 * 1000;

/// The vendor cuts longer names of events and attributes, in characters; it keeps so many attributes of an event.
const LONGEST_NAME: usize = 200;
const MOST_ATTRIBUTES: usize = 100;
/// All users of a workspace together have so many different attributes.
const MOST_OF_A_USER: usize = 256;

/// Ids that the vendor refuses; it does not say whether case counts.
const REFUSED_IDS: &[&str] = &[
    "unknown",
    "guest",
    "null",
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
];

/// What an account's settings change about elements.
#[derive(Debug)]
pub(super) struct Encoder {
    anonymous: Anonymous,
    pub(super) style: Style,
    update_existing_only: bool,
}

impl Encoder {
    pub(super) const fn new(account: &config::Account, settings: &config::Moengage) -> Self {
        Self {
            anonymous: account.anonymous,
            style: Style { flatten: account.flatten, dates: false },
            update_existing_only: settings.update_existing_only,
        }
    }

    /// Who the event is about.
    pub(super) fn customer_id<'a>(&self, event: &Event<'a>) -> Result<Cow<'a, str>, No> {
        let id = match event.user() {
            Some(id) => id,
            None => event.anonymous(self.anonymous)?,
        };
        check_id(&id)?;
        Ok(id)
    }

    /// Who is merged, and into whom.
    pub(super) fn merged<'a>(event: &Event<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), Refusal> {
        // Never an anonymous id: what is merged is merged for ever.
        let retained = event.user().ok_or_else(|| Refusal::new(Reason::NoUser, "an alias has a `userId`"))?;
        check_id(&retained)?;
        let merged = event.previous_id.clone();
        let merged = merged.ok_or_else(|| Refusal::new(Reason::NoUser, "an alias has a `previousId`"))?;
        check_id(&merged)?;
        if merged == retained {
            return Err(Refusal::new(Reason::InvalidUserId, "`previousId` is the user's id already"));
        }
        Ok((merged, retained))
    }

    /// A pair of `merge_data`.
    pub(super) fn merge(event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let (merged, retained) = Self::merged(event)?;
        out.extend_from_slice(b"{\"merged_user\":");
        write::string(out, &merged);
        write::key(out, "retained_user");
        write::string(out, &retained);
        out.push(b'}');
        Ok(())
    }

    /// The id again, once the event was planned.
    fn planned_id<'a>(&self, event: &Event<'a>) -> Result<Cow<'a, str>, Refusal> {
        self.customer_id(event).map_err(refused)
    }

    /// The `customer` element, and the `device` element if the event names a device.
    pub(super) fn identify(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let id = self.planned_id(event)?;
        let context = event.context;
        for traits in [event.traits, context.traits].into_iter().flatten() {
            check_attributes(traits, self.style.flatten, MOST_OF_A_USER)?;
        }
        self.open_customer(&id, out);
        attributes::write(out, event.traits, context.traits, self.style);
        out.extend_from_slice(b"}}");
        self.device(event, &context, &id, out);
        Ok(())
    }

    /// The `customer` element of a user who belongs to a group.
    pub(super) fn group(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let id = self.planned_id(event)?;
        self.open_customer(&id, out);
        attributes::write_group(out, event, self.style);
        out.extend_from_slice(b"}}");
        Ok(())
    }

    /// A `customer` element up to its attributes, which are left open.
    fn open_customer(&self, id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"customer\",\"customer_id\":");
        write::string(out, id);
        if self.update_existing_only {
            out.extend_from_slice(b",\"update_existing_only\":true");
        }
        out.extend_from_slice(b",\"attributes\":{");
    }

    fn device(&self, event: &Event<'_>, context: &Context<'_>, id: &str, out: &mut Vec<u8>) {
        let device = Device::of(context);
        let (Some(platform), Some(token)) = (device.kind.as_deref().and_then(platform), device.token) else { return };
        if platform == "unknown" {
            return;
        }
        out.extend_from_slice(b",{\"type\":\"device\",\"customer_id\":");
        write::string(out, id);
        out.extend_from_slice(b",\"device_id\":");
        write::string(out, device.id.as_deref().unwrap_or(id));
        out.extend_from_slice(b",\"attributes\":{\"platform\":\"");
        out.extend_from_slice(platform.as_bytes());
        out.extend_from_slice(b"\",\"push_id\":");
        write::string(out, &token);
        optional(out, "model", device.model);
        optional(out, "app_version", version(context.app));
        optional(out, "os_version", version(context.os));
        self.device_rest(event, out);
        out.extend_from_slice(b"}}");
    }

    /// An identify's properties are about its device; the vendor drops what it does not know.
    fn device_rest(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        for field in event.properties.into_iter().flat_map(Raw::fields) {
            match &*field.name() {
                "" | "id" | "_id" | "platform" | "push_id" | "model" | "app_version" | "os_version" => {}
                "pushPreference" => copy::field(out, "push_preference", field.value, self.style),
                _ => copy::field(out, field.key, field.value, self.style),
            }
        }
    }

    /// The `event` element.
    pub(super) fn event(&self, event: &Event<'_>, now: Now, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let id = self.planned_id(event)?;
        let name = event_name(event)?;
        if let Some(properties) = event.properties {
            check_attributes(properties, self.style.flatten, MOST_ATTRIBUTES)?;
        }
        let time = event_time(event, now)?;
        let context = event.context;
        let device = Device::of(&context);
        out.extend_from_slice(b"{\"type\":\"event\",\"customer_id\":");
        write::string(out, &id);
        optional(out, "device_id", device.id);
        out.extend_from_slice(b",\"actions\":[{\"action\":");
        write::string(out, &name);
        if let Some(properties) = event.properties {
            out.extend_from_slice(b",\"attributes\":");
            copy::object(out, properties, self.style);
        }
        if let Some(platform) = device.kind.as_deref().or(event.channel.as_deref()).and_then(platform) {
            out.extend_from_slice(b",\"platform\":\"");
            out.extend_from_slice(platform.as_bytes());
            out.push(b'"');
        }
        optional(out, "app_version", version(context.app));
        if let Some(ms) = time {
            out.extend_from_slice(b",\"current_time\":\"");
            time::write_iso(out, ms);
            out.push(b'"');
            let zone = context.timezone.and_then(Raw::string);
            if let Some(seconds) = zone.and_then(|name| zone::offset(&name, ms)) {
                out.extend_from_slice(b",\"user_timezone_offset\":");
                write::integer(out, i64::from(seconds));
            }
        }
        out.extend_from_slice(b"}]}");
        Ok(())
    }
}

/// What planning has let through is not skipped later.
fn refused(no: No) -> Refusal {
    match no {
        No::Refused(refusal) => refusal,
        No::Skipped(_) => Refusal::new(Reason::Anonymous, "the message has an anonymous id alone"),
    }
}

/// Whether somebody can have this id.
pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
    if id.chars().nth(1).is_none() {
        return Err(Refusal::new(Reason::InvalidUserId, "MoEngage takes no user id of one character"));
    }
    if REFUSED_IDS.iter().any(|refused| refused.eq_ignore_ascii_case(id)) {
        return Err(Refusal::new(Reason::InvalidUserId, "MoEngage refuses this placeholder as a user id"));
    }
    Ok(())
}

fn event_name<'a>(event: &'a Event<'_>) -> Result<Cow<'a, str>, Refusal> {
    let viewed = |what| match event.page_name() {
        Some(name) => format!("Viewed {} {what}", name.trim()),
        None => format!("Viewed {what}"),
    };
    match event.kind {
        Kind::Page => check_viewed(viewed("Page")),
        Kind::Screen => check_viewed(viewed("Screen")),
        _ => named(event),
    }
}

fn check_viewed<'a>(name: String) -> Result<Cow<'a, str>, Refusal> {
    check_name(&name)?;
    Ok(name.into())
}

/// A track event's name.
pub(super) fn named<'a>(event: &'a Event<'_>) -> Result<Cow<'a, str>, Refusal> {
    let name = event.event.as_deref().unwrap_or_default();
    if name.trim().is_empty() {
        return Err(Refusal::new(Reason::NoEventName, "track without `event`"));
    }
    check_name(name)?;
    Ok(name.into())
}

/// Whether an event may have this name.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.starts_with("moe_") {
        return Err(Refusal::new(Reason::ReservedName, "MoEngage keeps event names that begin with moe_ for itself"));
    }
    if longer(name, LONGEST_NAME) {
        return Err(Refusal::new(Reason::NameTooLong, "MoEngage cuts event names at 200 characters"));
    }
    Ok(())
}

/// Whether a text has more characters than that.
fn longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}

/// Whether the vendor keeps so many attributes, with names like these.
fn check_attributes(attributes: Raw<'_>, flatten: bool, most: usize) -> Result<(), Refusal> {
    // Fewer bytes hold neither more fields nor a longer name.
    if attributes.get().len() <= LONGEST_NAME {
        return Ok(());
    }
    let (mut count, mut long) = (0, false);
    count_fields(attributes, flatten, &mut count, &mut long);
    if count > most {
        let detail = format!("{count} attributes: MoEngage keeps {most}");
        return Err(Refusal::new(Reason::TooManyFields, detail));
    }
    if long {
        return Err(Refusal::new(Reason::NameTooLong, "MoEngage cuts attribute names at 200 characters"));
    }
    Ok(())
}

/// Counts what goes out as fields of its own.
fn count_fields(value: Raw<'_>, flatten: bool, count: &mut usize, long: &mut bool) {
    for field in value.fields() {
        *long |= longer(field.key, LONGEST_NAME);
        if flatten && copy::has_items(field.value) {
            count_fields(field.value, true, count, long);
        } else {
            *count += 1;
        }
    }
    for item in value.items() {
        if flatten && copy::has_items(item) {
            count_fields(item, true, count, long);
        } else {
            *count += 1;
        }
    }
}

/// The event's time; one that is ahead by no more than clocks differ is now.
fn event_time(event: &Event<'_>, now: Now) -> Result<Option<i64>, Refusal> {
    let Some(ms) = event.time_ms() else { return Ok(None) };
    check_time(ms, now)?;
    Ok(Some(ms.min(now.wall_ms)))
}

/// Whether an event may have this time.
pub(super) fn check_time(ms: i64, now: Now) -> Result<(), Refusal> {
    if ms > now.wall_ms.saturating_add(SKEW_MS) {
        return Err(Refusal::new(Reason::FutureTime, "MoEngage takes no events of the future"));
    }
    Ok(())
}

/// `context.device`, read in one pass.
#[derive(Default)]
struct Device<'a> {
    id: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    token: Option<Cow<'a, str>>,
    model: Option<Cow<'a, str>>,
}

impl<'a> Device<'a> {
    fn of(context: &Context<'a>) -> Self {
        let mut device = Self::default();
        for field in context.device.into_iter().flat_map(Raw::fields) {
            match &*field.name() {
                "id" => device.id = field.value.id(),
                "type" => device.kind = field.value.id(),
                "token" => device.token = field.value.id(),
                "model" => device.model = field.value.id(),
                _ => {}
            }
        }
        device
    }
}

/// The vendor's word for a platform; what it has no word for is left out.
fn platform(name: &str) -> Option<&'static str> {
    const WORDS: &[(&str, &str)] = &[
        ("ios", "iOS"),
        ("ipados", "iOS"),
        ("tvos", "iOS"),
        ("watchos", "iOS"),
        ("android", "ANDROID"),
        ("web", "web"),
        ("browser", "web"),
        ("chrome", "web"),
        ("firefox", "web"),
        ("safari", "web"),
        ("edge", "web"),
        ("opera", "web"),
        ("unknown", "unknown"),
    ];
    WORDS.iter().find(|(from, _)| from.eq_ignore_ascii_case(name)).map(|(_, to)| *to)
}

fn version(part: Option<Raw<'_>>) -> Option<Cow<'_, str>> {
    part?.field("version")?.id()
}

/// Writes a field of text into the open object, if there is a value.
fn optional(out: &mut Vec<u8>, name: &str, value: Option<Cow<'_, str>>) {
    if let Some(value) = value {
        write::key(out, name);
        write::string(out, &value);
    }
}
