//! `forebay run`: the proxy, until a signal; then it drains.
//!
//! Exit codes: 0 after a clean drain; 75 if the drain ran out of time with work that could still have been done; 69 if
//! something it needs at the start is not there; 70 if a part of it broke; 78 if the configuration is wrong; 130 or 143
//! if a second signal ended it at once. What is not settled stays in Kafka in each of these cases.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, Config};
use crate::logs;
use crate::proxy::{Ended, Proxy, StartError};
use crate::source::consumer::End;

const UNAVAILABLE: u8 = 69;
const BROKEN: u8 = 70;
const UNFINISHED: u8 = 75;
const WRONG: u8 = 78;
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// How long the parts have to end once the source has.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// Forward events until a signal; then drain and end
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// The main configuration file
    #[arg(long, value_name = "FILE", env = "FOREBAY_CONFIG", default_value = "config.toml")]
    config: PathBuf,
}

impl Run {
    /// Runs it.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let config = match config::load(&self.config) {
            Ok(loaded) => {
                logs::init(logs::To::Stdout);
                for warning in &loaded.warnings {
                    tracing::warn!("{warning}");
                }
                loaded.config
            }
            Err(problems) => {
                eprintln!("{problems}");
                eprintln!("{}: nothing was started; mend it and try again", self.config.display());
                return ExitCode::from(WRONG);
            }
        };
        let code = start(config);
        tracing::info!(exit_code = code, "ended");
        ExitCode::from(code)
    }
}

fn start(config: Config) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "failed to start");
            return UNAVAILABLE;
        }
    };
    runtime.block_on(async {
        // Before anything is started, so that no signal finds the default action.
        let signals = Signals::new();
        let (mut proxy, mut signals) = match (Proxy::start(&config), signals) {
            (Ok(proxy), Ok(signals)) => (proxy, signals),
            (Err(error), _) => {
                tracing::error!(%error, "failed to start");
                return code_of(&error);
            }
            (_, Err(error)) => {
                tracing::error!(%error, "failed to listen for signals");
                return UNAVAILABLE;
            }
        };
        tracing::info!(
            accounts = config.accounts.len(),
            topics = ?config.kafka.topics,
            group = config.kafka.group,
            version = env!("CARGO_PKG_VERSION"),
            "started"
        );
        let drain = config.drain;
        // The parts have what they need of it; of ten thousand accounts it is as large as their lanes.
        drop(config);
        let code = until_the_end(&mut proxy, &mut signals, drain).await;
        if !matches!(code, INTERRUPTED | TERMINATED) {
            proxy.finish(LAST_PATIENCE);
        }
        code
    })
}

fn code_of(error: &StartError) -> u8 {
    match error {
        StartError::Kafka(_) | StartError::Origin(..) => WRONG,
        StartError::Metrics(_) => BROKEN,
        StartError::Secret(_) | StartError::Http(_) | StartError::Listen(..) | StartError::System(_) => UNAVAILABLE,
    }
}

/// Waits for a signal, drains, and says how that went.
async fn until_the_end(proxy: &mut Proxy, signals: &mut Signals, drain: Duration) -> u8 {
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name.0, drain = ?drain, "draining; a second signal ends at once"),
        ended = proxy.ended() => return code_of_end(ended.as_ref(), false),
    }
    proxy.drain();
    tokio::select! {
        name = signals.next() => {
            tracing::warn!(signal = name.0, "second signal: ending at once; what is open stays owed");
            return name.1;
        }
        ended = proxy.ended() => return code_of_end(ended.as_ref(), true),
        () = tokio::time::sleep(drain) => tracing::warn!("the drain ran out of time; what is open stays owed"),
    }
    proxy.abandon();
    tokio::select! {
        name = signals.next() => name.1,
        ended = proxy.ended() => code_of_end(ended.as_ref(), true),
        () = tokio::time::sleep(LAST_PATIENCE) => UNFINISHED,
    }
}

fn code_of_end(ended: Option<&Ended>, asked: bool) -> u8 {
    match ended {
        Some(Ended::Source(End::Drained)) if asked => 0,
        Some(Ended::Source(End::Abandoned)) if asked => UNFINISHED,
        Some(Ended::Source(end)) => {
            tracing::error!(?end, "the source ended by itself");
            BROKEN
        }
        Some(Ended::Early(part)) => {
            tracing::error!(part, "a part ended early; the process must be started again");
            BROKEN
        }
        None => BROKEN,
    }
}

/// SIGTERM and SIGINT.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one: its name, and the code of a process that it ended.
    pub(super) async fn next(&mut self) -> (&'static str, u8) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", TERMINATED),
            _ = self.interrupt.recv() => ("SIGINT", INTERRUPTED),
        }
    }
}
