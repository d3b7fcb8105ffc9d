//! What fails when: a list made from a seed, in which everything that fails heals before the end.
//!
//! Replicas, brokers, the wire, the vendors and the keys fail independently of each other. Of the brokers one at a time
//! is away, because with two away Kafka stands still, which proves nothing.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::kafka::NODES;

/// How many `forebay run` there are.
pub(super) const REPLICAS: usize = 3;

/// How long things fail; the load lasts as long.
pub(super) const LENGTH: Duration = Duration::from_secs(26);

/// What is done to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A replica's SIGKILL.
    Kill(usize),
    /// A replica's SIGTERM.
    Leave(usize),
    /// A replica's start.
    Join(usize),
    /// A replica's SIGSTOP.
    Freeze(usize),
    /// A replica's SIGCONT.
    Thaw(usize),
    BrokerKill(usize),
    BrokerStart(usize),
    BrokerFreeze(usize),
    BrokerThaw(usize),
    /// All connections to the vendors are closed.
    Cut,
    /// New connections to the vendors are closed too.
    Refuse(bool),
    HalfOpen(bool),
    /// Milliseconds.
    Delay(u64),
    /// The vendors, or one account, answer like this; the account is an index into all.
    Trouble(Trouble, Option<usize>),
    Well,
    /// The account's key is no longer good.
    Revoke(usize),
    /// The account has a new one, and the replicas are given it.
    Replace(usize),
}

/// How a vendor answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    TooMany,
    Unavailable,
    Hang,
    ResetBefore,
    ResetAfter,
    LateAnswer,
    HalfAnswer,
}

/// One line of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) act: Act,
}

impl Act {
    /// The fault's kind, for counts; `None` where something heals.
    pub(super) fn fault(self) -> Option<&'static str> {
        Some(match self {
            Self::Kill(_) => "replica SIGKILL",
            Self::Leave(_) => "replica SIGTERM",
            Self::Join(_) => "replica joins",
            Self::Freeze(_) => "replica SIGSTOP",
            Self::BrokerKill(_) => "broker SIGKILL",
            Self::BrokerFreeze(_) => "broker SIGSTOP",
            Self::Cut => "wire cut",
            Self::Refuse(true) => "wire refuses",
            Self::HalfOpen(true) => "wire half open",
            Self::Delay(millis) if millis > 0 => "wire slow",
            Self::Trouble(trouble, _) => trouble.name(),
            Self::Revoke(_) => "key revoked and replaced",
            _ => return None,
        })
    }
}

impl Trouble {
    const ALL: [Self; 7] = [
        Self::TooMany,
        Self::Unavailable,
        Self::Hang,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::LateAnswer,
        Self::HalfAnswer,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::TooMany => "vendor 429",
            Self::Unavailable => "vendor 503",
            Self::Hang => "vendor hangs",
            Self::ResetBefore => "vendor resets before acceptance",
            Self::ResetAfter => "vendor resets after acceptance",
            Self::LateAnswer => "vendor answers too late",
            Self::HalfAnswer => "vendor answers half",
        }
    }

    /// Whether a request may be accepted and its answer not heard.
    pub(super) fn loses_answers(self) -> bool {
        matches!(self, Self::ResetAfter | Self::LateAnswer | Self::HalfAnswer)
    }

    /// As the sandbox's faults file has it.
    pub(super) fn fault(self) -> &'static str {
        match self {
            Self::TooMany => "kind = \"status\"\nstatus = 429\nheaders = { retry-after = \"2\" }",
            Self::Unavailable => "kind = \"status\"\nstatus = 503",
            Self::Hang => "kind = \"hang\"",
            Self::ResetBefore => "kind = \"reset_before\"",
            Self::ResetAfter => "kind = \"reset_after\"\nshare = 0.3",
            Self::LateAnswer => "kind = \"delay_answer\"\ndelay = \"7s\"\nshare = 0.3",
            Self::HalfAnswer => "kind = \"broken_json\"\nshare = 0.3",
        }
    }
}

/// The schedule of a seed.
pub(super) fn schedule(seed: u64, accounts: usize) -> Vec<Step> {
    let mut plan = Plan { rng: StdRng::seed_from_u64(seed), steps: Vec::new() };
    plan.replicas();
    plan.brokers();
    plan.wire();
    plan.vendors(accounts);
    plan.keys(accounts);
    plan.steps.sort_by_key(|step| step.at);
    plan.steps
}

struct Plan {
    rng: StdRng,
    steps: Vec<Step>,
}

