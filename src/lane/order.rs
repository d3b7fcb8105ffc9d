//! The order of one user's calls: who may go, who goes behind whom, who waits. Pure.
//!
//! Guarantees that calls which change a user's state keep their order, and that an event never overtakes an earlier
//! state call of its user. A user without unsettled state calls costs nothing and stands nowhere here. State calls of
//! one user and one shape follow each other in their shard's queue; a call waits only behind unsettled state calls of
//! its own user in another shape.
//!
//! A call that names several users is shared by them: it waits, at the first, until all of them are idle, and a mark in
//! the others' queues keeps its place there. While it is unsettled, nothing else of them goes. Queues and marks are
//! filled at the same moment, so any two shared calls stand in the same order everywhere, and none waits for ever.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use super::batch::Parcel;
use crate::destination::{Call, Shape};

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
enum Waiting {
    Own {
        call: Call,
        parcel: Parcel,
        /// The user's state calls that come before it, counted from when the user was first met.
        after: u64,
        /// Tells its marks from those of others.
        number: u64,
    },
    /// The place of a shared call, which waits at this user.
    Mark { at: u64, number: u64 },
}

impl Waiting {
    fn is_state(&self) -> bool {
        match self {
            Self::Own { call, .. } => call.state,
            Self::Mark { .. } => true,
        }
    }
}

#[derive(Debug)]
struct User {
    /// The shape of its unsettled state calls.
    shape: Shape,
    issued: u64,
    settled: u64,
    /// An unsettled call is shared with others: nothing may go beside it.
    shared: bool,
    /// Those others, at the user whose shard it is in.
    others: [Option<u64>; 2],
    waiting: VecDeque<Waiting>,
    waiting_states: u64,
}

impl User {
    fn idle(&self) -> bool {
        self.issued == self.settled
    }

    fn issue(&mut self, shape: Shape, shared: bool) {
        self.shape = shape;
        self.issued += 1;
        self.shared = shared;
    }

    fn settle(&mut self) {
        self.settled += 1;
        self.shared = false;
    }

    /// Takes the first of those that wait.
    fn pop(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.waiting_states -= u64::from(next.is_state());
        Some(next)
    }

    /// Where the call at the front, which is this user's alone, may go.
    fn place_of_next(&self, call: &Call, after: u64) -> Place {
        let beside = self.idle() || (self.shape == call.shape && !self.shared);
        if call.state {
            if beside { Place::Shard } else { Place::Wait }
        } else if self.settled >= after || self.idle() {
            Place::Free
        } else if beside {
            Place::Shard
        } else {
            Place::Wait
        }
    }
}

/// A call that need not wait any longer.
#[derive(Debug)]
pub struct Freed {
    /// Its facts.
    pub call: Call,
    /// Its bytes.
    pub parcel: Parcel,
    /// Where it goes now: free or into its shard.
    pub place: Place,
}

/// The users of one lane that have unsettled state calls.
#[derive(Debug, Default)]
pub struct Order {
    users: HashMap<u64, User, RandomState>,
    waiting: usize,
    next_number: u64,
}

impl Order {
    /// Where a call may go now.
    #[must_use]
    pub fn place(&self, call: &Call) -> Place {
        if call.is_shared() {
            let idle = call.users().all(|user| !self.users.contains_key(&user));
            return if idle { Place::Shard } else { Place::Wait };
        }
        let Some(known) = self.users.get(&call.user) else {
            return if call.state { Place::Shard } else { Place::Free };
        };
        if known.waiting_states > 0 || known.shared || (!known.idle() && known.shape != call.shape) {
            Place::Wait
        } else if call.state || !known.idle() {
            Place::Shard
        } else {
            Place::Free
        }
    }

    /// A state call went into its user's shard.
    pub fn issue(&mut self, call: &Call) {
        let shared = call.is_shared();
        for user in call.users() {
            self.user(user, call.shape).issue(call.shape, shared);
        }
        if shared {
            self.user(call.user, call.shape).others = call.others;
        }
    }

    fn user(&mut self, user: u64, shape: Shape) -> &mut User {
        self.users.entry(user).or_insert_with(|| User {
            shape,
            issued: 0,
            settled: 0,
            shared: false,
            others: [None; 2],
            waiting: VecDeque::new(),
            waiting_states: 0,
        })
    }

    /// A call for which `place` said to wait.
    pub fn wait(&mut self, call: &Call, parcel: Parcel) {
        let number = self.next_number;
        self.next_number += 1;
        for other in call.others.into_iter().flatten() {
            let known = self.user(other, call.shape);
            known.waiting_states += 1;
            known.waiting.push_back(Waiting::Mark { at: call.user, number });
        }
        let known = self.user(call.user, call.shape);
        known.waiting_states += u64::from(call.state);
        let after = known.issued + known.waiting_states;
        known.waiting.push_back(Waiting::Own { call: call.clone(), parcel, after, number });
        self.waiting += 1;
    }

