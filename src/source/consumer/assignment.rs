//! What the group gives and takes: assignments begun at their offsets, revocations drained, positions corrected.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::ranges::Range;
use super::{Poller, REVOKE_DRAIN, place};
use crate::clock::Now;
use crate::pipeline::Partition;
use crate::source::commit::Contents;
use crate::source::group::{GroupEvent, TopicPartition, list, names};
use crate::source::scout::{Beginning, Finding, Question};

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
        if let Err(error) = place::take(&self.consumer, &self.intake, partitions) {
            tracing::warn!(%error, "failed to take an assignment; the group tries again");
        }
    }

    /// What is left of the partition is of an older place.
    fn placed(&mut self, slot: u32) {
        self.intake.forget(slot);
        self.state.doubts.placed(slot);
        self.state.ranges.placed(slot);
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
        let given_back = if place::one_by_one(&self.consumer) {
            self.consumer.incremental_unassign(&list(partitions))
        } else {
            self.consumer.unassign()
        };
        if let Err(error) = given_back {
            tracing::warn!(%error, "failed to give partitions back");
        }
        for &slot in &slots {
            self.intake.forget(slot);
            self.state.ranges.placed(slot);
        }
        self.pipeline.unassign(&slots, now);
    }

    pub(super) fn found(&mut self, now: Now, finding: Finding) {
        match finding {
            Finding::Presence { brokers, missing } => self.status.presence(brokers, missing.is_empty()),
            Finding::Range(ranges) => {
                for ((topic, partition), range) in self.state.ranges.answered(ranges) {
                    self.expire(&topic, partition, range.low);
                    self.correct_position(now, &topic, partition, range);
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
            self.placed(slot);
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
    fn correct_position(&mut self, now: Now, topic: &str, number: i32, range: Range) {
        let slot = self.pipeline.slot(topic, number);
        let partition = self.pipeline.partitions().get(slot as usize);
        let Some(front) = partition.filter(|p| p.ledger.is_some()).map(Partition::front) else { return };
        let Range { low, high, .. } = range;
        let in_range = front >= low && !range.is_cut(front);
        if in_range && !self.state.ranges.may_have_stopped(slot) {
            return;
        }
        if self.state.owes_an_answer() {
            // It is asked again.
            self.state.ranges.stop([slot]);
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
            self.state.ranges.stop([slot]);
        }
    }

    /// Places a partition anew.
    fn restart(&mut self, topic: &str, number: i32, offset: i64) -> KafkaResult<()> {
        let ours = self.pipeline.partitions().iter();
        let ours = ours.filter_map(|p| Some((p.topic, p.number, p.ledger.as_ref()?.front())));
        let places = place::with_others(&self.consumer, (topic, number, offset), ours)?;
        let slots = names(&places).into_iter().map(|(topic, number)| self.pipeline.slot(&topic, number));
        let slots: Vec<u32> = slots.collect();
        for &slot in &slots {
            self.placed(slot);
        }
        let done = place::anew(&self.consumer, &self.intake, &places);
        for &slot in &slots {
            self.pause(slot, self.pipeline.is_paused(slot));
        }
        done
    }
}
