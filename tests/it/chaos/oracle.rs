//! What must hold whatever failed: promises 1, 3 and 5, from what the vendors accepted and what became a dead letter.
//!
//! Duplicates are allowed, and counted, where something explains them: a process that was killed or frozen, partitions
//! that went elsewhere, commits that no broker took, answers that were lost. First acceptances must be in order, whatever
//! happens; an old state may arrive once more after a newer one only by a request that left before its process was
//! frozen or killed, or that the wire held back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use forebay::sandbox::Accepted;

use super::add_all;
use crate::support::config::Account;
use crate::support::events::{Event, Kind};
use crate::support::kafka::{Message, Record};
use crate::support::vendors::message_id;

/// A record of the load.
#[derive(Clone, Debug)]
pub(super) struct Produced {
    pub(super) event: Event,
    /// The vendors refuse it.
    pub(super) poison: bool,
}

impl Produced {
    pub(super) fn message(&self) -> Message {
        self.event.message()
    }
}

/// Why something may be accepted twice, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    LostAnswer,
    /// The wire was silent or slow, so the time-out came before the answer.
    HeldBack,
    Kill,
    Freeze,
    /// A broker was away, or refused a commit.
    Broker,
    Rebalance,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::LostAnswer => "answer lost",
            Self::HeldBack => "answer held back",
            Self::Kill => "in flight, or not committed yet, at a kill",
            Self::Freeze => "replica frozen",
            Self::Broker => "commit not stored",
            Self::Rebalance => "rebalance",
        }
    }

    /// How long before and after it, in ms, an acceptance may come twice by it. A commit is a second old, and a drain
    /// takes five; requests time out after five.
    fn reach(self) -> (i64, i64) {
        match self {
            Self::LostAnswer | Self::HeldBack => (500, 500),
            Self::Kill | Self::Freeze => (3_000, 1_000),
            Self::Broker => (3_000, 12_000),
            Self::Rebalance => (8_000, 1_000),
        }
    }
}

/// A coordinator that moves leaves commits unanswered for so long, in ms, before it refuses them.
const COMMIT_LATE: i64 = 8_000;

/// Something that happened, from when to when in ms since the epoch.
#[derive(Clone, Debug)]
pub(super) struct Disturbance {
    pub(super) cause: Cause,
    /// `None`: all of them.
    pub(super) account: Option<String>,
    pub(super) from: i64,
    pub(super) to: i64,
}

impl Disturbance {
    /// Whether a record that was owed from then to then may come again to this account by it.
    fn explains(&self, account: &str, owed: &RangeInclusive<i64>) -> bool {
        let (before, after) = self.cause.reach();
        self.account.as_ref().is_none_or(|name| name == account)
            && *owed.end() >= self.from - before
            && *owed.start() <= self.to.saturating_add(after)
    }
}

/// Partitions that went, and commits that were not stored, as a process logged them.
pub(super) fn disturbances(lines: &[serde_json::Value]) -> Vec<Disturbance> {
    let told = |line: &serde_json::Value| {
        let at = line["timestamp"].as_str()?.parse::<jiff::Timestamp>().ok()?.as_millisecond();
        match line["message"].as_str()? {
            "revoked" => Some(Disturbance { cause: Cause::Rebalance, account: None, from: at, to: at }),
            message if message.starts_with("failed to commit") => {
                Some(Disturbance { cause: Cause::Broker, account: None, from: at - COMMIT_LATE, to: at })
            }
            _ => None,
        }
    };
    lines.iter().filter_map(told).collect()
}

/// All that there is to look at.
pub(super) struct Evidence<'a> {
    pub(super) produced: &'a [Produced],
    pub(super) accounts: &'a [Account],
    pub(super) accepted: &'a [Accepted],
    pub(super) letters: &'a [Record],
    pub(super) disturbances: &'a [Disturbance],
}

/// What was allowed, and counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// Accepted, duplicates included.
    pub(super) calls: u64,
    pub(super) duplicates: BTreeMap<&'static str, u64>,
    /// Users at whom an older state arrived last.
    pub(super) stale: u64,
    /// Dead letters, duplicates included, and calls that have to have one.
    pub(super) letters: u64,
    pub(super) poison: u64,
}

impl Found {
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        add_all(&mut self.duplicates, &other.duplicates);
        self.stale += other.stale;
        self.letters += other.letters;
        self.poison += other.poison;
    }
}

/// Panics if something does not hold.
pub(super) fn judge(evidence: &Evidence<'_>) -> Found {
    let index: HashMap<&str, usize> =
        evidence.produced.iter().enumerate().map(|(at, produced)| (&*produced.event.message_id, at)).collect();
    let mut found = Found::default();
    let mut wrong = Vec::new();
    let settled = settled(evidence, &index);
    for account in evidence.accounts {
        Trial::new(evidence, account, &settled).judge(&index, &mut found, &mut wrong);
    }
    judge_letters(evidence, &index, &mut found, &mut wrong);
    let shown: Vec<&str> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} violations, the first:\n{}\nso far: {found:?}", wrong.len(), shown.join("\n"));
    found
}

/// When the last of its accounts first accepted an event: until then its record is owed, to the others too.
fn settled(evidence: &Evidence<'_>, index: &HashMap<&str, usize>) -> HashMap<usize, i64> {
    let (mut met, mut settled) = (BTreeSet::new(), HashMap::new());
    for accepted in evidence.accepted {
        let at = message_id(&accepted.element).and_then(|id| index.get(&*id)).copied();
        if let Some(at) = at.filter(|at| met.insert((*at, &*accepted.account))) {
            settled.insert(at, accepted.at_ms);
        }
    }
    settled
}

