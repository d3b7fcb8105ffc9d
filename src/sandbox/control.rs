//! The sandbox's own endpoints, beside the vendors': `/sandbox/faults`, `/sandbox/report`, `/sandbox/reset`.
//!
//! A tool for tests and demos, without credentials of its own: it gives away no key, but who reaches the listener can
//! set faults. So the sandbox listens on loopback unless told otherwise.

use http::Method;
use serde_json::json;

use super::faults;
use super::reply::Reply;
use super::world::World;

/// Answers a request for `/sandbox/...`.
pub(super) fn answer(world: &World, method: &Method, path: &str, body: &[u8]) -> Reply {
    match (method.as_str(), path) {
        ("GET", "/sandbox/report") => match serde_json::to_value(world.report()) {
            Ok(report) => Reply::json(200, &report),
            Err(error) => refused(500, &error.to_string()),
        },
        ("PUT", "/sandbox/faults") => {
            let Ok(text) = std::str::from_utf8(body) else { return refused(400, "not UTF-8") };
            match faults::parse(text) {
                Ok(faults) => {
                    let count = faults.len();
                    world.set_faults(faults);
                    Reply::json(200, &json!({ "faults": count }))
                }
                Err(error) => refused(400, &error.to_string()),
            }
        }
        ("POST", "/sandbox/reset") => {
            world.reset();
            Reply::json(200, &json!({}))
        }
        (_, "/sandbox/report" | "/sandbox/faults" | "/sandbox/reset") => {
            refused(405, "GET /sandbox/report, PUT /sandbox/faults, POST /sandbox/reset")
        }
        _ => refused(404, "there are /sandbox/report, /sandbox/faults and /sandbox/reset"),
    }
}

fn refused(status: u16, error: &str) -> Reply {
    Reply::json(status, &json!({ "error": error }))
}
