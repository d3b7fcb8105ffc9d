use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::*;

const HERE: Place<'_> = Place { cluster: "c", topic: "events", partition: 0 };

fn metadata(base: i64) -> String {
    let settled = std::iter::once(base + 1..base + 3).collect();
    commit::encode(HERE, Contents { window: base, settled, entries: Vec::new() }).text
}

#[test]
fn a_commit_is_resumed_with_what_is_settled_above_it() {
    let beginning = resume(HERE, 10, metadata(10).as_bytes(), (0, 100));
    let Contents { window, settled, .. } = beginning.contents;
    assert_eq!((window, settled.first(), beginning.expired), (10, Some(&(11..13)), 0));
}

#[test]
fn deferred_accounts_go_on_where_the_commit_says_or_where_the_topic_begins() {
    let entries = vec![commit::Entry { account: 1, next: 12, holes: vec![10] }];
    let contents = Contents { window: 20, settled: std::iter::once(21..22).collect(), entries };
    let text = commit::encode(HERE, contents.clone()).text;
    assert_eq!(resume(HERE, 10, text.as_bytes(), (0, 100)).contents, contents);
    let late = resume(HERE, 10, text.as_bytes(), (15, 100));
    assert_eq!((late.expired, late.contents.window), (5, 20));
    assert_eq!(late.contents.entries, vec![commit::Entry { account: 1, next: 15, holes: vec![] }]);
}

#[test]
fn records_that_the_topic_dropped_count_as_expired() {
    let beginning = resume(HERE, 10, metadata(10).as_bytes(), (40, 100));
    assert_eq!((beginning.contents.window, beginning.expired), (40, 30));
}

#[test]
fn a_commit_beyond_the_end_begins_anew_rather_than_skipping_what_a_new_topic_has() {
    let beginning = resume(HERE, 500, metadata(500).as_bytes(), (0, 100));
    assert_eq!((beginning.contents.window, beginning.contents.settled), (0, vec![]));
}

#[test]
fn damaged_metadata_costs_duplicates_only() {
    for text in [&b"\xff\xfe not ours"[..], b"", metadata(9).as_bytes()] {
        assert_eq!(resume(HERE, 10, text, (0, 100)).contents, Contents { window: 10, ..Contents::default() });
    }
}

const TOPIC: &str = "events";

/// A scout at work, at two partitions.
struct Asked {
    cluster: MockCluster<'static, DefaultProducerContext>,
    consumer: Arc<BaseConsumer<Group>>,
    questions: Sender<Question>,
    found: Receiver<Finding>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Asked {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let consumer: Arc<BaseConsumer<Group>> = Arc::new(config.create_with_context(Group::default()).unwrap());
        let ((questions, asked), (tell, found)) = (channel(), channel());
        let stop = Arc::new(AtomicBool::new(false));
        let tell = Box::new(move |finding| {
            let _ending = tell.send(finding);
        });
        let scout =
            Scout::new(Arc::clone(&consumer), vec![TOPIC.to_owned()], Start::Earliest, asked, tell, Arc::clone(&stop));
        let thread = std::thread::spawn(|| scout.run());
        Self { cluster, consumer, questions, found, stop, thread }
    }

    fn lead(&self, partition: i32, by: Option<i32>) {
        self.cluster.partition_leader(TOPIC, partition, by).unwrap();
    }

    fn ask(&self, question: fn(Vec<TopicPartition>) -> Question) {
        self.questions.send(question((0..2).map(|partition| (TOPIC.to_owned(), partition)).collect())).unwrap();
    }

    /// The next finding that is not about topics being there.
    fn finds(&self) -> Finding {
        loop {
            match self.found.recv_timeout(Duration::from_secs(15)).expect("an answer") {
                Finding::Presence { .. } => {}
                finding => return finding,
            }
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.questions);
        self.thread.join().unwrap();
    }
}

fn ranges(finding: Finding) -> Vec<i32> {
    let Finding::Range(ranges) = finding else { panic!("{finding:?}") };
    ranges.into_iter().map(|((_, partition), _, _)| partition).collect()
}

#[test]
fn a_partition_without_a_leader_does_not_keep_what_the_others_have_from_being_known() {
    let asked = Asked::new();
    asked.ask(Question::Range);
    assert_eq!(ranges(asked.finds()), [0, 1]);
    asked.lead(0, None);
    asked.ask(Question::Range);
    assert_eq!(ranges(asked.finds()), [1]);
    asked.lead(0, Some(1));
    asked.ask(Question::Range);
    assert_eq!(ranges(asked.finds()), [0, 1]);
    asked.end();
}

#[test]
fn a_partition_without_a_leader_does_not_keep_the_others_from_beginning_and_begins_where_it_was_left() {
    let asked = Asked::new();
    let begins = |asked: &Asked| {
        asked.ask(|partitions| Question::Begin { assignment: 1, partitions });
        let finding = asked.finds();
        let Finding::Begin { beginnings, .. } = finding else { panic!("{finding:?}") };
        beginnings.iter().map(|it| (it.partition.1, it.contents.window, it.expired)).collect::<Vec<_>>()
    };
    let mut left = TopicPartitionList::new();
    left.add_partition_offset(TOPIC, 0, Offset::Offset(70)).unwrap();
    asked.consumer.commit(&left, rdkafka::consumer::CommitMode::Sync).unwrap();
    asked.lead(0, None);
    assert_eq!(begins(&asked), [(0, 70, 0), (1, 0, 0)]);
    asked.lead(0, Some(1));
    assert_eq!(begins(&asked), [(0, 0, 0), (1, 0, 0)], "it never had so many");
    asked.end();
}

#[test]
fn a_question_that_a_rebalance_overtakes_is_answered_with_nothing_so_that_it_is_asked_again() {
    let asked = Asked::new();
    (0..2).for_each(|partition| asked.lead(partition, None));
    asked.ask(Question::Range);
    std::thread::sleep(PAUSE);
    asked.ask(|partitions| Question::Begin { assignment: 7, partitions });
    assert_eq!(ranges(asked.finds()), [0; 0]);
    (0..2).for_each(|partition| asked.lead(partition, Some(1)));
    let finding = asked.finds();
    assert!(
        matches!(&finding, Finding::Begin { assignment: 7, beginnings, .. } if beginnings.len() == 2),
        "{finding:?}"
    );
    // The other way round, too: what asks for where to begin goes on.
    (0..2).for_each(|partition| asked.lead(partition, None));
    asked.ask(|partitions| Question::Begin { assignment: 8, partitions });
    std::thread::sleep(PAUSE);
    asked.ask(Question::Range);
    assert_eq!(ranges(asked.finds()), [0; 0]);
    (0..2).for_each(|partition| asked.lead(partition, Some(1)));
    assert!(matches!(asked.finds(), Finding::Begin { assignment: 8, .. }));
    asked.end();
}
