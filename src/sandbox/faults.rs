//! Faults to order: which requests they hit, and what happens to those.
//!
//! The first fault of the list that matches a request is the one that it gets. Chance is seeded, one generator a fault, so
//! a run with requests in the same order is the same run. Windows count from the moment the faults were set.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use super::accounts::located;

/// A fault and the requests that it hits; all requests, unless narrowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// Waited before anything else happens.
    pub delay: Duration,
    account: Option<String>,
    endpoint: Option<String>,
    share: f64,
    from: Duration,
    until: Option<Duration>,
    count: Option<u64>,
}

/// What happens to a request that a fault hits.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Refused with this status; without a body it is the vendor's own for it.
    Status {
        /// The HTTP status.
        status: u16,
        /// Instead of the vendor's own.
        body: Option<String>,
        /// Beside the vendor's own.
        headers: Vec<(String, String)>,
    },
    /// Nothing but the [`Fault::delay`].
    Delay,
    /// Taken; the answer comes this much later.
    DelayAnswer(Duration),
    /// Never answered, not taken.
    Hang,
    /// The connection is reset; not taken.
    ResetBefore,
    /// Taken, then the connection is reset.
    ResetAfter,
    /// 401, as if the key had been revoked.
    RevokeKey,
    /// 429, as the vendor would, whatever is left.
    Throttle,
    /// Taken, except this share of the elements: Iterable lists them, MoEngage drops them without a word.
    PartialFailure {
        /// 0 to 1.
        elements: f64,
        /// Where Iterable lists them.
        list: Listed,
    },
    /// Requests that contain `marker` are refused with `status`, 400 or 500, without a hint at the element.
    Poison {
        /// As it stands in the body, escapes included.
        marker: String,
        /// 400 or 500.
        status: u16,
    },
    /// 200 with a page that is not the vendor's; not taken.
    NotTheVendor,
    /// 302 to this place; not taken.
    Redirect {
        /// The `Location`.
        location: String,
    },
    /// 200 with so many bytes of JSON; not taken.
    HugeAnswer {
        /// How many.
        bytes: u64,
    },
    /// Taken, and answered with the first half of the answer.
    BrokenJson,
    /// Taken, and answered a byte at a time, so often.
    SlowBody(Duration),
    /// Taken, and the connection is closed in the middle of the answer.
    ShortBody,
}

/// Where Iterable lists elements that fail by [`Effect::PartialFailure`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Listed {
    /// `invalidEmails`, `invalidUserIds`
    #[default]
    Invalid,
    /// `notFoundEmails`, `notFoundUserIds`
    NotFound,
    /// `forgottenEmails`, `forgottenUserIds`
    Forgotten,
    /// `conflictEmails`, `conflictUserIds`
    Conflict,
    /// `invalidDataEmails`, `invalidDataUserIds`
    InvalidData,
    /// `disallowedEventNames`
    Disallowed,
    /// Nowhere: counted as failed only.
    Nowhere,
}

/// Why a list of faults is refused.
#[derive(Debug, thiserror::Error)]
pub enum FaultsError {
    /// Not TOML, or not the expected shape.
    #[error("line {line}: {message}")]
    Toml {
        /// Counted from 1; 0 if unknown.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// A value that cannot be.
    #[error("fault {index}: {what}")]
    Fault {
        /// Counted from 1, in the file's order.
        index: usize,
        /// What is wrong.
        what: String,
    },
}

/// The faults that are set, and how often each has hit.
#[derive(Debug)]
pub(super) struct Faults {
    faults: Vec<Armed>,
    since: Duration,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    rng: StdRng,
    hits: u64,
}

/// What a fault looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit<'a> {
    pub(super) account: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) body: &'a [u8],
    pub(super) now: Duration,
}

// === impl Fault ===

impl Fault {
    /// A fault that hits every request.
    #[must_use]
    pub const fn new(effect: Effect) -> Self {
        let delay = Duration::ZERO;
        Self { effect, delay, account: None, endpoint: None, share: 1.0, from: delay, until: None, count: None }
    }

