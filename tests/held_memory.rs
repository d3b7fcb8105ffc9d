//! What is held is counted: what the allocator gave out beside what the pipeline says that it holds. A program of its own,
//! because an allocator is a whole program's.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::alloc::System;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use forebay::clock::Now;
use forebay::config::{self, Config, Memory};
use forebay::destination::Answer;
use forebay::keys::Keys;
use forebay::lane::Flight;
use forebay::pipeline::{Action, Parts, Pipeline};
use forebay::source::commit::Contents;
use forebay::source::record::{Headers, Record, kept};
use http::HeaderMap;
use secrecy::SecretString;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test at a time: there is one allocator.
static ALONE: Mutex<()> = Mutex::new(());

const ANSWER: &[u8] = br#"{"status":"success","message":"","successCount":0,"failCount":0,"failedUpdates":{}}"#;

fn at(seconds: u64) -> Now {
    let mono = Duration::from_secs(seconds);
    Now { mono, wall_ms: 1_795_207_260_000 + i64::try_from(mono.as_millis()).unwrap() }
}

/// Every account with these settings.
fn configuration(accounts: usize, settings: &str, memory: Memory) -> Config {
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n".to_owned();
    for index in 0..accounts {
        let vendor = "iterable = { region = \"us\", keys = [{ file = \"k\" }] }";
        writeln!(text, "[accounts.t{index}]\n{settings}\n{vendor}").unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let mut config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}")).config;
    config.memory = memory;
    config
}

fn feed(pipeline: &mut Pipeline, now: Now, (slot, offset): (u32, i64), tenant: usize, pad: &str) {
    let tenant = format!("t{tenant}");
    let value = format!(
        r#"{{"type":"track","event":"E","userId":"u{offset}","messageId":"m{offset}","properties":{{"pad":"{pad}"}}}}"#
    );
    let headers = kept([("tenant", tenant.as_bytes())]);
    let (value, headers) = (Some(value.as_bytes()), Headers::of(&headers));
    pipeline.record(now, &Record { slot, offset, timestamp_ms: Some(now.wall_ms), key: None, value, headers });
}

#[expect(clippy::vec_box, reason = "flights come and go boxed")]
fn sent(pipeline: &mut Pipeline) -> Vec<Box<Flight>> {
    let mut actions = Vec::new();
    pipeline.take_actions(&mut actions);
    let flight = |action| if let Action::Send(flight) = action { Some(flight) } else { None };
    actions.into_iter().filter_map(flight).collect()
}

fn end(mut pipeline: Pipeline, now: Now) {
    pipeline.abandon(now);
    let slots: Vec<u32> = (0..).take(pipeline.partitions().len()).collect();
    pipeline.unassign(&slots, now);
}

/// What was given out since, and what is held.
fn compare(name: &str, region: &Region<'_, System>, pipeline: &Pipeline) -> (usize, usize) {
    let stats = region.change();
    let given = stats.bytes_allocated - stats.bytes_deallocated;
    let held = pipeline.held_bytes();
    println!("{name}: {} KiB were given out, {} KiB are counted", given >> 10, held >> 10);
    (given, held)
}

#[test]
fn deferred_accounts_in_many_partitions_with_all_that_commits_can_say() {
    const ACCOUNTS: usize = 400;
    const PARTITIONS: u32 = 50;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = configuration(ACCOUNTS, "", Memory { lane: 1, total: 256 << 20 });
    let mut pipeline = Pipeline::new(Parts::of(&config, at(1), 1));
    let region = Region::new(COUNTED);
    for number in 0..PARTITIONS {
        let slot = pipeline.slot("events", i32::try_from(number).unwrap());
        let settled = (0..9_000).map(|index| 20_000 + 2 * index..20_001 + 2 * index).collect();
        pipeline.assign(slot, Contents { window: 0, settled, entries: Vec::new() });
    }
    for offset in 0..2 * ACCOUNTS {
        for slot in 0..PARTITIONS {
            feed(&mut pipeline, at(1), (slot, i64::try_from(offset).unwrap()), offset % ACCOUNTS, "");
        }
    }
    pipeline.tick(at(2));
    assert_eq!(pipeline.deferred().len(), ACCOUNTS * PARTITIONS as usize);
    let (given, held) = compare("deferred accounts", &region, &pipeline);
    assert!(given < held + held / 8 + (1 << 20), "{given} bytes were given out, {held} are counted");
    end(pipeline, at(2));
}

