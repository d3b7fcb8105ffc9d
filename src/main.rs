//! Reads the arguments and runs a command; its exit code is the process's. Nothing else lives here.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    forebay::cli::Arguments::parse().run()
}
