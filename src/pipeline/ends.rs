//! The ends of calls: answers, dead letters, and what is settled by them. Pure.

use super::{Action, DeadLetter, Pending, Pipeline};
use crate::clock::Now;
use crate::destination::Answer;
use crate::lane::{Flight, Letter};
use crate::source::Receipt;
use crate::source::record::Kept;

/// What a dead letter takes beside its record, about: itself, its headers, and what is remembered of it.
const OF_A_LETTER: usize = 512;

/// So many calls are not left to be repeated by a crash if a commit can prevent it.
const MANY: usize = 2_000;

impl Pipeline {
    pub(super) fn write(&mut self, letter: Letter, lane: Option<u32>, tenant: Option<String>) {
        let Letter { receipt, record, refusal } = letter;
        let id = self.next_letter;
        self.next_letter += 1;
        let weight = record.len() + refusal.detail.len() + OF_A_LETTER;
        let time_ms = Kept::timestamp(&record);
        self.letter_bytes += weight;
        self.letters.insert(id, Pending { receipt, lane, reason: refusal.reason, weight, time_ms });
        if let Some(lane) = lane {
            self.accounts[lane as usize].letters += 1;
        }
        let partition = &self.partitions[receipt.slot as usize];
        let topic = partition.topic;
        let (slot, number, offset) = (receipt.slot, partition.number, receipt.offset);
        self.actions.push(Action::Write(DeadLetter {
            id,
            account: lane.map(|lane| self.accounts[lane as usize].main),
            tenant,
            slot,
            topic,
            partition: number,
            offset,
            record,
            refusal,
        }));
    }

    /// The broker acknowledged a dead letter: its call is settled.
    pub fn letter_written(&mut self, id: u64) {
        let Some(Pending { receipt, lane, reason, weight, .. }) = self.letters.remove(&id) else { return };
        self.letter_bytes -= weight;
        match lane {
            Some(lane) => {
                let account = &mut self.accounts[lane as usize];
                account.letters -= 1;
                account.lane.dead_lettered(reason);
            }
            None => self.orphans[reason as usize] += 1,
        }
        // A dead letter that is written twice is one that somebody looks into twice.
        self.ended += MANY;
        self.settle(receipt, lane);
    }

    /// Whether so much has ended since the last commit that the next should not wait for its time.
    #[must_use]
    pub fn commits_are_wanted(&self) -> bool {
        self.ended >= MANY
    }

    pub(super) fn settle(&mut self, receipt: Receipt, lane: Option<u32>) {
        self.ended += 1;
        let partition = self.partitions.get_mut(receipt.slot as usize);
        if let Some(partition) = partition.filter(|partition| partition.epoch == receipt.epoch) {
            partition.settle(lane, receipt.offset);
        }
    }

    /// The vendor answered a request, or did not: `Err` is why, in words.
    pub fn answered(&mut self, now: Now, flight: Box<Flight>, result: Result<Answer<'_>, String>) {
        let index = flight.lane as usize;
        let (host, weight) = (self.accounts[index].host, flight.weight());
        let before = self.accounts[index].lane.health(now.mono);
        self.with_lane(now, index, |lane, around| {
            lane.answered(around, *flight, result);
            true
        });
        self.accounts[index].tell_change(now, before);
        // Only now: the lane itself stands in line with the others for the place that it leaves.
        self.wire.give_back(host, weight);
        while let Some(lane) = self.wire.next() {
            self.accounts[lane as usize].starved = false;
            self.pump(now, lane as usize);
        }
    }
}
