//! A cursor over one TOML file that knows where everything stands.
//!
//! A [`Table`] remembers which keys were asked for, so that [`Table::finish`] can report every other key, with the
//! nearest one that exists. A wrong value is reported once, where it stands, and then counts as absent, so that reading
//! goes on and finds the next mistake. Messages about types never show the value: it could be a secret.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem, SecretUse, Sink};
use super::secret::Form;
use super::{SecretRef, units};

/// One file's name and text.
#[derive(Debug)]
pub(super) struct File {
    /// As messages show it.
    pub(super) name: String,
    /// Whether it came by `include`.
    pub(super) included: bool,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl File {
    pub(super) fn new(name: String, text: String, included: bool) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        Self { name, included, text, lines }
    }

    /// Line and column of a byte.
    pub(super) fn position(&self, byte: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.text.get(start..byte).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The file's tree, as far as it could be read, and whether that was all of it. Syntax errors are reported, one a
    /// line: what the parser says after the first on a line is rarely worth reading.
    pub(super) fn parse(&self, sink: &Sink) -> (Spanned<DeTable<'_>>, bool) {
        let (tree, errors) = DeTable::parse_recoverable(&self.text);
        let mut last = 0;
        for error in &errors {
            let (line, column) = self.position(error.span().map_or(0, |span| span.start));
            if line != last {
                let place = Place { file: self.name.clone(), line, column, key: String::new() };
                sink.error(Problem::at(place, format!("this is not TOML: {}", error.message()), String::new()));
            }
            last = line;
        }
        (tree, errors.is_empty())
    }
}

/// The file that is read, and where problems go.
#[derive(Clone, Copy, Debug)]
struct Reading<'a> {
    file: &'a File,
    sink: &'a Sink,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Value<'a> {
    at: Reading<'a>,
    key: String,
    span: Range<usize>,
    tree: &'a DeValue<'a>,
}

/// A table and its place; it remembers which keys were asked for.
#[derive(Debug)]
#[must_use = "call `finish`, or unknown keys go unnoticed"]
pub(crate) struct Table<'a> {
    at: Reading<'a>,
    key: String,
    span: Range<usize>,
    tree: &'a DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Value<'a> {
    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        let (line, column) = self.at.file.position(self.span.start);
        Place { file: self.at.file.name.clone(), line, column, key: self.key.clone() }
    }

    /// Reports that it cannot stay.
    pub(super) fn refuse(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.at.sink.error(Problem::at(self.place(), message, fix));
    }

    /// Reports that its name cannot stay; `place` is that of the name.
    pub(super) fn refuse_at(&self, place: &Place, message: impl Into<String>, fix: impl Into<String>) {
        self.at.sink.error(Problem::at(place.clone(), message, fix));
    }

    /// Reports that it works and is not good.
    pub(super) fn warn(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.at.sink.warning(Problem::at(self.place(), message, fix));
    }

    /// Remembers that a secret is referred to here.
    pub(super) fn note_secret(&self, secret: &SecretRef, form: Form) {
        self.at.sink.secret(SecretUse { place: self.place(), secret: secret.clone(), form });
    }

    /// The raw tree.
    pub(super) fn tree(&self) -> &'a DeValue<'a> {
        self.tree
    }

    /// The same value under another key, as messages show it.
    pub(super) fn called(mut self, key: String) -> Self {
        self.key = key;
        self
    }

    fn wrong_type(&self, fix: impl Into<String>) {
        self.refuse(format!("{} does not fit here", type_name(self.tree)), fix);
    }

