//! Reading again for deferred accounts: where a sweep begins, who takes part in it, and whose turn is next. Pure.
//!
//! A sweep begins where one account does. Another joins when the sweep comes to where it begins, and never later: what
//! it passed over would be read out of order. An account leaves when it has enough. The sweep ends at the front, when
//! nobody takes part and nobody begins a little further on, and when it had its time while others wait, but for those
//! that it comes to within as much time again. The next one begins at the next account that waits, upward, and then from
//! the lowest again, so that everybody has a turn.
//! Rules: ledger rules 6 to 9.

use std::time::Duration;

use super::{Action, Pipeline};
use crate::clock::Now;
use crate::event::Event;
use crate::lane::Health;
use crate::router::{Space, Tenant};
use crate::source::Receipt;
use crate::source::deferral::Entry;
use crate::source::record::Record;

/// A sweep lasts this long from its first record on while others wait for theirs.
const SLICE: Duration = Duration::from_secs(2);
/// So long the first record may take. Were it counted as the sweep's time, a slow broker would let none of them begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// To read on over so many records costs less than to begin anew.
const NEAR: i64 = 10_000;
/// A failing lane is given no more than this by sweeps: what it holds is only to see whether the vendor is back.
const PROBE_CALLS: usize = 100;

/// In the place of an account: those that the configuration does not have. Nothing is read for them, but one record tells
/// since when they wait.
const UNKNOWN: u32 = u32::MAX;

/// A second reading of the partition, for accounts that were deferred.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    /// The next offset.
    pub(super) at: i64,
    /// When others get their turn.
    until: Duration,
    /// Where it was when that time began; `None` until it has read anything.
    since: Option<i64>,
    /// How many accounts it reads for.
    pub(super) members: usize,
    /// Who begins further on, as of the last look: where, and the account; descending.
    ahead: Vec<(i64, u32)>,
}

impl Sweep {
    /// Whether it reads for nobody, and will not soon.
    fn is_over(&self) -> bool {
        let near = |(begins, _): &(i64, u32)| *begins <= self.at + NEAR;
        self.members == 0 && !self.ahead.last().is_some_and(near)
    }

    /// Whether it comes to the next account that waits as soon as that one's own turn would come. Then they share the
    /// rest, which would be read twice else.
    fn is_soon_joined(&self) -> bool {
        let reach = self.since.map_or(0, |since| self.at - since);
        self.members > 0 && self.ahead.last().is_some_and(|(begins, _)| *begins <= self.at + reach)
    }
}

/// Whose turn it is to have a sweep begin where they do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// Where the last sweep ended.
    pub(super) after: i64,
    /// Where the front was when the round began: who came later waits for the next one.
    end: i64,
}

impl Turn {
    /// Where the next sweep begins, for those that begin at `waiting`.
    fn next(&mut self, waiting: &[(i64, u32)], front: i64) -> Option<i64> {
        let begins = || waiting.iter().map(|(begins, _)| *begins);
        begins().filter(|begins| (self.after + 1..=self.end).contains(begins)).min().or_else(|| {
            self.end = front;
            begins().min()
        })
    }
}

impl Pipeline {
    /// A record that a sweep has read.
    pub fn swept(&mut self, now: Now, record: &Record<'_>) {
        let slot = record.slot as usize;
        let Some(partition) = self.partitions.get_mut(slot) else { return };
        let (Some(ledger), Some(sweep)) = (&partition.ledger, &mut partition.sweep) else { return };
        if record.offset < sweep.at {
            return;
        }
        if sweep.since.is_none() {
            (sweep.since, sweep.until) = (Some(record.offset), now.mono + SLICE);
        }
        partition.reread += 1;
        let (front, epoch) = (ledger.front(), partition.epoch);
        if record.offset < front {
            self.join(now, slot, record);
            if let Some(sweep) = &mut self.partitions[slot].sweep {
                sweep.at = record.offset + 1;
            }
            self.offer_again(now, record, Receipt { slot: record.slot, epoch, offset: record.offset });
            self.release_what_must(now);
        }
        // The record below the front is one that the poll thread has read: a sweep that has everything comes to it, and
        // needs no word from the broker on where the partition ends, which may be old when it is heard.
        if record.offset + 1 >= front {
            self.end_sweep(slot);
            self.hand_over(now, slot);
        } else if self.partitions[slot].sweep.as_ref().is_some_and(Sweep::is_over) {
            self.sweep(now, slot);
        }
        self.shed_if_short(now);
        if !self.over_total && self.is_over_total() {
            self.balance_memory(now);
        }
        if self.over_total {
            self.end_sweep(slot);
        }
    }

