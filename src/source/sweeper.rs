//! The second reader of a pipeline: reads partitions again for deferred accounts, where the pipeline says.
//!
//! Assigned by hand: it uses the group's name, because a consumer must have one, and never joins, commits or is counted.
//! Made when it is first needed. Never waits, and never decides what is read.

use std::sync::mpsc::Sender;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::consumer::Message;
use super::group::list;
use super::queues::Queues;

/// The main reader says all that there is to say of brokers.
#[derive(Debug)]
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, "librdkafka, catching up: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "Kafka, catching up: {reason}");
    }
}

impl ConsumerContext for Quiet {}

/// The reader.
pub struct Sweeper {
    client: ClientConfig,
    wake: Sender<Message>,
    consumer: Option<BaseConsumer<Quiet>>,
}

impl Sweeper {
    /// A reader like the one of `client`, that wakes the poll thread by `wake`.
    #[must_use]
    pub fn new(client: &ClientConfig, queues: Queues, wake: Sender<Message>) -> Self {
        let mut client = client.clone();
        for joins in ["group.instance.id", "group.protocol", "group.remote.assignor", "partition.assignment.strategy"] {
            client.remove(joins);
        }
        queues.bound_sweeper(&mut client);
        // A fetch that waits at the end of a partition keeps the next sweep from beginning.
        client.set("fetch.wait.max.ms", "20");
        Self { client, wake, consumer: None }
    }

    fn consumer(&mut self) -> KafkaResult<&BaseConsumer<Quiet>> {
        if self.consumer.is_none() {
            let mut consumer = self.client.create_with_context::<_, BaseConsumer<Quiet>>(Quiet)?;
            let wake = self.wake.clone();
            consumer.set_nonempty_callback(move || {
                let _ending = wake.send(Message::Kafka);
            });
            self.consumer = Some(consumer);
        }
        self.consumer.as_ref().ok_or(KafkaError::Canceled)
    }

    /// Reads a partition from `from` on, or not at all.
    pub fn read(&mut self, topic: &str, partition: i32, from: Option<i64>) -> KafkaResult<()> {
        let consumer = self.consumer()?;
        let Some(from) = from else {
            return consumer.incremental_unassign(&list(&[(topic.to_owned(), partition)]));
        };
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Offset(from))?;
        consumer.incremental_assign(&assignment)
    }

    /// What was read next, if there is anything.
    #[must_use = "a message that nobody looks at is lost for the sweep"]
    pub fn poll(&self) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.consumer.as_ref()?.poll(Duration::ZERO)
    }
}
