//! Field rules on any message, against the plainest way to keep them with `serde_json::Value`.

use std::collections::{BTreeMap, BTreeSet};

use forebay::config::FieldRules;
use forebay::event::fields::Fields;
use forebay::event::{Event, Origin};
use forebay::json::Tape;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::arbitrary::Json;
use super::properties::rounds;

/// What no rule takes.
const NEEDED: [&str; 4] = ["traits.id", "properties.id", "properties.c.id", "context.device.id"];
const PARTS: [&str; 7] =
    ["traits", "properties", "context.traits", "context.device", "context.app", "context.os", "context.timezone"];

/// An object of few names, so that rules meet them; also twice.
fn object() -> impl Strategy<Value = Json> {
    let name = || select(vec!["a", "b", "c", "name", "id", "\\u0061", "traits"]).prop_map(|name| format!("\"{name}\""));
    let atoms = vec!["null", "true", "7", "\" X y \"", "\"x\"", "\"\"", "\" \""];
    let value = select(atoms).prop_map(|text| Json::Atom(text.to_owned())).prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![vec(inner.clone(), 0..3).prop_map(Json::List), vec((name(), inner), 0..5).prop_map(Json::Object),]
    });
    vec((name(), value), 0..5).prop_map(Json::Object)
}

/// A path below one of the parts that rules act on; no list of these takes what is needed along.
fn path() -> impl Strategy<Value = String> {
    let below = select(vec!["a", "b", "name", "a.b", "a.a", "b.name", "a.b.a", "*", "a.*", "b.a.*"]);
    (select(PARTS.to_vec()), below).prop_map(|(part, below)| format!("{part}.{below}"))
}

prop_compose! {
    fn rules()(
        keep in prop_oneof![Just(BTreeSet::new()), btree_set(prop_oneof![path(), select(PARTS.to_vec()).prop_map(str::to_owned)], 1..5)],
        drop in btree_set(path(), 0..3),
        sha256 in btree_set(path(), 0..3),
        rename in btree_map(path(), select(vec!["a", "b", "name", "c"]), 0..4),
    ) -> FieldRules {
        let mut taken = BTreeSet::new();
        let rename = rename.into_iter().filter(|(path, to)| {
            let parent = path.rsplit_once('.').map(|(parent, _)| parent.to_owned());
            !path.ends_with('*') && taken.insert((parent, *to))
        });
        let rename = rename.map(|(path, to)| (path, to.to_owned())).collect();
        FieldRules { keep: keep.into_iter().collect(), drop: drop.into_iter().collect(), sha256: sha256.into_iter().collect(), rename }
    }
}

/// Whether a list names this path, by itself or as one of its parent's.
fn names(list: &[String], path: &str) -> bool {
    let each = path.rsplit_once('.').map(|(parent, _)| format!("{parent}.*"));
    list.iter().any(|rule| *rule == path || Some(rule) == each.as_ref())
}

/// A field's value as the rules leave it, if they do.
fn ruled(rules: &FieldRules, path: &str, value: &Value, mut kept: bool, mut hash: bool) -> Option<Value> {
    if NEEDED.contains(&path) {
        (kept, hash) = (true, false);
    } else if names(&rules.drop, path) {
        return None;
    } else {
        kept |= names(&rules.keep, path);
        hash |= names(&rules.sha256, path);
    }
    left(rules, path, value, kept, hash)
}

