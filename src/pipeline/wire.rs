//! The wire: how much is on it, in all, to each host and of each lane, and which lanes wait for a place there. Pure.
//!
//! A host may take another place while it has less than a third of what is free: alone a quarter of the whole, and of many
//! that hang each gets less, so that they never fill it together and leave a part for the next one. Bytes go by the same
//! rule. A host that has nothing on the wire may always send one request, if there is a place at all.
//!
//! At a host an eighth of its places is for lanes that have nothing on the wire: one that hangs with all of its requests
//! keeps nobody from the first. A lane that has waited for [`PATIENCE`] without an answer is silent until it has one.
//! What silent lanes have on the wire counts apart, as far as there is room for that, so that hundreds that begin to hang
//! at once leave places to the others. Together they may have an eighth of the host, and begin more up to a quarter, in
//! turns, one each: a few that are only slow are not kept back.
//!
//! Lanes that wait stand in line at their host, and hosts take turns; what becomes free goes to the first that may have
//! it, and wakes nobody else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::time::Duration;

use super::MAX_WIRE;

/// An account that has requests out, and no answer for so long, is taken for one that hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// This part of a host's places is for lanes with nothing on the wire, and silent lanes may have as much together.
const KEPT: usize = 8;
/// This part is the most that they begin to use.
const SILENT: usize = 4;

/// Requests, and what they take in memory.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    requests: usize,
    bytes: usize,
}

impl Load {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.requests -= other.requests;
        self.bytes -= other.bytes;
    }
}

/// What a lane may have, by what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// It has nothing on the wire.
    Idle,
    /// It has.
    Busy,
    /// The last that it had there ended without an answer, after a long time.
    Silent,
    /// It has waited for an answer for a long time.
    Stuck,
}

impl Class {
    const ALL: [Self; 4] = [Self::Idle, Self::Busy, Self::Silent, Self::Stuck];
}

/// One lane's part.
#[derive(Debug, Default)]
struct Guest {
    host: u32,
    load: Load,
    /// When it was last answered, or sent the first of what is on its way.
    heard: Duration,
    silent: bool,
    watched: bool,
    /// Its place among those that wait.
    ticket: Option<NonZeroU64>,
}

impl Guest {
    fn host(&self) -> usize {
        self.host as usize
    }

    fn class(&self) -> Class {
        match (self.silent, self.load.requests > 0) {
            (false, false) => Class::Idle,
            (false, true) => Class::Busy,
            (true, false) => Class::Silent,
            (true, true) => Class::Stuck,
        }
    }
}

/// One host's part.
#[derive(Debug, Default)]
struct Host {
    /// All that is on its way.
    load: Load,
    /// What of that is of silent lanes.
    silent: Load,
    /// Who waits, by class and ticket.
    lines: [BTreeMap<NonZeroU64, u32>; Class::ALL.len()],
    /// Whether it has its turn among the hosts.
    in_turn: bool,
}

impl Host {
    fn line(&mut self, class: Class) -> &mut BTreeMap<NonZeroU64, u32> {
        &mut self.lines[class as usize]
    }
}

/// What all lanes share.
#[derive(Debug)]
pub(super) struct Wire {
    used: Load,
    most_bytes: usize,
    hosts: Vec<Host>,
    guests: Vec<Guest>,
    /// Lanes with requests on their way, by when it is looked whether they hang.
    watched: BTreeSet<(Duration, u32)>,
    /// Hosts at which lanes wait, in the order of their turns.
    turns: VecDeque<usize>,
    next_ticket: NonZeroU64,
}

/// How much more may go of a lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    /// Requests.
    pub requests: usize,
    /// Bytes; the last request may be larger than what is left.
    pub bytes: usize,
}

impl Room {
    /// Whether nothing more may go.
    #[must_use]
    pub fn is_used_up(self) -> bool {
        self.requests == 0 || self.bytes == 0
    }

