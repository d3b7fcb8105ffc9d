//! What people are told of lanes: what binds each, and since which record it is deferred. Pure.
//!
//! Made when somebody asks, and not before: nothing on a record's way is kept for it. What an account is deferred since is a
//! record, and its time is that record's own.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{Account, Budget, Pipeline};
use crate::clock::Now;
use crate::lane::Binds;
use crate::source::Receipt;

/// An account that is deferred in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// The lane.
    pub lane: u32,
    /// The partition's index.
    pub slot: u32,
    /// The lowest record that the account owes there.
    pub offset: i64,
    /// The same with its time; if nobody has read it yet, the last record below that was read for the account, with its own.
    pub since: Option<(i64, i64)>,
}

impl Pipeline {
    /// What keeps an account's calls from going now, those included that wait in the topic if it is deferred.
    #[must_use]
    pub fn binds(&self, account: &Account, now: Now, is_deferred: bool) -> Binds {
        let binds = account.lane.binds(now);
        let is_over = binds.until.is_none_or(|until| until.mono <= now.mono);
        let told = match binds.what {
            // A limit whose time has come is no reason while there is no place on the wire.
            "limit" if is_over => self.binds_by_wire(account),
            "nothing" => self.binds_by_wire(account).or_else(|| self.binds_by_memory(account, is_deferred)),
            _ => None,
        };
        told.unwrap_or(binds)
    }

    /// What it could send finds no room.
    fn binds_by_wire(&self, account: &Account) -> Option<Binds> {
        if !account.starved || !account.lane.has_unsent() {
            return None;
        }
        Some(Binds { what: "wire", reason: self.wire.full(account.host).into(), until: None })
    }

    /// It takes nothing more, or nothing is read again for anybody.
    fn binds_by_memory(&self, account: &Account, is_deferred: bool) -> Option<Binds> {
        let reason = match account.closed {
            Some(Budget::Lane) => "[memory] lane",
            Some(Budget::Total) => "[memory] total",
            None if !is_deferred || !self.over_total => return None,
            None if self.is_short() => "[memory] total",
            None => "dead letters that wait for Kafka",
        };
        Some(Binds { what: "budget", reason: reason.into(), until: None })
    }

    /// All accounts that are deferred, partition by partition.
    #[must_use]
    pub fn deferred(&self) -> Vec<Deferred> {
        let mut all = Vec::new();
        let mut held: HashMap<u32, HashMap<Receipt, Option<i64>, RandomState>, RandomState> = HashMap::default();
        for (slot, partition) in (0..).zip(&self.partitions) {
            for (lane, offset, _) in partition.deferred() {
                let Some(entry) = partition.entries.get(&lane) else { continue };
                if entry.holds(offset) {
                    held.entry(lane).or_default().insert(Receipt { slot, epoch: partition.epoch, offset }, None);
                }
                all.push(Deferred { lane, slot, offset, since: entry.since().filter(|(known, _)| *known <= offset) });
            }
        }
        for (lane, times) in &mut held {
            self.accounts[*lane as usize].lane.tell_times(times);
        }
        let letters = if held.is_empty() { None } else { Some(&self.letters) };
        for letter in letters.into_iter().flat_map(HashMap::values) {
            let times = letter.lane.and_then(|lane| held.get_mut(&lane));
            if let Some(time_ms) = times.and_then(|times| times.get_mut(&letter.receipt)) {
                *time_ms = letter.time_ms;
            }
        }
        for deferred in &mut all {
            let epoch = self.partitions[deferred.slot as usize].epoch;
            let receipt = Receipt { slot: deferred.slot, epoch, offset: deferred.offset };
            let told = held.get(&deferred.lane).and_then(|times| *times.get(&receipt)?);
            deferred.since = told.map(|time_ms| (deferred.offset, time_ms)).or(deferred.since);
        }
        all
    }
}

#[cfg(test)]
mod tests;
