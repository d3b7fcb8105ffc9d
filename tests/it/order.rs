//! Promise 5: what changes a user's state keeps its order, and no event overtakes an earlier state call of its user.

use std::collections::HashSet;

use crate::support::config::tenants;
use crate::support::events::{Event, Events, Kind};
use crate::support::stage::{Stage, assert_books};

/// Troubles before anything is taken, so that what is accepted is accepted once.
const TROUBLE: &str = "[[fault]]\nkind = \"status\"\nstatus = 503\nshare = 0.3\ncount = 12\n\
                       [[fault]]\nkind = \"reset_before\"\nshare = 0.3\ncount = 12\n\
                       [[fault]]\nkind = \"throttle\"\nshare = 0.2\ncount = 4\naccount = \"t00-iterable\"\n\
                       [[fault]]\nkind = \"delay\"\ndelay = \"60ms\"\nshare = 0.5";

#[test]
fn state_calls_of_a_user_keep_their_order_and_no_event_overtakes_them() {
    let stage = Stage::new("order", 3, 2).configured(|config| config.section("[delivery]\nlinger = \"10ms\""));
    stage.vendors.set_faults(TROUBLE);
    let events: Vec<Event> = Events::new(1, &tenants(2)).users(20).identify(0.5).sizes(350..=500).take(1_200).collect();
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    for part in events.chunks(200) {
        stage.produce(part);
    }
    stage.wait_for_all(&events);
    stage.wait_settled();
    stage.assert_each_once(&events);
    assert!(stage.vendors.report().faults.iter().all(|fault| fault.hits > 0), "{:?}", stage.vendors.report().faults);

    stage.assert_order(&events);
    for tenant in tenants(2) {
        let changes = events.iter().filter(|event| event.tenant == tenant && event.kind == Kind::Identify);
        let users: HashSet<&str> = changes.map(|event| event.user_id.as_str()).collect();
        assert_eq!(users.len(), 20, "all users of {tenant} changed their state");
    }
    assert_books(&mut forebay);
}
