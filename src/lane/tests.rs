//! Lanes with shapes of several kinds, through the pipeline: families of keys, parts of a path, calls about two users.

use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;
use serde_json::Value;

use crate::clock::Now;
use crate::config;
use crate::destination::Answer;
use crate::keys::Keys;
use crate::lane::{Flight, Health};
use crate::metrics::report::Report;
use crate::pipeline::{Action, Parts, Pipeline};
use crate::source::commit::Contents;
use crate::source::consumer::State;
use crate::source::record::{Headers, Record, kept};

const SUCCESS: &[u8] = br#"{"status":"success","message":"Successfully Received","successCount":1,"failCount":0}"#;
const MOENGAGE: &str = r#"
[accounts.acme]
accept = ["identify", "track", "alias"]
raw = ["catalog"]
linger = "0s"
[accounts.acme.moengage]
workspace = "W"
data_center = "01"
alias = "merge"
keys = [{ file = "k" }]
inform_keys = [{ file = "i" }]
[accounts.acme.moengage.alerts."OTP"]
alert_id = "A"
channels = { sms = "/properties/phone" }
"#;

struct Rig {
    pipeline: Pipeline,
    #[expect(clippy::vec_box, reason = "flights come and go boxed")]
    wire: Vec<Box<Flight>>,
    offset: i64,
    now: Now,
}

impl Rig {
    fn new() -> Self {
        Self::of(MOENGAGE)
    }

    fn of(accounts: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.toml");
        let main = format!("[kafka]\nbrokers = \"nobody:1\"\ntopics = [\"events\"]\n{accounts}");
        std::fs::write(&path, main).expect("a file");
        let config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}")).config;
        let now = Now { mono: Duration::from_secs(1), wall_ms: 1_795_207_260_000 };
        let mut pipeline = Pipeline::new(Parts::of(&config, now, 1));
        let slot = pipeline.slot("events", 0);
        pipeline.assign(slot, Contents::default());
        Self { pipeline, wire: Vec::new(), offset: 0, now }
    }

    fn keys(&mut self, families: &[(&'static str, Option<&str>)]) {
        let mut keys = Keys::default();
        for (family, key) in families {
            keys.add(family, key.map(SecretString::from));
        }
        self.pipeline.set_keys(self.now, 0, &keys);
        self.act();
    }

    fn feed(&mut self, value: &str, headers: &[(&str, &[u8])]) {
        let headers = kept([("tenant", &b"acme"[..])].into_iter().chain(headers.iter().copied()));
        let record = Record {
            slot: 0,
            offset: self.offset,
            timestamp_ms: Some(self.now.wall_ms),
            key: None,
            value: Some(value.as_bytes()),
            headers: Headers::of(&headers),
        };
        self.offset += 1;
        self.pipeline.record(self.now, &record);
    }

    /// Later, so that lingers and limits are over.
    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.pipeline.next_tick().filter(|at| *at <= end) {
            self.now = self.now.later(at.saturating_sub(self.now.mono));
            self.pipeline.tick(self.now);
        }
        self.now = self.now.later(end.saturating_sub(self.now.mono));
        self.pipeline.tick(self.now);
        self.act();
    }

    fn act(&mut self) {
        let mut actions = Vec::new();
        self.pipeline.take_actions(&mut actions);
        for action in actions {
            match action {
                Action::Send(flight) => self.wire.push(flight),
                Action::Write(letter) => panic!("a dead letter: {}", letter.refusal.detail),
                Action::Pause { .. } | Action::Sweep { .. } => {}
            }
        }
    }

    /// The paths and bodies on the wire.
    fn requests(&self) -> Vec<(String, Value)> {
        let body = |flight: &Flight| serde_json::from_slice(&flight.body).expect("JSON");
        self.wire.iter().map(|flight| (flight.target.path.clone(), body(flight))).collect()
    }

    fn answer(&mut self, status: u16, body: &[u8]) {
        let headers = HeaderMap::new();
        for flight in std::mem::take(&mut self.wire) {
            self.pipeline.answered(self.now, flight, Ok(Answer { status, headers: &headers, body }));
        }
        self.act();
    }

    fn health(&self) -> (Health, String) {
        let report = Report::new(self.now, &self.pipeline, &State::default());
        (report.accounts[0].health, report.accounts[0].binds.reason.clone())
    }

    fn held_calls(&self) -> usize {
        self.pipeline.accounts().iter().map(|account| account.lane.held_calls()).sum()
    }

    /// Gives back what is open: a batch that is dropped with calls in it is a bug.
    fn end(mut self) {
        for flight in std::mem::take(&mut self.wire) {
            self.pipeline.answered(self.now, flight, Err("the end".into()));
        }
        self.pipeline.abandon(self.now);
        self.pipeline.unassign(&[0], self.now);
    }
}

