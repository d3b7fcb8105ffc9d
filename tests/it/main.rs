//! The promises, held against Apache Kafka and simulated vendors over real sockets; one file a promise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod cases;
mod chaos;
mod demo;
mod end_to_end;
mod kafka_harness;
mod limits;
mod log_shapes;
mod memory;
mod nothing_lost;
mod order;
mod outages;
mod rebalance;
mod simulation;
mod support;
mod tenants_apart;
