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
//! Owns the ledgers, the lanes and the limiters, and is owned by one thread. Takes the time as an argument, holds no
//! socket and never waits: what has to happen outside it returns as [`Action`]s.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::clock::Now;
use crate::config::Config;
use crate::destination::{self, Answer, Call};
use crate::event::{Event, Origin, RawForm};
use crate::keys::Keys;
use crate::lane::batch::Buffers;
use crate::lane::pacing::Pacer;
use crate::lane::{Effect, Flight, Health, Lane, Letter, Settings, Surroundings};
use crate::outcome::{No, Reason, Refusal, Skip};
use crate::router::{Router, Selection};
use crate::source::Receipt;
use crate::source::commit::{self, Contents, Place};
use crate::source::ledger::{Ledger, Reading};
use crate::source::record::Record;

/// Requests on the wire at a time, of all lanes: what the queue to the delivery holds.
pub const MAX_WIRE: usize = 1_024;
/// Intake pauses when this many dead letters wait for their acknowledgement.
const MAX_LETTERS: usize = 10_000;
/// A partition whose committed offset lags the front by more records than this pauses: the ledger has a bound too.
const MAX_SPAN: usize = 8_000_000;

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
}

/// A dead letter to be written.
#[derive(Debug)]
pub struct DeadLetter {
    /// What to acknowledge.
    pub id: u64,
    /// The lane, if the call had one.
    pub lane: Option<u32>,
    /// The tenant, as far as it is known.
    pub tenant: Option<String>,
    /// Index of the record's partition.
    pub slot: u32,
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The record as kept ([`crate::source::record::Kept`]).
    pub record: Vec<u8>,
    /// Why.
    pub refusal: Refusal,
}

/// A commit that is due.
#[derive(Debug, PartialEq, Eq)]
pub struct Commit {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// What is settled above it.
    pub metadata: String,
    /// Whether not all of that fitted.
    pub cut: bool,
}

/// One partition that the process has met.
#[derive(Debug)]
pub struct Partition {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its number.
    pub number: i32,
    /// Its state, while it is assigned.
    pub ledger: Option<Ledger>,
    /// Records read that were not settled before.
    pub received: u64,
    /// Records that owe nothing any more.
    pub settled: u64,
    /// Records given back unsettled.
    pub released: u64,
    /// Records that an earlier owner had settled.
    pub already_settled: u64,
    epoch: u32,
    revoking: bool,
    paused: bool,
}

impl Partition {
    /// Whether its fetching is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }
}

/// A lane and what the pipeline keeps beside it.
#[derive(Debug)]
pub struct Account {
    /// The account's name, for logs.
    pub name: String,
    /// The lane.
    pub lane: Lane,
    /// Dead letters that wait for their acknowledgement.
    pub letters: u64,
    selection: Selection,
    /// When it is pumped next.
    wake: Option<Duration>,
}

impl Account {
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
}

/// Bounds on what is held, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In all lanes and dead letters.
    pub total: usize,
    /// In one lane.
    pub lane: usize,
}

/// What a pipeline is built from.
#[derive(Debug)]
pub struct Parts {
    /// Finds tenants.
    pub router: Router,
    /// The lanes, by index, each with its account's selection.
    pub lanes: Vec<(Settings, Selection)>,
    /// The limiters that the lanes' settings point to.
    pub pacers: Vec<Pacer>,
    /// Memory.
    pub bounds: Bounds,
    /// Seed of all randomness.
    pub seed: u64,
}

