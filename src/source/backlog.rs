//! How old the records are that are read, for as long as there is more to read: what more replicas would help with. Pure.
//!
//! Steady: a fetch that is on its way leaves nothing to read for a moment, in which nobody has caught up. And it does not
//! grow while nothing is read: what is not there is not old.

use std::time::Duration;

use crate::clock::Now;

/// Who has had nothing to read for so long has caught up, or waits for something else than to be faster.
const CAUGHT_UP: Duration = Duration::from_secs(2);

/// The age of what was read last.
#[derive(Debug, Default)]
pub struct Backlog {
    /// In milliseconds, and when that was.
    read: Option<(i64, Duration)>,
}

impl Backlog {
    /// A record of this time was read.
    pub fn read(&mut self, now: Now, time_ms: Option<i64>) {
        self.read = time_ms.map(|time_ms| (now.wall_ms.saturating_sub(time_ms).max(0), now.mono));
    }

    /// The age, in milliseconds; none if there is nothing more to read.
    #[must_use]
    pub fn age_ms(&self, now: Now) -> i64 {
        let lasting = |(_, at): &(i64, Duration)| now.mono < *at + CAUGHT_UP;
        self.read.filter(lasting).map_or(0, |(age_ms, _)| age_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono: Duration::from_millis(ms), wall_ms: 1_000_000 + i64::try_from(ms).unwrap() }
    }

    #[test]
    fn the_age_lasts_through_a_moment_without_records_and_ends_when_there_are_none() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.age_ms(at(0)), 0);
        backlog.read(at(100), Some(940_100));
        assert_eq!([100, 500, 2_099].map(|ms| backlog.age_ms(at(ms))), [60_000; 3]);
        assert_eq!(backlog.age_ms(at(2_100)), 0);
    }

    #[test]
    fn whoever_has_caught_up_shows_no_age_although_records_go_on_coming() {
        let mut backlog = Backlog::default();
        backlog.read(at(100), Some(400_000));
        for ms in (200..5_000).step_by(100) {
            backlog.read(at(ms), Some(at(ms).wall_ms - 3));
            assert_eq!(backlog.age_ms(at(ms)), 3);
        }
        backlog.read(at(5_000), Some(i64::MAX));
        assert_eq!(backlog.age_ms(at(5_000)), 0, "a clock that is ahead");
        backlog.read(at(5_000), None);
        assert_eq!(backlog.age_ms(at(5_000)), 0);
    }
}
