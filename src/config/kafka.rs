//! `[kafka]`, and librdkafka's own properties.
//!
//! What a property could break (who commits, where reading begins, who is in the group) and what the build lacks is
//! refused by name. Guarantees that a property which holds a secret cannot be printed, also when it stands in the file.

use std::path::Path;

use jiff::Timestamp;
use secrecy::SecretString;
use toml::de::DeValue;

use super::kafka_client::is_pem;
use super::reader::{Table, Value, dotted};
use super::reference::{Scope, normal, reference};
use super::secret::Form;
use super::sections::{regex, topic_name};
use super::url;
use super::{Kafka, Property, SecretRef, Start};

/// Properties that would break a promise, and what to write instead.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "use [kafka] brokers"),
    ("metadata.broker.list", "use [kafka] brokers"),
    ("group.id", "use [kafka] group"),
    ("auto.offset.reset", "use [kafka] start"),
    ("enable.auto.commit", "remove it: offsets are committed when their events are settled"),
    ("auto.commit.enable", "remove it: offsets are committed when their events are settled"),
    ("enable.auto.offset.store", "remove it: offsets are committed when their events are settled"),
    ("offset.store.method", "remove it: offsets are kept in Kafka"),
    ("acks", "remove it: a dead letter counts when all replicas in sync have it"),
    ("request.required.acks", "remove it: a dead letter counts when all replicas in sync have it"),
    ("enable.idempotence", "remove it: the producer of dead letters is idempotent"),
];

const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

const WHAT_WORKS: &str = "what works: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, or mutual TLS (ssl.certificate.location)";

/// Reads the section.
pub(super) fn kafka(root: &mut Table<'_>, directory: &Path) -> Kafka {
    let empty = Kafka {
        brokers: String::new(),
        group: String::new(),
        topics: Vec::new(),
        start: Start::Earliest,
        properties: Vec::new(),
    };
    let Some(section) = root.require("kafka", "add [kafka] with brokers, group and topics") else { return empty };
    let Some(mut table) = section.table() else { return empty };
    let brokers = table.require("brokers", "write brokers = \"host:9092,host:9092\"").and_then(|value| brokers(&value));
    let group = table.take("group").map(|value| value.filled().unwrap_or_default().to_owned());
    let topics = table.require("topics", "write topics = [\"events\"]").map(|value| topics(&value));
    let start = table.take("start").and_then(|value| start(&value));
    let mut properties = Vec::new();
    if let Some(value) = table.take("properties")
        && let Some(table) = value.table()
    {
        collect(table, "", directory, &mut properties);
        check_sasl(&value, &properties);
    }
    table.finish();
    Kafka {
        brokers: brokers.unwrap_or_default(),
        group: group.unwrap_or_else(|| "forebay".to_owned()),
        topics: topics.unwrap_or_default(),
        start: start.unwrap_or(Start::Earliest),
        properties,
    }
}

fn brokers(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    for broker in text.split(',') {
        let address = broker.trim();
        let address = address.split_once("://").map_or(address, |(_, address)| address);
        if let Err(reason) = url::host_and_port(address) {
            value.refuse(format!("\"{}\" is not a broker: {reason}", broker.trim()), "write \"host:9092,host:9092\"");
            return None;
        }
    }
    Some(text.to_owned())
}

fn topics(value: &Value<'_>) -> Vec<String> {
    let items = value.items().unwrap_or_default();
    if items.is_empty() {
        value.refuse("no topic is named", "write [\"events\"]");
    }
    let mut topics: Vec<String> = Vec::new();
    for item in &items {
        let Some(text) = item.text() else { continue };
        let good = if text.starts_with('^') { regex(item).is_some() } else { topic_name(item).is_some() };
        if !good {
            continue;
        }
        if topics.iter().any(|known| known == text) {
            item.refuse(format!("\"{text}\" stands here twice"), "remove one");
        }
        topics.push(text.to_owned());
    }
    topics
}

fn start(value: &Value<'_>) -> Option<Start> {
    let text = match value.tree() {
        DeValue::Datetime(time) => time.to_string(),
        _ => value.text()?.to_owned(),
    };
    match text.as_str() {
        "earliest" => return Some(Start::Earliest),
        "latest" => return Some(Start::Latest),
        _ => {}
    }
    let time = text.parse::<Timestamp>().ok();
    if time.is_none() {
        value.refuse(
            format!("\"{text}\" is not a place to start"),
            "write \"earliest\", \"latest\", or a time with its offset, like \"2026-01-31T00:00:00Z\"",
        );
    }
    time.map(|time| Start::Time(time.as_millisecond()))
}

