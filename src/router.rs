//! Whose is it: finds the tenant that a record belongs to, and whether an account of that tenant wants the event.
//!
//! An unknown tenant is an end of its own, not an error. Work per record does not grow with the number of tenants. What
//! keeps an event from an account has a name, a [`Rule`], for whoever asks why.
//! Pure; never decides what the vendor gets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use foldhash::fast::RandomState;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::clock::Now;
use crate::config::{self, Account, Filter, TenantRules, TenantSource};
use crate::event::{Event, Kind, Origin, RawForm};
use crate::json::Tape;
use crate::outcome::{No, Reason, Refusal, Skip};
use crate::source::record::Record;

/// Finds tenants and their lanes.
#[derive(Debug)]
pub struct Router {
    rules: TenantRules,
    /// Whether the message itself must be read to find the tenant.
    reads_message: bool,
    tenants: HashMap<String, Tenant, RandomState>,
    /// Of each tenant.
    lanes: Vec<Vec<u32>>,
}

/// A tenant that has accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant(u32);

/// Where a record goes.
#[derive(Debug)]
pub enum Route<'a, 'e> {
    /// To nobody, and nothing is owed.
    Skipped(Skip),
    /// To nobody, as a dead letter. The tenant, as far as it is known.
    Refused(Option<String>, Refusal),
    /// To this tenant's lanes, each of which may still leave it out.
    Lanes(Tenant, &'e Event<'a>),
}

/// Memory for reading a message: where its values stand, and the event's place. Events are large, so they stay there.
#[derive(Debug)]
pub struct Space<'a, 'e> {
    /// Where values stand.
    pub tape: &'a mut Tape,
    /// The event.
    pub event: &'e mut Option<Event<'a>>,
}

/// A record's message, which is read when it has to be.
#[derive(Debug)]
pub enum Message<'a, 'e> {
    /// As it was read.
    Read(Result<&'e Event<'a>, Refusal>),
    /// The memory for reading it.
    Unread(Space<'a, 'e>),
}

impl<'a, 'e> Message<'a, 'e> {
    /// What was read so far.
    #[must_use]
    pub fn event(&self) -> Option<&'e Event<'a>> {
        match self {
            Self::Read(read) => read.as_ref().ok().copied(),
            Self::Unread(_) => None,
        }
    }

    /// Reads it, unless it was.
    pub fn read(self, record: &Record<'a>, value: &'a [u8], origin: Origin<'a>) -> Result<&'e Event<'a>, Refusal> {
        match self {
            Self::Read(read) => read,
            Self::Unread(space) => decode(record, value, origin, space),
        }
    }
}

impl Router {
    /// Lanes are numbered as the accounts are ordered.
    #[must_use]
    pub fn new(rules: TenantRules, accounts: &[Account]) -> Self {
        let reads_message = rules.from.iter().any(|source| matches!(source, TenantSource::Field(_)));
        let mut router = Self { rules, reads_message, tenants: HashMap::default(), lanes: Vec::new() };
        for (lane, account) in (0..).zip(accounts) {
            router.add(&account.tenant, lane);
        }
        router
    }

