//! The calls of one record are parted: memory is short while a vendor fails, so that what waits behind a request is given
//! back and the request is not. Then the vendor is well again, if slow, and somebody could take the account on too soon.

use forebay::lane::Health;
use forebay::outcome::Release;
use rand::Rng;

use super::oracle::Kind;
use super::scenes::USERS;
use super::vendor::Mood;
use super::world::{TENANTS, World};

/// The most rounds that anything here takes.
const PATIENCE: usize = 400;

impl World {
    /// Ledger rule 3. Begins when nothing is owed, and leaves the rest to whoever settles everything.
    pub(super) fn part(&mut self) {
        let tenant = self.rng.random_range(0..TENANTS);
        let lane = 2 * tenant + 1;
        let of_lane = u32::try_from(lane).unwrap();
        self.note(|| format!("records of lane {lane} are parted"));
        self.down = Some(of_lane);
        self.append_devices(tenant);
        self.rounds_until(1.0, |world| world.health(lane) == Health::Failing);
        let before = self.given_back(lane);
        self.fill_with_letters();
        self.rounds_until(0.0, |world| world.given_back(lane) > before);
        let stays = self.pipeline.accounts()[lane].lane.held_calls() > 0;
        self.oracle.totals.parted += if stays { self.given_back(lane) - before } else { 0 };
        while !self.letters.is_empty() {
            self.acknowledge();
        }
        self.down = None;
        // The first answer ends the trouble, and settles only a part of what was asked.
        let partly = [(Mood::Status(413), "413"), (Mood::Partial, "partial")];
        let (mood, name) = partly[self.rng.random_range(0..partly.len())];
        self.whim = Some((of_lane, mood, name));
        self.rounds_until(1.0, |world| world.whim.is_none());
        self.whim = None;
        self.hangs = Some(of_lane);
        (0..self.rng.random_range(0..8)).for_each(|_| self.round(1.0, 1.0));
        for _ in 0..self.rng.random_range(1..12) {
            let (user, has_device) = (self.rng.random_range(0..USERS), self.rng.random_bool(0.5));
            self.append_of(tenant, user, Kind::Good, (true, has_device));
            self.round(1.0, 1.0);
        }
        self.hangs = None;
        for _ in 0..self.rng.random_range(0..20) {
            self.round(1.0, 1.0);
            self.commit();
        }
    }

    /// At Iterable each becomes two calls, the second behind the first; of one user a second record is behind both.
    fn append_devices(&mut self, tenant: usize) {
        let most = self.rng.random_range(0..=USERS);
        let twice = if self.rng.random_bool(0.5) { 0.0 } else { 0.4 };
        for user in 0..USERS.min(most + 2) {
            for _ in 0..=u32::from(self.rng.random_bool(twice)) {
                self.append_of(tenant, user, Kind::Good, (true, true));
            }
        }
    }

    /// Dead letters that nobody acknowledges take up the memory.
    fn fill_with_letters(&mut self) {
        let total = usize::try_from(self.config.memory.total).unwrap();
        for _ in 0..PATIENCE {
            if self.pipeline.held_bytes() > total / 4 * 3 {
                return;
            }
            self.append_junk(total / 16);
            self.read();
        }
    }

    pub(super) fn rounds_until(&mut self, answers: f64, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..PATIENCE {
            if is_so(self) {
                return;
            }
            self.round(answers, answers);
        }
    }

    pub(super) fn health(&self, lane: usize) -> Health {
        self.pipeline.accounts()[lane].lane.health(self.now.mono)
    }

    /// The calls that a lane has given back to be read again.
    pub(super) fn given_back(&self, lane: usize) -> u64 {
        self.pipeline.accounts()[lane].lane.books.released[Release::Deferred as usize]
    }
}