    /// A request of this size goes.
    pub fn take(&mut self, bytes: usize) {
        self.requests -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// One figure of a host: how much of it lanes may have.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// What is open, of how much.
    open: usize,
    whole: usize,
    /// What silent lanes have.
    silent: usize,
}

impl Share {
    /// Of a host that has so much, `silent` of it of silent lanes, while so much is free: until what counts is a third
    /// of what is then free.
    fn new(has: usize, silent: usize, free: usize) -> Self {
        let counts = has - silent.min(free / 3);
        let open = free.saturating_sub(3 * counts).div_ceil(4);
        Self { open, whole: counts + open, silent }
    }

    fn of(self, class: Class) -> usize {
        let part = |of: usize| (self.whole / of).max(1);
        let busy = self.open.saturating_sub(part(KEPT));
        let stuck = part(KEPT).saturating_sub(self.silent).min(self.open);
        match class {
            Class::Idle => busy.max(self.open.min(1)),
            Class::Busy => busy,
            Class::Silent if self.silent < part(SILENT) => stuck.max(self.open.min(1)),
            Class::Silent | Class::Stuck => stuck,
        }
    }
}

impl Wire {
    /// Of lanes at these hosts; `most_bytes` is what requests may take in memory, of all.
    pub(super) fn new(hosts: Vec<usize>, most_bytes: usize) -> Self {
        let count = hosts.iter().map(|host| host + 1).max().unwrap_or(0);
        let guest = |host| Guest { host: u32::try_from(host).unwrap_or(u32::MAX), ..Guest::default() };
        Self {
            used: Load::default(),
            most_bytes,
            hosts: std::iter::repeat_with(Host::default).take(count).collect(),
            guests: hosts.into_iter().map(guest).collect(),
            watched: BTreeSet::new(),
            turns: VecDeque::new(),
            next_ticket: NonZeroU64::MIN,
        }
    }

    /// Requests on the wire.
    pub(super) fn used(&self) -> usize {
        self.used.requests
    }

    /// How much more of the lane may go.
    pub(super) fn room(&self, lane: u32) -> Room {
        let guest = &self.guests[lane as usize];
        self.room_of(guest.host(), guest.class())
    }

    fn room_of(&self, host: usize, class: Class) -> Room {
        let Host { load, silent, .. } = &self.hosts[host];
        let requests = Share::new(load.requests, silent.requests, MAX_WIRE - self.used.requests);
        let mut bytes = Share::new(load.bytes, silent.bytes, self.most_bytes.saturating_sub(self.used.bytes));
        if load.requests == 0 {
            // The last request may be larger than what was left: none of the others may have to wait for that.
            bytes.open = bytes.open.max(1);
        }
        Room { requests: requests.of(class), bytes: bytes.of(class) }
    }

    /// What the lane's host has too much of for more of this lane; or all hosts have, if it has less than it could have
    /// alone.
    pub(super) fn full(&self, lane: u32) -> &'static str {
        let (room, guest) = (self.room(lane), &self.guests[lane as usize]);
        let has = self.hosts[guest.host()].load;
        // But for what is kept for lanes with nothing on the wire.
        let alone = |most: usize| most / 4 - most / 4 / KEPT;
        match (room.requests, has.requests >= alone(MAX_WIRE), has.bytes >= alone(self.most_bytes)) {
            (0, _, _) if guest.silent => "its host's accounts that hang",
            (0, true, _) => "requests to its host",
            (0, false, _) => "requests to all hosts",
            (_, _, true) => "bytes to its host ([memory] total)",
            (_, _, false) => "bytes to all hosts ([memory] total)",
        }
    }

    /// A request of this size begins.
    pub(super) fn take(&mut self, now: Duration, lane: u32, bytes: usize) {
        let load = Load { requests: 1, bytes };
        self.used.add(load);
        self.hosts[self.guests[lane as usize].host()].load.add(load);
        self.change(lane, |guest| guest.load.add(load));
        let guest = &mut self.guests[lane as usize];
        if guest.load.requests == 1 {
            guest.heard = now;
        }
        self.watch(lane);
    }

