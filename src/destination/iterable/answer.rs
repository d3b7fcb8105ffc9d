//! Iterable's answers to verdicts.
//!
//! | answer | verdict |
//! | --- | --- |
//! | 2xx with counts (bulk) or code `Success` | delivered, except what the body names: [`failures`](super::failures) |
//! | 2xx with anything else, 1xx | again: not the vendor |
//! | 3xx; 401, 403, 404, and the codes of bad or wrong keys | hold |
//! | `RequestFieldsTypesMismatched` (400, 500), `BadJsonBody` | the elements it names for certain; else bisect |
//! | `BatchTooLarge`, 413 | split |
//! | `UnknownEmailError`, `UnknownUserIdError` | alone: once more after a minute; else bisect |
//! | `ForgottenUserError` | alone: skipped; else bisect |
//! | `error.catalogs.notFound` | all refused: the records name a catalogue that is not there |
//! | 429 in any form | again, when `params.rateLimitReset` or the headers say |
//! | 408, 425, 5xx | again |
//! | other 4xx | bisect |
//!
//! The body's code decides before the status, where there is one that decides; a body may be no JSON at all. Codes: the
//! help centre's page on API response codes, and answers recorded by others (2026-11).

use std::time::Duration;

use serde_json::Value;

use super::{culprits, failures};
use crate::clock::Now;
use crate::destination::{Again, Answer, CallVerdict, Elements, Hold, Judgement, Verdict, hint, words};
use crate::outcome::{Reason, Refusal, Skip};

/// How long the vendor may take until a user that was made is known to events (its own figure).
pub(super) const SETTLES: Duration = Duration::from_mins(1);

/// What was sent.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    /// Events, or users.
    pub(super) events: bool,
    /// Many in a request, or one.
    pub(super) bulk: bool,
    pub(super) elements: &'a dyn Elements,
}

/// A verdict for the request, and the calls that differ from it.
pub(super) type Judged = (Verdict, Vec<(usize, CallVerdict)>);

/// What the answer means.
pub(super) fn judge(answer: &Answer<'_>, batch: &Batch<'_>, now: Now) -> Judgement {
    // By far most answers: all of it is read in one pass, and nothing of it kept.
    if batch.bulk && (200..300).contains(&answer.status) && failures::are_none(answer.body) {
        return Judgement::all_taken(hint::remaining(answer.headers, now));
    }
    judge_in_full(answer, batch, now)
}

fn judge_in_full(answer: &Answer<'_>, batch: &Batch<'_>, now: Now) -> Judgement {
    let body = serde_json::from_slice::<Value>(answer.body).unwrap_or_default();
    let after = body["params"]["rateLimitReset"]
        .as_f64()
        .and_then(hint::capped)
        .or_else(|| hint::retry_after(answer.headers, now));
    let code = body["code"].as_str().unwrap_or_default();
    let (verdict, calls) = by_code(code, &body, batch, after)
        .or_else(|| (200..300).contains(&answer.status).then(|| accepted(code, &body, batch)))
        .unwrap_or_else(|| (by_status(answer.status, after), Vec::new()));
    let verdict = match verdict {
        Verdict::Again(Again::Throttled, None) => Verdict::Again(Again::Throttled, hint::reset(answer.headers, now)),
        other => other,
    };
    Judgement { verdict, calls, words: said(code, &body, answer.body), remaining: hint::remaining(answer.headers, now) }
}

/// Codes that decide whatever the status is.
fn by_code(code: &str, body: &Value, batch: &Batch<'_>, after: Option<Duration>) -> Option<Judged> {
    let verdict = match code {
        "RequestFieldsTypesMismatched" => return Some(culprits::of_types(body, batch)),
        "BadJsonBody" => return Some(culprits::of_json(body, batch)),
        "UnknownEmailError" | "UnknownUserIdError" => {
            let refusal = Refusal::new(Reason::UserNotFound, format!("Iterable: {code}"));
            return Some(alone(batch, CallVerdict::Late(SETTLES, refusal), Reason::UserNotFound));
        }
        "ForgottenUserError" => {
            return Some(alone(batch, CallVerdict::Skipped(Skip::Forgotten), Reason::Rejected));
        }
        "BadApiKey"
        | "BadAuthorizationHeader"
        | "Unauthorized"
        | "InvalidJwtPayload"
        | "JwtUserIdentifiersMismatched" => Verdict::Hold(Hold::Unauthorized),
        "Forbidden" | "ForbiddenParamsError" => Verdict::Hold(Hold::Forbidden),
        "NotFound" => Verdict::Hold(Hold::NotFound),
        // The records name it, so none of them can ever go.
        "error.catalogs.notFound" => {
            let refusal = Refusal::new(Reason::Rejected, format!("Iterable: {}", said(code, body, b"")));
            let calls = (0..batch.elements.len()).map(|index| (index, CallVerdict::Refused(refusal.clone())));
            return Some((Verdict::Rest, calls.collect()));
        }
        "RateLimitExceeded" => Verdict::Again(Again::Throttled, after),
        "BatchTooLarge" => Verdict::Split,
        "InvalidEmailAddressError" | "InvalidUserIdError" => Verdict::Bisect(Reason::InvalidIdentity),
        "EmailAlreadyExists" | "UserIdAlreadyExists" | "ExternalKeyConflict" | "Conflict" => {
            Verdict::Bisect(Reason::IdentityConflict)
        }
        "UniqueFieldsLimitExceeded" => Verdict::Bisect(Reason::InvalidData),
        "BadParams" => Verdict::Bisect(Reason::Rejected),
        _ => return None,
    };
    Some((verdict, Vec::new()))
}

