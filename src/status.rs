//! What the probes ask: whether the loops turn, whether we are in the group, whether we are about to end.
//!
//! Written by the threads that know, read by the admin thread; says nothing of vendors, lag or single tenants, because
//! none of them is healed by a restart.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A poll thread that has not turned for so long is stuck.
const STUCK: Duration = Duration::from_secs(30);

/// The process's state, for probes.
#[derive(Debug)]
pub struct Status {
    started: Instant,
    /// Milliseconds after `started` at which the poll thread last turned.
    last_turn: AtomicU64,
    scouted: AtomicBool,
    brokers: AtomicBool,
    topics: AtomicBool,
    joined: AtomicBool,
    draining: AtomicBool,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            last_turn: AtomicU64::new(0),
            scouted: AtomicBool::new(false),
            brokers: AtomicBool::new(false),
            topics: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }
}

/// One line of a probe's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is well.
    pub ok: bool,
}

impl Status {
    /// The poll thread turned.
    pub fn tick(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_turn.store(now, Ordering::Relaxed);
    }

    /// Whether brokers answer, and all topics are there.
    pub fn presence(&self, brokers: bool, topics: bool) {
        self.brokers.store(brokers, Ordering::Relaxed);
        self.topics.store(topics, Ordering::Relaxed);
        self.scouted.store(true, Ordering::Relaxed);
    }

    /// The group has us, with or without partitions.
    pub fn joined(&self) {
        self.joined.store(true, Ordering::Relaxed);
    }

    /// The process is about to end.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Liveness: every loop turns.
    #[must_use]
    pub fn live(&self) -> Vec<Check> {
        let last = Duration::from_millis(self.last_turn.load(Ordering::Relaxed));
        vec![Check { name: "poll_thread", ok: self.started.elapsed().saturating_sub(last) < STUCK }]
    }

    /// Readiness: in the group, and not about to end.
    #[must_use]
    pub fn ready(&self) -> Vec<Check> {
        let load = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        vec![
            Check { name: "brokers", ok: load(&self.brokers) },
            Check { name: "topics", ok: load(&self.topics) },
            Check { name: "group", ok: load(&self.joined) },
            Check { name: "not_draining", ok: !load(&self.draining) },
        ]
    }

    /// Start-up: brokers were asked once, whatever came of it.
    #[must_use]
    pub fn started(&self) -> Vec<Check> {
        vec![Check { name: "brokers_asked", ok: self.scouted.load(Ordering::Relaxed) }]
    }
}