    /// It ended, with an answer or without.
    pub(super) fn give_back(&mut self, now: Duration, lane: u32, bytes: usize, answered: bool) {
        let load = Load { requests: 1, bytes };
        self.used.subtract(load);
        self.hosts[self.guests[lane as usize].host()].load.subtract(load);
        self.change(lane, |guest| {
            guest.load.subtract(load);
            if answered {
                (guest.heard, guest.silent) = (now, false);
            }
        });
        self.watch(lane);
    }

    /// It will be looked whether the lane hangs.
    fn watch(&mut self, lane: u32) {
        let guest = &mut self.guests[lane as usize];
        if !guest.watched && !guest.silent && guest.load.requests > 0 {
            guest.watched = true;
            self.watched.insert((guest.heard + PATIENCE, lane));
        }
    }

    /// Takes lanes that have waited too long for an answer for silent. How much is looked at does not depend on how much
    /// is on the wire.
    pub(super) fn look(&mut self, now: Duration) {
        while let Some(&(at, lane)) = self.watched.first().filter(|(at, _)| *at <= now) {
            self.watched.remove(&(at, lane));
            let guest = &mut self.guests[lane as usize];
            guest.watched = false;
            if guest.load.requests > 0 && guest.heard + PATIENCE <= now {
                self.change(lane, |guest| guest.silent = true);
            }
            self.watch(lane);
        }
    }

    /// A lane found no place.
    pub(super) fn wait(&mut self, lane: u32) {
        let ticket = self.next_ticket;
        self.next_ticket = ticket.saturating_add(1);
        self.leave(lane);
        self.guests[lane as usize].ticket = Some(ticket);
        self.enter(lane);
    }

    /// The lane that may go now, if one waits for which there is a place.
    pub(super) fn next(&mut self) -> Option<u32> {
        if self.used.requests == MAX_WIRE {
            return None;
        }
        // Who is passed over has requests on the wire, so it is never more hosts than that has places.
        let place = self.turns.iter().position(|&host| self.first(host).is_some())?;
        let index = self.turns.remove(place)?;
        self.hosts[index].in_turn = false;
        let lane = self.first(index)?;
        self.leave(lane);
        self.guests[lane as usize].ticket = None;
        self.take_turn(index);
        Some(lane)
    }

    /// Who has waited longest at the host of those that may go.
    fn first(&self, host: usize) -> Option<u32> {
        let may_go = |class: &Class| !self.room_of(host, *class).is_used_up();
        let lines =
            Class::ALL.iter().zip(&self.hosts[host].lines).filter(|(class, line)| !line.is_empty() && may_go(class));
        let first = lines.filter_map(|(_, line)| line.first_key_value()).min_by_key(|(ticket, _)| **ticket);
        first.map(|(_, lane)| *lane)
    }

    fn take_turn(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if !host.in_turn && host.lines.iter().any(|line| !line.is_empty()) {
            host.in_turn = true;
            self.turns.push_back(index);
        }
    }

    /// Something of the lane changes, and with it what it may have.
    fn change(&mut self, lane: u32, change: impl FnOnce(&mut Guest)) {
        self.leave(lane);
        let guest = &mut self.guests[lane as usize];
        let silent = &mut self.hosts[guest.host()].silent;
        if guest.silent {
            silent.subtract(guest.load);
        }
        change(guest);
        if guest.silent {
            silent.add(guest.load);
        }
        self.enter(lane);
    }

    /// Into the line of its class, if it waits.
    fn enter(&mut self, lane: u32) {
        let guest = &self.guests[lane as usize];
        let (host, class) = (guest.host(), guest.class());
        if let Some(ticket) = guest.ticket {
            self.hosts[host].line(class).insert(ticket, lane);
            self.take_turn(host);
        }
    }

    fn leave(&mut self, lane: u32) {
        let guest = &self.guests[lane as usize];
        if let Some(ticket) = guest.ticket {
            self.hosts[guest.host()].line(guest.class()).remove(&ticket);
        }
    }
}

#[cfg(test)]
mod tests;
