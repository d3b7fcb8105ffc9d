//! MoEngage's answers to verdicts.
//!
//! | answer | verdict |
//! | --- | --- |
//! | 2xx, `{"status":"success"}` | delivered: accepted, that is; the vendor says no more |
//! | 2xx, `{"status":"fail"}` | by its error's type, else as 400 |
//! | 2xx with anything else, 1xx | again: not the vendor |
//! | 3xx | hold |
//! | 400 of type `Blacklisted`, `InvalidParams`, `ParamsRequired`; 409 | hold: the settings are wrong |
//! | 401, 403, 404 | hold |
//! | 408, 425, 5xx | again |
//! | 413 | split |
//! | 429 | again, when the headers say |
//! | other 4xx | bisect: no answer names the element |
//!
//! Other forms than the bulk request's differ in how they say yes, and in who is to blame:
//!
//! | answer | verdict |
//! | --- | --- |
//! | 2xx of a business event, an alert: the vendor's message | delivered |
//! | 409 of an alert, `DUPLICATE_REQUEST_RECEIVED` | delivered: it was taken before |
//! | other 409 of these | bisect |
//! | 2xx of a catalogue: counts of good and bad | delivered, except the items that it names; bisect if it names too few |
//! | 404 of a catalogue, in the vendor's words | all refused: the records name a catalogue that is not there |
//!
//! The status decides first, because types are spelt differently from page to page; a type that speaks of the account
//! decides within 400. Error table and envelopes: page `data/data-overview` and the vendor's API descriptions (2026-11).

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{ALERTS, BUSINESS, ITEMS};
use crate::clock::Now;
use crate::destination::{Again, Answer, CallVerdict, Elements, Hold, Judgement, Shape, Verdict, hint, words};
use crate::json::Tape;
use crate::outcome::{Reason, Refusal};

/// What the answer means.
pub(super) fn judge(shape: Shape, answer: &Answer<'_>, elements: &dyn Elements, now: Now) -> Judgement {
    // By far most answers: all of it is read in one pass, and nothing of it kept.
    let has_own = matches!(shape, ALERTS | BUSINESS | ITEMS);
    if !has_own && (200..300).contains(&answer.status) && is_success(answer.body) {
        return Judgement::all_taken(hint::remaining(answer.headers, now));
    }
    judge_in_full(shape, answer, elements, now)
}

fn judge_in_full(shape: Shape, answer: &Answer<'_>, elements: &dyn Elements, now: Now) -> Judgement {
    let body = serde_json::from_slice::<Value>(answer.body).unwrap_or_default();
    let said = Said::of(&body);
    let after = hint::retry_after(answer.headers, now);
    let words = said.words().map_or_else(|| words(answer.body), |said| words(said.as_bytes()));
    let own = of_shape(shape, answer.status, &body, &words, elements);
    let (verdict, calls) = own.unwrap_or_else(|| (verdict(answer.status, &said, after), Vec::new()));
    let verdict = match verdict {
        Verdict::Again(Again::Throttled, None) => Verdict::Again(Again::Throttled, hint::reset(answer.headers, now)),
        other => other,
    };
    Judgement { verdict, calls, words, remaining: hint::remaining(answer.headers, now) }
}

/// Whether a body says that it was taken, and holds nothing but texts. One that does not may be good, too.
fn is_success(body: &[u8]) -> bool {
    serde_json::from_slice::<Texts>(body).is_ok_and(|texts| texts.success)
}

/// An object of texts: whether its `status` is `success`.
#[derive(Debug, Default)]
struct Texts {
    success: bool,
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts by name")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut texts: M) -> Result<Self, M::Error> {
        // A text that has escapes is none of the usual ones.
        while let Some((name, text)) = texts.next_entry::<&str, &str>()? {
            if name == "status" {
                self.success = text.eq_ignore_ascii_case("success");
            }
        }
        Ok(self)
    }
}

