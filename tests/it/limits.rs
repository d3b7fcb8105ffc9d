//! Promise 4: limits are kept before the vendor has to say so, in the vendor's own units.

use crate::support::config::{Account, tenants};
use crate::support::events::{Event, Events};
use crate::support::stage::{Stage, account, assert_books};

#[test]
fn no_vendor_ever_has_to_say_429() {
    let mut moengage = Account::moengage("t00");
    moengage.settings = "limits.events_per_minute = 600\nlimits.users_per_minute = 600\nlinger = \"10ms\"".to_owned();
    moengage.sandbox = "events_per_minute = 600\nusers_per_minute = 600".to_owned();
    let mut iterable = Account::iterable("t00");
    iterable.settings = "limits.requests_per_second = { events = 5, users = 4 }".to_owned();
    iterable.details = "delivery = \"single\"".to_owned();
    iterable.sandbox =
        "requests_per_second = { \"events/track\" = 5, \"users/update\" = 4 }\nunknown_users = \"create\"".to_owned();
    let stage = Stage::of("limits", &[moengage, iterable]);
    let events: Vec<Event> = Events::new(1, &tenants(1)).identify(0.4).sizes(350..=600).take(60).collect();
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_for_all(&events);
    stage.wait_settled();
    let report = stage.vendors.report();
    for (name, requests) in [("t00-moengage", 1), ("t00-iterable", 60)] {
        let counted = report.account(name).unwrap();
        assert_eq!((counted.throttled, counted.refused_count()), (0, 0), "{name}: {counted:?}");
        assert!(counted.requests >= requests, "{name}: {counted:?}");
    }
    stage.assert_each_once(&events);
    let limits = account(&mut forebay, "t00-iterable")["limits"].clone();
    assert!(limits.as_array().is_some_and(|limits| limits.iter().any(|limit| limit["limit"] == 5)), "{limits}");
    assert_books(&mut forebay);
}
