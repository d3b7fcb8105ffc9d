//! The wire: how much is on it, in all and to each host, and which lanes wait for a place there. Pure.
//!
//! A host that hangs takes its own part, in requests and in bytes, and no more. Lanes that wait stand in line at their
//! host, and hosts take turns; a place that becomes free goes to the first, and wakes nobody else.

use std::collections::VecDeque;

use super::{MAX_HOST, MAX_WIRE};

/// One host's part.
#[derive(Debug)]
struct Host {
    /// How many more requests may go there.
    free: usize,
    /// What those that did take in memory.
    bytes: usize,
    waiting: VecDeque<u32>,
    /// Whether it stands in line for a turn.
    in_turn: bool,
}

/// What all lanes share.
#[derive(Debug)]
pub(super) struct Wire {
    free: usize,
    /// Bytes to one host.
    most_bytes: usize,
    hosts: Vec<Host>,
    /// Hosts that have room and lanes that wait.
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

impl Wire {
    pub(super) fn new(hosts: usize, most_bytes: usize) -> Self {
        let host = || Host { free: MAX_HOST, bytes: 0, waiting: VecDeque::new(), in_turn: false };
        let hosts = std::iter::repeat_with(host).take(hosts).collect();
        Self { free: MAX_WIRE, most_bytes, hosts, turns: VecDeque::new() }
    }

    /// Requests on the wire.
    pub(super) fn used(&self) -> usize {
        MAX_WIRE - self.free
    }

    pub(super) fn room(&self, host: usize) -> Room {
        let host = &self.hosts[host];
        Room { requests: self.free.min(host.free), bytes: self.most_bytes.saturating_sub(host.bytes) }
    }

    /// A request of this size begins.
    pub(super) fn take(&mut self, host: usize, bytes: usize) {
        self.free -= 1;
        self.hosts[host].free -= 1;
        self.hosts[host].bytes += bytes;
    }

    /// It ended.
    pub(super) fn give_back(&mut self, host: usize, bytes: usize) {
        self.free += 1;
        self.hosts[host].free += 1;
        self.hosts[host].bytes -= bytes;
        self.line_up(host);
    }

    /// A lane found no place.
    pub(super) fn wait(&mut self, host: usize, lane: u32) {
        self.hosts[host].waiting.push_back(lane);
        self.line_up(host);
    }

    fn line_up(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if !host.in_turn && !host.waiting.is_empty() && host.free > 0 && host.bytes < self.most_bytes {
            host.in_turn = true;
            self.turns.push_back(index);
        }
    }

    /// The lane that may go now, if one waits for which there is a place.
    pub(super) fn next(&mut self) -> Option<u32> {
        while self.free > 0 {
            let index = self.turns.pop_front()?;
            let host = &mut self.hosts[index];
            host.in_turn = false;
            if host.free > 0 && host.bytes < self.most_bytes {
                let lane = host.waiting.pop_front();
                self.line_up(index);
                return lane;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_to_whoever_waited_longest_at_its_host() {
        let mut wire = Wire::new(2, 1_000);
        (0..MAX_HOST).for_each(|_| wire.take(0, 1));
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
    fn when_the_whole_wire_is_full_hosts_take_turns() {
        let mut wire = Wire::new(5, 10_000);
        (0..4).for_each(|host| (0..MAX_HOST).for_each(|_| wire.take(host, 1)));
        for lane in [1, 2, 3] {
            wire.wait(4, lane);
        }
        wire.wait(0, 9);
        assert_eq!(wire.next(), None);
        let next: Vec<_> = (0..4)
            .filter_map(|_| {
                wire.give_back(0, 1);
                let lane = wire.next()?;
                wire.take(if lane == 9 { 0 } else { 4 }, 1);
                Some(lane)
            })
            .collect();
        assert_eq!(next, [1, 9, 2, 3]);
    }

    #[test]
    fn a_host_takes_no_more_bytes_than_its_part() {
        let mut wire = Wire::new(2, 1_000);
        wire.take(0, 600);
        assert!(!wire.room(0).is_used_up());
        wire.take(0, 600);
        assert!(wire.room(0).is_used_up() && !wire.room(1).is_used_up());
        wire.wait(0, 7);
        assert_eq!(wire.next(), None);
        wire.give_back(0, 600);
        assert_eq!(wire.next(), Some(7));
    }
}