/// Reads properties, quoted (`"client.rack"`) or nested (`client.rack`).
fn collect(table: Table<'_>, prefix: &str, directory: &Path, properties: &mut Vec<(String, Property)>) {
    for (place, part, value) in table.entries() {
        let name = if prefix.is_empty() { part.to_owned() } else { format!("{prefix}.{part}") };
        // Both spellings are shown as one would write them.
        let value = value.called(dotted("kafka.properties", &name));
        if let DeValue::Table(tree) = value.tree() {
            let only = if tree.len() == 1 { tree.keys().next().map(|key| key.get_ref().as_ref()) } else { None };
            match only {
                Some("file" | "env" | "command") => {}
                Some("value") => {
                    value.refuse("{ value } is not needed here", "write the text itself");
                    continue;
                }
                _ => {
                    if let Some(table) = value.table() {
                        collect(table, &name, directory, properties);
                    }
                    continue;
                }
            }
        }
        if refused(&name, &value) {
            continue;
        }
        if properties.iter().any(|(known, _)| *known == name) {
            value.refuse(format!("{name} stands here twice, nested and quoted (line {})", place.line), "remove one");
            continue;
        }
        if let Some(property) = property(&name, &value, directory) {
            properties.push((name, property));
        }
    }
}

fn refused(name: &str, value: &Value<'_>) -> bool {
    if let Some((_, fix)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        value.refuse(format!("{name} may not be set"), *fix);
        return true;
    }
    if name.starts_with("sasl.oauthbearer.") || name == "enable.sasl.oauthbearer.unsecure.jwt" {
        value.refuse("this build has no OAUTHBEARER", WHAT_WORKS);
        return true;
    }
    if name.starts_with("sasl.kerberos.") {
        value.refuse("this build has no GSSAPI (Kerberos)", WHAT_WORKS);
        return true;
    }
    false
}

fn property(name: &str, value: &Value<'_>, directory: &Path) -> Option<Property> {
    let form = if is_pem(name) { Form::Pem } else { Form::Key };
    let text = match value.tree() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(_) => value.integer(&(i64::MIN..=i64::MAX))?.to_string(),
        DeValue::Float(number) => number.as_str().replace('_', ""),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Table(_) => {
            return reference(value, Scope { directory, below: None }, form).map(Property::Secret);
        }
        DeValue::Array(_) | DeValue::Datetime(_) => {
            value.refuse("a property is text, a number, a boolean, or a reference to a secret", "write a string");
            return None;
        }
    };
    if matches!(name, "sasl.mechanism" | "sasl.mechanisms") && !MECHANISMS.contains(&text.as_str()) {
        value.refuse(format!("this build has no SASL mechanism \"{text}\""), WHAT_WORKS);
    }
    if name.contains("pass") || name.contains("secret") || name == "ssl.key.pem" {
        value.warn("a secret stands in the configuration itself", "write { file = \"path\" } or { env = \"NAME\" }");
        return Some(Property::Secret(SecretRef::Value(SecretString::from(text))));
    }
    // `probe` is librdkafka's word for looking in the usual places.
    if name.starts_with("ssl.") && name.ends_with(".location") && text != "probe" {
        return Some(Property::Plain(normal(&directory.join(text)).display().to_string()));
    }
    Some(Property::Plain(text))
}

/// librdkafka's default mechanism is GSSAPI, which the build has not: without this check it would fail at the start.
fn check_sasl(value: &Value<'_>, properties: &[(String, Property)]) {
    let sasl = properties.iter().any(|(name, value)| {
        name == "security.protocol"
            && matches!(value, Property::Plain(text) if text.to_ascii_lowercase().starts_with("sasl_"))
    });
    let chosen = properties.iter().any(|(name, _)| matches!(name.as_str(), "sasl.mechanism" | "sasl.mechanisms"));
    if sasl && !chosen {
        value.refuse("security.protocol asks for SASL, and sasl.mechanism is missing", WHAT_WORKS);
    }
}
