//! Places of calls in the order of their users, step by step, and any mix of them at random.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::lane::batch::Ticket;
use crate::source::Receipt;

const USERS: Shape = Shape(0);
const EVENTS: Shape = Shape(1);
const TOKENS: Shape = Shape(2);
const MERGES: Shape = Shape(3);

fn parcel(call: &Call, offset: i64) -> Parcel {
    let receipt = Receipt { slot: 0, epoch: 0, offset };
    let ticket = Ticket { receipt, user: call.user, state: call.state, was_late: false, calls: 1, units: [0; 2] };
    Parcel { ticket, element: Vec::new(), record: Vec::new() }
}

fn state(shape: Shape, user: u64) -> Call {
    Call::new(shape, user, true)
}

fn event(user: u64) -> Call {
    Call::new(EVENTS, user, false)
}

fn merge(user: u64, others: &[u64]) -> Call {
    state(MERGES, user).with(others.iter().copied())
}

fn wait(order: &mut Order, call: &Call, offset: i64) {
    assert_eq!(order.place(call), Place::Wait);
    order.wait(call, parcel(call, offset));
}

fn settle(order: &mut Order, user: u64) -> Vec<(i64, Place)> {
    let mut freed = Vec::new();
    order.settled(user, &mut freed);
    freed.into_iter().map(|f| (f.parcel.ticket.receipt.offset, f.place)).collect()
}

#[test]
fn an_event_waits_behind_its_users_state_call_in_another_shape_and_only_behind_earlier_ones() {
    let mut order = Order::default();
    assert_eq!(order.place(&event(9)), Place::Free);
    order.issue(&state(USERS, 9));
    assert_eq!(order.place(&event(8)), Place::Free, "another user");
    wait(&mut order, &event(9), 1);
    assert_eq!(order.place(&state(USERS, 9)), Place::Shard);
    order.issue(&state(USERS, 9));
    assert_eq!(settle(&mut order, 9), vec![(1, Place::Free)], "the later state call does not hold it");
    settle(&mut order, 9);
    assert!(order.users.is_empty());
}

#[test]
fn an_event_of_the_same_shape_goes_behind_the_state_call_without_waiting() {
    let mut order = Order::default();
    order.issue(&state(USERS, 9));
    assert_eq!(order.place(&Call::new(USERS, 9, false)), Place::Shard);
}

#[test]
fn state_calls_of_two_shapes_take_turns_in_order() {
    let mut order = Order::default();
    order.issue(&state(USERS, 9));
    wait(&mut order, &state(TOKENS, 9), 1);
    // Not past the one that waits.
    wait(&mut order, &state(USERS, 9), 2);
    wait(&mut order, &event(9), 3);
    assert_eq!(settle(&mut order, 9), vec![(1, Place::Shard)]);
    assert_eq!(settle(&mut order, 9), vec![(2, Place::Shard)]);
    assert_eq!(settle(&mut order, 9), vec![(3, Place::Free)]);
    assert!(order.users.is_empty() && order.waiting() == 0);
}

#[test]
fn what_is_given_back_no_longer_waits() {
    let (mut order, mut freed, mut released) = (Order::default(), Vec::new(), Vec::new());
    order.issue(&state(USERS, 9));
    wait(&mut order, &state(TOKENS, 9), 1);
    wait(&mut order, &event(9), 2);
    order.release(|parcel| parcel.ticket.receipt.offset == 1, &mut released, &mut freed);
    assert_eq!((released.len(), order.waiting(), freed.len()), (1, 1, 0));
    assert_eq!(settle(&mut order, 9).len(), 1);
}

