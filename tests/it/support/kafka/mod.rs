//! A real Apache Kafka for the tests: one broker for the whole test binary, and brokers of their own for tests that
//! stop theirs.
//!
//! [`Kafka::shared`] starts on first use and ends with the test process; tests share it by using topics and groups with
//! names from [`crate::support::unique`]. With `FOREBAY_TEST_KAFKA` (bootstrap servers) it is that cluster instead.
//! [`Cluster`] is three brokers that may be killed one by one. What can be asked of any is in [`client`], [`admin`] and
//! [`console`]; how a broker lives and dies is in [`broker`].

mod admin;
mod broker;
mod client;
mod cluster;
mod console;
mod install;

use std::env;
use std::ops::Deref;
use std::sync::{Mutex, OnceLock, PoisonError};

use broker::Broker;
pub(crate) use client::{Committed, Compression, Message, Record};
pub(crate) use cluster::{Cluster, NODES};
pub(crate) use console::line as console_line;

/// A cluster that answers.
#[derive(Debug)]
pub(crate) struct Kafka {
    bootstrap: String,
}

/// A broker of a test's own. Gone, data and all, when it is dropped.
#[derive(Debug)]
pub(crate) struct OwnKafka {
    kafka: Kafka,
    broker: Mutex<Broker>,
}

impl Kafka {
    /// The cluster that all tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Kafka, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match env::var("FOREBAY_TEST_KAFKA") {
            Ok(bootstrap) if !bootstrap.is_empty() => Ok(Self { bootstrap }),
            _ => running().map(|broker| {
                let bootstrap = broker.bootstrap();
                // Nobody drops what a static holds either: it ends with the process, by the pipe.
                std::mem::forget(broker);
                Self { bootstrap }
            }),
        });
        shared.as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    /// A broker of one's own, running.
    pub(crate) fn own() -> OwnKafka {
        let own = Self::own_stopped();
        own.start();
        own
    }

    /// A broker of one's own that has not been started: its address is known, nobody listens there.
    pub(crate) fn own_stopped() -> OwnKafka {
        let broker = Broker::new().unwrap_or_else(|error| panic!("{error}"));
        OwnKafka { kafka: Self { bootstrap: broker.bootstrap() }, broker: Mutex::new(broker) }
    }

    /// `bootstrap.servers`
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl OwnKafka {
    /// SIGKILL; the data stays. Does nothing if it is stopped.
    pub(crate) fn stop(&self) {
        self.broker.lock().unwrap_or_else(PoisonError::into_inner).stop();
    }

    /// Starts it, again on the same port and data, and waits until it answers. Does nothing if it runs.
    pub(crate) fn start(&self) {
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = broker.start() {
            panic!("{error}");
        }
    }
}

impl Deref for OwnKafka {
    type Target = Kafka;

    fn deref(&self) -> &Kafka {
        &self.kafka
    }
}

/// A broker that runs. The ports were free a moment ago; if another process took one, others are tried.
fn running() -> Result<Broker, String> {
    let mut tries = 3;
    loop {
        let mut broker = Broker::new()?;
        tries -= 1;
        match broker.start() {
            Err(error) if tries > 0 && error.contains("Address already in use") => {}
            result => return result.map(|()| broker),
        }
    }
}
