//! What an event costs from Kafka to the vendor's acceptance, as a ratio to what reading Kafka costs at all.
//!
//! `cargo bench --bench end_to_end [-- ROW ..]`; what the rows mean and how to compare two commits is in
//! `benches/README.md`.
#![allow(dead_code, unused_imports, reason = "the tests' harness has more than this needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on has failed")]
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

mod contender;
mod event;
mod floor;
mod report;
mod rows;
mod sink;
mod stats;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod topic;
mod usage;

use serde::{Deserialize, Serialize};

use self::contender::Sinks;
use self::report::{Result, Round};
use self::rows::{ROWS, Row};
use self::sink::Sink;
use self::support::tls::Certificates;
use self::topic::Topics;

/// What one run of one process came to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Measured {
    /// Records read.
    pub(crate) events: u64,
    /// User and system time between the first event and the last.
    pub(crate) cpu_ns: u64,
    pub(crate) wall_ns: u64,
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
    arguments.retain(|argument| argument != "--bench");
    let chosen: Vec<&Row> =
        ROWS.iter().filter(|row| arguments.is_empty() || arguments.iter().any(|name| name == row.name)).collect();
    let unknown = arguments.iter().find(|name| ROWS.iter().all(|row| row.name != **name));
    assert!(
        unknown.is_none(),
        "{unknown:?} is no row; there are {:?}",
        ROWS.iter().map(|row| row.name).collect::<Vec<_>>()
    );
    let (pairs, events) = (number("FOREBAY_PAIRS", 9), number("FOREBAY_BENCH_EVENTS", 2_000_000));
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::write(directory.path());
    let mut sinks = Sinks { plain: Sink::start(None), tls: Sink::start(Some(&certificates)), certificates };
    let mut topics = Topics::new(events);
    let results: Vec<Result> = chosen.iter().map(|row| measure(row, pairs, &mut topics, &mut sinks)).collect();
    report::print(&results);
}

/// The floor and Forebay in turns.
fn measure(row: &Row, pairs: u64, topics: &mut Topics, sinks: &mut Sinks) -> Result {
    let topic = topics.get(row.arm.load);
    let base = row.base.map(|base| (base, topics.get(base.load)));
    let mut rounds = Vec::new();
    for pair in 0..pairs {
        let floor = floor::measure(&topic);
        let forebay = row.arm.measure(&topic, sinks);
        let base = base.as_ref().map(|(arm, topic)| arm.measure(topic, sinks));
        eprintln!(
            "{} {}/{pairs}: floor {:.3} µs, Forebay {:.3} µs, base {:.3} µs; {:.0} events a second",
            row.name,
            pair + 1,
            floor.micros(),
            forebay.micros(),
            base.map_or(0.0, |base| base.micros()),
            forebay.per_second()
        );
        rounds.push(Round { floor, forebay, base });
    }
    Result { name: row.name.to_owned(), what: row.what.to_owned(), rounds }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
