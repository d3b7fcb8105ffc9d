//! What a lane counts: its calls by how they ended, and its requests.

use crate::outcome::{Reason, Release, Skip};

/// Calls by how they ended.
#[derive(Clone, Debug)]
pub struct Books {
    /// Calls that entered.
    pub owed: u64,
    /// Taken by the vendor.
    pub delivered: u64,
    /// On the dead-letter topic, by [`Reason`].
    pub dead_lettered: [u64; Reason::ALL.len()],
    /// Left out, by [`Skip`].
    pub skipped: [u64; Skip::ALL.len()],
    /// Given back, by [`Release`].
    pub released: [u64; Release::ALL.len()],
}

impl Default for Books {
    fn default() -> Self {
        Self {
            owed: 0,
            delivered: 0,
            dead_lettered: [0; Reason::ALL.len()],
            skipped: [0; Skip::ALL.len()],
            released: [0; Release::ALL.len()],
        }
    }
}

impl Books {
    /// Counts what another lane of the same account has counted, too.
    pub fn add(&mut self, other: &Self) {
        self.owed += other.owed;
        self.delivered += other.delivered;
        let sum =
            |counts: &mut [u64], more: &[u64]| counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        sum(&mut self.dead_lettered, &other.dead_lettered);
        sum(&mut self.skipped, &other.skipped);
        sum(&mut self.released, &other.released);
    }

    /// All calls that ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        let sum = |counts: &[u64]| counts.iter().sum::<u64>();
        self.delivered + sum(&self.dead_lettered) + sum(&self.skipped) + sum(&self.released)
    }
}

/// Requests by how they ended, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requests {
    /// All calls taken.
    pub ok: u64,
    /// Some calls taken, or none but for their own fault.
    pub partial: u64,
    /// 429.
    pub throttled: u64,
    /// Held: credentials, suspension, redirect.
    pub held: u64,
    /// The vendor's trouble.
    pub server_error: u64,
    /// No answer.
    pub transport: u64,
}

impl Requests {
    /// Counts what another lane of the same account has counted, too.
    pub fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.partial += other.partial;
        self.throttled += other.throttled;
        self.held += other.held;
        self.server_error += other.server_error;
        self.transport += other.transport;
    }
}
