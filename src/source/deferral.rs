//! What one deferred account still owes of a partition: where reading for it goes on, and its holes below. Pure.
//!
//! ```text
//!            held: in the lane        released: not in memory
//!              │      │                 │
//!  ────────────○──────○─────────────────○──────────┤ next        front
//!   what is not a hole is settled                  │ not read for this account yet
//! ```
//!
//! While an entry is open, the poll thread leaves the account's records out and a sweep reads them. An entry that was
//! closed at an offset keeps only the holes below it: from there on the poll thread reads for the account again, and
//! the entry goes when its last hole is settled. Never decides when; rules: the pipeline's `deferral`.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Loaded;

/// What remembering one hole takes in memory, about.
const HOLE: usize = 48;

/// Calls of one record that the lane holds.
#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    calls: u16,
    /// Another of its calls was released: the record is read again when these have ended.
    again: bool,
}

/// What the end of a call means for its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Other calls of it are still held, or it is not here.
    Open,
    /// The account owes it no more.
    Settled,
    /// The account owes it, and holds nothing of it.
    Released,
}

/// A deferred account.
#[derive(Debug, Default)]
pub struct Entry {
    next: i64,
    held: BTreeMap<i64, Hole>,
    released: BTreeSet<i64>,
    /// How many held holes are to be read again.
    again: usize,
    closed_at: Option<i64>,
    /// The highest record of the account that the poll thread left out.
    last_met: i64,
    /// The front must be here before the account is handed over.
    not_before: i64,
    /// What was settled above `next` when the account was deferred; and below, which says nothing of it.
    settled: Loaded,
    /// Whether a sweep reads for it now.
    pub in_pass: bool,
    /// The lowest record that it owes and that no lane holds, or one before, with its time; `None` if nobody knows.
    since: Option<(i64, i64)>,
}

impl Entry {
    /// An entry that covers nothing yet: for [`Entry::reopen`].
    #[must_use]
    pub fn closed() -> Self {
        Self { closed_at: Some(i64::MIN), ..Self::default() }
    }

    /// An entry from a commit; `end` is where everything that the commit speaks of ends.
    #[must_use]
    pub fn loaded(next: i64, holes: &[i64], end: i64) -> Self {
        // Whose the records up to the end were is not known: they are read for this account.
        Self {
            next,
            released: holes.iter().copied().filter(|hole| *hole < next).collect(),
            last_met: end - 1,
            not_before: end.max(next),
            ..Self::default()
        }
    }

    /// Whether the poll thread leaves the account's records out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }

    /// Whether the record at `offset` is this entry's, and not the window's.
    #[must_use]
    pub fn covers(&self, offset: i64) -> bool {
        self.closed_at.is_none_or(|at| offset < at)
    }

    /// From now on the account is read at `next`, by sweeps; `settled` is what it has settled above.
    pub fn reopen(&mut self, next: i64, settled: Loaded) {
        self.closed_at = None;
        self.next = next;
        self.last_met = -1;
        self.not_before = next;
        self.settled = settled;
        self.since = None;
    }

    /// The poll thread left a record of the account out.
    pub fn meet(&mut self, offset: i64, time_ms: Option<i64>) {
        if !self.owes_beyond() && offset >= self.next {
            // What lies in between was the poll thread's to look at too, and is not the account's.
            self.next = offset;
            if self.released.is_empty() {
                self.since = time_ms.map(|time_ms| (offset, time_ms));
            }
        }
        self.last_met = self.last_met.max(offset);
    }

    /// A sweep has shown it every record below `at`. Holes that are left there were another account's of the same hash,
    /// or this one's before the configuration changed.
    pub fn read_to(&mut self, at: i64) {
        self.next = self.next.max(at);
        self.released = self.released.split_off(&at);
        if self.settled.last().is_some_and(|range| range.end <= self.next) {
            self.settled = Loaded::default();
        }
    }

    /// The lowest record that it owes and that no lane holds: from there on it is read again.
    fn awaits(&self) -> Option<i64> {
        let beyond = (self.is_open() && self.owes_beyond()).then_some(self.next);
        self.released.first().copied().or(beyond)
    }

    /// The record at `offset`, which it owes and no lane holds, is of this time.
    pub fn waits_since(&mut self, offset: i64, time_ms: i64) {
        if self.awaits() == Some(offset) || self.since.is_none_or(|(known, _)| offset < known) {
            self.since = Some((offset, time_ms));
        }
    }

    /// The lowest record that it owes and that no lane holds, or one before: offset and time.
    #[must_use]
    pub fn since(&self) -> Option<(i64, i64)> {
        self.since
    }

    /// The time of the record at `offset`, if it is known here.
    #[must_use]
    pub fn time_of(&self, offset: i64) -> Option<i64> {
        self.since.filter(|(known, _)| *known == offset).map(|(_, time_ms)| time_ms)
    }

