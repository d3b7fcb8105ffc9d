//! JSON text that is already known to be valid: reading single fields of it, and copying it into a body.
//!
//! [`Raw`] is that text. It is made by [`Raw::parse`] and by decoding an event, both of which check every byte
//! (by `check`); all else here trusts it. With a `tape` a field costs a look at its node, without one a look at each byte
//! before it. Nothing here ever panics or loops without end, whatever the text, and nothing allocates except to resolve
//! escapes.

pub(crate) mod check;
pub(crate) mod copy;
mod quotes;
mod tape;
pub(crate) mod write;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub use check::Fault;
use quotes::{backslash, quote};
use tape::Node;
pub use tape::Tape;

/// One JSON value as text: valid, without lone surrogates, numbers in the range of `f64`.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    /// Of the whole message, if there is a tape: most parts of a message are never looked at, and cutting them out costs more
    /// than all else here. Its own, if there is none.
    text: &'a str,
    /// Its own, and those of what is in it; none if there is no tape.
    nodes: &'a [Node],
}

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Raw<'_> {}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Raw").field(&self.get()).finish()
    }
}

impl<'a> Raw<'a> {
    /// Checks a text that must hold exactly one value, white space around it aside.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        let at = check::document(text)?;
        Ok(Self::trusted(text.get(at).unwrap_or_default()))
    }

    /// Checks a text that must hold exactly one object, white space around it aside, and notes on the tape where its
    /// values stand.
    pub fn message(text: &'a str, tape: &'a mut Tape) -> Result<Self, Fault> {
        let at = check::message(text, tape)?;
        let nodes = tape.nodes();
        let text = if nodes.is_empty() { text.get(at).unwrap_or_default() } else { text };
        Ok(Self { text, nodes })
    }

    /// Only for parts of what [`check`] has accepted, trimmed.
    pub(crate) const fn trusted(text: &'a str) -> Self {
        Self { text, nodes: &[] }
    }

    /// The text.
    #[inline]
    #[must_use]
    pub fn get(self) -> &'a str {
        match self.nodes.first() {
            Some(own) => part(self.text, own.at()),
            None => self.text,
        }
    }

    #[inline]
    fn first(self) -> u8 {
        let start = self.nodes.first().map_or(0, Node::start);
        self.text.as_bytes().get(start).copied().unwrap_or(b'n')
    }

    /// What is in it, if it begins like this.
    #[inline]
    fn inside(self, open: u8) -> Inside<'a> {
        match self.nodes.split_first() {
            _ if self.first() != open => Inside::Noted(&[]),
            Some((_, nodes)) => Inside::Noted(nodes),
            None => Inside::Scanned(1),
        }
    }

    /// Whether it is an object.
    #[inline]
    #[must_use]
    pub fn is_object(self) -> bool {
        self.first() == b'{'
    }

    /// Whether it is an array.
    #[inline]
    #[must_use]
    pub fn is_array(self) -> bool {
        self.first() == b'['
    }

    /// Whether it is a string.
    #[inline]
    #[must_use]
    pub fn is_string(self) -> bool {
        self.first() == b'"'
    }

    /// Whether it is a number.
    #[inline]
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self.first(), b'-' | b'0'..=b'9')
    }

    /// Whether it is `null`.
    #[inline]
    #[must_use]
    pub fn is_null(self) -> bool {
        self.first() == b'n'
    }

    /// The fields of an object in their order; none of anything else.
    #[inline]
    #[must_use]
    pub fn fields(self) -> Fields<'a> {
        Fields { text: self.text, inside: self.inside(b'{') }
    }

    /// The items of an array in their order; none of anything else.
    #[inline]
    #[must_use]
    pub fn items(self) -> Items<'a> {
        Items { text: self.text, inside: self.inside(b'[') }
    }

    /// The value of an object's field; the last one, if the name occurs twice.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Raw<'a>> {
        self.fields().filter(|field| field.is(name)).last().map(|field| field.value)
    }

    /// A string's text.
    #[inline]
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        if !self.is_string() {
            return None;
        }
        let (at, is_plain) = match self.nodes.first() {
            Some(own) => (own.at(), !own.escaped()),
            None => (0..self.text.len(), false),
        };
        let text = part(self.text, at.start + 1..at.end.saturating_sub(1));
        Some(if is_plain { Cow::Borrowed(text) } else { unescape(text) })
    }

    /// An id: the text of a string that is not empty, or the digits of a number.
    #[must_use]
    pub fn id(self) -> Option<Cow<'a, str>> {
        if self.is_number() {
            return Some(Cow::Borrowed(self.get()));
        }
        self.string().filter(|text| !text.is_empty())
    }

    /// What a string, a number or a boolean reads like; `None` of null, objects and arrays.
    #[must_use]
    pub fn scalar(self) -> Option<Cow<'a, str>> {
        match self.first() {
            b'"' => self.string(),
            b'{' | b'[' | b'n' => None,
            _ => Some(Cow::Borrowed(self.get())),
        }
    }
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The value.
    pub value: Raw<'a>,
    /// Its name, and whether that holds escapes, if no node of the value tells.
    name: (&'a str, bool),
}

