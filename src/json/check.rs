//! The strict check: whether a text is one JSON value that any strict parser takes inside any body.
//!
//! Accepts what `serde_json` accepts as a `Value`, in one pass, and builds nothing but the tape; a test holds the two
//! against each other. Beyond well-formed JSON it refuses lone surrogates, numbers beyond `f64` and deep nesting,
//! because a body is shared: one such event would fail all others in it.

use std::fmt;

use super::quotes::{find_all, special};
use super::tape::{LONGEST, Name, Notes, Tape};
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

/// Exactly one value, white space around it aside.
pub(crate) fn document(text: &str, tape: &mut Tape) -> Result<(), Fault> {
    check(text, tape, skip_space(text.as_bytes(), 0))
}

/// Exactly one object, white space around it aside.
pub(crate) fn message(text: &str, tape: &mut Tape) -> Result<(), Fault> {
    let start = skip_space(text.as_bytes(), 0);
    match text.as_bytes().get(start) {
        Some(b'{') => check(text, tape, start),
        Some(_) => Err(Fault { at: start, what: "not a JSON object" }),
        None => Err(Fault { at: start, what: "no JSON" }),
    }
}

/// The number that a text is, white space around it aside; takes no memory, as the texts of prices are many.
pub(crate) fn number(text: &str) -> Option<&str> {
    let start = skip_space(text.as_bytes(), 0);
    let mut walk = Walk::new(text, &[], Notes::default());
    let end = walk.number(start).ok()?;
    if skip_space(text.as_bytes(), end) < text.len() { None } else { text.get(start..end) }
}

/// The value that begins here; notes on the tape where its values stand.
fn check(text: &str, tape: &mut Tape, start: usize) -> Result<(), Fault> {
    if text.len() > LONGEST {
        return Err(Fault { at: LONGEST, what: "too long" });
    }
    let (text, notes, words) = tape.begin(text);
    // Longer texts have longer strings, in which there is less to win.
    let is_plain = text.len() <= LONGEST_NOTED && find_all(text.as_bytes(), words);
    let mut walk = Walk::new(text, words, notes);
    let all = if is_plain { walk.whole::<true>(start) } else { walk.whole::<false>(start) };
    let is_noted = walk.notes.is_complete();
    tape.end(is_noted && all.is_ok());
    all
}

/// Walks over a text, checks it, and notes where its values stand.
///
/// `PLAIN` texts hold no backslashes and no control characters: each string ends at the next quote.
struct Walk<'a, 't> {
    text: &'a str,
    bytes: &'a [u8],
    /// Where the quotes of a plain text are, a bit a byte.
    words: &'t [u64],
    notes: Notes<'t>,
    /// How far it has come, between objects and arrays: inside of one of them this is kept in registers.
    place: Place,
    fault: Fault,
}

/// How far a walk has come.
#[derive(Clone, Copy)]
struct Place {
    /// At this byte.
    at: usize,
    /// So many values were met.
    values: usize,
    /// Of a plain text, the quotes that are still to come of the 64 bytes from `base` on.
    quotes: u64,
    base: usize,
}

/// In the place of a byte: there is none.
const END: u8 = 0;

/// There is a fault, which the walk knows: so that a step's result is small.
struct Stop;

impl<'a, 't> Walk<'a, 't> {
    fn new(text: &'a str, words: &'t [u64], notes: Notes<'t>) -> Self {
        let place = Place { at: 0, values: 0, quotes: words.first().copied().unwrap_or(0), base: 0 };
        Self { text, bytes: text.as_bytes(), words, notes, place, fault: Fault { at: 0, what: "" } }
    }

