//! What the simulated vendors know of: workspaces and projects, their keys, limits and quirks.
//!
//! An account here is the vendor's side, so there is one per workspace or project, however many of Forebay's accounts
//! send to it. Keys can be neither printed nor quoted by an error. A limit of 0 means none. Defaults are the vendors' pages'.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

/// A workspace or a project, and what it is called in reports.
#[derive(Clone, Debug)]
pub struct Account {
    /// In reports, records and faults.
    pub name: String,
    /// Whose it is.
    pub vendor: Vendor,
}

/// Whose an account is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// A MoEngage workspace.
    Moengage(Workspace),
    /// An Iterable project.
    Iterable(Project),
}

/// A MoEngage workspace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workspace {
    /// The workspace id: user name of the credentials, and in the path.
    pub workspace: String,
    /// `01` to `06`, or `101`.
    pub data_center: String,
    /// Any of them is good.
    #[serde(deserialize_with = "keys")]
    pub keys: Vec<Key>,
    /// `customer` elements in a fixed minute.
    pub users_per_minute: u64,
    /// Actions of `event` elements in a fixed minute.
    pub events_per_minute: u64,
    /// Pairs of `/v1/customer/merge` in a fixed minute.
    pub merges_per_minute: u64,
    /// Business events in a fixed hour.
    pub business_events_per_hour: u64,
    /// Business events in a fixed day.
    pub business_events_per_day: u64,
    /// Requests to Inform in a fixed minute.
    pub alerts_per_minute: u64,
    /// Requests with items of catalogues in a fixed minute.
    pub catalog_per_minute: u64,
    /// The same in a fixed hour.
    pub catalog_per_hour: u64,
    /// Names of business events; none: all exist.
    pub business_events: Option<Vec<String>>,
    /// Ids and reference names of alerts; none: all exist.
    pub alerts: Option<Vec<String>>,
    /// Names of catalogues; none: all exist.
    pub catalogs: Option<Vec<String>>,
    /// How `x-ratelimit-reset` and the 429 look.
    pub throttle: MoengageThrottle,
    /// If any: requests must carry one of them in `X-Forwarded-For`.
    pub allowed_ips: Vec<IpAddr>,
    /// Whether `user_identifiers` can stand for `customer_id`.
    pub identity_resolution: bool,
    /// Whether users with more than 5,000 elements a minute are blocked, silently, for an hour.
    pub fair_usage: bool,
}

/// How MoEngage says how much is left; its pages contradict each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MoengageThrottle {
    /// Seconds until the reset.
    #[default]
    Delta,
    /// UTC seconds of the reset.
    Epoch,
    /// As the Envoy gateway: `limit, limit;w=60`, and a 429 without a body.
    Envoy,
}

/// An Iterable project.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Project {
    /// The data centre.
    pub region: Region,
    /// The project's number, as it stands in messages.
    pub project: String,
    /// Any of them is good, within its kind's rights.
    #[serde(deserialize_with = "keys")]
    pub keys: Vec<Key>,
    /// The project's type.
    pub identity: Identity,
    /// By endpoint (`events/trackBulk`); what is not named has the vendor's figure.
    pub requests_per_second: BTreeMap<String, u32>,
    /// How a 429 looks.
    pub throttle: IterableThrottle,
    /// Event names that the project does not take.
    pub disallowed_events: Vec<String>,
    /// E-mails and user ids that were forgotten.
    pub forgotten: Vec<String>,
    /// What becomes of an event for a user whom no `users/*` call has made.
    pub unknown_users: UnknownUsers,
    /// Whether unknown fields are made when the request does not say.
    pub create_new_fields: bool,
    /// Whether a field keeps the type of its first value, and their number is limited.
    pub field_types: bool,
    /// Names of catalogues; none: all exist.
    pub catalogs: Option<Vec<String>>,
}

/// Iterable's data centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// `api.iterable.com`
    #[default]
    Us,
    /// `api.eu.iterable.com`
    Eu,
}

/// An Iterable project's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// By e-mail or user id.
    #[default]
    Hybrid,
    /// By e-mail; a user id is looked up. US only.
    Email,
    /// By user id only.
    UserId,
}

/// How Iterable's 429 looks: three forms were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IterableThrottle {
    /// With `params.rateLimitReset`.
    #[default]
    Params,
    /// With a message and empty `params`.
    Message,
    /// Plain text.
    Text,
    /// The three in turn.
    Rotate,
}

