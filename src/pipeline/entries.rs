//! The deferred accounts of one partition, and what is known of all of them together. Pure.
//!
//! What follows from the entries is worked out again only when they may have changed.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use foldhash::fast::FixedState;

use crate::source::deferral::Entry;

type ByLane = HashMap<u32, Entry, FixedState>;

/// Accounts that are read by sweeps, or were and have calls left from then, by lane.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_lane: ByLane,
    changes: u64,
    sums: Sums,
    summed_at: u64,
}

/// Of all entries of a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Entries that sweeps read for.
    pub(super) open: usize,
    /// Bytes of their holes.
    pub(super) bytes: usize,
    /// Bytes of the largest set of settled records that one of them knows: most share one.
    pub(super) shared: usize,
    /// Entries that owe something, and nobody knows since when.
    pub(super) untimed: usize,
}

impl Entries {
    /// Differs from what it was if any entry may.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn sums(&mut self) -> Sums {
        if self.summed_at != self.changes {
            self.summed_at = self.changes;
            self.sums = Sums::default();
            for entry in self.by_lane.values() {
                let is_untimed = entry.is_open() && entry.since().is_none() && entry.lowest().is_some();
                self.sums.open += usize::from(entry.is_open());
                self.sums.bytes += entry.held_bytes();
                self.sums.shared = self.sums.shared.max(size_of_val(&**entry.shared()));
                self.sums.untimed += usize::from(is_untimed);
            }
        }
        self.sums
    }
}

impl Deref for Entries {
    type Target = ByLane;

    fn deref(&self) -> &ByLane {
        &self.by_lane
    }
}

/// Whoever may change an entry is taken to have done so.
impl DerefMut for Entries {
    fn deref_mut(&mut self) -> &mut ByLane {
        self.changes += 1;
        &mut self.by_lane
    }
}
