//! Who takes part: the accounts of the configuration and generated tenants, as Forebay and as the vendors know them.
//!
//! Guarantees that a demo never calls a vendor: every account gets a generated key and the sandbox's address, and nothing
//! of the configuration that names a broker, a proxy or a secret is kept. Pure but for the randomness of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use rand::Rng;
use secrecy::{ExposeSecret, SecretString};

use crate::config::secret::Form;
use crate::config::{
    Account, Anonymous, BaseUrl, Config, DeadLetters, Delivery, FieldRules, Identity, Iterable, Kafka, Key, Memory,
    Moengage, Property, SecretRef, Start, TenantRules, TenantSource, Vendor,
};
use crate::event::Kind;
use crate::sandbox::{self, Running};

/// Where generated accounts live, in turn.
const DATA_CENTERS: [&str; 7] = ["01", "02", "03", "04", "05", "06", "101"];

/// One tenant and its accounts.
#[derive(Debug)]
pub(super) struct Tenant {
    /// As events name it.
    pub(super) name: String,
    /// Indices of the configuration's accounts, which are those of the lanes.
    pub(super) lanes: Vec<usize>,
}

/// Everybody.
#[derive(Debug)]
pub(super) struct Cast {
    /// What the proxy is started with, once brokers and base URLs are filled in.
    pub(super) config: Config,
    /// The vendors' side; named as the accounts are, in their order.
    pub(super) vendors: Vec<sandbox::Account>,
    /// All tenants, the generated ones last.
    pub(super) tenants: Vec<Tenant>,
    /// How many accounts come from the configuration.
    pub(super) configured: usize,
    /// The tenant whose key is revoked, and its lane.
    pub(super) revoked: (usize, usize),
    /// The lane that its vendor throttles.
    pub(super) throttled: usize,
    keys: Vec<SecretString>,
}

impl Cast {
    /// The accounts of `config`, if there is one, and so many tenants more, each with an account at both vendors.
    pub(super) fn new(config: Option<&Config>, generated: usize) -> Self {
        let mut accounts: Vec<Account> = config.map(|config| config.accounts.clone()).unwrap_or_default();
        // A demo calls nobody, and of other vendors there is no sandbox.
        accounts.retain(|account| !matches!(account.vendor, Vendor::Folder(_)));
        let configured = accounts.len();
        let prefix = prefix(&accounts);
        for number in 0..generated {
            let tenant = format!("{prefix}{number:02}");
            let data_center = DATA_CENTERS[number % DATA_CENTERS.len()];
            accounts.push(account(&tenant, Vendor::Moengage(moengage(data_center))));
            accounts.push(account(&tenant, Vendor::Iterable(iterable(number % 2 == 1))));
        }
        let keys: Vec<SecretString> = accounts.iter().map(|_| key()).collect();
        for (account, key) in accounts.iter_mut().zip(&keys) {
            disguise(account, key);
        }
        let vendors = accounts.iter().zip(&keys).filter_map(|(account, key)| vendor(account, key)).collect();
        let tenants = tenants(&accounts);
        let star = |number: usize| accounts.len() - 2 * generated + 2 * (number % generated.max(1));
        let revoked_lane = star(7);
        let revoked_tenant = tenants.iter().position(|tenant| tenant.lanes.contains(&revoked_lane)).unwrap_or(0);
        let throttled = star(3) + 1;
        let config = Config { accounts, ..base(config) };
        Self { config, vendors, tenants, configured, revoked: (revoked_tenant, revoked_lane), throttled, keys }
    }

    /// Where events go, and where they come from.
    pub(super) fn connect(&mut self, brokers: &str, vendors: &Running) {
        brokers.clone_into(&mut self.config.kafka.brokers);
        for (account, at_vendor) in self.config.accounts.iter_mut().zip(&self.vendors) {
            let address = vendors.addr();
            account.base_url = Some(BaseUrl {
                tls: false,
                host: address.ip().to_string(),
                port: address.port(),
                prefix: at_vendor.prefix(),
            });
        }
    }

    /// The account's name.
    pub(super) fn name(&self, lane: usize) -> &str {
        &self.config.accounts[lane].name
    }

    /// The good key of an account, as the vendor knows it.
    pub(super) fn vendors_key(&self, lane: usize) -> sandbox::Key {
        sandbox::Key::new(self.keys[lane].expose_secret())
    }
}

