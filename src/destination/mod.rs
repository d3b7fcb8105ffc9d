//! What a vendor must tell us: the trait, and the list of vendors.
//!
//! A vendor is pure functions: bytes in, bytes out; it holds no socket and reads no clock. The lane owns batching,
//! order and pacing; the delivery owns the network. To add one: a folder, its two lines here, and cases in `tests/cases`.

pub(crate) mod hint;
pub mod iterable;
pub mod moengage;
mod raw;
mod users;
pub mod webhook;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;

use crate::clock::Now;
use crate::config::{Account, Folder, Vendor};
use crate::event::Event;
use crate::outcome::{No, Reason, Refusal, Skip};

pub use self::users::UserHash;

/// One of a destination's request forms: an index into [`Destination::shapes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(pub u8);

/// What does not depend on an account's settings about a shape.
#[derive(Debug)]
pub struct ShapeInfo {
    /// The public name: `transition`, `events/trackBulk`.
    pub name: &'static str,
    /// The vendor's limit on the body, in bytes, frame included.
    pub max_bytes: usize,
    /// The vendor's limit on calls a request.
    pub max_calls: usize,
    /// The families of keys that open it, as the account's settings name them: the first that the account has.
    pub keys: &'static [&'static str],
    /// Whether a request may hold one call of a user at most: what is listed by name can stand there once.
    pub apart: bool,
    /// Whether its calls have a lane of their own: they need no order with the account's others, and their quota is so
    /// small, or their key another's, that those would wait for them.
    pub own_lane: bool,
}

/// What a request costs of a [`Budget`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// One, whatever it holds.
    Request,
    /// The sum of its calls' [`Call::units`] at this index.
    Units(u8),
}

/// The window that the vendor counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// Requests a second: no burst.
    Second,
    /// A fixed minute.
    Minute,
    /// A fixed hour.
    Hour,
    /// A fixed day.
    Day,
}

/// A limit of the vendor that requests of some shapes draw on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Who shares it: host and workspace, or host and project, and the class. Accounts with the same key share one limiter.
    pub key: String,
    /// The setting's name under `limits`, for messages: `users_per_minute`.
    pub name: &'static str,
    /// How many units the vendor grants in a window; at least one.
    pub limit: u32,
    /// The window.
    pub per: Per,
    /// What a request costs of it.
    pub charge: Charge,
    /// The shapes that draw on it.
    pub shapes: Vec<Shape>,
}

/// One call that an event becomes, before it is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The request form that it goes into.
    pub shape: Shape,
    /// Hash of the user that it is about ([`UserHash`]), for order.
    pub user: u64,
    /// Other users that it is about as well: two ids that become one, an address and the one that it was. Such a call
    /// changes state, waits until all of them are idle, and then goes alone of theirs. Or, with [`Call::one_user`], other
    /// names of its user.
    pub others: [Option<u64>; 3],
    /// Whether `others` are names of the same user: such calls follow each other as a user's do, and go neither beside nor
    /// before what is about one of the names.
    pub one_user: bool,
    /// Whether it changes the user's state, and so must keep its place among that user's calls.
    pub state: bool,
    /// What it costs of budgets that count [`Charge::Units`].
    pub units: [u32; 2],
    /// Which of the vendor's collections it goes into, where each has requests of its own: a part of the path.
    pub part: Option<Arc<str>>,
}

impl Call {
    /// A call about one user.
    #[must_use]
    pub const fn new(shape: Shape, user: u64, state: bool) -> Self {
        Self { shape, user, others: [None; 3], one_user: false, state, units: [0; 2], part: None }
    }

    /// The same call, about these users, too; one that is named twice counts once.
    #[must_use]
    pub fn with(mut self, others: impl IntoIterator<Item = u64>) -> Self {
        for other in others {
            if self.users().all(|known| known != other)
                && let Some(place) = self.others.iter_mut().find(|place| place.is_none())
            {
                *place = Some(other);
                self.one_user = false;
            }
        }
        self
    }

    /// The same call, whose user goes by this name, too.
    #[must_use]
    pub fn known_as(self, name: Option<u64>) -> Self {
        let one_user = self.one_user || self.others[0].is_none();
        Self { one_user, ..self.with(name) }
    }

    /// Everybody whom it is about, by each name; the first in whose shard it goes.
    pub fn users(&self) -> impl Iterator<Item = u64> + use<> {
        std::iter::once(self.user).chain(self.others.into_iter().flatten())
    }

    /// Whether it knows its users by several names, be it one user or not.
    #[must_use]
    pub const fn has_names(&self) -> bool {
        self.others[0].is_some()
    }

