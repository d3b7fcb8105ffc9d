//! What the headers of an answer say about the vendor's limit: when to come back, and what is left of it.
//!
//! Vendors disagree with their own pages (MoEngage's `x-ratelimit-reset` is seconds on one page, Unix time on another;
//! pages `data-overview` and `rate-limits`, 2026-11), so every form is read, and nothing that is read can stop a lane
//! for longer than [`LONGEST`]. What no vendor can mean is no hint: the lane backs off by itself.

use std::time::Duration;

use http::HeaderMap;

use super::words;
use crate::clock::Now;

/// A vendor's hint never holds anything longer than this: a guess, above all windows that the vendors document.
pub(crate) const LONGEST: Duration = Duration::from_mins(10);

/// Nobody means more than this: it is a mistake, or a clock that is wrong. A guess, as above.
const MEANT: f64 = 86_400.0;

/// Numbers above this are Unix time, below it seconds to wait.
const EPOCH: f64 = 1e9;

/// When to come back: `Retry-After` in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: Now) -> Option<Duration> {
    capped(meant(text(headers, "retry-after")?, now)?)
}

/// What `Retry-After` says, if it is there and nobody can mean it.
pub(crate) fn nonsense(headers: &HeaderMap, now: Now) -> Option<String> {
    let said = headers.get("retry-after")?;
    let is_meant = said.to_str().is_ok_and(|said| meant(said, now).is_some());
    (!is_meant).then(|| words(said.as_bytes()))
}

/// When the limit's window ends: `x-ratelimit-reset`. It stands on every answer, so it is a hint only for whom the
/// vendor finds too fast; a server's error is over when it is over.
pub(crate) fn reset(headers: &HeaderMap, now: Now) -> Option<Duration> {
    wait(text(headers, "x-ratelimit-reset")?, now)
}

/// What is left, and until when that is so.
pub(crate) fn remaining(headers: &HeaderMap, now: Now) -> Option<(u32, Duration)> {
    let left = number(text(headers, "x-ratelimit-remaining")?)?;
    let until = wait(text(headers, "x-ratelimit-reset")?, now)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of u32")]
    Some((left.clamp(0.0, f64::from(u32::MAX)) as u32, until))
}

/// A time to wait, capped; `None` if it is not above zero.
pub(crate) fn capped(seconds: f64) -> Option<Duration> {
    // `min` also takes care of infinity, the comparison of NaN.
    (seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The seconds that `Retry-After` asks for; below zero if their time has passed.
fn meant(said: &str, now: Now) -> Option<f64> {
    let seconds = seconds(said, now).or_else(|| until_date(said, now))?;
    (-MEANT..=MEANT).contains(&seconds).then_some(seconds)
}

fn wait(said: &str, now: Now) -> Option<Duration> {
    capped(seconds(said, now)?)
}

/// Seconds to wait, or the Unix time to wait for, in seconds or milliseconds.
fn seconds(said: &str, now: Now) -> Option<f64> {
    let number = number(said).filter(|number| *number >= 0.0)?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^52")]
    let wall = now.wall_ms as f64 / 1000.0;
    if number < EPOCH {
        return Some(number);
    }
    Some(if number > EPOCH * 100.0 { number / 1000.0 } else { number } - wall)
}

/// The number that a text begins with: `5, 5;w=60` is 5.
fn number(said: &str) -> Option<f64> {
    let said = said.trim();
    let end = said.find([',', ';']).unwrap_or(said.len());
    said.get(..end)?.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

fn until_date(said: &str, now: Now) -> Option<f64> {
    let at = jiff::fmt::rfc2822::parse(said.trim()).ok()?.timestamp().as_millisecond();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^52")]
    Some((at - now.wall_ms) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20T20:41:00Z
    const NOW: Now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };

    fn hint(name: &'static str, value: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header value"));
        retry_after(&headers, NOW).or_else(|| reset(&headers, NOW)).map(|wait| wait.as_secs())
    }

    #[test]
    fn reads_every_form_and_caps_it() {
        for (name, value, expected) in [
            ("retry-after", "7", Some(7)),
            ("retry-after", " 1.5 ", Some(1)),
            ("retry-after", "Fri, 20 Nov 2026 20:41:30 GMT", Some(30)),
            ("retry-after", "Fri, 20 Nov 2026 20:40:30 GMT", None),
            ("retry-after", "5000", Some(600)),
            ("retry-after", "99999999", None),
            ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT", None),
            ("retry-after", "0", None),
            ("retry-after", "-5", None),
            ("retry-after", "soon", None),
            ("retry-after", "NaN", None),
            ("retry-after", "1e999", None),
            ("x-ratelimit-reset", "42", Some(42)),
            ("x-ratelimit-reset", "5, 5;w=60", Some(5)),
            ("x-ratelimit-reset", "1795207272", Some(12)),
            ("x-ratelimit-reset", "1795207272000", Some(12)),
            ("x-ratelimit-reset", "1795207200", None),
        ] {
            assert_eq!(hint(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn what_nobody_can_mean_is_told_and_what_has_passed_is_not() {
        for (value, odd) in [
            (&b"7"[..], false),
            (b"0", false),
            (b"86400", false),
            (b"1795207272", false),
            (b"Fri, 20 Nov 2026 20:40:30 GMT", false),
            (b"-5", true),
            (b"soon", true),
            (b"NaN", true),
            (b"1e999", true),
            (b"", true),
            (b"\xff", true),
            (b"86401", true),
            (b"9999999999999999", true),
            (b"Thu, 01 Jan 1970 00:00:00 GMT", true),
            (b"Fri, 31 Dec 9999 23:59:59 GMT", true),
        ] {
            let value = http::HeaderValue::from_bytes(value).expect("a header value");
            let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, value)]);
            assert_eq!(nonsense(&headers, NOW).is_some(), odd, "{headers:?}");
        }
        assert_eq!(nonsense(&HeaderMap::new(), NOW), None);
    }

    #[test]
    fn garbage_is_no_hint_and_a_window_is_none_to_come_back() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "later".parse().expect("a header value"));
        headers.insert("x-ratelimit-reset", "9".parse().expect("a header value"));
        headers.insert("x-ratelimit-remaining", "3".parse().expect("a header value"));
        assert_eq!(retry_after(&headers, NOW), None);
        assert_eq!(reset(&headers, NOW), Some(Duration::from_secs(9)));
        assert_eq!(remaining(&headers, NOW), Some((3, Duration::from_secs(9))));
    }
}
