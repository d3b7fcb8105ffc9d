//! `forebay explain` says of a record what `run` does with it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::config::{Account, ConfigText, accounts, tenants};
use crate::support::events::Events;
use crate::support::kafka::Kafka;
use crate::support::process::Setup;
use crate::support::stage::{JOIN, Stage};

const SOON: Duration = Duration::from_secs(30);

fn config() -> ConfigText {
    let mut accounts = [Account::iterable("t00"), Account::moengage("t00"), Account::iterable("t01")];
    "only_events = [\"Order *\"]".clone_into(&mut accounts[1].settings);
    ConfigText::new(Kafka::shared(), "explained", "", &accounts)
}

/// Code and what was written, standard output first.
fn said(setup: Setup, arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = setup.args(&[&["explain"], arguments].concat()).start();
    let code = process.wait(SOON);
    (code, process.log())
}

fn explained(setup: Setup, arguments: &[&str]) -> Value {
    let (code, said) = said(setup, &[arguments, &["--json"]].concat());
    assert_eq!(code, Some(0), "{said}");
    serde_json::from_str(&said).expect(&said)
}

/// A setup with this event in a file.
fn with_event(event: &Value) -> Setup {
    let setup = config().setup();
    setup.write("event.json", event.to_string());
    setup
}

#[test]
fn a_file_is_explained_for_each_account_of_its_tenant_without_a_key() {
    let event = json!({ "type": "track", "userId": "user-1", "event": "Signed Up", "messageId": "m-1",
        "timestamp": "2026-11-20T10:00:00Z", "properties": { "plan": "pro" } });
    let setup = with_event(&event);
    for account in config().accounts() {
        std::fs::remove_file(setup.path(&account.key_file())).unwrap();
    }
    let found = explained(setup, &["event.json", "-H", "tenant=t00"]);
    assert_eq!(found["tenant"], "t00");
    assert_eq!(found["accounts"].as_array().map(Vec::len), Some(2), "{found}");
    let [iterable, moengage] = ["t00-iterable", "t00-moengage"].map(|name| {
        let accounts = found["accounts"].as_array().into_iter().flatten();
        accounts.clone().find(|account| account["account"] == name).unwrap_or_else(|| panic!("{found}"))
    });
    let call = &iterable["calls"][0];
    assert_eq!(call["url"], "https://api.iterable.com/api/events/trackBulk");
    assert_eq!(call["headers"]["api-key"], "(secret)");
    let element = json!({ "userId": "user-1", "eventName": "Signed Up", "id": "m-1", "createdAt": 1_795_168_800,
        "dataFields": { "plan": "pro" } });
    assert_eq!(call["body"], json!({ "events": [element] }));
    assert_eq!((&moengage["outcome"], &moengage["reason"]), (&json!("skipped"), &json!("not_selected")));
    assert_eq!(moengage["why"], "only_events does not list its name");
    assert_eq!(moengage["setting"], "accounts.t00-moengage.only_events");
    assert_eq!(found["tenant_from"], "header = \"tenant\"");
}

