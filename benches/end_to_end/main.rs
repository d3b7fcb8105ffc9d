//! What an event costs from Kafka to the vendor's acceptance, as a ratio to what reading Kafka costs at all.
//!
//! `cargo bench --bench end_to_end [-- ROW ..]`; what the rows mean and how to compare two commits is in
//! `benches/README.md`.
#![allow(dead_code, unused_imports, reason = "the tests' harness has more than this needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on has failed")]
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

mod contender;
#[path = "../core/mod.rs"]
mod core;
mod floor;
mod probes;
mod report;
mod rows;
mod sink;
mod stats;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod topic;
mod usage;

use std::process::Command;

use serde::{Deserialize, Serialize};

use self::contender::Sinks;
use self::core::allocations;
use self::core::counting::Counting;
use self::probes::{Latency, Start};
use self::report::{Record, Result, Round};
use self::rows::{PROBES, ROWS, Row};
use self::sink::Sink;
use self::support::tls::Certificates;
use self::topic::Topics;

/// Counting costs the floor a thread-local addition an event, a nanosecond in seven hundred; Forebay's process has its own.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one run of one process came to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Measured {
    /// Records read.
    pub(crate) events: u64,
    /// User and system time between the first event and the last.
    pub(crate) cpu_ns: u64,
    pub(crate) wall_ns: u64,
    /// Elements that were accepted.
    pub(crate) calls: u64,
    pub(crate) requests: u64,
    /// Of all requests' bodies.
    pub(crate) bytes: u64,
    pub(crate) peak_kib: u64,
}

impl Measured {
    /// CPU time an event, in microseconds.
    pub(crate) fn micros(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.events as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.events as f64 * 1e9 / self.wall_ns as f64
    }
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--as") {
        let role = arguments.drain(..2).nth(1).unwrap_or_default();
        return match role.as_str() {
            floor::ROLE => floor::run(&arguments),
            sink::ROLE => sink::run(&arguments),
            other => panic!("{other} is none of this binary's roles"),
        };
    }
    // `cargo test` calls benches too.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let options = ["--bench", "--record", "--list"];
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let (record, list) = (has("--record"), has("--list"));
    let all = || ROWS.iter().map(|row| (row.name, row.what)).chain(PROBES);
    if list {
        all().for_each(|(name, what)| println!("{name:<16} {what}"));
        return;
    }
    arguments.retain(|argument| !options.contains(&argument.as_str()));
    let unknown = arguments.iter().find(|name| all().all(|(known, _)| known != **name));
    assert!(unknown.is_none(), "{unknown:?} is no row; --list names them");
    let result = run(&|name| arguments.is_empty() || arguments.iter().any(|wanted| wanted == name));
    result.print();
    if let Some(last) = report::last() {
        result.compare(&last);
    }
    if record {
        result.write();
    }
}

fn run(is_wanted: &dyn Fn(&str) -> bool) -> Record {
    let (pairs, events) = (number("FOREBAY_PAIRS", 9), number("FOREBAY_BENCH_EVENTS", 2_000_000));
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::write(directory.path());
    let mut sinks = Sinks { plain: Sink::start(None), tls: Sink::start(Some(&certificates)), certificates };
    let mut topics = Topics::new(events);
    let rows = ROWS.iter().filter(|row| is_wanted(row.name));
    let rows = rows.map(|row| measure(row, pairs, &mut topics, &mut sinks)).collect();
    let latency = is_wanted("latency").then(|| Latency::measure(pairs.min(3), &mut topics, &mut sinks));
    let start = is_wanted("start").then(|| Start::measure(pairs.min(5), &mut topics, &mut sinks));
    Record {
        date: format!("{:.0}", jiff::Timestamp::now()),
        commit: commit(),
        machine: machine(),
        rows,
        latency,
        start,
        allocations: allocations::count(200_000),
    }
}

/// The floor and Forebay in turns, so many pairs; up to twice as many where a ratio with a goal is not sure by then.
fn measure(row: &Row, pairs: u64, topics: &mut Topics, sinks: &mut Sinks) -> Result {
    let topic = topics.get(row.arm.load);
    let base = row.base.map(|base| (base, topics.get(base.load)));
    let against_itself = row.base == Some(row.arm);
    let mut result =
        Result { name: row.name.to_owned(), what: row.what.to_owned(), against_itself, rounds: Vec::new() };
    for pair in 1..=2 * pairs {
        if pair > pairs && result.is_sure(row.goal) {
            break;
        }
        let floor = floor::measure(&topic);
        let forebay = row.arm.measure(&topic, sinks);
        let base = base.as_ref().map(|(arm, topic)| arm.measure(topic, sinks));
        eprintln!(
            "{} {pair}/{pairs}: floor {:.3} µs, Forebay {:.3} µs, base {:.3} µs; {:.0} events a second",
            row.name,
            floor.micros(),
            forebay.micros(),
            base.map_or(0.0, |base| base.micros()),
            forebay.per_second()
        );
        result.rounds.push(Round { floor, forebay, base });
    }
    result
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What is checked out, short; `+` if there are changes on top of it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=9", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|lines| !lines.is_empty());
    if changed { format!("{commit}+") } else { commit }
}

/// Processors and how many.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{processors} × {}", model.trim_start_matches(['\t', ' ', ':']))
}
