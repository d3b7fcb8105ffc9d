//! What an account keeps back of a message, or renames: `[accounts.NAME.fields]`.
//!
//! Acts on `traits`, `properties` and `context`, in the order keep, drop, hash, rename, by the names that the message
//! has. Lists are walked through: a path goes on in each of their objects. What calls need always stays as it is; in a list
//! whose objects have such a field, what is no object and not kept is null, so that nothing seems complete that was not. An
//! account without rules has no [`Fields`] and pays nothing; one with rules pays a copy of those parts that a rule changes,
//! because what is made of an event asks for its fields by their names, which must be those that the rules leave.
//!
//! The name and the category of a page or screen stand in its properties, too, and what is made of them goes out in the
//! event's name. So what drops or hashes `properties.name` does it to the call's own `name` as well; to rename it keeps
//! nothing back, and the call keeps its name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Context, Event, Kind};
use crate::config::FieldRules;
use crate::json::{Raw, Tape, copy, write};

/// An account's rules, as a tree of the fields that they name.
#[derive(Debug)]
pub struct Fields(Node);

#[derive(Debug, Default)]
struct Node {
    acts: Acts,
    /// On all fields below: `*`.
    each: Acts,
    /// New names of fields below.
    renamed: BTreeMap<String, String>,
    below: BTreeMap<String, Node>,
    is_id: bool,
    /// Whether anything below is not as it came, where all of it is kept.
    changes: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Acts {
    keep: bool,
    drop: bool,
    hash: bool,
}

/// What the way down to a value says of it.
#[derive(Clone, Copy, Debug)]
struct State {
    kept: bool,
    hash: bool,
}

/// One of an event's parts, by the rules.
enum Seen<'s> {
    /// As it came.
    Same(Raw<'s>),
    /// As it stands in the scratch, from here on.
    Changed(usize),
}

impl Fields {
    /// The rules, if there are any; none touches what calls need.
    #[must_use]
    pub fn new(rules: &FieldRules, needed: &[&str]) -> Option<Self> {
        if rules.is_empty() {
            return None;
        }
        let mut root = Node::default();
        for path in needed {
            let (node, _) = root.at(path);
            node.is_id = true;
            node.acts.keep = true;
        }
        for (paths, act) in [
            (&rules.keep, (|acts| acts.keep = true) as fn(&mut Acts)),
            (&rules.drop, |acts| acts.drop = true),
            (&rules.sha256, |acts| acts.hash = true),
        ] {
            for path in paths {
                let (node, each) = root.at(path);
                act(if each { &mut node.each } else { &mut node.acts });
            }
        }
        for (path, name) in &rules.rename {
            let (parent, last) = path.rsplit_once('.').unwrap_or(("", path));
            let (node, _) = root.at(parent);
            let is_id = |name: &str| node.below.get(name).is_some_and(|child| child.is_id);
            if !is_id(last) && !is_id(name) {
                node.renamed.insert(last.to_owned(), name.clone());
            }
        }
        root.acts.keep = rules.keep.is_empty();
        root.note_changes();
        Some(Self(root))
    }

    /// The event as the account may see it; what changed lives in `scratch`.
    pub fn apply<'s>(&self, event: &Event<'s>, scratch: &'s mut Tape) -> Event<'s> {
        let mut out = Vec::new();
        let state = State { kept: self.0.acts.keep, hash: false };
        let Context { traits, device, app, os, timezone } = event.context;
        let own = [("traits", event.traits), ("properties", event.properties)];
        let [traits_of, properties] = own.map(|(name, value)| self.0.seen(name, value, state, &mut out));
        let empty = Node::default();
        let node = self.0.below.get("context").unwrap_or(&empty);
        let in_context = self.0.state_of("context", state);
        let parts = [("traits", traits), ("device", device), ("app", app), ("os", os), ("timezone", timezone)];
        let parts = parts.map(|(name, value)| node.seen(name, value, in_context?, &mut out));
        *scratch = Tape::trusted(String::from_utf8(out).unwrap_or_default());
        let scratch: &'s Tape = scratch;
        let part = |part: Option<Seen<'s>>| match part? {
            Seen::Same(value) => Some(value),
            Seen::Changed(start) => Some(scratch.value_at(start)),
        };
        let [of_context, device, app, os, timezone] = parts.map(part);
        let object = |part: Option<Raw<'s>>| part.filter(|value| value.is_object());
        Event {
            name: self.own(event, "name", event.name.as_ref()),
            category: self.own(event, "category", event.category.as_ref()),
            traits: object(part(traits_of)),
            properties: object(part(properties)),
            context: Context { traits: object(of_context), device, app, os, timezone },
            ..event.clone()
        }
    }
}

