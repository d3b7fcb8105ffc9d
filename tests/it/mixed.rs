//! Messages of all types, good and bad, through Apache Kafka into the strict sandbox: no body is refused for its form,
//! every refusal is one that `explain` names, and what the vendors accepted is what `explain` says, by message id.
//!
//! A few thousand in `cargo test`; `just mixed` runs 200,000.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay::clock::Clock;
use forebay::config;
use forebay::event::Origin;
use forebay::explain::Explainer;
use forebay::source::record::Record as Taken;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::config::{Account, accounts, tenants};
use crate::support::kafka::{Kafka, Message, Record};
use crate::support::process::Setup;
use crate::support::stage::{JOIN, Stage, assert_books};

const TENANTS: usize = 6;
const PARTITIONS: i32 = 8;
const PATIENCE: Duration = Duration::from_mins(15);

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

/// Accounts of both vendors whose settings differ as far as they can, and whose limits do not bind.
fn scene() -> Vec<Account> {
    let all = r#"accept = ["identify", "track", "page", "screen", "alias", "group"]"#;
    let moengage = [
        "",
        "nested = \"flatten\"",
        "anonymous = \"use\"",
        "anonymous = \"skip\"\nskip_events = [\"Video *\"]",
        "fields.drop = [\"properties.note\"]\nfields.sha256 = [\"traits.plan\"]",
        "max_age = \"7d\"",
    ];
    let iterable = [
        ("", ""),
        ("", "identity = \"email\"\ncart = \"rudder\""),
        ("anonymous = \"use\"", "identity = \"user_id\"\ndates = \"keep\""),
        ("nested = \"flatten\"", "single_event = true"),
        ("", "pages = [\"named\"]\nprefer_user_id = false"),
        ("only_events = [\"Order *\", \"Cart *\"]", "delivery = \"single\"\ncreate_new_fields = true"),
    ];
    let mut accounts = accounts(&tenants(TENANTS));
    for (index, account) in accounts.iter_mut().enumerate() {
        let tenant = index / 2;
        if index % 2 == 0 {
            account.settings = format!(
                "{all}\nlimits.users_per_minute = 100000000\nlimits.events_per_minute = 100000000\n{}",
                moengage[tenant]
            );
            "users_per_minute = 0\nevents_per_minute = 0\nfair_usage = false".clone_into(&mut account.sandbox);
        } else {
            let (settings, details) = iterable[tenant];
            account.settings = format!(
                "{all}\nlimits.requests_per_second = {{ events = 100000, users = 100000, commerce = 100000 }}\n{settings}"
            );
            details.clone_into(&mut account.details);
            "requests_per_second = { \"events/trackBulk\" = 0, \"users/bulkUpdate\" = 0, \"events/track\" = 0, \"users/update\" = 0, \"commerce/trackPurchase\" = 0, \"commerce/updateCart\" = 0 }"
                .clone_into(&mut account.sandbox);
        }
    }
    accounts
}

