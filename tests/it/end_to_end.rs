//! The main job: events of many tenants reach both vendors, once, over real sockets; dead letters and skips where
//! they belong; the books balance.

use std::collections::BTreeMap;

use forebay::sandbox::Tls;

use crate::support::config::{ConfigText, accounts, tenants};
use crate::support::events::{Event, Events};
use crate::support::kafka::{Compression, Kafka, Message};
use crate::support::stage::{JOIN, Stage, WORK, assert_books};
use crate::support::tls::Certificates;
use crate::support::unique;
use crate::support::vendors::Vendors;

#[test]
fn every_event_reaches_each_account_of_its_tenant_once_over_tls_and_the_books_balance() {
    let kafka = Kafka::shared();
    let topic = unique("end-to-end");
    kafka.create_topic(&topic, 4, &[]);
    let tenants = tenants(8);
    let accounts = accounts(&tenants);
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::write(directory.path());
    let tls = Tls::from_files(&certificates.certificate, &certificates.key).unwrap();
    let vendors = Vendors::start_with(&accounts, "", Some(tls));
    let events: Vec<Event> = Events::new(1, &tenants).take(4_000).collect();
    kafka.produce_with(&topic, Compression::Lz4, events.iter().map(Event::message));

    let delivery = format!("[delivery]\nca_file = \"{}\"\n", certificates.ca.display());
    let config = ConfigText::new(kafka, &topic, &vendors.url(), &accounts).section(&delivery);
    let stage = Stage { kafka, topic, vendors, config, patience: WORK };
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    stage.wait_settled();
    stage.assert_each_once(&events);

    let labels: &[(&str, &str)] = &[("topic", &stage.topic)];
    assert_eq!(forebay.metric("forebay_events_received_total", labels), Some(4_000.0));
    assert_eq!(forebay.metric("forebay_events_settled_total", labels), Some(4_000.0));
    assert_eq!(forebay.metric("forebay_events_in_flight", labels), Some(0.0));
    assert_eq!(forebay.metric("forebay_calls_owed_total", &[]), Some(8_000.0));
    assert_eq!(forebay.metric("forebay_calls_delivered_total", &[]), Some(8_000.0));
    assert_books(&mut forebay);
    forebay.sigterm();
    assert_eq!(forebay.wait(JOIN), Some(0));
}

/// What the sandbox accepted, by account and endpoint.
fn endpoints(stage: &Stage<'_>) -> BTreeMap<(String, &'static str), usize> {
    let mut counts = BTreeMap::new();
    for accepted in stage.vendors.accepted() {
        *counts.entry((accepted.account.to_string(), accepted.endpoint)).or_default() += 1;
    }
    counts
}

#[test]
fn orders_carts_pages_and_groups_reach_the_endpoints_that_are_made_for_them() {
    let mut accounts = accounts(&tenants(1));
    for account in &mut accounts {
        "accept = [\"identify\", \"track\", \"page\", \"group\"]".clone_into(&mut account.settings);
    }
    let stage = Stage::of("shapes", &accounts);
    let product = r#"{"product_id":"p-1","name":"Shoe","price":"79.9","quantity":2,"category":"shoes"}"#;
    let messages = [
        r#"{"type":"identify","userId":"user-1","messageId":"m-0","traits":{"email":"u1@example.com"}}"#.to_owned(),
        format!(
            r#"{{"type":"track","event":"Cart Updated","userId":"user-1","messageId":"m-1","properties":{{"products":[{product}]}}}}"#
        ),
        format!(
            r#"{{"type":"track","event":"order completed","userId":"user-1","messageId":"m-2","properties":{{"total":159.8,"products":[{product}]}}}}"#
        ),
        r#"{"type":"page","name":"Home","userId":"user-1","messageId":"m-3","properties":{"path":"/"}}"#.to_owned(),
        r#"{"type":"group","groupId":"g-1","userId":"user-1","messageId":"m-4","traits":{"name":"Initech"}}"#
            .to_owned(),
        r#"{"type":"alias","previousId":"user-0","userId":"user-1","messageId":"m-5"}"#.to_owned(),
    ];
    stage.kafka.produce(&stage.topic, messages.map(|json| Message::new(json).header("tenant", "t00")));
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    let expected = [
        ("t00-iterable", "commerce/trackPurchase", 1),
        ("t00-iterable", "commerce/updateCart", 1),
        ("t00-iterable", "events/trackBulk", 1),
        ("t00-iterable", "users/bulkUpdate", 2),
        ("t00-moengage", "transition", 5),
    ];
    let expected = expected.map(|(account, endpoint, count)| ((account.to_owned(), endpoint), count));
    assert_eq!(endpoints(&stage), expected.into());
    assert_eq!(stage.letters(), []);
    assert_books(&mut forebay);
}
