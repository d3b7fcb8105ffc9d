//! What MoEngage would refuse a whole batch for, or cut, or drop behind a 200: known before anything is sent.
//!
//! Rules: pages `data/data-overview`, `data-tracking-policies`, `event/track-event` (2026-11). Of texts only URLs are
//! checked, which the vendor leaves out whole where they are too long; it cuts other texts, and an event is worth more
//! than the end of one. Of lists, with the texts in them, and objects: [`nested`].

use std::collections::HashSet;

use super::nested;
use crate::clock::Now;
use crate::json::{Field, Raw, copy, look_at};
use crate::outcome::{Reason, Refusal};

/// By how much a producer's clock may be ahead of ours: a guess that covers badly kept clocks, not wrong time zones.
const SKEW_MS: i64 = 5 * 60 * 1000;

/// The vendor cuts longer names of events and attributes, in characters.
const LONGEST_NAME: usize = 200;
/// The vendor leaves out the value of an attribute that is a longer URL, in characters.
const LONGEST_URL: usize = 512;

/// What begins like this is the vendor's own.
const SYSTEM: &str = "moe_";

/// Whose attributes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Event,
    User,
}

/// Attributes of users that the page lists for users to be written with, in spite of how they begin.
const SYSTEM_OF_A_USER: &[&str] = &[
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
/// The same of events.
const SYSTEM_OF_AN_EVENT: &[&str] = &["moe_project_name"];

/// "Keys that should not be used when tracking user attributes", beside those that begin with `USER_ATTRIBUTE_`; and the
/// names that the vendor blocks. `source`, `status` and `user_id` are on the list, too: all integrations send the first, and
/// ordinary traits have the others' names, for which nobody should lose the user's other traits. `city`, `state` and `country`
/// it does not change, and takes the rest. What users of Forebay are told of all these: `docs/accounts.md`.
const RESERVED_OF_A_USER: &[&str] =
    &["", "id", "_id", "MOE_TIME_FORMAT", "MOE_TIME_TIMEZONE", "MOE_GAID", "MOE_ISLAT", "INSTALL", "UPDATE"];

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

/// The lengths of refused ids, a bit each: most ids have another.
const REFUSED_LENGTHS: u32 = {
    let (mut lengths, mut index) = (0, 0);
    while index < REFUSED_IDS.len() {
        lengths |= 1 << REFUSED_IDS[index].len();
        index += 1;
    }
    lengths
};

/// Whether somebody can have this id.
pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
    let has_one = id.len() <= char::MAX_LEN_UTF8 && id.chars().nth(1).is_none();
    if has_one || is_blank(id) {
        return Err(Refusal::new(Reason::InvalidUserId, "MoEngage takes no user id of one character, or of blanks"));
    }
    let is_of_such_length = id.len() < 32 && REFUSED_LENGTHS >> id.len() & 1 == 1;
    if is_of_such_length && REFUSED_IDS.iter().any(|refused| refused.eq_ignore_ascii_case(id)) {
        return Err(Refusal::new(Reason::InvalidUserId, "MoEngage refuses this placeholder as a user id"));
    }
    Ok(())
}

/// Whether a text has nothing but white space.
#[inline]
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// Whether an event may have this name.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.starts_with(SYSTEM) {
        return Err(Refusal::new(Reason::ReservedName, "MoEngage keeps event names that begin with moe_ for itself"));
    }
    if longer(name, LONGEST_NAME) {
        return Err(Refusal::new(Reason::NameTooLong, "MoEngage cuts event names at 200 characters"));
    }
    Ok(())
}

/// Whether a text has more characters than that.
#[inline]
pub(super) fn longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().nth(most).is_some()
}

impl Of {
    /// How many the vendor keeps of an event; all users of a workspace together have so many different ones.
    const fn most(self) -> usize {
        match self {
            Self::Event => 100,
            Self::User => 256,
        }
    }

    /// Whether the vendor keeps an attribute's name for itself.
    #[inline]
    pub(super) fn reserves(self, name: &[u8]) -> bool {
        match self {
            Self::Event => name.starts_with(SYSTEM.as_bytes()) && !is_one_of(SYSTEM_OF_AN_EVENT, name),
            Self::User => is_reserved_of_a_user(name),
        }
    }
}

