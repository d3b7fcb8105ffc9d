//! Who may have a place on the wire, and who waits for one.

use super::super::{MAX_CONNECTIONS, MAX_HOST};
use super::*;

const NOW: Duration = Duration::from_secs(100);
const LATER: Duration = Duration::from_secs(102);

/// So many hosts, and at each so many lanes: the first host's are the first ones.
fn wire(hosts: usize, lanes: u32, most_bytes: usize) -> Wire {
    Wire::new((0..hosts).flat_map(|host| (0..lanes).map(move |_| host)).collect(), most_bytes)
}

/// Each of the lanes sends one request of this size, while it may; how many did.
fn fill(wire: &mut Wire, lanes: std::ops::Range<u32>, bytes: usize) -> usize {
    let may_go: Vec<u32> = lanes.take_while(|&lane| send(wire, NOW, lane, bytes)).collect();
    may_go.len()
}

/// Whether the lane had a place.
fn send(wire: &mut Wire, now: Duration, lane: u32, bytes: usize) -> bool {
    let may_go = !wire.room(lane).is_used_up();
    if may_go {
        wire.take(now, lane, bytes);
    }
    may_go
}

#[test]
fn a_place_goes_to_whoever_waited_longest_at_its_host() {
    let mut wire = wire(1, 300, 100_000);
    assert_eq!(fill(&mut wire, 0..300, 1), MAX_HOST);
    for lane in [295, 293, 294] {
        wire.wait(lane);
    }
    assert_eq!((wire.next(), wire.room(293).requests), (None, 0));
    for (back, lane) in [(0, 295), (1, 293), (2, 294)] {
        wire.give_back(NOW, back, 1, true);
        assert_eq!(wire.next(), Some(lane));
        wire.take(NOW, lane, 1);
        assert_eq!(wire.next(), None, "one place, one lane");
    }
}

#[test]
fn hosts_that_hang_leave_a_part_of_the_wire_to_the_next_one_however_many_they_are() {
    let mut wire = wire(20, 300, 1 << 30);
    let lanes = |host: u32| 300 * host..300 * (host + 1);
    let parts: Vec<usize> = (0..8).map(|host| fill(&mut wire, lanes(host), 1)).collect();
    assert_eq!(parts[..4], [256, 192, 144, 108], "a quarter of what is left");
    assert!(parts[7] >= 30, "{parts:?}");
    let all: usize = (8..19).map(|host| fill(&mut wire, lanes(host), 1)).sum();
    assert!(all > 0 && !wire.room(300 * 19).is_used_up());
    // What the first ones give back is shared: none of them takes as much again.
    for (host, part) in (0..4).zip(&parts) {
        lanes(host).take(*part).for_each(|lane| wire.give_back(NOW, lane, 1, true));
    }
    let mut has = [0_u32; 4];
    while let Some(host) =
        (0..4).filter(|host| !wire.room(300 * host + 299).is_used_up()).min_by_key(|host| has[*host as usize])
    {
        wire.take(NOW, 300 * host + has[host as usize], 1);
        has[host as usize] += 1;
    }
    assert!(has.iter().all(|part| (95..=105).contains(part)), "{has:?}");
}

#[test]
fn hosts_hold_no_more_bytes_together_than_there_are() {
    let mut wire = wire(9, 50, 100_000);
    let parts: Vec<usize> = (0..8).map(|host| fill(&mut wire, 50 * host..50 * (host + 1), 1_000)).collect();
    assert_eq!(parts[..3], [25, 19, 14]);
    assert!(wire.used.bytes < 95_000 && !wire.room(400).is_used_up(), "{} bytes: {parts:?}", wire.used.bytes);
    wire.take(NOW, 400, 20_000);
    assert!(wire.used.bytes > 100_000 && wire.room(401).is_used_up());
    wire.give_back(NOW, 0, 1_000, true);
    assert!(wire.room(0).is_used_up(), "what was too much is waited for");
    (1..25).for_each(|lane| wire.give_back(NOW, lane, 1_000, true));
    assert!(!wire.room(0).is_used_up());
}

