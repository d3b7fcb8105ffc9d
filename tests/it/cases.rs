//! `tests/cases`: event and settings to calls, settings to requests, answers to verdicts. One JSON file a case:
//!
//! | file has | and expects |
//! | --- | --- |
//! | `event` (or `value`, text that is no object), `settings`, `headers` of the record, `tenant` (the table) | `calls` (`shape`, `element` or `elements`; `part`; how many `users`, if several), `refused` or `skipped` |
//! | the same with `shape` (and `catalog`), the headers of a raw record | the same |
//! | `request` (a shape), `settings` | `url`, `origin`, `path`, `headers` (with the first key that the shape takes), `frame`, `budgets` |
//! | `answer`, `shape`, `elements` | `verdict`, `calls` by index, `words` |
//!
//! A file may hold a list of cases. `settings` is the account's table as in `config.toml`. It is 2026-11-20T20:41:00Z in all
//! of them, unless they say `now`. A case with `page` stands in `docs/mapping.md`, under that heading.
//!
//! `otherwise` is a list of other `settings`, which differ in one from the case's, and what that makes of the same record or
//! request (`expect`): [`pairs`] holds them to it. Each is a case of its own, too.

mod account;
mod adversaries;
mod arbitrary;
mod coverage;
mod mutants;
mod names;
mod page;
mod pairs;
mod plain;
mod properties;
mod reference;
mod room;
mod rules;
mod settings;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use forebay::clock::Now;
use forebay::config::{Account, secret};
use forebay::delivery;
use forebay::destination::{
    self, Again, Answer, CallVerdict, Charge, Destination, Elements, Judgement, Per, Shape, UserHash, Verdict,
};
use forebay::event::{Origin, time};
use forebay::explain::{CallPart, End, Explainer};
use forebay::keys::Keys;
use forebay::source::record::{Headers, Record, kept};
use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value, json};

const VENDORS: [&str; 3] = ["moengage", "iterable", "webhook"];
const NOW: &str = "2026-11-20T20:41:00Z";

#[test]
fn moengage() {
    run("moengage");
}

#[test]
fn iterable() {
    run("iterable");
}

#[test]
fn webhook() {
    run("webhook");
}

#[test]
fn each_destination_has_cases_of_every_sort() {
    for vendor in VENDORS {
        let destination = account::destination(vendor, &Value::Null);
        assert_eq!(destination.name(), vendor);
        let cases = cases(vendor);
        for sort in ["event", "request", "answer"] {
            assert!(cases.iter().any(|(_, case)| case.get(sort).is_some()), "no case with `{sort}` for {vendor}");
        }
    }
}

/// The cases of a vendor, by the names of their files; those of a list are numbered.
fn cases(vendor: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(vendor);
    let files = std::fs::read_dir(folder).expect("a folder of cases for each destination");
    let mut cases: Vec<_> = files
        .map(|entry| entry.expect("a directory entry").path())
        .flat_map(|path| {
            let text = std::fs::read(&path).expect("a readable file");
            let case = serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()));
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match case.expect("a case in JSON") {
                Value::Array(list) => {
                    list.into_iter().enumerate().map(|(index, case)| (format!("{name}#{index}"), case)).collect()
                }
                case => vec![(name, case)],
            }
        })
        .flat_map(|(name, case)| with_others(name, case))
        .collect();
    cases.sort_by(|(one, _), (other, _)| one.cmp(other));
    cases
}

/// A case, and what it is with other settings: `name~0`, `name~1`.
fn with_others(name: String, case: Value) -> Vec<(String, Value)> {
    let other = |(index, other): (usize, &Value)| {
        let mut same = case.as_object().cloned().expect("a case");
        same.retain(|field, _| !matches!(field.as_str(), "otherwise" | "page" | "settings"));
        same.extend(other.as_object().cloned().expect("other settings"));
        (format!("{name}~{index}"), same.into())
    };
    let others: Vec<_> = case["otherwise"].as_array().into_iter().flatten().enumerate().map(other).collect();
    std::iter::once((name, case)).chain(others).collect()
}

