//! JSON text that is already known to be valid: reading single fields of it, and copying it into a body.
//!
//! A [`Tape`] holds a text, and knows where its values stand if it was checked (by `check`); [`Raw`] is a value of it. With
//! notes a field costs a look at its node, without them a look at each byte before it. Nothing here ever panics or loops
//! without end, whatever the text. A tape takes memory for its text; to read it takes some only to resolve escapes.

pub(crate) mod check;
pub(crate) mod copy;
mod quotes;
mod tape;
pub(crate) mod write;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub use check::Fault;
pub(crate) use check::number;
use quotes::{backslash, quote};
use tape::Node;
pub use tape::Tape;
pub(crate) use tape::look_at;

/// One JSON value: valid, without lone surrogates, numbers in the range of `f64`.
///
/// Two words, so that it is passed in registers: in memory, what was written by the word would be read by the pair, for which
/// a processor waits.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    tape: &'a Tape,
    /// Its node's number, if the tape has notes; else where it begins, and above it where its name does ([`scanned_at`]).
    at: u64,
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

/// Where a value begins, and above it the place behind the quote at which its name does; zero of what has none.
const fn scanned_at(name: usize, start: usize) -> u64 {
    (name as u64) << 32 | start as u64
}

/// The lower half.
fn low(at: u64) -> usize {
    usize::try_from(at & u64::from(u32::MAX)).unwrap_or(usize::MAX)
}

impl<'a> Raw<'a> {
    /// Its node, if the tape has notes.
    #[inline]
    fn node(self) -> Option<&'a Node> {
        self.tape.node(self.at)
    }

    #[inline]
    fn start(self) -> usize {
        self.node().map_or_else(|| low(self.at), Node::start)
    }

    /// The text.
    #[inline]
    #[must_use]
    pub fn get(self) -> &'a str {
        match self.node() {
            Some(own) => part(self.tape.text(), own.at()),
            None => self.scanned(),
        }
    }

    #[inline(never)]
    fn scanned(self) -> &'a str {
        let (text, start) = (self.tape.text(), self.start());
        part(text, start..skip_value(text.as_bytes(), start))
    }

    /// How many bytes the text has.
    #[inline]
    pub(crate) fn size(self) -> usize {
        self.node().map_or_else(|| self.scanned().len(), |own| own.at().len())
    }

    /// The byte that it begins with, which tells what it is.
    #[inline]
    pub(crate) fn first(self) -> u8 {
        self.tape.text().as_bytes().get(self.start()).copied().unwrap_or(b'n')
    }

    /// What is in it, if it begins like this.
    #[inline]
    fn inside(self, open: u8) -> Inside<'a> {
        let (next, end) = match self.node() {
            _ if self.first() != open => (0, 0),
            Some(own) => (self.at + 1, self.at + own.size()),
            None => (self.start() as u64 + 1, self.tape.text().len() as u64),
        };
        Inside { tape: self.tape, next, end }
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
        Fields(self.inside(b'{'))
    }

    /// The items of an array in their order; none of anything else.
    #[inline]
    #[must_use]
    pub fn items(self) -> Items<'a> {
        Items(self.inside(b'['))
    }

    /// The value of an object's field; the last one, if the name occurs twice.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Raw<'a>> {
        let mut found = None;
        for field in self.fields() {
            if field.is(name) {
                found = Some(field.value);
            }
        }
        found
    }

    /// A string's text.
    #[inline]
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        self.plain().map_or_else(|| self.odd_string(), |text| Some(Cow::Borrowed(text)))
    }

    /// The text of a string without escapes.
    #[inline(never)]
    fn plain(self) -> Option<&'a str> {
        let own = self.node().filter(|own| self.is_string() && !own.escaped())?;
        Some(part(self.tape.text(), inner(own.at())))
    }

    #[cold]
    fn odd_string(self) -> Option<Cow<'a, str>> {
        let text = self.get();
        self.is_string().then(|| unescape(part(text, inner(0..text.len()))))
    }

    /// An id: the text of a string that is not empty, or the digits of a number.
    #[inline]
    #[must_use]
    pub fn id(self) -> Option<Cow<'a, str>> {
        let text = if self.is_number() { Some(Cow::Borrowed(self.get())) } else { self.string() };
        text.filter(|text| !text.is_empty())
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

/// What stands between a string's quotes.
#[inline]
fn inner(at: Range<usize>) -> Range<usize> {
    at.start + 1..at.end.saturating_sub(1)
}

