//! The order of one user's calls: who may go, who goes behind whom, who waits. Pure.
//!
//! Guarantees that calls which change a user's state keep their order, and that an event never overtakes an earlier
//! state call of its user. A user without unsettled state calls costs nothing and stands nowhere here. State calls of
//! one user and one shape follow each other in their shard's queue; a call waits only behind unsettled state calls of
//! its own user in another shape.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::batch::Parcel;
use crate::destination::Shape;

/// Where a call may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// With any other events.
    Free,
    /// Into its user's shard, behind what is there.
    Shard,
    /// Nowhere yet.
    Wait,
}

#[derive(Debug)]
struct Waiting {
    shape: Shape,
    parcel: Parcel,
    /// The user's state calls that come before it, counted from when the user was first met.
    after: u64,
}

#[derive(Debug)]
struct User {
    /// The shape of its unsettled state calls.
    shape: Shape,
    issued: u64,
    settled: u64,
    waiting: VecDeque<Waiting>,
    waiting_states: u64,
}

impl User {
    fn idle(&self) -> bool {
        self.issued == self.settled
    }
}

/// A call that need not wait any longer.
#[derive(Debug)]
pub struct Freed {
    /// Its shape.
    pub shape: Shape,
    /// The call.
    pub parcel: Parcel,
    /// Where it goes now: free or into its shard.
    pub place: Place,
}

/// The users of one lane that have unsettled state calls.
#[derive(Debug, Default)]
pub struct Order {
    users: HashMap<u64, User, RandomState>,
    waiting: usize,
}

impl Order {
    /// Where a call of this user may go now.
    #[must_use]
    pub fn place(&self, user: u64, shape: Shape, state: bool) -> Place {
        let Some(known) = self.users.get(&user) else { return if state { Place::Shard } else { Place::Free } };
        if known.waiting_states > 0 || (!known.idle() && known.shape != shape) {
            Place::Wait
        } else if state || !known.idle() {
            Place::Shard
        } else {
            Place::Free
        }
    }

    /// A state call of this user went into its shard.
    pub fn issue(&mut self, user: u64, shape: Shape) {
        let known = self.users.entry(user).or_insert_with(|| User {
            shape,
            issued: 0,
            settled: 0,
            waiting: VecDeque::new(),
            waiting_states: 0,
        });
        known.shape = shape;
        known.issued += 1;
    }

    /// A call for which `place` said to wait.
    pub fn wait(&mut self, shape: Shape, parcel: Parcel) {
        let Some(known) = self.users.get_mut(&parcel.ticket.user) else { return };
        known.waiting_states += u64::from(parcel.ticket.state);
        let after = known.issued + known.waiting_states;
        known.waiting.push_back(Waiting { shape, parcel, after });
        self.waiting += 1;
    }

    /// How many calls wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Shows every call that waits.
    pub fn each_waiting(&self, mut see: impl FnMut(&Parcel)) {
        self.users.values().flat_map(|user| &user.waiting).for_each(|call| see(&call.parcel));
    }

    /// A state call of this user is settled, or given back: `freed` gets what may go now, in order.
    pub fn settled(&mut self, user: u64, freed: &mut Vec<Freed>) {
        let Some(known) = self.users.get_mut(&user) else { return };
        known.settled += 1;
        while let Some(next) = known.waiting.front() {
            let place = if next.parcel.ticket.state {
                if !known.idle() && known.shape != next.shape {
                    break;
                }
                known.shape = next.shape;
                known.issued += 1;
                known.waiting_states -= 1;
                Place::Shard
            } else if known.settled >= next.after || known.idle() {
                Place::Free
            } else if !known.idle() && known.shape == next.shape {
                Place::Shard
            } else {
                break;
            };
            let Some(Waiting { shape, parcel, .. }) = known.waiting.pop_front() else { break };
            self.waiting -= 1;
            freed.push(Freed { shape, parcel, place });
        }
        if known.idle() && known.waiting.is_empty() {
            self.users.remove(&user);
        }
    }

