//! The sandbox's clock: the machine's, or one that a test moves.
//!
//! Rate limits, time windows of faults and "is this event from the future" all read it, so a test of a fixed minute
//! does not wait for one. What a fault waits (`delay`) is real time all the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::Now;

/// Where the sandbox reads the time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Machine(Instant),
    Manual(Arc<Mutex<Now>>),
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn machine() -> Self {
        Self(Source::Machine(Instant::now()))
    }

    /// A clock that stands still until [`Clock::advance`]; its clones move together.
    #[must_use]
    pub fn manual(wall_ms: i64) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(Now { mono: Duration::ZERO, wall_ms }))))
    }

    /// Moves a manual clock; the machine's is not ours to move, and stays.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
            *now = now.later(by);
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::Machine(start) => Now {
                mono: start.elapsed(),
                wall_ms: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            },
            Source::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
