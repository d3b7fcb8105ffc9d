//! What an answer does to the batch that it answers: each call is settled, refused, or goes again in its place.
//!
//! Guarantees that every call of the batch is accounted for, and that what goes again keeps its place in its queue.

use std::collections::HashSet;
use std::time::Duration;

use rand::Rng;

use super::batch::Batch;
use super::health::{FIRST_CANARY, Held, LONGEST_CANARY, Refusals};
use super::worker::FAILING_AFTER;
use super::{Effect, Flight, Lane, Letter, Sent, Surroundings};
use crate::destination::{Again, Answer, CallVerdict, Hold, Judgement, Shape, Verdict, hint, words};
use crate::outcome::{Reason, Refusal};
use crate::source::Receipt;

/// A batch with this many 5xx answers, while others of its account succeed, is taken apart. Design section 6.
const SERVER_ERRORS: u32 = 8;
/// How many of them a call must get by itself after it was taken apart from the others.
const ALONE: u32 = 4;
/// Back-off begins and ends here, with full jitter. Design section 6.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);
/// It ends here while a drain waits for it, which lasts 30 s by default: a vendor that came back is noticed in time.
const LONGEST_WHILE_DRAINING: Duration = Duration::from_secs(2);
/// An oddity is told again after this long; so much of an answer is shown then.
const QUIET: Duration = Duration::from_mins(1);
const SHOWN: usize = 100;
/// No hint of a vendor closes a gate for longer.
const LONGEST_HINT: Duration = Duration::from_hours(1);
/// That a limit is used up closes it for no longer: the vendors' windows are minutes, and pages disagree on what the
/// header counts.
const LONGEST_WINDOW: Duration = Duration::from_mins(1);

impl Lane {
    /// The vendor answered, or did not: `Err` is why, in words.
    pub fn answered(&mut self, around: &mut Surroundings<'_>, flight: Flight, result: Result<Answer<'_>, String>) {
        let Flight { number, queue, mut batch, sent, body, .. } = flight;
        // Else the batch's memory would have two readers.
        drop(body);
        let receipts = self.on_wire.remove(&number).map(|remembered| remembered.receipts);
        self.in_flight -= 1;
        self.wire_calls -= batch.count();
        self.queues[queue].in_flight -= 1;
        self.usual = batch.sizes().or_most_of(self.usual);
        let is_taken = matches!(&result, Ok(answer) if (200..300).contains(&answer.status));
        let judgement = match result {
            Ok(answer) => {
                let judgement = self.settings.destination.judge(batch.shape(), &answer, &batch, around.now);
                self.tell_odd(around, &answer, &judgement);
                judgement
            }
            Err(words) => {
                Judgement { verdict: Verdict::Again(Again::Transport, None), calls: Vec::new(), words, remaining: None }
            }
        };
        let mut judgement = self.without_secrets(judgement);
        self.note(around, &batch, &judgement);
        let shape = usize::from(batch.shape().0);
        match judgement.verdict {
            Verdict::Hold(why) => self.refused_key(around, shape, why, &judgement.words, sent),
            Verdict::Again(kind, after) => {
                if let Some(held) = self.shapes[shape].held.as_mut().filter(|_| sent.canary) {
                    held.probing = false;
                    held.canary_at = around.now.mono + held.pause;
                }
                self.again(around, &mut batch, kind, after);
                if kind == Again::Server && self.is_suspect(&batch) {
                    judgement.verdict = Verdict::Bisect(Reason::VendorError);
                }
            }
            Verdict::Delivered | Verdict::Split | Verdict::Bisect(_) | Verdict::Rest => {
                self.reached(around, shape);
                if is_taken {
                    self.steer(around, batch.shape(), judgement.remaining);
                }
            }
        }
        let before = (self.books.delivered, judgement.words.clone());
        let parts = match receipts {
            Some(receipts) if judgement.is_clean() => {
                self.deliver_all(around, batch, receipts);
                Vec::new()
            }
            _ => self.dispose(around, batch, judgement),
        };
        self.hold_if_flooding(around, shape, sent, before);
        for part in parts.into_iter().rev() {
            if let Some(part) = self.without_stale(around, part) {
                self.queues[queue].ready.push_front(part);
            }
        }
        self.count_batches();
        self.let_freed_go(around);
    }

