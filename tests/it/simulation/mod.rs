//! The pure core in one thread on a virtual clock, from a seed: every fault that vendors, brokers and crashes can make,
//! and an oracle for what must hold whatever happens.
//!
//! `FOREBAY_SEEDS=N` runs that many seeds, `FOREBAY_SEED=N` one of them with its history. A failing seed prints its
//! last steps. The same seed makes the same history in every process.

mod oracle;
mod parted;
mod quiet;
mod scenes;
mod vendor;
mod world;

use std::process::Command;

use self::oracle::Totals;
use self::world::World;

#[test]
fn nothing_is_lost_and_order_is_kept_whatever_happens() {
    if let Some(seed) = number("FOREBAY_SEED") {
        World::new(seed, true).run();
        return;
    }
    let seeds = number("FOREBAY_SEEDS").unwrap_or(300);
    let totals = run(seeds);
    println!("{}", words(seeds, &totals));
    totals.assert_everything_happened();
}

/// Else a seed that failed would tell nobody anything.
#[test]
fn a_seed_makes_the_same_history_in_every_process() {
    const SEEDS: u64 = 8;
    let here = words(SEEDS, &run(SEEDS));
    let name = format!("{}::nothing_is_lost_and_order_is_kept_whatever_happens", module_path!());
    let (_, name) = name.split_once("::").unwrap();
    let mut elsewhere = Command::new(std::env::current_exe().unwrap());
    elsewhere.args([name, "--exact", "--nocapture"]).env("FOREBAY_SEEDS", SEEDS.to_string()).env_remove("FOREBAY_SEED");
    let printed = elsewhere.output().unwrap().stdout;
    let printed = String::from_utf8_lossy(&printed);
    assert!(printed.contains(&here), "here {here}, in another process\n{printed}");
}

fn run(seeds: u64) -> Totals {
    let mut totals = Totals::default();
    for seed in 0..seeds {
        totals.add(&World::new(seed, false).run());
    }
    totals
}

fn words(seeds: u64, totals: &Totals) -> String {
    format!("{seeds} seeds: {totals:?}")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