/// A verdict that only a call alone can get: in company it must be found first.
fn alone(batch: &Batch<'_>, verdict: CallVerdict, reason: Reason) -> Judged {
    if batch.elements.len() == 1 { (Verdict::Rest, vec![(0, verdict)]) } else { (Verdict::Bisect(reason), Vec::new()) }
}

fn by_status(status: u16, after: Option<Duration>) -> Verdict {
    match status {
        100..=199 => Verdict::Again(Again::NotTheVendor, after),
        300..=399 => Verdict::Hold(Hold::Redirected),
        401 => Verdict::Hold(Hold::Unauthorized),
        403 => Verdict::Hold(Hold::Forbidden),
        404 => Verdict::Hold(Hold::NotFound),
        409 => Verdict::Bisect(Reason::IdentityConflict),
        413 => Verdict::Split,
        429 => Verdict::Again(Again::Throttled, after),
        408 | 425 => Verdict::Again(Again::Server, after),
        400..=499 => Verdict::Bisect(Reason::Rejected),
        _ => Verdict::Again(Again::Server, after),
    }
}

/// A 2xx whose code does not speak against it.
fn accepted(code: &str, body: &Value, batch: &Batch<'_>) -> Judged {
    let counted = body["failCount"].is_u64() || body["successCount"].is_u64();
    if batch.bulk && counted {
        return failures::judge(body, batch);
    }
    let dropped = body["msg"].as_str().is_some_and(|msg| msg.contains("is disallowed from tracking"));
    match code {
        "Success" if dropped => {
            let refusal = Refusal::new(Reason::DisallowedEvent, "Iterable: this event name is disallowed");
            (Verdict::Delivered, vec![(0, CallVerdict::Refused(refusal))])
        }
        "Success" => (Verdict::Delivered, Vec::new()),
        "" => (Verdict::Again(Again::NotTheVendor, None), Vec::new()),
        // The vendor's envelope, and a code that is none of success.
        _ if body.get("msg").is_some() && body.get("params").is_some() => {
            (Verdict::Bisect(Reason::Rejected), Vec::new())
        }
        _ => (Verdict::Again(Again::NotTheVendor, None), Vec::new()),
    }
}

/// The vendor's words; of a user whom it was asked to forget, the code alone.
fn said(code: &str, body: &Value, bytes: &[u8]) -> String {
    let message = body["msg"].as_str().or(body["message"].as_str());
    match message {
        _ if code == "ForgottenUserError" => code.to_owned(),
        Some(message) if code.is_empty() => words(message.as_bytes()),
        Some(message) => words(format!("{code}: {message}").as_bytes()),
        // Lists of identities are no words.
        None if body.is_object() => code.to_owned(),
        None => words(bytes),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use http::HeaderMap;

    use super::*;

    struct Sent(&'static [u8]);

    impl Elements for Sent {
        fn len(&self) -> usize {
            3
        }

        fn element(&self, _index: usize) -> &[u8] {
            self.0
        }
    }

    /// Every body that these fields make, each as it should be, as it may be, or not there.
    fn bodies() -> Vec<String> {
        const FIELDS: [&[&str]; 6] = [
            &["", r#""failCount":0"#, r#""failCount":1"#, r#""failCount":"0""#, r#""failCount":-1"#],
            &["", r#""successCount":3"#, r#""successCount":null"#],
            &["", r#""invalidEmails":[]"#, r#""invalidEmails":["u@x.com"]"#, r#""invalidEmails":{}"#],
            &["", r#""disallowedEventNames":[]"#, r#""disallowedEventNames":["e"]"#, r#""createdFields":["f"]"#],
            &[
                "",
                r#""failedUpdates":{}"#,
                r#""failedUpdates":{"a":[],"notFoundUserIds":[]}"#,
                r#""failedUpdates":{"a":["u"]}"#,
            ],
            &[
                "",
                r#""code":"Success""#,
                r#""code":"BatchTooLarge""#,
                r#""failCount":2"#,
                r#""params":{"rateLimitReset":1}"#,
            ],
        ];
        let mut bodies = vec![String::new()];
        for field in FIELDS {
            let with = |body: &String| {
                field
                    .iter()
                    .map(|one| {
                        if one.is_empty() || body.is_empty() { format!("{body}{one}") } else { format!("{body},{one}") }
                    })
                    .collect::<Vec<_>>()
            };
            bodies = bodies.iter().flat_map(with).collect();
        }
        bodies
            .into_iter()
            .map(|body| format!("{{{body}}}"))
            .chain(["", "[]", "3", "{} {}"].map(str::to_owned))
            .collect()
    }

    #[test]
    fn the_short_way_says_what_the_long_one_says() {
        let (headers, sent) = (HeaderMap::new(), Sent(br#"{"userId":"u","email":"u@x.com","eventName":"e"}"#));
        let now = Now { mono: Duration::ZERO, wall_ms: 1_795_207_260_000 };
        let mut short = 0;
        for body in bodies() {
            short += usize::from(failures::are_none(body.as_bytes()));
            for (events, bulk, status) in [(true, true, 200), (false, true, 202), (true, false, 200), (true, true, 500)]
            {
                let batch = Batch { events, bulk, elements: &sent };
                let answer = Answer { status, headers: &headers, body: body.as_bytes() };
                assert_eq!(judge(&answer, &batch, now), judge_in_full(&answer, &batch, now), "{body}");
            }
        }
        assert!(short > 10, "{short} went the short way");
    }
}