    /// Whether it is about several users.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.has_names() && !self.one_user
    }
}

/// The vendor's answer to a request.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Response headers.
    pub headers: &'a HeaderMap,
    /// The body, as far as it was read.
    pub body: &'a [u8],
}

/// The encoded elements of a sent batch, in order.
pub trait Elements {
    /// How many calls were in the request.
    fn len(&self) -> usize;
    /// The bytes that the call at `index` was encoded to.
    fn element(&self, index: usize) -> &[u8];
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a batch must be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// 429: too fast; closes the shape's gate.
    Throttled,
    /// 5xx, 408, 425: the vendor has trouble, or the batch has.
    Server,
    /// A 2xx that is not the vendor's own.
    NotTheVendor,
    /// No answer at all: connection, TLS, proxy, deadline.
    Transport,
}

/// Why an account or a shape is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// 401: the key is wrong, or revoked.
    Unauthorized,
    /// 403: the key may not, the address may not, or the account is suspended.
    Forbidden,
    /// 404: the path or the host is wrong.
    NotFound,
    /// 3xx: somebody redirects us; following would carry the key away.
    Redirected,
    /// The vendor says that the account's settings are wrong, or that it is blocked.
    Misconfigured,
    /// The vendor refuses nearly everything: something is wrong with all of it, and not with each.
    TooManyRefusals,
}

impl Hold {
    /// The public name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Redirected => "redirected",
            Self::Misconfigured => "misconfigured",
            Self::TooManyRefusals => "too_many_refusals",
        }
    }
}

/// What one answer says of the whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken, except the calls that [`Judgement::calls`] names.
    Delivered,
    /// Everything again; `after` is the vendor's hint.
    Again(Again, Option<Duration>),
    /// Too large: again in halves; a call alone is refused as [`Reason::TooLarge`].
    Split,
    /// One of the calls is bad, and the answer does not say which: again in halves; a call alone is refused.
    Bisect(Reason),
    /// The calls that [`Judgement::calls`] names are bad; the rest was not taken and goes again at once.
    Rest,
    /// Nothing of this account (or shape) can go out; the calls wait.
    Hold(Hold),
}

/// What one answer says of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallVerdict {
    /// Never again: a dead letter.
    Refused(Refusal),
    /// Done, on purpose.
    Skipped(Skip),
    /// It is not clear whether this call failed: again, in requests that hold one call per identity; calls with the
    /// same number share an identity. A call that is alone in its request is never judged so.
    Apart(u64),
    /// Once more after this time; if the answer is the same, refused.
    Late(Duration, Refusal),
}

/// What one answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// For all calls that `calls` does not name.
    pub verdict: Verdict,
    /// The exceptions, by index, ascending, each index once.
    pub calls: Vec<(usize, CallVerdict)>,
    /// The vendor's words, cut at 1 KB, for dead letters, logs and `/accounts`; never a secret. Where all is taken nobody
    /// reads them.
    pub words: String,
    /// What the vendor's headers say is left of the limit, if they say it: remaining, and until when.
    pub remaining: Option<(u32, Duration)>,
}

impl Judgement {
    /// Nothing is wrong, so there is nothing to say.
    pub(crate) const fn all_taken(remaining: Option<(u32, Duration)>) -> Self {
        Self { verdict: Verdict::Delivered, calls: Vec::new(), words: String::new(), remaining }
    }

    /// Whether all calls were taken.
    pub(crate) fn is_clean(&self) -> bool {
        self.verdict == Verdict::Delivered && self.calls.is_empty()
    }
}

/// How a request is addressed. Bodies are added by the delivery.
#[derive(Clone, Debug)]
pub struct Target {
    /// Path and query; of calls that have a [`Call::part`], with [`Target::PART`] in its place.
    pub path: String,
    /// Headers with credentials marked sensitive; content type included.
    pub headers: HeaderMap,
}

impl Target {
    /// Stands for a call's part; no path has braces of its own.
    pub const PART: &'static str = "{part}";

    /// The address for calls of this part, which is percent-encoded already.
    #[must_use]
    pub fn of_part(&self, part: &str) -> Self {
        Self { path: self.path.replacen(Self::PART, part, 1), headers: self.headers.clone() }
    }
}

/// How far an account's host may be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reach {
    /// The most of an answer that is read, in bytes.
    pub answer_cap: usize,
    /// Whether whoever names the host must not lead us into our own network: then an address that is not public has to
    /// stand in `[delivery] allow_hosts`, by itself or by its host's name.
    pub public_only: bool,
}