    /// A string.
    pub(super) fn text(&self) -> Option<&'a str> {
        if let DeValue::String(text) = self.tree {
            return Some(text);
        }
        self.wrong_type("write a string, in quotes");
        None
    }

    /// A string with something in it, and without control characters.
    pub(super) fn filled(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            self.refuse("this is empty", "write its value, or leave the setting out");
            return None;
        }
        if text.chars().any(char::is_control) {
            self.refuse("this has control characters", "write it on one line");
            return None;
        }
        Some(text)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        if let DeValue::Boolean(flag) = self.tree {
            return Some(*flag);
        }
        self.wrong_type("write true or false");
        None
    }

    /// A whole number in this range.
    pub(super) fn integer(&self, range: &RangeInclusive<i64>) -> Option<i64> {
        let fix = || format!("write a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(written) = self.tree else {
            self.wrong_type(fix());
            return None;
        };
        let number = i64::from_str_radix(written.as_str(), written.radix()).ok();
        let inside = number.filter(|number| range.contains(number));
        if inside.is_none() {
            self.refuse(format!("{written} is out of range"), fix());
        }
        inside
    }

    /// A duration in this range.
    pub(super) fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let DeValue::String(text) = self.tree else {
            self.wrong_type(units::DURATIONS);
            return None;
        };
        let Some(duration) = units::duration(text) else {
            self.refuse(format!("\"{text}\" is not a duration"), units::DURATIONS);
            return None;
        };
        if range.contains(&duration) {
            return Some(duration);
        }
        let (low, high) = (units::show_duration(*range.start()), units::show_duration(*range.end()));
        self.refuse(format!("\"{text}\" is out of range"), format!("write a duration from {low} to {high}"));
        None
    }

    /// A size in bytes in this range.
    pub(super) fn size(&self, range: &RangeInclusive<u64>) -> Option<u64> {
        let DeValue::String(text) = self.tree else {
            self.wrong_type(units::SIZES);
            return None;
        };
        let Some(size) = units::size(text) else {
            self.refuse(format!("\"{text}\" is not a size"), units::SIZES);
            return None;
        };
        if range.contains(&size) {
            return Some(size);
        }
        let (low, high) = (units::show_size(*range.start()), units::show_size(*range.end()));
        self.refuse(format!("\"{text}\" is out of range"), format!("write a size from {low} to {high}"));
        None
    }

    /// One of these words.
    pub(super) fn pick<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.refuse(format!("\"{text}\" is not known"), propose(text, &names));
        }
        found
    }

    /// The elements of an array.
    pub(super) fn items(&self) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(array) = self.tree else {
            self.wrong_type("write an array, in brackets");
            return None;
        };
        let item = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| Value {
            at: self.at,
            key: format!("{}[{index}]", self.key),
            span: item.span(),
            tree: item.get_ref(),
        };
        Some(array.iter().enumerate().map(item).collect())
    }

    /// An array of strings with something in them, none twice.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        let mut texts: Vec<String> = Vec::new();
        for item in self.items()? {
            let Some(text) = item.filled() else { continue };
            if texts.iter().any(|known| known == text) {
                item.refuse(format!("\"{text}\" stands here twice"), "remove one");
            }
            texts.push(text.to_owned());
        }
        Some(texts)
    }

    /// An array of some of these words, none twice.
    pub(super) fn picks<T: Copy + PartialEq>(&self, choices: &[(&'static str, T)]) -> Option<Vec<T>> {
        let mut picked = Vec::new();
        for item in self.items()? {
            let Some(choice) = item.pick(choices) else { continue };
            if picked.contains(&choice) {
                item.refuse("this stands here twice", "remove one");
            }
            picked.push(choice);
        }
        Some(picked)
    }

    /// A table.
    pub(crate) fn table(&self) -> Option<Table<'a>> {
        self.table_or("write a table: [section], or { key = value }")
    }

    /// A table, with other words for whoever wrote something else.
    pub(super) fn table_or(&self, fix: &str) -> Option<Table<'a>> {
        if let DeValue::Table(tree) = self.tree {
            return Some(Table {
                at: self.at,
                key: self.key.clone(),
                span: self.span.clone(),
                tree,
                asked: Vec::new(),
            });
        }
        self.wrong_type(fix);
        None
    }
}

