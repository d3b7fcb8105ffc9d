//! The table.

use serde::{Deserialize, Serialize};

use super::Measured;
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
    pub(crate) rounds: Vec<Round>,
}

impl Result {
    /// The median of a figure over the rounds.
    fn of(&self, figure: impl FnMut(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(figure).collect())
    }

    /// Forebay's CPU an event over the floor's.
    pub(crate) fn ratio(&self) -> Estimate {
        let ratios: Vec<f64> = self.rounds.iter().map(|round| round.forebay.micros() / round.floor.micros()).collect();
        Estimate::of(&ratios)
    }

    /// And over that of what it is compared with.
    pub(crate) fn to_base(&self) -> Option<Estimate> {
        let ratio = |round: &Round| Some(round.forebay.micros() / round.base.as_ref()?.micros());
        let ratios = self.rounds.iter().map(ratio).collect::<Option<Vec<f64>>>()?;
        Some(Estimate::of(&ratios))
    }
}

pub(crate) fn print(results: &[Result]) {
    println!(
        "\n| row | what | floor, µs | Forebay, µs | ratio | to its base | events/s | events a request | peak MB, floor / Forebay |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    for result in results {
        let requests = result.of(|round| round.forebay.events as f64 / round.forebay.requests.max(1) as f64);
        println!(
            "| {} | {} | {:.2} | {:.2} | {} | {} | {:.0} | {:.0} | {:.0} / {:.0} |",
            result.name,
            result.what,
            result.of(|round| round.floor.micros()),
            result.of(|round| round.forebay.micros()),
            shown(result.ratio()),
            result.to_base().map_or_else(|| "-".to_owned(), shown),
            result.of(|round| round.forebay.per_second()),
            requests,
            result.of(|round| round.floor.peak_kib as f64 / 1024.0),
            result.of(|round| round.forebay.peak_kib as f64 / 1024.0),
        );
    }
}

fn shown(estimate: Estimate) -> String {
    let invalid = if estimate.width() > WIDEST { " invalid: too wide" } else { "" };
    format!("**{:.2}** ({:.2}-{:.2}){invalid}", estimate.median, estimate.low, estimate.high)
}
