//! How long a failing vendor is waited for, and whose fault an error is, through the pipeline on a clock of its own.

use http::{HeaderMap, HeaderValue, header};

use crate::destination::Answer;
use crate::lane::Flight;
use crate::lane::pacing::Pacer;
use crate::lane::worker::tests::{ANSWER, at, feed, pipeline};
use crate::outcome::Reason;
use crate::pipeline::{Action, Pipeline};

const STEP: u64 = 10;

/// How the vendor answers a request, from the time in milliseconds and its body.
type Reply<'a> = dyn FnMut(u64, &[u8]) -> (u16, HeaderMap) + 'a;

/// The core, and what came of its requests.
struct World {
    pipeline: Pipeline,
    #[expect(clippy::vec_box, reason = "flights come and go in boxes")]
    wire: Vec<Box<Flight>>,
    /// When requests were sent, in milliseconds.
    sent: Vec<u64>,
    letters: Vec<Reason>,
}

impl World {
    fn new() -> Self {
        Self { pipeline: pipeline(), wire: Vec::new(), sent: Vec::new(), letters: Vec::new() }
    }

    /// Lets time pass; a request is answered a step after it was sent.
    fn pass(&mut self, from: u64, to: u64, reply: &mut Reply<'_>) {
        for millis in (from..to).step_by(usize::try_from(STEP).expect("small")) {
            let now = at(millis);
            for flight in std::mem::take(&mut self.wire) {
                let (status, headers) = reply(millis, &flight.body);
                let body = if status == 200 { ANSWER } else { b"" };
                self.pipeline.answered(now, flight, Ok(Answer { status, headers: &headers, body }));
            }
            self.pipeline.tick(now);
            let mut actions = Vec::new();
            self.pipeline.take_actions(&mut actions);
            for action in actions {
                match action {
                    Action::Send(flight) => {
                        self.sent.push(millis);
                        self.wire.push(flight);
                    }
                    Action::Write(letter) => {
                        self.letters.push(letter.refusal.reason);
                        self.pipeline.letter_written(letter.id);
                    }
                    Action::Pause { .. } | Action::Sweep { .. } => {}
                }
            }
        }
    }

    fn sent_since(&self, millis: u64) -> usize {
        self.sent.iter().filter(|at| **at >= millis).count()
    }

    /// What still waits is given back: a batch that is dropped with calls in it is a bug.
    fn end(mut self, millis: u64) {
        self.pipeline.abandon(at(millis));
        self.pipeline.unassign(&[0], at(millis));
        self.pass(millis, millis + 2 * STEP, &mut |_, _| (200, HeaderMap::new()));
    }
}

fn hinted(status: u16, seconds: &'static str) -> (u16, HeaderMap) {
    (status, HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(seconds))]))
}

#[test]
fn a_drain_notices_soon_that_the_vendor_is_back_and_does_not_storm_it_until_then() {
    const OUTAGE: u64 = 600_000;
    // A 429 has lowered the rate, too, which a drain does not change.
    for (seed, (status, least, patience)) in (0..20).zip([(503, 10, 4_500), (429, 2, 30_000)].into_iter().cycle()) {
        let down = &mut |_: u64, _: &[u8]| (status, HeaderMap::new());
        let mut world = World::new();
        (0..40).for_each(|number| feed(&mut world.pipeline, at(0), number));
        // The back-off is at its longest; where in it the drain begins is chance.
        let drain = OUTAGE + seed * 3_000;
        world.pass(0, drain, down);
        world.pipeline.drain(at(drain));
        world.pass(drain, drain + 20_000, down);
        let probes = world.sent_since(drain);
        assert!((least..=80).contains(&probes), "{probes} requests in 20 s");
        world.pass(drain + 20_000, drain + 20_000 + patience, &mut |_, _| (200, HeaderMap::new()));
        assert!(!world.pipeline.can_finish(), "it finishes");
        assert_eq!(world.letters, []);
    }
}

#[test]
fn a_drain_keeps_to_the_vendors_own_hint() {
    for status in [429, 503] {
        let mut world = World::new();
        feed(&mut world.pipeline, at(0), 1);
        world.pass(0, 1_000, &mut |_, _| hinted(status, "20"));
        let before = world.sent.len();
        world.pipeline.drain(at(1_000));
        world.pass(1_000, 20_000, &mut |_, _| (200, HeaderMap::new()));
        assert_eq!(world.sent.len(), before, "it waits");
        world.pass(20_000, 23_000, &mut |_, _| (200, HeaderMap::new()));
        assert!(!world.pipeline.can_finish());
    }
}

