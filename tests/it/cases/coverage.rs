//! What the cases show: every row of the mapping, every value of every setting, every outcome, and every semantic event
//! of Segment's specs. What has no case is listed, and fails.
//!
//! A row or a value needs a case that is delivered and one that is refused or skipped. Settings and their values come from
//! the configuration itself, outcomes from their enums, rows from `tests/cases/rows.toml`: to show something more, add its
//! cases.

use std::collections::BTreeSet;
use std::path::Path;

use forebay::outcome::{Reason, Skip};
use serde::Deserialize;
use serde_json::Value;

use super::settings::{self, One, Setting, Values};
use super::{VENDORS, cases};

/// A row of what Forebay does, and beginnings of the names of its cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    what: String,
    delivered: Vec<String>,
    other: Vec<String>,
}

/// The rows of the mapping's specification.
fn rows() -> Vec<Row> {
    #[derive(Deserialize)]
    struct File {
        row: Vec<Row>,
    }
    toml::from_str::<File>(include_str!("../../cases/rows.toml")).expect("rows").row
}

/// Settings that change where and how requests go, and not what stands in them: each needs a case of a request, and so
/// does each of the words that it may be.
const OF_REQUESTS: &[&str] = &[
    "/base_url",
    "/limits/",
    "/moengage/workspace",
    "/moengage/data_center",
    "/moengage/project_code",
    "/moengage/forwarded_for",
    "/iterable/region",
    "/iterable/project",
    "/webhook/url",
];

/// Settings of the lane and of the configuration, which no case of a message or a request could show: the file and the test
/// that do.
const OF_THE_LANE: &[(&str, &str, &str)] = &[
    ("/tenant", "tests/it/dead_letters.rs", "an_unknown_tenant_may_be_skipped_instead"),
    ("/moengage/keys", "src/keys.rs", "a_shape_gets_the_keys_of_the_first_family_that_the_account_has"),
    ("/moengage/campaign_keys", "src/lane/tests.rs", "a_family_that_is_not_there_falls_back_to_the_one_before"),
    ("/moengage/inform_keys", "src/lane/tests.rs", "a_family_that_is_not_there_falls_back_to_the_one_before"),
    ("/iterable/keys", "src/keys.rs", "a_shape_gets_the_keys_of_the_first_family_that_the_account_has"),
    ("/webhook/keys", "tests/it/webhook.rs", "every_event_arrives_as_it_came_and_each_key_proves_it"),
    ("/linger", "src/lane/tests.rs", "a_batch_waits_for_its_linger_and_no_longer"),
    ("/max_in_flight", "src/lane/tests.rs", "no_more_requests_are_on_the_wire_than_max_in_flight"),
    ("/max_calls", "src/lane/tests.rs", "an_account_may_want_fewer_calls_in_a_request_than_its_vendor_takes"),
    ("/hold", "src/lane/tests.rs", "an_account_that_its_operator_holds_sends_nothing"),
    (
        "/allow_plaintext",
        "src/config/load/tests/accounts.rs",
        "a_base_url_leads_to_the_vendor_to_this_machine_or_to_an_allowed_host",
    ),
];

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

fn is_message(case: &Value) -> bool {
    case.get("event").is_some() || case.get("value").is_some()
}

fn is_delivered(case: &Value) -> bool {
    case["expect"].get("calls").is_some()
}

/// Reports that a test which shows something is not there, or no test.
fn no_test(what: &str, file: &str, test: &str) -> Option<String> {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_default();
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begins = format!("fn {test}()");
    let at = lines.iter().position(|line| line.trim_start_matches("async ").starts_with(&begins));
    let is_test = at.is_some_and(|at| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| line.ends_with("test]"))
    });
    (!is_test).then(|| format!("{what}: no test {test} in {file}"))
}

/// Reports what is missing of both sorts.
fn lacks(what: &str, delivered: bool, other: bool) -> Vec<String> {
    let mut lacking = Vec::new();
    if !delivered {
        lacking.push(format!("{what}: no case is delivered"));
    }
    if !other {
        lacking.push(format!("{what}: no case is refused or skipped"));
    }
    lacking
}

#[test]
fn every_row_has_a_case_of_both_sorts() {
    let all = all();
    let missing = |row: &Row, prefixes: &[String], delivered: bool| -> Vec<String> {
        let sort = if delivered { "delivered" } else { "refused or skipped" };
        let is = |prefix: &str, (name, case): &(String, Value)| {
            name.starts_with(prefix) && is_message(case) && is_delivered(case) == delivered
        };
        let lacking = prefixes.iter().filter(|prefix| !all.iter().any(|case| is(prefix, case)));
        let lacking = lacking.map(|prefix| format!("{}: no case {prefix} is {sort}", row.what)).collect::<Vec<_>>();
        if prefixes.is_empty() { vec![format!("{}: no case is {sort}", row.what)] } else { lacking }
    };
    let of_row = |row: &Row| [missing(row, &row.delivered, true), missing(row, &row.other, false)].concat();
    let lacking: Vec<String> = rows().iter().flat_map(of_row).collect();
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn every_value_of_every_setting_has_a_case_of_both_sorts() {
    let mut lacking = Vec::new();
    for vendor in VENDORS {
        let cases = cases(vendor);
        for Setting { pointer, values } in settings::of(vendor) {
            if let Some((_, file, test)) = OF_THE_LANE.iter().find(|(setting, ..)| *setting == pointer) {
                lacking.extend(no_test(&format!("{vendor}{pointer}"), file, test));
                continue;
            }
            let of_requests = OF_REQUESTS.iter().any(|setting| pointer.starts_with(setting));
            for value in values.each() {
                let requested = |(_, case): &(String, Value)| {
                    case.get("request").is_some() && value.is(case["settings"].pointer(&pointer))
                };
                if of_requests && value != One::Absent && !cases.iter().any(requested) {
                    lacking.push(format!("{vendor}{pointer}: {value:?}: no case of a request"));
                }
                if of_requests && !matches!(values, Values::Word(_)) {
                    continue;
                }
                let has = |delivered| {
                    cases.iter().any(|(_, case)| {
                        // The name of an alert is the tenant's.
                        let alert = case["settings"].pointer("/moengage/alerts").and_then(Value::as_object);
                        let name = alert.and_then(|alerts| alerts.keys().next()).map_or("OTP", String::as_str);
                        let found = case["settings"].pointer(&pointer.replace("/OTP", &format!("/{name}")));
                        value.is(found) && is_message(case) && is_delivered(case) == delivered
                    })
                };
                // What is switched off delivers nothing.
                let never = pointer == "/enabled" && value == One::Is(false.into());
                lacking.extend(lacks(&format!("{vendor}{pointer}: {value:?}"), never || has(true), has(false)));
            }
        }
    }
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