    /// The account has settled nothing above `top`: what was released there, and lies above all that is held, need not be
    /// remembered one by one. Reading for it goes on at the lowest of it.
    pub fn fold(&mut self, top: i64) {
        let held = self.held.last_key_value().map_or(top, |(offset, _)| top.max(*offset));
        let folded = self.released.split_off(&(held + 1));
        if let (Some(&first), Some(&last)) = (folded.first(), folded.last()) {
            self.next = self.next.min(first);
            self.last_met = self.last_met.max(last);
        }
    }

    /// Where reading for it goes on.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// The lane holds `calls` calls of the record at `offset`.
    pub fn hold(&mut self, offset: i64, calls: u16) {
        self.released.remove(&offset);
        if calls > 0 {
            self.held.entry(offset).or_default().calls += calls;
        }
    }

    /// A held call ended; `again` if it was released.
    pub fn end(&mut self, offset: i64, again: bool) -> Left {
        let Some(hole) = self.held.get_mut(&offset) else { return Left::Open };
        if again && !hole.again {
            hole.again = true;
            self.again += 1;
        }
        hole.calls -= 1;
        if hole.calls > 0 {
            return Left::Open;
        }
        let again = hole.again;
        self.held.remove(&offset);
        if again {
            self.again -= 1;
            self.released.insert(offset);
            return Left::Released;
        }
        Left::Settled
    }

    /// Whether a sweep has to offer it the record at `offset`.
    #[must_use]
    pub fn wants(&self, offset: i64) -> bool {
        let is_settled = || {
            let at = self.settled.partition_point(|range| range.end <= offset);
            self.settled.get(at).is_some_and(|range| range.contains(&offset))
        };
        self.released.contains(&offset) || (offset >= self.next && !is_settled())
    }

    /// Whether a record of the account stands between `next` and the front.
    #[must_use]
    pub fn owes_beyond(&self) -> bool {
        self.last_met >= self.next
    }

    /// Where a sweep for it begins; `None` while nothing is to be read, or calls of a released record are still held,
    /// which would be overtaken.
    #[must_use]
    pub fn begins(&self, front: i64) -> Option<i64> {
        let beyond = self.owes_beyond().then_some(self.next);
        let lowest = self.released.first().copied().or(beyond)?;
        (self.again == 0 && lowest < front).then_some(lowest)
    }

    /// Whether the poll thread may take the account on at `front`.
    #[must_use]
    pub fn has_met(&self, front: i64) -> bool {
        let read = self.next == front || (self.next < front && !self.owes_beyond());
        self.is_open() && read && self.released.is_empty() && self.again == 0 && front >= self.not_before
    }

    /// The poll thread takes the account on from `front`.
    pub fn close(&mut self, front: i64) {
        self.closed_at = Some(front);
        self.next = front;
        self.settled = Loaded::default();
        self.in_pass = false;
    }