/// The configuration without its accounts, and without everything that leads out of this process.
fn base(config: Option<&Config>) -> Config {
    let plain = config.and_then(|config| config.kafka.topics.iter().find(|topic| !topic.starts_with('^')));
    let letters = config.map_or("forebay.dead-letters", |config| &config.dead_letters.topic);
    let control = config.map_or("forebay.control", |config| &config.control_topic);
    Config {
        files: Vec::new(),
        directory: PathBuf::new(),
        kafka: Kafka {
            brokers: String::new(),
            group: "forebay-demo".to_owned(),
            topics: vec![plain.map_or("events", String::as_str).to_owned()],
            start: Start::Earliest,
            // The mock holds an empty fetch back for all of this time, whatever comes meanwhile.
            properties: vec![("fetch.wait.max.ms".to_owned(), Property::Plain("20".to_owned()))],
        },
        tenant: TenantRules {
            from: vec![TenantSource::Header("tenant".to_owned())],
            conflict_is_refused: false,
            unknown_is_skipped: false,
        },
        delivery: Delivery {
            linger: config.map_or(Duration::from_millis(100), |config| config.delivery.linger),
            timeout: config.map_or(Duration::from_secs(30), |config| config.delivery.timeout),
            ca_file: None,
            proxy: None,
            allow_hosts: Vec::new(),
        },
        memory: config.map_or(Memory { total: 256 << 20, lane: 16 << 20 }, |config| config.memory),
        drain: Duration::from_secs(30),
        dead_letters: DeadLetters {
            topic: letters.to_owned(),
            partitions: 3,
            replication_factor: -1,
            retention: None,
            hold_percent: 95,
        },
        control_topic: control.to_owned(),
        admin: ([127, 0, 0, 1], 0).into(),
        control: None,
        secrets_root: None,
        accounts: Vec::new(),
    }
}

/// What generated tenants' names begin with, so that they are nobody else's.
fn prefix(accounts: &[Account]) -> &'static str {
    let taken = |prefix: &str| accounts.iter().any(|it| it.tenant.starts_with(prefix) || it.name.starts_with(prefix));
    ["t", "demo-t", "forebay-demo-t"].into_iter().find(|prefix| !taken(prefix)).unwrap_or("generated-demo-t")
}

fn key() -> SecretString {
    SecretString::from(format!("demo-key-{:032x}", rand::rng().random::<u128>()))
}

fn account(tenant: &str, vendor: Vendor) -> Account {
    let mut account = Account {
        name: String::new(),
        tenant: tenant.to_owned(),
        accept: vec![Kind::Identify, Kind::Track],
        anonymous: Anonymous::Refuse,
        flatten: false,
        max_age: None,
        filters: Vec::new(),
        only_events: Vec::new(),
        skip_events: Vec::new(),
        consent: Vec::new(),
        fields: FieldRules::default(),
        raw: Vec::new(),
        raw_unfiltered: false,
        limits: BTreeMap::new(),
        max_in_flight: 4,
        max_calls: None,
        linger: Duration::from_millis(100),
        hold: false,
        enabled: true,
        base_url: None,
        vendor,
    };
    account.name = format!("{tenant}-{}", account.destination());
    account
}

fn moengage(data_center: &str) -> Moengage {
    Moengage {
        workspace: String::new(),
        data_center: data_center.to_owned(),
        keys: Vec::new(),
        campaign_keys: Vec::new(),
        inform_keys: Vec::new(),
        merge_aliases: false,
        project_code: None,
        update_existing_only: false,
        forwarded_for: Vec::new(),
        business_events: Vec::new(),
        alerts: Vec::new(),
    }
}

fn iterable(eu: bool) -> Iterable {
    Iterable {
        eu,
        keys: Vec::new(),
        project: None,
        identity: Identity::Hybrid,
        single: false,
        prefer_user_id: true,
        merge_nested_objects: true,
        create_new_fields: None,
        rudder_cart: false,
        keep_dates: false,
        pages: vec!["all".to_owned()],
        single_event: false,
        registration_key: None,
    }
}

/// Takes what is secret or leads elsewhere out of an account. What would hide an event's id, or hold it for ever, goes too.
fn disguise(account: &mut Account, key: &SecretString) {
    let keys = vec![Key { name: None, secret: SecretRef::Value(key.clone()), form: Form::Key }];
    account.fields = FieldRules::default();
    account.hold = false;
    match &mut account.vendor {
        Vendor::Moengage(settings) => {
            settings.workspace = format!("DEMO-{}", account.name.to_uppercase());
            (settings.keys, settings.campaign_keys, settings.inform_keys) = (keys, Vec::new(), Vec::new());
        }
        Vendor::Iterable(settings) => (settings.keys, settings.registration_key) = (keys, None),
        Vendor::Folder(_) => {}
    }
}

