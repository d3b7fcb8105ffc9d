//! What may be committed, and what the commit says beside its offset. Rules: ledger rules 4, 12, 13, 16 and 17.
//!
//! A record has one mark for all of its accounts. So an account that lags behind the others is written as an entry, as
//! if it were deferred: else it would make them repeat what they have done, after a restart. While accounts keep their
//! order, an entry is an offset and little more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Partition, Pipeline};
use crate::clock::Now;
use crate::source::Receipt;
use crate::source::commit::{self, Contents, Place, Written};

/// An account that has held a call for so long is written as an entry; none for that alone in the last case.
const LAGS: [Option<Duration>; 3] = [Some(Duration::from_secs(5)), Some(Duration::from_millis(250)), None];

/// Ways to write a commit, tried until all has room: which lag, and whether entries are short. Where all accounts lag,
/// entries would say the same several times.
const WAYS: [(usize, bool); 4] = [(0, false), (0, true), (1, true), (2, true)];

/// A commit that is due.
#[derive(Debug, PartialEq, Eq)]
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
    /// The commits that are due, unchanged ones too.
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
        let mut lagging: [Option<BTreeMap<u32, Owed>>; LAGS.len()] = [const { None }; LAGS.len()];
        let mut commits = Vec::with_capacity(wanted.len());
        for slot in wanted {
            let mut best: Option<Written> = None;
            for (lag, short) in WAYS {
                let owed = lagging[lag].get_or_insert_with(|| self.owed_by_lagging(now, LAGS[lag]));
                let owed = owed.get(&slot).cloned().unwrap_or_default();
                let written = self.write_commit(cluster, slot, owed, short);
                if best.as_ref().is_none_or(|best| written.lost < best.lost) {
                    best = Some(written);
                }
                if best.as_ref().is_some_and(|best| best.lost == 0) {
                    break;
                }
            }
            let Some(Written { base, text, lost }) = best else { continue };
            let partition = &self.partitions[slot as usize];
            let topic = partition.topic;
            commits.push(Commit { topic, partition: partition.number, offset: base, metadata: text, cut: lost > 0 });
        }
        commits
    }

    /// What accounts owe that lag, by partition; also those that were just handed over, and those that share their hash
    /// with a deferred one, which would have to share its entry.
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
                if self.epochs[slot as usize] == Some(epoch) {
                    *owed.entry(slot).or_default().entry(lane).or_default().entry(offset).or_default() += 1;
                }
            }
        }
        owed
    }

    /// In `short`, what lies above all that an account has settled needs no hole: it is read for that.
    fn write_commit(&self, cluster: &str, slot: u32, mut lagging: Owed, short: bool) -> Written {
        let partition = &self.partitions[slot as usize];
        let place = Place { cluster, topic: partition.topic, partition: partition.number };
        let front = partition.front();
        let written = partition.entries.keys().chain(lagging.keys());
        let twins: Vec<u32> = written.filter_map(|lane| self.twins.get(lane)).flatten().copied().collect();
        for twin in twins {
            lagging.entry(twin).or_default();
        }
        let mut entries = BTreeMap::new();
        for (&lane, entry) in &partition.entries {
            if entry.is_open() && entry.lowest().is_some() {
                lagging.remove(&lane);
                let next = if entry.owes_beyond() { entry.next() } else { entry.next().max(front) };
                self.enter(&mut entries, lane, next, entry.offsets());
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
                self.enter(&mut entries, lane, next, calls.range(..next).map(|(offset, _)| *offset).collect());
            }
        }
        let left_out: Vec<(i64, u16)> = left_out.into_iter().collect();
        let (window, settled) = partition.ledger.as_ref().map_or((-1, Vec::new()), |ledger| ledger.view(&left_out));
        let entries = partition.unknown.iter().cloned().chain(entries.into_values()).collect();
        commit::encode(place, Contents { window, settled, entries })
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
                let loaded = crate::source::deferral::Entry::loaded(entry.next, &entry.holes, end);
                self.entries.insert(lane, loaded);
                self.raise_top(lane, entry.next - 1);
            }
        }
    }
}