#[test]
fn a_shared_call_waits_until_all_of_its_users_are_idle_and_goes_alone() {
    let mut order = Order::default();
    order.issue(&state(USERS, 1));
    order.issue(&state(USERS, 2));
    wait(&mut order, &merge(1, &[2, 3]), 1);
    // Everything later of any of the three stays behind it, of the same shape too; nobody else does.
    wait(&mut order, &state(MERGES, 3), 2);
    wait(&mut order, &event(2), 3);
    wait(&mut order, &state(USERS, 1), 4);
    assert_eq!(order.place(&state(USERS, 4)), Place::Shard);
    assert_eq!(settle(&mut order, 1), vec![], "the other is not idle yet");
    assert_eq!(settle(&mut order, 2), vec![(1, Place::Shard)]);
    assert_eq!(order.place(&event(3)), Place::Wait);
    assert_eq!(order.place(&Call::new(MERGES, 1, false)), Place::Wait, "alone: not beside it either");
    assert_eq!(settle(&mut order, 1), vec![(4, Place::Shard), (3, Place::Free), (2, Place::Shard)]);
    settle(&mut order, 1);
    settle(&mut order, 3);
    assert!(order.users.is_empty() && order.waiting() == 0);
}

#[test]
fn shared_calls_of_the_same_users_keep_their_order_whoever_comes_first() {
    let mut order = Order::default();
    assert_eq!(order.place(&merge(1, &[2])), Place::Shard);
    order.issue(&merge(1, &[2]));
    wait(&mut order, &merge(2, &[3]), 1);
    wait(&mut order, &merge(3, &[1]), 2);
    wait(&mut order, &merge(1, &[2]), 3);
    assert_eq!(settle(&mut order, 1), vec![(1, Place::Shard)]);
    assert_eq!(settle(&mut order, 2), vec![(2, Place::Shard)]);
    assert_eq!(settle(&mut order, 3), vec![(3, Place::Shard)]);
    assert_eq!(settle(&mut order, 1), vec![]);
    assert!(order.users.is_empty());
}

#[test]
fn a_shared_call_that_is_given_back_frees_those_behind_it() {
    let (mut order, mut freed, mut released) = (Order::default(), Vec::new(), Vec::new());
    order.issue(&state(USERS, 2));
    wait(&mut order, &merge(1, &[2]), 1);
    wait(&mut order, &state(USERS, 1), 2);
    wait(&mut order, &event(2), 3);
    order.release(|parcel| parcel.ticket.receipt.offset == 1, &mut released, &mut freed);
    assert_eq!(released.len(), 1);
    let places: Vec<_> = freed.iter().map(|f| (f.parcel.ticket.receipt.offset, f.place)).collect();
    assert_eq!(places, vec![(2, Place::Shard)], "the first user has nothing before it any more");
    assert_eq!(settle(&mut order, 2), vec![(3, Place::Free)]);
    settle(&mut order, 1);
    assert!(order.users.is_empty() && order.waiting() == 0);
}

#[test]
fn who_is_named_twice_is_one_user() {
    assert!(!merge(1, &[1]).is_shared());
    assert_eq!(merge(1, &[2, 1, 2, 3]).others, [Some(2), Some(3), None]);
    assert!(!state(USERS, 1).known_as(Some(1)).has_names());
    let known = state(USERS, 1).known_as(Some(2));
    assert!(known.has_names() && !known.is_shared() && known.with([3]).is_shared());
    assert!(merge(1, &[2]).known_as(Some(3)).is_shared());
}

#[test]
fn calls_with_the_same_names_follow_each_other_and_those_with_one_of_them_wait() {
    let mut order = Order::default();
    let (both, first, second) = (state(USERS, 1).known_as(Some(2)), state(USERS, 1), state(USERS, 2));
    for _ in 0..2 {
        assert_eq!(order.place(&both), Place::Shard);
        order.issue(&both);
    }
    wait(&mut order, &second, 1);
    wait(&mut order, &first, 2);
    wait(&mut order, &event(2).known_as(Some(1)), 3);
    wait(&mut order, &both, 4);
    assert_eq!(order.place(&state(USERS, 3).known_as(Some(4))), Place::Shard, "somebody else");
    assert_eq!(settle(&mut order, 1), vec![]);
    assert_eq!(settle(&mut order, 1), vec![(2, Place::Shard), (1, Place::Shard)]);
    assert_eq!(settle(&mut order, 1), vec![]);
    assert_eq!(settle(&mut order, 2), vec![(3, Place::Free), (4, Place::Shard)]);
    settle(&mut order, 1);
    assert!(order.users.is_empty() && order.waiting() == 0);
}

