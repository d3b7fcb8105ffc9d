//! What the cases show: every row of the mapping, every value of every setting, every outcome, and every semantic event
//! of Segment's specs. What has no case is listed, and fails.
//!
//! A row, a value or a reason needs a case that is delivered and one that is refused or skipped. The lists are here, one
//! line each: to show something more, add its line and its cases.

use std::collections::BTreeSet;

use forebay::outcome::{Reason, Skip};
use serde_json::Value;

use super::{VENDORS, cases};

/// A row of "what Forebay does": its name, and beginnings of the names of its cases, delivered ones and others.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const ROWS: &[Row] = &[
    // Common.
    (
        "user id",
        &["moengage/user-id-from", "moengage/user-id-number", "iterable/user-id-longest"],
        &["moengage/user-id-refused", "iterable/user-id-too-long", "iterable/no-user"],
    ),
    (
        "anonymous id",
        &["moengage/anonymous-used", "iterable/anonymous-used"],
        &["moengage/anonymous-refused", "iterable/anonymous-skipped"],
    ),
    (
        "time",
        &["moengage/time-original", "moengage/time-record", "iterable/track-time-record"],
        &["moengage/time-future"],
    ),
    ("id", &["iterable/track-id-hashed", "iterable/track-id-of-the-record"], &["iterable/no-user"]),
    (
        "types accepted",
        &["moengage/page-named", "webhook/alias"],
        &["webhook/page-not-accepted", "moengage/accept-not"],
    ),
    (
        "integrations",
        &["moengage/integrations-account-on"],
        &["moengage/integrations-off", "iterable/integrations-all-off"],
    ),
    ("where", &["moengage/where-holds"], &["moengage/where-not"]),
    (
        "only_events, skip_events",
        &["moengage/only-events-holds"],
        &["moengage/only-events-not", "moengage/skip-events-not"],
    ),
    ("consent", &["moengage/consent-given"], &["moengage/consent-not"]),
    ("max_age", &["moengage/max-age-within", "moengage/max-age-identify"], &["moengage/max-age-older"]),
    (
        "tenant",
        &["webhook/tenant-of-a-field"],
        &["webhook/tenant-none", "webhook/tenant-unknown", "webhook/tenant-conflict"],
    ),
    ("nested values", &["moengage/track-flattened", "moengage/track-full"], &["moengage/name-blank"]),
    ("check first", &["moengage/track-bare"], &["moengage/malformed", "webhook/encoding"]),
    ("fields", &["moengage/fields-", "webhook/fields-"], &["moengage/fields-refused"]),
    (
        "raw elements",
        &["moengage/raw-where-holds", "moengage/raw-tenant-of-a-field", "moengage/raw-accepted-whatever-the-type"],
        &["moengage/raw-where-not", "moengage/raw-disabled", "moengage/raw-of-another", "moengage/raw-unknown"],
    ),
    (
        "raw elements and rules",
        &["moengage/raw-unfiltered", "iterable/raw-unfiltered"],
        &["moengage/raw-with-fields", "moengage/raw-with-consent", "iterable/raw-with-fields"],
    ),
    // MoEngage.
    (
        "moengage identify",
        &["moengage/identify-standard-attributes", "moengage/identify-device"],
        &["moengage/no-user"],
    ),
    ("moengage track", &["moengage/track-full"], &["moengage/name-missing", "moengage/name-reserved"]),
    ("moengage page", &["moengage/page-named", "moengage/page-nameless"], &["moengage/page-future"]),
    ("moengage screen", &["moengage/screen-named", "moengage/screen-nameless"], &["moengage/screen-not-accepted"]),
    ("moengage group", &["moengage/group"], &["moengage/group-no-user"]),
    ("moengage platform", &["moengage/platform-"], &["moengage/platform-refused"]),
    ("moengage time zone", &["moengage/zone-of-the-moment"], &["moengage/time-future"]),
    ("moengage alias", &["moengage/alias-merge"], &["moengage/alias-off", "moengage/alias-same"]),
    ("moengage business events", &["moengage/business-event"], &["moengage/raw-business-event-no-name"]),
    ("moengage alerts", &["moengage/alert"], &["moengage/alert-no-recipient"]),
    (
        "moengage limits",
        &["moengage/name-longest", "moengage/track-most-fields"],
        &["moengage/name-too-long", "moengage/track-too-many-fields", "moengage/identify-too-many-fields"],
    ),
    (
        "moengage raw",
        &["moengage/raw-customer", "moengage/raw-event", "moengage/raw-device"],
        &["moengage/raw-future", "moengage/raw-no-user", "moengage/raw-device-token"],
    ),
    ("moengage catalogue", &["moengage/raw-catalog"], &["moengage/raw-catalog-missing", "moengage/raw-catalog-no-id"]),
    (
        "moengage raw campaigns",
        &["moengage/raw-business-event", "moengage/raw-inform"],
        &["moengage/raw-business-event-no-name", "moengage/raw-inform-no-payload"],
    ),
    // Iterable.
    ("iterable alias", &["iterable/alias-email-project", "iterable/alias-hybrid"], &["iterable/alias-ids"]),
    ("iterable tokens", &["iterable/token-device", "iterable/token-browser"], &["iterable/token-platform"]),
    (
        "iterable raw",
        &["iterable/raw-user", "iterable/raw-event", "iterable/raw-item"],
        &["iterable/raw-user-nobody", "iterable/raw-event-no-name", "iterable/raw-item-two"],
    ),
    ("iterable identify", &["iterable/identify-hybrid"], &["iterable/email-invalid"]),
    ("iterable track", &["iterable/track-full"], &["iterable/name-missing"]),
    ("iterable Order Completed", &["iterable/purchase"], &["iterable/purchase-refused"]),
    ("iterable Cart Updated", &["iterable/cart"], &["iterable/cart-no-products"]),
    ("iterable page", &["iterable/page-named"], &["iterable/page-named-skipped"]),
    ("iterable screen", &["iterable/screen-named"], &["iterable/screen-named-skipped"]),
    ("iterable group", &["iterable/group"], &["iterable/group-no-user"]),
    ("iterable e-mail", &["iterable/track-email-of-properties"], &["iterable/email-invalid"]),
    ("iterable items", &["iterable/item-categories", "iterable/item-id-of-sku"], &["iterable/purchase-refused-item"]),
    (
        "iterable campaign, template",
        &["iterable/track-full"],
        &["iterable/track-campaign-wrong", "iterable/track-template-fraction"],
    ),
    ("iterable dates", &["iterable/identify-dates", "iterable/track-dates-kept"], &["iterable/dates-refused"]),
    // Webhook.
    ("webhook", &["webhook/identify", "webhook/nobody"], &["webhook/page-not-accepted"]),
    ("webhook raw", &["webhook/track"], &["webhook/raw-not-accepted", "webhook/raw-unknown"]),
];