impl Reach {
    /// Of a vendor, or of a host that the operator has named.
    pub const TRUSTED: Self = Self { answer_cap: usize::MAX, public_only: false };
}

/// Signs requests: headers that depend on the body and on the time at which it goes.
pub trait Sign: Send + Sync + std::fmt::Debug {
    /// Adds them. The batch's number is the same however often the same calls are sent.
    fn sign(&self, batch: u128, wall_ms: i64, body: &[u8], headers: &mut HeaderMap);
}

/// A vendor's API for one account, as pure functions.
pub trait Destination: Send + Sync + std::fmt::Debug {
    /// `moengage`, `iterable`.
    fn name(&self) -> &'static str;

    /// The request forms; [`Shape`] is an index into it.
    fn shapes(&self) -> &'static [ShapeInfo];

    /// The vendor's own base URL for this account: scheme and host, no path.
    fn origin(&self) -> String;

    /// Which of the vendor's regions it is, in the vendor's word; empty if it has none.
    fn region(&self) -> String {
        String::new()
    }

    /// How far the host may be trusted.
    fn reach(&self) -> Reach {
        Reach::TRUSTED
    }

    /// The limits that its requests draw on.
    fn budgets(&self) -> Vec<Budget>;

    /// Whether the account's settings make calls of this shape from messages; asked of shapes with lanes of their own.
    fn makes(&self, _shape: Shape) -> bool {
        false
    }

    /// What a body of this shape begins and ends with; calls stand between, separated by commas.
    fn frame(&self, shape: Shape) -> (&[u8], &[u8]);

    /// Which calls the event becomes, in the order that they must take. `calls` comes empty.
    fn plan(&self, event: &Event<'_>, now: Now, calls: &mut Vec<Call>) -> Result<(), No>;

    /// Appends the element of one planned call. On `Err` the caller cuts the body back.
    fn encode(&self, event: &Event<'_>, call: &Call, now: Now, body: &mut Vec<u8>) -> Result<(), Refusal>;

    /// Where and how a request of this shape is sent with this key.
    fn target(&self, shape: Shape, key: &SecretString) -> Target;

    /// What signs the requests, if anything does, with all of the account's keys.
    fn signer(&self, _keys: &[SecretString]) -> Option<Arc<dyn Sign>> {
        None
    }

    /// Reads the vendor's answer.
    fn judge(&self, shape: Shape, answer: &Answer<'_>, elements: &dyn Elements, now: Now) -> Judgement;
}

/// The host that an account's requests go to: who shares it may share limits.
fn authority(account: &Account, vendor: &str) -> String {
    account.base_url.as_ref().map_or_else(|| vendor.to_owned(), |url| format!("{}:{}", url.host, url.port))
}

/// The account's own limit of this name, or the vendor's published one.
fn limit(account: &Account, name: &str, published: u32) -> u32 {
    account.limits.get(name).copied().unwrap_or(published).max(1)
}

/// Vendors that are complete in their folder.
pub const FOLDERS: &[Folder] = &[webhook::FOLDER];

/// The vendor of an account, which knows users by these hashes.
#[must_use]
pub fn of(account: &Account, users: &UserHash) -> Arc<dyn Destination> {
    match &account.vendor {
        Vendor::Moengage(settings) => Arc::new(moengage::Moengage::new(account, settings, users)),
        Vendor::Iterable(settings) => Arc::new(iterable::Iterable::new(account, settings, users)),
        Vendor::Folder(settings) => settings.destination(account, users),
    }
}

/// Whether an element of so many bytes fits into a request of its own; one that does not can never be sent.
pub fn fits(destination: &dyn Destination, shape: Shape, element: usize) -> Result<(), Refusal> {
    let (head, tail) = destination.frame(shape);
    let limit = destination.shapes()[usize::from(shape.0)].max_bytes;
    let size = head.len() + element + tail.len();
    if size <= limit {
        return Ok(());
    }
    let detail = format!("a request with this call alone has {size} bytes; the vendor takes {limit}");
    Err(Refusal::new(Reason::TooLarge, detail))
}

/// The first kilobyte of a vendor's words, as text without control characters.
#[must_use]
pub fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<Cow<'_, str>>().into_owned()
}

/// As a part of a path or query: all but unreserved characters (RFC 3986) become `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::percent_encoded;

    #[test]
    fn a_workspace_cannot_leave_its_place_in_the_path() {
        assert_eq!(percent_encoded("AB_c-1.~"), "AB_c-1.~");
        assert_eq!(percent_encoded("a/../b?c=d e%"), "a%2F..%2Fb%3Fc%3Dd%20e%25");
    }
}
