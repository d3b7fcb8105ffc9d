//! Where partitions are read from: taken as ours, and placed anew while they are.
//!
//! Guarantees that their messages come to the intake from the first one on. The end of an earlier assignment takes the
//! forwarding of a queue away while the library no longer sets its own, so it is set before and after.

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use crate::source::raw::intake::Intake;

/// Whether partitions come and go one by one, and not all together.
pub(super) fn one_by_one<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

/// Takes partitions that the group has given to us.
pub(super) fn take<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    intake: &Intake<C>,
    places: &TopicPartitionList,
) -> KafkaResult<()> {
    lead_in(intake, places);
    let taken = if one_by_one(consumer) { consumer.incremental_assign(places) } else { consumer.assign(places) };
    lead_in(intake, places);
    taken
}

/// A partition and an offset.
pub(super) type Place<'a> = (&'a str, i32, i64);

/// What has to be placed anew so that `one` is: where partitions come and go all together, all of `ours`.
pub(super) fn with_others<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    one: Place<'a>,
    ours: impl Iterator<Item = Place<'a>>,
) -> KafkaResult<TopicPartitionList> {
    let all = !one_by_one(consumer);
    let others = ours.filter(|other| all && (other.0, other.1) != (one.0, one.1));
    let mut places = TopicPartitionList::new();
    for (topic, partition, offset) in std::iter::once(one).chain(others) {
        places.add_partition_offset(topic, partition, Offset::Offset(offset))?;
    }
    Ok(places)
}

/// Places partitions anew that are ours: librdkafka ignores seeks where it has stopped fetching.
pub(super) fn anew<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    intake: &Intake<C>,
    places: &TopicPartitionList,
) -> KafkaResult<()> {
    let done = if one_by_one(consumer) {
        consumer.incremental_unassign(places).and_then(|()| consumer.incremental_assign(places))
    } else {
        // By itself: an assignment that also takes away answers before that is done, and its end would take the queues
        // away from us again.
        consumer.unassign().and_then(|()| consumer.assign(places))
    };
    lead_in(intake, places);
    done
}

/// Lets the messages of these partitions come to the intake.
fn lead_in<C: ConsumerContext>(intake: &Intake<C>, places: &TopicPartitionList) {
    for element in places.elements() {
        intake.forward(element.topic(), element.partition());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

    use super::*;
    use crate::source::group::{Group, GroupEvent, list};

    const TOPIC: &str = "events";
    const PARTITIONS: i32 = 12;
    const RECORDS: i64 = 600;
    const PATIENCE: Duration = Duration::from_secs(15);

    /// A member of a group, alone, with all partitions.
    struct Member {
        intake: Intake<Group>,
        consumer: Arc<BaseConsumer<Group>>,
        next: BTreeMap<i32, i64>,
        _cluster: MockCluster<'static, DefaultProducerContext>,
    }

    impl Member {
        fn new(assignor: &str) -> Self {
            let cluster = MockCluster::new(1).unwrap();
            cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
            config.set("enable.auto.commit", "false").set("partition.assignment.strategy", assignor);
            let producer: BaseProducer = config.create().unwrap();
            for number in 0..RECORDS {
                for partition in 0..PARTITIONS {
                    let value = number.to_string();
                    producer.send(BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&value)).unwrap();
                }
            }
            producer.flush(PATIENCE).unwrap();
            let consumer: Arc<BaseConsumer<Group>> = Arc::new(config.create_with_context(Group::default()).unwrap());
            let intake = Intake::new(Arc::clone(&consumer), Box::new(|| {})).unwrap();
            consumer.subscribe(&[TOPIC]).unwrap();
            let mut member = Self { intake, consumer, next: BTreeMap::new(), _cluster: cluster };
            member.join();
            member
        }

        fn join(&mut self) {
            let deadline = Instant::now() + PATIENCE;
            loop {
                assert!(Instant::now() < deadline, "no assignment");
                assert!(self.consumer.poll(Duration::from_millis(50)).is_none());
                if let Some(event) = self.consumer.context().take().pop() {
                    let GroupEvent::Assigned(partitions) = event else { panic!("{event:?}") };
                    let mut places = list(&partitions);
                    places.set_all_offsets(Offset::Beginning).unwrap();
                    take(&self.consumer, &self.intake, &places).unwrap();
                    self.next = partitions.into_iter().map(|(_, partition)| (partition, 0)).collect();
                    return;
                }
            }
        }

        /// Reads until each partition has come so far; of each exactly what comes next may come.
        fn read_to(&mut self, end: i64) {
            let deadline = Instant::now() + PATIENCE;
            while self.next.values().any(|next| *next < end) {
                assert!(Instant::now() < deadline, "nothing comes any more: {:?}", self.next);
                assert!(self.consumer.poll(Duration::from_millis(1)).is_none(), "it came by the consumer's own queue");
                self.intake.take();
                while let Some(message) = self.intake.next(|_| false) {
                    let view = message.view().unwrap();
                    let next = self.next.get_mut(&view.partition()).expect("one of ours");
                    assert_eq!(view.offset(), *next, "of {}", view.partition());
                    *next += 1;
                }
            }
        }

        fn place(&mut self, one: i32) {
            let ours = self.next.iter().map(|(partition, next)| (TOPIC, *partition, *next));
            let list = with_others(&self.consumer, (TOPIC, one, self.next[&one]), ours).unwrap();
            anew(&self.consumer, &self.intake, &list).unwrap();
        }
    }

    impl Drop for Member {
        fn drop(&mut self) {
            // Else the group waits for somebody who answers what it takes back.
            self.consumer.context().close();
        }
    }

    fn goes_on_where_it_was_placed(assignor: &str) {
        let mut member = Member::new(assignor);
        assert_eq!(member.next.len(), 12);
        for round in 1..=50 {
            member.read_to(round * 10);
            member.place(i32::try_from(round).unwrap() % PARTITIONS);
        }
        member.read_to(RECORDS);
    }

    #[test]
    fn placed_anew_by_an_eager_group_all_partitions_go_on_by_the_intake() {
        goes_on_where_it_was_placed("range");
    }

    #[test]
    fn placed_anew_by_a_cooperative_group_the_partition_and_the_others_go_on_by_the_intake() {
        goes_on_where_it_was_placed("cooperative-sticky");
    }
}
