//! The main job: events of many tenants reach both vendors, once, over real sockets; dead letters and skips where
//! they belong; the books balance.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay::sandbox::Tls;

use crate::support::config::{ConfigText, accounts, tenants};
use crate::support::events::{Event, Events};
use crate::support::kafka::{Compression, Kafka};
use crate::support::tls::Certificates;
use crate::support::vendors::Vendors;
use crate::support::{eventually, unique};

/// Long enough for a first join on a busy machine.
pub(crate) const JOIN: Duration = Duration::from_secs(30);
pub(crate) const WORK: Duration = Duration::from_mins(1);

/// Each account has each message of its tenant exactly once.
pub(crate) fn assert_each_once(vendors: &Vendors, config: &ConfigText, events: &[Event]) {
    for account in config.accounts() {
        let ids = vendors.ids(&account.name);
        for event in events.iter().filter(|event| event.tenant == account.tenant) {
            assert_eq!(ids.get(&event.message_id), Some(&1), "{} in {}", event.message_id, account.name);
        }
    }
}

/// Waits until each account has each message of its tenant, however often.
pub(crate) fn wait_for_all(vendors: &Vendors, config: &ConfigText, events: &[Event]) {
    eventually(WORK, "every message arrives", || {
        let missing: BTreeMap<_, _> = config
            .accounts()
            .iter()
            .map(|account| {
                let ids = vendors.ids(&account.name);
                let wanted = events.iter().filter(|event| event.tenant == account.tenant);
                (account.name.clone(), wanted.filter(|event| !ids.contains_key(&event.message_id)).count())
            })
            .filter(|(_, count)| *count > 0)
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("missing by account: {missing:?}")) }
    });
}

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
    let setup = config.setup();
    let mut forebay = setup.start();
    forebay.wait_ready(JOIN);
    kafka.wait_committed_to_end(&config.group(), &topic, WORK);
    assert_each_once(&vendors, &config, &events);

    let labels: &[(&str, &str)] = &[("topic", &topic)];
    assert_eq!(forebay.metric("forebay_events_received_total", labels), Some(4_000.0));
    assert_eq!(forebay.metric("forebay_events_settled_total", labels), Some(4_000.0));
    assert_eq!(forebay.metric("forebay_events_in_flight", labels), Some(0.0));
    assert_eq!(forebay.metric("forebay_calls_owed_total", &[]), Some(8_000.0));
    assert_eq!(forebay.metric("forebay_calls_delivered_total", &[]), Some(8_000.0));
    assert_eq!(forebay.metric("forebay_books_imbalance_total", &[]), Some(0.0));
    forebay.sigterm();
    assert_eq!(forebay.wait(JOIN), Some(0));
}
