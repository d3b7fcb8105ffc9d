//! The poll thread's reading of a real intake: whatever happens in the middle of a batch, each record is worked on once, and
//! none is passed over. To a ledger a record that comes too late is one that was read before: it would not count.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rdkafka::consumer::BaseConsumer;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::super::{Message, State, place};
use super::*;
use crate::clock::Clock;
use crate::config;
use crate::dead_letter::{self, Writer};
use crate::delivery;
use crate::delivery::http::{Client, Options};
use crate::pipeline::{Parts, Pipeline};
use crate::source::commit::Contents;
use crate::source::group::Group;
use crate::source::queues::Queues;
use crate::source::raw::intake::Intake;
use crate::source::sweeper::Sweeper;

const TOPIC: &str = "events";
const PARTITIONS: i32 = 4;
/// Of each partition.
const RECORDS: i64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);
const CONFIG: &str = r#"
[kafka]
brokers = "nobody:1"
topics = ["events"]
[accounts.acme]
iterable = { region = "us", keys = [{ file = "k" }] }
"#;

/// A poll thread whose records all become dead letters, which nobody writes.
struct Rig {
    poller: Poller,
    woken: Receiver<()>,
    acknowledged: u64,
    _unheard: (Receiver<Question>, Writer, delivery::Courier),
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Rig {
    /// Reads partition 0 from `first` on, the others from their beginning. The ledgers of all begin at 0.
    fn new(first: i64) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        client.set("enable.auto.commit", "false");
        let producer: BaseProducer = client.create().unwrap();
        for number in 0..RECORDS {
            let value = format!("no json {number}");
            for partition in 0..PARTITIONS {
                producer.send(BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value)).unwrap();
            }
        }
        producer.flush(PATIENCE).unwrap();
        let (mut poller, woken, unheard) = poller(&client);
        let mut places = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let slot = poller.pipeline.slot(TOPIC, partition);
            poller.pipeline.assign(slot, Contents::default());
            let offset = if partition == 0 { first } else { 0 };
            places.add_partition_offset(TOPIC, partition, Offset::Offset(offset)).unwrap();
        }
        place::take(&poller.consumer, &poller.intake, &places).unwrap();
        Self { poller, woken, acknowledged: 0, _unheard: unheard, _cluster: cluster }
    }

    fn received(&self) -> Vec<u64> {
        self.poller.pipeline.partitions().iter().map(|partition| partition.received).collect()
    }

    fn paused(&self) -> usize {
        self.poller.pipeline.partitions().iter().filter(|partition| partition.is_paused()).count()
    }

    /// Nearly all letters are written.
    fn acknowledge(&mut self) {
        let read = self.received().iter().sum::<u64>().saturating_sub(4_000);
        (self.acknowledged..read).for_each(|id| self.poller.pipeline.letter_written(id));
        self.acknowledged = self.acknowledged.max(read);
        self.poller.pipeline.tick(self.poller.clock.now());
        self.poller.act();
    }

    /// Reads to the end of all partitions, with `between` two turns.
    fn read_to_the_end(&mut self, mut between: impl FnMut(&mut Self)) {
        let deadline = Instant::now() + PATIENCE;
        let ends = |partition: &Partition| partition.front() == RECORDS;
        while !self.poller.pipeline.partitions().iter().all(ends) {
            assert!(Instant::now() < deadline, "nothing comes any more: {:?}", self.received());
            if self.poller.read(self.poller.clock.now()).unwrap() {
                let _slept = self.woken.recv_timeout(Duration::from_millis(50));
            }
            between(self);
        }
        assert_eq!(self.received(), vec![RECORDS.unsigned_abs(); 4], "each record once");
    }
}

type Unheard = (Receiver<Question>, Writer, delivery::Courier);

fn poller(client: &ClientConfig) -> (Poller, Receiver<()>, Unheard) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    std::fs::write(&path, CONFIG).unwrap();
    let config = config::load(&path).unwrap().config;
    let clock = Clock::default();
    let consumer: Arc<BaseConsumer<Group>> = Arc::new(client.create_with_context(Group::default()).unwrap());
    let (wake, woken) = channel();
    let wake = move || {
        let _ending = wake.send(());
    };
    let intake = Intake::new(Arc::clone(&consumer), Box::new(wake)).unwrap();
    let (to_inbox, inbox) = channel::<Message>();
    let (questions, asked) = channel();
    let http = Client::new(Options::new(&config.delivery, |_| None).unwrap()).unwrap();
    let (delivery, courier) = delivery::new(http, Vec::new(), |_| {});
    let (letters, writer) = dead_letter::new(client, "letters", Vec::new(), |_| {}).unwrap();
    let poller = Poller {
        intake,
        consumer,
        sweeper: Sweeper::new(client, Queues::of(&config), to_inbox),
        pipeline: Pipeline::new(Parts::of(&config, clock.now(), 1)),
        inbox,
        questions,
        delivery,
        letters,
        status: Arc::default(),
        clock,
        proof: PATIENCE,
        state: State::default(),
    };
    (poller, woken, (asked, writer, courier))
}

#[test]
fn what_was_decoded_of_paused_partitions_is_worked_on_once_when_they_go_on() {
    let mut rig = Rig::new(0);
    let mut pauses = 0;
    rig.read_to_the_end(|rig| {
        if rig.paused() > 0 {
            assert_eq!(rig.paused(), 4);
            assert!(rig.poller.pipeline.letters_waiting() <= 10_001, "bounds hold to the record");
            // What was taken of them is kept, however often one looks.
            let before = rig.received();
            rig.poller.read(rig.poller.clock.now()).unwrap();
            assert_eq!(rig.received(), before);
            pauses += 1;
            rig.acknowledge();
        }
    });
    assert!(pauses >= 3, "{pauses} pauses, each in the middle of a batch");
}

#[test]
fn what_was_decoded_of_partitions_that_are_placed_anew_comes_again_and_is_worked_on_once() {
    let mut rig = Rig::new(500);
    rig.poller.state.doubts.error(0);
    rig.read_to_the_end(Rig::acknowledge);
}
