//! What a lane does between two events: sends what is due and allowed, and says when to look again.
//!
//! Guarantees that a request that waits holds no permit and no place on the wire, that a shard has one request in
//! flight, and that batches of one shape leave a shard in order. Never waits.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use super::batch::Batch;
use super::health::Health;
use super::ready::bit;
use super::{Binds, Effect, Flight, Lane, OnWire, Sent, Surroundings};
use crate::clock::Now;
use crate::destination::{Hold, Shape, Target};
use crate::keys::Keys;

/// After this many failed requests in a row the lane sends one probe at a time.
pub(super) const FAILING_AFTER: u32 = 3;

/// Where a batch was found.
#[derive(Clone, Copy, Debug)]
struct Found {
    queue: usize,
    /// Index among the ready batches, or among the open ones.
    index: usize,
    ready: bool,
    shape: Shape,
    /// How often it failed, where that counts.
    attempts: u32,
    opened: Duration,
}

impl Found {
    /// What goes first.
    const fn rank(&self) -> (u32, Duration) {
        (self.attempts, self.opened)
    }
}

/// What the search for a batch that may go came to.
#[derive(Debug, Default)]
struct Search {
    /// Of each queue the first of each shape: what one has to wait for at a limit, all others of its shape do.
    found: Vec<Found>,
    /// The earliest time at which something more could go.
    wake: Option<Duration>,
}

impl Search {
    fn offer(&mut self, found: Found) {
        let same = |known: &&mut Found| known.queue == found.queue && known.shape == found.shape;
        match self.found.iter_mut().rev().find(same) {
            Some(known) if known.rank() <= found.rank() => {}
            Some(known) => *known = found,
            None => self.found.push(found),
        }
    }

    fn not_before(&mut self, at: Duration) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

impl Lane {
    /// Sends what is due and allowed. The result is when to call again, if nothing else happens before.
    pub fn pump(&mut self, around: &mut Surroundings<'_>) -> Option<Duration> {
        let wake = self.send_what_may_go(around);
        // A lane that waits for something else makes way for those that share its limits.
        for (place, &index) in self.settings.pacers.iter().enumerate() {
            if self.in_line & !self.asks & (1 << place) != 0 {
                around.turns.extend(around.pacers[index].leave(self.settings.index));
            }
        }
        self.in_line &= self.asks;
        wake
    }

    fn send_what_may_go(&mut self, around: &mut Surroundings<'_>) -> Option<Duration> {
        self.asks = 0;
        if self.settings.held_by_operator || self.queues.is_empty() || !around.may_send {
            return None;
        }
        loop {
            self.asks = 0;
            if self.in_flight >= self.settings.max_in_flight {
                return None;
            }
            let failing = self.failures >= FAILING_AFTER;
            if failing && self.in_flight > 0 {
                return None;
            }
            if failing && around.now.mono < self.probe_at {
                return Some(self.probe_at);
            }
            let mut search = self.search(around, failing);
            if !search.found.is_empty() && around.room.is_used_up() {
                around.starved = true;
                return search.wake;
            }
            // The oldest first: were the queues only to take turns, the one behind a shape without limits would get every
            // permit of a shape with few. The probe is whatever failed least, so that one bad batch cannot keep the
            // lane down.
            search.found.sort_by_key(Found::rank);
            let sent = self.send_first_paid(around, &mut search);
            if !sent {
                return search.wake;
            }
        }
    }

    /// All batches that could go now but for pacing.
    fn search(&self, around: &Surroundings<'_>, failing: bool) -> Search {
        let mut search = Search::default();
        for queue in 0..self.queues.len() {
            self.search_queue(around, queue, failing, &mut search);
        }
        search
    }

