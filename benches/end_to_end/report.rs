//! What was measured, as a table and as a file, and beside what was recorded last.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Measured;
use super::core::allocations::Allocations;
use super::probes::{Latency, Start};
use super::rows::Goal;
use super::stats::{Estimate, median};

/// An interval that is wider than this says too little.
const WIDEST: f64 = 0.3;

/// The runs of one round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Round {
    pub(crate) floor: Measured,
    pub(crate) forebay: Measured,
    pub(crate) base: Option<Measured>,
}

/// A row with its rounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Result {
    pub(crate) name: String,
    pub(crate) what: String,
    /// Whether the base is the same again.
    pub(crate) against_itself: bool,
    pub(crate) rounds: Vec<Round>,
}

/// All that one run of the bench came to.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    pub(crate) date: String,
    pub(crate) commit: String,
    /// What the machine is.
    pub(crate) machine: String,
    pub(crate) rows: Vec<Result>,
    pub(crate) latency: Option<Latency>,
    pub(crate) start: Option<Start>,
    pub(crate) allocations: Allocations,
}

impl Result {
    /// The median of a figure over the rounds.
    fn of(&self, figure: impl FnMut(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    /// Forebay's CPU an event over the floor's. Where the base is the same again, both of a round count.
    pub(crate) fn ratio(&self) -> Estimate {
        let arms = |round: &Round| {
            let again = round.base.as_ref().filter(|_| self.against_itself);
            [Some(&round.forebay), again].into_iter().flatten().map(|arm| arm.micros() / round.floor.micros()).collect()
        };
        let ratios: Vec<Vec<f64>> = self.rounds.iter().map(arms).collect();
        Estimate::of(&ratios.into_iter().map(median).collect::<Vec<f64>>())
    }

    /// And over that of what it is compared with.
    pub(crate) fn to_base(&self) -> Option<Estimate> {
        let ratio = |round: &Round| Some(round.forebay.micros() / round.base.as_ref()?.micros());
        let ratios = self.rounds.iter().map(ratio).collect::<Option<Vec<f64>>>()?;
        Some(Estimate::of(&ratios))
    }

    /// Whether the ratio that has a goal is sure enough.
    pub(crate) fn is_sure(&self, goal: Option<Goal>) -> bool {
        let judged = match goal {
            None => None,
            Some(Goal::Floor) => Some(self.ratio()),
            Some(Goal::Base) => self.to_base(),
        };
        judged.is_none_or(|ratio| ratio.width() <= WIDEST)
    }

    /// How far A was from A, as a factor: the farther end of the interval.
    fn noise(&self) -> Option<f64> {
        let again = self.to_base().filter(|_| self.against_itself)?;
        Some(again.high.max(1.0 / again.low))
    }
}

impl Record {
    /// How far this run's figures may be off, as a factor: A against A, as far as that was measured.
    fn noise(&self) -> Option<f64> {
        self.rows.iter().filter_map(Result::noise).reduce(f64::max)
    }

    pub(crate) fn print(&self) {
        println!("\n{}, commit {}, {}", self.date, self.commit, self.machine);
        if !self.rows.is_empty() {
            println!(
                "\n| row | what | CPU an event, µs: floor | Forebay | ratio to the floor | to its base | events/s | events a request | peak MB: floor | Forebay |\n\
                 | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
            );
        }
        self.rows.iter().for_each(print_row);
        self.print_probes();
        match self.noise() {
            Some(noise) => println!("\nA against A: within {:.1} %", (noise - 1.0) * 100.0),
            None => println!("\nA against A was not measured: the rows `small` and `large` do."),
        }
    }

    fn print_probes(&self) {
        let Allocations { an_event, a_request } = self.allocations;
        println!("\nallocations on the event path: {an_event:.2} an event, {a_request:.0} a request");
        if let Some(latency) = &self.latency {
            let [accepted, sink] = latency.millis();
            println!(
                "from produced to accepted at {} events a second, linger 0 ms: median {:.2} ms, p99 {:.2} ms; of that in the sink {:.2} and {:.2} ms",
                latency.rate, accepted[0], accepted[1], sink[0], sink[1]
            );
        }
        if let Some(start) = &self.start {
            println!(
                "from the process's start to its first request, {} accounts: {:.0} ms, and {:.0} ms for the group join",
                start.accounts,
                median(start.first_ms.clone()),
                median(start.join_ms.clone())
            );
        }
    }

    /// Writes it beside those of other runs.
    pub(crate) fn write(&self) {
        let path = directory().join(format!("{}-{}.json", &self.date[..10], self.commit));
        fs::create_dir_all(directory()).unwrap();
        fs::write(&path, format!("{}\n", serde_json::to_string(self).unwrap())).unwrap();
        println!("\nrecorded: {}", path.display());
    }

    /// Says which rows moved since that run, beyond the noise of both.
    pub(crate) fn compare(&self, last: &Self) {
        let noise = self.noise().into_iter().chain(last.noise()).fold(1.0, f64::max);
        println!(
            "\nbeside {}, commit {}, {}; moved: by more than A from A ({:.1} %), and the intervals do not meet\n\n\
             | row | ratio then | now | |\n| --- | --- | --- | --- |",
            last.date,
            last.commit,
            last.machine,
            (noise - 1.0) * 100.0
        );
        for row in &self.rows {
            let Some(then) = last.rows.iter().find(|then| then.name == row.name) else { continue };
            let floor = |row: &Result| row.of(|round| round.floor.micros());
            let drift = factor(floor(row), floor(then));
            let (then, now) = (then.ratio(), row.ratio());
            let by = now.median / then.median;
            let size = factor(now.median, then.median);
            let said = if now.overlaps(then) || size <= noise {
                "as before".to_owned()
            } else if size <= drift {
                // The floor is the same work in both runs.
                format!("unclear: the floor moved by {:.0} %", (drift - 1.0) * 100.0)
            } else if by > 1.0 {
                format!("**{:.0} % dearer**", (by - 1.0) * 100.0)
            } else {
                format!("**{:.0} % cheaper**", (1.0 - by) * 100.0)
            };
            println!("| {} | {} | {} | {said} |", row.name, shown(then), shown(now));
        }
    }
}

fn print_row(row: &Result) {
    let requests = row.of(|round| round.forebay.calls as f64 / round.forebay.requests.max(1) as f64);
    println!(
        "| {} | {} | {:.2} | {:.2} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
        row.name,
        row.what,
        row.of(|round| round.floor.micros()),
        row.of(|round| round.forebay.micros()),
        shown(row.ratio()),
        row.to_base().map_or_else(|| "-".to_owned(), shown),
        row.of(|round| round.forebay.per_second()),
        requests,
        row.of(|round| round.floor.peak_kib as f64 / 1024.0),
        row.of(|round| round.forebay.peak_kib as f64 / 1024.0),
    );
}

fn shown(estimate: Estimate) -> String {
    let invalid = if estimate.width() > WIDEST { " **invalid: too wide**" } else { "" };
    format!("**{:.2}** ({:.2}-{:.2}){invalid}", estimate.median, estimate.low, estimate.high)
}

/// How far apart two figures are, whichever is larger.
fn factor(one: f64, other: f64) -> f64 {
    (one / other).max(other / one)
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results")
}

/// The run that was recorded last.
pub(crate) fn last() -> Option<Record> {
    let files = fs::read_dir(directory()).ok()?.flatten().map(|file| file.path());
    let records = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let read = |path: PathBuf| -> Record {
        let record = fs::read_to_string(&path).map(|text| serde_json::from_str(&text));
        record.unwrap().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    records.map(read).max_by(|one, other| one.date.cmp(&other.date))
}