    /// Whether nothing speaks for keeping it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_open() && self.held.is_empty()
    }

    /// How many records have calls in the lane.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Bytes that its holes take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        (self.held.len() + self.released.len()) * HOLE
    }

    /// What it knows to be settled, which it shares with its partition's other entries.
    #[must_use]
    pub fn shared(&self) -> &Loaded {
        &self.settled
    }

    /// The lowest offset that the account owes here, if any.
    #[must_use]
    pub fn lowest(&self) -> Option<i64> {
        let held = self.held.first_key_value().map(|(offset, _)| *offset);
        held.into_iter().chain(self.awaits()).min()
    }

    /// Whether the lane holds calls of the record at `offset`.
    #[must_use]
    pub fn holds(&self, offset: i64) -> bool {
        self.held.contains_key(&offset)
    }

    /// All holes, ascending.
    #[must_use]
    pub fn offsets(&self) -> Vec<i64> {
        let mut all: Vec<i64> = self.held.keys().chain(&self.released).copied().collect();
        all.sort_unstable();
        all
    }

    /// The topic no longer has what lies below `low`. The result is how far the account was behind that.
    pub fn expire(&mut self, low: i64) -> i64 {
        let lost = self.begins(i64::MAX).map_or(0, |begins| (low - begins).max(0));
        self.released = self.released.split_off(&low);
        self.next = self.next.max(low);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_at(next: i64) -> Entry {
        let mut entry = Entry::closed();
        entry.reopen(next, Loaded::default());
        entry
    }

    #[test]
    fn a_record_is_owed_until_all_of_its_calls_ended_and_none_was_released() {
        let mut entry = open_at(10);
        entry.hold(4, 2);
        entry.hold(6, 1);
        assert_eq!((entry.end(4, true), entry.lowest()), (Left::Open, Some(4)));
        entry.meet(12, None);
        assert_eq!(entry.begins(20), None, "the other call of 4 is on its way: what follows would overtake it");
        assert_eq!(entry.end(4, false), Left::Released);
        assert_eq!((entry.begins(20), entry.wants(4), entry.wants(6)), (Some(4), true, false));
        assert_eq!(entry.end(6, false), Left::Settled);
        entry.hold(4, 0);
        assert_eq!((entry.lowest(), entry.begins(20)), (Some(12), Some(12)), "what is between is not the account's");
    }

    #[test]
    fn an_account_that_met_nothing_floats_with_the_front() {
        let mut entry = open_at(10);
        assert!(entry.has_met(15) && entry.lowest().is_none());
        entry.meet(12, None);
        assert!(!entry.has_met(15));
        entry.read_to(15);
        assert!(entry.has_met(15));
    }

    #[test]
    fn what_is_released_above_all_that_was_settled_is_read_from_its_first_record_on() {
        let mut entry = open_at(100);
        for offset in [10, 20, 30, 40, 50] {
            entry.hold(offset, 1);
        }
        for offset in [20, 40, 50] {
            assert_eq!(entry.end(offset, true), Left::Released);
        }
        // 30 is held, and 35 was settled.
        entry.fold(35);
        assert_eq!((entry.next(), entry.begins(100), entry.held_bytes()), (40, Some(20), 3 * HOLE));
        assert!(entry.wants(20) && !entry.wants(30) && !entry.wants(39) && entry.wants(40) && entry.wants(50));
        entry.hold(20, 0);
        assert_eq!((entry.begins(100), entry.owes_beyond()), (Some(40), true));
        entry.read_to(100);
        assert!(!entry.owes_beyond() && entry.lowest() == Some(10));
    }

    #[test]
    fn what_was_settled_before_is_found_among_many_ranges_and_forgotten_behind_them() {
        let settled: Loaded = (0..1_000).map(|index| 10 * index..10 * index + 3).collect();
        let mut entry = Entry::closed();
        entry.reopen(4_995, Loaded::clone(&settled));
        let wanted = (4_990..5_015).filter(|offset| entry.wants(*offset)).collect::<Vec<_>>();
        assert_eq!(
            wanted,
            [4_995, 4_996, 4_997, 4_998, 4_999].into_iter().chain(5_003..5_010).chain(5_013..5_015).collect::<Vec<_>>()
        );
        entry.read_to(9_992);
        assert_eq!(entry.shared().len(), 1_000);
        entry.read_to(9_993);
        assert!(entry.shared().is_empty() && entry.wants(9_993));
    }

    #[test]
    fn since_when_it_waits_is_said_of_the_record_that_it_waits_for_and_else_of_one_before() {
        let mut entry = open_at(10);
        assert_eq!(entry.since(), None);
        entry.meet(12, Some(120));
        assert_eq!((entry.since(), entry.time_of(12), entry.time_of(13)), (Some((12, 120)), Some(120), None));
        entry.hold(4, 1);
        entry.end(4, true);
        entry.waits_since(4, 40);
        entry.waits_since(11, 110);
        assert_eq!(entry.since(), Some((4, 40)), "11 is not what it waits for");
        entry.hold(4, 1);
        entry.waits_since(12, 120);
        assert_eq!(entry.since(), Some((12, 120)));
    }

    #[test]
    fn a_closed_entry_keeps_its_holes_and_can_be_opened_again() {
        let mut entry = open_at(10);
        entry.hold(4, 1);
        entry.close(10);
        assert!(entry.covers(4) && !entry.covers(10) && !entry.is_over());
        entry.reopen(20, Loaded::default());
        assert!(entry.covers(10) && entry.is_open());
        entry.close(20);
        assert_eq!((entry.end(4, false), entry.is_over()), (Left::Settled, true));
    }

    #[test]
    fn a_loaded_entry_is_not_handed_over_before_the_front_has_passed_what_the_commit_spoke_of() {
        let mut entry = Entry::loaded(10, &[4, 7], 30);
        assert_eq!((entry.begins(12), entry.lowest()), (Some(4), Some(4)));
        entry.hold(4, 0);
        entry.hold(7, 0);
        entry.read_to(12);
        assert!(!entry.has_met(12));
        entry.read_to(30);
        assert!(entry.has_met(30));
    }

    #[test]
    fn what_the_topic_dropped_is_no_longer_owed() {
        let mut entry = Entry::loaded(10, &[4, 7], 30);
        assert_eq!(entry.expire(6), 2);
        assert_eq!(entry.lowest(), Some(7));
        assert_eq!(entry.expire(20), 13);
        assert_eq!(entry.lowest(), Some(20));
    }
}