    fn whole<const PLAIN: bool>(&mut self, start: usize) -> Result<(), Fault> {
        let mut place = Place { at: start, ..self.place };
        let first = self.byte(start).unwrap_or(END);
        let all = self.value::<PLAIN>(&mut place, first, Name::NONE, 0);
        self.notes.end(place.values);
        let rest = skip_space(self.bytes, place.at);
        match all {
            Err(Stop) => Err(self.fault),
            Ok(()) if rest < self.bytes.len() => Err(Fault { at: rest, what: "something follows the JSON value" }),
            Ok(()) => Ok(()),
        }
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

    /// Goes on to the first byte that is no white space; which it is.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called between any two values")]
    fn token(&self, place: &mut Place) -> u8 {
        match self.bytes.get(place.at) {
            // Nearly everywhere there is none.
            Some(&byte) if byte > b' ' => byte,
            _ => {
                place.at = skip_space(self.bytes, place.at);
                self.byte(place.at).unwrap_or(END)
            }
        }
    }

    /// The value that begins here, with this byte.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what a place holds stays in registers")]
    fn value<const PLAIN: bool>(&mut self, place: &mut Place, first: u8, name: Name, depth: usize) -> Result<(), Stop> {
        let (start, own) = (place.at, place.values);
        place.values += 1;
        match first {
            b'"' => {
                let escaped = self.string::<PLAIN>(place)?;
                self.notes.value(own, name, start..place.at, escaped);
            }
            b'{' | b'[' => {
                if depth == MAX_DEPTH {
                    return self.stop(start, "nested too deeply");
                }
                self.notes.value(own, name, start..start, false);
                place.at += 1;
                self.place = *place;
                if first == b'{' {
                    self.object::<PLAIN>(depth + 1)?;
                } else {
                    self.array::<PLAIN>(depth + 1)?;
                }
                *place = self.place;
                self.notes.close(own, place.at, place.values - own);
            }
            _ => {
                place.at = self.atom(start, first)?;
                self.notes.value(own, name, start..place.at, false);
            }
        }
        Ok(())
    }

    /// The rest of an object, behind its first bracket.
    fn object<const PLAIN: bool>(&mut self, depth: usize) -> Result<(), Stop> {
        let mut place = self.place;
        let mut byte = self.token(&mut place);
        if byte == b'}' {
            return self.closed(place, true);
        }
        loop {
            if byte != b'"' {
                return self.stop(place.at, "expected a field name");
            }
            let start = place.at + 1;
            let escaped = self.string::<PLAIN>(&mut place)?;
            let name = Name::new(start..place.at - 1, escaped);
            if self.token(&mut place) != b':' {
                return self.stop(place.at, "expected `:`");
            }
            place.at += 1;
            byte = self.token(&mut place);
            self.value::<PLAIN>(&mut place, byte, name, depth)?;
            byte = self.token(&mut place);
            if byte != b',' {
                return self.closed(place, byte == b'}');
            }
            place.at += 1;
            byte = self.token(&mut place);
        }
    }

    /// The rest of an array, behind its first bracket.
    fn array<const PLAIN: bool>(&mut self, depth: usize) -> Result<(), Stop> {
        let mut place = self.place;
        let mut byte = self.token(&mut place);
        if byte == b']' {
            return self.closed(place, true);
        }
        loop {
            self.value::<PLAIN>(&mut place, byte, Name::NONE, depth)?;
            byte = self.token(&mut place);
            if byte != b',' {
                return self.closed(place, byte == b']');
            }
            place.at += 1;
            byte = self.token(&mut place);
        }
    }

    /// Behind the last bracket of an object or array, if this is it.
    #[inline]
    fn closed(&mut self, place: Place, is_closed: bool) -> Result<(), Stop> {
        if is_closed {
            self.place = Place { at: place.at + 1, ..place };
            return Ok(());
        }
        let is_end = place.at >= self.bytes.len();
        self.stop(place.at, if is_end { "ends too early" } else { "expected `,` or the end of the object or array" })
    }

    /// Goes behind the string that begins here; whether it holds escapes.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the same")]
    fn string<const PLAIN: bool>(&mut self, place: &mut Place) -> Result<bool, Stop> {
        if !PLAIN {
            let (end, escaped) = self.odd_string(place.at)?;
            place.at = end;
            return Ok(escaped);
        }
        // The quote that begins it, and the one behind that.
        for _ in 0..2 {
            while place.quotes == 0 {
                place.base += 64;
                let Some(&next) = self.words.get(place.base / 64) else {
                    return self.stop(self.bytes.len(), "ends inside a string");
                };
                place.quotes = next;
            }
            place.at = place.base + place.quotes.trailing_zeros() as usize + 1;
            place.quotes &= place.quotes - 1;
        }
        Ok(false)
    }

    /// Behind the string that begins here, and whether it holds escapes.
    #[inline(never)]
    fn odd_string(&mut self, start: usize) -> Result<(usize, bool), Stop> {
        let (mut at, mut escaped) = (start + 1, false);
        loop {
            at = special(self.bytes, at);
            match self.byte(at) {
                Some(b'"') => return Ok((at + 1, escaped)),
                Some(b'\\') => {
                    escaped = true;
                    at = self.escape(at)?;
                }
                Some(_) => return self.stop(at, "control character in a string"),
                None => return self.stop(at, "ends inside a string"),
            }
        }
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
