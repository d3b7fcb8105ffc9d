//! What each value of each setting does: cases in pairs, alike but for one setting, that end differently.
//!
//! Guarantees that a case which stands for a setting is about that setting: the same record, or the same request, with
//! another value comes out otherwise. Settings and their values come from the configuration itself; what nothing shows is
//! listed, and fails, and so does an exception that is none.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::coverage::{is_delivered, is_message, no_test};
use super::settings::{self, One, Setting, Values};
use super::{VENDORS, cases};

/// Settings that say where and how requests go, and not what stands in them: no message is refused for one. Each of their
/// values stands in a pair of requests.
const OF_REQUESTS: &[&str] = &[
    "/base_url",
    "/limits/",
    "/moengage/workspace",
    "/moengage/data_center",
    "/moengage/project_code",
    "/moengage/forwarded_for",
    "/moengage/keys",
    "/moengage/campaign_keys",
    "/moengage/inform_keys",
    "/iterable/region",
    "/iterable/project",
    "/iterable/keys",
    "/webhook/url",
];

/// Settings of the lane and of the configuration, which change neither a call nor a request: the file and the test that show
/// what they do.
const OF_THE_LANE: &[(&str, &str, &str)] = &[
    // All of a webhook's keys sign each body, when it goes.
    ("/webhook/keys", "tests/it/webhook.rs", "every_event_arrives_as_it_came_and_each_key_proves_it"),
    ("/linger", "src/lane/tests.rs", "a_batch_waits_for_its_linger_and_no_longer"),
    ("/max_in_flight", "src/lane/tests.rs", "no_more_requests_are_on_the_wire_than_max_in_flight"),
    ("/max_calls", "src/lane/tests.rs", "an_account_may_want_fewer_calls_in_a_request_than_its_vendor_takes"),
    ("/hold", "src/lane/tests.rs", "an_account_that_its_operator_holds_sends_nothing"),
    (
        "/allow_plaintext",
        "src/config/load/tests/accounts.rs",
        "a_base_url_leads_to_the_vendor_to_this_machine_or_to_an_allowed_host",
    ),
];

/// Values for which nothing can be refused or skipped, and why: the vendor, the setting, its values (none listed: all of
/// them; `""`: the default).
const REFUSES_NOTHING: &[(&str, &str, &[&str], &str)] = &[
    ("", "/enabled", &["", "true"], "what is switched on leaves nothing out"),
    (
        "webhook",
        "/fields/keep",
        &[],
        "an endpoint gets any message: but for a body of a megabyte, there is nothing that a field could be wrong for",
    ),
    ("webhook", "/fields/drop", &[], "the same"),
    ("webhook", "/fields/sha256", &[], "the same"),
    ("webhook", "/fields/rename", &[], "the same"),
    ("moengage", "/moengage/update_existing_only", &[], "the vendor is told to make nobody, and says nothing of it"),
    ("moengage", "/moengage/alerts/OTP/alert_id", &[], "the vendor knows its alerts"),
    ("moengage", "/moengage/alerts/OTP/attributes", &[], "what an alert says is put into its text, whatever it is"),
    ("iterable", "/iterable/prefer_user_id", &[], "the vendor is told whom to look for, and knows who there is"),
    ("iterable", "/iterable/merge_nested_objects", &[], "the vendor is told how to keep what is taken in any case"),
    ("iterable", "/iterable/create_new_fields", &["false"], "what makes no fields is not too much for any project"),
    (
        "iterable",
        "/iterable/dates",
        &[],
        "a text that is no date-time stays as it is, and one that is has about its length",
    ),
    ("iterable", "/iterable/pages", &["", "\"all\""], "all of them are sent"),
    ("iterable", "/iterable/single_event", &["true"], "both names are short, and neither is ever empty"),
];

/// A case and one of its `otherwise`.
struct Pair {
    name: String,
    is_request: bool,
    sides: [Side; 2],
}

struct Side {
    settings: Value,
    expect: Value,
}

impl Side {
    fn of(case: &Value) -> Self {
        Self { settings: tidy(&case["settings"]), expect: case["expect"].clone() }
    }

    fn is_left_out(&self) -> bool {
        self.expect.get("refused").is_some() || self.expect.get("skipped").is_some()
    }
}

impl Pair {
    /// Whether its sides differ in this setting, and in nothing else.
    fn is_about(&self, pointer: &str) -> bool {
        let [one, other] = &self.sides;
        let at = |side: &Side| side.settings.pointer(&in_case(pointer, &side.settings)).cloned();
        let without = |side: &Side| without(&side.settings, &in_case(pointer, &side.settings));
        at(one) != at(other) && without(one) == without(other)
    }
}

/// Settings without empty tables: those say nothing.
fn tidy(settings: &Value) -> Value {
    let Some(fields) = settings.as_object() else { return Map::new().into() };
    let tidied = |value: &Value| if value.is_object() { tidy(value) } else { value.clone() };
    let full = |value: &Value| value.as_object().is_none_or(|fields| !fields.is_empty());
    let fields = fields.iter().map(|(name, value)| (name.clone(), tidied(value))).filter(|(_, value)| full(value));
    fields.collect::<Map<_, _>>().into()
}

