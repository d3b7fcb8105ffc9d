//! An account from the settings of a case, read as `config.toml` is: the names and defaults are the product's own.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use forebay::config::{self, Config};
use forebay::destination::{self, Destination, UserHash};
use serde_json::{Map, Value, json};

/// The vendor's API for an account with these settings; made once, however often it is asked for.
pub(super) fn destination(vendor: &str, settings: &Value) -> Arc<dyn Destination> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<dyn Destination>>>> = LazyLock::new(Mutex::default);
    let key = format!("{vendor} {settings}");
    let known = MADE.lock().unwrap_or_else(PoisonError::into_inner).get(&key).map(Arc::clone);
    known.unwrap_or_else(|| {
        let made = destination::of(&config(vendor, settings, &Value::Null).accounts[0], &UserHash::new(1));
        MADE.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&made));
        made
    })
}

/// A configuration with one account, `acme`, of the tenant `acme` unless it says another. `settings` is the account's table, the vendor's own
/// within it; what a vendor must have and a case does not say is there. `tenant` is `[tenant]`.
pub(super) fn config(vendor: &str, settings: &Value, tenant: &Value) -> Config {
    let mut account = settings.as_object().cloned().unwrap_or_default();
    let mut own = needed(vendor);
    own.extend(account.remove(vendor).and_then(|own| own.as_object().cloned()).unwrap_or_default());
    account.entry("tenant").or_insert_with(|| json!("acme"));
    account.insert(vendor.to_owned(), own.into());
    let mut main = json!({
        "kafka": { "brokers": "127.0.0.1:1", "topics": ["events"] },
        "delivery": { "allow_hosts": ["127.0.0.1"] },
        "accounts": { "acme": account },
    });
    if tenant.is_object() {
        main["tenant"] = tenant.clone();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.toml");
    std::fs::write(&file, toml::to_string(&main).expect("settings that TOML can say")).expect("a file");
    config::load(&file).unwrap_or_else(|problems| panic!("{settings}\n{problems}")).config
}

/// What a vendor's table must have.
pub(super) fn needed(vendor: &str) -> Map<String, Value> {
    let needed = match vendor {
        "moengage" => json!({ "workspace": "WORKSPACE", "data_center": "02" }),
        "iterable" => json!({ "region": "us" }),
        "webhook" => json!({ "url": "https://hooks.example.com/in" }),
        _ => panic!("no other destination"),
    };
    let mut needed = needed.as_object().cloned().unwrap_or_default();
    needed.insert("keys".to_owned(), json!([{ "value": "the-key" }]));
    needed
}