/// A verdict for the request, and the calls that differ from it.
type Judged = (Verdict, Vec<(usize, CallVerdict)>);

/// What only answers to this shape say.
fn of_shape(shape: Shape, status: u16, body: &Value, words: &str, elements: &dyn Elements) -> Option<Judged> {
    let taken = (200..300).contains(&status);
    let all = |verdict| Some((verdict, Vec::new()));
    let message = || body["message"].as_str().unwrap_or_default();
    match shape {
        BUSINESS if taken && message().contains("has been triggered") => all(Verdict::Delivered),
        ALERTS if taken && message() == "Successfully Received" => all(Verdict::Delivered),
        ALERTS if status == 409 && is_repetition(body) => all(Verdict::Delivered),
        ALERTS | BUSINESS if status == 409 => all(Verdict::Bisect(Reason::Rejected)),
        ITEMS if taken && body["message"].is_object() => Some(items(&body["message"], elements)),
        ITEMS if status == 404 && body["error-code"].is_string() => {
            let refusal = Refusal::new(Reason::Rejected, words.to_owned());
            let calls = (0..elements.len()).map(|index| (index, CallVerdict::Refused(refusal.clone())));
            Some((Verdict::Rest, calls.collect()))
        }
        _ => None,
    }
}

fn is_repetition(body: &Value) -> bool {
    let coded = body["status_code"].as_u64() == Some(120_105) || body["status_code"].as_str() == Some("120105");
    coded || body["err_code"].as_str() == Some("DUPLICATE_REQUEST_RECEIVED")
}

/// A catalogue's counts, and the items that it lists as bad, by their ids.
fn items(message: &Value, elements: &dyn Elements) -> Judged {
    let count = |name: &str| message[name]["count"].as_u64().and_then(|count| usize::try_from(count).ok());
    let id = |index| {
        let element = Tape::trusted(std::str::from_utf8(elements.element(index)).ok()?);
        Some(element.value().field("id")?.id()?.into_owned())
    };
    let ids: Vec<_> = (0..elements.len()).map(id).collect();
    let mut calls: Vec<(usize, CallVerdict)> = Vec::new();
    for detail in message["invalid"]["details"].as_array().into_iter().flatten() {
        let said = detail["message"].as_str().unwrap_or("the vendor names no reason");
        for bad in detail["document_ids"].as_array().into_iter().flatten() {
            let bad = bad.as_str().map_or_else(|| bad.to_string(), str::to_owned);
            let found = ids.iter().position(|id| id.as_deref() == Some(bad.as_str()));
            if let Some(index) = found.filter(|index| calls.iter().all(|(known, _)| known != index)) {
                let refusal = Refusal::new(Reason::InvalidData, format!("MoEngage: {said}"));
                calls.push((index, CallVerdict::Refused(refusal)));
            }
        }
    }
    calls.sort_by_key(|(index, _)| *index);
    let bad = count("invalid").unwrap_or(0);
    match calls.len() {
        named if named >= bad => (Verdict::Delivered, calls),
        // Which of them are bad is told apart by sending again: items come to the same state.
        _ => (Verdict::Bisect(Reason::InvalidData), Vec::new()),
    }
}

fn verdict(status: u16, said: &Said<'_>, after: Option<Duration>) -> Verdict {
    match status {
        200..=299 if said.is("success") => Verdict::Delivered,
        200..=299 if said.is("fail") => by_kind(said.kind, after),
        100..=299 => Verdict::Again(Again::NotTheVendor, after),
        300..=399 => Verdict::Hold(Hold::Redirected),
        400 => by_kind(said.kind, after),
        401 => Verdict::Hold(Hold::Unauthorized),
        403 => Verdict::Hold(Hold::Forbidden),
        404 => Verdict::Hold(Hold::NotFound),
        409 => Verdict::Hold(Hold::Misconfigured),
        413 => Verdict::Split,
        429 => Verdict::Again(Again::Throttled, after),
        408 | 425 => Verdict::Again(Again::Server, after),
        402..=499 => Verdict::Bisect(Reason::Rejected),
        _ => Verdict::Again(Again::Server, after),
    }
}

