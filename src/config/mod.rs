//! From TOML files to a checked [`Config`]. After this module no value is a string that could still be wrong.
//!
//! Reading never stops at the first mistake: all problems are reported at once, each with file, line, column, key and
//! fix. Secrets are references here; [`secret`] reads them, and none can be printed.

mod account;
mod address;
mod fields;
mod folder;
mod include;
mod kafka;
mod kafka_client;
mod limits;
mod load;
mod problem;
mod reader;
mod reference;
pub mod secret;
mod sections;
mod units;
mod url;
mod vendor;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use crate::event::Kind;

pub use address::is_public;
pub use fields::needed;
pub use folder::{Folder, Own, Settings};
pub use kafka_client::client_config;
pub use load::{Loaded, load};
pub use problem::{Place, Problem, Problems, SecretUse};
pub use reader::dotted;
pub use reference::SecretRef;
pub(crate) use url::authority;
pub use vendor::RAW_SHAPES;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The files that it was read from, the main file first.
    pub files: Vec<PathBuf>,
    /// The main file's directory: what paths are relative to.
    pub directory: PathBuf,
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[tenant]`
    pub tenant: TenantRules,
    /// `[delivery]`
    pub delivery: Delivery,
    /// `[memory]`
    pub memory: Memory,
    /// `[shutdown] drain`
    pub drain: Duration,
    /// `[dead_letters]`
    pub dead_letters: DeadLetters,
    /// `[control] topic`
    pub control_topic: String,
    /// `[admin] listen`
    pub admin: SocketAddr,
    /// `[admin] control`; absent: nothing can be changed from outside.
    pub control: Option<Control>,
    /// `[secrets] root`, absolute: where references of included files must resolve, below the tenant's name.
    pub secrets_root: Option<PathBuf>,
    /// `[accounts.*]`, by name.
    pub accounts: Vec<Account>,
}

/// `[kafka]`
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `bootstrap.servers`
    pub brokers: String,
    /// `group.id`
    pub group: String,
    /// Names, or regular expressions that start with `^`.
    pub topics: Vec<String>,
    /// Where a partition without a commit begins.
    pub start: Start,
    /// librdkafka's own properties, in the order of the file.
    pub properties: Vec<(String, Property)>,
}

/// Where a partition without a commit begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the beginning of the log.
    Earliest,
    /// At its end.
    Latest,
    /// At the first record of this time, milliseconds since the epoch.
    Time(i64),
}

/// The value of a librdkafka property.
#[derive(Clone, Debug)]
pub enum Property {
    /// As it stands in the file.
    Plain(String),
    /// By reference.
    Secret(SecretRef),
}

/// `[tenant]`
#[derive(Clone, Debug)]
pub struct TenantRules {
    /// Where the tenant's name is looked for, in this order.
    pub from: Vec<TenantSource>,
    /// Whether two places that answer differently make a dead letter; else the first wins.
    pub conflict_is_refused: bool,
    /// Whether an unknown tenant's record is skipped; else it becomes a dead letter.
    pub unknown_is_skipped: bool,
}

/// One place where a record may name its tenant.
#[derive(Clone, Debug)]
pub enum TenantSource {
    /// A Kafka header.
    Header(String),
    /// A JSON pointer into the message, split into its unescaped parts.
    Field(Vec<String>),
    /// The group `tenant` of a regular expression on the record's key.
    Key(Regex),
    /// The group `tenant` of a regular expression on the topic's name.
    Topic(Regex),
    /// Always this.
    Value(String),
}

impl fmt::Display for TenantSource {
    /// As it stands in `from`, without the braces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header = {name:?}"),
            Self::Field(parts) => {
                let parts: Vec<String> = parts.iter().map(|part| part.replace('~', "~0").replace('/', "~1")).collect();
                write!(f, "field = {:?}", format!("/{}", parts.join("/")))
            }
            Self::Key(regex) => write!(f, "key = {:?}", regex.as_str()),
            Self::Topic(regex) => write!(f, "topic = {:?}", regex.as_str()),
            Self::Value(tenant) => write!(f, "value = {tenant:?}"),
        }
    }
}

/// `[delivery]`. Printing it hides the proxy's password.
#[derive(Clone)]
pub struct Delivery {
    /// How long an open batch waits to fill.
    pub linger: Duration,
    /// The deadline of one request.
    pub timeout: Duration,
    /// A CA beside the system's roots.
    pub ca_file: Option<PathBuf>,
    /// An HTTP proxy for CONNECT, `http://[user:password@]host[:port]`.
    pub proxy: Option<String>,
    /// Hosts beyond the vendors' and loopback that accounts may name.
    pub allow_hosts: Vec<String>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("linger", &self.linger)
            .field("timeout", &self.timeout)
            .field("ca_file", &self.ca_file)
            .field("proxy", &self.proxy.as_deref().map(url::without_user))
            .field("allow_hosts", &self.allow_hosts)
            .finish()
    }
}

