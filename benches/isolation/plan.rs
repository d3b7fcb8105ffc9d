//! Who the tenants are, who of them is in trouble, and what is produced: the same in every run.

use std::collections::HashSet;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::support::config::{Account, Vendor};
use crate::support::kafka::Kafka;
use crate::support::stage::Stage;

pub(crate) const TENANTS: usize = 1_000;
pub(crate) const PARTITIONS: i32 = 4;
/// `[memory] total`. Little, and little for each, so that whoever is in trouble is deferred soon.
pub(crate) const TOTAL: u64 = 64 << 20;
const MEMORY: &str = "[memory]\nlane = \"64KiB\"\ntotal = \"64MiB\"";
/// The region that hangs, and when.
const HANGING: &str = "04";
const HANG: &str = "from = \"5s\"\nfor = \"30s\"";
/// No account but the one that floods is bound by its limit, neither here nor there.
const NO_LIMIT: &str = "limits.users_per_minute = 10000000\nlimits.events_per_minute = 10000000";
const NO_SANDBOX_LIMIT: &str = "users_per_minute = 0\nevents_per_minute = 0";
/// What the flood is, as a multiple of its account's limit.
const FLOOD: u64 = 20;

pub(crate) struct Plan {
    pub(crate) rate: u64,
    pub(crate) seconds: u64,
    pub(crate) accounts: Vec<Account>,
    /// Tenants in the order of production.
    pub(crate) records: Vec<u16>,
    pub(crate) dead: HashSet<usize>,
    pub(crate) throttled: HashSet<usize>,
    pub(crate) hanging: HashSet<usize>,
    pub(crate) flood: usize,
    flood_a_minute: u64,
}

impl Plan {
    pub(crate) fn new(rate: u64, seconds: u64) -> Self {
        let records = zipf(rate * seconds);
        let flood = 0;
        let floods = records.iter().filter(|tenant| usize::from(**tenant) == flood).count() as u64;
        // One in a hundred, at both vendors in turn.
        let throttled = (17..TENANTS).step_by(100).map(|tenant| tenant - tenant / 100 % 2).collect();
        Self {
            rate,
            seconds,
            accounts: (0..TENANTS).map(account).collect(),
            records,
            dead: (9..TENANTS).step_by(100).map(|tenant| tenant - tenant / 100 % 2).collect(),
            throttled,
            hanging: (0..TENANTS).filter(|tenant| center(*tenant) == Some(HANGING)).collect(),
            flood,
            flood_a_minute: (floods * 60 / seconds / FLOOD).max(60),
        }
    }

    pub(crate) fn describe(&self, capacity: f64) -> String {
        let share = self.rate as f64 / capacity * 100.0;
        format!(
            "{TENANTS} tenants, {PARTITIONS} partitions, {} events a second ({share:.0} % of {capacity:.0}) for {} s; in B {} \
             with dead keys, {} throttled to a tenth, 1 with {FLOOD} times its limit, {} in a region that hangs for 30 s",
            self.rate,
            self.seconds,
            self.dead.len(),
            self.throttled.len(),
            self.hanging.len()
        )
    }

    pub(crate) fn is_healthy(&self, tenant: usize) -> bool {
        tenant != self.flood && ![&self.dead, &self.throttled, &self.hanging].iter().any(|some| some.contains(&tenant))
    }

    pub(crate) fn stage(&self, trouble: bool) -> Stage<'static> {
        let mut accounts = self.accounts.clone();
        if trouble {
            let limit = self.flood_a_minute;
            accounts[self.flood].settings =
                format!("limits.users_per_minute = {limit}\nlimits.events_per_minute = {limit}");
        }
        stage(&accounts)
    }

    /// The configuration in which the flood's limit is what it needs.
    pub(crate) fn relieved(&self, config: &str) -> String {
        let limit = self.flood_a_minute;
        let bound = format!("limits.users_per_minute = {limit}\nlimits.events_per_minute = {limit}");
        let relieved = config.replace(&bound, NO_LIMIT);
        assert_ne!(relieved, config, "the flood had a limit");
        relieved
    }

    pub(crate) fn faults(&self) -> String {
        let fault =
            |tenant: usize, lines: &str| format!("[[fault]]\naccount = \"{}\"\n{lines}\n", self.accounts[tenant].name);
        let throttled = self.throttled.iter().map(|tenant| fault(*tenant, "kind = \"throttle\"\nshare = 0.9"));
        let hang = format!("kind = \"hang\"\n{HANG}");
        throttled.chain(self.hanging.iter().map(|tenant| fault(*tenant, &hang))).collect()
    }
}

/// A topic, vendors and a configuration for these accounts.
pub(crate) fn stage(accounts: &[Account]) -> Stage<'static> {
    Stage::with(Kafka::shared(), "isolation", PARTITIONS, accounts).configured(|config| config.section(MEMORY))
}

/// So many tenants, drawn by Zipf's law from a fixed seed.
pub(crate) fn zipf(count: u64) -> Vec<u16> {
    let mut rng = SmallRng::seed_from_u64(1);
    let mut total = 0.0;
    let weight = |rank: usize| {
        total += 1.0 / rank as f64;
        total
    };
    let sums: Vec<f64> = (1..=TENANTS).map(weight).collect();
    let draw = |_| {
        let at = rng.random::<f64>() * sums[TENANTS - 1];
        u16::try_from(sums.partition_point(|sum| *sum < at).min(TENANTS - 1)).unwrap()
    };
    (0..count).map(draw).collect()
}

/// The data centre of a tenant at `MoEngage`; the others are at Iterable. One in twenty is where it hangs.
fn center(tenant: usize) -> Option<&'static str> {
    match tenant % 20 {
        3 => Some(HANGING),
        rest if rest % 2 == 0 => Some(["01", "02", "03"][tenant / 2 % 3]),
        _ => None,
    }
}

pub(crate) fn account(tenant: usize) -> Account {
    let name = format!("t{tenant:04}");
    let Some(data_center) = center(tenant) else { return Account::iterable(&name) };
    let mut account = Account::new(&name, Vendor::Moengage { data_center, workspace: format!("WS{tenant}") });
    (account.settings, account.sandbox) = (NO_LIMIT.to_owned(), NO_SANDBOX_LIMIT.to_owned());
    account
}
