//! Where the values of a text stand: written by the check, so that nobody has to look for them again.
//!
//! A tape holds a [`Node`] for each value, in the order in which they begin; what stands in an object or an array follows
//! it. Texts of very many values have none, and are read by their bytes: a tape is kept for the next message, and must
//! not grow with the oddest one that ever came.

use std::ops::Range;

/// The most values that are noted: some 80 KB.
pub(super) const MOST: usize = 4096;
/// The longest text in which places can be noted.
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
    nodes: Vec<Node>,
    /// The objects and arrays that are open: the node of each, and the bracket that closes the one that it is in.
    open: Vec<(usize, u8)>,
    /// Where quotes stand, a bit a byte of the text.
    quotes: Vec<u64>,
}

/// A tape that is being written.
#[derive(Debug)]
pub(super) struct Notes<'t> {
    nodes: &'t mut Vec<Node>,
    open: &'t mut Vec<(usize, u8)>,
    /// How many nodes there may be.
    most: usize,
}

impl Tape {
    /// The nodes of the text that was checked last; none if it had too many.
    pub(super) fn nodes(&self) -> &[Node] {
        if self.nodes.len() < MOST { &self.nodes } else { &[] }
    }

    /// Notes of at most so many values, and the place for those of quotes.
    pub(super) fn begin(&mut self, most: usize) -> (Notes<'_>, &mut Vec<u64>) {
        let Self { nodes, open, quotes } = self;
        nodes.clear();
        open.clear();
        (Notes { nodes, open, most }, quotes)
    }
}

impl Notes<'_> {
    #[inline]
    fn push(&mut self, node: Node) {
        if self.nodes.len() < self.most {
            self.nodes.push(node);
        }
    }

    /// A value with nothing in it.
    #[inline]
    pub(super) fn leaf(&mut self, name: Name, at: Range<usize>, escaped: bool) {
        self.push(Node { name, start: place(at.start), end: ending(at.end, escaped), size: 1 });
    }

    /// An object or an array begins; `outside` is what closes the one that it is in.
    #[inline]
    pub(super) fn open(&mut self, name: Name, start: usize, outside: u8) {
        self.open.push((self.nodes.len(), outside));
        self.push(Node { name, start: place(start), end: 0, size: 0 });
    }

    /// The innermost one ends; what closes the one that it is in.
    #[inline]
    pub(super) fn close(&mut self, end: usize) -> u8 {
        let Some((own, outside)) = self.open.pop() else { return 0 };
        let size = place(self.nodes.len() - own);
        if let Some(node) = self.nodes.get_mut(own) {
            (node.end, node.size) = (place(end), size);
        }
        outside
    }

    #[inline]
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }
}
