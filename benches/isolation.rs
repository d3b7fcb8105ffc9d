//! Does one tenant's trouble slow another? A thousand tenants on shared partitions, the same records at the same rate,
//! with every account well (A) and with some in trouble (B): how long the healthy tenants' events take from Kafka to the
//! vendor's acceptance, in turns A B A.
//!
//! `cargo bench --bench isolation`; about a quarter of an hour. `FOREBAY_PAIRS` (5), `FOREBAY_RATE` (events a second,
//! 1,500) and `FOREBAY_SECONDS` (40) change it. Ends with an error if the second A differs from the first by 10 % or more
//! in its 99th percentile: then the machine was too busy to say anything.
#![allow(dead_code, unused_imports, reason = "the tests' harness has more than this needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement that cannot go on has failed")]
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use self::support::config::{Account, Vendor};
use self::support::events::Event;
use self::support::kafka::{Kafka, Message};
use self::support::process::{Forebay, Setup};
use self::support::stage::{JOIN, Stage};

const TENANTS: usize = 1_000;
const PARTITIONS: i32 = 4;
/// The region that hangs, and for how long.
const HANGING: &str = "04";
const HANG: &str = "from = \"5s\"\nfor = \"30s\"";
/// What happens before this is the start's, not the run's.
const WARM_UP_MS: i64 = 5_000;

fn main() {
    // `cargo test` calls benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let plan = Plan::new();
    println!(
        "{TENANTS} tenants, {PARTITIONS} partitions, {} events a second for {} s; of them {} with dead keys, {} throttled, \
         1 floods, {} in a region that hangs",
        plan.rate,
        plan.seconds,
        plan.dead.len(),
        plan.throttled.len(),
        plan.hanging.len()
    );
    println!(
        "{:<5} {:>10} {:>10} {:>8} {:>8} {:>9} {:>9}",
        "arm", "median ms", "p99 ms", "paused", "held MB", "peak MB", "events"
    );
    let mut rows = Vec::new();
    for _ in 0..number("FOREBAY_PAIRS", 5) {
        for trouble in [false, true, false] {
            let row = run(&plan, trouble);
            println!(
                "{:<5} {:>10.1} {:>10.1} {:>8} {:>8.1} {:>9} {:>9}",
                if trouble { "B" } else { "A" },
                row.median,
                row.p99,
                row.paused,
                row.held_mb,
                row.peak_mb,
                row.events
            );
            if let Some(caught_up) = &row.caught_up {
                println!("      {caught_up}");
            }
            rows.push(row);
        }
    }
    conclude(&rows);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Who is in trouble, and what is produced: the same in every run.
struct Plan {
    rate: u64,
    seconds: u64,
    accounts: Vec<Account>,
    /// Tenants in the order of production.
    records: Vec<u16>,
    dead: HashSet<usize>,
    throttled: HashSet<usize>,
    hanging: HashSet<usize>,
    flood: usize,
    flood_a_minute: u64,
}

impl Plan {
    fn new() -> Self {
        let (rate, seconds) = (number("FOREBAY_RATE", 1_500), number("FOREBAY_SECONDS", 40));
        let mut rng = SmallRng::seed_from_u64(1);
        let weights: Vec<f64> = (1..=TENANTS).map(|rank| 1.0 / rank as f64).collect();
        let total: f64 = weights.iter().sum();
        let draw = |rng: &mut SmallRng| {
            let mut at = rng.random::<f64>() * total;
            let found = weights.iter().position(|weight| {
                at -= weight;
                at < 0.0
            });
            u16::try_from(found.unwrap_or(TENANTS - 1)).unwrap()
        };
        let records: Vec<u16> = (0..rate * seconds).map(|_| draw(&mut rng)).collect();
        let flood = 0;
        let floods = records.iter().filter(|tenant| usize::from(**tenant) == flood).count() as u64;
        let every = |first: usize| (first..TENANTS).step_by(100).collect::<HashSet<usize>>();
        Self {
            rate,
            seconds,
            accounts: (0..TENANTS).map(account).collect(),
            records,
            dead: every(9),
            throttled: every(17),
            hanging: (0..TENANTS).filter(|tenant| center(*tenant) == Some(HANGING)).collect(),
            flood,
            flood_a_minute: (floods * 60 / seconds / 20).max(60),
        }
    }

    fn is_healthy(&self, tenant: usize) -> bool {
        tenant != self.flood && ![&self.dead, &self.throttled, &self.hanging].iter().any(|some| some.contains(&tenant))
    }

    fn stage(&self, trouble: bool) -> Stage<'static> {
        let mut accounts = self.accounts.clone();
        if trouble {
            let limit = self.flood_a_minute;
            accounts[self.flood].settings =
                format!("limits.users_per_minute = {limit}\nlimits.events_per_minute = {limit}");
        }
        Stage::with(Kafka::shared(), "isolation", PARTITIONS, &accounts)
    }

    fn faults(&self) -> String {
        let fault =
            |tenant: usize, lines: &str| format!("[[fault]]\naccount = \"{}\"\n{lines}\n", account(tenant).name);
        let throttled = self.throttled.iter().map(|tenant| fault(*tenant, "kind = \"throttle\"\nshare = 0.9"));
        let hang = format!("kind = \"hang\"\n{HANG}");
        throttled.chain(self.hanging.iter().map(|tenant| fault(*tenant, &hang))).collect()
    }
}

