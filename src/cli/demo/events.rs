//! What is produced: Segment-spec events, each made from its number alone.
//!
//! So nothing has to be remembered to know afterwards what should have arrived, however long a demo runs. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What a poison event holds, and the vendors refuse.
pub(super) const POISON: &str = "a poisoned event of the demo";
/// Different users of a tenant.
const USERS: u32 = 200;
/// The smallest and the largest event, in bytes, as nearly as texts allow.
const SIZES: std::ops::RangeInclusive<usize> = 300..=3_000;
/// No text of an event is longer.
const LONGEST: usize = 200;

const NAMES: [&str; 5] = ["Product Viewed", "Article Read", "Song Played", "Signed In", "Video Started"];

const WORDS: &str =
    "the forebay takes an uneven river and gives each intake an even flow, and so on until the next event ";

/// What decides an event, beside its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Equal seeds make equal events, but for their time.
    pub(super) seed: u64,
    /// How many tenants there are.
    pub(super) tenants: usize,
    /// A tenant that gets less than the others: this share of what they get, 0 to 1.
    pub(super) quiet: (usize, f64),
    /// One event in so many is poison.
    pub(super) poison_every: u32,
}

/// An event, as far as the books need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its number.
    pub(super) index: u64,
    /// Whose it is.
    pub(super) tenant: usize,
    /// Which of the tenant's users.
    pub(super) user: u32,
    /// An identify, or a track.
    pub(super) identify: bool,
    /// Whether the vendors refuse it.
    pub(super) poison: bool,
}

impl Plan {
    /// The event of this number.
    pub(super) fn head(&self, index: u64) -> Head {
        let mut random = self.random(index);
        let mut tenant = random.random_range(0..self.tenants);
        if tenant == self.quiet.0 && self.tenants > 1 && !random.random_bool(self.quiet.1.clamp(0.0, 1.0)) {
            tenant = (tenant + 1 + random.random_range(0..self.tenants - 1)) % self.tenants;
        }
        let user = random.random_range(0..USERS);
        let poison = random.random_range(0..self.poison_every.max(1)) == 0;
        Head { index, tenant, user, identify: !poison && random.random_bool(0.2), poison }
    }

    /// The record's value.
    pub(super) fn json(&self, head: &Head, time: Timestamp) -> String {
        // Another generator than the head's, so that the two can change apart.
        let mut random = self.random(!head.index);
        let (id, user) = (head.id(), head.user_id());
        let (size, number) = (random.random_range(SIZES), random.random_range(100..10_000_u32));
        let mut json = String::with_capacity(size + 64);
        let kind = if head.identify { "identify" } else { "track" };
        // A String takes everything that is written to it.
        let _ = write!(json, r#"{{"type":"{kind}","messageId":"{id}","userId":"{user}","timestamp":"{time:.3}""#);
        json.push_str(r#","context":{"library":{"name":"forebay-demo","version":"1"},"locale":"en-GB"}"#);
        if head.identify {
            let age = 18 + number % 60;
            let _ = write!(json, r#","traits":{{"message_id":"{id}","email":"{user}@example.com","age":{age}"#);
        } else {
            let name = NAMES[random.random_range(0..NAMES.len())];
            let _ = write!(json, r#","event":"{name}","properties":{{"message_id":"{id}","price":{number}.5"#);
        }
        if head.poison {
            let _ = write!(json, r#","comment":"{POISON}""#);
        }
        fill(&mut json, size.saturating_sub(2));
        json.push_str("}}");
        json
    }

    fn random(&self, index: u64) -> SmallRng {
        SmallRng::seed_from_u64(self.seed.rotate_left(32) ^ index)
    }
}

impl Head {
    /// The message id.
    pub(super) fn id(&self) -> String {
        format!("demo-{:07}", self.index)
    }

    /// The user, unique within the tenant; it is the record's key.
    pub(super) fn user_id(&self) -> String {
        format!("user-{}", self.user)
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { seed: 7, tenants: 10, quiet: (3, 0.25), poison_every: 100 };

    #[test]
    fn an_event_is_made_of_its_number_alone() {
        let time = Timestamp::UNIX_EPOCH;
        for index in [0, 1, 999_999] {
            assert_eq!(PLAN.head(index), PLAN.head(index));
            assert_eq!(PLAN.json(&PLAN.head(index), time), PLAN.json(&PLAN.head(index), time));
        }
        assert_ne!(PLAN.json(&PLAN.head(1), time), PLAN.json(&PLAN.head(2), time));
    }

    #[test]
    fn events_are_segments_messages_of_the_promised_sizes() {
        for index in 0..500 {
            let head = PLAN.head(index);
            let json = PLAN.json(&head, Timestamp::UNIX_EPOCH);
            assert!((290..=3_000).contains(&json.len()), "{} bytes", json.len());
            let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            assert_eq!(value["messageId"], head.id());
            let place = if head.identify { &value["traits"] } else { &value["properties"] };
            assert_eq!(place["message_id"], head.id());
            assert_eq!(json.contains(POISON), head.poison);
        }
    }

    #[test]
    fn every_tenant_gets_events_and_the_quiet_one_fewer() {
        let mut counts = [0_u32; 10];
        (0..20_000).for_each(|index| counts[PLAN.head(index).tenant] += 1);
        assert!(counts.iter().enumerate().all(|(tenant, &count)| tenant == 3 || count > 1_800), "{counts:?}");
        assert!((300..700).contains(&counts[3]), "{counts:?}");
    }

    #[test]
    fn poison_is_as_rare_as_it_should_be() {
        let poison = (0..100_000).filter(|&index| PLAN.head(index).poison).count();
        assert!((800..1_200).contains(&poison), "{poison}");
    }

    #[test]
    fn one_tenant_alone_gets_everything() {
        let plan = Plan { tenants: 1, quiet: (0, 0.1), ..PLAN };
        assert!((0..100).all(|index| plan.head(index).tenant == 0));
    }
}
