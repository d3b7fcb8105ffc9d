//! The tools against `serde_json`: the same texts accepted, the same values read.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::copy::{self, Style};
use super::*;

const ROUNDS: u64 = 20_000;

/// Text of a random value, in one of the many ways to write it.
fn write_value(rng: &mut StdRng, depth: u32, out: &mut String) {
    const ATOMS: &[&str] = &[
        "null",
        "true",
        "false",
        "0",
        "-0",
        "12",
        "-3.25",
        "1e5",
        "2E-3",
        "12345678901234567890",
        "1e308",
        "0.1",
        "\"\"",
        "\"plain\"",
        "\"a longer text, of more than eight bytes\"",
        "\"esc \\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u00e9 \\ud83d\\ude00\"",
        "\"ünï 😀 𝄞\"",
        "\"2026-11-20T20:41:00.123Z\"",
        "\"2026-11-20T22:41:00+02:00\"",
        "\"x2026-11-20T20:41:00Z\"",
    ];
    const NAMES: &[&str] = &["a", "b", "name", "email", "a\\u0062", "2026-11-20T20:41:00Z", "", "x.y", "ключ"];
    let space = |rng: &mut StdRng, out: &mut String| out.push_str(["", "", "", " ", "\n\t"][rng.random_range(0..5)]);
    match rng.random_range(0..if depth == 0 { 8 } else { 12 }) {
        8 | 9 => {
            out.push('{');
            for index in 0..rng.random_range(0..5) {
                if index > 0 {
                    out.push(',');
                }
                space(rng, out);
                out.push('"');
                out.push_str(NAMES[rng.random_range(0..NAMES.len())]);
                out.push('"');
                space(rng, out);
                out.push(':');
                space(rng, out);
                write_value(rng, depth - 1, out);
                space(rng, out);
            }
            out.push('}');
        }
        10 | 11 => {
            out.push('[');
            for index in 0..rng.random_range(0..4) {
                if index > 0 {
                    out.push(',');
                }
                space(rng, out);
                write_value(rng, depth - 1, out);
                space(rng, out);
            }
            out.push(']');
        }
        _ => out.push_str(ATOMS[rng.random_range(0..ATOMS.len())]),
    }
}

fn random(rng: &mut StdRng) -> String {
    let mut out = String::new();
    write_value(rng, 4, &mut out);
    out
}

/// Changes a few bytes; `None` if the result is not UTF-8.
fn broken(rng: &mut StdRng, text: &str) -> Option<String> {
    const BYTES: &[u8] = b"\"\\{}[]:,0123456789.eE+-u dDtfn\x00\x1f\n/";
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=bytes.len());
        let byte = BYTES[rng.random_range(0..BYTES.len())];
        match rng.random_range(0..4) {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 if at < bytes.len() => bytes[at] = byte,
            _ => bytes.truncate(at),
        }
    }
    String::from_utf8(bytes).ok()
}

#[test]
fn accepts_exactly_what_serde_json_accepts() {
    let mut rng = StdRng::seed_from_u64(1);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let text = random(&mut rng);
        Tape::parse(&text).expect(&text);
        for _ in 0..4 {
            let Some(text) = broken(&mut rng, &text) else { continue };
            let serde = serde_json::from_str::<Value>(&text);
            let ours = Tape::parse(&text);
            assert_eq!(ours.is_ok(), serde.is_ok(), "{text:?}: {ours:?}, {serde:?}");
            if ours.is_ok() { accepted += 1 } else { refused += 1 }
        }
    }
    assert!(accepted > ROUNDS / 10 && refused > ROUNDS, "{accepted} accepted, {refused} refused");
}

#[test]
fn refuses_what_only_a_lenient_parser_takes() {
    for text in [
        r#""\ud800""#,
        r#""\ud800\u0041""#,
        r#""\udc00""#,
        r#"{"a\ud83d":1}"#,
        "1e999",
        "[-1e999]",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "\"\t\"",
        "\u{feff}{}",
        "{} {}",
        "",
        "{\"a\":1,}",
        "NaN",
        "'a'",
        "[1 2]",
    ] {
        assert!(Tape::parse(text).is_err(), "{text}");
    }
    let long = "9".repeat(400);
    assert!(Tape::parse(&long).is_err());
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(Tape::parse(&deep(check::MAX_DEPTH)).is_ok());
    assert_eq!(Tape::parse(&deep(check::MAX_DEPTH + 1)).err().map(|fault| fault.what), Some("nested too deeply"));
    assert!(Tape::parse(&deep(100_000)).is_err());
}

