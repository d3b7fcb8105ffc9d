//! The floor: a bare `BaseConsumer::poll` loop that throws messages away, a process of its own.
//!
//! Its consumer has the settings that Forebay's has, taken from Forebay, and it is a member of a group as Forebay is. How much
//! librdkafka keeps read is its own default: that Forebay bounds it, because it has to stay within its memory, is Forebay's cost.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::support::kafka::Kafka;
use super::support::unique;
use super::topic::Topic;
use super::{Measured, usage};

/// How this binary is told to be the floor.
pub(crate) const ROLE: &str = "floor";

/// Runs it over a topic, from the first record to the last.
pub(crate) fn measure(topic: &Topic) -> Measured {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--as", ROLE, Kafka::shared().bootstrap(), &topic.name, &topic.all.elements.to_string()]);
    let output = command.output().expect("the floor runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let figures = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
    figures.unwrap_or_else(|| panic!("the floor: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The process.
pub(crate) fn run(arguments: &[String]) {
    let [brokers, topic, expected] = arguments else { panic!("brokers, topic, number of records") };
    let expected: u64 = expected.parse().unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers);
    let mut config = forebay::proxy::consumer_config(&client, &unique("floor"));
    config.set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    let me = std::process::id();
    let mut cpu = usage::cpu_ns(me).unwrap();
    while consumer.poll(Duration::from_millis(10)).transpose().expect("a record").is_none() {
        cpu = usage::cpu_ns(me).unwrap();
    }
    let begun = Instant::now();
    let mut seen = 1;
    while seen < expected {
        if consumer.poll(Duration::from_millis(100)).transpose().expect("a record").is_some() {
            seen += 1;
        }
    }
    let (wall, cpu) = (begun.elapsed(), usage::cpu_ns(me).unwrap() - cpu);
    let measured = Measured {
        events: expected,
        cpu_ns: cpu,
        wall_ns: u64::try_from(wall.as_nanos()).unwrap(),
        calls: 0,
        requests: 0,
        bytes: 0,
        peak_kib: usage::peak_kib(me),
    };
    let _written = writeln!(std::io::stdout(), "{}", serde_json::to_string(&measured).unwrap());
}
