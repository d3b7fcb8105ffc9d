//! What a pipeline is built from, and how a configuration becomes that.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::clock::Now;
use crate::config::Config;
use crate::delivery;
use crate::destination::{self, Shape, UserHash};
use crate::lane::Settings;
use crate::lane::pacing::Pacer;
use crate::router::{Router, Selection};
use crate::source::commit;
use crate::source::queues::Queues;

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
    /// The lanes by index, each with its account's selection: one for each account, in order, then those of single shapes.
    pub lanes: Vec<(Settings, Selection)>,
    /// The limiters that the lanes' settings point to.
    pub pacers: Vec<Pacer>,
    /// Memory.
    pub bounds: Bounds,
    /// Each lane's name: its account's, or `account#shape` if it carries that shape alone.
    pub names: Vec<String>,
    /// What commits call each lane: a hash of its name.
    pub hashes: Vec<u32>,
    /// Where each lane's requests go: hosts, numbered.
    pub hosts: Vec<usize>,
    /// Seed of jitter, and of the numbers that receivers know batches by.
    pub seed: u64,
}

impl Parts {
    /// What a configuration asks for. All randomness is of the seed, which nobody outside may know.
    #[must_use]
    pub fn of(config: &Config, now: Now, seed: u64) -> Self {
        let users = UserHash::new(seed);
        let mut pacers: Vec<Pacer> = Vec::new();
        let mut known: HashMap<(String, &'static str), usize> = HashMap::new();
        let (mut known_hosts, mut hosts): (HashMap<String, usize>, Vec<usize>) = Default::default();
        let mut lanes = Vec::with_capacity(config.accounts.len());
        let mut own: Vec<(Settings, Selection)> = Vec::new();
        for (index, account) in (0..).zip(&config.accounts) {
            let destination = destination::of(account, &users);
            // Accounts of one workspace or project share its limiter.
            let budgets = destination.budgets().into_iter().map(|budget| {
                *known.entry((budget.key.clone(), budget.name)).or_insert_with(|| {
                    pacers.push(Pacer::new(&budget, now.mono));
                    pacers.len() - 1
                })
            });
            let budgets: Vec<usize> = budgets.collect();
            // Scheme, host and port: what connections are made to.
            let origin = delivery::origin(account, &*destination);
            let origin = origin.map_or_else(|_| destination.origin(), |origin| origin.to_string());
            let next = known_hosts.len();
            hosts.push(*known_hosts.entry(origin).or_insert(next));
            let settings = |carries| Settings {
                index,
                account: index,
                carries,
                pacers: budgets.clone(),
                destination: destination::of(account, &users),
                path_prefix: account.base_url.as_ref().map(|url| url.prefix.clone()).unwrap_or_default(),
                max_in_flight: account.max_in_flight.max(1) as usize,
                max_calls: account.max_calls.map_or(usize::MAX, |calls| calls.max(1) as usize),
                linger: account.linger,
                held_by_operator: account.hold,
                hold_percent: config.dead_letters.hold_percent,
            };
            let mut carries = u32::MAX;
            for (shape, info) in (0..).zip(destination.shapes()).filter(|(_, info)| info.own_lane) {
                if destination.makes(Shape(shape)) || account.raw.iter().any(|raw| raw == info.name) {
                    carries &= !(1 << shape);
                    own.push((settings(1 << shape), Selection::new(account)));
                }
            }
            lanes.push((settings(carries), Selection::new(account)));
        }
        let bytes = |figure: u64| usize::try_from(figure).unwrap_or(usize::MAX);
        let total = Queues::of(config).leave(config.memory.total);
        let bounds = Bounds { total: bytes(total), lane: bytes(config.memory.lane) };
        let mut router = Router::new(config.tenant.clone(), &config.accounts);
        let mut names: Vec<String> = config.accounts.iter().map(|account| account.name.clone()).collect();
        for (settings, selection) in own {
            let index = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
            let account = &config.accounts[settings.account as usize];
            let shape = settings.destination.shapes()[settings.carries.trailing_zeros() as usize].name;
            router.add(&account.tenant, index);
            names.push(format!("{}#{shape}", account.name));
            hosts.push(hosts[settings.account as usize]);
            lanes.push((Settings { index, ..settings }, selection));
        }
        // They live as long as the process does, and growing leaves up to as much again unused.
        pacers.shrink_to_fit();
        let hashes = names.iter().map(|name| commit::hash(name)).collect();
        Self { router, lanes, pacers, bounds, names, hashes, hosts, seed: apart(seed) }
    }
}

/// A seed that does not tell the one that it is made of, by which users are hashed: receivers see some of what is drawn.
fn apart(seed: u64) -> u64 {
    let digest: [u8; 32] = Sha256::digest(seed.to_le_bytes()).into();
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}
