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
}

/// What comes back.
#[derive(Debug)]
pub(super) enum Reply {
    Answer { status: u16, headers: HeaderMap, body: Vec<u8> },
    Silence,
}

/// Whether the request is Iterable's, its elements, and their numbers.
pub(super) fn elements(path: &str, body: &[u8]) -> (bool, Vec<(u64, bool, Value)>) {
    let body: Value = serde_json::from_slice(body).unwrap();
    let iterable = path.contains("/api/");
    let list = ["elements", "users", "events"].iter().find_map(|name| body.get(name)).unwrap().as_array().unwrap();
    let known = |element: &Value| {
        let places = ["/actions/0/attributes/n", "/attributes/n", "/dataFields/n"];
        let number = places.iter().find_map(|place| element.pointer(place)).unwrap().as_u64().unwrap();
        let state = element.get("actions").is_none() && element.get("eventName").is_none();
        (number, state, element.clone())
    };
    (iterable, list.iter().map(known).collect())
}

/// Answers, and says which elements were taken.
pub(super) fn serve(path: &str, body: &[u8], mood: Mood, rng: &mut SmallRng) -> (Reply, Vec<(u64, bool)>) {
    let (iterable, elements) = elements(path, body);
    let poison = elements.iter().any(|(_, _, element)| element.to_string().contains("poison"));
    let all = || elements.iter().map(|(number, state, _)| (*number, *state)).collect();
    match mood {
        Mood::Silence { taken } => (Reply::Silence, if taken && !poison { all() } else { Vec::new() }),
        Mood::Portal => (answer(200, "<html>please log in</html>", None), Vec::new()),
        Mood::Status(429) => (answer(429, "slow down", rng.random_bool(0.5).then_some("3")), Vec::new()),
        Mood::Status(413) if elements.len() == 1 && !poison => (success(iterable), all()),
        Mood::Status(413) if elements.len() == 1 => (refusal(iterable), Vec::new()),
        Mood::Status(status) => (answer(status, "{}", None), Vec::new()),
        _ if poison => (refusal(iterable), Vec::new()),
        Mood::Partial if iterable => partial(&elements, rng),
        Mood::Good | Mood::Partial => (success(iterable), all()),
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

/// One user is not known to the vendor: all of that user's elements of this request were not taken.
fn partial(elements: &[(u64, bool, Value)], rng: &mut SmallRng) -> (Reply, Vec<(u64, bool)>) {
    let unlucky = elements[rng.random_range(0..elements.len())].2["userId"].clone();
    let failed = elements.iter().filter(|(_, _, element)| element["userId"] == unlucky).count();
    let list = if rng.random_bool(0.5) { "notFoundUserIds" } else { "invalidUserIds" };
    let repeated: Vec<&Value> = std::iter::repeat_n(&unlucky, failed).collect();
    let body = serde_json::json!({
        "successCount": elements.len() - failed,
        "failCount": failed,
        "failedUpdates": { list: repeated },
    });
    let taken = elements.iter().filter(|(_, _, element)| element["userId"] != unlucky);
    (answer(200, &body.to_string(), None), taken.map(|(number, state, _)| (*number, *state)).collect())
}
