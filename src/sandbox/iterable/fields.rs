//! The project's fields: the first value fixes a field's type for good, and there is room for so many.
//!
//! Two steps, so that a refused batch leaves no trace: [`Fields::check`] notes what is new, [`Fields::learn`] keeps it.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use serde_json::{Map, Value as Json, json};

use crate::sandbox::value::{Object, Value};

/// 1000 profile fields and 8000 event fields a project.
const MOST: [usize; 2] = [1000, 8000];

/// Whose field it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of<'a> {
    Profile,
    Event(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Date,
    Number,
    Bool,
    Object,
}

type Types = HashMap<u64, Type, foldhash::fast::RandomState>;

/// The fields that exist.
#[derive(Debug)]
pub(super) struct Fields {
    checked: bool,
    hasher: foldhash::fast::RandomState,
    types: Types,
    counts: [usize; 2],
}

/// What a batch brings that is new, wrong, or left out.
#[derive(Debug, Default)]
pub(super) struct Findings {
    types: Types,
    counts: [usize; 2],
    /// `validationErrors` of `RequestFieldsTypesMismatched`.
    pub(super) mismatches: Map<String, Json>,
    pub(super) created: BTreeSet<String>,
    pub(super) filtered: BTreeSet<String>,
}

// === impl Fields ===

impl Fields {
    pub(super) fn new(checked: bool) -> Self {
        let hasher = foldhash::fast::RandomState::default();
        Self { checked, hasher, types: Types::default(), counts: [0; 2] }
    }

    /// Compares the fields of one element; new ones are made only if `create`.
    pub(super) fn check(&self, of: Of<'_>, data: Option<&Object<'_>>, create: bool, findings: &mut Findings) {
        if let Some(data) = data.filter(|_| self.checked) {
            let scope = match of {
                Of::Profile => 0,
                Of::Event(name) => self.hasher.hash_one(name),
            };
            self.walk(of, scope, "", data, create, findings);
        }
    }

    fn walk(&self, of: Of<'_>, scope: u64, above: &str, data: &Object<'_>, create: bool, findings: &mut Findings) {
        for (name, value) in data.iter() {
            let Some(kind) = Type::of(value) else { continue };
            let field = self.hasher.hash_one((scope, name));
            let path = || if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
            match self.types.get(&field).or_else(|| findings.types.get(&field)) {
                Some(expected) if expected.takes(kind) => {}
                Some(expected) => findings.mismatch(of, &path(), kind, *expected, value),
                None if create => {
                    findings.types.insert(field, kind);
                    findings.counts[usize::from(of != Of::Profile)] += 1;
                    findings.created.insert(path());
                }
                None => {
                    findings.filtered.insert(path());
                    continue;
                }
            }
            if let Value::Object(inner) = value {
                self.walk(of, field, &path(), inner, create, findings);
            }
        }
    }

    /// Whether there is room for what is new.
    pub(super) fn has_room(&self, findings: &Findings) -> bool {
        (0..2).all(|of| findings.counts[of] == 0 || self.counts[of] + findings.counts[of] <= MOST[of])
    }

    /// Keeps what is new.
    pub(super) fn learn(&mut self, findings: &Findings) {
        self.types.extend(&findings.types);
        (0..2).for_each(|of| self.counts[of] += findings.counts[of]);
    }
}

// === impl Findings ===

impl Findings {
    fn mismatch(&mut self, of: Of<'_>, path: &str, incoming: Type, expected: Type, value: &Value<'_>) {
        let (name, category) = match of {
            Of::Profile => ("user", "user"),
            Of::Event(name) => (name, "customEvent"),
        };
        let error = json!({
            "incomingTypes": incoming.incoming(),
            "expectedType": expected.incoming()[0],
            "category": category,
            "offendingValue": value.owned(),
            "_type": "UnexpectedType",
        });
        self.mismatches.insert(format!("{name}:::{path}"), error);
    }
}

// === impl Type ===

impl Type {
    /// `null` and empty lists have none; a list has its first item's.
    fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Null => None,
            Value::Bool(_) => Some(Self::Bool),
            Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => Some(Self::Number),
            Value::Text(text) if is_date(text) => Some(Self::Date),
            Value::Text(_) => Some(Self::Text),
            Value::Array(items) => items.iter().find_map(Self::of),
            Value::Object(_) => Some(Self::Object),
        }
    }

    /// A text takes what looks like a date; nothing else is forgiven.
    fn takes(self, other: Self) -> bool {
        self == other || (self == Self::Text && other == Self::Date)
    }

    const fn incoming(self) -> &'static [&'static str] {
        match self {
            Self::Text => &["string", "keyword"],
            Self::Date => &["date"],
            Self::Number => &["double"],
            Self::Bool => &["boolean"],
            Self::Object => &["object"],
        }
    }
}

/// `yyyy-MM-dd HH:mm:ss ZZ`, or the day alone.
fn is_date(text: &str) -> bool {
    let like = |pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                form => byte == form,
            })
    };
    like("0000-00-00 00:00:00 +00:00") || like("0000-00-00")
}
