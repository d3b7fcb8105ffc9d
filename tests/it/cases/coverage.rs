//! What the cases show: every row of the mapping, every outcome, and every semantic event of Segment's specs; every value of
//! every setting is [`pairs`](super::pairs)' part. What has no case is listed, and fails.
//!
//! A row needs a case that is delivered and one that is refused or skipped. Outcomes come from their enums, rows from
//! `tests/cases/rows.toml`: to show something more, add its cases.

use std::collections::BTreeSet;
use std::path::Path;

use forebay::outcome::{Reason, Skip};
use serde::Deserialize;
use serde_json::Value;

use super::{VENDORS, cases};

/// A row of what Forebay does, and beginnings of the names of its cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    what: String,
    #[serde(default)]
    delivered: Vec<String>,
    #[serde(default)]
    other: Vec<String>,
    /// Pairs that show how requests are addressed.
    #[serde(default)]
    requests: Vec<String>,
    /// Why nothing is refused or skipped for it.
    never: Option<String>,
}

/// What a case may be.
type Is = fn(&Value) -> bool;

/// The rows of the mapping's specification.
fn rows() -> Vec<Row> {
    #[derive(Deserialize)]
    struct File {
        row: Vec<Row>,
    }
    toml::from_str::<File>(include_str!("../../cases/rows.toml")).expect("rows").row
}

/// Reasons that no mapping and no one answer makes: the file and the test that show them.
const ELSEWHERE: &[(&str, &str, &str)] = &[(
    "refused vendor_error",
    "src/lane/verdict/tests.rs",
    "a_call_that_gets_errors_while_others_are_taken_is_refused_alone",
)];

/// The semantic events of Segment's e-commerce, mobile and video specs (read 2026-11).
const SEMANTIC: [(&str, &[&str]); 3] = [
    (
        "spec-ecommerce",
        &[
            "Products Searched",
            "Product List Viewed",
            "Product List Filtered",
            "Promotion Viewed",
            "Promotion Clicked",
            "Product Clicked",
            "Product Viewed",
            "Product Added",
            "Product Removed",
            "Cart Viewed",
            "Checkout Started",
            "Checkout Step Viewed",
            "Checkout Step Completed",
            "Payment Info Entered",
            "Order Completed",
            "Order Updated",
            "Order Refunded",
            "Order Cancelled",
            "Coupon Entered",
            "Coupon Applied",
            "Coupon Denied",
            "Coupon Removed",
            "Product Added to Wishlist",
            "Product Removed from Wishlist",
            "Wishlist Product Added to Cart",
            "Product Shared",
            "Cart Shared",
            "Product Reviewed",
        ],
    ),
    (
        "spec-mobile",
        &[
            "Application Installed",
            "Application Opened",
            "Application Backgrounded",
            "Application Foregrounded",
            "Application Updated",
            "Application Uninstalled",
            "Application Crashed",
            "Install Attributed",
            "Push Notification Received",
            "Push Notification Tapped",
            "Push Notification Bounced",
            "Deep Link Opened",
            "Deep Link Clicked",
        ],
    ),
    (
        "spec-video",
        &[
            "Video Playback Started",
            "Video Playback Paused",
            "Video Playback Interrupted",
            "Video Playback Buffer Started",
            "Video Playback Buffer Completed",
            "Video Playback Seek Started",
            "Video Playback Seek Completed",
            "Video Playback Resumed",
            "Video Playback Completed",
            "Video Playback Exited",
            "Video Content Started",
            "Video Content Playing",
            "Video Content Completed",
            "Video Ad Started",
            "Video Ad Playing",
            "Video Ad Completed",
            "Video Quality Updated",
        ],
    ),
];

/// All cases of messages and answers: `vendor/name`, the case.
fn all() -> Vec<(String, Value)> {
    let of = |vendor: &str| cases(vendor).into_iter().map(|(name, case)| (format!("{vendor}/{name}"), case)).collect();
    VENDORS.iter().flat_map(|vendor| -> Vec<_> { of(vendor) }).collect()
}

pub(super) fn is_message(case: &Value) -> bool {
    case.get("event").is_some() || case.get("value").is_some()
}

