//! An account from the settings of a case: the names of `config.toml`, everything else by its default.

use std::collections::BTreeMap;
use std::time::Duration;

use forebay::config::{self, Account, Alert, Anonymous, BaseUrl, FieldRules, Identity, SecretRef, Vendor};
use forebay::destination::Destination;
use forebay::destination::iterable::Iterable;
use forebay::destination::moengage::Moengage;
use forebay::event::Kind;
use serde_json::Value;

/// The vendor's API for an account with these settings.
pub(super) fn destination(vendor: &str, settings: &Value) -> Box<dyn Destination> {
    let account = account(vendor, settings);
    match &account.vendor {
        Vendor::Moengage(moengage) => Box::new(Moengage::new(&account, moengage)),
        Vendor::Iterable(iterable) => Box::new(Iterable::new(&account, iterable)),
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(super) fn account(vendor: &str, settings: &Value) -> Account {
    let fields = &settings["fields"];
    let rename = fields["rename"].as_object().into_iter().flatten();
    Account {
        name: "acme".to_owned(),
        tenant: "acme".to_owned(),
        accept: vec![Kind::Identify, Kind::Track, Kind::Alias],
        anonymous: match settings["anonymous"].as_str() {
            Some("use") => Anonymous::Use,
            Some("skip") => Anonymous::Skip,
            _ => Anonymous::Refuse,
        },
        flatten: settings["nested"] == "flatten",
        max_age: None,
        filters: Vec::new(),
        only_events: Vec::new(),
        skip_events: Vec::new(),
        consent: strings(&settings["consent"]),
        fields: FieldRules {
            keep: strings(&fields["keep"]),
            drop: strings(&fields["drop"]),
            sha256: strings(&fields["sha256"]),
            rename: rename.map(|(from, to)| (from.clone(), to.as_str().unwrap_or_default().to_owned())).collect(),
        },
        raw: strings(&settings["raw"]),
        raw_unfiltered: settings["raw_unfiltered"] == true,
        limits: limits(&settings["limits"]),
        max_in_flight: 4,
        linger: Duration::from_millis(100),
        hold: false,
        enabled: true,
        base_url: settings["base_url"].is_object().then(|| BaseUrl {
            tls: false,
            host: settings["base_url"]["host"].as_str().unwrap_or_default().to_owned(),
            port: settings["base_url"]["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or(80),
            prefix: String::new(),
        }),
        vendor: if vendor == "moengage" {
            Vendor::Moengage(moengage(&settings["moengage"]))
        } else {
            assert_eq!(vendor, "iterable", "no other destination");
            Vendor::Iterable(iterable(&settings["iterable"]))
        },
    }
}

fn limits(settings: &Value) -> BTreeMap<String, u32> {
    let limits = settings.as_object().into_iter().flatten();
    limits.filter_map(|(name, limit)| Some((name.clone(), limit.as_u64()?.try_into().ok()?))).collect()
}

fn moengage(settings: &Value) -> config::Moengage {
    let text = |name: &str| settings[name].as_str().map(str::to_owned);
    let addresses = settings["forwarded_for"].as_array().into_iter().flatten();
    config::Moengage {
        workspace: text("workspace").unwrap_or_else(|| "WORKSPACE".to_owned()),
        data_center: text("data_center").unwrap_or_else(|| "02".to_owned()),
        keys: Vec::new(),
        campaign_keys: Vec::new(),
        inform_keys: Vec::new(),
        merge_aliases: settings["alias"] == "merge",
        project_code: text("project_code"),
        update_existing_only: settings["update_existing_only"] == true,
        forwarded_for: addresses.filter_map(|address| address.as_str()?.parse().ok()).collect(),
        business_events: strings(&settings["business_events"]),
        alerts: settings["alerts"].as_object().into_iter().flatten().map(alert).collect(),
    }
}

fn alert((event, settings): (&String, &Value)) -> Alert {
    let pointer = |text: &Value| text.as_str().unwrap_or_default().split('/').skip(1).map(str::to_owned).collect();
    let channel = |(setting, name)| Some((name, pointer(settings["channels"].get(setting)?)));
    Alert {
        event: event.clone(),
        id: settings["alert_id"].as_str().unwrap_or_default().to_owned(),
        channels: [("sms", "SMS"), ("email", "EMAIL"), ("push", "PUSH")].into_iter().filter_map(channel).collect(),
        of_traits: settings["attributes"] == "context.traits",
    }
}

fn iterable(settings: &Value) -> config::Iterable {
    config::Iterable {
        eu: settings["region"] == "eu",
        keys: Vec::new(),
        project: settings["project"].as_str().map(str::to_owned),
        identity: match settings["identity"].as_str() {
            Some("email") => Identity::Email,
            Some("user_id") => Identity::UserId,
            _ => Identity::Hybrid,
        },
        single: settings["delivery"] == "single",
        prefer_user_id: settings["prefer_user_id"] != false,
        merge_nested_objects: settings["merge_nested_objects"] != false,
        create_new_fields: settings["create_new_fields"].as_bool(),
        rudder_cart: settings["cart"] == "rudder",
        keep_dates: settings["dates"] == "keep",
        pages: settings["pages"].as_array().map_or_else(
            || vec!["all".to_owned()],
            |pages| pages.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        ),
        single_event: settings["single_event"] == true,
        registration_key: settings["registration_key"].is_object().then(|| SecretRef::Env("NOBODY".to_owned())),
    }
}
