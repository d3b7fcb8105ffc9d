//! A webhook gets the events as they came, signed by all keys, over a real socket, and no more than what it may be told.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::support::config::ConfigText;
use crate::support::kafka::{Kafka, Message};
use crate::support::process::{Forebay, Setup};
use crate::support::receiver::{Received, Receiver};
use crate::support::stage::{JOIN, WORK, assert_books, wait_health};
use crate::support::unique;

const KEYS: [&str; 2] =
    ["whsec_Zm9yZWJheSB0ZXN0cyBzaWduIHdpdGggdGhpcw==", "whsec_YW5kIGFmdGVyd2FyZHMgd2l0aCB0aGF0IG9uZQ=="];

/// A topic, and a tenant `t00` whose only account is a webhook with this table.
struct Scene {
    kafka: &'static Kafka,
    topic: String,
    setup: Setup,
    config: ConfigText,
}

impl Scene {
    fn new(url: &str, settings: &str) -> Self {
        let (kafka, topic) = (Kafka::shared(), unique("webhook"));
        kafka.create_topic(&topic, 1, &[]);
        let account = format!(
            "[delivery]\nallow_hosts = [\"127.0.0.1\"]\n[accounts.hook]\ntenant = \"t00\"\n\
             accept = [\"identify\", \"track\", \"page\", \"screen\", \"alias\", \"group\"]\n{settings}\n\
             [accounts.hook.webhook]\nurl = \"{url}\"\nkeys = [{{ file = \"current\" }}, {{ file = \"next\" }}]\n"
        );
        let config = ConfigText::new(kafka, &topic, "", &[]).section(&account);
        let setup = config.setup();
        setup.write("current", KEYS[0]);
        setup.write("next", format!("{}\n", KEYS[1]));
        Self { kafka, topic, setup, config }
    }

    /// Starts with these events in the topic, and waits until nothing is owed.
    fn run(&self, events: &[String]) -> Forebay {
        self.produce(events);
        let mut forebay = self.setup.start();
        forebay.wait_ready(JOIN);
        self.kafka.wait_committed_to_end(&self.config.group(), &self.topic, WORK);
        forebay
    }

    fn produce(&self, events: &[String]) {
        let message = |event: &String| Message::new(event.as_bytes()).header("tenant", "t00");
        self.kafka.produce(&self.topic, events.iter().map(message));
    }
}

/// The elements of a body, byte by byte.
fn elements(body: &[u8]) -> Vec<String> {
    let elements: Vec<Box<RawValue>> = serde_json::from_slice(body).expect("a JSON array");
    elements.iter().map(|element| element.get().to_owned()).collect()
}

/// What a receiver does by the rules of Standard Webhooks, with one of the keys.
fn is_signed(request: &Received, key: &str) -> bool {
    let key = STANDARD.decode(key.trim_start_matches("whsec_")).expect("base64");
    let [id, at, signatures] =
        ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| request.headers[name].as_str());
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(&request.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    at.parse::<u64>().is_ok_and(|at| now.abs_diff(at) < 120) && signatures.split(' ').any(|one| one == expected)
}

fn events() -> Vec<String> {
    let mut events: Vec<String> = (0..300)
        .map(|n| {
            format!(r#"{{"type":"track","event":"Noted","userId":"u{}","properties":{{"n": {n}, "n":{n}}}}}"#, n % 9)
        })
        .collect();
    events.extend(
        [
            r#"{ "type" : "identify",	"anonymousId":"a-1", "traits" : {"\u00fc":"\ud83d\ude80 \/","big":1e300,"z":-0.0} }"#,
            r#"{"type":"page","name":"Home"}"#,
            r#"{"type":"screen","userId":7}"#,
            r#"{"type":"alias","userId":"u1","previousId":"a-1"}"#,
            r#"{"type":"group","userId":"u1","groupId":"g","traits":{"name":"]}],\"}"},"unknown":[null]}"#,
        ]
        .map(str::to_owned),
    );
    events
}

#[test]
fn every_event_arrives_as_it_came_and_each_key_proves_it() {
    // The first request fails, and what it held comes again under its id; a huge answer is nobody's trouble.
    let hook = Receiver::start(|number, _| match number {
        0 => (503, "retry-after: 1\r\n", b"not yet".to_vec()),
        1 => (200, "", vec![b'x'; 1 << 20]),
        _ => (204, "", Vec::new()),
    });
    let scene = Scene::new(&hook.url("/in/?from=forebay"), "linger = \"20ms\"");
    let events = events();
    let mut forebay = scene.run(&events);
    let received = hook.received();
    for request in &received {
        assert_eq!(request.path, "/in/?from=forebay");
        assert_eq!(request.headers["content-type"], "application/json");
        assert!(KEYS.iter().all(|key| is_signed(request, key)), "{request:?}");
        assert!(!is_signed(request, "whsec_b3RoZXI="), "another key proves nothing");
    }
    let again: Vec<_> = received.iter().filter(|other| other.body == received[0].body).collect();
    assert_eq!(again.len(), 2, "the first batch came twice");
    assert_eq!(again[0].headers["webhook-id"], again[1].headers["webhook-id"]);
    let taken = received.iter().filter(|request| request.status < 300);
    let ids: BTreeSet<&String> = taken.clone().map(|request| &request.headers["webhook-id"]).collect();
    assert_eq!(ids.len(), taken.clone().count(), "no two batches share an id");
    let mut found: Vec<String> = taken.flat_map(|request| elements(&request.body)).collect();
    let mut expected = events;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_books(&mut forebay);
    assert!(KEYS.iter().all(|key| !forebay.log().contains(&key[6..])), "no key in the log");
}

#[test]
fn an_event_that_the_receiver_refuses_becomes_a_dead_letter_alone() {
    let receiver = Receiver::start(|_, body| {
        let poisoned = String::from_utf8_lossy(body).contains("poison");
        if poisoned { (422, "", b"no poison here".to_vec()) } else { (200, "", Vec::new()) }
    });
    let scene = Scene::new(
        &receiver.url("/"),
        "[accounts.hook.fields]\ndrop = [\"properties.secret\"]\nsha256 = [\"traits.email\"]",
    );
    let event = |n: u32, note: &str| {
        format!(
            r#"{{"type":"track","event":"E","userId":"u{n}","messageId":"m{n}","properties":{{"secret":1,"note":"{note}"}}}}"#
        )
    };
    let events: Vec<String> = (0..40).map(|n| event(n, if n == 17 { "poison" } else { "good" })).collect();
    let mut forebay = scene.run(&events);
    let letters = scene.kafka.consume_all(&scene.config.dead_letters());
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("forebay-reason"), Some("rejected"));
    assert_eq!(letters[0].header("forebay-detail"), Some("no poison here"));
    assert_eq!(letters[0].value.as_deref(), Some(events[17].as_bytes()));
    let taken = receiver.received().into_iter().filter(|request| request.status == 200);
    let found: Vec<String> = taken.flat_map(|request| elements(&request.body)).collect();
    assert_eq!(found.len(), 39);
    assert!(found.iter().all(|element| !element.contains("secret") && element.contains("good")), "{found:?}");
    assert_books(&mut forebay);
}

