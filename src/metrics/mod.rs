//! All metric names, their units and labels. No other file writes a metric name.
//!
//! Label values come from the configuration only, never from records. What the core counts is written from one
//! [`Report`] straight into the scrape's text: a snapshot is never seen by halves, and between scrapes a series costs
//! nothing, however many accounts there are. Histograms and the process's own figures are the registry's.

pub mod report;
mod text;

use std::collections::BTreeMap;

use metrics::{Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use self::report::{AccountReport, Report};
use self::text::{Kind, Labels, Text};
use crate::dead_letter::Names;
use crate::lane::{Health, batch};
use crate::outcome::{Reason, Release, Skip};

const METADATA: Metadata<'static> = Metadata::new("forebay", Level::INFO, None);
/// From a quick answer to the longest deadline, in seconds.
const DURATIONS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const DURATION: &str = "forebay_http_request_duration_seconds";

/// Every metric: whether it is a counter, its name, and what it says.
const CATALOGUE: &[(Kind, &str, &str)] = &[
    (Kind::Counter, "forebay_events_received_total", "Records read whose calls were not settled before"),
    (Kind::Counter, "forebay_events_settled_total", "Records that owe nothing any more"),
    (Kind::Counter, "forebay_events_released_total", "Records given back unsettled, to be read again"),
    (Kind::Gauge, "forebay_events_in_flight", "Records that owe at least one call"),
    (Kind::Counter, "forebay_events_already_settled_total", "Records read again that an earlier owner had settled"),
    (Kind::Counter, "forebay_events_reread_total", "Records read again for deferred accounts"),
    (Kind::Counter, "forebay_events_not_owed_total", "Records that owed nothing from the start"),
    (Kind::Counter, "forebay_calls_owed_total", "Calls that events made for an account"),
    (Kind::Counter, "forebay_calls_delivered_total", "Calls that the vendor took"),
    (Kind::Counter, "forebay_calls_dead_lettered_total", "Calls on the dead-letter topic"),
    (Kind::Counter, "forebay_calls_skipped_total", "Calls left out on purpose"),
    (Kind::Counter, "forebay_calls_released_total", "Calls given back unsettled, to be owed again"),
    (Kind::Gauge, "forebay_calls_in_flight", "Calls that have not ended"),
    (Kind::Counter, "forebay_dead_letters_total", "Dead letters written"),
    (Kind::Gauge, "forebay_dead_letters_waiting", "Dead letters that wait for their acknowledgement"),
    (Kind::Counter, "forebay_http_requests_total", "Requests by how they ended"),
    (Kind::Gauge, "forebay_lane_health", "1 for the lane's present health, 0 for the others"),
    (Kind::Gauge, "forebay_lane_held_events", "Calls that a lane holds"),
    (Kind::Gauge, "forebay_lane_held_bytes", "Bytes that a lane holds"),
    (
        Kind::Gauge,
        "forebay_lane_binds",
        "1 for what keeps an account's calls from going now; absent while nothing does",
    ),
    (Kind::Gauge, "forebay_lane_binds_seconds", "Time until that is looked at again; absent if nobody knows"),
    (Kind::Gauge, "forebay_lane_deferred_partitions", "Partitions in which an account is read again later"),
    (
        Kind::Gauge,
        "forebay_lane_deferred_offsets",
        "How far the lowest record that is owed there lies behind what is read",
    ),
    (Kind::Gauge, "forebay_lane_inflight_requests", "Requests on the wire"),
    (Kind::Gauge, "forebay_lane_limit_share_ratio", "Share of the configured limit that is in force"),
    (Kind::Gauge, "forebay_oldest_owed_seconds", "Age of the oldest record that an account owes a call of"),
    (Kind::Gauge, "forebay_retention_remaining_seconds", "Time until the topic may drop the oldest owed record"),
    (Kind::Counter, "forebay_records_expired_total", "Records that the topic dropped while they were owed"),
    (Kind::Counter, "forebay_commit_metadata_cut_total", "Commits whose metadata had no room for everything"),
    (Kind::Counter, "forebay_books_imbalance_total", "Times that the books did not balance: a bug"),
    (Kind::Counter, "forebay_calls_dropped_unsettled_total", "Calls that were lost by a bug"),
    (Kind::Gauge, "forebay_memory_held_bytes", "Bytes of calls and dead letters that are held"),
    (Kind::Gauge, "forebay_memory_limit_bytes", "The configured bound on what is held"),
    (Kind::Gauge, "forebay_consumer_assigned_partitions", "Partitions that are assigned"),
    (Kind::Gauge, "forebay_consumer_paused_partitions", "Partitions whose fetching is paused"),
    (Kind::Counter, "forebay_consumer_pauses_total", "Times that a partition's fetching was paused"),
    (Kind::Gauge, "forebay_consumer_swept_partitions", "Partitions that are read again for deferred accounts now"),
    (
        Kind::Gauge,
        "forebay_scalable_backlog_seconds",
        "Age of what is read, while there is more to read: what more replicas would help",
    ),
    (Kind::Gauge, "forebay_consumer_committed_offset", "The offset that may be committed"),
    (Kind::Counter, "forebay_consumer_rebalances_total", "Assignments of the consumer group"),
    (Kind::Gauge, "forebay_build_info", "1; the labels say what runs"),
];

/// The registry.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    memory_limit: u64,
}

