//! The promises, held against Apache Kafka and simulated vendors over real sockets; one file a promise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::float_cmp, reason = "metrics are floats, and what is counted there are whole numbers")]

mod bad_input;
mod books;
mod cases;
mod chaos;
mod cli;
mod dead_letters;
mod deferral;
mod delivery;
mod demo;
mod end_to_end;
mod explain;
mod kafka_harness;
mod limits;
mod log_shapes;
mod many_accounts;
mod membership;
mod memory;
mod mixed;
mod nothing_lost;
mod order;
mod outages;
mod patrol;
mod real;
mod rebalance;
mod secrets;
mod shapes;
mod simulation;
mod support;
mod tenants_apart;
mod webhook;
