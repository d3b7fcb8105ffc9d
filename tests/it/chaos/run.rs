//! One seed: the load, the schedule carried out on real processes, the healing, and the wait until all is committed.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Figures;
use super::oracle::{self, Cause, Disturbance, Evidence, Produced};
use super::schedule::{Act, LENGTH, REPLICAS, Step, Trouble, schedule};
use crate::support::config::{ConfigText, accounts, tenants};
use crate::support::events::Events;
use crate::support::kafka::{Cluster, Message};
use crate::support::process::{Forebay, Setup};
use crate::support::proxy::FaultProxy;
use crate::support::unique;
use crate::support::vendors::Vendors;

/// How many events a second.
const RATE: u32 = 240;
const TENANTS: usize = 10;
/// Few, so that each has many state calls.
const USERS: u32 = 12;
/// One event of so many is poison: each time another tenant's.
const POISON_EVERY: usize = 497;
/// From the last fault to commits at the ends.
const DRAIN: Duration = Duration::from_mins(1);
/// A vendor that does not answer for so long has not answered.
const TIMEOUT: &str = "5s";
/// A process that was asked to end does so within its drain, and a little.
const END: Duration = Duration::from_secs(45);

/// What the vendors refuse, and nothing else says why.
const POISON: &str = "[[fault]]\nkind = \"poison\"\nmarker = \"chaos-poison\"\n";

struct Run<'a> {
    cluster: &'a Cluster,
    config: ConfigText,
    setup: Setup,
    vendors: Vendors,
    wire: FaultProxy,
    replicas: [Option<Forebay>; REPLICAS],
    /// Asked to end.
    leaving: Vec<Forebay>,
    /// Killed; their logs are looked at in the end.
    killed: Vec<Forebay>,
    faults: BTreeMap<&'static str, u64>,
    /// Requests that the vendors' faults hit.
    hit: BTreeMap<&'static str, u64>,
    disturbances: Vec<Disturbance>,
    keys: usize,
}

/// Runs a seed; panics if anything does not hold.
pub(super) fn run(cluster: &Cluster, seed: u64) -> Figures {
    let tenants = tenants(TENANTS);
    let accounts = accounts(&tenants);
    let steps = schedule(seed, accounts.len());
    println!("seed {seed} (FOREBAY_CHAOS_SEED={seed} runs it alone):");
    for Step { at, act } in &steps {
        println!("{:>8.2} s  {act:?}", at.as_secs_f64());
    }
    let topic = unique("chaos");
    cluster.create_topic(&topic, 6, &[]);
    let vendors = Vendors::start_with(&accounts, POISON, None);
    let wire = FaultProxy::start(vendors.address());
    let sandbox = format!("http://{}", wire.address());
    let delivery = format!("[delivery]\ntimeout = \"{TIMEOUT}\"\n");
    let config = ConfigText::new(cluster, &topic, &sandbox, &accounts).section(&delivery);
    let setup = config.setup();
    let mut run = Run {
        cluster,
        config,
        setup,
        vendors,
        wire,
        replicas: [const { None }; REPLICAS],
        leaving: Vec::new(),
        killed: Vec::new(),
        faults: BTreeMap::new(),
        hit: BTreeMap::new(),
        disturbances: Vec::new(),
        keys: 0,
    };
    run.replicas[0] = Some(run.setup.start());
    run.replicas[1] = Some(run.setup.start());
    let produced = produced(seed, &tenants);
    thread::scope(|scope| {
        let messages = produced.iter().map(Produced::message);
        let load = scope.spawn(|| cluster.produce(&topic, paced(messages)));
        run.carry_out(&steps);
        load.join().expect("the load");
    });
    let drained = run.heal(&topic);
    run.end();
    let found = run.judge(&produced);
    let (events, faults, hit) = (produced.len() as u64, std::mem::take(&mut run.faults), std::mem::take(&mut run.hit));
    Figures { seeds: 1, events, faults, hit, found, drains: vec![drained.as_secs_f64()] }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show();
        }
    }
}

