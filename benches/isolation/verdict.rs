//! What the runs say: the tables, the JSON, and whether the promise held.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::plan::{PARTITIONS, Plan, TENANTS, TOTAL};
use crate::run::{Return, Row};
use crate::support::memory::{ACCOUNT, BESIDE};

pub(crate) const HEAD: &str = "arm    median ms     p99 ms   events  repeated   pauses  held MiB  peak MiB";

/// What the healthy tenants' 99th percentile may differ by: 5 %, or so many milliseconds.
const MAY_DIFFER_MS: f64 = 20.0;
/// What it may differ by between two runs of the same arm.
const NOISE: f64 = 0.1;

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, p99, events, repeated, pauses, held_mib, peak_mib, .. } = self;
        let arm = if self.trouble { "B" } else { "A" };
        write!(
            f,
            "{arm:<5} {median:>10.1} {p99:>10.1} {events:>8} {repeated:>9} {pauses:>8} {held_mib:>9.1} {peak_mib:>9.1}"
        )?;
        let Some(returns) = &self.returns else { return Ok(()) };
        write!(f, "\n      keys back: {}\n      flood's limit lifted: {}", returns.keys, returns.flood)
    }
}

impl fmt::Display for Return {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, delivered, reread } = self;
        let cost = self.cost();
        write!(
            f,
            "all arrived after {seconds:.1} s: {delivered} delivered, {reread} records read again, {cost:.2} for each"
        )
    }
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

/// Prints, writes, and ends with an error if the promise did not hold.
pub(crate) fn conclude(plan: &Plan, capacity: f64, rows: &[Row]) {
    let arm = |place: usize| rows.iter().skip(place).step_by(3);
    let of = |figure: fn(&Row) -> f64| [0, 1, 2].map(|place| middle(arm(place).map(figure)));
    let most = |figure: fn(&Row) -> f64| [0, 1, 2].map(|place| highest(arm(place).map(figure)));
    let p99 = of(|row| row.p99);
    let line = |name: &str, [a, b, again]: [f64; 3]| println!("| {name} | {a:.0} | {b:.0} | {again:.0} |");
    println!("\n{}\n", plan.describe(capacity));
    println!("| healthy tenants, medians of {} runs | A | B | A again |\n| --- | --- | --- | --- |", rows.len() / 3);
    line("median, ms from Kafka to accepted", of(|row| row.median));
    line("99th percentile, ms", p99);
    line("events that arrived twice, most of a run", most(|row| row.repeated as f64));
    line("partitions paused, most of a run", most(|row| row.pauses));
    line("memory of the process, MiB, most of a run", most(|row| row.peak_mib));
    println!("\n| in B, when it is over | all has arrived after | records read again for each delivered |");
    println!("| --- | --- | --- |");
    let returns: Vec<_> = rows.iter().filter_map(|row| row.returns.as_ref()).collect();
    let told = |name: &str, of: Vec<&Return>| {
        let (seconds, cost) = (middle(of.iter().map(|it| it.seconds)), middle(of.iter().map(|it| it.cost())));
        println!("| {name} | {seconds:.1} s | {cost:.2} |");
    };
    told("keys return, throttling and hanging end", returns.iter().map(|it| &it.keys).collect());
    told("the flood's limit is lifted, by a restart", returns.iter().map(|it| &it.flood).collect());

    let [a, b, again] = p99;
    let base = f64::midpoint(a, again);
    let (noise, allowed, differs) = ((a - again).abs() / base, (0.05 * base).max(MAY_DIFFER_MS), b - base);
    println!(
        "\nB's 99th percentile differs by {differs:+.0} ms (allowed: {allowed:.0} ms); A against A by {:.1} %",
        noise * 100.0
    );
    let budget = (TOTAL + BESIDE + TENANTS as u64 * ACCOUNT) as f64 / 1_048_576.0;
    write(&json!({
        "tenants": TENANTS, "partitions": PARTITIONS, "rate": plan.rate, "seconds": plan.seconds,
        "capacity": capacity, "runs": rows.iter().map(as_json).collect::<Vec<_>>(),
        "p99_ms": { "a": a, "b": b, "a_again": again, "differs": differs, "allowed": allowed, "noise": noise },
        "memory_budget_mib": budget,
    }));
    assert!(rows.iter().all(|row| row.pauses == 0.0), "partitions paused");
    assert!(rows.iter().all(|row| row.held_mib * 1_048_576.0 <= TOTAL as f64), "more was held than [memory] total");
    assert!(rows.iter().all(|row| row.peak_mib <= budget), "the process took more than {budget:.0} MiB");
    assert!(rows.iter().all(|row| row.repeated == 0), "healthy tenants' events arrived twice");
    assert!(noise < NOISE, "A against A differs by 10 % or more: the machine was too busy to measure");
    assert!(differs.abs() <= allowed, "the troubled tenants slow the healthy ones");
}

fn as_json(row: &Row) -> Value {
    let back = |it: &Return| json!({ "seconds": it.seconds, "delivered": it.delivered, "reread": it.reread });
    json!({
        "arm": if row.trouble { "B" } else { "A" }, "events": row.events, "repeated": row.repeated,
        "median_ms": row.median, "p99_ms": row.p99, "pauses": row.pauses,
        "held_mib": row.held_mib, "peak_mib": row.peak_mib,
        "keys_return": row.returns.as_ref().map(|it| back(&it.keys)),
        "flood_returns": row.returns.as_ref().map(|it| back(&it.flood)),
    })
}

/// Beside the builds, where whoever draws a table finds it.
fn write(figures: &Value) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = directory.join("isolation.json");
    std::fs::write(&path, format!("{figures:#}\n")).unwrap();
    println!("all figures: {}", path.display());
}
