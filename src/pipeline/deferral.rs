//! Accounts that cannot keep up: their records stay in Kafka, and are read again when their lanes can take them. Pure.
//!
//! ```text
//!              a record of a closed lane: left out         has_met: the poll thread takes it on
//!   taken by ──────────────────────────────────► deferred ────────────────────────────────────► taken by
//!   the poll thread                               │   ▲                                          the poll thread
//!                                   begin a sweep ▼   │ full, or its time is over
//!                                                swept
//! ```
//!
//! A lane closes when it is full, or when it had to give memory back; under a hold, a full one gives back what it holds
//! unsent. Both readers are one thread's, so that an account is handed over exactly at the front, and the order holds.
//! Reading again is `sweep`'s. Rules: ledger rules 1 to 5 and 11.

use std::cmp::Reverse;
use std::time::Duration;

use super::partition::OF_AN_ENTRY;
use super::{Budget, Partition, Pipeline};
use crate::clock::Now;
use crate::lane::{Health, Lane, Surroundings, Timed};
use crate::router::Tenant;
use crate::source::Receipt;
use crate::source::deferral::{Entry, Left};
use crate::source::ledger::Loaded;
use crate::source::record::Record;

/// How often people are told of deferred accounts that the configuration does not have.
const REMIND_EVERY: Duration = Duration::from_hours(1);
/// How often deferred accounts are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// However many accounts share the memory, a sweep may give a lane this much.
const LEAST_SHARE: usize = 64 * 1024;
/// When a ledger spans more records than this, whoever holds its lower end gets an entry.
const WIDE: usize = super::memory::MAX_SPAN / 8;
/// Or when all ledgers together would take more than this part of the total, but for narrow ones.
const LEDGERS_SHARE: usize = 8;
const LEAST_WIDE: usize = 64 * 1024;
/// What such an account must have held for.
const LAG: Duration = Duration::from_secs(5);

impl Pipeline {
    // === Leaving out ===

    /// The lane takes nothing more from the poll thread until it has room again.
    pub(super) fn close(&mut self, now: Now, lane: u32) {
        let account = &mut self.accounts[lane as usize];
        if account.closed.is_none() {
            account.closed = Some(Budget::Lane);
            self.closed.push(lane);
            if account.lane.health(now.mono) == Health::Held {
                self.to_release.push(lane);
            }
        }
    }

    /// Defers those of the record's accounts whose lanes are closed.
    pub(super) fn defer_closed(&mut self, tenant: Tenant, record: &Record<'_>) {
        if self.closed.is_empty() {
            return;
        }
        for at in 0..self.router.lanes(tenant).len() {
            let lane = self.router.lanes(tenant)[at];
            if self.accounts[lane as usize].closed.is_some() {
                self.defer(lane, record.slot, record.offset, record.timestamp_ms);
            }
        }
    }

    /// Whether a sweep, and not the poll thread, reads the record for this account.
    pub(super) fn is_left_out(&mut self, lane: u32, record: &Record<'_>) -> bool {
        let entries = &mut self.partitions[record.slot as usize].entries;
        if entries.is_empty() {
            return false;
        }
        let Some(entry) = entries.get_mut(&lane).filter(|entry| entry.covers(record.offset)) else { return false };
        entry.meet(record.offset, record.timestamp_ms);
        true
    }

    /// The account is read by sweeps from `next` on; what its lane holds of the partition is the entry's from now on.
    fn defer(&mut self, lane: u32, slot: u32, next: i64, since_ms: Option<i64>) {
        if self.partitions[slot as usize].entries.get(&lane).is_some_and(Entry::is_open) {
            return;
        }
        let mut owed = Vec::new();
        self.owed_by(lane, &mut owed);
        let partition = &mut self.partitions[slot as usize];
        let Some(ledger) = partition.ledger.as_mut() else { return };
        let entry = partition.entries.entry(lane).or_insert_with(Entry::closed);
        owed.retain(|receipt| {
            receipt.slot == slot && receipt.epoch == partition.epoch && !entry.covers(receipt.offset)
        });
        owed.sort_unstable_by_key(|receipt| receipt.offset);
        let before = entry.held_bytes();
        for calls in owed.chunk_by(|a, b| a.offset == b.offset) {
            let moved = calls.iter().filter(|call| ledger.settle(call.offset)).count();
            entry.hold(calls[0].offset, u16::try_from(calls.len()).unwrap_or(u16::MAX));
            // Another account still owes it in the ledger: now two have it.
            partition.received += u64::from(moved == 0);
        }
        entry.reopen(next, Loaded::clone(ledger.shared()));
        if let Some(since_ms) = since_ms {
            entry.waits_since(next, since_ms);
        }
        // Many may come before all of it is counted afresh.
        self.remembered += entry.held_bytes() - before + OF_AN_ENTRY;
    }

