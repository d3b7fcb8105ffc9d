//! Segment-spec events, made from a seed: identify and track, of many tenants and users, 300 B to 3 KB.
//!
//! Each carries its message id a second time, in `properties.message_id` or `traits.message_id`: a bulk element of the first
//! vendor has no id of its own, and a test wants to see there what it produced. A property has the same type in all events,
//! as the second demands; no event is one that a vendor has a shape of its own for (orders, carts).

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::kafka::{Message, console_line};

const NAMES: [&str; 6] =
    ["Product Viewed", "Article Read", "Song Played", "Signed In", "Search \\\"done\\\"", "Stra\u{df}e besucht"];

const WORDS: &str =
    "the forebay takes an uneven river and gives each intake an even flow, and so on until the next event ";

/// No text of an event is longer.
const LONGEST: usize = 200;

/// One event, and what a test wants to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) message_id: String,
    pub(crate) tenant: String,
    pub(crate) user_id: String,
    pub(crate) kind: Kind,
    /// The record's value: one line of JSON.
    pub(crate) json: String,
}

/// A message's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identify,
    Track,
}

impl Event {
    /// As a record: the key is the user, the header `tenant` the tenant.
    pub(crate) fn message(&self) -> Message {
        Message::new(self.json.as_bytes()).key(self.user_id.as_bytes()).header("tenant", self.tenant.as_bytes())
    }

    /// As a line for the console producer.
    pub(crate) fn console_line(&self) -> String {
        console_line(&[("tenant", &self.tenant)], &self.user_id, &self.json)
    }
}

/// Events without end; equal seeds and settings make equal events, but for their time.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    seed: u64,
    random: StdRng,
    tenants: Vec<String>,
    users: u32,
    identify: f64,
    sizes: RangeInclusive<usize>,
    start: Timestamp,
    count: u32,
}

impl Events {
    /// For these tenants in turn: 200 users each, a fifth of the events identify, all sizes.
    pub(crate) fn new(seed: u64, tenants: &[String]) -> Self {
        Self {
            seed,
            random: StdRng::seed_from_u64(seed),
            tenants: tenants.to_vec(),
            users: 200,
            identify: 0.2,
            sizes: 300..=3000,
            // In the past: the vendors refuse what comes from the future.
            start: Timestamp::now() - SignedDuration::from_hours(1),
            count: 0,
        }
    }

    /// So many users a tenant.
    pub(crate) fn users(mut self, users: u32) -> Self {
        self.users = users;
        self
    }

    /// This share of identify calls, 0 to 1.
    pub(crate) fn identify(mut self, share: f64) -> Self {
        self.identify = share;
        self
    }

    /// Values of so many bytes; fewer than about 330 cannot be.
    pub(crate) fn sizes(mut self, bytes: RangeInclusive<usize>) -> Self {
        self.sizes = bytes;
        self
    }

    fn properties(&mut self, message_id: &str, kind: Kind, tenant: &str, user: u32) -> String {
        let number = self.random.random_range(100..10_000);
        match kind {
            Kind::Identify => format!(
                r#"{{"message_id":"{message_id}","email":"u{user}@{tenant}.example","plan":"pro","age":{}"#,
                18 + number % 60
            ),
            Kind::Track => format!(
                r#"{{"message_id":"{message_id}","price":{}.5,"currency":"EUR","in_stock":{}"#,
                number,
                number % 2 == 0
            ),
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let index = self.count;
        self.count += 1;
        let tenant = self.tenants[index as usize % self.tenants.len()].clone();
        let user = self.random.random_range(0..self.users);
        let kind = if self.random.random_bool(self.identify) { Kind::Identify } else { Kind::Track };
        let size = self.random.random_range(self.sizes.clone());
        let (message_id, user_id) = (format!("{:x}-{index:07}", self.seed), format!("{tenant}-u{user}"));
        let time = self.start + SignedDuration::from_millis(i64::from(index % 3_000_000));
        let head = match kind {
            Kind::Identify => r#"{"type":"identify""#.to_owned(),
            Kind::Track => {
                format!(r#"{{"type":"track","event":"{}""#, NAMES[self.random.random_range(0..NAMES.len())])
            }
        };
        let head = format!(
            r#"{head},"messageId":"{message_id}","userId":"{user_id}","timestamp":"{time:.3}","context":{}"#,
            context(size)
        );
        let field = if kind == Kind::Identify { "traits" } else { "properties" };
        let properties = self.properties(&message_id, kind, &tenant, user);
        let mut json = format!(r#"{head},"{field}":{properties}"#);
        fill(&mut json, size - "}}".len().min(size));
        json.push_str("}}");
        Some(Event { message_id, tenant, user_id, kind, json })
    }
}

/// What a client library adds: little in a small event, more in a large one.
fn context(size: usize) -> &'static str {
    if size < 800 {
        r#"{"library":{"name":"analytics.js","version":"2.1.0"},"locale":"en-GB"}"#
    } else {
        concat!(
            r#"{"library":{"name":"analytics.js","version":"2.1.0"},"locale":"en-GB","timezone":"Europe/Berlin","#,
            r#""ip":"192.0.2.17","app":{"name":"Shop","version":"4.5.6","namespace":"com.example.shop"},"#,
            r#""os":{"name":"Android","version":"16"},"page":{"path":"/a/b","title":"Gr\u00fc\u00dfe \ud83d\ude80"}}"#,
        )
    }
}

/// Adds texts until the size is met as nearly as a property allows.
fn fill(json: &mut String, size: usize) {
    for number in 0.. {
        let name = format!(r#","note_{number}":""#);
        let room = size.saturating_sub(json.len() + name.len() + 1);
        if room == 0 {
            break;
        }
        json.push_str(&name);
        json.extend(WORDS.chars().cycle().take(room.min(LONGEST)));
        json.push('"');
    }
}
