//! Batches that only have to be sent, in order, and which shapes there are among them. Pure.
//!
//! Whoever looks for the first of each shape stops when it has them all: with a backlog of requests of one call each, to
//! look through all of it for each request would take longer than to send it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use super::batch::Batch;
use crate::destination::Shape;

/// A bit for the shape.
pub(super) const fn bit(shape: Shape) -> u64 {
    1 << shape.0
}

/// Reads as the queue that it is. Batches enter by [`Ready::push_back`] and [`Ready::push_front`].
#[derive(Debug, Default)]
pub(super) struct Ready {
    batches: VecDeque<Batch>,
    /// No other shapes are there; some of these may have gone.
    shapes: Cell<u64>,
}

impl Ready {
    pub(super) fn push_back(&mut self, batch: Batch) {
        self.shapes.set(self.shapes.get() | bit(batch.shape()));
        self.batches.push_back(batch);
    }

    pub(super) fn push_front(&mut self, batch: Batch) {
        self.shapes.set(self.shapes.get() | bit(batch.shape()));
        self.batches.push_front(batch);
    }

    /// A bit for each shape that may be there.
    pub(super) fn shapes(&self) -> u64 {
        self.shapes.get()
    }

    /// All were looked at: these are the shapes that are there.
    pub(super) fn note(&self, shapes: u64) {
        self.shapes.set(shapes);
    }
}

impl Deref for Ready {
    type Target = VecDeque<Batch>;

    fn deref(&self) -> &VecDeque<Batch> {
        &self.batches
    }
}

/// To change batches and to take them out.
impl DerefMut for Ready {
    fn deref_mut(&mut self) -> &mut VecDeque<Batch> {
        &mut self.batches
    }
}

impl<'a> IntoIterator for &'a Ready {
    type Item = &'a Batch;
    type IntoIter = std::collections::vec_deque::Iter<'a, Batch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.iter()
    }
}

impl<'a> IntoIterator for &'a mut Ready {
    type Item = &'a mut Batch;
    type IntoIter = std::collections::vec_deque::IterMut<'a, Batch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.iter_mut()
    }
}

impl IntoIterator for Ready {
    type Item = Batch;
    type IntoIter = std::collections::vec_deque::IntoIter<Batch>;

    fn into_iter(self) -> Self::IntoIter {
        self.batches.into_iter()
    }
}

impl FromIterator<Batch> for Ready {
    fn from_iter<I: IntoIterator<Item = Batch>>(batches: I) -> Self {
        let mut ready = Self::default();
        batches.into_iter().for_each(|batch| ready.push_back(batch));
        ready
    }
}
