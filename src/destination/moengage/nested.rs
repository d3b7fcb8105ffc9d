//! What MoEngage takes of lists and objects that are values of attributes.
//!
//! | what | how much | what is over |
//! | --- | --- | --- |
//! | items of a list | 50; 100 if all are objects | `list_too_long` |
//! | an item that is a text | 512 characters | `value_too_long` |
//! | types in a list | one; null has none | `invalid_field` |
//! | a list that is an attribute | of texts, numbers or objects | `invalid_field`: another is ignored |
//! | keys of an object, those of objects in it included | 100 | `too_many_fields`: the first 100 are kept |
//! | an object, in bytes | 25 KB | `value_too_long` |
//! | a key | 200 characters, none of `$`, `.`, `%`, `#` | `name_too_long`, `invalid_field` |
//! | a URL | 512 characters | `value_too_long`: it is left out |
//! | objects in objects | two levels of keys | becomes a text, which is kept: nothing is checked below |
//!
//! Lists in an object or in a list count for themselves, and so does each object in a list. Pages `data-tracking-policies`,
//! `support-for-object-data-type` (2026-11), which mostly do not say what becomes of what is over: none of it is kept for
//! sure.

use super::limits::{Counted, check_url, has_long_name, longer};
use crate::json::Raw;
use crate::outcome::{Reason, Refusal};
use crate::text;

const LONGEST_LIST: usize = 50;
const MOST_OBJECTS: usize = 100;
/// A text in a list, in characters.
const LONGEST_ITEM: usize = 512;
const MOST_KEYS: usize = 100;
/// "25 KB", and no word on whether that is 1000 or 1024: the smaller.
const LARGEST_OBJECT: usize = 25_000;
/// Levels of keys.
const DEEPEST: usize = 2;

/// Whether the vendor keeps all of an attribute's value, if it is a list or an object.
#[inline]
pub(super) fn check<F: Counted>(value: Raw<'_>) -> Result<(), Refusal> {
    if value.is_array() {
        attribute_list::<F>(value)
    } else if value.is_object() {
        object::<F>(value, 1)
    } else {
        Ok(())
    }
}

fn attribute_list<F: Counted>(value: Raw<'_>) -> Result<(), Refusal> {
    match list::<F>(value, 1)? {
        Some(Kind::Flag | Kind::List) => {
            let detail = "MoEngage ignores lists of booleans and lists of lists";
            Err(Refusal::new(Reason::InvalidField, detail))
        }
        _ => Ok(()),
    }
}

/// The type of what stands in a list, as far as the vendor tells types apart; null has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    List,
    Object,
}

impl Kind {
    fn of(value: Raw<'_>) -> Option<Self> {
        Some(match value.first() {
            b'"' => Self::Text,
            b'[' => Self::List,
            b'{' => Self::Object,
            b't' | b'f' => Self::Flag,
            b'n' => return None,
            _ => Self::Number,
        })
    }
}

/// A list, whose objects have keys of this level; the type of its items.
fn list<F: Counted>(value: Raw<'_>, level: usize) -> Result<Option<Kind>, Refusal> {
    let (mut count, mut kind) = (0, None);
    for item in value.items() {
        count += 1;
        let of_item = Kind::of(item);
        if of_item.is_some() && kind.is_some() && of_item != kind {
            return Err(Refusal::new(Reason::InvalidField, "a list of several types: MoEngage takes lists of one"));
        }
        kind = kind.or(of_item);
        match of_item {
            Some(Kind::Object) => object::<F>(item, level)?,
            Some(Kind::List) => drop(list::<F>(item, level)?),
            Some(Kind::Text) if is_long(item) => {
                let detail = "MoEngage takes no texts of more than 512 characters in a list";
                return Err(Refusal::new(Reason::ValueTooLong, detail));
            }
            _ => {}
        }
    }
    let (most, what) = match kind {
        // They become a text.
        Some(Kind::Object) if level > DEEPEST => return Ok(kind),
        Some(Kind::Object) => (MOST_OBJECTS, "objects"),
        _ => (LONGEST_LIST, "items"),
    };
    if count > most {
        return Err(Refusal::new(Reason::ListTooLong, format!("a list of {count} {what}: MoEngage takes {most}")));
    }
    Ok(kind)
}

fn is_long(item: Raw<'_>) -> bool {
    item.size() > LONGEST_ITEM && item.string().is_some_and(|text| longer(&text, LONGEST_ITEM))
}

