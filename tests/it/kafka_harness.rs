//! The harness does what the other tests believe of it.

use std::time::Duration;

use crate::support::kafka::{Committed, Compression, Kafka, Message, Record, console_line};
use crate::support::unique;

fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|r| str::from_utf8(r.value.as_deref().unwrap_or_default()).unwrap_or_default()).collect()
}

#[test]
fn records_come_back_as_they_were_produced() {
    let kafka = Kafka::shared();
    let topic = unique("round-trip");
    kafka.create_topic(&topic, 2, &[("retention.ms", "-1")]);
    let first = Message::new("one").key("k").header("tenant", "acme").header("tenant", "b").partition(1).timestamp(5);
    let mut second = Message::tombstone().partition(1);
    second.headers.push(("empty".to_owned(), None));
    let third = Message::new("").partition(0);
    assert_eq!(kafka.produce(&topic, [first.clone(), second.clone(), third.clone()]), 3);

    let records = kafka.consume_all(&topic);
    let back = |record: &Record| Message {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        partition: Some(record.partition),
        timestamp: None,
    };
    let without_time = |message: Message| Message { timestamp: None, ..message };
    assert_eq!(records.iter().map(back).collect::<Vec<_>>(), [third, without_time(first), without_time(second)]);
    assert_eq!(records[1].timestamp, Some(5));
    assert_eq!(records[1].header("tenant"), Some("acme"));
    assert_eq!(kafka.end_offsets(&topic).into_iter().collect::<Vec<_>>(), [(0, 1), (1, 2)]);
    assert!(kafka.committed("nobody", &topic).is_empty());
    kafka.delete_topic(&topic);
}

#[test]
fn all_codecs_are_read_back() {
    let kafka = Kafka::shared();
    let topic = unique("codecs");
    kafka.create_topic(&topic, 1, &[]);
    for codec in Compression::ALL {
        kafka.produce_with(&topic, codec, (0..1000).map(|n| Message::new(format!("{} {n}", codec.name()))));
    }
    assert_eq!(kafka.consume_all(&topic).len(), 5000);
}

#[test]
fn the_console_producer_writes_headers_and_keys() {
    let kafka = Kafka::shared();
    let topic = unique("console");
    kafka.create_topic(&topic, 1, &[]);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let value = r#"{"type":"track","event":"a: b, c"}"#;
    std::fs::write(&file, console_line(&[("tenant", "acme"), ("x", "y")], "user-1", value)).expect("a file");
    kafka.console_producer(&topic, Compression::Lz4, file.path());

    let records = kafka.consume_all(&topic);
    assert_eq!(texts(&records), [value]);
    assert_eq!(records[0].header("tenant"), Some("acme"));
    assert_eq!(records[0].header("x"), Some("y"));
    assert_eq!(records[0].key.as_deref(), Some(&b"user-1"[..]));
}

#[test]
fn a_broker_of_ones_own_keeps_its_data_over_sigkill() {
    let kafka = Kafka::own_stopped();
    assert!(std::net::TcpStream::connect(kafka.bootstrap()).is_err(), "nobody listens before the start");
    kafka.start();
    kafka.create_topic("events", 1, &[]);
    kafka.produce("events", [Message::new("one"), Message::new("two")]);
    kafka.stop();
    assert!(std::net::TcpStream::connect(kafka.bootstrap()).is_err(), "nobody listens after the stop");
    kafka.start();
    kafka.produce("events", [Message::new("three")]);
    assert_eq!(texts(&kafka.consume_all("events")), ["one", "two", "three"]);
}

#[test]
fn commits_are_seen_with_their_metadata() {
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::{Offset, TopicPartitionList};

    let kafka = Kafka::shared();
    let (topic, group) = (unique("commits"), unique("group"));
    kafka.create_topic(&topic, 2, &[]);
    kafka.produce(&topic, [Message::new("one").partition(1)]);
    let consumer: BaseConsumer = kafka.client().set("group.id", &group).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition(&topic, 1);
    element.set_offset(Offset::Offset(1)).expect("an offset");
    element.set_metadata("1;x");
    consumer.commit(&list, CommitMode::Sync).expect("a commit");

    kafka.wait_committed_to_end(&group, &topic, Duration::from_secs(10));
    let committed = kafka.committed(&group, &topic);
    assert_eq!(committed, [(1, Committed { offset: 1, metadata: "1;x".to_owned() })].into());
}
