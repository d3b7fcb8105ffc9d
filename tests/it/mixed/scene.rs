//! Accounts of both vendors whose settings differ as far as they can, and whose limits do not bind.

use crate::support::config::{Account, Vendor, accounts, tenants};

pub(super) const TENANTS: usize = 6;

const ALL: &str = r#"accept = ["identify", "track", "page", "screen", "alias", "group"]"#;

const MOENGAGE_LIMITS: &str = "limits.users_per_minute = 100000000
limits.events_per_minute = 100000000
limits.merges_per_minute = 100000000
limits.alerts_per_minute = 100000000
limits.catalog_per_minute = 100000000
limits.catalog_per_hour = 100000000
limits.business_events_per_hour = 36000000
limits.business_events_per_day = 100000000";
const MOENGAGE_SANDBOX: &str = "users_per_minute = 0
events_per_minute = 0
merges_per_minute = 0
alerts_per_minute = 0
catalog_per_minute = 0
catalog_per_hour = 0
business_events_per_hour = 0
business_events_per_day = 0
fair_usage = false";

const ITERABLE_LIMITS: &str = "limits.requests_per_second = { events = 100000, users = 100000, commerce = 100000, \
                               tokens = 100000, emails = 100000, catalogs = 100000 }";
const ITERABLE_SANDBOX: &str = r#"requests_per_second = { "events/trackBulk" = 0, "users/bulkUpdate" = 0, "events/track" = 0, "users/update" = 0, "commerce/trackPurchase" = 0, "commerce/updateCart" = 0, "users/updateEmail" = 0, "users/registerDeviceToken" = 0, "users/registerBrowserToken" = 0, "catalogs/items" = 0 }"#;

const ALERTS: &str = r#"alerts = { "OTP Requested" = { alert_id = "A", channels = { sms = "/properties/phone", email = "/context/traits/email" } } }"#;
const ALERTS_OF_TRAITS: &str = r#"alerts = { "OTP Requested" = { alert_id = "B", channels = { push = "/userId" }, attributes = "context.traits" } }"#;
const BUSINESS: &str = r#"business_events = ["Price Dropped"]"#;
const MERGE: &str = "alias = \"merge\"";
const EVERY_RAW: &str = r#"raw = ["transition", "business-event", "inform", "catalog"]"#;
const EVERY_RAW_OF_ITERABLE: &str = r#"raw = ["users/bulkUpdate", "events/trackBulk", "catalogs/items"]"#;

/// For each tenant what its account at `MoEngage` says, and what the vendor's own table.
fn moengage(tenant: usize) -> (String, String) {
    let (settings, details) = match tenant {
        0 => (EVERY_RAW.to_owned(), [MERGE, BUSINESS, ALERTS].join("\n")),
        1 => (
            "nested = \"flatten\"\nraw = [\"transition\", \"catalog\"]".to_owned(),
            [MERGE, ALERTS_OF_TRAITS].join("\n"),
        ),
        2 => ("anonymous = \"use\"".to_owned(), BUSINESS.to_owned()),
        3 => (
            "anonymous = \"skip\"\nskip_events = [\"Video *\"]\nconsent = [\"marketing\"]\nraw = [\"transition\"]"
                .to_owned(),
            String::new(),
        ),
        4 => (
            format!(
                "{EVERY_RAW}\nraw_unfiltered = true\nfields.drop = [\"properties.note\"]\n\
                 fields.sha256 = [\"traits.plan\"]\nfields.rename = {{ \"traits.INSTALL\" = \"state\" }}"
            ),
            "update_existing_only = true".to_owned(),
        ),
        _ => ("max_age = \"7d\"".to_owned(), String::new()),
    };
    (settings, details)
}

/// The same at Iterable; `key` is the reference to a key that registers tokens.
fn iterable(tenant: usize, key: &str) -> (String, String) {
    let registers = format!("registration_key = {{ file = \"{key}\" }}");
    let (settings, details) = match tenant {
        0 => (EVERY_RAW_OF_ITERABLE, registers),
        1 => ("", format!("identity = \"email\"\ncart = \"rudder\"\n{registers}")),
        2 => ("anonymous = \"use\"", "identity = \"user_id\"\ndates = \"keep\"".to_owned()),
        3 => {
            ("anonymous = \"skip\"\nnested = \"flatten\"\nraw = [\"catalogs/items\"]", "single_event = true".to_owned())
        }
        4 => (
            "where = [{ field = \"/context/app/namespace\", in = [\"com.acme\"] }]",
            "pages = [\"named\"]\nprefer_user_id = false".to_owned(),
        ),
        _ => (
            "only_events = [\"Order *\", \"Cart *\"]\nraw = [\"users/bulkUpdate\", \"events/trackBulk\"]",
            "delivery = \"single\"\ncreate_new_fields = true".to_owned(),
        ),
    };
    (settings.to_owned(), details)
}

/// All of them.
pub(super) fn scene() -> Vec<Account> {
    let mut accounts = accounts(&tenants(TENANTS));
    for (index, account) in accounts.iter_mut().enumerate() {
        let (limits, (settings, details), sandbox) = match account.vendor {
            Vendor::Moengage { .. } => (MOENGAGE_LIMITS, moengage(index / 2), MOENGAGE_SANDBOX),
            Vendor::Iterable { .. } => (ITERABLE_LIMITS, iterable(index / 2, &account.key_file()), ITERABLE_SANDBOX),
        };
        account.settings = format!("{ALL}\n{limits}\n{settings}");
        account.details = details;
        sandbox.clone_into(&mut account.sandbox);
    }
    accounts
}
