//! What was accepted, refused and dropped, by account; and, if asked for, each accepted element.
//!
//! Counts are always kept. Ids cost eight bytes each, elements their JSON; a file costs no memory.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::value::Object;

/// What is kept of accepted elements.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// In memory.
    pub keep: Keep,
    /// Each as a line of JSON: `account`, `endpoint`, `time`, `element`.
    pub file: Option<PathBuf>,
}

/// What is kept in memory of accepted elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Nothing but counts.
    Counts,
    /// Hashes of their ids, to count duplicates.
    #[default]
    Ids,
    /// All of them, and Iterable users' last state.
    Elements,
}

/// An accepted element.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The sandbox's name for the account.
    pub account: Arc<str>,
    /// `transition`, `events/trackBulk` ...
    pub endpoint: &'static str,
    /// As it was sent.
    pub element: serde_json::Value,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Everything that was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Since the start or the last reset.
    pub seconds: f64,
    /// By the sandbox's names.
    pub accounts: BTreeMap<String, AccountReport>,
    /// Requests that belong to no account, by status.
    pub strangers: BTreeMap<u16, u64>,
    /// The faults that are set, in their order.
    pub faults: Vec<FaultReport>,
}

/// What was counted of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccountReport {
    /// All that reached it, whatever became of them.
    pub requests: u64,
    /// Requests that were taken, also when their answer was lost on purpose.
    pub accepted: u64,
    /// Bodies of requests that were taken.
    pub bytes: u64,
    /// 429s.
    pub throttled: u64,
    /// Other refusals, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Requests that a fault hit, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Accepted elements, by kind: `customer`, `event`, `user` ...
    pub elements: BTreeMap<&'static str, u64>,
    /// `MoEngage`: actions of accepted events.
    pub actions: u64,
    /// Elements that were answered 200 and thrown away, by reason.
    pub dropped_by_vendor: BTreeMap<&'static str, u64>,
    /// Elements that Iterable listed as failed, by list.
    pub failed: BTreeMap<&'static str, u64>,
    /// Elements of which `MoEngage` would have cut something: names, values, attributes.
    pub trimmed_by_vendor: u64,
    /// Actions whose name has characters that `MoEngage`'s guide forbids and its samples use.
    pub odd_names: u64,
    /// Different ids among accepted elements.
    pub distinct_ids: u64,
    /// Accepted elements whose id had been there before.
    pub duplicates_by_id: u64,
}

/// How often a fault has hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultReport {
    /// Its kind.
    pub kind: &'static str,
    /// How often.
    pub hits: u64,
}

/// One account's counts and ids.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) report: AccountReport,
    ids: HashSet<u64, foldhash::fast::RandomState>,
}

/// Where accepted elements go.
#[derive(Debug)]
pub(super) struct Recorder {
    keep: Keep,
    elements: Mutex<Vec<Accepted>>,
    file: Mutex<Option<BufWriter<File>>>,
    wants: bool,
}

/// The hash that stands for a user or an id; equal in one process only.
pub(super) fn fingerprint(text: &str) -> u64 {
    foldhash::fast::FixedState::with_seed(0x5eed).hash_one(text)
}

// === impl AccountReport ===

impl AccountReport {
    /// Accepted elements of all kinds.
    #[must_use]
    pub fn element_count(&self) -> u64 {
        self.elements.values().sum()
    }

    /// Elements that were answered 200 and thrown away.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.dropped_by_vendor.values().sum()
    }

    /// Elements that Iterable listed as failed.
    #[must_use]
    pub fn failed_count(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Refusals other than 429.
    #[must_use]
    pub fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }
}

// === impl Book ===

impl Book {
    /// Counts an answer.
    pub(super) fn answered(&mut self, status: u16) {
        match status {
            429 => self.report.throttled += 1,
            300.. => *self.report.refused.entry(status).or_default() += 1,
            _ => {}
        }
    }

    /// Counts an accepted element; `id` is what the vendor, or we, tell duplicates by.
    pub(super) fn accepted(&mut self, kind: &'static str, id: Option<&str>, keep: Keep) {
        *self.report.elements.entry(kind).or_default() += 1;
        let Some(id) = id.filter(|_| keep != Keep::Counts) else { return };
        if self.ids.insert(fingerprint(id)) {
            self.report.distinct_ids += 1;
        } else {
            self.report.duplicates_by_id += 1;
        }
    }

