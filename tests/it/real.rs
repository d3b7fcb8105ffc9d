//! Real input: a million events of an ordinary producer, through Apache Kafka and over TLS, with a SIGKILL halfway.
//!
//! Run by `just real`, in a release build; `FOREBAY_REAL_EVENTS` is how many. Prints events a second, CPU an event, peak
//! memory and duplicates; fails if a message id is missing anywhere, if the commits are not the topic's ends, or if the
//! second process's books do not balance.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use forebay::sandbox::Tls;

use crate::support::config::{Account, ConfigText, Vendor, accounts, tenants};
use crate::support::events::{Event, Events};
use crate::support::kafka::{Compression, Kafka};
use crate::support::process::Forebay;
use crate::support::stage::{JOIN, assert_books};
use crate::support::tls::Certificates;
use crate::support::unique;
use crate::support::vendors::Vendors;

const TENANTS: usize = 50;
const PARTITIONS: i32 = 8;
/// Nobody waits longer for a million events.
const PATIENCE: Duration = Duration::from_mins(20);

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    cpu: Duration,
    peak_mb: u64,
}

/// User and system time, and the most memory that was resident.
fn usage(pid: u32) -> Usage {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Hundredths of a second: what Linux counts in for these two fields on all its usual machines.
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    Usage { cpu: Duration::from_millis(10 * (ticks(11) + ticks(12))), peak_mb: kib / 1024 }
}

/// Accounts whose limits never bind, at the vendor as here.
fn unlimited(tenants: &[String]) -> Vec<Account> {
    let mut accounts = accounts(tenants);
    for account in &mut accounts {
        let (settings, sandbox) = match account.vendor {
            Vendor::Moengage { .. } => (
                "limits.users_per_minute = 100000000\nlimits.events_per_minute = 100000000",
                "users_per_minute = 0\nevents_per_minute = 0\nfair_usage = false",
            ),
            Vendor::Iterable { .. } => (
                "limits.requests_per_second = { events = 10000, users = 10000 }",
                "requests_per_second = { \"events/trackBulk\" = 0, \"users/bulkUpdate\" = 0 }",
            ),
        };
        settings.clone_into(&mut account.settings);
        sandbox.clone_into(&mut account.sandbox);
    }
    accounts
}

/// Writes the producer's lines; the result is each event's tenant and message id.
fn write_lines(path: &std::path::Path, tenants: &[String], count: usize) -> Vec<(String, String)> {
    let mut lines = BufWriter::new(File::create(path).unwrap());
    let mut ids = Vec::with_capacity(count);
    for event in Events::new(7, tenants).users(2_000).take(count) {
        lines.write_all(event.console_line().as_bytes()).unwrap();
        let Event { tenant, message_id, .. } = event;
        ids.push((tenant, message_id));
    }
    lines.flush().unwrap();
    ids
}

/// Waits until so many calls were delivered; progress every few seconds.
fn wait_for(forebay: &mut Forebay, calls: f64, begun: Instant) {
    let mut told = Instant::now();
    while forebay.metric("forebay_calls_delivered_total", &[]).unwrap_or(0.0) < calls {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            let delivered = forebay.metric("forebay_calls_delivered_total", &[]).unwrap_or(0.0);
            println!("  {:>5.1} s: {delivered} calls delivered by this process", begun.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "a million events: run by `just real`"]
fn a_million_events_of_an_ordinary_producer_all_arrive_through_a_sigkill() {
    let count: usize = std::env::var("FOREBAY_REAL_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let directory = tempfile::tempdir().unwrap();
    let tenants = tenants(TENANTS);
    let accounts = unlimited(&tenants);
    let certificates = Certificates::write(directory.path());
    let tls = Tls::from_files(&certificates.certificate, &certificates.key).unwrap();
    let vendors = Vendors::start_for_ids(&accounts, tls);
    let (kafka, topic) = (Kafka::shared(), unique("real"));
    kafka.create_topic(&topic, PARTITIONS, &[]);

    let lines = directory.path().join("lines");
    let ids = write_lines(&lines, &tenants, count);
    println!("{count} events of {TENANTS} tenants, {} MB; Kafka's console producer writes them", file_mb(&lines));
    kafka.console_producer(&topic, Compression::Lz4, &lines);

    let delivery = format!("[delivery]\nca_file = \"{}\"\n", certificates.ca.display());
    let config = ConfigText::new(kafka, &topic, &vendors.url(), &accounts).section(&delivery);
    let setup = config.setup();
    let mut first = setup.start();
    first.wait_ready(JOIN);
    let begun = Instant::now();
    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    wait_for(&mut first, count as f64, begun);
    let (killed_after, one) = (begun.elapsed(), usage(first.pid()));
    first.sigkill();
    println!("  {:>5.1} s: SIGKILL", killed_after.as_secs_f64());

    let mut second = setup.start();
    second.wait_ready(JOIN);
    let resumed = Instant::now();
    kafka.wait_committed_to_end(&config.group(), &topic, PATIENCE);
    let two = usage(second.pid());
    let working = killed_after + resumed.elapsed();

    let missing = ids.iter().filter(|(tenant, id)| {
        ["moengage", "iterable"].iter().any(|vendor| !vendors.has_id(&format!("{tenant}-{vendor}"), id))
    });
    assert_eq!(missing.count(), 0, "message ids that did not arrive at an account");
    assert_books(&mut second);
    report(&vendors, count, working, [one, two]);
    second.sigterm();
    assert_eq!(second.wait(JOIN), Some(0));
}

fn file_mb(path: &std::path::Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len() / 1_000_000)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn report(vendors: &Vendors, count: usize, working: Duration, usage: [Usage; 2]) {
    let report = vendors.report();
    let accepted: u64 = report.accounts.values().map(|account| account.elements.values().sum::<u64>()).sum();
    let wanted = 2 * count as u64;
    let cpu = usage[0].cpu + usage[1].cpu;
    println!("\nevery message id arrived at both accounts of its tenant; commits at the ends; the books balance");
    println!("  events a second    {:.0} (two calls each)", count as f64 / working.as_secs_f64());
    println!("  CPU an event       {:.2} µs, {:.2} µs a call", micros(cpu, count as u64), micros(cpu, wanted));
    println!("  peak memory        {} and {} MB", usage[0].peak_mb, usage[1].peak_mb);
    println!("  accepted twice     {} of {wanted} calls, after a SIGKILL", accepted - wanted);
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn micros(cpu: Duration, count: u64) -> f64 {
    cpu.as_secs_f64() * 1e6 / count as f64
}
