//! Reading: messages by the batch, a few of them decoded at a time, and then worked on one after the other.
//!
//! Decoding is a loop by itself because of how much code an event walks through: more than the processor keeps next to
//! itself, unless the same part of it runs for several events (`docs/performance.md`). It changes nothing in what a
//! record becomes. What happens on the way, that a partition is paused, or goes on, or is placed anew, is about the very
//! next record: those of the few that were not worked on are put back where they were, and looked at again.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::Poller;
use crate::clock::Now;
use crate::json::Tape;
use crate::near;
use crate::pipeline::Partition;
use crate::router::{Route, Space};
use crate::source::doubt::Look;
use crate::source::raw::View;
use crate::source::raw::intake::Taken;
use crate::source::record::{Headers, Record};
use crate::source::scout::Question;

/// Records are read for at most this many, then for everybody else's turn.
const TURN: usize = 2_000;
/// So many messages are decoded before the first of them is worked on.
const AHEAD: usize = 32;

/// Some messages, each with its partition's slot if it is about one, and the memory for decoding them.
#[derive(Default)]
pub(super) struct Few {
    messages: Vec<(Option<u32>, Taken)>,
    /// Their headers, one message's behind another's.
    headers: Vec<u8>,
    tapes: [Tape; AHEAD],
}

impl std::fmt::Debug for Few {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Few").field("messages", &self.messages.len()).finish_non_exhaustive()
    }
}

/// A message as a record.
fn record<'a>(slot: u32, message: View<'a>, headers: &'a [u8]) -> Record<'a> {
    Record {
        slot,
        offset: message.offset(),
        timestamp_ms: message.timestamp_ms(),
        key: message.key(),
        value: message.value(),
        headers: Headers::of(headers),
    }
}

