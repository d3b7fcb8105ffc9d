//! The core as the poll thread drives it, for whatever measures it: without Kafka, without HTTP, and every answer is good.
#![allow(dead_code, reason = "each of the benches needs a part of it")]

pub(crate) mod allocations;
pub(crate) mod counting;
pub(crate) mod event;

use std::time::Duration;

use forebay::clock::Now;
use forebay::config;
use forebay::destination::Answer;
use forebay::json::Tape;
use forebay::lane::Flight;
use forebay::pipeline::{Action, Parts, Pipeline};
use forebay::router::Space;
use forebay::source::commit::Contents;
use forebay::source::record::{Headers, Record, kept};
use http::HeaderMap;
use secrecy::SecretString;

/// A record as producers write it: 340 bytes.
pub(crate) const SMALL: &str = r#"{"type":"track","messageId":"0b0f6a8e-5c0c-4b55-9f77-0d3b0c1f2a11","userId":"user-0001234","event":"Product Viewed","timestamp":"2026-11-20T20:40:00.123Z","properties":{"product_id":"sku-12345","category":"shoes","price":79.9,"currency":"EUR","in_stock":true},"context":{"app":{"version":"4.12.0"},"device":{"id":"d-1","type":"android"}}}"#;

/// One with nested properties and a browser's context: 1 KB.
pub(crate) const LARGE: &str = r#"{"type":"track","messageId":"0b0f6a8e-5c0c-4b55-9f77-0d3b0c1f2a11","userId":"user-0001234","anonymousId":"7c1f0f7e-0a55-4c1a-8d7e-0b9f6a8e5c0c","event":"Checkout Started","timestamp":"2026-11-20T20:40:00.123Z","originalTimestamp":"2026-11-20T20:40:00.001Z","sentAt":"2026-11-20T20:40:01Z","properties":{"order_id":"50314b8e9bcf000000000000","value":125.4,"revenue":115.4,"shipping":10,"currency":"EUR","coupon":"hasbros","products":[{"product_id":"507f1f77bcf86cd799439011","sku":"45790-32","name":"Monopoly: 3rd Edition","price":19,"quantity":1,"category":"Games"},{"product_id":"505bd76785ebb509fc183733","sku":"46493-32","name":"Uno Card Game","price":3,"quantity":2,"category":"Games"}]},"context":{"ip":"192.0.2.17","locale":"hu-HU","timezone":"Europe/Budapest","userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","library":{"name":"analytics.js","version":"2.11.1"},"page":{"path":"/checkout","referrer":"","url":"https://shop.example.com/checkout"},"app":{"version":"4.12.0"}}}"#;

pub(crate) const MOENGAGE: &[u8] =
    br#"{"status":"success","message":"Your request has been accepted and will be processed soon."}"#;
pub(crate) const ITERABLE: &[u8] = br#"{"successCount":100,"failCount":0,"invalidEmails":[],"invalidUserIds":[],"disallowedEventNames":[],"filteredOutFields":[],"createdFields":[],"failedUpdates":{"invalidEmails":[],"invalidUserIds":[],"notFoundEmails":[],"notFoundUserIds":[],"forgottenEmails":[],"forgottenUserIds":[]}}"#;

/// Eight tenants, half of them at each vendor.
pub(crate) const TENANTS: [&str; 8] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"];

/// Time that passes with each record: a hundred thousand of them a second, which no limit here binds.
const GAP: Duration = Duration::from_micros(10);
/// As the poll thread does, between one look at the timers and the next.
const TURN: i64 = 2_000;

/// So many records are decoded at a time.
pub(crate) const AHEAD: usize = 32;

/// A pipeline of eight tenants whose limits never bind, reading partition 0 from its beginning.
pub(crate) struct Core {
    pub(crate) pipeline: Pipeline,
    actions: Vec<Action>,
    headers: HeaderMap,
    /// The headers of each tenant's records.
    tenants: [Vec<u8>; 8],
    offset: i64,
    now: Now,
    tapes: [Tape; AHEAD],
}

impl Core {
    pub(crate) fn new(max_calls: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.toml");
        std::fs::write(&path, text(max_calls)).expect("a file");
        let config = config::load(&path).expect("a configuration").config;
        let now = Now { mono: Duration::from_secs(100), wall_ms: 1_795_207_260_000 };
        let mut pipeline = Pipeline::new(Parts::of(&config, now, 1));
        for lane in 0..8 {
            pipeline.set_keys(now, lane, &vec![SecretString::from("key")].into());
        }
        let slot = pipeline.slot("events", 0);
        pipeline.assign(slot, Contents::default());
        Self {
            pipeline,
            actions: Vec::new(),
            headers: HeaderMap::new(),
            tenants: TENANTS.map(|tenant| kept([("tenant", tenant.as_bytes())])),
            offset: 0,
            now,
            tapes: Default::default(),
        }
    }