#[test]
fn a_secret_that_could_sign_nothing_holds_the_account_and_check_says_so() {
    let receiver = Receiver::start(|_, _| (200, "", Vec::new()));
    let scene = Scene::new(&receiver.url("/"), "");
    scene.setup.write("current", "hunter2!");
    scene.setup.write("next", "whsec_");
    let setup = Setup::new(&scene.config.text()).args(&["check", "--strict"]);
    setup.write("current", "hunter2!");
    setup.write("next", "whsec_aHVudGVyMg==");
    let mut check = setup.start();
    assert_eq!(check.wait(JOIN), Some(78), "{}", check.log());
    let said = check.log();
    let expected = "accounts.hook.webhook.keys[0]: the secret file";
    assert!(said.contains(expected) && said.contains("is not base64") && !said.contains("hunter2"), "{said}");
    let (found, fix) =
        ("accounts.hook.webhook.keys[1]: the secret file", "make one: echo whsec_$(openssl rand -base64 32)");
    assert!(said.contains(found) && said.contains("24 to 64 bytes") && !said.contains("aHVudGVyMg"), "{said}");
    assert_eq!(said.matches(fix).count(), 2, "{said}");
    scene.produce(&events()[..3]);
    let mut forebay = scene.setup.start();
    let held = wait_health(&mut forebay, "hook", "held");
    assert_eq!(held["binds"]["reason"], "credentials_missing", "{held}");
    assert!(held["keys"][0]["state"].as_str().is_some_and(|state| state.contains("is not base64")), "{held}");
    // With a secret that is one, the events go, and it signs them.
    scene.setup.write("current", KEYS[0]);
    forebay.eventually(WORK, "the events arrive", |_| match receiver.received().len() {
        0 => Err("nothing came".to_owned()),
        _ => Ok(()),
    });
    assert!(receiver.received().iter().all(|request| is_signed(request, KEYS[0])));
    assert!(!forebay.log().contains("hunter2"));
    assert_books(&mut forebay);
}

#[test]
fn a_redirect_is_not_followed_and_the_events_wait() {
    let elsewhere = Receiver::start(|_, _| (200, "", Vec::new()));
    let location = elsewhere.url("/");
    let header: &'static str = Box::leak(format!("location: {location}\r\n").into_boxed_str());
    let receiver = Receiver::start(move |_, _| (307, header, Vec::new()));
    let scene = Scene::new(&receiver.url("/"), "");
    scene.produce(&events()[..3]);
    let mut forebay = scene.setup.start();
    // Until its keys are read it is held, too.
    forebay.eventually(WORK, "a request is redirected", |_| match receiver.received().len() {
        0 => Err("none came".to_owned()),
        _ => Ok(()),
    });
    let held = wait_health(&mut forebay, "hook", "held");
    let reason = held["binds"]["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("redirected"), "{held}");
    assert_eq!(held["destination"], "webhook");
    assert!(elsewhere.received().is_empty());
    assert_books(&mut forebay);
}

#[test]
fn a_host_of_ours_that_nobody_allowed_is_a_mistake_of_the_configuration() {
    let scene = Scene::new("http://127.0.0.1:1/", "");
    let text = scene.config.text();
    for (from, to, said) in [
        ("allow_hosts = [\"127.0.0.1\"]", "", "127.0.0.1 is not a public host"),
        ("http://127.0.0.1:1/", "http://example.com/", "plain http would carry the events in the clear"),
        ("http://127.0.0.1:1/", "https://[fd00::1]/", "fd00::1 is not a public host"),
        ("http://127.0.0.1:1/", "https://user:pw@example.com/", "user name"),
        ("[accounts.hook.webhook]", "nested = \"flatten\"\n[accounts.hook.webhook]", "nested"),
    ] {
        let setup = Setup::new(&text.replace(from, to)).args(&["check"]);
        let mut check = setup.start();
        assert_eq!(check.wait(JOIN), Some(78), "{to}: {}", check.log());
        assert!(check.log().contains(said), "{said:?} in {}", check.log());
    }
}
