//! The sink: a process that answers as both vendors do when all is well, as cheaply as it can, and counts.
//!
//! It listens on several ports, as the vendors have several hosts, in the clear or over TLS. Told to watch a process, it
//! takes that process's CPU time when the first request came, and again when it has answered the last. What it counts by
//! is the `"seq"` of each element, so that both a lost one and one that came twice is seen in the sum.

mod door;
mod tally;

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::support::tls::Certificates;
use super::topic::Count;

pub(crate) use tally::Seen;

/// How this binary is told to be the sink.
pub(crate) const ROLE: &str = "sink";

/// So many hosts there are to send to.
pub(crate) const PORTS: usize = 4;

/// What to count, and of whom.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Watch {
    pub(crate) pid: u32,
    /// For how long the first request may have been gathered.
    pub(crate) linger_ms: u64,
    /// The watch ends with this many elements.
    pub(crate) elements: u64,
    /// Whether `seq` is a time, in microseconds since the epoch: when the event was produced.
    pub(crate) timed: bool,
}

/// A running sink. Ends when it is dropped.
pub(crate) struct Sink {
    pub(crate) ports: Vec<u16>,
    /// In front of a port.
    scheme: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Sink {
    pub(crate) fn start(tls: Option<&Certificates>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--as", ROLE]);
        if let Some(tls) = tls {
            command.arg(&tls.certificate).arg(&tls.key);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a sink");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (said, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| said.send(line))
        });
        let mut sink =
            Self { ports: Vec::new(), scheme: if tls.is_some() { "https" } else { "http" }, child, input, lines };
        sink.ports = serde_json::from_str(&sink.line(Duration::from_secs(10)).expect("the ports")).unwrap();
        sink
    }

    /// Where an account sends.
    pub(crate) fn url(&self, account: usize) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.ports[account % PORTS])
    }

    /// Begins to count.
    pub(crate) fn watch(&mut self, watch: &Watch) {
        let line = serde_json::to_string(watch).unwrap();
        writeln!(self.input, "{line}").expect("the sink runs");
    }

    /// What it has counted, if the watch has ended within this time.
    pub(crate) fn seen(&self, timeout: Duration) -> Option<Seen> {
        Some(serde_json::from_str(&self.line(timeout)?).expect("what the sink has seen"))
    }

    /// Ends the watch as it stands.
    pub(crate) fn give_up(&mut self) -> Count {
        writeln!(self.input, "null").expect("the sink runs");
        self.seen(Duration::from_secs(10)).expect("an answer").count()
    }

    fn line(&self, timeout: Duration) -> Option<String> {
        self.lines.recv_timeout(timeout).ok()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The process.
pub(crate) fn run(arguments: &[String]) {
    let tls = match arguments {
        [certificate, key] => Some(door::tls(certificate, key)),
        _ => None,
    };
    let ports: Vec<u16> = (0..PORTS).map(|_| door::open(tls.clone())).collect();
    println!("{}", serde_json::to_string(&ports).unwrap());
    // `null` ends a watch before its time; the end of the input ends the process.
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match serde_json::from_str(&line).unwrap() {
            Some(watch) => tally::begin(watch),
            None => tally::end(),
        }
    }
}
