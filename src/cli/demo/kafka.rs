//! The demo's Kafka: librdkafka's mock cluster, a producer that never runs ahead, and a reader of the dead letters.
//!
//! The mock drops what is older than 5 MiB or 100,000 batches a partition, whether it was read or not. So the producer
//! watches how far each partition was read, and guarantees that what is unread stays far below that.

use std::collections::BTreeSet;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message as _, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{
    BaseProducer, BaseRecord, DefaultProducerContext, DeliveryResult, Producer as _, ProducerContext,
};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use serde::Deserialize;

use super::events::{Head, Plan};

/// Partitions of the source topic.
pub(super) const PARTITIONS: usize = 24;
/// Partitions of the dead letters' topic: each keeps 5 MiB.
const LETTER_PARTITIONS: i32 = 8;
/// Records of a partition that may be unread: at most 3 MB, where the mock keeps 5.
const MOST_UNREAD: i64 = 1_000;
/// The producer looks this often at what is due.
const TURN: Duration = Duration::from_millis(5);

/// The cluster. It serves as long as the process lives: clients that are still ending would complain of one that is gone.
pub(super) struct Kafka {
    cluster: ManuallyDrop<MockCluster<'static, DefaultProducerContext>>,
    topic: String,
    letters: String,
}

impl Kafka {
    /// A broker on a loopback port, with all topics: the mock makes none when it is asked to.
    pub(super) fn start(topic: &str, letters: &str, control: &str) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(1)?;
        let partitions = i32::try_from(PARTITIONS).unwrap_or(i32::MAX);
        cluster.create_topic(topic, partitions, 1)?;
        cluster.create_topic(letters, LETTER_PARTITIONS, 1)?;
        cluster.create_topic(control, 1, 1)?;
        Ok(Self { cluster: ManuallyDrop::new(cluster), topic: topic.to_owned(), letters: letters.to_owned() })
    }

    /// Where it listens.
    pub(super) fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        config
    }
}

// === producing ===

/// What the producer and the stage tell each other.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Events that were handed to librdkafka, numbered from 0.
    pub(super) produced: AtomicU64,
    /// Events that the cluster did not take.
    pub(super) refused: AtomicU64,
    /// The next offset that Forebay reads, by partition.
    pub(super) fronts: [AtomicI64; PARTITIONS],
    stop: AtomicBool,
}

/// A thread that produces.
pub(super) struct Producer {
    /// How far it is.
    pub(super) tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

/// Counts what the cluster did not take.
struct Refused(Arc<Tally>);

impl ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Producer {
    /// Begins at once: the plan's events from number 0 on, so many a second.
    pub(super) fn start(kafka: &Kafka, plan: Plan, tenants: Vec<String>, rate: u32) -> Result<Self, StartError> {
        let tally = Arc::new(Tally::default());
        let producer: BaseProducer<Refused> = kafka
            .client()
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("acks", "all")
            .create_with_context(Refused(Arc::clone(&tally)))?;
        let hand = Hand { producer, topic: kafka.topic.clone(), tenants, plan, tally: Arc::clone(&tally) };
        let thread = std::thread::Builder::new().name("demo-producer".into()).spawn(move || hand.run(rate))?;
        Ok(Self { tally, thread: Some(thread) })
    }

    /// Produces nothing more; what was produced is in the topic at the return.
    pub(super) fn stop(&mut self) {
        self.tally.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _panicked = thread.join();
        }
    }