impl<'a> Field<'a> {
    /// The name as it stands between its quotes, escapes and all.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &'a str {
        match self.value.nodes.first() {
            Some(own) => part(self.value.text, own.name().get().0),
            None => self.name.0,
        }
    }

    /// The name, escapes resolved.
    #[inline]
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        if self.escaped() { unescape(self.key()) } else { Cow::Borrowed(self.key()) }
    }

    /// The same in bytes, for who only compares it.
    #[inline]
    pub(crate) fn name_bytes(&self) -> Cow<'a, [u8]> {
        match self.value.nodes.first().map(|own| own.name().get()) {
            Some((at, false)) => Cow::Borrowed(self.value.text.as_bytes().get(at).unwrap_or_default()),
            _ => match self.name() {
                Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
                Cow::Owned(name) => Cow::Owned(name.into_bytes()),
            },
        }
    }

    /// Whether this is its name.
    #[inline]
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        *self.name_bytes() == *name.as_bytes()
    }

    #[inline]
    fn escaped(&self) -> bool {
        self.value.nodes.first().map_or(self.name.1, |own| own.name().get().1)
    }
}

/// What is in an object or an array, from some value on.
#[derive(Clone, Debug)]
enum Inside<'a> {
    /// By its nodes.
    Noted(&'a [Node]),
    /// By its bytes, from this one on.
    Scanned(usize),
}

/// The next of the values that the nodes tell of.
#[inline]
fn noted<'a>(text: &'a str, nodes: &mut &'a [Node]) -> Option<Raw<'a>> {
    let (own, rest) = nodes.split_at_checked(nodes.first()?.size())?;
    *nodes = rest;
    Some(Raw { text, nodes: own })
}

/// A part of a text. What is no part is empty: so no `Option`.
#[inline]
fn part(text: &str, at: Range<usize>) -> &str {
    text.get(at).unwrap_or_default()
}

/// Iterator over an object's fields.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    text: &'a str,
    inside: Inside<'a>,
}

impl<'a> Fields<'a> {
    /// Of an object without its first bracket, and maybe without its last.
    fn written(text: &'a str) -> Self {
        Self { text, inside: Inside::Scanned(0) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a field is larger than what comes back in registers")]
    fn next(&mut self) -> Option<Field<'a>> {
        match &mut self.inside {
            Inside::Noted(nodes) => noted(self.text, nodes).map(|value| Field { value, name: ("", false) }),
            Inside::Scanned(at) => scanned_field(self.text, at),
        }
    }
}

#[inline(never)]
fn scanned_field<'a>(text: &'a str, at: &mut usize) -> Option<Field<'a>> {
    let bytes = text.as_bytes();
    let start = next_item(bytes, *at)?;
    let (end, escaped) = skip_string(bytes, start)?;
    let key = text.get(start + 1..end - 1)?;
    let colon = skip_space(bytes, end);
    let from = skip_space(bytes, colon + 1);
    let to = skip_value(bytes, from);
    *at = to.max(end);
    Some(Field { value: Raw::trusted(text.get(from..to)?), name: (key, escaped) })
}

