//! Forebay: events from Apache Kafka to MoEngage and Iterable, per tenant account, inside each account's rate limit.

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
pub mod keys;
pub mod logs;
pub mod metrics;
pub mod proxy;
pub mod sandbox;
pub mod status;
