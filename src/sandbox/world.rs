//! What the simulation knows: accounts, their keys, their books, and the faults; and what becomes of one request.
//!
//! ```text
//! request ─► admit (path, credentials) ─► fault? ─► take (limits, body, elements) ─► books ─► answer, or what a fault makes of it
//! ```
//! All judging is synchronous, under the account's lock. A request is either taken whole, with its elements in the books, or not.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use http::{HeaderMap, Method};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use secrecy::ExposeSecret;

use super::accounts::{Account, Key, KeyKind, Vendor};
use super::books::{AccountReport, Book, FaultReport, Recorder, Report};
use super::clock::Clock;
use super::faults::{Effect, Fault, Faults, Hit, Listed};
use super::reply::{Pace, Reply};
use super::{iterable, moengage};
use crate::clock::Now;

/// The head of a request, with what its address says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    /// Without the prefix that stands for the host.
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    /// `02`, `101`, `us`, `eu`: whose listener it came to.
    pub(super) region: &'a str,
    pub(super) peer: IpAddr,
}

/// A request that has passed the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) account: usize,
    pub(super) endpoint: Endpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Moengage(moengage::Endpoint),
    Iterable(iterable::Endpoint),
}

/// A request that has not; the account is known if its name was right.
#[derive(Debug)]
pub(super) struct Turned {
    pub(super) account: Option<usize>,
    pub(super) reply: Reply,
}

/// What the connection has to do.
#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Reply),
    Reset,
    Hang,
}

/// What a vendor's code works with while it takes a request.
pub(super) struct Desk<'a> {
    pub(super) name: &'a Arc<str>,
    pub(super) book: &'a mut Book,
    pub(super) recorder: &'a Recorder,
    pub(super) now: Now,
    pub(super) request_id: String,
    pub(super) twist: Option<Twist>,
}

/// A fault that strikes some elements.
pub(super) struct Twist {
    share: f64,
    list: Listed,
    rng: StdRng,
}

#[derive(Debug)]
struct Seat {
    name: Arc<str>,
    vendor: Vendor,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    book: Book,
    vendor: VendorState,
}

#[derive(Debug)]
enum VendorState {
    Moengage(moengage::State),
    Iterable(iterable::State),
}

/// Which accounts a key opens.
type Keys = HashMap<String, Vec<(usize, KeyKind)>>;

pub(super) struct World {
    seats: Vec<Seat>,
    workspaces: HashMap<String, usize>,
    keys: RwLock<Keys>,
    faults: Mutex<Faults>,
    strangers: Mutex<BTreeMap<u16, u64>>,
    since: Mutex<Now>,
    requests: AtomicU64,
    seed: u64,
    pub(super) recorder: Recorder,
    pub(super) clock: Clock,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl World ===

impl World {
    pub(super) fn new(accounts: Vec<Account>, recorder: Recorder, clock: Clock, seed: u64) -> Self {
        let mut keys = Keys::new();
        let mut workspaces = HashMap::new();
        for (index, account) in accounts.iter().enumerate() {
            for key in account.vendor.keys() {
                keys.entry(key.value.expose_secret().to_owned()).or_default().push((index, key.kind));
            }
            if let Vendor::Moengage(it) = &account.vendor {
                workspaces.insert(it.workspace.clone(), index);
            }
        }
        let seat = |account: Account| {
            let state = Mutex::new(State::new(&account.vendor));
            Seat { name: account.name.into(), vendor: account.vendor, state }
        };
        let now = clock.now();
        Self {
            seats: accounts.into_iter().map(seat).collect(),
            workspaces,
            keys: RwLock::new(keys),
            faults: Mutex::new(Faults::new(Vec::new(), seed, now.mono)),
            strangers: Mutex::default(),
            since: Mutex::new(now),
            requests: AtomicU64::new(0),
            seed,
            recorder,
            clock,
        }
    }

    /// The workspace of this id.
    pub(super) fn workspace(&self, id: &str) -> Option<(usize, &super::accounts::Workspace)> {
        let index = *self.workspaces.get(id)?;
        if let Vendor::Moengage(it) = &self.seats[index].vendor { Some((index, it)) } else { None }
    }

    /// The project that this key belongs to, and what the key may.
    pub(super) fn project(&self, key: &str) -> Option<(usize, &super::accounts::Project, KeyKind)> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(key)?.iter().find_map(|(index, kind)| match &self.seats[*index].vendor {
            Vendor::Iterable(it) => Some((*index, it, *kind)),
            Vendor::Moengage(_) => None,
        })
    }

