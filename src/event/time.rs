//! The times that messages carry: reading the forms that occur, writing the forms that vendors take.
//!
//! Times are milliseconds since the Unix epoch, UTC, in the years 1 to 9999. The form that nearly all producers send,
//! `2026-11-20T20:41:00.123Z`, is read and written without a library; all others go through `jiff`.

use crate::json::{Raw, write};

const DAY: i64 = 86_400_000;
/// 0001-01-01 and 10000-01-01: what four digits of a year can say.
const RANGE: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

/// The time that a JSON value means: a date-time or date as text, or Unix time in seconds or milliseconds.
#[must_use]
pub fn of(value: Raw<'_>) -> Option<i64> {
    if value.is_number() {
        return unix(value.get());
    }
    text(&value.string()?)
}

/// The time that a text means. What has no offset is UTC.
#[must_use]
pub fn text(text: &str) -> Option<i64> {
    let text = text.trim_ascii();
    if let Some(ms) = date_time(text.as_bytes()) {
        return Some(ms);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && let Some(ms) = unix(text)
    {
        return Some(ms);
    }
    other(text)
}

/// Unix time: seconds, or milliseconds where seconds would lie beyond the year 5138. Smaller numbers than those of 1973
/// are no times, but something else.
fn unix(digits: &str) -> Option<i64> {
    let number = digits.parse::<f64>().ok().filter(|number| (1e8..1e15).contains(number))?;
    let ms = if number < 1e11 { number * 1000.0 } else { number };
    #[expect(clippy::cast_possible_truncation, reason = "the range was checked above")]
    in_range(ms.round() as i64)
}

fn in_range(ms: i64) -> Option<i64> {
    RANGE.contains(&ms).then_some(ms)
}

/// Forms beside the usual one: without offset, with a zone, dates, RFC 2822, JavaScript's `Date.toString`.
fn other(text: &str) -> Option<i64> {
    // Nothing shorter than a date or longer than a JavaScript date is a time.
    if !(8..=80).contains(&text.len()) {
        return None;
    }
    let utc = |at: jiff::civil::DateTime| at.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let stamp = text
        .parse::<jiff::Timestamp>()
        .ok()
        .or_else(|| text.parse::<jiff::civil::DateTime>().ok().and_then(utc))
        .or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()))
        .or_else(|| javascript(text))?;
    in_range(stamp.as_millisecond())
}

/// `Thu Mar 24 2016 17:46:45 GMT+0000 (UTC)`
fn javascript(text: &str) -> Option<jiff::Timestamp> {
    let text = text.split_once(" (").map_or(text, |(text, _)| text);
    jiff::fmt::strtime::parse("%a %b %d %Y %H:%M:%S GMT%z", text).ok()?.to_timestamp().ok()
}

/// `yyyy-MM-ddTHH:mm:ss`, a fraction or none, and `Z` or an offset: nothing else.
#[must_use]
pub(crate) fn date_time(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let (clock, mut rest) = rest.split_first_chunk::<9>()?;
    if date[4] != b'-' || date[7] != b'-' || clock[0] != b'T' || clock[3] != b':' || clock[6] != b':' {
        return None;
    }
    let year = pair(&date[0..2])? * 100 + pair(&date[2..4])?;
    let (month, day) = (pair(&date[5..7])?, pair(&date[8..10])?);
    let (hour, minute, second) = (pair(&clock[1..3])?, pair(&clock[4..6])?, pair(&clock[7..9])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut ms = 0;
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let place =
            |index: usize| fraction.get(index).filter(|_| index < digits).map_or(0, |byte| i64::from(byte - b'0'));
        ms = place(0) * 100 + place(1) * 10 + place(2);
        rest = fraction.get(digits..)?;
    }
    let offset = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            let (hours, minutes) = (pair(&[*h1, *h2])?, pair(&[*m1, *m2])?);
            if hours > 25 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    // A leap second is the last one of its minute.
    let clock = ((hour * 60 + minute - offset) * 60 + second.min(59)) * 1000 + ms;
    in_range(days_before(year, month, day) * DAY + clock)
}

/// The same in all forms of ISO 8601 that occur: a space for the `T`, no seconds, no offset (then it is UTC), one of hours.
pub(crate) fn iso(text: &[u8]) -> Option<i64> {
    if let Some(ms) = date_time(text) {
        return Some(ms);
    }
    let (date, rest) = text.split_first_chunk::<10>()?;
    let ([b'T' | b' ', minutes @ ..], rest) = rest.split_first_chunk::<6>()? else { return None };
    let is_second = |byte: &u8| matches!(byte, b':' | b'.' | b'0'..=b'9');
    let (seconds, offset) = rest.split_at(rest.iter().take_while(|byte| is_second(byte)).count());
    let seconds = if seconds.is_empty() { b":00" } else { seconds };
    let (offset, minutes_of_it): (&[u8], &[u8]) = match offset {
        b"" => (b"Z", b""),
        [b'+' | b'-', _, _] => (offset, b"00"),
        _ => (offset, b""),
    };
    date_time(&[date.as_slice(), b"T", minutes, seconds, offset, minutes_of_it].concat())
}

