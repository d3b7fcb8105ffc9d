//! The strict check: whether a text is one JSON value that any strict parser takes inside any body.
//!
//! Accepts what `serde_json` accepts as a `Value`, in one pass and without building anything; a test holds the two
//! against each other. Beyond well-formed JSON it refuses lone surrogates, numbers beyond `f64` and deep nesting,
//! because a body is shared: one such event would fail all others in it.

use std::fmt;

use wide::u8x16;

use super::{Raw, hex4, skip_space};

/// How deep a message may nest. Strict parsers stop at 128; the body that a message ends in adds up to six levels.
pub(crate) const MAX_DEPTH: usize = 120;

/// Where a text stops being JSON, and what is wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The offset in bytes, from zero.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// Walks over a text and checks it.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    quotes: Option<Quotes>,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, quotes: Quotes::of(text.as_bytes()) }
    }

    /// Exactly one value, white space around it aside.
    pub(crate) fn document(&mut self) -> Result<Raw<'a>, Fault> {
        self.space();
        let value = self.raw(0)?;
        self.end()?;
        Ok(value)
    }

    /// Exactly one object, white space around it aside. `field` gets each name, and whether it holds escapes, and must
    /// step over the value: by [`Scanner::raw`] or [`Scanner::object`].
    pub(crate) fn message(
        &mut self,
        field: impl FnMut(&mut Self, &'a str, bool) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.space();
        match self.bytes.get(self.at) {
            Some(b'{') => self.object(0, field)?,
            Some(_) => return Err(self.fault("not a JSON object")),
            None => return Err(self.fault("no JSON")),
        }
        self.end()
    }

    /// The value that begins here, inside `depth` objects or arrays.
    pub(crate) fn raw(&mut self, depth: usize) -> Result<Raw<'a>, Fault> {
        let start = self.at;
        self.value(depth)?;
        Ok(Raw::trusted(self.part(start, self.at)))
    }

    /// Whether an object begins here.
    pub(crate) fn at_object(&self) -> bool {
        self.bytes.get(self.at) == Some(&b'{')
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at < self.bytes.len() { Err(self.fault("something follows the JSON value")) } else { Ok(()) }
    }

    const fn fault(&self, what: &'static str) -> Fault {
        Fault { at: self.at, what }
    }

    fn part(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at = skip_space(self.bytes, self.at);
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.bytes.get(self.at) {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(depth, |scanner, _, _| scanner.value(depth + 1)),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.fault("expected a value")),
            None => Err(self.fault("ends too early")),
        }
    }

    /// The object that begins here; see [`Scanner::message`].
    pub(crate) fn object(
        &mut self,
        depth: usize,
        mut field: impl FnMut(&mut Self, &'a str, bool) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.opens(depth, b'}')? {
            return Ok(());
        }
        loop {
            if self.bytes.get(self.at) != Some(&b'"') {
                return Err(self.fault("expected a field name"));
            }
            let name = self.at + 1;
            let escaped = self.string()?;
            let key = self.part(name, self.at - 1);
            self.space();
            if self.bytes.get(self.at) != Some(&b':') {
                return Err(self.fault("expected `:`"));
            }
            self.at += 1;
            self.space();
            field(self, key, escaped)?;
            if self.closes(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Fault> {
        if self.opens(depth, b']')? {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.closes(b']')? {
                return Ok(());
            }
        }
    }

    /// Steps into a container; whether it is empty, and left again.
    fn opens(&mut self, depth: usize, close: u8) -> Result<bool, Fault> {
        if depth >= MAX_DEPTH {
            return Err(self.fault("nested too deeply"));
        }
        self.at += 1;
        self.space();
        let empty = self.bytes.get(self.at) == Some(&close);
        self.at += usize::from(empty);
        Ok(empty)
    }

    /// Steps over a comma, or out of the container: whether it ended.
    fn closes(&mut self, close: u8) -> Result<bool, Fault> {
        self.space();
        match self.bytes.get(self.at) {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(false)
            }
            Some(byte) if *byte == close => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(self.fault("expected `,` or the end of the object or array")),
            None => Err(self.fault("ends too early")),
        }
    }

    /// Behind the string; whether it holds escapes.
    fn string(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        if let Some(quotes) = &self.quotes {
            let Some(quote) = quotes.next(self.at) else {
                self.at = self.bytes.len();
                return Err(self.fault("ends inside a string"));
            };
            self.at = quote + 1;
            return Ok(false);
        }
        let mut escaped = false;
        loop {
            self.at = special(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault("control character in a string")),
                None => return Err(self.fault("ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let code = hex4(self.bytes, self.at + 2).ok_or(self.fault("bad \\u escape"))?;
                let length = match code {
                    0xD800..=0xDBFF if self.low_follows() => 12,
                    0xD800..=0xDFFF => return Err(self.fault("lone surrogate")),
                    _ => 6,
                };
                self.at += length;
            }
            _ => return Err(self.fault("bad escape")),
        }
        Ok(())
    }

    fn low_follows(&self) -> bool {
        self.bytes.get(self.at + 6..self.at + 8) == Some(b"\\u")
            && matches!(hex4(self.bytes, self.at + 8), Some(0xDC00..=0xDFFF))
    }

    fn word(&mut self, word: &'static str) -> Result<(), Fault> {
        let Some(rest) = self.bytes.get(self.at..) else { return Err(self.fault("ends too early")) };
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.fault("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        let whole = self.digits()?;
        if whole > 1 && self.bytes.get(self.at - whole) == Some(&b'0') {
            return Err(Fault { at: start, what: "number with a leading zero" });
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        let mut exponent = false;
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            exponent = true;
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        // Only an exponent or very many digits can leave the range.
        if (exponent || whole > 300) && !self.part(start, self.at).parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(Fault { at: start, what: "number out of range" });
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<usize, Fault> {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("expected a digit")) } else { Ok(self.at - start) }
    }
}

/// Where the quotes of a text stand, a bit a byte: of one in which each string is what stands between two of them.
#[derive(Debug)]
struct Quotes([u64; Self::WORDS]);

impl Quotes {
    /// Enough for most messages; longer ones have longer strings, too, in which there is less to win.
    const WORDS: usize = 64;

    /// None, if the text is longer than what is kept here, or holds backslashes or control characters anywhere.
    fn of(text: &[u8]) -> Option<Self> {
        if text.len() > Self::WORDS * 64 {
            return None;
        }
        let mut words = [0; Self::WORDS];
        let mut others = u8x16::splat(0);
        let (blocks, rest) = text.as_chunks::<16>();
        let mut look = |block: [u8; 16]| {
            let block = u8x16::new(block);
            others |= block.simd_eq(u8x16::splat(b'\\')) | block.simd_lt(u8x16::splat(0x20));
            u64::from(block.simd_eq(u8x16::splat(b'"')).to_bitmask())
        };
        for (word, blocks) in words.iter_mut().zip(blocks.chunks(4)) {
            for (block, place) in blocks.iter().zip([0, 16, 32, 48]) {
                *word |= look(*block) << place;
            }
        }
        if !rest.is_empty() {
            let mut last = [b' '; 16];
            last[..rest.len()].copy_from_slice(rest);
            words[blocks.len() / 4] |= look(last) << (blocks.len() % 4 * 16);
        }
        if others.any() { None } else { Some(Self(words)) }
    }

    /// The first at or behind `at`.
    fn next(&self, at: usize) -> Option<usize> {
        let mut word = at / 64;
        let mut bits = self.0.get(word)? >> (at % 64) << (at % 64);
        while bits == 0 {
            word += 1;
            bits = *self.0.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

/// The first byte at or behind `at` that a string cannot hold as it is: a quote, a backslash or a control character.
pub(crate) fn special(bytes: &[u8], at: usize) -> usize {
    find::<true, true>(bytes, at)
}

/// The first quote or backslash at or behind `at`.
pub(crate) fn quote(bytes: &[u8], at: usize) -> usize {
    find::<true, false>(bytes, at)
}

/// The first backslash at or behind `at`.
pub(crate) fn backslash(bytes: &[u8], at: usize) -> usize {
    find::<false, false>(bytes, at)
}

/// The first backslash, or quote, or control character, or the end; eight bytes at a time, because the strings of
/// messages are too short for what wider searches cost to begin.
#[inline]
fn find<const QUOTE: bool, const CONTROL: bool>(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // A byte of a word is zero exactly if subtracting one borrows from its high bit. What borrows spoil lies above
    // the first hit, and only the first hit is used.
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let slash = word ^ (ONES * 0x5c);
        let mut hits = slash.wrapping_sub(ONES) & !slash;
        if QUOTE {
            let quote = word ^ (ONES * 0x22);
            hits |= quote.wrapping_sub(ONES) & !quote;
        }
        if CONTROL {
            hits |= word.wrapping_sub(ONES * 0x20) & !word;
        }
        if hits & HIGH != 0 {
            return at + (hits & HIGH).trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let hit = |byte: &u8| *byte == b'\\' || (QUOTE && *byte == b'"') || (CONTROL && *byte < 0x20);
    while bytes.get(at).is_some_and(|byte| !hit(byte)) {
        at += 1;
    }
    at
}