    fn search_queue(&self, around: &Surroundings<'_>, index: usize, failing: bool, search: &mut Search) {
        let queue = &self.queues[index];
        let is_shard = index > 0;
        if is_shard && queue.in_flight > 0 {
            return;
        }
        let now = around.now.mono;
        // Of a failing lane whatever failed least is looked for.
        let (mut seen, mut missing) = (0_u64, if failing { u64::MAX } else { queue.ready.shapes() });
        for (position, batch) in queue.ready.iter().enumerate() {
            #[cfg(test)]
            crate::work::count(crate::work::Work::Batch);
            let shape = bit(batch.shape());
            if (is_shard && seen & shape != 0) || missing & shape == 0 {
                continue;
            }
            seen |= shape;
            let ready_at = self.ready_at(batch);
            let is_one_like_all = is_shard || ready_at.is_none_or(|at| at <= now || batch.not_before <= now);
            match ready_at {
                Some(at) if at <= now => search.offer(Found {
                    queue: index,
                    index: position,
                    ready: true,
                    shape: batch.shape(),
                    attempts: if failing { batch.attempts } else { 0 },
                    opened: batch.opened,
                }),
                Some(at) => search.not_before(at),
                None => {}
            }
            if is_one_like_all && !failing {
                missing &= !shape;
                if missing == 0 {
                    break;
                }
            }
        }
        if missing != 0 {
            queue.ready.note(seen);
        }
        for (position, batch) in queue.open.iter().enumerate() {
            if is_shard && seen & bit(batch.shape()) != 0 {
                continue;
            }
            let due = if around.flush { Duration::ZERO } else { batch.opened + self.settings.linger };
            match self.ready_at(batch).map(|at| at.max(due)) {
                Some(at) if at <= now => search.offer(Found {
                    queue: index,
                    index: position,
                    ready: false,
                    shape: batch.shape(),
                    attempts: 0,
                    opened: batch.opened,
                }),
                Some(at) => search.not_before(at),
                None => {}
            }
        }
    }

    /// When the batch may go, pacing apart; `None` while something else has to happen first.
    fn ready_at(&self, batch: &Batch) -> Option<Duration> {
        if self.is_keyless(usize::from(batch.shape().0)) {
            return None;
        }
        let shape = &self.shapes[usize::from(batch.shape().0)];
        let free = batch.not_before.max(shape.gate);
        match &shape.held {
            None => Some(free),
            Some(held) if held.probing => None,
            Some(held) => Some(held.canary_at.max(shape.gate)),
        }
    }

    /// Sends the first of the batches found for which every limit pays.
    fn send_first_paid(&mut self, around: &mut Surroundings<'_>, search: &mut Search) -> bool {
        let mut short = 0_u64;
        for found in std::mem::take(&mut search.found) {
            let bit = 1_u64 << found.shape.0;
            if short & bit != 0 {
                continue;
            }
            match self.pay(around, found) {
                Ok(()) => {
                    self.send(around, found);
                    return true;
                }
                Err(at) => {
                    search.not_before(at);
                    short |= bit;
                }
            }
        }
        false
    }

    fn pay(&mut self, around: &mut Surroundings<'_>, found: Found) -> Result<(), Duration> {
        let queue = &mut self.queues[found.queue];
        let batch = if found.ready { queue.ready.get_mut(found.index) } else { queue.open.get_mut(found.index) };
        let Some(batch) = batch else { return Ok(()) };
        let units = batch.units();
        let own = self.settings.pacers.iter().enumerate().zip(batch.granted.iter_mut());
        for ((place, &index), granted) in own {
            let pacer = &mut around.pacers[index];
            if !pacer.serves(found.shape) {
                continue;
            }
            let (need, bit) = (pacer.units(units), 1 << place);
            let mut in_line = self.in_line & bit != 0;
            let paid = pacer.pay_in_turn(around.now.mono, self.settings.index, need, granted, &mut in_line);
            self.in_line = if in_line { self.in_line | bit } else { self.in_line & !bit };
            match paid {
                Ok(next) => around.turns.extend(next),
                Err(at) => {
                    self.shapes[usize::from(found.shape.0)].paced = Some((pacer.name(), at));
                    // While one limit pays, the places at the shape's others are kept.
                    let serves = |(_, index): &(usize, &usize)| around.pacers[**index].serves(found.shape);
                    let serving = self.settings.pacers.iter().enumerate().filter(serves);
                    self.asks |= serving.map(|(place, _)| 1_u8 << place).sum::<u8>();
                    return Err(at);
                }
            }
        }
        self.shapes[usize::from(found.shape.0)].paced = None;
        Ok(())
    }

