//! What has a shape of its own reaches the endpoint that is made for it, in the form that the vendor takes: merges,
//! changes of address, tokens, business events, alerts, and raw elements.

use std::collections::BTreeMap;

use forebay::sandbox::AccountReport;
use serde_json::json;

use crate::support::config::{accounts, tenants};
use crate::support::kafka::Message;
use crate::support::stage::{Stage, assert_books};

const AT_MOENGAGE: &str = r#"alias = "merge"
business_events = ["Price Dropped"]
inform_keys = [{ file = "secrets/t00/t00-moengage" }]
alerts = { "OTP Requested" = { alert_id = "A", channels = { sms = "/properties/phone" } } }"#;

fn message(json: &str, headers: &[(&'static str, &'static str)]) -> Message {
    let message = Message::new(json.to_owned()).key("user-1").header("tenant", "t00");
    headers.iter().fold(message, |message, (name, value)| message.header(name, *value))
}

/// A record for each shape, in one user's order.
fn messages() -> [Message; 8] {
    let device = r#"{"device":{"type":"ios","token":"tok","id":"d-1"},"app":{"namespace":"com.acme"}}"#;
    let identify = format!(
        r#"{{"type":"identify","userId":"user-1","messageId":"m-0","traits":{{"email":"u1@example.com"}},"context":{device}}}"#
    );
    [
        message(&identify, &[]),
        message(
            r#"{"type":"alias","previousId":"u1@example.com","userId":"u2@example.com","messageId":"m-1","traits":{"id":"user-1"}}"#,
            &[],
        ),
        message(r#"{"type":"track","event":"Price Dropped","userId":"user-1","messageId":"m-2"}"#, &[]),
        message(
            r#"{"type":"track","event":"OTP Requested","userId":"user-1","messageId":"m-3","properties":{"phone":"1","code":"2"}}"#,
            &[],
        ),
        message(
            r#"{"type":"event","customer_id":"user-1","actions":[{"action":"Raw"}]}"#,
            &[("forebay-shape", "transition")],
        ),
        message(r#"{"userId":"user-1","dataFields":{"raw":true}}"#, &[("forebay-shape", "users/bulkUpdate")]),
        message(r#"{"id":"i-1","title":"Shoe"}"#, &[("forebay-shape", "catalog"), ("forebay-catalog", "shoes")]),
        message(r#"{"i-1":{"title":"Shoe"}}"#, &[("forebay-shape", "catalogs/items"), ("forebay-catalog", "my shoes")]),
    ]
}

#[test]
fn each_shape_reaches_the_endpoint_that_is_made_for_it() {
    let mut accounts = accounts(&tenants(1));
    let [moengage, iterable] = &mut accounts[..] else { panic!("one account at each vendor") };
    moengage.settings = "raw = [\"transition\", \"catalog\"]\nlimits.business_events_per_hour = 360000\n\
                         limits.business_events_per_day = 8640000\nlimits.catalog_per_hour = 360000"
        .to_owned();
    AT_MOENGAGE.clone_into(&mut moengage.details);
    iterable.settings = "raw = [\"users/bulkUpdate\", \"catalogs/items\"]".to_owned();
    iterable.details = format!("registration_key = {{ file = \"{}\" }}", iterable.key_file());
    let stage = Stage::of("own-shapes", &accounts);
    stage.kafka.produce(&stage.topic, messages());
    let mut forebay = stage.config.setup().start();
    stage.wait_settled();
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for accepted in stage.vendors.accepted() {
        *counts.entry((accepted.account.to_string(), accepted.endpoint)).or_default() += 1;
    }
    let expected = [
        ("t00-iterable", "catalogs/items", 1),
        ("t00-iterable", "events/trackBulk", 2),
        ("t00-iterable", "users/bulkUpdate", 3),
        ("t00-iterable", "users/registerDeviceToken", 1),
        ("t00-moengage", "alerts/send", 1),
        ("t00-moengage", "business_event/trigger", 1),
        ("t00-moengage", "catalog/items", 1),
        ("t00-moengage", "customer/merge", 1),
        // The customer, the device, and what was raw.
        ("t00-moengage", "transition", 3),
    ];
    let expected = expected.map(|(account, endpoint, count)| ((account.to_owned(), endpoint), count));
    assert_eq!(counts, expected.into());
    assert_eq!(stage.letters(), []);
    let of = |endpoint: &str| {
        let accepted = stage.vendors.accepted().into_iter().filter(|accepted| accepted.endpoint == endpoint);
        accepted.map(|accepted| accepted.element).collect::<Vec<_>>()
    };
    let merged = json!({ "merged_user": "u1@example.com", "retained_user": "u2@example.com" });
    assert_eq!(of("customer/merge"), [merged]);
    // The user's calls in their order: who it is, its new address, what was raw.
    let users = of("users/bulkUpdate");
    assert_eq!(users[1]["dataFields"], json!({ "email": "u2@example.com" }));
    assert_eq!(users[2]["dataFields"], json!({ "raw": true }));
    assert_eq!(stage.vendors.report().accounts.values().map(AccountReport::dropped_count).sum::<u64>(), 0);
    assert_books(&mut forebay);
}
