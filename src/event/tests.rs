//! What records decode to, and what they are refused for.

use super::*;

const ORIGIN: Origin<'_> = Origin { topic: "events", partition: 3, offset: 17, timestamp_ms: Some(1_000) };

fn decode(value: &[u8]) -> Result<Event<'_>, Refusal> {
    Event::decode(value, ORIGIN, Box::leak(Box::default()))
}

fn event(json: &str) -> Event<'_> {
    decode(json.as_bytes()).expect(json)
}

fn refused(value: &[u8]) -> (Reason, String) {
    let refusal = decode(value).expect_err(&String::from_utf8_lossy(value));
    (refusal.reason, refusal.detail.into_owned())
}

#[test]
fn an_ordinary_event_is_borrowed_whole() {
    let json = r#" {"type":"track","userId":"u1","event":"Sign Up","messageId":"m1","channel":"web",
        "properties":{"a":1},"traits":[],"context":{"traits":{"id":7}},"integrations":{},"unknown":[1],
        "timestamp":"2026-11-20T20:41:00Z","anonymousId":null,"groupId":""} "#;
    let event = event(json);
    assert_eq!(event.kind, Kind::Track);
    assert!(matches!(event.user_id, Some(Cow::Borrowed("u1"))));
    assert!(matches!(event.event, Some(Cow::Borrowed("Sign Up"))));
    assert_eq!(event.properties.map(Raw::get), Some(r#"{"a":1}"#));
    assert!(event.traits.is_none(), "not an object");
    assert!(event.anonymous_id.is_none() && event.group_id.is_none());
    assert_eq!(event.whole.get(), json.trim());
    assert_eq!(event.time_ms(), Some(1_795_207_260_000));
    assert_eq!(event.id(), "m1");
}

#[test]
fn ids_may_be_numbers_names_may_be_escaped_and_the_last_of_two_counts() {
    let event =
        event(r#"{"type":"identify","userId":"x","user\u0049d":12345678901234567890,"event":5,"messageId":""}"#);
    assert_eq!(event.user_id.as_deref(), Some("12345678901234567890"));
    assert_eq!(event.event, None);
    assert_eq!(event.id(), "events-3-17");
    assert_eq!(event.time_ms(), Some(1_000), "the record's");
}

#[test]
fn what_is_no_json_object_is_malformed_and_says_where() {
    for (value, detail) in [
        (&b""[..], "no JSON at byte 0"),
        (b"  ", "no JSON at byte 2"),
        (b"[]", "not a JSON object at byte 0"),
        (b"hello", "not a JSON object at byte 0"),
        (b"{\"type\":\"track\"", "ends too early at byte 15"),
        (b"{\"type\":\"track\"}{", "something follows the JSON value at byte 16"),
        (b"{\"a\":\"\xff\"}", "not UTF-8 at byte 6"),
        (b"\xef\xbb\xbf{}", "byte order mark at byte 0"),
        (b"{\"a\":\"\\ud800\"}", "lone surrogate at byte 6"),
        (b"{\"a\":1e999}", "number out of range at byte 5"),
        (b"\0\0\0\0\x01{\"a\":}", "expected a value at byte 10"),
        (b"\0\0\0\0\x01\n {\"a\":}", "expected a value at byte 12"),
    ] {
        assert_eq!(refused(value), (Reason::Malformed, detail.to_owned()));
    }
}

#[test]
fn binary_is_an_encoding() {
    for value in [
        &b"\0\0\0\0\x01\x02ab"[..],
        b"\0{}",
        b"\0\0\0\0\x01 \n",
        b"\0\0\0\0\x01 \x02{}",
        b"\0",
        b"Obj\x01\x04",
        b"\n\x05hello\x12\x03abc",
        b"\xff\xfe{\0}\0",
        b"\x1f\x8b\x08\0\0",
    ] {
        assert_eq!(refused(value).0, Reason::Encoding, "{value:?}");
    }
}

#[test]
fn a_registrys_header_before_json_is_stepped_over() {
    let event = decode(b"\0\0\0\0\x2a \r\n\t{\"type\":\"track\"}\n").expect("JSON behind white space");
    assert_eq!(event.whole.get(), r#"{"type":"track"}"#);
    let event = decode(b"\0\0\0\0\x2a{\"type\":\"track\"}").expect("JSON");
    assert_eq!(event.whole.get(), r#"{"type":"track"}"#);
}

#[test]
fn the_type_must_be_one_of_the_six() {
    for kind in Kind::ALL {
        assert_eq!(event(&format!(r#"{{"type":"{}"}}"#, kind.name())).kind, kind);
    }
    for json in ["{}", r#"{"type":null}"#, r#"{"type":"Track"}"#, r#"{"type":"delete"}"#, r#"{"type":["track"]}"#] {
        assert_eq!(refused(json.as_bytes()).0, Reason::UnknownType, "{json}");
    }
}

#[test]
fn the_user_is_looked_for_in_five_places() {
    for (json, user) in [
        (r#"{"type":"track","userId":"1","traits":{"userId":"2"}}"#, Some("1")),
        (r#"{"type":"track","userId":"","traits":{"userId":"2","id":"3"}}"#, Some("2")),
        (r#"{"type":"track","traits":{"userId":null,"id":3},"context":{"traits":{"userId":"4"}}}"#, Some("3")),
        (r#"{"type":"track","traits":{},"context":{"traits":{"id":"5","userId":"4"}}}"#, Some("4")),
        (r#"{"type":"track","context":{"traits":{"id":"5"}}}"#, Some("5")),
        (r#"{"type":"track","anonymousId":"6"}"#, None),
    ] {
        assert_eq!(event(json).user().as_deref(), user, "{json}");
    }
}

#[test]
fn an_anonymous_id_counts_only_where_the_account_says_so() {
    let anonymous = event(r#"{"type":"track","anonymousId":"a1"}"#);
    assert_eq!(anonymous.anonymous(Anonymous::Use).as_deref(), Ok("a1"));
    assert_eq!(anonymous.anonymous(Anonymous::Skip), Err(No::Skipped(Skip::Anonymous, Some("anonymous"))));
    assert!(
        matches!(anonymous.anonymous(Anonymous::Refuse), Err(No::Refused(refusal)) if refusal.reason == Reason::Anonymous)
    );
    let nobody = event(r#"{"type":"track"}"#);
    for setting in [Anonymous::Use, Anonymous::Skip, Anonymous::Refuse] {
        assert!(matches!(nobody.anonymous(setting), Err(No::Refused(refusal)) if refusal.reason == Reason::NoUser));
    }
}

#[test]
fn a_time_that_cannot_be_read_gives_way_to_the_next() {
    for (json, time) in [
        (r#"{"type":"track","timestamp":"never","originalTimestamp":"1970-01-01T00:00:02Z"}"#, 2_000),
        (
            r#"{"type":"track","timestamp":null,"originalTimestamp":{},"traits":{"createdAt":"1970-01-01T00:00:09Z"}}"#,
            1_000,
        ),
        (r#"{"type":"track","timestamp":1795207260}"#, 1_795_207_260_000),
    ] {
        assert_eq!(event(json).time_ms(), Some(time), "{json}");
    }
}

#[test]
fn integrations_by_account_then_destination_then_all() {
    for (integrations, allowed) in [
        ("{}", true),
        (r#"{"All":true}"#, true),
        (r#"{"All":false}"#, false),
        (r#"{"All":false,"MoEngage":true}"#, true),
        (r#"{"All":false,"moengage":{"x":1}}"#, true),
        (r#"{"MOENGAGE":false}"#, false),
        (r#"{"MoEngage":false,"acme-engage":true}"#, true),
        (r#"{"Acme-Engage":false,"MoEngage":true}"#, false),
        (r#"{"Iterable":false}"#, true),
        (r#"{"MoEngage":null,"All":"no"}"#, true),
    ] {
        let json = format!(r#"{{"type":"track","integrations":{integrations}}}"#);
        assert_eq!(event(&json).integrations_allow("moengage", "acme-engage"), allowed, "{integrations}");
    }
    assert!(event(r#"{"type":"track","integrations":7}"#).integrations_allow("moengage", "a"));
}

#[test]
fn text_is_found_by_pointer() {
    let event = event(r#"{"type":"track","context":{"a/b":[{"x":1},true,null,"t\n"]}}"#);
    let text = |parts: &[&str]| event.text_at(&parts.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(text(&["type"]).as_deref(), Some("track"));
    assert_eq!(text(&["context", "a/b", "0", "x"]).as_deref(), Some("1"));
    assert_eq!(text(&["context", "a/b", "1"]).as_deref(), Some("true"));
    assert_eq!(text(&["context", "a/b", "3"]).as_deref(), Some("t\n"));
    for missing in [
        &["context"][..],
        &["context", "a/b", "2"],
        &["context", "a/b", "4"],
        &["context", "a/b", "00"],
        &["x", "y"],
        &[],
    ] {
        assert_eq!(text(missing), None, "{missing:?}");
    }
}