    /// While nearly everything is refused, one call is enough to ask with.
    fn canary(&mut self, found: Found, batch: Batch) -> Batch {
        let why = self.shapes[usize::from(found.shape.0)].held.as_ref().map(|held| held.why);
        if why != Some(Hold::TooManyRefusals) || batch.len() == 1 {
            return batch;
        }
        let (head, _) = self.settings.destination.frame(found.shape);
        let (first, rest) = (batch.copy(head, 0..1), batch.copy(head, 1..batch.len()));
        drop(batch.disband());
        self.queues[found.queue].ready.push_front(rest);
        self.batches += 1;
        first
    }

    fn send(&mut self, around: &mut Surroundings<'_>, found: Found) {
        let queue = &mut self.queues[found.queue];
        let batch =
            if found.ready { queue.ready.remove(found.index) } else { Some(queue.open.swap_remove(found.index)) };
        let Some(batch) = batch else { return };
        let mut batch = self.canary(found, batch);
        let shape = &mut self.shapes[usize::from(found.shape.0)];
        let canary = shape.held.is_some();
        if let Some(held) = &mut shape.held {
            held.probing = true;
        }
        let key = usize::from(shape.key);
        let (key, target) = self.target(found.shape, key);
        let target = match batch.part() {
            Some(part) => Arc::new(target.of_part(part)),
            None => target,
        };
        let queue = &mut self.queues[found.queue];
        let (_, tail) = self.settings.destination.frame(found.shape);
        batch.seal(tail);
        batch.granted = [0; super::MAX_BUDGETS];
        if self.signer.is_some() && batch.number == 0 {
            batch.number = around.rng.random();
        }
        batch.tried = true;
        queue.in_flight += 1;
        self.in_flight += 1;
        self.wire_calls += batch.count();
        let number = self.next_request;
        self.next_request += 1;
        self.on_wire.insert(number, OnWire::of(&batch));
        let body = batch.body();
        around.room.take(body.len() + batch.overhead());
        around.effects.push(Effect::Send(Box::new(Flight {
            lane: self.settings.index,
            account: self.settings.account,
            target,
            body,
            number,
            queue: found.queue,
            batch,
            sent: Sent { key, keys_version: self.keys_version, canary },
            signer: self.signer.clone(),
        })));
    }

    /// Where requests of this shape go, made when the first one does: most lanes use few of their shapes. Also which
    /// of the keys it is.
    fn target(&mut self, shape: Shape, key: usize) -> (usize, Arc<Target>) {
        let info = self.info(shape);
        let targets = &mut self.targets[usize::from(shape.0)];
        let key = key.min(targets.len() - 1);
        let target = targets[key].get_or_insert_with(|| {
            let secret = &self.keys.of(info.keys)[key];
            let mut target = self.settings.destination.target(shape, secret);
            // What an old key was is still not to be shown: it may be in an answer that is on its way.
            self.redactor.learn(secret, &target.headers);
            target.path.insert_str(0, &self.settings.path_prefix);
            Arc::new(target)
        });
        (key, Arc::clone(target))
    }

    /// The account's keys were read. A shape that no key opens is held.
    pub fn set_keys(&mut self, now: Duration, keys: &Keys) {
        let destination = &self.settings.destination;
        self.keys = keys.clone();
        self.targets = destination.shapes().iter().map(|info| vec![None; keys.of(info.keys).len()]).collect();
        self.signer = destination.signer(keys.of(&["keys"]));
        self.keys_version += 1;
        for shape in &mut self.shapes {
            shape.renew(now);
        }
    }