#[test]
fn an_event_waits_for_earlier_calls_of_each_of_its_names_and_only_for_those() {
    let mut order = Order::default();
    let event = event(1).known_as(Some(2));
    assert_eq!(order.place(&event), Place::Free);
    order.issue(&state(USERS, 2));
    wait(&mut order, &event, 1);
    assert_eq!(order.place(&state(USERS, 1)), Place::Shard, "an event holds nothing up");
    assert_eq!(order.place(&state(USERS, 2)), Place::Shard);
    order.issue(&state(USERS, 1));
    order.issue(&state(USERS, 2));
    assert_eq!(settle(&mut order, 2), vec![(1, Place::Free)], "what came later does not hold it");
    wait(&mut order, &event, 2);
    assert_eq!(settle(&mut order, 1), vec![]);
    assert_eq!(settle(&mut order, 2), vec![(2, Place::Free)]);
    assert!(order.users.is_empty() && order.waiting() == 0);
}

/// A model of one lane, whose users settle at random. Whatever comes, each user's calls go in the order in
/// which they came, shared ones alone, and nothing is left.
#[test]
fn any_mix_keeps_each_users_order_and_ends() {
    let mut rng = SmallRng::seed_from_u64(5);
    for _ in 0..300 {
        let (mut order, mut open) = (Order::default(), Vec::<(i64, Call)>::new());
        let mut unsettled: BTreeMap<i64, Call> = BTreeMap::new();
        for offset in 0..120 {
            let call = any_call(&mut rng);
            unsettled.insert(offset, call.clone());
            if order.place(&call) == Place::Wait {
                order.wait(&call, parcel(&call, offset));
            } else {
                if call.state {
                    order.issue(&call);
                }
                begin(&mut open, &unsettled, offset, call);
            }
            if rng.random_bool(0.5) {
                end_one(&mut rng, &mut order, &mut open, &mut unsettled);
            }
        }
        while !open.is_empty() {
            end_one(&mut rng, &mut order, &mut open, &mut unsettled);
        }
        assert!(unsettled.is_empty() && order.users.is_empty() && order.waiting() == 0);
    }
}

fn any_call(rng: &mut SmallRng) -> Call {
    let mut user = || rng.random_range(0..4_u64);
    let (first, second, third) = (user(), user(), user());
    match rng.random_range(0..12) {
        0..3 => event(first),
        3..6 => state(USERS, first),
        6..8 => state(TOKENS, first),
        // Of a shape that users have calls of their own in, too.
        8 => state(USERS, first).with([second]),
        9 => state(USERS, first).known_as(Some(second)),
        10 => event(first).known_as(Some(second)),
        _ => merge(first, &[second, third]),
    }
}

/// A call goes: nothing that it must not overtake or accompany may be unsettled.
fn begin(open: &mut Vec<(i64, Call)>, unsettled: &BTreeMap<i64, Call>, offset: i64, call: Call) {
    for (_, earlier) in unsettled.range(..offset).filter(|(_, earlier)| earlier.state) {
        let common = earlier.users().any(|user| call.users().any(|own| own == user));
        // State calls of one shape follow each other in a shard, if they have the same names; only shared ones need it
        // empty.
        let same = earlier.shape == call.shape && earlier.user == call.user && earlier.others == call.others;
        let follows = same && !earlier.is_shared() && !call.is_shared();
        assert!(!common || follows, "{call:?} went before {earlier:?} was settled");
    }
    open.push((offset, call));
}

fn end_one(rng: &mut SmallRng, order: &mut Order, open: &mut Vec<(i64, Call)>, unsettled: &mut BTreeMap<i64, Call>) {
    if open.is_empty() {
        return;
    }
    let chosen = open[rng.random_range(0..open.len())].1.clone();
    // A shard has one request in flight, so a user's state calls settle in their order.
    let same = |call: &Call| call.state == chosen.state && call.user == chosen.user;
    let first = (0..open.len()).filter(|index| same(&open[*index].1)).min_by_key(|index| open[*index].0);
    let (offset, call) = open.swap_remove(first.expect("the chosen one at least"));
    unsettled.remove(&offset);
    if call.state {
        let mut freed = Vec::new();
        order.settled(call.user, &mut freed);
        for freed in freed {
            begin(open, unsettled, freed.parcel.ticket.receipt.offset, freed.call);
        }
    }
}
