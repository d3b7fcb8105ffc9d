//! What an account selects and what it keeps back: `where`, names of events, and `[accounts.NAME.fields]`.
//!
//! Guarantees that no rule takes what a call needs, or makes of it what the vendor refuses, so that a rule can never turn a
//! good event into a dead letter; and that each rule acts on something: one that does nothing keeps nothing back.

use std::borrow::Cow;

use super::reader::Value;
use super::sections::pointer;
use super::{FieldRules, Filter, Identity, Vendor};
use crate::destination::moengage;

/// What rules act on.
const PARTS: [&str; 3] = ["traits", "properties", "context"];

/// A field that a call cannot do without.
#[derive(Clone, Debug)]
pub(super) struct Needed {
    /// Dotted.
    path: Cow<'static, str>,
    /// What needs it, in the words of a message.
    by: Cow<'static, str>,
}

/// What every call needs, wherever it goes.
const NEEDED: &[(&str, &[&str])] = &[
    ("every call", &["type", "messageId", "userId", "anonymousId", "timestamp", "originalTimestamp"]),
    ("the call of an alias", &["previousId"]),
    ("the call of a group", &["groupId"]),
    ("the call of a track event", &["event"]),
    (
        "every call of a message without userId",
        &["traits.userId", "traits.id", "context.traits.userId", "context.traits.id"],
    ),
];

/// What `MoEngage` needs, too.
const NEEDED_BY_MOENGAGE: &[(&str, &[&str])] =
    &[("the device element of an identify", &["context.device.token", "context.device.type"])];

/// What Iterable needs where addresses identify a user.
const NEEDED_BY_ADDRESSES: &[(&str, &[&str])] =
    &[("every call at Iterable", &["traits.email", "context.traits.email", "properties.email"])];

/// What Iterable needs, too: a purchase without these is none.
const NEEDED_BY_ITERABLE: &[(&str, &[&str])] = &[
    ("events/trackBulk", &["properties.campaignId", "properties.templateId"]),
    (
        "commerce/trackPurchase",
        &[
            "properties.total",
            "properties.products.product_id",
            "properties.products.productId",
            "properties.products.id",
            "properties.products.sku",
            "properties.products.name",
            "properties.products.price",
            "properties.products.quantity",
        ],
    ),
];

/// What a cart needs whose one item the properties are: `cart = "rudder"`.
const NEEDED_BY_PRODUCT_ADDED: &[(&str, &[&str])] = &[(
    "commerce/updateCart of Product Added",
    &[
        "properties.product_id",
        "properties.productId",
        "properties.id",
        "properties.sku",
        "properties.name",
        "properties.price",
        "properties.quantity",
    ],
)];

/// The user's data field `email` where Iterable knows users by their id: it may go, but what stays is an address.
const ADDRESSES: &[&str] = &["traits.email", "context.traits.email", "properties.email"];

/// What the registration of a token needs.
const NEEDED_BY_TOKENS: &[(&str, &[&str])] = &[
    (
        "users/registerDeviceToken",
        &["context.device.token", "context.device.type", "context.device.name", "context.app.namespace"],
    ),
    ("users/registerBrowserToken", &["context.os.token"]),
];

fn tables(vendor: &Vendor) -> Vec<&'static [(&'static str, &'static [&'static str])]> {
    let mut tables = vec![NEEDED];
    match vendor {
        Vendor::Moengage(_) => tables.push(NEEDED_BY_MOENGAGE),
        Vendor::Iterable(settings) => {
            if settings.identity != Identity::UserId {
                tables.push(NEEDED_BY_ADDRESSES);
            }
            tables.push(NEEDED_BY_ITERABLE);
            if settings.rudder_cart {
                tables.push(NEEDED_BY_PRODUCT_ADDED);
            }
            if settings.registration_key.is_some() {
                tables.push(NEEDED_BY_TOKENS);
            }
        }
        Vendor::Folder(_) => {}
    }
    tables
}

/// The fields that no rule of an account at this vendor may touch, dotted.
#[must_use]
pub fn needed(vendor: &Vendor) -> Vec<&'static str> {
    tables(vendor).into_iter().flatten().flat_map(|(_, paths)| *paths).copied().collect()
}

