//! `forebay demo`: the newcomer's command. Kafka, both vendors and the proxy in one process, with things going wrong.
//!
//! The accounts of `config.toml` and generated tenants get a steady stream of events; a key is revoked and restored, a
//! vendor throttles an account, some events are poison. At the end every event is looked up. Guarantees that no broker
//! and no vendor is called: addresses and credentials are replaced before anything starts. Exit codes: 0; 1 if an event
//! is unaccounted for; 69 if something could not be started; 70 if a part broke; 78 if the configuration is wrong.

mod books;
mod cast;
mod events;
mod kafka;
mod screen;
mod script;
mod stage;
mod vendors;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{self, Config};
use crate::logs;
use stage::Stage;

/// What an installed Forebay finds nowhere is no mistake, as long as nobody asked for it.
const USUAL_CONFIG: &str = "config.toml";
const WRONG: u8 = 78;

const HELP: &str = "\
Nothing is sent beyond this machine: Kafka is librdkafka's mock cluster, MoEngage and Iterable are simulated, and the
accounts of the configuration get generated keys. Their real keys are not read and need not exist.

Examples:
  forebay demo --for 30s
  forebay demo --tenants 200 --rate 5000
  curl -s http://ADDRESS/accounts     while it runs; the demo prints the address";

/// Show Forebay at work: a mock Kafka, simulated vendors, and things that go wrong
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Demo {
    /// Whose accounts take part, beside generated tenants [default: config.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "FOREBAY_CONFIG")]
    config: Option<PathBuf>,
    /// Generated tenants, each with an account at both vendors
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    tenants: u16,
    /// How long events are produced, like 30s or 5m [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    length: Option<Duration>,
    /// Events a second
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: u32,
    /// Seed of the events
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Demo {
    /// Runs it.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let config = match self.load() {
            Ok(config) => config,
            Err(problems) => {
                eprint!("{problems}");
                eprintln!("forebay demo: the configuration is wrong; mend it, or name another with --config");
                return ExitCode::from(WRONG);
            }
        };
        logs::init(logs::To::Stderr);
        ExitCode::from(Stage::perform(self, config.as_ref()))
    }

    /// The configuration; none if nobody named one and there is none.
    fn load(&self) -> Result<Option<Config>, config::Problems> {
        let path = self.config.as_deref().unwrap_or(Path::new(USUAL_CONFIG));
        if self.config.is_none() && !path.exists() {
            return Ok(None);
        }
        config::load(path).map(|loaded| Some(loaded.config))
    }
}

/// A duration with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|it| Duration::try_from(it).ok());
    parsed.filter(|it| *it >= Duration::from_secs(1)).ok_or_else(|| "write a time of a second or more, like 30s".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: Demo,
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert!(["", "30", "0s", "-5s", "soon"].into_iter().all(|text| duration(text).is_err()));
    }

    #[test]
    fn a_configuration_that_was_asked_for_must_be_there() {
        let line = Line::parse_from(["demo", "--config", "/nowhere/config.toml"]);
        assert!(line.demo.load().is_err());
    }
}
