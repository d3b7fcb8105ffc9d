//! The JSON types of Iterable's request bodies: one wrong type refuses the whole request with `BadJsonBody` and its path.
//!
//! `null` stands for an absent field, as in the vendor's framework. Unknown fields are nobody's business.

use std::fmt::Write;

use serde_json::{Map, Value as Json};

use super::{Endpoint, envelope};
use crate::sandbox::reply::Reply;
use crate::sandbox::value::{Object, Value};

/// What a field must be.
#[derive(Clone, Copy)]
enum Type {
    Text,
    Whole,
    Number,
    Bool,
    Map,
    Texts,
    One(&'static [Field]),
    Many(&'static [Field]),
}

/// A field: its name, its type, and whether it must be there.
type Field = (&'static str, Type, bool);

const TRACK: &[Field] = &[
    ("eventName", Type::Text, true),
    ("email", Type::Text, false),
    ("userId", Type::Text, false),
    ("id", Type::Text, false),
    ("createdAt", Type::Whole, false),
    ("dataFields", Type::Map, false),
    ("campaignId", Type::Whole, false),
    ("templateId", Type::Whole, false),
    ("createNewFields", Type::Bool, false),
];
const USER: &[Field] = &[
    ("email", Type::Text, false),
    ("userId", Type::Text, false),
    ("dataFields", Type::Map, false),
    ("preferUserId", Type::Bool, false),
    ("mergeNestedObjects", Type::Bool, false),
];
const UPDATE: &[Field] = &[
    ("email", Type::Text, false),
    ("userId", Type::Text, false),
    ("dataFields", Type::Map, false),
    ("preferUserId", Type::Bool, false),
    ("mergeNestedObjects", Type::Bool, false),
    ("createNewFields", Type::Bool, false),
];
const ITEM: &[Field] = &[
    ("id", Type::Text, true),
    ("name", Type::Text, true),
    ("price", Type::Number, true),
    ("quantity", Type::Whole, true),
    ("sku", Type::Text, false),
    ("description", Type::Text, false),
    ("categories", Type::Texts, false),
    ("imageUrl", Type::Text, false),
    ("url", Type::Text, false),
    ("dataFields", Type::Map, false),
];
const DEVICE: &[Field] = &[
    ("token", Type::Text, true),
    ("platform", Type::Text, true),
    ("applicationName", Type::Text, true),
    ("dataFields", Type::Map, false),
];

impl Endpoint {
    const fn fields(self) -> &'static [Field] {
        match self {
            Self::Track => TRACK,
            Self::TrackBulk => &[("events", Type::Many(TRACK), true)],
            Self::Update => UPDATE,
            Self::BulkUpdate => &[
                ("users", Type::Many(USER), true),
                ("createNewFields", Type::Bool, false),
                ("updateOnly", Type::Bool, false),
            ],
            Self::UpdateEmail => &[
                ("currentEmail", Type::Text, false),
                ("currentUserId", Type::Text, false),
                ("newEmail", Type::Text, true),
            ],
            Self::DeviceToken => &[
                ("email", Type::Text, false),
                ("userId", Type::Text, false),
                ("preferUserId", Type::Bool, false),
                ("device", Type::One(DEVICE), true),
            ],
            Self::BrowserToken => {
                &[("email", Type::Text, false), ("userId", Type::Text, false), ("browserToken", Type::Text, true)]
            }
            Self::Purchase => &[
                ("user", Type::One(UPDATE), true),
                ("items", Type::Many(ITEM), true),
                ("total", Type::Number, true),
                ("id", Type::Text, false),
                ("createdAt", Type::Whole, false),
                ("dataFields", Type::Map, false),
                ("campaignId", Type::Whole, false),
                ("templateId", Type::Whole, false),
            ],
            Self::Cart => &[("user", Type::One(UPDATE), true), ("items", Type::Many(ITEM), true)],
            Self::CatalogItems => &[("documents", Type::Map, true), ("replaceUploadedFieldsOnly", Type::Bool, true)],
            Self::Lists | Self::Channels | Self::Webhooks => &[],
        }
    }
}

/// The refusal of a body with wrong types.
pub(super) fn mistakes(endpoint: Endpoint, path: &str, root: &Value<'_>) -> Option<Reply> {
    let mut found = Map::new();
    let mut at = String::from("obj");
    match root {
        Value::Object(object) => check(object, endpoint.fields(), &mut at, &mut found),
        _ => wrong(&at, "Object value expected", &mut found),
    }
    if found.is_empty() {
        return None;
    }
    Some(envelope(400, "BadJsonBody", &format!("[{path}] Invalid JSON body"), &Json::Object(found)))
}

fn wrong(at: &str, what: &str, found: &mut Map<String, Json>) {
    found.insert(at.to_owned(), what.into());
}

/// Compares an object with its fields; `at` is the path to it, and is left as it was.
fn check(object: &Object<'_>, fields: &[Field], at: &mut String, found: &mut Map<String, Json>) {
    let base = at.len();
    for (name, kind, required) in fields {
        let value = object.get(name).filter(|value| **value != Value::Null);
        // The path is written for mistakes and nests only: most fields are neither.
        let expected = match (value, kind) {
            (None, _) if *required => Some("Property is required"),
            (None, _)
            | (Some(Value::Text(_)), Type::Text)
            | (Some(Value::Int(_) | Value::Unsigned(_)), Type::Whole | Type::Number)
            | (Some(Value::Float(_)), Type::Number)
            | (Some(Value::Bool(_)), Type::Bool)
            | (Some(Value::Object(_)), Type::Map) => None,
            (Some(Value::Object(inner)), Type::One(fields)) => {
                push(at, name);
                check(inner, fields, at, found);
                at.truncate(base);
                None
            }
            (Some(Value::Array(items)), Type::Many(fields)) => {
                push(at, name);
                many(items, fields, at, found);
                at.truncate(base);
                None
            }
            (Some(Value::Array(items)), Type::Texts) if items.iter().all(|item| item.text().is_some()) => None,
            (Some(_), kind) => Some(kind.expected()),
        };
        if let Some(expected) = expected {
            push(at, name);
            wrong(at, expected, found);
            at.truncate(base);
        }
    }
}

fn many(items: &[Value<'_>], fields: &[Field], at: &mut String, found: &mut Map<String, Json>) {
    let base = at.len();
    for (index, item) in items.iter().enumerate() {
        // A `String` takes everything.
        let _ = write!(at, "[{index}]");
        match item {
            Value::Object(object) => check(object, fields, at, found),
            _ => wrong(at, "Object value expected", found),
        }
        at.truncate(base);
    }
}

fn push(at: &mut String, name: &str) {
    at.push('.');
    at.push_str(name);
}

impl Type {
    const fn expected(self) -> &'static str {
        match self {
            Self::Text => "String value expected",
            Self::Whole | Self::Number => "Number value expected",
            Self::Bool => "Boolean value expected",
            Self::Map | Self::One(_) => "Object value expected",
            Self::Texts | Self::Many(_) => "Array value expected",
        }
    }
}