/// A part of a text. What is no part is empty: so no `Option`.
#[inline]
fn part(text: &str, at: Range<usize>) -> &str {
    text.get(at).unwrap_or_default()
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The value, which knows its name.
    pub value: Raw<'a>,
}

impl<'a> Field<'a> {
    /// Where the name stands between its quotes, and whether it holds escapes.
    #[inline]
    fn name_at(&self) -> (Range<usize>, bool) {
        match self.value.node() {
            Some(own) => own.name(),
            None => self.scanned_name_at(),
        }
    }

    #[inline(never)]
    fn scanned_name_at(&self) -> (Range<usize>, bool) {
        let start = low(self.value.at >> 32);
        let found = skip_string(self.value.tape.text().as_bytes(), start.wrapping_sub(1));
        found.map_or((0..0, false), |(end, escaped)| (start..end - 1, escaped))
    }

    /// The name as it stands between its quotes, escapes and all.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &'a str {
        part(self.value.tape.text(), self.name_at().0)
    }

    /// The name, escapes resolved.
    #[inline]
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        let (at, escaped) = self.name_at();
        let key = part(self.value.tape.text(), at);
        if escaped { unescape(key) } else { Cow::Borrowed(key) }
    }

    /// The same in bytes, for who only compares it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compared, it never is in memory")]
    pub(crate) fn name_bytes(&self) -> Cow<'a, [u8]> {
        match self.value.node().map(Node::name) {
            Some((at, false)) => Cow::Borrowed(self.value.tape.text().as_bytes().get(at).unwrap_or_default()),
            _ => self.odd_name_bytes(),
        }
    }

    #[cold]
    fn odd_name_bytes(&self) -> Cow<'a, [u8]> {
        match self.name() {
            Cow::Borrowed(name) => Cow::Borrowed(name.as_bytes()),
            Cow::Owned(name) => Cow::Owned(name.into_bytes()),
        }
    }

    /// Whether this is its name.
    #[inline]
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        let (at, escaped) = self.name_at();
        if escaped {
            return self.name() == name;
        }
        // Nearly all names differ in their length already.
        at.len() == name.len() && self.value.tape.text().as_bytes().get(at) == Some(name.as_bytes())
    }
}

/// What is in an object or an array, from some value on: by the numbers of its nodes, if the tape has notes, else by the bytes.
#[derive(Clone, Debug)]
struct Inside<'a> {
    tape: &'a Tape,
    next: u64,
    end: u64,
}

impl<'a> Inside<'a> {
    /// The next value; `scan` finds it where there are no notes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it counts stays in registers")]
    fn next(&mut self, scan: impl FnOnce(&mut Self) -> Option<u64>) -> Option<Raw<'a>> {
        if self.next >= self.end {
            return None;
        }
        let at = match self.tape.node(self.next) {
            Some(node) => {
                let at = self.next;
                self.next += node.size();
                at
            }
            None => scan(self)?,
        };
        Some(Raw { tape: self.tape, at })
    }

    #[inline(never)]
    fn scan_field(&mut self) -> Option<u64> {
        let bytes = self.tape.text().as_bytes();
        let name = next_item(bytes, usize::try_from(self.next).ok()?)?;
        let (end, _) = skip_string(bytes, name)?;
        let start = skip_space(bytes, skip_space(bytes, end) + 1);
        self.next = skip_value(bytes, start).max(end) as u64;
        Some(scanned_at(name + 1, start))
    }

    #[inline(never)]
    fn scan_item(&mut self) -> Option<u64> {
        let bytes = self.tape.text().as_bytes();
        let start = next_item(bytes, usize::try_from(self.next).ok()?)?;
        let end = skip_value(bytes, start);
        if end <= start {
            return None;
        }
        self.next = end as u64;
        Some(scanned_at(0, start))
    }
}

/// Iterator over an object's fields.
#[derive(Clone, Debug)]
pub struct Fields<'a>(Inside<'a>);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the same")]
    fn next(&mut self) -> Option<Field<'a>> {
        self.0.next(Inside::scan_field).map(|value| Field { value })
    }
}

/// Iterator over an array's items.
#[derive(Clone, Debug)]
pub struct Items<'a>(Inside<'a>);

impl<'a> Iterator for Items<'a> {
    type Item = Raw<'a>;

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the same")]
    fn next(&mut self) -> Option<Raw<'a>> {
        self.0.next(Inside::scan_item)
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