/// Runs all cases of a vendor, and reports all that fail at once.
fn run(vendor: &str) {
    let cases = cases(vendor);
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|(name, case)| {
            let found = outcome(vendor, case);
            (found != case["expect"]).then(|| format!("{name}: {}\nfound {found:#}", case["name"]))
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// What comes out, in the form of the case's `expect`, and of no more parts than that has.
fn outcome(vendor: &str, case: &Value) -> Value {
    let config = account::config(vendor, &case["settings"], &case["tenant"]);
    let destination = destination::of(&config.accounts[0], &UserHash::new(1));
    let now = now(case);
    if case.get("answer").is_some() {
        judged(&*destination, case, now)
    } else if let Some(shape) = case.get("request") {
        request(&config.accounts[0], &*destination, shape_of(&*destination, shape), &case["expect"])
    } else {
        mapped(&Explainer::new(&config, now), case, now)
    }
}

fn now(case: &Value) -> Now {
    let wall_ms = time::text(case["now"].as_str().unwrap_or(NOW)).expect("a time");
    Now { mono: Duration::ZERO, wall_ms }
}

fn shape_of(destination: &dyn Destination, name: &Value) -> Shape {
    let position = destination.shapes().iter().position(|info| *name == info.name);
    Shape(position.and_then(|index| index.try_into().ok()).expect("a shape that the destination has"))
}

/// What `explain` says of the record, which is what `run` does with it.
fn mapped(explainer: &Explainer, case: &Value, now: Now) -> Value {
    let value = case["value"].as_str().map_or_else(|| case["event"].to_string(), str::to_owned);
    let tombstone = case.get("event") == Some(&Value::Null);
    let mut given =
        case["headers"].as_object().cloned().unwrap_or_else(|| Map::from_iter([("tenant".into(), json!("acme"))]));
    for (header, of_raw) in [("forebay-shape", &case["shape"]), ("forebay-catalog", &case["catalog"])] {
        if of_raw.is_string() {
            given.insert(header.to_owned(), of_raw.clone());
        }
    }
    let headers =
        kept(given.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default().as_bytes())));
    let record = Record {
        slot: 0,
        offset: 17,
        timestamp_ms: case["record_ms"].as_i64(),
        key: case["key"].as_str().map(str::as_bytes),
        value: (!tombstone).then_some(value.as_bytes()),
        headers: Headers::of(&headers),
    };
    let origin = Origin { topic: "events", partition: 3, offset: 17, timestamp_ms: record.timestamp_ms };
    let explanation = explainer.explain(&record, origin, None, now);
    let ended = |end: &End| json!({ end.outcome: end.reason });
    let ends = explanation.end.iter().chain(explanation.accounts.iter().flat_map(|account| &account.end));
    let calls = || explanation.accounts.iter().flat_map(|account| &account.calls);
    if let Some(end) = ends.chain(calls().filter_map(|call| call.end.as_ref())).next() {
        return ended(end);
    }
    let call = |call: &CallPart| {
        // Items of a catalogue are fields, not values.
        let is_field = call.element.starts_with('"');
        let text = if is_field { format!("[{{{}}}]", call.element) } else { format!("[{}]", call.element) };
        let mut elements: Vec<Value> = serde_json::from_str(&text).expect(&call.element);
        let mut written = json!({ "shape": call.shape });
        match elements.len() {
            1 => written["element"] = elements.remove(0),
            _ => written["elements"] = elements.into(),
        }
        if let Some(part) = &call.part {
            assert!(call.url.contains(part), "{}", call.url);
            written["part"] = json!(part);
        }
        if call.users > 1 {
            written["users"] = call.users.into();
        }
        written
    };
    json!({ "calls": calls().map(call).collect::<Vec<_>>() })
}

/// The keys of an account, as its lane has them.
fn keys(account: &Account) -> Keys {
    let mut keys = Keys::default();
    for (family, key) in account.keys() {
        keys.add(family, secret::read_as(&key.secret, key.form).ok());
    }
    keys
}

