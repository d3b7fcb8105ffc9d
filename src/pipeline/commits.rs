//! What may be committed, and what the commit says beside its offset. Rules: ledger rules 4, 12, 13, 16 and 17.
//!
//! A record has one mark for all of its accounts. So an account that lags behind the others is written as an entry, as
//! if it were deferred: else it would make them repeat what they have done, after a restart. While accounts keep their
//! order, an entry is an offset and little more.
//!
//! A commit is written anew only where something has changed since the last one; however many accounts are deferred,
//! what stands still costs nothing but a comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::partition::Told;
use super::{Partition, Pipeline};
use crate::clock::Now;
use crate::source::Receipt;
use crate::source::commit::{self, Contents, Owing, Place, Written};
use crate::source::deferral::Entry;

/// An account that has held a call for so long is written as an entry; none for that alone in the last case.
const LAGS: [Option<Duration>; 3] = [Some(Duration::from_secs(5)), Some(Duration::from_millis(250)), None];

/// Ways to write a commit, tried until all has room: which lag, and whether entries are short. Where all accounts lag,
/// entries would say the same several times.
const WAYS: [(usize, bool); 4] = [(0, false), (0, true), (1, true), (2, true)];

/// A commit that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Topic.
    pub topic: &'static str,
    /// Partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// What is settled above it.
    pub metadata: String,
    /// Whether not all of that fitted.
    pub cut: bool,
}

/// The offsets, with the number of calls, that each account owes of one partition.
type Owed = BTreeMap<u32, BTreeMap<i64, u16>>;

impl Pipeline {
    /// The commits that are due, unchanged ones too: these as they were written before.
    #[must_use]
    pub fn commits(&mut self, now: Now, cluster: &str, only: Option<&[u32]>) -> Vec<Commit> {
        let all: Vec<u32> = (0..).take(self.partitions.len()).collect();
        let wanted =
            only.unwrap_or(&all).iter().copied().filter(|&slot| self.partitions[slot as usize].ledger.is_some());
        let wanted: Vec<u32> = wanted.collect();
        for &slot in &wanted {
            self.partitions[slot as usize].note_progress();
        }
        if only.is_none() {
            self.ended = 0;
        }
        if self.cluster != cluster {
            cluster.clone_into(&mut self.cluster);
            self.partitions.iter_mut().for_each(|partition| partition.told = None);
        }
        self.note_who_lags(now);
        let mut lagging: [Option<BTreeMap<u32, Owed>>; LAGS.len()] = [const { None }; LAGS.len()];
        let mut commits = Vec::with_capacity(wanted.len());
        for slot in wanted {
            if !self.partitions[slot as usize].is_told() {
                let commit = self.best_commit(now, slot, &mut lagging);
                let partition = &mut self.partitions[slot as usize];
                partition.told = Some(Told { changes: partition.changes(), commit });
            }
            commits.extend(self.partitions[slot as usize].told.as_ref().map(|told| told.commit.clone()));
        }
        commits
    }

    /// What accounts hold that lag behind the others is written as an entry: where one begins or ceases to, the commit is
    /// another. Also those that are deferred anywhere, and those that share a hash with one.
    fn note_who_lags(&mut self, now: Now) {
        let mut deferred = vec![false; self.accounts.len()];
        for &lane in self.partitions.iter().flat_map(|partition| partition.entries.keys()) {
            deferred[lane as usize] = true;
            self.twins.get(&lane).into_iter().flatten().for_each(|twin| deferred[*twin as usize] = true);
        }
        let mut receipts = Vec::new();
        for (lane, deferred) in (0..).zip(deferred) {
            let opened = || self.accounts[lane as usize].lane.oldest_opened().zip(LAGS[0]);
            let lags = deferred || opened().is_some_and(|(opened, lag)| opened + lag <= now.mono);
            if std::mem::replace(&mut self.accounts[lane as usize].lags, lags) != lags {
                self.owed_by(lane, &mut receipts);
            }
        }
        for Receipt { slot, .. } in receipts {
            self.partitions[slot as usize].told = None;
        }
    }

    fn best_commit(&self, now: Now, slot: u32, lagging: &mut [Option<BTreeMap<u32, Owed>>; LAGS.len()]) -> Commit {
        let (mut best, mut is_bare) = (Written { base: -1, text: String::new(), lost: u64::MAX }, false);
        for (lag, short) in WAYS {
            let owed = lagging[lag].get_or_insert_with(|| self.owed_by_lagging(now, LAGS[lag]));
            let owed = owed.get(&slot).cloned().unwrap_or_default();
            // If nobody lags, one way is like another.
            if owed.is_empty() && std::mem::replace(&mut is_bare, true) {
                continue;
            }
            let written = self.write_commit(slot, owed, short);
            if written.lost < best.lost {
                best = written;
            }
            if best.lost == 0 {
                break;
            }
        }
        let (Partition { topic, number, .. }, cut) = (&self.partitions[slot as usize], best.lost > 0);
        Commit { topic, partition: *number, offset: best.base, metadata: best.text, cut }
    }

