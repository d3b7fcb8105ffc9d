//! How often the event path asks for memory, once everything has grown as large as it needs to be.
//!
//! From the record to the settled call, as the poll thread runs it. A request needs some pieces of memory of its own, and
//! so does its answer; what an event needs is what comes on top with each event more in a request.

use serde::{Deserialize, Serialize};

use super::event::{Event, Form, Size};
use super::{AHEAD, Core, counting};

/// What was counted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Allocations {
    /// Of each event more.
    pub(crate) an_event: f64,
    /// Of a request and its answer, apart from its events.
    pub(crate) a_request: f64,
}

/// Counts over so many events for each of two sizes of requests.
pub(crate) fn count(events: u32) -> Allocations {
    // The larger fits into 100 KB: what does not is taken out again, and that is a piece of memory a request.
    const SIZES: [usize; 2] = [50, 150];
    let [few, many] = SIZES.map(|calls| of_a_request(events, calls));
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let [small, large] = SIZES.map(|calls| calls as f64);
    let an_event = (many - few) / (large - small);
    Allocations { an_event, a_request: few - an_event * small }
}

/// Of a request with so many calls and all that belongs to them; counted the second time, when nothing grows any more.
fn of_a_request(events: u32, calls: usize) -> f64 {
    let (mut core, messages) = (Core::new(calls), messages());
    let (mut requests, mut allocations) = (0_u32, 0_u64);
    for _ in 0..2 {
        let before = counting::allocations();
        let few = messages.chunks(AHEAD).cycle();
        requests = few.take(events as usize / AHEAD).map(|few| records(&mut core, few)).sum();
        allocations = counting::allocations() - before;
    }
    core.flush();
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let allocations = allocations as f64;
    allocations / f64::from(requests)
}

fn records(core: &mut Core, few: &[String]) -> u32 {
    core.records(few);
    core.answer_all()
}

/// Small and large ones, each of another user.
fn messages() -> Vec<String> {
    let message = |seq: u64| {
        let size = if seq.is_multiple_of(3) { Size::Large } else { Size::Small };
        let mut out = Vec::new();
        Event { size, form: Form::Segment, seq, user: seq * 7_919, time: "2026-11-20T20:40:00.123Z" }.write(&mut out);
        String::from_utf8(out).expect("JSON")
    };
    (0..100 * AHEAD as u64).map(message).collect()
}