    /// The next record, of the next tenant.
    pub(crate) fn record(&mut self, value: &str) {
        self.records(&[value]);
    }

    /// The next records, each of the next tenant, as the poll thread takes them: decoded some at a time.
    pub(crate) fn records<T: AsRef<str>>(&mut self, values: &[T]) {
        for values in values.chunks(AHEAD) {
            self.few(values);
        }
    }

    fn few<T: AsRef<str>>(&mut self, values: &[T]) {
        self.now = self.now.later(GAP * u32::try_from(values.len()).unwrap_or(0));
        let (now, first) = (self.now, self.offset);
        let offset = |at: usize| first + i64::try_from(at).unwrap_or(0);
        let headers_of = |offset: i64| Headers::of(&self.tenants[usize::try_from(offset % 8).unwrap_or(0)]);
        let mut events = [const { None }; AHEAD];
        let (mut records, mut routes) = ([None; AHEAD], [const { None }; AHEAD]);
        let rooms = self.tapes.iter_mut().zip(&mut events);
        for (at, (value, (tape, event))) in values.iter().zip(rooms).enumerate() {
            let record = records[at].insert(Record {
                slot: 0,
                offset: offset(at),
                timestamp_ms: Some(now.wall_ms),
                key: Some(b"user-0001234"),
                value: Some(value.as_ref().as_bytes()),
                headers: headers_of(offset(at)),
            });
            routes[at] = self.pipeline.route(record, Space { tape, event });
        }
        self.pipeline.ask_for_room(&routes);
        for (record, route) in records.iter().flatten().zip(routes.iter().flatten()) {
            if record.offset % TURN == 0 {
                self.pipeline.tick(now);
            }
            self.pipeline.take(now, record, route);
        }
        self.offset = offset(values.len());
    }

    /// Hands all requests over.
    pub(crate) fn take_requests(&mut self, mut send: impl FnMut(Box<Flight>)) {
        self.pipeline.take_actions(&mut self.actions);
        for action in self.actions.drain(..) {
            if let Action::Send(flight) = action {
                send(flight);
            }
        }
    }

    /// One of them came back.
    pub(crate) fn answered(&mut self, flight: Box<Flight>, answer: Answer<'_>) {
        self.pipeline.answered(self.now, flight, Ok(answer));
    }

    /// Answers all requests, and those that follow; how many there were.
    pub(crate) fn answer_all(&mut self) -> u32 {
        let (now, mut requests) = (self.now, 0);
        self.pipeline.take_actions(&mut self.actions);
        while !self.actions.is_empty() {
            for action in self.actions.drain(..) {
                if let Action::Send(flight) = action {
                    requests += 1;
                    let body = if is_moengage(&flight) { MOENGAGE } else { ITERABLE };
                    self.pipeline.answered(now, flight, Ok(Answer { status: 200, headers: &self.headers, body }));
                }
            }
            self.pipeline.take_actions(&mut self.actions);
        }
        requests
    }

    /// Sends what has not filled a batch.
    pub(crate) fn flush(&mut self) {
        let held = |core: &Self| core.pipeline.accounts().iter().any(|account| account.lane.held_calls() > 0);
        while held(self) {
            self.now = self.now.later(Duration::from_secs(1));
            self.pipeline.tick(self.now);
            self.answer_all();
        }
    }
}

fn is_moengage(flight: &Flight) -> bool {
    flight.target.path.contains("transition")
}

/// Its configuration.
pub(crate) fn text(max_calls: usize) -> String {
    let mut text = "[kafka]\nbrokers = \"nobody:1\"\ngroup = \"g\"\ntopics = [\"events\"]\n".to_owned();
    for (index, tenant) in TENANTS.iter().enumerate() {
        let vendor = if index % 2 == 0 {
            format!(
                "limits.events_per_minute = 100000000\nmoengage.workspace = \"W\"\nmoengage.data_center = \"0{}\"\nmoengage",
                index / 2 + 1
            )
        } else {
            "limits.requests_per_second.events = 100000\niterable.region = \"us\"\niterable".to_owned()
        };
        let account = format!("[accounts.{tenant}]\nmax_calls = {max_calls}\n{vendor}.keys = [{{ file = \"k\" }}]\n");
        text.push_str(&account);
    }
    text
}
