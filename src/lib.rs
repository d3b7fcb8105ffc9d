//! Forebay: events from Apache Kafka to MoEngage, Iterable and webhooks, per tenant account, inside each account's rate
//! limit.
//!
//! # The path of an event
//!
//! ```text
//!  Kafka partition
//!    │  source        the poll thread: reads records, never waits, never sends
//!    ▼
//!  event              borrowed view of the record; properties stay raw JSON
//!    │  router        tenant → the tenant's accounts
//!    ▼
//!  lane               one per account: order, open batches, pacing, health
//!    │  destination   appends the call to the open batch's body, once, as it enters
//!    ▼
//!  delivery           connections, TLS, one deadline
//!    │  destination   status and body → a verdict for every call
//!    ▼
//!  settle             taken → ledger · again → same lane, same place · refused → dead letter → ledger
//!    ▼
//!  commit             the lowest owed offset, and in its metadata what is settled above it
//! ```
//!
//! [`source::consumer`] reads, [`pipeline`] is the whole path as one synchronous piece, [`proxy`] joins it with threads
//! and sockets. Everything that decides ([`event`], [`router`], [`lane`], [`destination`], [`source::ledger`]) takes the
//! time as an argument and holds no socket, so that each promise can be tested without sleeping, and all of them can be
//! simulated from a seed.
//!
//! # Promises, and where they are kept
//!
//! 1. Nothing is lost: [`source::ledger`], [`source::commit`], [`dead_letter`].
//! 2. No tenant slows another: [`lane`], and `deferral` in [`pipeline`] for those that cannot keep up.
//! 3. No event is punished for an account's fault, and no batch for one event's: `judge` of each [`destination`], and what
//!    a [`lane`] does with its verdict.
//! 4. Limits are kept before the vendor has to say so: [`lane::pacing`].
//! 5. Order per user: [`lane::order`].
//! 6. Memory is bounded: [`pipeline`].
//! 7. Secrets stay secret: [`config::secret`], and what a lane takes out of a vendor's words.
//! 8. The books balance: [`metrics::report`].
//!
//! To begin reading, take [`pipeline`]; to add a vendor, [`destination`].

pub mod cli;
pub mod clock;
pub mod config;
// -- in
pub mod source;
// -- whose is it
pub mod event;
pub mod json;
pub mod router;
// -- one lane per account
pub mod lane;
pub mod pipeline;
// -- what the vendor wants to hear
pub mod destination;
// -- out
pub mod delivery;
// -- the end of each call
pub mod dead_letter;
pub mod outcome;
// -- beside the path
pub mod admin;
pub mod explain;
pub mod keys;
pub mod logs;
pub mod metrics;
mod near;
pub mod proxy;
pub mod sandbox;
pub mod status;
mod text;
#[cfg(test)]
mod work;
