//! What tests ask of a cluster: records in, records out, offsets. Topics are in [`super::admin`].
//!
//! Every call blocks until the cluster has answered and panics if it refuses. A produced record has been acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::Kafka;
use crate::support::eventually;

/// For one answer of the cluster.
pub(super) const ANSWER: Duration = Duration::from_secs(30);

/// A record to produce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// `None`: no key.
    pub(crate) key: Option<Vec<u8>>,
    /// `None`: a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    /// In this order; a header may have no value.
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None`: by hash of the key.
    pub(crate) partition: Option<i32>,
    /// Milliseconds since the epoch; `None`: now.
    pub(crate) timestamp: Option<i64>,
}

impl Message {
    /// A value alone.
    pub(crate) fn new(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    /// A record without a value.
    pub(crate) fn tombstone() -> Self {
        Self::default()
    }

    /// With this key.
    pub(crate) fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With one header more.
    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    /// To this partition.
    pub(crate) fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With this time, milliseconds since the epoch.
    pub(crate) fn timestamp(mut self, millis: i64) -> Self {
        self.timestamp = Some(millis);
        self
    }
}

/// A record as it stands in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// The text of its first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        value.as_deref().map(|value| str::from_utf8(value).unwrap_or("(not UTF-8)"))
    }
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// A codec of Kafka's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Snappy,
    #[default]
    Lz4,
    Zstd,
}

impl Compression {
    pub(crate) const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// As `compression.type` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl Kafka {
    /// Writes lz4 record batches; all are acknowledged at the return. Their number.
    pub(crate) fn produce(&self, topic: &str, messages: impl IntoIterator<Item = Message>) -> u64 {
        self.produce_with(topic, Compression::default(), messages)
    }

    /// [`Kafka::produce`] with a codec.
    pub(crate) fn produce_with(
        &self,
        topic: &str,
        compression: Compression,
        messages: impl IntoIterator<Item = Message>,
    ) -> u64 {
        let producer: BaseProducer<Acks> = self
            .client()
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", compression.name())
            .set("linger.ms", "5")
            // As Java's: a topic that takes small batches only takes ours.
            .set("batch.size", "16384")
            .set("message.max.bytes", "100000000")
            .create_with_context(Acks::default())
            .expect("a producer");
        let acks = producer.context().clone();
        let mut sent = 0_u64;
        for message in messages {
            send(&producer, topic, &message);
            sent += 1;
            if sent.is_multiple_of(256) {
                producer.poll(Duration::ZERO);
            }
        }
        producer.flush(4 * ANSWER).expect("acknowledgements of all records");
        let acks = acks.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(acks.refused.is_none(), "a record was refused: {:?}", acks.refused);
        assert_eq!(acks.good, sent, "acknowledged records");
        sent
    }

    /// All records from the beginning to what is now the end, by partition and offset.
    pub(crate) fn consume_all(&self, topic: &str) -> Vec<Record> {
        let consumer = self.consumer("forebay-tests");
        let mut ends = self.end_offsets_by(&consumer, topic);
        let mut list = TopicPartitionList::new();
        for &partition in ends.keys() {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("an assignment");
        }
        consumer.assign(&list).expect("an assignment");
        let mut records = Vec::new();
        while !ends.is_empty() {
            match consumer.poll(ANSWER) {
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let Some(&end) = ends.get(&partition) else { continue };
                    if message.offset() < end {
                        records.push(record(&message));
                    }
                    if message.offset() + 1 >= end {
                        ends.remove(&partition);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ends.remove(&partition);
                }
                // These pass; a broker that stays away ends in the arm below.
                Some(Err(KafkaError::MessageConsumption(code))) if passes(code) => {}
                other => panic!("reading {topic}: {:?}, not yet at the end of {ends:?}", other.map(Result::err)),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// What the group has committed; partitions without a commit are absent.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, Committed> {
        let consumer = self.consumer(group);
        let ends = self.end_offsets_by(&consumer, topic);
        eventually(ANSWER, &format!("the offsets of group {group}"), || {
            committed_by(&consumer, topic, ends.keys().copied()).map_err(|error| error.to_string())
        })
    }

    /// The offset after the last record, by partition.
    pub(crate) fn end_offsets(&self, topic: &str) -> BTreeMap<i32, i64> {
        self.end_offsets_by(&self.consumer("forebay-tests"), topic)
    }

    /// Waits until the group has committed all that now stands in the topic.
    pub(crate) fn wait_committed_to_end(&self, group: &str, topic: &str, timeout: Duration) {
        let consumer = self.consumer(group);
        let ends = self.end_offsets_by(&consumer, topic);
        eventually(timeout, &format!("commits of {group} at the ends of {topic}, {ends:?}"), || {
            let committed = committed_by(&consumer, topic, ends.keys().copied()).map_err(|error| error.to_string())?;
            let done = |(partition, &end)| end == 0 || committed.get(partition).is_some_and(|c| c.offset >= end);
            if ends.iter().all(done) { Ok(()) } else { Err(format!("{committed:?}")) }
        });
    }

    /// For clients of a test's own.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    pub(super) fn consumer(&self, group: &str) -> BaseConsumer {
        self.client()
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.message.max.bytes", "100000000")
            .create()
            .expect("a consumer")
    }

    fn end_offsets_by(&self, consumer: &BaseConsumer, topic: &str) -> BTreeMap<i32, i64> {
        eventually(ANSWER, &format!("the ends of {topic} at {}", self.bootstrap()), || {
            end_offsets(consumer, topic).map_err(|error| error.to_string())
        })
    }
}

/// What became of the records that were sent.
#[derive(Clone, Debug, Default)]
struct Acks(Arc<Mutex<Counted>>);

#[derive(Debug, Default)]
struct Counted {
    good: u64,
    refused: Option<KafkaError>,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => counted.good += 1,
            Err((error, _)) => counted.refused = Some(error.clone()),
        }
    }
}

fn send(producer: &BaseProducer<Acks>, topic: &str, message: &Message) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic);
    record.key = message.key.as_deref();
    record.payload = message.value.as_deref();
    record.partition = message.partition;
    record.timestamp = message.timestamp;
    if !message.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(message.headers.len());
        record.headers = Some(
            message
                .headers
                .iter()
                .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: value.as_ref() })),
        );
    }
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "sending to {topic}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}

fn end_offsets(consumer: &BaseConsumer, topic: &str) -> KafkaResult<BTreeMap<i32, i64>> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let partitions = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
    let ids: Vec<i32> = partitions.map(rdkafka::metadata::MetadataPartition::id).collect();
    if ids.is_empty() {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    }
    ids.into_iter().map(|id| Ok((id, consumer.fetch_watermarks(topic, id, ANSWER)?.1))).collect()
}

fn committed_by(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: impl Iterator<Item = i32>,
) -> KafkaResult<BTreeMap<i32, Committed>> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition);
    }
    let mut committed = BTreeMap::new();
    for element in consumer.committed_offsets(list, ANSWER)?.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            committed.insert(element.partition(), Committed { offset, metadata: element.metadata().to_owned() });
        }
    }
    Ok(committed)
}

fn passes(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
}