fn without(settings: &Value, pointer: &str) -> Value {
    let mut left = settings.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    if let Some(fields) = left.pointer_mut(parent).and_then(Value::as_object_mut) {
        fields.remove(name);
    }
    tidy(&left)
}

/// The setting's place in a case: the name of an alert is the tenant's.
fn in_case(pointer: &str, settings: &Value) -> String {
    let alerts = settings.pointer("/moengage/alerts").and_then(Value::as_object);
    let name = alerts.and_then(|alerts| alerts.keys().next()).map_or("OTP", String::as_str);
    pointer.replace("/OTP", &format!("/{name}"))
}

fn pairs(cases: &[(String, Value)]) -> Vec<Pair> {
    let of_case = |(name, case): &(String, Value)| -> Vec<Pair> {
        let others = case["otherwise"].as_array().into_iter().flatten();
        let pair = |other| Pair {
            name: name.clone(),
            is_request: case.get("request").is_some(),
            sides: [Side::of(case), Side::of(other)],
        };
        others.map(pair).collect()
    };
    cases.iter().flat_map(of_case).collect()
}

#[test]
fn a_pair_differs_in_one_setting_and_ends_differently() {
    let mut wrong = Vec::new();
    for vendor in VENDORS {
        let settings = settings::of(vendor);
        for pair in pairs(&cases(vendor)) {
            if pair.sides[0].expect == pair.sides[1].expect {
                wrong.push(format!("{vendor}/{}: it ends the same", pair.name));
            }
            if !settings.iter().any(|setting| pair.is_about(&setting.pointer)) {
                wrong.push(format!("{vendor}/{}: its settings do not differ in one", pair.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_value_of_every_setting_is_shown() {
    let mut lacking = Vec::new();
    let mut excepted = BTreeSet::new();
    for vendor in VENDORS {
        let cases = cases(vendor);
        let pairs = pairs(&cases);
        for setting in settings::of(vendor) {
            let Setting { pointer, values } = &setting;
            if let Some((_, file, test)) = OF_THE_LANE.iter().find(|(known, ..)| known == pointer) {
                lacking.extend(no_test(&format!("{vendor}{pointer}"), file, test));
                continue;
            }
            for value in values.each() {
                let what = format!("{vendor}{pointer}: {value:?}");
                if OF_REQUESTS.iter().any(|known| pointer.starts_with(known)) {
                    let shown = in_a_pair(&pairs, pointer, &value, |pair, _| pair.is_request);
                    lacking.extend((!shown).then(|| format!("{what}: no pair of requests")));
                    continue;
                }
                lacking.extend((!is_sent(&cases, pointer, &value)).then(|| format!("{what}: no case is delivered")));
                let left_out = in_a_pair(&pairs, pointer, &value, |_, side| side.is_left_out());
                let exception = exception(vendor, pointer, &value);
                excepted.extend(exception);
                match (left_out, exception.is_some() || needs_none(values, &value, pointer)) {
                    (false, false) => lacking.push(format!("{what}: no pair has it refused or skipped")),
                    (true, true) if exception.is_some() => lacking.push(format!("{what}: is refused after all")),
                    _ => {}
                }
            }
        }
    }
    let unused = (0..REFUSES_NOTHING.len()).filter(|index| !excepted.contains(index));
    lacking.extend(unused.map(|index| format!("{:?}: there is no such setting", REFUSES_NOTHING[index])));
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

/// Whether a side of a pair about this setting has this value, and is as asked for.
fn in_a_pair(pairs: &[Pair], pointer: &str, value: &One, is: impl Fn(&Pair, &Side) -> bool) -> bool {
    let shows =
        |pair: &Pair, side: &Side| value.is(side.settings.pointer(&in_case(pointer, &side.settings))) && is(pair, side);
    pairs.iter().any(|pair| pair.is_about(pointer) && pair.sides.iter().any(|side| shows(pair, side)))
}

fn is_sent(cases: &[(String, Value)], pointer: &str, value: &One) -> bool {
    // What is switched off delivers nothing.
    let never = pointer == "/enabled" && *value == One::Is(false.into());
    let at = |case: &Value| {
        let settings = &case["settings"];
        value.is(settings.pointer(&in_case(pointer, settings)))
    };
    never || cases.iter().any(|(_, case)| is_message(case) && is_delivered(case) && at(case))
}

/// Where nothing is set that has no default, nothing is done.
fn needs_none(values: &Values, value: &One, pointer: &str) -> bool {
    *value == One::Absent && (*values == Values::Any || pointer.contains("/OTP/"))
}

/// The exception that names this value, by its index.
fn exception(vendor: &str, pointer: &str, value: &One) -> Option<usize> {
    let text = match value {
        One::Absent => String::new(),
        One::Is(value) | One::With(value) => value.to_string(),
        One::Anything => "*".to_owned(),
    };
    REFUSES_NOTHING.iter().position(|(of, known, values, _)| {
        (of.is_empty() || *of == vendor) && *known == pointer && (values.is_empty() || values.contains(&text.as_str()))
    })
}
