//! What people see: a line a second, and sentences between them. The same on a terminal and in a file.
//!
//! Pure but for writing. Whoever closes the pipe has seen enough: that is remembered, and the demo ends.

use std::io::Write;
use std::time::Duration;

use crate::lane::Health;
use crate::metrics::report::{AccountReport, Report};

/// Accounts that a line names; the others are counted.
const MOST_NAMED: usize = 2;
/// An account whose limit makes events wait for longer is worth naming.
const PATIENCE_MS: i64 = 2_000;
/// Sentences are broken at this width.
const WIDTH: usize = 110;

/// The title of the lines.
pub(super) const TITLE: &str = " time     in/s  delivered/s   waiting  dead letters  who is bound by what";

/// Where it is shown.
pub(super) struct Screen {
    out: Box<dyn Write>,
    gone: bool,
}

impl Screen {
    /// Standard output.
    pub(super) fn stdout() -> Self {
        Self { out: Box::new(std::io::stdout()), gone: false }
    }

    /// A line, or several.
    pub(super) fn say(&mut self, text: &str) {
        self.gone |= writeln!(self.out, "{text}").and_then(|()| self.out.flush()).is_err();
    }

    /// A sentence about what happens.
    pub(super) fn tell(&mut self, elapsed: Duration, sentence: &str) {
        self.say(&narration(elapsed, sentence));
    }

    /// Whether nobody reads it any more.
    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }
}

/// What a line shows of an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Events read.
    pub(super) received: u64,
    /// Calls delivered.
    pub(super) delivered: u64,
    /// Calls that have not ended.
    pub(super) waiting: u64,
    /// Calls that ended as dead letters.
    pub(super) letters: u64,
}

impl Count {
    /// Of a whole report.
    pub(super) fn of(report: &Report) -> Self {
        let accounts = || report.accounts.iter();
        Self {
            received: report.partitions.iter().map(|partition| partition.received).sum(),
            delivered: accounts().map(|account| account.books.delivered).sum(),
            waiting: accounts().map(|account| account.in_flight).sum(),
            letters: accounts().flat_map(|account| account.books.dead_lettered).sum(),
        }
    }
}

/// One line: what was added in `since`, and what stands.
pub(super) fn line(elapsed: Duration, now: Count, earlier: Count, since: Duration, bound: &[String]) -> String {
    let a_second = |now: u64, then: u64| {
        let millis = since.as_millis().max(1);
        grouped(u64::try_from(u128::from(now.saturating_sub(then)) * 1_000 / millis).unwrap_or(u64::MAX))
    };
    let text = format!(
        "{:>3} s {:>8} {:>12} {:>9} {:>13}  {}",
        elapsed.as_secs(),
        a_second(now.received, earlier.received),
        a_second(now.delivered, earlier.delivered),
        grouped(now.waiting),
        grouped(now.letters),
        list(bound),
    );
    text.trim_end().to_owned()
}

fn list(bound: &[String]) -> String {
    let named = bound.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join("; ");
    match bound.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named}; {more} more"),
    }
}

/// Who cannot send as he would, and why, in words; the longest queue first.
pub(super) fn bound<'a>(report: &Report, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut bound: Vec<(u64, String)> = report
        .accounts
        .iter()
        .zip(names)
        .filter_map(|(account, name)| Some((account.held_calls, format!("{name} {}", binding(account, report)?))))
        .collect();
    bound.sort_by(|a, b| b.cmp(a));
    bound.into_iter().map(|(_, text)| text).collect()
}

fn binding(account: &AccountReport, report: &Report) -> Option<String> {
    let binds = &account.binds;
    // The rest of it is the vendor's words, for the logs and for /accounts.
    let reason = binds.reason.split([' ', ':']).next().unwrap_or_default();
    let next = binds.until.map(|at| at.mono.saturating_sub(report.at.mono).as_secs() + 1);
    let next = next.map_or_else(String::new, |seconds| format!(", next try {seconds} s"));
    let share = account.limits.iter().map(|&(_, _, share)| share).fold(1.0, f64::min);
    let waited = account.oldest_ms.map_or(0, |oldest| report.at.wall_ms - oldest);
    match account.health {
        Health::Held => Some(format!("held ({reason}){next}")),
        Health::Failing => Some(format!("failing{next}")),
        Health::Throttled => Some(format!("throttled ({reason}){next}")),
        Health::Ok if share < 0.9 => Some(format!("throttled, at {:.0} % of its rate", share * 100.0)),
        Health::Ok if binds.what == "limit" && waited > PATIENCE_MS => Some(format!("at its limit ({reason})")),
        Health::Ok => None,
    }
}

/// A sentence, broken into lines that stand apart from the figures.
fn narration(elapsed: Duration, sentence: &str) -> String {
    let mut text = format!("{:>3} s  -- ", elapsed.as_secs());
    let mut width = text.len();
    let indent = "\n         ";
    for (number, word) in sentence.split(' ').enumerate() {
        if width + 1 + word.len() > WIDTH {
            text.push_str(indent);
            width = indent.len() - 1;
        } else if number > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += word.len();
    }
    text
}

/// A number with commas between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1_000, 123_456, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }

    #[test]
    fn a_line_shows_what_was_added_and_stands_below_its_title() {
        let now = Count { received: 4_000, delivered: 7_000, waiting: 512, letters: 3 };
        let earlier = Count { received: 1_000, delivered: 1_000, waiting: 9, letters: 0 };
        let bound = ["a held (x)".to_owned(), "b".to_owned(), "c".to_owned()];
        let line = line(Duration::from_secs(7), now, earlier, Duration::from_millis(1_500), &bound);
        assert_eq!(line, "  7 s    2,000        4,000       512             3  a held (x); b; 1 more");
        for (title, value) in [("in/s", "2,000"), ("delivered/s", "4,000"), ("waiting", "512"), ("dead letters", "3")] {
            let end = |text: &str, of: &str| text.find(of).map(|at| at + of.len());
            assert_eq!(end(TITLE, title), end(&line, &format!(" {value}")), "{title}");
        }
    }

    #[test]
    fn sentences_are_broken_between_words() {
        let sentence = "word ".repeat(60);
        let text = narration(Duration::from_secs(12), sentence.trim());
        assert!(text.starts_with(" 12 s  -- word word"));
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(text.split_whitespace().filter(|word| *word == "word").count(), 60);
    }
}