impl Parts {
    /// What a configuration asks for.
    #[must_use]
    pub fn of(config: &Config, now: Now, seed: u64) -> Self {
        let mut pacers: Vec<Pacer> = Vec::new();
        let mut known: HashMap<(String, &'static str), usize> = HashMap::new();
        let mut lanes = Vec::with_capacity(config.accounts.len());
        for (index, account) in (0..).zip(&config.accounts) {
            let destination = destination::of(account);
            // Accounts of one workspace or project share its limiter.
            let own = destination.budgets().into_iter().map(|budget| {
                *known.entry((budget.key.clone(), budget.name)).or_insert_with(|| {
                    pacers.push(Pacer::new(budget, now.mono));
                    pacers.len() - 1
                })
            });
            let settings = Settings {
                index,
                pacers: own.collect(),
                destination,
                path_prefix: account.base_url.as_ref().map(|url| url.prefix.clone()).unwrap_or_default(),
                max_in_flight: account.max_in_flight.max(1) as usize,
                linger: account.linger,
                held_by_operator: account.hold,
                hold_percent: config.dead_letters.hold_percent,
            };
            lanes.push((settings, Selection::new(account)));
        }
        let bytes = |figure: u64| usize::try_from(figure).unwrap_or(usize::MAX);
        let bounds = Bounds { total: bytes(config.memory.total), lane: bytes(config.memory.lane) };
        Self { router: Router::new(config.tenant.clone(), &config.accounts), lanes, pacers, bounds, seed }
    }
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
    lane_bytes: usize,
    wire: usize,
    bounds: Bounds,
    rng: SmallRng,
    timers: BinaryHeap<Reverse<(Duration, u32)>>,
    starved: Vec<u32>,
    /// Lanes over their budget, and partitions that wait for them.
    full: Vec<(u32, Vec<u32>)>,
    over_total: bool,
    pausing: bool,
    may_send: bool,
    draining: bool,
    effects: Vec<Effect>,
    spare: Vec<Buffers>,
    calls: Vec<Call>,
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
        let accounts = parts.lanes.into_iter().map(|(settings, selection)| Account {
            name: selection.account().to_owned(),
            lane: Lane::new(settings),
            letters: 0,
            selection,
            wake: None,
        });
        Self {
            router: parts.router,
            accounts: accounts.collect(),
            pacers: parts.pacers,
            partitions: Vec::new(),
            epochs: Vec::new(),
            last_slot: 0,
            flush: false,
            letters: HashMap::new(),
            next_letter: 0,
            letter_bytes: 0,
            lane_bytes: 0,
            wire: MAX_WIRE,
            bounds: parts.bounds,
            rng: SmallRng::seed_from_u64(parts.seed),
            timers: BinaryHeap::new(),
            starved: Vec::new(),
            full: Vec::new(),
            over_total: false,
            pausing: false,
            may_send: true,
            draining: false,
            effects: Vec::new(),
            spare: Vec::new(),
            calls: Vec::new(),
            actions: Vec::new(),
            not_owed: [0; Skip::ALL.len()],
            orphans: [0; Reason::ALL.len()],
        }
    }

    // === Partitions ===

