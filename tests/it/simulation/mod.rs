//! The pure core in one thread on a virtual clock, from a seed: every fault that vendors, brokers and crashes can make,
//! and an oracle for what must hold whatever happens.
//!
//! `FOREBAY_SEEDS=N` runs that many seeds, `FOREBAY_SEED=N` one of them with its history. A failing seed prints its
//! last steps. The same seed makes the same faults; how users fall into shards, and with it the history, differs from process
//! to process, because user hashes are seeded anew in each.

mod oracle;
mod parted;
mod scenes;
mod vendor;
mod world;

use self::world::World;

#[test]
fn nothing_is_lost_and_order_is_kept_whatever_happens() {
    if let Some(seed) = number("FOREBAY_SEED") {
        World::new(seed, true).run();
        return;
    }
    let seeds = number("FOREBAY_SEEDS").unwrap_or(300);
    let mut totals = oracle::Totals::default();
    for seed in 0..seeds {
        totals.add(&World::new(seed, false).run());
    }
    println!("{seeds} seeds: {totals:?}");
    totals.assert_everything_happened();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