    /// A vendor may echo the key that it refuses.
    fn without_secrets(&self, mut judgement: Judgement) -> Judgement {
        if judgement.is_clean() {
            judgement.words.clear();
        }
        judgement.words = self.redactor.scrub(judgement.words);
        for (_, verdict) in &mut judgement.calls {
            if let CallVerdict::Refused(refusal) | CallVerdict::Late(_, refusal) = verdict {
                refusal.detail = self.redactor.scrub(std::mem::take(&mut refusal.detail).into_owned()).into();
            }
        }
        judgement
    }

    /// Tells people of an answer that makes no sense; of each kind once in a while.
    fn tell_odd(&mut self, around: &mut Surroundings<'_>, answer: &Answer<'_>, judgement: &Judgement) {
        let Verdict::Again(kind, _) = judgement.verdict else { return };
        let stranger = (kind == Again::NotTheVendor).then(|| {
            let (status, bytes) = (answer.status, answer.body.len());
            let begin = words(&answer.body[..bytes.min(SHOWN)]);
            (
                "the answer is not the vendor's own; the request goes again",
                format!("{status}, {bytes} bytes: {}", begin.trim()),
            )
        });
        let hint = hint::nonsense(answer.headers, around.now)
            .map(|said| ("the vendor's Retry-After makes no sense; it is ignored", said));
        for (what, said) in stranger.into_iter().chain(hint) {
            let now = around.now.mono;
            if self.told.iter().any(|(told, at)| *told == what && now < *at + QUIET) {
                continue;
            }
            self.told.retain(|(told, _)| *told != what);
            self.told.push((what, now));
            around.effects.push(Effect::Odd(what, self.redactor.scrub(said)));
        }
    }

    /// Counts the request, and keeps what went wrong for people.
    fn note(&mut self, around: &Surroundings<'_>, batch: &Batch, judgement: &Judgement) {
        let requests = &mut self.requests;
        match judgement.verdict {
            Verdict::Delivered if judgement.calls.is_empty() => requests.ok += 1,
            Verdict::Delivered | Verdict::Rest | Verdict::Split | Verdict::Bisect(_) => requests.partial += 1,
            Verdict::Again(Again::Throttled, _) => requests.throttled += 1,
            Verdict::Again(Again::Transport, _) => requests.transport += 1,
            Verdict::Again(Again::Server | Again::NotTheVendor, _) => requests.server_error += 1,
            Verdict::Hold(_) => requests.held += 1,
        }
        if matches!(judgement.verdict, Verdict::Delivered) {
            self.last_delivered = Some(around.now);
        } else {
            let name = self.info(batch.shape()).name;
            self.last_error = Some((around.now, format!("{name}: {}", judgement.words)));
        }
    }

    /// The vendor took the request as one of this account's: whatever held it is over.
    fn reached(&mut self, around: &mut Surroundings<'_>, shape: usize) {
        if self.failures >= FAILING_AFTER {
            // The vendor is back: what only waited for that need not wait longer.
            for batch in self.queues.iter_mut().flat_map(|queue| &mut queue.ready) {
                if !batch.tickets().any(|ticket| ticket.was_late) {
                    batch.not_before = Duration::ZERO;
                }
            }
        }
        self.failures = 0;
        self.last_success = Some(around.now.mono);
        let health = &mut self.shapes[shape];
        // That hold ends when something is taken.
        health.held.take_if(|held| held.why != Hold::TooManyRefusals);
        health.tried = 0;
        health.throttles = 0;
    }