/// Iterator over an array's items.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    text: &'a str,
    inside: Inside<'a>,
}

impl<'a> Iterator for Items<'a> {
    type Item = Raw<'a>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the same")]
    fn next(&mut self) -> Option<Raw<'a>> {
        match &mut self.inside {
            Inside::Noted(nodes) => noted(self.text, nodes),
            Inside::Scanned(at) => scanned_item(self.text, at),
        }
    }
}

#[inline(never)]
fn scanned_item<'a>(text: &'a str, at: &mut usize) -> Option<Raw<'a>> {
    let bytes = text.as_bytes();
    let from = next_item(bytes, *at)?;
    let to = skip_value(bytes, from);
    if to <= from {
        return None;
    }
    *at = to;
    Some(Raw::trusted(text.get(from..to)?))
}

/// Where the next field or item begins, behind a comma if there is one.
fn next_item(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = skip_space(bytes, at);
    if bytes.get(at) == Some(&b',') {
        at = skip_space(bytes, at + 1);
    }
    (!matches!(bytes.get(at)?, b'}' | b']')).then_some(at)
}

pub(crate) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// Behind the string that begins at `at`, and whether it holds escapes.
pub(crate) fn skip_string(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let (mut at, mut escaped) = (at + 1, false);
    loop {
        at = quote(bytes, at);
        if bytes.get(at)? == &b'"' {
            return Some((at + 1, escaped));
        }
        escaped = true;
        at += 2;
    }
}

/// Behind the value that begins at `at`.
pub(crate) fn skip_value(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'"') => skip_string(bytes, at).map_or(bytes.len(), |(end, _)| end),
        Some(b'{' | b'[') => skip_nested(bytes, at),
        _ => {
            let mut at = at;
            while !matches!(bytes.get(at), None | Some(b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')) {
                at += 1;
            }
            at
        }
    }
}

fn skip_nested(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let Some((end, _)) = skip_string(bytes, at) else { return bytes.len() };
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The name, cut, under which a string of more than `most` characters stands in a text of JSON values, if one does.
pub(crate) fn long_text(text: &str, most: usize) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut at, mut key) = (0, "");
    loop {
        at += memchr::memchr(b'"', bytes.get(at..)?)?;
        let (end, _) = skip_string(bytes, at)?;
        let string = text.get(at + 1..end - 1)?;
        if bytes.get(skip_space(bytes, end)) == Some(&b':') {
            key = string;
        } else if string.len() > most && unescape(string).chars().nth(most).is_some() {
            return Some(unescape(key).chars().take(64).collect());
        }
        at = end;
    }
}

/// The text that stands between the quotes of a string, escapes resolved; allocates only if there are any.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    let mut slash = backslash(text.as_bytes(), 0);
    if slash >= text.len() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        out.push_str(rest.get(..slash).unwrap_or_default());
        let (resolved, used) = escape(rest.as_bytes(), slash);
        out.push(resolved);
        rest = rest.get(slash + used..).unwrap_or_default();
        slash = backslash(rest.as_bytes(), 0);
        if slash >= rest.len() {
            break;
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character that the escape at `at` stands for, and how many bytes it takes.
fn escape(bytes: &[u8], at: usize) -> (char, usize) {
    let plain = match bytes.get(at + 1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unicode(bytes, at),
        Some(&other @ (b'"' | b'\\' | b'/')) => char::from(other),
        _ => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (plain, 2)
}

fn unicode(bytes: &[u8], at: usize) -> (char, usize) {
    let Some(high) = hex4(bytes, at + 2) else { return (char::REPLACEMENT_CHARACTER, 2) };
    if let Some(character) = char::from_u32(high) {
        return (character, 6);
    }
    let low = if bytes.get(at + 6..at + 8) == Some(b"\\u") { hex4(bytes, at + 8) } else { None };
    match low {
        Some(low @ 0xDC00..=0xDFFF) if high < 0xDC00 => {
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// The value of four hex digits.
pub(crate) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
}

#[cfg(test)]
mod tests;