pub(super) fn is_delivered(case: &Value) -> bool {
    case["expect"].get("calls").is_some()
}

/// Reports that a test which shows something is not there, or no test.
pub(super) fn no_test(what: &str, file: &str, test: &str) -> Option<String> {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begins = format!("fn {test}()");
    let at = lines.iter().position(|line| line.trim_start_matches("async ").starts_with(&begins));
    let is_test = at.is_some_and(|at| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| line.ends_with("test]"))
    });
    (!is_test).then(|| format!("{what}: no test {test} in {file}"))
}

#[test]
fn every_row_has_a_case_of_both_sorts() {
    let all = all();
    let sorts: [(&str, Is); 3] = [
        ("delivered", |case| is_message(case) && is_delivered(case)),
        ("refused or skipped", |case| is_message(case) && !is_delivered(case)),
        ("a pair of requests", |case| case.get("request").is_some() && case.get("otherwise").is_some()),
    ];
    let of_row = |row: &Row| -> Vec<String> {
        let has = |prefix: &str, is: Is| all.iter().any(|(name, case)| name.starts_with(prefix) && is(case));
        let mut lacking = Vec::new();
        for ((sort, is), prefixes) in sorts.iter().zip([&row.delivered, &row.other, &row.requests]) {
            let missing = prefixes.iter().filter(|prefix| !has(prefix, *is));
            lacking.extend(missing.map(|prefix| format!("{}: no case {prefix} is {sort}", row.what)));
        }
        let never = row.never.as_deref().is_some_and(|why| !why.is_empty());
        if row.delivered.is_empty() && row.requests.is_empty() {
            lacking.push(format!("{}: no case shows it", row.what));
        }
        if row.other.is_empty() != never {
            lacking.push(format!("{}: cases that are refused or skipped, or why there are none", row.what));
        }
        lacking
    };
    let lacking: Vec<String> = rows().iter().flat_map(of_row).collect();
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

/// The names of the ends that a case shows.
fn ends(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("refused" | "bisect" | "else", Some(reason)) => drop(found.insert(format!("refused {reason}"))),
                    ("skipped", Some(reason)) => drop(found.insert(format!("skipped {reason}"))),
                    // What an element holds is the tenant's.
                    ("element" | "elements", _) => {}
                    _ => ends(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| ends(item, found)),
        _ => {}
    }
}

#[test]
fn every_outcome_has_a_case() {
    let mut found = BTreeSet::new();
    for (_, case) in all() {
        ends(&case["expect"], &mut found);
    }
    let refused = Reason::ALL.iter().map(|reason| format!("refused {}", reason.name()));
    let skipped = Skip::ALL.iter().map(|skip| format!("skipped {}", skip.name()));
    let elsewhere = |end: &String| ELSEWHERE.iter().any(|(known, ..)| end == known);
    // What is split in halves until a call is alone is refused as too large.
    let halved =
        |end: &String| end == "refused too_large" && all().iter().any(|(_, case)| case["expect"]["verdict"] == "split");
    let lacking: Vec<String> =
        refused.chain(skipped).filter(|end| !found.contains(end) && !elsewhere(end) && !halved(end)).collect();
    let gone: Vec<String> = ELSEWHERE.iter().filter_map(|(end, file, test)| no_test(end, file, test)).collect();
    assert!(gone.is_empty(), "{}", gone.join("\n"));
    assert!(lacking.is_empty(), "outcomes without a case:\n{}", lacking.join("\n"));
}

#[test]
fn every_semantic_event_has_a_case_at_each_vendor() {
    for vendor in VENDORS {
        let all = cases(vendor);
        for (spec, events) in SEMANTIC {
            let shown: BTreeSet<&str> = all
                .iter()
                .filter(|(name, case)| name.starts_with(spec) && is_delivered(case))
                .filter_map(|(_, case)| case["event"]["event"].as_str())
                .collect();
            let lacking: Vec<_> = events.iter().filter(|event| !shown.contains(*event)).collect();
            assert!(lacking.is_empty(), "{vendor}/{spec}: {lacking:?}");
        }
    }
}
