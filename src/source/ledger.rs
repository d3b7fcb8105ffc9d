//! Which records of a partition are settled, and what may be committed. Pure.
//!
//! ```text
//!  window (= committed offset)          front
//!    │ a slot a record: open calls        │ not read yet
//!    ├────────────────────────────────────┤
//! ```
//!
//! Guarantees that the committed offset never passes a record that still owes a call, in whatever order calls settle.
//! What is settled above it is told by [`Ledger::view`], for the commit's metadata. What deferred accounts owe stands in
//! entries of their own ([`crate::source::deferral`]), not here. Never reads a clock.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A hole in the log longer than this is remembered as one, not as slots.
const LONG_GAP: i64 = 1_024;
/// Room for so many slots is never given back.
const LEAST_ROOM: usize = 16 * 1_024;
/// No commit has room for more settled ranges: a bit for each record, and each range one record.
const MOST_RUNS: usize = super::commit::MAX_BYTES * 8 / 2;

/// What an earlier owner of the partition settled above its commit: ranges, ascending. Shared with the deferred accounts that
/// have to know, because a commit has room for thousands.
pub type Loaded = Arc<[Range<i64>]>;

/// What reading a record means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It has to be worked on, then [`Ledger::push`]ed.
    New,
    /// An earlier owner of the partition settled it.
    AlreadySettled,
    /// It was read before by this owner: nothing to do.
    Repeated,
}

/// The state of one assigned partition.
#[derive(Debug)]
pub struct Ledger {
    /// Everything below is settled.
    window: i64,
    /// The next offset to be read.
    front: i64,
    /// Open calls of each record from `window` on.
    slots: VecDeque<u16>,
    /// Long holes in the log above `window`: the first offset after the hole, and its length.
    gaps: Vec<(i64, i64)>,
    /// What the last owner settled above its commit; none once the front has passed it.
    loaded: Loaded,
    /// How many of these ranges the front has passed.
    passed: usize,
    /// Records that owe at least one call.
    in_flight: u64,
}

impl Ledger {
    /// A partition that begins at `window`, with what an earlier owner settled above it.
    #[must_use]
    pub fn new(window: i64, settled: Vec<Range<i64>>) -> Self {
        let loaded = settled.into_iter().filter(|range| range.end > window && range.start < range.end).collect();
        Self { window, front: window, slots: VecDeque::new(), gaps: Vec::new(), loaded, passed: 0, in_flight: 0 }
    }

    /// The offset that may be committed.
    #[must_use]
    pub fn base(&self) -> i64 {
        self.window
    }

    /// The next offset that the poll thread reads.
    #[must_use]
    pub fn front(&self) -> i64 {
        self.front
    }

    /// How many records owe a call.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// How many records lie between the committed offset and the front.
    #[must_use]
    pub fn span(&self) -> usize {
        self.slots.len()
    }

