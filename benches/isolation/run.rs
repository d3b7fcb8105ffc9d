//! One run of an arm: Forebay with a thousand accounts while the plan is produced; and what its catching up costs.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::plan::{PARTITIONS, Plan, TENANTS, account, stage, zipf};
use crate::support::config::Account;
use crate::support::events::Event;
use crate::support::eventually;
use crate::support::kafka::Message;
use crate::support::process::{Forebay, Setup};
use crate::support::stage::{JOIN, Stage};
use crate::support::vendors::message_id;

/// What happens before this is the start's, not the run's.
const WARM_UP_MS: i64 = 5_000;
/// For all that waited to arrive.
const CATCH_UP: Duration = Duration::from_mins(5);
/// How many records the capacity is measured with.
const BACKLOG: u64 = 100_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) trouble: bool,
    /// Healthy tenants' events, and how many of them arrived more than once.
    pub(crate) events: usize,
    pub(crate) repeated: usize,
    /// Milliseconds from Kafka to accepted.
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) pauses: f64,
    pub(crate) held_mib: f64,
    pub(crate) peak_mib: f64,
    pub(crate) returns: Option<Returns>,
}

/// What waited arrives: first when the keys are back, then when the flood's limit is lifted.
#[derive(Clone, Debug)]
pub(crate) struct Returns {
    pub(crate) keys: Return,
    pub(crate) flood: Return,
}

#[derive(Clone, Debug)]
pub(crate) struct Return {
    pub(crate) seconds: f64,
    pub(crate) delivered: f64,
    pub(crate) reread: f64,
}

impl Return {
    /// Records read again for each that was delivered.
    pub(crate) fn cost(&self) -> f64 {
        self.reread / self.delivered.max(1.0)
    }
}

/// How many events a second a backlog gives when all accounts are well: what the whole arrangement on this machine can do.
pub(crate) fn capacity() -> f64 {
    let accounts: Vec<Account> = (0..TENANTS).map(account).collect();
    let stage = stage(&accounts);
    let messages = (0..).zip(zipf(BACKLOG)).map(|(index, tenant)| event(tenant, index).message());
    stage.kafka.produce(&stage.topic, messages);
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    eventually(CATCH_UP, "the backlog is taken", || match taken(&stage) {
        taken if taken >= BACKLOG => Ok(()),
        taken => Err(taken.to_string()),
    });
    let mut times: Vec<i64> = stage.vendors.accepted().iter().map(|accepted| accepted.at_ms).collect();
    times.sort_unstable();
    // Without the start, and without the end, where only the largest tenants are left.
    let (from, to) = (times.len() / 10, times.len() * 9 / 10);
    (to - from) as f64 * 1_000.0 / (times[to] - times[from]).max(1) as f64
}

fn taken(stage: &Stage<'_>) -> u64 {
    stage.vendors.report().accounts.values().map(|account| account.distinct_ids).sum()
}

pub(crate) fn run(plan: &Plan, trouble: bool) -> Row {
    let stage = plan.stage(trouble);
    let setup = stage.config.setup();
    if trouble {
        plan.dead.iter().for_each(|&tenant| stage.vendors.revoke(&plan.accounts[tenant].name));
    }
    let mut forebay = setup.start();
    eventually(JOIN, "all partitions are assigned", || {
        match forebay.metric("forebay_consumer_assigned_partitions", &[]) {
            Some(count) if count >= f64::from(PARTITIONS) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    if trouble {
        stage.vendors.set_faults(&plan.faults());
    }
    let mut held = 0.0_f64;
    let sent = std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&stage, plan));
        while !producer.is_finished() {
            std::thread::sleep(Duration::from_secs(1));
            held = held.max(forebay.metric("forebay_memory_held_bytes", &[]).unwrap());
        }
        producer.join().unwrap()
    });
    wait_taken(plan, &stage, |tenant| !trouble || plan.is_healthy(tenant));
    let mut row = Row { trouble, ..Row::default() };
    row.time(plan, &stage, &sent);
    row.watch(&mut forebay);
    if trouble {
        let keys = keys_return(plan, &stage, &setup, &mut forebay);
        row.watch(&mut forebay);
        let (flood, mut relieved) = flood_returns(plan, &stage, &setup, &mut forebay);
        row.watch(&mut relieved);
        row.returns = Some(Returns { keys, flood });
    }
    row.held_mib = row.held_mib.max(held / 1_048_576.0);
    row.count_repeated(plan, &stage, &sent);
    row
}

impl Row {
    /// From Kafka to accepted, of the healthy tenants' events.
    fn time(&mut self, plan: &Plan, stage: &Stage<'_>, sent: &HashMap<String, i64>) {
        let begin = *sent.values().min().unwrap() + WARM_UP_MS;
        let mut first: HashMap<String, i64> = HashMap::with_capacity(sent.len());
        for accepted in stage.vendors.accepted() {
            if let Some(id) = message_id(&accepted.element) {
                first.entry(id).or_insert(accepted.at_ms);
            }
        }
        let healthy = first.iter().filter(|(id, _)| plan.is_healthy(tenant_of(id)) && sent[*id] >= begin);
        let mut times: Vec<f64> = healthy.map(|(id, at)| (at - sent[id]) as f64).collect();
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        (self.median, self.p99, self.events) = (at(50), at(99), times.len());
    }