/// What becomes of an Iterable event for an unknown user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownUsers {
    /// The user is made.
    #[default]
    Create,
    /// `notFoundEmails`, `notFoundUserIds`; `UnknownEmailError` and the like on single calls.
    Refuse,
}

/// A key and what it may.
#[derive(Clone, Debug)]
pub struct Key {
    /// The key itself.
    pub value: SecretString,
    /// What it may.
    pub kind: KeyKind,
}

/// What a key may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Everything.
    #[default]
    Any,
    /// Iterable: everything but the registration of tokens.
    Server,
    /// Iterable: single calls and the registration of tokens; nothing in bulk.
    Client,
    /// MoEngage's data alone.
    Data,
    /// MoEngage's business events and catalogues alone.
    Campaign,
    /// MoEngage's Inform alone.
    Inform,
}

/// Why an accounts file is refused. Never quotes a key.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// Not TOML, or not the expected shape.
    #[error("line {line}: {message}")]
    Toml {
        /// Counted from 1; 0 if unknown.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// A value that cannot be.
    #[error("account {account}: {what}")]
    Account {
        /// The account's name.
        account: String,
        /// What is wrong.
        what: String,
    },
}

/// Reads an accounts file: tables `[accounts.NAME.moengage]` and `[accounts.NAME.iterable]`.
pub fn parse(text: &str) -> Result<Vec<Account>, AccountsError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        accounts: BTreeMap<String, Vendor>,
    }
    let file: File = toml::from_str(text).map_err(|error| {
        let (line, message) = located(text, &error);
        AccountsError::Toml { line, message }
    })?;
    let accounts: Vec<_> = file.accounts.into_iter().map(|(name, vendor)| Account { name, vendor }).collect();
    check(&accounts)?;
    Ok(accounts)
}

/// Where and why a TOML text is refused, without the line itself: it may hold a key.
pub(super) fn located(text: &str, error: &toml::de::Error) -> (usize, String) {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map_or(0, |before| before.matches('\n').count() + 1);
    (line, error.message().to_owned())
}

/// Refuses accounts that could not be told apart, or that the vendors do not have.
pub(super) fn check(accounts: &[Account]) -> Result<(), AccountsError> {
    let mut names = HashSet::new();
    let mut places = HashSet::new();
    let mut project_keys = HashSet::new();
    for account in accounts {
        let wrong = |what: &str| AccountsError::Account { account: account.name.clone(), what: what.to_owned() };
        if !names.insert(&account.name) {
            return Err(wrong("the name stands twice"));
        }
        match &account.vendor {
            Vendor::Moengage(it) => {
                if it.workspace.is_empty() {
                    return Err(wrong("`workspace` is missing"));
                }
                if !["01", "02", "03", "04", "05", "06", "101"].contains(&it.data_center.as_str()) {
                    return Err(wrong("`data_center` is none of 01 to 06 and 101"));
                }
                if !places.insert(&it.workspace) {
                    return Err(wrong("the workspace stands twice; one account can have many keys"));
                }
                if it.keys.iter().any(|key| matches!(key.kind, KeyKind::Server | KeyKind::Client)) {
                    return Err(wrong("a key of MoEngage's is of kind any, data, campaign or inform"));
                }
            }
            Vendor::Iterable(it) => {
                if it.region == Region::Eu && it.identity == Identity::Email {
                    return Err(wrong("email-based projects exist in the US only"));
                }
                if it.keys.iter().any(|key| matches!(key.kind, KeyKind::Data | KeyKind::Campaign | KeyKind::Inform)) {
                    return Err(wrong("a key of Iterable's is of kind any, server or client"));
                }
                if let Some(name) =
                    it.requests_per_second.keys().find(|name| super::iterable::Endpoint::named(name).is_none())
                {
                    return Err(wrong(&format!("`requests_per_second` names no endpoint: {name}")));
                }
                if it.keys.iter().any(|key| !project_keys.insert(key.value.expose_secret())) {
                    return Err(wrong("one of its keys stands twice: a key belongs to one project"));
                }
            }
        }
    }
    Ok(())
}

// === impl Account ===

impl Account {
    /// A MoEngage workspace with the documented limits.
    #[must_use]
    pub fn moengage(name: &str, workspace: &str, data_center: &str, key: &str) -> Self {
        let vendor = Vendor::Moengage(Workspace {
            workspace: workspace.to_owned(),
            data_center: data_center.to_owned(),
            keys: vec![Key::new(key)],
            ..Workspace::default()
        });
        Self { name: name.to_owned(), vendor }
    }

