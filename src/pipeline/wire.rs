//! The wire: how much is on it, in all and to each host, and which lanes wait for a place there. Pure.
//!
//! A host may take another place while it has less than a third of what is free: alone a quarter of the whole, and of many
//! that hang each gets less, so that they never fill it together and leave a part for the next one. Bytes go by the same
//! rule. A host that has nothing on the wire may always send one request, if there is a place at all.
//!
//! Lanes that wait stand in line at their host, and hosts take turns; what becomes free goes to the first that may have
//! it, and wakes nobody else.

use std::collections::VecDeque;

use super::MAX_WIRE;

/// One host's part.
#[derive(Debug, Default)]
struct Host {
    /// Requests on their way.
    requests: usize,
    /// What they take in memory.
    bytes: usize,
    waiting: VecDeque<u32>,
}

/// What all lanes share.
#[derive(Debug)]
pub(super) struct Wire {
    free: usize,
    bytes: usize,
    most_bytes: usize,
    hosts: Vec<Host>,
    /// Hosts at which lanes wait, in the order of their turns.
    turns: VecDeque<usize>,
}

/// How much more may go to a host.
#[derive(Clone, Copy, Debug)]
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

/// How much more a host may have that has so much: until that is a third of what is then free.
fn part(has: usize, free: usize) -> usize {
    free.saturating_sub(3 * has).div_ceil(4)
}

impl Wire {
    /// `most_bytes` is what requests may take in memory, of all hosts.
    pub(super) fn new(hosts: usize, most_bytes: usize) -> Self {
        let hosts = std::iter::repeat_with(Host::default).take(hosts).collect();
        Self { free: MAX_WIRE, bytes: 0, most_bytes, hosts, turns: VecDeque::new() }
    }

    /// Requests on the wire.
    pub(super) fn used(&self) -> usize {
        MAX_WIRE - self.free
    }

    pub(super) fn room(&self, host: usize) -> Room {
        let host = &self.hosts[host];
        let bytes = part(host.bytes, self.most_bytes.saturating_sub(self.bytes));
        // The last request may be larger than what was left: none of the others may have to wait for that.
        let bytes = if host.requests == 0 { bytes.max(1) } else { bytes };
        Room { requests: part(host.requests, self.free), bytes }
    }

