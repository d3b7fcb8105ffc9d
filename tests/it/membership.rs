//! A replica sends only while its membership in the group is proven; a group in which nothing changes must prove it
//! again and again, by its commits.

use std::thread;
use std::time::Duration;

use crate::support::config::{ConfigText, accounts, tenants};
use crate::support::events::Events;
use crate::support::kafka::Kafka;
use crate::support::vendors::Vendors;
use crate::support::{eventually, unique};

/// What the harness sets, `session.timeout.ms`; requests end after two thirds of it without a proof.
const SESSION: Duration = Duration::from_secs(6);
const SOON: Duration = Duration::from_secs(2);
const JOIN: Duration = Duration::from_mins(1);

#[test]
fn a_quiet_group_goes_on_sending_beyond_its_session_time_out() {
    let kafka = Kafka::shared();
    let topic = unique("membership");
    kafka.create_topic(&topic, 1, &[]);
    let tenants = tenants(1);
    let accounts = accounts(&tenants);
    let vendors = Vendors::start(&accounts);
    let config = ConfigText::new(kafka, &topic, &vendors.url(), &accounts);
    let setup = config.setup();
    let mut forebay = setup.start();
    forebay.wait_ready(JOIN);

    let (step, mut patience) = (Duration::from_millis(500), JOIN);
    let steps = 2 * SESSION.as_millis() / step.as_millis();
    for event in Events::new(1, &tenants).take(usize::try_from(steps).unwrap()) {
        kafka.produce(&topic, [event.message()]);
        eventually(patience, "the event arrives", || {
            let there = vendors.ids(&accounts[0].name).contains_key(&event.message_id);
            if there { Ok(()) } else { Err(format!("not {}", event.message_id)) }
        });
        patience = SESSION + SOON;
        thread::sleep(step);
    }
    assert!(!forebay.log().contains("not proven"), "membership was proven all the time");
}
