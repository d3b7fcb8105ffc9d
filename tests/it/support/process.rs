//! The real `forebay` as a process of its own, with a directory of its own.
//!
//! A [`Setup`] is what a process finds: `config.toml`, files beside it, environment, arguments. It can be run more than
//! once, which is how a test kills Forebay and starts it again. A [`Forebay`] is one run: what it writes goes into
//! files, and it is killed when it is dropped. A test that fails shows the end of what the process wrote.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::metrics::{self, Sample};
use super::{POLL, eventually, tail};

/// From the start to the line that tells the admin address.
const ADMIN: Duration = Duration::from_secs(20);

/// For one answer of the admin listener.
const ANSWER: Duration = Duration::from_secs(10);

/// What a process finds when it starts.
#[derive(Debug)]
pub(crate) struct Setup {
    directory: Arc<TempDir>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    runs: AtomicU32,
}

impl Setup {
    /// `forebay run` with this `config.toml`. It should have `[admin] listen = "127.0.0.1:0"`.
    pub(crate) fn new(config: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("forebay-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let setup = Self {
            directory: Arc::new(directory.expect("a directory")),
            arguments: vec!["run".to_owned()],
            environment: Vec::new(),
            runs: AtomicU32::new(0),
        };
        setup.write("config.toml", config);
        setup
    }

    /// Writes, or rewrites, a file beside `config.toml`, and the directories that it needs.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, content).expect("a file is written");
        path
    }

    /// Where a file beside `config.toml` is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// With this variable in the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With these arguments instead of `run`; `--config` follows them.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Starts a process.
    pub(crate) fn start(&self) -> Forebay {
        let run = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let logs = ["stdout", "stderr"].map(|name| self.path(&format!("{name}.{run}")));
        let [stdout, stderr] = logs.each_ref().map(|path| File::create(path).expect("a file for what is written"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        // The environment of whoever runs the tests must not decide where Forebay connects, or what it says.
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        for name in ["NO_PROXY", "no_proxy", "RUST_LOG", "FOREBAY_LOG", "FOREBAY_CONFIG"] {
            command.env_remove(name);
        }
        command.args(&self.arguments).arg("--config").arg(self.path("config.toml"));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.directory.path()).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let child = command.spawn().expect("forebay starts");
        Forebay { _directory: Arc::clone(&self.directory), child, logs, status: None }
    }
}

/// One run of `forebay`.
#[derive(Debug)]
pub(crate) struct Forebay {
    _directory: Arc<TempDir>,
    child: Child,
    logs: [PathBuf; 2],
    status: Option<ExitStatus>,
}

impl Forebay {
    /// `forebay run` with this configuration, once.
    pub(crate) fn start(config: &str) -> Self {
        Setup::new(config).start()
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has taken so far, in bytes: `VmHWM`, all that is resident.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// What it takes now without the pages of files: of a debug build the program itself is larger than its memory.
    pub(crate) fn own_memory(&self) -> u64 {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process's status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024
    }

    /// All that it has written, standard output first.
    pub(crate) fn log(&self) -> String {
        self.logs
            .each_ref()
            .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned())
            .concat()
    }

    /// Its log lines that are JSON objects.
    pub(crate) fn log_lines(&self) -> Vec<serde_json::Value> {
        let lines = self.log();
        let json = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
        json.filter(serde_json::Value::is_object).collect()
    }

