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
//!
//! A user may go by several names, an id and an address. State calls that name the same ones follow each other as those
//! of one name do; with any other names they wait as shared calls do. An event waits for its names one after the other,
//! and leaves no marks: nothing has to wait for an event.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

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

/// A figure for each name of a call.
type Afters = [u64; 4];

/// By which names a state call knows its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Names {
    /// In whose shard it goes.
    user: u64,
    others: [Option<u64>; 3],
    /// They are several users: nothing may go beside it.
    shared: bool,
}

impl Names {
    const fn of(call: &Call) -> Self {
        Self { user: call.user, others: call.others, shared: call.is_shared() }
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every one is the large one")]
enum Waiting {
    Own {
        call: Call,
        parcel: Parcel,
        /// The state calls that come before it, by each of the call's names, counted from when that was first met.
        after: Afters,
        /// Which of these names it waits at.
        at: usize,
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
    /// The names that each of them has.
    names: Names,
    issued: u64,
    settled: u64,
    waiting: VecDeque<Waiting>,
    waiting_states: u64,
}

impl User {
    fn idle(&self) -> bool {
        self.issued == self.settled
    }

    /// Whether a call may go behind the unsettled ones, into their shard.
    fn takes(&self, call: &Call) -> bool {
        !self.names.shared && self.shape == call.shape && self.names == Names::of(call)
    }

    fn issue(&mut self, call: &Call) {
        self.shape = call.shape;
        self.names = Names::of(call);
        self.issued += 1;
    }

    /// Whether the first so many of its state calls are settled.
    fn is_past(&self, after: u64) -> bool {
        self.settled >= after || (self.idle() && self.waiting_states == 0)
    }

    /// Takes the first of those that wait.
    fn pop(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.waiting_states -= u64::from(next.is_state());
        Some(next)
    }

    /// Where the call at the front may go, as far as this name is concerned; no state call of several.
    fn place_of_next(&self, call: &Call, after: u64) -> Place {
        let beside = self.idle() || self.takes(call);
        if call.state {
            if beside { Place::Shard } else { Place::Wait }
        } else if self.settled >= after || self.idle() {
            Place::Free
        } else if beside && !call.has_names() {
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
    /// By hashes that nobody can choose, in the same order in every process.
    users: HashMap<u64, User, FixedState>,
    waiting: usize,
    next_number: u64,
}

impl Order {
    /// Where a call may go now.
    #[must_use]
    pub fn place(&self, call: &Call) -> Place {
        let mut place = if call.state { Place::Shard } else { Place::Free };
        if self.users.is_empty() {
            return place;
        }
        for known in call.users().filter_map(|user| self.users.get(&user)) {
            if call.is_shared() || known.waiting_states > 0 || !(known.idle() || known.takes(call)) {
                return Place::Wait;
            }
            if !known.idle() {
                place = Place::Shard;
            }
        }
        place
    }

    /// A state call went into its user's shard.
    pub fn issue(&mut self, call: &Call) {
        for user in call.users() {
            self.user(user, call).issue(call);
        }
    }

    fn user(&mut self, user: u64, call: &Call) -> &mut User {
        self.users.entry(user).or_insert_with(|| User {
            shape: call.shape,
            names: Names::of(call),
            issued: 0,
            settled: 0,
            waiting: VecDeque::new(),
            waiting_states: 0,
        })
    }

    /// A call for which `place` said to wait.
    pub fn wait(&mut self, call: &Call, parcel: Parcel) {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting += 1;
        let mut after = Afters::default();
        for (user, after) in call.users().zip(&mut after) {
            *after = self.users.get(&user).map_or(0, |known| known.issued + known.waiting_states);
        }
        let own = |at| Waiting::Own { call: call.clone(), parcel, after, at, number };
        if !call.state {
            let (at, user) = self.next_stop(call, &after, 0).unwrap_or((0, call.user));
            self.user(user, call).waiting.push_back(own(at));
            return;
        }
        for other in call.others.into_iter().flatten() {
            let known = self.user(other, call);
            known.waiting_states += 1;
            known.waiting.push_back(Waiting::Mark { at: call.user, number });
        }
        let known = self.user(call.user, call);
        known.waiting_states += 1;
        known.waiting.push_back(own(0));
    }

    /// At which of its names, from this one on, an event has to wait.
    fn next_stop(&self, event: &Call, after: &Afters, from: usize) -> Option<(usize, u64)> {
        let mut names = event.users().zip(after).enumerate().skip(from);
        let must_wait = |user: u64, after: u64| self.users.get(&user).is_some_and(|known| !known.is_past(after));
        names.find(|(_, (user, after))| must_wait(*user, **after)).map(|(at, (user, _))| (at, user))
    }

    /// What it takes in memory, about: a table is never full, nor is a queue. The calls themselves are the lane's to count.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        2 * (self.users.len() * size_of::<(u64, User)>() + self.waiting * size_of::<Waiting>())
    }

    /// Gives back what many users took that are gone.
    pub fn shrink(&mut self) {
        self.users.shrink_to_fit();
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

    /// Shows every call that waits, to be changed.
    pub fn each_waiting_mut(&mut self, mut see: impl FnMut(&mut Parcel)) {
        for next in self.users.values_mut().flat_map(|user| &mut user.waiting) {
            if let Waiting::Own { parcel, .. } = next {
                see(parcel);
            }
        }
    }

    /// A state call that was issued for this user is settled, or given back: `freed` gets what may go now, in order.
    pub fn settled(&mut self, user: u64, freed: &mut Vec<Freed>) {
        let Some(known) = self.users.get_mut(&user) else { return };
        known.settled += 1;
        // Those that are unsettled together all have the same names.
        let others = known.names.others;
        for other in others.into_iter().flatten() {
            if let Some(known) = self.users.get_mut(&other) {
                known.settled += 1;
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
                Some(Waiting::Own { call, .. }) if call.state && call.has_names() => self.free_shared(user, freed),
                Some(Waiting::Own { call, after, at, .. }) => match known.place_of_next(call, after[*at]) {
                    Place::Wait => false,
                    place => {
                        let Some(next) = known.pop() else { return };
                        self.go_on(next, place, freed);
                        true
                    }
                },
            };
            if !went {
                return;
            }
        }
    }

    /// A call has waited long enough at one of its names.
    fn go_on(&mut self, next: Waiting, place: Place, freed: &mut Vec<Freed>) {
        let Waiting::Own { call, parcel, after, at, number } = next else { return };
        if call.state {
            self.issue(&call);
        } else if let Some((at, user)) = self.next_stop(&call, &after, at + 1) {
            self.user(user, &call).waiting.push_back(Waiting::Own { call, parcel, after, at, number });
            return;
        }
        self.waiting -= 1;
        freed.push(Freed { call, parcel, place });
    }

    /// Frees the call of several names that waits first at this one, if it is next at all of them and nothing is unsettled
    /// there that it may not follow.
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
                (known.idle() || known.takes(call)) && next == Some(*number)
            })
        };
        if !call.has_names() || !call.users().all(|user| is_next(&user)) {
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
                    let others = call.others.into_iter().flatten().filter(|_| call.state);
                    numbers.extend(others.map(|other| (other, number)));
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
