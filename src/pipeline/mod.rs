//! The core of one poll thread: records in, requests and dead letters out, settled offsets to commit. Pure.
//!
//! ```text
//!  record ─► ledger ─► event ─► router ─► lanes ─► Action::Send ──► delivery
//!                                           ▲                          │
//!  commits ◄─ ledger ◄─ settled ◄───────────┴────── answered ◄─────────┘
//!                 ▲                         │ refused
//!                 └── letter_written ◄─ Action::Write (dead letter)
//! ```
//!
//! An account that cannot keep up leaves this path: its records stay in Kafka and come again by `swept` (`deferral`).
//!
//! Owns the ledgers, the lanes and the limiters, and is owned by one thread. Takes the time as an argument, holds no
//! socket and never waits: what has to happen outside it returns as [`Action`]s.

mod commits;
mod deferral;
mod ends;
mod entries;
mod memory;
mod partition;
mod parts;
mod records;
mod seen;
mod sweep;
mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use foldhash::fast::FixedState;

pub use self::commits::Commit;
pub use self::partition::Partition;
pub use self::parts::{Bounds, Parts};
use self::records::Planned;
pub use self::seen::Deferred;
pub use self::wire::Room;
use self::wire::Wire;
use crate::clock::Now;
use crate::json::Tape;
use crate::keys::Keys;
use crate::lane::batch::Buffers;
use crate::lane::pacing::Pacer;
use crate::lane::{Effect, Flight, Health, Lane, Settings, Surroundings};
use crate::outcome::{Reason, Refusal, Skip};
use crate::router::{Router, Selection};
use crate::source::Receipt;
use crate::source::commit::Contents;
use crate::source::ledger::Ledger;

/// Requests on the wire at a time, of all lanes: what the queue to the delivery holds.
pub const MAX_WIRE: usize = 1_024;
/// The same to one host of a vendor while no other needs any and no account hangs (`wire`).
pub const MAX_HOST: usize = MAX_WIRE / 4;
/// Connections to it: accounts that hang keep some beside what the others may have.
pub const MAX_CONNECTIONS: usize = MAX_WIRE / 2;

/// What has to happen outside.
#[derive(Debug)]
pub enum Action {
    /// Send this request and call [`Pipeline::answered`].
    Send(Box<Flight>),
    /// Write this dead letter and call [`Pipeline::letter_written`].
    Write(DeadLetter),
    /// Stop, or go on, fetching a partition.
    Pause {
        /// Its index.
        slot: u32,
        /// Stop, or go on.
        paused: bool,
    },
    /// Read a partition a second time, and call [`Pipeline::swept`] with its records, or stop that.
    Sweep {
        /// Its index.
        slot: u32,
        /// Where to begin; `None` to stop.
        from: Option<i64>,
    },
}

/// A dead letter to be written.
#[derive(Debug)]
pub struct DeadLetter {
    /// What to acknowledge.
    pub id: u64,
    /// The account, if the call had one: its index in the configuration.
    pub account: Option<u32>,
    /// The tenant, as far as it is known.
    pub tenant: Option<String>,
    /// Index of the record's partition.
    pub slot: u32,
    /// Its topic.
    pub topic: &'static str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The record as kept ([`crate::source::record::Kept`]).
    pub record: Vec<u8>,
    /// Why.
    pub refusal: Refusal,
}

/// A lane and what the pipeline keeps beside it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent marks, each of one rule")]
pub struct Account {
    /// The account's name, for logs.
    pub name: String,
    /// The lane.
    pub lane: Lane,
    /// Dead letters that wait for their acknowledgement.
    pub letters: BTreeSet<u64>,
    /// The account's index in the configuration.
    pub main: u32,
    /// The lane's index.
    index: u32,
    /// Whether the lane carries what the account's other lanes do not.
    is_main: bool,
    /// What commits call it.
    hash: u32,
    /// Whether the poll thread leaves its records to sweeps, and for want of what.
    closed: Option<Budget>,
    /// Whether it might be read for, or handed over, where it is deferred; as of the last look.
    awake: bool,
    /// Whether commits write what it holds as entries.
    lags: bool,
    /// Whether it waits for a place on the wire.
    starved: bool,
    selection: Selection,
    /// When it is pumped next.
    wake: Option<Duration>,
}

