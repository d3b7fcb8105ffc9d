//! Any JSON, as proptest strategies: values of every form, rendered with spaces, escapes and numbers as nobody writes
//! them.

use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A value as a text has it: numbers as their digits, fields in their order, also twice.
#[derive(Clone, Debug)]
pub(super) enum Json {
    Atom(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The text; `space` stands wherever it may.
    pub(super) fn write(&self, space: &str, out: &mut String) {
        match self {
            Self::Atom(text) => out.push_str(text),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { space } else { "," });
                    item.write(space, out);
                    out.push_str(space);
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if index == 0 { space } else { "," });
                    out.push_str(name);
                    out.push_str(space);
                    out.push(':');
                    out.push_str(space);
                    value.write(space, out);
                    out.push_str(space);
                }
                out.push('}');
            }
        }
    }

    pub(super) fn text(&self, space: &str) -> String {
        let mut out = String::new();
        self.write(space, &mut out);
        out
    }
}

/// A string's text, quotes included: any characters, some of them escaped.
pub(super) fn string() -> impl Strategy<Value = String> {
    let odd = select(vec![
        r#""""#,
        r#""\u0000""#,
        r#""\"}]}\"""#,
        r#""]}},{\"type\":\"event\"""#,
        r#""\\""#,
        r#""\\\\\"""#,
        r#""\ud83d\ude80""#,
        r#""\/\b\f\n\r\t""#,
        r#""2026-03-24T17:46:45.250Z""#,
        r#""2026-03-24T23:16:45+05:30""#,
        r#""2026-03-24""#,
        r#"" 1.5 ""#,
        r#""1e400""#,
        r#""-0""#,
        r#""true""#,
        r#""a@b.co""#,
        r#""\u0061@b.co""#,
        r#""a@b""#,
        r#""7""#,
        r#""null""#,
        "\"\u{feff}\"",
        "\"\u{2028}\"",
    ]);
    let any = (any::<String>(), any::<bool>()).prop_map(|(text, escaped)| {
        if escaped {
            let mut escaped = String::from('"');
            for unit in text.encode_utf16() {
                let _ = write!(escaped, "\\u{unit:04X}");
            }
            escaped.push('"');
            escaped
        } else {
            serde_json::to_string(&text).expect("a string")
        }
    });
    prop_oneof![odd.prop_map(str::to_owned), any]
}

/// A number's text.
pub(super) fn number() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "0",
        "-0",
        "-0.0",
        "0e0",
        "1e0",
        "1E+2",
        "1e-2",
        "1.0",
        "1e308",
        "-1e308",
        "1e-400",
        "5e-324",
        "9007199254740993",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "0.1000000000000000000000001",
    ]);
    prop_oneof![
        odd.prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        (-1e15..1e15).prop_map(|number: f64| number.to_string()),
    ]
}

/// A field's name, quotes included: one of these, or anything. Dots and brackets apart: what is flattened could meet
/// another field under one name, and which of the two comes last a plain `Value` does not know.
pub(super) fn name(known: &'static [&'static str]) -> impl Strategy<Value = String> {
    let known = select(known).prop_map(|name| format!("\"{name}\""));
    let escaped = select(known_escapes()).prop_map(str::to_owned);
    let any = string().prop_map(|name| {
        let plain: String = serde_json::from_str(&name).unwrap_or_default();
        if plain.contains(['.', '[']) {
            return serde_json::to_string(&plain.replace(['.', '['], "_")).unwrap_or_default();
        }
        name
    });
    prop_oneof![5 => known, 1 => escaped, 3 => any]
}

/// Names that would be ours, or a shape's own, once their escapes are read.
fn known_escapes() -> Vec<&'static str> {
    vec![
        r#""\u0070hone""#,
        r#""cust\u006fmer_id""#,
        r#""n\u0061me""#,
        r#""\u0065mail""#,
        r#""user\u0049d""#,
        r#""moe\u005fy""#,
        r#""a\"b""#,
        r#""\u0000""#,
    ]
}

/// Any value, so deep.
pub(super) fn value(known: &'static [&'static str]) -> impl Strategy<Value = Json> {
    let atom = prop_oneof![select(vec!["null", "true", "false"]).prop_map(str::to_owned), number(), string(),]
        .prop_map(Json::Atom);
    atom.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Json::List),
            vec((name(known), inner), 0..6).prop_map(Json::Object),
        ]
    })
}

/// Any object.
pub(super) fn object(known: &'static [&'static str]) -> impl Strategy<Value = Json> {
    vec((name(known), value(known)), 0..10).prop_map(Json::Object)
}
