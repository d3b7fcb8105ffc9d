//! Gets Apache Kafka from Maven Central, once, into `target/kafka-<version>`.
//!
//! Holds afterwards: `jars/`, and `formatted/`, an empty formatted log directory that each broker starts from a copy of
//! (the storage tool takes a second, copying takes none). A marker with the text of `tests/kafka/pom.xml` says that
//! both are whole; a file lock lets one of several test processes do the work while the others wait.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const POM: &str = include_str!("../../../kafka/pom.xml");

/// Enough for a broker and quick to start: one compiler, one collector thread.
const JVM: [&str; 6] = [
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
];

/// The installed Kafka.
#[derive(Clone, Debug)]
pub(super) struct Install {
    directory: PathBuf,
}

impl Install {
    /// Finds it, or downloads it.
    pub(super) fn ready() -> Result<Self, String> {
        need("java")?;
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().ok_or("no target directory")?;
        let name = format!("kafka-{}", version()?);
        let install = Self { directory: target.join(&name) };
        fs::create_dir_all(&install.directory).map_err(text("make the directory of Kafka's jars"))?;
        let lock = File::create(target.join(format!("{name}.lock"))).map_err(text("open the lock"))?;
        lock.lock().map_err(text("take the lock"))?;
        let marker = install.directory.join("complete");
        if fs::read_to_string(&marker).is_ok_and(|pom| pom == POM) {
            return Ok(install);
        }
        install.download()?;
        install.format()?;
        fs::write(marker, POM).map_err(text("write the marker"))?;
        Ok(install)
    }

    /// `java` with Kafka's class path; the class and its arguments are still to come.
    pub(super) fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(JVM).arg("-cp").arg(self.jars().join("*"));
        java
    }

    /// The empty formatted log directory.
    pub(super) fn formatted(&self) -> PathBuf {
        self.directory.join("formatted")
    }

    fn jars(&self) -> PathBuf {
        self.directory.join("jars")
    }

    fn download(&self) -> Result<(), String> {
        need("mvn")?;
        remove(&self.jars())?;
        let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/pom.xml");
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-q", "-ntp", "-f"]).arg(pom);
        maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
        maven.arg(assignment("-DoutputDirectory=", &self.jars()));
        run(&mut maven)
    }

    fn format(&self) -> Result<(), String> {
        remove(&self.formatted())?;
        let config = self.directory.join("format.properties");
        fs::write(&config, super::broker::properties(0, &[[1, 2]], &self.formatted())).map_err(text("write a file"))?;
        let mut tool = self.java();
        tool.args(["kafka.tools.StorageTool", "format", "--cluster-id", "Zm9yZWJheS10ZXN0cy0wMA", "--config"]);
        run(tool.arg(config))
    }
}

fn version() -> Result<&'static str, String> {
    let rest = POM.split_once("<kafka.version>").ok_or("tests/kafka/pom.xml has no kafka.version")?.1;
    Ok(rest.split_once('<').map_or(rest, |(version, _)| version))
}

/// Says what to install if a program is not in `PATH`.
fn need(program: &str) -> Result<(), String> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return Ok(());
    }
    Err(format!(
        "the tests run a real Apache Kafka and need `{program}`, which is not in PATH: install a JDK (17 or later) and \
         Maven (Debian: apt-get install openjdk-17-jdk-headless maven), or set FOREBAY_TEST_KAFKA to the bootstrap \
         servers of a cluster"
    ))
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().map_err(text(&format!("run {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{command:?} failed, {}:\n{out}\n{err}", output.status))
}

fn assignment(name: &str, path: &Path) -> std::ffi::OsString {
    [OsStr::new(name), path.as_os_str()].iter().copied().collect()
}

fn remove(directory: &Path) -> Result<(), String> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(text("clear a directory")(error)),
        _ => Ok(()),
    }
}

fn text(what: &str) -> impl FnOnce(std::io::Error) -> String {
    move |error| format!("failed to {what}: {error}")
}
