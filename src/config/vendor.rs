//! The vendors' tables of an account.
//!
//! What a vendor's API takes as an enumeration is one here, with the same default as the documentation's first value.

use super::reader::{Table, Value};
use super::reference::{Scope, keys, reference};
use super::secret::Form;
use super::{Alert, Identity, Iterable, Key, Moengage, sections, url};

/// Raw shapes of `MoEngage`: what the header `forebay-shape` may name.
pub(super) const MOENGAGE_RAW: &[&str] = &["transition", "business-event", "inform", "catalog"];

/// Raw shapes of Iterable.
pub(super) const ITERABLE_RAW: &[&str] = &["users/bulkUpdate", "events/trackBulk", "catalogs/items"];

/// Raw shapes, vendor by vendor.
pub const RAW_SHAPES: &[&[&str]] = &[MOENGAGE_RAW, ITERABLE_RAW];

const DATA_CENTERS: &[&str] = &["01", "02", "03", "04", "05", "06", "101"];

pub(super) const KEYS: &str = "write keys = [{ file = \"path\" }] or keys = [{ env = \"NAME\" }]";

/// `[accounts.NAME.moengage]`
pub(super) fn moengage(value: &Value<'_>, scope: Scope<'_>) -> Option<Moengage> {
    let mut table = value.table()?;
    let workspace = table.require("workspace", "it is the Workspace ID of the dashboard's API settings");
    let data_center = table.require("data_center", "write 01 to 06, 101, or the dashboard's URL");
    let settings = Moengage {
        workspace: workspace.and_then(|value| self::workspace(&value)).unwrap_or_default(),
        data_center: data_center.and_then(|value| self::data_center(&value)).unwrap_or_default(),
        keys: table.require("keys", KEYS).map(|value| keys(&value, scope, Form::Key)).unwrap_or_default(),
        campaign_keys: family(&mut table, "campaign_keys", scope),
        inform_keys: family(&mut table, "inform_keys", scope),
        merge_aliases: table.pick("alias", false, &[("off", false), ("merge", true)]),
        project_code: filled(&mut table, "project_code"),
        update_existing_only: table.flag("update_existing_only", false),
        forwarded_for: table.take("forwarded_for").map(|value| addresses(&value)).unwrap_or_default(),
        business_events: table.texts("business_events"),
        alerts: table.take("alerts").map(|value| alerts(&value)).unwrap_or_default(),
    };
    if let Some(both) = settings.business_events.iter().find(|name| settings.alerts.iter().any(|a| a.event == **name)) {
        let message =
            format!("\"{both}\" stands in `business_events` and has an alert: one message would be two calls");
        table.refuse(message, "take it out of one of them");
    }
    table.finish();
    Some(settings)
}

fn filled(table: &mut Table<'_>, key: &'static str) -> Option<String> {
    table.take(key).and_then(|value| value.filled().map(str::to_owned))
}

fn family(table: &mut Table<'_>, key: &'static str, scope: Scope<'_>) -> Vec<Key> {
    table.take(key).map(|value| keys(&value, scope, Form::Key)).unwrap_or_default()
}

fn workspace(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    // It is a part of the path and the user name of Basic authorisation.
    if text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) && !matches!(text, "." | "..") {
        return Some(text.to_owned());
    }
    value
        .refuse(format!("\"{text}\" is not a workspace id"), "copy the Workspace ID from the dashboard's API settings");
    None
}

fn data_center(value: &Value<'_>) -> Option<String> {
    let text = value.filled()?;
    let host = url::pasted_host(text);
    let of_host = host.as_deref().and_then(|host| {
        let name = host.strip_suffix(".moengage.com")?;
        name.strip_prefix("dashboard-").or_else(|| name.strip_prefix("api-"))
    });
    let found = DATA_CENTERS.iter().find(|known| **known == of_host.unwrap_or(text));
    if found.is_none() {
        let fix = format!("known here: {}; or write the dashboard's URL", DATA_CENTERS.join(", "));
        value.refuse(format!("\"{text}\" is not a data centre"), fix);
    }
    found.map(|found| (*found).to_owned())
}

fn addresses(value: &Value<'_>) -> Vec<std::net::IpAddr> {
    let mut addresses = Vec::new();
    for item in value.items().unwrap_or_default() {
        let Some(text) = item.filled() else { continue };
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => item.refuse(format!("\"{text}\" is not an IP address"), "write addresses like \"203.0.113.7\""),
        }
    }
    addresses
}

