//! A lane carries one account's calls to its vendor, so that one tenant's trouble ends here.
//!
//! Calls enter by [`Lane::admit`] and are encoded at once into the open batch of their shape; [`Lane::pump`] sends what
//! is due and allowed; [`Lane::answered`] reads the vendor's answer. All of it is synchronous and takes the time as an
//! argument: the lane holds no socket, never sleeps, and belongs to one thread.
//!
//! ```text
//!  admit ─► order ─┬─ free ───► queue 0 (events): any order, several requests at a time
//!                  ├─ shard ──► queue 1..n, by hash of the user: one request at a time, in order
//!                  └─ wait ───► behind the user's unsettled state calls
//! ```

pub mod batch;
mod books;
pub mod health;
pub mod order;
pub mod pacing;
mod ready;
mod redact;
mod release;
mod verdict;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::HeaderMap;
use rand::rngs::SmallRng;

use self::batch::{Batch, Buffers, Caps, OF_A_BATCH, Parcel, Sizes, Ticket};
use self::health::{Refusals, ShapeHealth};
use self::order::{Freed, Order, Place};
use self::pacing::Pacer;
use self::ready::Ready;
use self::redact::Redactor;
use crate::clock::Now;
use crate::destination::{self, Call, Destination, Shape, Sign, Target};
use crate::event::Event;
use crate::keys::Keys;
use crate::near;
use crate::outcome::{No, Reason, Refusal, Skip};
use crate::pipeline::Room;
use crate::source::Receipt;
use crate::source::record::Kept;

pub use self::books::{Books, Requests};
pub use self::health::{Binds, Health};
pub use self::release::Timed;

/// Among so many of the latest batches there is one of each shape, nearly always.
const LATEST: usize = 8;
/// The most budgets that one account's requests can draw on.
const MAX_BUDGETS: usize = 8;
/// How many ended batches' memory is kept for new ones, and how many bytes of it.
const MAX_SPARE: usize = 64;
/// A batch is given no more of it than this many times what its lane's batches come to: growing leaves up to as much again.
const SPARE_TIMES: usize = 3;
const MAX_SPARE_BYTES: usize = 8 * 1024 * 1024;

/// What a lane asks of the parts around it.
#[derive(Debug)]
pub enum Effect {
    /// Send this request; the answer comes back with the flight.
    Send(Box<Flight>),
    /// A call of this record is settled.
    Settled(Receipt),
    /// One call of each of these records is.
    AllSettled(Vec<Receipt>),
    /// A call goes to the dead-letter topic; it is settled when that is acknowledged.
    DeadLetter(Letter),
    /// The vendor's answer was odd in this way; for the log, and not often.
    Odd(&'static str, String),
}

/// A call on its way to the dead-letter topic.
#[derive(Debug)]
pub struct Letter {
    /// The record that it is settled for.
    pub receipt: Receipt,
    /// The record's bytes, as kept.
    pub record: Vec<u8>,
    /// Why.
    pub refusal: Refusal,
}

/// A request on the wire, with the batch that it carries.
#[derive(Debug)]
pub struct Flight {
    /// The lane's index.
    pub lane: u32,
    /// The account's, in the configuration.
    pub account: u32,
    /// Where and how.
    pub target: Arc<Target>,
    /// The body.
    pub body: Bytes,
    number: u64,
    queue: usize,
    batch: Batch,
    sent: Sent,
    signer: Option<Arc<dyn Sign>>,
}

/// With what, and what for, a request was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    key: usize,
    keys_version: u64,
    /// To see whether a hold is over.
    canary: bool,
}

impl Flight {
    /// What it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.body.len() + self.batch.overhead()
    }

    /// How many calls it carries.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.batch.len()
    }

    /// Signs the request for this time, in milliseconds since the epoch, where the destination signs.
    pub fn sign(&self, wall_ms: impl FnOnce() -> i64, headers: &mut HeaderMap) {
        if let Some(signer) = &self.signer {
            signer.sign(self.batch.number, wall_ms(), &self.body, headers);
        }
    }
}

