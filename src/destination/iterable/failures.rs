//! A bulk request that was taken: which of its calls failed all the same.
//!
//! The vendor lists values (addresses, user ids, event names), not positions, and some values twice. So: an element
//! failed for certain if its identity is listed as often as it occurs in the batch, or if its name is disallowed. If it
//! is listed less often, the elements that share it are told apart by sending them again one an identity a request; the
//! same holds for all that is unmatched when more failed than the lists explain. Nothing unmatched is taken as good
//! then. Sending again is harmless: events carry an id, users come to the same state.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::answer::{Batch, Judged, SETTLES};
use crate::destination::{CallVerdict, Verdict};
use crate::json::{Raw, Tape};
use crate::outcome::{Reason, Refusal, Skip};

/// Whether a body has counts and lists, nothing beside them, and names no failure. One that does not may be good, too.
pub(super) fn are_none(body: &[u8]) -> bool {
    serde_json::from_slice::<AllTaken>(body).is_ok_and(|taken| taken.fail_count == 0)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there and hold nothing is all that they say")]
struct AllTaken {
    fail_count: u64,
    #[serde(default)]
    success_count: u64,
    #[serde(default)]
    invalid_emails: Nothing,
    #[serde(default)]
    invalid_user_ids: Nothing,
    #[serde(default)]
    disallowed_event_names: Nothing,
    #[serde(default)]
    filtered_out_fields: Nothing,
    #[serde(default)]
    created_fields: Nothing,
    #[serde(default)]
    failed_updates: EmptyLists,
}

/// A list without elements.
type Nothing = [(); 0];

/// Lists by whatever name, all of them empty.
#[derive(Debug, Default)]
struct EmptyLists;

impl<'de> Deserialize<'de> for EmptyLists {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for EmptyLists {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("empty lists")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut lists: M) -> Result<Self, M::Error> {
        while lists.next_entry::<IgnoredAny, Nothing>()?.is_some() {}
        Ok(self)
    }
}

/// Reads a body with counts and lists.
pub(super) fn judge(body: &Value, batch: &Batch<'_>) -> Judged {
    let listed = listed(body, batch.events);
    let names: Vec<&str> =
        body["disallowedEventNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let count = |field: &str| body[field].as_u64().map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    let rest = || batch.elements.len().saturating_sub(count("successCount").unwrap_or(0));
    let failed = count("failCount").unwrap_or_else(rest);
    if listed.is_empty() && names.is_empty() && failed == 0 {
        return (Verdict::Delivered, Vec::new());
    }
    let mut matching = Matching::new(batch, &names);
    for entry in listed.values() {
        matching.take_certain(entry);
    }
    for entry in listed.values() {
        matching.take_unclear(entry);
    }
    matching.judged(failed, &listed)
}

/// Who is listed, and in how many ways.
#[derive(Debug)]
struct Entry {
    who: Who,
    /// The most that one list names it.
    most: usize,
    /// What all lists together name it.
    sum: usize,
    /// The first of its lists that says most about its end.
    end: End,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// An address, in lower case.
    Email(String),
    /// A user id.
    User(String),
    /// From a list that does not say which.
    Either(String),
}

/// What a list means for its calls; the first in this order wins where several name a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Forgotten,
    Refused(Reason, String),
    NotYet(String),
}

impl End {
    fn of(list: &str, events: bool) -> Self {
        let refused = |reason| Self::Refused(reason, list.to_owned());
        let name = list.rsplit('.').next().unwrap_or(list);
        if name.starts_with("forgotten") {
            Self::Forgotten
        } else if name.starts_with("invalidData") {
            refused(Reason::InvalidData)
        } else if events && (name.starts_with("notFound") || list == "invalidUserIds") {
            // At the top level of trackBulk's answer, `invalidUserIds` has those that were not found.
            Self::NotYet(list.to_owned())
        } else if name.starts_with("notFound") {
            refused(Reason::UserNotFound)
        } else if name.starts_with("invalid") {
            refused(Reason::InvalidIdentity)
        } else if name.starts_with("conflict") {
            refused(Reason::IdentityConflict)
        } else {
            refused(Reason::Rejected)
        }
    }

    fn verdict(&self) -> CallVerdict {
        match self {
            Self::Forgotten => CallVerdict::Skipped(Skip::Forgotten),
            Self::Refused(reason, list) => {
                CallVerdict::Refused(Refusal::new(*reason, format!("Iterable: listed in {list}")))
            }
            Self::NotYet(list) => {
                let refusal = Refusal::new(Reason::UserNotFound, format!("Iterable: listed in {list}"));
                CallVerdict::Late(SETTLES, refusal)
            }
        }
    }
}

/// All that failed by the lists: every list under `failedUpdates`, known or not, and of the two lists at the top level
/// what is not among them.
fn listed(body: &Value, events: bool) -> BTreeMap<Who, Entry> {
    let mut entries = BTreeMap::new();
    for (name, values) in body["failedUpdates"].as_object().into_iter().flatten() {
        count(&mut entries, &format!("failedUpdates.{name}"), values, events);
    }
    let mut above = BTreeMap::new();
    for name in ["invalidEmails", "invalidUserIds"] {
        count(&mut above, name, &body[name], events);
    }
    for (who, entry) in above {
        entries.entry(who).or_insert(entry);
    }
    entries
}

fn count(entries: &mut BTreeMap<Who, Entry>, list: &str, values: &Value, events: bool) {
    let mut counts: BTreeMap<Who, usize> = BTreeMap::new();
    for value in values.as_array().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if text.is_empty() || value.is_null() {
            continue;
        }
        let who = if list.ends_with("Emails") {
            Who::Email(text.to_lowercase())
        } else if list.ends_with("UserIds") {
            Who::User(text)
        } else {
            Who::Either(text)
        };
        *counts.entry(who).or_default() += 1;
    }
    for (who, count) in counts {
        let end = End::of(list, events);
        let entry = entries.entry(who.clone()).or_insert_with(|| Entry { who, most: 0, sum: 0, end: end.clone() });
        entry.most = entry.most.max(count);
        entry.sum += count;
        if end < entry.end {
            entry.end = end;
        }
    }
}