#[test]
fn says_where_the_fault_is() {
    assert_eq!(Tape::parse(r#"{"a":x}"#).err(), Some(Fault { at: 5, what: "expected a value" }));
    assert_eq!(Tape::parse("{} ,").err(), Some(Fault { at: 3, what: "something follows the JSON value" }));
}

/// The value as the iterators see it.
fn walk(raw: Raw<'_>) -> Value {
    if raw.is_object() {
        raw.fields().map(|field| (field.name().into_owned(), walk(field.value))).collect::<Map<_, _>>().into()
    } else if raw.is_array() {
        raw.items().map(walk).collect::<Vec<_>>().into()
    } else if let Some(text) = raw.string() {
        text.into_owned().into()
    } else {
        serde_json::from_str(raw.get()).expect("an atom")
    }
}

#[test]
fn reads_what_serde_json_reads() {
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..ROUNDS {
        let text = random(&mut rng);
        let expected = serde_json::from_str::<Value>(&text).expect(&text);
        assert_eq!(walk(Tape::parse(&text).expect(&text).value()), expected, "{text}");
        for name in ["a", "ab", "email", "missing"] {
            let tape = Tape::trusted(text.trim());
            let found = tape.value().field(name).map(walk);
            assert_eq!(found.as_ref(), expected.as_object().and_then(|object| object.get(name)), "{name} of {text}");
        }
    }
}

#[test]
fn what_the_tape_tells_is_what_the_bytes_tell() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut tape = Tape::default();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        // An object, as messages are, with white space around it or not.
        let text = format!("{1}{{\"a\":{0},\"b\":[{0}, 1]}}{1}", random(&mut rng), ["", " "][rng.random_range(0..2)]);
        tape.read(&text).expect(&text);
        let scanned = Tape::trusted(text.trim());
        let (noted, read) = (tape.value(), scanned.value());
        assert_eq!(noted, read);
        assert_eq!(walk(noted), serde_json::from_str::<Value>(&text).expect(&text), "{text}");
        let each = |object: Raw<'_>| object.fields().map(|field| (field.key().to_owned(), walk(field.value))).collect();
        let (by_nodes, by_bytes): (Vec<_>, Vec<_>) = (each(noted), each(read));
        assert_eq!(by_nodes, by_bytes, "{text}");
        for _ in 0..4 {
            let Some(text) = broken(&mut rng, &text) else { continue };
            let noted = tape.read(&text).map(|()| walk(tape.value()));
            let read = Tape::parse(&text).map(|tape| walk(tape.value()));
            let is_object = text.trim_ascii_start().starts_with('{');
            assert_eq!(noted.as_ref().ok(), read.as_ref().ok().filter(|_| is_object), "{text}");
            if noted.is_ok() { accepted += 1 } else { refused += 1 }
        }
    }
    assert!(accepted > ROUNDS / 10 && refused > ROUNDS, "{accepted} accepted, {refused} refused");
}

#[test]
fn a_message_of_very_many_values_or_bytes_is_read_without_notes() {
    let mut tape = Tape::default();
    for (count, padding) in [(10, 0), (4_093, 0), (4_094, 0), (4_095, 0), (5_000, 0), (3, 64 * 1024), (3, 200_000)] {
        let items = vec!["[1]"; count / 2].join(",");
        let text = format!("{{\"a\":[{items}],\"b\":\"{}\"}}", "x".repeat(padding));
        tape.read(&text).expect("JSON");
        let message = tape.value();
        assert_eq!(walk(message), serde_json::from_str::<Value>(&text).expect("JSON"), "{count} {padding}");
        assert_eq!(message.field("b").and_then(Raw::string).map(|text| text.len()), Some(padding));
    }
}

#[test]
fn nothing_panics_on_text_that_is_not_json() {
    let mut rng = StdRng::seed_from_u64(3);
    let style = Style { flatten: true, dates: true };
    for _ in 0..ROUNDS {
        let text = random(&mut rng);
        for _ in 0..4 {
            let Some(text) = broken(&mut rng, &text) else { continue };
            let tape = Tape::trusted(&text);
            let raw = tape.value();
            let read: usize = raw.fields().map(|field| field.name().len() + field.value.items().count()).sum();
            let _ = (read, raw.items().count(), raw.string(), raw.id(), raw.scalar(), raw.field("a"), unescape(&text));
            let mut out = Vec::new();
            copy::object(&mut out, raw, style);
            copy::value(&mut out, raw, true);
        }
    }
}