    /// The sweep has come to `record`: whoever begins here takes part.
    fn join(&mut self, now: Now, slot: usize, record: &Record<'_>) {
        loop {
            let partition = &mut self.partitions[slot];
            let front = partition.front();
            let Some(sweep) = &mut partition.sweep else { return };
            let Some((begins, lane)) = sweep.ahead.pop_if(|(begins, _)| *begins <= record.offset) else { return };
            let at = sweep.at;
            // A record without a time is of now, for want of anything better.
            let time_ms = record.timestamp_ms.unwrap_or(now.wall_ms);
            if lane == UNKNOWN {
                let lowest = partition.unknown().map(|(lowest, _)| lowest);
                partition.unknown_since = lowest.zip(Some(time_ms));
            }
            let Some(entry) = partition.entries.get_mut(&lane) else { continue };
            entry.waits_since(begins, time_ms);
            // It may have changed since it was looked at.
            let is_here = !entry.in_pass && entry.begins(front).is_some_and(|begins| begins >= at);
            if is_here && self.is_ready(now, lane) {
                let partition = &mut self.partitions[slot];
                if let (Some(sweep), Some(entry)) = (&mut partition.sweep, partition.entries.get_mut(&lane)) {
                    sweep.members += 1;
                    entry.in_pass = true;
                }
            }
        }
    }

    /// Gives the record's event to those of its accounts that the sweep reads for.
    fn offer_again(&mut self, now: Now, record: &Record<'_>, receipt: Receipt) {
        let Some(value) = record.value else { return };
        let index = record.slot as usize;
        let origin = self.partitions[index].origin(record);
        let (mut tape, mut event) = (std::mem::take(&mut self.tape), None);
        let message = self.router.message(record, value, origin, Space { tape: &mut tape, event: &mut event });
        // What has no tenant, or cannot be read, was the poll thread's to refuse.
        let tenant = self.router.tenant(origin.topic, record, message.event());
        let tenant = tenant.ok().and_then(|tenant| self.router.find(&tenant));
        let wants = |lane: &u32| {
            let entry = self.partitions[index].entries.get(lane);
            entry.is_some_and(|entry| entry.in_pass && entry.wants(record.offset))
        };
        if let Some(tenant) = tenant.filter(|tenant| self.router.lanes(*tenant).iter().any(wants)) {
            let event = message.read(record, value, origin);
            self.offer_again_to(now, tenant, record, event.ok(), receipt);
        }
        self.tape = tape;
    }