    /// Gives back the waiting calls for which `stale` holds.
    pub fn release(&mut self, stale: impl Fn(&Parcel) -> bool, released: &mut Vec<Parcel>) {
        for known in self.users.values_mut() {
            let (gone, kept) = known.waiting.drain(..).partition::<VecDeque<_>, _>(|call| stale(&call.parcel));
            known.waiting = kept;
            for call in gone {
                known.waiting_states -= u64::from(call.parcel.ticket.state);
                self.waiting -= 1;
                released.push(call.parcel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::batch::Ticket;
    use crate::source::Receipt;

    const USERS: Shape = Shape(0);
    const EVENTS: Shape = Shape(1);
    const TOKENS: Shape = Shape(2);

    fn parcel(offset: i64, state: bool) -> Parcel {
        let receipt = Receipt { slot: 0, epoch: 0, offset };
        let ticket = Ticket { receipt, user: 9, state, was_late: false, units: [0; 2] };
        Parcel { ticket, element: Vec::new(), record: Vec::new() }
    }

    fn offsets(freed: &mut Vec<Freed>) -> Vec<(i64, Place)> {
        freed.drain(..).map(|f| (f.parcel.ticket.receipt.offset, f.place)).collect()
    }

    #[test]
    fn an_event_waits_behind_its_users_state_call_in_another_shape_and_only_behind_earlier_ones() {
        let (mut order, mut freed) = (Order::default(), Vec::new());
        assert_eq!(order.place(9, EVENTS, false), Place::Free);
        order.issue(9, USERS);
        assert_eq!(order.place(9, EVENTS, false), Place::Wait);
        assert_eq!(order.place(8, EVENTS, false), Place::Free, "another user");
        order.wait(EVENTS, parcel(1, false));
        assert_eq!(order.place(9, USERS, true), Place::Shard);
        order.issue(9, USERS);
        order.settled(9, &mut freed);
        assert_eq!(offsets(&mut freed), vec![(1, Place::Free)], "the later state call does not hold it");
        order.settled(9, &mut freed);
        assert!(order.users.is_empty());
    }

    #[test]
    fn an_event_of_the_same_shape_goes_behind_the_state_call_without_waiting() {
        let mut order = Order::default();
        order.issue(9, USERS);
        assert_eq!(order.place(9, USERS, false), Place::Shard);
    }

    #[test]
    fn state_calls_of_two_shapes_take_turns_in_order() {
        let (mut order, mut freed) = (Order::default(), Vec::new());
        order.issue(9, USERS);
        assert_eq!(order.place(9, TOKENS, true), Place::Wait);
        order.wait(TOKENS, parcel(1, true));
        assert_eq!(order.place(9, USERS, true), Place::Wait, "not past the one that waits");
        order.wait(USERS, parcel(2, true));
        order.wait(EVENTS, parcel(3, false));
        order.settled(9, &mut freed);
        assert_eq!(offsets(&mut freed), vec![(1, Place::Shard)]);
        order.settled(9, &mut freed);
        assert_eq!(offsets(&mut freed), vec![(2, Place::Shard)]);
        order.settled(9, &mut freed);
        assert_eq!(offsets(&mut freed), vec![(3, Place::Free)]);
        assert!(order.users.is_empty() && order.waiting() == 0);
    }

    #[test]
    fn what_is_given_back_no_longer_waits() {
        let (mut order, mut freed, mut released) = (Order::default(), Vec::new(), Vec::new());
        order.issue(9, USERS);
        order.wait(TOKENS, parcel(1, true));
        order.wait(EVENTS, parcel(2, false));
        order.release(|parcel| parcel.ticket.receipt.offset == 1, &mut released);
        assert_eq!((released.len(), order.waiting()), (1, 1));
        order.settled(9, &mut freed);
        assert_eq!(offsets(&mut freed).len(), 1);
    }
}
