//! What the consumer group tells us, put aside for the poll thread: the callbacks themselves never wait and never act.
//!
//! A rebalance is answered later, by the poll thread, when offsets are known or open calls are drained. While the
//! process closes there is nobody left to answer, so then the callback does it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Statistics, TopicPartitionList};

/// librdkafka repeats itself while a broker is down; the same facility is heard once in this time.
const QUIET: Duration = Duration::from_mins(1);

/// A topic and a partition.
pub type TopicPartition = (String, i32);

/// What happened in the group.
#[derive(Debug)]
pub enum GroupEvent {
    /// These partitions are ours, once we say where reading begins.
    Assigned(Vec<TopicPartition>),
    /// These partitions will go, once we let them.
    Revoked {
        /// Which.
        partitions: Vec<TopicPartition>,
        /// They are gone already: somebody else may read them.
        lost: bool,
    },
    /// The assignment failed; the group tries again.
    Failed(KafkaError),
    /// A commit was answered.
    Committed(KafkaResult<()>),
}

/// The consumer's context.
#[derive(Debug, Default)]
pub struct Group {
    events: Mutex<Vec<GroupEvent>>,
    closing: AtomicBool,
    heard: Mutex<Vec<(String, Instant)>>,
}

impl Group {
    /// What happened since the last call, in order.
    #[must_use]
    pub fn take(&self) -> Vec<GroupEvent> {
        self.events.lock().map(|mut events| std::mem::take(&mut *events)).unwrap_or_default()
    }

    /// From now on rebalances are answered at once, by giving everything back.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn tell(&self, event: GroupEvent) {
        if let Ok(mut events) = self.events.lock() {
            events.push(event);
        }
    }

    fn is_news(&self, facility: &str) -> bool {
        let Ok(mut heard) = self.heard.lock() else { return true };
        let now = Instant::now();
        match heard.iter_mut().find(|(known, _)| known == facility) {
            Some((_, at)) if now.duration_since(*at) < QUIET => false,
            Some((_, at)) => {
                *at = now;
                true
            }
            None => {
                heard.push((facility.into(), now));
                true
            }
        }
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(facility, "librdkafka: {message}");
            }
            _ if self.is_news(facility) => tracing::warn!(facility, "librdkafka: {message}"),
            _ => tracing::debug!(facility, "librdkafka: {message}"),
        }
    }

    fn stats(&self, _statistics: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let facility = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if self.is_news(&format!("{facility:?}")) {
            tracing::warn!("Kafka: {reason}");
        }
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = names(list);
        match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS if !self.closing.load(Ordering::Acquire) => {
                self.tell(GroupEvent::Assigned(partitions));
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if !self.closing.load(Ordering::Acquire) => {
                self.tell(GroupEvent::Revoked { partitions, lost: consumer.assignment_lost() });
            }
            _ => {
                let given_back = match consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                    RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
                };
                if let Err(error) = given_back {
                    self.tell(GroupEvent::Failed(error));
                }
            }
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        self.tell(GroupEvent::Committed(result));
    }
}

/// Topics and partitions of a list.
#[must_use]
pub fn names(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

/// A list of topics and partitions.
#[must_use]
pub fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        list.add_partition(topic, *partition);
    }
    list
}