/// An object that is an attribute, or one of a list, with keys of this level.
fn object<F: Counted>(object: Raw<'_>, level: usize) -> Result<(), Refusal> {
    let size = object.size();
    if level == 1 && size > LARGEST_OBJECT {
        let detail = format!("an object of {size} bytes: MoEngage takes {LARGEST_OBJECT}");
        return Err(Refusal::new(Reason::ValueTooLong, detail));
    }
    if level > DEEPEST {
        return Ok(());
    }
    let mut count = 0;
    keys::<F>(object, level, &mut count)?;
    if count > MOST_KEYS {
        let detail = format!("an object with {count} keys: MoEngage keeps {MOST_KEYS}");
        return Err(Refusal::new(Reason::TooManyFields, detail));
    }
    Ok(())
}

/// Whether a key has one of the characters that the vendor takes in none.
fn is_refused(key: &[u8]) -> bool {
    // They stand below the digits, where nearly no key has any.
    !text::all(key, |byte| byte >= b'0') && key.iter().any(|byte| matches!(byte, b'$' | b'.' | b'%' | b'#'))
}

/// The keys of an object at this level, and of those in it; counts them.
fn keys<F: Counted>(object: Raw<'_>, level: usize, count: &mut usize) -> Result<(), Refusal> {
    for field in F::of(object) {
        let name = field.name_bytes();
        if is_refused(&name) {
            return Err(Refusal::new(Reason::InvalidField, "MoEngage takes no `$`, `.`, `%`, `#` in an object's keys"));
        }
        if has_long_name(&field, &name) {
            return Err(Refusal::new(Reason::NameTooLong, "MoEngage takes keys of at most 200 characters"));
        }
        *count += 1;
        if field.value.is_object() && level < DEEPEST {
            keys::<F>(field.value, level + 1, count)?;
        } else if field.value.is_array() {
            list::<F>(field.value, level + 1)?;
        } else {
            check_url(field.value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::limits::{All, Last};
    use super::*;
    use crate::json::Tape;

    fn end(value: &str) -> Result<(), Reason> {
        check::<All>(Tape::parse(value).expect(value).value()).map_err(|refusal| refusal.reason)
    }

    fn list_of(count: usize, item: &str) -> String {
        format!("[{}]", vec![item; count].join(","))
    }

    fn keys_of(count: usize) -> String {
        (0..count).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn lists_have_so_many_items_and_more_where_they_are_objects() {
        for (most, item) in [(50, "1"), (50, "\"x\""), (100, "{}"), (100, "{\"a\":1}")] {
            for within in ["{}", "{\"in\":{}}"] {
                let wrapped = |count| within.replacen("{}", &list_of(count, item), 1);
                assert_eq!(end(&wrapped(most)), Ok(()), "{item}");
                assert_eq!(end(&wrapped(most + 1)), Err(Reason::ListTooLong), "{item}");
            }
        }
    }

    #[test]
    fn a_list_has_more_items_only_if_all_are_objects_and_one_type_alone() {
        for within in ["_", "{\"in\":_}", "{\"in\":[_]}", "{\"in\":[[_]]}", "[{\"in\":_}]"] {
            let end = |list: &str| end(&within.replacen('_', list, 1));
            for mixed in ["1,\"a\"", "true,1", "{},1", "{},\"a\"", "[],{}", "[1],1", "null,1,null,\"a\""] {
                assert_eq!(end(&format!("[{mixed}]")), Err(Reason::InvalidField), "{mixed} in {within}");
            }
            for good in ["1,2.5,-1e3", "null,\"a\",null", "null,null", "{},null,{\"a\":1}"] {
                assert_eq!(end(&format!("[{good}]")), Ok(()), "{good} in {within}");
            }
            // Within an object the page says nothing of them.
            let ignored = if within == "_" { Err(Reason::InvalidField) } else { Ok(()) };
            for other in ["true,false", "null,true", "[1],[\"a\"],[]", "[]"] {
                assert_eq!(end(&format!("[{other}]")), ignored, "{other} in {within}");
            }
            assert_eq!(end(&list_of(51, "\"x\"")), Err(Reason::ListTooLong), "{within}");
            assert_eq!(end(&list_of(51, "[]")), Err(Reason::ListTooLong), "{within}");
            assert_eq!(end(&list_of(51, "null")), Err(Reason::ListTooLong), "{within}");
            let text = |count: usize| format!("[\"a\",\"{}\"]", "\\u00fc".repeat(count));
            assert_eq!(end(&text(512)), Ok(()), "{within}");
            assert_eq!(end(&text(513)), Err(Reason::ValueTooLong), "{within}");
        }
        for (list, expected) in [
            (list_of(101, "{}"), Reason::ListTooLong),
            ("[{\"a.b\":1}]".to_owned(), Reason::InvalidField),
            (format!("[{{{}}}]", keys_of(101)), Reason::TooManyFields),
        ] {
            assert_eq!(end(&format!("[[{list}]]")), Err(expected), "{list}");
        }
    }

    #[test]
    fn keys_count_with_those_of_objects_below_but_not_of_lists() {
        assert_eq!(end(&format!("{{{}}}", keys_of(100))), Ok(()));
        assert_eq!(end(&format!("{{{}}}", keys_of(101))), Err(Reason::TooManyFields));
        assert_eq!(end(&format!("{{\"in\":{{{}}},{}}}", keys_of(50), keys_of(49))), Ok(()));
        assert_eq!(end(&format!("{{\"in\":{{{}}},{}}}", keys_of(50), keys_of(50))), Err(Reason::TooManyFields));
        assert_eq!(end(&format!("{{\"in\":[{{{0}}},{{{0}}}],{0}}}", keys_of(60))), Ok(()));
        assert_eq!(end(&format!("[{{{0}}},{{{0}}}]", keys_of(60))), Ok(()));
        assert_eq!(end(&format!("[{{{}}}]", keys_of(101))), Err(Reason::TooManyFields));
        assert_eq!(end(&format!("{{\"in\":[{{{}}}]}}", keys_of(101))), Err(Reason::TooManyFields));
    }

    #[test]
    fn an_object_has_so_many_bytes() {
        let object = |bytes: usize| format!("{{\"k\":\"{}\"}}", "x".repeat(bytes - 8));
        assert_eq!(end(&object(25_000)), Ok(()));
        assert_eq!(end(&object(25_001)), Err(Reason::ValueTooLong));
        assert_eq!(end(&format!("[{0},{0}]", object(25_000))), Ok(()), "each for itself");
        assert_eq!(end(&format!("[{}]", object(25_001))), Err(Reason::ValueTooLong));
    }

    #[test]
    fn names_and_urls_are_checked_as_deep_as_the_vendor_reads() {
        let url = format!("\"https://{}\"", "x".repeat(600));
        for name in ["a$b", "a.b", "a%b", "#", "a\\u002eb"] {
            let object = format!("{{\"{name}\":1}}");
            for value in
                [object.clone(), format!("[{object}]"), format!("{{\"a\":{object}}}"), format!("{{\"a\":[{object}]}}")]
            {
                assert_eq!(end(&value), Err(Reason::InvalidField), "{value}");
            }
            for value in [format!("{{\"a\":{{\"b\":{object}}}}}"), format!("{{\"a\":{{\"b\":[{object}]}}}}")] {
                assert_eq!(end(&value), Ok(()), "{value}: it becomes a text");
            }
        }
        for value in [format!("[{url}]"), format!("{{\"a\":{url}}}"), format!("{{\"a\":[{url}]}}")] {
            assert_eq!(end(&value), Err(Reason::ValueTooLong), "{value}");
        }
        let deep = |list: &str| format!("{{\"a\":{{\"b\":{list}}}}}");
        assert_eq!(end(&deep(&list_of(101, "{}"))), Ok(()), "they become texts");
        assert_eq!(end(&deep(&list_of(51, "1"))), Err(Reason::ListTooLong));
        assert_eq!(end(&format!("{{\"{}\":1}}", "x".repeat(201))), Err(Reason::NameTooLong));
        assert_eq!(end(&format!("{{\"a\":{{\"b\":{{\"c\":{url}}}}}}}")), Ok(()), "it becomes a text");
    }

    #[test]
    fn a_refused_character_is_found_wherever_it_stands() {
        for length in 1..40 {
            let plain = "k-é_0".chars().cycle().take(length).collect::<Vec<_>>();
            for at in 0..=length {
                for refused in ['$', '.', '%', '#', ' '] {
                    let mut key = plain.clone();
                    key.insert(at, refused);
                    let key = String::from_iter(key);
                    assert_eq!(is_refused(key.as_bytes()), refused != ' ', "{key}");
                }
            }
        }
    }

    #[test]
    fn a_key_that_occurs_twice_counts_once() {
        let value = format!("{{{0},\"in\":{{\"a.b\":1}},\"in\":1}}", keys_of(99));
        let twice = format!("{{{0},{0}}}", keys_of(100));
        for value in [&value, &twice] {
            assert!(end(value).is_err());
            assert_eq!(check::<Last>(Tape::parse(value).expect("an object").value()), Ok(()));
        }
    }
}
