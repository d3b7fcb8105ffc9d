//! Joins all parts, in the order of the path; starts them, drains them, abandons them.
//!
//! The only file that knows all parts, and the only one that spawns. A part that ends early is a reason to stop the
//! process, not to go on half alive: whoever started the proxy hears of it by [`Proxy::ended`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use tokio::sync::mpsc;

use crate::admin::{self, Admin, Place};
use crate::clock::Clock;
use crate::config::secret::SecretError;
use crate::config::{Account, Config, client_config};
use crate::dead_letter::{self, Letters, Names};
use crate::delivery::http::{Client, ClientError, Options, Origin};
use crate::delivery::{self, Courier, Delivery, Route};
use crate::destination::{self, UserHash};
use crate::keys::{Board, Keeper};
use crate::metrics::Metrics;
use crate::pipeline::{Parts, Pipeline};
use crate::source::consumer::{End, Message, Poller, State};
use crate::source::group::Group;
use crate::source::queues::Queues;
use crate::source::raw::intake::Intake;
use crate::source::scout::{Finding, Question, Scout};
use crate::source::sweeper::Sweeper;
use crate::source::topics;
use crate::status::Status;

/// librdkafka's session time-out, if none is set.
const SESSION: Duration = Duration::from_secs(45);

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A property's secret is missing.
    #[error("a secret of kafka.properties cannot be read: {0}")]
    Secret(#[from] SecretError),
    /// librdkafka refuses the settings.
    #[error("librdkafka refuses the settings in [kafka.properties]: {}", without_value(.0))]
    Kafka(#[from] KafkaError),
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built: {0}")]
    Http(#[from] ClientError),
    /// The admin address is taken, or not ours.
    #[error("failed to listen on [admin] listen = \"{0}\": {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The registry cannot be built.
    #[error("the metrics registry cannot be built: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// No thread, or no runtime.
    #[error("the system refuses a thread: {0}")]
    System(#[from] std::io::Error),
    /// An account's host is not one.
    #[error("account {0}: {1}")]
    Origin(String, String),
}

/// How a part ended.
#[derive(Debug)]
pub enum Ended {
    /// The poll thread, and how.
    Source(End),
    /// Another part, which should not have.
    Early(&'static str),
}

/// A running proxy.
pub struct Proxy {
    inbox: Sender<Message>,
    status: Arc<Status>,
    stop: Arc<AtomicBool>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
    ended: mpsc::Receiver<Ended>,
    /// Where the admin listener is bound.
    pub admin: SocketAddr,
}

/// What all threads are started with.
struct Crew {
    stop: Arc<AtomicBool>,
    tell: mpsc::Sender<Ended>,
    threads: Vec<(&'static str, JoinHandle<()>)>,
}

impl Proxy {
    /// Builds everything and starts it.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let client = client_config(&config.kafka)?;
        let listener = admin::bind(config.admin).map_err(|error| StartError::Listen(config.admin, error))?;
        let bound = listener.local_addr()?;
        let metrics = Arc::new(Metrics::new(config.memory.total)?);
        let (inbox, messages) = channel();
        let (tell, ended) = mpsc::channel(16);
        let status = Arc::new(Status::default());
        let mut crew = Crew { stop: Arc::default(), tell, threads: Vec::new() };
        let accounts = accounts(config, &metrics)?;

        let (delivery, courier) = deliver(config, &accounts, &inbox)?;
        let names: Vec<Names> = accounts.iter().map(|account| account.names.clone()).collect();
        let to = inbox.clone();
        let (letters, writer) = dead_letter::new(&client, &config.dead_letters.topic, names.clone(), move |id| {
            let _ending = to.send(Message::LetterWritten(id));
        })?;
        let keys = Board::default();
        let retention_ms = Arc::new(RwLock::new(BTreeMap::new()));
        let places = accounts.iter().map(|account| account.place.clone()).collect();
        let admin = Admin {
            status: Arc::clone(&status),
            metrics,
            inbox: inbox.clone(),
            names,
            places,
            keys: Arc::clone(&keys),
            retention_ms: Arc::clone(&retention_ms),
        };
        let clock = Clock::default();
        let pipeline = Pipeline::new(Parts::of(config, clock.now(), rand::random()));

        crew.spawn_runtime("admin", async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            if let Err(error) = admin::serve(listener, Arc::new(admin)).await {
                tracing::error!(%error, "the admin listener has ended");
            }
        })?;
        tracing::info!(admin = %bound, "admin listening");
        let stop = Arc::clone(&crew.stop);
        crew.spawn("dead-letters", move || writer.run(&stop))?;
        crew.spawn_runtime("delivery", courier.run())?;
        let to = inbox.clone();
        let keeper = Keeper::new(
            &config.accounts,
            keys,
            Box::new(move |lane, read| {
                let _ending = to.send(Message::Keys(lane, read));
            }),
        );
        let stop = Arc::clone(&crew.stop);
        crew.spawn("keys", move || keeper.run(&stop))?;
        crew.spawn_topics(config, &client, retention_ms)?;
        let source = Source { client, inbox: inbox.clone(), messages, status: Arc::clone(&status), clock };
        crew.spawn_source(config, source, (pipeline, delivery, letters))?;
        Ok(Self { inbox, status, stop: crew.stop, threads: crew.threads, ended, admin: bound })
    }

    /// Waits for the next part that ends.
    pub async fn ended(&mut self) -> Option<Ended> {
        self.ended.recv().await
    }

    /// Stops reading, settles what is open, ends.
    pub fn drain(&self) {
        self.status.draining();
        let _ending = self.inbox.send(Message::Drain);
    }

    /// Ends now; what is not settled stays owed.
    pub fn abandon(&self) {
        let _ending = self.inbox.send(Message::Abandon);
    }

    /// A handle to ask for reports.
    #[must_use]
    pub fn inbox(&self) -> Sender<Message> {
        self.inbox.clone()
    }

    /// Lets every part end, and waits for them, though not for ever.
    pub fn finish(self, patience: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.inbox);
        let deadline = Instant::now() + patience;
        for (name, thread) in self.threads {
            // The admin listener serves as long as the process lives.
            if name == "admin" {
                continue;
            }
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            if !thread.is_finished() {
                tracing::warn!(thread = name, "did not end in time");
            }
        }
    }
}

impl Crew {
    fn spawn(&mut self, name: &'static str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let (tell, stop) = (self.tell.clone(), Arc::clone(&self.stop));
        self.spawn_quiet(name, move || {
            let early = Early { name, tell, stop };
            run();
            drop(early);
        })
    }

    /// A thread that may end when it likes, or says by itself that it has.
    fn spawn_quiet(&mut self, name: &'static str, run: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run)?;
        self.threads.push((name, thread));
        Ok(())
    }

    /// A thread with a runtime of its own.
    fn spawn_runtime(
        &mut self,
        name: &'static str,
        run: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        self.spawn(name, move || runtime.block_on(run))
    }

    /// Makes the dead letters' topic and learns the sources' retention, as soon as a broker answers.
    fn spawn_topics(
        &mut self,
        config: &Config,
        client: &ClientConfig,
        retention_ms: Arc<RwLock<BTreeMap<String, i64>>>,
    ) -> std::io::Result<()> {
        let (kafka, letters, client) = (config.kafka.clone(), config.dead_letters.clone(), client.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = Arc::clone(&self.stop);
        self.spawn_quiet("topics", move || {
            let mut complained = false;
            while !stop.load(Ordering::Relaxed) {
                match runtime.block_on(topics::prepare(&client, &kafka, &letters)) {
                    Ok(topics) => {
                        if let Ok(mut map) = retention_ms.write() {
                            map.extend(topics.into_iter().filter_map(|topic| Some((topic.name, topic.retention?))));
                        }
                        return;
                    }
                    Err(error) if !complained => {
                        complained = true;
                        tracing::warn!(%error, topic = letters.topic, "failed to look after the dead letters' topic; trying on");
                    }
                    Err(_) => {}
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        })
    }

    /// The poll thread and its scout.
    fn spawn_source(
        &mut self,
        config: &Config,
        source: Source,
        (pipeline, delivery, letters): (Pipeline, Delivery, Letters),
    ) -> Result<(), StartError> {
        let Source { client, inbox, messages, status, clock } = source;
        let queues = Queues::of(config);
        let mut client = consumer_config(&client, &config.kafka.group);
        queues.bound_reader(&mut client);
        let session = client.get("session.timeout.ms").and_then(|text| text.parse().ok());
        let session = session.map_or(SESSION, Duration::from_millis);
        let mut consumer: BaseConsumer<Group> = client.create_with_context(Group::default())?;
        let waker = || {
            let inbox = inbox.clone();
            move || {
                let _ending = inbox.send(Message::Kafka);
            }
        };
        consumer.set_nonempty_callback(waker());
        let consumer = Arc::new(consumer);
        let intake = Intake::new(Arc::clone(&consumer), Box::new(waker()))?;
        let names: Vec<&str> = config.kafka.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&names)?;
        let (questions, asked) = channel::<Question>();
        let sweeper = Sweeper::new(&client, queues, inbox.clone());
        let tell = Box::new(move |finding: Finding| {
            let _ending = inbox.send(Message::Found(finding));
        });
        let (topics, start) = (config.kafka.topics.clone(), config.kafka.start);
        let scout = Scout::new(Arc::clone(&consumer), topics, start, asked, tell, Arc::clone(&self.stop));
        self.spawn_quiet("scout", move || scout.run())?;
        let mut poller = Poller {
            intake,
            consumer,
            sweeper,
            pipeline,
            inbox: messages,
            questions,
            delivery,
            letters,
            status,
            clock,
            proof: session / 3 * 2,
            state: State::default(),
        };
        let (tell, stop) = (self.tell.clone(), Arc::clone(&self.stop));
        self.spawn_quiet("source", move || {
            let early = Early { name: "source", tell, stop };
            let end = poller.run();
            // Before the poller is dropped: the delivery ends with it, and must not look as if it had ended early.
            let _nobody = early.tell.try_send(Ended::Source(end));
            std::mem::forget(early);
            drop(poller);
        })?;
        Ok(())
    }
}

struct Source {
    client: ClientConfig,
    inbox: Sender<Message>,
    messages: Receiver<Message>,
    status: Arc<Status>,
    clock: Clock,
}

/// Says that a thread ended, also when it panicked.
struct Early {
    name: &'static str,
    tell: mpsc::Sender<Ended>,
    stop: Arc<AtomicBool>,
}

impl Drop for Early {
    fn drop(&mut self) {
        if !self.stop.load(Ordering::Relaxed) {
            let _nobody = self.tell.try_send(Ended::Early(self.name));
        }
    }
}

/// librdkafka's own error shows the value, which could be a secret under a misspelt name.
fn without_value(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, _, name, _) => format!("it does not take the name or the value of \"{name}\""),
        other => other.to_string(),
    }
}

/// What the consumer needs beside brokers and properties; properties win where they may.
#[must_use]
pub fn consumer_config(client: &ClientConfig, group: &str) -> ClientConfig {
    let mut config = client.clone();
    let mut default = |name: &str, value: &str| {
        if client.get(name).is_none() {
            config.set(name, value);
        }
    };
    default("client.id", "forebay");
    // librdkafka's default waits a second when its queue is full.
    default("fetch.queue.backoff.ms", "2");
    // A topic that is made later is found within this.
    default("topic.metadata.refresh.interval.ms", "10000");
    if client.get("group.protocol") != Some("consumer") {
        default("partition.assignment.strategy", "cooperative-sticky");
    }
    config.set("group.id", group);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", "error");
    config
}

/// An account with everything that its lane is built from.
struct Built {
    names: Names,
    place: Place,
    origin: Arc<Origin>,
    duration: metrics::Histogram,
}

fn accounts(config: &Config, metrics: &Metrics) -> Result<Vec<Built>, StartError> {
    config.accounts.iter().map(|account| build(account, metrics)).collect()
}

fn build(account: &Account, metrics: &Metrics) -> Result<Built, StartError> {
    // Who its users are is the lanes' to know.
    let destination = destination::of(account, &UserHash::new(rand::random()));
    let origin = delivery::origin(account, &*destination);
    let origin = origin.map_err(|error| StartError::Origin(account.name.clone(), error.to_string()))?;
    let names =
        Names { tenant: account.tenant.clone(), account: account.name.clone(), destination: destination.name() };
    let duration = metrics.request_duration(destination.name());
    let place = Place { region: destination.region(), host: origin.host.clone() };
    Ok(Built { names, place, origin: Arc::new(origin), duration })
}

fn deliver(config: &Config, accounts: &[Built], inbox: &Sender<Message>) -> Result<(Delivery, Courier), StartError> {
    let options = Options::new(&config.delivery, |name| std::env::var(name).ok())?;
    let routes = accounts
        .iter()
        .map(|account| Route { origin: Arc::clone(&account.origin), duration: account.duration.clone() })
        .collect();
    let to = inbox.clone();
    Ok(delivery::new(Client::new(options)?, routes, move |answered| {
        // The poll thread waits for every flight before it ends.
        let _ending = to.send(Message::Answered(answered));
    }))
}
