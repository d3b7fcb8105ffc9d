//! The event path asks for no memory, event by event, and a request for a few pieces: counted by an allocator that counts.
//!
//! A test binary of its own, because an allocator is a whole program's.
#![allow(unreachable_pub, reason = "shared with the benches")]

#[path = "../benches/core/mod.rs"]
mod core;

use self::core::allocations;
use self::core::counting::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_event_allocates_nothing_once_everything_has_grown() {
    let counted = allocations::count(80_000);
    println!("{counted:?}");
    assert!(counted.an_event < 0.01, "{counted:?}");
    // The flight, its receipts, and that its body has two readers; and what the lane looks through.
    assert!(counted.a_request < 6.0, "{counted:?}");
}