/// A message of any type; a tenth of them is wrong in one way or another.
fn message(rng: &mut StdRng, index: usize) -> Message {
    let tenant = format!("t{:02}", rng.random_range(0..TENANTS));
    let id = format!("m-{index}");
    let user = format!("{tenant}-u{}", rng.random_range(0..500));
    let hour = rng.random_range(1..24);
    let day =
        if rng.random_bool(0.05) { jiff::SignedDuration::from_hours(24 * 20) } else { jiff::SignedDuration::ZERO };
    let time = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hour) - day;
    let mut message = json!({ "messageId": id, "userId": user, "timestamp": format!("{time:.3}") });
    let product = json!({ "product_id": "p-1", "name": "Shoe", "price": 79.9, "quantity": 2, "category": "shoes" });
    let note = ["plain", "\u{0}", "\"}]}", "\\", "\u{1F680}", "a\nb"][rng.random_range(0..6)];
    let traits =
        json!({ "message_id": id, "plan": "pro", "nested": { "a": [1, { "b": note }] }, "phone": "+361234567" });
    let properties = json!({ "message_id": id, "note": note, "at": "2026-03-24T17:46:45Z", "price": 12.5, "tags": ["a", "b"], "deep": { "x": { "y": index } } });
    let with_products = json!({ "message_id": id, "total": 159.8, "products": [product] });
    let extra = match rng.random_range(0..12) {
        0 | 1 => json!({ "type": "identify", "traits": traits }),
        2 => json!({ "type": "page", "name": (["Home", " ", "Pricing"][index % 3]), "properties": properties }),
        3 => json!({ "type": "screen", "name": "Main", "category": "App", "properties": properties }),
        4 => {
            json!({ "type": "group", "groupId": "g-1", "traits": { "message_id": id, "name": "Initech", "plan": "team" } })
        }
        5 => json!({ "type": "alias", "previousId": "anonymous-1" }),
        6 => json!({ "type": "track", "event": "Order Completed", "properties": with_products }),
        7 => json!({ "type": "track", "event": "Cart Updated", "properties": with_products }),
        8 => json!({ "type": "track", "event": "Product Added", "properties": with_products }),
        _ => {
            json!({ "type": "track", "event": (["Video Content Playing", "Order Refunded", "Deep Link Opened"][index % 3]), "properties": properties })
        }
    };
    merge(&mut message, extra);
    if rng.random_bool(0.3) {
        merge(
            &mut message,
            json!({ "context": { "timezone": "Europe/Budapest", "app": { "version": "1.2" }, "device": { "id": "d", "type": "ios", "token": format!("token-{user}") } } }),
        );
    }
    if rng.random_bool(0.5) {
        message["context"]["traits"] = json!({ "email": format!("{user}@example.com") });
    }
    let text = if rng.random_bool(0.1) { spoilt(rng, message) } else { message.to_string() };
    let tenant = if rng.random_bool(0.002) { "nobody".to_owned() } else { tenant };
    let headers = !rng.random_bool(0.002);
    let message = Message::new(text).key(user);
    if headers { message.header("tenant", tenant) } else { message }
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

/// The message with something wrong in it.
fn spoilt(rng: &mut StdRng, mut message: Value) -> String {
    match rng.random_range(0..14) {
        0 => message["userId"] = json!("unknown"),
        1 => message["userId"] = json!("x".repeat(60)),
        2 => message["userId"] = Value::Null,
        3 => merge(&mut message, json!({ "userId": null, "anonymousId": "a-1" })),
        4 => message["event"] = json!(" "),
        5 => message["event"] = json!("moe_reserved"),
        6 => message["timestamp"] = json!("2099-01-01T00:00:00Z"),
        7 => message["context"] = json!({ "traits": { "email": "not an address" } }),
        8 => message["properties"]["campaignId"] = json!("x7"),
        9 => message["properties"]["products"] = json!([{ "product_id": "p" }]),
        10 => message["type"] = json!("purchase"),
        11 => message["integrations"] = json!({ "All": false, "Iterable": true }),
        12 => message["properties"]["big"] = json!("x".repeat(110_000)),
        _ => {
            let text = message.to_string();
            return match rng.random_range(0..4) {
                0 => format!("{text}}}"),
                1 => text.replacen(':', ":\\ud800", 1),
                2 => text.replacen('{', "{\"n\":1e999,", 1),
                _ => text[..text.len() / 2].to_owned(),
            };
        }
    }
    message.to_string()
}

