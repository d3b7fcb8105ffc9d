//! Whose is it: finds the tenant that a record belongs to, and whether an account of that tenant wants the event.
//!
//! An unknown tenant is an end of its own, not an error. Work per record does not grow with the number of tenants.
//! Pure; never decides what the vendor gets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::clock::Now;
use crate::config::{self, Account, Filter, TenantRules, TenantSource};
use crate::event::{Event, Kind, RawForm};
use crate::outcome::{No, Reason, Refusal, Skip};
use crate::source::record::Record;

/// Finds tenants and their lanes.
#[derive(Debug)]
pub struct Router {
    rules: TenantRules,
    /// Whether the message itself must be read to find the tenant.
    reads_message: bool,
    tenants: HashMap<String, Arc<[u32]>, RandomState>,
}

impl Router {
    /// Lanes are numbered as the accounts are ordered.
    #[must_use]
    pub fn new(rules: TenantRules, accounts: &[Account]) -> Self {
        let mut tenants: HashMap<String, Vec<u32>, RandomState> = HashMap::default();
        for (lane, account) in (0..).zip(accounts) {
            tenants.entry(account.tenant.clone()).or_default().push(lane);
        }
        let reads_message = rules.from.iter().any(|source| matches!(source, TenantSource::Field(_)));
        let tenants = tenants.into_iter().map(|(tenant, lanes)| (tenant, lanes.into())).collect();
        Self { rules, reads_message, tenants }
    }

    /// Whether [`Router::tenant`] needs the decoded event.
    #[must_use]
    pub fn reads_message(&self) -> bool {
        self.reads_message
    }

    /// Whether an unknown tenant's records are skipped.
    #[must_use]
    pub fn skips_unknown(&self) -> bool {
        self.rules.unknown_is_skipped
    }

    /// The lanes of a tenant; `None` if it is unknown.
    #[must_use]
    pub fn lanes(&self, tenant: &str) -> Option<Arc<[u32]>> {
        self.tenants.get(tenant).map(Arc::clone)
    }

    /// The tenant that the record names.
    pub fn tenant<'a>(
        &'a self,
        topic: &'a str,
        record: &Record<'a>,
        event: Option<&Event<'a>>,
    ) -> Result<Cow<'a, str>, Refusal> {
        let mut found: Option<Cow<'a, str>> = None;
        for source in &self.rules.from {
            let Some(tenant) = named_by(source, topic, record, event).filter(|tenant| !tenant.is_empty()) else {
                continue;
            };
            match &found {
                None if !self.rules.conflict_is_refused => return Ok(tenant),
                None => found = Some(tenant),
                Some(first) if *first != tenant => {
                    let detail = format!("one place names tenant {}, another {}", cut(first), cut(&tenant));
                    return Err(Refusal::new(Reason::TenantConflict, detail));
                }
                Some(_) => {}
            }
        }
        found.ok_or_else(|| Refusal::new(Reason::NoTenant, "none of the places in [tenant] from names a tenant"))
    }
}

/// What one place says.
fn named_by<'a>(
    source: &'a TenantSource,
    topic: &'a str,
    record: &Record<'a>,
    event: Option<&Event<'a>>,
) -> Option<Cow<'a, str>> {
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
    match source {
        TenantSource::Header(name) => {
            let headers = record.headers;
            (0..headers.count()).rev().filter_map(|index| headers.at(index)).find_map(|(key, value)| {
                if key == name {
                    value.and_then(|value| std::str::from_utf8(value).ok()).map(Cow::Borrowed)
                } else {
                    None
                }
            })
        }
        TenantSource::Field(parts) => event?.text_at(parts),
        TenantSource::Key(regex) => Some(Cow::Borrowed(regex.captures(text(record.key?)?)?.name("tenant")?.as_str())),
        TenantSource::Topic(regex) => Some(Cow::Borrowed(regex.captures(topic)?.name("tenant")?.as_str())),
        TenantSource::Value(tenant) => Some(Cow::Borrowed(tenant)),
    }
}

/// Text from a record, for a message: quoted, escaped and cut.
fn cut(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

/// Which events one account gets.
#[derive(Debug)]
pub struct Selection {
    account: String,
    destination: &'static str,
    enabled: bool,
    accept: Vec<Kind>,
    filters: Vec<Filter>,
    only: Option<GlobSet>,
    skip: Option<GlobSet>,
    consent: Vec<String>,
    max_age: Option<Duration>,
    /// Raw shapes that the vendor has, and those of them that are allowed.
    raw_shapes: &'static [&'static str],
    raw: Vec<String>,
    /// Whether raw elements would pass by rules that they should keep.
    raw_breaks_rules: bool,
}

