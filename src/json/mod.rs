//! JSON text that is already known to be valid: reading single fields of it, and copying it into a body.
//!
//! [`Raw`] is that text. It is made by [`Raw::parse`] and by decoding an event, both of which check every byte
//! (by `check`); all else here trusts it and so costs no more than a look at each byte. Nothing here ever panics or
//! loops without end, whatever the text, and nothing allocates except to resolve escapes.

pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod write;

use std::borrow::Cow;

pub use check::Fault;
use check::{Scanner, backslash, quote};

/// One JSON value as text: valid, without lone surrogates, numbers in the range of `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Raw<'a> {
    /// Checks a text that must hold exactly one value, white space around it aside.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        Scanner::new(text).document()
    }

    /// Only for parts of what [`check`] has accepted, trimmed.
    pub(crate) const fn trusted(text: &'a str) -> Self {
        Self(text)
    }

    /// The text.
    #[must_use]
    pub const fn get(self) -> &'a str {
        self.0
    }

    fn first(self) -> u8 {
        self.0.as_bytes().first().copied().unwrap_or(b'n')
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.first() == b'{'
    }

    /// Whether it is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.first() == b'['
    }

    /// Whether it is a string.
    #[must_use]
    pub fn is_string(self) -> bool {
        self.first() == b'"'
    }

    /// Whether it is a number.
    #[must_use]
    pub fn is_number(self) -> bool {
        matches!(self.first(), b'-' | b'0'..=b'9')
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.first() == b'n'
    }

    /// The fields of an object in their order; none of anything else.
    #[must_use]
    pub fn fields(self) -> Fields<'a> {
        Fields { text: self.0, at: if self.is_object() { 1 } else { self.0.len() } }
    }

    /// The items of an array in their order; none of anything else.
    #[must_use]
    pub fn items(self) -> Items<'a> {
        Items { text: self.0, at: if self.is_array() { 1 } else { self.0.len() } }
    }

    /// The value of an object's field; the last one, if the name occurs twice.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Raw<'a>> {
        self.fields().filter(|field| field.is(name)).last().map(|field| field.value)
    }

    /// A string's text.
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        if !self.is_string() {
            return None;
        }
        Some(unescape(self.0.get(1..self.0.len().saturating_sub(1)).unwrap_or_default()))
    }

    /// An id: the text of a string that is not empty, or the digits of a number.
    #[must_use]
    pub fn id(self) -> Option<Cow<'a, str>> {
        if self.is_number() {
            return Some(Cow::Borrowed(self.0));
        }
        self.string().filter(|text| !text.is_empty())
    }

    /// What a string, a number or a boolean reads like; `None` of null, objects and arrays.
    #[must_use]
    pub fn scalar(self) -> Option<Cow<'a, str>> {
        match self.first() {
            b'"' => self.string(),
            b'{' | b'[' | b'n' => None,
            _ => Some(Cow::Borrowed(self.0)),
        }
    }
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The name as it stands between its quotes, escapes and all.
    pub key: &'a str,
    /// The value.
    pub value: Raw<'a>,
    /// Whether the name holds escapes.
    escaped: bool,
}

impl<'a> Field<'a> {
    /// The name, escapes resolved.
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        if self.escaped { unescape(self.key) } else { Cow::Borrowed(self.key) }
    }

    /// Whether this is its name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        if self.escaped { unescape(self.key) == name } else { self.key == name }
    }
}

/// Iterator over an object's fields.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let bytes = self.text.as_bytes();
        let start = next_item(bytes, self.at)?;
        let (end, escaped) = skip_string(bytes, start)?;
        let key = self.text.get(start + 1..end - 1)?;
        let colon = skip_space(bytes, end);
        let from = skip_space(bytes, colon + 1);
        let to = skip_value(bytes, from);
        self.at = to.max(end);
        Some(Field { key, value: Raw(self.text.get(from..to)?), escaped })
    }
}

/// Iterator over an array's items.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        let bytes = self.text.as_bytes();
        let from = next_item(bytes, self.at)?;
        let to = skip_value(bytes, from);
        if to <= from {
            return None;
        }
        self.at = to;
        Some(Raw(self.text.get(from..to)?))
    }
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
