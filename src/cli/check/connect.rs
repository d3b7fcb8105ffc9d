//! `forebay check --connect`: what the brokers say about the topics.
//!
//! Reads metadata and settings of topics, nothing else: joins no group, reads no record, makes no topic.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use regex::Regex;

use crate::config::secret::SecretError;
use crate::config::{Config, Place, Problem, Property, client_config, dotted};

/// How long each question to the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a dead letter has on top of its record: headers with reason, detail and origin.
const ENVELOPE: i64 = 64 * 1024;

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

/// What matters of a topic's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Topic {
    name: String,
    /// `max.message.bytes`
    largest: Option<i64>,
    /// `retention.ms`; -1 is for ever.
    retention: Option<i64>,
    /// Whether `cleanup.policy` has `compact`.
    compacted: bool,
}

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

    let sources = sources(config, &partitions);
    let letters = partitions.get_key_value(config.dead_letters.topic.as_str()).map(|(name, _)| name.as_str());
    let asked: Vec<&str> = sources.iter().map(String::as_str).chain(letters).collect();
    let at = |key: &str| place(file, key);
    let topics = describe(&client, &asked, patience, failed)?;
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

fn partitions(metadata: &Metadata) -> BTreeMap<String, usize> {
    // A topic that has an error has no partitions, like one that is not there.
    let topics = metadata.topics().iter().filter(|topic| !topic.partitions().is_empty());
    topics.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect()
}

/// The topics that are read, of those that there are.
fn sources(config: &Config, partitions: &BTreeMap<String, usize>) -> Vec<String> {
    let expressions: Vec<Regex> = expressions(config).filter_map(|topic| Regex::new(topic).ok()).collect();
    let read = |name: &&String| {
        config.kafka.topics.contains(name) || expressions.iter().any(|expression| expression.is_match(name))
    };
    partitions.keys().filter(read).cloned().collect()
}

fn expressions(config: &Config) -> impl Iterator<Item = &String> {
    config.kafka.topics.iter().filter(|topic| topic.starts_with('^'))
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
    for topic in expressions(config) {
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

fn describe(
    client: &ClientConfig,
    names: &[&str],
    patience: Duration,
    failed: impl Fn(KafkaError) -> ConnectError,
) -> Result<BTreeMap<String, Topic>, ConnectError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ConnectError::Runtime)?;
    let admin: AdminClient<DefaultClientContext> = client.create().map_err(&failed)?;
    let resources: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let options = AdminOptions::new().request_timeout(Some(patience)).operation_timeout(Some(patience));
    // The brokers did answer for the metadata: what they do not tell now is a warning for each topic.
    let answers = runtime.block_on(admin.describe_configs(&resources, &options)).unwrap_or_default();
    let mut topics = BTreeMap::new();
    for resource in answers.into_iter().flatten() {
        let OwnedResourceSpecifier::Topic(name) = &resource.specifier else { continue };
        let text = |setting: &str| resource.get(setting).and_then(|entry| entry.value.clone());
        let number = |setting: &str| text(setting).and_then(|value| value.parse().ok());
        let topic = Topic {
            name: name.clone(),
            largest: number("max.message.bytes"),
            retention: number("retention.ms"),
            compacted: text("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
        };
        topics.insert(topic.name.clone(), topic);
    }
    Ok(topics)
}

/// What is wrong with the topic of the dead letters, beside these sources: what, and what to do.
fn compare<'a>(letters: &Topic, sources: impl Iterator<Item = &'a Topic>) -> Vec<(String, String)> {
    let mut wrong = Vec::new();
    let forever = |retention: i64| if retention < 0 { i64::MAX } else { retention };
    let sources: Vec<&Topic> = sources.collect();
    let largest = sources.iter().filter_map(|topic| Some((topic.largest?, &topic.name))).max();
    if let (Some((bytes, source)), Some(room)) = (largest, letters.largest)
        && room < bytes.saturating_add(ENVELOPE)
    {
        let need = bytes.saturating_add(ENVELOPE);
        wrong.push((
            format!("\"{}\" takes {room} bytes a record, and \"{source}\" has records of up to {bytes}", letters.name),
            format!("set its max.message.bytes to {need} or more: the source's and 64 KiB"),
        ));
    }
    let longest = sources.iter().filter_map(|topic| Some((forever(topic.retention?), &topic.name))).max();
    if let (Some((kept, source)), Some(retention)) = (longest, letters.retention)
        && forever(retention) < kept
    {
        wrong.push((
            format!("\"{}\" expires sooner than \"{source}\": after {retention} ms", letters.name),
            "set its retention.ms to -1, or at least to the source's".to_owned(),
        ));
    }
    if letters.compacted {
        wrong.push((
            format!("\"{}\" is compacted, which drops all but the last letter of a key", letters.name),
            "set its cleanup.policy to delete".to_owned(),
        ));
    }
    wrong
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

    fn topic(name: &str, largest: i64, retention: i64) -> Topic {
        Topic { name: name.to_owned(), largest: Some(largest), retention: Some(retention), compacted: false }
    }

    #[test]
    fn a_dead_letter_topic_needs_room_for_the_record_and_its_headers() {
        let source = topic("events", 1_000_000, 1_000);
        let small = compare(&topic("letters", 1_065_535, -1), [&source].into_iter());
        assert_eq!(small.len(), 1);
        assert!(small[0].1.contains("1065536"), "{small:?}");
        assert_eq!(compare(&topic("letters", 1_065_536, -1), [&source].into_iter()), []);
    }

    #[test]
    fn a_dead_letter_topic_must_not_expire_sooner_than_a_source() {
        let sources = [topic("short", 1, 1_000), topic("long", 1, 5_000)];
        let letters = |retention| compare(&topic("letters", i64::MAX, retention), sources.iter());
        assert_eq!(letters(4_999).len(), 1);
        assert!(letters(4_999)[0].0.contains("\"long\""));
        assert_eq!(letters(5_000), []);
        assert_eq!(letters(-1), []);
        let forever = topic("forever", 1, -1);
        assert_eq!(compare(&topic("letters", i64::MAX, 5_000), [&forever].into_iter()).len(), 1);
    }

    #[test]
    fn a_compacted_dead_letter_topic_loses_letters() {
        let letters = Topic { compacted: true, ..topic("letters", i64::MAX, -1) };
        assert_eq!(compare(&letters, std::iter::empty()).len(), 1);
    }

    #[test]
    fn unknown_settings_are_not_held_against_a_topic() {
        let letters = Topic { name: "letters".to_owned(), ..Topic::default() };
        assert_eq!(compare(&letters, [&topic("events", 1, 1)].into_iter()), []);
    }
}
