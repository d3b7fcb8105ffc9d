//! One partition: its ledger, its deferred accounts, and its records by how they ended. Pure.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::sweep::{Sweep, Turn};
use crate::event::Origin;
use crate::source::commit;
use crate::source::deferral::{Entry, Left};
use crate::source::ledger::Ledger;
use crate::source::record::Record;

/// What an entry takes, its holes apart: itself, and that a table is never full; and its place in what a sweep comes to.
pub(super) const OF_AN_ENTRY: usize = (size_of::<(u32, Entry)>() + 1) * 8 / 7 + size_of::<(i64, u32)>();
/// Room for so many entries is never given back.
const LEAST_ROOM: usize = 64;

/// One partition that the process has met.
///
/// A record that is read counts as received, and ends as settled or as released. What the poll thread reads for some
/// accounts and a sweep for others is received by each; so is what a deferral takes out of the ledger while another
/// account still owes it there.
#[derive(Debug)]
pub struct Partition {
    /// Its topic.
    pub topic: &'static str,
    /// Its number.
    pub number: i32,
    /// Its state, while it is assigned.
    pub ledger: Option<Ledger>,
    /// Records read that were not settled before.
    pub received: u64,
    /// Records that owe nothing any more.
    pub settled: u64,
    /// Records given back unsettled.
    pub released: u64,
    /// Records that an earlier owner had settled.
    pub already_settled: u64,
    /// Records that sweeps read.
    pub reread: u64,
    /// How often its fetching was paused.
    pub pauses: u64,
    /// Accounts that are read by sweeps, or were and have calls left from then.
    pub(super) entries: HashMap<u32, Entry, FixedState>,
    /// Entries of accounts that the configuration no longer has: carried on.
    pub(super) unknown: Vec<commit::Entry>,
    /// The lowest offset that one of them owes, with the time of its record; as it was when that was looked up.
    pub(super) unknown_since: Option<(i64, i64)>,
    /// The highest record that each account has settled, by lane, and the last that the commit which it began with spoke
    /// of: above both an account has settled nothing.
    tops: Vec<i64>,
    pub(super) top_loaded: i64,
    pub(super) sweep: Option<Sweep>,
    pub(super) turn: Turn,
    pub(super) epoch: u32,
    pub(super) revoking: bool,
    pub(super) paused: bool,
}

impl Partition {
    /// Where one of its records stands.
    pub(super) fn origin(&self, record: &Record<'_>) -> Origin<'static> {
        let Record { offset, timestamp_ms, .. } = *record;
        Origin { topic: self.topic, partition: self.number, offset, timestamp_ms }
    }

    pub(super) fn new(topic: &'static str, number: i32) -> Self {
        Self {
            topic,
            number,
            ledger: None,
            received: 0,
            settled: 0,
            released: 0,
            already_settled: 0,
            reread: 0,
            pauses: 0,
            entries: HashMap::default(),
            unknown: Vec::new(),
            unknown_since: None,
            tops: Vec::new(),
            top_loaded: -1,
            sweep: None,
            turn: Turn::default(),
            epoch: 0,
            revoking: false,
            paused: false,
        }
    }

    /// Whether its fetching is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether a sweep reads it.
    #[must_use]
    pub fn is_swept(&self) -> bool {
        self.sweep.is_some()
    }

    /// The next offset that the poll thread reads; -1 while it is not assigned.
    #[must_use]
    pub fn front(&self) -> i64 {
        self.ledger.as_ref().map_or(-1, Ledger::front)
    }

    /// Records that are being worked on.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let held: usize = self.entries.values().map(Entry::held).sum();
        self.ledger.as_ref().map_or(0, Ledger::in_flight) + held as u64
    }

    /// The offset that may be committed: the lowest that anybody owes; -1 while it is not assigned.
    #[must_use]
    pub fn base(&self) -> i64 {
        let owed = self.deferred_from().unwrap_or(i64::MAX);
        self.ledger.as_ref().map_or(-1, |ledger| ledger.base().min(owed))
    }

    /// The lowest offset that a deferred account owes, known or not.
    pub(super) fn deferred_from(&self) -> Option<i64> {
        let entries = self.entries.values().filter_map(Entry::lowest);
        entries.chain(self.unknown.iter().map(commit::Entry::lowest)).min()
    }

    /// Whether it has deferred accounts, or something was begun for them.
    #[must_use]
    pub fn is_looked_after(&self) -> bool {
        !self.entries.is_empty() || !self.unknown.is_empty() || self.sweep.is_some()
    }

