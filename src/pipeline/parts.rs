//! What a pipeline is built from, and how a configuration becomes that.

use std::collections::HashMap;

use crate::clock::Now;
use crate::config::Config;
use crate::destination;
use crate::lane::Settings;
use crate::lane::pacing::Pacer;
use crate::router::{Router, Selection};

/// Bounds on what is held, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In all lanes and dead letters.
    pub total: usize,
    /// In one lane.
    pub lane: usize,
}

/// What a pipeline is built from.
#[derive(Debug)]
pub struct Parts {
    /// Finds tenants.
    pub router: Router,
    /// The lanes, by index, each with its account's selection.
    pub lanes: Vec<(Settings, Selection)>,
    /// The limiters that the lanes' settings point to.
    pub pacers: Vec<Pacer>,
    /// Memory.
    pub bounds: Bounds,
    /// What commits call each account: a hash of its name.
    pub hashes: Vec<u32>,
    /// Where each account's requests go: hosts, numbered.
    pub hosts: Vec<usize>,
    /// Seed of all randomness.
    pub seed: u64,
}

impl Parts {
    /// What a configuration asks for.
    #[must_use]
    pub fn of(config: &Config, now: Now, seed: u64) -> Self {
        let mut pacers: Vec<Pacer> = Vec::new();
        let mut known: HashMap<(String, &'static str), usize> = HashMap::new();
        let (mut known_hosts, mut hosts): (HashMap<String, usize>, Vec<usize>) = Default::default();
        let mut lanes = Vec::with_capacity(config.accounts.len());
        for (index, account) in (0..).zip(&config.accounts) {
            let destination = destination::of(account);
            // Accounts of one workspace or project share its limiter.
            let own = destination.budgets().into_iter().map(|budget| {
                *known.entry((budget.key.clone(), budget.name)).or_insert_with(|| {
                    pacers.push(Pacer::new(budget, now.mono));
                    pacers.len() - 1
                })
            });
            let origin = match &account.base_url {
                Some(url) => format!("{}:{}{}", url.host, url.port, url.prefix),
                None => destination.origin(),
            };
            let next = known_hosts.len();
            hosts.push(*known_hosts.entry(origin).or_insert(next));
            let settings = Settings {
                index,
                pacers: own.collect(),
                destination,
                path_prefix: account.base_url.as_ref().map(|url| url.prefix.clone()).unwrap_or_default(),
                max_in_flight: account.max_in_flight.max(1) as usize,
                linger: account.linger,
                held_by_operator: account.hold,
                hold_percent: config.dead_letters.hold_percent,
            };
            lanes.push((settings, Selection::new(account)));
        }
        let bytes = |figure: u64| usize::try_from(figure).unwrap_or(usize::MAX);
        let bounds = Bounds { total: bytes(config.memory.total), lane: bytes(config.memory.lane) };
        let hashes = config.accounts.iter().map(|account| crc32fast::hash(account.name.as_bytes())).collect();
        Self {
            router: Router::new(config.tenant.clone(), &config.accounts),
            lanes,
            pacers,
            bounds,
            hashes,
            hosts,
            seed,
        }
    }
}
