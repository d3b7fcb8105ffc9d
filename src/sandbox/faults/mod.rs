//! Faults to order: which requests they hit, and what happens to those.
//!
//! The first fault of the list that matches a request is the one that it gets. Chance is seeded, one generator a fault, so
//! a run with requests in the same order is the same run. Windows count from the moment the faults were set.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

mod file;

pub use file::parse;

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
