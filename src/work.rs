//! What tests count instead of time: how often something was done on this thread.

use std::cell::Cell;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// An entry of a deferred account was entered into a commit.
    Entry,
    /// A hole was looked at for a commit.
    Hole,
    /// Deferred accounts of a partition were looked after.
    Look,
    /// A lane looked at a batch for what may go.
    Batch,
}

thread_local! {
    static DONE: [Cell<usize>; 4] = const { [const { Cell::new(0) }; 4] };
}

pub(crate) fn count(work: Work) {
    DONE.with(|done| done[work as usize].update(|count| count + 1));
}

/// How often since the last call.
pub(crate) fn take(work: Work) -> usize {
    DONE.with(|done| done[work as usize].take())
}