/// `[admin] control`: the listener of what changes anything.
#[derive(Clone, Debug)]
pub struct Control {
    /// A loopback address.
    pub listen: SocketAddr,
    /// The token that its users present.
    pub token: SecretRef,
}

/// `[memory]`, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// For everything that is held.
    pub total: u64,
    /// For one lane.
    pub lane: u64,
}

/// `[dead_letters]`
#[derive(Clone, Debug)]
pub struct DeadLetters {
    /// The topic; made if missing.
    pub topic: String,
    /// Partitions of a topic that is made.
    pub partitions: i32,
    /// Replication factor of a topic that is made; -1 is the broker's default.
    pub replication_factor: i32,
    /// Retention of a topic that is made; `None` is for ever.
    pub retention: Option<Duration>,
    /// When this share of an account's recent calls was refused by its vendor, the account is held.
    pub hold_percent: u32,
}

/// `[accounts.NAME]`
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Account {
    /// The name.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// The message types that it takes.
    pub accept: Vec<Kind>,
    /// What becomes of messages that have an anonymous id alone.
    pub anonymous: Anonymous,
    /// Whether nested values become dotted keys.
    pub flatten: bool,
    /// Older events are skipped.
    pub max_age: Option<Duration>,
    /// Conditions on fields; all must hold.
    pub filters: Vec<Filter>,
    /// Track names that are taken; empty is all. `*` is a wildcard.
    pub only_events: Vec<String>,
    /// Track names that are left out.
    pub skip_events: Vec<String>,
    /// Consent categories that must all be true.
    pub consent: Vec<String>,
    /// What is kept back or renamed.
    pub fields: FieldRules,
    /// Raw shapes that are allowed.
    pub raw: Vec<String>,
    /// Whether raw elements go also where `fields` or `consent` are set, which they pass by.
    pub raw_unfiltered: bool,
    /// Limits that differ from the vendor's published ones, by the setting's name: `users_per_minute`, `events`.
    pub limits: BTreeMap<String, u32>,
    /// Requests on the wire at a time, and shards of users.
    pub max_in_flight: u32,
    /// The most calls in one request, where that is fewer than the vendor takes.
    pub max_calls: Option<u32>,
    /// How long an open batch waits to fill.
    pub linger: Duration,
    /// Held by the operator.
    pub hold: bool,
    /// Off: everything is skipped.
    pub enabled: bool,
    /// Instead of the vendor's host, its path kept as a prefix.
    pub base_url: Option<BaseUrl>,
    /// The vendor's own settings.
    pub vendor: Vendor,
}

/// A checked `base_url`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// Whether it is `https`.
    pub tls: bool,
    /// The host, without port or brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path before the vendor's own, without a slash at its end.
    pub prefix: String,
}

/// What becomes of messages that have an anonymous id alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// A dead letter.
    Refuse,
    /// Counted.
    Skip,
    /// The anonymous id stands for the user id.
    Use,
}

/// `where`: the field's text must be one of these.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The JSON pointer's parts.
    pub field: Vec<String>,
    /// Values that let a message through.
    pub any_of: Vec<String>,
}

/// `[accounts.NAME.fields]`, in the order in which they act. Paths are dotted; `*` may be the last part.
#[derive(Clone, Debug, Default)]
pub struct FieldRules {
    /// If not empty, only these stay.
    pub keep: Vec<String>,
    /// These go.
    pub drop: Vec<String>,
    /// These become the hex SHA-256 of their trimmed, lower-cased text.
    pub sha256: Vec<String>,
    /// These get another name.
    pub rename: Vec<(String, String)>,
}

impl FieldRules {
    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keep.is_empty() && self.drop.is_empty() && self.sha256.is_empty() && self.rename.is_empty()
    }
}

/// The vendor's table of an account.
#[derive(Clone, Debug)]
pub enum Vendor {
    /// `[accounts.NAME.moengage]`
    Moengage(Moengage),
    /// `[accounts.NAME.iterable]`
    Iterable(Iterable),
    /// Of a vendor that is a folder.
    Folder(Arc<dyn Settings>),
}

