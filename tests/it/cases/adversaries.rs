//! Input that is made to break a body, byte for byte, among good neighbours: it ends as a dead letter or is encoded right,
//! and the neighbours arrive.

use serde_json::{Value, json};

use super::properties::sent;
use super::{VENDORS, account, reference};

/// What becomes of a value at every destination: it is encoded, or refused for this reason.
type Adversary = (&'static str, Vec<u8>, Result<(), &'static str>);

fn track(properties: &str) -> Vec<u8> {
    format!(r#"{{"type":"track","userId":"u-1","messageId":"m-1","event":"Order Placed","properties":{properties}}}"#)
        .into()
}

fn deep(levels: usize) -> Vec<u8> {
    // The message and its properties are two levels themselves.
    track(&format!("{}0{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1)))
}

fn with(before: &[u8], event: &[u8], behind: &[u8]) -> Vec<u8> {
    [before, event, behind].concat()
}

const BAD: Result<(), &str> = Err("malformed");

/// In the values of a message.
fn values() -> Vec<Adversary> {
    vec![
        ("duplicate keys", track(r#"{"a":1,"a":{"b":2},"a":"last"}"#), Ok(())),
        (
            "a duplicate of a field of the message",
            with(br#"{"properties":{"first":1},"#, &track(r#"{"a":1}"#)[1..], b""),
            Ok(()),
        ),
        ("a lone high surrogate", track(r#"{"a":"\ud83d"}"#), BAD),
        ("a lone low surrogate", track(r#"{"a":"\ude80"}"#), BAD),
        ("surrogates in the wrong order", track(r#"{"a":"\ude80\ud83d"}"#), BAD),
        ("a lone surrogate as a key", track(r#"{"\ud83d":1}"#), BAD),
        ("a pair of surrogates", track(r#"{"a":"\ud83d\ude80","\ud83d\ude80":1}"#), Ok(())),
        ("U+0000 escaped", track(r#"{"a":"\u0000","\u0000":1}"#), Ok(())),
        ("U+0000 as it is", track("{\"a\":\"\u{0}\"}"), BAD),
        ("control characters as they are", track("{\"a\":\"\n\"}"), BAD),
        ("nesting that every parser takes", deep(100), Ok(())),
        ("nesting that no body could hold", deep(130), BAD),
        ("ten thousand levels", deep(10_000), BAD),
        ("ten thousand levels that never close", track(&"[".repeat(10_000)), BAD),
        ("a huge number", track(r#"{"a":1e999}"#), BAD),
        ("a huge negative number", track(r#"{"a":-1e999}"#), BAD),
        ("a number of four hundred digits", track(&format!(r#"{{"a":{}}}"#, "9".repeat(400))), BAD),
        ("a number of forty digits", track(&format!(r#"{{"a":{}}}"#, "9".repeat(40))), Ok(())),
        (
            "numbers at the edge",
            track(r#"{"a":1e308,"b":5e-324,"c":1e-999,"d":9007199254740993,"e":-9223372036854775809}"#),
            Ok(()),
        ),
        ("minus zero and exponents", track(r#"{"a":-0,"b":-0.0,"c":1E+2,"d":1e-2,"e":0e0}"#), Ok(())),
        ("a leading zero", track(r#"{"a":01}"#), BAD),
        ("a plus", track(r#"{"a":+1}"#), BAD),
        ("NaN", track(r#"{"a":NaN}"#), BAD),
    ]
}

/// In the text itself.
fn texts() -> Vec<Adversary> {
    let good = track("{}");
    vec![
        (
            "broken UTF-8",
            with(b"", &track("{\"a\":\"x\"}"), b"")
                .iter()
                .map(|byte| if *byte == b'x' { 0xff } else { *byte })
                .collect(),
            BAD,
        ),
        ("an overlong encoding", with(&track("{\"a\":\"")[..track("{\"a\":\"").len() - 1], b"\xc0\x80\"}}", b""), BAD),
        ("a byte order mark", with(b"\xef\xbb\xbf", &good, b""), BAD),
        ("trailing bytes", with(b"", &good, b"}"), BAD),
        ("a second message", with(b"", &good, &good), BAD),
        ("a trailing zero byte", with(b"", &good, b"\0"), BAD),
        ("a trailing comma", track(r#"{"a":1,}"#), BAD),
        ("white space around", with(b" \r\n\t", &good, b"\n\n "), Ok(())),
        ("other white space around", with("\u{a0}".as_bytes(), &good, b""), BAD),
        ("a comment", track("{}/* */"), BAD),
        ("single quotes", track("{'a':1}"), BAD),
        (
            "keys like ours",
            track(
                r#"{"type":"x","elements":[],"customer_id":"y","events":[],"users":[],"dataFields":{},"eventName":"z","id":7,"createdAt":0,"userId":"w","\u0069d":8}"#,
            ),
            Ok(()),
        ),
        ("strings that would close the body", track(r#"{"a":"\"}]}","b":"]}}{\"users\":[","\"}]":"\\"}"#), Ok(())),
        ("a string that ends with a backslash", track(r#"{"a":"x\\","b":"\\\""}"#), Ok(())),
        ("an escape that is cut", track(r#"{"a":"\u00"}"#), BAD),
        ("an unknown escape", track(r#"{"a":"\x41"}"#), BAD),
        ("nothing", Vec::new(), BAD),
        ("white space alone", b"  ".to_vec(), BAD),
        ("no object", b"[]".to_vec(), BAD),
        ("a string that holds an event", format!("{:?}", String::from_utf8_lossy(&good)).into(), BAD),
        ("UTF-16", good.iter().flat_map(|byte| [*byte, 0]).collect(), BAD),
        ("compressed", b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), Err("encoding")),
    ]
}

fn neighbour(number: usize) -> Vec<u8> {
    format!(r#"{{"type":"track","userId":"n-{number}","messageId":"n-{number}","event":"Good","properties":{{"neighbour":{number}}}}}"#)
        .into()
}

/// The elements of all bodies, by what names the list.
fn elements(bodies: &[(bytes::Bytes, usize)]) -> Vec<Value> {
    let lists = bodies.iter().map(|(body, _)| {
        let body: Value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("a broken batch: {error}"));
        let list = if body.is_array() { &body } else { body.get("elements").unwrap_or(&body["events"]) };
        list.as_array().cloned().unwrap_or_else(|| panic!("{body}"))
    });
    lists.flatten().collect()
}

#[test]
fn each_is_a_dead_letter_or_encoded_right_and_its_neighbours_arrive() {
    for vendor in VENDORS {
        let config = account::config(vendor, &Value::Null, &Value::Null);
        for (name, value, expected) in values().into_iter().chain(texts()) {
            let events = [neighbour(0), value.clone(), neighbour(1)];
            let sent = sent(&config, &events);
            let mut found = elements(&sent.bodies);
            for number in 0..2 {
                let own = format!("\"neighbour\":{number}");
                let at = found.iter().position(|element| element.to_string().contains(&own));
                found.remove(at.unwrap_or_else(|| panic!("{vendor}, {name}: a neighbour is lost")));
            }
            let letters: Vec<_> = expected.err().map(|reason| (1, reason)).into_iter().collect();
            assert_eq!(sent.letters, letters, "{vendor}: {name}");
            let mut expected = Vec::new();
            if letters.is_empty() {
                let plain: Value = serde_json::from_slice(&value).expect(name);
                expected.push(match vendor {
                    "moengage" => reference::moengage(&plain, false).expect(name),
                    "iterable" => reference::iterable(&plain, false, "hybrid").expect(name),
                    _ => plain,
                });
            }
            assert_eq!(json!(found), json!(expected), "{vendor}: {name}");
        }
    }
}
