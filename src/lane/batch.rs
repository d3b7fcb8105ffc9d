//! A batch: calls of one shape and one account, encoded into one request body as they enter.
//!
//! Guarantees exact sizes: the body is what goes over the wire, and a table beside it says which bytes belong to which
//! call, so that splitting copies ranges and nothing is encoded twice. A batch must be emptied by whoever ends it;
//! dropping one that still holds calls is a bug: it is counted, and panics in debug builds. Never decides when to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::MAX_BUDGETS;
use crate::destination::{Call, Elements, Shape};
use crate::json::copy::TOO_MUCH;
use crate::near;
use crate::source::Receipt;

/// Calls that were dropped unsettled: bugs, each of them.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many calls were dropped unsettled since the process started.
pub fn dropped_unsettled() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// What a batch knows of one of its calls, beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The record that it comes from.
    pub receipt: Receipt,
    /// The user that it is about.
    pub user: u64,
    /// Whether it changes the user's state.
    pub state: bool,
    /// Whether it had its late second chance.
    pub was_late: bool,
    /// How many calls its record makes in the lane.
    pub calls: u16,
    /// What it costs.
    pub units: [u32; 2],
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    ticket: Ticket,
    /// The element is `start..end` of the body.
    start: u32,
    end: u32,
    /// The record, as kept for a dead letter, ends here in `records`; it begins where the one before ends.
    record_end: u32,
}

/// One call outside a batch: waiting, or on its way to another batch.
#[derive(Debug)]
pub struct Parcel {
    /// Its facts.
    pub ticket: Ticket,
    /// Its element.
    pub element: Vec<u8>,
    /// Its record.
    pub record: Vec<u8>,
}

impl Parcel {
    /// What it weighs in memory, in a batch or outside.
    #[must_use]
    pub fn weight(&self) -> usize {
        weight(self.element.len(), self.record.len())
    }
}

/// What a batch takes beside its calls: itself, its body's head, its place in its queue, and what the allocator adds to its
/// three pieces of memory. Many lanes have batches of one call each, for want of more or because of a tiny limit.
pub const OF_A_BATCH: usize = 2 * size_of::<Batch>() + 256;

/// A record is kept with about so many bytes beside its value; an element has less beside what comes from there.
const OF_A_RECORD: usize = 64;

/// A new piece of memory is at most so large before it has grown.
const MOST_ROOM: usize = 128 * 1024;

/// What a call weighs in memory: its element, its record, and its place in the table.
const fn weight(element: usize, record: usize) -> usize {
    element + record + size_of::<Slot>()
}

/// Memory of a batch that has ended, for one that begins: growing it anew would cost more than filling it.
#[derive(Debug, Default)]
pub struct Buffers {
    body: Vec<u8>,
    records: Vec<u8>,
    slots: Vec<Slot>,
}

/// How large a batch's pieces of memory are: bytes of its body and of its records, and calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    body: u32,
    records: u32,
    calls: u32,
}

impl Sizes {
    /// The bytes of all pieces.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.body as usize + self.records as usize + self.calls as usize * size_of::<Slot>()
    }

    /// Of each piece, what is larger: these, or three quarters of those.
    #[must_use]
    pub fn or_most_of(self, those: Self) -> Self {
        let larger = |this: u32, that: u32| this.max(that / 4 * 3);
        Self {
            body: larger(self.body, those.body),
            records: larger(self.records, those.records),
            calls: larger(self.calls, those.calls),
        }
    }
}

impl Buffers {
    /// New ones of these sizes, and an eighth more, because batches differ; as far as that is not much for one that may end
    /// small.
    #[must_use]
    pub fn of(sizes: Sizes) -> Self {
        let room = |size: u32| (size as usize + size as usize / 8).min(MOST_ROOM);
        Self {
            body: Vec::with_capacity(room(sizes.body)),
            records: Vec::with_capacity(room(sizes.records)),
            slots: Vec::with_capacity((sizes.calls as usize).min(MOST_ROOM / size_of::<Slot>())),
        }
    }

    /// The bytes that they take.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.body.capacity() + self.records.capacity() + self.slots.capacity() * size_of::<Slot>()
    }
}

