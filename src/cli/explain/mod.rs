//! `forebay explain`: one record, and what `run` would make of it: whose it is, which accounts get it and why, and
//! what each request says.
//!
//! Calls no vendor and reads no key. With `--offset` it reads one record from Kafka, as nobody's consumer: it joins no
//! group and commits nothing. Exit codes: 0, whatever becomes of the record; 66 if there is no such record; 69 if no
//! broker answers; 78 if the configuration is wrong.

mod show;
mod stored;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::event::Origin;
use crate::explain::{Asked, Explainer, Explanation};
use crate::source::record::{Headers, Record, kept};

use stored::Stored;

const USAGE: u8 = 2;
const NO_INPUT: u8 = 66;
const UNAVAILABLE: u8 = 69;
const WRONG: u8 = 78;

/// Show what becomes of one record: tenant, accounts, requests, and why not
#[derive(Clone, Debug, clap::Args)]
pub struct Explain {
    /// The main configuration file
    #[arg(long, value_name = "FILE", env = "FOREBAY_CONFIG", default_value = "config.toml")]
    config: PathBuf,
    /// The file that holds the record's value; `-` is standard input
    #[arg(value_name = "RECORD", default_value = "-", conflicts_with = "offset")]
    file: PathBuf,
    /// This account only; a file's record that names no tenant counts as its tenant's
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The record's topic
    #[arg(long)]
    topic: Option<String>,
    /// The record's partition
    #[arg(long, default_value_t = 0, requires = "topic")]
    partition: i32,
    /// Read the record at this offset of the topic's partition, instead of a file
    #[arg(long, requires = "topic")]
    offset: Option<i64>,
    /// A header of a file's record
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = header, conflicts_with = "offset")]
    headers: Vec<(String, String)>,
    /// The key of a file's record
    #[arg(long, conflicts_with = "offset")]
    key: Option<String>,
    /// Write one JSON object
    #[arg(long)]
    json: bool,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("there is no account {0}")]
    NoAccount(String),
    #[error("failed to read {0}: {1}")]
    Read(String, io::Error),
    #[error("{0}")]
    NoRecord(String),
    #[error("{0}")]
    Kafka(String),
}

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::NoAccount(_) => USAGE,
            Self::Read(..) | Self::NoRecord(_) => NO_INPUT,
            Self::Kafka(_) => UNAVAILABLE,
        }
    }
}

impl Explain {
    /// Explains.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let config = match config::load(&self.config) {
            Ok(loaded) => loaded.config,
            Err(problems) => {
                eprintln!("{problems}");
                return ExitCode::from(WRONG);
            }
        };
        match self.explain(&config) {
            Ok(explanation) => {
                let mut out = io::stdout().lock();
                // Whoever closes the pipe has read enough.
                let _closed = if self.json {
                    serde_json::to_writer_pretty(&mut out, &explanation)
                        .map_err(Into::into)
                        .and_then(|()| writeln!(out))
                } else {
                    show::write(&mut out, &explanation)
                };
                ExitCode::SUCCESS
            }
            Err(failure) => {
                eprintln!("error: {failure}");
                ExitCode::from(failure.code())
            }
        }
    }

    fn explain(&self, config: &Config) -> Result<Explanation, Failure> {
        let now = Clock::default().now();
        let explainer = Explainer::new(config, now);
        if let Some(account) = self.account.as_ref().filter(|account| !explainer.knows(account)) {
            return Err(Failure::NoAccount(account.clone()));
        }
        let topic = self.topic.as_deref().or(config.kafka.topics.first().map(String::as_str)).unwrap_or_default();
        let stored = match self.offset {
            Some(offset) => stored::read(config, topic, self.partition, offset)?,
            None => Stored {
                // As if it were produced now.
                timestamp_ms: Some(now.wall_ms),
                key: self.key.clone().map(String::into_bytes),
                value: Some(read(&self.file)?),
                headers: kept(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))),
            },
        };
        let record = Record {
            slot: 0,
            offset: self.offset.unwrap_or(0),
            timestamp_ms: stored.timestamp_ms,
            key: stored.key.as_deref(),
            value: stored.value.as_deref(),
            headers: Headers::of(&stored.headers),
        };
        let origin =
            Origin { topic, partition: self.partition, offset: record.offset, timestamp_ms: record.timestamp_ms };
        let asked = self.account.as_deref().map(|account| Asked { account, assume: self.offset.is_none() });
        Ok(explainer.explain(&record, origin, asked, now))
    }
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    let result = if path == Path::new("-") {
        io::stdin().lock().read_to_end(&mut value).map(drop)
    } else {
        std::fs::read(path).map(|bytes| value = bytes)
    };
    result.map_err(|error| Failure::Read(path.display().to_string(), error))?;
    Ok(value)
}
