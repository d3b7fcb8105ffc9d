//! Messages by the batch: the queues of the partitions lead into one of ours, and one call takes what is there.
//!
//! Why by hand: the binding's `poll` makes an event of each message, with two allocations, three readings of the clock
//! and two locks; a batch costs one lock a message. That is 0.87 of what an event costs the whole process
//! (`docs/performance.md`).
//!
//! Rules, each of which loses or repeats records when it is broken:
//!
//! - Only partitions' queues lead here, never the consumer's own, on which a batch would swallow rebalances. That one is
//!   polled before each batch: what it has of a partition is older than what is here.
//! - A partition is forwarded before it is assigned, so that nothing goes elsewhere, and after it, because the end of an
//!   earlier assignment takes the forwarding away while the library no longer sets its own.
//! - librdkafka takes what a batch holds as consumed: a partition that is paused goes on behind it. So what is left of a
//!   paused partition is [kept](Intake::keep), and dropped only when the partition is placed anew or goes.
//! - It takes an error for a message, too: behind one, a partition that is paused, as all are when the group changes, goes
//!   on one record too far. So who meets a gap behind an error has to place the partition anew, at the gap.

use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_queue_cb_event_enable,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_partition, rd_kafka_queue_new, rd_kafka_queue_t,
    rd_kafka_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use super::View;

/// The most messages that one call takes.
const BATCH: usize = 256;

type Wake = Box<dyn Fn() + Send + Sync>;

/// A message that is ours until it is dropped.
pub struct Taken(NonNull<rd_kafka_message_t>);

impl Taken {
    fn message(&self) -> &rd_kafka_message_t {
        // SAFETY: librdkafka gave us the message, and it lives until we destroy it.
        unsafe { self.0.as_ref() }
    }

    /// The topic and the partition that it is about; an error may be about none.
    #[must_use]
    pub fn place(&self) -> Option<(&str, i32)> {
        let message = self.message();
        (!message.rkt.is_null()).then(|| (View(message).topic(), message.partition))
    }

    /// The same, without reading the topic's name: what two messages that are there at the same time are compared by.
    #[must_use]
    pub fn mark(&self) -> Option<(usize, i32)> {
        let message = self.message();
        (!message.rkt.is_null()).then(|| (message.rkt.addr(), message.partition))
    }

    /// The message, or the error that librdkafka put in its place.
    pub fn view(&self) -> Result<View<'_>, KafkaError> {
        let message = self.message();
        match message.err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(View(message)),
            error => Err(KafkaError::MessageConsumption(RDKafkaErrorCode::from(error))),
        }
    }
}

// SAFETY: librdkafka lets any thread read and destroy a message; only one of them has it.
unsafe impl Send for Taken {}

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody has a view of it any more.
        unsafe { rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// The queue that partitions' queues lead into, and what was taken from it.
pub struct Intake<C: ConsumerContext + 'static> {
    queue: NonNull<rd_kafka_queue_t>,
    /// Before the consumer, so that every message is given back while it is there.
    batch: VecDeque<Taken>,
    /// Of paused partitions, by slot, in order.
    kept: Vec<(u32, VecDeque<Taken>)>,
    /// What the queue's callback points to.
    _wake: Box<Wake>,
    consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues may be used by any thread; the rest of it is `Send` by itself.
unsafe impl<C: ConsumerContext> Send for Intake<C> where BaseConsumer<C>: Send + Sync {}

impl<C: ConsumerContext> fmt::Debug for Intake<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("batch", &self.batch.len()).finish_non_exhaustive()
    }
}

/// Called by librdkafka's threads when the queue is no longer empty.
unsafe extern "C" fn woken(_client: *mut rd_kafka_t, wake: *mut c_void) {
    // SAFETY: the pointer is that of `Intake::_wake`, which outlives the callback's registration.
    let wake = unsafe { &*wake.cast::<Wake>().cast_const() };
    wake();
}

impl<C: ConsumerContext> Intake<C> {
    /// An empty queue, which calls `wake` from another thread when there is something in it.
    pub fn new(consumer: Arc<BaseConsumer<C>>, wake: Wake) -> Result<Self, KafkaError> {
        // SAFETY: the client lives as long as `consumer`, which is kept for as long as the queue.
        let queue = unsafe { rd_kafka_queue_new(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).ok_or(KafkaError::Canceled)?;
        let wake = Box::new(wake);
        // SAFETY: the box does not move, and the registration ends before it is dropped.
        unsafe {
            let opaque = ptr::from_ref::<Wake>(&wake).cast_mut().cast::<c_void>();
            rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(woken), opaque);
        }
        Ok(Self { queue, batch: VecDeque::new(), kept: Vec::new(), _wake: wake, consumer })
    }