impl Poller {
    /// Reads until there is nothing more, or until it is somebody else's turn. True if there is nothing more.
    pub(super) fn read(&mut self, now: Now) -> Result<bool, ()> {
        self.poll_consumer(now)?;
        let mut count = 0;
        while count < TURN {
            self.state.doubts.next_batch();
            self.state.last_place = None;
            let is_all = !self.intake.take();
            // To the end: what happens in the group meanwhile is about all of a batch, or about nothing of it.
            let mut few = std::mem::take(&mut self.state.few);
            while self.gather(&mut few.messages) {
                let done = self.take(self.clock.now(), &mut few)?;
                count += done;
                self.intake.put_back(few.messages.drain(done..).map(|(_, message)| message));
                few.messages.clear();
            }
            self.state.few = few;
            if is_all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next few messages of partitions that are read. False if there are none.
    fn gather(&mut self, few: &mut Vec<(Option<u32>, Taken)>) -> bool {
        while few.len() < AHEAD {
            let Some(message) = self.intake.next(|slot| self.pipeline.is_paused(slot)) else { break };
            let slot = self.slot_of(&message);
            match slot {
                Some(slot) if self.state.doubts.is_left_over(slot) => {}
                // Errors, too: what they mean depends on what comes before them.
                Some(slot) if self.pipeline.is_paused(slot) => self.intake.keep(slot, message),
                _ => few.push((slot, message)),
            }
        }
        !few.is_empty()
    }

    /// Works on messages, until one of them changes which partitions are read; on how many.
    fn take(&mut self, now: Now, few: &mut Few) -> Result<usize, ()> {
        let Few { messages, headers, tapes } = few;
        headers.clear();
        let mut ends = [0; AHEAD];
        // Another processor wrote the messages. To wait for each by itself takes as long as a third of decoding it: so all
        // are on their way while headers are read, which follow their value.
        let values = || messages.iter().filter_map(|(_, message)| message.view().ok()?.value());
        values().filter_map(|value| value.last()).for_each(near::to_read);
        for (end, (_, message)) in ends.iter_mut().zip(messages.iter()) {
            if let Ok(message) = message.view() {
                if let Some(value) = message.value() {
                    near::to_read(value);
                }
                message.take_headers(headers);
            }
            *end = headers.len();
        }
        let mut events = [const { None }; AHEAD];
        let (mut records, mut routes) = ([None; AHEAD], [const { None }; AHEAD]);
        let mut start = 0;
        for (at, (tape, event)) in tapes.iter_mut().zip(&mut events).enumerate().take(messages.len()) {
            let (slot, message) = &messages[at];
            let headers = &headers[start..ends[at]];
            start = ends[at];
            if let (Some(slot), Ok(message)) = (*slot, message.view()) {
                let record = records[at].insert(record(slot, message, headers));
                routes[at] = self.pipeline.route(record, Space { tape, event });
            }
        }
        self.pipeline.ask_for_room(&routes);
        for (at, (slot, message)) in messages.iter().enumerate() {
            match (message.view(), records[at].as_ref().zip(routes[at].as_ref())) {
                (Err(error), _) => {
                    if let Some(slot) = slot {
                        self.state.doubts.error(*slot);
                    }
                    self.read_error(&error)?;
                }
                (Ok(view), Some((record, route))) if !self.take_one(now, view, record, route) => return Ok(at + 1),
                _ => {}
            }
        }
        if let Some(record) = records[0].as_ref() {
            self.state.backlog.read(now, record.timestamp_ms);
        }
        Ok(messages.len())
    }

    /// Works on a record. False if it changes which partitions are read.
    fn take_one(&mut self, now: Now, message: View<'_>, record: &Record<'_>, route: &Route<'_, '_>) -> bool {
        if self.state.draining {
            return true;
        }
        let slot = record.slot;
        let front = self.pipeline.partitions().get(slot as usize).map_or(-1, Partition::front);
        match self.state.doubts.look(slot, front, record.offset) {
            Look::Take => {}
            Look::Drop => return true,
            // Until it can be placed nothing behind the gap is taken.
            Look::PlaceAnew if self.state.owes_an_answer() => {
                self.state.ranges.stop([slot]);
                return true;
            }
            // What is left of it, and of those that had to be placed with it, is dropped.
            Look::PlaceAnew => {
                self.read_on(message.topic(), message.partition(), front);
                return true;
            }
        }
        if self.state.first_join.is_some() {
            self.tell_of_first_join(record);
        }
        self.pipeline.take(now, record, route);
        let changes = self.pipeline.is_pausing();
        if changes {
            self.act();
        }
        !changes
    }

    /// Of the first record that is read after a first join.
    #[cold]
    fn tell_of_first_join(&mut self, record: &Record<'_>) {
        if let Some(ahead) = self.state.first_join.take_if(|ahead| *ahead > 0) {
            let from = record.timestamp_ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            let from = from.map_or_else(|| "unknown".to_owned(), |time| time.to_string());
            tracing::info!(records = ahead, from, "first join of the group: this many records lie before us");
        }
    }

    /// The slot of a message's partition: mostly that of the message before it.
    fn slot_of(&mut self, message: &Taken) -> Option<u32> {
        let mark = message.mark()?;
        if let Some((_, slot)) = self.state.last_place.filter(|(last, _)| *last == mark) {
            return Some(slot);
        }
        let (topic, partition) = message.place()?;
        let slot = self.pipeline.slot(topic, partition);
        self.state.last_place = Some((mark, slot));
        Some(slot)
    }

    /// What the consumer's own queue has: what goes on in the group, errors, and the messages of a partition from before
    /// its queue was led elsewhere.
    fn poll_consumer(&mut self, now: Now) -> Result<(), ()> {
        let consumer = Arc::clone(&self.consumer);
        while let Some(polled) = consumer.poll(Duration::ZERO) {
            match polled {
                Ok(_) if self.state.draining => {}
                Ok(message) => {
                    let view = View::of(&message);
                    let slot = self.pipeline.slot(view.topic(), view.partition());
                    let mut headers = Vec::new();
                    view.take_headers(&mut headers);
                    let record = record(slot, view, &headers);
                    self.tell_of_first_join(&record);
                    self.pipeline.record(now, &record);
                    if self.pipeline.is_pausing() {
                        self.act();
                    }
                }
                Err(error) => self.read_error(&error)?,
            }
        }
        Ok(())
    }

    /// Reads for deferred accounts, for a turn at most. True if there is nothing more.
    pub(super) fn read_again(&mut self) -> bool {
        let (mut now, mut headers) = (self.clock.now(), Vec::new());
        for count in 0..TURN {
            if count % 64 == 63 {
                now = self.clock.now();
            }
            match self.sweeper.poll() {
                None => return true,
                Some(Ok(message)) => {
                    let view = View::of(&message);
                    let slot = self.pipeline.slot(view.topic(), view.partition());
                    headers.clear();
                    view.take_headers(&mut headers);
                    self.pipeline.swept(now, &record(slot, view, &headers));
                }
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
                ))) => self.ask_for_ranges(),
                Some(Err(error)) => tracing::debug!(%error, "Kafka, catching up"),
            }
            self.act();
        }
        false
    }

    fn read_error(&mut self, error: &KafkaError) -> Result<(), ()> {
        match error {
            KafkaError::MessageConsumptionFatal(code) => {
                tracing::error!(?code, "Kafka fenced this consumer off; the process must be started again");
                return Err(());
            }
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let assigned =
                    (0..).zip(self.pipeline.partitions()).filter(|(_, partition)| partition.ledger.is_some());
                self.state.ranges.stop(assigned.map(|(slot, _)| slot));
                self.ask_for_ranges();
            }
            other => tracing::debug!(error = %other, "Kafka"),
        }
        Ok(())
    }

    fn ask_for_ranges(&mut self) {
        let fronts = || {
            let partitions = self.pipeline.partitions().iter().filter(|p| p.ledger.is_some());
            partitions.map(|p| ((p.topic.to_string(), p.number), p.front())).collect()
        };
        if let Some(partitions) = self.state.ranges.ask(fronts) {
            self.ask(Question::Range(partitions));
        }
    }

    /// What the topics still have: soon, while a partition is not fetched because of it, and now and then while accounts
    /// wait that read none of it meanwhile.
    pub(super) fn ask_again_if_due(&mut self, now: Now) {
        let waits = || self.pipeline.partitions().iter().any(Partition::is_looked_after);
        if self.state.ranges.are_due(now.mono, waits) {
            self.ask_for_ranges();
        }
    }

    pub(super) fn ask(&self, question: Question) {
        if self.questions.send(question).is_err() {
            tracing::error!("the scout is gone");
        }
    }
}

#[cfg(test)]
mod tests;
