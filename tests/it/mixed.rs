//! Messages of all types and raw elements of all shapes, good and bad, through Apache Kafka into the strict sandbox: no body
//! is refused for its form, every refusal and everything that is skipped is what `explain` says, and what the vendors
//! accepted is what `explain` says, by message id. Each endpoint takes something, and each rule refuses something.
//!
//! A few thousand in `cargo test`; `just mixed` runs 200,000.

mod messages;
mod scene;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use forebay::clock::Clock;
use forebay::config;
use forebay::event::Origin;
use forebay::explain::Explainer;
use forebay::source::record::{Headers, Record as Taken, kept};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value};

use crate::support::kafka::{Kafka, Record};
use crate::support::process::{Forebay, Setup};
use crate::support::stage::{JOIN, Stage, assert_books};

const PARTITIONS: i32 = 8;
const PATIENCE: Duration = Duration::from_mins(15);

/// What takes something in each run: all endpoints of both vendors that data can be sent to.
const ENDPOINTS: [&str; 15] = [
    "alerts/send",
    "business_event/trigger",
    "catalog/items",
    "catalogs/items",
    "commerce/trackPurchase",
    "commerce/updateCart",
    "customer/merge",
    "events/track",
    "events/trackBulk",
    "transition",
    "users/bulkUpdate",
    "users/registerBrowserToken",
    "users/registerDeviceToken",
    "users/update",
    "users/updateEmail",
];

/// What something is refused for in each run: all that is known before sending, but for what needs other settings.
const REASONS: [&str; 21] = [
    "anonymous",
    "future_time",
    "invalid_email",
    "invalid_field",
    "invalid_user_id",
    "list_too_long",
    "malformed",
    "name_too_long",
    "no_catalog",
    "no_event_name",
    "no_recipient",
    "no_tenant",
    "no_user",
    "raw_not_allowed",
    "raw_with_rules",
    "reserved_name",
    "too_large",
    "too_many_fields",
    "unknown_tenant",
    "unknown_type",
    "value_too_long",
];

/// And what something is skipped for.
const SKIPS: [&str; 6] = ["anonymous", "consent", "integrations", "not_accepted", "not_selected", "too_old"];

/// What is told apart: the account, where it was sent, and the message; with how often.
type Elements = BTreeMap<(String, String, String), Vec<Value>>;

#[test]
fn some_thousand_messages_of_all_types_end_as_explain_says() {
    run(4_000);
}

#[test]
#[ignore = "200,000 messages: run by `just mixed`"]
fn two_hundred_thousand_messages_of_all_types_end_as_explain_says() {
    run(std::env::var("FOREBAY_MIXED_EVENTS").ok().and_then(|count| count.parse().ok()).unwrap_or(200_000));
}

fn run(count: usize) {
    let accounts = scene::scene();
    let stage = Stage::with(Kafka::shared(), "mixed", PARTITIONS, &accounts);
    let mut rng = StdRng::seed_from_u64(23);
    stage.kafka.produce(&stage.topic, (0..count).map(|index| messages::record(&mut rng, index)));
    let setup = stage.config.setup();
    let began = Instant::now();
    let mut forebay = setup.start();
    forebay.wait_ready(JOIN);
    stage.kafka.wait_committed_to_end(&stage.config.group(), &stage.topic, PATIENCE);
    let took = began.elapsed();

    let records = stage.kafka.consume_all(&stage.topic);
    assert_eq!(records.len(), count);
    let expected = explained(&setup, &stage.topic, &records);
    compare(&accepted(&stage), &expected.elements);
    let letters = letters(&stage);
    assert!(letters.keys().eq(expected.letters.keys()), "{:?}", difference(&letters, &expected.letters));
    assert_eq!(letters, expected.letters);
    assert_eq!(skipped(&mut forebay), expected.skipped);
    let report = stage.vendors.report();
    for account in report.accounts.values() {
        let unwanted = (account.refused_count(), account.failed_count(), account.dropped_count());
        assert_eq!((unwanted, account.duplicates_by_id), ((0, 0, 0), 0), "{account:?}");
    }
    let trimmed: u64 = report.accounts.values().map(|account| account.trimmed_by_vendor).sum();
    assert_eq!(trimmed, expected.trimmed(), "only long texts are cut, and each of them is");
    assert!(trimmed > 0);
    assert_books(&mut forebay);
    tell(count, took, &expected);
}