    /// Lets a partition's messages come here; to be called before and after each assignment of it.
    pub fn forward(&self, topic: &str, partition: i32) {
        let Ok(topic) = CString::new(topic) else { return };
        // SAFETY: the client is alive, the name ends with a zero, and the reference to the partition's queue that we
        // get is given back. Forwarding to the same queue again only moves over what still waits there.
        unsafe {
            let client = self.consumer.client().native_ptr();
            let queue = rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if !queue.is_null() {
                rd_kafka_queue_forward(queue, self.queue.as_ptr());
                rd_kafka_queue_destroy(queue);
            }
        }
    }

    /// The next message, out of those that were taken before. What was kept of partitions that go on comes first.
    pub fn next(&mut self, is_paused: impl Fn(u32) -> bool) -> Option<Taken> {
        if !self.kept.is_empty() {
            let batch = &mut self.batch;
            self.kept.retain_mut(|(slot, messages)| {
                let stays = is_paused(*slot);
                while let Some(message) = if stays { None } else { messages.pop_back() } {
                    batch.push_front(message);
                }
                stays
            });
        }
        self.batch.pop_front()
    }

    /// Puts messages back that were the next.
    pub fn put_back(&mut self, messages: impl DoubleEndedIterator<Item = Taken>) {
        messages.rev().for_each(|message| self.batch.push_front(message));
    }

    /// Takes what is there, and does not wait. False if there is nothing.
    pub fn take(&mut self) -> bool {
        let mut messages = [ptr::null_mut(); BATCH];
        // SAFETY: the queue is ours; librdkafka writes at most as many pointers as there is room for, and says how many.
        // Each is a message that is ours to destroy.
        let count = unsafe { rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, messages.as_mut_ptr(), BATCH) };
        let count = usize::try_from(count).unwrap_or(0);
        self.batch.extend(messages.into_iter().take(count).filter_map(NonNull::new).map(Taken));
        count > 0
    }

    /// Puts a message of a paused partition aside until it goes on.
    pub fn keep(&mut self, slot: u32, message: Taken) {
        match self.kept.iter_mut().find(|(kept, _)| *kept == slot) {
            Some((_, messages)) => messages.push_back(message),
            None => self.kept.push((slot, VecDeque::from([message]))),
        }
    }

    /// Drops what was kept of a partition: it is gone, or placed anew.
    pub fn forget(&mut self, slot: u32) {
        self.kept.retain(|(kept, _)| *kept != slot);
    }
}

impl<C: ConsumerContext> Drop for Intake<C> {
    fn drop(&mut self) {
        self.batch.clear();
        self.kept.clear();
        // SAFETY: the registration and our reference end here; the partitions' queues have references of their own.
        unsafe {
            rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::{Duration, Instant};

    use rdkafka::consumer::DefaultConsumerContext;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::types::RDKafkaApiKey;
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};

    use super::*;
    use crate::source::doubt::{Doubts, Look};

    const TOPIC: &str = "events";
    const RECORDS: i64 = 1_000;
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Two partitions with their numbers as values, and who reads them.
    struct Reader {
        producer: BaseProducer,
        /// How many records each partition has.
        end: i64,
        intake: Intake<DefaultConsumerContext>,
        consumer: Arc<BaseConsumer<DefaultConsumerContext>>,
        woken: Receiver<()>,
        /// The next offset of each partition.
        next: HashMap<i32, i64>,
        doubts: Doubts,
        placed_anew: u32,
        cluster: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    }

    fn places(offsets: &[(i32, i64)]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(TOPIC, *partition, Offset::Offset(*offset)).unwrap();
        }
        list
    }

    impl Reader {
        fn new() -> Self {
            let cluster = MockCluster::new(1).unwrap();
            cluster.create_topic(TOPIC, 2, 1).unwrap();
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
            config.set("enable.auto.commit", "false");
            let producer: BaseProducer = config.create().unwrap();
            let consumer: Arc<BaseConsumer> = Arc::new(config.create().unwrap());
            let (wake, woken) = channel();
            let wake: Wake = Box::new(move || {
                let _ending = wake.send(());
            });
            let intake = Intake::new(Arc::clone(&consumer), wake).unwrap();
            let mut reader = Self {
                end: 0,
                producer,
                intake,
                consumer,
                woken,
                next: HashMap::new(),
                doubts: Doubts::default(),
                placed_anew: 0,
                cluster,
            };
            reader.produce(RECORDS);
            reader
        }

        fn produce(&mut self, count: i64) {
            for number in self.end..self.end + count {
                for partition in 0..2 {
                    let value = number.to_string();
                    self.producer.send(BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value)).unwrap();
                }
            }
            self.producer.flush(PATIENCE).unwrap();
            self.end += count;
        }