    /// How many events are out.
    pub(super) fn produced(&self) -> u64 {
        self.tally.produced.load(Ordering::Relaxed)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why the cluster's clients could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// librdkafka's.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// No thread.
    #[error("the system refuses a thread: {0}")]
    System(#[from] std::io::Error),
}

/// What the producing thread works with.
struct Hand {
    producer: BaseProducer<Refused>,
    topic: String,
    tenants: Vec<String>,
    plan: Plan,
    tally: Arc<Tally>,
}

impl Hand {
    fn run(&self, rate: u32) {
        let mut sent = [0_i64; PARTITIONS];
        let mut next = self.plan.head(0);
        let (mut credit, mut last) = (0.0_f64, Instant::now());
        while !self.tally.stop.load(Ordering::Relaxed) {
            // A quarter of a second can be made up for, a longer halt cannot: that would be a burst.
            credit = (credit + last.elapsed().as_secs_f64() * f64::from(rate)).min(f64::from(rate) / 4.0 + 1.0);
            last = Instant::now();
            while credit >= 1.0 {
                let partition = partition(&next);
                if sent[partition] - self.tally.fronts[partition].load(Ordering::Relaxed) >= MOST_UNREAD
                    || !self.send(&next, partition)
                {
                    break;
                }
                sent[partition] += 1;
                credit -= 1.0;
                self.tally.produced.fetch_add(1, Ordering::Relaxed);
                next = self.plan.head(next.index + 1);
            }
            self.producer.poll(TURN);
        }
        if self.producer.flush(Duration::from_secs(10)).is_err() {
            let left = u64::try_from(self.producer.in_flight_count()).unwrap_or_default();
            self.tally.refused.fetch_add(left, Ordering::Relaxed);
        }
    }

    /// False if librdkafka's queue is full: the same event is tried again.
    fn send(&self, head: &Head, partition: usize) -> bool {
        let (json, key) = (self.plan.json(head, Timestamp::now()), head.user_id());
        let tenant = Header { key: "tenant", value: self.tenants.get(head.tenant) };
        let record = BaseRecord::to(&self.topic)
            .key(&key)
            .payload(&json)
            .partition(i32::try_from(partition).unwrap_or_default())
            .headers(OwnedHeaders::new_with_capacity(1).insert(tenant));
        self.producer.send(record).is_ok()
    }
}

/// All of a user's events share a partition.
fn partition(head: &Head) -> usize {
    (head.tenant.wrapping_mul(31).wrapping_add(head.user as usize)) % PARTITIONS
}

// === dead letters ===

/// Which event of which account.
pub(super) type Letter = (u64, String);

/// A thread that reads the dead letters' topic from its beginning, as they come.
pub(super) struct Letters {
    read: Arc<Mutex<BTreeSet<Letter>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Letters {
    /// Begins at once.
    pub(super) fn start(kafka: &Kafka) -> Result<Self, StartError> {
        let consumer: BaseConsumer = kafka.client().set("group.id", "forebay-demo-dead-letters").create()?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..LETTER_PARTITIONS {
            partitions.add_partition_offset(&kafka.letters, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let (read, stop) = (Arc::<Mutex<BTreeSet<Letter>>>::default(), Arc::new(AtomicBool::new(false)));
        let (into, stopped) = (Arc::clone(&read), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("demo-dead-letters".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // What is not a record passes; a letter that is missed shows in the books.
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
                let account = message.headers().into_iter().flat_map(Headers::iter);
                let account = account.filter(|header| header.key == "forebay-account").find_map(|header| header.value);
                let account = account.map(|name| String::from_utf8_lossy(name).into_owned());
                if let (Some(index), Some(account)) = (message.payload().and_then(index), account) {
                    into.lock().unwrap_or_else(PoisonError::into_inner).insert((index, account));
                }
            }
        })?;
        Ok(Self { read, stop, thread: Some(thread) })
    }

    /// What was read so far.
    pub(super) fn read(&self) -> BTreeSet<Letter> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many were read so far.
    pub(super) fn count(&self) -> u64 {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _panicked = thread.join();
        }
    }
}

/// The number of the event in a dead letter's value.
fn index(value: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Ids<'a> {
        message_id: &'a str,
    }
    let ids: Ids<'_> = serde_json::from_slice(value).ok()?;
    ids.message_id.strip_prefix("demo-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_again_in_its_dead_letter() {
        let plan = Plan { seed: 1, tenants: 3, quiet: (0, 1.0), poison_every: 10 };
        for number in [0, 5, 12_345_678] {
            let json = plan.json(&plan.head(number), Timestamp::UNIX_EPOCH);
            assert_eq!(index(json.as_bytes()), Some(number));
        }
        assert_eq!(index(b"{\"messageId\":\"other\"}"), None);
        assert_eq!(index(b"no JSON"), None);
    }

    #[test]
    fn users_are_spread_over_all_partitions() {
        let plan = Plan { seed: 1, tenants: 5, quiet: (0, 1.0), poison_every: 10 };
        let mut counts = [0_u32; PARTITIONS];
        (0..24_000).for_each(|number| counts[partition(&plan.head(number))] += 1);
        assert!(counts.iter().all(|count| (500..1_500).contains(count)), "{counts:?}");
    }
}
