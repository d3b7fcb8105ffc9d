//! One record of a topic, read by its offset.
//!
//! Assigned by hand: the consumer joins no group, commits nothing and is gone afterwards.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::Failure;
use crate::config::{Config, client_config};
use crate::source::raw::View;

/// How long the brokers may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// A record, copied.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    /// As they are kept.
    pub(super) headers: Vec<u8>,
}

/// Reads the record at this offset.
pub(super) fn read(config: &Config, topic: &str, partition: i32, offset: i64) -> Result<Stored, Failure> {
    let failed = |error: KafkaError| Failure::Kafka(format!("failed to read {topic}[{partition}]: {error}"));
    let mut client = client_config(&config.kafka).map_err(|error| Failure::Kafka(error.to_string()))?;
    // librdkafka wants a group to assign by hand; it is not joined.
    client.set("group.id", &config.kafka.group).set("enable.auto.commit", "false").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = client.create().map_err(failed)?;
    let (low, next) = consumer.fetch_watermarks(topic, partition, PATIENCE).map_err(failed)?;
    if !(low..next).contains(&offset) {
        let detail = format!("{topic}[{partition}] has no offset {offset}: it has {low} to {}", next - 1);
        let none = format!("{topic}[{partition}] has no records");
        return Err(Failure::NoRecord(if low == next { none } else { detail }));
    }
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(failed)?;
    consumer.assign(&assignment).map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) if message.offset() == offset => return Ok(copy(&message)),
            Some(Ok(message)) => {
                let next = message.offset();
                let detail = format!("{topic}[{partition}] has no record at {offset}; the next is at {next}");
                return Err(Failure::NoRecord(detail));
            }
            Some(Err(error)) if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) => {
                return Err(failed(error));
            }
            Some(Err(_)) | None => {}
        }
    }
    Err(Failure::Kafka(format!("{topic}[{partition}]: no answer within {PATIENCE:?}")))
}

fn copy(message: &BorrowedMessage<'_>) -> Stored {
    let mut headers = Vec::new();
    View::of(message).take_headers(&mut headers);
    Stored {
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}
