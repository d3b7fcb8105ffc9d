//! What tests ask of a cluster's topics: made, deleted, widened, cut.
//!
//! Every call blocks until all brokers show it, and panics if the cluster refuses.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::Kafka;
use super::client::ANSWER;
use crate::support::eventually;

/// `default.replication.factor`
const BROKERS_CHOICE: TopicReplication<'_> = TopicReplication::Fixed(-1);

impl Kafka {
    /// Makes a topic and waits until every partition has its leader.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, BROKERS_CHOICE);
        for (key, value) in config {
            topic = topic.set(key, value);
        }
        let made = block_on(self.admin().create_topics([&topic], &admin_options()));
        expect_all("create the topic", made);
        self.wait_for_partitions(name, partitions);
    }

    /// Deletes a topic and waits until it is gone.
    pub(crate) fn delete_topic(&self, name: &str) {
        let deleted = block_on(self.admin().delete_topics(&[name], &admin_options()));
        expect_all("delete the topic", deleted);
        let client = self.consumer("forebay-tests");
        eventually(ANSWER, &format!("the end of topic {name}"), || {
            let metadata = client.fetch_metadata(None, ANSWER).map_err(|error| error.to_string())?;
            let there = metadata.topics().iter().any(|topic| topic.name() == name);
            if there { Err("still listed".to_owned()) } else { Ok(()) }
        });
    }

    /// One setting of a topic; `None` if there is no such topic.
    pub(crate) fn topic_setting(&self, topic: &str, setting: &str) -> Option<String> {
        let asked = [ResourceSpecifier::Topic(topic)];
        let answers = block_on(self.admin().describe_configs(&asked, &admin_options())).expect("an answer");
        let resource = answers.into_iter().flatten().next()?;
        resource.get(setting)?.value.clone()
    }

    /// Gives a topic more partitions: so many in all.
    pub(crate) fn add_partitions(&self, name: &str, partitions: i32) {
        let wanted = NewPartitions::new(name, usize::try_from(partitions).expect("a number"));
        let added = block_on(self.admin().create_partitions([&wanted], &admin_options()));
        expect_all("add partitions", added);
        self.wait_for_partitions(name, partitions);
    }

    /// Drops a partition's records below an offset, as retention would.
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, below: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(below)).expect("an offset");
        let deleted = block_on(self.admin().delete_records(&list, &admin_options())).expect("records are deleted");
        assert!(deleted.elements().iter().all(|element| element.error().is_ok()), "{deleted:?}");
    }

    fn wait_for_partitions(&self, name: &str, partitions: i32) {
        let client = self.consumer("forebay-tests");
        eventually(ANSWER, &format!("topic {name} with {partitions} partitions"), || {
            let metadata = client.fetch_metadata(Some(name), ANSWER).map_err(|error| error.to_string())?;
            let led = metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
            let led = led.filter(|partition| partition.leader() >= 0 && partition.error().is_none()).count();
            if i32::try_from(led) == Ok(partitions) { Ok(()) } else { Err(format!("{led} partitions with a leader")) }
        });
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("an admin client")
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ANSWER)).request_timeout(Some(ANSWER))
}

fn expect_all<T: Debug, E: Debug>(what: &str, results: KafkaResult<Vec<Result<T, E>>>) {
    let results = results.unwrap_or_else(|error| panic!("failed to {what}: {error}"));
    assert!(results.iter().all(Result::is_ok), "failed to {what}: {results:?}");
}

/// Librdkafka completes its futures from its own threads, so no runtime is needed, and none is disturbed.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