    fn offer_again_to(
        &mut self,
        now: Now,
        tenant: Tenant,
        record: &Record<'_>,
        event: Option<&Event<'_>>,
        receipt: Receipt,
    ) {
        let index = record.slot as usize;
        for at in 0..self.router.lanes(tenant).len() {
            let lane = self.router.lanes(tenant)[at];
            let entry = self.partitions[index].entries.get_mut(&lane);
            let Some(entry) = entry.filter(|entry| entry.in_pass && entry.wants(record.offset)) else { continue };
            if let Some(time_ms) = record.timestamp_ms {
                entry.waits_since(record.offset, time_ms);
            }
            let calls = event.map_or(0, |event| self.offer(now, lane, record, event, receipt));
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

    /// The account takes no further part in the partition's sweep.
    pub(super) fn leave_pass(&mut self, slot: usize, lane: u32) {
        let partition = &mut self.partitions[slot];
        let Some(sweep) = &mut partition.sweep else { return };
        let Some(entry) = partition.entries.get_mut(&lane).filter(|entry| entry.in_pass) else { return };
        entry.read_to(sweep.at);
        entry.in_pass = false;
        sweep.members -= 1;
    }

    pub(super) fn end_sweep(&mut self, slot: usize) {
        if self.partitions[slot].end_sweep() {
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            self.actions.push(Action::Sweep { slot, from: None });
        }
    }

    /// The poll thread takes on the accounts that have met it.
    pub(super) fn hand_over(&mut self, now: Now, slot: usize) {
        let partition = &self.partitions[slot];
        let front = partition.front();
        let may_take = |lane: u32| {
            let account = &self.accounts[lane as usize];
            let is_well = || matches!(account.lane.health(now.mono), Health::Ok | Health::Throttled);
            account.awake && account.closed.is_none() && is_well()
        };
        let met = partition.entries.iter().filter(|(lane, entry)| entry.has_met(front) && may_take(**lane));
        let met: Vec<u32> = met.map(|(lane, _)| *lane).collect();
        let partition = &mut self.partitions[slot];
        for lane in met {
            let Some(entry) = partition.entries.get_mut(&lane) else { continue };
            if entry.in_pass
                && let Some(sweep) = &mut partition.sweep
            {
                sweep.members -= 1;
            }
            entry.close(front);
            if entry.is_over() {
                partition.entries.remove(&lane);
            }
        }
    }

    /// Begins a sweep, ends it, or lets it know who begins further on.
    pub(super) fn sweep(&mut self, now: Now, slot: usize) {
        if self.over_total {
            return self.end_sweep(slot);
        }
        self.leave_what_is_done(now, slot);
        let mut waiting = self.waiting(now, slot);
        if let Some(sweep) = &mut self.partitions[slot].sweep {
            let is_late = sweep.until <= now.mono && !waiting.is_empty();
            let at = sweep.at;
            sweep.ahead.clear();
            sweep.ahead.extend(waiting.iter().filter(|(begins, _)| *begins >= at));
            if is_late && sweep.is_soon_joined() {
                (sweep.since, sweep.until) = (Some(at), now.mono + SLICE);
                return;
            }
            if !is_late && !sweep.is_over() {
                return;
            }
            self.end_sweep(slot);
            waiting = self.waiting(now, slot);
        }
        let partition = &mut self.partitions[slot];
        let front = partition.front();
        let Some(from) = partition.turn.next(&waiting, front) else { return };
        waiting.retain(|(begins, _)| *begins >= from);
        let until = now.mono + PATIENCE;
        partition.sweep = Some(Sweep { at: from, until, since: None, members: 0, ahead: waiting });
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        self.actions.push(Action::Sweep { slot, from: Some(from) });
    }

    /// Who has nothing more to read here, or has enough, leaves the sweep.
    fn leave_what_is_done(&mut self, now: Now, slot: usize) {
        let partition = &mut self.partitions[slot];
        partition.note_progress();
        if partition.sweep.as_ref().is_none_or(|sweep| sweep.members == 0) {
            return;
        }
        let partition = &self.partitions[slot];
        let front = partition.front();
        let members = partition.entries.iter().filter(|(_, entry)| entry.in_pass);
        let done = members.filter(|(lane, entry)| entry.begins(front).is_none() || self.has_enough(now, **lane));
        for lane in done.map(|(lane, _)| *lane).collect::<Vec<_>>() {
            self.leave_pass(slot, lane);
        }
    }

    /// The accounts that a sweep may give something and does not: where each begins, descending. Also those of which
    /// nobody knows since when they wait: one record tells.
    fn waiting(&self, now: Now, slot: usize) -> Vec<(i64, u32)> {
        let partition = &self.partitions[slot];
        let front = partition.front();
        let waits = |(&lane, entry): (&u32, &Entry)| {
            let begins = entry.begins(front).filter(|_| entry.is_open() && !entry.in_pass)?;
            let is_ready = || self.accounts[lane as usize].awake && self.is_ready(now, lane);
            (entry.since().is_none() || is_ready()).then_some((begins, lane))
        };
        let unknown = partition.unknown().filter(|(lowest, since)| since.is_none() && *lowest < front);
        let unknown = unknown.map(|(lowest, _)| (lowest, UNKNOWN));
        let mut waiting: Vec<(i64, u32)> = partition.entries.iter().filter_map(waits).chain(unknown).collect();
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        waiting
    }

    /// Whether a sweep may give the account something: room, or what the vendor could be asked with.
    pub(super) fn is_ready(&self, now: Now, lane: u32) -> bool {
        let account = &self.accounts[lane as usize];
        match account.lane.health(now.mono) {
            Health::Ok | Health::Throttled => account.closed.is_none() && account.lane.held_bytes() <= self.share / 2,
            Health::Failing => account.lane.held_calls() == 0,
            Health::Held => account.lane.lacks_canary() && account.lane.held_calls() < PROBE_CALLS,
        }
    }

    /// Whether the sweep goes on without the account.
    fn has_enough(&self, now: Now, lane: u32) -> bool {
        let account = &self.accounts[lane as usize];
        let asks = account.lane.held_calls() >= PROBE_CALLS;
        let enough = match account.lane.health(now.mono) {
            Health::Ok | Health::Throttled => account.closed.is_some(),
            Health::Failing => asks,
            Health::Held => asks || !account.lane.lacks_canary(),
        };
        enough || account.lane.held_bytes() > self.share
    }
}

#[cfg(test)]
mod tests;
