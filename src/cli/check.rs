//! `forebay check`: reads the configuration as `run` would, and names every mistake.
//!
//! Problems go to standard error, one a line; one line on standard output says that all is well. With `--connect` the
//! brokers are asked, too. Sends nothing to a vendor and changes nothing.

mod connect;

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::config::secret::{self, SecretError};
use crate::config::{self, Config, Loaded, Problem, SecretUse};

/// The configuration is wrong (`EX_CONFIG`).
const WRONG: u8 = 78;

/// The brokers cannot be reached (`EX_UNAVAILABLE`).
const UNREACHABLE: u8 = 69;

/// Read the configuration and name every mistake in it
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// The main configuration file
    #[arg(long, value_name = "FILE", env = "FOREBAY_CONFIG", default_value = "config.toml")]
    config: PathBuf,
    /// Ask the brokers, too: are the topics there, and do they suit each other?
    #[arg(long)]
    connect: bool,
    /// Let warnings fail the check
    #[arg(long)]
    strict: bool,
    /// How the result is written: text, or one JSON object on standard output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One object on standard output.
    Json,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    ok: bool,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    /// Why the brokers could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable: Option<String>,
}

/// What there is, when it can be used.
#[derive(Debug, Serialize)]
struct Summary {
    files: usize,
    accounts: usize,
    tenants: usize,
    topics: Vec<String>,
    group: String,
    brokers: String,
}

impl Check {
    /// Checks and reports; the code is 0 when all is well, 78 when the configuration is wrong, 69 when the brokers
    /// cannot be reached.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let code = self.report(&mut std::io::stdout().lock(), &mut std::io::stderr().lock());
        ExitCode::from(code)
    }

    fn report(&self, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let (findings, code) = self.find();
        // Whoever closes the pipe has read enough; the code still tells.
        let _ = match self.format {
            Format::Text => self.write_text(&findings, out, err),
            Format::Json => write_json(&findings, out),
        };
        code
    }

    fn find(&self) -> (Findings, u8) {
        let loaded = match config::load(&self.config) {
            Ok(loaded) => loaded,
            Err(problems) => {
                let findings = Findings { errors: problems.errors, warnings: problems.warnings, ..Findings::default() };
                return (findings, WRONG);
            }
        };
        let Loaded { config, mut warnings, secrets } = loaded;
        warnings.extend(secrets.iter().filter_map(missing_secret));
        let mut findings = Findings { warnings, summary: Some(summary(&config)), ..Findings::default() };
        if self.connect {
            match connect::check(&config, &self.config.display().to_string()) {
                Ok((errors, warnings)) => {
                    findings.errors.extend(errors);
                    findings.warnings.extend(warnings);
                }
                Err(error) => findings.unreachable = Some(chain(&error)),
            }
        }
        let code = if !findings.errors.is_empty() || (self.strict && !findings.warnings.is_empty()) {
            WRONG
        } else if findings.unreachable.is_some() {
            UNREACHABLE
        } else {
            0
        };
        findings.ok = code == 0;
        (findings, code)
    }

    fn write_text(&self, findings: &Findings, out: &mut dyn Write, err: &mut dyn Write) -> std::io::Result<()> {
        for problem in &findings.errors {
            writeln!(err, "error: {problem}")?;
        }
        for problem in &findings.warnings {
            writeln!(err, "warning: {problem}")?;
        }
        if let Some(reason) = &findings.unreachable {
            writeln!(err, "error: the brokers could not be asked: {reason}")?;
        }
        let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        let (errors, warnings) = (findings.errors.len(), findings.warnings.len());
        let file = self.config.display();
        match &findings.summary {
            Some(summary) if findings.ok => {
                let (accounts, tenants) = (count(summary.accounts, "account"), count(summary.tenants, "tenant"));
                let topics = summary.topics.join(", ");
                write!(out, "{file}: fine: {accounts} of {tenants}, from {topics} at {}", summary.brokers)?;
                writeln!(out, "; {}", count(warnings, "warning"))?;
            }
            _ if findings.unreachable.is_some() && errors == 0 => {}
            _ => writeln!(err, "{file}: {}, {}", count(errors, "error"), count(warnings, "warning"))?,
        }
        Ok(())
    }
}

fn write_json(findings: &Findings, out: &mut dyn Write) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, findings)?;
    writeln!(out)
}

fn summary(config: &Config) -> Summary {
    let tenants: BTreeSet<&str> = config.accounts.iter().map(|account| account.tenant.as_str()).collect();
    Summary {
        files: config.files.len(),
        accounts: config.accounts.len(),
        tenants: tenants.len(),
        topics: config.kafka.topics.clone(),
        group: config.kafka.group.clone(),
        brokers: config.kafka.brokers.clone(),
    }
}

/// A secret that is not there yet, or cannot be used, is no mistake, because `run` holds the account until it comes.
fn missing_secret(used: &SecretUse) -> Option<Problem> {
    let error = secret::read_as(&used.secret, used.form).err()?;
    let fix = match &error {
        SecretError::Unfit { unfit, .. } => unfit.fix,
        _ => "until it can be read, what needs it waits",
    };
    Some(Problem::at(used.place.clone(), format!("the secret {}", chain(&error)), fix))
}

/// An error and its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries say the cause in their own text, too.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
