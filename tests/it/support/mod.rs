//! What the tests need around Forebay: Kafka, processes, certificates, proxies, events.
//!
//! Everything here blocks and is called from plain `#[test]` functions. Nothing sleeps blindly: what has to become true
//! is polled with a deadline ([`eventually`]), and a missed deadline says what was awaited. Failures panic.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a harness that cannot go on has failed the test")]

pub(crate) mod config;
pub(crate) mod events;
pub(crate) mod kafka;
pub(crate) mod memory;
pub(crate) mod metrics;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod stage;
pub(crate) mod tls;
pub(crate) mod vendors;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a condition is looked at again.
const POLL: Duration = Duration::from_millis(20);

/// Polls until `probe` gives a value; `Err` is what it saw instead, and the last of these is in the panic's text.
pub(crate) fn eventually<T>(timeout: Duration, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + timeout;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= deadline => panic!("{what}: not within {timeout:?}; last seen: {seen}"),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// A name that no other test, and no other run against the same cluster, has.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{name}-{:x}-{millis:x}-{count}", std::process::id())
}

/// The end of a text, from a line's beginning, for messages.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
