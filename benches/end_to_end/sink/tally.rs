//! What the sink has counted since it was told to watch.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::super::stats::percentile;
use super::super::topic::Count;
use super::super::usage;
use super::Watch;

/// How often the watched process's CPU time is noted until it sends.
const NOTE: Duration = Duration::from_millis(10);

/// What a watch has come to.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Seen {
    pub(crate) elements: u64,
    pub(crate) sum: u64,
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    /// Of the watched process, from before the first request was gathered to the last one's answer.
    pub(crate) cpu_ns: u64,
    /// From the first request to the last one's answer.
    pub(crate) wall_ns: u64,
    /// When the first request came, in microseconds since the epoch.
    pub(crate) first_us: u64,
    /// From produced to answered, in microseconds: median and 99th percentile.
    pub(crate) latency_us: [u32; 2],
    /// From a request's first byte to its answer, the same.
    pub(crate) own_us: [u32; 2],
}

impl Seen {
    pub(crate) fn count(&self) -> Count {
        Count { elements: self.elements, sum: self.sum }
    }
}

/// One request that was answered.
pub(super) struct Request<'a> {
    /// When its first byte came.
    pub(super) began: Instant,
    pub(super) bytes: usize,
    pub(super) seqs: &'a [u64],
}

struct Watching {
    watch: Watch,
    seen: Seen,
    /// CPU time of the process until it sends.
    notes: Vec<(Instant, u64)>,
    first: Option<Instant>,
    latencies: Vec<u32>,
    own: Vec<u32>,
}

static WATCHING: Mutex<Option<Watching>> = Mutex::new(None);

fn with<T>(work: impl FnOnce(&mut Option<Watching>) -> T) -> T {
    work(&mut WATCHING.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Forgets everything and begins.
pub(super) fn begin(watch: Watch) {
    let pid = watch.pid;
    with(|watching| {
        *watching = Some(Watching {
            watch,
            seen: Seen::default(),
            notes: Vec::new(),
            first: None,
            latencies: Vec::new(),
            own: Vec::new(),
        });
    });
    thread::spawn(move || {
        let note = |watching: &mut Option<Watching>| {
            let waits = watching.as_mut().filter(|watching| watching.first.is_none() && watching.watch.pid == pid);
            waits.map(|watching| watching.notes.push((Instant::now(), usage::cpu_ns(pid).unwrap_or(0))))
        };
        while with(note).is_some() {
            thread::sleep(NOTE);
        }
    });
}

/// A request was read.
pub(super) fn came() {
    with(|watching| {
        if let Some(watching) = watching.as_mut().filter(|watching| watching.first.is_none()) {
            watching.first = Some(Instant::now());
            watching.seen.first_us = now_us();
        }
    });
}

/// A request was answered. Ends the watch if it was the last.
pub(super) fn answered(request: &Request<'_>) {
    with(|watching| {
        let Some(counting) = watching else { return };
        counting.count(request);
        if counting.seen.elements >= counting.watch.elements {
            watching.take().into_iter().for_each(Watching::tell);
        }
    });
}

/// Ends the watch as it stands.
pub(super) fn end() {
    with(|watching| watching.take().into_iter().for_each(Watching::tell));
}

impl Watching {
    fn count(&mut self, request: &Request<'_>) {
        self.seen.elements += request.seqs.len() as u64;
        self.seen.sum = request.seqs.iter().fold(self.seen.sum, |sum, seq| sum.wrapping_add(*seq));
        self.seen.requests += 1;
        self.seen.bytes += request.bytes as u64;
        if self.watch.timed {
            let now = now_us();
            let late = |seq: &u64| u32::try_from(now.saturating_sub(*seq)).unwrap_or(u32::MAX);
            self.latencies.extend(request.seqs.iter().map(late));
            self.own.push(u32::try_from(request.began.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }

    fn tell(mut self) {
        let cpu = usage::cpu_ns(self.watch.pid).unwrap_or(0);
        if let Some(first) = self.first {
            self.seen.wall_ns = u64::try_from(first.elapsed().as_nanos()).unwrap_or(u64::MAX);
            // What was read for the first request counts, so the watch begins before that was gathered.
            let gathered = Duration::from_millis(self.watch.linger_ms) + NOTE;
            let before = self.notes.iter().rev().find(|(at, _)| first.duration_since(*at) >= gathered);
            let begun = before.or(self.notes.first()).map_or(0, |(_, cpu)| *cpu);
            self.seen.cpu_ns = cpu.saturating_sub(begun);
        }
        self.seen.latency_us = [percentile(&mut self.latencies, 50), percentile(&mut self.latencies, 99)];
        self.seen.own_us = [percentile(&mut self.own, 50), percentile(&mut self.own, 99)];
        println!("{}", serde_json::to_string(&self.seen).unwrap());
    }
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
