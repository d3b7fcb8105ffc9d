//! Input that nobody should send, from vendors and beside us in Kafka: each time a clear line in the log, nothing lost,
//! and the lane goes on.

use std::fmt::Write as _;

use crate::support::config::{Account, tenants};
use crate::support::events::{Event, Events};
use crate::support::kafka::{Message, Record};
use crate::support::process::Forebay;
use crate::support::stage::{JOIN, Stage, assert_books};

fn events(seed: u64, tenant_count: usize, count: usize) -> Vec<Event> {
    Events::new(seed, &tenants(tenant_count)).sizes(350..=700).take(count).collect()
}

/// What the log says in this message about each account, in order.
fn said(forebay: &Forebay, message: &str) -> Vec<(String, String)> {
    let lines = forebay.log_lines().into_iter().filter(|line| line["message"] == message);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    lines.map(|line| (text(&line["account"]), text(&line["said"]))).collect()
}

#[test]
fn a_dead_letter_topic_with_foreign_records_is_written_to_all_the_same() {
    let stage = Stage::of("foreign-letters", &[Account::iterable("t00")]);
    let topic = stage.config.dead_letters();
    stage.kafka.create_topic(&topic, 1, &[]);
    let foreign = [
        Message::new(&b"\xff\xfe\x00 no text"[..]),
        Message::tombstone().key("of another program"),
        Message::new("{}").header("forebay-reason", "no such reason").header("forebay-offset", "-1"),
        Message::new("x".repeat(100_000)).header("tenant", "t00"),
    ];
    stage.kafka.produce(&topic, foreign.clone());
    stage.kafka.produce(&stage.topic, [Message::new("not json").header("tenant", "t00")]);
    let good = events(1, 1, 40);
    stage.produce(&good);
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    stage.assert_each_once(&good);

    let (ours, others): (Vec<Record>, Vec<Record>) =
        stage.letters().into_iter().partition(|letter| letter.header("forebay-topic").is_some());
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert_eq!(ours[0].value.as_deref(), Some(&b"not json"[..]));
    let untouched =
        others.iter().zip(&foreign).all(|(there, sent)| (&there.key, &there.value) == (&sent.key, &sent.value));
    assert!(untouched && others.len() == foreign.len(), "{others:?}");
    assert_eq!(forebay.metric("forebay_dead_letters_waiting", &[]), Some(0.0));
    assert_books(&mut forebay);
}

#[test]
fn an_impossible_retry_after_is_told_and_ignored() {
    const MESSAGE: &str = "the vendor's Retry-After makes no sense; it is ignored";
    const IMPOSSIBLE: [&str; 5] =
        ["-5", "99999999999999999999", "soon", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"];
    let stage = Stage::of("retry-after-nonsense", &[Account::iterable("t00"), Account::moengage("t00")]);
    let mut faults = String::new();
    for value in IMPOSSIBLE {
        for (account, status) in [("t00-iterable", 429), ("t00-moengage", 503)] {
            let _ = write!(
                faults,
                "[[fault]]\nkind = \"status\"\nstatus = {status}\nbody = \"slow down\"\naccount = \"{account}\"\ncount = 1\n\
                 headers = {{ retry-after = \"{value}\" }}\n"
            );
        }
    }
    stage.vendors.set_faults(&faults);
    let events = events(2, 1, 40);
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_for_all(&events);
    stage.wait_settled();
    stage.assert_each_once(&events);
    let hits = stage.vendors.report().faults;
    assert!(hits.iter().all(|fault| fault.hits == 1), "{hits:?}");
    let mut said = said(&forebay, MESSAGE);
    said.sort();
    let once = ["t00-iterable", "t00-moengage"].map(|account| (account.to_owned(), "-5".to_owned()));
    assert_eq!(said, once, "the first one, and not one line an answer");
    assert_eq!(stage.letters(), []);
    assert_books(&mut forebay);
}

#[test]
fn answers_that_are_huge_or_broken_are_told_and_cost_repetition_at_most() {
    const MESSAGE: &str = "the answer is not the vendor's own; the request goes again";
    let accounts =
        [Account::iterable("t00"), Account::moengage("t00"), Account::iterable("t01"), Account::moengage("t01")];
    let stage = Stage::of("odd-answers", &accounts);
    stage.vendors.set_faults(
        "[[fault]]\nkind = \"huge_answer\"\nbytes = 52428800\naccount = \"t00-iterable\"\ncount = 2\n\
         [[fault]]\nkind = \"huge_answer\"\nbytes = 52428800\naccount = \"t00-moengage\"\ncount = 2\n\
         [[fault]]\nkind = \"broken_json\"\naccount = \"t01-iterable\"\ncount = 2\n\
         [[fault]]\nkind = \"broken_json\"\naccount = \"t01-moengage\"\ncount = 2\n",
    );
    let events = events(3, 2, 120);
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_for_all(&events);
    stage.wait_settled();
    let hits = stage.vendors.report().faults;
    assert!(hits.iter().all(|fault| fault.hits == 2), "{hits:?}");
    // What was huge was not taken; what was broken was, and comes again.
    stage.assert_each_once_at(&["t00-iterable", "t00-moengage"], &events);
    let mut said = said(&forebay, MESSAGE);
    said.sort();
    let told: Vec<&str> = said.iter().map(|(account, _)| account.as_str()).collect();
    assert_eq!(told, ["t00-iterable", "t00-moengage", "t01-iterable", "t01-moengage"], "{said:?}");
    let read = |said: &str| said.strip_prefix("200, ")?.split_once(" bytes:")?.0.parse::<usize>().ok();
    let is_little = |said: &str| read(said).is_some_and(|bytes| (16 * 1024..1024 * 1024).contains(&bytes));
    assert!(said[..2].iter().all(|(_, said)| is_little(said)), "no more than the request calls for: {said:?}");
    assert!(said[2..].iter().all(|(_, said)| said.contains(" bytes: {\"")), "{said:?}");
    assert_eq!(stage.letters(), [], "no event is punished for it");
    assert_books(&mut forebay);
    forebay.sigterm();
    assert_eq!(forebay.wait(JOIN), Some(0));
}