impl Metrics {
    /// An empty registry with everything described.
    pub fn new(memory_limit: u64) -> Result<Self, metrics_exporter_prometheus::BuildError> {
        let matcher = Matcher::Full(DURATION.to_owned());
        let recorder = PrometheusBuilder::new().set_buckets_for_metric(matcher, &DURATIONS)?.build_recorder();
        let help = SharedString::const_str("How long requests take, from the first byte to the whole answer");
        recorder.describe_histogram(DURATION.into(), Some(Unit::Seconds), help);
        metrics::with_local_recorder(&recorder, || metrics_process::Collector::default().describe());
        let handle = recorder.handle();
        Ok(Self { recorder, handle, memory_limit })
    }

    /// How long a destination's requests take.
    pub fn request_duration(&self, destination: &'static str) -> Histogram {
        let key = key(DURATION, &[("destination", destination)]);
        self.recorder.register_histogram(&key, &METADATA)
    }

    /// Folds what histograms have gathered; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The exposition of a report. `names` are indexed by lane; `retention_ms` by topic.
    #[must_use]
    pub fn render(&self, report: &Report, names: &[Names], retention_ms: &BTreeMap<String, i64>) -> String {
        let mut text = Text::new(CATALOGUE);
        partitions(&mut text, report);
        for (accounted, names) in report.accounts.iter().zip(names) {
            account(&mut text, report, accounted, names);
        }
        self.process(&mut text, report);
        retention(&mut text, report, retention_ms);
        metrics::with_local_recorder(&self.recorder, || metrics_process::Collector::default().collect());
        let mut whole = text.finish();
        whole.push_str(&self.handle.render());
        whole
    }

    fn process(&self, text: &mut Text, report: &Report) {
        for (skip, &count) in Skip::ALL.iter().zip(&report.not_owed) {
            if count > 0 || matches!(skip, Skip::Tombstone | Skip::UnknownTenant) {
                text.counter("forebay_events_not_owed_total", &[("reason", skip.name())], count);
            }
        }
        for (reason, &count) in Reason::ALL.iter().zip(&report.orphans).filter(|(_, count)| **count > 0) {
            let labels: Labels<'_> =
                &[("tenant", "_unknown"), ("account", ""), ("destination", ""), ("reason", reason.name())];
            text.counter("forebay_dead_letters_total", labels, count);
        }
        text.gauge("forebay_dead_letters_waiting", &[], report.letters);
        text.counter("forebay_records_expired_total", &[], report.expired);
        text.counter("forebay_commit_metadata_cut_total", &[], report.cut);
        text.counter("forebay_books_imbalance_total", &[], report.imbalances);
        text.counter("forebay_calls_dropped_unsettled_total", &[], batch::dropped_unsettled());
        text.gauge("forebay_memory_held_bytes", &[], report.held_bytes);
        text.gauge("forebay_memory_limit_bytes", &[], self.memory_limit);
        text.counter("forebay_consumer_rebalances_total", &[], report.rebalances);
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        let labels: Labels<'_> = &[("version", env!("CARGO_PKG_VERSION")), ("librdkafka", &librdkafka)];
        text.gauge("forebay_build_info", labels, 1);
    }
}

fn partitions(text: &mut Text, report: &Report) {
    for partition in &report.partitions {
        let number = partition.partition.to_string();
        let labels: Labels<'_> = &[("topic", &partition.topic), ("partition", &number)];
        text.counter("forebay_events_received_total", labels, partition.received);
        text.counter("forebay_events_settled_total", labels, partition.settled);
        text.counter("forebay_events_released_total", labels, partition.released);
        text.counter("forebay_events_already_settled_total", labels, partition.already_settled);
        text.counter("forebay_events_reread_total", labels, partition.reread);
        text.gauge("forebay_events_in_flight", labels, partition.in_flight);
        text.counter("forebay_consumer_pauses_total", labels, partition.pauses);
        if let Ok(base) = u64::try_from(partition.base) {
            text.gauge("forebay_consumer_committed_offset", labels, base);
        }
    }
    let count = |wanted: fn(&report::PartitionReport) -> bool| {
        report.partitions.iter().filter(|partition| wanted(partition)).count() as u64
    };
    text.gauge("forebay_consumer_assigned_partitions", &[], count(|partition| partition.assigned));
    text.gauge("forebay_consumer_paused_partitions", &[], count(|partition| partition.paused));
    text.gauge("forebay_consumer_swept_partitions", &[], count(|partition| partition.swept));
    let unknown = report.partitions.iter().map(|partition| partition.unknown).sum();
    let labels: Labels<'_> = &[("tenant", "_unknown"), ("account", "_unknown"), ("destination", "_unknown")];
    text.gauge("forebay_lane_deferred_partitions", labels, unknown);
    text.gauge("forebay_lane_deferred_offsets", labels, behind(report, &report.unknown));
    text.float("forebay_oldest_owed_seconds", labels, age(report, report::oldest(&report.unknown)));
    text.float("forebay_scalable_backlog_seconds", &[], seconds(report.backlog_ms));
}