fn judge_letters(evidence: &Evidence<'_>, index: &HashMap<&str, usize>, found: &mut Found, wrong: &mut Vec<String>) {
    let mut written = BTreeSet::new();
    for letter in evidence.letters {
        found.letters += 1;
        let value: serde_json::Value = serde_json::from_slice(letter.value.as_deref().unwrap_or_default()).unwrap();
        let at = value["messageId"].as_str().and_then(|id| index.get(id)).copied();
        let (account, reason) = (letter.header("forebay-account"), letter.header("forebay-reason"));
        match (at, account) {
            (Some(at), Some(account)) if evidence.produced[at].poison => {
                written.insert((at, account));
            }
            _ => wrong.push(format!(
                "a dead letter that is not poison: {account:?} {reason:?} {:?} {}",
                letter.header("forebay-detail"),
                value["messageId"]
            )),
        }
    }
    for (at, produced) in evidence.produced.iter().enumerate().filter(|(_, produced)| produced.poison) {
        for account in evidence.accounts.iter().filter(|account| account.tenant == produced.event.tenant) {
            found.poison += 1;
            if !written.contains(&(at, &*account.name)) {
                wrong.push(format!("LOST: poison {} has no letter for {}", produced.event.message_id, account.name));
            }
        }
    }
}

/// What one account has accepted, followed in order.
struct Trial<'a> {
    evidence: &'a Evidence<'a>,
    account: &'a Account,
    /// When each event's record was no longer owed, by its index.
    settled: &'a HashMap<usize, i64>,
    /// When each event was accepted last, by its index.
    last: HashMap<usize, i64>,
    users: HashMap<&'a str, User>,
}

/// A user's state calls, by index of the event.
#[derive(Debug, Default)]
struct User {
    all: Vec<usize>,
    /// How many of them, from the first on, were accepted without a hole.
    done: usize,
    highest: usize,
    /// The last that arrived, and when.
    latest: (usize, i64),
}

impl<'a> Trial<'a> {
    fn new(evidence: &'a Evidence<'a>, account: &'a Account, settled: &'a HashMap<usize, i64>) -> Self {
        let mut users: HashMap<&str, User> = HashMap::new();
        for (at, Produced { event, poison }) in evidence.produced.iter().enumerate() {
            if event.tenant == account.tenant && event.kind == Kind::Identify && !poison {
                users.entry(&event.user_id).or_default().all.push(at);
            }
        }
        Self { evidence, account, settled, last: HashMap::new(), users }
    }

    fn judge(mut self, index: &HashMap<&str, usize>, found: &mut Found, wrong: &mut Vec<String>) {
        for accepted in self.evidence.accepted.iter().filter(|it| *it.account == *self.account.name) {
            let Some(&at) = message_id(&accepted.element).and_then(|id| index.get(&*id)) else {
                wrong.push(format!("{} accepted what nobody produced: {}", self.account.name, accepted.element));
                continue;
            };
            found.calls += 1;
            self.accept(at, accepted.at_ms, found, wrong);
        }
        let name = &self.account.name;
        for (at, Produced { event, poison }) in self.evidence.produced.iter().enumerate() {
            if event.tenant == self.account.tenant && !poison && !self.last.contains_key(&at) {
                wrong.push(format!("LOST: {} never reached {name}", event.message_id));
            }
        }
        for (user, User { highest, latest: (latest, at), .. }) in &self.users {
            if latest < highest && self.may_be_stale(*at) {
                found.stale += 1;
            } else if latest < highest {
                wrong.push(format!("ORDER: at {name} state {latest} of {user} arrived after {highest}, at {at}"));
            }
        }
    }

    fn accept(&mut self, at: usize, time: i64, found: &mut Found, wrong: &mut Vec<String>) {
        let Produced { event, poison } = &self.evidence.produced[at];
        let (id, name) = (&event.message_id, &self.account.name);
        if *poison || event.tenant != self.account.tenant {
            wrong.push(format!("{name} accepted {id}, which it must not have"));
            return;
        }
        let before = self.last.insert(at, time);
        if let Some(before) = before {
            let settled = self.settled[&at].min(time);
            let other = || self.cause(before..=settled).map(|_| "the record's other account still owed it");
            let cause = self.cause(before..=before).map(Cause::name).or_else(other);
            *found.duplicates.entry(cause.unwrap_or("unexplained")).or_default() += 1;
            if cause.is_none() {
                wrong.push(format!("{name} accepted {id} twice without a cause, at {before} and {time}"));
            }
        }
        let Some(user) = self.users.get_mut(&*event.user_id) else { return };
        if before.is_none() && user.all.get(user.done).is_some_and(|&open| open < at) {
            let open = user.all[user.done];
            wrong.push(format!("ORDER: at {name} event {at} of {} overtook state {open}, at {time}", event.user_id));
        }
        if event.kind == Kind::Identify {
            user.highest = user.highest.max(at);
            user.latest = (at, time);
            while user.all.get(user.done).is_some_and(|open| self.last.contains_key(open)) {
                user.done += 1;
            }
        }
    }

    /// Why what was accepted, and owed from then to then, may come again.
    fn cause(&self, owed: RangeInclusive<i64>) -> Option<Cause> {
        let all = self.evidence.disturbances.iter();
        all.filter(|it| it.explains(&self.account.name, &owed)).map(|it| it.cause).min()
    }

    /// Whether a request that left before may have arrived at this time.
    fn may_be_stale(&self, arrived: i64) -> bool {
        let zombies = |it: &&Disturbance| {
            matches!(it.cause, Cause::LostAnswer | Cause::HeldBack | Cause::Kill | Cause::Freeze)
                && (it.from - 1_000..=it.to.saturating_add(6_000)).contains(&arrived)
        };
        self.evidence.disturbances.iter().any(|it| zombies(&it))
    }
}