/// The data centre of a tenant at `MoEngage`; the others are at Iterable. One in twenty is where it hangs.
fn center(tenant: usize) -> Option<&'static str> {
    match tenant % 20 {
        3 => Some(HANGING),
        rest if rest % 2 == 0 => Some(["01", "02", "03"][tenant / 2 % 3]),
        _ => None,
    }
}

fn account(tenant: usize) -> Account {
    let name = format!("t{tenant:04}");
    match center(tenant) {
        Some(data_center) => Account::new(&name, Vendor::Moengage { data_center, workspace: format!("WS{tenant}") }),
        None => Account::iterable(&name),
    }
}

#[derive(Clone, Debug, Default)]
struct Row {
    trouble: bool,
    median: f64,
    p99: f64,
    paused: f64,
    held_mb: f64,
    peak_mb: u64,
    events: usize,
    caught_up: Option<String>,
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn run(plan: &Plan, trouble: bool) -> Row {
    let stage = plan.stage(trouble);
    let setup = stage.config.setup();
    if trouble {
        for &tenant in &plan.dead {
            stage.vendors.revoke(&plan.accounts[tenant].name);
        }
    }
    let mut forebay = setup.start();
    forebay.wait_ready(JOIN);
    if trouble {
        stage.vendors.set_faults(&plan.faults());
    }
    let (mut paused, mut held) = (0.0_f64, 0.0_f64);
    let sent = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&stage, plan));
        while !producer.is_finished() {
            std::thread::sleep(Duration::from_secs(1));
            paused = paused.max(forebay.metric("forebay_consumer_paused_partitions", &[]).unwrap_or(0.0));
            held = held.max(forebay.metric("forebay_memory_held_bytes", &[]).unwrap_or(0.0));
        }
        producer.join().unwrap()
    });
    let healthy = sent.iter().filter(|(id, _)| plan.is_healthy(tenant_of(id))).count();
    let accepted = wait_accepted(&stage, &sent, |id| plan.is_healthy(tenant_of(id)));
    let begin = *sent.values().min().unwrap() + WARM_UP_MS;
    let taken = accepted.iter().filter(|(id, _)| plan.is_healthy(tenant_of(id)) && sent[*id] >= begin);
    let mut times: Vec<f64> = taken.map(|(id, at)| (at - sent[id]) as f64).collect();
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    let mut row =
        Row { trouble, median: at(50), p99: at(99), paused, held_mb: held / 1e6, events: healthy, ..Row::default() };
    if trouble {
        row.caught_up = Some(catch_up(plan, &stage, &setup, &mut forebay, &sent));
    }
    row.peak_mb = peak_mb(forebay.pid());
    row
}

