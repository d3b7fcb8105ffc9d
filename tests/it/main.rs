//! The promises, held against Apache Kafka and simulated vendors over real sockets; one file a promise.

mod cases;
mod end_to_end;
mod kafka_harness;
mod nothing_lost;
mod outages;
mod rebalance;
mod support;
