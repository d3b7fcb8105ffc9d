//! Whether a gap in what is read of a partition is one in the log, or librdkafka's. Pure.
//!
//! The batch call takes an error that came in a message's place for a record ([`crate::source::raw::intake`]): a partition
//! that is paused behind one, by us or because the group changes, goes on one record too far. To the ledger that would
//! look like an offset that does not exist. So a partition of which an error came is in doubt until its next record is the
//! one that was expected; if it is a later one, the partition is placed anew, once, and what is then missing is not there.

use std::collections::HashSet;

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Take it.
    Take,
    /// Drop it: it comes again behind those that are missing.
    Drop,
    /// Drop it, and place the partition anew where it was.
    PlaceAnew,
}

/// The partitions in doubt, by slot.
#[derive(Debug, Default)]
pub struct Doubts {
    doubtful: HashSet<u32>,
    /// Placed anew since the batch at hand was taken.
    placed: HashSet<u32>,
}

impl Doubts {
    /// An error came in a message's place.
    pub fn error(&mut self, slot: u32) {
        self.doubtful.insert(slot);
    }

    /// The partition was given a place to be read from.
    pub fn placed(&mut self, slot: u32) {
        self.doubtful.remove(&slot);
        self.placed.insert(slot);
    }

    /// What was taken so far is gone: whatever comes now was fetched from the places that were given.
    pub fn next_batch(&mut self) {
        self.placed.clear();
    }

    /// Whether what is left of the batch at hand is of an older place, and comes again.
    #[must_use]
    pub fn is_left_over(&self, slot: u32) -> bool {
        self.placed.contains(&slot)
    }

    /// What to do with the record at `offset` of a partition that is read from `front` on; -1 if it is not assigned.
    #[must_use]
    pub fn look(&mut self, slot: u32, front: i64, offset: i64) -> Look {
        if self.is_left_over(slot) {
            return Look::Drop;
        }
        if front < 0 || offset < front || !self.doubtful.contains(&slot) {
            return Look::Take;
        }
        if offset == front {
            self.doubtful.remove(&slot);
            return Look::Take;
        }
        Look::PlaceAnew
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_believed_only_once_it_was_looked_at_twice() {
        let mut doubts = Doubts::default();
        assert_eq!(doubts.look(0, 5, 9), Look::Take, "without an error a gap is the log's");
        doubts.error(0);
        assert_eq!(doubts.look(0, 5, 4), Look::Take, "what was read before says nothing");
        assert_eq!(doubts.look(1, 5, 9), Look::Take, "another partition's");
        assert_eq!(doubts.look(0, 5, 9), Look::PlaceAnew);
        doubts.placed(0);
        assert_eq!(doubts.look(0, 5, 10), Look::Drop, "left of the same batch");
        assert!(doubts.is_left_over(0) && !doubts.is_left_over(1));
        doubts.next_batch();
        assert!(!doubts.is_left_over(0));
        assert_eq!(doubts.look(0, 5, 9), Look::Take, "it is not there");
    }

    #[test]
    fn the_expected_record_ends_the_doubt() {
        let mut doubts = Doubts::default();
        doubts.error(0);
        assert_eq!((doubts.look(0, 5, 5), doubts.look(0, 6, 8)), (Look::Take, Look::Take));
    }

    #[test]
    fn a_place_that_could_not_be_given_is_asked_for_again() {
        let mut doubts = Doubts::default();
        doubts.error(0);
        doubts.placed(0);
        doubts.error(0);
        assert_eq!(doubts.look(0, 5, 9), Look::Drop);
        doubts.next_batch();
        assert_eq!(doubts.look(0, 5, 9), Look::PlaceAnew);
    }
}
