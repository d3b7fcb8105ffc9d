//! When the topics are asked which offsets they have, and for which partitions' sake. Pure.
//!
//! librdkafka stops fetching a partition whose place the topic no longer has, and does not say which one it is. So all that
//! were assigned may be the one, until each was looked at. A question that a rebalance overtook is asked again.

use std::collections::HashSet;
use std::time::Duration;

/// While a partition may have stopped.
const SOON: Duration = Duration::from_secs(1);
/// While accounts are deferred, which read none of what they wait for meanwhile.
const PATROL: Duration = Duration::from_mins(1);

/// What was asked, and what for.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    /// A question is with the scout.
    asked: bool,
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

    /// Somebody wants to know. Whether a question has to go out for that.
    pub(super) fn ask(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// The scout has answered, if only that it was kept from it.
    pub(super) fn answered(&mut self) {
        self.asked = false;
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

    /// The seconds at which a question goes out; each is answered before the next second.
    fn asks(ranges: &mut Ranges, seconds: std::ops::Range<u64>, deferred: bool) -> Vec<u64> {
        let goes_out = |second: &u64| {
            let goes_out = ranges.are_due(Duration::from_secs(*second), || deferred) && ranges.ask();
            ranges.answered();
            goes_out
        };
        seconds.filter(goes_out).collect()
    }

    #[test]
    fn what_the_topics_have_is_asked_every_minute_while_somebody_waits_and_not_at_all_else() {
        let mut ranges = Ranges::default();
        assert_eq!(asks(&mut ranges, 0..200, true), [0, 60, 120, 180]);
        assert_eq!(asks(&mut ranges, 200..400, false), Vec::<u64>::new());
    }

    #[test]
    fn while_a_partition_may_have_stopped_it_is_asked_every_second_until_that_one_was_placed() {
        let mut ranges = Ranges::default();
        ranges.stop([1, 2]);
        assert_eq!(asks(&mut ranges, 1..4, false), [1, 2, 3]);
        ranges.placed(1);
        assert!(!ranges.may_have_stopped(1) && ranges.may_have_stopped(2));
        assert_eq!(asks(&mut ranges, 4..6, false), [4, 5], "the other was not looked at yet");
        ranges.placed(2);
        assert_eq!(asks(&mut ranges, 6..9, false), Vec::<u64>::new());
    }

    #[test]
    fn one_question_is_out_at_a_time_and_one_that_was_overtaken_is_asked_again() {
        let mut ranges = Ranges::default();
        ranges.stop([0]);
        assert!(ranges.ask());
        assert!(!ranges.ask(), "it is with the scout");
        assert!(ranges.are_due(Duration::from_secs(1), || false) && !ranges.ask());
        ranges.answered();
        assert!(!ranges.are_due(Duration::from_millis(1_500), || false), "not at once");
        assert!(ranges.are_due(Duration::from_secs(2), || false) && ranges.ask());
    }
}