fn request(account: &Account, destination: &dyn Destination, shape: Shape, expect: &Value) -> Value {
    let keys = keys(account);
    let families = destination.shapes()[usize::from(shape.0)].keys;
    // One that cannot be read, as a webhook's that could not sign, is nobody's.
    let key = keys.of(families).first().cloned().unwrap_or_default();
    let target = destination.target(shape, &key);
    let to = delivery::origin(account, destination).expect("an origin");
    let prefix = account.base_url.as_ref().map_or("", |base| base.prefix.as_str());
    let headers: Map<String, Value> = target
        .headers
        .iter()
        .map(|(name, value)| {
            let secret = if value.is_sensitive() { "secret " } else { "" };
            (name.to_string(), json!(format!("{secret}{}", value.to_str().expect("ASCII"))))
        })
        .collect();
    let (head, tail) = destination.frame(shape);
    let budgets: Vec<Value> = destination
        .budgets()
        .iter()
        .filter(|budget| budget.shapes.contains(&shape))
        .map(|budget| {
            let per = match budget.per {
                Per::Second => "second",
                Per::Minute => "minute",
                Per::Hour => "hour",
                Per::Day => "day",
            };
            let charge = match budget.charge {
                Charge::Request => json!("request"),
                Charge::Units(index) => json!(index),
            };
            json!({ "key": budget.key, "name": budget.name, "limit": budget.limit, "per": per, "charge": charge })
        })
        .collect();
    let all = json!({
        "url": format!("{to}{prefix}{}", target.path),
        "origin": destination.origin(),
        "path": target.path,
        "headers": headers,
        "frame": [String::from_utf8_lossy(head), String::from_utf8_lossy(tail)],
        "budgets": budgets,
    });
    let wanted = expect.as_object().expect("an object").keys();
    wanted.map(|name| (name.clone(), all[name].clone())).collect::<Map<_, _>>().into()
}

/// Elements as they were sent, one text each.
struct Sent(Vec<String>);

impl Elements for Sent {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn element(&self, index: usize) -> &[u8] {
        self.0[index].as_bytes()
    }
}

fn judged(destination: &dyn Destination, case: &Value, now: Now) -> Value {
    let answer = &case["answer"];
    let body = answer["body"].as_str().map_or_else(|| answer["body"].to_string(), str::to_owned);
    let headers: HeaderMap = answer["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a header's name");
            (name, value.as_str().unwrap_or_default().parse().expect("a header's value"))
        })
        .collect();
    let sent = Sent(case["elements"].as_array().into_iter().flatten().map(Value::to_string).collect());
    let status = answer["status"].as_u64().and_then(|status| status.try_into().ok()).expect("a status");
    let answer = Answer { status, headers: &headers, body: body.as_bytes() };
    let judgement = destination.judge(shape_of(destination, &case["shape"]), &answer, &sent, now);
    assert!(judgement.calls.is_sorted_by(|(one, _), (other, _)| one < other), "{:?}", judgement.calls);
    let mut found = json!({ "verdict": verdict(&judgement) });
    if !judgement.calls.is_empty() {
        found["calls"] = calls(&judgement);
    }
    if case["expect"].get("words").is_some() {
        found["words"] = json!(judgement.words);
    }
    found
}

fn verdict(judgement: &Judgement) -> Value {
    match &judgement.verdict {
        Verdict::Delivered => json!("delivered"),
        Verdict::Split => json!("split"),
        Verdict::Rest => json!("rest"),
        Verdict::Bisect(reason) => json!({ "bisect": reason.name() }),
        Verdict::Hold(hold) => json!({ "hold": hold.name() }),
        Verdict::Again(again, after) => {
            let why = match again {
                Again::Throttled => "throttled",
                Again::Server => "server",
                Again::NotTheVendor => "not_the_vendor",
                Again::Transport => "transport",
            };
            match after {
                Some(after) => json!({ "again": why, "after": after.as_secs() }),
                None => json!({ "again": why }),
            }
        }
    }
}

/// Verdicts by index; identities that must be told apart are numbered in the order in which they occur.
fn calls(judgement: &Judgement) -> Value {
    let mut identities = HashMap::new();
    let calls = judgement.calls.iter().map(|(index, call)| {
        let call = match call {
            CallVerdict::Refused(refusal) => json!({ "refused": refusal.reason.name() }),
            CallVerdict::Skipped(skip) => json!({ "skipped": skip.name() }),
            CallVerdict::Late(after, refusal) => json!({ "late": after.as_secs(), "else": refusal.reason.name() }),
            CallVerdict::Apart(identity) => {
                let next = identities.len();
                json!({ "apart": *identities.entry(*identity).or_insert(next) })
            }
        };
        (index.to_string(), call)
    });
    calls.collect::<Map<_, _>>().into()
}