/// `[accounts.NAME.moengage]`
#[derive(Clone, Debug)]
pub struct Moengage {
    /// The workspace id: user name of Basic auth, and part of the path.
    pub workspace: String,
    /// `01` to `06`, or `101`.
    pub data_center: String,
    /// Data API keys: current, next.
    pub keys: Vec<Key>,
    /// Keys of the campaign family; empty falls back to `keys`.
    pub campaign_keys: Vec<Key>,
    /// Keys of Inform; empty falls back to `campaign_keys`, then `keys`.
    pub inform_keys: Vec<Key>,
    /// Whether alias becomes a merge.
    pub merge_aliases: bool,
    /// A portfolio project.
    pub project_code: Option<String>,
    /// Never create users.
    pub update_existing_only: bool,
    /// Sent as `X-Forwarded-For`.
    pub forwarded_for: Vec<std::net::IpAddr>,
    /// Track events that trigger business events.
    pub business_events: Vec<String>,
    /// Track events that send an alert of Inform.
    pub alerts: Vec<Alert>,
}

/// `[accounts.NAME.moengage.alerts."EVENT"]`
#[derive(Clone, Debug)]
pub struct Alert {
    /// The track event's name.
    pub event: String,
    /// The vendor's id of the alert.
    pub id: String,
    /// The vendor's names of the channels, and where the message has the recipient of each: a JSON pointer's parts.
    pub channels: Vec<(&'static str, Vec<String>)>,
    /// Whether its attributes are the user's traits; else the event's properties.
    pub of_traits: bool,
}

/// `[accounts.NAME.iterable]`
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own in the vendor's API")]
pub struct Iterable {
    /// Whether the project lives in the EU.
    pub eu: bool,
    /// API keys: current, next.
    pub keys: Vec<Key>,
    /// Accounts of one project share its limits.
    pub project: Option<String>,
    /// How the project identifies users.
    pub identity: Identity,
    /// Whether single calls are used instead of bulk ones.
    pub single: bool,
    /// `preferUserId`
    pub prefer_user_id: bool,
    /// `mergeNestedObjects`
    pub merge_nested_objects: bool,
    /// `createNewFields`; absent leaves it to the project.
    pub create_new_fields: Option<bool>,
    /// Whether `Product Added` and `Product Removed` are cart events.
    pub rudder_cart: bool,
    /// Whether ISO date-times stay as they are.
    pub keep_dates: bool,
    /// Which pages are sent: `all`, `named`, `categorised`.
    pub pages: Vec<String>,
    /// Whether pages and screens have one event name each.
    pub single_event: bool,
    /// The key for token registrations.
    pub registration_key: Option<SecretRef>,
}

/// How an Iterable project identifies users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Both ids when both are known.
    Hybrid,
    /// The e-mail, or the user id.
    Email,
    /// The user id alone.
    UserId,
}

/// A key of an account.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name for people; absent: its position.
    pub name: Option<String>,
    /// Where its value is.
    pub secret: SecretRef,
    /// What its text must be.
    pub form: secret::Form,
}

impl Account {
    /// The vendor's name: `moengage`, `iterable`.
    #[must_use]
    pub fn destination(&self) -> &'static str {
        match &self.vendor {
            Vendor::Moengage(_) => "moengage",
            Vendor::Iterable(_) => "iterable",
            Vendor::Folder(settings) => settings.folder().name,
        }
    }

    /// Raw shapes that the vendor has.
    #[must_use]
    pub const fn raw_shapes(&self) -> &'static [&'static str] {
        match self.vendor {
            Vendor::Moengage(_) => vendor::MOENGAGE_RAW,
            Vendor::Iterable(_) => vendor::ITERABLE_RAW,
            Vendor::Folder(_) => &[],
        }
    }

    /// All keys, each with its family: the setting's name. A family's keys follow each other, current first.
    #[must_use]
    pub fn keys(&self) -> Vec<(&'static str, Key)> {
        let of = |family: &'static str, keys: &[Key]| keys.iter().map(|key| (family, key.clone())).collect::<Vec<_>>();
        match &self.vendor {
            Vendor::Moengage(settings) => [
                of("keys", &settings.keys),
                of("campaign_keys", &settings.campaign_keys),
                of("inform_keys", &settings.inform_keys),
            ]
            .concat(),
            Vendor::Iterable(settings) => {
                let registration = settings.registration_key.iter().map(|secret| {
                    let key = Key { name: None, secret: secret.clone(), form: secret::Form::Key };
                    ("registration_key", key)
                });
                of("keys", &settings.keys).into_iter().chain(registration).collect()
            }
            Vendor::Folder(settings) => of("keys", settings.keys()),
        }
    }
}