    /// A refusal with this status and the vendor's own body for it.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::new(Effect::Status { status, body: None, headers: Vec::new() })
    }

    /// Only requests of this account.
    #[must_use]
    pub fn account(mut self, name: &str) -> Self {
        self.account = Some(name.to_owned());
        self
    }

    /// Only requests of this endpoint, as reports name it: `transition`, `events/trackBulk`.
    #[must_use]
    pub fn endpoint(mut self, name: &str) -> Self {
        self.endpoint = Some(name.to_owned());
        self
    }

    /// Only this share of the requests, 0 to 1.
    #[must_use]
    pub const fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Only so many requests.
    #[must_use]
    pub const fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Only from `from` on, and for so long; both from when the faults are set.
    #[must_use]
    pub fn window(mut self, from: Duration, lasting: Duration) -> Self {
        self.from = from;
        self.until = Some(from.saturating_add(lasting));
        self
    }

    /// After waiting so long.
    #[must_use]
    pub const fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn covers(&self, hit: &Hit<'_>, since: Duration, hits: u64) -> bool {
        let age = hit.now.saturating_sub(since);
        let marked = |marker: &str| memchr::memmem::find(hit.body, marker.as_bytes()).is_some();
        self.account.as_ref().is_none_or(|name| name == hit.account)
            && self.endpoint.as_ref().is_none_or(|name| name == hit.endpoint)
            && age >= self.from
            && self.until.is_none_or(|until| age < until)
            && self.count.is_none_or(|count| hits < count)
            && if let Effect::Poison { marker, .. } = &self.effect { marked(marker) } else { true }
    }
}

// === impl Effect ===

impl Effect {
    /// The `kind` in a faults file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Delay => "delay",
            Self::DelayAnswer(_) => "delay_answer",
            Self::Hang => "hang",
            Self::ResetBefore => "reset_before",
            Self::ResetAfter => "reset_after",
            Self::RevokeKey => "revoke_key",
            Self::Throttle => "throttle",
            Self::PartialFailure { .. } => "partial_failure",
            Self::Poison { .. } => "poison",
            Self::NotTheVendor => "not_the_vendor",
            Self::Redirect { .. } => "redirect",
            Self::HugeAnswer { .. } => "huge_answer",
            Self::BrokenJson => "broken_json",
            Self::SlowBody(_) => "slow_body",
            Self::ShortBody => "short_body",
        }
    }
}

// === impl Faults ===

impl Faults {
    pub(super) fn new(faults: Vec<Fault>, seed: u64, since: Duration) -> Self {
        let armed = |(index, fault)| Armed { fault, rng: StdRng::seed_from_u64(seed.wrapping_add(index)), hits: 0 };
        Self { faults: (0..).zip(faults).map(armed).collect(), since }
    }

    /// The fault that this request gets.
    pub(super) fn pick(&mut self, hit: &Hit<'_>) -> Option<Fault> {
        let armed = self.faults.iter_mut().find_map(|armed| {
            let struck = armed.fault.covers(hit, self.since, armed.hits)
                && (armed.fault.share >= 1.0 || armed.rng.random_bool(armed.fault.share.clamp(0.0, 1.0)));
            struck.then_some(armed)
        })?;
        armed.hits += 1;
        Some(armed.fault.clone())
    }

    /// How often each has hit: kind and number, in their order.
    pub(super) fn hits(&self) -> Vec<(&'static str, u64)> {
        self.faults.iter().map(|armed| (armed.fault.effect.name(), armed.hits)).collect()
    }
}

// === the file ===

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    account: Option<String>,
    endpoint: Option<String>,
    share: Option<f64>,
    from: Option<String>,
    #[serde(rename = "for")]
    lasting: Option<String>,
    count: Option<u64>,
    delay: Option<String>,
    status: Option<u16>,
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    elements: Option<f64>,
    list: Option<Listed>,
    marker: Option<String>,
    location: Option<String>,
    bytes: Option<u64>,
    every: Option<String>,
}

/// Reads a faults file: tables `[[fault]]`.
pub fn parse(text: &str) -> Result<Vec<Fault>, FaultsError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        fault: Vec<Written>,
    }
    let file: File = toml::from_str(text).map_err(|error| {
        let (line, message) = located(text, &error);
        FaultsError::Toml { line, message }
    })?;
    let numbered = (1..).zip(file.fault);
    numbered.map(|(index, it)| it.checked().map_err(|what| FaultsError::Fault { index, what })).collect()
}