    /// Another lane of this tenant's.
    pub fn add(&mut self, tenant: &str, lane: u32) {
        let next = Tenant(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX));
        let tenant = *self.tenants.entry(tenant.to_owned()).or_insert(next);
        if tenant == next {
            self.lanes.push(Vec::new());
        }
        self.lanes[tenant.0 as usize].push(lane);
    }

    /// Where the record goes.
    #[must_use]
    pub fn route<'a, 'e>(&self, record: &Record<'a>, origin: Origin<'a>, space: Space<'a, 'e>) -> Route<'a, 'e> {
        let Some(value) = record.value else { return Route::Skipped(Skip::Tombstone) };
        let message = self.message(record, value, origin, space);
        if let Message::Read(Err(refusal)) = message {
            return Route::Refused(None, refusal);
        }
        let tenant = match self.tenant(origin.topic, record, message.event()) {
            Ok(tenant) => tenant,
            Err(refusal) => return Route::Refused(None, refusal),
        };
        let Some(found) = self.find(&tenant) else {
            if self.rules.unknown_is_skipped {
                return Route::Skipped(Skip::UnknownTenant);
            }
            let refusal = Refusal::new(Reason::UnknownTenant, "no account is configured for this tenant");
            return Route::Refused(Some(tenant.into_owned()), refusal);
        };
        match message.read(record, value, origin) {
            Ok(event) => Route::Lanes(found, event),
            Err(refusal) => Route::Refused(Some(tenant.into_owned()), refusal),
        }
    }

    /// The record's message. It is read before its tenant is known only if that stands in it.
    #[must_use]
    pub fn message<'a, 'e>(
        &self,
        record: &Record<'a>,
        value: &'a [u8],
        origin: Origin<'a>,
        space: Space<'a, 'e>,
    ) -> Message<'a, 'e> {
        let unread = Message::Unread(space);
        if self.reads_message { Message::Read(unread.read(record, value, origin)) } else { unread }
    }

    /// The tenant of this name; `None` if it is unknown.
    #[must_use]
    pub fn find(&self, tenant: &str) -> Option<Tenant> {
        self.tenants.get(tenant).copied()
    }

    /// The lanes of a tenant.
    #[must_use]
    pub fn lanes(&self, tenant: Tenant) -> &[u32] {
        self.lanes.get(tenant.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// The place of `[tenant] from` that names the record's tenant: the first that names one.
    #[must_use]
    pub fn named_by(&self, topic: &str, record: &Record<'_>, event: Option<&Event<'_>>) -> Option<&TenantSource> {
        let names =
            |source: &&TenantSource| named_by(source, topic, record, event).is_some_and(|name| !name.is_empty());
        self.rules.from.iter().find(names)
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
        TenantSource::Header(name) => record.headers.named(name).filter_map(text).last().map(Cow::Borrowed),
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

/// The event of a record: a message, or, where its header says so, a vendor's element.
pub fn decode<'a, 'e>(
    record: &Record<'a>,
    value: &'a [u8],
    origin: Origin<'a>,
    Space { tape, event }: Space<'a, 'e>,
) -> Result<&'e Event<'a>, Refusal> {
    match record.header("forebay-shape") {
        Some(shape) => decode_raw(shape, record, value, origin, tape).map(|raw| &*event.insert(raw)),
        None => Event::decode_in(event, value, origin, tape),
    }
}

#[cold]
fn decode_raw<'a>(
    shape: &'a [u8],
    record: &Record<'a>,
    value: &'a [u8],
    origin: Origin<'a>,
    tape: &'a mut Tape,
) -> Result<Event<'a>, Refusal> {
    let text = |header: &'a [u8]| std::str::from_utf8(header).ok();
    let no_shape = || Refusal::new(Reason::RawNotAllowed, "the header forebay-shape is not UTF-8");
    let shape = text(shape).ok_or_else(no_shape)?;
    let catalog = record.header("forebay-catalog").and_then(text);
    Event::decode_raw(value, origin, RawForm { shape, catalog }, tape)
}

/// What in an account's settings, or in the message, keeps an event from the account.
#[derive(Clone, Copy, Debug)]
pub enum Rule<'s> {
    /// `enabled = false`
    Disabled,
    /// `accept` does not list the type.
    Accept(Kind),
    /// The message's `integrations` object.
    Integrations,
    /// A condition of `where` that does not hold.
    Where(&'s Filter),
    /// `only_events` does not list the name.
    OnlyEvents,
    /// `skip_events` lists the name.
    SkipEvents,
    /// A category of `consent` that is not true.
    Consent(&'s str),
    /// `max_age`
    MaxAge(Duration),
    /// A raw element of another vendor's shape.
    RawOfAnother,
    /// A raw element of a shape that `raw` does not list.
    Raw,
    /// `fields` or `consent`, which a raw element would pass by.
    RawWithRules,
}

impl Rule<'_> {
    /// The setting of the account that says so, as it stands in the account's table; of what the message says itself none.
    #[must_use]
    pub const fn setting(&self) -> Option<&'static str> {
        Some(match self {
            Self::Disabled => "enabled",
            Self::Accept(_) => "accept",
            Self::Where(_) => "where",
            Self::OnlyEvents => "only_events",
            Self::SkipEvents => "skip_events",
            Self::Consent(_) => "consent",
            Self::MaxAge(_) => "max_age",
            Self::Raw => "raw",
            Self::RawWithRules => "raw_unfiltered",
            Self::Integrations | Self::RawOfAnother => return None,
        })
    }

    /// The named end that it makes.
    #[must_use]
    pub fn no(&self) -> No {
        let skip = match self {
            Self::Disabled => Skip::Disabled,
            Self::Accept(_) | Self::RawOfAnother => Skip::NotAccepted,
            Self::Integrations => Skip::Integrations,
            Self::Where(_) | Self::OnlyEvents | Self::SkipEvents => Skip::NotSelected,
            Self::Consent(_) => Skip::Consent,
            Self::MaxAge(_) => Skip::TooOld,
            Self::Raw => return Refusal::new(Reason::RawNotAllowed, self.to_string()).into(),
            Self::RawWithRules => return Refusal::new(Reason::RawWithRules, self.to_string()).into(),
        };
        No::Skipped(skip, self.setting())
    }
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("enabled = false"),
            Self::Accept(kind) => write!(f, "accept does not list {}", kind.name()),
            Self::Integrations => f.write_str("the message's integrations switch it off"),
            Self::Where(filter) => write!(f, "where: /{} is none of {:?}", filter.field.join("/"), filter.any_of),
            Self::OnlyEvents => f.write_str("only_events does not list its name"),
            Self::SkipEvents => f.write_str("skip_events lists its name"),
            Self::Consent(category) => write!(f, "consent: {category:?} is not given"),
            Self::RawOfAnother => f.write_str("the header forebay-shape names a shape of another vendor"),
            Self::Raw => f.write_str("raw does not list what the header forebay-shape names"),
            Self::RawWithRules => f.write_str("fields or consent are set, which a raw element would pass by"),
            Self::MaxAge(age) => write!(f, "older than max_age = {} s", age.as_secs()),
        }
    }
}