/// Says what there was, and that nothing is missing which should be there.
fn tell(count: usize, took: Duration, expected: &Expected) {
    let (mut shapes, mut reasons, mut skips) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for ((_, shape, _), elements) in &expected.elements {
        *shapes.entry(shape.as_str()).or_insert(0) += elements.len();
    }
    for ((_, reason), letters) in &expected.letters {
        *reasons.entry(reason.as_str()).or_insert(0) += letters;
    }
    for ((_, reason), calls) in &expected.skipped {
        *skips.entry(reason.as_str()).or_insert(0) += usize::try_from(*calls).unwrap_or(usize::MAX);
    }
    println!("{count} records in {:.1} s; texts that MoEngage cuts: {}", took.as_secs_f64(), expected.trimmed());
    for (what, found) in [("accepted", &shapes), ("dead letters", &reasons), ("skipped", &skips)] {
        println!("{what}: {}", found.values().sum::<usize>());
        for (name, count) in found {
            println!("{count:>9} {name}");
        }
    }
    let has = |found: &BTreeMap<&str, usize>, names: &[&str]| -> Vec<String> {
        names.iter().filter(|name| !found.contains_key(*name)).map(|name| (*name).to_owned()).collect()
    };
    let missing = [has(&shapes, &ENDPOINTS), has(&reasons, &REASONS), has(&skips, &SKIPS)].concat();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

/// The dead letters, by where they come from and why.
fn letters(stage: &Stage<'_>) -> BTreeMap<Letter, usize> {
    let mut letters = BTreeMap::new();
    for letter in stage.letters() {
        let header = |name: &str| letter.header(name).unwrap_or_default().to_owned();
        let key = (header("forebay-partition"), header("forebay-offset"), header("forebay-account"));
        *letters.entry((key, header("forebay-reason"))).or_insert(0) += 1;
    }
    letters
}

/// What was skipped, by account and reason, as the metrics have it.
fn skipped(forebay: &mut Forebay) -> BTreeMap<(String, String), u64> {
    let mut skipped = BTreeMap::new();
    for sample in forebay.metrics().iter().filter(|sample| sample.name == "forebay_calls_skipped_total") {
        let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let count = sample.value as u64;
        if count > 0 {
            *skipped.entry((label("account"), label("reason"))).or_insert(0) += count;
        }
    }
    skipped
}

/// What only one of two has, the first few.
fn difference<K: Ord + Clone, V>(one: &BTreeMap<K, V>, other: &BTreeMap<K, V>) -> Vec<(&'static str, K)> {
    let only = |a: &BTreeMap<K, V>, b: &BTreeMap<K, V>, word| {
        a.keys().filter(|key| !b.contains_key(key)).take(5).map(|key| (word, key.clone())).collect::<Vec<_>>()
    };
    [only(one, other, "found alone"), only(other, one, "expected alone")].concat()
}

/// A dead letter: partition, offset and account; reason.
type Letter = ((String, String, String), String);

/// What `explain` says of all records.
#[derive(Default)]
struct Expected {
    elements: Elements,
    letters: BTreeMap<Letter, usize>,
    /// By account and reason.
    skipped: BTreeMap<(String, String), u64>,
}

impl Expected {
    fn refuse(&mut self, record: &Record, account: &str, reason: &str) {
        let key = (record.partition.to_string(), record.offset.to_string(), account.to_owned());
        *self.letters.entry((key, reason.to_owned())).or_insert(0) += 1;
    }

    /// How many elements of bulk requests have a text that the vendor cuts.
    fn trimmed(&self) -> u64 {
        let long = "x".repeat(messages::LONG);
        let of_bulk = self.elements.iter().filter(|((_, shape, _), _)| shape == "transition");
        of_bulk.flat_map(|(_, elements)| elements).filter(|element| element.to_string().contains(&long)).count() as u64
    }
}

fn explained(setup: &Setup, topic: &str, records: &[Record]) -> Expected {
    let config = config::load(&setup.path("config.toml")).expect("the configuration that was run").config;
    let now = Clock::default().now();
    let explainer = Explainer::new(&config, now);
    let mut expected = Expected::default();
    for record in records {
        let headers =
            kept(record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default())));
        let (offset, timestamp_ms) = (record.offset, record.timestamp);
        let taken = Taken {
            slot: 0,
            offset,
            timestamp_ms,
            key: None,
            value: record.value.as_deref(),
            headers: Headers::of(&headers),
        };
        let origin = Origin { topic, partition: record.partition, offset, timestamp_ms };
        let explanation = explainer.explain(&taken, origin, None, now);
        if let Some(end) = explanation.end.as_ref().filter(|end| end.outcome == "refused") {
            expected.refuse(record, "", end.reason);
        }
        for account in explanation.accounts {
            let name = &account.account;
            for end in account.end.iter().chain(account.calls.iter().filter_map(|call| call.end.as_ref())) {
                assert!(!end.why.is_empty(), "{name}: {}", end.reason);
                if end.outcome == "refused" {
                    expected.refuse(record, name, end.reason);
                } else {
                    *expected.skipped.entry((name.clone(), end.reason.to_owned())).or_insert(0) += 1;
                }
            }
            for call in account.calls.iter().filter(|call| call.end.is_none()) {
                elements(&call.element).for_each(|part| put(&mut expected.elements, name, endpoint(call.shape), part));
            }
        }
    }
    expected
}

