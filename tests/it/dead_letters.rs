//! Dead letters: what no retry can help stands there with the reason, as it came; nothing is settled before it stands.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::config::{Account, ConfigText};
use crate::support::events::Event;
use crate::support::eventually;
use crate::support::kafka::{Kafka, Message, Record};
use crate::support::stage::{JOIN, Stage, WORK, assert_books};

/// A reason, and a record that ends with it.
fn wrong_records() -> Vec<(&'static str, Message)> {
    let avro = [&[0, 0, 0, 0, 7][..], &[2, 6, b'a', b'b', b'c', 0xff]].concat();
    let of = |value: &str| Message::new(value).header("tenant", "t00");
    vec![
        ("malformed", of("{\"type\":\"track\",")),
        ("malformed", Message::new(&b"{\"type\":\"track\",\"event\":\"\xff\xfe\"}"[..]).header("tenant", "t00")),
        ("malformed", of("")),
        ("malformed", of("[1,2,3]")),
        ("encoding", Message::new(avro).header("tenant", "t00")),
        ("no_tenant", Message::new(r#"{"type":"track","event":"x","userId":"u"}"#)),
        ("unknown_tenant", Message::new(r#"{"type":"track","event":"x","userId":"u"}"#).header("tenant", "nobody")),
        ("unknown_type", of(r#"{"type":"trak","event":"x","userId":"u"}"#)),
        ("no_user", of(r#"{"type":"track","event":"x"}"#)),
        ("anonymous", of(r#"{"type":"track","event":"x","anonymousId":"a"}"#)),
        ("no_event_name", of(r#"{"type":"track","userId":"u"}"#)),
    ]
}

fn assert_place(letter: &Record, topic: &str, offset: i64) {
    assert_eq!(letter.header("forebay-topic"), Some(topic));
    assert_eq!(letter.header("forebay-partition"), Some("0"));
    assert_eq!(letter.header("forebay-offset"), Some(offset.to_string().as_str()));
}

fn at(letters: &[Record], offset: usize) -> &Record {
    let wanted = offset.to_string();
    let found = letters.iter().find(|letter| letter.header("forebay-offset") == Some(&wanted));
    found.unwrap_or_else(|| panic!("no letter of offset {offset}: {letters:?}"))
}

#[test]
fn every_wrong_record_becomes_a_letter_with_its_reason_and_as_it_came() {
    let stage = Stage::of("letters", &[Account::iterable("t00")]);
    let wrong = wrong_records();
    let dressed = |(n, (_, message)): (usize, &(_, Message))| {
        let mut message = message.clone().key(format!("key-{n}")).header("raw", &b"\xff\x00\xfe"[..]);
        message.headers.push(("nothing".to_owned(), None));
        message.header("raw", "twice").timestamp(1_790_000_000_123)
    };
    let messages: Vec<Message> = wrong.iter().enumerate().map(dressed).collect();
    stage.kafka.produce(&stage.topic, messages.clone());
    let good = [Event::track("t00", "user-1", "good", "plain")];
    stage.produce(&good);
    let framed = format!("\0\0\0\0\u{7}{}", Event::track("t00", "user-1", "framed", "plain").json);
    stage.kafka.produce(
        &stage.topic,
        [Message::tombstone().header("tenant", "t00"), Message::new(framed).header("tenant", "t00")],
    );
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();

    let letters = stage.letters();
    assert_eq!(letters.len(), wrong.len(), "{letters:?}");
    for (offset, ((reason, _), message)) in wrong.iter().zip(&messages).enumerate() {
        let letter = at(&letters, offset);
        assert_eq!(letter.header("forebay-reason"), Some(*reason), "offset {offset}: {letter:?}");
        assert_eq!((&letter.key, &letter.value), (&message.key, &message.value), "{reason}");
        let own: Vec<_> = letter.headers.iter().filter(|(name, _)| !name.starts_with("forebay-")).cloned().collect();
        assert_eq!(own, message.headers, "{reason}: its own headers, in their order");
        assert_place(letter, &stage.topic, i64::try_from(offset).unwrap());
        assert_eq!(letter.header("forebay-time"), Some("2026-09-21T14:13:20.123Z"));
        assert!(letter.header("forebay-detail").is_some_and(|detail| detail.len() <= 1_024 && !detail.is_empty()));
        let tenant = match *reason {
            "no_tenant" => "_unknown",
            "unknown_tenant" => "nobody",
            _ => "t00",
        };
        assert_eq!(letter.header("forebay-tenant"), Some(tenant), "{reason}");
        let account = matches!(*reason, "no_user" | "anonymous" | "no_event_name").then_some("t00-iterable");
        assert_eq!(letter.header("forebay-account"), account, "{reason}");
        assert_eq!(letter.header("forebay-destination"), account.map(|_| "iterable"), "{reason}");
        assert_eq!(letter.header("forebay-truncated"), None);
    }
    let ids = stage.vendors.ids("t00-iterable");
    assert_eq!(
        ids.keys().map(String::as_str).collect::<Vec<_>>(),
        ["framed", "good"],
        "a schema id before JSON is read"
    );
    assert_eq!(forebay.metric("forebay_events_not_owed_total", &[("reason", "tombstone")]), Some(1.0));
    assert_books(&mut forebay);
}

#[test]
fn an_event_that_no_request_can_hold_is_refused_for_that_account_alone() {
    let stage = Stage::of("oversized", &[Account::moengage("t00"), Account::iterable("t00")]);
    // More than a request to the first vendor holds, in texts that the other takes.
    let texts: Vec<String> = (0..12).map(|n| format!(r#""text{n}":"{}""#, "x".repeat(10_000))).collect();
    let huge = Event::track("t00", "user-1", "huge", &format!(r#"x",{},"end":"x"#, texts.join(",")));
    let others: Vec<Event> = (0..20).map(|n| Event::track("t00", "user-1", &format!("small-{n}"), "plain")).collect();
    let events = [&others[..10], std::slice::from_ref(&huge), &others[10..]].concat();
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    stage.assert_each_once(&others);
    stage.assert_each_once_at(&["t00-iterable"], &events);
    let letters = stage.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("forebay-reason"), Some("too_large"));
    assert_eq!(letters[0].header("forebay-account"), Some("t00-moengage"));
    assert_eq!(letters[0].value.as_deref(), Some(huge.json.as_bytes()));
    assert_books(&mut forebay);
}

/// Text that no codec makes smaller, and no JSON.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..length).map(|_| random.random_range(b' '..=b'~')).collect()
}

fn small_letters(name: &str, source_bytes: &str, letter_bytes: Option<&str>) -> Stage<'static> {
    let stage = Stage::with(Kafka::shared(), name, 0, &[Account::iterable("t00")]);
    stage.kafka.create_topic(&stage.topic, 1, &[("max.message.bytes", source_bytes)]);
    if let Some(bytes) = letter_bytes {
        stage.kafka.create_topic(&stage.config.dead_letters(), 1, &[("max.message.bytes", bytes)]);
    }
    stage
}

#[test]
fn a_letter_that_does_not_fit_its_topic_is_written_without_its_value_and_no_other_is() {
    let stage = small_letters("truncated", "2000000", Some("1048588"));
    let large = noise(1, 1_300_000);
    let small = noise(2, 200);
    let messages = [&small, &large, &small].map(|value| {
        Message::new(value.clone()).key("the-key").header("tenant", "t00").header("trace", "abc").partition(0)
    });
    stage.kafka.produce(&stage.topic, messages);
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    let letters = stage.letters();
    assert_eq!(letters.len(), 3);
    for (offset, value) in [(0, Some(&small)), (1, None), (2, Some(&small))] {
        let letter = at(&letters, offset);
        assert_eq!(letter.value.as_ref(), value, "offset {offset}");
        assert_eq!(letter.header("forebay-truncated"), value.is_none().then_some("true"));
        assert_eq!(letter.key.as_deref(), Some(&b"the-key"[..]));
        assert_eq!(letter.header("trace"), Some("abc"));
        assert_eq!(letter.header("forebay-reason"), Some("malformed"));
        assert_place(letter, &stage.topic, i64::try_from(offset).unwrap());
    }
    assert_books(&mut forebay);
}

#[test]
fn letters_that_fit_alone_stay_whole_however_many_come_at_once() {
    let stage = small_letters("crowd", "20000", None);
    let values: Vec<Vec<u8>> = (0..300).map(|n| noise(n, 6_000)).collect();
    stage.kafka.produce(&stage.topic, values.iter().map(|value| Message::new(value.clone()).header("tenant", "t00")));
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    let letters = stage.letters();
    assert_eq!(letters.len(), 300);
    for (offset, value) in values.iter().enumerate() {
        assert!(at(&letters, offset).value.as_ref() == Some(value), "offset {offset} came without its value");
    }
    assert_books(&mut forebay);
}

#[test]
fn the_topic_is_made_with_room_for_every_record_and_for_ever() {
    let stage = small_letters("made", "300000", None);
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    let letters = stage.config.dead_letters();
    eventually(WORK, "the topic is made", || {
        let made = |name| stage.kafka.topic_setting(&letters, name);
        match (made("max.message.bytes"), made("retention.ms"), made("cleanup.policy")) {
            (Some(largest), Some(kept), Some(policy)) => {
                assert_eq!((largest.as_str(), kept.as_str(), policy.as_str()), ("365536", "-1", "delete"));
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn nothing_is_settled_before_its_letter_stands_also_over_a_crash() {
    let stage = Stage::of("unwritable", &[Account::iterable("t00")]);
    let letters = stage.config.dead_letters();
    // Not even a letter without value, key and headers of its own fits.
    stage.kafka.create_topic(&letters, 1, &[("max.message.bytes", "100")]);
    // One that is refused at the door, and one that the vendor refuses.
    stage.vendors.set_faults("[[fault]]\nkind = \"poison\"\nmarker = \"POISON\"\nstatus = 400");
    stage.kafka.produce(&stage.topic, [Message::new("not json").header("tenant", "t00")]);
    stage.produce(&[Event::track("t00", "user-2", "bad", "POISON")]);
    let good: Vec<Event> = (0..30).map(|n| Event::track("t00", "user-1", &format!("good-{n}"), "plain")).collect();
    stage.produce(&good);
    let setup = stage.config.setup();
    let mut forebay = setup.start();
    stage.wait_for_all(&good);
    eventually(WORK, "only the records with letters are unsettled", || {
        let unsettled = stage.unsettled();
        let waiting = forebay.metric("forebay_dead_letters_waiting", &[]);
        let both = unsettled == [(0, 0), (0, 1)].into() && waiting == Some(2.0);
        if both { Ok(()) } else { Err(format!("{unsettled:?}, {waiting:?}")) }
    });
    // A commit later, still.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(stage.unsettled(), [(0, 0), (0, 1)].into());
    let complaints = forebay.log().matches("a dead letter").count();
    assert!(complaints < 200, "{complaints} lines: it tries on, but not as fast as it can");
    assert_books(&mut forebay);
    forebay.sigkill();

    stage.kafka.delete_topic(&letters);
    stage.kafka.create_topic(&letters, 1, &[]);
    let mut forebay = setup.start();
    stage.wait_settled();
    let reasons: Vec<_> = stage.letters().iter().map(|it| it.header("forebay-reason").map(str::to_owned)).collect();
    assert_eq!(reasons, ["malformed", "rejected"].map(|reason| Some(reason.to_owned())));
    stage.assert_each_once(&good);
    assert_books(&mut forebay);
}

#[test]
#[expect(unsafe_code, reason = "no safe way to produce what another client may: a header name that is not UTF-8")]
fn a_header_name_that_is_no_text_costs_its_name_and_nothing_else() {
    let stage = Stage::of("names", &[Account::iterable("t00")]);
    // SAFETY: the name is never looked at as text: the producer copies its bytes.
    let name = unsafe { String::from_utf8_unchecked(vec![0xff, b'x', 0xfe]) };
    let odd = |value: &str| Message::new(value).header("tenant", "t00").header(&name, &b"\xff-value"[..]);
    let good = Event::track("t00", "user-1", "good", "plain");
    stage.kafka.produce(&stage.topic, [odd("not json"), odd(&good.json)]);
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    stage.assert_each_once(&[good]);
    let letters = stage.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value.as_deref(), Some(&b"not json"[..]));
    let odd = ("?".to_owned(), Some(b"\xff-value".to_vec()));
    assert!(letters[0].headers.contains(&odd), "{letters:?}");
    assert_books(&mut forebay);
}

#[test]
fn an_unknown_tenant_may_be_skipped_instead() {
    let stage = Stage::of("skip", &[Account::iterable("t00")])
        .configured(|config: ConfigText| config.section("[tenant]\nunknown = \"skip\""));
    let events = [Event::track("nobody", "u", "nobodys", "plain"), Event::track("t00", "user-1", "ours", "plain")];
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    stage.assert_each_once(&events[1..]);
    assert_eq!(stage.letters(), []);
    assert_eq!(forebay.metric("forebay_events_not_owed_total", &[("reason", "unknown_tenant")]), Some(1.0));
    assert_books(&mut forebay);
}