/// The account as its vendor knows it, with the limits that the configuration says it has; where there is a sandbox of it.
fn vendor(account: &Account, key: &SecretString) -> Option<sandbox::Account> {
    let limit = |name: &str| account.limits.get(name).copied();
    let mut at_vendor = match &account.vendor {
        Vendor::Moengage(it) => {
            sandbox::Account::moengage(&account.name, &it.workspace, &it.data_center, key.expose_secret())
        }
        Vendor::Iterable(it) => {
            let region = if it.eu { sandbox::Region::Eu } else { sandbox::Region::Us };
            sandbox::Account::iterable(&account.name, region, key.expose_secret())
        }
        Vendor::Folder(_) => return None,
    };
    match (&mut at_vendor.vendor, &account.vendor) {
        (sandbox::Vendor::Moengage(workspace), _) => {
            workspace.users_per_minute = limit("users_per_minute").map_or(workspace.users_per_minute, u64::from);
            workspace.events_per_minute = limit("events_per_minute").map_or(workspace.events_per_minute, u64::from);
        }
        (sandbox::Vendor::Iterable(project), Vendor::Iterable(settings)) => {
            let (users, events) = if settings.single {
                ("users/update", "events/track")
            } else {
                ("users/bulkUpdate", "events/trackBulk")
            };
            let limits = [(users, limit("users")), (events, limit("events"))];
            project.requests_per_second =
                limits.into_iter().filter_map(|(endpoint, limit)| Some((endpoint.to_owned(), limit?))).collect();
        }
        // Both are of one vendor, made above.
        (sandbox::Vendor::Iterable(_), _) => {}
    }
    Some(at_vendor)
}

fn tenants(accounts: &[Account]) -> Vec<Tenant> {
    let mut seen = BTreeSet::new();
    let names = accounts.iter().map(|account| &account.tenant).filter(|tenant| seen.insert(*tenant));
    let lanes = |name: &str| (0..accounts.len()).filter(|&lane| accounts[lane].tenant == name).collect();
    names.map(|name| Tenant { name: name.clone(), lanes: lanes(name) }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config;

    fn ours() -> Config {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
        config::load(&path).expect("the repository's configuration is right").config
    }

    #[test]
    fn the_accounts_of_the_configuration_are_among_the_cast_without_their_secrets() {
        let config = ours();
        let cast = Cast::new(Some(&config), 5);
        assert_eq!(cast.config.accounts.len(), config.accounts.len() + 10);
        assert_eq!(cast.configured, config.accounts.len());
        for (lane, account) in cast.config.accounts.iter().enumerate() {
            assert_eq!(account.name, cast.vendors[lane].name);
            assert!(
                account.keys().iter().all(|(_, key)| matches!(key.secret, SecretRef::Value(_))),
                "{}",
                account.name
            );
        }
        assert!(cast.config.kafka.properties.iter().all(|(name, _)| name == "fetch.wait.max.ms"));
        let debugged = format!("{cast:?}");
        assert!(!debugged.contains("demo-key-"), "a key can be printed");
    }

    #[test]
    fn every_tenant_knows_its_lanes_and_the_stars_are_generated() {
        let cast = Cast::new(Some(&ours()), 10);
        let acme = cast.tenants.iter().find(|tenant| tenant.name == "acme").expect("acme is in config.toml");
        assert_eq!(acme.lanes.len(), 2);
        assert_eq!(cast.tenants.iter().map(|tenant| tenant.lanes.len()).sum::<usize>(), cast.config.accounts.len());
        let (tenant, lane) = cast.revoked;
        assert_eq!((cast.tenants[tenant].name.as_str(), cast.name(lane)), ("t07", "t07-moengage"));
        assert_eq!(cast.name(cast.throttled), "t03-iterable");
    }

    #[test]
    fn without_a_configuration_there_are_generated_tenants_alone() {
        let cast = Cast::new(None, 1);
        assert_eq!(cast.tenants.len(), 1);
        assert_eq!((cast.name(cast.revoked.1), cast.name(cast.throttled)), ("t00-moengage", "t00-iterable"));
    }

    #[test]
    fn the_vendor_grants_what_the_configuration_says() {
        let cast = Cast::new(Some(&ours()), 1);
        let mail = cast.vendors.iter().find(|account| account.name == "acme-mail").expect("it is in config.toml");
        let sandbox::Vendor::Iterable(project) = &mail.vendor else { unreachable!("acme-mail is at Iterable") };
        assert_eq!(project.requests_per_second["events/trackBulk"], 10);
    }
}