fn left(rules: &FieldRules, path: &str, value: &Value, kept: bool, hash: bool) -> Option<Value> {
    let goes_on = || {
        let below = format!("{path}.");
        rules.keep.iter().map(String::as_str).chain(NEEDED).any(|rule| rule.starts_with(&below))
    };
    match value {
        Value::Object(_) | Value::Array(_) if !kept && !goes_on() => None,
        Value::Object(fields) => {
            let below = |name: &str| format!("{path}.{name}");
            let stays: BTreeMap<&String, Value> = fields
                .iter()
                .filter_map(|(name, value)| Some((name, ruled(rules, &below(name), value, kept, hash)?)))
                .collect();
            let renamed = |name: &str| rules.rename.iter().find(|(from, _)| *from == below(name)).map(|(_, to)| to);
            let taken: BTreeSet<&String> = stays.keys().filter_map(|name| renamed(name)).collect();
            let mut out = Map::new();
            for (name, value) in &stays {
                match renamed(name) {
                    Some(to) => drop(out.insert(to.clone(), value.clone())),
                    None if taken.contains(name) => {}
                    None => drop(out.insert((*name).clone(), value.clone())),
                }
            }
            Some(out.into())
        }
        Value::Array(items) => {
            // Where objects have something needed, what is none still takes its place.
            let below = format!("{path}.");
            let place = || NEEDED.iter().any(|needed| needed.starts_with(&below)).then_some(Value::Null);
            Some(items.iter().filter_map(|item| left(rules, path, item, kept, hash).or_else(place)).collect())
        }
        _ if !kept => None,
        _ if hash => Some(hashed(value)),
        other => Some(other.clone()),
    }
}

fn hashed(value: &Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let text = text.trim().to_lowercase();
    if value.is_null() || text.is_empty() {
        return value.clone();
    }
    let digits: Vec<String> = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    json!(digits.concat())
}

/// The whole message as the rules leave it.
fn plain(rules: &FieldRules, message: &Value) -> Value {
    let mut out = message.clone();
    let fields = out.as_object_mut().expect("a message");
    for part in ["traits", "properties", "context"] {
        let value = fields.remove(part);
        if let Some(value) = value.and_then(|value| ruled(rules, part, &value, rules.keep.is_empty(), false)) {
            fields.insert(part.to_owned(), value);
        }
    }
    if message["type"] == "page" {
        for own in ["name", "category"] {
            let path = format!("properties.{own}");
            if names(&rules.drop, &path) {
                fields.remove(own);
            } else if names(&rules.sha256, &path) {
                fields.insert(own.to_owned(), hashed(&message[own]));
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(rounds(1_500))]

    #[test]
    fn any_rules_leave_of_any_message_what_the_plainest_reading_leaves(
        rules in rules(), traits in object(), properties in object(), of_context in object(), device in object(),
        os in object(), page: bool
    ) {
        let kind = if page { "page" } else { "identify" };
        let context = format!(r#"{{"traits":{},"device":{},"os":{},"timezone":"UTC","ip":"::1"}}"#, of_context.text(""), device.text(""), os.text(" "));
        let text = format!(
            r#"{{"type":"{kind}","name":" X y ","category":"C","traits":{},"context":{context},"properties":{}}}"#,
            traits.text(""), properties.text("\n")
        );
        let message: Value = serde_json::from_str(&text).expect(&text);
        let expected = plain(&rules, &message);
        let origin = Origin { topic: "t", partition: 0, offset: 0, timestamp_ms: None };
        let mut tape = Tape::default();
        let event = Event::decode(text.as_bytes(), origin, &mut tape).expect(&text);
        let Some(fields) = Fields::new(&rules, &NEEDED) else {
            prop_assert_eq!(expected, message);
            return Ok(());
        };
        let mut written = Vec::new();
        fields.rewrite(&event, &mut written);
        let found: Value = serde_json::from_slice(&written).expect(&text);
        prop_assert!(found == expected, "{rules:?}\n{text}\nfound {found}\nnot   {expected}");
        let mut scratch = Tape::default();
        let seen = fields.apply(&event, &mut scratch);
        let parts = [
            ("/traits", seen.traits),
            ("/properties", seen.properties),
            ("/context/traits", seen.context.traits),
            ("/context/device", seen.context.device),
            ("/context/app", seen.context.app),
            ("/context/os", seen.context.os),
            ("/context/timezone", seen.context.timezone),
        ];
        for (pointer, part) in parts {
            let found = part.map(|part| serde_json::from_str::<Value>(part.get()).expect("JSON"));
            let expected = expected.pointer(pointer);
            prop_assert!(found.as_ref() == expected, "{pointer}: {rules:?}\n{text}\nfound {found:?}\nnot   {expected:?}");
        }
        for (name, own) in [("name", &seen.name), ("category", &seen.category)] {
            prop_assert_eq!(own.as_deref(), expected[name].as_str(), "{:?}", &rules);
        }
    }
}