#[test]
fn the_setting_and_the_place_behind_an_end_are_named() {
    let mut accounts = [Account::moengage("t00"), Account::iterable("t00")];
    let all = "accept = [\"track\", \"alias\", \"page\"]\nanonymous = \"skip\"";
    for account in &mut accounts {
        all.clone_into(&mut account.settings);
    }
    "pages = [\"named\"]".clone_into(&mut accounts[1].details);
    let from =
        "[tenant]\nfrom = [{ header = \"tenant\" }, { field = \"/context/a~1b\" }, { key = \"^(?<tenant>[^:]+):\" }]";
    let config = ConfigText::new(Kafka::shared(), "explained-why", "", &accounts).section(from);
    let setup = |event: &Value| {
        let setup = config.setup();
        setup.write("event.json", event.to_string());
        setup
    };
    let alias = json!({ "type": "alias", "userId": "new", "previousId": "old", "context": { "a/b": "t00" } });
    let page = json!({ "type": "page", "userId": "u-1" });
    let nobody = json!({ "type": "track", "event": "E", "anonymousId": "a-1" });
    let field = "field = \"/context/a~1b\"";
    let key = "key = \"^(?<tenant>[^:]+):\"";
    for (event, key_of_record, place, index, setting) in [
        (&alias, "", field, 0, "accounts.t00-moengage.moengage.alias"),
        (&page, "t00:u-1", key, 1, "accounts.t00-iterable.iterable.pages"),
        (&nobody, "t00:u-1", key, 1, "accounts.t00-iterable.anonymous"),
    ] {
        let found = explained(setup(event), &["event.json", "--key", key_of_record]);
        assert_eq!(found["tenant_from"], place, "{found}");
        assert_eq!(found["accounts"][index]["setting"], setting, "{found}");
        let (_, text) = said(setup(event), &["event.json", "--key", key_of_record]);
        assert!(text.contains(&format!("tenant   t00, by tenant.from {{ {place} }}")), "{text}");
        assert!(text.contains(setting), "{text}");
    }
    for (arguments, setting) in [(&[][..], "tenant.from"), (&["-H", "tenant=nobody"], "tenant.unknown")] {
        let found = explained(setup(&page), &[&["event.json"], arguments].concat());
        assert_eq!(found["end"]["setting"], setting, "{found}");
    }
}

#[test]
fn every_end_before_and_at_an_account_is_named() {
    let track = json!({ "type": "track", "userId": "user-1", "event": "Order Placed" });
    for (event, arguments, expected) in [
        (&track, &["event.json"][..], ["refused", "no_tenant"]),
        (&track, &["event.json", "-H", "tenant=nobody"], ["refused", "unknown_tenant"]),
        (&json!({ "type": "purchase" }), &["event.json", "-H", "tenant=t00"], ["refused", "unknown_type"]),
        (&json!([1]), &["event.json", "--account", "t01-iterable"], ["refused", "malformed"]),
    ] {
        let found = explained(with_event(event), arguments);
        assert_eq!([&found["end"]["outcome"], &found["end"]["reason"]], expected, "{arguments:?}: {found}");
        assert_eq!(found["accounts"], json!([]));
    }
    let nameless = json!({ "type": "track", "userId": "user-1", "integrations": { "MoEngage": false } });
    let found = explained(with_event(&nameless), &["event.json", "-H", "tenant=t00"]);
    let calls = &found["accounts"][0]["calls"];
    assert_eq!((&calls[0]["outcome"], &calls[0]["reason"]), (&json!("refused"), &json!("no_event_name")));
    assert_eq!(calls[0].get("body"), None);
    assert_eq!(found["accounts"][1]["reason"], "integrations");
    let found = explained(with_event(&track), &["event.json", "-H", "tenant=t00", "--account", "t01-iterable"]);
    assert_eq!(found["accounts"][0]["outcome"], "elsewhere");
    let found = explained(with_event(&track), &["event.json", "--account", "t01-iterable"]);
    assert_eq!((&found["tenant"], &found["tenant_assumed"]), (&json!("t01"), &json!(true)));
}