    /// What accounts owe that lag, by partition, where the commit is to be written anew and their entry does not say it;
    /// also those that were just handed over, and those that share their hash with a deferred one, which would have to
    /// share its entry.
    fn owed_by_lagging(&self, now: Now, lag: Option<Duration>) -> BTreeMap<u32, Owed> {
        let mut lanes: BTreeSet<u32> = BTreeSet::new();
        for (lane, account) in (0..).zip(&self.accounts) {
            let opened = lag.and_then(|lag| Some(account.lane.oldest_opened()? + lag));
            if opened.is_some_and(|opened| opened <= now.mono) {
                lanes.insert(lane);
            }
        }
        for partition in &self.partitions {
            lanes.extend(partition.entries.keys());
        }
        lanes.extend(lanes.clone().iter().filter_map(|lane| self.twins.get(lane)).flatten());
        let (mut owed, mut receipts) = (BTreeMap::<u32, Owed>::new(), Vec::new());
        for lane in lanes {
            receipts.clear();
            self.owed_by(lane, &mut receipts);
            for &Receipt { slot, epoch, offset } in &receipts {
                let partition = &self.partitions[slot as usize];
                let is_entered = || partition.entries.get(&lane).is_some_and(Entry::is_open);
                if self.epochs[slot as usize] == Some(epoch) && !partition.is_told() && !is_entered() {
                    *owed.entry(slot).or_default().entry(lane).or_default().entry(offset).or_default() += 1;
                }
            }
        }
        owed
    }

    /// In `short`, what lies above all that an account has settled needs no hole: it is read for that.
    fn write_commit(&self, slot: u32, mut lagging: Owed, short: bool) -> Written {
        let partition = &self.partitions[slot as usize];
        let place = Place { cluster: &self.cluster, topic: partition.topic, partition: partition.number };
        let front = partition.front();
        let written = partition.entries.keys().chain(lagging.keys());
        let twins: Vec<u32> = written.filter_map(|lane| self.twins.get(lane)).flatten().copied().collect();
        for twin in twins {
            lagging.entry(twin).or_default();
        }
        let mut entries: Vec<Owing<'_>> = partition.unknown.iter().map(Owing::from).collect();
        let mut shared = BTreeMap::new();
        for (&lane, entry) in partition.entries.iter() {
            if entry.is_open() && entry.lowest().is_some() {
                lagging.remove(&lane);
                let next = if entry.owes_beyond() { entry.next() } else { entry.next().max(front) };
                if self.twins.contains_key(&lane) {
                    self.enter(&mut shared, lane, next, entry.offsets().collect());
                } else {
                    #[cfg(test)]
                    crate::work::count(crate::work::Work::Entry);
                    entries.push(Owing::of(self.accounts[lane as usize].hash, next, entry));
                }
            }
        }
        let mut left_out: BTreeMap<i64, u16> = BTreeMap::new();
        for (&lane, calls) in &lagging {
            let entry = partition.entries.get(&lane);
            for (&offset, &count) in
                calls.iter().filter(|(offset, _)| entry.is_none_or(|entry| !entry.covers(**offset)))
            {
                *left_out.entry(offset).or_default() += count;
            }
            if !calls.is_empty() || self.twins.contains_key(&lane) {
                let top = if short { partition.top(lane) } else { front };
                let next = calls.range(top + 1..).next().map_or(front, |(offset, _)| *offset);
                self.enter(&mut shared, lane, next, calls.range(..next).map(|(offset, _)| *offset).collect());
            }
        }
        let left_out: Vec<(i64, u16)> = left_out.into_iter().collect();
        let (window, settled) = partition.ledger.as_ref().map_or((-1, Vec::new()), |ledger| ledger.view(&left_out));
        entries.extend(shared.values().map(Owing::from));
        commit::write(place, window, settled, entries)
    }

    /// Accounts of equal hash share one entry: the lower `next`, and the holes of both.
    fn enter(&self, entries: &mut BTreeMap<u32, commit::Entry>, lane: u32, next: i64, mut holes: Vec<i64>) {
        let account = self.accounts[lane as usize].hash;
        let other = entries.remove(&account);
        let next = other.as_ref().map_or(next, |other| next.min(other.next));
        holes.extend(other.into_iter().flat_map(|other| other.holes));
        holes.retain(|hole| *hole < next);
        holes.sort_unstable();
        holes.dedup();
        entries.insert(account, commit::Entry { account, next, holes });
    }
}

impl Partition {
    /// Whether the last commit says what the next one would. One that had no room for all may find a better way to be
    /// written with time, while something is on its way.
    fn is_told(&self) -> bool {
        let is_final = |commit: &Commit| !commit.cut || self.ledger.as_ref().is_none_or(|it| it.in_flight() == 0);
        self.told.as_ref().is_some_and(|told| told.changes == self.changes() && is_final(&told.commit))
    }

    /// What a commit said of deferred accounts: each is read again for whoever its hash matches.
    pub(super) fn load(&mut self, contents: &Contents, lanes_of: impl Fn(u32) -> Vec<u32>) {
        let end = contents.settled.iter().map(|range| range.end).max().unwrap_or(contents.window).max(contents.window);
        self.top_loaded = end - 1;
        for entry in &contents.entries {
            let lanes = lanes_of(entry.account);
            if lanes.is_empty() {
                let mut entry = entry.clone();
                entry.orphan(end);
                self.unknown.push(entry);
            }
            for lane in lanes {
                let loaded = Entry::loaded(entry.next, &entry.holes, end);
                self.entries.insert(lane, loaded);
                self.raise_top(lane, entry.next - 1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