        fn assign(&mut self, offsets: &[(i32, i64)]) {
            let lead_in = || {
                for (partition, _) in offsets {
                    self.intake.forward(TOPIC, *partition);
                }
            };
            lead_in();
            self.consumer.incremental_assign(&places(offsets)).unwrap();
            lead_in();
            self.next.extend(offsets.iter().copied());
        }

        /// Takes one batch; of each partition exactly what comes next may be in it.
        fn read(&mut self, is_paused: impl Fn(u32) -> bool + Copy) -> usize {
            assert!(self.consumer.poll(Duration::ZERO).is_none(), "nothing comes by the consumer's own queue");
            let mut read = 0;
            self.doubts.next_batch();
            self.intake.take();
            while let Some(message) = self.intake.next(is_paused) {
                let slot = u32::try_from(message.place().unwrap().1).unwrap();
                if is_paused(slot) {
                    self.intake.keep(slot, message);
                    continue;
                }
                let Ok(view) = message.view() else {
                    self.doubts.error(slot);
                    continue;
                };
                let (partition, offset) = (view.partition(), view.offset());
                match self.doubts.look(slot, self.next[&partition], offset) {
                    Look::Take => {}
                    Look::Drop => continue,
                    Look::PlaceAnew => {
                        self.doubts.placed(slot);
                        self.consumer.incremental_unassign(&places(&[(partition, 0)])).unwrap();
                        self.assign(&[(partition, self.next[&partition])]);
                        self.placed_anew += 1;
                        continue;
                    }
                }
                let next = self.next.get_mut(&partition).expect("an assigned partition");
                assert_eq!((offset, view.value().unwrap()), (*next, next.to_string().as_bytes()), "of {partition}");
                *next += 1;
                read += 1;
            }
            read
        }

        fn read_to_the_end(&mut self, of: &[i32]) {
            let deadline = Instant::now() + PATIENCE;
            while of.iter().any(|partition| self.next[partition] < self.end) {
                assert!(Instant::now() < deadline, "{:?}", self.next);
                if self.read(|_| false) == 0 {
                    let _slept = self.woken.recv_timeout(Duration::from_secs(1));
                }
            }
        }
    }

    #[test]
    fn each_message_of_each_partition_comes_once_in_order_and_somebody_is_woken() {
        let mut reader = Reader::new();
        reader.assign(&[(0, 0), (1, 0)]);
        reader.woken.recv_timeout(PATIENCE).expect("a call when there is something");
        reader.read_to_the_end(&[0, 1]);
    }

    #[test]
    fn a_partition_that_goes_and_comes_back_begins_where_it_is_placed() {
        let mut reader = Reader::new();
        for from in [0, 700, 3, 999, 0] {
            reader.assign(&[(0, from), (1, 0)]);
            while reader.read(|_| false) == 0 {
                let _slept = reader.woken.recv_timeout(Duration::from_secs(1));
            }
            reader.consumer.incremental_unassign(&places(&[(0, 0), (1, 0)])).unwrap();
            reader.next.clear();
            assert_eq!(reader.read(|_| false), 0, "of what is gone nothing comes any more");
        }
        reader.assign(&[(1, 10)]);
        reader.read_to_the_end(&[1]);
    }

    #[test]
    fn what_a_batch_holds_of_a_paused_partition_is_kept_and_comes_before_what_is_fetched_anew() {
        let mut reader = Reader::new();
        reader.assign(&[(0, 0), (1, 0)]);
        for _ in 0..5 {
            while !reader.intake.take() {
                let _slept = reader.woken.recv_timeout(Duration::from_secs(1));
            }
            reader.consumer.pause(&places(&[(0, 0)])).unwrap();
            reader.read(|slot| slot == 0);
            reader.consumer.resume(&places(&[(0, 0)])).unwrap();
            reader.read(|_| false);
        }
        reader.read_to_the_end(&[0, 1]);
    }

    #[test]
    fn a_partition_that_is_paused_behind_an_error_skips_no_record() {
        let mut reader = Reader::new();
        reader.assign(&[(0, 0), (1, 0)]);
        reader.read_to_the_end(&[0, 1]);
        let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        reader.cluster.request_errors(RDKafkaApiKey::Fetch, &[error; 2]);
        let deadline = Instant::now() + PATIENCE;
        while [0, 1].iter().any(|slot| reader.doubts.look(*slot, RECORDS, RECORDS + 1) == Look::Take) {
            assert!(Instant::now() < deadline, "an error of each partition");
            reader.read(|_| false);
            let _slept = reader.woken.recv_timeout(Duration::from_millis(50));
        }
        let both = places(&[(0, 0), (1, 0)]);
        reader.consumer.pause(&both).unwrap();
        reader.consumer.resume(&both).unwrap();
        reader.produce(RECORDS);
        reader.read_to_the_end(&[0, 1]);
        assert!(reader.placed_anew >= 2, "librdkafka skipped a record of each, and it was asked for again");
    }
}
