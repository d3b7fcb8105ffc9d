//! When the topics are asked which offsets they have, and for which partitions' sake. Pure.
//!
//! librdkafka stops fetching a partition whose place the topic no longer has, and does not say which one it is. So all that
//! were assigned may be the one, until each was looked at. A question that a rebalance overtook is asked again.

use std::collections::HashSet;
use std::time::Duration;

use crate::source::group::TopicPartition;
use crate::source::scout;

/// While a partition may have stopped.
const SOON: Duration = Duration::from_secs(1);
/// While accounts are deferred, which read none of what they wait for meanwhile.
const PATROL: Duration = Duration::from_mins(1);

/// What a partition had when it was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) low: i64,
    pub(super) high: i64,
    /// Up to where it had been read when it was asked; `None` if it was not assigned then.
    asked: Option<i64>,
}

impl Range {
    /// Whether it ends before what had been read. That is only so if it had been read when it was asked: what came since
    /// lies behind the end that it told.
    pub(super) fn is_cut(self, front: i64) -> bool {
        self.asked.is_some_and(|asked| asked.min(front) > self.high)
    }
}

/// What was asked, and what for.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// What was asked of the scout, with how far each partition had been read by then; `None` if nothing was.
    asked: Option<Vec<(TopicPartition, i64)>>,
    next: Duration,
    next_patrol: Duration,
    /// By slot.
    stopped: HashSet<u32>,
}

impl Ranges {
    /// One of these partitions is no longer fetched.
    pub(super) fn stop(&mut self, slots: impl IntoIterator<Item = u32>) {
        self.stopped.extend(slots);
    }

    /// Whether the partition may be one that is no longer fetched.
    #[must_use]
    pub(super) fn may_have_stopped(&self, slot: u32) -> bool {
        self.stopped.contains(&slot)
    }

    /// The partition was given a place to be read from, or is gone.
    pub(super) fn placed(&mut self, slot: u32) {
        self.stopped.remove(&slot);
    }

    /// Somebody wants to know. What has to be asked for that; `fronts` is how far each partition has been read.
    pub(super) fn ask(&mut self, fronts: impl FnOnce() -> Vec<(TopicPartition, i64)>) -> Option<Vec<TopicPartition>> {
        if self.asked.is_some() {
            return None;
        }
        let fronts = self.asked.insert(fronts());
        Some(fronts.iter().map(|(partition, _)| partition.clone()).collect())
    }

    /// The scout has answered, if only that it was kept from it.
    pub(super) fn answered(&mut self, ranges: Vec<scout::Range>) -> Vec<(TopicPartition, Range)> {
        let asked = self.asked.take().unwrap_or_default();
        let told = |(partition, low, high): scout::Range| {
            let asked = asked.iter().find(|(of, _)| *of == partition).map(|(_, front)| *front);
            (partition, Range { low, high, asked })
        };
        ranges.into_iter().map(told).collect()
    }

    /// Whether it is time to ask, or to ask again.
    pub(super) fn are_due(&mut self, now: Duration, anybody_waits: impl FnOnce() -> bool) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + SOON;
        let due = !self.stopped.is_empty() || (now >= self.next_patrol && anybody_waits());
        if due {
            self.next_patrol = now + PATROL;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(ranges: &mut Ranges) -> bool {
        ranges.ask(|| vec![(("events".to_owned(), 0), 210)]).is_some()
    }

    /// The seconds at which a question goes out; each is answered before the next second.
    fn asked_at(ranges: &mut Ranges, seconds: std::ops::Range<u64>, deferred: bool) -> Vec<u64> {
        let goes_out = |second: &u64| {
            let goes_out = ranges.are_due(Duration::from_secs(*second), || deferred) && asks(ranges);
            ranges.answered(Vec::new());
            goes_out
        };
        seconds.filter(goes_out).collect()
    }

    #[test]
    fn what_the_topics_have_is_asked_every_minute_while_somebody_waits_and_not_at_all_else() {
        let mut ranges = Ranges::default();
        assert_eq!(asked_at(&mut ranges, 0..200, true), [0, 60, 120, 180]);
        assert_eq!(asked_at(&mut ranges, 200..400, false), Vec::<u64>::new());
    }

    #[test]
    fn while_a_partition_may_have_stopped_it_is_asked_every_second_until_that_one_was_placed() {
        let mut ranges = Ranges::default();
        ranges.stop([1, 2]);
        assert_eq!(asked_at(&mut ranges, 1..4, false), [1, 2, 3]);
        ranges.placed(1);
        assert!(!ranges.may_have_stopped(1) && ranges.may_have_stopped(2));
        assert_eq!(asked_at(&mut ranges, 4..6, false), [4, 5], "the other was not looked at yet");
        ranges.placed(2);
        assert_eq!(asked_at(&mut ranges, 6..9, false), Vec::<u64>::new());
    }

    #[test]
    fn one_question_is_out_at_a_time_and_one_that_was_overtaken_is_asked_again() {
        let mut ranges = Ranges::default();
        ranges.stop([0]);
        assert!(asks(&mut ranges));
        assert!(!asks(&mut ranges), "it is with the scout");
        assert!(ranges.are_due(Duration::from_secs(1), || false) && !asks(&mut ranges));
        ranges.answered(Vec::new());
        assert!(!ranges.are_due(Duration::from_millis(1_500), || false), "not at once");
        assert!(ranges.are_due(Duration::from_secs(2), || false) && asks(&mut ranges));
    }

    #[test]
    fn an_answer_is_held_against_how_far_each_partition_had_been_read_when_it_was_asked() {
        let mut ranges = Ranges::default();
        assert!(asks(&mut ranges));
        let of = |number| ("events".to_owned(), number);
        let told = ranges.answered(vec![(of(0), 0, 200), (of(1), 0, 200)]);
        let cut: Vec<bool> = told.iter().map(|(_, range)| range.is_cut(300)).collect();
        assert_eq!(cut, [true, false], "the other was not asked about");
    }

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
