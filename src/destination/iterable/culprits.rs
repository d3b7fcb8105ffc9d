//! Which elements a refused request names, where that is certain; where it is not, the batch is bisected.
//!
//! `RequestFieldsTypesMismatched` names an event (or the project), a field and the value; `BadJsonBody` names a place
//! whose index was seen to be off by one. So each is held against what was sent, and an element is only refused if it
//! has what the vendor complains of.

use serde_json::Value;

use super::answer::{Batch, Judged};
use crate::destination::{CallVerdict, Verdict};
use crate::json::{Raw, Tape};
use crate::outcome::{Reason, Refusal};

/// Elements that hold the value which `validationErrors` gives for a field.
pub(super) fn of_types(body: &Value, batch: &Batch<'_>) -> Judged {
    let complaints = body["params"]["validationErrors"].as_object();
    let named = |index: &usize| {
        let tape = element(batch, *index)?;
        let element = tape.value();
        complaints.into_iter().flatten().find_map(|(key, complaint)| {
            let (event, field) = key.split_once(":::")?;
            if batch.events && element.field("eventName")?.string().is_none_or(|name| name != event) {
                return None;
            }
            let value = at(element.field("dataFields")?, field)?;
            let same =
                serde_json::from_str::<Value>(value.get()).is_ok_and(|value| value == complaint["offendingValue"]);
            let expected = complaint["expectedType"].as_str().unwrap_or("another type");
            same.then(|| format!("Iterable expects {expected} in the data field `{field}`"))
        })
    };
    let calls = (0..batch.elements.len())
        .filter_map(|index| Some((index, named(&index)?)))
        .map(|(index, detail)| (index, CallVerdict::Refused(Refusal::new(Reason::InvalidData, detail))))
        .collect::<Vec<_>>();
    judged(calls, Reason::InvalidData)
}

/// Elements at the places that `params` gives, if all of them have what it complains of.
pub(super) fn of_json(body: &Value, batch: &Batch<'_>) -> Judged {
    let complaints = body["params"].as_object();
    let places: Option<Vec<(usize, &str)>> = complaints
        .into_iter()
        .flatten()
        .map(|(place, complaint)| {
            let (index, path) = place.split_once('[')?.1.split_once("].")?;
            let index = index.parse().ok()?;
            let element = element(batch, index)?;
            contradicts(at(element.value(), path)?, complaint.as_str()?).then_some((index, path))
        })
        .collect();
    let mut calls: Vec<_> = places
        .unwrap_or_default()
        .into_iter()
        .map(|(index, path)| {
            let detail = format!("Iterable expects another type in `{path}`");
            (index, CallVerdict::Refused(Refusal::new(Reason::Rejected, detail)))
        })
        .collect();
    calls.sort_by_key(|(index, _)| *index);
    calls.dedup_by_key(|(index, _)| *index);
    judged(calls, Reason::Rejected)
}

fn judged(calls: Vec<(usize, CallVerdict)>, reason: Reason) -> Judged {
    let verdict = if calls.is_empty() { Verdict::Bisect(reason) } else { Verdict::Rest };
    (verdict, calls)
}

/// Whether the value is not of the type that `Number value expected` and its like ask for.
fn contradicts(value: Raw<'_>, complaint: &str) -> bool {
    match complaint.split_once(" value expected").map(|(kind, _)| kind) {
        Some("Number") => !value.is_number(),
        Some("Boolean") => !matches!(value.get(), "true" | "false"),
        Some("String") => !value.is_string(),
        Some("Object") => !value.is_object(),
        Some("Array") => !value.is_array(),
        _ => false,
    }
}

/// The value at a field's name, or at a dotted path.
fn at<'a>(object: Raw<'a>, path: &str) -> Option<Raw<'a>> {
    object.field(path).or_else(|| path.split('.').try_fold(object, Raw::field))
}

/// The element as it was sent.
fn element(batch: &Batch<'_>, index: usize) -> Option<Tape> {
    if index >= batch.elements.len() {
        return None;
    }
    Some(Tape::trusted(std::str::from_utf8(batch.elements.element(index)).ok()?))
}
