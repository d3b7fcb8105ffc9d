//! The time, as every decision of the core gets it: handed in, never read.
//!
//! The poll thread reads both clocks once a turn; a simulation makes them up. So nothing below it
//! calls a clock, and each rule can be tested without sleeping.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Time since the process started; never goes back.
    pub mono: Duration,
    /// Milliseconds since the Unix epoch; may jump.
    pub wall_ms: i64,
}

impl Now {
    /// This reading, `by` later.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        Self { mono: self.mono + by, wall_ms: self.wall_ms + i64::try_from(by.as_millis()).unwrap_or(i64::MAX) }
    }
}

/// The real clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock {
    /// Reads both.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.started.elapsed(), wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
    }
}
