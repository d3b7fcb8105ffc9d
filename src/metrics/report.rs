//! How it goes, as one snapshot: made by the poll thread when somebody asks, and read by everybody else.
//!
//! All numbers are of one instant, so that the books can be checked; what is in flight is counted afresh, not derived.

use std::collections::HashMap;

use crate::clock::Now;
use crate::lane::{Binds, Books, Health, Requests};
use crate::outcome::{Reason, Skip};
use crate::pipeline::{Account, Deferred, Pipeline};
use crate::source::consumer::State;

/// One partition.
#[derive(Clone, Debug)]
pub struct PartitionReport {
    /// Its topic.
    pub topic: &'static str,
    /// Its number.
    pub partition: i32,
    /// Whether it is assigned.
    pub assigned: bool,
    /// Whether its fetching is paused.
    pub paused: bool,
    /// Records read that were not settled before.
    pub received: u64,
    /// Records that owe nothing any more.
    pub settled: u64,
    /// Records given back.
    pub released: u64,
    /// Records that owe a call.
    pub in_flight: u64,
    /// Records that an earlier owner had settled.
    pub already_settled: u64,
    /// Records that were read again for deferred accounts.
    pub reread: u64,
    /// How often its fetching was paused.
    pub pauses: u64,
    /// Whether it is read again now.
    pub swept: bool,
    /// Deferred accounts that the configuration no longer has.
    pub unknown: u64,
    /// The offset that may be committed.
    pub base: i64,
    /// The next offset that is read.
    pub front: i64,
}

/// An account that is read again in a partition, later.
#[derive(Clone, Debug)]
pub struct Deferral {
    /// The partition, as an index into the report's.
    pub partition: usize,
    /// The lowest offset that is owed there.
    pub offset: i64,
    /// That record, or until it has been read the last one below that was: its offset, and its time in milliseconds since
    /// the epoch.
    pub since: Option<(i64, i64)>,
}

/// One account.
#[derive(Clone, Debug)]
pub struct AccountReport {
    /// Calls by how they ended.
    pub books: Books,
    /// Calls that have not ended.
    pub in_flight: u64,
    /// Calls that the lane holds; the others wait for a dead letter's acknowledgement.
    pub held_calls: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Requests on the wire.
    pub requests_in_flight: u64,
    /// Requests by how they ended.
    pub requests: Requests,
    /// How the lane does.
    pub health: Health,
    /// What binds it.
    pub binds: Binds,
    /// The time of the oldest record that it owes, milliseconds since the epoch.
    pub oldest_ms: Option<i64>,
    /// Where it is deferred.
    pub deferred: Vec<Deferral>,
    /// Each limit: name, figure, share in force.
    pub limits: Vec<(&'static str, u32, f64)>,
    /// When the vendor last took something.
    pub last_delivered: Option<Now>,
    /// What went wrong last.
    pub last_error: Option<(Now, String)>,
    /// Which of the keys is in use, by family.
    pub keys: Vec<(&'static str, usize)>,
}

/// The whole.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it was made.
    pub at: Now,
    /// Partitions that the process has met.
    pub partitions: Vec<PartitionReport>,
    /// Accounts, by lane.
    pub accounts: Vec<AccountReport>,
    /// Where accounts are deferred that the configuration no longer has.
    pub unknown: Vec<Deferral>,
    /// Events that owed nothing from the start.
    pub not_owed: [u64; Skip::ALL.len()],
    /// Dead letters of records that had no account.
    pub orphans: [u64; Reason::ALL.len()],
    /// Age of what the poll thread reads, if there is more to read; milliseconds.
    pub backlog_ms: i64,
    /// Bytes held in all.
    pub held_bytes: u64,
    /// Dead letters that wait for their acknowledgement.
    pub letters: u64,
    /// Offsets that the topic dropped while they were owed.
    pub expired: u64,
    /// Commits whose metadata had no room for everything.
    pub cut: u64,
    /// Assignments.
    pub rebalances: u64,
    /// Times that two snapshots agreed on a difference.
    pub imbalances: u64,
}

impl AccountReport {
    fn new(at: Now, pipeline: &Pipeline, account: &Account, deferred: Vec<Deferral>) -> Self {
        let lane = &account.lane;
        let held_calls = lane.counted_calls() as u64;
        Self {
            books: lane.books.clone(),
            in_flight: held_calls + account.letters,
            held_calls,
            held_bytes: lane.held_bytes() as u64,
            requests_in_flight: lane.in_flight() as u64,
            requests: lane.requests,
            health: lane.health(at.mono),
            binds: pipeline.binds(account, at, !deferred.is_empty()),
            oldest_ms: lane.oldest_ms().into_iter().chain(oldest(&deferred)).min(),
            deferred,
            limits: lane.limits(pipeline.pacers()),
            last_delivered: lane.last_delivered,
            last_error: lane.last_error.clone(),
            keys: lane.keys_in_use(),
        }
    }