/// Which memory a closed lane waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Budget {
    /// Its own.
    Lane,
    /// That of all.
    Total,
}

impl Account {
    fn new(settings: Settings, selection: Selection, name: String, hash: u32) -> Self {
        Self {
            name,
            main: settings.account,
            index: settings.index,
            is_main: settings.account == settings.index,
            lane: Lane::new(settings),
            letters: BTreeSet::new(),
            hash,
            closed: None,
            awake: true,
            lags: false,
            starved: false,
            selection,
            wake: None,
        }
    }

    /// Logs that the lane's health changed, once a change.
    fn tell_change(&self, now: Now, before: Health) {
        let health = self.lane.health(now.mono);
        if health == before {
            return;
        }
        let binds = self.lane.binds(now);
        let (account, health) = (self.name.as_str(), health.name());
        match health {
            "held" | "failing" => tracing::warn!(account, health, reason = binds.reason, "the account's events wait"),
            _ => tracing::info!(account, health, "the account's lane changed"),
        }
    }
}

#[derive(Debug)]
struct Pending {
    receipt: Receipt,
    lane: Option<u32>,
    reason: Reason,
    weight: usize,
    /// The record's time.
    time_ms: Option<i64>,
}

/// The core of one poll thread.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each set from outside or by one rule")]
pub struct Pipeline {
    router: Router,
    accounts: Vec<Account>,
    pacers: Vec<Pacer>,
    partitions: Vec<Partition>,
    epochs: Vec<Option<u32>>,
    last_slot: usize,
    /// Whether open batches go at once: a partition, or the process, is about to go.
    flush: bool,
    letters: HashMap<u64, Pending>,
    next_letter: u64,
    letter_bytes: usize,
    /// What the end of calls since the last commit would cost to repeat.
    ended: usize,
    lane_bytes: usize,
    wire: Wire,
    /// Lanes whose turn it has become at a limit.
    turns: Vec<u32>,
    bounds: Bounds,
    rng: SmallRng,
    timers: BinaryHeap<Reverse<(Duration, u32)>>,
    /// Accounts by what commits call them, and the others of those that share that.
    lanes_by_hash: Lanes,
    twins: Lanes,
    /// Where each account is deferred, or was: partitions, by lane.
    deferred: HashMap<u32, Vec<u32>, FixedState>,
    /// The cluster that commits speak of.
    cluster: String,
    /// Lanes that take nothing from the poll thread.
    closed: Vec<u32>,
    /// Lanes that must give memory back once the record at hand is done.
    to_release: Vec<u32>,
    /// How much sweeps may give a lane.
    share: usize,
    /// What ledgers and holes of deferred accounts take, in bytes, as of the last look.
    remembered: usize,
    look_at: Duration,
    /// The lane that gave back last what it no longer needs.
    shrunk: usize,
    next_shed: Duration,
    next_reminder: Duration,
    /// Since when no vendor answers.
    down_since: Option<Duration>,
    over_total: bool,
    pausing: bool,
    may_send: bool,
    draining: bool,
    effects: Vec<Effect>,
    spare: Vec<Buffers>,
    planned: Option<Box<Planned>>,
    tape: Tape,
    actions: Vec<Action>,
    /// Records that owed nothing from the start, by reason.
    pub not_owed: [u64; Skip::ALL.len()],
    /// Dead letters written, of records that had no account.
    pub orphans: [u64; Reason::ALL.len()],
}

