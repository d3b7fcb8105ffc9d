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

use super::limits::{Of, check_attributes, check_id, check_name, check_written, is_blank};
use super::moment::Moment;
use super::{attributes, zone};
use crate::clock::Now;
use crate::config::{self, Anonymous};
use crate::event::{Context, Event, Kind};
use crate::json::copy::{self, Style};
use crate::json::{Raw, write};
use crate::outcome::{No, Reason, Refusal};

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
    pub(super) fn customer_id<'e>(&self, event: &'e Event<'_>) -> Result<Cow<'e, str>, No> {
        let id = self.any_id(event)?;
        check_id(&id)?;
        Ok(id)
    }

    /// The same, whether or not somebody can have this id.
    fn any_id<'e>(&self, event: &'e Event<'_>) -> Result<Cow<'e, str>, No> {
        if let Some(id) = &event.user_id {
            return Ok(Cow::Borrowed(id));
        }
        event.user_of_traits().map_or_else(|| event.anonymous(self.anonymous), Ok)
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

    /// The id again, once the event was planned, which has checked it.
    fn planned_id<'e>(&self, event: &'e Event<'_>) -> Result<Cow<'e, str>, Refusal> {
        self.any_id(event).map_err(refused)
    }

    /// The `customer` element, and the `device` element if the event names a device.
    pub(super) fn identify(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let id = self.planned_id(event)?;
        let context = event.context;
        let start = self.open_customer(&id, out);
        attributes::write(out, event.traits, context.traits, self.style);
        close_customer(start, out)?;
        self.device(event, &context, &id, out);
        Ok(())
    }

    /// The `customer` element of a user who belongs to a group.
    pub(super) fn group(&self, event: &Event<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let id = self.planned_id(event)?;
        let start = self.open_customer(&id, out);
        attributes::write_group(out, event, self.style);
        close_customer(start, out)
    }

    /// A `customer` element up to its attributes, which are left open; where those begin.
    fn open_customer(&self, id: &str, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(b"{\"type\":\"customer\",\"customer_id\":");
        write::string(out, id);
        if self.update_existing_only {
            out.extend_from_slice(b",\"update_existing_only\":true");
        }
        out.extend_from_slice(b",\"attributes\":{");
        out.len() - 1
    }

    fn device(&self, event: &Event<'_>, context: &Context<'_>, id: &str, out: &mut Vec<u8>) {
        let device = Device::of(context);
        let Some(platform) = device.platform(None).filter(|platform| *platform != "unknown") else { return };
        let Some(token) = device.token.and_then(Raw::id) else { return };
        out.extend_from_slice(b",{\"type\":\"device\",\"customer_id\":");
        write::string(out, id);
        out.extend_from_slice(b",\"device_id\":");
        write::string(out, device.id.and_then(Raw::id).as_deref().unwrap_or(id));
        out.extend_from_slice(b",\"attributes\":{\"platform\":\"");
        out.extend_from_slice(platform.as_bytes());
        out.extend_from_slice(b"\",\"push_id\":");
        write::string(out, &token);
        optional(out, b",\"model\":", device.model.and_then(Raw::id));
        optional(out, b",\"app_version\":", version(context.app));
        optional(out, b",\"os_version\":", version(context.os));
        self.device_rest(event, out);
        out.extend_from_slice(b"}}");
    }

    /// An identify's properties are about its device; the vendor drops what it does not know.
    fn device_rest(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let has_preference = event.properties.is_some_and(|properties| properties.field("push_preference").is_some());
        for field in event.properties.into_iter().flat_map(|properties| copy::of(properties, self.style.flatten)) {
            match &*field.name() {
                "pushPreference" if has_preference => {}
                "" | "id" | "_id" | "platform" | "push_id" | "model" | "app_version" | "os_version" => {}
                "pushPreference" => copy::field(out, "push_preference", field.value, self.style),
                _ => copy::field(out, field.key(), field.value, self.style),
            }
        }
        copy::last_of_each(out, start, self.style);
    }

    /// The `event` element.
    pub(super) fn event(&self, event: &Event<'_>, now: Now, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let id = self.planned_id(event)?;
        let name = event_name(event)?;
        let moment = Moment::of(event, now)?;
        let context = &event.context;
        let device = Device::of(context);
        out.extend_from_slice(b"{\"type\":\"event\",\"customer_id\":");
        write::string(out, &id);
        optional(out, b",\"device_id\":", device.id.and_then(Raw::id));
        out.extend_from_slice(b",\"actions\":[{\"action\":");
        write::string(out, &name);
        if let Some(properties) = event.properties {
            out.extend_from_slice(b",\"attributes\":");
            let start = out.len();
            copy::object(out, properties, self.style);
            if self.style.flatten {
                check_written(out, start, Of::Event)?;
            } else {
                check_attributes(properties, Of::Event)?;
            }
        }
        if let Some(platform) = device.platform(event.channel.as_deref()) {
            out.extend_from_slice(b",\"platform\":\"");
            out.extend_from_slice(platform.as_bytes());
            out.push(b'"');
        }
        optional(out, b",\"app_version\":", version(context.app));
        if let Some(moment) = moment {
            out.extend_from_slice(b",\"current_time\":");
            moment.write(out);
            let zone = context.timezone.and_then(Raw::string);
            if let Some(seconds) = zone.and_then(|name| zone::offset(&name, moment.ms)) {
                out.extend_from_slice(b",\"user_timezone_offset\":");
                write::integer(out, i64::from(seconds));
            }
        }
        out.extend_from_slice(b"}]}");
        Ok(())
    }
}

