//! Kafka in. Promises: a commit never passes a record that owes a call; polling goes on while lanes are full.

pub mod backlog;
pub mod commit;
pub mod consumer;
pub mod deferral;
pub mod doubt;
pub mod group;
pub mod ledger;
pub mod queues;
pub mod raw;
pub mod record;
pub mod scout;
pub mod sweeper;
pub mod topics;

/// Names a record of an assignment, so that its calls can be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Index of the partition among those that the process has met.
    pub slot: u32,
    /// The assignment's number: what is settled for an older one is ignored.
    pub epoch: u32,
    /// The record's offset.
    pub offset: i64,
}
