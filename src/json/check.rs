//! The strict check: whether a text is one JSON value that any strict parser takes inside any body.
//!
//! Accepts what `serde_json` accepts as a `Value`, in one pass, and builds nothing but the tape; a test holds the two
//! against each other. Beyond well-formed JSON it refuses lone surrogates, numbers beyond `f64` and deep nesting,
//! because a body is shared: one such event would fail all others in it.

use std::fmt;
use std::ops::Range;

use wide::u8x16;

use super::tape::{Name, Notes, Tape};
use super::{hex4, skip_space};

/// How deep a message may nest. Strict parsers stop at 128; the body that a message ends in adds up to six levels.
pub(crate) const MAX_DEPTH: usize = 120;

/// The longest text of which the quotes are noted, in bytes.
const LONGEST_NOTED: usize = 64 * 1024;

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

/// Walks over a text, checks it, and notes on a tape where its values stand.
///
/// Every step takes the place where it begins and tells where it ends; [`Stop`] where there is a fault.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    fault: Fault,
}

/// In the place of a closing bracket: the outermost value is in nothing.
const NOTHING: u8 = 0;
/// In the place of a byte: there is none.
const END: u8 = 0;

/// There is a fault, which the scanner knows: so a step's result is two words.
#[derive(Debug)]
struct Stop;

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), fault: Fault { at: 0, what: "" } }
    }

    /// Exactly one value, white space around it aside; where it stands. Notes nothing.
    pub(crate) fn document(mut self) -> Result<Range<usize>, Fault> {
        let start = skip_space(self.bytes, 0);
        self.whole(start, &mut Notes::nothing(&mut Tape::default()), Odd).map_err(|Stop| self.fault)
    }

    /// Exactly one object, white space around it aside; where it stands.
    pub(crate) fn message(mut self, tape: &mut Tape) -> Result<Range<usize>, Fault> {
        let start = skip_space(self.bytes, 0);
        match self.byte(start) {
            Some(b'{') => {}
            Some(_) => return Err(Fault { at: start, what: "not a JSON object" }),
            None => return Err(Fault { at: start, what: "no JSON" }),
        }
        let (mut notes, words) = tape.begin(self.bytes.len());
        // Longer texts have longer strings, in which there is less to win.
        let is_plain = self.bytes.len() <= LONGEST_NOTED && find_quotes(self.bytes, words);
        let all = if is_plain {
            self.whole(start, &mut notes, Quotes::new(words))
        } else {
            self.whole(start, &mut notes, Odd)
        };
        let noted = notes.noted();
        tape.end(noted);
        all.map_err(|Stop| self.fault)
    }

    fn whole(&mut self, start: usize, notes: &mut Notes<'_>, strings: impl Strings) -> Result<Range<usize>, Stop> {
        let end = self.values(start, notes, strings)?;
        let rest = skip_space(self.bytes, end);
        if rest < self.bytes.len() { self.stop(rest, "something follows the JSON value") } else { Ok(start..end) }
    }

    #[cold]
    fn stop<T>(&mut self, at: usize, what: &'static str) -> Result<T, Stop> {
        self.fault = Fault { at, what };
        Err(Stop)
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The first byte here that is no white space, and where it stands; zero at the end.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called between any two values")]
    fn token(&self, at: usize) -> (usize, u8) {
        match self.bytes.get(at) {
            // Nearly everywhere there is none.
            Some(&byte) if byte > b' ' => (at, byte),
            _ => self.spaced_token(at),
        }
    }

    #[inline(never)]
    fn spaced_token(&self, at: usize) -> (usize, u8) {
        let at = skip_space(self.bytes, at);
        (at, self.byte(at).unwrap_or(END))
    }

    /// The value that begins here, with all that is in it. One loop, because most messages nest a little, and a call for
    /// each value would cost more than the value.
    fn values<S: Strings>(&mut self, start: usize, notes: &mut Notes<'_>, mut strings: S) -> Result<usize, Stop> {
        // What closes the object or array that we are in.
        let mut close = NOTHING;
        let (mut at, mut byte) = self.token(start);
        loop {
            let mut name = Name::NONE;
            if close == b'}' {
                if byte != b'"' {
                    return self.stop(at, "expected a field name");
                }
                let (end, escaped) = strings.end(self, at)?;
                name = Name::new(at + 1..end - 1, escaped);
                (at, byte) = self.token(end);
                if byte != b':' {
                    return self.stop(at, "expected `:`");
                }
                (at, byte) = self.token(at + 1);
            }
            let mut end = match byte {
                b'"' => {
                    let (end, escaped) = strings.end(self, at)?;
                    notes.leaf(name, at..end, escaped);
                    end
                }
                b'{' | b'[' => {
                    if notes.open(name, at, close).is_err() {
                        return self.stop(at, "nested too deeply");
                    }
                    // `}` and `]` stand two behind `{` and `[`.
                    close = byte + 2;
                    (at, byte) = self.token(at + 1);
                    if byte != close {
                        continue;
                    }
                    close = notes.close(at + 1);
                    at + 1
                }
                _ => {
                    let end = self.atom(at, byte)?;
                    notes.leaf(name, at..end, false);
                    end
                }
            };
            loop {
                if close == NOTHING {
                    return Ok(end);
                }
                (at, byte) = self.token(end);
                if byte == b',' {
                    break;
                }
                if byte != close {
                    return self.no_end(at);
                }
                end = at + 1;
                close = notes.close(end);
            }
            (at, byte) = self.token(at + 1);
        }
    }

    #[cold]
    fn no_end<T>(&mut self, at: usize) -> Result<T, Stop> {
        let is_end = at >= self.bytes.len();
        self.stop(at, if is_end { "ends too early" } else { "expected `,` or the end of the object or array" })
    }

    fn escape(&mut self, at: usize) -> Result<usize, Stop> {
        match self.byte(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'u') => match hex4(self.bytes, at + 2) {
                Some(0xD800..=0xDBFF) if self.low_follows(at) => Ok(at + 12),
                Some(0xD800..=0xDFFF) => self.stop(at, "lone surrogate"),
                Some(_) => Ok(at + 6),
                None => self.stop(at, "bad \\u escape"),
            },
            _ => self.stop(at, "bad escape"),
        }
    }

    fn low_follows(&self, at: usize) -> bool {
        self.bytes.get(at + 6..at + 8) == Some(b"\\u") && matches!(hex4(self.bytes, at + 8), Some(0xDC00..=0xDFFF))
    }

    /// Behind a number, `true`, `false` or `null`, which begins with this byte.
    fn atom(&mut self, at: usize, first: u8) -> Result<usize, Stop> {
        let word: &[u8] = match first {
            b'-' | b'0'..=b'9' => return self.number(at),
            b't' => b"true",
            b'f' => b"false",
            b'n' => b"null",
            _ if at >= self.bytes.len() => return self.stop(at, "ends too early"),
            _ => return self.stop(at, "expected a value"),
        };
        let is_there = self.bytes.get(at..).is_some_and(|rest| rest.starts_with(word));
        if is_there { Ok(at + word.len()) } else { self.stop(at, "expected a value") }
    }

    fn number(&mut self, start: usize) -> Result<usize, Stop> {
        let mut at = start + usize::from(self.byte(start) == Some(b'-'));
        let first = at;
        at = self.digits(at)?;
        let whole = at - first;
        if whole > 1 && self.byte(first) == Some(b'0') {
            return self.stop(start, "number with a leading zero");
        }
        if self.byte(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        let exponent = matches!(self.byte(at), Some(b'e' | b'E'));
        if exponent {
            at += 1 + usize::from(matches!(self.byte(at + 1), Some(b'+' | b'-')));
            at = self.digits(at)?;
        }
        // Only an exponent or very many digits can leave the range.
        if exponent || whole > 300 {
            let number = self.text.get(start..at).unwrap_or_default();
            if !number.parse::<f64>().is_ok_and(f64::is_finite) {
                return self.stop(start, "number out of range");
            }
        }
        Ok(at)
    }

    fn digits(&mut self, start: usize) -> Result<usize, Stop> {
        let mut at = start;
        while matches!(self.byte(at), Some(b'0'..=b'9')) {
            at += 1;
        }
        if at == start { self.stop(at, "expected a digit") } else { Ok(at) }
    }
}

