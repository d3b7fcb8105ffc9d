//! `forebay check --connect`: what the brokers say about the topics.
//!
//! Reads metadata and settings of topics, nothing else: joins no group, reads no record, makes no topic.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use regex::Regex;

use crate::config::secret::SecretError;
use crate::config::{Config, Place, Problem, client_config};
use crate::source::topics::{Admin, compare, describe, expressions, partitions, sources};

/// How long each question to the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the brokers could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// A property's secret is missing.
    #[error("a secret of kafka.properties could not be read")]
    Secret(#[source] SecretError),
    /// librdkafka refuses the settings, or there is no answer.
    #[error("failed to reach {brokers}")]
    Kafka {
        /// Who was asked.
        brokers: String,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// No runtime for the questions.
    #[error("failed to start a runtime")]
    Runtime(#[source] std::io::Error),
}

/// Errors, then warnings.
type Found = (Vec<Problem>, Vec<Problem>);

/// Asks the brokers. `file` is the name of the main file, for the problems.
pub(super) fn check(config: &Config, file: &str) -> Result<Found, ConnectError> {
    let client = client_config(&config.kafka).map_err(ConnectError::Secret)?;
    let failed = |source| ConnectError::Kafka { brokers: config.kafka.brokers.clone(), source };
    let consumer: BaseConsumer = client.create().map_err(failed)?;
    let metadata = consumer.fetch_metadata(None, PATIENCE).map_err(failed)?;
    let partitions = partitions(&metadata);
    let mut found = missing(config, &partitions, file);

    let sources = sources(&config.kafka, &partitions);
    let letters = partitions.get_key_value(config.dead_letters.topic.as_str()).map(|(name, _)| name.as_str());
    let asked: Vec<&str> = sources.iter().map(String::as_str).chain(letters).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ConnectError::Runtime)?;
    let admin: Admin = client.create().map_err(failed)?;
    let topics = runtime.block_on(describe(&admin, &asked)).map_err(failed)?;
    let at = |key: &str| place(file, key);
    for name in asked.iter().filter(|name| !topics.contains_key(**name)) {
        let message = format!("the brokers do not tell the settings of \"{name}\"");
        found.1.push(Problem::at(at("kafka"), message, "allow DESCRIBE_CONFIGS on it, so that it can be checked"));
    }
    if let Some(letters) = letters.and_then(|name| topics.get(name)) {
        let sources = sources.iter().filter_map(|name| topics.get(name));
        found.0.extend(
            compare(letters, sources)
                .into_iter()
                .map(|(message, fix)| Problem::at(at("dead_letters.topic"), message, fix)),
        );
    }
    Ok(found)
}

fn place(file: &str, key: &str) -> Place {
    Place { file: file.to_owned(), line: 0, column: 0, key: key.to_owned() }
}

/// What should be there and is not.
fn missing(config: &Config, partitions: &BTreeMap<String, usize>, file: &str) -> Found {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let at = |key: &str| place(file, key);
    for topic in config.kafka.topics.iter().filter(|topic| !topic.starts_with('^')) {
        if !partitions.contains_key(topic) {
            let message = format!("the brokers have no topic \"{topic}\", or do not show it");
            errors.push(Problem::at(at("kafka.topics"), message, "make it, or allow READ and DESCRIBE on it"));
        }
    }
    for topic in expressions(&config.kafka) {
        let matched = Regex::new(topic).is_ok_and(|regex| partitions.keys().any(|name| regex.is_match(name)));
        if !matched {
            let message = format!("no topic of the brokers matches \"{topic}\" yet");
            warnings.push(Problem::at(at("kafka.topics"), message, "mend it if that is not meant"));
        }
    }
    if partitions.get(&config.control_topic).is_some_and(|number| *number != 1) {
        let message = format!("\"{}\" has more than one partition", config.control_topic);
        errors.push(Problem::at(at("control.topic"), message, "make it anew with one: replicas must see one order"));
    }
    (errors, warnings)
}