/// What the rules of an account must leave as it is.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// What calls need, and what they read of the message as it came: a recipient that a rule hides would not be hidden.
    needed: Vec<Needed>,
    /// What may be dropped, but not become a hash.
    addresses: &'static [&'static str],
    /// Whether the vendor has names that it keeps for itself.
    reserves: bool,
}

impl Bounds {
    /// At this vendor.
    pub(super) fn of(vendor: &Vendor) -> Self {
        let named = |(by, paths): &'static (&'static str, &'static [&'static str])| {
            paths.iter().map(move |path| Needed { path: Cow::Borrowed(path), by: Cow::Borrowed(by) })
        };
        let mut needed: Vec<Needed> = tables(vendor).into_iter().flatten().flat_map(named).collect();
        if let Vendor::Moengage(settings) = vendor {
            for alert in &settings.alerts {
                let by = format!("the alert {:?}", alert.event);
                let read = |pointer: &Vec<String>| Needed { path: pointer.join(".").into(), by: by.clone().into() };
                needed.extend(alert.channels.iter().map(|(_, pointer)| read(pointer)));
            }
        }
        let by_id = matches!(vendor, Vendor::Iterable(settings) if settings.identity == Identity::UserId);
        Self { needed, addresses: if by_id { ADDRESSES } else { &[] }, reserves: matches!(vendor, Vendor::Moengage(_)) }
    }
}

/// `where`: conditions that must all hold.
pub(super) fn filters(value: &Value<'_>) -> Vec<Filter> {
    value.items().unwrap_or_default().iter().filter_map(filter).collect()
}

fn filter(value: &Value<'_>) -> Option<Filter> {
    let mut table = value.table_or("write [{ field = \"/context/app/namespace\", in = [\"com.acme\"] }]")?;
    let field = table.require("field", "write field = \"/context/app/namespace\"").and_then(|field| pointer(&field));
    let any_of = table.require("in", "write in = [\"com.acme\"]");
    table.finish();
    let list = any_of?;
    let any_of = list.texts()?;
    if any_of.is_empty() {
        list.refuse("nothing is listed, so nothing would pass", "list at least one value");
    }
    Some(Filter { field: field?, any_of })
}

/// What a list of paths is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Keep,
    Drop,
    Hash,
}

/// `[accounts.NAME.fields]`
pub(super) fn rules(value: &Value<'_>, bounds: &Bounds) -> FieldRules {
    let Some(mut table) = value.table() else { return FieldRules::default() };
    let rules = FieldRules {
        keep: table.take("keep").map(|list| paths(&list, Act::Keep, bounds)).unwrap_or_default(),
        drop: table.take("drop").map(|list| paths(&list, Act::Drop, bounds)).unwrap_or_default(),
        sha256: table.take("sha256").map(|list| paths(&list, Act::Hash, bounds)).unwrap_or_default(),
        rename: table.take("rename").map(|table| renames(&table, bounds)).unwrap_or_default(),
    };
    table.finish();
    rules
}

/// Paths; those that take what calls need are refused, but where it is kept.
fn paths(value: &Value<'_>, act: Act, bounds: &Bounds) -> Vec<String> {
    let mut paths = Vec::new();
    for item in value.items().unwrap_or_default() {
        let Some(path) = item.filled() else { continue };
        let taken = || match act {
            Act::Keep => false,
            Act::Drop => takes_an_id(&item, path, &bounds.needed),
            Act::Hash => takes_an_id(&item, path, &bounds.needed) || hashes_an_address(&item, path, bounds),
        };
        if !path_is_whole(&item, path) || taken() || does_nothing(&item, path, bounds) {
            continue;
        }
        if paths.iter().any(|known| known == path) {
            item.refuse(format!("\"{path}\" stands here twice"), "remove one");
        }
        paths.push(path.to_owned());
    }
    paths
}