/// The keys come back: how long everything that waited takes, the flood apart.
fn catch_up(
    plan: &Plan,
    stage: &Stage<'_>,
    setup: &Setup,
    forebay: &mut Forebay,
    sent: &HashMap<String, i64>,
) -> String {
    let begun = Instant::now();
    let delivered = |forebay: &mut Forebay| forebay.metric("forebay_calls_delivered_total", &[]).unwrap_or(0.0);
    let (before, reread) = (delivered(forebay), forebay.metric("forebay_events_reread_total", &[]).unwrap_or(0.0));
    stage.vendors.set_faults("");
    for &tenant in &plan.dead {
        stage.vendors.set_key(&plan.accounts[tenant].name, "the-new-key-0123456789");
        setup.write(&plan.accounts[tenant].key_file(), "the-new-key-0123456789");
    }
    wait_accepted(stage, sent, |id| tenant_of(id) != plan.flood);
    let took = begun.elapsed().as_secs_f64();
    let reread = forebay.metric("forebay_events_reread_total", &[]).unwrap_or(0.0) - reread;
    let events = delivered(forebay) - before;
    format!(
        "all but the flood's caught up {took:.1} s after the keys came back: {events} delivered, {reread} records read again meanwhile"
    )
}

fn tenant_of(id: &str) -> usize {
    id[1..5].parse().unwrap()
}

/// Produces at the rate; when each was sent.
fn produce(stage: &Stage<'_>, plan: &Plan) -> HashMap<String, i64> {
    let mut sent = HashMap::with_capacity(plan.records.len());
    let begun = Instant::now();
    let gap = Duration::from_secs(1) / u32::try_from(plan.rate).unwrap();
    let messages = (0_u32..).zip(&plan.records).map(|(index, tenant)| {
        let due = begun + gap * index;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let tenant = format!("t{tenant:04}");
        let id = format!("{tenant}-{index}");
        let event =
            Event::track(&tenant, &format!("{tenant}-u{}", index % 997), &id, "seen once more, as often before");
        let at = now_ms();
        sent.insert(id, at);
        Message { timestamp: Some(at), ..event.message() }
    });
    stage.kafka.produce(&stage.topic, messages);
    sent
}

/// Waits until the vendors took all that is wanted; when each was taken first.
fn wait_accepted(
    stage: &Stage<'_>,
    sent: &HashMap<String, i64>,
    wanted: impl Fn(&str) -> bool,
) -> HashMap<String, i64> {
    let deadline = Instant::now() + Duration::from_mins(5);
    loop {
        let mut first = HashMap::new();
        for accepted in stage.vendors.accepted() {
            if let Some(id) = support::vendors::message_id(&accepted.element) {
                first.entry(id).or_insert(accepted.at_ms);
            }
        }
        let missing: Vec<&String> = sent.keys().filter(|id| wanted(id) && !first.contains_key(*id)).collect();
        if missing.is_empty() {
            return first;
        }
        assert!(Instant::now() < deadline, "{} events never arrived, {:?} among them", missing.len(), missing[0]);
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn peak_mb(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn conclude(rows: &[Row]) {
    let of = |place: usize, figure: fn(&Row) -> f64| middle(rows.iter().skip(place).step_by(3).map(figure).collect());
    let median = |row: &Row| row.median;
    let p99 = |row: &Row| row.p99;
    println!("\n| healthy tenants, ms from Kafka to accepted | A | B | A again |\n| --- | --- | --- | --- |");
    println!("| median | {:.0} | {:.0} | {:.0} |", of(0, median), of(1, median), of(2, median));
    println!("| p99 | {:.0} | {:.0} | {:.0} |", of(0, p99), of(1, p99), of(2, p99));
    let (a, b, again) = (of(0, p99), of(1, p99), of(2, p99));
    let base = f64::midpoint(a, again);
    let noise = (a - again).abs() / base;
    let allowed = (0.05 * base).max(20.0);
    println!(
        "\nB's p99 differs by {:+.0} ms (allowed: {allowed:.0} ms); A against A by {:.1} %",
        b - base,
        noise * 100.0
    );
    assert!(noise < 0.1, "A against A differs by 10 % or more: the machine was too busy to measure");
    assert!((b - base).abs() <= allowed, "the troubled tenants slow the healthy ones");
    assert!(rows.iter().all(|row| row.paused == 0.0), "partitions paused");
}