    /// How many calls wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Shows every call that waits.
    pub fn each_waiting(&self, mut see: impl FnMut(&Parcel)) {
        for next in self.users.values().flat_map(|user| &user.waiting) {
            if let Waiting::Own { parcel, .. } = next {
                see(parcel);
            }
        }
    }

    /// A state call that was issued for this user is settled, or given back: `freed` gets what may go now, in order.
    pub fn settled(&mut self, user: u64, freed: &mut Vec<Freed>) {
        let Some(known) = self.users.get_mut(&user) else { return };
        known.settle();
        let others = std::mem::take(&mut known.others);
        for other in others.into_iter().flatten() {
            if let Some(known) = self.users.get_mut(&other) {
                known.settle();
            }
        }
        for user in std::iter::once(user).chain(others.into_iter().flatten()) {
            self.advance(user, freed);
        }
    }

    /// Frees what may go of those that wait at this user, and forgets the user if nothing is left.
    fn advance(&mut self, user: u64, freed: &mut Vec<Freed>) {
        while let Some(known) = self.users.get_mut(&user) {
            let went = match known.waiting.front() {
                None => {
                    if known.idle() {
                        self.users.remove(&user);
                    }
                    return;
                }
                Some(Waiting::Mark { at, .. }) => {
                    let at = *at;
                    self.free_shared(at, freed)
                }
                Some(Waiting::Own { call, .. }) if call.is_shared() => self.free_shared(user, freed),
                Some(Waiting::Own { call, after, .. }) => match known.place_of_next(call, *after) {
                    Place::Wait => false,
                    place => {
                        let Some(Waiting::Own { call, parcel, .. }) = known.pop() else { return };
                        if call.state {
                            known.issue(call.shape, false);
                        }
                        self.waiting -= 1;
                        freed.push(Freed { call, parcel, place });
                        true
                    }
                },
            };
            if !went {
                return;
            }
        }
    }

    /// Frees the shared call that waits first at this user, if all that it names are idle and it is next for them.
    fn free_shared(&mut self, user: u64, freed: &mut Vec<Freed>) -> bool {
        let Some(Waiting::Own { call, number, .. }) = self.users.get(&user).and_then(|known| known.waiting.front())
        else {
            return false;
        };
        let is_next = |user: &u64| {
            self.users.get(user).is_some_and(|known| {
                let next = match known.waiting.front() {
                    Some(Waiting::Own { number, .. } | Waiting::Mark { number, .. }) => Some(*number),
                    None => None,
                };
                known.idle() && next == Some(*number)
            })
        };
        if !call.is_shared() || !call.users().all(|user| is_next(&user)) {
            return false;
        }
        for other in call.others.into_iter().flatten() {
            if let Some(known) = self.users.get_mut(&other) {
                known.pop();
            }
        }
        let Some(Waiting::Own { call, parcel, .. }) = self.users.get_mut(&user).and_then(User::pop) else {
            return false;
        };
        self.waiting -= 1;
        self.issue(&call);
        freed.push(Freed { call, parcel, place: Place::Shard });
        true
    }

    /// Gives back the waiting calls for which `stale` holds; `freed` gets what waited for them alone.
    pub fn release(&mut self, stale: impl Fn(&Parcel) -> bool, released: &mut Vec<Parcel>, freed: &mut Vec<Freed>) {
        let mut numbers = Vec::new();
        let mut touched = Vec::new();
        for (user, known) in &mut self.users {
            let is_stale = |next: &Waiting| matches!(next, Waiting::Own { parcel, .. } if stale(parcel));
            if !known.waiting.iter().any(is_stale) {
                continue;
            }
            touched.push(*user);
            let (gone, kept) = known.waiting.drain(..).partition::<VecDeque<_>, _>(is_stale);
            known.waiting = kept;
            for next in gone {
                known.waiting_states -= u64::from(next.is_state());
                if let Waiting::Own { call, parcel, number, .. } = next {
                    numbers.extend(call.others.into_iter().flatten().map(|other| (other, number)));
                    released.push(parcel);
                    self.waiting -= 1;
                }
            }
        }
        for (other, gone) in numbers {
            let Some(known) = self.users.get_mut(&other) else { continue };
            known.waiting.retain(|next| !matches!(next, Waiting::Mark { number, .. } if *number == gone));
            known.waiting_states -= 1;
            touched.push(other);
        }
        for user in touched {
            self.advance(user, freed);
        }
    }
}

#[cfg(test)]
mod tests;
