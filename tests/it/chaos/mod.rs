//! Chaos on the real thing: Apache Kafka with three brokers, three `forebay run` in one group, both vendors, and a wire
//! in between; everything fails on a schedule made from a seed, then heals, and an oracle looks at what the vendors have.
//!
//! `FOREBAY_CHAOS_SEEDS=N` runs seeds 0 to N - 1, `FOREBAY_CHAOS_SEED=N` that one. A failing seed prints its schedule and
//! the tails of the logs. The schedule is the seed's; what it meets is the machine's, so a seed is a place to start
//! looking, not a replay.

mod oracle;
mod run;
mod schedule;
mod side_run;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crate::support::kafka::Cluster;
use oracle::Found;

/// What some seeds came to.
#[derive(Debug, Default)]
struct Figures {
    seeds: u64,
    events: u64,
    faults: BTreeMap<&'static str, u64>,
    /// Requests that the vendors' faults hit.
    hit: BTreeMap<&'static str, u64>,
    found: Found,
    /// Seconds from the last fault to commits at the ends.
    drains: Vec<f64>,
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events += other.events;
        add_all(&mut self.faults, &other.faults);
        add_all(&mut self.hit, &other.hit);
        self.found.add(&other.found);
        self.drains.extend(other.drains);
    }
}

/// Adds counts by name.
fn add_all(to: &mut BTreeMap<&'static str, u64>, from: &BTreeMap<&'static str, u64>) {
    for (name, count) in from {
        *to.entry(name).or_default() += count;
    }
}

impl Display for Figures {
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { seeds, events, faults, hit, found, drains } = self;
        let twice: u64 = found.duplicates.values().sum();
        let share = twice as f64 * 1_000.0 / found.calls.max(1) as f64;
        let longest = drains.iter().copied().fold(0.0, f64::max);
        writeln!(f, "{seeds} seeds, {events} events, {} calls accepted", found.calls)?;
        writeln!(f, "faults: {faults:?}")?;
        writeln!(f, "requests that the vendors' faults hit: {hit:?}")?;
        writeln!(f, "duplicates: {twice}, {share:.1} per 1,000 calls; by cause: {:?}", found.duplicates)?;
        writeln!(f, "older state last, by a request that left before its process froze: {}", found.stale)?;
        writeln!(f, "dead letters: {} of {} poison calls", found.letters, found.poison)?;
        write!(f, "drained after {drains:.1?} s, the longest {longest:.1} s")
    }
}

#[test]
fn nothing_is_lost_and_order_is_kept_while_everything_fails() {
    let seeds = match (number("FOREBAY_CHAOS_SEED"), number("FOREBAY_CHAOS_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(2),
    };
    let cluster = Cluster::three();
    let mut figures = Figures::default();
    for seed in seeds {
        let one = run::run(&cluster, seed);
        println!("seed {seed}: {one}\n");
        figures.add(one);
    }
    println!("=== chaos: {figures}");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
