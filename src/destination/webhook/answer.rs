//! A receiver's answers to verdicts. The status says all: nobody knows what its body means.
//!
//! | answer | verdict |
//! | --- | --- |
//! | 2xx | delivered |
//! | 3xx | hold: never followed |
//! | 401, 403, 404, 410 | hold |
//! | 408, 425, 429, 5xx, 1xx | again |
//! | 413 | split |
//! | other 4xx | bisect: one of the events may be what it does not take |

use crate::clock::Now;
use crate::destination::{Again, Answer, Hold, Judgement, Verdict, hint, words};
use crate::outcome::Reason;

pub(super) fn judge(answer: &Answer<'_>, now: Now) -> Judgement {
    let after = hint::retry_after(answer.headers, now);
    let verdict = match answer.status {
        200..=299 => Verdict::Delivered,
        300..=399 => Verdict::Hold(Hold::Redirected),
        401 => Verdict::Hold(Hold::Unauthorized),
        403 => Verdict::Hold(Hold::Forbidden),
        404 | 410 => Verdict::Hold(Hold::NotFound),
        413 => Verdict::Split,
        429 => Verdict::Again(Again::Throttled, after.or_else(|| hint::reset(answer.headers, now))),
        408 | 425 => Verdict::Again(Again::Server, after),
        400..=499 => Verdict::Bisect(Reason::Rejected),
        100..=199 => Verdict::Again(Again::NotTheVendor, after),
        _ => Verdict::Again(Again::Server, after),
    };
    Judgement { verdict, calls: Vec::new(), words: words(answer.body), remaining: hint::remaining(answer.headers, now) }
}
