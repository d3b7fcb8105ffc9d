//! The times that messages carry: reading the forms that occur, writing the forms that vendors take.
//!
//! Times are milliseconds since the Unix epoch, UTC, in the years 1 to 9999. The form that nearly all producers send,
//! `2026-11-20T20:41:00.123Z`, is read and written without a library; all others go through `jiff`.

use crate::json::write::two_digits;
use crate::json::{Raw, write};

/// 0001-01-01 and 10000-01-01: what four digits of a year can say.
const RANGE: std::ops::Range<i64> = -62_135_596_800_000..253_402_300_800_000;

/// The time that a JSON value means: a date-time or date as text, or Unix time in seconds or milliseconds.
#[must_use]
pub fn of(value: Raw<'_>) -> Option<i64> {
    // The usual form has no escapes, so it can be read as it stands.
    if let [b'"', inside @ .., b'"'] = value.get().as_bytes()
        && let Some(ms) = date_time(inside)
    {
        return Some(ms);
    }
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
    const YEAR_MONTH: Form = Form::new(*b"0000-00-");
    const DAY_HOUR: Form = Form::new(*b"00T00:00");
    const CLOCK: Form = Form::new(*b"00:00:00");
    let (stamp, rest) = text.split_first_chunk::<19>()?;
    let [century, _, year, _, _, month, ..] = YEAR_MONTH.pairs(*stamp.first_chunk()?)?;
    let [day, ..] = DAY_HOUR.pairs(*stamp.get(8..)?.first_chunk()?)?;
    let [hour, _, _, minute, _, _, second, _] = CLOCK.pairs(*stamp.last_chunk()?)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(u32::from(century) * 100 + u32::from(year), month, day)?;
    let (ms, offset) = match rest {
        b"Z" => (0, 0),
        [b'.', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'Z'] => {
            (i64::from(a - b'0') * 100 + i64::from(b - b'0') * 10 + i64::from(c - b'0'), 0)
        }
        _ => fraction_and_offset(rest)?,
    };
    let minutes = (days * 24 + i64::from(hour)) * 60 + i64::from(minute) - offset;
    // A leap second is the last one of its minute.
    in_range((minutes * 60 + i64::from(second.min(59))) * 1000 + ms)
}

/// Eight characters, each one given or any digit.
struct Form {
    /// The characters, zeros for the digits.
    least: u64,
    /// Of each, what makes 128 of the least that is too much.
    above: u64,
}

impl Form {
    const fn new(form: [u8; 8]) -> Self {
        let (mut above, mut at) = ([0; 8], 0);
        while at < form.len() {
            above[at] = if form[at] == b'0' { 128 - 10 } else { 128 - 1 };
            at += 1;
        }
        Self { least: u64::from_le_bytes(form), above: u64::from_le_bytes(above) }
    }

    /// At each place the number that two digits are, this one and the next; what is no digit counts as zero.
    #[inline]
    fn pairs(&self, text: [u8; 8]) -> Option<[u8; 8]> {
        // What a digit is, and zero where the form's own character stands.
        let values = u64::from_le_bytes(text) ^ self.least;
        let is_odd = (values | values.wrapping_add(self.above)) & u64::from_ne_bytes([128; 8]) != 0;
        (!is_odd).then(|| (values.wrapping_mul(10) + (values >> 8)).to_le_bytes())
    }
}

/// The milliseconds that `.123456Z` and `.1+0200` begin with, and the minutes that the clock is ahead of UTC.
#[cold]
fn fraction_and_offset(mut rest: &[u8]) -> Option<(i64, i64)> {
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
    let (sign, [h1, h2], [m1, m2]) = match rest {
        b"Z" => return Some((ms, 0)),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            (*sign, [*h1, *h2], [*m1, *m2])
        }
        _ => return None,
    };
    let (hours, minutes) = (pair([h1, h2])?, pair([m1, m2])?);
    if hours > 25 || minutes > 59 {
        return None;
    }
    Some((ms, (hours * 60 + minutes) * if sign == b'-' { -1 } else { 1 }))
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
fn pair(digits: [u8; 2]) -> Option<i64> {
    match digits {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0')),
        _ => None,
    }
}

/// Days from 0000-03-01 to 1970-01-01. Years are counted from March, so that a leap day is a year's last.
const EPOCH: i64 = 719_468;
/// Of each month, from January: the most days that it has, and the days from March to it.
const MONTHS: [(u8, u16); 12] = [
    (31, 306),
    (29, 337),
    (31, 0),
    (30, 31),
    (31, 61),
    (30, 92),
    (31, 122),
    (31, 153),
    (30, 184),
    (31, 214),
    (30, 245),
    (31, 275),
];

/// Days from 1970-01-01 to this date, if there is one.
fn days_before(year: u32, month: u8, day: u8) -> Option<i64> {
    let (most, of_year) = *MONTHS.get(usize::from(month).wrapping_sub(1))?;
    let is_leap = || year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if day == 0 || day > most || (month == 2 && day == 29 && !is_leap()) {
        return None;
    }
    // January and February end the year before; and 400 years more are never below zero.
    let year = year + 400 - u32::from(month <= 2);
    let days = year * 365 + year / 4 - year / 100 + year / 400 + u32::from(of_year) + u32::from(day) - 1;
    Some(i64::from(days) - 146_097 - EPOCH)
}

