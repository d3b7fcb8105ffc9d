//! The connections to one origin: how many there may be, and which of them rest.
//!
//! A [`Connection`] is lent to one request at a time; it comes back only if its answer was read to the end and it may
//! serve again, else it is closed. The youngest rest is used first, so that surplus connections fall idle and end. There
//! are never more than the limit, so one origin cannot take what another needs. Never sends, never resolves.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::origin::Origin;

/// An open connection and the task that moves its bytes.
pub(super) struct Connection {
    /// hyper's side for requests.
    pub(super) sender: SendRequest<Full<Bytes>>,
    /// Whether it has served before: only then may a refused request go to a fresh one.
    pub(super) reused: bool,
    driver: AbortHandle,
    made: Instant,
    lifetime: Duration,
    rests_since: Instant,
}

/// One origin's connections.
pub(super) struct Host {
    pub(super) origin: Origin,
    /// The `Host` header.
    pub(super) header: HeaderValue,
    permits: Semaphore,
    idle: Duration,
    resting: Mutex<VecDeque<Connection>>,
    long_answers: Arc<Semaphore>,
}

/// Room in memory for a long answer, of its host's and of what all hosts have.
#[derive(Debug)]
pub(super) struct LongAnswer {
    _of_host: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// Room for answers is counted in blocks of this many bytes.
const BLOCK: usize = 1_024;

/// How many blocks so many bytes take.
pub(super) const fn blocks(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK)
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(sender: SendRequest<Full<Bytes>>, driver: AbortHandle, lifetime: Duration) -> Self {
        let made = Instant::now();
        Self { sender, reused: false, driver, made, lifetime, rests_since: made }
    }

    fn is_usable(&self, now: Instant) -> bool {
        self.sender.is_ready() && now.duration_since(self.made) < self.lifetime
    }
}

impl Drop for Connection {
    /// A connection at rest is left to its driver, which says goodbye as the protocol wants. Any other is cut: its
    /// driver could wait for ever for a peer that does not read.
    fn drop(&mut self) {
        if !self.sender.is_ready() {
            self.driver.abort();
        }
    }
}

// === impl Host ===

impl Host {
    pub(super) fn new(
        origin: Origin,
        header: HeaderValue,
        limit: usize,
        idle: Duration,
        longest_answer: usize,
    ) -> Self {
        let permits = Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS));
        let long_answers = Arc::new(Semaphore::new(blocks(longest_answer)));
        Self { origin, header, permits, idle, resting: Mutex::default(), long_answers }
    }

    /// Waits until there is room for an answer that may become so long.
    pub(super) async fn long_answer(&self, of_all: &Arc<Semaphore>, bytes: usize) -> Option<LongAnswer> {
        let blocks = u32::try_from(blocks(bytes)).ok()?;
        // `None` would mean that a semaphore was closed; nobody closes them.
        let of_host = Arc::clone(&self.long_answers).acquire_many_owned(blocks).await.ok()?;
        let of_all = Arc::clone(of_all).acquire_many_owned(blocks).await.ok()?;
        Some(LongAnswer { _of_host: of_host, _of_all: of_all })
    }

    /// Waits until one connection more may be in use. The permit must outlive the connection, or its return.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        // `None` would mean that the semaphore was closed; nobody closes it.
        self.permits.acquire().await.ok()
    }

    /// The connection that came back last and still lives.
    pub(super) fn take(&self, now: Instant) -> Option<Connection> {
        let mut resting = self.lock();
        while let Some(mut connection) = resting.pop_back() {
            if connection.is_usable(now) && now.duration_since(connection.rests_since) < self.idle {
                connection.reused = true;
                return Some(connection);
            }
        }
        None
    }

    /// Takes a connection back after its answer was read to the end.
    pub(super) async fn put(&self, mut connection: Connection) {
        if !connection.sender.is_ready() {
            // Its driver may be one step behind us. If it still is not ready then, the server answered before it had
            // read the whole request, or is about to close.
            tokio::task::yield_now().await;
        }
        let now = Instant::now();
        if connection.is_usable(now) {
            connection.rests_since = now;
            self.lock().push_back(connection);
        }
        self.expire(now);
    }

    /// Closes what has rested too long, is too old, or was closed by the server.
    pub(super) fn expire(&self, now: Instant) {
        let mut resting = self.lock();
        while resting
            .front()
            .is_some_and(|oldest| !oldest.is_usable(now) || now.duration_since(oldest.rests_since) >= self.idle)
        {
            resting.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Connection>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