/// Ends a `customer` element behind its attributes, which begin at `start`, unless the vendor would not keep them.
fn close_customer(start: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    out.push(b'}');
    check_written(out, start, Of::User)?;
    out.push(b'}');
    Ok(())
}

/// What planning has let through is not skipped later.
fn refused(no: No) -> Refusal {
    match no {
        No::Refused(refusal) => refusal,
        No::Skipped(..) => Refusal::new(Reason::Anonymous, "the message has an anonymous id alone"),
    }
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
    if is_blank(name) {
        return Err(Refusal::new(Reason::NoEventName, "track without `event`"));
    }
    check_name(name)?;
    Ok(name.into())
}

/// `context.device`, looked through once. Each part is an id: what is no text or number is absent.
#[derive(Default)]
struct Device<'a> {
    id: Option<Raw<'a>>,
    kind: Option<Raw<'a>>,
    token: Option<Raw<'a>>,
    model: Option<Raw<'a>>,
}

impl<'a> Device<'a> {
    fn of(context: &Context<'a>) -> Self {
        let mut device = Self::default();
        let Some(fields) = context.device.map(Raw::fields) else { return device };
        for field in fields {
            match &*field.name() {
                "id" => device.id = Some(field.value),
                "type" => device.kind = Some(field.value),
                "token" => device.token = Some(field.value),
                "model" => device.model = Some(field.value),
                _ => {}
            }
        }
        device
    }

    /// The vendor's word for the device's platform; where its type is absent, for this one.
    fn platform(&self, otherwise: Option<&str>) -> Option<&'static str> {
        let own = self.kind.and_then(Raw::id);
        own.as_deref().or(otherwise).and_then(platform)
    }
}

/// The vendor's word for a platform; what it has no word for is left out.
fn platform(name: &str) -> Option<&'static str> {
    const WORDS: &[(&str, &str)] = &[
        ("ios", "iOS"),
        ("ipados", "iOS"),
        ("tvos", "iOS"),
        ("watchos", "iOS"),
        ("macos", "iOS"),
        ("visionos", "iOS"),
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

/// Writes a field of text, if there is a value, behind what leads to it: a comma, the name and a colon.
fn optional(out: &mut Vec<u8>, lead: &[u8], value: Option<Cow<'_, str>>) {
    if let Some(value) = value {
        out.extend_from_slice(lead);
        write::string(out, &value);
    }
}