impl Fields {
    /// What a page or screen is called, or its category, by its own field or by the property of the same name; if neither
    /// is there any more, the property may still be found under the name that it has then.
    fn own<'s>(&self, event: &Event<'s>, field: &str, own: Option<&Cow<'s, str>>) -> Option<Cow<'s, str>> {
        let Some(node) = self.0.below.get("properties").filter(|_| is_view(event)) else { return own.cloned() };
        let filled = |text: &Cow<'_, str>| !text.trim().is_empty();
        if let Some(own) = own.filter(|own| filled(own)) {
            return self.hidden(field).map(|hash| if hash { Cow::Owned(hashed(own)) } else { own.clone() });
        }
        let all = State { kept: self.0.acts.keep, hash: false };
        let state = self.0.state_of("properties", all).and_then(|state| node.state_of(field, state));
        let state = state.filter(|state| state.kept && node.renamed.contains_key(field))?;
        let property = event.properties?.field(field)?.string().filter(filled)?;
        Some(if state.hash { Cow::Owned(hashed(&property)) } else { property })
    }

    /// Whether the property of this name is hashed; `None` if it is dropped. What `keep` does not name is neither.
    fn hidden(&self, field: &str) -> Option<bool> {
        let properties = self.0.state_of("properties", State { kept: true, hash: false })?;
        let state = self.0.below.get("properties").map_or(Some(properties), |node| node.state_of(field, properties))?;
        Some(state.hash)
    }

    /// The whole message as the account may see it.
    pub fn rewrite(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        let state = State { kept: self.0.acts.keep, hash: false };
        out.push(b'{');
        for field in event.whole.fields() {
            let name = field.name();
            let before = out.len();
            write::key(out, field.key());
            if matches!(&*name, "name" | "category") && is_view(event) {
                match self.hidden(&name) {
                    None => out.truncate(before),
                    Some(hash) => write_value(out, field.value, None, State { kept: true, hash }),
                }
            } else if !matches!(&*name, "traits" | "properties" | "context") {
                out.extend_from_slice(field.value.get().as_bytes());
            } else if self.0.part(&name, Some(field.value), state, out).is_none() {
                out.truncate(before);
            }
        }
        out.push(b'}');
    }
}

impl Node {
    /// The node at a path, and whether the path means all fields below it.
    fn at(&mut self, path: &str) -> (&mut Self, bool) {
        let (path, each) = path.strip_suffix('*').map_or((path, false), |path| (path, true));
        let parts = path.split('.').filter(|part| !part.is_empty());
        (parts.fold(self, |node, part| node.below.entry(part.to_owned()).or_default()), each)
    }

    /// What becomes of the field of this name; `None` if it goes.
    fn state_of(&self, name: &str, state: State) -> Option<State> {
        let child = self.below.get(name);
        if child.is_some_and(|child| child.is_id) {
            return Some(State { kept: true, hash: false });
        }
        let acts = child.map_or(Acts::default(), |child| child.acts);
        if acts.drop || self.each.drop {
            return None;
        }
        let kept = state.kept || self.each.keep || acts.keep;
        let state = State { kept, hash: state.hash || self.each.hash || acts.hash };
        (kept || child.is_some_and(Self::keeps_below)).then_some(state)
    }

    fn keeps_below(&self) -> bool {
        self.each.keep || self.below.values().any(|child| child.acts.keep || child.keeps_below())
    }

    /// Whether objects here have a field that calls need.
    fn has_ids(&self) -> bool {
        self.below.values().any(|child| child.is_id || child.has_ids())
    }

    fn note_changes(&mut self) -> bool {
        let mut below = false;
        for child in self.below.values_mut() {
            below |= child.note_changes();
        }
        let acts = |acts: Acts| acts.drop || acts.hash;
        self.changes = below || !self.renamed.is_empty() || acts(self.each);
        self.changes || acts(self.acts)
    }