impl Selection {
    /// The account's rules.
    #[must_use]
    pub fn new(account: &Account) -> Self {
        Self {
            account: account.name.clone(),
            destination: account.destination(),
            enabled: account.enabled,
            accept: account.accept.clone(),
            filters: account.filters.clone(),
            only: names(&account.only_events),
            skip: names(&account.skip_events),
            consent: account.consent.clone(),
            max_age: account.max_age,
            raw_shapes: account.raw_shapes(),
            raw: account.raw.clone(),
            raw_breaks_rules: !(account.raw_unfiltered || account.fields.is_empty() && account.consent.is_empty()),
        }
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Whether the account gets the event; else why not.
    pub fn check(&self, event: &Event<'_>, now: Now) -> Result<(), No> {
        if !self.enabled {
            return Err(Skip::Disabled.into());
        }
        match &event.raw {
            Some(form) => self.check_raw(event, form),
            None => Ok(self.check_message(event, now)?),
        }
    }

    /// Raw elements are selected by their shape and by `where`: what else is selected by, they do not have.
    fn check_raw(&self, event: &Event<'_>, form: &RawForm<'_>) -> Result<(), No> {
        let of_another = config::RAW_SHAPES.iter().any(|shapes| shapes.contains(&form.shape));
        if !self.raw_shapes.contains(&form.shape) && of_another {
            return Err(Skip::NotAccepted.into());
        }
        if !self.raw.iter().any(|allowed| allowed == form.shape) {
            let detail = format!("`raw` of the account does not list {}", cut(form.shape));
            return Err(Refusal::new(Reason::RawNotAllowed, detail).into());
        }
        self.check_filters(event)?;
        if self.raw_breaks_rules {
            let detail = "the account has `fields` or `consent`, which raw elements pass by";
            return Err(Refusal::new(Reason::RawWithRules, detail).into());
        }
        Ok(())
    }

    fn check_filters(&self, event: &Event<'_>) -> Result<(), Skip> {
        let holds = |filter: &Filter| {
            event.text_at(&filter.field).is_some_and(|text| filter.any_of.iter().any(|allowed| *allowed == text))
        };
        if self.filters.iter().all(holds) { Ok(()) } else { Err(Skip::NotSelected) }
    }

    fn check_message(&self, event: &Event<'_>, now: Now) -> Result<(), Skip> {
        if !self.accept.contains(&event.kind) {
            return Err(Skip::NotAccepted);
        }
        if event.integrations.is_some() && !event.integrations_allow(self.destination, &self.account) {
            return Err(Skip::Integrations);
        }
        self.check_filters(event)?;
        if event.kind == Kind::Track && (self.only.is_some() || self.skip.is_some()) {
            let name = event.event.as_deref().unwrap_or_default();
            let wanted = self.only.as_ref().is_none_or(|only| only.is_match(name));
            if !wanted || self.skip.as_ref().is_some_and(|skip| skip.is_match(name)) {
                return Err(Skip::NotSelected);
            }
        }
        self.check_consent(event)?;
        self.check_age(event, now)
    }

    fn check_consent(&self, event: &Event<'_>) -> Result<(), Skip> {
        let given = |category: &String| {
            let path = ["context", "consent", "categoryPreferences"].map(str::to_owned);
            let path: Vec<String> = path.into_iter().chain([category.clone()]).collect();
            event.text_at(&path).is_some_and(|text| text == "true")
        };
        if self.consent.iter().all(given) { Ok(()) } else { Err(Skip::Consent) }
    }

    /// State calls are exempt: the newest state is wanted however old it is.
    fn check_age(&self, event: &Event<'_>, now: Now) -> Result<(), Skip> {
        let Some(max_age) = self.max_age else { return Ok(()) };
        if !matches!(event.kind, Kind::Track | Kind::Page | Kind::Screen) {
            return Ok(());
        }
        let max_age = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
        match event.time_ms() {
            Some(time) if now.wall_ms.saturating_sub(time) > max_age => Err(Skip::TooOld),
            _ => Ok(()),
        }
    }
}

/// A set of event names in which `*` stands for any text; `None` if there are none.
fn names(patterns: &[String]) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // Only `*` is special in an event name.
        let escaped = pattern.split('*').map(globset::escape).collect::<Vec<_>>().join("*");
        if let Ok(glob) = GlobBuilder::new(&escaped).literal_separator(false).build() {
            set.add(glob);
        }
    }
    if patterns.is_empty() { None } else { set.build().ok() }
}
