//! Promise 8: the books balance, live, whatever became of the calls.

use crate::support::config::tenants;
use crate::support::events::{Event, Events};
use crate::support::kafka::Message;
use crate::support::stage::{Stage, assert_books};

const TROUBLE: &str = "[[fault]]\nkind = \"poison\"\nmarker = \"POISON\"\nstatus = 400\n\
                       [[fault]]\nkind = \"partial_failure\"\nelements = 0.1\nlist = \"invalidData\"\nshare = 0.3\n\
                       account = \"t01-iterable\"\n\
                       [[fault]]\nkind = \"status\"\nstatus = 503\nshare = 0.3\ncount = 8\n\
                       [[fault]]\nkind = \"throttle\"\nshare = 0.2\ncount = 4\naccount = \"t00-iterable\"\n\
                       [[fault]]\nkind = \"reset_after\"\nshare = 0.2\ncount = 4";

/// Records that end otherwise than at a vendor.
fn oddities() -> Vec<Message> {
    let typed = |kind: &str| format!(r#"{{"type":"{kind}","messageId":"{kind}","userId":"u","groupId":"g"}}"#);
    vec![
        Message::tombstone().header("tenant", "t00"),
        Message::new("not json").header("tenant", "t00"),
        Message::new(typed("group")).header("tenant", "t00"),
        Message::new(typed("identify")),
        Message::new(typed("identify")).header("tenant", "nobody"),
        Message::new(r#"{"type":"track","event":"x"}"#).header("tenant", "t01"),
    ]
}

#[test]
fn received_is_accounted_for_by_partition_and_owed_by_account_at_every_moment() {
    let stage = Stage::new("books", 3, 3);
    let mut events: Vec<Event> = Events::new(1, &tenants(3)).sizes(350..=700).take(600).collect();
    for (n, tenant) in ["t00", "t01", "t02"].into_iter().enumerate() {
        events.insert(n * 150, Event::track(tenant, &format!("bad-{n}"), &format!("poison-{n}"), "POISON"));
    }
    stage.vendors.set_faults(TROUBLE);
    stage.vendors.revoke("t02-moengage");
    let mut forebay = stage.config.setup().start();
    for (part, odd) in events.chunks(110).zip(oddities()) {
        stage.produce(part);
        stage.kafka.produce(&stage.topic, [odd]);
        assert_books(&mut forebay);
    }
    forebay.eventually(crate::support::stage::WORK, "all but the held account is settled", |_| {
        let owed = events.iter().filter(|event| event.tenant == "t02").count();
        let unsettled = stage.unsettled().len();
        if unsettled <= owed { Ok(()) } else { Err(format!("{unsettled} are unsettled, {owed} may be")) }
    });
    assert_books(&mut forebay);
    let held = forebay.metric("forebay_calls_in_flight", &[("account", "t02-moengage")]);
    assert!(held.is_some_and(|held| held > 100.0), "{held:?}");

    stage.vendors.set_key("t02-moengage", "key-of-t02-moengage-0123456789abcdef");
    stage.wait_settled();
    assert_books(&mut forebay);
    let total = events.len() + oddities().len();
    let mut sum = |name: &str, labels: &[(&str, &str)]| forebay.metric(name, labels).unwrap_or(0.0).to_string();
    assert_eq!(sum("forebay_events_received_total", &[]), total.to_string());
    assert_eq!(sum("forebay_events_settled_total", &[]), total.to_string());
    assert_eq!(sum("forebay_calls_in_flight", &[]), "0");
    assert_eq!(sum("forebay_events_not_owed_total", &[("reason", "tombstone")]), "1");
    let skipped = [("reason", "not_accepted")];
    assert_eq!(sum("forebay_calls_skipped_total", &skipped), "2", "a group message, at both accounts");
    let letters = stage.letters().len();
    assert_eq!(sum("forebay_dead_letters_total", &[]), letters.to_string(), "each letter is counted once");
    assert!(letters >= 8, "{letters} letters");
}
