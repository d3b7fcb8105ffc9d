//! A replica sends only while its membership in the group is proven; a group in which nothing changes must prove it
//! again and again, by its commits.

use std::thread;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
};

use crate::support::config::{Account, ConfigText, accounts, tenants};
use crate::support::events::Events;
use crate::support::kafka::Kafka;
use crate::support::stage::Stage;
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

#[test]
fn without_proof_of_membership_no_new_request_begins() {
    let kafka = Kafka::own();
    let stage = Stage::with(&kafka, "unproven", 1, &[Account::iterable("t00"), Account::moengage("t00")]);
    // They are to go again after 12 s: membership is not proven from 10 s on, and the partitions are lost after 15 s.
    stage
        .vendors
        .set_faults("[[fault]]\nkind = \"status\"\nstatus = 503\nbody = \"later\"\nheaders = { retry-after = \"12\" }");
    let events: Vec<_> = Events::new(2, &tenants(1)).take(60).collect();
    let setup = stage.config.setup();
    setup.write(
        "config.toml",
        stage.config.text().replace("session.timeout.ms\" = \"6000", "session.timeout.ms\" = \"15000"),
    );
    let mut forebay = setup.start();
    forebay.wait_ready(JOIN);
    stage.produce(&events);
    let requests =
        || stage.config.accounts().iter().map(|a| stage.vendors.report().account(&a.name).map(|it| it.requests));
    eventually(JOIN, "both vendors were asked", || {
        if requests().all(|count| count > Some(0)) {
            Ok(())
        } else {
            Err(format!("{:?}", requests().collect::<Vec<_>>()))
        }
    });
    kafka.stop();
    forebay.wait_for_log("membership in the group is not proven", JOIN);
    stage.vendors.set_faults("");
    let before: Vec<_> = requests().collect();
    thread::sleep(Duration::from_secs(5));
    assert_eq!(requests().collect::<Vec<_>>(), before, "nothing is sent that another member may be sending");
    assert!(stage.vendors.accepted().is_empty());
    kafka.start();
    stage.wait_for_all(&events);
    assert!(forebay.log().contains("membership in the group is proven again"));
}

#[test]
fn a_member_that_learns_late_where_to_begin_sends_nothing_before_the_group_has_heard_of_it_again() {
    let cluster = MockCluster::new(1).unwrap();
    let topic = unique("late");
    cluster.create_topic(&topic, 1, 1).unwrap();
    let accounts = [Account::iterable("t00")];
    let vendors = Vendors::start(&accounts);
    let config = ConfigText::new(Kafka::shared(), &topic, &vendors.url(), &accounts);
    let setup = config.setup();
    setup.write("config.toml", config.text().replace(Kafka::shared().bootstrap(), &cluster.bootstrap_servers()));
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    for event in Events::new(3, &tenants(1)).take(60) {
        let headers = OwnedHeaders::new().insert(Header { key: "tenant", value: Some(&event.tenant) });
        producer.send(BaseRecord::<str, str>::to(&topic).payload(&event.json).headers(headers)).unwrap();
    }
    producer.flush(JOIN).unwrap();
    // Nobody says where to begin, for longer than a proof holds; and then the group does not answer commits.
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &[refused; 1_000]);
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[refused; 1_000]);
    let mut forebay = setup.start();
    forebay.wait_for_log("\"assigned\"", JOIN);
    thread::sleep(SESSION);
    cluster.clear_request_errors(RDKafkaApiKey::ListOffsets);
    forebay.wait_for_log("first join of the group", JOIN);
    thread::sleep(SOON);
    let requests = || vendors.report().account(&accounts[0].name).map_or(0, |report| report.requests);
    assert_eq!(requests(), 0, "another member may have the partition by now");
    cluster.clear_request_errors(RDKafkaApiKey::OffsetCommit);
    eventually(SESSION, "it sends", || match requests() {
        0 => Err(forebay.log()),
        _ => Ok(()),
    });
}
