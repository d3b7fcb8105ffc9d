//! What must hold whatever happens: promises 1, 3, 5, 6 and 8.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use forebay::source::commit::Contents;

use super::vendor::TOKEN;
use super::world::PARTITIONS;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    /// No vendor takes it.
    Poison,
    /// Iterable never has its user, and MoEngage does.
    Ghost,
    /// It cannot be read, and is no account's.
    Junk,
}

/// A deferred account that only an earlier owner of the first partition knew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    pub(super) hash: u32,
    /// What it owes begins here, and what is known of ends there.
    pub(super) owes: i64,
    pub(super) end: i64,
}

/// A produced record.
#[derive(Clone, Debug)]
pub(super) struct Produced {
    pub(super) partition: usize,
    pub(super) offset: i64,
    pub(super) user: usize,
    pub(super) state: bool,
    pub(super) kind: Kind,
    /// Accounts that must get it, each with the calls that it becomes there.
    pub(super) accounts: Vec<(usize, usize)>,
}

impl Produced {
    /// Whether the account's vendor never takes it.
    pub(super) fn is_refused_by(&self, account: usize) -> bool {
        self.kind == Kind::Poison || (self.kind == Kind::Ghost && account % 2 == 1)
    }

    fn calls(&self, account: usize) -> Option<usize> {
        self.accounts.iter().find(|(of, _)| *of == account).map(|(_, calls)| *calls)
    }
}

/// An account that holds a record for less than this may keep a commit from saying that another one is done with it.
const A_WHILE: Duration = Duration::from_secs(10);

/// What happened in some runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) records: u64,
    pub(super) taken: u64,
    pub(super) duplicates: u64,
    pub(super) letters: u64,
    pub(super) crashes: u64,
    pub(super) rebalances: u64,
    pub(super) lost_commits: u64,
    pub(super) pauses: u64,
    pub(super) sweeps: u64,
    pub(super) reread: u64,
    pub(super) released: u64,
    /// Commits that had entries, and that had no room for everything.
    pub(super) entries: u64,
    pub(super) cut: u64,
    /// Times that the topic dropped records, and that membership was not proven.
    pub(super) expiries: u64,
    pub(super) unproven: u64,
    /// Calls given back while others of their records stayed.
    pub(super) parted: u64,
    /// What commits could have called settled, and how much of that they did not.
    pub(super) known: u64,
    pub(super) untold: u64,
    /// The most bytes that were held beyond the configured total.
    pub(super) most_over: u64,
    /// The same of a lane.
    pub(super) most_lane: u64,
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// Of all that happened, in its order.
    pub(super) digest: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.taken += other.taken;
        self.duplicates += other.duplicates;
        self.letters += other.letters;
        self.crashes += other.crashes;
        self.rebalances += other.rebalances;
        self.lost_commits += other.lost_commits;
        self.pauses += other.pauses;
        self.sweeps += other.sweeps;
        self.reread += other.reread;
        self.released += other.released;
        self.entries += other.entries;
        self.cut += other.cut;
        self.expiries += other.expiries;
        self.unproven += other.unproven;
        self.parted += other.parted;
        self.known += other.known;
        self.untold += other.untold;
        self.most_over = self.most_over.max(other.most_over);
        self.most_lane = self.most_lane.max(other.most_lane);
        self.digest = self.digest.rotate_left(1) ^ other.digest;
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    /// A simulation in which something never happens proves nothing about it.
    pub(super) fn assert_everything_happened(&self) {
        let counts = [self.duplicates, self.letters, self.crashes, self.rebalances, self.lost_commits, self.pauses];
        let deferral = [self.sweeps, self.reread, self.released, self.entries];
        let rare = [self.cut, self.expiries, self.unproven, self.parted];
        let mut counts = counts.iter().chain(&deferral).chain(&rare);
        assert!(counts.all(|count| *count > 0), "something never happened: {self:?}");
        assert!(self.untold * 1_000 < self.known, "REPEATED: commits do not say what is settled: {self:?}");
        for fault in ["429", "5xx", "401", "413", "silence, taken", "silence", "portal", "partial", "lie"] {
            assert!(self.faults.get(fault).is_some_and(|count| *count > 0), "{fault} never happened: {self:?}");
        }
    }
}

