//! Texts of `config.toml` for many tenants at both vendors, and of the accounts file of the sandbox behind them.

use std::fmt::Write as _;

use super::kafka::Kafka;
use super::process::Setup;

/// One account, as Forebay and as the sandbox are told of it.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) tenant: String,
    pub(crate) vendor: Vendor,
    pub(crate) key: String,
    /// Lines more for `[accounts.NAME]`; sub-tables as dotted keys (`limits.users_per_minute = 600`).
    pub(crate) settings: String,
    /// Lines more for the vendor's own table (`delivery = "single"`).
    pub(crate) details: String,
    /// A second key, which follows the first.
    pub(crate) next_key: Option<String>,
    /// Lines more for the sandbox's account (`users_per_minute = 600`).
    pub(crate) sandbox: String,
}

/// Where an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    Moengage { data_center: &'static str, workspace: String },
    Iterable { region: &'static str },
}

/// `t00`, `t01` ...
pub(crate) fn tenants(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("t{n:02}")).collect()
}

/// For each tenant `NAME-moengage` and `NAME-iterable`, over all data centres and regions in turn.
pub(crate) fn accounts(tenants: &[String]) -> Vec<Account> {
    let centers = ["01", "02", "03", "04", "05", "06", "101"].into_iter().cycle();
    let regions = ["us", "eu"].into_iter().cycle();
    let of_tenant = |((tenant, data_center), region): ((&String, _), _)| {
        let moengage = Vendor::Moengage { data_center, workspace: format!("WS{}", tenant.to_uppercase()) };
        [Account::new(tenant, moengage), Account::new(tenant, Vendor::Iterable { region })]
    };
    tenants.iter().zip(centers).zip(regions).flat_map(of_tenant).collect()
}

/// The accounts file of the sandbox.
pub(crate) fn sandbox_accounts(accounts: &[Account]) -> String {
    accounts.iter().map(Account::sandbox_toml).collect()
}

impl Account {
    /// With a name and a key made of the tenant's name and the vendor's.
    pub(crate) fn new(tenant: &str, vendor: Vendor) -> Self {
        let name = format!("{tenant}-{}", vendor.name());
        let key = format!("key-of-{name}-0123456789abcdef");
        let (settings, details, sandbox) = (String::new(), String::new(), String::new());
        Self { name, tenant: tenant.to_owned(), vendor, key, settings, details, next_key: None, sandbox }
    }

    /// At Iterable's US project.
    pub(crate) fn iterable(tenant: &str) -> Self {
        Self::new(tenant, Vendor::Iterable { region: "us" })
    }

    /// In a MoEngage workspace of data centre 02.
    pub(crate) fn moengage(tenant: &str) -> Self {
        Self::new(tenant, Vendor::Moengage { data_center: "02", workspace: format!("WS{}", tenant.to_uppercase()) })
    }

    /// Where the key is, beside `config.toml`.
    pub(crate) fn key_file(&self) -> String {
        format!("secrets/{}/{}", self.tenant, self.name)
    }

    fn toml(&self, sandbox: &str) -> String {
        let Self { name, tenant, settings, details, .. } = self;
        let (place, table) = match &self.vendor {
            Vendor::Moengage { data_center, workspace } => {
                (*data_center, format!("workspace = \"{workspace}\"\ndata_center = \"{data_center}\""))
            }
            Vendor::Iterable { region } => (*region, format!("region = \"{region}\"")),
        };
        let (vendor, key) = (self.vendor.name(), self.key_file());
        let base =
            if sandbox.is_empty() { String::new() } else { format!("base_url = \"{sandbox}/{vendor}/{place}\"\n") };
        let next = self.next_key.as_ref().map_or_else(String::new, |_| format!(", {{ file = \"{key}.next\" }}"));
        format!(
            "\n[accounts.{name}]\ntenant = \"{tenant}\"\n{base}{settings}\n\
             [accounts.{name}.{vendor}]\n{table}\n{details}\n\
             keys = [{{ file = \"{key}\" }}{next}]\n"
        )
    }