/// How much one request may hold, looked up once a batch.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Calls.
    pub calls: usize,
    /// Bytes of the open body.
    pub bytes: usize,
    /// What its calls may cost of the budgets that count units.
    pub units: [u32; 2],
    /// Whether it may hold one call of a user at most.
    pub apart: bool,
}

impl Caps {
    /// No bounds.
    pub const NONE: Self = Self { calls: usize::MAX, bytes: usize::MAX, units: [u32::MAX; 2], apart: false };
}

/// Calls of one shape in one body.
#[derive(Debug)]
pub struct Batch {
    shape: Shape,
    caps: Caps,
    /// Where all of its calls go, if their shape has several places ([`Call::part`]).
    part: Option<Arc<str>>,
    /// While open: frame head and elements. Once sealed: empty.
    open: Vec<u8>,
    /// Once sealed: the whole body.
    sealed: Bytes,
    slots: Vec<Slot>,
    records: Vec<u8>,
    units: [u32; 2],
    /// For how many records its memory was asked for, since the last was appended.
    asked: u32,
    /// When the first call entered.
    pub opened: Duration,
    /// When it may go (again).
    pub not_before: Duration,
    /// Cells already paid, one count a budget of the lane.
    pub granted: [u32; MAX_BUDGETS],
    /// Answers of 5xx kind that it got.
    pub server_errors: u32,
    /// Attempts that ended without an answer or with one that says "again".
    pub attempts: u32,
    /// When its first attempt failed.
    pub first_failure: Option<Duration>,
    /// What a receiver knows it by when it comes again; zero before it was sent, or if nobody asks.
    pub number: u128,
    /// Whether its calls were sent before, in this batch or in the one that it was a part of.
    pub tried: bool,
}

impl Batch {
    /// An open batch with the frame's head.
    #[must_use]
    pub fn new(shape: Shape, head: &[u8], buffers: Buffers, now: Duration) -> Self {
        let Buffers { body: mut open, records, slots } = buffers;
        open.extend_from_slice(head);
        Self {
            shape,
            caps: Caps::NONE,
            part: None,
            open,
            sealed: Bytes::new(),
            slots,
            records,
            units: [0; 2],
            asked: 0,
            opened: now,
            not_before: Duration::ZERO,
            granted: [0; MAX_BUDGETS],
            server_errors: 0,
            attempts: 0,
            first_failure: None,
            number: 0,
            tried: false,
        }
    }

    /// The same batch, for calls that go to this part.
    #[must_use]
    pub fn for_part(mut self, part: Option<Arc<str>>) -> Self {
        self.part = part;
        self
    }

    /// The same batch, which may hold so much.
    #[must_use]
    pub fn within(mut self, caps: Caps) -> Self {
        self.caps = caps;
        self
    }

