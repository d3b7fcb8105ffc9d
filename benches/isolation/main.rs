//! Does one tenant's trouble slow another? A thousand tenants on shared partitions, the same records at the same rate,
//! with every account well (A) and with some in trouble (B): how long the healthy tenants' events take from Kafka to the
//! vendor's acceptance, in turns A B A.
//!
//! `cargo bench --bench isolation`; about twenty minutes. `FOREBAY_PAIRS` (5), `FOREBAY_SECONDS` (36) and
//! `FOREBAY_RATE` (events a second; else 30 % of what is measured first) change it. Prints the tables of the README and
//! writes all figures to `target/isolation.json`.
//!
//! Ends with an error when the healthy tenants' 99th percentile differs by more than 5 % and 20 ms; when it differs by
//! 10 % or more between the two As, because then the machine was too busy to say anything; when a partition paused,
//! memory went over its budget, an event did not arrive in the end, or a healthy tenant's arrived twice.
#![allow(dead_code, unused_imports, reason = "the tests' harness has more than this needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on has failed")]
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

mod plan;
mod run;
#[path = "../../tests/it/support/mod.rs"]
mod support;
mod verdict;

use self::plan::Plan;

/// The share of the measured capacity that is produced.
const SHARE: f64 = 0.3;

fn main() {
    // `cargo test` calls benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let capacity = run::capacity();
    let rate = number("FOREBAY_RATE").unwrap_or_else(|| rounded(capacity * SHARE));
    let plan = Plan::new(rate, number("FOREBAY_SECONDS").unwrap_or(36));
    println!("{}", plan.describe(capacity));
    println!("{}", verdict::HEAD);
    let mut rows = Vec::new();
    for _ in 0..number("FOREBAY_PAIRS").unwrap_or(5) {
        for trouble in [false, true, false] {
            let row = run::run(&plan, trouble);
            println!("{row}");
            rows.push(row);
        }
    }
    verdict::conclude(&plan, capacity, &rows);
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// To hundreds, down.
fn rounded(rate: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of some thousands")]
    let hundreds = (rate / 100.0) as u64;
    (hundreds * 100).max(100)
}
