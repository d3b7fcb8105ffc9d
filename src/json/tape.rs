//! Where the values of a text stand: written by the check, so that nobody has to look for them again.
//!
//! A tape holds a [`Node`] for each value, in the order in which they begin; what stands in an object or an array follows
//! it. Texts of very many values have none, and are read by their bytes: a tape is kept for the next message, and must
//! not grow with the oddest one that ever came.

use std::ops::Range;

/// The most values that are noted: some 80 KB.
const MOST: usize = 4096;
/// The longest text in which places can be noted.
const LONGEST: usize = ESCAPED as usize - 1;
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

    /// Where it stands, and whether it has escapes.
    pub(super) const fn get(self) -> (Range<usize>, bool) {
        (range(self.start, self.end), self.end & ESCAPED != 0)
    }
}

impl Node {
    pub(super) const fn name(&self) -> Name {
        self.name
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

    pub(super) const fn size(&self) -> usize {
        self.size as usize
    }
}

/// Memory for the nodes of one text after the other.
#[derive(Debug, Default)]
pub struct Tape {
    /// As many as the longest text until now could have; those of the last one come first.
    nodes: Vec<Node>,
    /// How many values of the last text were noted.
    noted: usize,
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

impl Tape {
    /// The nodes of the text that was checked last; none if it had too many.
    pub(super) fn nodes(&self) -> &[Node] {
        self.nodes.get(..self.noted).unwrap_or_default()
    }

    /// Notes of a text of so many bytes, and the place for those of quotes.
    pub(super) fn begin(&mut self, length: usize) -> (Notes<'_>, &mut Vec<u64>) {
        // A value takes a byte, and another one parts it from the next.
        let most = if length <= LONGEST { (length / 2 + 1).min(MOST) } else { 0 };
        if self.nodes.len() < most {
            self.nodes.resize(most, Node::default());
        }
        let nodes = self.nodes.get_mut(..most).unwrap_or_default();
        (Notes { nodes, values: 0 }, &mut self.quotes)
    }

    /// So many values were noted.
    pub(super) fn end(&mut self, noted: usize) {
        self.noted = noted;
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

    /// How many of them are noted: none of too many.
    pub(super) const fn noted(&self) -> usize {
        if self.values <= self.nodes.len() { self.values } else { 0 }
    }
}