    /// What a host has too much of to have more; or all hosts have, if it has less than it could have alone.
    pub(super) fn full(&self, host: usize) -> &'static str {
        let (room, has) = (self.room(host), &self.hosts[host]);
        match (room.requests, has.requests >= MAX_WIRE / 4, has.bytes >= self.most_bytes / 4) {
            (0, true, _) => "requests to its host",
            (0, false, _) => "requests to all hosts",
            (_, _, true) => "bytes to its host ([memory] total)",
            (_, _, false) => "bytes to all hosts ([memory] total)",
        }
    }

    /// A request of this size begins.
    pub(super) fn take(&mut self, host: usize, bytes: usize) {
        self.free -= 1;
        self.bytes += bytes;
        self.hosts[host].requests += 1;
        self.hosts[host].bytes += bytes;
    }

    /// It ended.
    pub(super) fn give_back(&mut self, host: usize, bytes: usize) {
        self.free += 1;
        self.bytes -= bytes;
        self.hosts[host].requests -= 1;
        self.hosts[host].bytes -= bytes;
    }

    /// A lane found no place.
    pub(super) fn wait(&mut self, host: usize, lane: u32) {
        if self.hosts[host].waiting.is_empty() {
            self.turns.push_back(host);
        }
        self.hosts[host].waiting.push_back(lane);
    }

    /// The lane that may go now, if one waits for which there is a place.
    pub(super) fn next(&mut self) -> Option<u32> {
        if self.free == 0 {
            return None;
        }
        // Who is passed over has requests on the wire, so it is never more hosts than that has places.
        let place = self.turns.iter().position(|&host| !self.room(host).is_used_up())?;
        let index = self.turns.remove(place)?;
        let host = &mut self.hosts[index];
        let lane = host.waiting.pop_front();
        if !host.waiting.is_empty() {
            self.turns.push_back(index);
        }
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_HOST;
    use super::*;

    /// Requests of this size, until the host may have no more.
    fn fill(wire: &mut Wire, host: usize, bytes: usize) -> usize {
        let mut count = 0;
        while !wire.room(host).is_used_up() {
            wire.take(host, bytes);
            count += 1;
        }
        count
    }

    #[test]
    fn a_place_goes_to_whoever_waited_longest_at_its_host() {
        let mut wire = Wire::new(2, 100_000);
        assert_eq!(fill(&mut wire, 0, 1), MAX_HOST);
        for lane in [5, 3, 4] {
            wire.wait(0, lane);
        }
        assert_eq!((wire.next(), wire.room(0).requests), (None, 0));
        for lane in [5, 3, 4] {
            wire.give_back(0, 1);
            assert_eq!(wire.next(), Some(lane));
            wire.take(0, 1);
            assert_eq!(wire.next(), None, "one place, one lane");
        }
    }

    #[test]
    fn hosts_that_hang_leave_a_part_of_the_wire_to_the_next_one_however_many_they_are() {
        let mut wire = Wire::new(20, 1 << 30);
        let parts: Vec<usize> = (0..8).map(|host| fill(&mut wire, host, 1)).collect();
        assert_eq!(parts[..4], [256, 192, 144, 108], "a quarter of what is left");
        assert!(parts[7] >= 30, "{parts:?}");
        let all: usize = (8..19).map(|host| fill(&mut wire, host, 1)).sum();
        assert!(all > 0 && !wire.room(19).is_used_up());
        // What the first ones give back is shared: none of them takes as much again.
        (0..4).for_each(|host| (0..parts[host]).for_each(|_| wire.give_back(host, 1)));
        while let Some(host) =
            (0..4).filter(|host| !wire.room(*host).is_used_up()).min_by_key(|host| wire.hosts[*host].requests)
        {
            wire.take(host, 1);
        }
        let parts: Vec<usize> = (0..4).map(|host| wire.hosts[host].requests).collect();
        assert!(parts.iter().all(|part| (95..=105).contains(part)), "{parts:?}");
    }

    #[test]
    fn hosts_hold_no_more_bytes_together_than_there_are() {
        let mut wire = Wire::new(9, 100_000);
        let parts: Vec<usize> = (0..8).map(|host| fill(&mut wire, host, 1_000)).collect();
        assert_eq!(parts[..3], [25, 19, 14]);
        assert!(wire.bytes < 95_000 && !wire.room(8).is_used_up(), "{} bytes: {parts:?}", wire.bytes);
        wire.take(8, 20_000);
        assert!(wire.bytes > 100_000 && wire.room(8).is_used_up());
        wire.give_back(0, 1_000);
        assert!(wire.room(0).is_used_up(), "what was too much is waited for");
        (1..parts[0]).for_each(|_| wire.give_back(0, 1_000));
        assert!(!wire.room(0).is_used_up());
    }

    #[test]
    fn a_host_with_nothing_on_its_way_may_send_one_request_whatever_the_others_hold() {
        let mut wire = Wire::new(2, 1_000);
        wire.take(0, 5_000);
        assert!(wire.room(0).is_used_up() && !wire.room(1).is_used_up());
        wire.take(1, 10);
        assert!(wire.room(1).is_used_up());
        wire.wait(0, 7);
        wire.give_back(1, 10);
        assert_eq!(wire.next(), None);
        wire.give_back(0, 5_000);
        assert_eq!(wire.next(), Some(7));
    }

    #[test]
    fn hosts_take_turns_and_one_that_may_not_have_more_keeps_its_turn() {
        let mut wire = Wire::new(3, 1 << 30);
        (0..3).for_each(|host| {
            fill(&mut wire, host, 1);
        });
        for (host, lane) in [(0, 1), (1, 2), (1, 3), (2, 4)] {
            wire.wait(host, lane);
        }
        assert_eq!(wire.next(), None);
        // A place of the last one's is free: it has less than a third of what is free, and the others have more.
        wire.give_back(2, 1);
        assert_eq!((wire.next(), wire.room(0).requests), (Some(4), 0));
        wire.take(2, 1);
        (0..200).for_each(|_| wire.give_back(0, 1));
        let next: Vec<_> = (0..3)
            .filter_map(|_| {
                let lane = wire.next()?;
                wire.take(usize::from(lane > 1), 1);
                Some(lane)
            })
            .collect();
        assert_eq!(next, [1, 2, 3]);
        assert_eq!(wire.next(), None);
    }
}
