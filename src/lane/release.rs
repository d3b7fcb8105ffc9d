//! What a lane gives back: calls of partitions that are gone, and what is read again when there is room.
//!
//! Guarantees that what stays lies in front of what comes again, so that the order holds. Never gives back what is on the
//! wire.

use std::collections::{HashMap, HashSet};

use super::batch::{Batch, Parcel, Ticket};
use super::{Lane, Surroundings};
use crate::outcome::Release;
use crate::source::Receipt;
use crate::source::record::Kept;

/// A record, and its time if it has one.
pub type Timed = (Receipt, Option<i64>);

/// A batch's queue and its place there.
type At = (usize, usize);

impl Lane {
    /// Gives back every call whose record belongs to no current assignment and is not on the wire.
    pub fn release_stale(&mut self, around: &mut Surroundings<'_>) {
        let mut parcels = Vec::new();
        self.order.release(|parcel| !around.is_current(parcel.ticket.receipt), &mut parcels, &mut self.freed);
        for parcel in parcels {
            self.release_waiting(&parcel, Release::Revoked);
        }
        for index in 0..self.queues.len() {
            let open = std::mem::take(&mut self.queues[index].open);
            let open = open.into_iter().filter_map(|batch| self.without_stale(around, batch)).collect();
            self.queues[index].open = open;
            let ready = std::mem::take(&mut self.queues[index].ready);
            let ready = ready.into_iter().filter_map(|batch| self.without_stale(around, batch)).collect();
            self.queues[index].ready = ready;
        }
        self.count_batches();
        self.let_freed_go(around);
    }

    /// The batch without calls of older assignments; `None` if nothing is left.
    pub(super) fn without_stale(&mut self, around: &mut Surroundings<'_>, batch: Batch) -> Option<Batch> {
        if batch.tickets().all(|ticket| around.is_current(ticket.receipt)) {
            return Some(batch);
        }
        let tickets: Vec<_> = batch.tickets().copied().collect();
        let current: Vec<_> =
            tickets.iter().enumerate().filter(|(_, t)| around.is_current(t.receipt)).map(|(index, _)| index).collect();
        for (index, ticket) in tickets.iter().enumerate() {
            if !around.is_current(ticket.receipt) {
                self.release(batch.weight(index), ticket, Release::Revoked);
            }
        }
        let (head, _) = self.settings.destination.frame(batch.shape());
        let mut rest = batch.copy(head, current.into_iter());
        rest.not_before = batch.not_before;
        rest.attempts = batch.attempts;
        rest.server_errors = batch.server_errors;
        rest.first_failure = batch.first_failure;
        drop(batch.disband());
        (!rest.is_empty()).then_some(rest)
    }

    /// Gives back, for lack of memory or under a hold, every call that was never sent; the result is their records.
    ///
    /// What was sent before stays: a call that is given back forgets its attempts, and one that is poison, or not found,
    /// would never come to its end. In each queue that is what lies in front, so that what is read again goes behind
    /// it. If nothing was sent before, the oldest batch stays, to ask the vendor with.
    ///
    /// Nor are the calls of one record parted: were the second given back after the first was sent, both would be made
    /// anew, again and again for as long as memory is short.
    pub fn release_unsent(&mut self, around: &mut Surroundings<'_>) -> Vec<Timed> {
        let asks = self.in_flight > 0 || self.queued().any(|(_, batch)| batch.tried);
        let oldest = self.queued().min_by_key(|(_, batch)| batch.opened);
        let probe = oldest.filter(|_| !asks).map(|(at, _)| at);
        let stays = |at, batch: &Batch| batch.tried || Some(at) == probe;
        let begun = self.begun(stays);
        self.give_back(around, stays, &begun)
    }

    /// The same with what was sent before, for a lane that is failing or held: that is not the fault of the calls, and
    /// they lose nothing by forgetting it. One batch from the front of a queue stays, to ask the vendor with, unless a
    /// request is on the wire. The other calls of the records that are asked with stay, too: a held shape may be asked with
    /// nothing but one of these, when the call before it has gone.
    pub fn release_sent(&mut self, around: &mut Surroundings<'_>) -> Vec<Timed> {
        let is_held = |batch: &Batch| self.shapes[usize::from(batch.shape().0)].held.is_some();
        let is_late = |batch: &Batch| batch.tickets().any(|ticket| ticket.was_late);
        let in_front = self.queued().filter(|((_, place), _)| *place == 0);
        let best = in_front.min_by_key(|(_, batch)| (!is_held(batch), is_late(batch), batch.attempts, batch.opened));
        let probe = best.filter(|_| self.in_flight == 0).map(|(at, _)| at);
        let stays = |at, _: &Batch| Some(at) == probe;
        let asked_with = self.asked_with(stays);
        self.give_back(around, stays, &asked_with)
    }