/// Which events one account gets.
#[derive(Debug)]
pub struct Selection {
    account: String,
    destination: &'static str,
    enabled: bool,
    /// A bit for each type: with many accounts a list would be one more piece of memory that is far away.
    accept: u8,
    filters: Vec<Filter>,
    only: Option<GlobSet>,
    skip: Option<GlobSet>,
    /// Categories, and where a message says whether they are given.
    consent: Vec<(String, Vec<String>)>,
    max_age: Option<Duration>,
    /// Raw shapes that the vendor has, and those of them that are allowed.
    raw_shapes: &'static [&'static str],
    raw: Vec<String>,
    /// Whether raw elements would pass by rules that they should keep.
    raw_breaks_rules: bool,
    /// Whether there are any rules for messages beside `accept`.
    has_rules: bool,
}

impl Selection {
    /// The account's rules.
    #[must_use]
    pub fn new(account: &Account) -> Self {
        Self {
            account: account.name.clone(),
            destination: account.destination(),
            enabled: account.enabled,
            accept: account.accept.iter().fold(0, |accept, kind| accept | 1 << *kind as u8),
            filters: account.filters.clone(),
            only: names(&account.only_events),
            skip: names(&account.skip_events),
            consent: account.consent.iter().map(|category| (category.clone(), consent_path(category))).collect(),
            max_age: account.max_age,
            raw_shapes: account.raw_shapes(),
            raw: account.raw.clone(),
            raw_breaks_rules: !(account.raw_unfiltered || account.fields.is_empty() && account.consent.is_empty()),
            has_rules: !account.filters.is_empty()
                || !account.only_events.is_empty()
                || !account.skip_events.is_empty()
                || !account.consent.is_empty()
                || account.max_age.is_some(),
        }
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Whether the account gets the event; else what keeps it away.
    pub fn check(&self, event: &Event<'_>, now: Now) -> Result<(), Rule<'_>> {
        if !self.enabled {
            return Err(Rule::Disabled);
        }
        match &event.raw {
            Some(form) => self.check_raw(event, form),
            None => self.check_message(event, now),
        }
    }

    /// Raw elements are selected by their shape and by `where`: what else is selected by, they do not have.
    fn check_raw(&self, event: &Event<'_>, form: &RawForm<'_>) -> Result<(), Rule<'_>> {
        let of_another = config::RAW_SHAPES.iter().any(|shapes| shapes.contains(&form.shape));
        if !self.raw_shapes.contains(&form.shape) && of_another {
            return Err(Rule::RawOfAnother);
        }
        if !self.raw.iter().any(|allowed| allowed == form.shape) {
            return Err(Rule::Raw);
        }
        self.check_filters(event)?;
        if self.raw_breaks_rules { Err(Rule::RawWithRules) } else { Ok(()) }
    }

    fn check_filters(&self, event: &Event<'_>) -> Result<(), Rule<'_>> {
        let holds = |filter: &&Filter| {
            event.text_at(&filter.field).is_some_and(|text| filter.any_of.iter().any(|allowed| *allowed == text))
        };
        self.filters.iter().find(|filter| !holds(filter)).map_or(Ok(()), |filter| Err(Rule::Where(filter)))
    }

    fn check_message(&self, event: &Event<'_>, now: Now) -> Result<(), Rule<'_>> {
        if self.accept & 1 << event.kind as u8 == 0 {
            return Err(Rule::Accept(event.kind));
        }
        if event.integrations.is_some() && !event.integrations_allow(self.destination, &self.account) {
            return Err(Rule::Integrations);
        }
        if self.has_rules { self.check_rules(event, now) } else { Ok(()) }
    }

    fn check_rules(&self, event: &Event<'_>, now: Now) -> Result<(), Rule<'_>> {
        self.check_filters(event)?;
        if event.kind == Kind::Track && (self.only.is_some() || self.skip.is_some()) {
            let name = event.event.as_deref().unwrap_or_default();
            if self.only.as_ref().is_some_and(|only| !only.is_match(name)) {
                return Err(Rule::OnlyEvents);
            }
            if self.skip.as_ref().is_some_and(|skip| skip.is_match(name)) {
                return Err(Rule::SkipEvents);
            }
        }
        self.check_consent(event)?;
        self.check_age(event, now)
    }

    fn check_consent(&self, event: &Event<'_>) -> Result<(), Rule<'_>> {
        // A preference is a boolean: a text "true" is nobody's consent.
        let given = |path: &[String]| event.value_at(path).is_some_and(|value| value.get() == "true");
        let missing = self.consent.iter().find(|(_, path)| !given(path));
        missing.map_or(Ok(()), |(category, _)| Err(Rule::Consent(category)))
    }

    /// State calls are exempt: the newest state is wanted however old it is.
    fn check_age(&self, event: &Event<'_>, now: Now) -> Result<(), Rule<'_>> {
        let Some(limit) = self.max_age else { return Ok(()) };
        if !matches!(event.kind, Kind::Track | Kind::Page | Kind::Screen) {
            return Ok(());
        }
        let max_age = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        match event.time_ms() {
            Some(time) if now.wall_ms.saturating_sub(time) > max_age => Err(Rule::MaxAge(limit)),
            _ => Ok(()),
        }
    }
}

fn consent_path(category: &str) -> Vec<String> {
    ["context", "consent", "categoryPreferences", category].map(str::to_owned).into()
}

/// A set of event names in which `*` stands for any text; `None` if there are none.
fn names(patterns: &[String]) -> Option<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // Only `*` is special in an event name; several in a row would be special otherwise.
        let parts: Vec<&str> = pattern.split('*').collect();
        let last = parts.len() - 1;
        let parts = parts.into_iter().enumerate().filter(|(index, part)| !part.is_empty() || [0, last].contains(index));
        let escaped = parts.map(|(_, part)| globset::escape(part)).collect::<Vec<_>>().join("*");
        if let Ok(glob) = GlobBuilder::new(&escaped).literal_separator(false).backslash_escape(false).build() {
            set.add(glob);
        }
    }
    if patterns.is_empty() { None } else { set.build().ok() }
}
