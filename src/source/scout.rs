//! Asks the brokers what the poll thread may not wait for: where reading begins, and whether topics are there.
//!
//! A thread of its own. Answers every request, however long the brokers are away; says once when they, or a topic,
//! are missing, and once when they are back. Ends when its requests end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};

use super::commit::{self, Contents, Place};
use super::group::{Group, TopicPartition, list};
use super::raw;
use crate::config::Start;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often topics and brokers are looked after, while all is well and while something is missing.
const ROUND: Duration = Duration::from_secs(10);
const SHORT_ROUND: Duration = Duration::from_secs(1);
/// Between two attempts at a question that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// The range of a partition that nobody answers for.
const ANYTHING: (i64, i64) = (0, i64::MAX);

/// What the poll thread wants to know.
#[derive(Debug)]
pub enum Question {
    /// Where reading of these partitions begins.
    Begin {
        /// The assignment that it is for.
        assignment: u64,
        /// Which partitions.
        partitions: Vec<TopicPartition>,
    },
    /// Which offsets these partitions have.
    Range(Vec<TopicPartition>),
}

/// Where reading of a partition begins.
#[derive(Debug)]
pub struct Beginning {
    /// Which partition.
    pub partition: TopicPartition,
    /// From where, and what is settled above.
    pub contents: Contents,
    /// Offsets that were committed as owed and that the topic no longer has.
    pub expired: i64,
    /// Records before us, if nobody has read it for this group yet.
    pub first_join: Option<i64>,
}

/// What the brokers said.
#[derive(Debug)]
pub enum Finding {
    /// Where reading begins.
    Begin {
        /// The assignment that it is for.
        assignment: u64,
        /// The cluster's id.
        cluster: String,
        /// Each partition.
        beginnings: Vec<Beginning>,
    },
    /// The lowest and the next offset of each partition that somebody answers for; of none, if the question was overtaken.
    Range(Vec<Range>),
    /// Whether brokers answer, and which subscribed topics are missing.
    Presence {
        /// Brokers answer.
        brokers: bool,
        /// Topics that are not there.
        missing: Vec<String>,
    },
}

/// A partition with its lowest and its next offset.
pub type Range = (TopicPartition, i64, i64);

/// The thread.
pub struct Scout {
    consumer: Arc<BaseConsumer<Group>>,
    topics: Vec<String>,
    start: Start,
    questions: Receiver<Question>,
    tell: Box<dyn Fn(Finding) + Send>,
    stop: Arc<AtomicBool>,
    present: Option<(bool, Vec<String>)>,
    /// How many partitions each topic had when brokers answered first.
    first_seen: Option<HashMap<String, usize>>,
}

impl Scout {
    /// A scout that answers by `tell`, until `stop` or until the questions end.
    #[must_use]
    pub fn new(
        consumer: Arc<BaseConsumer<Group>>,
        topics: Vec<String>,
        start: Start,
        questions: Receiver<Question>,
        tell: Box<dyn Fn(Finding) + Send>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { consumer, topics, start, questions, tell, stop, present: None, first_seen: None }
    }