    /// The index of a partition, which stays the same for the life of the process.
    pub fn slot(&mut self, topic: &str, number: i32) -> u32 {
        let is = |p: &Partition| p.number == number && &*p.topic == topic;
        // Records come in runs of one partition.
        if self.partitions.get(self.last_slot).is_some_and(is) {
            return u32::try_from(self.last_slot).unwrap_or(u32::MAX);
        }
        let known = self.partitions.iter().position(is);
        let index = known.unwrap_or_else(|| {
            let topic = self
                .partitions
                .iter()
                .find(|p| &*p.topic == topic)
                .map_or_else(|| topic.into(), |p| Arc::clone(&p.topic));
            self.partitions.push(Partition {
                topic,
                number,
                ledger: None,
                received: 0,
                settled: 0,
                released: 0,
                already_settled: 0,
                epoch: 0,
                revoking: false,
                paused: false,
            });
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

    /// A partition was assigned; reading begins at `contents.window`.
    pub fn assign(&mut self, slot: u32, contents: Contents) {
        let Some(partition) = self.partitions.get_mut(slot as usize) else { return };
        partition.epoch += 1;
        partition.revoking = false;
        partition.paused = false;
        partition.ledger = Some(Ledger::new(contents.window, contents.settled));
        self.epochs[slot as usize] = Some(partition.epoch);
    }

    /// A partition will go: nothing more is read from it, and open batches go at once.
    pub fn revoking(&mut self, slot: u32, now: Now) {
        if let Some(partition) = self.partitions.get_mut(slot as usize) {
            partition.revoking = true;
            self.flush = true;
        }
        self.pump_all(now);
    }

    /// Whether everything read from a partition is settled.
    #[must_use]
    pub fn is_settled(&self, slot: u32) -> bool {
        let partition = self.partitions.get(slot as usize);
        partition.and_then(|p| p.ledger.as_ref()).is_none_or(|ledger| ledger.in_flight() == 0)
    }

    /// A partition is gone: what it still owes is given back.
    pub fn unassign(&mut self, slots: &[u32], now: Now) {
        for &slot in slots {
            let Some(partition) = self.partitions.get_mut(slot as usize) else { continue };
            if let Some(ledger) = partition.ledger.take() {
                partition.released += ledger.in_flight();
            }
            partition.revoking = false;
            partition.paused = false;
            self.epochs[slot as usize] = None;
        }
        self.flush = self.draining || self.partitions.iter().any(|partition| partition.revoking);
        for index in 0..self.accounts.len() {
            self.with_lane(now, index, |lane, around| {
                lane.release_stale(around);
                true
            });
        }
        for (_, waiting) in &mut self.full {
            waiting.retain(|slot| !slots.contains(slot));
        }
    }

    /// The commits that are due, unchanged ones too.
    #[must_use]
    pub fn commits(&self, cluster: &str, only: Option<&[u32]>) -> Vec<Commit> {
        let wanted = |index: usize| only.is_none_or(|slots| slots.iter().any(|&slot| slot as usize == index));
        let assigned = self.partitions.iter().enumerate().filter(|(index, _)| wanted(*index));
        assigned
            .filter_map(|(_, partition)| {
                let ledger = partition.ledger.as_ref()?;
                let place = Place { cluster, topic: &partition.topic, partition: partition.number };
                let base = ledger.base();
                let (metadata, cut) = commit::encode(place, base, base, ledger.settled_runs(), &[]);
                let topic = Arc::clone(&partition.topic);
                Some(Commit { topic, partition: partition.number, offset: base, metadata, cut })
            })
            .collect()
    }

    // === Records ===

    /// Takes a record. It is owed from here on.
    pub fn record(&mut self, now: Now, record: &Record<'_>) {
        let Some(partition) = self.partitions.get_mut(record.slot as usize) else { return };
        let Some(ledger) = partition.ledger.as_mut().filter(|_| !partition.revoking) else { return };
        match ledger.read(record.offset) {
            Reading::New => partition.received += 1,
            Reading::AlreadySettled => {
                partition.already_settled += 1;
                return;
            }
            Reading::Repeated => return,
        }
        let receipt = Receipt { slot: record.slot, epoch: partition.epoch, offset: record.offset };
        let topic = Arc::clone(&partition.topic);
        let origin = Origin {
            topic: &topic,
            partition: partition.number,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
        };
        let calls = self.route(now, record, origin, receipt);
        let partition = &mut self.partitions[record.slot as usize];
        let Some(ledger) = partition.ledger.as_mut() else { return };
        ledger.push(record.offset, calls);
        if calls == 0 {
            partition.settled += 1;
        }
        if ledger.span() > MAX_SPAN {
            self.pause(record.slot);
        }
        if !self.over_total && self.is_over_total() {
            self.balance_memory();
        }
    }

    /// Gives the record's event to its tenant's accounts. The result is how many calls it owes.
    fn route(&mut self, now: Now, record: &Record<'_>, origin: Origin<'_>, receipt: Receipt) -> u16 {
        let Some(value) = record.value else {
            self.not_owed[Skip::Tombstone as usize] += 1;
            return 0;
        };
        let early = self.router.reads_message().then(|| decode(record, value, origin));
        let named = match &early {
            Some(Err(refusal)) => Err(refusal.clone()),
            Some(Ok(event)) => self.router.tenant(origin.topic, record, Some(event)),
            None => self.router.tenant(origin.topic, record, None),
        };
        let found = named.map(|tenant| (self.router.lanes(&tenant), tenant));
        match found {
            Err(refusal) => self.refuse_record(record, receipt, None, refusal),
            Ok((None, _)) if self.router.skips_unknown() => {
                self.not_owed[Skip::UnknownTenant as usize] += 1;
                0
            }
            Ok((None, tenant)) => {
                let tenant = tenant.into_owned();
                let refusal = Refusal::new(Reason::UnknownTenant, "no account is configured for this tenant");
                self.refuse_record(record, receipt, Some(tenant), refusal)
            }
            Ok((Some(lanes), tenant)) => {
                let event = match &early {
                    Some(event) => event.clone(),
                    None => decode(record, value, origin),
                };
                match event {
                    Ok(event) => lanes.iter().map(|&lane| self.offer(now, lane, record, &event, receipt)).sum(),
                    Err(refusal) => {
                        let tenant = tenant.into_owned();
                        self.refuse_record(record, receipt, Some(tenant), refusal)
                    }
                }
            }
        }
    }

    /// Offers the event to one account. The result is how many calls it owes there.
    fn offer(&mut self, now: Now, lane: u32, record: &Record<'_>, event: &Event<'_>, receipt: Receipt) -> u16 {
        let index = lane as usize;
        let account = &mut self.accounts[index];
        let mut calls = std::mem::take(&mut self.calls);
        calls.clear();
        let planned = account.selection.check(event, now).and_then(|()| account.lane.plan(event, now, &mut calls));
        let owed = match planned {
            Ok(()) => calls.iter().map(|call| self.admit(now, lane, record, event, receipt, call)).sum(),
            Err(No::Skipped(skip)) => {
                account.lane.skip(skip);
                0
            }
            Err(No::Refused(refusal)) => {
                account.lane.refuse_at_the_door();
                let mut kept = Vec::new();
                record.keep(&mut kept);
                self.write(Letter { receipt, record: kept, refusal }, Some(lane), None);
                1
            }
        };
        self.calls = calls;
        if self.accounts[index].lane.held_bytes() > self.bounds.lane {
            self.wait_for_lane(lane, record.slot);
        }
        owed
    }

    fn admit(
        &mut self,
        now: Now,
        lane: u32,
        record: &Record<'_>,
        event: &Event<'_>,
        receipt: Receipt,
        call: &Call,
    ) -> u16 {
        let mut refused = None;
        self.with_lane(now, lane as usize, |lane, around| {
            match lane.admit(around, call, event, receipt, &|out: &mut Vec<u8>| record.keep(out)) {
                Ok(full) => full,
                Err(refusal) => {
                    lane.refuse_at_the_door();
                    refused = Some(refusal);
                    true
                }
            }
        });
        if let Some(refusal) = refused {
            let mut kept = Vec::new();
            record.keep(&mut kept);
            self.write(Letter { receipt, record: kept, refusal }, Some(lane), None);
        }
        let account = &self.accounts[lane as usize];
        let due = now.mono + account.lane.linger();
        if account.wake.is_none_or(|wake| wake > due) {
            self.schedule(lane, due);
        }
        1
    }

    /// A record that no account could take: one dead letter.
    fn refuse_record(
        &mut self,
        record: &Record<'_>,
        receipt: Receipt,
        tenant: Option<String>,
        refusal: Refusal,
    ) -> u16 {
        let mut kept = Vec::new();
        record.keep(&mut kept);
        self.write(Letter { receipt, record: kept, refusal }, None, tenant);
        1
    }

    // === Ends of calls ===

    fn write(&mut self, letter: Letter, lane: Option<u32>, tenant: Option<String>) {
        let Letter { receipt, record, refusal } = letter;
        let id = self.next_letter;
        self.next_letter += 1;
        let weight = record.len();
        self.letter_bytes += weight;
        self.letters.insert(id, Pending { receipt, lane, reason: refusal.reason, weight });
        if let Some(lane) = lane {
            self.accounts[lane as usize].letters += 1;
        }
        let partition = &self.partitions[receipt.slot as usize];
        let topic = Arc::clone(&partition.topic);
        let (slot, number, offset) = (receipt.slot, partition.number, receipt.offset);
        self.actions.push(Action::Write(DeadLetter {
            id,
            lane,
            tenant,
            slot,
            topic,
            partition: number,
            offset,
            record,
            refusal,
        }));
    }

    /// The broker acknowledged a dead letter: its call is settled.
    pub fn letter_written(&mut self, id: u64) {
        let Some(Pending { receipt, lane, reason, weight }) = self.letters.remove(&id) else { return };
        self.letter_bytes -= weight;
        match lane {
            Some(lane) => {
                let account = &mut self.accounts[lane as usize];
                account.letters -= 1;
                account.lane.dead_lettered(reason);
            }
            None => self.orphans[reason as usize] += 1,
        }
        self.settle(receipt);
    }

    fn settle(&mut self, receipt: Receipt) {
        let Some(partition) = self.partitions.get_mut(receipt.slot as usize) else { return };
        if partition.epoch != receipt.epoch {
            return;
        }
        if let Some(ledger) = partition.ledger.as_mut()
            && ledger.settle(receipt.offset)
        {
            partition.settled += 1;
        }
    }

    /// The vendor answered a request, or did not: `Err` is why, in words.
    pub fn answered(&mut self, now: Now, flight: Box<Flight>, result: Result<Answer<'_>, String>) {
        self.wire += 1;
        let index = flight.lane as usize;
        let before = self.accounts[index].lane.health(now.mono);
        self.with_lane(now, index, |lane, around| {
            lane.answered(around, *flight, result);
            true
        });
        self.accounts[index].tell_change(now, before);
        for lane in std::mem::take(&mut self.starved) {
            self.pump(now, lane as usize);
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
        self.balance_memory();
    }

    /// When [`Pipeline::tick`] is needed next.
    #[must_use]
    pub fn next_tick(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether a partition must be paused before the next record is read: budgets hold to the record.
    #[must_use]
    pub fn is_pausing(&self) -> bool {
        self.pausing
    }

    /// Takes what has to happen outside.
    pub fn take_actions(&mut self, into: &mut Vec<Action>) {
        self.pausing = false;
        into.append(&mut self.actions);
    }

    /// The keys of a lane's account were read.
    pub fn set_keys(&mut self, now: Now, lane: u32, keys: &Keys) {
        if keys.is_empty() {
            tracing::warn!(account = self.accounts[lane as usize].name, "no key can be read: the account is held");
        }
        self.with_lane(now, lane as usize, |lane, _| {
            lane.set_keys(now.mono, keys);
            true
        });
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
        self.flush = true;
        self.pump_all(now);
    }

    /// Whether waiting longer could still settle something.
    #[must_use]
    pub fn can_finish(&self) -> bool {
        !self.letters.is_empty() || self.accounts.iter().any(|account| account.lane.can_finish())
    }

    /// Requests on the wire.
    #[must_use]
    pub fn on_the_wire(&self) -> usize {
        MAX_WIRE - self.wire
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

    /// Bytes of calls and dead letters that are held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.lane_bytes + self.letter_bytes
    }

    /// Dead letters of records without an account that wait for their acknowledgement.
    #[must_use]
    pub fn letters_waiting(&self) -> usize {
        self.letters.len()
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

    fn schedule(&mut self, lane: u32, at: Duration) {
        self.accounts[lane as usize].wake = Some(at);
        self.timers.push(Reverse((at, lane)));
    }

    /// Lets a lane work, pumps it if asked, and does what it wants done.
    fn with_lane(&mut self, now: Now, index: usize, work: impl FnOnce(&mut Lane, &mut Surroundings<'_>) -> bool) {
        let account = &mut self.accounts[index];
        let mut around = Surroundings {
            now,
            pacers: &mut self.pacers,
            rng: &mut self.rng,
            epochs: &self.epochs,
            effects: &mut self.effects,
            spare: &mut self.spare,
            wire: self.wire,
            flush: self.flush,
            may_send: self.may_send,
        };
        let before = account.lane.held_bytes();
        let pump = work(&mut account.lane, &mut around);
        let wake = if pump { account.lane.pump(&mut around) } else { None };
        self.wire = around.wire;
        self.lane_bytes = self.lane_bytes + account.lane.held_bytes() - before;
        let lane = u32::try_from(index).unwrap_or(u32::MAX);
        if pump && self.wire == 0 && !self.starved.contains(&lane) {
            self.starved.push(lane);
        }
        if let Some(at) = wake
            && self.accounts[index].wake.is_none_or(|wake| wake > at)
        {
            self.schedule(lane, at);
        }
        if !self.effects.is_empty() {
            self.carry_out(lane);
        }
    }

    fn carry_out(&mut self, lane: u32) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Send(flight) => self.actions.push(Action::Send(flight)),
                Effect::Settled(receipt) => self.settle(receipt),
                Effect::DeadLetter(letter) => self.write(letter, Some(lane), None),
            }
        }
        self.effects = effects;
    }

    // === Memory ===

    /// The partition waits until the lane has room.
    fn wait_for_lane(&mut self, lane: u32, slot: u32) {
        match self.full.iter_mut().find(|(full, _)| *full == lane) {
            Some((_, slots)) if slots.contains(&slot) => {}
            Some((_, slots)) => slots.push(slot),
            None => self.full.push((lane, vec![slot])),
        }
        self.pause(slot);
    }

    fn pause(&mut self, slot: u32) {
        let partition = &mut self.partitions[slot as usize];
        if !partition.paused && partition.ledger.is_some() {
            partition.paused = true;
            self.pausing = true;
            self.actions.push(Action::Pause { slot, paused: true });
        }
    }

    fn is_over_total(&self) -> bool {
        self.held_bytes() > self.bounds.total || self.letters.len() > MAX_LETTERS
    }

    /// Pauses everything when the total is used up; resumes, with hysteresis, what nothing holds any more.
    fn balance_memory(&mut self) {
        let half = self.bounds.lane / 2;
        let accounts = &self.accounts;
        self.full.retain(|(lane, slots)| !slots.is_empty() && accounts[*lane as usize].lane.held_bytes() > half);
        let held = self.held_bytes();
        if self.is_over_total() {
            self.over_total = true;
        } else if held < self.bounds.total / 4 * 3 && self.letters.len() < MAX_LETTERS / 2 {
            self.over_total = false;
        }
        for slot in 0..self.partitions.len() {
            let index = u32::try_from(slot).unwrap_or(u32::MAX);
            let partition = &self.partitions[slot];
            let Some(ledger) = &partition.ledger else { continue };
            let span = if partition.paused { MAX_SPAN / 2 } else { MAX_SPAN };
            let held =
                self.over_total || ledger.span() > span || self.full.iter().any(|(_, slots)| slots.contains(&index));
            if held && !partition.paused {
                self.pause(index);
            } else if !held && partition.paused {
                self.partitions[slot].paused = false;
                self.actions.push(Action::Pause { slot: index, paused: false });
            }
        }
    }
}

/// The event of a record: a message, or, where its header says so, a vendor's element.
fn decode<'a>(record: &Record<'a>, value: &'a [u8], origin: Origin<'a>) -> Result<Event<'a>, Refusal> {
    let Some(shape) = record.header("forebay-shape") else { return Event::decode(value, origin) };
    let text = |header: &'a [u8]| std::str::from_utf8(header).ok();
    let no_shape = || Refusal::new(Reason::RawNotAllowed, "the header forebay-shape is not UTF-8");
    let shape = text(shape).ok_or_else(no_shape)?;
    let catalog = record.header("forebay-catalog").and_then(text);
    Event::decode_raw(value, origin, RawForm { shape, catalog })
}
