//! Out: a thread that sends requests and brings back what came of them.
//!
//! Guarantees that every flight comes back, with an answer or with the reason why there is none. Never decides what an
//! answer means, and never sends a request twice. Owns the HTTP client and its runtime; ends when told to abandon.

pub mod http;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use metrics::Histogram;
use tokio::sync::{mpsc, watch};

use self::http::{Client, Head, NotAnOrigin, Origin, Response, TransportError};
use crate::clock::Clock;
use crate::config::Account;
use crate::destination::{Answer, Destination, Target};
use crate::lane::Flight;
use crate::pipeline::MAX_WIRE;

/// So many tasks are kept for the next requests.
const MOST_IDLE: usize = 256;

/// A flight that came back.
#[derive(Debug)]
pub struct Answered {
    /// The flight.
    pub flight: Box<Flight>,
    /// What came back, or why nothing did.
    pub result: Result<Response, String>,
}

/// Where a lane's requests go, and who counts them.
#[derive(Clone, Debug)]
pub struct Route {
    /// Scheme, host and port.
    pub origin: Arc<Origin>,
    /// How long its requests take.
    pub duration: Histogram,
}

/// Where an account's requests go: its `base_url`, else the vendor's own host.
pub fn origin(account: &Account, destination: &dyn Destination) -> Result<Origin, NotAnOrigin> {
    match &account.base_url {
        Some(url) => Ok(Origin::from(url)),
        None => Ok(Origin { reach: destination.reach(), ..destination.origin().parse()? }),
    }
}

/// The handle of the delivery thread.
#[derive(Debug)]
pub struct Delivery {
    requests: mpsc::Sender<Box<Flight>>,
    abandon: watch::Sender<bool>,
}

/// The thread's own part.
pub struct Courier {
    office: Arc<Office>,
    requests: mpsc::Receiver<Box<Flight>>,
    abandoned: watch::Receiver<bool>,
}

/// What the thread's tasks share.
struct Office {
    client: Client,
    routes: Vec<Route>,
    /// What requests begin with, by account and target: an account has few targets.
    heads: Vec<Mutex<Vec<Known>>>,
    bring_back: Box<dyn Fn(Answered) + Send + Sync>,
    /// Tasks that wait for a request: a new one for each would cost a large piece of memory, filled anew.
    idle: Mutex<Vec<mpsc::Sender<Errand>>>,
}

/// A target, and what its requests begin with.
struct Known {
    target: Weak<Target>,
    head: Arc<Head>,
}

/// A request for a task, and the way to give that task another.
struct Errand {
    flight: Box<Flight>,
    back: mpsc::Sender<Self>,
}

/// A delivery by `client`; `routes` are indexed by account. The courier has to be run on a thread of its own.
#[must_use]
pub fn new(
    client: Client,
    routes: Vec<Route>,
    bring_back: impl Fn(Answered) + Send + Sync + 'static,
) -> (Delivery, Courier) {
    let (requests, incoming) = mpsc::channel(MAX_WIRE);
    let (abandon, abandoned) = watch::channel(false);
    let heads = routes.iter().map(|_| Mutex::default()).collect();
    let (bring_back, idle) = (Box::new(bring_back), Mutex::default());
    let office = Arc::new(Office { client, routes, heads, bring_back, idle });
    (Delivery { requests, abandon }, Courier { office, requests: incoming, abandoned })
}

impl Delivery {
    /// Hands a request over; it comes back at once if the thread has ended.
    pub fn send(&self, flight: Box<Flight>) -> Result<(), Box<Flight>> {
        self.requests.try_send(flight).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Brings every flight back at once, unanswered.
    pub fn abandon(&self) {
        // Nobody listens if the thread has ended: then nothing is on the wire either.
        let _ended = self.abandon.send(true);
    }
}

impl Courier {
    /// Runs until the handle is gone and every flight is back.
    pub async fn run(mut self) {
        // While it runs, the timer always has an earlier end than a request's deadline: else each deadline that is set
        // would wake the thread that sets it, by way of the kernel.
        let mut sooner = tokio::time::interval((self.office.client.timeout() / 2).max(Duration::from_millis(1)));
        loop {
            tokio::select! {
                biased;
                flight = self.requests.recv() => match flight {
                    Some(flight) => self.hand_over(flight),
                    None => return,
                },
                _ = sooner.tick() => {}
            }
        }
    }

    fn hand_over(&self, flight: Box<Flight>) {
        let waiting = self.office.idle().pop();
        let back = waiting.unwrap_or_else(|| {
            let (back, errands) = mpsc::channel(1);
            tokio::task::spawn(Arc::clone(&self.office).run_errands(errands, self.abandoned.clone()));
            back
        });
        if let Err(refused) = back.try_send(Errand { flight, back: back.clone() }) {
            let flight = refused.into_inner().flight;
            (self.office.bring_back)(Answered { flight, result: Err("the task that sends it has ended".into()) });
        }
    }
}

impl Office {
    fn idle(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Errand>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_errands(self: Arc<Self>, mut errands: mpsc::Receiver<Errand>, mut abandoned: watch::Receiver<bool>) {
        let abandon = abandoned.wait_for(|abandoned| *abandoned);
        tokio::pin!(abandon);
        let mut is_abandoned = false;
        while let Some(Errand { flight, back }) = errands.recv().await {
            let result = if is_abandoned {
                Err("abandoned".into())
            } else {
                tokio::select! {
                    biased;
                    result = self.send(&flight) => result,
                    _ = &mut abandon => {
                        is_abandoned = true;
                        Err("abandoned".into())
                    }
                }
            };
            (self.bring_back)(Answered { flight, result });
            let mut idle = self.idle();
            if idle.len() == MOST_IDLE {
                return;
            }
            idle.push(back);
        }
    }

    async fn send(&self, flight: &Flight) -> Result<Response, String> {
        let account = flight.account as usize;
        let Some(route) = self.routes.get(account) else { return Err("the account has no route".into()) };
        let begun = Instant::now();
        let head = self.head(account, &route.origin, &flight.target).map_err(|error| error.to_string())?;
        let sign = |headers: &mut HeaderMap| flight.sign(|| Clock::default().now().wall_ms, headers);
        let result = self.client.send(&head, sign, flight.body.clone()).await;
        route.duration.record(begun.elapsed());
        result.map_err(|error| error.to_string())
    }

    /// What requests to this target begin with.
    fn head(&self, account: usize, origin: &Origin, target: &Arc<Target>) -> Result<Arc<Head>, TransportError> {
        let mut heads = self.heads[account].lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |known: &&Known| std::ptr::eq(known.target.as_ptr(), Arc::as_ptr(target));
        if let Some(known) = heads.iter().find(is_it) {
            return Ok(Arc::clone(&known.head));
        }
        // Old keys are forgotten with the targets that they opened.
        heads.retain(|known| known.target.strong_count() > 0);
        let head = Arc::new(self.client.head(origin, &target.path, &target.headers)?);
        heads.push(Known { target: Arc::downgrade(target), head: Arc::clone(&head) });
        Ok(head)
    }
}

/// The answer, as destinations read it.
#[must_use]
pub fn answer(response: &Response) -> Answer<'_> {
    Answer { status: response.status, headers: &response.headers, body: &response.body }
}

#[cfg(test)]
mod tests;
