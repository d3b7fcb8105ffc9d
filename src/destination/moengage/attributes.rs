//! Traits to the attributes of a MoEngage customer.
//!
//! | attribute | trait | form |
//! | --- | --- | --- |
//! | `name`, `email`, `gender`, `mobile`, `source` | the same | text |
//! | `first_name`, `last_name` | `firstname`, `first_name`, `firstName`; `lastname` .. | text |
//! | `mobile` | `phone`, where there is no `mobile` | text |
//! | `age`, `transactions`, `revenue` | the same | number |
//! | `created_time` | `createdAt`, `created_at`, `created_time` | time |
//! | `last_seen` | `last_seen`, `lastSeen` | time |
//! | `moe_unsubscribe` | `moe_unsubscribe`, `moeUnsubscribe` | as it is |
//!
//! Each name is looked for in `traits`, then in `context.traits`; empty text and null count as absent. A value that
//! does not take the form stays what it is, under its own name. All other traits are custom attributes, taken from the
//! first of the two that is not empty; ids are not among them. No attribute is written twice.
//!
//! A group's traits are attributes of its members: `group_id`, and each trait under its own name, unless that is what a
//! person has too. A company's name must not become its member's, so `name` is `group_name`, and so with all of the
//! table above and `address`, `avatar`, `description`, `website`.

use crate::event::{Event, time};
use crate::json::copy::{self, Style};
use crate::json::{self, Raw, write};

/// A standard attribute's index into [`NAMED`].
type Slot = usize;

enum Form {
    Text,
    Number,
    Time,
    AsIs,
}

const NAMED: [(&str, Form); 13] = [
    ("name", Form::Text),
    ("first_name", Form::Text),
    ("last_name", Form::Text),
    ("email", Form::Text),
    ("gender", Form::Text),
    ("mobile", Form::Text),
    ("source", Form::Text),
    ("age", Form::Number),
    ("transactions", Form::Number),
    ("revenue", Form::Number),
    ("created_time", Form::Time),
    ("last_seen", Form::Time),
    ("moe_unsubscribe", Form::AsIs),
];

/// Which standard attribute a trait is, and its rank among the traits that could be it.
fn slot(name: &str) -> Option<(Slot, u8)> {
    Some(match name {
        "name" => (0, 0),
        "firstname" => (1, 0),
        "first_name" => (1, 1),
        "firstName" => (1, 2),
        "lastname" => (2, 0),
        "last_name" => (2, 1),
        "lastName" => (2, 2),
        "email" => (3, 0),
        "gender" => (4, 0),
        "mobile" => (5, 0),
        "phone" => (5, 1),
        "source" => (6, 0),
        "age" => (7, 0),
        "transactions" => (8, 0),
        "revenue" => (9, 0),
        "createdAt" => (10, 0),
        "created_at" => (10, 1),
        "created_time" => (10, 2),
        "last_seen" => (11, 0),
        "lastSeen" => (11, 1),
        "moe_unsubscribe" => (12, 0),
        "moeUnsubscribe" => (12, 1),
        _ => return None,
    })
}

#[derive(Clone, Copy, Default)]
struct Found<'a> {
    /// The best value so far, and its rank: the lower the better.
    value: Option<(u8, Raw<'a>)>,
    /// A value under the attribute's own name that does not take its form.
    odd: Option<Raw<'a>>,
}

/// Writes the attributes into the object that is open at the end of `out`.
pub(super) fn write(out: &mut Vec<u8>, traits: Option<Raw<'_>>, of_context: Option<Raw<'_>>, style: Style) {
    let start = out.len();
    if !write_once(out, traits, of_context, style, style.flatten) {
        out.truncate(start);
        write_once(out, traits, of_context, style, true);
    }
    copy::last_of_each(out, start, style);
}