fn item(id: &str) -> String {
    format!(r#"{{"id":"{id}","title":"x"}}"#)
}

const OTP: &str = r#"{"type":"track","event":"OTP","userId":"u-9","messageId":"m","properties":{"phone":"1"}}"#;
const TRACK: &str = r#"{"type":"track","event":"E","userId":"u-8","messageId":"m"}"#;

fn with(setting: &str) -> Rig {
    let mut rig = Rig::of(&MOENGAGE.replace("linger = \"0s\"", setting));
    rig.keys(&[("keys", Some("data")), ("inform_keys", Some("inform"))]);
    rig
}

#[test]
fn an_account_that_its_operator_holds_sends_nothing() {
    for (setting, sent) in [("hold = true", 0), ("hold = false", 1)] {
        let mut rig = with(setting);
        rig.feed(TRACK, &[]);
        rig.pass(Duration::from_mins(2));
        assert_eq!(rig.requests().len(), sent, "{setting}");
        let held = rig.health() == (Health::Held, "operator".to_owned());
        assert_eq!(held, sent == 0, "{setting}: {:?}", rig.health());
        rig.end();
    }
}

#[test]
fn a_batch_waits_for_its_linger_and_no_longer() {
    let mut rig = with("linger = \"2s\"");
    // Limits start empty.
    rig.pass(Duration::from_secs(10));
    rig.feed(TRACK, &[]);
    rig.pass(Duration::from_millis(1_900));
    assert_eq!(rig.requests().len(), 0);
    rig.pass(Duration::from_millis(200));
    assert_eq!(rig.requests().len(), 1);
    rig.end();
}

#[test]
fn no_more_requests_are_on_the_wire_than_max_in_flight() {
    for most in [1, 3] {
        let mut rig = with(&format!("linger = \"0s\"\nmax_in_flight = {most}"));
        for user in 0..40 {
            rig.feed(&format!(r#"{{"type":"identify","userId":"user-{user}","messageId":"m-{user}"}}"#), &[]);
            rig.pass(Duration::from_secs(1));
        }
        assert_eq!(rig.requests().len(), most);
        rig.end();
    }
}

#[test]
fn a_family_without_a_key_holds_its_shapes_alone_and_is_named() {
    let mut rig = Rig::new();
    rig.keys(&[("keys", Some("data")), ("inform_keys", None)]);
    assert_eq!(rig.health().0, Health::Ok, "nothing waits for that key yet");
    rig.feed(OTP, &[]);
    rig.feed(TRACK, &[]);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.requests().iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["/v1/transition/W"]);
    assert_eq!(rig.health(), (Health::Held, "credentials_missing (inform_keys of inform)".to_owned()));
    rig.answer(200, SUCCESS);
    rig.keys(&[("keys", Some("data")), ("inform_keys", Some("inform"))]);
    rig.pass(Duration::from_secs(1));
    let [(path, _)] = &rig.requests()[..] else { panic!("the alert goes once its key is there") };
    assert_eq!(path, "/v1.0/alerts/send");
    rig.answer(200, SUCCESS);
    assert_eq!((rig.health().0, rig.held_calls()), (Health::Ok, 0));
    rig.end();
}

#[test]
fn a_key_without_the_right_holds_the_shape_and_names_the_family() {
    let mut rig = Rig::new();
    rig.keys(&[("keys", Some("data")), ("inform_keys", Some("inform"))]);
    rig.feed(OTP, &[]);
    rig.pass(Duration::from_secs(1));
    rig.answer(403, b"{}");
    let (health, reason) = rig.health();
    assert_eq!(health, Health::Held);
    assert!(reason.starts_with("forbidden (inform, inform_keys)"), "{reason}");
    rig.feed(TRACK, &[]);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.requests()[0].0, "/v1/transition/W", "data flows");
    rig.end();
}

#[test]
fn a_family_that_is_not_there_falls_back_to_the_one_before() {
    let mut rig = Rig::new();
    rig.keys(&[("keys", Some("data"))]);
    rig.feed(OTP, &[]);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.requests()[0].0, "/v1.0/alerts/send");
    rig.end();
}

