//! What MoEngage would refuse a whole batch for, or cut, or drop behind a 200: known before anything is sent.
//!
//! Rules: pages `data/data-overview`, `data-tracking-policies`, `event/track-event` (2026-11). Of values nothing is checked:
//! the vendor cuts long ones, and an event is worth more than the end of a text.

use crate::clock::Now;
use crate::json::{Raw, copy};
use crate::outcome::{Reason, Refusal};

/// By how much a producer's clock may be ahead of ours: a guess that covers badly kept clocks, not wrong time zones.
const SKEW_MS: i64 = 5 * 60 * 1000;

/// The vendor cuts longer names of events and attributes, in characters; it keeps so many attributes of an event.
const LONGEST_NAME: usize = 200;
pub(super) const MOST_ATTRIBUTES: usize = 100;
/// All users of a workspace together have so many different attributes.
pub(super) const MOST_OF_A_USER: usize = 256;

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
pub(super) fn check_attributes(attributes: Raw<'_>, flatten: bool, most: usize) -> Result<(), Refusal> {
    if !flatten && !may_have_much(attributes.get()) {
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

/// Whether it is worth looking for too many fields or too long a name: this stands on the path of every event.
fn may_have_much(object: &str) -> bool {
    /// `"a":1,`
    const SMALLEST_FIELD: usize = 6;
    let bytes = object.as_bytes();
    // A name of more than 200 characters without escapes covers at least one of these windows, and no quote is in it.
    let mut windows = bytes.chunks_exact(LONGEST_NAME / 2);
    bytes.len() > SMALLEST_FIELD * MOST_ATTRIBUTES
        || memchr::memchr(b'\\', bytes).is_some()
        || windows.any(|window| memchr::memchr(b'"', window).is_none())
}

/// Counts what goes out as fields of its own.
fn count_fields(value: Raw<'_>, flatten: bool, count: &mut usize, long: &mut bool) {
    for field in value.fields() {
        *long |= longer(field.key, LONGEST_NAME) && longer(&field.name(), LONGEST_NAME);
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

    fn check(object: &str, flatten: bool) -> Result<(), Reason> {
        let object = Raw::parse(object).expect("an object");
        check_attributes(object, flatten, MOST_ATTRIBUTES).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_name_that_is_too_long_is_found_wherever_it_stands() {
        for before in 0..250 {
            let object = |name: &str| format!(r#"{{"a":"{}","{name}":1}}"#, "b".repeat(before));
            assert_eq!(check(&object(&"x".repeat(201)), false), Err(Reason::NameTooLong), "{before}");
            assert_eq!(check(&object(&"x".repeat(200)), false), Ok(()), "{before}");
            let escaped = |pairs| object(&"\\\"x".repeat(pairs));
            assert_eq!(check(&escaped(101), false), Err(Reason::NameTooLong), "{before}");
            assert_eq!(check(&escaped(100), false), Ok(()), "{before}: escapes are no characters");
        }
    }

    #[test]
    fn fields_are_counted_as_they_go_out() {
        let fields =
            |count: usize| format!("{{{}}}", (0..count).map(|n| format!("\"{n:03}\":1")).collect::<Vec<_>>().join(","));
        assert_eq!(check(&fields(100), false), Ok(()));
        assert_eq!(check(&fields(101), false), Err(Reason::TooManyFields));
        let list = format!(r#"{{"a":[{}]}}"#, ["1"; 101].join(","));
        assert_eq!((check(&list, false), check(&list, true)), (Ok(()), Err(Reason::TooManyFields)));
    }
}