/// The same; false if a trait of a standard name occurs twice in one of the objects: the last one counts, and which that
/// is nobody knows before. With `last` the others are left out from the start.
fn write_once(
    out: &mut Vec<u8>,
    traits: Option<Raw<'_>>,
    of_context: Option<Raw<'_>>,
    style: Style,
    last: bool,
) -> bool {
    let mut found = [Found::default(); NAMED.len()];
    let has_fields = |object: &Raw<'_>| object.fields().next().is_some();
    let own = traits.filter(has_fields);
    for (place, object) in [(0, own), (1, of_context)] {
        let custom = place == 0 || own.is_none();
        // A bit for each name: a slot has fewer than four.
        let mut seen = 0_u64;
        for field in object.into_iter().flat_map(|object| copy::of(object, last)) {
            let name = field.name();
            if let Some((slot, alias)) = slot(&name) {
                let bit = 1 << (4 * slot + usize::from(alias));
                if seen & bit != 0 {
                    return false;
                }
                seen |= bit;
                let keep =
                    found[slot].take(NAMED[slot].0 == name, &NAMED[slot].1, 2 * alias + place, field.value, custom);
                if !keep {
                    continue;
                }
            }
            if custom && !matches!(&*name, "" | "id" | "_id" | "userId") {
                copy::field(out, field.key(), field.value, style);
            }
        }
    }
    for ((name, form), found) in NAMED.iter().zip(found) {
        match found {
            Found { value: Some((_, value)), .. } => {
                write::key(out, name);
                form.write(out, value);
            }
            Found { odd: Some(value), .. } => copy::field(out, name, value, style),
            Found { .. } => {}
        }
    }
    true
}

/// Writes what a group says of its member into the object that is open at the end of `out`.
pub(super) fn write_group(out: &mut Vec<u8>, event: &Event<'_>, style: Style) {
    let start = out.len();
    let id = event.group();
    if let Some(id) = &id {
        write::key(out, "group_id");
        write::string(out, id);
    }
    let Some(traits) = event.traits else { return };
    // Each name once: a look at all other traits for each of many that are alike would take for ever.
    for field in copy::of(traits, true) {
        let name = field.name();
        match &*name {
            "" | "id" | "_id" | "userId" => {}
            "group_id" if id.is_some() => {}
            "address" | "avatar" | "description" | "website" => write_prefixed(out, traits, &name, field.value, style),
            _ if slot(&name).is_some() => write_prefixed(out, traits, &name, field.value, style),
            _ => copy::field(out, field.key(), field.value, style),
        }
    }
    copy::last_of_each(out, start, style);
}

/// Writes a trait with the prefix, unless there is one of that name already.
fn write_prefixed(out: &mut Vec<u8>, traits: Raw<'_>, name: &str, value: Raw<'_>, style: Style) {
    let prefixed = format!("group_{name}");
    if traits.field(&prefixed).is_none() {
        copy::field(out, &prefixed, value, style);
    }
}

impl<'a> Found<'a> {
    /// Takes a value that could be this attribute; whether it is a custom attribute instead.
    fn take(&mut self, own_name: bool, form: &Form, rank: u8, value: Raw<'a>, custom: bool) -> bool {
        if value.is_null() || value.get() == "\"\"" {
            return false;
        }
        if form.fits(value) {
            if self.value.is_none_or(|(best, _)| rank <= best) {
                self.value = Some((rank, value));
            }
            return false;
        }
        if own_name && custom {
            self.odd = Some(value);
        }
        !own_name
    }
}

impl Form {
    fn fits(&self, value: Raw<'_>) -> bool {
        match self {
            Self::Text => value.scalar().is_some(),
            Self::Number => value.is_number() || digits(value).is_some(),
            Self::Time => time::of(value).is_some(),
            Self::AsIs => true,
        }
    }

    fn write(&self, out: &mut Vec<u8>, value: Raw<'_>) {
        match self {
            Self::Text if !value.is_string() => write::string(out, value.get()),
            Self::Number => match digits(value) {
                Some(digits) => out.extend_from_slice(digits.as_bytes()),
                None => copy::value(out, value, false),
            },
            Self::Time => {
                out.push(b'"');
                time::write_iso(out, time::of(value).unwrap_or_default());
                out.push(b'"');
            }
            Self::Text | Self::AsIs => copy::value(out, value, false),
        }
    }
}

/// The number that a string holds, as JSON writes it.
fn digits(value: Raw<'_>) -> Option<String> {
    let text = value.string()?;
    json::number(&text).map(str::to_owned)
}