    /// How much it may hold.
    #[must_use]
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Whether it holds more than it may.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let Caps { calls, bytes, units, .. } = self.caps;
        self.slots.len() > calls
            || self.open.len() > bytes
            || self.units.iter().zip(units).any(|(units, most)| *units > most)
    }

    /// Asks for the memory that a record of so many bytes will be appended to, behind those asked for already.
    pub(super) fn ask_for_room(&mut self, bytes: usize) {
        let (bytes, asked) = (bytes + OF_A_RECORD, self.asked as usize);
        near::to_fill(&mut self.open, asked * bytes, bytes);
        near::to_fill(&mut self.records, asked * bytes, bytes);
        near::to_fill(&mut self.slots, asked, 1);
        // Records that the account does not take are asked for as well, for as long as the batch is open.
        self.asked = self.asked.saturating_add(1);
    }

    /// Where its calls go, if their shape has several places.
    #[must_use]
    pub fn part(&self) -> Option<&Arc<str>> {
        self.part.as_ref()
    }

    /// Whether a call may go with it.
    #[must_use]
    pub fn takes(&self, call: &Call) -> bool {
        self.shape == call.shape && self.part == call.part
    }

    /// The shape of its calls.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many calls it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The same, as a lane adds it up.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The sum of its calls' units.
    #[must_use]
    pub fn units(&self) -> [u32; 2] {
        self.units
    }

    /// Lets `encode` append one element; on its error the body is as before. `record` is what a dead letter would need.
    /// The results are the element's length and what the call weighs.
    pub fn append<E>(
        &mut self,
        ticket: Ticket,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        record: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(usize, usize), E> {
        self.asked = 0;
        let before = self.open.len();
        if !self.slots.is_empty() {
            self.open.push(b',');
        }
        let start = self.open.len();
        if let Err(error) = encode(&mut self.open) {
            self.open.truncate(before);
            self.slim();
            return Err(error);
        }
        let kept = self.records.len();
        record(&mut self.records);
        self.note(ticket, start);
        let element = self.open.len() - start;
        Ok((element, weight(element, self.records.len() - kept)))
    }

    /// Appends a call that was encoded before.
    pub fn append_parcel(&mut self, parcel: &Parcel) {
        if !self.slots.is_empty() {
            self.open.push(b',');
        }
        let start = self.open.len();
        self.open.extend_from_slice(&parcel.element);
        self.records.extend_from_slice(&parcel.record);
        self.note(parcel.ticket, start);
    }

    #[expect(clippy::cast_possible_truncation, reason = "bodies and records of a batch stay far below 4 GiB")]
    fn note(&mut self, ticket: Ticket, start: usize) {
        for (sum, units) in self.units.iter_mut().zip(ticket.units) {
            *sum += units;
        }
        self.slots.push(Slot {
            ticket,
            start: start as u32,
            end: self.open.len() as u32,
            record_end: self.records.len() as u32,
        });
    }

    /// Takes the last call out again: it did not fit.
    pub fn pop(&mut self) -> Option<Parcel> {
        let last = self.slots.len().checked_sub(1)?;
        let element = self.element(last).to_vec();
        let record = self.record(last).to_vec();
        let slot = self.slots.pop()?;
        let parcel = Parcel { ticket: slot.ticket, element, record };
        for (sum, units) in self.units.iter_mut().zip(slot.ticket.units) {
            *sum -= units;
        }
        self.open.truncate(slot.start as usize - usize::from(last > 0));
        self.slim();
        self.records.truncate(self.slots.last().map_or(0, |slot| slot.record_end as usize));
        Some(parcel)
    }

    /// Gives back what a call took that was far too large: nobody counts it.
    fn slim(&mut self) {
        if self.open.capacity() > TOO_MUCH {
            self.open.shrink_to_fit();
        }
    }

    /// Gives back what growing took too much: the batch is full, and has to wait.
    pub fn shrink(&mut self) {
        self.open.shrink_to_fit();
        self.records.shrink_to_fit();
        self.slots.shrink_to_fit();
    }

    /// Closes the body with the frame's tail. Nothing can be appended any more.
    pub fn seal(&mut self, tail: &[u8]) {
        if self.sealed.is_empty() {
            self.open.extend_from_slice(tail);
            self.sealed = Bytes::from(std::mem::take(&mut self.open));
        }
    }

    /// The body as it goes over the wire; empty before [`Batch::seal`].
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.sealed.clone()
    }

    /// Whether it was sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// The calls' facts, in order.
    pub fn tickets(&self) -> impl DoubleEndedIterator<Item = &Ticket> + ExactSizeIterator {
        self.slots.iter().map(|slot| &slot.ticket)
    }

    fn record_start(&self, index: usize) -> usize {
        index.checked_sub(1).and_then(|before| self.slots.get(before)).map_or(0, |slot| slot.record_end as usize)
    }

    /// The record of the call at `index`, as it was kept.
    #[must_use]
    pub fn record(&self, index: usize) -> &[u8] {
        let end = self.slots.get(index).map_or(0, |slot| slot.record_end as usize);
        self.records.get(self.record_start(index)..end).unwrap_or_default()
    }

    /// What the call at `index` weighs in memory.
    #[must_use]
    pub fn weight(&self, index: usize) -> usize {
        if index < self.len() { weight(self.element(index).len(), self.record(index).len()) } else { 0 }
    }

    /// The same of all its calls together.
    #[must_use]
    pub fn calls_weight(&self) -> usize {
        let elements: usize = self.slots.iter().map(|slot| (slot.end - slot.start) as usize).sum();
        elements + self.records.len() + self.slots.len() * size_of::<Slot>()
    }

    /// How large it is.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let body = self.open.len() + self.sealed.len();
        Sizes { body: size(body), records: size(self.records.len()), calls: size(self.slots.len()) }
    }

    /// What it takes in memory beside its body.
    #[must_use]
    pub fn overhead(&self) -> usize {
        OF_A_BATCH + self.records.len() + self.slots.len() * size_of::<Slot>()
    }

    /// A new open batch of the same shape with the calls at `indices`, in that order.
    #[must_use]
    pub fn copy(&self, head: &[u8], indices: impl Iterator<Item = usize>) -> Self {
        let mut part = Self::new(self.shape, head, Buffers::default(), self.opened).for_part(self.part.clone());
        part.tried = self.tried;
        for index in indices {
            let Some(slot) = self.slots.get(index) else { continue };
            if !part.slots.is_empty() {
                part.open.push(b',');
            }
            let start = part.open.len();
            part.open.extend_from_slice(self.element(index));
            part.records.extend_from_slice(self.record(index));
            part.note(slot.ticket, start);
        }
        part
    }

    /// Notes that this record has fewer calls than it seemed.
    pub fn part_with(&mut self, receipt: Receipt, refused: u16) {
        // What was appended last is looked for.
        for slot in self.slots.iter_mut().rev().take_while(|slot| slot.ticket.receipt == receipt) {
            slot.ticket.calls -= refused.min(slot.ticket.calls);
        }
    }

    /// Marks every call as having had its late second chance.
    pub fn mark_late(&mut self) {
        for slot in &mut self.slots {
            slot.ticket.was_late = true;
        }
    }

    /// Ends the batch, whose calls are accounted for by the caller. Its memory comes back empty, if nobody else reads it.
    pub fn disband(mut self) -> Option<Buffers> {
        let mut slots = std::mem::take(&mut self.slots);
        let mut records = std::mem::take(&mut self.records);
        let mut body = std::mem::take(&mut self.sealed).try_into_mut().ok()?;
        slots.clear();
        records.clear();
        // Before it becomes a vector, which would move what it holds.
        body.clear();
        Some(Buffers { body: body.into(), records, slots })
    }
}

