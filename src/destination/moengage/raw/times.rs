//! When the action of a raw event happened: whether the vendor reads it, and takes events of that time.
//!
//! | given | in UTC it happened at |
//! | --- | --- |
//! | `current_time`, whatever else | `current_time` |
//! | `user_time` with an offset of its own | `user_time` |
//! | `user_time`, `user_timezone_offset` | their difference |
//! | `user_time` alone | somewhere within 15 hours of it: the vendor takes the zone of the user, or the account |
//!
//! A message's time is set to now where clocks differ by a little; a raw element goes as it came, and "future-dated events
//! are not accepted". A number of milliseconds would be read as one of seconds, in the far future (page
//! `event/track-event`, 2026-11).

use crate::clock::Now;
use crate::destination::raw::invalid;
use crate::event::time;
use crate::json::Raw;
use crate::outcome::{Reason, Refusal};

/// The vendor's range of offsets, in seconds.
const OFFSETS: std::ops::RangeInclusive<i64> = -54_000..=54_000;
/// The vendor counts in seconds: within one there is no future.
const SECOND_MS: i64 = 1_000;
/// Seconds beyond this lie in the year 5138.
const LATEST_SECOND: f64 = 1e11;

/// Whether the vendor takes an action of these times.
pub(super) fn check(action: Raw<'_>, now: Now) -> Result<(), Refusal> {
    let given = |name| action.field(name).filter(|value| !value.is_null());
    let offset = given("user_timezone_offset").and_then(|offset| offset.get().parse::<i64>().ok());
    if offset.is_some_and(|offset| !OFFSETS.contains(&offset)) {
        return Err(invalid("`user_timezone_offset` of the raw event is beyond 15 hours"));
    }
    let local = given("user_time").map(|value| read(value, "user_time").map(|ms| (value, ms))).transpose()?;
    let utc = match (given("current_time"), local) {
        (Some(value), _) => read(value, "current_time")?,
        (None, Some((value, ms))) if has_offset(value) => ms,
        (None, Some((_, ms))) => ms.saturating_sub(1_000 * offset.unwrap_or(*OFFSETS.end())),
        (None, None) => return Ok(()),
    };
    if utc >= now.wall_ms.saturating_add(SECOND_MS) {
        let detail = "MoEngage takes no events of the future, and a raw element goes as it came";
        return Err(Refusal::new(Reason::FutureTime, detail));
    }
    Ok(())
}

/// The time that a value means in one of the forms that the vendor reads: ISO 8601, or Unix time in seconds. What we read
/// beside them goes out as it came here, and would be lost.
fn read(value: Raw<'_>, name: &str) -> Result<i64, Refusal> {
    let text = value.scalar().unwrap_or_default();
    if text.parse::<f64>().is_ok_and(|number| number >= LATEST_SECOND) {
        return Err(invalid(format!(
            "`{name}` of the raw event is in milliseconds: MoEngage reads seconds, or ISO 8601"
        )));
    }
    let dated = text.as_bytes().get(10) == Some(&b'T') && text.starts_with(|first: char| first.is_ascii_digit());
    let of_vendor =
        value.is_number() || (dated && !text.contains('[')) || text.bytes().all(|byte| byte.is_ascii_digit());
    let ms = time::of(value).filter(|_| of_vendor);
    ms.ok_or_else(|| invalid(format!("`{name}` of the raw event is no time that MoEngage reads")))
}

/// Whether a local time says how far it is from UTC. A `Z` does not: it stands behind the page's local times, too.
fn has_offset(value: Raw<'_>) -> bool {
    value.string().and_then(|text| text.rfind(['+', '-'])).is_some_and(|at| at > 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::json::Tape;

    /// 2026-11-20T20:41:00Z
    const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };

    fn end(action: &str) -> Result<(), Reason> {
        check(Tape::parse(action).expect(action).value(), NOW).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn no_action_is_of_the_future() {
        for (taken, action) in [
            (true, r#"{"current_time":"2026-11-20T20:41:00.999Z"}"#),
            (false, r#"{"current_time":"2026-11-20T20:41:01Z"}"#),
            (true, r#"{"current_time":1795207260}"#),
            (false, r#"{"current_time":1795207261}"#),
            (false, r#"{"current_time":"1795207261"}"#),
            (false, r#"{"current_time":"2026-11-20T20:45:00Z"}"#),
            (true, r#"{"current_time":"2026-11-20T22:41:00+02:00"}"#),
            (true, r#"{"user_time":"2026-11-21T11:41:00Z"}"#),
            (false, r#"{"user_time":"2026-11-21T11:41:01Z"}"#),
            (true, r#"{"user_time":"2026-11-20T22:41:00","user_timezone_offset":7200}"#),
            (false, r#"{"user_time":"2026-11-20T22:41:01","user_timezone_offset":7200}"#),
            (false, r#"{"user_time":"2026-11-20T20:41:00Z","user_timezone_offset":-3600}"#),
            (true, r#"{"user_time":"2026-11-20T15:41:00-05:00","user_timezone_offset":-18000}"#),
            (false, r#"{"user_time":"2026-11-20T15:41:01-05:00","user_timezone_offset":-18000}"#),
            (true, r#"{"user_time":"2027-01-01T00:00:00Z","current_time":1795207260}"#),
            (true, r#"{"user_timezone_offset":3600}"#),
            (true, r#"{"current_time":null,"user_time":null}"#),
        ] {
            assert_eq!(end(action), if taken { Ok(()) } else { Err(Reason::FutureTime) }, "{action}");
        }
    }

    #[test]
    fn milliseconds_are_no_seconds() {
        for time in ["1795207260000", "\"1795207260000\"", "1.79520726e12", "100000000000"] {
            for name in ["current_time", "user_time"] {
                assert_eq!(end(&format!("{{\"{name}\":{time}}}")), Err(Reason::InvalidField), "{name}: {time}");
            }
        }
    }
}