fn alerts(value: &Value<'_>) -> Vec<Alert> {
    let Some(table) = value.table_or("write [accounts.NAME.moengage.alerts.\"Order Shipped\"]") else {
        return Vec::new();
    };
    table.entries().into_iter().filter_map(|(_, event, value)| alert(event, &value)).collect()
}

fn alert(event: &str, value: &Value<'_>) -> Option<Alert> {
    const CHANNELS: &str = "write channels = { sms = \"/properties/phone\" }; also email, push";
    let mut table = value.table_or("write { alert_id = \"ALERT_ID\", channels = { sms = \"/properties/phone\" } }")?;
    let id = table.require("alert_id", "it is the alert's id in the dashboard");
    let channels = table.require("channels", CHANNELS);
    let of_traits = table.pick("attributes", false, &[("properties", false), ("context.traits", true)]);
    table.finish();
    let named = channels?;
    let (mut channels, mut given) = (Vec::new(), false);
    let mut places = named.table_or(CHANNELS)?;
    for (setting, name) in [("sms", "SMS"), ("email", "EMAIL"), ("push", "PUSH")] {
        let Some(place) = places.take(setting) else { continue };
        given = true;
        channels.extend(sections::pointer(&place).map(|recipient| (name, recipient)));
    }
    places.finish();
    if !given {
        named.refuse("the alert has no channel, so it would reach nobody", CHANNELS);
    }
    Some(Alert { event: event.to_owned(), id: id?.filled()?.to_owned(), channels, of_traits })
}

/// `[accounts.NAME.iterable]`
pub(super) fn iterable(value: &Value<'_>, scope: Scope<'_>) -> Option<Iterable> {
    let mut table = value.table()?;
    let region = table.require("region", "write us, eu, or the project's URL");
    let identities = [("hybrid", Identity::Hybrid), ("email", Identity::Email), ("user_id", Identity::UserId)];
    let pages = [("all", "all"), ("named", "named"), ("categorised", "categorised")];
    let settings = Iterable {
        eu: region.and_then(|value| self::region(&value)).unwrap_or_default(),
        keys: table.require("keys", KEYS).map(|value| keys(&value, scope, Form::Key)).unwrap_or_default(),
        project: filled(&mut table, "project"),
        identity: table.pick("identity", Identity::Hybrid, &identities),
        single: table.pick("delivery", false, &[("bulk", false), ("single", true)]),
        prefer_user_id: table.flag("prefer_user_id", true),
        merge_nested_objects: table.flag("merge_nested_objects", true),
        create_new_fields: table.take("create_new_fields").and_then(|value| value.flag()),
        rudder_cart: table.pick("cart", false, &[("segment", false), ("rudder", true)]),
        keep_dates: table.pick("dates", false, &[("iterable", false), ("keep", true)]),
        pages: table.take("pages").and_then(|value| self::pages(&value, &pages)).unwrap_or_else(|| vec!["all".into()]),
        single_event: table.flag("single_event", false),
        registration_key: table.take("registration_key").and_then(|value| reference(&value, scope, Form::Key)),
    };
    table.finish();
    Some(settings)
}

fn pages(value: &Value<'_>, known: &[(&'static str, &'static str)]) -> Option<Vec<String>> {
    let pages = value.picks(known)?;
    if pages.is_empty() && value.items().is_some_and(|items| items.is_empty()) {
        value.refuse(
            "no kind of page is listed",
            "list all, named or categorised; to send no pages leave page out of accept",
        );
    }
    Some(pages.into_iter().map(str::to_owned).collect())
}

/// Whether it is the EU.
fn region(value: &Value<'_>) -> Option<bool> {
    let text = value.filled()?;
    let host = url::pasted_host(text);
    let region = match (text, host.as_deref()) {
        ("us", _) | (_, Some("app.iterable.com" | "api.iterable.com")) => Some(false),
        ("eu", _) | (_, Some("app.eu.iterable.com" | "api.eu.iterable.com")) => Some(true),
        _ => None,
    };
    if region.is_none() {
        value.refuse(format!("\"{text}\" is not a region"), "known here: us, eu; or write the project's URL");
    }
    region
}
