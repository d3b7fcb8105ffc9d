//! What the world is made of: records, what earlier owners left, and a long time in which memory is short.

use std::collections::HashSet;
use std::time::Duration;

use forebay::lane::Health;
use forebay::pipeline::Account;
use forebay::source::commit::{Contents, Entry, Place, encode};
use rand::Rng;

use super::oracle::{Kind, Produced, Stranger};
use super::world::{ALL, PARTITIONS, TENANTS, World};

pub(super) const USERS: usize = 5;
/// With no more memory than this, a few records make it short.
pub(super) const PRESSED: u64 = 20 * 1_024;
pub(super) const ROUND: Duration = Duration::from_millis(250);
const MANY_ROUNDS: usize = 2_400;
/// Where the first partition begins for those who know nothing of strangers.
const STRANGE: usize = 200;

impl World {
    /// An earlier owner had deferred accounts that the configuration no longer has, more or less than a commit has room
    /// for beside the others.
    pub(super) fn leave_strangers(&mut self) {
        let many = self.rng.random_bool(0.5);
        let count = if many { self.rng.random_range(260..460) } else { self.rng.random_range(1..100) };
        let end = i64::try_from(STRANGE).unwrap();
        self.log[0].resize(STRANGE, None);
        for hash in (1..=count).filter(|hash| !self.hashes.contains(hash)) {
            let owes = self.rng.random_range(0..end);
            self.oracle.strangers.push(Stranger { hash, owes, end });
        }
        let mut entries: Vec<Entry> = Vec::new();
        for stranger in &self.oracle.strangers {
            let mut entry = Entry { account: stranger.hash, next: stranger.owes, holes: Vec::new() };
            // Whom a commit left out that knew the account is not known of; the configuration changed after that.
            if many || self.rng.random_bool(0.5) {
                entry.orphan(end);
            }
            entries.push(entry);
        }
        let mut known = self.hashes.clone();
        known.sort_unstable();
        known.dedup();
        for account in known {
            if self.rng.random_bool(0.3) {
                entries.push(Entry { account, next: self.rng.random_range(0..end), holes: Vec::new() });
            }
        }
        let place = Place { cluster: "c", topic: "events", partition: 0 };
        let written = encode(place, Contents { window: end, settled: Vec::new(), entries });
        self.committed.insert(0, (written.base, written.text));
    }

    // === Records ===

    pub(super) fn produce(&mut self) {
        let kind = match self.rng.random_range(0..100) {
            0..2 => Kind::Poison,
            2 => Kind::Ghost,
            3 => return self.append_junk(100),
            _ => Kind::Good,
        };
        let tenant = self.rng.random_range(0..TENANTS);
        self.append(tenant, kind);
    }

    pub(super) fn append(&mut self, tenant: usize, kind: Kind) {
        let user = self.rng.random_range(0..USERS);
        let state = kind != Kind::Ghost && self.rng.random_bool(0.4);
        let has_device = state && self.rng.random_bool(0.4);
        self.append_of(tenant, user, kind, (state, has_device));
    }