/// The elements of a call; items of a catalogue are fields, and become an object each.
fn elements(text: &str) -> impl Iterator<Item = Value> {
    let list = if text.starts_with('"') { format!("[{{{text}}}]") } else { format!("[{text}]") };
    serde_json::from_str::<Vec<Value>>(&list).expect(text).into_iter()
}

/// What the sandbox calls where calls of this shape go.
fn endpoint(shape: &str) -> &str {
    match shape {
        "merge" => "customer/merge",
        "business-event" => "business_event/trigger",
        "inform" => "alerts/send",
        "catalog" => "catalog/items",
        same => same,
    }
}

fn accepted(stage: &Stage<'_>) -> Elements {
    let mut elements = Elements::new();
    for accepted in stage.vendors.accepted() {
        match accepted.element.get("documents").and_then(Value::as_object) {
            Some(documents) => {
                for (id, item) in documents.clone() {
                    let item = Map::from_iter([(id, item)]).into();
                    put(&mut elements, &accepted.account, accepted.endpoint, item);
                }
            }
            None => put(&mut elements, &accepted.account, accepted.endpoint, accepted.element),
        }
    }
    elements
}

/// By what names the record that the element comes from, and the type where one record makes several of a shape: a copy of
/// the message's id, or what a message has that no other has.
fn put(elements: &mut Elements, account: &str, shape: &str, element: Value) {
    let places = [
        "/actions/0/attributes/message_id",
        "/attributes/message_id",
        "/dataFields/message_id",
        "/event_attributes/message_id",
        "/items/0/dataFields/message_id",
        "/device/dataFields/message_id",
        "/attributes/push_id",
        "/browserToken",
        "/id",
        "/transaction_id",
        "/merged_user",
        "/currentEmail",
        "/dataFields/email",
    ];
    let id = places.iter().find_map(|place| element.pointer(place)?.as_str()).map(str::to_owned);
    // An item of a catalogue is an object with one field.
    let item = || element.as_object().filter(|fields| fields.len() == 1)?.keys().next().cloned();
    let id = id.or_else(item).unwrap_or_else(|| panic!("{shape}: nothing names the record of {element}"));
    let kind = element["type"].as_str().unwrap_or_default();
    elements.entry((account.to_owned(), shape.to_owned(), format!("{kind} {id}"))).or_default().push(element);
}

/// Each record's elements, one by one: never several under one name.
fn compare(found: &Elements, expected: &Elements) {
    let missing = || expected.iter().filter(|(key, _)| !found.contains_key(key)).take(12).collect::<Vec<_>>();
    assert!(found.keys().eq(expected.keys()), "{:?}\nnot accepted: {:?}", difference(found, expected), missing());
    for (key, expected) in expected {
        assert_eq!(expected.len(), 1, "{key:?}: not told apart: {expected:?}");
        assert_eq!(&found[key], expected, "{key:?}");
    }
}