    /// Whether an element with this id was accepted.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(&fingerprint(id))
    }

    pub(super) fn dropped(&mut self, reason: &'static str) {
        *self.report.dropped_by_vendor.entry(reason).or_default() += 1;
    }

    pub(super) fn failed(&mut self, list: &'static str, count: usize) {
        if count > 0 {
            *self.report.failed.entry(list).or_default() += count as u64;
        }
    }
}

// === impl Recorder ===

impl Recorder {
    pub(super) fn new(recording: &Recording) -> io::Result<Self> {
        let file = recording.file.as_ref().map(File::create).transpose()?.map(BufWriter::new);
        let wants = recording.keep == Keep::Elements || file.is_some();
        Ok(Self { keep: recording.keep, elements: Mutex::default(), file: Mutex::new(file), wants })
    }

    pub(super) const fn keep(&self) -> Keep {
        self.keep
    }

    /// Keeps an accepted element, if anybody asked.
    pub(super) fn element(&self, account: &Arc<str>, endpoint: &'static str, element: &Object<'_>, at_ms: i64) {
        if !self.wants {
            return;
        }
        if self.keep == Keep::Elements {
            let owned = serde_json::to_value(element).unwrap_or_default();
            let accepted = Accepted { account: Arc::clone(account), endpoint, element: owned, at_ms };
            self.elements.lock().unwrap_or_else(PoisonError::into_inner).push(accepted);
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(out) = file.as_mut()
            && let Err(error) = write_line(out, account, endpoint, element, at_ms)
        {
            tracing::error!(%error, "the record file failed; nothing more is written to it");
            *file = None;
        }
    }

    pub(super) fn elements(&self) -> Vec<Accepted> {
        self.elements.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn forget(&self) {
        self.elements.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map_or(Ok(()), Write::flush)
    }
}

fn write_line(
    out: &mut BufWriter<File>,
    account: &str,
    endpoint: &str,
    element: &Object<'_>,
    at_ms: i64,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        account: &'a str,
        endpoint: &'a str,
        time: String,
        element: &'a Object<'a>,
    }
    let time = jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |time| time.to_string());
    serde_json::to_writer(&mut *out, &Line { account, endpoint, time, element })?;
    out.write_all(b"\n")
}

// === impl Report ===

impl Report {
    /// The account's counts; none if there is no such account.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&AccountReport> {
        self.accounts.get(name)
    }

    /// One line: all accounts together, and what has been added since `earlier`.
    #[must_use]
    pub fn line(&self, earlier: &Self) -> String {
        let sum = |it: &Self, of: fn(&AccountReport) -> u64| it.accounts.values().map(of).sum::<u64>();
        let (requests, elements) = (sum(self, |a| a.requests), sum(self, AccountReport::element_count));
        let more = |now: u64, then: u64| now.saturating_sub(then);
        format!(
            "{:>7.0} s  {requests} requests (+{})  {elements} elements (+{})  429: {}  refused: {}  dropped: {}  failed: {}",
            self.seconds,
            more(requests, sum(earlier, |a| a.requests)),
            more(elements, sum(earlier, AccountReport::element_count)),
            sum(self, |a| a.throttled),
            sum(self, AccountReport::refused_count) + self.strangers.values().sum::<u64>(),
            sum(self, AccountReport::dropped_count),
            sum(self, AccountReport::failed_count),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.accounts.keys().map(String::len).max().unwrap_or(0).max(7);
        let titles = ["requests", "taken", "elements", "bytes", "429", "refused", "dropped", "failed", "twice"];
        write!(f, "{:width$}", "account")?;
        titles.iter().try_for_each(|title| write!(f, " {title:>11}"))?;
        for (name, it) in &self.accounts {
            let (elements, refused) = (it.element_count(), it.refused_count());
            let (dropped, failed) = (it.dropped_count(), it.failed_count());
            write!(f, "\n{name:width$}")?;
            let counts = [
                it.requests,
                it.accepted,
                elements,
                it.bytes,
                it.throttled,
                refused,
                dropped,
                failed,
                it.duplicates_by_id,
            ];
            counts.iter().try_for_each(|count| write!(f, " {count:>11}"))?;
        }
        for (status, count) in &self.strangers {
            write!(f, "\n{count} requests that belong to no account: {status}")?;
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\nfault {}: {} times", fault.kind, fault.hits))
    }
}
