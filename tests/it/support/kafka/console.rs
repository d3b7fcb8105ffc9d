//! Kafka's own console producer: an ordinary client that knows nothing of Forebay.
//!
//! Its lines are `name:value,name:value<TAB>key<TAB>value`. It reads them from a file, in one go.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use super::install::Install;
use super::{Compression, Kafka};
use crate::support::tail;

impl Kafka {
    /// Runs it over a file of lines, which may be made with [`line`], until all are acknowledged.
    pub(crate) fn console_producer(&self, topic: &str, compression: Compression, lines: &Path) {
        let install = Install::ready().unwrap_or_else(|error| panic!("{error}"));
        let output = install
            .java()
            .args(["org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", self.bootstrap()])
            .args(["--topic", topic, "--compression-codec", compression.name()])
            .args(["--property", "parse.headers=true", "--property", "parse.key=true"])
            .args(["--producer-property", "acks=all"])
            .stdin(File::open(lines).expect("the file of lines"))
            .stdout(Stdio::null())
            .output()
            .expect("java");
        // A refused record is a line on stderr, not an exit code.
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !log.contains("ERROR"), "the console producer: {}", tail(&log, 30));
    }
}

/// One line, its end included.
pub(crate) fn line(headers: &[(&str, &str)], key: &str, value: &str) -> String {
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{}\t{key}\t{value}\n", headers.join(","))
}