    /// The accounts that are deferred, each with the lowest record that it owes, and with that record's time if it is known
    /// without asking the lane.
    pub fn deferred(&self) -> impl Iterator<Item = (u32, i64, Option<i64>)> {
        let open = self.entries.iter().filter(|(_, entry)| entry.is_open());
        open.filter_map(|(lane, entry)| {
            let lowest = entry.lowest()?;
            Some((*lane, lowest, entry.time_of(lowest)))
        })
    }

    /// Bytes that all this takes: the ledger, the entries of deferred accounts, and what they share.
    pub(super) fn remembered(&self) -> usize {
        let shared = self.ledger.iter().map(Ledger::shared).chain(self.entries.values().map(Entry::shared));
        let shared = shared.map(|settled| size_of_val(&**settled)).max().unwrap_or(0);
        let unknown = |entry: &commit::Entry| size_of_val(entry) + entry.holes.capacity() * size_of::<i64>();
        self.ledger.as_ref().map_or(0, Ledger::held_bytes)
            + shared
            + self.entries.capacity() * OF_AN_ENTRY
            + self.entries.values().map(Entry::held_bytes).sum::<usize>()
            + self.unknown.iter().map(unknown).sum::<usize>()
            + self.tops.capacity() * size_of::<i64>()
    }

    /// Gives back the room of entries that have gone.
    pub(super) fn shrink(&mut self) {
        if self.entries.capacity() > LEAST_ROOM && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to((2 * self.entries.len()).max(LEAST_ROOM));
        }
    }

    /// How many deferred accounts the configuration does not have.
    #[must_use]
    pub fn unknowns(&self) -> usize {
        self.unknown.len()
    }

    /// The lowest offset that these owe, and since when if that is known.
    #[must_use]
    pub fn unknown(&self) -> Option<(i64, Option<i64>)> {
        let lowest = self.unknown.iter().map(commit::Entry::lowest).min()?;
        let since = self.unknown_since.filter(|(offset, _)| *offset == lowest);
        Some((lowest, since.map(|(_, time_ms)| time_ms)))
    }

    /// Above this record the account has settled nothing.
    pub(super) fn top(&self, lane: u32) -> i64 {
        self.tops.get(lane as usize).copied().unwrap_or(-1).max(self.top_loaded)
    }

    pub(super) fn raise_top(&mut self, lane: u32, offset: i64) {
        let index = lane as usize;
        if self.tops.len() <= index {
            self.tops.resize(index + 1, -1);
        }
        self.tops[index] = self.tops[index].max(offset);
    }

    /// One call of an account is settled.
    pub(super) fn settle(&mut self, lane: Option<u32>, offset: i64) {
        if let Some(lane) = lane {
            self.raise_top(lane, offset);
        }
        let entry = lane.and_then(|lane| self.entries.get_mut(&lane)).filter(|entry| entry.covers(offset));
        let Some(entry) = entry else {
            if self.ledger.as_mut().is_some_and(|ledger| ledger.settle(offset)) {
                self.settled += 1;
            }
            return;
        };
        match entry.end(offset, false) {
            Left::Open => {}
            Left::Settled => self.settled += 1,
            Left::Released => self.released += 1,
        }
        if entry.is_over()
            && let Some(lane) = lane
        {
            self.entries.remove(&lane);
        }
    }

    /// What the sweep has read so far is read for all that take part.
    pub(super) fn note_progress(&mut self) {
        let Some(sweep) = &self.sweep else { return };
        for entry in self.entries.values_mut().filter(|entry| entry.in_pass) {
            entry.read_to(sweep.at);
        }
    }

    /// The sweep ends. True if there was one.
    pub(super) fn end_sweep(&mut self) -> bool {
        self.note_progress();
        self.entries.values_mut().for_each(|entry| entry.in_pass = false);
        let ended = self.sweep.take();
        self.turn.after = ended.as_ref().map_or(self.turn.after, |sweep| sweep.at);
        ended.is_some()
    }

    /// It is no longer ours: what it owes is given back.
    pub(super) fn give_up(&mut self) {
        self.released += self.in_flight();
        self.ledger = None;
        self.entries = HashMap::default();
        self.unknown = Vec::new();
        self.unknown_since = None;
        self.tops = Vec::new();
        self.sweep = None;
        self.turn = Turn::default();
        self.revoking = false;
        self.paused = false;
    }
}