/// What a lane shares with the others of its thread while it works.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Now.
    pub now: Now,
    /// All limiters.
    pub pacers: &'a mut [Pacer],
    /// Randomness for jitter.
    pub rng: &'a mut SmallRng,
    /// The epoch in force of each partition; `None` if it is not assigned.
    pub epochs: &'a [Option<u32>],
    /// What the lane wants done.
    pub effects: &'a mut Vec<Effect>,
    /// How much more may go to the lane's host, when it is pumped.
    pub room: Room,
    /// Whether something would have gone, had there been room.
    pub starved: bool,
    /// Lanes whose turn it has become at a limit that this one waited for.
    pub turns: &'a mut Vec<u32>,
    /// Memory of batches that have ended.
    pub spare: &'a mut Vec<Buffers>,
    /// Whether open batches go without waiting for their linger.
    pub flush: bool,
    /// Whether requests may begin at all.
    pub may_send: bool,
}

impl Surroundings<'_> {
    /// Ends a batch whose calls are accounted for, and keeps its memory.
    fn reuse(&mut self, batch: Batch) {
        let Some(buffers) = batch.disband() else { return };
        let kept: usize = self.spare.iter().map(Buffers::capacity).sum();
        if self.spare.len() < MAX_SPARE && kept + buffers.capacity() <= MAX_SPARE_BYTES {
            self.spare.push(buffers);
        }
    }

    /// Memory for a batch that becomes about so large. Much more would be held by one that holds little, and nobody counts it.
    fn buffers(&mut self, usual: Sizes) -> Buffers {
        let fits = |buffers: &Buffers| buffers.capacity() <= SPARE_TIMES * usual.bytes();
        self.spare.iter().rposition(fits).map_or_else(|| Buffers::of(usual), |index| self.spare.swap_remove(index))
    }

    fn is_current(&self, receipt: Receipt) -> bool {
        self.epochs.get(receipt.slot as usize).copied().flatten() == Some(receipt.epoch)
    }
}

/// What a lane was configured with.
#[derive(Debug)]
pub struct Settings {
    /// The lane's index.
    pub index: u32,
    /// The account's, in the configuration.
    pub account: u32,
    /// The shapes that it carries, a bit each: the account's others have lanes of their own.
    pub carries: u32,
    /// How the vendor is spoken to.
    pub destination: Arc<dyn Destination>,
    /// What stands before the vendor's paths: the path of `base_url`.
    pub path_prefix: String,
    /// The limiters that its requests draw on, as indices.
    pub pacers: Vec<usize>,
    /// Requests on the wire at a time.
    pub max_in_flight: usize,
    /// Calls in one request, where the vendor takes more.
    pub max_calls: usize,
    /// How long an open batch waits to fill.
    pub linger: Duration,
    /// Whether the operator holds it.
    pub held_by_operator: bool,
    /// When this share of the recent calls was refused by the vendor, the shape is held.
    pub hold_percent: u32,
}

impl Settings {
    /// An open batch of this shape.
    fn begin(&self, around: &mut Surroundings<'_>, shape: Shape, part: Option<Arc<str>>, usual: Sizes) -> Batch {
        let (head, tail) = self.destination.frame(shape);
        let info = &self.destination.shapes()[usize::from(shape.0)];
        let mut caps = Caps {
            calls: info.max_calls.min(self.max_calls),
            bytes: info.max_bytes.saturating_sub(tail.len()),
            apart: info.apart,
            ..Caps::NONE
        };
        let pacers = self.pacers.iter().map(|&index| &around.pacers[index]);
        for pacer in pacers.filter(|pacer| pacer.serves(shape)) {
            if let Some(most) = pacer.counts().and_then(|index| caps.units.get_mut(index)) {
                *most = (*most).min(pacer.burst());
            }
        }
        let spare = around.buffers(usual);
        Batch::new(shape, head, spare, around.now.mono).within(caps).for_part(part)
    }
}

/// What the lane remembers of a request while the batch is away.
#[derive(Debug)]
struct OnWire {
    /// The time of its oldest record.
    oldest_ms: Option<i64>,
    opened: Duration,
    receipts: Vec<Receipt>,
    /// The first record of each other partition, where there are any.
    others: Vec<Timed>,
}

impl OnWire {
    fn of(batch: &Batch) -> Self {
        let receipts: Vec<Receipt> = batch.tickets().map(|ticket| ticket.receipt).collect();
        let mut others: Vec<Timed> = Vec::new();
        let first = receipts.first().map_or(0, |receipt| receipt.slot);
        if receipts.iter().any(|receipt| receipt.slot != first) {
            for (index, receipt) in receipts.iter().enumerate().filter(|(_, receipt)| receipt.slot != first) {
                if others.iter().all(|(other, _)| other.slot != receipt.slot) {
                    others.push((*receipt, Kept::timestamp(batch.record(index))));
                }
            }
        }
        Self { oldest_ms: Kept::timestamp(batch.record(0)), opened: batch.opened, receipts, others }
    }

