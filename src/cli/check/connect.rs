//! `forebay check --connect`: what the brokers say about the topics.
//!
//! Reads metadata and settings of topics, nothing else: joins no group, reads no record, makes no topic.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use regex::Regex;

use crate::config::secret::SecretError;
use crate::config::{Config, Place, Problem, Property, client_config, dotted};
use crate::source::topics::{Admin, compare, describe, expressions, partitions, sources};

/// How long each question to the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the brokers could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// A property's secret is missing.
    #[error("a secret of kafka.properties could not be read")]
    Secret(#[source] SecretError),
    /// There is no answer.
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
    ask(config, file, PATIENCE)
}

fn ask(config: &Config, file: &str, patience: Duration) -> Result<Found, ConnectError> {
    let client = client_config(&config.kafka).map_err(ConnectError::Secret)?;
    let failed = |source| ConnectError::Kafka { brokers: config.kafka.brokers.clone(), source };
    let consumer: BaseConsumer = match client.create() {
        Ok(consumer) => consumer,
        Err(error) => return Ok((vec![refused(config, &error, file)], Vec::new())),
    };
    let metadata = consumer.fetch_metadata(None, patience).map_err(failed)?;
    let partitions = partitions(&metadata);
    let mut found = missing(config, &partitions, file);

    let sources = sources(&config.kafka, &partitions);
    let letters = partitions.get_key_value(config.dead_letters.topic.as_str()).map(|(name, _)| name.as_str());
    let asked: Vec<&str> = sources.iter().map(String::as_str).chain(letters).collect();
    let at = |key: &str| place(file, key);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ConnectError::Runtime)?;
    let admin: Admin = client.create().map_err(failed)?;
    // The brokers did answer for the metadata: what they do not tell now is a warning for each topic.
    let topics = runtime.block_on(describe(&admin, &asked, patience)).unwrap_or_default();
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

/// What librdkafka does not take. Its own error shows the value, which could be a secret under a misspelt name.
fn refused(config: &Config, error: &KafkaError, file: &str) -> Problem {
    let (key, message) = match error {
        KafkaError::ClientConfig(_, message, name, _) => {
            let known = config.kafka.properties.iter().find(|(known, _)| known == name);
            let message = match known {
                Some((_, Property::Plain(_))) => message.trim_end_matches('\0').to_owned(),
                _ => "librdkafka does not take this value".to_owned(),
            };
            (dotted("kafka.properties", name), message)
        }
        KafkaError::ClientCreation(message) => ("kafka.properties".to_owned(), message.clone()),
        other => ("kafka.properties".to_owned(), other.to_string()),
    };
    Problem::at(place(file, &key), message, "the names and values are those of librdkafka's CONFIGURATION.md")
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

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::config::load;

    /// The brokers of librdkafka's tests know topics, and do not tell their settings.
    #[test]
    fn a_topic_that_is_missing_is_an_error_and_settings_that_are_not_told_are_a_warning() {
        let cluster = MockCluster::new(1).expect("brokers");
        for (topic, partitions) in [("orders.eu", 2), ("forebay.control", 3)] {
            cluster.create_topic(topic, partitions, 1).expect("a topic");
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.toml");
        let brokers = cluster.bootstrap_servers();
        let topics = "[\"events\", '^orders\\..+$', '^clicks\\.']";
        std::fs::write(&path, format!("[kafka]\nbrokers = \"{brokers}\"\ntopics = {topics}\n")).expect("a file");
        let config = load(&path).expect("a configuration").config;
        let (errors, warnings) = ask(&config, "config.toml", Duration::from_secs(2)).expect("an answer");
        let shown = |problems: &[Problem]| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (errors, warnings) = (shown(&errors), shown(&warnings));
        assert_eq!((errors.len(), warnings.len()), (2, 2), "{errors:#?} {warnings:#?}");
        assert!(errors[0].starts_with("config.toml: kafka.topics: the brokers have no topic \"events\""), "{errors:?}");
        assert!(
            errors[1].starts_with("config.toml: control.topic: \"forebay.control\" has more than one"),
            "{errors:?}"
        );
        assert!(warnings[0].contains("no topic of the brokers matches \"^clicks\\.\" yet"), "{warnings:?}");
        assert!(warnings[1].contains("do not tell the settings of \"orders.eu\""), "{warnings:?}");
    }
}