    /// The vendor took a request: its limits may be used more. If it says that nothing is left until its window ends,
    /// that is waited for.
    fn steer(&mut self, around: &mut Surroundings<'_>, shape: Shape, remaining: Option<(u32, Duration)>) {
        let now = around.now.mono;
        for &index in &self.settings.pacers {
            if around.pacers[index].serves(shape) {
                around.pacers[index].faster(now);
            }
        }
        if let Some((0, wait)) = remaining {
            let gate = now + with_jitter(wait.min(LONGEST_WINDOW), around.rng);
            let health = &mut self.shapes[usize::from(shape.0)];
            (health.gate, health.gate_hinted, health.used_up) = (health.gate.max(gate), true, true);
        }
    }

    /// Nearly everything is refused: hold the rest instead of flooding the dead letters, until something is taken.
    fn hold_if_flooding(
        &mut self,
        around: &Surroundings<'_>,
        shape: usize,
        sent: Sent,
        (delivered, words): (u64, String),
    ) {
        let now = around.now.mono;
        let health = &mut self.shapes[shape];
        match &mut health.held {
            Some(held) if held.why == Hold::TooManyRefusals && self.books.delivered > delivered => {
                self.refusals = Refusals::default();
                health.held = None;
            }
            Some(held) if held.why == Hold::TooManyRefusals && sent.canary => {
                held.probing = false;
                held.pause = (held.pause * 2).min(LONGEST_CANARY);
                held.canary_at = now + held.pause;
            }
            None if self.refusals.reach(self.settings.hold_percent) => {
                let (why, pause) = (Hold::TooManyRefusals, FIRST_CANARY);
                health.held = Some(Box::new(Held { why, words, canary_at: now + pause, pause, probing: false }));
            }
            Some(_) | None => {}
        }
    }

    /// 401, 403 and the like: the other key once, then a hold.
    fn refused_key(&mut self, around: &Surroundings<'_>, shape: usize, why: Hold, words: &str, sent: Sent) {
        let now = around.now.mono;
        let health = &mut self.shapes[shape];
        if let Some(held) = &mut health.held {
            if !sent.canary {
                // It left before the hold began, and says nothing new.
                return;
            }
            held.probing = false;
        }
        if sent.keys_version != self.keys_version {
            // The keys changed while the request was on its way: the answer says nothing of the new ones.
            if let Some(held) = &mut health.held {
                held.canary_at = now;
            }
            return;
        }
        health.tried |= 1 << sent.key.min(7);
        if matches!(why, Hold::Unauthorized | Hold::Forbidden)
            && let Some(other) =
                (0..8).take(self.targets.get(shape).map_or(0, Vec::len)).find(|other| health.tried & (1 << other) == 0)
        {
            health.key = other;
            if let Some(held) = &mut health.held {
                held.canary_at = now;
            }
            return;
        }
        health.tried = 0;
        let pause = health.held.as_ref().map_or(FIRST_CANARY, |held| (held.pause * 2).min(LONGEST_CANARY));
        health.held = Some(Box::new(Held { why, words: words.into(), canary_at: now + pause, pause, probing: false }));
    }

    /// The batch goes again, later.
    fn again(&mut self, around: &mut Surroundings<'_>, batch: &mut Batch, kind: Again, after: Option<Duration>) {
        let now = around.now.mono;
        let after = after.map(|hint| hint.min(LONGEST_HINT));
        batch.attempts += 1;
        batch.first_failure.get_or_insert(now);
        let longest = if around.flush { LONGEST_WHILE_DRAINING } else { LONGEST_BACKOFF };
        if kind == Again::Throttled {
            let shape = &mut self.shapes[usize::from(batch.shape().0)];
            shape.throttles += 1;
            let wait = after.unwrap_or_else(|| backoff(shape.throttles, longest, around.rng));
            shape.gate = now + with_jitter(wait, around.rng);
            shape.gate_hinted = after.is_some();
            shape.used_up = false;
            for &index in &self.settings.pacers {
                if around.pacers[index].serves(batch.shape()) {
                    around.pacers[index].slower(now);
                }
            }
            return;
        }
        let mut wait = |attempts| after.unwrap_or_else(|| backoff(attempts, longest, around.rng));
        self.hinted = after.map_or(self.hinted, |hint| self.hinted.max(now + hint));
        batch.not_before = now + wait(batch.attempts);
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILING_AFTER {
            self.probe_at = now + wait(self.failures - FAILING_AFTER + 1);
        } else if kind == Again::Server {
            // While everything fails, an error says nothing of the batch that got it.
            batch.server_errors += 1;
        }
    }

