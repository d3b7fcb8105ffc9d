//! The delivery thread between a core and a server, both real.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, channel};

use super::http::Options;
use super::*;
use crate::clock::Now;
use crate::config;
use crate::metrics::Metrics;
use crate::pipeline::{Action, Parts, Pipeline};
use crate::source::commit::Contents;
use crate::source::record::{Headers, Record, kept};

const CONFIG: &str = r#"
[kafka]
brokers = "nobody:1"
topics = ["events"]
[accounts.acme]
linger = "0ms"
limits.requests_per_second.events = 100000
iterable = { region = "us", keys = [{ file = "k" }] }
"#;
const ANSWER: &str = r#"{"successCount":1,"failCount":0,"invalidEmails":[],"invalidUserIds":[]}"#;

/// A core of one account, the thread's task, and what comes back.
struct Rig {
    pipeline: Pipeline,
    delivery: Delivery,
    office: Arc<Office>,
    back: Receiver<Answered>,
    number: i64,
}

/// A server that has met so many requests, and the last one's key.
#[derive(Default)]
struct Server {
    met: AtomicUsize,
    key: Mutex<String>,
}

impl Rig {
    fn start(origin: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let config = config::load(&path).unwrap().config;
        let mut pipeline = Pipeline::new(Parts::of(&config, at(0), 1));
        let slot = pipeline.slot("events", 0);
        pipeline.assign(slot, Contents::default());
        let duration = Metrics::new(1).unwrap().request_duration("iterable");
        let routes = vec![Route { origin: Arc::new(origin.parse().unwrap()), duration }];
        let client = Client::new(Options::new(&config.delivery, |_| None).unwrap()).unwrap();
        let (inbox, back) = channel(16);
        let (delivery, courier) = new(client, routes, move |answered| inbox.try_send(answered).unwrap());
        let office = Arc::clone(&courier.office);
        tokio::spawn(courier.run());
        let mut rig = Self { pipeline, delivery, office, back, number: 0 };
        rig.set_key("first");
        rig
    }

    fn set_key(&mut self, key: &str) {
        self.pipeline.set_keys(self.now(), 0, &vec![SecretString::from(key)].into());
    }

    /// So long after the request before that no limit binds.
    fn now(&self) -> Now {
        at(self.number.unsigned_abs() * 1_000)
    }

    /// An event, alone in its request.
    fn send(&mut self) {
        self.number += 1;
        let value = format!(r#"{{"type":"track","userId":"u-{}","event":"e"}}"#, self.number);
        let headers = kept([("tenant", &b"acme"[..])]);
        let (headers, value) = (Headers::of(&headers), Some(value.as_bytes()));
        let record = Record { slot: 0, offset: self.number, timestamp_ms: None, key: None, value, headers };
        let now = self.now();
        self.pipeline.record(now, &record);
        self.pipeline.tick(now);
        let mut actions = Vec::new();
        self.pipeline.take_actions(&mut actions);
        for action in actions {
            if let Action::Send(flight) = action {
                self.delivery.send(flight).unwrap();
            }
        }
    }

    /// Waits for one flight, and settles it; why there is no answer, if there is none.
    async fn receive(&mut self) -> Option<String> {
        let Answered { flight, result } = self.back.recv().await.unwrap();
        let now = self.now();
        self.pipeline.answered(now, flight, result.as_ref().map(answer).map_err(Clone::clone));
        result.err()
    }

    /// What still waits is given back: a batch that is dropped with calls in it is a bug.
    fn end(mut self) {
        let now = self.now();
        self.pipeline.abandon(now);
        self.pipeline.unassign(&[0], now);
    }
}

impl Server {
    /// Listens; answers unless it is `mute`.
    async fn start(mute: bool) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let server = Arc::new(Self::default());
        let shared = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&shared).serve(stream, mute));
            }
        });
        (server, origin)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, mute: bool) {
        let mut buffer = vec![0; 8_192];
        // Head and body are small, and leave together.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let text = String::from_utf8_lossy(&buffer[..count]).to_lowercase();
            let key = text.split("api-key: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            *self.key.lock().unwrap() = key.unwrap_or_default().to_owned();
            self.met.fetch_add(1, Ordering::Relaxed);
            if !mute {
                let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{ANSWER}", ANSWER.len());
                stream.write_all(text.as_bytes()).await.unwrap();
            }
        }
    }
}

fn at(millis: u64) -> Now {
    let mono = Duration::from_millis(millis);
    Now { mono, wall_ms: 1_795_207_260_000 + i64::try_from(millis).unwrap() }
}

#[tokio::test]
async fn one_task_serves_request_after_request_and_old_keys_are_forgotten() {
    let (server, origin) = Server::start(false).await;
    let mut rig = Rig::start(&origin);
    for key in ["first", "second", "third"] {
        rig.set_key(key);
        for _ in 0..5 {
            rig.send();
            assert_eq!(rig.receive().await, None);
            assert_eq!(*server.key.lock().unwrap(), key);
        }
        let (tasks, heads) = (rig.office.idle().len(), rig.office.heads[0].lock().unwrap().len());
        assert_eq!((tasks, heads), (1, 1), "tasks that rest, and heads that are known");
    }
    assert_eq!(server.met.load(Ordering::Relaxed), 15);
    rig.end();
}

#[tokio::test]
async fn what_is_abandoned_comes_back_and_so_does_what_is_sent_after_it() {
    let (server, origin) = Server::start(true).await;
    let mut rig = Rig::start(&origin);
    for count in 1..=3 {
        rig.send();
        while server.met.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    }
    rig.delivery.abandon();
    for _ in 0..3 {
        assert_eq!(rig.receive().await.as_deref(), Some("abandoned"));
    }
    let tasks = rig.office.idle().len();
    assert_eq!(tasks, 3, "each waits for another request");
    // Long enough for the lane to try again.
    rig.number += 1_000;
    rig.send();
    assert_eq!(rig.receive().await.as_deref(), Some("abandoned"));
    rig.end();
}