fn dated(value: Value) -> Value {
    match value {
        Value::String(text) => match text.as_str() {
            "2026-11-20T20:41:00.123Z" | "2026-11-20T22:41:00+02:00" => json!("2026-11-20 20:41:00 +00:00"),
            _ => text.into(),
        },
        Value::Array(items) => items.into_iter().map(dated).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, dated(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

fn flattened(path: &str, value: &Value, out: &mut Map<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flattened(&format!("{path}.{name}"), value, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, value) in items.iter().enumerate() {
                flattened(&format!("{path}[{index}]"), value, out);
            }
        }
        other => drop(out.insert(path.to_owned(), other.clone())),
    }
}

#[test]
fn copies_with_the_changes_asked_for_and_no_others() {
    let mut rng = StdRng::seed_from_u64(4);
    for _ in 0..ROUNDS {
        // No name twice: the order of a flattened twin is nobody's promise.
        let text = random(&mut rng);
        let value: Value = serde_json::from_str(&text).expect(&text);
        let text = if rng.random() { value.to_string() } else { format!("{value:#}") };
        let copied = |style| {
            let mut out = Vec::new();
            copy::object(&mut out, Tape::trusted(&*text).value(), style);
            serde_json::from_slice::<Value>(&out).expect(&text)
        };
        assert_eq!(copied(Style::default()), value);
        assert_eq!(copied(Style { dates: true, flatten: false }), dated(value.clone()), "{text}");
        if let Value::Object(fields) = &value {
            let mut expected = Map::new();
            for (name, value) in fields {
                flattened(name, value, &mut expected);
            }
            let unambiguous = !text.contains("x.y");
            let flat = copied(Style { flatten: true, dates: true });
            assert!(!unambiguous || flat == dated(expected.into()), "{text}");
        }
    }
}

#[test]
fn dates_are_rewritten_as_whole_values_only() {
    for (text, expected) in [
        (r#"{"a":"2026-11-20T20:41:00Z"}"#, r#"{"a":"2026-11-20 20:41:00 +00:00"}"#),
        (
            r#"["2026-11-20T20:41:00.999Z","2026-11-20T20:41:00+05:30"]"#,
            r#"["2026-11-20 20:41:00 +00:00","2026-11-20 15:11:00 +00:00"]"#,
        ),
        (r#"{"2026-11-20T20:41:00Z" : 1}"#, r#"{"2026-11-20T20:41:00Z" : 1}"#),
        (r#""\"2026-11-20T20:41:00Z\"""#, r#""\"2026-11-20T20:41:00Z\"""#),
        (r#""2026-11-20""#, r#""2026-11-20""#),
        (r#""2026-11-20T20:41:00""#, r#""2026-11-20 20:41:00 +00:00""#),
        (
            r#"["2026-11-20 20:41:00","2026-11-20T20:41Z"]"#,
            r#"["2026-11-20 20:41:00 +00:00","2026-11-20 20:41:00 +00:00"]"#,
        ),
        (r#""2026-11-20 20:41:00.5-05""#, r#""2026-11-21 01:41:00 +00:00""#),
        (r#"{"a":"2026-11-20T20:41:00\u002b02:00"}"#, r#"{"a":"2026-11-20 18:41:00 +00:00"}"#),
        (
            r#"{"\u0032026-11-20T20:41:00Z":"\"","b":"2026-11-20T20:41:00Z"}"#,
            r#"{"\u0032026-11-20T20:41:00Z":"\"","b":"2026-11-20 20:41:00 +00:00"}"#,
        ),
        (r#""2026-11-20 20:41:00 o'clock""#, r#""2026-11-20 20:41:00 o'clock""#),
        (r#""2026-11-20T20""#, r#""2026-11-20T20""#),
        (r#""2026-11-20T20:41:00Z!""#, r#""2026-11-20T20:41:00Z!""#),
        (r#""2026-02-30T20:41:00Z""#, r#""2026-02-30T20:41:00Z""#),
    ] {
        let mut out = Vec::new();
        copy::value(&mut out, Tape::parse(text).expect(text).value(), true);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }
}

#[test]
fn written_strings_and_integers_read_back() {
    let mut rng = StdRng::seed_from_u64(5);
    for _ in 0..ROUNDS {
        let text: String =
            (0..rng.random_range(0..20)).map(|_| char::from_u32(rng.random_range(0..0x120)).unwrap_or('"')).collect();
        let mut out = Vec::new();
        write::string(&mut out, &text);
        assert_eq!(serde_json::from_slice::<String>(&out).expect("a string"), text);
        let number: i64 = rng.random::<i64>() >> rng.random_range(0..64);
        let mut out = Vec::new();
        write::integer(&mut out, number);
        assert_eq!(out, number.to_string().as_bytes());
    }
    let mut out = Vec::new();
    write::integer(&mut out, i64::MIN);
    assert_eq!(out, i64::MIN.to_string().as_bytes());
}

#[test]
fn a_text_is_a_number_exactly_if_it_is_the_json_of_one() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut numbers = 0;
    for round in 0..ROUNDS {
        let text = format!("{1}{0}{1}", random(&mut rng), ["", " \n"][usize::from(round % 2 == 0)]);
        for text in [Some(text.clone()), broken(&mut rng, &text)].into_iter().flatten() {
            let expected = serde_json::from_str::<Value>(&text).is_ok_and(|value| value.is_number());
            assert_eq!(number(&text), expected.then(|| text.trim_ascii()), "{text:?}");
            numbers += usize::from(expected);
        }
    }
    assert!(numbers > 1_000, "{numbers}");
}

#[test]
fn lookups() {
    let tape = Tape::trusted(r#"{"a":1,"n":null,"s":"","t":"x","o":{},"b":true,"a":2}"#);
    let raw = tape.value();
    assert_eq!(raw.field("a").map(Raw::get), Some("2"), "the last one counts");
    assert_eq!(raw.field("a").and_then(Raw::id).as_deref(), Some("2"));
    assert_eq!(raw.field("s").and_then(Raw::id), None);
    assert_eq!(raw.field("n").and_then(Raw::id), None);
    assert_eq!(raw.field("b").and_then(Raw::scalar).as_deref(), Some("true"));
    assert_eq!(raw.field("o").and_then(Raw::scalar), None);
    assert_eq!(raw.field("n").and_then(Raw::scalar), None);
    assert!(raw.field("a").is_some_and(|value| value.field("x").is_none() && value.items().next().is_none()));
}

#[test]
fn a_long_name_above_many_values_is_not_repeated_until_the_memory_is_full() {
    let text = format!(r#"{{"{}":[{}0]}}"#, "k".repeat(20_000), "0,".repeat(4_000));
    let tape = Tape::parse(&text).expect("JSON");
    let object = tape.value();
    let mut out = Vec::new();
    copy::object(&mut out, object, Style { flatten: true, dates: false });
    assert!((8_000_000..9_000_000).contains(&out.len()), "{}", out.len());
}

#[test]
fn a_long_text_is_found_wherever_it_stands_by_its_characters() {
    let found = |text: &str| super::long_text(text, 4);
    assert_eq!(found(r#"{"a":"1234","long name":1,"b":["é234","\u00e9\"34"]}"#), None);
    assert_eq!(found(r#"{"a":{"b":[1,{},"12345"]}}"#).as_deref(), Some("b"));
    assert_eq!(found(r#"{"a":{"\u0062" : "\u00e9\"345"}}"#).as_deref(), Some("b"));
    assert_eq!(found(r#""x":{"c":"12345"}"#).as_deref(), Some("c"));
    assert_eq!(found("12345"), None);
}

#[test]
fn of_what_is_flattened_to_one_name_the_last_stays() {
    let style = Style { flatten: true, dates: false };
    for (object, expected) in [
        (r#"{"a":{"b":1},"a.b":2}"#, r#"{"a.b":2}"#),
        (r#"{"a.b":2,"c":0,"a":{"b":1}}"#, r#"{"c":0,"a.b":1}"#),
        (r#"{"a":{"b":1},"a.b":2,"a":{"b":3}}"#, r#"{"a.b":3}"#),
        (r#"{"a":[1,{"x":2}],"a[1]":{"x":3},"a[1].x":"4"}"#, r#"{"a[0]":1,"a[1].x":"4"}"#),
        (r#"{"a":{"b":1,"c":2},"a\u002eb":[],"a":{"b":{}}}"#, r#"{"a.b":{}}"#),
        (r#"{"a":{"b":1},"a.c":2}"#, r#"{"a.b":1,"a.c":2}"#),
    ] {
        let mut out = b"{\"x\":[1,".to_vec();
        copy::object(&mut out, Tape::parse(object).expect(object).value(), style);
        assert_eq!(String::from_utf8_lossy(&out), format!("{{\"x\":[1,{expected}"));
    }
}