impl Written {
    fn checked(mut self) -> Result<Fault, String> {
        let from = duration("from", self.from.take())?.unwrap_or_default();
        let until = duration("for", self.lasting.take())?.map(|lasting| from.saturating_add(lasting));
        let share = part("share", self.share.take(), 1.0)?;
        let mut fault = Fault { from, until, share, count: self.count.take(), ..Fault::new(Effect::Delay) };
        (fault.account, fault.endpoint) = (self.account.take(), self.endpoint.take());
        let delay = duration("delay", self.delay.take())?;
        fault.effect = self.effect(delay)?;
        let unused = self.unused();
        if !unused.is_empty() {
            return Err(format!("a {} has no {}", self.kind, unused.join(", ")));
        }
        if !matches!(fault.effect, Effect::DelayAnswer(_)) {
            fault.delay = delay.unwrap_or_default();
        }
        Ok(fault)
    }

    /// Takes what the kind needs; what is left afterwards is a mistake.
    fn effect(&mut self, delay: Option<Duration>) -> Result<Effect, String> {
        let missing = |what: &str| format!("a {} needs `{what}`", self.kind);
        Ok(match self.kind.as_str() {
            "status" => Effect::Status {
                status: status(self.status.take().ok_or_else(|| missing("status"))?)?,
                body: self.body.take(),
                headers: headers(std::mem::take(&mut self.headers))?,
            },
            "delay" if delay.is_some() => Effect::Delay,
            "delay" | "delay_answer" => Effect::DelayAnswer(delay.ok_or_else(|| missing("delay"))?),
            "hang" => Effect::Hang,
            "reset_before" => Effect::ResetBefore,
            "reset_after" => Effect::ResetAfter,
            "revoke_key" => Effect::RevokeKey,
            "throttle" => Effect::Throttle,
            "partial_failure" => Effect::PartialFailure {
                elements: part("elements", self.elements.take(), 0.1)?,
                list: self.list.take().unwrap_or_default(),
            },
            "poison" => Effect::Poison {
                marker: self.marker.take().filter(|m| !m.is_empty()).ok_or_else(|| missing("marker"))?,
                status: match self.status.take().unwrap_or(400) {
                    status @ (400 | 500) => status,
                    other => return Err(format!("a poison answers 400 or 500, not {other}")),
                },
            },
            "not_the_vendor" => Effect::NotTheVendor,
            "redirect" => Effect::Redirect {
                location: headers([("location".to_owned(), self.location.take().ok_or_else(|| missing("location"))?)])?
                    .swap_remove(0)
                    .1,
            },
            "huge_answer" => Effect::HugeAnswer { bytes: self.bytes.take().unwrap_or(64 << 20) },
            "broken_json" => Effect::BrokenJson,
            "slow_body" => {
                Effect::SlowBody(duration("every", self.every.take())?.unwrap_or(Duration::from_millis(100)))
            }
            "short_body" => Effect::ShortBody,
            other => return Err(format!("there is no kind {other:?}")),
        })
    }

    fn unused(&self) -> Vec<&'static str> {
        let left = [
            ("status", self.status.is_some()),
            ("body", self.body.is_some()),
            ("headers", !self.headers.is_empty()),
            ("elements", self.elements.is_some()),
            ("list", self.list.is_some()),
            ("marker", self.marker.is_some()),
            ("location", self.location.is_some()),
            ("bytes", self.bytes.is_some()),
            ("every", self.every.is_some()),
        ];
        left.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect()
    }
}

fn duration(name: &str, text: Option<String>) -> Result<Option<Duration>, String> {
    let Some(text) = text else { return Ok(None) };
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|it| Duration::try_from(it).ok());
    parsed.map(Some).ok_or_else(|| format!("`{name}` is a duration like \"10s\", not {text:?}"))
}

fn part(name: &str, value: Option<f64>, default: f64) -> Result<f64, String> {
    let value = value.unwrap_or(default);
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(format!("`{name}` is between 0 and 1, not {value}")) }
}

/// 1xx have a meaning for the connection and are not answers.
fn status(status: u16) -> Result<u16, String> {
    if (200..=599).contains(&status) { Ok(status) } else { Err(format!("`status` is 200 to 599, not {status}")) }
}

fn headers(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Vec<(String, String)>, String> {
    let pairs: Vec<_> = pairs.into_iter().collect();
    for (name, value) in &pairs {
        if name.parse::<http::HeaderName>().is_err() || value.parse::<http::HeaderValue>().is_err() {
            return Err(format!("{name:?} = {value:?} is not a header"));
        }
    }
    Ok(pairs)
}
