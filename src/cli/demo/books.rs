//! The end of a demo: what was produced against what arrived, event by event.
//!
//! Two sources that know nothing of each other: Forebay's own books, and the message ids that the vendors and the
//! dead-letter topic have. Pure; who has an id is asked through a function.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::cast::Cast;
use super::events::Plan;
use super::kafka::Letter;
use super::screen::grouped;
use super::watch::Watch;
use crate::metrics::report::{AccountReport, Report};
use crate::sandbox;

/// One account's figures, or the sum of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Events that were produced for it.
    produced: u64,
    /// By Forebay's books.
    delivered: u64,
    dead_lettered: u64,
    skipped: u64,
    waiting: u64,
    /// Events that neither the vendor nor a dead letter has.
    missing: u64,
    /// Elements that the vendor took more than once.
    twice: u64,
}

/// The books of the whole.
#[derive(Debug)]
pub(super) struct Books {
    moengage: Row,
    iterable: Row,
    events: u64,
    /// Events that the cluster did not take, or that were never read.
    unread: u64,
    poison: u64,
    letters: u64,
    /// Dead letters of events that were not poison.
    other_letters: u64,
    /// Events of accounts that are nowhere.
    lost: u64,
    revoked: String,
    watch: Watch,
}

/// What the books are made from.
pub(super) struct Sources<'a> {
    pub(super) cast: &'a Cast,
    pub(super) plan: Plan,
    /// Events that were produced.
    pub(super) produced: u64,
    /// Forebay's own figures.
    pub(super) report: &'a Report,
    /// The vendors' figures.
    pub(super) vendors: &'a sandbox::Report,
    /// The dead letters.
    pub(super) letters: &'a BTreeSet<Letter>,
    pub(super) watch: Watch,
}

impl Books {
    /// Looks every event up. `has` says whether an account's vendor has a message id.
    pub(super) fn new(sources: &Sources<'_>, has: impl Fn(&str, &str) -> bool) -> Self {
        let Sources { cast, plan, produced, report, vendors, letters, watch } = *sources;
        let mut rows: Vec<Row> = report.accounts.iter().map(row).collect();
        let twice = |name: &str| vendors.account(name).map_or(0, |account| account.duplicates_by_id);
        rows.iter_mut().enumerate().for_each(|(lane, row)| row.twice = twice(cast.name(lane)));
        let mut poison = BTreeSet::new();
        for index in 0..produced {
            let head = plan.head(index);
            if head.poison {
                poison.insert(index);
            }
            let id = head.id();
            for &lane in &cast.tenants[head.tenant].lanes {
                let name = cast.name(lane);
                rows[lane].produced += 1;
                if !has(name, &id) && !letters.contains(&(index, name.to_owned())) {
                    rows[lane].missing += 1;
                }
            }
        }
        let read: u64 = report.partitions.iter().map(|partition| partition.received).sum();
        let sum = |destination: &str| {
            let own = cast.config.accounts.iter().zip(&rows).filter(|(it, _)| it.destination() == destination);
            own.fold(Row::default(), |sum, (_, row)| sum.and(*row))
        };
        Self {
            moengage: sum("moengage"),
            iterable: sum("iterable"),
            events: produced,
            unread: produced.saturating_sub(read),
            poison: poison.len() as u64,
            letters: letters.len() as u64,
            other_letters: letters.iter().filter(|(index, _)| !poison.contains(index)).count() as u64,
            lost: rows.iter().map(|row| row.missing.saturating_sub(row.skipped + row.waiting)).sum(),
            revoked: cast.name(cast.revoked.1).to_owned(),
            watch,
        }
    }

    fn all(&self) -> Row {
        self.moengage.and(self.iterable)
    }

    /// Whether every event is where it should be: delivered, a dead letter, or left out on purpose.
    pub(super) fn balance(&self) -> bool {
        let all = self.all();
        self.lost == 0 && self.unread == 0 && all.produced == all.delivered + all.dead_lettered + all.skipped
    }
}

fn row(account: &AccountReport) -> Row {
    Row {
        delivered: account.books.delivered,
        dead_lettered: account.books.dead_lettered.iter().sum(),
        skipped: account.books.skipped.iter().sum(),
        waiting: account.in_flight,
        ..Row::default()
    }
}

impl Row {
    fn and(self, other: Self) -> Self {
        Self {
            produced: self.produced + other.produced,
            delivered: self.delivered + other.delivered,
            dead_lettered: self.dead_lettered + other.dead_lettered,
            skipped: self.skipped + other.skipped,
            waiting: self.waiting + other.waiting,
            missing: self.missing + other.missing,
            twice: self.twice + other.twice,
        }
    }
}

/// One of a row's figures.
type Figure = fn(&Row) -> u64;

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all();
        writeln!(f, "The books, in events and accounts (an event goes to each account of its tenant)")?;
        writeln!(f, "{:21}{:>12}{:>12}{:>12}", "", "MoEngage", "Iterable", "all")?;
        let rows: [(&str, Figure); 6] = [
            ("produced", |row| row.produced),
            ("= delivered", |row| row.delivered),
            ("+ dead letters", |row| row.dead_lettered),
            ("+ skipped", |row| row.skipped),
            ("+ still waiting", |row| row.waiting),
            ("taken twice", |row| row.twice),
        ];
        for (name, of) in rows {
            let [moengage, iterable, sum] = [of(&self.moengage), of(&self.iterable), of(&all)].map(grouped);
            writeln!(f, "  {name:19}{moengage:>12}{iterable:>12}{sum:>12}")?;
        }
        writeln!(f)?;
        if self.balance() {
            writeln!(f, "  each event accounted for: yes")?;
        } else {
            let [lost, unread, waiting] = [self.lost, self.unread, all.waiting].map(grouped);
            writeln!(
                f,
                "  each event accounted for: NO ({lost} are nowhere, {unread} were not read, {waiting} still wait)"
            )?;
        }
        let (events, ids) = (grouped(self.events), grouped(all.produced));
        writeln!(f, "    {events} events; {ids} message ids looked up at the vendors and among the dead letters")?;
        let rest = match self.other_letters {
            0 => "nothing else became one".to_owned(),
            others => format!("{} of other events", grouped(others)),
        };
        let (letters, poison) = (grouped(self.letters), grouped(self.poison));
        writeln!(f, "    {letters} dead letters, of {poison} poison events, one for each account of theirs; {rest}")?;
        if self.watch.was_held() {
            let Watch { held_for, most, others, .. } = self.watch;
            let (name, most) = (&self.revoked, grouped(most));
            writeln!(f, "    {name} was held for {}; {most} of its events waited for it,", seconds(held_for))?;
            writeln!(f, "    and nobody else's waited longer than {} meanwhile", seconds(others))?;
        }
        Ok(())
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
