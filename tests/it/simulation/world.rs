//! The world around the core: a topic, a group that keeps commits, a clock, and chance.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use forebay::clock::Now;
use forebay::config::{self, Config, Memory};
use forebay::destination::Answer;
use forebay::keys::Keys;
use forebay::lane::batch::OF_A_BATCH;
use forebay::lane::{Flight, Health};
use forebay::metrics::report::Report;
use forebay::outcome::Release;
use forebay::pipeline::{Account, Action, DeadLetter, Parts, Pipeline};
use forebay::source::commit::{Contents, Place, Unusable, decode};
use forebay::source::consumer::State;
use forebay::source::record::{Headers, Record, kept};
use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use secrecy::SecretString;

use super::oracle::{Oracle, Totals};
use super::scenes;
use super::vendor::{Element, Mood, Reply, elements, serve};

pub(super) const PARTITIONS: usize = 2;
pub(super) const TENANTS: usize = 3;
/// What is held beyond a budget before anything is done about it, at most.
const SLACK: usize = 4 * 4_096;
/// In the place of a lane: the vendors of all.
pub(super) const ALL: u32 = u32::MAX;

/// One run.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of the world")]
pub(super) struct World {
    seed: u64,
    pub(super) rng: SmallRng,
    pub(super) now: Now,
    pub(super) config: Config,
    pub(super) pipeline: Pipeline,
    pub(super) oracle: Oracle,
    /// Records by offset; some offsets do not exist.
    pub(super) log: Vec<Vec<Option<Vec<u8>>>>,
    /// Next offset to be read, while assigned.
    position: [Option<i64>; PARTITIONS],
    paused: [bool; PARTITIONS],
    /// Next offset to be read a second time, while a sweep is under way.
    pub(super) sweep: [Option<i64>; PARTITIONS],
    /// Counts assignments, over crashes too.
    life: [u64; PARTITIONS],
    pub(super) committed: BTreeMap<usize, (i64, String)>,
    /// Requests, each with the lives of the partitions when it was sent.
    wire: Vec<(Box<Flight>, [u64; PARTITIONS])>,
    pub(super) letters: Vec<DeadLetter>,
    pub(super) healthy: bool,
    pub(super) revoked_keys: bool,
    /// The lane whose vendor is down, or [`ALL`].
    pub(super) down: Option<u32>,
    /// How the next request of a lane is answered.
    pub(super) whim: Option<(u32, Mood, &'static str)>,
    /// The lane whose requests are not answered for now.
    pub(super) hangs: Option<u32>,
    /// The lane whose key to register devices with is revoked.
    pub(super) no_tokens: Option<u32>,
    /// What lanes had given back when that was last looked at, and whether they were held or memory was short.
    given: Vec<(u64, bool)>,
    /// Whether membership in the group is proven.
    proven: bool,
    /// Whether the topic drops what is old.
    forgets: bool,
    pub(super) hashes: Vec<u32>,
    /// The last of what happened, and all of it as a digest.
    history: VecDeque<String>,
    digest: DefaultHasher,
    verbose: bool,
}

fn configuration(rng: &mut SmallRng) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let (lane, in_flight) = (rng.random_range(3..40_u64), rng.random_range(1..4));
    let (total, limit) = (lane * rng.random_range(2..6), rng.random_range(60..6_000));
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ngroup = \"g\"\ntopics = [\"events\"]\n".to_owned();
    for tenant in 0..TENANTS {
        let account = format!(
            "[accounts.t{tenant}-m]\ntenant = \"t{tenant}\"\nmax_in_flight = {in_flight}\naccept = [\"identify\", \"track\", \"page\"]\n[accounts.t{tenant}-m.limits]\n\
             users_per_minute = {limit}\nevents_per_minute = {limit}\n[accounts.t{tenant}-m.moengage]\nworkspace = \"W{tenant}\"\n\
             data_center = \"01\"\nkeys = [{{ file = \"k\" }}]\n\
             [accounts.t{tenant}-i]\ntenant = \"t{tenant}\"\nmax_in_flight = {in_flight}\naccept = [\"identify\", \"track\", \"page\"]\n\
             [accounts.t{tenant}-i.iterable]\nregion = \"us\"\npages = [\"all\", \"named\"]\nregistration_key = {{ file = \"r\" }}\nkeys = [{{ file = \"k\" }}]\n"
        );
        text.push_str(&account);
    }
    std::fs::write(&path, text).unwrap();
    let mut config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}")).config;
    // Far below what a configuration may ask for: few records fill it.
    config.memory = Memory { lane: lane * 1_024, total: total * 1_024 };
    config
}

