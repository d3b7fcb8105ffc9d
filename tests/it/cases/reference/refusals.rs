//! What the plain mapping refuses: attributes that the vendor would not keep, addresses and ids that are none.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::Expected;

/// Attributes of a user that the vendor takes in spite of their beginning, and those that it keeps for itself.
const FREE: [&str; 10] = [
    "moe_em_unsub_categories",
    "moe_gaid",
    "moe_hard_bounce",
    "moe_mobile",
    "moe_mweb",
    "moe_sms_subscription",
    "moe_spam",
    "moe_sub_w",
    "moe_unsubscribe",
    "moe_wa_subscription",
];
const RESERVED: [&str; 9] =
    ["", "id", "_id", "MOE_TIME_FORMAT", "MOE_TIME_TIMEZONE", "MOE_GAID", "MOE_ISLAT", "INSTALL", "UPDATE"];

/// Why the vendor would not keep all of a user's attributes, or of an event's.
pub(crate) fn unkept(attributes: &Value, of_user: bool) -> Vec<&'static str> {
    let fields = attributes.as_object().expect("attributes");
    let mut reasons = Vec::new();
    let reserved = |name: &str| {
        let kept = of_user && (RESERVED.contains(&name) || name.starts_with("USER_ATTRIBUTE_"));
        let free = if of_user { FREE.contains(&name) } else { name == "moe_project_name" };
        kept || (name.starts_with("moe_") && !free)
    };
    for (reason, holds) in [
        ("reserved_name", fields.keys().any(|name| reserved(name))),
        ("name_too_long", fields.keys().any(|name| name.chars().count() > 200)),
        ("value_too_long", fields.values().any(long_url)),
        ("too_many_fields", fields.len() > if of_user { 256 } else { 100 }),
    ] {
        if holds {
            reasons.push(reason);
        }
    }
    let ignored = |value: &Value| {
        let mut items = value.as_array().into_iter().flatten();
        items.find(|item| !item.is_null()).is_some_and(|first| first.is_boolean() || first.is_array())
    };
    for (name, value) in fields {
        if of_user && matches!(name.as_str(), "addValueToArrayField" | "removeValueFromArrayField") {
            for (_, value) in value.as_object().into_iter().flatten() {
                reasons.extend(ignored(value).then_some("invalid_field"));
                unkept_below(value, 1, &mut reasons);
            }
        } else {
            reasons.extend(ignored(value).then_some("invalid_field"));
            unkept_below(value, 1, &mut reasons);
        }
    }
    reasons
}

fn long_url(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default().to_ascii_lowercase();
    text.chars().count() > 512 && (text.starts_with("http://") || text.starts_with("https://"))
}

/// The same of a value whose keys, if it is an object or has such, are of this level.
fn unkept_below(value: &Value, level: usize, reasons: &mut Vec<&'static str>) {
    match value {
        Value::Array(items) => {
            let typed: Vec<&Value> = items.iter().filter(|item| !item.is_null()).collect();
            let objects = !typed.is_empty() && typed.iter().all(|item| item.is_object());
            if items.len() > if objects { 100 } else { 50 } && (level < 3 || !objects) {
                reasons.push("list_too_long");
            }
            if typed.windows(2).any(|two| std::mem::discriminant(two[0]) != std::mem::discriminant(two[1])) {
                reasons.push("invalid_field");
            }
            if items.iter().any(|item| item.as_str().is_some_and(|text| text.chars().count() > 512)) {
                reasons.push("value_too_long");
            }
            let nested = items.iter().filter(|item| item.is_object() || item.is_array());
            nested.for_each(|item| unkept_below(item, level, reasons));
        }
        // Deeper ones become a text.
        Value::Object(fields) if level < 3 => {
            if level == 1 && value.to_string().len() > 25_000 {
                reasons.push("value_too_long");
            }
            if fields.keys().any(|name| name.contains(['$', '.', '%', '#'])) {
                reasons.push("invalid_field");
            }
            if fields.keys().any(|name| name.chars().count() > 200) {
                reasons.push("name_too_long");
            }
            if fields.values().any(long_url) {
                reasons.push("value_too_long");
            }
            let of_objects = |value: &Value| value.as_object().filter(|_| level == 1).map_or(0, Map::len);
            if fields.len() + fields.values().map(of_objects).sum::<usize>() > 100 {
                reasons.push("too_many_fields");
            }
            fields.values().for_each(|value| unkept_below(value, level + 1, reasons));
        }
        _ => {}
    }
}

/// The element, unless there is a reason against it.
pub(crate) fn unless(reasons: Vec<&'static str>, element: Value) -> Expected {
    if reasons.is_empty() { Ok(element) } else { Err(reasons) }
}

/// Whether it could be an address.
pub(crate) fn is_address(email: &Value) -> bool {
    static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
        let odd = r#"@\s\p{Cc},;<>()""#;
        Regex::new(&format!(r"\A[^{odd}]+@[^{odd}.]+(\.[^{odd}.]+)+\z")).expect("an expression")
    });
    email.as_str().is_some_and(|email| email.len() <= 254 && ADDRESS.is_match(email))
}

/// The ids of campaign and template in an event's properties; `None` if one of them is no integer above zero.
pub(crate) fn campaign_and_template(event: &Value) -> Option<Map<String, Value>> {
    let mut ids = Map::new();
    for name in ["campaignId", "templateId"] {
        let id = match &event["properties"][name] {
            Value::Null => continue,
            Value::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<i64>().ok(),
            value => value.as_i64(),
        };
        ids.insert(name.to_owned(), id.filter(|id| *id > 0)?.into());
    }
    Some(ids)
}