/// The ends of every record, as the outside world knows them.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) produced: Vec<Produced>,
    /// The calls of a record that an account took.
    taken: HashMap<(u64, usize), BTreeSet<String>>,
    /// Dead letters of a record and an account.
    letters: HashMap<(u64, usize), usize>,
    /// Records of no account that have a dead letter.
    orphans: HashSet<u64>,
    /// Accounts whose vendor refused the record: its dead letter, or its late second try, is on its way.
    refused: HashMap<u64, BTreeSet<usize>>,
    /// Per account, user and life of a partition: the last state call whose taking was also answered.
    confirmed: HashMap<(usize, usize, u64), u64>,
    /// What commits call each account.
    hashes: Vec<u32>,
    pub(super) strangers: Vec<Stranger>,
    /// Whether a commit of an owner who does not know them speaks of them.
    pub(super) told: bool,
    /// What the topic still has begins here.
    pub(super) low: [i64; PARTITIONS],
    /// What each partition's owner began with, and which of its lives that was.
    pub(super) loaded: HashMap<usize, (u64, Contents)>,
    /// Since when an account has all of a record, as far as its partition's owner knows.
    known: HashMap<(u64, usize), Duration>,
    /// What was taken and answered since nothing goes wrong any more: nothing of that comes again.
    pub(super) steady: Option<HashSet<(u64, usize, String)>>,
    pub(super) totals: Totals,
}

impl Oracle {
    pub(super) fn new(hashes: Vec<u32>) -> Self {
        Self { hashes, ..Self::default() }
    }

    /// An account took a record, and said so or not. `life` tells the assignments of its partition apart.
    pub(super) fn take(&mut self, account: usize, number: u64, call: &str, life: u64, answered: Option<Duration>) {
        let record = self.produced[usize::try_from(number).unwrap()].clone();
        assert!(record.calls(account).is_some(), "{number} went to account {account}, which it is not for");
        assert!(record.kind != Kind::Poison || call == TOKEN, "the model's vendor never takes poison");
        if !self.taken.entry((number, account)).or_default().insert(call.to_owned()) {
            self.totals.duplicates += 1;
            let loaded = self.loaded.get(&record.partition).filter(|(of, _)| *of == life);
            assert!(
                !loaded.is_some_and(|(_, loaded)| calls_settled(loaded, self.hashes[account], record.offset)),
                "REPEATED: {number} went to account {account} again, although the commit calls it settled"
            );
        }
        if let Some(steady) = self.steady.as_mut().filter(|_| answered.is_some()) {
            let is_new = steady.insert((number, account, call.to_owned()));
            assert!(is_new, "REPEATED: {number} went to account {account} again, although nothing went wrong");
        }
        self.totals.taken += 1;
        self.check_order(account, number, &record);
        let refused = self.refused.get(&number).is_some_and(|accounts| accounts.contains(&account));
        if record.state && !refused {
            let confirmed = self.confirmed.entry((account, record.user, life)).or_insert(0);
            // What was taken without an answer goes again, in its place; what was answered never does.
            assert!(*confirmed <= number, "order: account {account} took state {number} after {confirmed} was done");
            if answered.is_some() {
                *confirmed = number;
            }
        }
        if let Some(at) = answered {
            self.note_known(number, account, at);
        }
    }

    fn note_known(&mut self, number: u64, account: usize, at: Duration) {
        if self.is_settled_for(number, account) {
            self.known.insert((number, account), at);
        }
    }

    /// A partition begins with what a commit says, and knows nothing else.
    pub(super) fn assigned(&mut self, partition: usize, life: u64, contents: Contents) {
        self.loaded.insert(partition, (life, contents));
        let produced = &self.produced;
        self.known.retain(|(number, _), _| produced[usize::try_from(*number).unwrap()].partition != partition);
    }

    /// Whoever damaged a commit has made everybody forget those.
    pub(super) fn forget_strangers(&mut self, partition: usize) {
        if partition == 0 {
            self.strangers.clear();
        }
    }

    /// The lowest record of a partition that anybody owes.
    pub(super) fn lowest_owed(&self, partition: usize) -> Option<i64> {
        let records = (0_u64..).zip(&self.produced).filter(|(_, record)| record.partition == partition);
        let owed = |number, record: &Produced| {
            self.is_orphan(number) || record.accounts.iter().any(|(account, _)| !self.is_settled_for(number, *account))
        };
        records.filter(|(number, record)| owed(*number, record)).map(|(_, record)| record.offset).min()
    }

    /// How much a commit that had room for all tells of what has been known for a while.
    pub(super) fn measure(&mut self, partition: usize, contents: &Contents, now: Duration) {
        for (&(number, account), &at) in &self.known {
            let record = &self.produced[usize::try_from(number).unwrap()];
            if record.partition == partition && at + A_WHILE < now {
                self.totals.known += 1;
                self.totals.untold += u64::from(!calls_settled(contents, self.hashes[account], record.offset));
            }
        }
    }