fn account(text: &mut Text, report: &Report, account: &AccountReport, names: &Names) {
    let labels: [(&'static str, &str); 3] =
        [("tenant", &names.tenant), ("account", &names.account), ("destination", names.destination)];
    let books = &account.books;
    text.counter("forebay_calls_owed_total", &labels, books.owed);
    text.counter("forebay_calls_delivered_total", &labels, books.delivered);
    text.gauge("forebay_calls_in_flight", &labels, account.in_flight);
    text.gauge("forebay_lane_held_events", &labels, account.held_calls);
    text.gauge("forebay_lane_held_bytes", &labels, account.held_bytes);
    text.gauge("forebay_lane_deferred_partitions", &labels, account.deferred.len() as u64);
    text.gauge("forebay_lane_deferred_offsets", &labels, behind(report, &account.deferred));
    text.gauge("forebay_lane_inflight_requests", &labels, account.requests_in_flight);
    let with = |name, value| [labels[0], labels[1], labels[2], (name, value)];
    if account.binds.what != "nothing" {
        let labels = with("what", account.binds.what);
        text.gauge("forebay_lane_binds", &labels, 1);
        if let Some(until) = account.binds.until {
            let left = until.mono.saturating_sub(report.at.mono);
            text.float("forebay_lane_binds_seconds", &labels, left.as_secs_f64());
        }
    }
    for (reason, &count) in Reason::ALL.iter().zip(&books.dead_lettered).filter(|(_, count)| **count > 0) {
        text.counter("forebay_calls_dead_lettered_total", &with("reason", reason.name()), count);
        text.counter("forebay_dead_letters_total", &with("reason", reason.name()), count);
    }
    for (skip, &count) in Skip::ALL.iter().zip(&books.skipped).filter(|(_, count)| **count > 0) {
        text.counter("forebay_calls_skipped_total", &with("reason", skip.name()), count);
    }
    for (release, &count) in Release::ALL.iter().zip(&books.released) {
        text.counter("forebay_calls_released_total", &with("reason", release.name()), count);
    }
    for health in Health::ALL {
        let present = u64::from(health == account.health);
        text.gauge("forebay_lane_health", &with("health", health.name()), present);
    }
    let requests = &account.requests;
    for (outcome, count) in [
        ("ok", requests.ok),
        ("partial", requests.partial),
        ("throttled", requests.throttled),
        ("held", requests.held),
        ("server_error", requests.server_error),
        ("network", requests.transport),
    ] {
        text.counter("forebay_http_requests_total", &with("outcome", outcome), count);
    }
    for &(limit, _, share) in &account.limits {
        text.float("forebay_lane_limit_share_ratio", &with("limit", limit), share);
    }
    text.float("forebay_oldest_owed_seconds", &labels, age(report, account.oldest_ms));
}

/// How many offsets an account has to catch up on, of all partitions in which it is deferred.
fn behind(report: &Report, deferred: &[report::Deferral]) -> u64 {
    let of = |deferral: &report::Deferral| {
        let front = report.partitions.get(deferral.partition)?.front;
        u64::try_from(front - deferral.offset).ok()
    };
    deferred.iter().filter_map(of).sum()
}

/// How old a record of this time is, in seconds; nothing if there is none.
fn age(report: &Report, time_ms: Option<i64>) -> f64 {
    seconds(time_ms.map_or(0, |time| report.at.wall_ms.saturating_sub(time).max(0)))
}

fn retention(text: &mut Text, report: &Report, retention_ms: &BTreeMap<String, i64>) {
    // The oldest owed record of all accounts is no younger than the oldest of any topic: a safe figure for each.
    let accounts = report.accounts.iter().filter_map(|account| account.oldest_ms);
    let oldest = accounts.chain(report::oldest(&report.unknown)).min();
    let age = age(report, oldest);
    for (topic, &retention) in retention_ms.iter().filter(|(_, retention)| **retention >= 0) {
        let labels: Labels<'_> = &[("topic", topic)];
        text.float("forebay_retention_remaining_seconds", labels, seconds(retention) - age);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1_000.0
}

fn key(name: &'static str, labels: Labels<'_>) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(name, labels)
}
