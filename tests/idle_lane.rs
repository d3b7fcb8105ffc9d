//! What a lane costs that has nothing to do: counted by the allocator, for ten thousand accounts, and with what names
//! their series. A program of its own, because an allocator is a whole program's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::alloc::System;
use std::fmt::Write as _;
use std::time::Duration;

use forebay::clock::Now;
use forebay::config::{self, Config};
use forebay::dead_letter::Names;
use forebay::keys::Keys;
use forebay::pipeline::{Parts, Pipeline};
use secrecy::SecretString;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ACCOUNTS: usize = 10_000;
/// What an idle lane may cost, with its series.
const MOST: usize = 4 << 10;

/// Half at each vendor, with names, hosts and keys as long as real ones.
fn configuration() -> Config {
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ngroup = \"g\"\ntopics = [\"events\"]\n".to_owned();
    for index in 0..ACCOUNTS {
        let name = format!("tenant-{index:05}-{}", if index % 2 == 0 { "engage" } else { "mail" });
        let vendor = if index % 2 == 0 {
            format!("[accounts.{name}.moengage]\nworkspace = \"WORKSPACE{index}\"\ndata_center = \"02\"")
        } else {
            format!("[accounts.{name}.iterable]\nregion = \"eu\"")
        };
        writeln!(text, "{vendor}\nkeys = [{{ file = \"secrets/{name}\" }}]").unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    config::load(&path).unwrap_or_else(|problems| panic!("{problems}")).config
}

#[test]
fn an_idle_lane_costs_at_most_4_kib_with_its_series() {
    let config = configuration();
    let now = Now { mono: Duration::from_secs(100), wall_ms: 1_795_207_260_000 };
    let region = Region::new(COUNTED);
    let mut pipeline = Pipeline::new(Parts::of(&config, now, 1));
    for lane in 0..ACCOUNTS {
        let keys: Keys = vec![SecretString::from("a-key-of-32-letters-0123456789ab")].into();
        pipeline.set_keys(now, u32::try_from(lane).unwrap(), &keys);
    }
    // What its series are called; they cost nothing else between two scrapes.
    let names: Vec<Names> = config
        .accounts
        .iter()
        .map(|account| Names {
            tenant: account.tenant.clone(),
            account: account.name.clone(),
            destination: account.destination(),
        })
        .collect();
    let stats = region.change();
    let each = (stats.bytes_allocated - stats.bytes_deallocated) / ACCOUNTS;
    println!("{each} bytes for each of {} idle lanes", names.len().min(pipeline.accounts().len()));
    assert!(each > 1_000, "they are counted");
    assert!(each <= MOST, "{each} bytes");
}
