//! An account is held for what it owes in one partition, and has nothing to do with what happens in the other.

use forebay::lane::Health;
use rand::Rng;

use super::oracle::Kind;
use super::world::{TENANTS, World};

/// Users whose records are in the first partition, and in the second.
const HERE: usize = 0;
const THERE: usize = 1;

impl World {
    /// Ledger rule 4. Begins when nothing is owed, and leaves the rest to whoever settles everything.
    pub(super) fn quiet(&mut self) {
        // Accounts that nobody knows hold up what is committed, as they must.
        if self.pipeline.partitions()[0].unknowns() > 0 {
            return;
        }
        let tenant = self.rng.random_range(0..TENANTS);
        let lane = 2 * tenant + 1;
        let of_lane = u32::try_from(lane).unwrap();
        self.note(|| format!("lane {lane} may register no devices"));
        self.no_tokens = Some(of_lane);
        self.append_of(tenant, THERE, Kind::Good, (true, true));
        self.rounds_until(1.0, |world| world.health(lane) == Health::Held);
        // It becomes full while a request for the first partition is on its way: both are deferred, with what they hold.
        self.hangs = Some(of_lane);
        self.append_of(tenant, HERE, Kind::Good, (true, false));
        self.rounds_until(1.0, |world| world.is_asked(of_lane));
        let before = self.given_back(lane);
        for _ in 0..200 {
            if self.given_back(lane) > before {
                break;
            }
            self.append_of(tenant, THERE, Kind::Good, (true, true));
            self.round(1.0, 1.0);
        }
        self.hangs = None;
        (0..20).for_each(|_| self.round(1.0, 1.0));
        let other = (tenant + 1) % TENANTS;
        let end = i64::try_from(self.log[0].len()).unwrap();
        for _ in 0..4 {
            self.append_of(other, HERE, Kind::Good, (false, false));
            (0..20).for_each(|_| self.round(1.0, 1.0));
        }
        (0..8).for_each(|_| self.commit());
        let base = self.committed.get(&0).map_or(0, |(base, _)| *base);
        let is_owed = self.oracle.lowest_owed(0).is_some_and(|lowest| lowest <= end);
        let rest = !self.pipeline.partitions()[0].is_paused() && self.health(lane) == Health::Held && !is_owed;
        assert!(!rest || base > end, "PINNED: a commit of 0@{base}, although nobody owes what is there");
        self.no_tokens = None;
    }
}
