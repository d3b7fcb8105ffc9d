//! What Iterable would refuse a whole request for: known before anything is sent.
//!
//! | what | how much | what is over |
//! | --- | --- | --- |
//! | a text | "up to about 32k characters" | `value_too_long` |
//! | fields of profiles, in a project | 1000 | `too_many_fields` |
//! | fields of custom events, in a project | 8000 | `too_many_fields` |
//!
//! Fields count with those of objects in them, each name once; null and lists of nothing make none. How many a project has
//! already nobody here knows, so what is refused is a call that no project has room for; and none that asks for no new fields.
//! Pages on field types and on limits (2026-11), which have no figure for purchases: their data fields are taken for an
//! event's, their user's for a profile's. Elements too short to hold so much are not looked at.

use super::{CARTS, EVENTS, PURCHASES, USERS};
use crate::destination::Shape;
use crate::json::{Raw, Tape, copy, long_text};
use crate::outcome::{Reason, Refusal};

/// The smaller of what that may mean.
const LONGEST_TEXT: usize = 32_000;

/// Whose fields they are: the words of a message, and how many a project has.
type Kind = (&'static str, usize);
const PROFILE: Kind = ("profile", 1000);
const EVENT: Kind = ("event", 8000);
/// `"":1,`
const SMALLEST_FIELD: usize = 5;

/// Whether the vendor takes an element. `create` is what the request says of new fields for all of its elements; where it
/// says nothing, the element does.
pub(super) fn check(element: &[u8], shape: Shape, create: Option<bool>) -> Result<(), Refusal> {
    let least = if shape == EVENTS { LONGEST_TEXT } else { SMALLEST_FIELD * PROFILE.1 };
    if element.len() <= least {
        return Ok(());
    }
    let Ok(element) = std::str::from_utf8(element) else { return Ok(()) };
    check_texts(element)?;
    let tape = Tape::trusted(element);
    let element = tape.value();
    match shape {
        USERS => check_fields(element, PROFILE, create),
        EVENTS => check_fields(element, EVENT, create),
        PURCHASES | CARTS => {
            element.field("user").map_or(Ok(()), |user| check_fields(user, PROFILE, create))?;
            check_fields(element, EVENT, create)
        }
        _ => Ok(()),
    }
}

fn check_texts(element: &str) -> Result<(), Refusal> {
    if element.len() <= LONGEST_TEXT {
        return Ok(());
    }
    long_text(element, LONGEST_TEXT).map_or(Ok(()), |name| {
        let detail = format!("the text of `{name}` has more than the {LONGEST_TEXT} characters that Iterable takes");
        Err(Refusal::new(Reason::ValueTooLong, detail))
    })
}

/// Whether a project could have all data fields of a user or an event.
fn check_fields(whose: Raw<'_>, (kind, most): Kind, create: Option<bool>) -> Result<(), Refusal> {
    if whose.get().len() <= SMALLEST_FIELD * most {
        return Ok(());
    }
    let create = create.or_else(|| whose.field("createNewFields").map(|flag| flag.get() == "true"));
    let count = whose.field("dataFields").filter(|_| create != Some(false)).map_or(0, count);
    if count > most {
        let detail = format!("{count} {kind} fields: a project at Iterable has room for {most}");
        return Err(Refusal::new(Reason::TooManyFields, detail));
    }
    Ok(())
}

/// The fields of an object, and of those in it.
fn count(object: Raw<'_>) -> usize {
    copy::of(object, true).filter(|field| has_type(field.value)).map(|field| 1 + count(field.value)).sum()
}

/// Whether a value makes a field: its type is the field's, and a list's is that of its items.
fn has_type(value: Raw<'_>) -> bool {
    !value.is_null() && (!value.is_array() || value.items().any(has_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> String {
        (0..count).map(|n| format!("\"{n:04}\":1")).collect::<Vec<_>>().join(",")
    }

    fn end(shape: Shape, element: &str, create: Option<bool>) -> Result<(), Reason> {
        check(element.as_bytes(), shape, create).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn fields_count_with_those_in_them_and_each_name_once() {
        for (object, expected) in [
            ("{}".to_owned(), 0),
            (r#"{"a":1,"b":"","c":{},"d":false}"#.to_owned(), 4),
            (r#"{"a":{"b":{"c":1},"d":1}}"#.to_owned(), 4),
            (r#"{"a":1,"a":{"b":1},"\u0061":1}"#.to_owned(), 1),
            (r#"{"a":null,"b":[],"c":[null,[]],"d":[null,1],"e":[{"x":1}]}"#.to_owned(), 2),
            (format!("{{{}}}", names(1000)), 1000),
        ] {
            assert_eq!(count(Tape::parse(&object).expect("an object").value()), expected, "{object}");
        }
    }

    #[test]
    fn no_more_than_a_project_has_room_for() {
        for (shape, element, most) in [
            (USERS, r#"{"dataFields":{_}}"#, 1000),
            (USERS, r#"{"dataFields":{"in":{_}}}"#, 999),
            (EVENTS, r#"{"dataFields":{_}}"#, 8000),
            (EVENTS, r#"{"createNewFields":true,"dataFields":{_}}"#, 8000),
            (PURCHASES, r#"{"user":{"dataFields":{_}},"dataFields":{}}"#, 1000),
            (PURCHASES, r#"{"user":{},"dataFields":{_}}"#, 8000),
            (CARTS, r#"{"user":{"dataFields":{_}}}"#, 1000),
        ] {
            let with = |count| element.replacen('_', &names(count), 1);
            assert_eq!(end(shape, &with(most), None), Ok(()), "{element}");
            assert_eq!(end(shape, &with(most + 1), None), Err(Reason::TooManyFields), "{element}");
            assert_eq!(end(shape, &with(most + 1), Some(false)), Ok(()), "{element}: it makes none");
        }
        let none = format!(r#"{{"createNewFields":false,"dataFields":{{{}}}}}"#, names(1001));
        assert_eq!(end(USERS, &none, None), Ok(()));
        assert_eq!(end(USERS, &none, Some(true)), Err(Reason::TooManyFields), "the request's word counts");
    }

    #[test]
    fn the_shortest_names_are_not_overlooked() {
        // An empty name and one of a letter in each of many objects that are no list's.
        let object = |n: usize| format!("\"{n:x}\":{{\"\":1,\"a\":2}}");
        let user = |count| format!("{{\"dataFields\":{{{}}}}}", (0..count).map(object).collect::<Vec<_>>().join(","));
        assert_eq!(end(USERS, &user(333), None), Ok(()));
        assert_eq!(end(USERS, &user(334), None), Err(Reason::TooManyFields));
    }
}