/// What an error's type says by itself.
fn by_kind(kind: Option<&str>, after: Option<Duration>) -> Verdict {
    let kind: String = kind.unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
    match kind.to_ascii_lowercase().as_str() {
        "blacklisted" | "invalidparams" | "paramsrequired" | "authenticationmismatch" => {
            Verdict::Hold(Hold::Misconfigured)
        }
        "authenticationrequired" => Verdict::Hold(Hold::Unauthorized),
        "blockedclient" | "accountsuspended" | "accounttemporarilysuspended" => Verdict::Hold(Hold::Forbidden),
        "ratelimitsexceeded" | "ratelimitexceeded" | "ratelimiterror" => Verdict::Again(Again::Throttled, after),
        "servererror" => Verdict::Again(Again::Server, after),
        "payloadtoolarge" => Verdict::Split,
        _ => Verdict::Bisect(Reason::Rejected),
    }
}

/// What an error body says, in whichever of the vendor's envelopes.
#[derive(Debug)]
struct Said<'a> {
    status: Option<&'a str>,
    kind: Option<&'a str>,
    attribute: Option<&'a str>,
    message: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn of(body: &'a Value) -> Self {
        let error = &body["error"];
        let within = if error.is_object() { error } else { &body["data"] };
        let text = |names: &[&str]| {
            [within, body].into_iter().find_map(|place| names.iter().find_map(|name| place[*name].as_str()))
        };
        Self {
            status: body["status"].as_str(),
            kind: error.as_str().or_else(|| text(&["type"])),
            attribute: error["attribute"].as_str(),
            message: text(&["message", "description", "title"]),
        }
    }

    fn is(&self, status: &str) -> bool {
        self.status.is_some_and(|said| said.eq_ignore_ascii_case(status))
    }

    /// Type, attribute and message, as far as there are any.
    fn words(&self) -> Option<String> {
        let parts: Vec<&str> = [self.kind, self.attribute, self.message].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(": "))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::destination::moengage::{MERGES, TRANSITION};

    struct Sent;

    impl Elements for Sent {
        fn len(&self) -> usize {
            2
        }

        fn element(&self, _index: usize) -> &[u8] {
            b"{}"
        }
    }

    #[test]
    fn the_short_way_says_what_the_long_one_says() {
        let headers = HeaderMap::new();
        let now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };
        let mut short = 0;
        for body in [
            r#"{"status":"success","message":"Your request has been accepted and will be processed soon."}"#,
            r#"{"message":"x","status":"SUCCESS","error":"y"}"#,
            r#"{"status":"success"}"#,
            r#"{"status":"success","status":"fail"}"#,
            r#"{"status":"fail","status":"success"}"#,
            r#"{"status":"fail","message":"x"}"#,
            r#"{"status":"succe\u0073s"}"#,
            r#"{"st\u0061tus":"success"}"#,
            r#"{"status":"success","error":{"type":"Blacklisted"}}"#,
            r#"{"status":"success"} x"#,
            r#"{"status":"success","n":1e999}"#,
            r#"{"status":true}"#,
            r#"{"message":"Successfully Received"}"#,
            r#"["success"]"#,
            "{}",
            "",
        ] {
            short += usize::from(is_success(body.as_bytes()));
            for (shape, status) in [(TRANSITION, 200), (TRANSITION, 500), (MERGES, 202), (ALERTS, 200), (ITEMS, 200)] {
                let answer = Answer { status, headers: &headers, body: body.as_bytes() };
                let said = |judgement: Judgement| (judgement.verdict, judgement.calls, judgement.remaining);
                let (one, other) = (judge(shape, &answer, &Sent, now), judge_in_full(shape, &answer, &Sent, now));
                assert_eq!(said(one), said(other), "{body}");
            }
        }
        assert_eq!(short, 4);
    }
}