fn is_reserved_of_a_user(name: &[u8]) -> bool {
    is_one_of(RESERVED_OF_A_USER, name)
        || name.starts_with(b"USER_ATTRIBUTE_")
        || (name.starts_with(SYSTEM.as_bytes()) && !is_one_of(SYSTEM_OF_A_USER, name))
}

fn is_one_of(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|one| one.as_bytes() == name)
}

/// Whether a field has a longer name than the vendor takes; `name` is it.
#[inline]
pub(super) fn has_long_name(field: &Field<'_>, name: &[u8]) -> bool {
    name.len() > LONGEST_NAME && longer(&field.name(), LONGEST_NAME)
}

/// Which fields of an object count.
pub(super) trait Counted {
    fn of(object: Raw<'_>) -> impl Iterator<Item = Field<'_>>;
}

/// All of them.
pub(super) enum All {}

/// Of a name that occurs twice the last one.
pub(super) enum Last {}

impl Counted for All {
    #[inline]
    fn of(object: Raw<'_>) -> impl Iterator<Item = Field<'_>> {
        object.fields()
    }
}

impl Counted for Last {
    fn of(object: Raw<'_>) -> impl Iterator<Item = Field<'_>> {
        copy::of(object, true)
    }
}

/// Whether the vendor keeps all of these attributes, which are as they go out: flattened, and without the ids.
pub(super) fn check_attributes(attributes: Raw<'_>, of: Of) -> Result<(), Refusal> {
    // Of a name that occurs twice the last value counts, which is looked for only where something is wrong.
    check_each::<All>(attributes, of).or_else(|_| check_each::<Last>(attributes, of))
}

fn check_each<F: Counted>(attributes: Raw<'_>, of: Of) -> Result<(), Refusal> {
    let (mut count, mut added, mut removed) = (0, None, None);
    for field in F::of(attributes) {
        let name = field.name_bytes();
        match (of, &*name) {
            (Of::User, b"addValueToArrayField") => added = Some(field.value),
            (Of::User, b"removeValueFromArrayField") => removed = Some(field.value),
            _ => nested::check::<F>(field.value)?,
        }
        if of.reserves(&name) {
            let detail =
                format!("MoEngage keeps the attribute name `{}` for itself: rename it, or drop it", field.name());
            return Err(Refusal::new(Reason::ReservedName, detail));
        }
        if has_long_name(&field, &name) {
            return Err(Refusal::new(Reason::NameTooLong, "MoEngage cuts attribute names at 200 characters"));
        }
        check_url(field.value)?;
        count += 1;
    }
    if added.is_some() || removed.is_some() {
        check_edits::<F>(added, removed)?;
    }
    if count > of.most() {
        return Err(Refusal::new(Reason::TooManyFields, format!("{count} attributes: MoEngage keeps {}", of.most())));
    }
    Ok(())
}

/// Whether the vendor keeps what a user's arrays get and lose. It refuses the whole request in which an array does both
/// (`ArrayFieldError`).
fn check_edits<F: Counted>(added: Option<Raw<'_>>, removed: Option<Raw<'_>>) -> Result<(), Refusal> {
    for edits in [added, removed].into_iter().flatten() {
        // Their fields are attributes, too.
        F::of(edits).try_for_each(|field| nested::check::<F>(field.value))?;
    }
    let (Some(added), Some(removed)) = (added, removed) else { return Ok(()) };
    let names: HashSet<_> = removed.fields().map(|field| field.name()).collect();
    let twice = added.fields().map(|field| field.name()).find(|name| names.contains(name));
    twice.map_or(Ok(()), |name| {
        let detail = format!("values are added to and removed from `{name}` at once: MoEngage takes one of them");
        Err(Refusal::new(Reason::InvalidField, detail))
    })
}

/// The same of the object whose fields are written at the end of `out`, from `start` on.
pub(super) fn check_written(out: &[u8], start: usize, of: Of) -> Result<(), Refusal> {
    let object = out.get(start..).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("{}");
    look_at(object, |written| check_attributes(written, of))
}

/// Whether the vendor keeps this text; anything but a text is no URL.
#[inline]
pub(super) fn check_url(value: Raw<'_>) -> Result<(), Refusal> {
    if value.size() <= LONGEST_URL { Ok(()) } else { check_long(value) }
}

/// The same of what has so many bytes that it may be too long.
fn check_long(value: Raw<'_>) -> Result<(), Refusal> {
    let is_long = value.string().is_some_and(|text| {
        let begins = |with: &str| text.get(..with.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(with));
        (begins("https://") || begins("http://")) && longer(&text, LONGEST_URL)
    });
    if is_long {
        return Err(Refusal::new(Reason::ValueTooLong, "MoEngage leaves out URLs of more than 512 characters"));
    }
    Ok(())
}

/// Whether an event may have this time.
pub(super) fn check_time(ms: i64, now: Now) -> Result<(), Refusal> {
    if ms > now.wall_ms.saturating_add(SKEW_MS) {
        return Err(Refusal::new(Reason::FutureTime, "MoEngage takes no events of the future"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Tape;

    fn check(object: &str) -> Result<(), Reason> {
        check_attributes(Tape::parse(object).expect("an object").value(), Of::Event).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_name_that_is_too_long_is_found_wherever_it_stands() {
        for before in 0..250 {
            let object = |name: &str| format!(r#"{{"a":"{}","{name}":1}}"#, "b".repeat(before));
            assert_eq!(check(&object(&"x".repeat(201))), Err(Reason::NameTooLong), "{before}");
            assert_eq!(check(&object(&"x".repeat(200))), Ok(()), "{before}");
            let escaped = |pairs| object(&"\\\"x".repeat(pairs));
            assert_eq!(check(&escaped(101)), Err(Reason::NameTooLong), "{before}");
            assert_eq!(check(&escaped(100)), Ok(()), "{before}: escapes are no characters");
            assert_eq!(check(&object("moe_x")), Err(Reason::ReservedName), "{before}");
            assert_eq!(check(&object("\\u006doe_x")), Err(Reason::ReservedName), "{before}");
            assert_eq!(check(&object("moe_project_name")), Ok(()), "{before}");
            let url = |scheme: &str, rest: usize| {
                check(&format!(r#"{{"a":"{}","u":"{scheme}{}"}}"#, "b".repeat(before), "x".repeat(rest)))
            };
            assert_eq!(url("https://", 505), Err(Reason::ValueTooLong), "{before}");
            assert_eq!(url("HTTP:\\/\\/", 506), Err(Reason::ValueTooLong), "{before}");
            assert_eq!(url("https://", 504), Ok(()), "{before}");
            assert_eq!(url("", 2000), Ok(()), "{before}: any other text is cut");
        }
    }

    #[test]
    fn attributes_are_counted_by_their_names() {
        let fields =
            |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n:03}\":1")).collect::<Vec<_>>().join(","));
        assert_eq!(check(&fields(100)), Ok(()));
        assert_eq!(check(&fields(101)), Err(Reason::TooManyFields));
        assert_eq!(check(&fields(101).replace("\"100\"", "\"099\"")), Ok(()), "one of them twice");
    }

    #[test]
    fn nobody_has_a_placeholder_a_single_character_or_blanks_for_an_id() {
        for id in REFUSED_IDS.iter().flat_map(|id| [(*id).to_owned(), id.to_uppercase()]) {
            assert!(check_id(&id).is_err(), "{id}");
            assert!(check_id(&format!("{id}.")).is_ok(), "{id}.");
        }
        for id in ["", "u", "é", "\u{1f600}", "  ", "\u{a0}\u{2003}", &" ".repeat(40)] {
            assert!(check_id(id).is_err(), "{id:?}");
        }
        for id in ["u1", "éa", "\u{1f600}é", " u", "u ", "\u{2003}u", &"x".repeat(40)] {
            assert!(check_id(id).is_ok(), "{id:?}");
        }
    }

    #[test]
    fn what_users_may_not_have_is_another_list() {
        let check = |name: &str| check_attributes(Tape::trusted(format!("{{\"{name}\":1}}")).value(), Of::User).is_ok();
        for name in RESERVED_OF_A_USER.iter().chain(&["USER_ATTRIBUTE_X", "moe_x", "moe_ip_city", "moe_project_name"]) {
            assert!(!check(name), "{name}");
        }
        for name in SYSTEM_OF_A_USER.iter().chain(&["source", "Status", "moebius", "user_attribute_x"]) {
            assert!(check(name), "{name}");
        }
    }
}