fn produced(seed: u64, tenants: &[String]) -> Vec<Produced> {
    let seconds = usize::try_from(LENGTH.as_secs()).unwrap();
    let events = Events::new(seed, tenants).users(USERS).identify(0.3).sizes(330..=900);
    let events = events.take(RATE as usize * seconds).enumerate();
    let produced = |(index, mut event): (usize, crate::support::events::Event)| {
        let poison = index % POISON_EVERY == POISON_EVERY / 2;
        if poison {
            event.json.truncate(event.json.len() - "}}".len());
            event.json.push_str(r#","poison":"chaos-poison"}}"#);
        }
        Produced { event, poison }
    };
    events.map(produced).collect()
}

/// Gives each message when it is due.
fn paced(messages: impl Iterator<Item = Message>) -> impl Iterator<Item = Message> {
    let begun = Instant::now();
    (0..).zip(messages).map(move |(index, message)| {
        thread::sleep((begun + index * Duration::from_secs(1) / RATE).saturating_duration_since(Instant::now()));
        message
    })
}

/// Now, as the sandbox's and the processes' clocks have it.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap()
}

impl Run<'_> {
    fn carry_out(&mut self, steps: &[Step]) {
        let begun = Instant::now();
        for step in steps {
            thread::sleep((begun + step.at).saturating_duration_since(Instant::now()));
            if let Some(fault) = step.act.fault() {
                *self.faults.entry(fault).or_default() += 1;
            }
            self.act(step.act);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Kill(_) | Act::Leave(_) | Act::Join(_) | Act::Freeze(_) | Act::Thaw(_) => self.act_on_replica(act),
            Act::BrokerKill(node) => {
                self.begin(Cause::Broker);
                self.cluster.kill(node);
            }
            Act::BrokerStart(node) => {
                self.cluster.launch(node);
                self.finish(Cause::Broker);
            }
            Act::BrokerFreeze(node) => {
                self.begin(Cause::Broker);
                self.cluster.freeze(node, true);
            }
            Act::BrokerThaw(node) => {
                self.cluster.freeze(node, false);
                self.finish(Cause::Broker);
            }
            Act::Cut => {
                self.disturb(Cause::LostAnswer);
                self.wire.cut();
            }
            Act::Refuse(yes) => {
                self.disturb(Cause::LostAnswer);
                self.wire.refuse(yes);
                self.wire.cut();
            }
            Act::HalfOpen(yes) => {
                self.window(Cause::HeldBack, yes);
                self.wire.half_open(yes);
            }
            Act::Delay(millis) => {
                self.window(Cause::HeldBack, millis > 0);
                self.wire.delay(Duration::from_millis(millis));
            }
            Act::Trouble(trouble, account) => self.trouble(trouble, account),
            Act::Well => {
                self.vendors.set_faults(POISON);
                self.finish(Cause::LostAnswer);
            }
            Act::Revoke(account) => self.vendors.revoke(&self.config.accounts()[account].name),
            Act::Replace(account) => self.replace_key(account),
        }
    }

    fn act_on_replica(&mut self, act: Act) {
        match act {
            Act::Kill(replica) => {
                self.disturb(Cause::Kill);
                let mut killed = self.replicas[replica].take().expect("the schedule knows who runs");
                killed.sigkill();
                self.killed.push(killed);
            }
            Act::Leave(replica) => {
                let leaving = self.replicas[replica].take().expect("the schedule knows who runs");
                leaving.sigterm();
                self.leaving.push(leaving);
            }
            Act::Join(replica) => self.replicas[replica] = Some(self.setup.start()),
            Act::Freeze(replica) => {
                self.begin(Cause::Freeze);
                self.replica(replica).sigstop();
            }
            Act::Thaw(replica) => {
                self.replica(replica).sigcont();
                self.finish(Cause::Freeze);
            }
            other => panic!("{other:?} is not done to a replica"),
        }
    }

    fn replica(&self, replica: usize) -> &Forebay {
        self.replicas[replica].as_ref().expect("the schedule knows who runs")
    }

    fn trouble(&mut self, trouble: Trouble, account: Option<usize>) {
        if trouble.loses_answers() {
            let account = account.map(|account| self.config.accounts()[account].name.clone());
            let (from, to) = (now_ms(), i64::MAX);
            self.disturbances.push(Disturbance { cause: Cause::LostAnswer, account, from, to });
        }
        let narrow = account.map(|account| format!("account = \"{}\"\n", self.config.accounts()[account].name));
        let narrow = narrow.unwrap_or_default();
        // Poison first: what a vendor takes and does not answer must not be poison.
        self.vendors.set_faults(&format!("{POISON}\n[[fault]]\n{}\n{narrow}", trouble.fault()));
    }

    fn replace_key(&mut self, account: usize) {
        self.keys += 1;
        let account = &self.config.accounts()[account];
        let key = format!("{}-{}", account.key, self.keys);
        self.vendors.set_key(&account.name, &key);
        self.setup.write(&account.key_file(), format!("{key}\n"));
    }

    // === what may explain a duplicate ===

    fn window(&mut self, cause: Cause, begins: bool) {
        if begins { self.begin(cause) } else { self.finish(cause) }
    }

    fn begin(&mut self, cause: Cause) {
        self.disturbances.push(Disturbance { cause, account: None, from: now_ms(), to: i64::MAX });
    }

    /// Ends the oldest of this cause that has not ended; those of one replica or broker do not overlap often enough to
    /// make a difference.
    fn finish(&mut self, cause: Cause) {
        let open = self.disturbances.iter_mut().find(|it| it.cause == cause && it.to == i64::MAX);
        if let Some(open) = open {
            open.to = now_ms();
        }
    }

    fn disturb(&mut self, cause: Cause) {
        let now = now_ms();
        self.disturbances.push(Disturbance { cause, account: None, from: now, to: now });
    }

    /// What the replicas that live say, for people: which partitions and lanes still owe something.
    fn show(&mut self) {
        for forebay in self.replicas.iter_mut().flatten() {
            let Ok((_, text)) = forebay.try_get("/metrics") else {
                println!("process {} does not answer", forebay.pid());
                continue;
            };
            println!("process {}:", forebay.pid());
            let telling =
                ["forebay_consumer_", "forebay_events_in_flight", "forebay_calls_in_flight", "forebay_lane_inflight"];
            let telling = |line: &&str| telling.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0");
            text.lines().filter(telling).for_each(|line| println!("  {line}"));
            let accounts = forebay.accounts();
            let waits = |account: &&serde_json::Value| account["held_events"] != 0;
            let accounts = accounts.as_array().into_iter().flatten().filter(waits);
            accounts
                .for_each(|account| println!("  {} {} {}", account["account"], account["health"], account["binds"]));
        }
    }

    // === the end ===

    /// Waits until all is committed; the result is how long that took after the last fault.
    fn heal(&mut self, topic: &str) -> Duration {
        self.cluster.wait_whole();
        let healed = Instant::now();
        self.cluster.wait_committed_to_end(&self.config.group(), topic, DRAIN);
        healed.elapsed()
    }

    /// Looks at the books of all that live, and ends them.
    fn end(&mut self) {
        for forebay in self.replicas.iter_mut().flatten() {
            forebay.wait_ready(DRAIN);
            for metric in ["forebay_books_imbalance_total", "forebay_calls_dropped_unsettled_total"] {
                assert_eq!(forebay.metric(metric, &[]), Some(0.0), "{metric}");
            }
            assert_eq!(forebay.metric("forebay_calls_in_flight", &[]), Some(0.0), "calls in flight");
            forebay.sigterm();
        }
        for forebay in self.replicas.iter_mut().flatten() {
            assert_eq!(forebay.wait(END), Some(0), "how a replica ends with nothing to do");
        }
        for forebay in &mut self.leaving {
            // 75: the drain ran out of time, because a vendor was away.
            let code = forebay.wait(END);
            assert!(matches!(code, Some(0 | 75)), "how a replica ends amid faults: {code:?}");
        }
    }

    fn judge(&mut self, produced: &[Produced]) -> oracle::Found {
        let all = self.replicas.iter().flatten().chain(&self.leaving).chain(&self.killed);
        for forebay in all {
            let log = forebay.log();
            for sign in ["panicked", "do not balance"] {
                assert!(!log.contains(sign), "{sign:?} in the log of process {}", forebay.pid());
            }
            self.disturbances.extend(oracle::disturbances(&forebay.log_lines()));
        }
        let letters = self.cluster.consume_all(&self.config.dead_letters());
        let accepted = self.vendors.accepted();
        for account in self.vendors.report().accounts.into_values() {
            crate::chaos::add_all(&mut self.hit, &account.faults);
        }
        let (accounts, disturbances) = (self.config.accounts(), &self.disturbances);
        oracle::judge(&Evidence { produced, accounts, accepted: &accepted, letters: &letters, disturbances })
    }
}