    fn sandbox_toml(&self) -> String {
        let Self { name, key, sandbox, .. } = self;
        let place = match &self.vendor {
            Vendor::Moengage { data_center, workspace } => {
                format!("workspace = \"{workspace}\"\ndata_center = \"{data_center}\"")
            }
            Vendor::Iterable { region } => format!("region = \"{region}\""),
        };
        format!("[accounts.{name}.{}]\n{place}\nkeys = [\"{key}\"]\n{sandbox}\n\n", self.vendor.name())
    }
}

impl Vendor {
    /// As tables and paths have it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Moengage { .. } => "moengage",
            Self::Iterable { .. } => "iterable",
        }
    }
}

/// A `config.toml` in the making. Without more: one topic, a group and a dead-letter topic named after it.
#[derive(Clone, Debug)]
pub(crate) struct ConfigText {
    brokers: String,
    topic: String,
    sandbox: String,
    accounts: Vec<Account>,
    session: bool,
    properties: String,
    sections: String,
}

impl ConfigText {
    /// `sandbox` is the beginning of each `base_url`: `http://127.0.0.1:1234`.
    pub(crate) fn new(kafka: &Kafka, topic: &str, sandbox: &str, accounts: &[Account]) -> Self {
        Self {
            brokers: kafka.bootstrap().to_owned(),
            topic: topic.to_owned(),
            sandbox: sandbox.trim_end_matches('/').to_owned(),
            accounts: accounts.to_vec(),
            session: true,
            properties: String::new(),
            sections: String::new(),
        }
    }

    /// The accounts.
    pub(crate) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The consumer group.
    pub(crate) fn group(&self) -> String {
        format!("{}-group", self.topic)
    }

    /// The dead-letter topic.
    pub(crate) fn dead_letters(&self) -> String {
        format!("{}-dead-letters", self.topic)
    }

    /// One of librdkafka's properties more.
    pub(crate) fn property(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.properties, "\"{name}\" = \"{value}\"");
        self
    }

    /// With Kafka's new group protocol, where the broker decides how long a member may be silent.
    pub(crate) fn new_group_protocol(mut self) -> Self {
        self.session = false;
        self.property("group.protocol", "consumer")
    }

    /// With this beginning of each `base_url`: something stands between. Empty: the vendors' own hosts.
    pub(crate) fn toward(mut self, url: &str) -> Self {
        url.trim_end_matches('/').clone_into(&mut self.sandbox);
        self
    }

    /// A table more, as it stands: `[delivery]` and its lines.
    pub(crate) fn section(mut self, toml: &str) -> Self {
        let _ = writeln!(self.sections, "\n{toml}");
        self
    }

    /// The text. A killed member is missed after 6 s, not after 45.
    pub(crate) fn text(&self) -> String {
        let session = if self.session { "\"session.timeout.ms\" = \"6000\"\n" } else { "" };
        let Self { brokers, topic, properties, sections, .. } = self;
        let (group, dead_letters) = (self.group(), self.dead_letters());
        let accounts: String = self.accounts.iter().map(|account| account.toml(&self.sandbox)).collect();
        format!(
            "[kafka]\nbrokers = \"{brokers}\"\ngroup = \"{group}\"\ntopics = [\"{topic}\"]\n\n\
             [kafka.properties]\n{session}{properties}\n\
             [dead_letters]\ntopic = \"{dead_letters}\"\n\n[control]\ntopic = \"{topic}-control\"\n\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n{sections}{accounts}"
        )
    }

    /// The text and the files of the keys, ready to start `forebay run`.
    pub(crate) fn setup(&self) -> Setup {
        let setup = Setup::new(&self.text());
        for account in &self.accounts {
            setup.write(&account.key_file(), format!("{}\n", account.key));
            if let Some(next) = &account.next_key {
                setup.write(&format!("{}.next", account.key_file()), next);
            }
        }
        setup
    }
}
