//! One event, borrowed from its Kafka record: type, ids, names, times; traits and properties stay raw JSON.
//!
//! Guarantees that what it hands on is one valid JSON object in UTF-8, without lone surrogates, so that its parts can
//! be copied into a body that other events share. Decoding is one pass and allocates only for ids and names that hold
//! escapes. Never decides whose the event is or what a vendor wants.

mod decode;
pub mod fields;
pub mod time;

use std::borrow::Cow;

use crate::config::Anonymous;
use crate::json::Raw;
use crate::outcome::{No, Reason, Refusal, Skip};

/// Where a record stands in Kafka.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The record's timestamp, milliseconds since the epoch; absent on very old topics.
    pub timestamp_ms: Option<i64>,
}

/// The Segment spec's message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Who the user is.
    Identify,
    /// What the user did.
    Track,
    /// A page view.
    Page,
    /// A screen view.
    Screen,
    /// Two ids of one user.
    Alias,
    /// The user's company.
    Group,
}

impl Kind {
    /// Every type.
    pub const ALL: [Self; 6] = [Self::Identify, Self::Track, Self::Page, Self::Screen, Self::Alias, Self::Group];

    /// The value of `type` in a message.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Alias => "alias",
            Self::Group => "group",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A decoded Segment-spec message.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Where it came from.
    pub origin: Origin<'a>,
    /// Which of the six messages.
    pub kind: Kind,
    /// `userId`, as text (numbers become their digits); absent if empty or null.
    pub user_id: Option<Cow<'a, str>>,
    /// `anonymousId`.
    pub anonymous_id: Option<Cow<'a, str>>,
    /// `previousId` (alias).
    pub previous_id: Option<Cow<'a, str>>,
    /// `groupId` (group).
    pub group_id: Option<Cow<'a, str>>,
    /// `messageId`.
    pub message_id: Option<Cow<'a, str>>,
    /// `event` (track); `None` if absent or not a string.
    pub event: Option<Cow<'a, str>>,
    /// `name` (page, screen).
    pub name: Option<Cow<'a, str>>,
    /// `category` (page).
    pub category: Option<Cow<'a, str>>,
    /// `channel`.
    pub channel: Option<Cow<'a, str>>,
    /// `timestamp`.
    pub timestamp: Option<Raw<'a>>,
    /// `originalTimestamp`.
    pub original_timestamp: Option<Raw<'a>>,
    /// `traits`, if it is an object.
    pub traits: Option<Raw<'a>>,
    /// `properties`, if it is an object.
    pub properties: Option<Raw<'a>>,
    /// Parts of `context`.
    pub context: Context<'a>,
    /// `integrations`, if it is an object.
    pub integrations: Option<Raw<'a>>,
    /// The whole message, for selections by path.
    pub whole: Raw<'a>,
    /// Whether the record is no message, but what a vendor wants already.
    pub raw: Option<RawForm<'a>>,
}

/// What a raw record's headers say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawForm<'a> {
    /// The shape that its value is an element of: `forebay-shape`.
    pub shape: &'a str,
    /// The catalogue that it is for: `forebay-catalog`.
    pub catalog: Option<&'a str>,
}

/// The parts of `context` that destinations read, found while the message is decoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// `traits`, if it is an object.
    pub traits: Option<Raw<'a>>,
    /// `device`
    pub device: Option<Raw<'a>>,
    /// `app`
    pub app: Option<Raw<'a>>,
    /// `os`
    pub os: Option<Raw<'a>>,
    /// `timezone`
    pub timezone: Option<Raw<'a>>,
}

