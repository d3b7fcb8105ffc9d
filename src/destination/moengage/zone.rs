//! A zone's distance from UTC at a moment, in seconds, as MoEngage wants it.
//!
//! Reads the zones that are built into the program, never the host's: the same on every machine, and a name out of a
//! record never reaches a file system.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// The vendor's range (page `event/track-event`, 2026-11).
const RANGE: std::ops::RangeInclusive<i32> = -54_000..=54_000;

/// More names than there are zones; different spellings of them beyond it are looked up each time.
const CACHED: usize = 1024;

thread_local! {
    static ZONES: RefCell<HashMap<Box<str>, TimeZone, foldhash::fast::RandomState>> = RefCell::default();
}

/// The offset of the zone of this name at this time; `None` if there is no such zone.
pub(super) fn offset(name: &str, ms: i64) -> Option<i32> {
    let at = Timestamp::from_millisecond(ms).ok()?;
    let seconds = ZONES.with_borrow_mut(|zones| {
        if let Some(zone) = zones.get(name) {
            return Some(zone.to_offset(at).seconds());
        }
        let zone = database().get(name).ok()?;
        let seconds = zone.to_offset(at).seconds();
        if zones.len() < CACHED {
            zones.insert(name.into(), zone);
        }
        Some(seconds)
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
