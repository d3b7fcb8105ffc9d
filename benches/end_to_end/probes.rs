//! What is no ratio: how long an event takes at a tenth of full load, and how soon a process sends its first.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::producer::{BaseProducer, Producer as _};
use serde::{Deserialize, Serialize};

use super::contender::{Arm, Sinks, wait};
use super::core::event::{Event, Form};
use super::rows::{SMALL, small_of};
use super::sink::Watch;
use super::stats::median;
use super::support::kafka::Kafka;
use super::support::process::Forebay;
use super::support::stage::JOIN;
use super::support::unique;
use super::topic::{Acks, PARTITIONS, Topics, finish, headers_of, producer, send, tenant};

/// How long events are produced before any is measured, and while they are.
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(10);
/// Events are produced in slices of this.
const SLICE: Duration = Duration::from_millis(1);

/// From produced to accepted, at a tenth of full load, with `linger = "0ms"`. Microseconds; median and 99th percentile.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Latency {
    /// Events a second.
    pub(crate) rate: u64,
    pub(crate) rounds: Vec<Delays>,
}

/// One round of it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Delays {
    pub(crate) accepted_us: [u32; 2],
    /// From a request's first byte at the sink to its answer.
    pub(crate) sink_us: [u32; 2],
    pub(crate) calls_a_request: f64,
}

/// From the process's start to its first request, with so many accounts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Start {
    pub(crate) accounts: u64,
    /// Milliseconds, without the join.
    pub(crate) first_ms: Vec<f64>,
    /// From the subscription to the assignment.
    pub(crate) join_ms: Vec<f64>,
}

impl Latency {
    pub(crate) fn measure(rounds: u64, topics: &mut Topics, sinks: &mut Sinks) -> Self {
        let topic = topics.get(SMALL.load);
        let full: Vec<f64> = (0..rounds).map(|_| SMALL.measure(&topic, sinks).per_second()).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
        let rate = (median(full) / 10.0) as u64;
        Self { rate, rounds: (0..rounds).map(|_| delays(rate, sinks)).collect() }
    }

    /// The medians of all rounds' figures, in milliseconds: accepted, and the sink's own.
    pub(crate) fn millis(&self) -> [[f64; 2]; 2] {
        let of = |figures: fn(&Delays) -> [u32; 2]| {
            [0, 1].map(|at| median(self.rounds.iter().map(|round| f64::from(figures(round)[at]) / 1e3).collect()))
        };
        [of(|round| round.accepted_us), of(|round| round.sink_us)]
    }
}

fn delays(rate: u64, sinks: &mut Sinks) -> Delays {
    let arm = Arm { linger_ms: 0, ..SMALL };
    let (kafka, topic) = (Kafka::shared(), unique("bench-latency"));
    kafka.create_topic(&topic, i32::try_from(PARTITIONS).unwrap(), &[]);
    let mut forebay = arm.setup(&topic, sinks).start();
    forebay.wait_ready(JOIN);
    // One for both: a producer's first record waits for its connection.
    let producer = producer(kafka, 10_000, Duration::ZERO);
    let warm = produce(&producer, &topic, rate, WARM_UP);
    // What is on its way arrives, and nobody counts it.
    std::thread::sleep(Duration::from_millis(500));
    let elements = rate * MEASURED.as_secs();
    sinks.plain.watch(&Watch { pid: forebay.pid(), linger_ms: 0, elements, timed: true });
    let sent = produce(&producer, &topic, rate, MEASURED);
    finish(&producer, warm + sent);
    let seen = wait(&mut forebay, &mut sinks.plain, Duration::from_secs(30));
    Delays {
        accepted_us: seen.latency_us,
        sink_us: seen.own_us,
        calls_a_request: seen.elements as f64 / seen.requests as f64,
    }
}

/// Produces at this rate; the records say when. Their number.
fn produce(producer: &BaseProducer<Acks>, topic: &str, rate: u64, during: Duration) -> u64 {
    let headers: Vec<_> = (0..SMALL.load.tenants).map(|number| headers_of(&tenant(number), Form::Segment)).collect();
    let (begun, mut value, mut sent) = (Instant::now(), Vec::new(), 0);
    let total = rate * during.as_secs();
    while sent < total {
        let due = rate * u64::try_from((begun.elapsed() + SLICE).as_micros()).unwrap() / 1_000_000;
        while sent < due.min(total) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let seq = u64::try_from(now.as_micros()).unwrap();
            let event = Event {
                size: SMALL.load.size,
                form: Form::Segment,
                seq,
                user: sent % 99_991,
                time: "2026-11-01T00:00:00Z",
            };
            event.write(&mut value);
            send(
                producer,
                topic,
                sent / 3 % PARTITIONS,
                &value,
                &headers[usize::try_from(sent).unwrap() % headers.len()],
            );
            sent += 1;
        }
        producer.poll(SLICE);
    }
    sent
}

impl Start {
    pub(crate) fn measure(rounds: u64, topics: &mut Topics, sinks: &mut Sinks) -> Self {
        let arm = Arm { linger_ms: 0, ..small_of(1_000) };
        let topic = topics.get(arm.load);
        let mut result = Self { accounts: arm.load.tenants, first_ms: Vec::new(), join_ms: Vec::new() };
        for _ in 0..rounds {
            let setup = arm.setup(&topic.name, sinks);
            sinks.plain.watch(&Watch { elements: 1, ..Watch::default() });
            let spawned = jiff::Timestamp::now();
            let mut forebay = setup.start();
            let seen = wait(&mut forebay, &mut sinks.plain, JOIN);
            let first = jiff::Timestamp::from_microsecond(i64::try_from(seen.first_us).unwrap()).unwrap();
            let [subscribed, assigned] = ["started", "assigned"].map(|line| said_at(&forebay, line));
            let millis = |from: jiff::Timestamp, to: jiff::Timestamp| to.duration_since(from).as_secs_f64() * 1e3;
            result.join_ms.push(millis(subscribed, assigned));
            result.first_ms.push(millis(spawned, subscribed) + millis(assigned, first));
        }
        result
    }
}

/// When a line was logged first.
fn said_at(forebay: &Forebay, message: &str) -> jiff::Timestamp {
    let lines = forebay.log_lines();
    let line = lines.iter().find(|line| line["message"] == message);
    let time = line.and_then(|line| line["timestamp"].as_str()?.parse().ok());
    time.unwrap_or_else(|| panic!("{message:?} is not in the log:\n{}", forebay.log()))
}