fn renames(value: &Value<'_>, bounds: &Bounds) -> Vec<(String, String)> {
    let Some(table) = value.table_or("write { \"traits.plan\" = \"tier\" }") else { return Vec::new() };
    let mut renames = Vec::new();
    for (_, path, target) in table.entries() {
        let Some(name) = target.filled() else { continue };
        if path.ends_with('*') {
            target.refuse("a rename is of one field", "name the field; * has no place here");
            continue;
        }
        let taken = || takes_an_id(&target, path, &bounds.needed);
        if !path_is_whole(&target, path) || taken() || does_nothing(&target, path, bounds) {
            continue;
        }
        let Some((parent, _)) = path.rsplit_once('.') else {
            target.refuse(format!("{path} has this name in every message"), "rename fields below it");
            continue;
        };
        if name.contains('.') || name == "*" {
            target.refuse(
                format!("\"{name}\" is not the name of a field"),
                "write the new name of the last part alone; a field stays where it is",
            );
            continue;
        }
        if takes_an_id(&target, &format!("{parent}.{name}"), &bounds.needed)
            || is_reserved(&target, parent, name, bounds)
        {
            continue;
        }
        let beside = |other: &str| other.rsplit_once('.').is_some_and(|(of_other, _)| of_other == parent);
        if renames.iter().any(|(other, to): &(String, String)| to == name && beside(other)) {
            target.refuse(format!("two fields would be called \"{name}\""), "give each field a name of its own");
            continue;
        }
        renames.push((path.to_owned(), name.to_owned()));
    }
    renames
}

fn path_is_whole(value: &Value<'_>, path: &str) -> bool {
    let parts: Vec<&str> = path.split('.').collect();
    let (last, before) = parts.split_last().map_or(("", &[][..]), |(last, before)| (*last, before));
    let whole = !parts.contains(&"") && !before.iter().any(|part| part.contains('*'));
    let good = whole && (!last.contains('*') || (last == "*" && !before.is_empty()));
    if !good {
        value.refuse(
            format!("\"{path}\" is not a path"),
            "write it dotted, from the message's top, like \"traits.address.city\"; * may be the last part",
        );
    }
    good
}

/// Whether rules act on nothing of that path; if so, that is reported. What calls need may be kept, as it is anyway.
fn does_nothing(value: &Value<'_>, path: &str, bounds: &Bounds) -> bool {
    let first = path.split('.').next().unwrap_or_default();
    if PARTS.contains(&first) || bounds.needed.iter().any(|needed| needed.path == path) {
        return false;
    }
    let last = path.rsplit(['.', '/']).next().unwrap_or_default();
    let fix = match path {
        "name" | "category" => format!("write \"properties.{path}\": it is the {path} of pages and screens, too"),
        _ => format!("write \"traits.{last}\" or \"properties.{last}\", whichever is meant"),
    };
    let message = format!("this rule does nothing: \"{path}\" is neither of traits nor of properties or context");
    value.refuse(message, fix);
    true
}

/// Whether the vendor would refuse an attribute of this name; if so, that is reported.
fn is_reserved(value: &Value<'_>, parent: &str, name: &str, bounds: &Bounds) -> bool {
    let of_user = matches!(parent, "traits" | "context.traits");
    let reserved = bounds.reserves && (of_user || parent == "properties") && moengage::is_reserved(of_user, name);
    if reserved {
        value.refuse(format!("MoEngage keeps the name \"{name}\" for itself"), "choose another name");
    }
    reserved
}

/// Whether a rule on this path acts on that field, too.
fn acts_on(path: &str, field: &str) -> bool {
    let above = path.strip_suffix(".*").unwrap_or(path);
    field.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether the vendor would refuse what becomes of an address; if so, that is reported.
fn hashes_an_address(value: &Value<'_>, path: &str, bounds: &Bounds) -> bool {
    let Some(address) = bounds.addresses.iter().find(|address| acts_on(path, address)) else { return false };
    let message = format!("a hash of {address} is no address, and Iterable takes no other `email` of a user");
    value.refuse(message, format!("write drop = [\"{address}\"], or leave it as it is"));
    true
}

/// Whether the path is, or has below it, something that calls need; if so, that is reported.
fn takes_an_id(value: &Value<'_>, path: &str, needed: &[Needed]) -> bool {
    let below = |needed: &&Needed| acts_on(path, &needed.path);
    let Some(Needed { path: needed, by }) = needed.iter().find(below) else { return false };
    let message = if needed == path {
        format!("this rule takes {needed}, which {by} needs")
    } else {
        format!("\"{path}\" takes {needed} along, which {by} needs")
    };
    value.refuse(message, "name other fields, or list what may stay in keep: what calls need stays in any case");
    true
}
