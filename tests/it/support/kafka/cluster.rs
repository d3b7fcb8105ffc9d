//! Three brokers, each a controller too: topics are replicated to all three, and two must have what is acknowledged.
//!
//! So one of them may be killed or frozen at any time and nothing acknowledged is lost; with two away it stands still.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::Kafka;
use super::broker::Broker;
use crate::support::eventually;

/// From the start of the JVMs to a cluster that is whole, on a busy machine.
const WHOLE: Duration = Duration::from_mins(2);

/// How many nodes there are.
pub(crate) const NODES: usize = 3;

/// A cluster of a test's own. Gone, data and all, when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    kafka: Kafka,
    brokers: Vec<Mutex<Broker>>,
}

impl Cluster {
    /// Starts three brokers and waits until they have found each other.
    pub(crate) fn three() -> Self {
        let brokers = Broker::cluster(NODES).unwrap_or_else(|error| panic!("{error}"));
        let bootstrap = brokers.iter().map(Broker::bootstrap).collect::<Vec<_>>().join(",");
        let brokers = brokers.into_iter().map(Mutex::new).collect();
        let cluster = Self { kafka: Kafka { bootstrap }, brokers };
        (0..NODES).for_each(|node| cluster.launch(node));
        cluster.wait_whole();
        cluster
    }

    /// SIGKILL; the data stays. Does nothing if it does not run.
    pub(crate) fn kill(&self, node: usize) {
        self.broker(node).stop();
    }

    /// Starts a node and does not wait; does nothing if it runs.
    pub(crate) fn launch(&self, node: usize) {
        self.broker(node).launch().unwrap_or_else(|error| panic!("{error}"));
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn freeze(&self, node: usize, yes: bool) {
        self.broker(node).freeze(yes);
    }

    /// Waits until every node answers and all know of all.
    pub(crate) fn wait_whole(&self) {
        for node in 0..NODES {
            self.broker(node).wait_until_up().unwrap_or_else(|error| panic!("{error}"));
        }
        let client = self.consumer("forebay-tests");
        eventually(WHOLE, "three brokers that know each other", || {
            let metadata = client.fetch_metadata(None, Duration::from_secs(5)).map_err(|error| error.to_string())?;
            let found = metadata.brokers().len();
            if found == NODES { Ok(()) } else { Err(format!("{found} brokers")) }
        });
    }

    fn broker(&self, node: usize) -> MutexGuard<'_, Broker> {
        self.brokers[node].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Cluster {
    type Target = Kafka;

    fn deref(&self) -> &Kafka {
        &self.kafka
    }
}
