//! Out: a thread that sends requests and brings back what came of them.
//!
//! Guarantees that every flight comes back, with an answer or with the reason why there is none. Never decides what an
//! answer means, and never sends a request twice. Owns the HTTP client and its runtime; ends when told to abandon.

pub mod http;

use std::sync::Arc;
use std::time::Instant;

use metrics::Histogram;
use tokio::sync::{mpsc, watch};

use self::http::{Client, NotAnOrigin, Origin, Response};
use crate::clock::Clock;
use crate::config::Account;
use crate::destination::{Answer, Destination};
use crate::lane::Flight;
use crate::pipeline::MAX_WIRE;

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
    client: Arc<Client>,
    routes: Arc<[Route]>,
    requests: mpsc::Receiver<Box<Flight>>,
    abandoned: watch::Receiver<bool>,
    bring_back: Arc<dyn Fn(Answered) + Send + Sync>,
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
    let courier = Courier {
        client: Arc::new(client),
        routes: routes.into(),
        requests: incoming,
        abandoned,
        bring_back: Arc::new(bring_back),
    };
    (Delivery { requests, abandon }, courier)
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
        while let Some(flight) = self.requests.recv().await {
            let (client, routes) = (Arc::clone(&self.client), Arc::clone(&self.routes));
            let (bring_back, mut abandoned) = (Arc::clone(&self.bring_back), self.abandoned.clone());
            tokio::task::spawn(async move {
                let result = tokio::select! {
                    biased;
                    result = send(&client, &routes, &flight) => result,
                    _ = abandoned.wait_for(|abandoned| *abandoned) => Err("abandoned".into()),
                };
                bring_back(Answered { flight, result });
            });
        }
    }
}

async fn send(client: &Client, routes: &[Route], flight: &Flight) -> Result<Response, String> {
    let Some(route) = routes.get(flight.account as usize) else { return Err("the account has no route".into()) };
    let begun = Instant::now();
    let headers = flight.headers(Clock::default().now().wall_ms);
    let result = client.send(&route.origin, &flight.target.path, &headers, flight.body.clone()).await;
    route.duration.record(begun.elapsed());
    result.map_err(|error| error.to_string())
}

/// The answer, as destinations read it.
#[must_use]
pub fn answer(response: &Response) -> Answer<'_> {
    Answer { status: response.status, headers: &response.headers, body: &response.body }
}