/// The value of two digits.
fn pair(digits: &[u8]) -> Option<i64> {
    match digits {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0')),
        _ => None,
    }
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this date: the years counted from March, so that a leap day is a year's last.
const fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
const fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let index = (5 * of_year + 2) / 153;
    let month = if index < 10 { index + 3 } else { index - 9 };
    (year + era * 400 + (month <= 2) as i64, month, of_year - (153 * index + 2) / 5 + 1)
}

/// Writes `2026-11-20T20:41:00Z`, with milliseconds where there are any.
pub(crate) fn write_iso(out: &mut Vec<u8>, ms: i64) {
    out.extend_from_slice(&to_the_second(ms, b'T'));
    let fraction = ms.rem_euclid(1000);
    if fraction != 0 {
        let [tens, ones] = two(fraction % 100);
        out.extend_from_slice(&[b'.', digit(fraction / 100), tens, ones]);
    }
    out.push(b'Z');
}

/// Writes `2026-11-20 20:41:00 +00:00`, the form of Iterable's date fields.
pub(crate) fn write_spaced(out: &mut Vec<u8>, ms: i64) {
    out.extend_from_slice(&to_the_second(ms, b' '));
    out.extend_from_slice(b" +00:00");
}

/// Writes Unix time in whole seconds.
pub(crate) fn write_unix(out: &mut Vec<u8>, ms: i64) {
    write::integer(out, ms.div_euclid(1000));
}

fn to_the_second(ms: i64, between: u8) -> [u8; 19] {
    let ms = ms.clamp(RANGE.start, RANGE.end - 1);
    let (year, month, day) = date_of(ms.div_euclid(DAY));
    let second = ms.rem_euclid(DAY) / 1000;
    let ([y1, y2], [y3, y4]) = (two(year / 100), two(year % 100));
    let ([o1, o2], [d1, d2]) = (two(month), two(day));
    let ([h1, h2], [m1, m2], [s1, s2]) = (two(second / 3600), two(second / 60 % 60), two(second % 60));
    [y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, between, h1, h2, b':', m1, m2, b':', s1, s2]
}

fn two(value: i64) -> [u8; 2] {
    [digit(value / 10), digit(value % 10)]
}

fn digit(value: i64) -> u8 {
    b'0' + u8::try_from(value % 10).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn iso(ms: i64) -> String {
        let mut out = Vec::new();
        write_iso(&mut out, ms);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn agrees_with_jiff_on_each_day_of_ten_thousand_years() {
        for day in (RANGE.start / DAY..RANGE.end / DAY - 1).step_by(13) {
            let ms = day * DAY + 45_296_789;
            let expected = jiff::Timestamp::from_millisecond(ms).expect("in range").to_string();
            assert_eq!(iso(ms), expected);
            assert_eq!(date_time(expected.as_bytes()), Some(ms));
        }
    }

    #[test]
    fn reads_the_forms_that_occur() {
        let expected = Some(1_458_841_605_000);
        for form in [
            "2016-03-24T17:46:45Z",
            "2016-03-24T17:46:45.000Z",
            "2016-03-24T23:16:45+05:30",
            "2016-03-24T23:16:45.000000+0530",
            "2016-03-24 17:46:45Z",
            "2016-03-24T17:46:45",
            " 2016-03-24T17:46:45Z ",
            "Thu, 24 Mar 2016 17:46:45 GMT",
            "Thu Mar 24 2016 17:46:45 GMT+0000 (UTC)",
            "1458841605",
            "1458841605000",
        ] {
            assert_eq!(text(form), expected, "{form}");
        }
        assert_eq!(text("2016-03-24"), Some(1_458_777_600_000));
        assert_eq!(of(Tape::trusted("1458841605").value()), expected);
        assert_eq!(of(Tape::trusted("1458841605000").value()), expected);
        assert_eq!(of(Tape::trusted("1458841605.5").value()), Some(1_458_841_605_500));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for form in [
            "",
            "yesterday",
            "2016-02-30T00:00:00Z",
            "2016-13-01T00:00:00Z",
            "2016-03-24T24:00:00Z",
            "42",
            "1e999",
            "-",
        ] {
            assert_eq!(text(form), None, "{form}");
        }
        for number in ["1e300", "0", "42", "-1458841605"] {
            assert_eq!(of(Tape::trusted(number).value()), None, "{number}");
        }
        assert_eq!(of(Tape::trusted("true").value()), None);
        assert_eq!(date_time(b"2016-03-24T17:46:45"), None);
        assert_eq!(date_time(b"2016-03-24T17:46:45.Z"), None);
    }

    #[test]
    fn keeps_milliseconds_only_where_there_are_some() {
        assert_eq!(iso(1_458_841_605_000), "2016-03-24T17:46:45Z");
        assert_eq!(iso(1_458_841_605_007), "2016-03-24T17:46:45.007Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59.999Z");
    }
}
