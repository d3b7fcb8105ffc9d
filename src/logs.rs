//! Logs: text on a terminal, one JSON object a line elsewhere; what comes from records is escaped and cut where it is
//! logged.
//!
//! `FOREBAY_LOG` filters (`info`, `forebay=debug`). Standard output by default; commands whose output is for people
//! log to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Where logs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Standard output: the logs are the output.
    Stdout,
    /// Standard error, from warnings on: the output is something else.
    Stderr,
}

/// Sets logging up for the process. A second call changes nothing.
pub fn init(to: To) {
    // What librdkafka says of the consumer and the dead letters is told by their own contexts, and not once a second.
    let default = if to == To::Stdout { "info,librdkafka=off,rdkafka=off" } else { "error,librdkafka=off,rdkafka=off" };
    let filter = EnvFilter::try_from_env("FOREBAY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    // A second initialisation is a test's, and harmless.
    let _second = match to {
        To::Stdout if std::io::stdout().is_terminal() => builder.try_init(),
        To::Stdout => builder.json().flatten_event(true).try_init(),
        To::Stderr => builder.with_writer(std::io::stderr).try_init(),
    };
}
