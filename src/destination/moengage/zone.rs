//! A zone's distance from UTC at a moment, in seconds, as MoEngage wants it.
//!
//! Reads the zones that are built into the program, never the host's: the same on every machine, and a name out of a
//! record never reaches a file system.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// The vendor's range (page `event/track-event`, 2026-11).
const RANGE: std::ops::RangeInclusive<i32> = -54_000..=54_000;

/// More names than there are zones; different spellings of them beyond it are looked up each time.
const CACHED: usize = 1024;

thread_local! {
    static ZONES: RefCell<HashMap<Box<str>, Zone, foldhash::fast::RandomState>> = RefCell::default();
}

/// A zone, and for how long which distance holds there: the times of events lie close together.
struct Zone {
    rules: TimeZone,
    seconds: i32,
    holds: Range<i64>,
}

impl Zone {
    fn offset(&mut self, ms: i64) -> Option<i32> {
        if !self.holds.contains(&ms) {
            let at = Timestamp::from_millisecond(ms).ok()?;
            let end = self.rules.following(at).next().map_or(i64::MAX, |change| change.timestamp().as_millisecond());
            (self.seconds, self.holds) = (self.rules.to_offset(at).seconds(), ms..end);
        }
        Some(self.seconds)
    }
}

/// The offset of the zone of this name at this time; `None` if there is no such zone.
pub(super) fn offset(name: &str, ms: i64) -> Option<i32> {
    let seconds = ZONES.with_borrow_mut(|zones| {
        if let Some(zone) = zones.get_mut(name) {
            return zone.offset(ms);
        }
        let mut zone = Zone { rules: database().get(name).ok()?, seconds: 0, holds: 0..0 };
        let seconds = zone.offset(ms);
        if zones.len() < CACHED {
            zones.insert(name.into(), zone);
        }
        seconds
    })?;
    RANGE.contains(&seconds).then_some(seconds)
}

fn database() -> &'static TimeZoneDatabase {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    DATABASE.get_or_init(TimeZoneDatabase::bundled)
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn changes_where_the_zone_does() {
        // Summer time ended in New York on 2026-11-01 at 06:00 UTC, and begins again on 2027-03-14 at 07:00.
        let (ends, begins) = (1_793_512_800_000, 1_805_007_600_000);
        for (ms, hours) in [(ends, -5), (ends - 1, -4), (begins - 1, -5), (begins, -4), (ends, -5), (ends - 1, -4)] {
            assert_eq!(offset("America/New_York", ms), Some(hours * 3600), "{ms}");
        }
    }

    #[test]
    fn is_that_of_the_moment() {
        // Twice, so that the second answer comes from the cache.
        for _ in 0..2 {
            assert_eq!(offset("America/New_York", 1_783_080_000_000), Some(-4 * 3600), "July 2026");
            assert_eq!(offset("America/New_York", 1_795_207_260_000), Some(-5 * 3600), "November 2026");
            assert_eq!(offset("Asia/Kolkata", 0), Some(19_800));
            assert_eq!(offset("Mars/Olympus_Mons", 0), None);
            assert_eq!(offset("", 0), None);
        }
    }
}