/// The address among a user's data fields: where the user has none beside it, it is the one that conflicts are about.
fn moved_to(element: Raw<'_>, events: bool) -> Option<Cow<'_, str>> {
    if events || element.field("email").is_some() {
        return None;
    }
    element.field("dataFields")?.field("email")?.string()
}

/// The batch's elements, by what the vendor's lists can name them.
#[derive(Debug)]
struct Matching {
    /// Per element, what is known: its end, if certain.
    ends: Vec<Option<End>>,
    /// Elements that may have failed.
    unclear: Vec<bool>,
    by_email: HashMap<String, Vec<usize>>,
    by_user: HashMap<String, Vec<usize>>,
    disallowed: usize,
    /// How many failures the lists explain beyond what is certain.
    explained: usize,
    unmatched: bool,
}

impl Matching {
    fn new(batch: &Batch<'_>, names: &[&str]) -> Self {
        let count = batch.elements.len();
        let mut by_email: HashMap<String, Vec<usize>> = HashMap::new();
        let mut by_user: HashMap<String, Vec<usize>> = HashMap::new();
        let mut ends = vec![None; count];
        let mut seen = vec![false; names.len()];
        for (index, end) in ends.iter_mut().enumerate() {
            let tape = Tape::trusted(std::str::from_utf8(batch.elements.element(index)).unwrap_or_default());
            let element = tape.value();
            if let Some(new) = moved_to(element, batch.events) {
                by_email.entry(new.to_lowercase()).or_default().push(index);
            }
            for field in element.fields() {
                let Some(text) = field.value.string() else { continue };
                match &*field.name() {
                    "email" => by_email.entry(text.to_lowercase()).or_default().push(index),
                    "userId" => by_user.entry(text.into_owned()).or_default().push(index),
                    "eventName" => {
                        if let Some(position) = names.iter().position(|name| **name == text) {
                            seen[position] = true;
                            *end = Some(End::Refused(Reason::DisallowedEvent, "disallowedEventNames".to_owned()));
                        }
                    }
                    _ => {}
                }
            }
        }
        let disallowed = ends.iter().flatten().count();
        let unmatched = seen.contains(&false);
        Self { ends, unclear: vec![false; count], by_email, by_user, disallowed, explained: 0, unmatched }
    }

    fn members(&self, who: &Who) -> Vec<usize> {
        let (email, user) = match who {
            Who::Email(email) => (self.by_email.get(email), None),
            Who::User(user) => (None, self.by_user.get(user)),
            Who::Either(text) => (self.by_email.get(&text.to_lowercase()), self.by_user.get(text)),
        };
        let mut members: Vec<usize> = email.into_iter().chain(user).flatten().copied().collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Marks what is listed as often as it occurs.
    fn take_certain(&mut self, entry: &Entry) {
        let members = self.members(&entry.who);
        self.unmatched |= members.is_empty();
        if entry.most < members.len() {
            return;
        }
        for index in members {
            let end = &mut self.ends[index];
            if end.as_ref().is_none_or(|known| entry.end < *known) {
                *end = Some(entry.end.clone());
            }
        }
    }

    /// Marks what is listed less often than it occurs, once all that is certain is known.
    fn take_unclear(&mut self, entry: &Entry) {
        let members = self.members(&entry.who);
        if entry.most >= members.len() {
            return;
        }
        let certain = members.iter().filter(|index| self.ends[**index].is_some()).count();
        self.explained += entry.most.saturating_sub(certain);
        for index in members {
            self.unclear[index] = true;
        }
    }

    fn judged(mut self, failed: usize, entries: &BTreeMap<Who, Entry>) -> Judged {
        let certain = self.ends.iter().flatten().count();
        // Nobody says whether disallowed events count as failed: either sum explains the count.
        let explained = failed <= certain - self.disallowed + self.explained
            || (certain..=certain + self.explained).contains(&failed);
        let mut verdict = Verdict::Delivered;
        if self.unmatched || !explained {
            if let ([end @ None], Some(entry)) = (self.ends.as_mut_slice(), entries.values().next()) {
                // One call and one complaint: they belong together, however the vendor spells it.
                *end = Some(entry.end.clone());
            } else {
                verdict = self.open();
            }
        }
        let groups = self.groups();
        let calls = (0..self.ends.len()).filter_map(|index| {
            let apart = || self.unclear[index].then(|| CallVerdict::Apart(groups[index]));
            Some((index, self.ends[index].as_ref().map(End::verdict).or_else(apart)?))
        });
        (verdict, calls.collect())
    }

    /// Some failed of which nothing is known: all that is not certain must go again; one an identity if that can tell
    /// more, in halves if each is alone with its identity already.
    fn open(&mut self) -> Verdict {
        let open: Vec<usize> = (0..self.ends.len()).filter(|index| self.ends[*index].is_none()).collect();
        let shared = |members: &Vec<usize>| members.iter().filter(|index| self.ends[**index].is_none()).count() > 1;
        if !self.by_email.values().chain(self.by_user.values()).any(shared) {
            self.unclear.fill(false);
            return if open.is_empty() { Verdict::Delivered } else { Verdict::Bisect(Reason::Rejected) };
        }
        for index in open {
            self.unclear[index] = true;
        }
        Verdict::Delivered
    }

    /// Per element the lowest of those that it shares an identity with, over however many others.
    fn groups(&self) -> Vec<u64> {
        let mut group: Vec<u64> = (0..).take(self.ends.len()).collect();
        let shared: Vec<_> =
            self.by_email.values().chain(self.by_user.values()).filter(|members| members.len() > 1).collect();
        // The lowest index of each group spreads until nothing changes.
        let mut changed = true;
        while changed {
            changed = false;
            for members in &shared {
                let lowest = members.iter().map(|index| group[*index]).min().unwrap_or_default();
                for index in *members {
                    changed |= group[*index] != lowest;
                    group[*index] = lowest;
                }
            }
        }
        group
    }
}