    /// What the process says of itself so far, and the system of it.
    fn watch(&mut self, forebay: &mut Forebay) {
        self.pauses += forebay.metric("forebay_consumer_pauses_total", &[]).unwrap();
        let held = forebay.metric("forebay_memory_held_bytes", &[]).unwrap();
        self.held_mib = self.held_mib.max(held / 1_048_576.0);
        self.peak_mib = self.peak_mib.max(forebay.peak_memory() as f64 / 1_048_576.0);
    }

    /// Every event arrived by now; the healthy tenants' once.
    fn count_repeated(&mut self, plan: &Plan, stage: &Stage<'_>, sent: &HashMap<String, i64>) {
        let mut counts: HashMap<String, u32> = HashMap::with_capacity(sent.len());
        for accepted in stage.vendors.accepted() {
            if let Some(id) = message_id(&accepted.element) {
                *counts.entry(id).or_default() += 1;
            }
        }
        let missing = sent.keys().find(|id| !counts.contains_key(*id));
        assert!(missing.is_none(), "{missing:?} never arrived");
        let twice = counts.iter().filter(|(id, count)| **count > 1 && plan.is_healthy(tenant_of(id)));
        self.repeated = twice.count();
    }
}

/// The keys come back and the faults end: all that waited arrives, but for the flood.
fn keys_return(plan: &Plan, stage: &Stage<'_>, setup: &Setup, forebay: &mut Forebay) -> Return {
    let begun = Instant::now();
    let before = figures(forebay);
    stage.vendors.set_faults("");
    for account in plan.dead.iter().map(|&tenant| &plan.accounts[tenant]) {
        // Iterable knows a project by its key: each has its own.
        let key = format!("new-{}", account.key);
        stage.vendors.set_key(&account.name, &key);
        setup.write(&account.key_file(), key);
    }
    wait_taken(plan, stage, |tenant| tenant != plan.flood);
    let after = figures(forebay);
    Return { seconds: begun.elapsed().as_secs_f64(), delivered: after.0 - before.0, reread: after.1 - before.1 }
}

/// A restart with the limit that the flood needs: what it left in Kafka arrives.
fn flood_returns(plan: &Plan, stage: &Stage<'_>, setup: &Setup, forebay: &mut Forebay) -> (Return, Forebay) {
    forebay.sigterm();
    assert_eq!(forebay.wait(JOIN), Some(0), "it drains");
    setup.write("config.toml", plan.relieved(&stage.config.text()));
    let begun = Instant::now();
    let mut relieved = setup.start();
    wait_taken(plan, stage, |_| true);
    let seconds = begun.elapsed().as_secs_f64();
    let (delivered, reread) = figures(&mut relieved);
    (Return { seconds, delivered, reread }, relieved)
}

/// Calls delivered, and records read again.
fn figures(forebay: &mut Forebay) -> (f64, f64) {
    let figure = |forebay: &mut Forebay, name: &str| forebay.metric(name, &[]).unwrap();
    (figure(forebay, "forebay_calls_delivered_total"), figure(forebay, "forebay_events_reread_total"))
}

fn tenant_of(id: &str) -> usize {
    id[1..5].parse().unwrap()
}

fn event(tenant: u16, index: u32) -> Event {
    let tenant = format!("t{tenant:04}");
    let (user, id) = (format!("{tenant}-u{}", index % 997), format!("{tenant}-{index}"));
    Event::track(&tenant, &user, &id, "seen once more, as often before")
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Produces at the rate; when each was sent.
fn produce(stage: &Stage<'_>, plan: &Plan) -> HashMap<String, i64> {
    let mut sent = HashMap::with_capacity(plan.records.len());
    let begun = Instant::now();
    let gap = Duration::from_secs(1) / u32::try_from(plan.rate).unwrap();
    let messages = (0_u32..).zip(&plan.records).map(|(index, tenant)| {
        let due = begun + gap * index;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let event = event(*tenant, index);
        let at = now_ms();
        sent.insert(event.message_id.clone(), at);
        Message { timestamp: Some(at), ..event.message() }
    });
    stage.kafka.produce(&stage.topic, messages);
    sent
}

/// Waits until the vendors have taken every event of the tenants that are wanted.
fn wait_taken(plan: &Plan, stage: &Stage<'_>, wanted: impl Fn(usize) -> bool) {
    let mut owed = vec![0_u64; TENANTS];
    plan.records.iter().for_each(|tenant| owed[usize::from(*tenant)] += 1);
    let begun = Instant::now();
    loop {
        let report = stage.vendors.report();
        let taken = |tenant: usize| report.account(&plan.accounts[tenant].name).map_or(0, |it| it.distinct_ids);
        let behind = (0..TENANTS).find(|&tenant| wanted(tenant) && taken(tenant) < owed[tenant]);
        let Some(tenant) = behind else { return };
        let name = &plan.accounts[tenant].name;
        assert!(begun.elapsed() < CATCH_UP, "{name} has {} of {}", taken(tenant), owed[tenant]);
        std::thread::sleep(Duration::from_millis(200));
    }
}
