//! A text, and where its values stand: written by the check, so that nobody has to look for them again.
//!
//! A tape holds a [`Node`] for each value, in the order in which they begin; what stands in an object or an array follows
//! it. Texts of very many values have none, and are read by their bytes: a tape is kept for the next message, and must
//! not grow with the oddest one that ever came.

use std::cell::Cell;
use std::ops::Range;

use super::check::{self, Fault};
use super::{Fields, Inside, Raw, scanned_at, skip_space};

/// The most values that are noted: some 80 KB.
const MOST: usize = 4096;
/// The longest text that keeps its room for the next one.
const KEPT: usize = 64 * 1024;
/// The longest text in which places can be told.
pub(super) const LONGEST: usize = ESCAPED as usize - 1;
/// The highest bit of a place: the string that ends there has escapes.
const ESCAPED: u32 = 1 << 31;

/// Where a value stands in the text, and its name if it is a field's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Node {
    name: Name,
    start: u32,
    end: u32,
    /// How many nodes it is, with those in it.
    size: u32,
}

/// Where a field's name stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Name {
    start: u32,
    end: u32,
}

/// A place in a text that has a tape; longer ones have none.
#[expect(clippy::cast_possible_truncation, reason = "nothing is noted of a text that is longer than `LONGEST`")]
const fn place(at: usize) -> u32 {
    at as u32
}

/// Where something ends, and whether it has escapes.
const fn ending(at: usize, escaped: bool) -> u32 {
    place(at) | if escaped { ESCAPED } else { 0 }
}

const fn range(start: u32, end: u32) -> Range<usize> {
    start as usize..(end & !ESCAPED) as usize
}

impl Name {
    /// Of what is no field.
    pub(super) const NONE: Self = Self { start: 0, end: 0 };

    pub(super) const fn new(at: Range<usize>, escaped: bool) -> Self {
        Self { start: place(at.start), end: ending(at.end, escaped) }
    }

    const fn get(self) -> (Range<usize>, bool) {
        (range(self.start, self.end), self.end & ESCAPED != 0)
    }
}

impl Node {
    /// Where its name stands, and whether that has escapes.
    pub(super) const fn name(&self) -> (Range<usize>, bool) {
        self.name.get()
    }

    pub(super) const fn at(&self) -> Range<usize> {
        range(self.start, self.end)
    }

    pub(super) const fn start(&self) -> usize {
        self.start as usize
    }

    /// Whether it is a string with escapes.
    pub(super) const fn escaped(&self) -> bool {
        self.end & ESCAPED != 0
    }

    pub(super) const fn size(&self) -> u64 {
        self.size as u64
    }
}

/// Memory for one text after the other, with the nodes of its values.
#[derive(Debug, Default)]
pub struct Tape {
    text: String,
    /// As many as the longest text until now could have; those of this one come first.
    nodes: Vec<Node>,
    /// Whether they are this text's.
    is_noted: bool,
    /// Where quotes stand, a bit a byte of the text.
    quotes: Vec<u64>,
}

/// A tape that is being written.
#[derive(Debug, Default)]
pub(super) struct Notes<'t> {
    nodes: &'t mut [Node],
    /// How many values there were, noted or not.
    values: usize,
}

thread_local! {
    /// For texts that are looked at by themselves.
    static SPARE: Cell<Tape> = Cell::default();
}

/// Looks at a text that was just written by the rules of JSON, in memory that is used for the next one, too.
pub(crate) fn look_at<T>(text: &str, look: impl FnOnce(Raw<'_>) -> T) -> T {
    let mut tape = SPARE.take();
    tape.text.clear();
    tape.text.push_str(text);
    let seen = look(tape.value());
    if tape.text.capacity() <= KEPT {
        SPARE.set(tape);
    }
    seen
}

impl Tape {
    /// Checks a text that must hold exactly one value, white space around it aside.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut tape = Self::default();
        check::document(text, &mut tape)?;
        Ok(tape)
    }

    /// Checks a text that must hold exactly one object, white space around it aside, and notes where its values stand.
    pub fn read(&mut self, text: &str) -> Result<(), Fault> {
        check::message(text, self)
    }

    /// Only for what [`check`] has accepted, or what was written by the rules of JSON.
    pub(crate) fn trusted(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The value that the text is.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Raw<'_> {
        if self.is_noted { Raw { tape: self, at: 0 } } else { self.value_at(0) }
    }

    /// The value that begins behind white space here, in a text without notes.
    pub(crate) fn value_at(&self, start: usize) -> Raw<'_> {
        Raw { tape: self, at: scanned_at(0, skip_space(self.text.as_bytes(), start)) }
    }

    /// The fields of an object without its first bracket, and maybe without its last, in a text without notes.
    pub(super) fn fields(&self) -> Fields<'_> {
        Fields(Inside { tape: self, next: 0, end: self.text.len() as u64 })
    }

    #[inline]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The node of this number, if there are notes.
    #[inline]
    pub(super) fn node(&self, number: u64) -> Option<&Node> {
        if self.is_noted { self.nodes.get(usize::try_from(number).ok()?) } else { None }
    }

    /// Takes a text in; what there is to write of it: itself, its notes, and the place for those of quotes.
    pub(super) fn begin(&mut self, text: &str) -> (&str, Notes<'_>, &mut Vec<u64>) {
        let Self { text: own, nodes, is_noted, quotes } = self;
        if own.capacity() > KEPT.max(text.len()) {
            *own = String::new();
        }
        own.clear();
        own.push_str(text);
        // A value takes a byte, and another one parts it from the next.
        let most = (text.len() / 2 + 1).min(MOST);
        if nodes.len() < most {
            nodes.resize(most, Node::default());
        }
        *is_noted = false;
        (own, Notes { nodes: nodes.get_mut(..most).unwrap_or_default(), values: 0 }, quotes)
    }

    /// Whether all values of the text are noted.
    pub(super) fn end(&mut self, is_noted: bool) {
        self.is_noted = is_noted;
    }
}

impl Notes<'_> {
    /// The value of this number, and its name; of one that holds others, how large it is comes later.
    #[inline]
    pub(super) fn value(&mut self, number: usize, name: Name, at: Range<usize>, escaped: bool) {
        if let Some(node) = self.nodes.get_mut(number) {
            *node = Node { name, start: place(at.start), end: ending(at.end, escaped), size: 1 };
        }
    }

    /// Where that ends, and how many values it is.
    #[inline]
    pub(super) fn close(&mut self, number: usize, end: usize, size: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            (node.end, node.size) = (place(end), place(size));
        }
    }

    /// So many values there were.
    pub(super) fn end(&mut self, values: usize) {
        self.values = values;
    }

    /// Whether all of them are noted: not if they are too many.
    pub(super) const fn is_complete(&self) -> bool {
        self.values <= self.nodes.len()
    }
}
