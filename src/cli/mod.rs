//! The commands, one file each.

use std::process::ExitCode;

pub mod check;
pub mod demo;
pub mod explain;
pub mod run;
pub mod sandbox;

/// Forwards user events from Kafka to MoEngage and Iterable, per tenant account and inside each account's rate limit.
#[derive(Debug, clap::Parser)]
#[command(version, about, propagate_version = true, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Demo(demo::Demo),
    Explain(explain::Explain),
    Sandbox(sandbox::Sandbox),
}

impl Arguments {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(run) => run.run(),
            Command::Check(check) => check.run(),
            Command::Demo(demo) => demo.run(),
            Command::Explain(explain) => explain.run(),
            Command::Sandbox(sandbox) => sandbox.run(),
        }
    }
}