    /// Another lane of the same account, which carries a single shape: users see one account.
    fn add(&mut self, other: Self) {
        self.books.add(&other.books);
        self.requests.add(&other.requests);
        self.in_flight += other.in_flight;
        self.held_calls += other.held_calls;
        self.held_bytes += other.held_bytes;
        self.requests_in_flight += other.requests_in_flight;
        // The worst of them is what somebody has to look at.
        if other.health > self.health || self.binds.what == "nothing" {
            self.binds = other.binds;
        }
        self.health = self.health.max(other.health);
        self.oldest_ms = self.oldest_ms.into_iter().chain(other.oldest_ms).min();
        self.deferred.extend(other.deferred);
        let later = |at: &Option<Now>| at.map(|at| at.mono);
        if later(&other.last_delivered) > later(&self.last_delivered) {
            self.last_delivered = other.last_delivered;
        }
        if other.last_error.as_ref().map(|(at, _)| at.mono) > self.last_error.as_ref().map(|(at, _)| at.mono) {
            self.last_error = other.last_error;
        }
        self.keys.extend(other.keys);
    }
}

/// The time of the oldest record that is owed at these places, milliseconds since the epoch.
pub(super) fn oldest(deferred: &[Deferral]) -> Option<i64> {
    deferred.iter().filter_map(|deferral| deferral.since).map(|(_, time_ms)| time_ms).min()
}

impl Report {
    /// Reads everything at once.
    #[must_use]
    pub fn new(at: Now, pipeline: &Pipeline, state: &State) -> Self {
        let partitions = pipeline.partitions().iter().map(|partition| PartitionReport {
            topic: partition.topic,
            partition: partition.number,
            assigned: partition.ledger.is_some(),
            paused: partition.is_paused(),
            received: partition.received,
            settled: partition.settled,
            released: partition.released,
            in_flight: partition.in_flight(),
            already_settled: partition.already_settled,
            reread: partition.reread,
            pauses: partition.pauses,
            swept: partition.is_swept(),
            unknown: partition.unknowns() as u64,
            base: partition.base(),
            front: partition.front(),
        });
        let mut deferrals: HashMap<u32, Vec<Deferral>> = HashMap::new();
        let mut unknown = Vec::new();
        for (index, partition) in pipeline.partitions().iter().enumerate() {
            let lowest = partition.unknown().into_iter();
            unknown.extend(lowest.map(|(offset, time_ms): (i64, Option<i64>)| {
                let since = time_ms.map(|time_ms| (offset, time_ms));
                Deferral { partition: index, offset, since }
            }));
        }
        for Deferred { lane, slot, offset, since } in pipeline.deferred() {
            deferrals.entry(lane).or_default().push(Deferral { partition: slot as usize, offset, since });
        }
        let mut accounts: Vec<AccountReport> = Vec::new();
        for (index, account) in (0..).zip(pipeline.accounts()) {
            let report = AccountReport::new(at, pipeline, account, deferrals.remove(&index).unwrap_or_default());
            match accounts.get_mut(account.main as usize) {
                Some(whole) => whole.add(report),
                None => accounts.push(report),
            }
        }
        Self {
            at,
            partitions: partitions.collect(),
            accounts,
            unknown,
            not_owed: pipeline.not_owed,
            orphans: pipeline.orphans,
            backlog_ms: state.backlog.age_ms(at),
            held_bytes: pipeline.held_bytes() as u64,
            letters: pipeline.letters_waiting() as u64,
            expired: state.expired,
            cut: state.cut,
            rebalances: state.rebalances,
            imbalances: state.imbalances,
        }
    }

    /// What the books differ by: partitions first, then accounts. All zero is what is right.
    #[must_use]
    pub fn differences(&self) -> Vec<i128> {
        let partitions = self
            .partitions
            .iter()
            .map(|p| i128::from(p.received) - i128::from(p.settled) - i128::from(p.released) - i128::from(p.in_flight));
        let accounts = self
            .accounts
            .iter()
            .map(|a| i128::from(a.books.owed) - i128::from(a.books.ended()) - i128::from(a.in_flight));
        partitions.chain(accounts).collect()
    }
}
