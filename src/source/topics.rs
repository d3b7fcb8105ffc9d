//! What the brokers say about topics: their settings, and whether the dead letters' topic suits the sources.
//!
//! Asks only, and makes one topic: that of the dead letters, if it is missing. Blocks; never called by the poll thread.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use regex::Regex;

use crate::config::{DeadLetters, Kafka};

/// How long each question to the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a dead letter has on top of its record: headers with reason, detail and origin.
const ENVELOPE: i64 = 64 * 1024;

/// What a broker takes by default, `max.message.bytes`.
const DEFAULT_LARGEST: i64 = 1_048_588;

/// What matters of a topic's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// `max.message.bytes`
    pub largest: Option<i64>,
    /// `retention.ms`; -1 is for ever.
    pub retention: Option<i64>,
    /// Whether `cleanup.policy` has `compact`.
    pub compacted: bool,
}

/// The topics that are there, and how many partitions each has.
#[must_use]
pub fn partitions(metadata: &Metadata) -> BTreeMap<String, usize> {
    // A topic that has an error has no partitions, like one that is not there.
    let topics = metadata.topics().iter().filter(|topic| !topic.partitions().is_empty());
    topics.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect()
}

/// The topics that are read, of those that there are.
#[must_use]
pub fn sources(kafka: &Kafka, partitions: &BTreeMap<String, usize>) -> Vec<String> {
    let expressions: Vec<Regex> = expressions(kafka).filter_map(|topic| Regex::new(topic).ok()).collect();
    let read =
        |name: &&String| kafka.topics.contains(name) || expressions.iter().any(|expression| expression.is_match(name));
    partitions.keys().filter(read).cloned().collect()
}

/// Topics that are given as regular expressions.
pub fn expressions(kafka: &Kafka) -> impl Iterator<Item = &String> {
    kafka.topics.iter().filter(|topic| topic.starts_with('^'))
}

/// The settings of these topics, as far as the brokers tell them.
pub async fn describe(admin: &Admin, names: &[&str], patience: Duration) -> KafkaResult<BTreeMap<String, Topic>> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let resources: Vec<ResourceSpecifier<'_>> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let answers = admin.describe_configs(&resources, &options(patience)).await?;
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
#[must_use]
pub fn compare<'a>(letters: &Topic, sources: impl Iterator<Item = &'a Topic>) -> Vec<(String, String)> {
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

fn options(patience: Duration) -> AdminOptions {
    AdminOptions::new().request_timeout(Some(patience)).operation_timeout(Some(patience))
}

/// The client that asks.
pub type Admin = AdminClient<DefaultClientContext>;

/// Makes the topic of the dead letters if it is missing, and says what is wrong with one that is there. The result is
/// the sources' settings.
pub async fn prepare(client: &ClientConfig, kafka: &Kafka, letters: &DeadLetters) -> KafkaResult<Vec<Topic>> {
    let consumer: BaseConsumer = client.create()?;
    let partitions = partitions(&consumer.fetch_metadata(None, PATIENCE)?);
    let sources = sources(kafka, &partitions);
    let admin: Admin = client.create()?;
    let there = partitions.contains_key(&letters.topic);
    let asked = sources.iter().map(String::as_str).chain(there.then_some(letters.topic.as_str()));
    let mut topics = describe(&admin, &asked.collect::<Vec<_>>(), PATIENCE).await?;
    match topics.remove(&letters.topic) {
        Some(found) => {
            for (message, fix) in compare(&found, topics.values()) {
                tracing::warn!(fix, "the dead letters' topic: {message}");
            }
        }
        None if there => {}
        None => make(&admin, letters, topics.values()).await?,
    }
    Ok(topics.into_values().collect())
}

async fn make<'a>(admin: &Admin, letters: &DeadLetters, sources: impl Iterator<Item = &'a Topic>) -> KafkaResult<()> {
    let largest = sources.filter_map(|topic| topic.largest).max().unwrap_or(DEFAULT_LARGEST).saturating_add(ENVELOPE);
    let largest = largest.min(i64::from(i32::MAX)).to_string();
    let retention = letters.retention.map_or_else(|| "-1".to_owned(), |kept| kept.as_millis().to_string());
    let topic = NewTopic::new(&letters.topic, letters.partitions, TopicReplication::Fixed(letters.replication_factor))
        .set("max.message.bytes", &largest)
        .set("retention.ms", &retention)
        .set("cleanup.policy", "delete");
    let made = admin.create_topics([&topic], &options(PATIENCE)).await?;
    match made.into_iter().next() {
        Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => Err(KafkaError::AdminOp(code)),
        Some(Err(_)) => Ok(()),
        Some(Ok(_)) | None => {
            tracing::info!(topic = letters.topic, max_message_bytes = largest, "made the topic for dead letters");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