#[test]
fn a_host_with_nothing_on_its_way_may_send_one_request_whatever_the_others_hold() {
    let mut wire = wire(2, 2, 1_000);
    wire.take(NOW, 0, 5_000);
    assert!(wire.room(1).is_used_up() && !wire.room(2).is_used_up());
    wire.take(NOW, 2, 10);
    assert!(wire.room(3).is_used_up());
    wire.wait(1);
    wire.give_back(NOW, 2, 10, true);
    assert_eq!(wire.next(), None);
    wire.give_back(NOW, 0, 5_000, true);
    assert_eq!(wire.next(), Some(1));
}

#[test]
fn hosts_take_turns_and_one_that_may_not_have_more_keeps_its_turn() {
    let mut wire = wire(3, 300, 1 << 30);
    (0..3).for_each(|host| {
        fill(&mut wire, 300 * host..300 * (host + 1), 1);
    });
    for lane in [298, 598, 599, 899] {
        wire.wait(lane);
    }
    assert_eq!(wire.next(), None);
    // A place of the last one's is free: it has less than a third of what is free, and the others have more.
    wire.give_back(NOW, 600, 1, true);
    assert_eq!((wire.next(), wire.room(298).requests), (Some(899), 0));
    wire.take(NOW, 899, 1);
    (0..200).for_each(|lane| wire.give_back(NOW, lane, 1, true));
    let next: Vec<_> = (0..3).filter_map(|_| wire.next().inspect(|&lane| wire.take(NOW, lane, 1))).collect();
    assert_eq!(next, [298, 598, 599]);
    assert_eq!(wire.next(), None);
}

/// All of these lanes send all that they may.
fn flood(wire: &mut Wire, now: Duration, lanes: std::ops::Range<u32>, bytes: usize) -> usize {
    (0..1_000).map(|_| lanes.clone().filter(|&lane| send(wire, now, lane, bytes)).count()).sum()
}

#[test]
fn lanes_with_all_of_their_requests_out_leave_places_to_those_with_none() {
    let mut wire = wire(1, 100, 1 << 30);
    let flooded = flood(&mut wire, NOW, 0..64, 1);
    assert!((220..=MAX_HOST - 32).contains(&flooded), "{flooded}");
    // Those that have none come and go one by one, each as soon as it asks.
    for lane in 64..96 {
        assert!(send(&mut wire, NOW, lane, 1), "{lane}");
        assert!(!send(&mut wire, NOW, lane, 1), "one each");
    }
    wire.wait(5);
    wire.wait(99);
    wire.give_back(NOW, 70, 1, true);
    assert_eq!(wire.next(), Some(99), "before one that has waited longer and has its part");
}

#[test]
fn one_lane_alone_has_nearly_all_of_its_host() {
    let mut wire = wire(1, 1, 1 << 30);
    assert_eq!(flood(&mut wire, NOW, 0..1, 1), MAX_HOST - 32);
}

#[test]
fn lanes_with_large_requests_leave_bytes_to_those_with_none() {
    let mut wire = wire(1, 20, 4_000_000);
    let flooded = flood(&mut wire, NOW, 0..10, 50_000);
    assert!((15..=18).contains(&flooded), "{flooded} of a quarter");
    assert!(send(&mut wire, NOW, 10, 50_000) && !send(&mut wire, NOW, 10, 50_000));
}

#[test]
fn hundreds_that_begin_to_hang_at_once_leave_places_to_the_others_before_their_deadline() {
    let mut wire = wire(2, 401, 1 << 30);
    assert_eq!(fill(&mut wire, 0..400, 1), MAX_HOST);
    (256..401).for_each(|lane| wire.wait(lane));
    wire.look(NOW + PATIENCE / 2);
    assert_eq!(wire.next(), None);
    let mut now = NOW;
    while !wire.guests[400].load.requests > 0 && now < NOW + 10 * PATIENCE {
        now += PATIENCE;
        wire.look(now);
        while let Some(lane) = wire.next() {
            wire.take(now, lane, 1);
        }
    }
    assert_eq!(wire.guests[400].load.requests, 1, "the last in line, behind 400 that hang, had its place");
    assert!(wire.hosts[0].load.requests <= MAX_CONNECTIONS);
    // The one that is answered goes on at once, and the other host has what it may need.
    for _ in 0..100 {
        wire.give_back(now, 400, 1, true);
        assert!(send(&mut wire, now, 400, 1));
    }
    assert!(wire.room(401).requests > 0 && flood(&mut wire, now, 401..800, 1) > 100);
}

