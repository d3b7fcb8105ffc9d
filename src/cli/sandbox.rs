//! `forebay sandbox`: both vendors, simulated, on one listener.
//!
//! Reads accounts and faults, prints what to set as `base_url`, then a line every few seconds, and the table at the end.
//! Never prints a key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::sandbox::{self, Clock, Keep, Options, Recording, Running, Tls};

/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// `sysexits.h`: the configuration is wrong.
const EXIT_CONFIG: u8 = 78;

const EXAMPLE: &str = r#"Accounts (the vendors' side; a limit of 0 means none):
  [accounts.acme-engage.moengage]
  workspace = "ACME"
  data_center = "02"
  keys = ["demo-moengage-key"]

  [accounts.acme-mail.iterable]
  region = "eu"
  keys = ["demo-iterable-key"]
  requests_per_second = { "events/trackBulk" = 10 }

Faults:
  [[fault]]
  kind = "status"
  status = 503
  endpoint = "events/trackBulk"
  share = 0.05
  from = "10s"
  for = "1m"
  Kinds: status, throttle, revoke_key, delay, delay_answer, hang, reset_before, reset_after,
  partial_failure, poison, not_the_vendor, redirect, huge_answer, broken_json, slow_body, short_body.

Example:
  forebay sandbox --accounts accounts.toml --faults faults.toml
  # in Forebay's configuration: base_url = "http://127.0.0.1:8080/moengage/02"
  curl -s localhost:8080/sandbox/report
  curl -s -X PUT --data-binary @faults.toml localhost:8080/sandbox/faults
  curl -s -X POST localhost:8080/sandbox/reset"#;

/// Simulate MoEngage and Iterable: credentials, regions, limits, refusals, and faults to order
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub struct Sandbox {
    /// Where to listen; who reaches it can set faults
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Workspaces and projects that the vendors know of, with keys and limits (TOML)
    #[arg(long, value_name = "FILE")]
    pub accounts: PathBuf,
    /// Faults that are set from the start (TOML)
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Certificate chain (PEM); plain HTTP without
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Write each accepted element to this file, as lines of JSON
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Seed of all chance
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

impl Sandbox {
    /// Runs until SIGINT or SIGTERM.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let options = match self.options() {
            Ok(options) => options,
            Err(problem) => {
                eprintln!("forebay sandbox: {problem}");
                return ExitCode::from(EXIT_CONFIG);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime.and_then(|runtime| runtime.block_on(serve(options))) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("forebay sandbox: failed to listen on {}: {error}", self.listen);
                ExitCode::FAILURE
            }
        }
    }

    fn options(&self) -> Result<Options, String> {
        let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
        let accounts = sandbox::parse_accounts(&read(&self.accounts)?)
            .map_err(|error| format!("{}: {error}", self.accounts.display()))?;
        let faults = match &self.faults {
            Some(path) => {
                sandbox::parse_faults(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))?
            }
            None => Vec::new(),
        };
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(Tls::from_files(cert, key).map_err(|error| format!("TLS: {error}"))?),
            _ => None,
        };
        let record = Recording { keep: Keep::Ids, file: self.record.clone() };
        Ok(Options { listen: self.listen, accounts, faults, tls, record, seed: self.seed, clock: Clock::machine() })
    }
}

async fn serve(options: Options) -> std::io::Result<()> {
    let accounts = options.accounts.clone();
    let mut stop = signal(SignalKind::terminate())?;
    let running = sandbox::start(options).await?;
    println!("listening on {}", running.addr());
    for account in &accounts {
        println!("{}: base_url = \"{}\"", account.name, running.base_url(account));
    }
    tokio::select! {
        () = lines(&running) => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = stop.recv() => {}
    }
    println!("{}", running.stop().await);
    Ok(())
}

/// Prints a line every few seconds, if there is news.
async fn lines(running: &Running) {
    let mut every = tokio::time::interval(LINE_EVERY);
    let mut last = running.report();
    loop {
        every.tick().await;
        let now = running.report();
        if now.accounts != last.accounts || now.strangers != last.strangers {
            println!("{}", now.line(&last));
        }
        if let Err(error) = running.flush() {
            eprintln!("forebay sandbox: the record file is not complete: {error}");
        }
        last = now;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sandbox: Sandbox,
    }

    #[test]
    fn the_examples_are_read() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/sandbox");
        let (accounts, faults) = (format!("{folder}/accounts.toml"), format!("{folder}/faults.toml"));
        let line = Line::parse_from(["sandbox", "--accounts", &accounts, "--faults", &faults]);
        let options = line.sandbox.options().expect("the examples are right");
        assert!(options.accounts.len() >= 2);
        assert!(options.faults.len() >= 3);
    }

    #[test]
    fn a_wrong_file_is_named() {
        let line = Line::parse_from(["sandbox", "--accounts", "/nowhere/accounts.toml"]);
        let problem = line.sandbox.options().expect_err("there is no such file");
        assert!(problem.starts_with("/nowhere/accounts.toml: "), "{problem}");
    }
}