/// Notes where the quotes of a text stand, a bit a byte. False if the text holds backslashes or control characters anywhere:
/// else each string is what stands between two of them.
fn find_quotes(text: &[u8], words: &mut Vec<u64>) -> bool {
    let (mut least, mut slashes) = (u8x16::splat(u8::MAX), u8x16::splat(0));
    let mut look = |block: &[u8; 64]| {
        let (parts, _) = block.as_chunks::<16>();
        let mut word = 0;
        for (part, place) in parts.iter().zip([0, 16, 32, 48]) {
            let part = u8x16::new(*part);
            least = least.min(part);
            slashes |= part.simd_eq(u8x16::splat(b'\\'));
            word |= u64::from(part.simd_eq(u8x16::splat(b'"')).to_bitmask()) << place;
        }
        word
    };
    let (blocks, rest) = text.as_chunks::<64>();
    words.clear();
    words.extend(blocks.iter().map(&mut look));
    let mut last = [b' '; 64];
    last[..rest.len()].copy_from_slice(rest);
    words.push(look(&last));
    !slashes.any() && least.to_array().iter().all(|byte| *byte >= 0x20)
}

/// Finds where strings end.
trait Strings {
    /// Behind the string that begins here, and whether it holds escapes. Called for each string of a text, in turn.
    fn end(&mut self, scanner: &mut Scanner<'_>, start: usize) -> Result<(usize, bool), Stop>;
}

/// Strings that are looked at byte by byte: those of texts with escapes, control characters, or white space that is no space.
struct Odd;

impl Strings for Odd {
    #[inline(never)]
    fn end(&mut self, scanner: &mut Scanner<'_>, start: usize) -> Result<(usize, bool), Stop> {
        let (mut at, mut escaped) = (start + 1, false);
        loop {
            at = special(scanner.bytes, at);
            match scanner.byte(at) {
                Some(b'"') => return Ok((at + 1, escaped)),
                Some(b'\\') => {
                    escaped = true;
                    at = scanner.escape(at)?;
                }
                Some(_) => return scanner.stop(at, "control character in a string"),
                None => return scanner.stop(at, "ends inside a string"),
            }
        }
    }
}

/// The quotes of a text that [`find_quotes`] found, one after the other.
#[derive(Debug)]
struct Quotes<'w> {
    words: &'w [u64],
    word: usize,
    /// Those of this word that are still to come.
    bits: u64,
}

impl Strings for Quotes<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called for each string: what it knows stays in registers")]
    fn end(&mut self, scanner: &mut Scanner<'_>, _start: usize) -> Result<(usize, bool), Stop> {
        match self.next_string() {
            Some(quote) => Ok((quote + 1, false)),
            None => scanner.stop(scanner.bytes.len(), "ends inside a string"),
        }
    }
}

impl<'w> Quotes<'w> {
    fn new(words: &'w [u64]) -> Self {
        Self { words, word: 0, bits: words.first().copied().unwrap_or(0) }
    }

    /// The quote that ends the string which the next one begins.
    #[inline]
    fn next_string(&mut self) -> Option<usize> {
        self.next()?;
        self.next()
    }

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            self.word += 1;
            self.bits = *self.words.get(self.word)?;
        }
        let at = self.word * 64 + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(at)
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