/// 400 lanes of which every request ran into its deadline.
fn silent() -> (Wire, Duration) {
    let (mut wire, mut now) = (wire(1, 500, 1 << 30), NOW);
    for lanes in [0..200, 200..400] {
        assert_eq!(fill(&mut wire, lanes.clone(), 1), 200);
        now += Duration::from_secs(30);
        wire.look(now);
        lanes.for_each(|lane| wire.give_back(now, lane, 1, false));
    }
    (wire, now)
}

#[test]
fn lanes_that_were_silent_have_one_request_each_and_a_part_of_the_host_together_in_turns() {
    let (mut wire, mut now) = silent();
    (0..400).for_each(|lane| wire.wait(lane));
    let mut met = Vec::new();
    for _ in 0..7 {
        let mut out = Vec::new();
        while let Some(lane) = wire.next() {
            wire.take(now, lane, 1);
            out.push(lane);
        }
        assert!((MAX_HOST / KEPT..=MAX_HOST / SILENT).contains(&out.len()), "{}", out.len());
        assert!(out.iter().all(|lane| wire.room(*lane).is_used_up()), "one each, of so many");
        // The others have all the rest.
        assert!(flood(&mut wire, now, 400..500, 1) >= MAX_HOST - 2 * (MAX_HOST / KEPT));
        (400..500).for_each(|lane| {
            (0..wire.guests[lane as usize].load.requests).for_each(|_| wire.give_back(now, lane, 1, true));
        });
        now += Duration::from_secs(30);
        wire.look(now);
        for lane in out {
            wire.give_back(now, lane, 1, false);
            met.push(lane);
        }
    }
    assert_eq!(met, (0..400).collect::<Vec<_>>(), "each had its turn, in the order of asking");
}

#[test]
fn an_answer_ends_the_silence_and_who_is_answered_now_and_then_never_falls_silent() {
    let (mut wire, now) = silent();
    let others = flood(&mut wire, now, 0..100, 1);
    assert!((MAX_HOST / KEPT..=MAX_HOST / SILENT).contains(&others), "{others}");
    let most = wire.guests[7].load.requests;
    assert!(most > 0 && wire.room(7).is_used_up());
    (0..most).for_each(|_| wire.give_back(now, 7, 1, true));
    assert!((0..4).all(|_| send(&mut wire, now, 7, 1)));
    // Three are out for long, and every second one comes back.
    for second in 1..20 {
        let now = now + Duration::from_secs(second);
        wire.look(now);
        assert!(!wire.guests[7].silent);
        wire.give_back(now, 7, 1, true);
        assert!(send(&mut wire, now, 7, 1));
    }
    wire.look(now + Duration::from_secs(19) + PATIENCE);
    assert!(wire.guests[7].silent && !send(&mut wire, now, 7, 1));
    assert_eq!((wire.hosts[0].silent.requests, wire.watched.len()), (others - most + 4, 0));
}

#[test]
fn however_many_hang_there_are_connections_for_them() {
    let mut wire = wire(1, 2_000, 1 << 30);
    for second in 0..20 {
        let now = NOW + Duration::from_secs(3 * second);
        wire.look(now);
        flood(&mut wire, now, 0..2_000, 1);
    }
    let load = wire.hosts[0].load.requests;
    assert!((MAX_HOST..=MAX_CONNECTIONS).contains(&load), "{load}");
}

#[test]
fn one_that_is_only_slow_has_as_much_as_it_may_while_few_are() {
    let mut wire = wire(1, 3, 1 << 30);
    for second in 0..4 {
        let now = NOW + Duration::from_secs(10 * second);
        wire.look(now);
        assert!((0..3).all(|lane| send(&mut wire, now, lane, 1)), "all requests so far are out");
    }
}

#[test]
fn one_that_fails_at_once_is_not_silent() {
    let mut wire = wire(1, 1, 1 << 30);
    for _ in 0..5 {
        wire.take(NOW, 0, 1);
        wire.give_back(NOW, 0, 1, false);
        wire.look(NOW);
    }
    assert!(send(&mut wire, LATER, 0, 1) && send(&mut wire, LATER, 0, 1));
    assert!(wire.watched.len() <= 1, "it is looked at once");
}