#[test]
fn raw_elements_and_calls_about_several_users_are_explained_as_messages_are() {
    let mut accounts = [Account::moengage("t00"), Account::iterable("t00")];
    "raw = [\"transition\", \"catalog\"]".clone_into(&mut accounts[0].settings);
    "alias = \"merge\"".clone_into(&mut accounts[0].details);
    let config = ConfigText::new(Kafka::shared(), "explained-raw", "", &accounts);
    let of = |event: Value, arguments: &[&str]| {
        let setup = config.setup();
        setup.write("event.json", event.to_string());
        explained(setup, &[&["event.json", "--account", "t00-moengage"], arguments].concat())
    };
    let item = json!({ "id": "i-1", "title": "Shoe" });
    let found = of(item.clone(), &["-H", "forebay-shape=catalog", "-H", "forebay-catalog=a b"]);
    assert_eq!([&found["event"]["type"], &found["event"]["shape"]], ["raw", "catalog"], "{found}");
    let call = &found["accounts"][0]["calls"][0];
    assert_eq!((&call["part"], &call["users"]), (&json!("a%20b"), &json!(1)));
    assert!(call["url"].as_str().is_some_and(|url| url.contains("/a%20b/")), "{call}");
    assert!(call["body"].to_string().contains(&item.to_string()), "{call}");
    let tenant = ["-H", "tenant=t00"];
    let found = of(item.clone(), &[&tenant[..], &["-H", "forebay-shape=inform"]].concat());
    assert_eq!(found["accounts"][0]["reason"], "raw_not_allowed");
    let found = of(item, &[&tenant[..], &["-H", "forebay-shape=catalogs/items"]].concat());
    assert_eq!(found["accounts"][0]["reason"], "not_accepted");
    assert_eq!(found["accounts"][0]["why"], "the header forebay-shape names a shape of another vendor");
    let alias = json!({ "type": "alias", "userId": "new", "previousId": "old" });
    let found = of(alias.clone(), &tenant);
    let call = &found["accounts"][0]["calls"][0];
    assert_eq!((&call["shape"], &call["users"]), (&json!("merge"), &json!(2)), "{found}");
    let setup = config.setup();
    setup.write("event.json", alias.to_string());
    let (_, said) = said(setup, &["event.json", "--account", "t00-moengage"]);
    assert!(said.contains("merge: in the order of 2 users, alone of theirs"), "{said}");
}

#[test]
fn people_read_the_body_as_it_goes_out_field_by_field() {
    let setup = config().setup();
    setup.write("event.json", r#"{"type":"identify","userId":"user-1","traits":{"b":1,"a":[{}, -0],"b":1e2}}"#);
    let (code, said) = said(setup, &["event.json", "--account", "t01-iterable"]);
    assert_eq!(code, Some(0), "{said}");
    let body = "        \"dataFields\": {\n          \"b\": 1,\n          \"a\": [\n            {},\n            -0\n          ],\n          \"b\": 1e2\n        },\n";
    for part in ["tenant   t01 (", "users/bulkUpdate: in its user's order, costs 1 of users", "api-key: (secret)", body]
    {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[test]
fn what_cannot_be_explained_has_a_code_of_its_own() {
    let event = json!({ "type": "track" });
    assert_eq!(said(with_event(&event), &["nothing.json"]).0, Some(66));
    assert_eq!(said(with_event(&event), &["event.json", "--account", "nobody"]).0, Some(2));
    let setup = with_event(&event);
    setup.write("config.toml", "[kafka");
    assert_eq!(said(setup, &["event.json"]).0, Some(78));
}

#[test]
fn a_stored_record_is_explained_as_it_was_sent() {
    let stage = Stage::with(Kafka::shared(), "explain", 2, &accounts(&tenants(1)));
    let events: Vec<_> = Events::new(3, &tenants(1)).take(8).collect();
    stage.produce(&events);
    let mut forebay = stage.config.setup().start();
    forebay.wait_ready(JOIN);
    stage.wait_settled();
    let accepted = stage.vendors.accepted();
    for (id, (partition, offset)) in stage.spots() {
        let at = ["--topic", &stage.topic, "--partition", &partition.to_string(), "--offset", &offset.to_string()];
        let found = explained(stage.config.setup(), &at);
        assert_eq!(found["record"]["offset"], offset);
        let bodies = found["accounts"].as_array().into_iter().flatten().map(|account| &account["calls"][0]["body"]);
        let elements = bodies.flat_map(|body| {
            ["elements", "users", "events"].iter().flat_map(|list| body[*list].as_array().into_iter().flatten())
        });
        let elements: Vec<_> = elements.collect();
        assert_eq!(elements.len(), 2, "{id}: {found}");
        for element in elements {
            assert!(accepted.iter().any(|accepted| accepted.element == *element), "{id}: {element}");
        }
    }
    let beyond = ["--topic", &stage.topic, "--offset", "1000"];
    let (code, said) = said(stage.config.setup(), &beyond);
    assert_eq!(code, Some(66), "{said}");
    assert_eq!(stage.kafka.committed(&stage.config.group(), &stage.topic).len(), 2, "nobody else committed");
}
