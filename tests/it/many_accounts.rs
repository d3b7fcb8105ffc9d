//! What accounts cost that have nothing to do: memory for each, with its metrics, and time at the start.

use std::time::{Duration, Instant};

use crate::support::config::{Account, ConfigText, tenants};
use crate::support::kafka::Kafka;
use crate::support::memory::ACCOUNT;
use crate::support::process::Forebay;
use crate::support::stage::JOIN;
use crate::support::unique;

const MANY: usize = 10_000;
const FEW: usize = 100;

/// Started with so many accounts, half at each vendor, and ready; and how long that took.
fn started(count: usize) -> (Forebay, Duration) {
    let accounts: Vec<Account> = (0..)
        .zip(tenants(count))
        .map(|(index, tenant)| if index % 2 == 0 { Account::iterable(&tenant) } else { Account::moengage(&tenant) })
        .collect();
    let topic = unique("many-accounts");
    Kafka::shared().create_topic(&topic, 4, &[]);
    // Nothing is sent, so nobody has to answer.
    let setup = ConfigText::new(Kafka::shared(), &topic, "http://127.0.0.1:1", &accounts).setup();
    let begun = Instant::now();
    let mut forebay = setup.start();
    forebay.wait_ready(JOIN);
    (forebay, begun.elapsed())
}

/// The most that the process took, after scrapes of all its series and lists of all its accounts.
fn peak_after_scrapes(forebay: &mut Forebay, count: usize) -> u64 {
    for _ in 0..5 {
        let (status, text) = forebay.get("/metrics");
        let series = text.lines().filter(|line| line.starts_with("forebay_lane_held_bytes{")).count();
        assert_eq!((status, series), (200, count));
        assert_eq!(forebay.accounts().as_array().map(Vec::len), Some(count));
    }
    forebay.peak_memory()
}

#[test]
fn ten_thousand_accounts_start_in_seconds_and_take_little_memory_scrapes_included() {
    let (mut few, _) = started(FEW);
    let least = peak_after_scrapes(&mut few, FEW);
    drop(few);
    let (mut many, took) = started(MANY);
    let ready = many.peak_memory();
    let most = peak_after_scrapes(&mut many, MANY);
    let each = most.saturating_sub(least) / (MANY - FEW) as u64;
    println!(
        "{MANY} accounts were ready after {took:?}; {} MiB then, {} MiB after scrapes, {} MiB with {FEW}: {each} bytes each",
        ready >> 20,
        most >> 20,
        least >> 20,
    );
    assert!(each <= ACCOUNT, "{each} bytes an account");
}
