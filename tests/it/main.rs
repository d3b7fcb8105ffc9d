//! The promises, held against Apache Kafka and simulated vendors over real sockets; one file a promise.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod cases;
mod chaos;
mod end_to_end;
mod kafka_harness;
mod log_shapes;
mod simulation;
mod support;