    /// No call may arrive before the state calls of its user that come before it.
    fn check_order(&self, account: usize, number: u64, record: &Produced) {
        for (earlier, state) in (0_u64..).zip(&self.produced[..usize::try_from(number).unwrap()]) {
            let before = state.state && state.user == record.user && state.partition == record.partition;
            if before && state.calls(account).is_some() && state.kind != Kind::Poison {
                let refused = self.refused.get(&earlier).is_some_and(|accounts| accounts.contains(&account));
                assert!(
                    refused || self.is_settled_for(earlier, account),
                    "order: {number} overtook state {earlier} of user {} at account {account}",
                    record.user
                );
            }
        }
    }

    /// The vendor named the record as one that failed.
    pub(super) fn refuse(&mut self, account: usize, number: u64) {
        self.refused.entry(number).or_default().insert(account);
    }

    /// A dead letter was acknowledged.
    pub(super) fn letter(&mut self, partition: usize, offset: i64, account: Option<usize>, at: Duration) {
        let number = self.number(partition, offset);
        let record = &self.produced[usize::try_from(number).unwrap()];
        assert_eq!(record.kind == Kind::Junk, account.is_none(), "record {number} is {:?}", record.kind);
        let Some(account) = account else {
            self.orphans.insert(number);
            self.totals.letters += 1;
            return;
        };
        let named = self.refused.get(&number).is_some_and(|accounts| accounts.contains(&account));
        assert!(record.is_refused_by(account) || named, "record {number} was punished for another's fault");
        *self.letters.entry((number, account)).or_default() += 1;
        self.totals.letters += 1;
        self.note_known(number, account, at);
    }

    fn number(&self, partition: usize, offset: i64) -> u64 {
        let found = self.produced.iter().position(|r| r.partition == partition && r.offset == offset);
        found.expect("a record that was produced") as u64
    }

    pub(super) fn is_settled_for(&self, number: u64, account: usize) -> bool {
        let record = &self.produced[usize::try_from(number).unwrap()];
        if record.offset < self.low[record.partition] {
            return true;
        }
        let letters = self.letters.get(&(number, account)).copied().unwrap_or(0);
        // A crash may repeat a letter, and letters do not say which call they are of.
        let taken = self.taken.get(&(number, account)).map_or(0, BTreeSet::len);
        taken + letters >= record.calls(account).unwrap_or(0)
    }

    /// A commit was stored: nothing that it calls settled may be owed, nor anything below it.
    pub(super) fn committed(&mut self, partition: usize, base: i64, contents: &Contents) {
        self.totals.entries += u64::from(!contents.entries.is_empty());
        let low = self.low[partition];
        self.told |= partition == 0;
        for stranger in self.strangers.iter().filter(|stranger| partition == 0 && low < stranger.end) {
            let owed = stranger.owes.max(low);
            assert!(
                base <= owed && !calls_settled(contents, stranger.hash, owed),
                "LOST: a commit of {partition}@{base} forgets an account that nobody knows"
            );
        }
        for (number, record) in (0_u64..).zip(&self.produced).filter(|(_, record)| record.partition == partition) {
            let settled = record.offset < base || calls_settled(contents, NOBODY, record.offset);
            assert!(!settled || !self.is_orphan(number), "LOST: a commit of {partition}@{base} passes junk {number}");
            for &(account, _) in &record.accounts {
                let settled = record.offset < base || calls_settled(contents, self.hashes[account], record.offset);
                assert!(
                    !settled || self.is_settled_for(number, account),
                    "LOST: a commit of {partition}@{base} calls record {number} settled, and account {account} has it not"
                );
            }
        }
    }

    /// Whether the record is no account's, and owes a dead letter.
    fn is_orphan(&self, number: u64) -> bool {
        let record = &self.produced[usize::try_from(number).unwrap()];
        let is_there = record.offset >= self.low[record.partition];
        record.kind == Kind::Junk && is_there && !self.orphans.contains(&number)
    }

    /// The end: everything that was produced is somewhere.
    pub(super) fn finish(&mut self) -> Totals {
        for (number, record) in (0_u64..).zip(&self.produced) {
            assert!(!self.is_orphan(number), "junk {number} is nowhere");
            for &(account, _) in &record.accounts {
                assert!(self.is_settled_for(number, account), "record {number} never reached account {account}");
            }
        }
        self.totals.records = self.produced.len() as u64;
        self.totals.clone()
    }
}

/// The hash of no account, and of none that commits have no room to name.
const NOBODY: u32 = 0xffff_ffff;

/// Whether a commit says that the account does not owe the record.
fn calls_settled(contents: &Contents, account: u32, offset: i64) -> bool {
    match contents.entries.iter().find(|entry| entry.account == account) {
        Some(entry) => offset < entry.next && !entry.holes.contains(&offset),
        None => offset < contents.window || contents.settled.iter().any(|range| range.contains(&offset)),
    }
}
