//! A record on its way in: whose it is, which calls it becomes, and in whose lanes. Pure.

use super::Pipeline;
use super::memory::MAX_SPAN;
use crate::clock::Now;
use crate::destination::Call;
use crate::event::Event;
use crate::lane::Letter;
use crate::near;
use crate::outcome::{No, Refusal};
use crate::router::{Route, Space, Tenant};
use crate::source::Receipt;
use crate::source::ledger::Reading;
use crate::source::record::Record;

/// So few accounts stay near by themselves.
const FEW: usize = 64;

/// How many calls a record owes, and how many of its accounts read it another time.
#[derive(Clone, Copy, Debug, Default)]
struct Owes {
    calls: u16,
    left_out: u16,
}

impl Owes {
    fn calls(calls: u16) -> Self {
        Self { calls, left_out: 0 }
    }
}

/// The calls that an event comes to at an account. Its place is boxed: it is taken and put back for each event, and one word
/// comes back at once, where three that were written one by one and are read as two wait for all that was written before.
#[derive(Debug, Default)]
pub(super) struct Planned(Vec<Call>);

impl Pipeline {
    /// Takes a record. It is owed from here on.
    pub fn record(&mut self, now: Now, record: &Record<'_>) {
        let mut tape = std::mem::take(&mut self.tape);
        if let Some(route) = self.route(record, Space { tape: &mut tape, event: &mut None }) {
            self.take(now, record, &route);
        }
        self.tape = tape;
    }

    /// Where a record goes. It depends on the record alone, so it may be asked for ahead of [`Pipeline::take`].
    #[must_use]
    pub fn route<'a, 'e>(&self, record: &Record<'a>, space: Space<'a, 'e>) -> Option<Route<'a, 'e>> {
        let partition = self.partitions.get(record.slot as usize)?;
        Some(self.router.route(record, partition.origin(record), space))
    }

    /// Asks for the memory that these records are written to, to have it near when they are taken.
    pub fn ask_for_room(&mut self, routes: &[Option<Route<'_, '_>>]) {
        let Self { accounts, router, .. } = self;
        let routes = || {
            let known = routes.iter().flatten().filter_map(|route| match route {
                Route::Lanes(tenant, event) => Some((router.lanes(*tenant), event.whole.get().len())),
                Route::Skipped(_) | Route::Refused(..) => None,
            });
            known.flat_map(|(lanes, bytes)| lanes.iter().map(move |&lane| (lane as usize, bytes)))
        };
        if accounts.len() > FEW {
            // What one thing leads to is asked for when all were asked for that one thing: far memory answers many at a time.
            routes().for_each(|(lane, _)| near::to_write(&accounts[lane]));
            routes().for_each(|(lane, _)| accounts[lane].lane.ask_for_queue());
            routes().for_each(|(lane, _)| accounts[lane].lane.ask_for_batch());
        }
        routes().for_each(|(lane, bytes)| accounts[lane].lane.ask_for_room(bytes));
    }

    /// Takes a record that goes there. It is owed from here on.
    pub fn take(&mut self, now: Now, record: &Record<'_>, route: &Route<'_, '_>) {
        let Some(partition) = self.partitions.get_mut(record.slot as usize) else { return };
        let Some(ledger) = partition.ledger.as_mut().filter(|_| !partition.revoking) else { return };
        match ledger.read(record.offset) {
            Reading::New => partition.received += 1,
            Reading::AlreadySettled => {
                partition.already_settled += 1;
                return;
            }
            Reading::Repeated => return,
        }
        let receipt = Receipt { slot: record.slot, epoch: partition.epoch, offset: record.offset };
        let Owes { calls, left_out } = match route {
            Route::Skipped(skip) => {
                self.not_owed[*skip as usize] += 1;
                Owes::default()
            }
            Route::Refused(tenant, refusal) => {
                Owes::calls(self.refuse_record(record, receipt, tenant.clone(), refusal.clone()))
            }
            Route::Lanes(tenant, event) => self.offer_all(now, *tenant, record, event, receipt),
        };
        let partition = &mut self.partitions[record.slot as usize];
        let Some(ledger) = partition.ledger.as_mut() else { return };
        ledger.push(record.offset, calls);
        match (calls, left_out) {
            (0, 0) => partition.settled += 1,
            (0, _) => partition.released += 1,
            _ => {}
        }
        if ledger.span() > MAX_SPAN {
            self.pause(record.slot);
        }
        self.release_what_must(now);
        self.keep_bounds(now, record.slot);
    }

