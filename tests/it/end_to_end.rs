//! The main job: events of many tenants reach both vendors, once, over real sockets; dead letters and skips where
//! they belong; the books balance.

use forebay::sandbox::Tls;

use crate::support::config::{ConfigText, accounts, tenants};
use crate::support::events::{Event, Events};
use crate::support::kafka::{Compression, Kafka};
use crate::support::stage::{JOIN, Stage, assert_books};
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
    let stage = Stage { kafka, topic, vendors, config };
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