impl<'a> Table<'a> {
    /// A file's top.
    pub(super) fn root(file: &'a File, sink: &'a Sink, tree: &'a Spanned<DeTable<'a>>) -> Self {
        Self { at: Reading { file, sink }, key: String::new(), span: 0..0, tree: tree.get_ref(), asked: Vec::new() }
    }

    /// Whether the file came by `include`.
    pub(super) fn included(&self) -> bool {
        self.at.file.included
    }

    /// Where it stands.
    pub(super) fn place(&self) -> Place {
        let (line, column) = self.at.file.position(self.span.start);
        Place { file: self.at.file.name.clone(), line, column, key: self.key.clone() }
    }

    /// Reports that it cannot stay so.
    pub(super) fn refuse(&self, message: impl Into<String>, fix: impl Into<String>) {
        self.at.sink.error(Problem::at(self.place(), message, fix));
    }

    /// The value of a key, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let (_, value) = self.tree.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Value { at: self.at, key: dotted(&self.key, key), span: value.span(), tree: value.get_ref() })
    }

    /// The value of a key that must be there.
    pub(crate) fn require(&mut self, key: &'static str, fix: &str) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            self.refuse(format!("{key} is missing"), fix);
        }
        value
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.take(key).and_then(|value| value.flag()).unwrap_or(default)
    }

    /// One of these words; the first is the default.
    pub(super) fn pick<T: Copy>(&mut self, key: &'static str, default: T, others: &[(&'static str, T)]) -> T {
        self.take(key).and_then(|value| value.pick(others)).unwrap_or(default)
    }

    /// A duration in this range.
    pub(super) fn duration(&mut self, key: &'static str, range: &RangeInclusive<Duration>) -> Option<Duration> {
        self.take(key).and_then(|value| value.duration(range))
    }

    /// An array of strings; absent is empty.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.take(key).and_then(|value| value.texts()).unwrap_or_default()
    }

    /// A table below this one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        self.take(key).and_then(|value| value.table())
    }

    /// All entries, for tables whose keys are names that people choose: the key's own place, the name, the value.
    pub(super) fn entries(self) -> Vec<(Place, &'a str, Value<'a>)> {
        let entry = |(name, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let text: &'a std::borrow::Cow<'a, str> = name.get_ref();
            let value = Value { at: self.at, key: dotted(&self.key, text), span: value.span(), tree: value.get_ref() };
            let (line, column) = self.at.file.position(name.span().start);
            (Place { file: self.at.file.name.clone(), line, column, key: value.key.clone() }, text.as_ref(), value)
        };
        self.tree.iter().map(entry).collect()
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for (name, _) in self.tree {
            let key = name.get_ref().as_ref();
            if self.asked.contains(&key) {
                continue;
            }
            let (line, column) = self.at.file.position(name.span().start);
            let place = Place { file: self.at.file.name.clone(), line, column, key: dotted(&self.key, key) };
            let fix = match key {
                "include" => "it stands in the main file, before the first table".to_owned(),
                _ => propose(key, &self.asked),
            };
            self.at.sink.error(Problem::at(place, "this key is not known", fix));
        }
    }
}

/// The nearest of these words if one is near, else all of them.
pub(super) fn propose(word: &str, known: &[&str]) -> String {
    let near = |name: &&&str| strsim::damerau_levenshtein(word, name) <= (name.len() / 3).max(1);
    let nearest = known.iter().filter(near).min_by_key(|name| strsim::damerau_levenshtein(word, name));
    let similar = || known.iter().find(|name| strsim::jaro_winkler(word, name) > 0.85);
    match nearest.or_else(similar) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// A dotted key, its parts quoted where TOML asks for it.
#[must_use]
pub fn dotted(prefix: &str, part: &str) -> String {
    let bare = !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let part = if bare { part.to_owned() } else { format!("\"{}\"", part.escape_debug()) };
    if prefix.is_empty() { part } else { format!("{prefix}.{part}") }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