impl Plan {
    /// So many seconds, more or less.
    fn seconds(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(from..to))
    }

    /// From `at` on for so long; the result is when it has healed, which is never after the end.
    fn fault(&mut self, at: Duration, act: Act, lasting: Duration, heal: Act) -> Duration {
        let end = (at + lasting).min(LENGTH);
        self.steps.push(Step { at, act });
        self.steps.push(Step { at: end, act: heal });
        end
    }

    /// The last replica joins later; a replica that something happens to is left alone until it is back.
    fn replicas(&mut self) {
        let mut free = [Duration::from_secs(3); REPLICAS];
        free[REPLICAS - 1] = self.seconds(2.0, 6.0);
        self.steps.push(Step { at: free[REPLICAS - 1], act: Act::Join(REPLICAS - 1) });
        let mut at = self.seconds(3.0, 6.0);
        while at + Duration::from_secs(2) < LENGTH {
            let replica = self.rng.random_range(0..REPLICAS);
            if free[replica] + Duration::from_secs(2) < at {
                free[replica] = match self.rng.random_range(0..10) {
                    0..4 => {
                        let away = self.seconds(0.3, 6.0);
                        self.fault(at, Act::Kill(replica), away, Act::Join(replica))
                    }
                    4..7 => {
                        let away = self.seconds(0.3, 5.0);
                        self.fault(at, Act::Leave(replica), away, Act::Join(replica))
                    }
                    _ => {
                        let frozen = self.seconds(3.0, 10.0);
                        self.fault(at, Act::Freeze(replica), frozen, Act::Thaw(replica))
                    }
                };
            }
            at += self.seconds(1.5, 5.0);
        }
    }

    /// A broker needs some seconds to be in sync again after it was away.
    fn brokers(&mut self) {
        let mut at = self.seconds(3.0, 7.0);
        let mut kill = self.rng.random_bool(0.5);
        while at + Duration::from_secs(4) < LENGTH {
            let node = self.rng.random_range(0..NODES);
            at = if kill {
                let away = self.seconds(0.5, 4.0);
                self.fault(at, Act::BrokerKill(node), away, Act::BrokerStart(node)) + Duration::from_secs(7)
            } else {
                let frozen = self.seconds(2.5, 6.0);
                self.fault(at, Act::BrokerFreeze(node), frozen, Act::BrokerThaw(node)) + Duration::from_secs(2)
            };
            at += self.seconds(1.0, 4.0);
            kill = !kill;
        }
    }

    fn wire(&mut self) {
        let mut at = self.seconds(2.0, 6.0);
        while at + Duration::from_secs(1) < LENGTH {
            at = match self.rng.random_range(0..10) {
                0..3 => {
                    self.steps.push(Step { at, act: Act::Cut });
                    at
                }
                3..5 => {
                    let away = self.seconds(1.0, 5.0);
                    self.fault(at, Act::Refuse(true), away, Act::Refuse(false))
                }
                5..8 => {
                    let silent = self.seconds(1.0, 7.0);
                    self.fault(at, Act::HalfOpen(true), silent, Act::HalfOpen(false))
                }
                _ => {
                    let (millis, slow) = (self.rng.random_range(50..400), self.seconds(2.0, 5.0));
                    self.fault(at, Act::Delay(millis), slow, Act::Delay(0))
                }
            };
            at += self.seconds(2.0, 5.0);
        }
    }

    fn vendors(&mut self, accounts: usize) {
        let mut at = self.seconds(1.0, 4.0);
        while at + Duration::from_secs(1) < LENGTH {
            let trouble = Trouble::ALL[self.rng.random_range(0..Trouble::ALL.len())];
            let account = self.rng.random_bool(0.4).then(|| self.rng.random_range(0..accounts));
            let lasting = self.seconds(1.0, 5.0);
            at = self.fault(at, Act::Trouble(trouble, account), lasting, Act::Well);
            at += self.seconds(0.5, 3.0);
        }
    }

    fn keys(&mut self, accounts: usize) {
        for (from, to) in [(3.0, 8.0), (12.0, 18.0)] {
            let (at, lasting) = (self.seconds(from, to), self.seconds(2.0, 6.0));
            let account = self.rng.random_range(0..accounts);
            self.fault(at, Act::Revoke(account), lasting, Act::Replace(account));
        }
    }
}

#[test]
fn a_seed_makes_one_schedule_and_everything_heals_in_it() {
    for seed in 0..200 {
        let steps = schedule(seed, 8);
        assert_eq!(steps, schedule(seed, 8));
        let count = |of: fn(&Act) -> bool| steps.iter().filter(|step| of(&step.act)).count();
        assert!(steps.iter().all(|step| step.at <= LENGTH), "seed {seed}");
        assert_eq!(count(|a| matches!(a, Act::Freeze(_))), count(|a| matches!(a, Act::Thaw(_))));
        assert_eq!(count(|a| matches!(a, Act::BrokerKill(_))), count(|a| matches!(a, Act::BrokerStart(_))));
        let gone = count(|a| matches!(a, Act::Kill(_) | Act::Leave(_)));
        assert_eq!(gone + 1, count(|a| matches!(a, Act::Join(_))), "the last replica joins once more, seed {seed}");
        assert_eq!(count(|a| matches!(a, Act::Trouble(..))), count(|a| *a == Act::Well));
    }
}
