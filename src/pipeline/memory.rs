//! What is held, in bytes: who has to give some back when it becomes short, and when reading has to wait. Pure.
//!
//! A full lane never stops the others: its account is deferred. Partitions pause only when memory is used up although
//! lanes that wait have given theirs back, when the dead letters are stuck, or when no vendor answers at all.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Action, Pipeline};
use crate::clock::Now;
use crate::lane::{Health, Lane};

/// Intake pauses when this many dead letters wait for their acknowledgement.
const MAX_LETTERS: usize = 10_000;
/// A partition whose committed offset lags the front by more records than this pauses: the ledger has a bound too.
pub(super) const MAX_SPAN: usize = 8_000_000;
/// When no lane has been well for so long, nothing is read; but for one second in ten, to find one that is.
const ALL_DOWN: Duration = Duration::from_mins(1);
const SCAN_EVERY: u64 = 10;
/// Lanes give memory back at most this often, before it is used up.
const SHED_EVERY: Duration = Duration::from_millis(100);
/// So many lanes are looked at each time for room that they no longer need: 10,000 in some seconds.
const SHRUNK_AT_ONCE: usize = 128;

impl Pipeline {
    /// After a record of this partition: gives memory back when it is short, and stops reading when it is used up.
    #[inline]
    pub(super) fn keep_bounds(&mut self, now: Now, slot: u32) {
        // Who is not short is not over the total either.
        if self.is_short() || self.over_total || self.letters.len() > MAX_LETTERS {
            self.be_short(now, slot);
        }
    }

    #[cold]
    fn be_short(&mut self, now: Now, slot: u32) {
        self.shed_if_short(now);
        // A partition that came when the others had paused already is not paused yet.
        if (self.over_total && !self.is_paused(slot)) || (!self.over_total && self.is_over_total()) {
            self.balance_memory(now);
        }
    }

    /// When memory is short, lanes that wait give back what they hold unsent, the largest first, until half of the total is
    /// free. If that is not enough, those whose vendors have trouble give back what was sent, too.
    pub(super) fn shed_if_short(&mut self, now: Now) {
        if self.is_short() {
            self.shed(now);
        }
    }

    fn shed(&mut self, now: Now) {
        let is_new = !self.over_total && self.is_over_total();
        if now.mono < self.next_shed && !is_new {
            return;
        }
        self.next_shed = now.mono + SHED_EVERY;
        let waits = |index: &usize| {
            let account = &self.accounts[*index];
            account.lane.waits(now.mono) || (account.starved && account.lane.held_calls() > 0)
        };
        let mut lanes: Vec<usize> = (0..self.accounts.len()).filter(waits).collect();
        lanes.sort_by_key(|&index| {
            let lane = &self.accounts[index].lane;
            (lane.health(now.mono) == Health::Ok, Reverse(lane.held_bytes()))
        });
        for &index in &lanes {
            if self.counted_bytes() <= self.bounds.total / 2 {
                return;
            }
            self.release(now, u32::try_from(index).unwrap_or(u32::MAX));
        }
        lanes.retain(|&index| matches!(self.accounts[index].lane.health(now.mono), Health::Failing | Health::Held));
        lanes.sort_by_key(|&index| Reverse(self.accounts[index].lane.held_bytes()));
        for index in lanes {
            if !self.is_short() {
                return;
            }
            self.release_by(now, u32::try_from(index).unwrap_or(u32::MAX), Lane::release_sent);
        }
    }

    /// The next few lanes give back the room for what has gone.
    pub(super) fn shrink_some(&mut self) {
        for _ in 0..SHRUNK_AT_ONCE.min(self.accounts.len()) {
            self.shrunk = (self.shrunk + 1) % self.accounts.len();
            self.accounts[self.shrunk].lane.shrink();
        }
    }

    /// Whether the last quarter is reached, which is for lanes that are well.
    pub(super) fn is_short(&self) -> bool {
        self.counted_bytes() > self.bounds.total / 4 * 3
    }

    pub(super) fn is_over_total(&self) -> bool {
        self.counted_bytes() > self.bounds.total || self.letters.len() > MAX_LETTERS
    }

    /// Bytes of calls and dead letters that are held, and of what is remembered of records and deferred accounts.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.lane_bytes + self.letter_bytes + self.remembered
    }

    /// The same, as far as it decides what is read. Only what is caught up on is forgotten: were there no room left for that,
    /// nothing would go on for ever.
    fn counted_bytes(&self) -> usize {
        self.lane_bytes + self.letter_bytes + self.remembered.min(self.bounds.total / 2)
    }

    /// Notes whether any vendor answers.
    pub(super) fn look_for_life(&mut self, now: Now) {
        let mut failing = false;
        let alive = self.accounts.iter().any(|account| match account.lane.health(now.mono) {
            Health::Ok | Health::Throttled => true,
            Health::Failing => {
                failing = true;
                false
            }
            Health::Held => false,
        });
        if alive || !failing {
            self.down_since = None;
        } else {
            self.down_since.get_or_insert(now.mono);
        }
    }

    fn all_down(&self, now: Now) -> bool {
        let down = self.down_since.map_or(Duration::ZERO, |since| now.mono.saturating_sub(since));
        down >= ALL_DOWN && !down.as_secs().is_multiple_of(SCAN_EVERY)
    }

    /// Pauses or resumes partitions, with hysteresis.
    pub(super) fn balance_memory(&mut self, now: Now) {
        self.shed_if_short(now);
        if self.is_over_total() {
            self.over_total = true;
        } else if self.counted_bytes() < self.bounds.total / 4 * 3 && self.letters.len() < MAX_LETTERS / 2 {
            self.over_total = false;
        }
        let wait = self.over_total || self.all_down(now);
        for slot in 0..self.partitions.len() {
            let index = u32::try_from(slot).unwrap_or(u32::MAX);
            let partition = &self.partitions[slot];
            let Some(ledger) = &partition.ledger else { continue };
            let span = if partition.paused { MAX_SPAN / 2 } else { MAX_SPAN };
            let wait = wait || ledger.span() > span;
            if wait && !partition.paused {
                self.pause(index);
            } else if !wait && partition.paused {
                self.partitions[slot].paused = false;
                self.pausing = true;
                self.actions.push(Action::Pause { slot: index, paused: false });
            }
        }
    }

    pub(super) fn pause(&mut self, slot: u32) {
        let partition = &mut self.partitions[slot as usize];
        if !partition.paused && partition.ledger.is_some() {
            partition.paused = true;
            partition.pauses += 1;
            self.pausing = true;
            self.actions.push(Action::Pause { slot, paused: true });
        }
    }
}
