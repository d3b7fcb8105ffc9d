//! How a lane does, and what binds it: per shape a gate (429), a hold (credentials and the like), the key in use.
//!
//! Only states and what they mean for people; the worker moves between them.

use std::time::Duration;

use crate::clock::Now;
use crate::destination::Hold;

/// A held shape sends a canary after this long, doubling up to [`LONGEST_CANARY`].
pub(super) const FIRST_CANARY: Duration = Duration::from_secs(5);
/// The longest time between two canaries.
pub(super) const LONGEST_CANARY: Duration = Duration::from_mins(5);

/// A lane's state, as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Calls go out.
    Ok,
    /// The vendor said to wait.
    Throttled,
    /// No answers, or answers that say the vendor has trouble; one probe at a time.
    Failing,
    /// Credentials, suspension, redirect: nothing goes out but canaries.
    Held,
}

impl Health {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Throttled, Self::Failing, Self::Held];

    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Throttled => "throttled",
            Self::Failing => "failing",
            Self::Held => "held",
        }
    }
}

/// What keeps a lane from sending now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binds {
    /// `nothing`, `limit`, `gate`, `failing`, `held`, `in_flight`, `wire`, `budget`.
    pub what: &'static str,
    /// In words: the limit's name, the hold's reason, the last error, the setting.
    pub reason: String,
    /// When it is tried again.
    pub until: Option<Now>,
}

/// Why a shape is held, and when it is tried again.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub why: Hold,
    pub words: String,
    pub canary_at: Duration,
    pub pause: Duration,
    /// Whether a canary is on the wire.
    pub probing: bool,
}

/// How many recent calls it takes to speak of a share. A choice.
const ENOUGH: u32 = 500;

/// How many of the recent calls the vendor refused; older ones fade.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    ended: u32,
    refused: u32,
}

impl Refusals {
    /// A call was taken, or refused by the vendor.
    pub(super) fn count(&mut self, refused: bool) {
        if self.ended >= 2 * ENOUGH {
            self.ended /= 2;
            self.refused /= 2;
        }
        self.ended += 1;
        self.refused += u32::from(refused);
    }

    /// Whether at least this share of them was refused.
    pub(super) fn reach(self, percent: u32) -> bool {
        self.ended >= ENOUGH && self.refused * 100 >= percent * self.ended
    }
}

/// One shape's own state in a lane.
#[derive(Clone, Debug, Default)]
pub(super) struct ShapeHealth {
    /// After a 429, or when the vendor says that its limit is used up: not before this.
    pub gate: Duration,
    /// Whether it is the latter.
    pub used_up: bool,
    /// Whether the vendor said so itself.
    pub gate_hinted: bool,
    /// 429s in a row.
    pub throttles: u32,
    pub held: Option<Box<Held>>,
    /// The key in use: an index into the lane's keys. Small, as all that each of a lane's shapes has.
    pub key: u8,
    /// Keys that were refused since the last success, a bit each.
    pub tried: u8,
    /// The limit that made it wait last, and until when.
    pub paced: Option<(&'static str, Duration)>,
}

impl ShapeHealth {
    /// Starts afresh with new keys.
    pub(super) fn renew(&mut self, now: Duration) {
        self.key = 0;
        self.tried = 0;
        if let Some(held) = &mut self.held {
            held.canary_at = now;
            held.pause = FIRST_CANARY;
        }
    }
}