    /// The call leaves the lane; its user's waiting calls may be freed by that.
    pub(super) fn let_go(&mut self, weight: usize, ticket: &super::Ticket) {
        self.call_bytes = self.call_bytes.saturating_sub(weight);
        self.held_calls = self.held_calls.saturating_sub(1);
        if ticket.state {
            self.order.settled(ticket.user, &mut self.freed);
        }
    }

    /// Puts calls that no longer wait for their user into their queues.
    pub(super) fn let_freed_go(&mut self, around: &mut Surroundings<'_>) {
        while !self.freed.is_empty() {
            for freed in std::mem::take(&mut self.freed) {
                self.enqueue(around, &freed.call, &freed.parcel, freed.place);
            }
        }
    }

    /// Why something cannot go for want of a key: nothing can at all, or calls wait whose shape has keys of its own.
    fn keyless(&self) -> Option<String> {
        if !(0..self.shapes.len()).any(|shape| self.is_keyless(shape)) {
            return None;
        }
        if self.settings.carries & 1 != 0 && self.is_keyless(0) {
            return Some("credentials_missing".into());
        }
        let queued = self.queues.iter().flat_map(|queue| queue.open.iter().chain(&queue.ready));
        let shape = queued.map(|batch| usize::from(batch.shape().0)).find(|shape| self.is_keyless(*shape))?;
        let info = &self.settings.destination.shapes()[shape];
        Some(format!("credentials_missing ({} of {})", info.keys.first().unwrap_or(&"keys"), info.name))
    }

    /// How it does.
    #[must_use]
    pub fn health(&self, now: Duration) -> Health {
        let keyless = self.keyless().is_some();
        if keyless || self.settings.held_by_operator || self.shapes.iter().any(|s| s.held.is_some()) {
            Health::Held
        } else if self.failures >= FAILING_AFTER {
            Health::Failing
        } else if self.shapes.iter().any(|shape| shape.gate > now) {
            Health::Throttled
        } else {
            Health::Ok
        }
    }

    /// What keeps it from sending now.
    #[must_use]
    pub fn binds(&self, now: Now) -> Binds {
        let until = |at: Duration| Some(now.later(at.saturating_sub(now.mono)));
        if self.settings.held_by_operator {
            return Binds { what: "held", reason: "operator".into(), until: None };
        }
        if let Some(reason) = self.keyless() {
            return Binds { what: "held", reason, until: None };
        }
        let names = self.settings.destination.shapes();
        if let Some((held, info)) = self.shapes.iter().zip(names).find_map(|(s, info)| Some((s.held.as_ref()?, info))) {
            // Shapes with keys of their own say which ones.
            let family = info.keys.first().filter(|family| **family != "keys");
            let family = family.map_or_else(String::new, |family| format!(", {family}"));
            let reason = format!("{} ({}{family}): {}", held.why.name(), info.name, held.words);
            return Binds { what: "held", reason, until: until(held.canary_at) };
        }
        if self.failures >= FAILING_AFTER {
            let reason = self.last_error.as_ref().map_or_else(String::new, |(_, text)| text.clone());
            return Binds { what: "failing", reason, until: until(self.probe_at) };
        }
        if let Some((shape, info)) = self.shapes.iter().zip(names).find(|(shape, _)| shape.gate > now.mono) {
            let why = if shape.used_up { "used up, the vendor says" } else { "429" };
            return Binds { what: "gate", reason: format!("{why} ({})", info.name), until: until(shape.gate) };
        }
        // A time that has just come is no other reason: what waits has not been paid for yet.
        let unsent = self.has_unsent();
        if let Some((name, at)) = self.shapes.iter().find_map(|s| s.paced).filter(|(_, at)| unsent || *at > now.mono) {
            return Binds { what: "limit", reason: name.into(), until: until(at) };
        }
        if self.in_flight >= self.settings.max_in_flight {
            return Binds { what: "in_flight", reason: "max_in_flight".into(), until: None };
        }
        Binds { what: "nothing", ..Binds::default() }
    }
}

#[cfg(test)]
pub(super) mod tests;