    fn offer_all(
        &mut self,
        now: Now,
        tenant: Tenant,
        record: &Record<'_>,
        event: &Event<'_>,
        receipt: Receipt,
    ) -> Owes {
        self.defer_closed(tenant, record);
        let mut owes = Owes::default();
        for at in 0..self.router.lanes(tenant).len() {
            let lane = self.router.lanes(tenant)[at];
            if self.is_left_out(lane, record) {
                owes.left_out += 1;
            } else {
                owes.calls += self.offer(now, lane, record, event, receipt);
            }
        }
        owes
    }

    /// Offers the event to one account. The result is how many calls it owes there.
    pub(super) fn offer(
        &mut self,
        now: Now,
        lane: u32,
        record: &Record<'_>,
        event: &Event<'_>,
        receipt: Receipt,
    ) -> u16 {
        let index = lane as usize;
        let account = &mut self.accounts[index];
        let mut scratch = self.planned.take().unwrap_or_default();
        let Planned(calls) = &mut *scratch;
        calls.clear();
        let selected = account.selection.check(event, now).map_err(|rule| rule.no());
        let planned = selected.and_then(|()| account.lane.plan(event, now, calls));
        // Why an account does not get the event is said once, by the lane that carries the most.
        let planned = planned.or_else(|no| {
            calls.clear();
            if account.is_main { Err(no) } else { Ok(()) }
        });
        let owed = match planned {
            Ok(()) => {
                let mut refused = 0;
                for call in &*calls {
                    refused += u16::from(!self.admit(now, lane, record, event, receipt, (call, calls.len())));
                }
                if refused > 0 && calls.len() > 1 {
                    self.accounts[index].lane.part_with(receipt, refused);
                }
                u16::try_from(calls.len()).unwrap_or(u16::MAX)
            }
            Err(No::Skipped(skip, _)) => {
                account.lane.skip(skip);
                0
            }
            Err(No::Refused(refusal)) => {
                account.lane.refuse_at_the_door();
                self.write(letter(record, receipt, refusal), Some(lane), None);
                1
            }
        };
        self.planned = Some(scratch);
        if self.accounts[index].lane.held_bytes() > self.bounds.lane {
            self.close(now, lane);
        }
        owed
    }

    /// Whether the lane took the call; else it is a dead letter.
    fn admit(
        &mut self,
        now: Now,
        lane: u32,
        record: &Record<'_>,
        event: &Event<'_>,
        receipt: Receipt,
        call: (&Call, usize),
    ) -> bool {
        let mut refused = None;
        self.with_lane(now, lane as usize, |lane, around| {
            match lane.admit(around, call, event, receipt, &|out: &mut Vec<u8>| record.keep(out)) {
                Ok(full) => full,
                Err(refusal) => {
                    lane.refuse_at_the_door();
                    refused = Some(refusal);
                    true
                }
            }
        });
        let is_taken = refused.is_none();
        if let Some(refusal) = refused {
            self.write(letter(record, receipt, refusal), Some(lane), None);
        }
        let account = &self.accounts[lane as usize];
        let due = now.mono + account.lane.linger();
        if account.wake.is_none_or(|wake| wake > due) {
            self.schedule(lane, due);
        }
        is_taken
    }

    /// A record that no account could take: one dead letter.
    fn refuse_record(
        &mut self,
        record: &Record<'_>,
        receipt: Receipt,
        tenant: Option<String>,
        refusal: Refusal,
    ) -> u16 {
        self.write(letter(record, receipt, refusal), None, tenant);
        1
    }
}

/// The record as it came, and why.
fn letter(record: &Record<'_>, receipt: Receipt, refusal: Refusal) -> Letter {
    let mut kept = Vec::new();
    record.keep(&mut kept);
    Letter { receipt, record: kept, refusal }
}