impl<'a> Event<'a> {
    /// The user's id: `userId`, else `userId` or `id` of `traits`, else of `context.traits`. The traits of a group are
    /// not the user's.
    #[must_use]
    pub fn user(&self) -> Option<Cow<'a, str>> {
        self.user_id.clone().or_else(|| self.user_of_traits())
    }

    /// The user's id by the traits alone.
    #[must_use]
    pub fn user_of_traits(&self) -> Option<Cow<'a, str>> {
        let of_traits = |traits: Raw<'a>| {
            let id = |name| traits.field(name).and_then(Raw::id);
            id("userId").or_else(|| id("id"))
        };
        self.user_traits().and_then(of_traits).or_else(|| self.context.traits.and_then(of_traits))
    }

    /// `traits`, where they are the user's and not a group's.
    #[must_use]
    pub fn user_traits(&self) -> Option<Raw<'a>> {
        self.traits.filter(|_| self.kind != Kind::Group)
    }

    /// The id of the group that a group message is about: `groupId`, else `id` of its traits.
    #[must_use]
    pub fn group(&self) -> Option<Cow<'a, str>> {
        self.group_id.clone().or_else(|| self.traits?.field("id")?.id())
    }

    /// The name of a page or screen: `name`, else `name` in its properties; blank ones are absent.
    #[must_use]
    pub fn page_name(&self) -> Option<Cow<'_, str>> {
        self.own_or_property(self.name.as_deref(), "name")
    }

    /// The category of a page or screen: `category`, else `category` in its properties; blank ones are absent.
    #[must_use]
    pub fn page_category(&self) -> Option<Cow<'_, str>> {
        self.own_or_property(self.category.as_deref(), "category")
    }

    fn own_or_property<'s>(&'s self, own: Option<&'s str>, name: &str) -> Option<Cow<'s, str>> {
        let filled = |text: &Cow<'_, str>| !text.trim().is_empty();
        own.map(Cow::Borrowed).filter(filled).or_else(|| self.properties?.field(name)?.string().filter(filled))
    }

    /// What the account wants of a message that names its user by an anonymous id alone.
    pub fn anonymous(&self, setting: Anonymous) -> Result<Cow<'a, str>, No> {
        match (&self.anonymous_id, setting) {
            (Some(id), Anonymous::Use) => Ok(id.clone()),
            (Some(_), Anonymous::Skip) => Err(No::Skipped(Skip::Anonymous, Some("anonymous"))),
            (Some(_), Anonymous::Refuse) => {
                Err(Refusal::new(Reason::Anonymous, "the message has an anonymous id alone").into())
            }
            (None, _) => Err(Refusal::new(Reason::NoUser, "the message names no user").into()),
        }
    }

    /// When it happened, in milliseconds since the epoch: `timestamp`, else `originalTimestamp`, else the record's
    /// time; what cannot be read gives way to the next. Never a trait.
    #[must_use]
    pub fn time_ms(&self) -> Option<i64> {
        self.timestamp
            .and_then(time::of)
            .or_else(|| self.original_timestamp.and_then(time::of))
            .or(self.origin.timestamp_ms)
    }

    /// An id that stays the same however often the record is read: `messageId`, else one made of topic, partition and
    /// offset.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        if let Some(id) = &self.message_id {
            return Cow::Borrowed(id);
        }
        let Origin { topic, partition, offset, .. } = self.origin;
        Cow::Owned(format!("{topic}-{partition}-{offset}"))
    }

    /// Whether the message's `integrations` let it go to this account of this destination: the account's name beats
    /// the destination's, which beats `All`. Names compare without case; `false` is off, `true` and objects are on,
    /// anything else says nothing.
    #[must_use]
    pub fn integrations_allow(&self, destination: &str, account: &str) -> bool {
        let Some(integrations) = self.integrations else { return true };
        let (mut for_all, mut for_destination, mut for_account) = (None, None, None);
        for field in integrations.fields() {
            let on = match field.value.get() {
                "false" => false,
                "true" => true,
                _ if field.value.is_object() => true,
                _ => continue,
            };
            let name = field.name();
            // One name may be both an account's and the destination's.
            for (wanted, said) in
                [("all", &mut for_all), (destination, &mut for_destination), (account, &mut for_account)]
            {
                if name.eq_ignore_ascii_case(wanted) {
                    *said = Some(on);
                }
            }
        }
        for_account.or(for_destination).or(for_all).unwrap_or(true)
    }

    /// The text of a string, number or boolean at a JSON pointer's parts.
    #[must_use]
    pub fn text_at(&self, parts: &[String]) -> Option<Cow<'a, str>> {
        self.value_at(parts)?.scalar()
    }

    /// The value at a JSON pointer's parts.
    #[must_use]
    pub fn value_at(&self, parts: &[String]) -> Option<Raw<'a>> {
        let mut value = self.whole;
        for part in parts {
            value = if value.is_array() { value.items().nth(index(part)?)? } else { value.field(part)? };
        }
        Some(value)
    }
}

/// An array index of a JSON pointer: digits, no leading zero.
fn index(part: &str) -> Option<usize> {
    let plain = part == "0" || (!part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { part.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
