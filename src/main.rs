//! Reads the arguments and runs a command; its exit code is the process's. Nothing else lives here.

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;

/// Also librdkafka's, which is what it is for: its threads ask for memory for each message, and the poll thread gives it back
/// while they ask for more. In glibc's they meet at a lock, some ten times for a hundred messages (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    forebay::cli::Arguments::parse().run()
}