    /// [`eventually`], with the end of the log in the failure's text, and no waiting for a process that has ended.
    pub(crate) fn eventually<T>(
        &mut self,
        timeout: Duration,
        what: &str,
        mut probe: impl FnMut(&Self) -> Result<T, String>,
    ) -> T {
        let deadline = Instant::now() + timeout;
        loop {
            let ended = self.try_wait();
            let seen = match probe(self) {
                Ok(value) => return value,
                Err(seen) => seen,
            };
            if ended.is_some() || Instant::now() >= deadline {
                let end =
                    ended.map_or_else(|| format!("not within {timeout:?}"), |status| format!("it ended, {status}"));
                panic!("{what}: {end}; last seen: {seen}");
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until it has written something, or has ended.
    pub(crate) fn eventually_or_ended(&mut self, what: &str) {
        eventually(ADMIN, what, || match self.try_wait() {
            None if self.log().is_empty() => Err("nothing".to_owned()),
            _ => Ok(()),
        });
    }

    /// Waits until a line of the log contains this.
    pub(crate) fn wait_for_log(&mut self, text: &str, timeout: Duration) {
        self.eventually(timeout, &format!("{text:?} in the log"), |forebay| {
            if forebay.log().contains(text) { Ok(()) } else { Err("not there".to_owned()) }
        });
    }

    /// Waits until `/readyz` says yes.
    pub(crate) fn wait_ready(&mut self, timeout: Duration) {
        self.eventually(timeout, "ready", |forebay| match forebay.try_get("/readyz") {
            Ok((200, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Where the admin listener is, from the field `admin` of a log line.
    pub(crate) fn admin_addr(&mut self) -> SocketAddr {
        self.eventually(ADMIN, "the admin address in the log", |forebay| {
            forebay.try_admin().ok_or_else(|| "no line with it".to_owned())
        })
    }

    /// `GET` at the admin listener: status and body.
    pub(crate) fn get(&mut self, path: &str) -> (u16, String) {
        self.admin_addr();
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// `/metrics`, read.
    pub(crate) fn metrics(&mut self) -> Vec<Sample> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "/metrics: {body}");
        metrics::parse(&body)
    }

    /// The sum of a metric's samples that have at least these labels; `None` if there are none.
    pub(crate) fn metric(&mut self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        metrics::sum(&self.metrics(), name, labels)
    }

    /// `/accounts`, read.
    pub(crate) fn accounts(&mut self) -> serde_json::Value {
        let (status, body) = self.get("/accounts");
        assert_eq!(status, 200, "/accounts: {body}");
        serde_json::from_str(&body).expect("/accounts is JSON")
    }

    /// Ends it at once, as a crash would, and waits for that.
    pub(crate) fn sigkill(&mut self) {
        let _ = self.child.kill();
        self.status = self.child.wait().ok();
    }

    /// Asks it to drain.
    pub(crate) fn sigterm(&self) {
        self.signal("TERM");
    }

    /// As Ctrl-C does.
    pub(crate) fn sigint(&self) {
        self.signal("INT");
    }

    /// Freezes it, as a starved machine would.
    pub(crate) fn sigstop(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn sigcont(&self) {
        self.signal("CONT");
    }

    /// Whether it has ended, and how.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("the process can be waited for");
        }
        self.status
    }

    /// Waits for its end: the exit code, or `None` if a signal ended it.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Option<i32> {
        let status = eventually(timeout, "the end of forebay", || self.try_wait().ok_or("it runs".to_owned()));
        status.code()
    }

    fn signal(&self, name: &str) {
        assert!(self.status.is_none(), "the process has ended, its id may be another's");
        let pid = self.pid().to_string();
        let sent = Command::new("sh").args(["-c", r#"kill -s "$1" "$2""#, "kill", name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "failed to send SIG{name}");
    }

    fn try_admin(&self) -> Option<SocketAddr> {
        self.log().lines().find_map(admin_of)
    }

    /// HTTP/1.0, so that the answer ends where the connection does.
    pub(crate) fn try_get(&self, path: &str) -> Result<(u16, String), String> {
        let admin = self.try_admin().ok_or("the admin address is not known")?;
        http_get(admin, path).map_err(|error| error.to_string())
    }
}

impl Drop for Forebay {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            self.sigkill();
        }
        if std::thread::panicking() {
            let mut text = format!("\nforebay {} ended, {:?}; the end of what it wrote:\n", self.pid(), self.status);
            for path in &self.logs {
                let log = fs::read(path).unwrap_or_default();
                let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
                let _ = writeln!(text, "--- {name}\n{}", tail(&String::from_utf8_lossy(&log), 40));
            }
            eprintln!("{text}");
        }
    }
}

/// The address in one line of the log: the field `admin` of a JSON line, at its top or in `fields`, or `admin=` in text.
pub(crate) fn admin_of(line: &str) -> Option<SocketAddr> {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(line) {
        let admin = json.get("admin").or_else(|| json.get("fields")?.get("admin"))?;
        return admin.as_str()?.parse().ok();
    }
    let (_, rest) = line.split_once("admin=")?;
    rest.split_whitespace().next()?.trim_matches('"').parse().ok()
}

/// Status and body.
pub(crate) fn http_get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    let (Some(status), Some((_, body))) = (status, answer.split_once("\r\n\r\n")) else {
        return Err(std::io::Error::other(format!("not an HTTP answer: {answer:?}")));
    };
    Ok((status, body.to_owned()))
}