    /// Whether this key is one of the account's.
    pub(super) fn opens(&self, key: &str, account: usize) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(key).is_some_and(|opened| opened.iter().any(|(index, _)| *index == account))
    }

    /// What this key may at the account.
    pub(super) fn kinds(&self, key: &str, account: usize) -> Vec<KeyKind> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let opened = keys.get(key).into_iter().flatten().filter(|(index, _)| *index == account);
        opened.map(|(_, kind)| *kind).collect()
    }

    /// Replaces the account's keys; `false` if there is no such account.
    pub(super) fn set_keys(&self, account: &str, new: Vec<Key>) -> bool {
        let Some(index) = self.index(account) else { return false };
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.values_mut().for_each(|opened| opened.retain(|(it, _)| *it != index));
        keys.retain(|_, opened| !opened.is_empty());
        for key in new {
            keys.entry(key.value.expose_secret().to_owned()).or_default().push((index, key.kind));
        }
        true
    }

    pub(super) fn set_faults(&self, faults: Vec<Fault>) {
        *lock(&self.faults) = Faults::new(faults, self.seed, self.clock.now().mono);
    }

    /// Eight letters, as MoEngage names requests.
    pub(super) fn request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        (0..8).map(|letter| char::from(b'a' + u8::try_from((number >> (letter * 5)) % 26).unwrap_or(0))).collect()
    }

    /// Counts and answers a request that did not pass the door.
    pub(super) fn turn_away(&self, turned: Turned) -> Outcome {
        match turned.account {
            Some(account) => {
                let mut state = lock(&self.seats[account].state);
                state.book.report.requests += 1;
                state.book.answered(turned.reply.status);
            }
            None => *lock(&self.strangers).entry(turned.reply.status).or_default() += 1,
        }
        Outcome::Answer(turned.reply)
    }

    /// What becomes of an admitted request.
    pub(super) async fn serve(&self, admitted: Admitted, call: Call<'_>, body: &[u8]) -> Outcome {
        let seat = &self.seats[admitted.account];
        let hit = Hit { account: &seat.name, endpoint: admitted.endpoint.name(), body, now: self.clock.now().mono };
        let fault = lock(&self.faults).pick(&hit);
        {
            let report = &mut lock(&seat.state).book.report;
            report.requests += 1;
            if let Some(fault) = &fault {
                *report.faults.entry(fault.effect.name()).or_default() += 1;
            }
        }
        let Some(fault) = fault else { return Outcome::Answer(self.take(admitted, &call, body, None)) };
        if !fault.delay.is_zero() {
            tokio::time::sleep(fault.delay).await;
        }
        if let Some(outcome) = self.instead(admitted, &call, &fault.effect) {
            if let Outcome::Answer(reply) = &outcome {
                lock(&seat.state).book.answered(reply.status);
            }
            return outcome;
        }
        let mut reply = self.take(admitted, &call, body, self.twist(&fault.effect));
        match fault.effect {
            Effect::ResetAfter => return Outcome::Reset,
            Effect::DelayAnswer(delay) => tokio::time::sleep(delay).await,
            Effect::BrokenJson => reply.body.truncate(reply.body.len() / 2),
            Effect::SlowBody(every) => reply.pace = Pace::Slow(every),
            Effect::ShortBody => reply.pace = Pace::CutOff,
            _ => {}
        }
        Outcome::Answer(reply)
    }

    /// The outcome of a fault that keeps the request from being taken.
    fn instead(&self, admitted: Admitted, call: &Call<'_>, effect: &Effect) -> Option<Outcome> {
        let refusal = |status| self.refusal(admitted, call, status);
        Some(Outcome::Answer(match effect {
            Effect::Hang => return Some(Outcome::Hang),
            Effect::ResetBefore => return Some(Outcome::Reset),
            Effect::Status { status, body, headers } => {
                let reply = match body {
                    Some(body) => {
                        let json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
                        let content_type = if json { "application/json" } else { "text/plain; charset=utf-8" };
                        Reply::new(*status, content_type, body.clone())
                    }
                    None => refusal(*status),
                };
                headers.iter().fold(reply, |reply, (name, value)| reply.with(name, value))
            }
            Effect::RevokeKey => refusal(401),
            Effect::Throttle => refusal(429),
            Effect::Poison { status, .. } => refusal(*status),
            Effect::NotTheVendor => Reply::new(200, "text/html", "<html><body>Sign in to this network</body></html>"),
            Effect::Redirect { location } => Reply::text(302, "").with("location", location),
            Effect::HugeAnswer { bytes } => {
                let mut reply = Reply::new(200, "application/json", "");
                reply.pace = Pace::Huge(*bytes);
                reply
            }
            _ => return None,
        }))
    }

    fn twist(&self, effect: &Effect) -> Option<Twist> {
        let Effect::PartialFailure { elements, list } = effect else { return None };
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let rng = StdRng::seed_from_u64(self.seed ^ number);
        Some(Twist { share: *elements, list: *list, rng })
    }

    fn refusal(&self, admitted: Admitted, call: &Call<'_>, status: u16) -> Reply {
        let seat = &self.seats[admitted.account];
        match (&seat.vendor, &mut lock(&seat.state).vendor) {
            (Vendor::Moengage(workspace), VendorState::Moengage(state)) => {
                moengage::refusal(workspace, state, status, self.clock.now(), &self.request_id())
            }
            (Vendor::Iterable(project), VendorState::Iterable(state)) => {
                iterable::refusal(project, state, call, status)
            }
            // The state is made from the vendor.
            _ => Reply::text(500, ""),
        }
    }

    fn take(&self, admitted: Admitted, call: &Call<'_>, body: &[u8], twist: Option<Twist>) -> Reply {
        let seat = &self.seats[admitted.account];
        let mut state = lock(&seat.state);
        let State { book, vendor } = &mut *state;
        let (name, recorder, now) = (&seat.name, &self.recorder, self.clock.now());
        let mut desk = Desk { name, book, recorder, now, request_id: self.request_id(), twist };
        let reply = match (&seat.vendor, vendor, admitted.endpoint) {
            (Vendor::Moengage(workspace), VendorState::Moengage(state), Endpoint::Moengage(endpoint)) => {
                moengage::take(workspace, state, &mut desk, endpoint, call, body)
            }
            (Vendor::Iterable(project), VendorState::Iterable(state), Endpoint::Iterable(endpoint)) => {
                iterable::take(project, state, &mut desk, endpoint, call, body)
            }
            _ => Reply::text(404, ""),
        };
        if reply.is_success() {
            book.report.accepted += 1;
            book.report.bytes += body.len() as u64;
        } else {
            book.answered(reply.status);
        }
        reply
    }

    pub(super) fn report(&self) -> Report {
        let since = lock(&self.since).mono;
        let books = self.seats.iter().map(|seat| (seat.name.to_string(), lock(&seat.state).book.report.clone()));
        let hits = lock(&self.faults).hits();
        Report {
            seconds: self.clock.now().mono.saturating_sub(since).as_secs_f64(),
            accounts: books.collect::<BTreeMap<String, AccountReport>>(),
            strangers: lock(&self.strangers).clone(),
            faults: hits.into_iter().map(|(kind, hits)| FaultReport { kind, hits }).collect(),
        }
    }

    /// Forgets all counts, elements, ids, users and what is left of limits; keys and faults stay.
    pub(super) fn reset(&self) {
        for seat in &self.seats {
            *lock(&seat.state) = State::new(&seat.vendor);
        }
        lock(&self.strangers).clear();
        self.recorder.forget();
        *lock(&self.since) = self.clock.now();
    }

    /// Whether an element with this id was accepted.
    pub(super) fn has_id(&self, account: &str, id: &str) -> bool {
        self.index(account).is_some_and(|index| lock(&self.seats[index].state).book.has(id))
    }

    /// The last state of an Iterable user.
    pub(super) fn user(&self, account: &str, identity: &str) -> Option<serde_json::Value> {
        let seat = &self.seats[self.index(account)?];
        match &lock(&seat.state).vendor {
            VendorState::Iterable(state) => state.user(identity),
            VendorState::Moengage(_) => None,
        }
    }

    fn index(&self, account: &str) -> Option<usize> {
        self.seats.iter().position(|seat| &*seat.name == account)
    }
}

// === impl Endpoint ===

impl Endpoint {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Moengage(endpoint) => endpoint.name(),
            Self::Iterable(endpoint) => endpoint.name(),
        }
    }
}

// === impl State ===

impl State {
    fn new(vendor: &Vendor) -> Self {
        let vendor = match vendor {
            Vendor::Moengage(it) => VendorState::Moengage(moengage::State::new(it)),
            Vendor::Iterable(it) => VendorState::Iterable(iterable::State::new(it)),
        };
        Self { book: Book::default(), vendor }
    }
}

// === impl Twist ===

impl Twist {
    /// Where this element is listed, if it is struck.
    pub(super) fn strikes(&mut self) -> Option<Listed> {
        self.rng.random_bool(self.share.clamp(0.0, 1.0)).then_some(self.list)
    }
}

// === impl Desk ===

impl Desk<'_> {
    /// Where the fault, if there is one, lists the next element.
    pub(super) fn struck(&mut self) -> Option<Listed> {
        self.twist.as_mut().and_then(Twist::strikes)
    }
}
