//! What the group gives and takes: assignments begun at their offsets, revocations drained, positions corrected.

use rdkafka::consumer::{CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::{Poller, REVOKE_DRAIN};
use crate::clock::Now;
use crate::pipeline::Partition;
use crate::source::commit::Contents;
use crate::source::group::{GroupEvent, TopicPartition, list};
use crate::source::scout::{Beginning, Finding, Question};

/// What a partition had when it was asked.
#[derive(Clone, Copy, Debug)]
struct Range {
    low: i64,
    high: i64,
    /// Up to where it had been read when it was asked; `None` if it was not assigned then.
    asked: Option<i64>,
}

impl Range {
    /// Whether it ends before what had been read. That is only so if it had been read when it was asked: what came since
    /// lies behind the end that it told.
    fn is_cut(self, front: i64) -> bool {
        self.asked.is_some_and(|asked| asked.min(front) > self.high)
    }
}

impl Poller {
    pub(super) fn group_event(&mut self, now: Now, event: GroupEvent) {
        match event {
            GroupEvent::Assigned(partitions) => {
                tracing::info!(partitions = partitions.len(), "assigned");
                self.state.rebalances += 1;
                self.status.joined();
                self.state.proven = now.mono;
                if partitions.is_empty() {
                    self.assign(&TopicPartitionList::new());
                } else {
                    self.state.assignment += 1;
                    self.state.pending = Some(partitions.clone());
                    self.ask(Question::Begin { assignment: self.state.assignment, partitions });
                }
            }
            GroupEvent::Revoked { partitions, lost } => self.revoked(now, partitions, lost),
            GroupEvent::Failed(error) => tracing::warn!(%error, "rebalance failed; the group tries again"),
            GroupEvent::Committed(result) => {
                let sent = self.state.commits_sent.pop_front();
                match result {
                    Ok(()) => self.state.proven = sent.unwrap_or(self.state.proven),
                    Err(error) => tracing::warn!(%error, "failed to commit; the next one says the same and more"),
                }
            }
        }
    }

    fn assign(&self, partitions: &TopicPartitionList) {
        self.lead_in(partitions);
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(partitions),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.assign(partitions),
        };
        if let Err(error) = assigned {
            tracing::warn!(%error, "failed to take an assignment; the group tries again");
        }
        self.lead_in(partitions);
    }

    /// Lets the messages of these partitions come to the intake, before they are assigned and after it.
    fn lead_in(&self, partitions: &TopicPartitionList) {
        for element in partitions.elements() {
            self.intake.forward(element.topic(), element.partition());
        }
    }

    fn revoked(&mut self, now: Now, partitions: Vec<TopicPartition>, lost: bool) {
        tracing::info!(partitions = partitions.len(), lost, "revoked");
        if let Some(pending) = &mut self.state.pending {
            pending.retain(|partition| !partitions.contains(partition));
        }
        if lost {
            // Somebody else may read them already: nothing may be committed, and nothing is worth waiting for.
            self.give_up(now, &partitions);
            return;
        }
        for (topic, partition) in &partitions {
            let slot = self.pipeline.slot(topic, *partition);
            self.pipeline.revoking(slot, now);
        }
        self.state.revoking.push((partitions, now.mono + REVOKE_DRAIN));
    }

    /// Lets revoked partitions go whose calls are settled, or have had their time.
    pub(super) fn end_revocations(&mut self, now: Now) {
        let mut waiting = std::mem::take(&mut self.state.revoking);
        waiting.retain(|(partitions, deadline)| {
            let slots: Vec<_> = partitions.iter().map(|(topic, number)| self.pipeline.slot(topic, *number)).collect();
            let settled = slots.iter().all(|&slot| self.pipeline.is_settled(slot));
            if !settled && now.mono < *deadline && self.pipeline.can_finish() {
                return true;
            }
            self.commit(now, Some(&slots), CommitMode::Async);
            self.give_up(now, partitions);
            false
        });
        self.state.revoking.append(&mut waiting);
    }

    fn give_up(&mut self, now: Now, partitions: &[TopicPartition]) {
        let slots: Vec<_> = partitions.iter().map(|(topic, number)| self.pipeline.slot(topic, *number)).collect();
        let given_back = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_unassign(&list(partitions)),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.unassign(),
        };
        if let Err(error) = given_back {
            tracing::warn!(%error, "failed to give partitions back");
        }
        for &slot in &slots {
            self.intake.forget(slot);
        }
        self.pipeline.unassign(&slots, now);
    }

    pub(super) fn found(&mut self, now: Now, finding: Finding) {
        match finding {
            Finding::Presence { brokers, missing } => self.status.presence(brokers, missing.is_empty()),
            Finding::Range(ranges) => {
                let asked = self.state.asked_range.take().unwrap_or_default();
                let may_place = !ranges.is_empty() && self.state.revoking.is_empty();
                let stopped = may_place && std::mem::take(&mut self.state.stopped);
                for ((topic, partition), low, high) in ranges {
                    self.expire(&topic, partition, low);
                    let asked = asked.iter().find(|((of, number), _)| *of == topic && *number == partition);
                    let range = Range { low, high, asked: asked.map(|(_, front)| *front) };
                    self.correct_position(now, &topic, partition, range, stopped);
                }
            }
            Finding::Begin { assignment, cluster, beginnings } => {
                if assignment != self.state.assignment {
                    return;
                }
                self.state.cluster = cluster;
                let wanted = self.state.pending.take().unwrap_or_default();
                let beginnings: Vec<_> = beginnings.into_iter().filter(|b| wanted.contains(&b.partition)).collect();
                self.begin(now, beginnings);
            }
        }
    }

    fn begin(&mut self, now: Now, beginnings: Vec<Beginning>) {
        let mut assignment = TopicPartitionList::with_capacity(beginnings.len());
        let mut ahead = None;
        for beginning in beginnings {
            let (topic, number) = &beginning.partition;
            self.state.expired += u64::try_from(beginning.expired).unwrap_or(0);
            if let Some(records) = beginning.first_join {
                *ahead.get_or_insert(0) += records;
            }
            let offset = Offset::Offset(beginning.contents.window);
            if let Err(error) = assignment.add_partition_offset(topic, *number, offset) {
                tracing::error!(%error, topic, partition = number, "failed to place a partition");
                continue;
            }
            let slot = self.pipeline.slot(topic, *number);
            self.intake.forget(slot);
            self.state.doubts.placed(slot);
            self.pipeline.assign(slot, beginning.contents);
        }
        if ahead == Some(0) {
            tracing::info!("first join of the group: no records lie before us");
        }
        self.state.first_join = ahead;
        self.assign(&assignment);
        // At once: to be told where to begin may have taken longer than the session, and where nobody had read before, who
        // comes after us has to begin here, too.
        self.state.next_commit = now.mono;
        if self.state.draining {
            self.pause_all();
        } else if let Err(error) = self.consumer.resume(&assignment) {
            // A partition that was paused when it went would come back paused.
            tracing::warn!(%error, "failed to resume what was assigned");
        }
    }

    /// The topic no longer has what deferred accounts would have read again.
    fn expire(&mut self, topic: &str, number: i32, low: i64) {
        let slot = self.pipeline.slot(topic, number);
        let expired = self.pipeline.expire(slot, low);
        if expired > 0 {
            self.state.expired += expired.unsigned_abs();
            tracing::error!(
                topic,
                partition = number,
                expired,
                "the topic dropped records that deferred accounts still owed"
            );
        }
    }

    /// The topic no longer has what we want to read next.
    fn correct_position(&mut self, now: Now, topic: &str, number: i32, range: Range, stopped: bool) {
        let slot = self.pipeline.slot(topic, number);
        let partition = self.pipeline.partitions().get(slot as usize);
        let Some(front) = partition.filter(|p| p.ledger.is_some()).map(Partition::front) else { return };
        let Range { low, high, .. } = range;
        let in_range = front >= low && !range.is_cut(front);
        if in_range && !stopped {
            return;
        }
        if !self.state.revoking.is_empty() {
            // To place one now would answer the group for those that go; it is asked again.
            self.state.stopped = true;
            return;
        }
        if in_range {
            // It may be the one that is no longer fetched, and may have grown past our place since.
            tracing::debug!(topic, partition = number, front, "reading on where we were");
        } else if front < low {
            let expired = low - front;
            self.state.expired += u64::try_from(expired).unwrap_or(0);
            tracing::error!(topic, partition = number, expired, "the topic dropped records that were not read yet");
            self.pipeline.skip(slot, low);
        } else {
            tracing::error!(
                topic,
                partition = number,
                front,
                end = high,
                "the topic was made again or cut; reading from its beginning"
            );
            self.pipeline.unassign(&[slot], now);
            let contents = Contents { window: low, ..Contents::default() };
            self.pipeline.assign(slot, contents);
        }
        self.read_on(topic, number, if in_range { front } else { low });
    }

    /// Reads a partition on from this offset.
    pub(super) fn read_on(&mut self, topic: &str, number: i32, offset: i64) {
        let slot = self.pipeline.slot(topic, number);
        if let Err(error) = self.restart(topic, number, offset) {
            tracing::warn!(%error, topic, partition = number, offset, "failed to read on from an offset");
            self.state.doubts.error(slot);
        }
    }

    /// Places a partition anew, because librdkafka ignores seeks where it has stopped fetching.
    fn restart(&mut self, topic: &str, number: i32, offset: i64) -> KafkaResult<()> {
        let slot = self.pipeline.slot(topic, number);
        self.intake.forget(slot);
        self.state.doubts.placed(slot);
        let mut anew = TopicPartitionList::new();
        anew.add_partition_offset(topic, number, Offset::Offset(offset))?;
        let placed = if matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            self.consumer
                .incremental_unassign(&list(&[(topic.to_owned(), number)]))
                .and_then(|()| self.consumer.incremental_assign(&anew))
        } else {
            // The others are placed anew, too.
            for (other, partition) in (0..).zip(self.pipeline.partitions()).filter(|(other, _)| *other != slot) {
                if let Some(ledger) = &partition.ledger {
                    self.intake.forget(other);
                    self.state.doubts.placed(other);
                    anew.add_partition_offset(&partition.topic, partition.number, Offset::Offset(ledger.front()))?;
                }
            }
            // By itself: an assignment that also takes away answers before that is done, and its end would take the
            // queues away from us again.
            self.consumer.unassign().and_then(|()| self.consumer.assign(&anew))
        };
        self.lead_in(&anew);
        for element in anew.elements() {
            let slot = self.pipeline.slot(element.topic(), element.partition());
            self.pause(slot, self.pipeline.is_paused(slot));
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn what_was_read_while_it_was_asked_does_not_make_a_topic_cut() {
        let range = |high, asked| Range { low: 0, high, asked };
        assert!(!range(210, Some(200)).is_cut(280), "read on since");
        assert!(!range(210, Some(210)).is_cut(210));
        assert!(range(210, Some(211)).is_cut(280), "it had more than it has");
        assert!(!range(210, Some(500)).is_cut(100), "another owner's place, since given to us");
        assert!(!range(210, None).is_cut(280), "assigned since");
    }
}