    /// Of each partition the first record.
    fn firsts(&self) -> impl Iterator<Item = Timed> {
        let first = self.receipts.first().map(|receipt| (*receipt, self.oldest_ms));
        first.into_iter().chain(self.others.iter().copied())
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// At most one a shape.
    open: Vec<Batch>,
    /// Full, split or to be sent again; in order.
    ready: Ready,
    in_flight: usize,
}

/// The outbound side of one account.
#[derive(Debug)]
pub struct Lane {
    settings: Settings,
    /// Made on first use: queue 0 for events, then the shards.
    queues: Vec<Queue>,
    order: Order,
    shapes: Vec<ShapeHealth>,
    /// For each shape a target for each key that opens it; none while no key is there.
    targets: Vec<Vec<Option<Arc<Target>>>>,
    keys: Keys,
    /// Made of all keys, if the destination signs.
    signer: Option<Arc<dyn Sign>>,
    keys_version: u64,
    redactor: Redactor,
    in_flight: usize,
    /// Calls on the wire.
    wire_calls: u32,
    /// Each request on the wire, by its number.
    on_wire: HashMap<u64, OnWire, RandomState>,
    next_request: u64,
    /// At which of its limits, a bit each, it stands in line; and for which something waited when it was last pumped.
    in_line: u8,
    asks: u8,
    /// Requests in a row that ended without an answer, or with one that says the vendor has trouble.
    failures: u32,
    probe_at: Duration,
    /// Until when the vendor said that its trouble lasts.
    hinted: Duration,
    refusals: Refusals,
    last_success: Option<Duration>,
    /// Of its calls; its batches and users come on top.
    call_bytes: usize,
    held_calls: u32,
    /// How many batches it has, on the wire or not.
    batches: u32,
    /// What they came to lately.
    usual: Sizes,
    freed: Vec<Freed>,
    /// The account's books.
    pub books: Books,
    /// The account's requests.
    pub requests: Requests,
    /// When the vendor last took something.
    pub last_delivered: Option<Now>,
    /// What went wrong last, and when.
    pub last_error: Option<(Now, String)>,
    /// Which oddities were told of, and when.
    told: Vec<(&'static str, Duration)>,
}

impl Lane {
    /// A lane without keys, and so held until [`Lane::set_keys`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let shapes = settings.destination.shapes().iter().map(|_| ShapeHealth::default()).collect();
        Self {
            settings,
            queues: Vec::new(),
            order: Order::default(),
            shapes,
            targets: Vec::new(),
            keys: Keys::default(),
            signer: None,
            keys_version: 0,
            redactor: Redactor::default(),
            in_flight: 0,
            wire_calls: 0,
            on_wire: HashMap::default(),
            next_request: 0,
            in_line: 0,
            asks: 0,
            failures: 0,
            probe_at: Duration::ZERO,
            hinted: Duration::ZERO,
            refusals: Refusals::default(),
            last_success: None,
            call_bytes: 0,
            held_calls: 0,
            batches: 0,
            usual: Sizes::default(),
            freed: Vec::new(),
            books: Books::default(),
            requests: Requests::default(),
            last_delivered: None,
            last_error: None,
            told: Vec::new(),
        }
    }

    /// Asks for what leads to the open batch of events, when the lane itself is near.
    pub(crate) fn ask_for_queue(&self) {
        near::to_read(&*self.settings.destination);
        if let Some(events) = self.queues.first() {
            near::to_write(events);
        }
    }

    /// Asks for that batch, when what leads to it is near.
    pub(crate) fn ask_for_batch(&self) {
        if let Some(batch) = self.queues.first().and_then(|events| events.open.first()) {
            near::to_write(batch);
        }
    }

    /// Asks for the memory that an event of so many bytes will be appended to, when the batch is near.
    pub(crate) fn ask_for_room(&mut self, bytes: usize) {
        if let Some(batch) = self.queues.first_mut().and_then(|events| events.open.first_mut()) {
            batch.ask_for_room(bytes);
        }
    }

    /// Which calls the event becomes here.
    pub fn plan(&self, event: &Event<'_>, now: Now, calls: &mut Vec<Call>) -> Result<(), No> {
        self.settings.destination.plan(event, now, calls)?;
        calls.retain(|call| self.settings.carries & (1 << call.shape.0) != 0);
        Ok(())
    }