    /// A drain waits for this lane: it looks soon whether the vendor is back, unless the vendor said when.
    pub fn hurry(&mut self, now: Duration, rng: &mut impl Rng) {
        let soon = self.hinted.max(now + backoff(u32::MAX, LONGEST_WHILE_DRAINING, rng));
        self.probe_at = self.probe_at.min(soon);
        for shape in self.shapes.iter_mut().filter(|shape| !shape.gate_hinted) {
            shape.gate = shape.gate.min(soon);
        }
        for batch in self.queues.iter_mut().flat_map(|queue| &mut queue.ready) {
            if !batch.tickets().any(|ticket| ticket.was_late) {
                batch.not_before = batch.not_before.min(soon);
            }
        }
    }

    /// Whether the batch itself, and not the vendor, is what fails: others of its account succeed meanwhile.
    fn is_suspect(&self, batch: &Batch) -> bool {
        batch.server_errors >= SERVER_ERRORS
            && self.last_success.zip(batch.first_failure).is_some_and(|(success, failure)| success > failure)
    }

    /// Ends what the answer ends; the result is what goes again, in order.
    fn dispose(&mut self, around: &mut Surroundings<'_>, batch: Batch, judgement: Judgement) -> Vec<Batch> {
        let Judgement { verdict, calls, words, .. } = judgement;
        match verdict {
            Verdict::Again(..) | Verdict::Hold(_) => vec![batch],
            Verdict::Split if batch.len() == 1 => {
                let detail = format!("the vendor finds the call too large, alone in its request: {words}");
                self.refuse_all(around, batch, &Refusal::new(Reason::TooLarge, detail))
            }
            Verdict::Bisect(reason) if batch.len() == 1 => self.refuse_all(around, batch, &Refusal::new(reason, words)),
            Verdict::Split | Verdict::Bisect(_) => self.halves(batch),
            Verdict::Delivered => self.exceptions(around, batch, calls, true),
            Verdict::Rest => self.exceptions(around, batch, calls, false),
        }
    }

    fn refuse_all(&mut self, around: &mut Surroundings<'_>, batch: Batch, refusal: &Refusal) -> Vec<Batch> {
        for index in 0..batch.len() {
            self.refuse(around, &batch, index, refusal.clone());
        }
        around.reuse(batch);
        Vec::new()
    }

    /// Two halves that keep what is known of the whole.
    fn halves(&mut self, batch: Batch) -> Vec<Batch> {
        let (head, _) = self.settings.destination.frame(batch.shape());
        let middle = batch.len() / 2;
        let halves = [0..middle, middle..batch.len()].map(|range| {
            let mut half = batch.copy(head, range);
            // The next 5xx is enough: the whole had its share. A call that is alone has to fail a few times by itself.
            let left = if half.len() == 1 { ALONE } else { 1 };
            half.server_errors = batch.server_errors.min(SERVER_ERRORS - left);
            half.first_failure = batch.first_failure;
            half
        });
        drop(batch.disband());
        halves.into()
    }

