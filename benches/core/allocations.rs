//! How often the event path asks for memory, once everything has grown as large as it needs to be.
//!
//! From the record to the settled call, as the poll thread runs it. A request needs some pieces of memory of its own, and
//! so does its answer; what an event needs is what comes on top with each event more in a request.

use serde::{Deserialize, Serialize};

use super::{AHEAD, Core, SMALL, counting};

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
    const SIZES: [usize; 2] = [50, 250];
    let [few, many] = SIZES.map(|calls| of_a_request(events, calls));
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let [small, large] = SIZES.map(|calls| calls as f64);
    let an_event = (many - few) / (large - small);
    Allocations { an_event, a_request: few - an_event * small }
}

/// Of a request with so many calls and all that belongs to them; counted the second time, when nothing grows any more.
fn of_a_request(events: u32, calls: usize) -> f64 {
    let mut core = Core::new(calls);
    let (mut requests, mut allocations) = (0_u32, 0_u64);
    for _ in 0..2 {
        let before = counting::allocations();
        requests = (0..events).step_by(AHEAD).map(|_| records(&mut core)).sum();
        allocations = counting::allocations() - before;
    }
    core.flush();
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let allocations = allocations as f64;
    allocations / f64::from(requests)
}

fn records(core: &mut Core) -> u32 {
    core.records(&[SMALL; AHEAD]);
    core.answer_all()
}
