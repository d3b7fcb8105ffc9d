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
//! The status decides first, because types are spelt differently from page to page; a type that speaks of the account
//! decides within 400. Error table and envelopes: page `data/data-overview` and the vendor's API descriptions (2026-11).

use std::time::Duration;

use serde_json::Value;

use crate::clock::Now;
use crate::destination::{Again, Answer, Hold, Judgement, Verdict, hint, words};
use crate::outcome::Reason;

/// What the answer means; one answer is about the whole request.
pub(super) fn judge(answer: &Answer<'_>, now: Now) -> Judgement {
    let body = serde_json::from_slice::<Value>(answer.body).unwrap_or_default();
    let said = Said::of(&body);
    let after = hint::retry_after(answer.headers, now);
    let words = said.words().map_or_else(|| words(answer.body), |said| words(said.as_bytes()));
    let verdict = match verdict(answer.status, &said, after) {
        Verdict::Again(Again::Throttled, None) => Verdict::Again(Again::Throttled, hint::reset(answer.headers, now)),
        other => other,
    };
    Judgement { verdict, calls: Vec::new(), words, remaining: hint::remaining(answer.headers, now) }
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