fn run(count: usize) {
    let accounts = scene();
    let stage = Stage::with(Kafka::shared(), "mixed", PARTITIONS, &accounts);
    let mut rng = StdRng::seed_from_u64(23);
    stage.kafka.produce(&stage.topic, (0..count).map(|index| message(&mut rng, index)));
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    forebay.wait_ready(JOIN);
    stage.kafka.wait_committed_to_end(&stage.config.group(), &stage.topic, PATIENCE);

    let records = stage.kafka.consume_all(&stage.topic);
    assert_eq!(records.len(), count);
    let (expected, refused) = explained(&setup, &stage.topic, &records);
    compare(&accepted(&stage), &expected);
    let mut letters = BTreeMap::new();
    for letter in stage.letters() {
        let header = |name: &str| letter.header(name).unwrap_or_default().to_owned();
        let key = (header("forebay-partition"), header("forebay-offset"), header("forebay-account"));
        *letters.entry((key, header("forebay-reason"))).or_insert(0) += 1;
    }
    assert!(letters.keys().eq(refused.keys()), "{:?}", difference(&letters, &refused));
    assert_eq!(letters, refused);
    let report = stage.vendors.report();
    for account in report.accounts.values() {
        assert_eq!(
            (account.refused_count(), account.failed_count(), account.dropped_count()),
            (0, 0, 0),
            "{account:?}"
        );
    }
    assert_books(&mut forebay);
    println!(
        "{count} messages, {} elements accepted, {} dead letters",
        expected.values().map(Vec::len).sum::<usize>(),
        refused.len()
    );
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

/// What `explain` says of all records: elements, and dead letters.
fn explained(setup: &Setup, topic: &str, records: &[Record]) -> (Elements, BTreeMap<Letter, usize>) {
    let config = config::load(&setup.path("config.toml")).expect("the configuration that was run").config;
    let now = Clock::default().now();
    let explainer = Explainer::new(&config, now);
    let (mut elements, mut letters) = (Elements::new(), BTreeMap::new());
    for record in records {
        let headers: Vec<(&str, &[u8])> =
            record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default())).collect();
        let (offset, timestamp_ms) = (record.offset, record.timestamp);
        let taken = Taken {
            slot: 0,
            offset,
            timestamp_ms,
            key: None,
            value: record.value.as_deref(),
            headers: &headers.as_slice(),
        };
        let origin = Origin { topic, partition: record.partition, offset, timestamp_ms };
        let explanation = explainer.explain(&taken, origin, None, now);
        let mut refuse = |account: &str, reason: &str| {
            let key = (record.partition.to_string(), offset.to_string(), account.to_owned());
            *letters.entry((key, reason.to_owned())).or_insert(0) += 1;
        };
        if let Some(end) = explanation.end.as_ref().filter(|end| end.outcome == "refused") {
            refuse("", end.reason);
        }
        for account in explanation.accounts {
            let ends = account.end.iter().chain(account.calls.iter().filter_map(|call| call.end.as_ref()));
            ends.filter(|end| end.outcome == "refused").for_each(|end| refuse(&account.account, end.reason));
            for call in account.calls.iter().filter(|call| call.end.is_none()) {
                let parts: Vec<Value> = serde_json::from_str(&format!("[{}]", call.element)).expect(&call.element);
                for part in parts {
                    put(&mut elements, &account.account, call.shape, part);
                }
            }
        }
    }
    (elements, letters)
}

fn accepted(stage: &Stage<'_>) -> Elements {
    let mut elements = Elements::new();
    for accepted in stage.vendors.accepted() {
        put(&mut elements, &accepted.account, accepted.endpoint, accepted.element);
    }
    elements
}

/// By the copy of the message's id that the element carries; devices carry none, and are told apart by their users.
fn put(elements: &mut Elements, account: &str, shape: &str, element: Value) {
    let places = [
        "/actions/0/attributes/message_id",
        "/attributes/message_id",
        "/dataFields/message_id",
        "/user/userId",
        "/user/email",
        "/customer_id",
        "/userId",
        "/email",
    ];
    let id = places.iter().find_map(|place| element.pointer(place)?.as_str()).unwrap_or_default().to_owned();
    elements.entry((account.to_owned(), shape.to_owned(), id)).or_default().push(element);
}

fn compare(found: &Elements, expected: &Elements) {
    assert!(found.keys().eq(expected.keys()), "{:?}", difference(found, expected));
    for (key, expected) in expected {
        let sorted = |elements: &[Value]| {
            let mut texts: Vec<String> = elements.iter().map(Value::to_string).collect();
            texts.sort();
            texts
        };
        assert_eq!(sorted(&found[key]), sorted(expected), "{key:?}");
    }
}