    /// Every batch that is not on the wire.
    fn queued(&self) -> impl Iterator<Item = (At, &Batch)> {
        self.queues.iter().enumerate().flat_map(|(index, queue)| {
            queue.ready.iter().chain(&queue.open).enumerate().map(move |(place, batch)| ((index, place), batch))
        })
    }

    /// The records of several calls of which one was sent or has ended, or is in a batch that stays.
    fn begun(&self, stays: impl Fn(At, &Batch) -> bool) -> HashSet<Receipt> {
        let mut unsent: HashMap<Receipt, (u16, u16)> = HashMap::new();
        let mut count = |ticket: &Ticket| {
            if ticket.calls > 1 {
                unsent.entry(ticket.receipt).or_insert((ticket.calls, 0)).1 += 1;
            }
        };
        self.order.each_waiting(|parcel| count(&parcel.ticket));
        self.queued()
            .filter(|(at, batch)| !stays(*at, batch))
            .for_each(|(_, batch)| batch.tickets().for_each(&mut count));
        unsent.into_iter().filter(|(_, (calls, unsent))| unsent < calls).map(|(receipt, _)| receipt).collect()
    }

    /// The records of several calls of which one is on the wire, or in a batch that stays.
    fn asked_with(&self, stays: impl Fn(At, &Batch) -> bool) -> HashSet<Receipt> {
        let staying = self.queued().filter(|(at, batch)| stays(*at, batch));
        let several = staying.flat_map(|(_, batch)| batch.tickets().filter(|ticket| ticket.calls > 1));
        let on_wire = self.on_wire.values().flat_map(|wire| wire.receipts.iter().copied());
        several.map(|ticket| ticket.receipt).chain(on_wire).collect()
    }

    /// Gives back all calls but those of the batches that stay, and of the records that were begun.
    fn give_back(
        &mut self,
        around: &mut Surroundings<'_>,
        stays: impl Fn(At, &Batch) -> bool,
        begun: &HashSet<Receipt>,
    ) -> Vec<Timed> {
        let mut parcels = Vec::new();
        self.order.release(|parcel| !begun.contains(&parcel.ticket.receipt), &mut parcels, &mut self.freed);
        let timed = |receipt, record: &[u8]| (receipt, Kept::timestamp(record));
        let mut released: Vec<Timed> =
            parcels.iter().map(|parcel| timed(parcel.ticket.receipt, &parcel.record)).collect();
        for parcel in parcels {
            self.release_waiting(&parcel, Release::Deferred);
        }
        for index in 0..self.queues.len() {
            let ready = std::mem::take(&mut self.queues[index].ready);
            let open = std::mem::take(&mut self.queues[index].open);
            for (place, batch) in ready.into_iter().chain(open).enumerate() {
                if stays((index, place), &batch) {
                    self.queues[index].ready.push_back(batch);
                    continue;
                }
                let mut kept = Vec::new();
                for (call, ticket) in batch.tickets().enumerate() {
                    if begun.contains(&ticket.receipt) {
                        kept.push(call);
                        continue;
                    }
                    released.push(timed(ticket.receipt, batch.record(call)));
                    self.release(batch.weight(call), ticket, Release::Deferred);
                }
                if !kept.is_empty() {
                    let (head, _) = self.settings.destination.frame(batch.shape());
                    self.queues[index].ready.push_back(batch.copy(head, kept.into_iter()));
                }
                around.reuse(batch);
            }
            self.queues[index].ready.shrink_to_fit();
        }
        self.count_batches();
        self.let_freed_go(around);
        self.order.shrink();
        released
    }

    /// A call that waited was never issued, so the order has nothing to settle.
    fn release_waiting(&mut self, parcel: &Parcel, why: Release) {
        self.release(parcel.weight(), &Ticket { state: false, ..parcel.ticket }, why);
    }

    fn release(&mut self, weight: usize, ticket: &Ticket, why: Release) {
        self.books.released[why as usize] += 1;
        self.let_go(weight, ticket);
    }
}
