//! The side run: 200,000 events, 503 for five seconds, one poison event, SIGKILL, restart. Exactly one dead letter, and
//! duplicates beside what was in flight at the kill. `just side-run` prints the figures.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::config::{Account, ConfigText, Vendor, tenants};
use crate::support::events::{Event, Events};
use crate::support::kafka::Kafka;
use crate::support::vendors::Vendors;
use crate::support::{eventually, unique};

const EVENTS: usize = 200_000;
/// Where the poison lies, when the vendors go away for 5 s, and when the process is killed.
const POISON_AT: usize = 60_000;
const OUTAGE_AT: usize = 40_000;
const KILL_AT: usize = 120_000;
const LONG: Duration = Duration::from_mins(5);

const POISON: &str = "[[fault]]\nkind = \"poison\"\nmarker = \"chaos-poison\"\n";

/// One account a tenant, of either vendor in turn, whose limits let all through.
fn fast_accounts(tenants: &[String]) -> Vec<Account> {
    let account = |(number, tenant): (usize, &String)| {
        let vendor = if number % 2 == 0 {
            Vendor::Moengage { data_center: "01", workspace: format!("WS{}", tenant.to_uppercase()) }
        } else {
            Vendor::Iterable { region: "us" }
        };
        let (settings, sandbox) = match vendor {
            Vendor::Moengage { .. } => (
                "limits.users_per_minute = 10000000\nlimits.events_per_minute = 10000000",
                "users_per_minute = 0\nevents_per_minute = 0\nfair_usage = false",
            ),
            Vendor::Iterable { .. } => (
                "limits.requests_per_second = { events = 1000, users = 1000 }",
                "requests_per_second = { \"events/trackBulk\" = 0, \"users/bulkUpdate\" = 0 }",
            ),
        };
        Account { settings: settings.to_owned(), sandbox: sandbox.to_owned(), ..Account::new(tenant, vendor) }
    };
    tenants.iter().enumerate().map(account).collect()
}

fn events(tenants: &[String]) -> Vec<Event> {
    let mut events: Vec<Event> = Events::new(0, tenants).users(2_000).sizes(330..=450).take(EVENTS).collect();
    let poison = &mut events[POISON_AT].json;
    poison.truncate(poison.len() - "}}".len());
    poison.push_str(r#","poison":"chaos-poison"}}"#);
    events
}

fn wait_for(vendors: &Vendors, elements: usize) {
    eventually(LONG, &format!("{elements} accepted calls"), || {
        let accepted: u64 =
            vendors.report().accounts.values().map(forebay::sandbox::AccountReport::element_count).sum();
        if accepted >= elements as u64 { Ok(()) } else { Err(format!("{accepted}")) }
    });
}

#[test]
#[ignore = "a measurement, of a minute or two: `just side-run`"]
fn the_side_run_has_exactly_one_dead_letter_and_loses_nothing() {
    let kafka = Kafka::shared();
    let topic = unique("side-run");
    kafka.create_topic(&topic, 6, &[]);
    let tenants = tenants(10);
    let accounts = fast_accounts(&tenants);
    let events = events(&tenants);
    kafka.produce(&topic, events.iter().map(Event::message));
    let vendors = Vendors::start_with(&accounts, POISON, None);
    let config = ConfigText::new(kafka, &topic, &vendors.url(), &accounts);
    let setup = config.setup();

    let begun = Instant::now();
    let mut forebay = setup.start();
    wait_for(&vendors, OUTAGE_AT);
    vendors.set_faults(&format!("[[fault]]\nkind = \"status\"\nstatus = 503\nfor = \"5s\"\n{POISON}"));
    wait_for(&vendors, KILL_AT);
    let samples = forebay.metrics();
    forebay.sigkill();
    let open = |metric: &str| crate::support::metrics::sum(&samples, metric, &[]).unwrap_or_default();
    let (requests, calls) = (open("forebay_lane_inflight_requests"), open("forebay_calls_in_flight"));
    let cut = open("forebay_commit_metadata_cut_total");

    let _again = setup.start();
    kafka.wait_committed_to_end(&config.group(), &topic, LONG);
    let seconds = begun.elapsed().as_secs_f64();
    let accepted: BTreeMap<_, _> =
        accounts.iter().map(|account| (&account.tenant, vendors.ids(&account.name))).collect();
    let of = |event: &Event| accepted[&event.tenant].get(&event.message_id).copied().unwrap_or_default();
    let lost = events.iter().enumerate().filter(|(at, event)| *at != POISON_AT && of(event) == 0).count();
    let twice: usize = events.iter().map(|event| of(event).saturating_sub(1)).sum();
    let letters = kafka.consume_all(&config.dead_letters());
    println!(
        "=== side run: {EVENTS} events in {seconds:.1} s; lost: {lost}; dead letters: {}; duplicates: {twice}; \
         just before the kill: {requests} requests on the wire, {calls} calls not settled, {cut} commits without room for all \
         that was settled above them",
        letters.len()
    );
    assert_eq!((lost, of(&events[POISON_AT])), (0, 0));
    assert_eq!(letters.len(), 1, "dead letters");
}
