//! Copying JSON values into a body, with what an account wants changed on the way: nested values to dotted keys,
//! ISO 8601 date-times to the form that Iterable reads.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Field, Fields, Raw, Tape, skip_space, skip_string, unescape, write};
use crate::event::time;

/// What changes while values are copied. By default nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Nested objects and arrays become keys: `a.b.c`, `a[0].b`. Empty ones stay. Of two that come to one key the last
    /// one stays, as of a name that occurs twice.
    pub(crate) flatten: bool,
    /// String values that are ISO 8601 date-times become `yyyy-MM-dd HH:mm:ss +00:00`; keys never do.
    pub(crate) dates: bool,
}

/// Writes a field into the object that is open at the end of `out`. `key` stands as in a JSON text.
pub(crate) fn field(out: &mut Vec<u8>, key: &str, value: Raw<'_>, style: Style) {
    if style.flatten && has_items(value) {
        let mut path = key.to_owned();
        flat(out, &mut path, value, style);
    } else {
        write::key(out, key);
        self::value(out, value, style.dates);
    }
}

/// An object's fields as they are to be copied: see [`of`].
pub(crate) enum Copied<'a> {
    AsTheyAre(Fields<'a>),
    Once(std::vec::IntoIter<Field<'a>>),
}

impl<'a> Iterator for Copied<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        match self {
            Self::AsTheyAre(fields) => fields.next(),
            Self::Once(fields) => fields.next(),
        }
    }
}

/// The fields of an object that are to be copied: all of them, because of a name that occurs twice whoever reads the copy
/// takes the last. What gets other names on the way, as flattened fields do, asks for the `last` of each name alone.
pub(crate) fn of(object: Raw<'_>, last: bool) -> Copied<'_> {
    if !last {
        return Copied::AsTheyAre(object.fields());
    }
    Copied::Once(once(object.fields()))
}

fn once(fields: Fields<'_>) -> std::vec::IntoIter<Field<'_>> {
    let mut fields: Vec<Field<'_>> = fields.collect();
    let mut seen: HashSet<Cow<'_, str>, foldhash::fast::RandomState> = HashSet::default();
    let last: Vec<bool> = fields.iter().rev().map(|field| seen.insert(field.name())).collect();
    let mut last = last.into_iter().rev();
    fields.retain(|_| last.next().unwrap_or(true));
    fields.into_iter()
}

/// Of fields that came to one name when they were flattened, `a.b` and the `b` in an `a`, the last alone stays. They are what
/// stands in `out` from `start` on, in the object that is open there.
pub(crate) fn last_of_each(out: &mut Vec<u8>, start: usize, style: Style) {
    if !style.flatten {
        return;
    }
    let tail = out.get(start..).unwrap_or_default();
    let tail = Tape::trusted(std::str::from_utf8(tail).unwrap_or_default());
    if once(tail.fields()).len() == tail.fields().count() {
        return;
    }
    out.truncate(start);
    for found in once(tail.fields()) {
        write::key(out, found.key());
        value(out, found.value, false);
    }
}

/// Writes a value, never flattened.
pub(crate) fn value(out: &mut Vec<u8>, value: Raw<'_>, dates: bool) {
    if dates {
        with_dates(out, value.get());
    } else {
        out.extend_from_slice(value.get().as_bytes());
    }
}

/// Writes a whole object.
pub(crate) fn object(out: &mut Vec<u8>, object: Raw<'_>, style: Style) {
    if style.flatten {
        out.push(b'{');
        let start = out.len();
        for found in of(object, true) {
            field(out, found.key(), found.value, style);
        }
        last_of_each(out, start, style);
        out.push(b'}');
    } else {
        value(out, object, style.dates);
    }
}

/// Whether an object or a list has something in it.
pub(crate) fn has_items(value: Raw<'_>) -> bool {
    value.fields().next().is_some() || value.items().next().is_some()
}

/// No request has so large a body, even behind one that is full: who comes to this has a call that is refused, and went on
/// writing would fill the memory, because long names are repeated for each value below them.
pub(crate) const TOO_MUCH: usize = 8 * 1024 * 1024;

fn flat(out: &mut Vec<u8>, path: &mut String, value: Raw<'_>, style: Style) {
    if out.len() > TOO_MUCH {
        return;
    }
    if !has_items(value) {
        write::key(out, path);
        self::value(out, value, style.dates);
        return;
    }
    let length = path.len();
    for found in of(value, true) {
        path.push('.');
        path.push_str(found.key());
        flat(out, path, found.value, style);
        path.truncate(length);
    }
    for (index, item) in value.items().enumerate() {
        path.push('[');
        path.push_str(&index.to_string());
        path.push(']');
        flat(out, path, item, style);
        path.truncate(length);
    }
}

/// No date-time is longer, in bytes.
const LONGEST_DATE: usize = 50;

/// Copies `text`; each date-time value is found by its `T` or space, ten characters behind an opening quote.
fn with_dates(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let (start, mut copied) = (out.len(), 0);
    for at in memchr::memchr3_iter(b'T', b' ', b'\\', bytes) {
        if bytes.get(at) == Some(&b'\\') {
            out.truncate(start);
            return with_escaped_dates(out, text);
        }
        let Some((from, to, ms)) = date_around(bytes, at) else { continue };
        out.extend_from_slice(bytes.get(copied..from).unwrap_or_default());
        time::write_spaced(out, ms);
        copied = to;
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
}

/// The range between the quotes and the time, if the `T` or space there stands inside a date-time value.
fn date_around(bytes: &[u8], between: usize) -> Option<(usize, usize, i64)> {
    let from = between.checked_sub(10)?;
    // Without backslashes any quote before a digit opens a string.
    if !matches!(bytes.get(from.checked_sub(1)?..), Some([b'"', b'0'..=b'9', _, _, _, b'-', ..])) {
        return None;
    }
    let tail = bytes.get(between..)?;
    let to = between + tail.iter().take(LONGEST_DATE).position(|byte| *byte == b'"')?;
    let ms = time::iso(bytes.get(from..to)?)?;
    (bytes.get(skip_space(bytes, to + 1)) != Some(&b':')).then_some((from, to, ms))
}

/// The same of a text with escapes, which may stand inside a date-time, too: every string is looked at.
fn with_escaped_dates(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let (mut copied, mut at) = (0, 0);
    while let Some(open) = memchr::memchr(b'"', bytes.get(at..).unwrap_or_default()).map(|found| at + found) {
        let Some((end, _)) = skip_string(bytes, open) else { break };
        at = end;
        let is_name = bytes.get(skip_space(bytes, end)) == Some(&b':');
        let inside = text.get(open + 1..end - 1).filter(|inside| !is_name && inside.len() <= 6 * LONGEST_DATE);
        if let Some(ms) = inside.and_then(|inside| time::iso(unescape(inside).as_bytes())) {
            out.extend_from_slice(bytes.get(copied..=open).unwrap_or_default());
            time::write_spaced(out, ms);
            copied = end - 1;
        }
    }
    out.extend_from_slice(bytes.get(copied..).unwrap_or_default());
}