impl Elements for Batch {
    fn len(&self) -> usize {
        self.slots.len()
    }

    fn element(&self, index: usize) -> &[u8] {
        let body: &[u8] = if self.sealed.is_empty() { &self.open } else { &self.sealed };
        self.slots.get(index).and_then(|slot| body.get(slot.start as usize..slot.end as usize)).unwrap_or_default()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        DROPPED.fetch_add(self.slots.len() as u64, Ordering::Relaxed);
        if cfg!(debug_assertions) && !std::thread::panicking() {
            unsettled(self.slots.len());
        }
    }
}

#[expect(clippy::panic, reason = "a debug build must not go on past a lost call")]
fn unsettled(calls: usize) {
    panic!("a batch with {calls} unsettled calls was dropped");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(offset: i64) -> Ticket {
        let receipt = Receipt { slot: 0, epoch: 1, offset };
        Ticket { receipt, user: 0, state: false, was_late: false, calls: 1, units: [1, 2] }
    }

    fn batch_of(elements: &[&str]) -> Batch {
        let mut batch = Batch::new(Shape(0), b"[", Buffers::default(), Duration::ZERO);
        for (offset, element) in (0..).zip(elements) {
            let appended: Result<_, ()> = batch.append(
                ticket(offset),
                |body| {
                    body.extend_from_slice(element.as_bytes());
                    Ok(())
                },
                |records| records.extend_from_slice(format!("r{offset}").as_bytes()),
            );
            assert!(appended.is_ok());
        }
        batch
    }

    #[test]
    fn the_body_is_exactly_frame_and_elements() {
        let mut batch = batch_of(&["1", "22", "3"]);
        assert_eq!(batch.units(), [3, 6]);
        batch.seal(b"]");
        assert_eq!(&batch.body()[..], b"[1,22,3]");
        assert_eq!((batch.element(1), batch.record(1)), (&b"22"[..], &b"r1"[..]));
        drop(batch.disband());
    }

    #[test]
    fn a_batch_like_the_last_needs_no_more_room() {
        let batch = batch_of(&["1", "22", "333", "4444", "55555", "666666", "7777777", "88888888"]);
        let last = batch.sizes();
        drop(batch.disband());
        let gone = Buffers::of(Sizes::default().or_most_of(last));
        assert_eq!(Buffers::default().capacity(), 0);
        assert!(gone.capacity() < last.bytes(), "three quarters: {gone:?}");
        let buffers = Buffers::of(last.or_most_of(Sizes::default()));
        let place = (buffers.body.as_ptr(), buffers.records.as_ptr(), buffers.slots.as_ptr());
        let mut batch = Batch::new(Shape(0), b"[", buffers, Duration::ZERO);
        for offset in 0..8 {
            let element = |body: &mut Vec<u8>| {
                body.extend_from_slice(b"1234");
                Ok::<(), ()>(())
            };
            batch.append(ticket(offset), element, |kept| kept.extend_from_slice(b"r1")).unwrap();
        }
        assert_eq!((batch.open.as_ptr(), batch.records.as_ptr(), batch.slots.as_ptr()), place);
        drop(batch.disband());
    }

    #[test]
    fn asking_for_ever_is_harmless() {
        let mut batch = batch_of(&["1"]);
        batch.asked = u32::MAX;
        batch.ask_for_room(1_000);
        assert_eq!(batch.asked, u32::MAX);
        assert_eq!((batch.element(0), batch.record(0)), (&b"1"[..], &b"r0"[..]));
        drop(batch.disband());
    }

    #[test]
    fn what_enters_is_what_leaves() {
        let mut batch = Batch::new(Shape(0), b"[", Buffers::default(), Duration::ZERO);
        let mut entered = 0;
        for offset in 0..2 {
            let element = |body: &mut Vec<u8>| {
                body.extend_from_slice(b"12345");
                Ok::<(), ()>(())
            };
            let (_, weight) = batch.append(ticket(offset), element, |kept| kept.extend_from_slice(b"123")).unwrap();
            assert_eq!(weight, 8 + size_of::<Slot>());
            assert_eq!(weight, batch.weight(batch.len() - 1));
            entered += weight;
        }
        assert_eq!(batch.calls_weight(), entered);
        let parcel = batch.pop().unwrap();
        assert_eq!(parcel.weight(), entered / 2);
        drop(batch.disband());
    }

    #[test]
    fn a_refused_element_leaves_the_body_as_it_was() {
        let mut batch = batch_of(&["1"]);
        let refused = batch.append(
            ticket(1),
            |body| {
                body.extend_from_slice(b"half of it");
                Err("no")
            },
            |_| {},
        );
        assert_eq!(refused, Err("no"));
        batch.seal(b"]");
        assert_eq!(&batch.body()[..], b"[1]");
        drop(batch.disband());
    }

    #[test]
    fn an_element_that_does_not_fit_comes_out_whole() {
        let mut batch = batch_of(&["1", "22"]);
        let parcel = batch.pop();
        assert!(parcel.is_some_and(|p| p.element == b"22" && p.record == b"r1" && p.ticket.receipt.offset == 1));
        assert_eq!((batch.len(), batch.open.len(), batch.units()), (1, 2, [1, 2]));
        drop(batch.disband());
    }

    #[test]
    fn parts_are_copies_of_ranges_also_of_a_sealed_batch() {
        let mut batch = batch_of(&["1", "22", "3"]);
        batch.seal(b"]");
        let mut part = batch.copy(b"[", [2, 0].into_iter());
        part.seal(b"]");
        assert_eq!(&part.body()[..], b"[3,1]");
        assert_eq!((part.record(0), part.record(1)), (&b"r2"[..], &b"r0"[..]));
        drop((part.disband(), batch.disband()));
    }

    #[test]
    fn memory_comes_back_empty_once_nobody_reads_it() {
        let mut batch = batch_of(&["1", "22"]);
        batch.seal(b"]");
        let on_the_wire = batch.body();
        assert!(batch.disband().is_none());
        let mut batch = batch_of(&["1", "22"]);
        batch.seal(b"]");
        drop(on_the_wire);
        let buffers = batch.disband().unwrap();
        assert!(buffers.body.is_empty() && buffers.records.is_empty() && buffers.slots.is_empty());
        assert!(buffers.body.capacity() >= 6 && buffers.slots.capacity() >= 2);
    }

    #[test]
    #[should_panic(expected = "2 unsettled calls")]
    fn dropping_an_unsettled_batch_is_noticed() {
        drop(batch_of(&["1", "2"]));
    }
}