impl Pipeline {
    /// A pipeline without partitions, whose lanes have no keys yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let lanes = parts.lanes.into_iter().zip(parts.names).zip(parts.hashes);
        let accounts: Vec<Account> =
            lanes.map(|(((settings, selection), name), hash)| Account::new(settings, selection, name, hash)).collect();
        let (lanes_by_hash, twins) = by_hash(&accounts);
        Self {
            router: parts.router,
            accounts,
            pacers: parts.pacers,
            partitions: Vec::new(),
            epochs: Vec::new(),
            last_slot: 0,
            flush: false,
            letters: HashMap::new(),
            next_letter: 0,
            letter_bytes: 0,
            ended: 0,
            lane_bytes: 0,
            wire: Wire::new(parts.hosts, parts.bounds.total / 4 * 3),
            turns: Vec::new(),
            bounds: parts.bounds,
            rng: SmallRng::seed_from_u64(parts.seed),
            timers: BinaryHeap::new(),
            lanes_by_hash,
            twins,
            deferred: HashMap::default(),
            cluster: String::new(),
            closed: Vec::new(),
            to_release: Vec::new(),
            share: parts.bounds.lane,
            remembered: 0,
            look_at: Duration::ZERO,
            shrunk: 0,
            next_shed: Duration::ZERO,
            next_reminder: Duration::ZERO,
            down_since: None,
            over_total: false,
            pausing: false,
            may_send: true,
            draining: false,
            effects: Vec::new(),
            spare: Vec::new(),
            planned: None,
            tape: Tape::default(),
            actions: Vec::new(),
            not_owed: [0; Skip::ALL.len()],
            orphans: [0; Reason::ALL.len()],
        }
    }

    // === Partitions ===

    /// The index of a partition, which stays the same for the life of the process.
    pub fn slot(&mut self, topic: &str, number: i32) -> u32 {
        let is = |p: &Partition| p.number == number && p.topic == topic;
        // Records come in runs of one partition.
        if self.partitions.get(self.last_slot).is_some_and(is) {
            return u32::try_from(self.last_slot).unwrap_or(u32::MAX);
        }
        let known = self.partitions.iter().position(is);
        let index = known.unwrap_or_else(|| {
            let known = self.partitions.iter().find(|p| p.topic == topic).map(|p| p.topic);
            // A process meets few topics and forgets none, while a counted name would be counted for each record.
            let topic = known.unwrap_or_else(|| Box::leak(topic.into()));
            self.partitions.push(Partition::new(topic, number));
            self.epochs.push(None);
            self.partitions.len() - 1
        });
        self.last_slot = index;
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// The partitions that the process has met.
    #[must_use]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Whether a partition's fetching is paused.
    #[must_use]
    pub fn is_paused(&self, slot: u32) -> bool {
        self.partitions.get(slot as usize).is_some_and(Partition::is_paused)
    }

    /// A partition was assigned; reading begins at `contents.window`.
    pub fn assign(&mut self, slot: u32, contents: Contents) {
        let Some(partition) = self.partitions.get_mut(slot as usize) else { return };
        partition.give_up();
        partition.epoch += 1;
        partition.load(&contents, |hash| self.lanes_by_hash.get(&hash).cloned().unwrap_or_default());
        for &lane in partition.entries.keys() {
            self.accounts[lane as usize].awake = true;
            self.deferred.entry(lane).or_default().push(slot);
        }
        if !partition.unknown.is_empty() {
            self.next_reminder = Duration::ZERO;
        }
        partition.ledger = Some(Ledger::new(contents.window, contents.settled));
        self.epochs[slot as usize] = Some(partition.epoch);
    }

    /// A partition will go: nothing more is read from it, and open batches go at once.
    pub fn revoking(&mut self, slot: u32, now: Now) {
        if let Some(partition) = self.partitions.get_mut(slot as usize) {
            partition.revoking = true;
            self.end_sweep(slot as usize);
        }
        self.hurry(now);
    }

    /// Whether everything read from a partition is settled.
    #[must_use]
    pub fn is_settled(&self, slot: u32) -> bool {
        self.partitions.get(slot as usize).is_none_or(|partition| partition.in_flight() == 0)
    }

    /// A partition is gone: what it still owes is given back.
    pub fn unassign(&mut self, slots: &[u32], now: Now) {
        for &slot in slots {
            self.end_sweep(slot as usize);
            self.partitions[slot as usize].give_up();
            self.epochs[slot as usize] = None;
        }
        self.flush = self.draining || self.partitions.iter().any(|partition| partition.revoking);
        for index in 0..self.accounts.len() {
            self.with_lane(now, index, |lane, around| {
                lane.release_stale(around);
                true
            });
        }
    }

    // === Time ===

    /// Sends what has become due, and lets partitions go on whose lanes have room again.
    pub fn tick(&mut self, now: Now) {
        while let Some(&Reverse((at, lane))) = self.timers.peek() {
            if at > now.mono {
                break;
            }
            self.timers.pop();
            // Timers that were overtaken by an earlier one are still in the heap.
            if self.accounts[lane as usize].wake == Some(at) {
                self.accounts[lane as usize].wake = None;
                self.pump(now, lane as usize);
            }
        }
        self.wire.look(now.mono);
        self.use_wire(now);
        self.look_after_deferred(now);
        self.balance_memory(now);
    }

    /// When [`Pipeline::tick`] is needed next.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((at, _))| *at).into_iter().chain(self.next_look()).min()
    }

    /// Whether a partition must be paused, or goes on, before the next record is read: budgets hold to the record.
    #[must_use]
    pub fn is_pausing(&self) -> bool {
        self.pausing
    }

    /// Takes what has to happen outside.
    pub fn take_actions(&mut self, into: &mut Vec<Action>) {
        self.pausing = false;
        into.append(&mut self.actions);
    }

    /// The keys of an account were read.
    pub fn set_keys(&mut self, now: Now, account: u32, keys: &Keys) {
        if keys.is_empty() {
            tracing::warn!(account = self.accounts[account as usize].name, "no key can be read: the account is held");
        }
        let of_single_shapes = self.accounts.partition_point(|account| account.is_main)..self.accounts.len();
        for lane in std::iter::once(account as usize).chain(of_single_shapes) {
            if self.accounts[lane].main == account {
                self.with_lane(now, lane, |lane, _| {
                    lane.set_keys(now.mono, keys);
                    true
                });
            }
        }
    }

    /// Whether the membership in the group is proven: else no new request begins.
    pub fn set_may_send(&mut self, now: Now, may_send: bool) {
        let regained = may_send && !self.may_send;
        self.may_send = may_send;
        if regained {
            self.pump_all(now);
        }
    }

    /// The process ends: open batches go at once.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        (0..self.partitions.len()).for_each(|slot| self.end_sweep(slot));
        self.hurry(now);
    }

    /// Whether waiting longer could still settle something.
    #[must_use]
    pub fn can_finish(&self) -> bool {
        !self.letters.is_empty() || self.accounts.iter().any(|account| account.lane.can_finish())
    }

    /// Requests on the wire.
    #[must_use]
    pub fn on_the_wire(&self) -> usize {
        self.wire.used()
    }

    /// The process ends without doing what is still wanted: requests among it are taken back.
    pub fn abandon(&mut self, now: Now) {
        self.may_send = false;
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                if let Action::Send(flight) = action {
                    self.answered(now, flight, Err("abandoned".into()));
                }
            }
        }
    }

    /// The lanes, by index.
    #[must_use]
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The limiters.
    #[must_use]
    pub fn pacers(&self) -> &[Pacer] {
        &self.pacers
    }

    /// Dead letters of records without an account that wait for their acknowledgement.
    #[must_use]
    pub fn letters_waiting(&self) -> usize {
        self.letters.len()
    }

    /// Somebody waits until what is open has settled.
    fn hurry(&mut self, now: Now) {
        self.flush = true;
        for account in &mut self.accounts {
            account.lane.hurry(now.mono, &mut self.rng);
        }
        self.pump_all(now);
    }

    fn pump_all(&mut self, now: Now) {
        for index in 0..self.accounts.len() {
            if self.accounts[index].lane.held_calls() > 0 {
                self.pump(now, index);
            }
        }
    }

    fn pump(&mut self, now: Now, index: usize) {
        self.with_lane(now, index, |_, _| true);
    }

    /// Lanes that wait for a place on the wire have what is free.
    fn use_wire(&mut self, now: Now) {
        while let Some(lane) = self.wire.next() {
            self.accounts[lane as usize].starved = false;
            self.pump(now, lane as usize);
        }
    }

    fn schedule(&mut self, lane: u32, at: Duration) {
        self.accounts[lane as usize].wake = Some(at);
        self.timers.push(Reverse((at, lane)));
    }

    /// Lets a lane work, pumps it if asked, and does what it wants done.
    fn with_lane(&mut self, now: Now, index: usize, work: impl FnOnce(&mut Lane, &mut Surroundings<'_>) -> bool) {
        let lane = u32::try_from(index).unwrap_or(u32::MAX);
        let account = &mut self.accounts[index];
        let mut around = Surroundings {
            now,
            pacers: &mut self.pacers,
            rng: &mut self.rng,
            epochs: &self.epochs,
            effects: &mut self.effects,
            spare: &mut self.spare,
            room: Room::default(),
            starved: false,
            turns: &mut self.turns,
            flush: self.flush,
            may_send: self.may_send,
        };
        let before = account.lane.held_bytes();
        let pump = work(&mut account.lane, &mut around);
        let wake = if pump {
            around.room = self.wire.room(lane);
            account.lane.pump(&mut around)
        } else {
            None
        };
        if around.starved && !account.starved {
            account.starved = true;
            self.wire.wait(lane);
        }
        self.lane_bytes = self.lane_bytes + account.lane.held_bytes() - before;
        if let Some(at) = wake
            && self.accounts[index].wake.is_none_or(|wake| wake > at)
        {
            self.schedule(lane, at);
        }
        while let Some(next) = self.turns.pop() {
            if self.accounts[next as usize].wake.is_none_or(|wake| wake > now.mono) {
                self.schedule(next, now.mono);
            }
        }
        if !self.effects.is_empty() {
            self.carry_out(now, lane);
        }
    }

    fn carry_out(&mut self, now: Now, lane: u32) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(flight) => {
                    self.wire.take(now.mono, lane, flight.weight());
                    self.actions.push(Action::Send(flight));
                }
                Effect::Settled(receipt) => self.settle(receipt, Some(lane)),
                Effect::AllSettled(receipts) => {
                    for receipt in receipts {
                        self.settle(receipt, Some(lane));
                    }
                }
                Effect::DeadLetter(letter) => self.write(letter, Some(lane), None),
                Effect::Odd(what, said) => {
                    tracing::warn!(account = self.accounts[lane as usize].name, said, "{what}");
                }
            }
        }
        self.effects = effects;
    }
}

type Lanes = HashMap<u32, Vec<u32>, FixedState>;

/// The lanes by what commits call them; and of those that share that, each with the others.
fn by_hash(accounts: &[Account]) -> (Lanes, Lanes) {
    let mut lanes_by_hash = Lanes::default();
    for (lane, account) in (0..).zip(accounts) {
        lanes_by_hash.entry(account.hash).or_default().push(lane);
    }
    let shared = lanes_by_hash.values().filter(|lanes| lanes.len() > 1);
    let others = |lane: u32, lanes: &[u32]| lanes.iter().copied().filter(|other| *other != lane).collect();
    let twins = shared.flat_map(|lanes| lanes.iter().map(move |&lane| (lane, others(lane, lanes)))).collect();
    (lanes_by_hash, twins)
}

#[cfg(test)]
mod tests;