/// Year, month and day of a number of days since 0000-03-01.
const fn date_of(days: u32) -> (u32, u32, u32) {
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let index = (5 * of_year + 2) / 153;
    let month = if index < 10 { index + 3 } else { index - 9 };
    (year + era * 400 + (month <= 2) as u32, month, of_year - (153 * index + 2) / 5 + 1)
}

/// Writes `2026-11-20T20:41:00Z`, with milliseconds where there are any.
pub(crate) fn write_iso(out: &mut Vec<u8>, ms: i64) {
    out.extend_from_slice(&to_the_second(ms, b'T'));
    match u32::try_from(ms.rem_euclid(1000)) {
        Ok(fraction) if fraction != 0 => {
            let ([_, hundreds], [tens, ones]) = (two_digits(fraction / 100), two_digits(fraction % 100));
            out.extend_from_slice(&[b'.', hundreds, tens, ones, b'Z']);
        }
        _ => out.push(b'Z'),
    }
}

/// Writes `2026-11-20 20:41:00 +00:00`, the form of Iterable's date fields.
pub(crate) fn write_spaced(out: &mut Vec<u8>, ms: i64) {
    out.extend_from_slice(&to_the_second(ms, b' '));
    out.extend_from_slice(b" +00:00");
}

/// Writes Unix time in whole seconds.
pub(crate) fn write_unix(out: &mut Vec<u8>, ms: i64) {
    /// Seconds of ten digits: the years 2001 to 2286.
    const USUAL: std::ops::Range<i64> = 1_000_000_000..10_000_000_000;
    let mut seconds = ms.div_euclid(1000);
    if !USUAL.contains(&seconds) {
        return write::integer(out, seconds);
    }
    let mut digits = [0; 10];
    for pair in digits.as_chunks_mut::<2>().0.iter_mut().rev() {
        *pair = two_digits(u32::try_from(seconds % 100).unwrap_or(0));
        seconds /= 100;
    }
    out.extend_from_slice(&digits);
}

fn to_the_second(ms: i64, between: u8) -> [u8; 19] {
    /// What a number of days has after a division by them.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was clamped: days and seconds of a day"
    )]
    const fn small(value: i64) -> u32 {
        value as u32
    }
    let seconds = ms.clamp(RANGE.start, RANGE.end - 1).div_euclid(1000);
    let (days, second) = (small(seconds.div_euclid(86_400) + EPOCH), small(seconds.rem_euclid(86_400)));
    let (year, month, day) = date_of(days);
    let ([y1, y2], [y3, y4]) = (two_digits(year / 100), two_digits(year % 100));
    let ([o1, o2], [d1, d2]) = (two_digits(month), two_digits(day));
    let ([h1, h2], [m1, m2]) = (two_digits(second / 3600), two_digits(second / 60 % 60));
    let [s1, s2] = two_digits(second % 60);
    [y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, between, h1, h2, b':', m1, m2, b':', s1, s2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Tape;

    const DAY: i64 = 86_400_000;

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
    fn a_date_time_with_two_other_characters_is_none_or_what_jiff_says() {
        let text = b"2016-02-29T17:46:45.123Z";
        let form =
            |text: &[u8]| text.iter().map(|byte| if byte.is_ascii_digit() { b'0' } else { *byte }).collect::<Vec<_>>();
        for (one, other) in (0..19).flat_map(|one| (0..=one).map(move |other| (one, other))) {
            for (a, b) in b"0123459/:;-.TtZ +\\\x00\x80\xb0\xff".iter().flat_map(|a| b"0123569:-\xff".map(|b| (*a, b)))
            {
                let mut changed = *text;
                (changed[one], changed[other]) = (a, b);
                // Two places, or one where both are the same.
                let expected = std::str::from_utf8(&changed).ok().filter(|_| form(&changed) == form(text));
                let expected =
                    expected.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_millisecond);
                let found = date_time(&changed);
                assert_eq!(found, expected.and_then(in_range), "{}", changed.escape_ascii());
            }
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
    fn unix_time_has_as_many_digits_as_it_needs() {
        for seconds in
            [0, 7, -1, -62_135_596_800, 999_999_999, 1_000_000_000, 1_795_207_260, 9_999_999_999, 10_000_000_000]
        {
            for ms in [0, 1, 999] {
                let mut out = Vec::new();
                write_unix(&mut out, seconds * 1000 + ms);
                assert_eq!(String::from_utf8(out).expect("ASCII"), seconds.to_string());
            }
        }
    }

    #[test]
    fn keeps_milliseconds_only_where_there_are_some() {
        assert_eq!(iso(1_458_841_605_000), "2016-03-24T17:46:45Z");
        assert_eq!(iso(1_458_841_605_007), "2016-03-24T17:46:45.007Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59.999Z");
    }
}