    /// One of an event's own fields, written only if something in it changes.
    fn seen<'s>(&self, name: &str, value: Option<Raw<'s>>, state: State, out: &mut Vec<u8>) -> Option<Seen<'s>> {
        let value = value?;
        let of_value = self.state_of(name, state)?;
        let same = !self.renamed.contains_key(name) && is_same(self.below.get(name), of_value);
        if same { Some(Seen::Same(value)) } else { self.part(name, Some(value), state, out).map(Seen::Changed) }
    }

    /// Writes one of an event's own fields; where it begins then.
    fn part(&self, name: &str, value: Option<Raw<'_>>, state: State, out: &mut Vec<u8>) -> Option<usize> {
        let value = value?;
        let state = self.state_of(name, state).filter(|_| !self.renamed.contains_key(name))?;
        if !(state.kept || is_container(value)) {
            return None;
        }
        let start = out.len();
        write_value(out, value, self.below.get(name), state);
        Some(start)
    }

    /// Writes an object's fields.
    fn write_fields(&self, out: &mut Vec<u8>, object: Raw<'_>, state: State) {
        let stays = |from: &str, value: Raw<'_>| {
            self.state_of(from, state).is_some_and(|state| state.kept || is_container(value))
        };
        let comes = self.renamed.iter().filter(|(from, _)| object.field(from).is_some_and(|value| stays(from, value)));
        let taken: Vec<&str> = comes.map(|(_, to)| to.as_str()).collect();
        // Of a name that occurs twice an earlier value must not stay because the last one goes.
        for field in copy::of(object, !state.kept) {
            let name = field.name();
            let Some(state) = self.state_of(&name, state) else { continue };
            // A field that takes another's name over loses its own.
            let taken = !self.renamed.contains_key(&*name) && taken.contains(&&*name);
            if taken || !(state.kept || is_container(field.value)) {
                continue;
            }
            match self.renamed.get(&*name) {
                Some(to) => {
                    write::comma(out);
                    write::string(out, to);
                    out.push(b':');
                }
                None => write::key(out, field.key()),
            }
            write_value(out, field.value, self.below.get(&*name), state);
        }
    }
}

fn is_container(value: Raw<'_>) -> bool {
    value.is_object() || value.is_array()
}

/// Whether a value stays as it came, with all that is in it.
fn is_same(node: Option<&Node>, state: State) -> bool {
    state.kept && !state.hash && node.is_none_or(|node| !node.changes)
}

fn write_value(out: &mut Vec<u8>, value: Raw<'_>, node: Option<&Node>, state: State) {
    let empty = Node::default();
    if is_same(node, state) {
        out.extend_from_slice(value.get().as_bytes());
    } else if value.is_object() {
        out.push(b'{');
        node.unwrap_or(&empty).write_fields(out, value, state);
        out.push(b'}');
    } else if value.is_array() {
        out.push(b'[');
        let has_needed = node.is_some_and(Node::has_ids);
        for item in value.items() {
            if state.kept || is_container(item) {
                write::comma(out);
                write_value(out, item, node, state);
            } else if has_needed {
                // What it says is kept back, but not that it stands there: a call that needs objects is to find it.
                write::comma(out);
                out.extend_from_slice(b"null");
            }
        }
        out.push(b']');
    } else if state.hash {
        write_hash(out, value);
    } else {
        out.extend_from_slice(value.get().as_bytes());
    }
}

/// Whether the message is a view of a page or a screen.
fn is_view(event: &Event<'_>) -> bool {
    matches!(event.kind, Kind::Page | Kind::Screen)
}

/// The hex SHA-256 of a trimmed, lower-cased text.
fn hashed(text: &str) -> String {
    let mut out = Vec::new();
    write::hex(&mut out, &Sha256::digest(text.trim().to_lowercase().as_bytes()));
    String::from_utf8(out).unwrap_or_default()
}

/// Writes the hex SHA-256 of a scalar's trimmed, lower-cased text; null and empty text stay.
fn write_hash(out: &mut Vec<u8>, value: Raw<'_>) {
    let text = value.scalar().unwrap_or(Cow::Borrowed(""));
    let text = text.trim();
    if text.is_empty() {
        out.extend_from_slice(value.get().as_bytes());
        return;
    }
    write::string(out, &hashed(text));
}