    /// The record of every call that the account's lane, or the dead-letter topic, has not ended yet.
    pub(super) fn owed_by(&self, lane: u32, into: &mut Vec<Receipt>) {
        self.accounts[lane as usize].lane.owed(into);
        into.extend(self.letters.values().filter(|letter| letter.lane == Some(lane)).map(|letter| letter.receipt));
    }

    /// The lane gives back what it holds unsent; it is read again later.
    pub(super) fn release(&mut self, now: Now, lane: u32) {
        self.release_by(now, lane, Lane::release_unsent);
    }

    /// The lane gives back what it holds, by `give_back`.
    pub(super) fn release_by(
        &mut self,
        now: Now,
        lane: u32,
        give_back: fn(&mut Lane, &mut Surroundings<'_>) -> Vec<Timed>,
    ) {
        let is_short = self.is_short();
        let mut owed = Vec::new();
        self.accounts[lane as usize].lane.owed(&mut owed);
        let mut slots: Vec<u32> = owed.iter().map(|receipt| receipt.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        for &slot in &slots {
            let front = self.partitions[slot as usize].front();
            self.defer(lane, slot, front, None);
        }
        for slot in 0..self.partitions.len() {
            self.leave_pass(slot, lane);
        }
        let mut released = Vec::new();
        self.with_lane(now, lane as usize, |lane, around| {
            released = give_back(lane, around);
            false
        });
        // The lowest last: an entry's time is that of the lowest it waits for.
        released.sort_unstable_by_key(|(receipt, _)| Reverse(receipt.offset));
        for (Receipt { slot, epoch, offset }, time_ms) in released {
            let partition = &mut self.partitions[slot as usize];
            if epoch == partition.epoch
                && let Some(entry) = partition.entries.get_mut(&lane)
            {
                partition.released += u64::from(entry.end(offset, true) == Left::Released);
                if let Some(time_ms) = time_ms {
                    entry.waits_since(offset, time_ms);
                }
            }
        }
        for slot in slots {
            let partition = &mut self.partitions[slot as usize];
            let top = partition.top(lane);
            if let Some(entry) = partition.entries.get_mut(&lane) {
                entry.fold(top);
            }
        }
        let account = &mut self.accounts[lane as usize];
        if account.closed.is_none() {
            self.closed.push(lane);
        }
        let known = account.closed.filter(|_| !is_short);
        account.closed = Some(known.unwrap_or(Budget::Total));
    }

    /// Does what could not be done while a record was being worked on.
    pub(super) fn release_what_must(&mut self, now: Now) {
        while let Some(lane) = self.to_release.pop() {
            self.release(now, lane);
        }
    }

    /// The topic no longer has what lies below `low`. The result is how far deferred accounts were behind that.
    pub fn expire(&mut self, slot: u32, low: i64) -> i64 {
        let owed = |partition: &Partition| partition.deferred_from().is_some_and(|lowest| lowest < low);
        if !self.partitions.get(slot as usize).is_some_and(owed) {
            return 0;
        }
        self.end_sweep(slot as usize);
        let partition = &mut self.partitions[slot as usize];
        partition.unknown.retain_mut(|entry| entry.expire(low));
        partition.entries.values_mut().map(|entry| entry.expire(low)).max().unwrap_or(0)
    }

    /// The topic no longer has what the poll thread would have read below `low`.
    pub fn skip(&mut self, slot: u32, low: i64) {
        let partition = self.partitions.get_mut(slot as usize);
        if let Some(ledger) = partition.and_then(|partition| partition.ledger.as_mut()) {
            ledger.skip(low);
        }
    }

    // === Looking after them ===

    /// When deferred accounts have to be looked after next, if there are any.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let any = !self.closed.is_empty() || self.partitions.iter().any(Partition::is_looked_after);
        any.then_some(self.look_at)
    }

    /// Opens lanes that have room again, and begins sweeps for accounts that can take something.
    pub(super) fn look_after_deferred(&mut self, now: Now) {
        if now.mono < self.look_at {
            return;
        }
        self.look_at = now.mono + LOOK_EVERY;
        self.look_for_life(now);
        self.tell_of_unknown(now);
        let ledgers = || self.partitions.iter().filter_map(|partition| partition.ledger.as_ref());
        let room = self.bounds.total / LEDGERS_SHARE / size_of::<u16>() / ledgers().count().max(1);
        let room = room.clamp(LEAST_WIDE, WIDE);
        let wide = |slot: &usize| self.partitions[*slot].ledger.as_ref().is_some_and(|ledger| ledger.span() > room);
        for slot in (0..self.partitions.len()).filter(wide).collect::<Vec<_>>() {
            self.narrow(now, slot);
        }
        self.partitions.iter_mut().for_each(Partition::shrink);
        self.remembered = self.partitions.iter().map(Partition::remembered).sum();
        let (short, half) = (self.is_short(), self.bounds.lane / 2);
        let accounts = &mut self.accounts;
        self.closed.retain(|&lane| {
            let account = &mut accounts[lane as usize];
            let held = account.lane.health(now.mono) == Health::Held;
            let full = account.lane.held_bytes() > half;
            account.closed = match account.closed {
                Some(Budget::Total) if !short && full => Some(Budget::Lane),
                Some(Budget::Lane) if short && !full => Some(Budget::Total),
                why => why.filter(|_| short || held || full),
            };
            account.closed.is_some()
        });
        let open = self.partitions.iter().flat_map(|partition| partition.entries.values()).filter(|e| e.is_open());
        let sharers = open.count().max(1);
        self.share = (self.bounds.total / 2 / sharers).max(LEAST_SHARE).min(self.bounds.lane);
        for slot in 0..self.partitions.len() {
            let partition = &self.partitions[slot];
            if partition.is_looked_after() && partition.ledger.is_some() && !partition.revoking && !self.draining {
                self.partitions[slot].note_progress();
                self.hand_over(now, slot);
                self.sweep(now, slot);
            }
        }
    }

    /// Deferred accounts that the configuration no longer has hold up what is committed: people are told again and again.
    fn tell_of_unknown(&mut self, now: Now) {
        if now.mono < self.next_reminder {
            return;
        }
        self.next_reminder = now.mono + REMIND_EVERY;
        for partition in self.partitions.iter().filter(|partition| !partition.unknown.is_empty()) {
            let (topic, number, accounts) = (&partition.topic, partition.number, partition.unknown.len());
            let (lowest, since_ms) = partition.unknown().unzip();
            let since = since_ms.flatten().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            tracing::warn!(
                %topic, partition = number, accounts, lowest, since = since.map(tracing::field::display),
                "no configured account matches some that are deferred: what they owe stays in the topic, and no offset \
                 above it is committed. Configure them again, under their old names, and it is delivered; else it ends \
                 when the topic's retention has passed it"
            );
        }
    }

    /// Whoever has held the lower end of a wide ledger for a while gets an entry for it, and is handed over at once.
    fn narrow(&mut self, now: Now, slot: usize) {
        let index = u32::try_from(slot).unwrap_or(u32::MAX);
        let front = self.partitions[slot].front();
        for lane in 0..self.accounts.len() {
            if self.accounts[lane].lane.oldest_opened().is_some_and(|opened| opened + LAG <= now.mono) {
                self.defer(u32::try_from(lane).unwrap_or(u32::MAX), index, front, None);
            }
        }
    }
}