    /// Runs until the questions end.
    pub fn run(mut self) {
        loop {
            self.look_after();
            let well = self.present.as_ref().is_some_and(|(brokers, missing)| *brokers && missing.is_empty());
            match self.questions.recv_timeout(if well { ROUND } else { SHORT_ROUND }) {
                Ok(question) => self.answer(question),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks whether brokers and topics are there, and says so when that changes.
    fn look_after(&mut self) {
        let metadata = self.consumer.fetch_metadata(None, PATIENCE);
        let (brokers, missing) = match &metadata {
            Ok(metadata) => {
                self.first_seen.get_or_insert_with(|| partition_counts(metadata));
                let there = |name: &str| {
                    metadata.topics().iter().any(|topic| topic.name() == name && !topic.partitions().is_empty())
                };
                let missing = self.topics.iter().filter(|name| !name.starts_with('^') && !there(name));
                (true, missing.cloned().collect::<Vec<_>>())
            }
            Err(_) => (false, Vec::new()),
        };
        let before = self.present.replace((brokers, missing.clone()));
        if before.as_ref() == self.present.as_ref() {
            return;
        }
        match (&metadata, before) {
            (Err(error), _) => tracing::error!(%error, "no broker answers; waiting for one"),
            (Ok(_), _) if !missing.is_empty() => {
                tracing::error!(topics = ?missing, "topics are missing; waiting for them");
            }
            (Ok(_), Some(_)) => tracing::info!("brokers answer and all topics are there"),
            (Ok(_), None) => {}
        }
        (self.tell)(Finding::Presence { brokers, missing });
    }

    /// Answers, however long that takes; but not the question of an assignment that another one has followed.
    fn answer(&mut self, mut question: Question) {
        let mut complained = false;
        loop {
            let found = match &question {
                Question::Begin { assignment, partitions } => self.begin(*assignment, partitions),
                Question::Range(partitions) => self.ranges_of_led(partitions).map(Finding::Range),
            };
            match found {
                Ok(finding) => return (self.tell)(finding),
                Err(error) if !complained => {
                    complained = true;
                    tracing::warn!(%error, "failed to ask the brokers for offsets; trying on");
                }
                Err(_) => {}
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(PAUSE);
            while let Ok(newer) = self.questions.try_recv() {
                let kept = if matches!((&question, &newer), (Question::Begin { .. }, Question::Range(_))) {
                    newer
                } else {
                    std::mem::replace(&mut question, newer)
                };
                if let Question::Range(_) = kept {
                    // Whoever asked may ask again.
                    (self.tell)(Finding::Range(Vec::new()));
                }
            }
        }
    }

    fn begin(&self, assignment: u64, partitions: &[TopicPartition]) -> KafkaResult<Finding> {
        let cluster = self.consumer.client().fetch_cluster_id(PATIENCE).unwrap_or_default();
        let committed = self.consumer.committed_offsets(list(partitions), PATIENCE)?;
        let ranges: HashMap<TopicPartition, (i64, i64)> = self
            .ranges_of_led(partitions)?
            .into_iter()
            .map(|(partition, low, high)| (partition, (low, high)))
            .collect();
        let mut beginnings = Vec::with_capacity(partitions.len());
        for (index, partition) in partitions.iter().enumerate() {
            let place = Place { cluster: &cluster, topic: &partition.0, partition: partition.1 };
            let offset = match committed.elements().get(index).map(|element| (element.error(), element.offset())) {
                Some((Err(error), _)) => return Err(error),
                Some((Ok(()), Offset::Offset(offset))) => Some(offset),
                _ => None,
            };
            let beginning = match (offset, ranges.get(partition)) {
                (Some(offset), Some(range)) => resume(place, offset, raw::metadata(&committed, index), *range),
                // If it no longer has that, its leader says so when it has one, and is asked for its range then.
                (Some(offset), None) => resume(place, offset, raw::metadata(&committed, index), ANYTHING),
                (None, Some(range)) => self.first(place, *range)?,
                (None, None) => return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable)),
            };
            beginnings.push(beginning);
        }
        Ok(Finding::Begin { assignment, cluster, beginnings })
    }

    fn range(&self, partition: &TopicPartition) -> KafkaResult<Range> {
        let (low, high) = self.consumer.fetch_watermarks(&partition.0, partition.1, PATIENCE)?;
        Ok((partition.clone(), low, high))
    }

    /// The ranges of those partitions whose leader answers: one without does not keep the others' from being known. An
    /// error if none does.
    fn ranges_of_led(&self, partitions: &[TopicPartition]) -> KafkaResult<Vec<Range>> {
        let leaders = self.leaders(partitions)?;
        let (mut ranges, mut mute, mut failed) = (Vec::with_capacity(partitions.len()), HashSet::new(), None);
        for partition in partitions {
            let Some(leader) = leaders.get(partition) else {
                failed.get_or_insert(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
                continue;
            };
            // Each that does not answer takes all of the patience: a leader is asked in vain once.
            if mute.contains(leader) {
                continue;
            }
            match self.range(partition) {
                Ok(range) => ranges.push(range),
                Err(error) => {
                    mute.insert(*leader);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if ranges.is_empty() => Err(error),
            Some(error) => {
                tracing::debug!(%error, known = ranges.len(), of = partitions.len(), "some partitions have no leader");
                Ok(ranges)
            }
            None => Ok(ranges),
        }
    }

    /// Who leads these partitions, as far as somebody does.
    fn leaders(&self, partitions: &[TopicPartition]) -> KafkaResult<HashMap<TopicPartition, i32>> {
        let topics: HashSet<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
        let mut leaders = HashMap::new();
        for topic in topics {
            let metadata = self.consumer.fetch_metadata(Some(topic), PATIENCE)?;
            let led = metadata.topics().iter().flat_map(|topic| topic.partitions().iter().map(move |p| (topic, p)));
            leaders.extend(
                led.filter(|(_, partition)| partition.leader() >= 0)
                    .map(|(topic, partition)| ((topic.name().to_owned(), partition.id()), partition.leader())),
            );
        }
        Ok(leaders)
    }

    /// Whether the partition was made since this process found the brokers. Until it is found records may be written to
    /// it, and they are not what `latest` leaves out.
    fn is_new(&self, place: Place<'_>) -> bool {
        let before = |seen: &HashMap<String, usize>| seen.get(place.topic).copied().unwrap_or(0);
        let number = usize::try_from(place.partition).unwrap_or(0);
        self.first_seen.as_ref().is_some_and(|seen| number >= before(seen))
    }

    /// Nobody has committed for the group yet: `[kafka] start` decides.
    fn first(&self, place: Place<'_>, (low, high): (i64, i64)) -> KafkaResult<Beginning> {
        let window = match self.start {
            Start::Earliest => low,
            // Nobody was there to skip what it has.
            Start::Latest if self.is_new(place) => low,
            Start::Latest => high,
            Start::Time(at) => {
                let mut times = TopicPartitionList::new();
                times.add_partition_offset(place.topic, place.partition, Offset::Offset(at))?;
                let found = self.consumer.offsets_for_times(times, PATIENCE)?;
                match found.elements().first().map(rdkafka::topic_partition_list::TopicPartitionListElem::offset) {
                    Some(Offset::Offset(offset)) => offset.max(low),
                    _ => high,
                }
            }
        };
        Ok(Beginning {
            partition: (place.topic.to_owned(), place.partition),
            contents: Contents { window, ..Contents::default() },
            expired: 0,
            first_join: Some(high - window),
        })
    }
}

/// The partitions of each topic; as many as there can be while the brokers cannot tell.
fn partition_counts(metadata: &Metadata) -> HashMap<String, usize> {
    let count = |topic: &rdkafka::metadata::MetadataTopic| {
        if topic.error().is_some() { usize::MAX } else { topic.partitions().len() }
    };
    metadata.topics().iter().map(|topic| (topic.name().to_owned(), count(topic))).collect()
}

/// Goes on where the group's last commit says.
fn resume(place: Place<'_>, offset: i64, metadata: &[u8], (low, high): (i64, i64)) -> Beginning {
    let (topic, partition) = (place.topic, place.partition);
    let mut contents = match commit::decode(metadata, place, offset) {
        Ok(contents) => contents,
        Err(reason) => {
            if !metadata.is_empty() {
                tracing::warn!(topic, partition, offset, %reason, "the commit's metadata is ignored; some events may be sent twice");
            }
            Contents { window: offset, ..Contents::default() }
        }
    };
    let mut expired = 0;
    if offset > high {
        tracing::error!(
            topic,
            partition,
            offset,
            end = high,
            "the commit lies beyond the topic's end: it was made again or cut; reading from its beginning"
        );
        contents = Contents { window: low, ..Contents::default() };
    } else if contents.window < low {
        expired = low - contents.window;
        tracing::error!(
            topic,
            partition,
            offset,
            beginning = low,
            expired,
            "the topic dropped records that were still owed"
        );
        contents.window = low;
    }
    contents.entries.retain_mut(|entry| {
        let lost = (low - entry.lowest()).max(0);
        if lost > 0 {
            expired = expired.max(lost);
            tracing::error!(topic, partition, lost, "the topic dropped records that a deferred account still owed");
        }
        entry.expire(low)
    });
    Beginning { partition: (topic.to_owned(), partition), contents, expired, first_join: None }
}

#[cfg(test)]
mod tests;
