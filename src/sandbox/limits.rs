//! How the vendors count: MoEngage in fixed minutes, Iterable in token buckets.
//!
//! Pure: each takes the time. A request that is refused takes nothing. The figures are the vendors' pages'; a limit of
//! zero means none.

use std::collections::HashMap;
use std::time::Duration;

const MINUTE_MS: i64 = 60_000;
const TOKEN: u64 = 1_000_000_000;

/// A fixed minute of the wall clock, as MoEngage's gateway counts (`w=60`), or a fixed hour or day.
#[derive(Debug)]
pub(super) struct Minute {
    limit: u64,
    length_ms: i64,
    index: i64,
    used: u64,
}

/// A token bucket that holds one second's worth, as Iterable's.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    /// In billionths of a token, so that a nanosecond adds `per_second`.
    level: u64,
    at: Duration,
}

/// MoEngage's fair usage policy, its shortest window: who sends more than 5,000 times in a minute for one user is not
/// told, but that user's data is dropped for an hour.
#[derive(Debug, Default)]
pub(super) struct FairUse {
    minute: i64,
    counts: HashMap<u64, u32, foldhash::fast::RandomState>,
    blocked: HashMap<u64, i64, foldhash::fast::RandomState>,
}

impl Minute {
    pub(super) const fn new(limit: u64) -> Self {
        Self::many(limit, 1)
    }

    /// A window of so many minutes.
    pub(super) const fn many(limit: u64, minutes: i64) -> Self {
        Self { limit, length_ms: minutes * MINUTE_MS, index: i64::MIN, used: 0 }
    }

    /// Takes `units` if the minute still has them.
    pub(super) fn take(&mut self, units: u64, wall_ms: i64) -> bool {
        if self.limit == 0 {
            return true;
        }
        if !self.has(units, wall_ms) {
            return false;
        }
        self.used += units;
        true
    }

    /// Whether the minute still has `units`.
    pub(super) fn has(&mut self, units: u64, wall_ms: i64) -> bool {
        self.turn(wall_ms);
        self.limit == 0 || self.used.saturating_add(units) <= self.limit
    }

    /// Begins a new minute if it is time.
    pub(super) const fn turn(&mut self, wall_ms: i64) {
        let index = wall_ms.div_euclid(self.length_ms);
        if index != self.index {
            self.index = index;
            self.used = 0;
        }
    }

    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// Whole seconds until the minute ends: 1 to 60.
pub(super) const fn seconds_to_minute(wall_ms: i64) -> i64 {
    (MINUTE_MS - wall_ms.rem_euclid(MINUTE_MS) + 999) / 1000
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, level: u64::from(per_second) * TOKEN, at: Duration::ZERO }
    }

    /// Takes a token, or says in how many seconds there will be one.
    pub(super) fn take(&mut self, mono: Duration) -> Result<(), u64> {
        if self.per_second == 0 {
            return Ok(());
        }
        let rate = u64::from(self.per_second);
        let passed = u64::try_from(mono.saturating_sub(self.at).as_nanos()).unwrap_or(u64::MAX);
        self.level = self.level.saturating_add(passed.saturating_mul(rate)).min(rate * TOKEN);
        self.at = self.at.max(mono);
        if self.level >= TOKEN {
            self.level -= TOKEN;
            return Ok(());
        }
        Err((TOKEN - self.level).div_ceil(rate).div_ceil(TOKEN).max(1))
    }

    pub(super) const fn limit(&self) -> u32 {
        self.per_second
    }

    pub(super) const fn left(&self) -> u64 {
        self.level / TOKEN
    }
}

impl FairUse {
    const A_MINUTE: u32 = 5_000;
    const BLOCK_MINUTES: i64 = 60;

    /// Counts one element for the user; `false` if the vendor drops it.
    pub(super) fn allows(&mut self, user: u64, wall_ms: i64) -> bool {
        let minute = wall_ms.div_euclid(MINUTE_MS);
        if minute != self.minute {
            self.minute = minute;
            self.counts.clear();
            self.blocked.retain(|_, until| *until > minute);
        }
        if self.blocked.contains_key(&user) {
            return false;
        }
        let count = self.counts.entry(user).or_default();
        *count += 1;
        if *count > Self::A_MINUTE {
            self.blocked.insert(user, minute + Self::BLOCK_MINUTES);
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_fixed_to_the_wall_clock() {
        let mut minute = Minute::new(10);
        assert!(minute.take(10, 59_999));
        assert!(!minute.take(1, 59_999));
        assert!(minute.take(10, 60_000));
        assert_eq!(minute.left(), 0);
        assert_eq!(seconds_to_minute(59_999), 1);
        assert_eq!(seconds_to_minute(60_000), 60);
        assert_eq!(seconds_to_minute(90_500), 30);
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let mut minute = Minute::new(10);
        assert!(minute.take(8, 0));
        assert!(!minute.take(3, 0));
        assert!(minute.take(2, 0));
    }

    #[test]
    fn a_bucket_holds_one_second_and_refills() {
        let mut bucket = Bucket::new(10);
        assert!((0..10).all(|_| bucket.take(Duration::ZERO).is_ok()));
        assert_eq!(bucket.take(Duration::ZERO), Err(1));
        assert!(bucket.take(Duration::from_millis(100)).is_ok());
        assert_eq!(bucket.take(Duration::from_millis(199)), Err(1));
        let hour = Duration::from_hours(1);
        assert_eq!((0..20).filter(|_| bucket.take(hour).is_ok()).count(), 10);
    }

    #[test]
    fn no_limit_is_zero() {
        let mut bucket = Bucket::new(0);
        assert!((0..100).all(|_| bucket.take(Duration::ZERO).is_ok()));
        assert!(Minute::new(0).take(u64::MAX, 0));
    }

    #[test]
    fn a_busy_user_is_blocked_for_an_hour() {
        let mut fair = FairUse::default();
        assert!((0..5_000).all(|_| fair.allows(1, 0)));
        assert!(!fair.allows(1, 0));
        assert!(fair.allows(2, 0));
        assert!(!fair.allows(1, 59 * 60_000));
        assert!(fair.allows(1, 60 * 60_000));
    }
}