/// A setting: where it stands in a case's `settings`, and its values; `null` is the default, `*` any.
const SETTINGS: &[(&str, &str, &[&str])] = &[
    ("moengage", "/anonymous", &["null", "\"refuse\"", "\"skip\"", "\"use\""]),
    ("moengage", "/nested", &["null", "\"keep\"", "\"flatten\""]),
    ("moengage", "/enabled", &["null", "true", "false"]),
    ("moengage", "/accept", &["null", "*"]),
    ("moengage", "/max_age", &["null", "*"]),
    ("moengage", "/where", &["null", "*"]),
    ("moengage", "/only_events", &["null", "*"]),
    ("moengage", "/skip_events", &["null", "*"]),
    ("moengage", "/consent", &["null", "*"]),
    ("moengage", "/fields", &["null", "*"]),
    ("moengage", "/moengage/update_existing_only", &["null", "true", "false"]),
    ("moengage", "/moengage/alias", &["null", "\"off\"", "\"merge\""]),
    ("moengage", "/moengage/business_events", &["null", "*"]),
    ("moengage", "/moengage/alerts", &["null", "*"]),
    ("moengage", "/raw", &["null", "*"]),
    ("moengage", "/raw_unfiltered", &["null", "true"]),
    ("iterable", "/raw", &["null", "*"]),
    ("iterable", "/raw_unfiltered", &["null", "true"]),
    ("iterable", "/iterable/registration_key", &["null", "*"]),
    ("iterable", "/iterable/identity", &["null", "\"hybrid\"", "\"email\"", "\"user_id\""]),
    ("iterable", "/iterable/delivery", &["null", "\"bulk\"", "\"single\""]),
    ("iterable", "/iterable/prefer_user_id", &["null", "true", "false"]),
    ("iterable", "/iterable/merge_nested_objects", &["null", "true", "false"]),
    ("iterable", "/iterable/create_new_fields", &["null", "true", "false"]),
    ("iterable", "/iterable/cart", &["null", "\"segment\"", "\"rudder\""]),
    ("iterable", "/iterable/dates", &["null", "\"iterable\"", "\"keep\""]),
    ("iterable", "/iterable/pages", &["null", "[\"all\"]", "[\"named\"]", "[\"categorised\"]"]),
    ("iterable", "/iterable/single_event", &["null", "true", "false"]),
    ("webhook", "/webhook/url", &["null", "*"]),
];

/// Reasons that no mapping and no answer makes, and the test that shows them.
const ELSEWHERE: &[(&str, &str)] = &[("vendor_error", "lane: eight 5xx while others succeed (src/lane)")];

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
    let has = |prefixes: &[&str], delivered: bool| {
        prefixes.iter().all(|prefix| {
            all.iter()
                .any(|(name, case)| name.starts_with(prefix) && is_message(case) && is_delivered(case) == delivered)
        })
    };
    let lacking = ROWS.iter().flat_map(|(row, delivered, others)| lacks(row, has(delivered, true), has(others, false)));
    let lacking: Vec<String> = lacking.collect();
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn every_value_of_every_setting_has_a_case_of_both_sorts() {
    let mut lacking = Vec::new();
    for (vendor, pointer, values) in SETTINGS {
        let cases = cases(vendor);
        for value in *values {
            let has = |delivered| {
                cases.iter().any(|(_, case)| {
                    let found = case["settings"].pointer(pointer);
                    let fits = match *value {
                        "null" => found.is_none(),
                        "*" => found.is_some(),
                        value => found == serde_json::from_str(value).ok().as_ref(),
                    };
                    fits && is_message(case) && is_delivered(case) == delivered
                })
            };
            // What is switched off delivers nothing.
            let never = (*pointer, *value) == ("/enabled", "false");
            lacking.extend(lacks(&format!("{vendor}{pointer} = {value}"), never || has(true), has(false)));
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
    let elsewhere = |end: &String| ELSEWHERE.iter().any(|(reason, _)| end.ends_with(reason));
    // What is split in halves until a call is alone is refused as too large.
    let halved =
        |end: &String| end == "refused too_large" && all().iter().any(|(_, case)| case["expect"]["verdict"] == "split");
    let lacking: Vec<String> =
        refused.chain(skipped).filter(|end| !found.contains(end) && !elsewhere(end) && !halved(end)).collect();
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