impl World {
    pub(super) fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let config = configuration(&mut rng);
        let now = Now { mono: Duration::from_secs(1), wall_ms: 1_790_000_000_000 };
        let parts = Parts::of(&config, now, seed);
        let mut hashes = parts.hashes.clone();
        if rng.random_bool(0.2) {
            // Four bytes are few: in a large fleet some accounts share them.
            let one = rng.random_range(1..hashes.len());
            hashes[one] = hashes[0];
        }
        let pipeline = Pipeline::new(Parts { hashes: hashes.clone(), ..parts });
        let mut world = Self {
            seed,
            rng,
            now,
            config,
            pipeline,
            oracle: Oracle::new(hashes.clone()),
            log: vec![Vec::new(); PARTITIONS],
            position: [None; PARTITIONS],
            paused: [false; PARTITIONS],
            sweep: [None; PARTITIONS],
            life: [0; PARTITIONS],
            committed: BTreeMap::new(),
            wire: Vec::new(),
            letters: Vec::new(),
            healthy: false,
            revoked_keys: false,
            down: None,
            whim: None,
            hangs: None,
            no_tokens: None,
            given: Vec::new(),
            proven: true,
            forgets: false,
            hashes,
            history: VecDeque::new(),
            digest: DefaultHasher::new(),
            verbose,
        };
        world.forgets = world.rng.random_bool(0.15);
        if world.rng.random_bool(0.15) {
            world.leave_strangers();
        }
        world.start();
        world
    }

    /// Runs to its end; panics with the history if something does not hold.
    pub(super) fn run(mut self) -> Totals {
        let seed = self.seed;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.live()));
        outcome.unwrap_or_else(|cause| {
            let words = cause.downcast_ref::<String>().cloned().unwrap_or_default();
            let history: Vec<String> = self.history.drain(..).collect();
            // What is left holds calls, and would panic again.
            std::mem::forget(self);
            panic!("seed {seed} (FOREBAY_SEED={seed} shows it): {words}\nlast steps:\n{}", history.join("\n"));
        })
    }

    fn live(&mut self) -> Totals {
        for _ in 0..self.rng.random_range(100..700) {
            self.step();
        }
        if self.rng.random_bool(0.05) {
            self.outage();
        }
        self.heal();
        if self.config.memory.total <= scenes::PRESSED {
            self.press();
        }
        self.settle_all();
        if self.rng.random_bool(0.2) {
            self.part();
            self.settle_all();
        }
        if self.rng.random_bool(0.1) {
            self.quiet();
            self.settle_all();
        }
        if self.rng.random_bool(0.1) {
            self.catch_up_slowly();
            self.settle_all();
        }
        self.assert_all_were_taken_on();
        self.assert_strangers_end();
        self.settle_all();
        self.check_books();
        let released = |a: &forebay::metrics::report::AccountReport| a.books.released[Release::Deferred as usize];
        self.oracle.totals.released = self.report().accounts.iter().map(released).sum();
        let totals = self.oracle.finish();
        self.stop();
        Totals { digest: self.digest.finish(), ..totals }
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{:>9.3} {}", self.now.mono.as_secs_f64(), what());
        if self.verbose {
            println!("{line}");
        }
        line.hash(&mut self.digest);
        if self.history.len() == 60 {
            self.history.pop_front();
        }
        self.history.push_back(line);
    }

    pub(super) fn heal(&mut self) {
        self.healthy = true;
        self.revoked_keys = false;
        self.down = None;
        self.hangs = None;
        self.prove(true);
        self.note(|| "everything heals".into());
    }

    fn step(&mut self) {
        match self.rng.random_range(0..1010) {
            1000..1005 => {
                let proven = self.rng.random_bool(0.5);
                self.prove(proven);
            }
            1005.. if self.forgets => self.forget(),
            0..200 => self.produce(),
            200..450 => self.read(),
            450..600 => self.read_again(),
            600..800 => self.answer(),
            800..850 => self.acknowledge(),
            850..940 => {
                let most = if self.rng.random_bool(0.1) { 20_000 } else { 300 };
                let by = Duration::from_millis(self.rng.random_range(1..most));
                self.advance(by);
            }
            940..975 => self.commit(),
            975..985 => self.rebalance(),
            985..992 => self.crash(),
            992..995 => {
                let by = self.rng.random_range(-86_400_000..86_400_000);
                self.note(|| format!("the wall clock jumps by {by} ms"));
                self.now.wall_ms += by;
            }
            995..997 => {
                let lane = self.rng.random_range(0..=u32::try_from(self.config.accounts.len()).unwrap());
                let lane = if lane as usize == self.config.accounts.len() { ALL } else { lane };
                self.down = if self.down.is_none() { Some(lane) } else { None };
                let down = self.down;
                self.note(|| format!("vendor down for {down:?}"));
            }
            _ => {
                self.revoked_keys = !self.revoked_keys;
                let revoked = self.revoked_keys;
                self.note(|| format!("t0's key revoked: {revoked}"));
            }
        }
        self.act();
        self.check_memory();
    }

    // === The topic ===

    pub(super) fn read(&mut self) {
        for _ in 0..self.rng.random_range(1..6) {
            let partition = self.rng.random_range(0..PARTITIONS);
            let Some(offset) = self.position[partition].filter(|_| !self.paused[partition]) else { continue };
            let Some(value) = usize::try_from(offset).ok().and_then(|at| self.log[partition].get(at)) else { continue };
            let value = value.clone();
            self.position[partition] = Some(offset + 1);
            let Some(value) = value else { continue };
            self.note(|| format!("read {partition}@{offset}"));
            self.with_record(partition, offset, &value, Pipeline::record);
        }
    }

    /// The second reader's turn.
    pub(super) fn read_again(&mut self) {
        for _ in 0..self.rng.random_range(1..12) {
            let partition = self.rng.random_range(0..PARTITIONS);
            let Some(offset) = self.sweep[partition] else { continue };
            if offset < self.oracle.low[partition] {
                // The broker says so, and the topic is looked at.
                let low = self.oracle.low[partition];
                self.pipeline.expire(u32::try_from(partition).unwrap(), low);
                self.act();
                continue;
            }
            // What does not exist takes no time.
            let left = self.log[partition].get(usize::try_from(offset).unwrap()..).unwrap_or_default();
            let Some(missing) = left.iter().position(Option::is_some) else { continue };
            let value = left[missing].clone().unwrap();
            let offset = offset + i64::try_from(missing).unwrap();
            self.sweep[partition] = Some(offset + 1);
            self.oracle.totals.reread += 1;
            self.note(|| format!("read again {partition}@{offset}"));
            self.with_record(partition, offset, &value, Pipeline::swept);
        }
    }

    fn with_record(
        &mut self,
        partition: usize,
        offset: i64,
        value: &[u8],
        show: impl FnOnce(&mut Pipeline, Now, &Record<'_>),
    ) {
        let tenant = String::from_utf8_lossy(value).split_once("\"userId\":\"").unwrap().1[..2].to_owned();
        let headers = kept([("tenant", tenant.as_bytes())]);
        let slot = self.pipeline.slot("events", i32::try_from(partition).unwrap());
        let record = Record {
            slot,
            offset,
            timestamp_ms: Some(self.now.wall_ms),
            key: None,
            value: Some(value),
            headers: Headers::of(&headers),
        };
        show(&mut self.pipeline, self.now, &record);
        self.act();
    }

    /// The topic drops its oldest records.
    fn forget(&mut self) {
        let partition = self.rng.random_range(0..PARTITIONS);
        let low = self.rng.random_range(0..=self.log[partition].len());
        // Strangers end with what was read when somebody first found that he does not know them: a commit tells that.
        let too_soon = partition == 0 && !self.oracle.strangers.is_empty() && !self.oracle.told;
        if too_soon || i64::try_from(low).unwrap() <= self.oracle.low[partition] {
            return;
        }
        self.log[partition][..low].fill(None);
        let low = i64::try_from(low).unwrap();
        self.note(|| format!("the topic drops {partition} up to {low}"));
        self.oracle.low[partition] = low;
        self.oracle.totals.expiries += 1;
        self.pipeline.expire(u32::try_from(partition).unwrap(), low);
        if self.position[partition].is_some_and(|position| position < low) {
            // As the reader does when the broker tells it.
            self.pipeline.skip(u32::try_from(partition).unwrap(), low);
            self.position[partition] = Some(low);
        }
        self.act();
    }

    /// Commits are answered, or have not been for long: then no new request may begin.
    pub(super) fn prove(&mut self, proven: bool) {
        self.note(|| format!("membership is proven: {proven}"));
        self.oracle.totals.unproven += u64::from(!proven);
        self.proven = proven;
        self.pipeline.set_may_send(self.now, proven);
        self.act();
    }

    // === Time and actions ===

    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now.mono + by;
        while let Some(at) = self.pipeline.next_tick().filter(|at| *at <= end) {
            self.now = self.now.later(at.saturating_sub(self.now.mono));
            self.pipeline.tick(self.now);
            self.act();
        }
        self.now = self.now.later(end.saturating_sub(self.now.mono));
        self.pipeline.tick(self.now);
    }

    pub(super) fn act(&mut self) {
        let mut actions = Vec::new();
        self.pipeline.take_actions(&mut actions);
        self.check_releases();
        for action in actions {
            match action {
                Action::Send(flight) => {
                    let (lane, calls) = (flight.lane, flight.calls());
                    self.note(|| format!("lane {lane} sends {calls} calls"));
                    flight.body.hash(&mut self.digest);
                    assert!(self.proven, "a request began although membership was not proven");
                    self.wire.push((flight, self.life));
                }
                Action::Write(letter) => self.letters.push(letter),
                Action::Pause { slot, paused } => {
                    self.note(|| format!("partition {slot} paused: {paused}"));
                    self.oracle.totals.pauses += u64::from(paused);
                    assert!(!paused || self.may_pause(), "PAUSED: partition {slot}, although nothing is short");
                    self.paused[slot as usize] = paused;
                }
                Action::Sweep { slot, from } => {
                    self.note(|| format!("sweep of {slot}: {from:?}"));
                    self.oracle.totals.sweeps += u64::from(from.is_some());
                    self.sweep[slot as usize] = from;
                }
            }
        }
    }

    /// Rule 19: for want of memory, or when no vendor answers.
    fn may_pause(&self) -> bool {
        let half = usize::try_from(self.config.memory.total / 2).unwrap();
        self.pipeline.held_bytes() > half || !self.is_anybody_well()
    }

    pub(super) fn is_anybody_well(&self) -> bool {
        let well = |account: &Account| matches!(account.lane.health(self.now.mono), Health::Ok | Health::Throttled);
        self.pipeline.accounts().iter().any(well)
    }

    fn mood(&mut self, lane: u32, path: &str) -> (Mood, &'static str) {
        if let Some((_, mood, name)) = self.whim.take_if(|(of, ..)| *of == lane) {
            return (mood, name);
        }
        if self.revoked_keys && lane < 2 {
            return (Mood::Status(401), "401");
        }
        if self.no_tokens == Some(lane) && path.contains("Token") {
            return (Mood::Status(401), "401");
        }
        if self.down.is_some_and(|down| down == lane || down == ALL) {
            return (Mood::Status(503), "5xx");
        }
        if self.healthy {
            return (Mood::Good, "good");
        }
        match self.rng.random_range(0..100) {
            0..70 => (Mood::Good, "good"),
            70..74 => (Mood::Status(429), "429"),
            74..80 => (Mood::Status(503), "5xx"),
            80..83 => (Mood::Status(413), "413"),
            83..88 => (Mood::Silence { taken: true }, "silence, taken"),
            88..93 => (Mood::Silence { taken: false }, "silence"),
            93..95 => (Mood::Portal, "portal"),
            95..97 => (Mood::Lie, "lie"),
            _ => (Mood::Partial, "partial"),
        }
    }

    pub(super) fn answer(&mut self) {
        let answers = |index: &usize| Some(self.wire[*index].0.lane) != self.hangs;
        let Some(index) = (0..self.wire.len()).filter(answers).choose(&mut self.rng) else { return };
        let (flight, life) = self.wire.swap_remove(index);
        let (mood, name) = self.mood(flight.lane, &flight.target.path);
        *self.oracle.totals.faults.entry(name).or_default() += 1;
        let (reply, taken) = serve(&flight.target.path, &flight.body, mood, &mut self.rng);
        let lane = flight.lane as usize;
        self.note(|| {
            format!("lane {lane} is answered: {name}, took {:?}", taken.iter().map(|t| t.number).collect::<Vec<_>>())
        });
        if mood == Mood::Partial {
            let (_, all) = elements(&flight.target.path, &flight.body);
            let is_taken =
                |element: &Element| taken.iter().any(|t| t.number == element.number && t.name == element.name);
            for element in all.iter().filter(|element| !is_taken(element)) {
                self.oracle.refuse(lane, element.number);
            }
        }
        // An answer that does not say which of a user's calls failed makes them all go again, in their order.
        let answered = matches!(reply, Reply::Answer { .. }) && !matches!(mood, Mood::Lie | Mood::Partial);
        for Element { number, name, .. } in taken {
            let partition = self.oracle.produced[usize::try_from(number).unwrap()].partition;
            // Of an answer to what an earlier life sent the partition's owner learns nothing.
            let is_known = answered && life[partition] == self.life[partition];
            self.oracle.take(lane, number, &name, life[partition], is_known.then_some(self.now.mono));
        }
        match reply {
            Reply::Silence => self.pipeline.answered(self.now, flight, Err("no answer".into())),
            Reply::Answer { status, headers, body } => {
                let answer = Answer { status, headers: &headers, body: &body };
                self.pipeline.answered(self.now, flight, Ok(answer));
            }
        }
    }

    pub(super) fn acknowledge(&mut self) {
        if self.letters.is_empty() {
            return;
        }
        let letter = self.letters.swap_remove(self.rng.random_range(0..self.letters.len()));
        self.note(|| format!("dead letter {}@{} {}", letter.partition, letter.offset, letter.refusal.reason));
        let partition = usize::try_from(letter.partition).unwrap();
        self.oracle.letter(partition, letter.offset, letter.account.map(|lane| lane as usize), self.now.mono);
        self.pipeline.letter_written(letter.id);
    }

    // === The group ===

    pub(super) fn commit(&mut self) {
        for commit in self.pipeline.commits(self.now, "c", None) {
            let partition = usize::try_from(commit.partition).unwrap();
            if self.rng.random_bool(0.1) {
                self.oracle.totals.lost_commits += 1;
                continue;
            }
            let place = Place { cluster: "c", topic: "events", partition: commit.partition };
            let contents = decode(commit.metadata.as_bytes(), place, commit.offset).unwrap();
            self.note(|| format!("commit {partition}@{} {contents:?}", commit.offset));
            self.oracle.totals.cut += u64::from(commit.cut);
            self.oracle.committed(partition, commit.offset, &contents);
            if !commit.cut {
                self.oracle.measure(partition, &contents, self.now.mono);
            }
            self.committed.insert(partition, (commit.offset, commit.metadata));
        }
    }

    fn start(&mut self) {
        for lane in 0..self.config.accounts.len() {
            let lane = u32::try_from(lane).unwrap();
            let mut keys = Keys::from(vec![SecretString::from("key")]);
            keys.add("registration_key", Some("another".into()));
            self.pipeline.set_keys(self.now, lane, &keys);
        }
        for partition in 0..PARTITIONS {
            self.assign(partition);
        }
    }

    fn assign(&mut self, partition: usize) {
        let number = i32::try_from(partition).unwrap();
        let place = Place { cluster: "c", topic: "events", partition: number };
        let contents = match self.committed.get(&partition) {
            None => Contents::default(),
            // Anybody may have damaged the metadata: that costs duplicates only.
            Some((offset, metadata)) if metadata.is_empty() || self.rng.random_bool(0.1) => {
                self.oracle.forget_strangers(partition);
                Contents { window: *offset, ..Contents::default() }
            }
            Some((offset, metadata)) => {
                // Or copied it from another partition.
                let other = self.committed.get(&(1 - partition)).filter(|_| self.rng.random_bool(0.1));
                let copied = other.map(|(_, metadata)| metadata).filter(|metadata| !metadata.is_empty());
                match decode(copied.unwrap_or(metadata).as_bytes(), place, *offset) {
                    Err(Unusable::Elsewhere) if copied.is_some() => {
                        self.oracle.forget_strangers(partition);
                        Contents { window: *offset, ..Contents::default() }
                    }
                    contents => contents.unwrap(),
                }
            }
        };
        let contents = self.without_expired(partition, contents);
        self.note(|| format!("partition {partition} is ours: {contents:?}"));
        self.life[partition] += 1;
        self.oracle.assigned(partition, self.life[partition], contents.clone());
        self.position[partition] = Some(contents.window);
        self.paused[partition] = false;
        self.sweep[partition] = None;
        let slot = self.pipeline.slot("events", number);
        assert_eq!(slot as usize, partition);
        self.pipeline.assign(slot, contents);
    }

    /// What the topic no longer has is not owed: as the scout finds.
    fn without_expired(&self, partition: usize, mut contents: Contents) -> Contents {
        let low = self.oracle.low[partition];
        contents.window = contents.window.max(low);
        contents.entries.retain_mut(|entry| entry.expire(low));
        contents
    }

    /// A partition goes and comes back: after a drain and a commit, or lost.
    fn rebalance(&mut self) {
        let partition = self.rng.random_range(0..PARTITIONS);
        let slot = u32::try_from(partition).unwrap();
        let lost = self.rng.random_bool(0.5);
        self.note(|| format!("partition {partition} goes; lost: {lost}"));
        self.oracle.totals.rebalances += 1;
        if !lost {
            self.pipeline.revoking(slot, self.now);
            self.act();
            for _ in 0..self.rng.random_range(0..20) {
                self.answer();
                self.act();
                self.acknowledge();
            }
            self.commit();
        }
        self.move_on(partition);
    }

    /// The partition goes, and comes back.
    pub(super) fn move_on(&mut self, partition: usize) {
        self.position[partition] = None;
        self.pipeline.unassign(&[u32::try_from(partition).unwrap()], self.now);
        self.act();
        // What was on the wire may still be taken: before the next owner begins, or later.
        if self.rng.random_bool(0.5) {
            self.drain_wire();
        }
        self.assign(partition);
    }

    /// Most requests that were on the wire when a partition went end.
    fn drain_wire(&mut self) {
        while !self.wire.is_empty() {
            self.answer();
            self.act();
            if self.wire.len() > 50 {
                break;
            }
        }
    }

    /// The process is killed: what is in memory is gone, and a new one begins at the commits.
    fn crash(&mut self) {
        self.note(|| "SIGKILL".into());
        self.oracle.totals.crashes += 1;
        self.stop();
        self.letters.clear();
        let parts = Parts::of(&self.config, self.now, self.rng.random());
        self.pipeline = Pipeline::new(Parts { hashes: self.hashes.clone(), ..parts });
        self.proven = true;
        self.start();
    }

    /// Ends the process without settling anything; some requests may have been taken.
    fn stop(&mut self) {
        for (flight, _) in std::mem::take(&mut self.wire) {
            self.pipeline.answered(self.now, flight, Err("killed".into()));
        }
        self.pipeline.abandon(self.now);
        let slots: Vec<u32> = (0..).take(PARTITIONS).collect();
        self.pipeline.unassign(&slots, self.now);
    }

    // === Checks ===

    pub(super) fn settle_all(&mut self) {
        for _ in 0..40_000 {
            self.read();
            self.read_again();
            self.answer();
            self.acknowledge();
            self.act();
            let read = (0..PARTITIONS).all(|p| self.position[p] == i64::try_from(self.log[p].len()).ok());
            if read && !self.pipeline.can_finish() && self.wire.is_empty() && self.letters.is_empty() {
                let held = self.pipeline.accounts().iter().map(|account| account.lane.held_calls()).sum::<usize>();
                let deferred = self.pipeline.partitions().iter().any(|partition| partition.deferred().next().is_some());
                if held == 0 && !deferred {
                    self.commit();
                    return;
                }
            }
            self.advance(Duration::from_millis(250));
            self.act();
        }
        let report = self.report();
        let deferred: Vec<Vec<_>> = self.pipeline.partitions().iter().map(|p| p.deferred().collect()).collect();
        let stuck: Vec<_> = report.accounts.iter().map(|a| (a.health, &a.binds, a.held_calls)).collect();
        panic!("no progress after everything healed: {stuck:?}, positions {:?}, deferred {deferred:?}", self.position);
    }

    pub(super) fn report(&self) -> Report {
        Report::new(self.now, &self.pipeline, &State::default())
    }

    fn check_books(&mut self) {
        let differences = self.report().differences();
        assert!(differences.iter().all(|difference| *difference == 0), "the books do not balance: {differences:?}");
    }

    /// Whether a request of the lane is on its way.
    pub(super) fn is_asked(&self, lane: u32) -> bool {
        self.wire.iter().any(|(flight, _)| flight.lane == lane)
    }

    /// Rule 1: what a lane holds is given back under a hold and for want of memory only, and never all of it: the vendor
    /// is asked with the rest.
    fn check_releases(&mut self) {
        let total = usize::try_from(self.config.memory.total).unwrap();
        // Half of the total is librdkafka's; a record and what it makes remembered are less than a quarter of the slack.
        let is_short = self.pipeline.held_bytes() + SLACK / 4 > total / 8 * 3;
        let look = |account: &Account| {
            let given_back = account.lane.books.released[Release::Deferred as usize];
            (given_back, is_short || account.lane.health(self.now.mono) == Health::Held)
        };
        let given: Vec<_> = self.pipeline.accounts().iter().map(look).collect();
        for (lane, ((after, may), (before, might))) in given.iter().zip(&self.given).enumerate() {
            if after > before {
                assert!(*may || *might, "RELEASED: lane {lane} gave back calls, although nothing is short");
                let rest = self.pipeline.accounts()[lane].lane.held_calls();
                assert!(rest > 0, "RELEASED: lane {lane} has nothing left to ask its vendor with");
            }
        }
        self.given = given;
    }

    /// A lane may go over its budget by what is read before its partitions pause: a record a partition; and by what it takes to
    /// take its batches apart, in the end to a batch for each call.
    pub(super) fn check_memory(&mut self) {
        self.check_books();
        let apart = |account: &Account| account.lane.held_calls() * OF_A_BATCH;
        for account in self.pipeline.accounts() {
            let (held, lane) = (account.lane.held_bytes(), usize::try_from(self.config.memory.lane).unwrap());
            self.oracle.totals.most_lane = self.oracle.totals.most_lane.max(held.saturating_sub(lane) as u64);
            assert!(held <= lane + SLACK + apart(account), "a lane holds {held} of {lane} bytes");
        }
        // Of so little memory, what it takes to remember deferred accounts is most; and each lane that waits keeps a batch,
        // to ask its vendor with.
        let held: usize = self.pipeline.accounts().iter().map(|account| account.lane.held_bytes()).sum();
        let total = usize::try_from(self.config.memory.total).unwrap();
        self.oracle.totals.most_over = self.oracle.totals.most_over.max(held.saturating_sub(total) as u64);
        let letters: usize = self.letters.iter().map(|letter| letter.record.len()).sum();
        let held = held + letters;
        let slack = 2 * SLACK + self.pipeline.accounts().iter().map(apart).sum::<usize>();
        assert!(held <= total + slack, "{held} of {total} bytes are held");
    }
}