    /// How long an open batch waits to fill.
    #[must_use]
    pub fn linger(&self) -> Duration {
        self.settings.linger
    }

    /// Bytes of calls that it holds, on the wire or not, with their batches, and what is known of their users.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.call_bytes + self.batches as usize * OF_A_BATCH + self.order.held_bytes()
    }

    /// Calls that it holds, on the wire or not.
    #[must_use]
    pub fn held_calls(&self) -> usize {
        self.held_calls as usize
    }

    /// Whether some of them are not on the wire.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.held_calls > self.wire_calls
    }

    /// Requests on the wire.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The calls that it holds, counted afresh: what the books' running sums are checked against.
    #[must_use]
    pub fn counted_calls(&self) -> usize {
        let queued = self.queues.iter().flat_map(|queue| queue.open.iter().chain(&queue.ready)).map(Batch::len);
        queued.sum::<usize>() + self.order.waiting() + self.wire_calls as usize
    }

    /// The timestamp of the oldest record that it holds a call of, as far as its batches' first calls tell.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<i64> {
        let queued = self.queues.iter().flat_map(|queue| queue.open.iter().chain(&queue.ready));
        let waiting = queued.filter_map(|batch| Kept::timestamp(batch.record(0)));
        waiting.chain(self.on_wire.values().filter_map(|request| request.oldest_ms)).min()
    }

    /// When the oldest of its batches was opened.
    #[must_use]
    pub fn oldest_opened(&self) -> Option<Duration> {
        let queued = self.queues.iter().flat_map(|queue| queue.open.iter().chain(&queue.ready));
        queued.map(|batch| batch.opened).chain(self.on_wire.values().map(|request| request.opened)).min()
    }

    /// The record of every call that it holds, on the wire or not.
    pub fn owed(&self, into: &mut Vec<Receipt>) {
        let queued = self.queues.iter().flat_map(|queue| queue.open.iter().chain(&queue.ready));
        into.extend(queued.flat_map(|batch| batch.tickets().map(|ticket| ticket.receipt)));
        into.extend(self.on_wire.values().flat_map(|request| request.receipts.iter().copied()));
        self.order.each_waiting(|parcel| into.push(parcel.ticket.receipt));
    }

    /// Finds the times of these records, as far as it holds them; of those on the wire, of the first of each partition.
    pub fn tell_times(&self, of: &mut HashMap<Receipt, Option<i64>, RandomState>) {
        let mut tell = |receipt, record: &[u8]| {
            if let Some(time_ms) = of.get_mut(&receipt) {
                *time_ms = Kept::timestamp(record);
            }
        };
        let queued = self.queues.iter().flat_map(|queue| queue.open.iter().chain(&queue.ready));
        for batch in queued {
            batch.tickets().enumerate().for_each(|(index, ticket)| tell(ticket.receipt, batch.record(index)));
        }
        self.order.each_waiting(|parcel| tell(parcel.ticket.receipt, &parcel.record));
        for (receipt, known) in self.on_wire.values().flat_map(OnWire::firsts) {
            if let Some(time_ms) = of.get_mut(&receipt) {
                *time_ms = known;
            }
        }
    }

    /// Whether what it holds has to wait: for its vendor, for a limit, or for an answer.
    #[must_use]
    pub fn waits(&self, now: Duration) -> bool {
        let paced = self.shapes.iter().any(|shape| shape.paced.is_some_and(|(_, at)| at > now));
        let busy = self.in_flight >= self.settings.max_in_flight;
        self.held_calls > 0 && (paced || busy || self.health(now) != Health::Ok)
    }

    /// Whether a shape is held and the lane has nothing of it to ask the vendor with.
    #[must_use]
    pub fn lacks_canary(&self) -> bool {
        let asks = |shape: usize| {
            let mut queued = self.queues.iter().flat_map(|queue| queue.open.iter().chain(&queue.ready));
            queued.any(|batch| usize::from(batch.shape().0) == shape)
                || self.shapes[shape].held.as_ref().is_some_and(|held| held.probing)
        };
        let held = (0..self.shapes.len()).filter(|&shape| self.shapes[shape].held.is_some() && !self.is_keyless(shape));
        !self.settings.held_by_operator && held.into_iter().any(|shape| !asks(shape))
    }

    /// Each limit: its name, the configured figure, the share of it that is in force.
    #[must_use]
    pub fn limits(&self, pacers: &[Pacer]) -> Vec<(&'static str, u32, f64)> {
        let own = self.settings.pacers.iter().filter_map(|&index| pacers.get(index));
        own.map(|pacer| (pacer.name(), pacer.limit(), pacer.share())).collect()
    }

    /// Which of each family's keys is in use, by the shapes that it is the first family of.
    #[must_use]
    pub fn keys_in_use(&self) -> Vec<(&'static str, usize)> {
        let carried = |index: &usize| self.settings.carries & (1 << index) != 0;
        let shapes = (0..self.shapes.len()).filter(carried);
        let shapes = shapes.map(|index| (&self.settings.destination.shapes()[index], &self.shapes[index]));
        shapes.filter_map(|(info, shape)| Some((*info.keys.first()?, usize::from(shape.key)))).collect()
    }

    /// Takes one of the `calls` calls that an event makes here. True if a batch became full and pumping now may pay.
    pub fn admit(
        &mut self,
        around: &mut Surroundings<'_>,
        (call, calls): (&Call, usize),
        event: &Event<'_>,
        receipt: Receipt,
        record: &dyn Fn(&mut Vec<u8>),
    ) -> Result<bool, Refusal> {
        let calls = u16::try_from(calls).unwrap_or(u16::MAX);
        let Call { user, state, units, .. } = *call;
        let ticket = Ticket { receipt, user, state, was_late: false, calls, units };
        let place = self.order.place(call);
        let now = around.now;
        if place == Place::Wait {
            let mut parcel = Parcel { ticket, element: Vec::new(), record: Vec::new() };
            self.settings.destination.encode(event, call, now, &mut parcel.element)?;
            self.check_alone(call.shape, parcel.element.len())?;
            record(&mut parcel.record);
            self.hold(parcel.weight());
            self.order.wait(call, parcel);
            return Ok(false);
        }
        let queue = self.queue_for(place, call.user);
        let index = self.open_batch(around, queue, call);
        let batch = &mut self.queues[queue].open[index];
        let destination = &*self.settings.destination;
        let (element, weight) = match batch.append(ticket, |body| destination.encode(event, call, now, body), record) {
            Ok(appended) => appended,
            Err(refusal) => {
                // A batch that was opened for this call holds nothing, and would be sent all the same.
                self.queues[queue].open.retain(|open| !open.is_empty());
                self.count_batches();
                return Err(refusal);
            }
        };
        if batch.len() == 1
            && let Err(refusal) = self.check_alone(call.shape, element)
        {
            self.queues[queue].open.retain_mut(|open| !open.takes(call) || open.pop().is_none());
            self.count_batches();
            return Err(refusal);
        }
        let full = self.close_if_full(around, queue, index)?;
        self.hold(weight);
        if call.state {
            self.order.issue(call);
        }
        Ok(full)
    }

    /// Some of the calls of a record were refused as they came: the others are all that there is of it.
    pub fn part_with(&mut self, receipt: Receipt, refused: u16) {
        let queues = self.queues.iter_mut();
        queues.flat_map(|queue| queue.ready.iter_mut().chain(&mut queue.open)).for_each(|batch| {
            batch.part_with(receipt, refused);
        });
        self.order.each_waiting_mut(|parcel| {
            if parcel.ticket.receipt == receipt {
                parcel.ticket.calls -= refused.min(parcel.ticket.calls);
            }
        });
    }

    /// A call that would not fit into a request of its own can never be sent.
    fn check_alone(&self, shape: Shape, element: usize) -> Result<(), Refusal> {
        destination::fits(&*self.settings.destination, shape, element)
    }

    fn info(&self, shape: Shape) -> &'static crate::destination::ShapeInfo {
        &self.settings.destination.shapes()[usize::from(shape.0)]
    }

    fn queue_for(&mut self, place: Place, user: u64) -> usize {
        if self.queues.is_empty() {
            self.queues.resize_with(1 + self.settings.max_in_flight, Queue::default);
        }
        match place {
            Place::Free | Place::Wait => 0,
            #[expect(clippy::cast_possible_truncation, reason = "only its remainder counts")]
            Place::Shard => 1 + user as usize % self.settings.max_in_flight,
        }
    }

    /// The open batch that the call goes into: its index in the queue.
    fn open_batch(&mut self, around: &mut Surroundings<'_>, queue: usize, call: &Call) -> usize {
        let Queue { open, ready, .. } = &mut self.queues[queue];
        let mut found = open.iter().position(|batch| batch.takes(call));
        if let Some(index) = found
            && open[index].caps().apart
            && open[index].tickets().any(|ticket| ticket.user == call.user)
        {
            ready.push_back(open.swap_remove(index));
            found = None;
        }
        found.unwrap_or_else(|| {
            let batch = self.settings.begin(around, call.shape, call.part.clone(), self.usual);
            self.batches += 1;
            // Most queues have one: room for four would be more than many a lane holds.
            if open.capacity() == 0 {
                open.reserve_exact(1);
            }
            open.push(batch);
            open.len() - 1
        })
    }

    /// Gives back the room for what has gone, if it holds nothing: a lane that was busy once costs no more than another.
    pub fn shrink(&mut self) {
        if self.held_calls == 0 && self.in_flight == 0 {
            self.queues = Vec::new();
            self.order.shrink();
            self.on_wire.shrink_to_fit();
            self.freed = Vec::new();
        }
    }

    /// Counts the batches afresh, after some were taken apart.
    fn count_batches(&mut self) {
        let queued: usize = self.queues.iter().map(|queue| queue.open.len() + queue.ready.len()).sum();
        self.batches = u32::try_from(queued + self.in_flight).unwrap_or(u32::MAX);
    }

    /// Moves an open batch to the ready ones if it is full; a last call that was too much begins the next one. True if it
    /// pays to look for what may go now.
    fn close_if_full(&mut self, around: &mut Surroundings<'_>, queue: usize, index: usize) -> Result<bool, Refusal> {
        let Queue { open, ready, .. } = &mut self.queues[queue];
        let shape = open[index].shape();
        let over = open[index].len() > 1 && open[index].is_over();
        if !over && open[index].len() < open[index].caps().calls {
            return Ok(false);
        }
        let mut batch = open.swap_remove(index);
        let surplus = if over { batch.pop() } else { None };
        let part = batch.part().cloned();
        // Behind one that might have gone and did not, whatever it waits for, this one does not go either; to look for what
        // may go costs a look at each that is ready.
        let now = around.now.mono;
        let waits = ready.iter().rev().take(LATEST).any(|other| other.shape() == shape && other.not_before <= now);
        if !ready.is_empty() {
            batch.shrink();
        }
        ready.push_back(batch);
        if let Some(parcel) = surplus {
            self.check_alone(shape, parcel.element.len())?;
            let mut next = self.settings.begin(around, shape, part, self.usual);
            next.append_parcel(&parcel);
            self.queues[queue].open.push(next);
            self.batches += 1;
        }
        Ok(!waits)
    }

    /// Puts a call that was encoded before into a queue: it waited behind its user.
    fn enqueue(&mut self, around: &mut Surroundings<'_>, call: &Call, parcel: &Parcel, place: Place) {
        let queue = self.queue_for(place, call.user);
        let index = self.open_batch(around, queue, call);
        self.queues[queue].open[index].append_parcel(parcel);
        // What waits was found small enough when it was encoded.
        let _full = self.close_if_full(around, queue, index);
    }

    fn hold(&mut self, weight: usize) {
        self.call_bytes += weight;
        self.held_calls += 1;
        self.books.owed += 1;
    }

    /// A call that the router or the vendor's rules left out: owed and ended at once.
    pub fn skip(&mut self, reason: Skip) {
        self.books.owed += 1;
        self.books.skipped[reason as usize] += 1;
    }

    /// A call that is refused before it entered; the dead letter's acknowledgement ends it.
    pub fn refuse_at_the_door(&mut self) {
        self.books.owed += 1;
    }

    /// A dead letter of this lane was acknowledged.
    pub fn dead_lettered(&mut self, reason: Reason) {
        self.books.dead_lettered[reason as usize] += 1;
    }

    /// Whether it holds calls that a longer drain could still deliver.
    #[must_use]
    pub fn can_finish(&self) -> bool {
        let held = self.settings.held_by_operator || self.targets.iter().all(Vec::is_empty);
        let is_open = |shape: usize| self.shapes[shape].held.is_none() && !self.is_keyless(shape);
        let waits = self.order.waiting() > 0 && !held && (0..self.shapes.len()).all(is_open);
        self.in_flight > 0
            || waits
            || (!held
                && self
                    .queues
                    .iter()
                    .flat_map(|queue| queue.open.iter().chain(&queue.ready))
                    .any(|batch| is_open(usize::from(batch.shape().0))))
    }

    /// Whether no key that opens the shape can be read.
    fn is_keyless(&self, shape: usize) -> bool {
        self.targets.get(shape).is_none_or(Vec::is_empty)
    }
}

#[cfg(test)]
mod tests;