#[test]
fn lanes_of_tiny_batches() {
    const ACCOUNTS: usize = 4_000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config =
        configuration(ACCOUNTS, "max_calls = 1\nlinger = \"10s\"", Memory { lane: 16 << 20, total: 256 << 20 });
    let mut pipeline = Pipeline::new(Parts::of(&config, at(1), 1));
    let slot = pipeline.slot("events", 0);
    pipeline.assign(slot, Contents::default());
    let region = Region::new(COUNTED);
    for offset in 0..6 * ACCOUNTS {
        feed(&mut pipeline, at(1), (slot, i64::try_from(offset).unwrap()), offset % ACCOUNTS, "");
    }
    pipeline.tick(at(2));
    let (given, held) = compare("tiny batches", &region, &pipeline);
    assert!(given < held + held / 8 + (1 << 20), "{given} bytes were given out, {held} are counted");
    end(pipeline, at(2));
}

#[test]
fn lanes_with_one_call_that_come_after_large_batches() {
    const LARGE: usize = 16;
    const ACCOUNTS: usize = 2_000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = configuration(ACCOUNTS, "linger = \"10s\"", Memory { lane: 16 << 20, total: 256 << 20 });
    let mut pipeline = Pipeline::new(Parts::of(&config, at(1), 1));
    let slot = pipeline.slot("events", 0);
    pipeline.assign(slot, Contents::default());
    for lane in 0..u32::try_from(LARGE).unwrap() {
        let keys: Keys = vec![SecretString::from("key")].into();
        pipeline.set_keys(at(1), lane, &keys);
    }
    let region = Region::new(COUNTED);
    let (mut offset, pad, none) = (0, "x".repeat(500), HeaderMap::new());
    let mut next = |pipeline: &mut Pipeline, now, tenant, pad: &str| {
        feed(pipeline, now, (slot, offset), tenant, pad);
        offset += 1;
    };
    // Large batches go and come back, and after each of them some lanes get their only call.
    for round in 0..(ACCOUNTS - LARGE) / LARGE {
        let now = at(100 + 20 * round as u64);
        for lane in 0..LARGE {
            (0..300).for_each(|_| next(&mut pipeline, now, lane, &pad));
        }
        let later = now.later(Duration::from_secs(15));
        pipeline.tick(later);
        for flight in sent(&mut pipeline) {
            pipeline.answered(later, flight, Ok(Answer { status: 200, headers: &none, body: ANSWER }));
        }
        for lane in 0..LARGE {
            next(&mut pipeline, later, LARGE * (round + 1) + lane, "");
        }
    }
    pipeline.tick(at(100_000));
    for flight in sent(&mut pipeline) {
        pipeline.answered(at(100_000), flight, Ok(Answer { status: 200, headers: &none, body: ANSWER }));
    }
    let (given, held) = compare("calls after large batches", &region, &pipeline);
    // What is kept of ended batches' memory is 8 MiB.
    assert!(given < held + held / 8 + (9 << 20), "{given} bytes were given out, {held} are counted");
    end(pipeline, at(100_000));
}

#[test]
fn lanes_that_were_busy_once() {
    const ACCOUNTS: usize = 300;
    const USERS: i64 = 500;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let config = configuration(ACCOUNTS, "", Memory { lane: 16 << 20, total: 1 << 30 });
    let mut pipeline = Pipeline::new(Parts::of(&config, at(1), 1));
    let slot = pipeline.slot("events", 0);
    pipeline.assign(slot, Contents::default());
    let region = Region::new(COUNTED);
    let accounts = 0..u32::try_from(ACCOUNTS).unwrap();
    let keys: Keys = vec![SecretString::from("key")].into();
    let headers_of = |lane| kept([("tenant", format!("t{lane}").as_bytes())]);
    let headers: Vec<Vec<u8>> = accounts.clone().map(headers_of).collect();
    for offset in 0..USERS * i64::try_from(ACCOUNTS).unwrap() {
        let value = format!(r#"{{"type":"identify","userId":"u{offset}","messageId":"m","traits":{{"a":1}}}}"#);
        let headers = &headers[usize::try_from(offset).unwrap() % ACCOUNTS];
        let (value, headers) = (Some(value.as_bytes()), Headers::of(headers));
        pipeline.record(at(1), &Record { slot, offset, timestamp_ms: Some(0), key: None, value, headers });
    }
    let (given, held) = compare("busy lanes", &region, &pipeline);
    assert!(given < 2 * held, "an open batch may have as much again: {given} bytes were given out, {held} are counted");
    accounts.for_each(|lane| pipeline.set_keys(at(2), lane, &keys));
    let none = HeaderMap::new();
    for second in 3..200 {
        pipeline.tick(at(second));
        for flight in sent(&mut pipeline) {
            pipeline.answered(at(second), flight, Ok(Answer { status: 200, headers: &none, body: ANSWER }));
        }
    }
    let (given, held) = compare("lanes that were busy once", &region, &pipeline);
    assert_eq!(pipeline.accounts().iter().map(|account| account.lane.held_calls()).sum::<usize>(), 0);
    // A lane keeps where its requests go; of ended batches' memory 8 MiB are kept.
    assert!(given < held + (9 << 20) + ACCOUNTS * 4_096, "{given} bytes were given out, {held} are counted");
    end(pipeline, at(200));
}
