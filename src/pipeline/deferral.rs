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
//! Rules: ledger rules 1 to 11.

use std::time::Duration;

use super::memory::HOLE;
use super::partition::{Partition, Sweep};
use super::{Action, Pipeline};
use crate::clock::Now;
use crate::event::Origin;
use crate::lane::Health;
use crate::router::decode;
use crate::source::Receipt;
use crate::source::deferral::{Entry, Left};
use crate::source::ledger::Ledger;
use crate::source::record::Record;

/// How often deferred accounts are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A sweep lasts this long while others wait for theirs.
const SLICE: Duration = Duration::from_secs(20);
/// A failing lane is given no more than this by sweeps: what it holds is only to see whether the vendor is back.
const PROBE_CALLS: usize = 100;
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
        if !account.closed {
            account.closed = true;
            self.closed.push(lane);
            if account.lane.health(now.mono) == Health::Held {
                self.to_release.push(lane);
            }
        }
    }

    /// Defers those of the record's accounts whose lanes are closed.
    pub(super) fn defer_closed(&mut self, lanes: &[u32], record: &Record<'_>) {
        if self.closed.is_empty() {
            return;
        }
        for &lane in lanes {
            if self.accounts[lane as usize].closed {
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
        if !entry.owes_beyond() {
            entry.since_ms = record.timestamp_ms;
        }
        entry.meet(record.offset);
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
        for calls in owed.chunk_by(|a, b| a.offset == b.offset) {
            let moved = calls.iter().filter(|call| ledger.settle(call.offset)).count();
            entry.hold(calls[0].offset, u16::try_from(calls.len()).unwrap_or(u16::MAX));
            // Another account still owes it in the ledger: now two have it.
            partition.received += u64::from(moved == 0);
        }
        entry.reopen(next, ledger.loaded().collect());
        entry.since_ms = since_ms;
    }

    /// The record of every call that the account's lane, or the dead-letter topic, has not ended yet.
    pub(super) fn owed_by(&self, lane: u32, into: &mut Vec<Receipt>) {
        self.accounts[lane as usize].lane.owed(into);
        into.extend(self.letters.values().filter(|letter| letter.lane == Some(lane)).map(|letter| letter.receipt));
    }

    /// The lane gives back what it holds unsent; it is read again later.
    pub(super) fn release(&mut self, now: Now, lane: u32) {
        let mut owed = Vec::new();
        self.accounts[lane as usize].lane.owed(&mut owed);
        let mut slots: Vec<u32> = owed.iter().map(|receipt| receipt.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            let front = self.partitions[slot as usize].front();
            self.defer(lane, slot, front, None);
        }
        for slot in 0..self.partitions.len() {
            self.leave_pass(slot, lane);
        }
        let mut released = Vec::new();
        self.with_lane(now, lane as usize, |lane, around| {
            released = lane.release_unsent(around);
            false
        });
        for Receipt { slot, epoch, offset } in released {
            let partition = &mut self.partitions[slot as usize];
            if epoch == partition.epoch
                && let Some(entry) = partition.entries.get_mut(&lane)
                && entry.end(offset, true) == Left::Released
            {
                partition.released += 1;
            }
        }
        let account = &mut self.accounts[lane as usize];
        if !account.closed {
            account.closed = true;
            self.closed.push(lane);
        }
    }

    /// Does what could not be done while a record was being worked on.
    pub(super) fn release_what_must(&mut self, now: Now) {
        while let Some(lane) = self.to_release.pop() {
            self.release(now, lane);
        }
    }

    // === Reading again ===

    /// A record that a sweep has read.
    pub fn swept(&mut self, now: Now, record: &Record<'_>) {
        let Some(partition) = self.partitions.get_mut(record.slot as usize) else { return };
        let (Some(ledger), Some(sweep)) = (&partition.ledger, &mut partition.sweep) else { return };
        if record.offset < sweep.at {
            return;
        }
        partition.reread += 1;
        let front = ledger.front();
        if record.offset < front {
            sweep.at = record.offset + 1;
            let epoch = partition.epoch;
            self.offer_again(now, record, Receipt { slot: record.slot, epoch, offset: record.offset });
            self.release_what_must(now);
        }
        // The record below the front is one that the poll thread has read: a sweep that has everything comes to it, and
        // needs no word from the broker on where the partition ends, which may be old when it is heard.
        if record.offset + 1 >= front {
            self.end_sweep(record.slot as usize);
            self.hand_over(now, record.slot as usize);
        }
        self.shed_if_short(now);
    }

    /// Gives the record's event to those of its accounts that the sweep reads for.
    fn offer_again(&mut self, now: Now, record: &Record<'_>, receipt: Receipt) {
        let Some(value) = record.value else { return };
        let index = record.slot as usize;
        let topic = std::sync::Arc::clone(&self.partitions[index].topic);
        let origin = Origin {
            topic: &topic,
            partition: self.partitions[index].number,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
        };
        let early = self.router.reads_message().then(|| decode(record, value, origin));
        let event = early.as_ref().and_then(|event| event.as_ref().ok());
        // What has no tenant, or cannot be read, was the poll thread's to refuse.
        let Ok(tenant) = self.router.tenant(origin.topic, record, event) else { return };
        let Some(lanes) = self.router.lanes(&tenant) else { return };
        let mut event = early;
        for &lane in lanes.iter() {
            let entry = self.partitions[index].entries.get_mut(&lane);
            let Some(entry) = entry.filter(|entry| entry.in_pass && entry.wants(record.offset)) else { continue };
            entry.since_ms = record.timestamp_ms;
            let event = event.get_or_insert_with(|| decode(record, value, origin));
            let calls = event.as_ref().map_or(0, |event| self.offer(now, lane, record, event, receipt));
            let partition = &mut self.partitions[index];
            partition.received += u64::from(calls > 0);
            if let Some(entry) = partition.entries.get_mut(&lane) {
                entry.hold(record.offset, calls);
            }
            if self.has_enough(now, lane) {
                self.leave_pass(index, lane);
            }
        }
    }

    /// The account takes no further part in the partition's sweep, which ends when nobody is left.
    fn leave_pass(&mut self, slot: usize, lane: u32) {
        let partition = &mut self.partitions[slot];
        let Some(sweep) = partition.sweep else { return };
        let Some(entry) = partition.entries.get_mut(&lane).filter(|entry| entry.in_pass) else { return };
        entry.read_to(sweep.at);
        entry.in_pass = false;
        if !partition.entries.values().any(|entry| entry.in_pass) {
            self.end_sweep(slot);
        }
    }

    pub(super) fn end_sweep(&mut self, slot: usize) {
        if self.partitions[slot].end_sweep() {
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            self.actions.push(Action::Sweep { slot, from: None });
        }
    }

    /// The poll thread takes on the accounts that have met it.
    fn hand_over(&mut self, now: Now, slot: usize) {
        let partition = &mut self.partitions[slot];
        let front = partition.front();
        let accounts = &self.accounts;
        partition.entries.retain(|lane, entry| {
            let account = &accounts[*lane as usize];
            let well = matches!(account.lane.health(now.mono), Health::Ok | Health::Throttled);
            if well && !account.closed && entry.has_met(front) {
                entry.close(front);
            }
            !entry.is_over()
        });
    }

    /// The topic no longer has what lies below `low`. The result is how far deferred accounts were behind that.
    pub fn expire(&mut self, slot: u32, low: i64) -> i64 {
        self.end_sweep(slot as usize);
        let partition = &mut self.partitions[slot as usize];
        partition.unknown.iter_mut().for_each(|entry| {
            entry.holes.retain(|hole| *hole >= low);
            entry.next = entry.next.max(low);
        });
        partition.entries.values_mut().map(|entry| entry.expire(low)).max().unwrap_or(0)
    }

    // === Looking after them ===

    /// When deferred accounts have to be looked after next, if there are any.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let any = !self.closed.is_empty() || self.partitions.iter().any(|partition| !partition.entries.is_empty());
        any.then_some(self.look_at)
    }

    /// Opens lanes that have room again, and begins sweeps for accounts that can take something.
    pub(super) fn look_after_deferred(&mut self, now: Now) {
        if now.mono < self.look_at {
            return;
        }
        self.look_at = now.mono + LOOK_EVERY;
        self.look_for_life(now);
        let ledgers = || self.partitions.iter().filter_map(|partition| partition.ledger.as_ref());
        let room = self.bounds.total / LEDGERS_SHARE / size_of::<u16>() / ledgers().count().max(1);
        let room = room.clamp(LEAST_WIDE, WIDE);
        let wide = |slot: &usize| self.partitions[*slot].ledger.as_ref().is_some_and(|ledger| ledger.span() > room);
        for slot in (0..self.partitions.len()).filter(wide).collect::<Vec<_>>() {
            self.narrow(now, slot);
        }
        let held = |partition: &Partition| {
            let holes = partition.entries.values().map(Entry::holes).sum::<usize>() * HOLE;
            holes + partition.ledger.as_ref().map_or(0, Ledger::held_bytes)
        };
        self.remembered = self.partitions.iter().map(held).sum();
        let (short, half) = (self.is_short(), self.bounds.lane / 2);
        let accounts = &mut self.accounts;
        self.closed.retain(|&lane| {
            let account = &mut accounts[lane as usize];
            let held = account.lane.health(now.mono) == Health::Held;
            account.closed = short || held || account.lane.held_bytes() > half;
            account.closed
        });
        let open = self.partitions.iter().flat_map(|partition| partition.entries.values()).filter(|e| e.is_open());
        let sharers = open.count().max(1);
        self.share = (self.bounds.total / 2 / sharers).max(LEAST_SHARE).min(self.bounds.lane);
        for slot in 0..self.partitions.len() {
            let partition = &self.partitions[slot];
            if !partition.entries.is_empty() && partition.ledger.is_some() && !partition.revoking && !self.draining {
                self.hand_over(now, slot);
                self.sweep(now, slot);
            }
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

    /// Begins a sweep, or lets accounts join the one that is under way.
    fn sweep(&mut self, now: Now, slot: usize) {
        if self.over_total {
            return self.end_sweep(slot);
        }
        if self.partitions[slot].sweep.is_some_and(|sweep| sweep.until <= now.mono) {
            self.end_sweep(slot);
        }
        let front = self.partitions[slot].front();
        let ready = |lane: &u32| self.is_ready(now, *lane);
        let waiting = self.partitions[slot].entries.iter().filter(|(_, entry)| entry.is_open() && !entry.in_pass);
        let waiting = waiting.filter_map(|(&lane, entry)| Some((entry.begins(front)?, lane)));
        let waiting: Vec<(i64, u32)> = waiting.filter(|(_, lane)| ready(lane)).collect();
        let Some(&(lowest, _)) = waiting.iter().min() else { return };
        let partition = &mut self.partitions[slot];
        let sweep = partition.sweep.get_or_insert_with(|| {
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            self.actions.push(Action::Sweep { slot, from: Some(lowest) });
            Sweep { at: lowest, until: now.mono + SLICE }
        });
        for (_, lane) in waiting.iter().filter(|(begins, _)| *begins >= sweep.at) {
            if let Some(entry) = partition.entries.get_mut(lane) {
                entry.in_pass = true;
            }
        }
    }

    /// Whether a sweep may give the account something: room, or what the vendor could be asked with.
    fn is_ready(&self, now: Now, lane: u32) -> bool {
        let account = &self.accounts[lane as usize];
        match account.lane.health(now.mono) {
            Health::Ok | Health::Throttled => !account.closed && account.lane.held_bytes() <= self.share / 2,
            Health::Failing => account.lane.held_calls() == 0,
            Health::Held => account.lane.lacks_canary() && account.lane.held_calls() < PROBE_CALLS,
        }
    }

    /// Whether the sweep goes on without the account.
    fn has_enough(&self, now: Now, lane: u32) -> bool {
        let account = &self.accounts[lane as usize];
        match account.lane.health(now.mono) {
            Health::Ok | Health::Throttled => account.closed || account.lane.held_bytes() > self.share,
            Health::Failing => account.lane.held_calls() >= PROBE_CALLS,
            Health::Held => !account.lane.lacks_canary() || account.lane.held_calls() >= PROBE_CALLS,
        }
    }
}
