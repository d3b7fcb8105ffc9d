//! Simulated vendors: MoEngage and Iterable on one listener, as strict as their pages say, with faults to order.
//!
//! ```text
//! server ─► world: admit ─► fault? ─► moengage | iterable: take ─► books
//! ```
//!
//! An account is addressed by its vendor's host (`Host: api-02.moengage.com`) or by a prefix of the path that stands for it:
//! `base_url = "http://127.0.0.1:8080/moengage/02"`, `".../iterable/eu"`. Where a vendor's pages contradict each other, the harder reading is
//! simulated; what no page says is not. Never writes a key anywhere, and never talks to anybody but its clients.

mod accounts;
mod books;
mod clock;
mod control;
mod faults;
mod io;
mod iterable;
mod limits;
mod moengage;
mod reply;
mod server;
#[cfg(test)]
mod tests;
mod value;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use accounts::{
    Account, AccountsError, Identity, IterableThrottle, Key, KeyKind, MoengageThrottle, Project, Region, UnknownUsers,
    Vendor, Workspace, parse as parse_accounts,
};
pub use books::{Accepted, AccountReport, FaultReport, Keep, Recording, Report};
pub use clock::Clock;
pub use faults::{Effect, Fault, FaultsError, Listed, parse as parse_faults};
pub use io::Tls;

use books::Recorder;
use world::World;

/// What a sandbox is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes any.
    pub listen: SocketAddr,
    /// What the vendors know of.
    pub accounts: Vec<Account>,
    /// Set from the start; [`Running::set_faults`] replaces them.
    pub faults: Vec<Fault>,
    /// With TLS, or plain.
    pub tls: Option<Tls>,
    /// What is kept of accepted elements.
    pub record: Recording,
    /// Of all chance.
    pub seed: u64,
    /// The time.
    pub clock: Clock,
}

/// A sandbox that runs, until it is stopped or dropped.
pub struct Running {
    addr: SocketAddr,
    scheme: &'static str,
    world: Arc<World>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// Starts a sandbox on the current runtime.
pub async fn start(options: Options) -> std::io::Result<Running> {
    accounts::check(&options.accounts).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    let recorder = Recorder::new(&options.record)?;
    let world = Arc::new(World::new(options.accounts, recorder, options.clock, options.seed));
    world.set_faults(options.faults);
    let listener = TcpListener::bind(options.listen).await?;
    let addr = listener.local_addr()?;
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server::run(listener, options.tls, Arc::clone(&world), stopped));
    Ok(Running { addr, scheme, world, stop: Some(stop), task })
}

// === impl Options ===

impl Options {
    /// Plain, on a free port of loopback, without faults, keeping ids.
    #[must_use]
    pub fn new(accounts: Vec<Account>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            accounts,
            faults: Vec::new(),
            tls: None,
            record: Recording::default(),
            seed: 0,
            clock: Clock::machine(),
        }
    }
}

// === impl Running ===

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What an account's `base_url` has to be.
    #[must_use]
    pub fn base_url(&self, account: &Account) -> String {
        format!("{}://{}{}", self.scheme, self.addr, account.prefix())
    }

    /// The counts so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.world.report()
    }

    /// All accepted elements, in the order of acceptance; empty unless [`Keep::Elements`].
    #[must_use]
    pub fn accepted(&self) -> Vec<Accepted> {
        self.world.recorder.elements()
    }

    /// Whether an element with this id was accepted: an Iterable event's `id`, an Iterable user's `dataFields.message_id`,
    /// `attributes.message_id` at MoEngage. With [`Keep::Counts`] nothing is known.
    #[must_use]
    pub fn has_id(&self, account: &str, id: &str) -> bool {
        self.world.has_id(account, id)
    }

    /// The last `dataFields` of an Iterable user, by e-mail or user id; nothing unless [`Keep::Elements`].
    #[must_use]
    pub fn user(&self, account: &str, identity: &str) -> Option<serde_json::Value> {
        self.world.user(account, identity)
    }

    /// Replaces all faults; their windows begin now.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.world.set_faults(faults);
    }

    /// Replaces the account's keys; `false` if there is no such account.
    #[must_use]
    pub fn set_keys(&self, account: &str, keys: Vec<Key>) -> bool {
        self.world.set_keys(account, keys)
    }

    /// Takes all keys from the account; `false` if there is no such account.
    #[must_use]
    pub fn revoke(&self, account: &str) -> bool {
        self.set_keys(account, Vec::new())
    }

    /// Forgets all counts, elements, ids, users and what is used of limits; keys and faults stay.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Writes what the record file still owes.
    pub fn flush(&self) -> std::io::Result<()> {
        self.world.recorder.flush()
    }

    /// Closes the listener and all connections, and gives the last report.
    pub async fn stop(mut self) -> Report {
        self.stop = None;
        // A task that panicked has nothing to say that the report could hold.
        let _ = (&mut self.task).await;
        if let Err(error) = self.flush() {
            tracing::error!(%error, "the record file is not complete");
        }
        self.report()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("addr", &self.addr).finish_non_exhaustive()
    }
}
