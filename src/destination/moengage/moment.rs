//! When an event happened, as MoEngage is told: in UTC, with milliseconds where there are any, and never in the future.
//!
//! Most messages have their time in just this form: then it is copied, and not made again of a number.

use super::limits::check_time;
use crate::clock::Now;
use crate::event::{Event, time};
use crate::outcome::Refusal;

/// The time of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    /// Milliseconds since the epoch.
    pub(super) ms: i64,
    /// As it stands in the message, quotes and all, if it is to be written so.
    copy: Option<&'a str>,
}

impl<'a> Moment<'a> {
    /// The event's time, if it has one; one that is ahead by no more than clocks differ is now.
    pub(super) fn of(event: &Event<'a>, now: Now) -> Result<Option<Self>, Refusal> {
        let copied = event.timestamp.and_then(|value| Self::copied(value.get()));
        let Some(moment) = copied.or_else(|| Some(Self { ms: event.time_ms()?, copy: None })) else { return Ok(None) };
        check_time(moment.ms, now)?;
        Ok(Some(if moment.ms > now.wall_ms { Self { ms: now.wall_ms, copy: None } } else { moment }))
    }

    /// The time that a JSON text is, if it stands there as it is to be written.
    fn copied(json: &'a str) -> Option<Self> {
        let [b'"', text @ .., b'"'] = json.as_bytes() else { return None };
        let as_written = match text {
            [_, .., b'Z'] if text.len() == 20 => true,
            [_, .., b'.', hundreds, tens, ones, b'Z'] if text.len() == 24 => [*hundreds, *tens, *ones] != *b"000",
            _ => false,
        };
        // A leap second is written as the one before it.
        let is_leap = text.get(17) == Some(&b'6');
        if !as_written || is_leap {
            return None;
        }
        Some(Self { ms: time::date_time(text)?, copy: Some(json) })
    }

    /// Writes it as a JSON text.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        if let Some(json) = self.copy {
            return out.extend_from_slice(json.as_bytes());
        }
        out.push(b'"');
        time::write_iso(out, self.ms);
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// Date-times and what is nearly one: each part now and then beyond its range.
    fn text() -> impl Strategy<Value = String> {
        let fraction =
            prop_oneof![Just(String::new()), Just(".000".to_owned()), "\\.[0-9]{3}", "\\.[0-9]{0,6}", ",[0-9]{3}"];
        let zone = prop_oneof![6 => Just("Z".to_owned()), 1 => "[+-]0[0-9]:?[0-5][0-9]", 1 => "[z ]?"];
        let clock = (0..25_u8, 0..61_u8, 55..62_u8, "[T ]");
        ((0..3_000_u16, 0..14_u8, 0..33_u8), clock, fraction, zone).prop_map(
            |((year, month, day), (hour, minute, second, between), fraction, zone)| {
                let mut text = format!("{year:04}-{month:02}-{day:02}{between}");
                let _written = write!(text, "{hour:02}:{minute:02}:{second:02}{fraction}{zone}");
                text
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_copied_would_be_written_so(text in text()) {
            let json = format!("\"{text}\"");
            let expected = time::date_time(text.as_bytes()).map(|ms| {
                let mut out = Vec::new();
                Moment { ms, copy: None }.write(&mut out);
                (ms, out)
            });
            let same = expected.filter(|(_, out)| out == json.as_bytes());
            let copied = Moment::copied(&json).map(|moment| {
                let mut out = Vec::new();
                moment.write(&mut out);
                (moment.ms, out)
            });
            prop_assert_eq!(copied, same);
        }
    }

    #[test]
    fn only_texts_are_copied() {
        for json in ["", "\"", "\"\"", "1795207260000", "null", "\"2026-11-20T20:41:00Z", "2026-11-20T20:41:00Z"] {
            assert!(Moment::copied(json).is_none(), "{json}");
        }
    }
}
