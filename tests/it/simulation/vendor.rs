//! A vendor that answers anything an adversary could: what it took is known exactly, what it says may be late, lost,
//! partial or wrong.

use http::{HeaderMap, HeaderValue};
use rand::Rng;
use rand::rngs::SmallRng;
use serde_json::Value;

/// What is to happen to the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    /// Nothing taken, and an answer of this status.
    Status(u16),
    /// No answer; taken or not.
    Silence {
        taken: bool,
    },
    /// 200 of somebody else.
    Portal,
    /// Iterable only: some identities failed.
    Partial,
    /// Iterable only: everything was taken, and the answer says that something of nobody's failed.
    Lie,
}

/// The name of a call that registers a device.
pub(super) const TOKEN: &str = "token";

/// One element of a request.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) number: u64,
    /// Which of its record's calls it is.
    pub(super) name: String,
    pub(super) json: Value,
}

/// What comes back.
#[derive(Debug)]
pub(super) enum Reply {
    Answer { status: u16, headers: HeaderMap, body: Vec<u8> },
    Silence,
}

/// Whether the request is Iterable's; and each element: its record's number, which of the record's calls it
/// is, and itself.
pub(super) fn elements(path: &str, body: &[u8]) -> (bool, Vec<Element>) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let iterable = path.contains("/api/");
    if let Some(token) = body.pointer("/device/token").and_then(Value::as_str) {
        let number = token.trim_start_matches("tok-").parse().unwrap();
        return (iterable, vec![Element { number, name: TOKEN.to_owned(), json: body }]);
    }
    let list = ["elements", "users", "events"].iter().find_map(|name| body.get(name)).unwrap().as_array().unwrap();
    // A device that MoEngage is told of beside its user is part of that user's call.
    let own = list.iter().filter(|element| element["type"] != "device");
    let known = |element: &Value| {
        let places = ["/actions/0/attributes/n", "/attributes/n", "/dataFields/n"];
        let number = places.iter().find_map(|place| element.pointer(place)).unwrap().as_u64().unwrap();
        let name = element.get("eventName").and_then(Value::as_str).unwrap_or_default();
        Element { number, name: name.to_owned(), json: element.clone() }
    };
    (iterable, own.map(known).collect())
}

/// Answers, and says which elements were taken.
pub(super) fn serve(path: &str, body: &[u8], mood: Mood, rng: &mut SmallRng) -> (Reply, Vec<Element>) {
    let (iterable, elements) = elements(path, body);
    let poison = elements.iter().any(|element| element.json.to_string().contains("poison"));
    let all = || elements.clone();
    let single = elements.iter().any(|element| element.name == TOKEN);
    let mood = if single && matches!(mood, Mood::Partial | Mood::Lie) { Mood::Good } else { mood };
    let success = |iterable| {
        if single {
            answer(200, r#"{"msg":"Success","code":"Success","params":null}"#, None)
        } else {
            success(iterable)
        }
    };
    match mood {
        Mood::Silence { taken } => (Reply::Silence, if taken && !poison { all() } else { Vec::new() }),
        Mood::Portal => (answer(200, "<html>please log in</html>", None), Vec::new()),
        Mood::Status(429) => (answer(429, "slow down", rng.random_bool(0.5).then_some("3")), Vec::new()),
        Mood::Status(413) if elements.len() == 1 && !poison => (success(iterable), all()),
        Mood::Status(413) if elements.len() == 1 => (refusal(iterable), Vec::new()),
        Mood::Status(status) => (answer(status, "{}", None), Vec::new()),
        _ if poison => (refusal(iterable), Vec::new()),
        _ if iterable && elements.iter().any(is_ghost) => without_ghosts(&elements),
        Mood::Partial if iterable => partial(&elements, rng),
        Mood::Lie if iterable && elements.len() > 1 => (lie(), all()),
        Mood::Good | Mood::Partial | Mood::Lie => (success(iterable), all()),
    }
}

fn answer(status: u16, body: &str, retry_after: Option<&'static str>) -> Reply {
    let mut headers = HeaderMap::new();
    if let Some(seconds) = retry_after {
        headers.insert("retry-after", HeaderValue::from_static(seconds));
    }
    Reply::Answer { status, headers, body: body.as_bytes().to_vec() }
}

fn success(iterable: bool) -> Reply {
    let body = if iterable {
        r#"{"successCount":1,"failCount":0,"invalidEmails":[],"invalidUserIds":[]}"#
    } else {
        r#"{"status":"success","message":"Your request has been accepted and will be processed soon."}"#
    };
    answer(200, body, None)
}

fn refusal(iterable: bool) -> Reply {
    let body = if iterable {
        r#"{"msg":"Invalid JSON body","code":"BadJsonBody","params":{}}"#
    } else {
        r#"{"status":"fail","error":{"message":"not a good element","type":"ValueError"}}"#
    };
    answer(400, body, None)
}

/// Whether the element is of a user that Iterable does not have, and never will.
fn is_ghost(element: &Element) -> bool {
    element.json["userId"].as_str().is_some_and(|user| user.contains("ghost"))
}

/// Everything was taken but for users that are not there.
fn without_ghosts(elements: &[Element]) -> (Reply, Vec<Element>) {
    let (ghosts, taken): (Vec<_>, Vec<_>) = elements.iter().cloned().partition(is_ghost);
    let ids: Vec<&Value> = ghosts.iter().map(|element| &element.json["userId"]).collect();
    let body = serde_json::json!({
        "successCount": taken.len(),
        "failCount": ghosts.len(),
        "failedUpdates": { "notFoundUserIds": ids },
    });
    (answer(200, &body.to_string(), None), taken)
}

/// A failure of an identity that no element has.
fn lie() -> Reply {
    let lists = r#""failedUpdates":{"invalidEmails":["nobody@example.com"],"someNewList":["who-else"]}"#;
    answer(200, &format!(r#"{{"successCount":1,"failCount":1,{lists}}}"#), None)
}

/// One user is not good enough: all of that user's elements of this request were not taken, or only the first.
fn partial(elements: &[Element], rng: &mut SmallRng) -> (Reply, Vec<Element>) {
    let unlucky = elements[rng.random_range(0..elements.len())].json["userId"].clone();
    let mut failed: Vec<usize> =
        (0..).zip(elements).filter(|(_, element)| element.json["userId"] == unlucky).map(|(index, _)| index).collect();
    if rng.random_bool(0.5) {
        // The answer names the user once, and does not say which of the elements it was.
        failed.truncate(1);
    }
    let list = if rng.random_bool(0.5) { "notFoundUserIds" } else { "invalidUserIds" };
    let repeated: Vec<&Value> = failed.iter().map(|_| &unlucky).collect();
    let body = serde_json::json!({
        "successCount": elements.len() - failed.len(),
        "failCount": failed.len(),
        "failedUpdates": { list: repeated },
    });
    let taken = (0..).zip(elements).filter(|(index, _)| !failed.contains(index)).map(|(_, element)| element.clone());
    (answer(200, &body.to_string(), None), taken.collect())
}