    /// A hybrid Iterable project with the documented limits.
    #[must_use]
    pub fn iterable(name: &str, region: Region, key: &str) -> Self {
        let vendor = Vendor::Iterable(Project { region, keys: vec![Key::new(key)], ..Project::default() });
        Self { name: name.to_owned(), vendor }
    }

    /// What the vendor's host stands for on the sandbox: a prefix of the path.
    #[must_use]
    pub fn prefix(&self) -> String {
        match &self.vendor {
            Vendor::Moengage(it) => format!("/moengage/{}", it.data_center),
            Vendor::Iterable(it) => format!("/iterable/{}", it.region),
        }
    }

    /// Without limits and without what costs memory per user or field: a sink for benchmarks, as strict otherwise.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        match &mut self.vendor {
            Vendor::Moengage(it) => {
                (it.users_per_minute, it.events_per_minute, it.merges_per_minute) = (0, 0, 0);
                (it.business_events_per_hour, it.business_events_per_day) = (0, 0);
                (it.alerts_per_minute, it.catalog_per_minute, it.catalog_per_hour) = (0, 0, 0);
                it.fair_usage = false;
            }
            Vendor::Iterable(it) => {
                it.requests_per_second =
                    super::iterable::Endpoint::ALL.iter().map(|endpoint| (endpoint.name().to_owned(), 0)).collect();
                it.field_types = false;
            }
        }
        self
    }
}

// === impl Vendor ===

impl Vendor {
    pub(super) fn keys(&self) -> &[Key] {
        match self {
            Self::Moengage(it) => &it.keys,
            Self::Iterable(it) => &it.keys,
        }
    }
}

// === impl Workspace ===

impl Default for Workspace {
    fn default() -> Self {
        Self {
            workspace: String::new(),
            data_center: "01".to_owned(),
            keys: Vec::new(),
            users_per_minute: 60_000,
            events_per_minute: 60_000,
            merges_per_minute: 1_000,
            business_events_per_hour: 50,
            business_events_per_day: 200,
            alerts_per_minute: 10_000,
            catalog_per_minute: 100,
            catalog_per_hour: 1_000,
            business_events: None,
            alerts: None,
            catalogs: None,
            throttle: MoengageThrottle::default(),
            allowed_ips: Vec::new(),
            identity_resolution: false,
            fair_usage: true,
        }
    }
}

// === impl Project ===

impl Default for Project {
    fn default() -> Self {
        Self {
            region: Region::default(),
            project: "1".to_owned(),
            keys: Vec::new(),
            identity: Identity::default(),
            requests_per_second: BTreeMap::new(),
            throttle: IterableThrottle::default(),
            disallowed_events: Vec::new(),
            forgotten: Vec::new(),
            unknown_users: UnknownUsers::default(),
            create_new_fields: true,
            field_types: true,
            catalogs: None,
        }
    }
}

// === impl Region ===

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "us",
            Self::Eu => "eu",
        })
    }
}

// === impl Key ===

impl Key {
    /// A key that may do everything.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self { value: SecretString::from(value), kind: KeyKind::Any }
    }

    /// The same key with the rights of this kind.
    #[must_use]
    pub fn kind(self, kind: KeyKind) -> Self {
        Self { kind, ..self }
    }
}

/// A list of texts, or of tables `{ value, kind }`. Through [`toml::Value`], because serde's own message would quote it.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Key>, D::Error> {
    let wrong = || {
        D::Error::custom(
            "`keys` is a list of texts, or of { value = \"..\", kind = \"any|server|client|data|campaign|inform\" }",
        )
    };
    let toml::Value::Array(items) = toml::Value::deserialize(deserializer)? else { return Err(wrong()) };
    let key = |item: &toml::Value| match item {
        toml::Value::String(value) => Some(Key::new(value)),
        toml::Value::Table(table) if table.len() == 1 + usize::from(table.contains_key("kind")) => {
            let kind = match table.get("kind") {
                Some(kind) => kind.clone().try_into().ok()?,
                None => KeyKind::Any,
            };
            Some(Key::new(table.get("value")?.as_str()?).kind(kind))
        }
        _ => None,
    };
    items.iter().map(|item| key(item).ok_or_else(wrong)).collect()
}