    /// Every call by its own verdict; calls that are not named were taken if `taken`, and else go again.
    fn exceptions(
        &mut self,
        around: &mut Surroundings<'_>,
        batch: Batch,
        calls: Vec<(usize, CallVerdict)>,
        taken: bool,
    ) -> Vec<Batch> {
        let mut named = calls.into_iter().peekable();
        let (mut rest, mut late, mut rounds) = (Vec::new(), Vec::new(), Rounds::default());
        let mut late_after = Duration::ZERO;
        for index in 0..batch.len() {
            match named.next_if(|(at, _)| *at == index).map(|(_, verdict)| verdict) {
                None if taken => self.deliver(around, &batch, index),
                None => rest.push(index),
                Some(CallVerdict::Refused(refusal)) => self.refuse(around, &batch, index, refusal),
                Some(CallVerdict::Skipped(skip)) => {
                    self.books.skipped[skip as usize] += 1;
                    self.settle(around, &batch, index);
                }
                Some(CallVerdict::Apart(identity)) => rounds.add(identity, index),
                Some(CallVerdict::Late(after, refusal)) => {
                    if batch.tickets().nth(index).is_some_and(|ticket| ticket.was_late) {
                        self.refuse(around, &batch, index, refusal);
                    } else {
                        late.push(index);
                        late_after = late_after.max(after);
                    }
                }
            }
        }
        let (head, _) = self.settings.destination.frame(batch.shape());
        let mut parts: Vec<Batch> = Vec::new();
        if !late.is_empty() {
            let mut part = batch.copy(head, late.into_iter());
            part.mark_late();
            part.not_before = around.now.mono + late_after;
            parts.push(part);
        }
        parts.extend(rounds.0.into_iter().map(|(_, indices)| batch.copy(head, indices.into_iter())));
        if !rest.is_empty() {
            parts.push(batch.copy(head, rest.into_iter()));
        }
        around.reuse(batch);
        parts
    }

    /// All calls of the batch were taken: these are their records.
    fn deliver_all(&mut self, around: &mut Surroundings<'_>, batch: Batch, receipts: Vec<Receipt>) {
        self.books.delivered += batch.len() as u64;
        self.call_bytes = self.call_bytes.saturating_sub(batch.calls_weight());
        self.held_calls = self.held_calls.saturating_sub(batch.count());
        for ticket in batch.tickets() {
            self.refusals.count(false);
            if ticket.state {
                self.order.settled(ticket.user, &mut self.freed);
            }
        }
        around.effects.push(Effect::AllSettled(receipts));
        around.reuse(batch);
    }

    fn deliver(&mut self, around: &mut Surroundings<'_>, batch: &Batch, index: usize) {
        self.books.delivered += 1;
        self.refusals.count(false);
        self.settle(around, batch, index);
    }

    fn settle(&mut self, around: &mut Surroundings<'_>, batch: &Batch, index: usize) {
        let Some(ticket) = batch.tickets().nth(index).copied() else { return };
        around.effects.push(Effect::Settled(ticket.receipt));
        self.let_go(batch.weight(index), &ticket);
    }

    fn refuse(&mut self, around: &mut Surroundings<'_>, batch: &Batch, index: usize, refusal: Refusal) {
        let Some(ticket) = batch.tickets().nth(index).copied() else { return };
        self.refusals.count(true);
        let record = batch.record(index).to_vec();
        around.effects.push(Effect::DeadLetter(Letter { receipt: ticket.receipt, record, refusal }));
        self.let_go(batch.weight(index), &ticket);
    }
}

/// Requests that hold one call per identity each: the first calls of all, then the second ones.
#[derive(Debug, Default)]
struct Rounds(Vec<(HashSet<u64>, Vec<usize>)>);

impl Rounds {
    fn add(&mut self, identity: u64, index: usize) {
        let round = self.0.iter().position(|(met, _)| !met.contains(&identity)).unwrap_or_else(|| {
            self.0.push((HashSet::new(), Vec::new()));
            self.0.len() - 1
        });
        self.0[round].0.insert(identity);
        self.0[round].1.push(index);
    }
}

/// So that not everybody comes back at the same moment.
fn with_jitter(wait: Duration, rng: &mut impl Rng) -> Duration {
    wait + wait.mul_f64(0.1).min(Duration::from_secs(1)).mul_f64(rng.random())
}

/// Full jitter: anything up to the exponential bound.
fn backoff(attempts: u32, longest: Duration, rng: &mut impl Rng) -> Duration {
    let bound = FIRST_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(longest);
    bound.mul_f64(rng.random::<f64>().max(0.05))
}

#[cfg(test)]
mod tests;