    /// A record of so many bytes that is no event.
    pub(super) fn append_junk(&mut self, size: usize) {
        let (number, partition) = (self.oracle.produced.len(), self.rng.random_range(0..PARTITIONS));
        let offset = i64::try_from(self.log[partition].len()).unwrap();
        let value = format!(r#"{{"userId":"t0-junk-{number}","pad":"{}"#, "x".repeat(size));
        self.log[partition].push(Some(value.into_bytes()));
        let (user, state, accounts) = (TENANTS * USERS + number, false, Vec::new());
        self.oracle.produced.push(Produced { partition, offset, user, state, kind: Kind::Junk, accounts });
    }

    /// A record of this user; at Iterable a device is registered by a call of its own.
    pub(super) fn append_of(&mut self, tenant: usize, user: usize, kind: Kind, (state, has_device): (bool, bool)) {
        let partition = user % PARTITIONS;
        let number = self.oracle.produced.len();
        if self.rng.random_bool(0.05) {
            self.log[partition].extend([None, None]);
        }
        let offset = i64::try_from(self.log[partition].len()).unwrap();
        let note = if kind == Kind::Poison { "poison" } else { "good" };
        let size = "x".repeat(self.rng.random_range(0..600));
        let fields = format!(r#"{{"n":{number},"note":"{note}","pad":"{size}"}}"#);
        let (name, user) = match kind {
            Kind::Ghost => (format!("t{tenant}-ghost-{number}"), TENANTS * USERS + number),
            _ => (format!("t{tenant}-user-{user}"), tenant * USERS + user),
        };
        let page = !state && self.rng.random_bool(0.4);
        let device = if has_device {
            format!(
                r#","context":{{"device":{{"type":"iOS","token":"tok-{number}"}},"app":{{"namespace":"com.acme"}}}}"#
            )
        } else {
            String::new()
        };
        let value = if page {
            format!(r#"{{"type":"page","name":"P","userId":"{name}","messageId":"m{number}","properties":{fields}}}"#)
        } else if state {
            format!(r#"{{"type":"identify","userId":"{name}","messageId":"m{number}","traits":{fields}{device}}}"#)
        } else {
            format!(r#"{{"type":"track","event":"E","userId":"{name}","messageId":"m{number}","properties":{fields}}}"#)
        };
        self.log[partition].push(Some(value.into_bytes()));
        let accounts = vec![(2 * tenant, 1), (2 * tenant + 1, if has_device { 2 } else { 1 })];
        self.oracle.produced.push(Produced { partition, offset, user, state, kind, accounts });
    }

    // === Hard times ===

    /// Both readers, the vendors and the clock go on a little.
    pub(super) fn round(&mut self, answers: f64, letters: f64) {
        self.read();
        self.read_again();
        if self.rng.random_bool(answers) {
            self.answer();
        }
        if self.rng.random_bool(letters) {
            self.acknowledge();
        }
        self.act();
        self.advance(ROUND);
        self.act();
        self.check_memory();
    }

    /// Memory becomes short again and again. While all vendors are well, if slow, what is refused comes to its end
    /// nevertheless, and nothing is sent twice.
    pub(super) fn press(&mut self) {
        if self.rng.random_bool(0.5) {
            for number in 0..MANY_ROUNDS {
                self.demand(number);
                if number % 60 == 0 {
                    let lane = self.rng.random_range(0..8);
                    self.down = (number % 120 == 0).then_some(if lane < 6 { lane } else { ALL });
                    self.revoked_keys = self.rng.random_bool(0.3);
                }
                self.round(0.5, 0.1);
            }
            return self.heal();
        }
        let first = self.oracle.produced.len();
        for tenant in 0..TENANTS {
            self.append(tenant, Kind::Ghost);
            self.append(tenant, Kind::Poison);
        }
        let refused = first..self.oracle.produced.len();
        for number in 0..MANY_ROUNDS {
            self.demand(number);
            if number == MANY_ROUNDS / 4 {
                self.oracle.steady = Some(HashSet::new());
            }
            self.round(0.9, 1.0);
        }
        self.oracle.steady = None;
        for number in refused {
            let owed = self.oracle.produced[number].accounts.iter().map(|(account, _)| *account);
            for account in owed.filter(|account| account % 2 == 1).collect::<Vec<_>>() {
                assert!(
                    self.oracle.is_settled_for(number as u64, account),
                    "STUCK: record {number} was refused by account {account} again and again, and is never settled"
                );
            }
        }
    }

    /// Every twenty seconds more comes than memory has room for.
    fn demand(&mut self, round: usize) {
        if round.is_multiple_of(80) {
            (0..24).for_each(|count| self.append(count % TENANTS, Kind::Good));
        }
    }

    /// Who has caught up is the poll thread's again: what comes next is not read twice.
    pub(super) fn assert_all_were_taken_on(&mut self) {
        let is_well = |account: &Account| account.lane.health(self.now.mono) == Health::Ok;
        if !self.pipeline.accounts().iter().all(is_well) {
            return;
        }
        // Since when strangers wait may still be looked up.
        let mut rounds = 0;
        while self.sweep.iter().any(Option::is_some) {
            rounds += 1;
            assert!(rounds < 400, "STUCK: a sweep does not end, although nobody owes anything");
            self.round(1.0, 1.0);
        }
        (0..8).for_each(|_| self.round(1.0, 1.0));
        let before = self.oracle.totals.sweeps;
        for count in 0..4 * TENANTS {
            self.append(count % TENANTS, Kind::Good);
            (0..20).for_each(|_| self.round(1.0, 1.0));
        }
        assert_eq!(
            before, self.oracle.totals.sweeps,
            "STUCK: somebody has caught up and is read for by sweeps nevertheless"
        );
    }

    /// Ledger rule 7. An account that is far behind catches up while its vendor is slow: it is given no more than it has
    /// room for. Begins when nothing is owed.
    pub(super) fn catch_up_slowly(&mut self) {
        let tenant = self.rng.random_range(0..TENANTS);
        let lane = 2 * tenant + 1;
        let of_lane = u32::try_from(lane).unwrap();
        self.note(|| format!("lane {lane} falls far behind"));
        self.down = Some(of_lane);
        for _ in 0..120 {
            self.append_of(tenant, 1, Kind::Good, (false, false));
        }
        (0..120).for_each(|_| self.round(1.0, 1.0));
        self.down = None;
        self.rounds_until(1.0, |world| world.health(lane) == Health::Ok && world.sweep[1].is_some());
        self.hangs = Some(of_lane);
        (0..60).for_each(|_| self.round(1.0, 1.0));
        self.hangs = None;
    }

    /// Those whom nobody knows end with their records.
    pub(super) fn assert_strangers_end(&self) {
        let is_over = usize::try_from(self.oracle.low[0]).unwrap() >= STRANGE;
        let unknowns = self.pipeline.partitions()[0].unknowns();
        assert!(!is_over || unknowns == 0, "STUCK: {unknowns} whom nobody knows owe what the topic has dropped");
    }

    /// No vendor answers for longer than a minute; then both partitions are lost, with what their commits say, so that
    /// the lanes have nothing left to ask with.
    pub(super) fn outage(&mut self) {
        self.heal();
        self.down = Some(ALL);
        self.note(|| "no vendor answers".into());
        (0..4 * TENANTS).for_each(|count| self.append(count % TENANTS, Kind::Good));
        let (mut pauses, mut is_well) = (false, false);
        for round in 0..480 {
            self.round(1.0, 1.0);
            pauses |= self.pipeline.is_paused(0);
            // Whoever was given nothing, because memory is short, does not know.
            is_well |= round >= 200 && self.is_anybody_well();
        }
        assert!(pauses || is_well, "PAUSED: never, although nobody answers for two minutes");
        for partition in 0..PARTITIONS {
            if let Some((_, metadata)) = self.committed.get_mut(&partition) {
                metadata.clear();
            }
            self.move_on(partition);
        }
        // They pause before anything is read of them.
        self.advance(ROUND);
        self.act();
        (0..40).for_each(|_| self.round(1.0, 1.0));
    }
}