#[test]
fn items_go_to_their_catalogue_and_none_twice_in_a_request() {
    let mut rig = Rig::new();
    let shape = ("forebay-shape", &b"catalog"[..]);
    for (id, catalog) in [("a", "shoes"), ("b", "shoes"), ("a", "hats"), ("a", "shoes"), ("c", "shoes")] {
        rig.feed(&item(id), &[shape, ("forebay-catalog", catalog.as_bytes())]);
    }
    rig.keys(&[("keys", Some("data"))]);
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    for _ in 0..20 {
        rig.pass(Duration::from_secs(1));
        for (path, body) in rig.requests() {
            let ids = body["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id"));
            seen.push((path, ids.map(str::to_owned).collect()));
        }
        rig.answer(200, br#"{"message":{"valid":{"count":9},"invalid":{"count":0}}}"#);
    }
    assert_eq!(rig.held_calls(), 0);
    let of = |catalog: &str| {
        let path = format!("/v1/catalog/{catalog}/items");
        seen.iter().filter(|(at, _)| *at == path).flat_map(|(_, ids)| ids.clone()).filter(|id| id == "a").count()
    };
    assert_eq!((of("shoes"), of("hats")), (2, 1));
    for (_, ids) in &seen {
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "an item stands twice in one request: {ids:?}");
    }
    rig.end();
}

#[test]
fn a_merge_waits_for_both_users_and_their_later_calls_for_it() {
    let mut rig = Rig::new();
    rig.keys(&[("keys", Some("data"))]);
    rig.feed(r#"{"type":"identify","userId":"old-1","messageId":"1","traits":{"a":1}}"#, &[]);
    rig.feed(r#"{"type":"alias","userId":"new-1","previousId":"old-1","messageId":"2"}"#, &[]);
    rig.feed(r#"{"type":"track","event":"E","userId":"new-1","messageId":"3"}"#, &[]);
    rig.feed(r#"{"type":"identify","userId":"old-1","messageId":"4","traits":{"a":2}}"#, &[]);
    let expected =
        [("/v1/transition/W", "customer"), ("/v1/customer/merge?app_id=W", "old-1"), ("/v1/transition/W", "event")];
    for (path, word) in expected {
        rig.pass(Duration::from_secs(2));
        let requests = rig.requests();
        assert!(requests.iter().all(|(at, _)| at == path), "{requests:?}");
        assert!(requests.iter().any(|(_, body)| body.to_string().contains(word)), "{requests:?}");
        rig.answer(200, SUCCESS);
    }
    rig.pass(Duration::from_secs(2));
    rig.answer(200, SUCCESS);
    assert_eq!(rig.held_calls(), 0);
    rig.end();
}

#[test]
fn a_shape_that_cannot_keep_up_is_deferred_alone_and_the_data_flows() {
    let mut rig = Rig::new();
    rig.keys(&[("keys", Some("data")), ("inform_keys", None)]);
    let long = "x".repeat(100_000);
    for _ in 0..200 {
        rig.feed(&OTP.replace(r#""phone":"1""#, &format!(r#""phone":"1","pad":"{long}""#)), &[]);
    }
    rig.feed(TRACK, &[]);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.requests().len(), 1, "data flows");
    rig.answer(200, SUCCESS);
    let deferred: Vec<u32> = rig.pipeline.partitions()[0].deferred().map(|(lane, ..)| lane).collect();
    let of_data = deferred.iter().filter(|lane| **lane == 0).count();
    assert_eq!((deferred.len(), of_data), (1, 0), "the alerts' lane is deferred, and not the account's");
    let report = Report::new(rig.now, &rig.pipeline, &State::default());
    assert_eq!((report.accounts.len(), report.accounts[0].deferred.len()), (1, 1), "users see one account");
    assert!(report.differences().iter().all(|difference| *difference == 0));
    rig.end();
}

#[test]
fn an_account_may_want_fewer_calls_in_a_request_than_its_vendor_takes() {
    let mut rig = Rig::of(&MOENGAGE.replace("linger = \"0s\"", "linger = \"9s\"\nmax_calls = 3"));
    rig.keys(&[("keys", Some("key")), ("inform_keys", Some("key"))]);
    (0..7).for_each(|_| rig.feed(TRACK, &[]));
    let calls = |rig: &Rig| {
        let elements = |(_, body): (_, Value)| body["elements"].as_array().map_or(0, Vec::len);
        rig.requests().into_iter().map(elements).collect::<Vec<_>>()
    };
    rig.pass(Duration::from_secs(1));
    assert_eq!(calls(&rig), [3, 3], "full ones go at once, the rest has time to fill");
    rig.pass(Duration::from_secs(9));
    assert_eq!(calls(&rig), [3, 3, 1]);
    rig.answer(200, SUCCESS);
    rig.end();
}
