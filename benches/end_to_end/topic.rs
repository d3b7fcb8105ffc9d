//! Topics full of events, made when a row needs them first.
//!
//! The first and the last record of each partition belong to the tenant `mark`, so that the begin and the end are seen
//! also by rows that skip everything else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use super::core::event::{Event, Form, Size};
use super::support::kafka::Kafka;
use super::support::unique;

pub(crate) const PARTITIONS: u64 = 4;
const USERS: u64 = 100_000;

/// What stands in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Load {
    pub(crate) size: Size,
    pub(crate) tenants: u64,
    /// Records in a record batch.
    pub(crate) batch: u64,
    /// The vendors' own elements instead of Segment's messages.
    pub(crate) raw: bool,
}

/// So many elements, the numbers in which come to this sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) elements: u64,
    pub(crate) sum: u64,
}

impl Count {
    pub(crate) fn add(&mut self, seq: u64) {
        self.elements += 1;
        self.sum = self.sum.wrapping_add(seq);
    }
}

/// A topic that is full.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) size: Size,
    /// All records.
    pub(crate) all: Count,
    /// Those of the tenant `mark`.
    pub(crate) marks: Count,
}

/// All topics of this run.
pub(crate) struct Topics {
    /// How many small events; of large ones it is half.
    pub(crate) events: u64,
    made: HashMap<Load, Topic>,
}

impl Topics {
    pub(crate) fn new(events: u64) -> Self {
        Self { events, made: HashMap::new() }
    }

    /// A topic with this load.
    pub(crate) fn get(&mut self, load: Load) -> Topic {
        let events = match load.size {
            Size::Small => self.events,
            Size::Large => self.events / 2,
        };
        self.made.entry(load).or_insert_with(|| fill(load, events)).clone()
    }
}

/// The name of a tenant.
pub(crate) fn tenant(number: u64) -> String {
    format!("t{number:04}")
}

fn fill(load: Load, events: u64) -> Topic {
    let kafka = Kafka::shared();
    let name = unique("bench");
    kafka.create_topic(&name, i32::try_from(PARTITIONS).unwrap(), &[("max.message.bytes", "4000000")]);
    let producer = producer(kafka, load.batch, Duration::from_millis(100));
    let mut topic = Topic { name, size: load.size, all: Count::default(), marks: Count::default() };
    let time = format!("{:.3}", jiff::Timestamp::now());
    let headers: Vec<OwnedHeaders> =
        (0..load.tenants).map(|number| headers_of(&tenant(number), form(load, number))).collect();
    let mark = headers_of("mark", Form::Segment);
    let mut value = Vec::new();
    let total = events + 2 * PARTITIONS;
    for seq in 0..total {
        let is_mark = seq < PARTITIONS || seq >= total - PARTITIONS;
        // Spread well, and the same in every run.
        let random = (seq + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (number, user) = (seq % load.tenants, (random >> 40) % USERS);
        let form = if is_mark { Form::Segment } else { form(load, number) };
        Event { size: load.size, form, seq, user, time: &time }.write(&mut value);
        let partition = if is_mark { seq % PARTITIONS } else { (random >> 20) % PARTITIONS };
        let headers = if is_mark { &mark } else { &headers[usize::try_from(number).unwrap()] };
        send(&producer, &topic.name, partition, &value, headers);
        topic.all.add(seq);
        if is_mark {
            topic.marks.add(seq);
        }
    }
    finish(&producer, total);
    topic
}

/// Half of the tenants are MoEngage's, half Iterable's.
fn form(load: Load, tenant: u64) -> Form {
    match (load.raw, tenant % 2) {
        (false, _) => Form::Segment,
        (true, 0) => Form::Transition,
        (true, _) => Form::TrackBulk,
    }
}

pub(crate) fn headers_of(tenant: &str, form: Form) -> OwnedHeaders {
    let headers = OwnedHeaders::new().insert(Header { key: "tenant", value: Some(tenant) });
    match form.shape() {
        Some(shape) => headers.insert(Header { key: "forebay-shape", value: Some(shape) }),
        None => headers,
    }
}

/// Counts acknowledgements.
#[derive(Default)]
pub(crate) struct Acks(AtomicU64);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "a record was refused: {result:?}");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One that writes lz4 record batches of so many records, or of what has gathered in this time.
pub(crate) fn producer(kafka: &Kafka, batch: u64, linger: Duration) -> BaseProducer<Acks> {
    kafka
        .client()
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", linger.as_millis().to_string())
        .set("batch.num.messages", batch.to_string())
        .set("batch.size", "1000000")
        .create_with_context(Acks::default())
        .expect("a producer")
}

pub(crate) fn send(producer: &BaseProducer<Acks>, topic: &str, partition: u64, value: &[u8], headers: &OwnedHeaders) {
    let partition = i32::try_from(partition).unwrap();
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value).headers(headers.clone());
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "sending to {topic}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
    producer.poll(Duration::ZERO);
}

/// Waits until all is acknowledged.
pub(crate) fn finish(producer: &BaseProducer<Acks>, sent: u64) {
    producer.flush(Duration::from_mins(2)).expect("acknowledgements of all records");
    assert_eq!(producer.context().0.load(Ordering::Relaxed), sent, "acknowledged records");
}