    /// Bytes that remembering all this takes, but for what is [`Ledger::shared`].
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u16>() + self.gaps.capacity() * size_of::<(i64, i64)>()
    }

    /// What the last owner settled above its commit, for whoever is read from the front on by somebody else.
    #[must_use]
    pub fn shared(&self) -> &Loaded {
        &self.loaded
    }

    /// What the last owner settled above its commit and we have not passed yet.
    fn loaded(&self) -> impl Iterator<Item = Range<i64>> {
        let front = self.front;
        self.loaded.iter().skip(self.passed).filter_map(move |range| {
            let start = range.start.max(front);
            (start < range.end).then_some(start..range.end)
        })
    }

    /// A record at `offset` was read. If it is new, `push` must follow before anything else.
    pub fn read(&mut self, offset: i64) -> Reading {
        if offset < self.front {
            return Reading::Repeated;
        }
        while self.loaded.get(self.passed).is_some_and(|range| range.end <= offset) {
            self.passed += 1;
            if self.passed == self.loaded.len() {
                (self.loaded, self.passed) = (Loaded::default(), 0);
            }
        }
        if self.loaded.get(self.passed).is_some_and(|range| range.contains(&offset)) {
            self.push(offset, 0);
            return Reading::AlreadySettled;
        }
        Reading::New
    }

    /// The record at `offset` owes `calls` calls; offsets skipped since the last one do not exist and owe nothing.
    pub fn push(&mut self, offset: i64, calls: u16) {
        let gap = offset - self.front;
        if self.slots.is_empty() {
            self.window = offset;
        } else if gap >= LONG_GAP {
            self.gaps.push((offset, gap));
        } else {
            self.slots.extend((0..gap).map(|_| 0));
        }
        self.front = offset + 1;
        if calls > 0 {
            self.slots.push_back(calls);
            self.in_flight += 1;
        } else if self.slots.is_empty() {
            self.window = self.front;
        } else {
            self.slots.push_back(0);
        }
    }

    /// What lies between the front and `to` is not there, and reading goes on at `to`.
    pub fn skip(&mut self, to: i64) {
        if to > self.front {
            self.push(to - 1, 0);
        }
    }

    /// One call of the record at `offset` is settled. True if it was the record's last.
    pub fn settle(&mut self, offset: i64) -> bool {
        let Some(open) = self.index(offset).and_then(|index| self.slots.get_mut(index)) else { return false };
        if *open == 0 {
            return false;
        }
        *open -= 1;
        if *open > 0 {
            return false;
        }
        self.in_flight -= 1;
        if offset == self.window {
            self.advance();
        }
        true
    }

    /// Where the slot of `offset` is.
    fn index(&self, offset: i64) -> Option<usize> {
        let missing: i64 = self.gaps.iter().filter(|(after, _)| *after <= offset).map(|(_, length)| length).sum();
        usize::try_from(offset - self.window - missing).ok()
    }

    /// Moves the window up over what is settled.
    fn advance(&mut self) {
        while let Some(0) = self.slots.front() {
            self.slots.pop_front();
            self.window += 1;
            if let Some(&(after, length)) = self.gaps.first()
                && after - length == self.window
            {
                self.window = after;
                self.gaps.remove(0);
            }
        }
        if self.slots.is_empty() {
            self.window = self.front;
            self.gaps.clear();
        }
        // A ledger that was wide once gives the room back.
        if self.slots.capacity() > LEAST_ROOM && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to((2 * self.slots.len()).max(LEAST_ROOM));
        }
    }

    /// What the ledger says when the calls in `without` are left out: record and number of calls, ascending. The lowest
    /// record that owes one of the others, and the settled ranges above it, ascending: this owner's, then what is left
    /// of the last owner's. No more of them than a commit has room for, and one.
    #[must_use]
    pub fn view(&self, without: &[(i64, u16)]) -> (i64, Vec<Range<i64>>) {
        let mut left_out = without.iter().peekable();
        let mut gaps = self.gaps.iter().peekable();
        let (mut offset, mut window, mut start) = (self.window, None, None);
        let mut runs = Vec::new();
        for &calls in &self.slots {
            let at = offset;
            offset += 1;
            if let Some((after, _)) = gaps.next_if(|(after, length)| after - length == offset) {
                offset = *after;
            }
            while left_out.next_if(|(left_out, _)| *left_out < at).is_some() {}
            let not_counted = left_out.next_if(|(left_out, _)| *left_out == at).map_or(0, |(_, count)| *count);
            if calls > not_counted {
                window.get_or_insert(at);
                runs.extend(start.take().map(|begin| begin..at));
                if runs.len() > MOST_RUNS {
                    return (window.unwrap_or(at), runs);
                }
            } else if window.is_some() {
                start.get_or_insert(at);
            }
        }
        runs.extend(start.map(|begin| begin..offset));
        runs.extend(self.loaded());
        (window.unwrap_or(self.front), runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger_with(start: i64, calls: &[u16]) -> Ledger {
        let mut ledger = Ledger::new(start, Vec::new());
        for (offset, &count) in (start..).zip(calls) {
            assert_eq!(ledger.read(offset), Reading::New);
            ledger.push(offset, count);
        }
        ledger
    }

    fn runs(ledger: &Ledger) -> Vec<Range<i64>> {
        ledger.view(&[]).1
    }

    #[test]
    fn the_base_never_passes_a_record_that_owes_a_call() {
        let mut ledger = ledger_with(10, &[1, 1, 1, 1]);
        assert!(ledger.settle(13) && ledger.settle(11));
        assert_eq!(ledger.base(), 10);
        assert_eq!(runs(&ledger), vec![11..12, 13..14]);
        assert!(ledger.settle(10));
        assert_eq!(ledger.base(), 12);
        assert!(ledger.settle(12));
        assert_eq!((ledger.base(), ledger.in_flight()), (14, 0));
    }

    #[test]
    fn what_a_wide_ledger_took_is_given_back_when_it_is_narrow_again() {
        let mut ledger = ledger_with(0, &vec![1; 1_000_000]);
        assert!(ledger.held_bytes() >= 2_000_000);
        for offset in 1..1_000_000 {
            ledger.settle(offset);
        }
        assert!(ledger.held_bytes() >= 2_000_000, "the lowest record keeps all the others' slots");
        ledger.settle(0);
        assert!(ledger.held_bytes() <= 2 * LEAST_ROOM * size_of::<u16>(), "{}", ledger.held_bytes());
    }

    #[test]
    fn a_record_is_settled_by_its_last_call_and_a_call_too_many_changes_nothing() {
        let mut ledger = ledger_with(0, &[2, 1]);
        assert!(!ledger.settle(0));
        assert_eq!(ledger.base(), 0);
        assert!(ledger.settle(0));
        assert_eq!(ledger.base(), 1);
        assert!(!ledger.settle(0) && !ledger.settle(99) && !ledger.settle(-1));
        assert_eq!(ledger.in_flight(), 1);
    }

    #[test]
    fn calls_that_are_left_out_move_the_window_up() {
        let mut ledger = ledger_with(10, &[1, 2, 1, 1, 2]);
        ledger.settle(13);
        assert_eq!(ledger.view(&[(10, 1), (11, 1), (14, 1)]), (11, std::iter::once(13..14).collect()));
        assert_eq!(ledger.view(&[(10, 1), (11, 2), (12, 1), (14, 1)]), (14, vec![]));
        assert_eq!(ledger.view(&[(10, 1), (11, 2), (12, 1), (14, 2)]), (15, vec![]));
        assert_eq!(ledger.base(), 10);
    }

    #[test]
    fn records_that_owe_nothing_do_not_hold_the_base() {
        let mut ledger = ledger_with(5, &[0, 0, 1, 0]);
        assert_eq!(ledger.base(), 7);
        ledger.settle(7);
        assert_eq!(ledger.base(), 9);
    }

    #[test]
    fn offsets_that_do_not_exist_count_as_settled() {
        for gap in [1, 3, LONG_GAP, 5_000_000_000] {
            let mut ledger = ledger_with(0, &[1]);
            let second = gap + 1;
            assert_eq!(ledger.read(second), Reading::New);
            ledger.push(second, 1);
            ledger.push(second + 1, 1);
            assert!(ledger.settle(second));
            assert_eq!(runs(&ledger), vec![if gap >= LONG_GAP { second } else { 1 }..second + 1], "gap {gap}");
            assert!(ledger.settle(0));
            assert_eq!(ledger.base(), second + 1, "gap {gap}");
            assert!(ledger.settle(second + 1));
            assert_eq!((ledger.base(), ledger.span()), (second + 2, 0));
        }
    }

    #[test]
    fn what_is_not_there_any_more_is_passed_and_what_is_owed_below_is_not() {
        let mut ledger = ledger_with(10, &[1, 0]);
        ledger.skip(5_000);
        ledger.skip(20);
        assert_eq!((ledger.base(), ledger.front(), ledger.in_flight()), (10, 5_000, 1));
        assert!(ledger.settle(10));
        assert_eq!(ledger.base(), 5_000);
        ledger.skip(5_001);
        assert_eq!((ledger.base(), ledger.front()), (5_001, 5_001));
        assert_eq!(ledger.read(5_001), Reading::New);
        let mut ledger = Ledger::new(10, vec![12..14, 20..30]);
        ledger.skip(25);
        assert_eq!((ledger.base(), ledger.read(24), ledger.read(26)), (25, Reading::Repeated, Reading::AlreadySettled));
    }

    #[test]
    fn what_the_last_owner_settled_is_not_read_again_and_not_forgotten() {
        let mut ledger = Ledger::new(10, vec![12..14, 20..30]);
        assert_eq!(runs(&ledger), vec![12..14, 20..30]);
        assert_eq!(ledger.read(10), Reading::New);
        ledger.push(10, 1);
        assert_eq!(ledger.read(11), Reading::New);
        ledger.push(11, 1);
        assert_eq!(ledger.read(12), Reading::AlreadySettled);
        assert_eq!(ledger.read(13), Reading::AlreadySettled);
        assert_eq!(ledger.read(13), Reading::Repeated);
        ledger.settle(11);
        assert_eq!(runs(&ledger), vec![11..14, 20..30]);
        ledger.settle(10);
        assert_eq!(ledger.base(), 14);
        assert_eq!(ledger.read(25), Reading::AlreadySettled);
        assert_eq!(runs(&ledger), vec![26..30]);
    }

    /// Against a plain model: any order of reading and settling gives the same base and the same settled set.
    #[test]
    fn agrees_with_a_plain_model_under_random_orders() {
        use rand::{Rng, SeedableRng, rngs::SmallRng};
        for seed in 0..300 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut ledger = Ledger::new(0, Vec::new());
            let mut open: std::collections::BTreeMap<i64, u16> = std::collections::BTreeMap::new();
            let (mut next, mut read_to) = (0_i64, 0_i64);
            for _ in 0..200 {
                if rng.random_bool(0.5) {
                    next += if rng.random_bool(0.1) { rng.random_range(0..3_000) } else { 0 };
                    assert_eq!(ledger.read(next), Reading::New);
                    let calls = rng.random_range(0..3);
                    ledger.push(next, calls);
                    if calls > 0 {
                        open.insert(next, calls);
                    }
                    next += 1;
                    read_to = next;
                } else if let Some(&offset) = open.keys().nth(rng.random_range(0..open.len().max(1))) {
                    let left = open.get_mut(&offset).map_or(0, |count| {
                        *count -= 1;
                        *count
                    });
                    assert_eq!(ledger.settle(offset), left == 0);
                    if left == 0 {
                        open.remove(&offset);
                    }
                }
                let base = open.keys().next().copied().unwrap_or(read_to);
                // A hole in the log right below the lowest open record may be counted in or not.
                assert!(ledger.base() <= base, "seed {seed}");
                assert!(open.range(..ledger.base()).next().is_none(), "seed {seed}");
                assert_eq!(ledger.in_flight(), open.len() as u64, "seed {seed}");
                for run in ledger.view(&[]).1 {
                    assert!(open.range(run).next().is_none(), "seed {seed}");
                }
            }
        }
    }
}
