//! An explanation for people: a head, then each account with its calls or why it has none.
//!
//! Bodies are indented and otherwise as they go out: every field, in its order, also one that occurs twice.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::explain::{AccountPart, CallPart, End, Explanation};
use crate::json::{Raw, Tape};

pub(super) fn write(out: &mut dyn Write, explanation: &Explanation) -> io::Result<()> {
    let place = &explanation.record;
    let at = place.time.as_ref().map(|time| format!(", {time}")).unwrap_or_default();
    writeln!(out, "record   {}[{}]@{}{at}", place.topic, place.partition, place.offset)?;
    if let Some(event) = &explanation.event {
        let of = |word, text: &Option<String>| text.as_ref().map(|text| format!(" {word}{text:?}")).unwrap_or_default();
        let name = of("", if event.shape.is_some() { &event.shape } else { &event.name });
        let user = of("of user ", &event.user);
        let at = event.time.as_ref().map(|time| format!(", {time}")).unwrap_or_default();
        writeln!(out, "event    {}{name}{user}, id {:?}{at}", event.kind, event.id)?;
    }
    let from = match &explanation.tenant_from {
        _ if explanation.tenant_assumed => " (the record does not say; the account's)".to_owned(),
        Some(place) => format!(", by tenant.from {{ {place} }}"),
        None => String::new(),
    };
    writeln!(out, "tenant   {}{from}", explanation.tenant.as_deref().unwrap_or("none"))?;
    if let Some(end) = &explanation.end {
        writeln!(out, "end      {}", words(end))?;
    }
    explanation.accounts.iter().try_for_each(|account| write_account(out, account))
}

fn write_account(out: &mut dyn Write, account: &AccountPart) -> io::Result<()> {
    let what = account.end.as_ref().map_or_else(|| calls(account.calls.len()), words);
    let held = if account.held { "; held by the operator, so they wait" } else { "" };
    writeln!(out, "\n{} ({}): {what}{held}", account.account, account.destination)?;
    account.calls.iter().try_for_each(|call| write_call(out, call))
}

fn write_call(out: &mut dyn Write, call: &CallPart) -> io::Result<()> {
    let costs: Vec<String> = call.costs.iter().map(|(limit, cost)| format!("{cost} of {limit}")).collect();
    let order = match (call.changes_user, call.users) {
        (true, 0 | 1) => "in its user's order".to_owned(),
        (true, users) => format!("in the order of {users} users, alone of theirs"),
        (false, _) => "in any order".to_owned(),
    };
    let costs = if costs.is_empty() { "no limit".to_owned() } else { costs.join(", ") };
    writeln!(out, "\n  {}: {order}, costs {costs}", call.shape)?;
    if let Some(end) = &call.end {
        return writeln!(out, "  {}", words(end));
    }
    writeln!(out, "  POST {}", call.url)?;
    for (name, value) in &call.headers {
        writeln!(out, "  {name}: {value}")?;
    }
    if call.signed {
        writeln!(out, "  signed with the account's keys")?;
    }
    let mut text = String::new();
    if let Some(body) = call.body.as_ref().and_then(|body| Tape::parse(body.get()).ok()) {
        indent(&mut text, body.value(), 1);
    }
    writeln!(out, "\n  {text}")
}

fn calls(count: usize) -> String {
    if count == 1 { "1 call".to_owned() } else { format!("{count} calls") }
}

fn words(end: &End) -> String {
    let reason = if end.reason.is_empty() { String::new() } else { format!(" {}", end.reason) };
    // What the sentence names already is not said again.
    let setting = end.setting.as_ref().filter(|setting| !end.why.contains(setting.as_str()));
    let setting = setting.map(|setting| format!(" ({setting})")).unwrap_or_default();
    format!("{}{reason}: {}{setting}", end.outcome, end.why)
}

/// Writes a value with each field and each item on a line of its own.
fn indent(out: &mut String, value: Raw<'_>, depth: usize) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let [open, close] = if value.is_object() { ['{', '}'] } else { ['[', ']'] };
    let mut count = 0;
    let mut begin = |out: &mut String| {
        out.push(if count == 0 { open } else { ',' });
        count += 1;
        line(out, depth + 1);
    };
    for field in value.fields() {
        begin(out);
        // Writing to a string cannot fail.
        let _ = write!(out, "\"{}\": ", field.key());
        indent(out, field.value, depth + 1);
    }
    for item in value.items() {
        begin(out);
        indent(out, item, depth + 1);
    }
    if count == 0 {
        out.push_str(value.get());
    } else {
        line(out, depth);
        out.push(close);
    }
}
