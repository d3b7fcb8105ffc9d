//! The settings of an account, as the configuration itself tells them: by what it says of a key, of a value and of a word
//! that it does not know. So there is no list of settings here that could be old.

use std::fmt::Write as _;

use forebay::config;
use serde_json::{Map, Value};

use super::account;

/// Nothing is called like this, nor nearly so.
const NOBODY: &str = "zqzqzqzqzqzqzqzqzqzqzqzqzqzqzqzqzqzqzqzq";

/// What a setting may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(Vec<String>),
    /// Some of these words.
    Words(Vec<String>),
    /// Whatever fits.
    Any,
}

/// One value, or kind of value, that a case can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum One {
    /// The default.
    Absent,
    Is(Value),
    /// A list with this in it.
    With(Value),
    Anything,
}

impl Values {
    /// Each that there must be a case of.
    pub(super) fn each(&self) -> Vec<One> {
        let text = |word: &String| Value::from(word.as_str());
        let mut each = vec![One::Absent];
        match self {
            Self::Flag => each.extend([true, false].map(|flag| One::Is(flag.into()))),
            Self::Word(words) => each.extend(words.iter().map(|word| One::Is(text(word)))),
            Self::Words(words) => each.extend(words.iter().map(|word| One::With(text(word)))),
            Self::Any => each.push(One::Anything),
        }
        each
    }
}

impl One {
    /// Whether this is it.
    pub(super) fn is(&self, found: Option<&Value>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Is(value) => found == Some(value),
            Self::With(value) => found.and_then(Value::as_array).is_some_and(|values| values.contains(value)),
            Self::Anything => found.is_some(),
        }
    }
}

/// One setting: its pointer in a case's `settings`, and what it may be.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) pointer: String,
    pub(super) values: Values,
}

/// All settings of an account at this vendor.
pub(super) fn of(vendor: &str) -> Vec<Setting> {
    let mut settings = Vec::new();
    below(vendor, &[], &mut settings);
    assert!(settings.len() > 15, "{vendor}: {settings:?}");
    settings
}

/// Those of one table.
fn below(vendor: &str, path: &[&str], settings: &mut Vec<Setting>) {
    for name in known(vendor, path) {
        let path = [path, &[name.as_str()]].concat();
        let inner = known(vendor, &path);
        // The settings of another vendor are none of this one's; a reference to a secret is one value.
        if ["moengage", "iterable", "webhook"].contains(&name.as_str()) && name != vendor {
            continue;
        }
        if !inner.is_empty() && !inner.iter().any(|name| name == "env") {
            below(vendor, &path, settings);
            continue;
        }
        settings.push(Setting { pointer: format!("/{}", path.join("/")), values: values(vendor, &path) });
        // Its entries have names that people choose.
        if name == "alerts" {
            below(vendor, &[&path[..], &["OTP"]].concat(), settings);
        }
    }
}

/// The keys that a table has; none, if it is no table, or one whose keys people choose.
fn known(vendor: &str, path: &[&str]) -> Vec<String> {
    words(&fix(vendor, &[path, &[NOBODY]].concat(), "1", ""))
}

fn values(vendor: &str, path: &[&str]) -> Values {
    let wrong = fix(vendor, path, "1979-05-27", "");
    match wrong.as_str() {
        "write true or false" => return Values::Flag,
        "write a string, in quotes" => match words(&fix(vendor, path, &format!("\"{NOBODY}\""), "")) {
            words if words.is_empty() => {}
            words => return Values::Word(words),
        },
        "write an array, in brackets" => match words(&fix(vendor, path, &format!("[\"{NOBODY}\"]"), "[0]")) {
            words if words.is_empty() => {}
            words => return Values::Words(words),
        },
        _ => {}
    }
    Values::Any
}

/// The words that a fix lists.
fn words(fix: &str) -> Vec<String> {
    let list = fix.strip_prefix("known here: ").map(|list| list.split_once(';').map_or(list, |(list, _)| list));
    let list = list.map(|list| list.split(", ").map(str::to_owned).collect());
    list.unwrap_or_default()
}

/// What the configuration proposes when the key at this path has this value, and is refused for it. `item` is what stands
/// behind the key's name there.
fn fix(vendor: &str, path: &[&str], value: &str, item: &str) -> String {
    let mut text = "[kafka]\nbrokers = \"127.0.0.1:1\"\ntopics = [\"events\"]\n[accounts.acme]\n".to_owned();
    let needed: Map<String, Value> = account::needed(vendor);
    for (name, value) in needed {
        if path != [vendor, &name] {
            let _ = writeln!(text, "{vendor}.{name} = {}", toml_of(&value));
        }
    }
    let path = path.join(".");
    let _ = writeln!(text, "{path} = {value}");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.toml");
    std::fs::write(&file, &text).expect("a file");
    let errors = config::load(&file).err().map(|problems| problems.errors).unwrap_or_default();
    let key = format!("accounts.acme.{path}{item}");
    errors.into_iter().find(|problem| problem.key == key).map(|problem| problem.fix).unwrap_or_default()
}

fn toml_of(value: &Value) -> String {
    match value {
        Value::Array(_) => "[{ value = \"the-key\" }]".to_owned(),
        other => other.to_string(),
    }
}
