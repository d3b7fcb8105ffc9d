//! One broker process: `KRaft`, broker and controller in one, on loopback ports that stay the same over restarts;
//! alone, or one node of a cluster of such.
//!
//! The JVM never outlives the tests, however they end: a shell stands above it, reads its standard input, and kills the
//! JVM at end of file. The kernel closes that pipe when the test process is gone, be it by panic, SIGKILL or Ctrl-C.

use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::Rng;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::install::Install;
use crate::support::tail;

const START: Duration = Duration::from_mins(1);

/// Between one look at whether the broker is up and the next.
const LOOK: Duration = Duration::from_millis(50);

/// `$1` is the directory to remove at the end, the rest is the command. Whoever writes `keep` ends the JVM and keeps the
/// directory; `STOP` and `CONT` freeze it and let it go on. Ignored signals are inherited, so that Ctrl-C leaves the
/// killing to the end of file.
const SUPERVISOR: &str = r#"
trap '' HUP INT TERM
directory=$1; shift
exec 3<&0
"$@" </dev/null & java=$!
(
    while read -r word <&3; do
        case $word in STOP|CONT) kill -s "$word" $java ;; *) break ;; esac
    done
    kill -9 $java; [ "$word" != keep ]
) & watch=$!
wait $java; code=$?
if [ $code -eq 137 ]; then
    if wait $watch; then rm -rf "$directory"; fi
else
    kill -9 $watch
fi
exit $code
"#;

/// A broker, running or not; its data is gone when it is dropped.
#[derive(Debug)]
pub(super) struct Broker {
    install: Install,
    directory: PathBuf,
    /// Which of `ports` is its own.
    node: usize,
    /// Of broker and controller, of each node of its cluster.
    ports: Vec<[u16; 2]>,
    supervisor: Option<Child>,
}

impl Broker {
    /// One that is alone: chooses ports and a directory; nothing runs yet.
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self::cluster(1)?.swap_remove(0))
    }

    /// So many nodes that know of each other.
    pub(super) fn cluster(nodes: usize) -> Result<Vec<Self>, String> {
        let install = Install::ready()?;
        let ports = (0..nodes).map(|_| Ok([free_port()?, free_port()?])).collect::<Result<Vec<_>, String>>()?;
        (0..nodes).map(|node| Self::lay_out(install.clone(), node, ports.clone())).collect()
    }

    fn lay_out(install: Install, node: usize, ports: Vec<[u16; 2]>) -> Result<Self, String> {
        let directory = tempfile::Builder::new()
            .prefix("kafka-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .map_err(|error| format!("failed to make a directory for a broker: {error}"))?
            .keep();
        let broker = Self { install, directory, node, ports, supervisor: None };
        broker.write_files().map_err(|error| format!("failed to lay out a broker: {error}"))?;
        Ok(broker)
    }

    /// What clients connect to.
    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.ports[self.node][0])
    }

    /// Starts it on its ports and data, and waits until it answers.
    pub(super) fn start(&mut self) -> Result<(), String> {
        if self.supervisor.is_none() {
            self.launch()?;
            self.wait_until_up()?;
        }
        Ok(())
    }

    /// Starts it and does not wait; does nothing if it runs.
    pub(super) fn launch(&mut self) -> Result<(), String> {
        if self.supervisor.is_none() {
            self.supervisor = Some(self.spawn().map_err(|error| format!("failed to start a broker: {error}"))?);
        }
        Ok(())
    }

    /// Freezes it, or lets it go on; does nothing if it does not run.
    pub(super) fn freeze(&mut self, yes: bool) {
        if let Some(input) = self.supervisor.as_mut().and_then(|supervisor| supervisor.stdin.as_mut()) {
            let _ = input.write_all(if yes { b"STOP\n" } else { b"CONT\n" });
        }
    }

    /// SIGKILL. The data stays.
    pub(super) fn stop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            if let Some(mut input) = supervisor.stdin.take() {
                let _ = input.write_all(b"keep\n");
            }
            let _ = supervisor.wait();
        }
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        tail(&fs::read_to_string(self.directory.join("log")).unwrap_or_default(), 60)
    }

    fn write_files(&self) -> std::io::Result<()> {
        let data = self.directory.join("data");
        fs::create_dir(&data)?;
        for entry in fs::read_dir(self.install.formatted())? {
            let entry = entry?;
            fs::copy(entry.path(), data.join(entry.file_name()))?;
        }
        let meta = data.join("meta.properties");
        fs::write(&meta, self.meta(&fs::read_to_string(&meta)?))?;
        fs::write(self.directory.join("server.properties"), properties(self.node, &self.ports, &data))
    }

    /// The formatted directory belongs to node 1; another node's has another id, and so has the directory.
    fn meta(&self, text: &str) -> String {
        let letter = ["a", "b", "c"][self.node];
        let line = |line: &str| match line.split_once('=') {
            Some(("node.id", _)) => format!("node.id={}\n", self.node + 1),
            Some(("directory.id", id)) => format!("directory.id={letter}{}\n", &id[1..]),
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(self.directory.join("log"))?;
        let java = self.install.java();
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISOR, "kafka"]).arg(&self.directory).arg(java.get_program()).args(java.get_args());
        command.arg("kafka.Kafka").arg(self.directory.join("server.properties"));
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    /// Waits until it answers.
    pub(super) fn wait_until_up(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        while !answers(&self.bootstrap()) {
            let ended = self.supervisor.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            if ended || Instant::now() >= deadline {
                self.stop();
                let why = if ended { "ended" } else { "did not answer in time" };
                return Err(format!("the Kafka broker {why}; its log ends:\n{}", self.log()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// `server.properties` of a node: everything is replicated to all nodes, and small things are made small.
/// A broker that was killed may register again only when its session has ended: 9 s by default.
pub(super) fn properties(node: usize, ports: &[[u16; 2]], data: &Path) -> String {
    let data = data.display();
    let [broker, controller] = ports[node];
    let (id, replicas, in_sync) = (node + 1, ports.len(), ports.len().div_ceil(2));
    let voters: Vec<String> = (1..).zip(ports).map(|(id, [_, port])| format!("{id}@127.0.0.1:{port}")).collect();
    let voters = voters.join(",");
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=1
broker.heartbeat.interval.ms=250
broker.session.timeout.ms=2000
replica.lag.time.max.ms=4000
leader.imbalance.check.interval.seconds=5
log.cleaner.backoff.ms=200
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.coordinator.rebalance.protocols=classic,consumer
"
    )
}

/// Below what the kernel gives to outgoing connections (32768 and up), so that nobody takes it while the broker is down.
fn free_port() -> Result<u16, String> {
    (0..100)
        .map(|_| rand::rng().random_range(15_000..32_000))
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .ok_or_else(|| "failed to find a free port".to_owned())
}

fn answers(bootstrap: &str) -> bool {
    // First without librdkafka, which complains about each refused connection.
    TcpStream::connect(bootstrap).is_ok()
        && ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("log_level", "0")
            .create::<BaseConsumer>()
            .and_then(|client| client.fetch_metadata(None, Duration::from_secs(2)))
            .is_ok_and(|metadata| !metadata.brokers().is_empty())
}