#[test]
fn an_outage_that_begins_gradually_is_no_fault_of_a_batch() {
    let mut world = World::new();
    feed(&mut world.pipeline, at(0), 0);
    // The first batch meets it, a later one is still taken, and then it lasts; new batches come all the time.
    world.pass(0, 150, &mut |_, _| (503, HeaderMap::new()));
    feed(&mut world.pipeline, at(150), 1);
    world.pass(150, 400, &mut |_, body| {
        (if body.windows(5).any(|part| part == b"m-1\",") { 200 } else { 503 }, HeaderMap::new())
    });
    for minute in 0..60 {
        feed(&mut world.pipeline, at(400 + minute * 60_000), 200 + i64::try_from(minute).expect("small"));
        world.pass(400 + minute * 60_000, 400 + (minute + 1) * 60_000, &mut |_, _| (503, HeaderMap::new()));
    }
    assert_eq!(world.letters, []);
    world.pass(3_600_400, 3_720_400, &mut |_, _| (200, HeaderMap::new()));
    assert_eq!((world.letters.len(), world.pipeline.can_finish()), (0, false));
}

#[test]
fn a_call_that_gets_errors_while_others_are_taken_is_refused_alone() {
    let mut world = World::new();
    // Number 7 is poison, among others of its batch; meanwhile others come and are taken.
    let poison = &mut |_: u64, body: &[u8]| {
        (if body.windows(4).any(|part| part == b"m-7\"") { 500 } else { 200 }, HeaderMap::new())
    };
    (0..20).for_each(|number| feed(&mut world.pipeline, at(0), number));
    for (number, second) in (1_000..).zip(0..300) {
        feed(&mut world.pipeline, at(second * 1_000), number);
        world.pass(second * 1_000, (second + 1) * 1_000, poison);
    }
    assert_eq!(world.letters, [Reason::VendorError]);
    world.end(300_000);
}

#[test]
fn what_is_sent_again_is_paid_for_again() {
    let mut world = World::new();
    let mut count = 0;
    // Every second request fails: two attempts a batch, and never so many in a row that the lane stops to probe.
    let half = &mut |_: u64, _: &[u8]| {
        count += 1;
        (if count % 2 == 0 { 200 } else { 503 }, HeaderMap::new())
    };
    // Tracks only, which share ten requests a second.
    let tracks = (0_i64..).filter(|number| number / 200 % 5 != number * 7_919 % 200 % 5);
    for (number, millis) in tracks.zip((0..60_000).step_by(20)) {
        feed(&mut world.pipeline, at(millis), number);
        world.pass(millis, millis + 20, half);
    }
    let most = world.sent.iter().map(|at| world.sent.iter().filter(|it| (*at..at + 1_000).contains(it)).count()).max();
    assert!(most <= Some(11), "{most:?} requests in a second");
    assert!(world.sent.len() > 400, "the limit was what bound: {} requests", world.sent.len());
    world.end(60_000);
}

/// Of the tracks, or of the users' data.
fn has_tracks(body: &[u8]) -> bool {
    body.windows(9).any(|part| part == b"eventName")
}

#[test]
fn a_limit_that_is_used_up_is_waited_for_within_reason() {
    // What the vendor says is left, and for how many seconds; when the next request goes.
    for (left, reset, from, to) in [(0, 30, 30_000, 32_000), (0, 600, 60_000, 62_000), (3, 30, 0, 2_000)] {
        let mut world = World::new();
        let said = &mut |_: u64, _: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("x-ratelimit-remaining", HeaderValue::from(left));
            headers.insert("x-ratelimit-reset", HeaderValue::from(reset));
            (200, headers)
        };
        // Two tracks, one after the other.
        feed(&mut world.pipeline, at(0), 1);
        world.pass(0, 2_000, said);
        let first = world.sent.len();
        assert_eq!(first, 1);
        feed(&mut world.pipeline, at(2_000), 2);
        world.pass(2_000, 3_000, said);
        let binds = world.pipeline.accounts()[0].lane.binds(at(3_000));
        world.pass(3_000, 70_000, said);
        let next = world.sent[first] - world.sent[0];
        assert!((from..to + 2_000).contains(&next), "{left} left for {reset} s: the next one went after {next} ms");
        assert_eq!(binds.reason.starts_with("used up"), left == 0, "{binds:?}");
        world.end(70_000);
    }
}

#[test]
fn a_limit_recovers_by_what_it_is_for_and_by_what_was_taken_alone() {
    let mut world = World::new();
    let mut first = true;
    let mixed = &mut |_: u64, body: &[u8]| match (has_tracks(body), std::mem::take(&mut first)) {
        (true, true) => (429, HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("1"))])),
        (true, false) => (400, HeaderMap::new()),
        (false, _) => {
            first = true;
            (200, HeaderMap::new())
        }
    };
    feed(&mut world.pipeline, at(0), 1);
    world.pass(0, 2_000, mixed);
    // Number 0 is an identify, and so is every multiple of a thousand.
    for second in 2..40 {
        feed(&mut world.pipeline, at(second * 1_000), i64::try_from(second).expect("small") * 1_000);
        world.pass(second * 1_000, (second + 1) * 1_000, mixed);
    }
    let shares: Vec<f64> = world.pipeline.pacers().iter().map(Pacer::share).collect();
    assert_eq!(shares.iter().filter(|share| **share < 0.705).count(), 1, "{shares:?}");
    world.end(40_000);
}
