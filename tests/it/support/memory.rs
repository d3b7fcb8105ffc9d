//! What the process may take, as README states it.

/// Beside `[memory] total`: the program, its threads and libraries, what allocators keep, a fetch of each reader.
pub(crate) const BESIDE: u64 = 96 << 20;

/// For each account: an idle lane is 4 KiB of it; the rest is what its configuration takes at the start, and its part of
/// a scrape.
pub(crate) const ACCOUNT: u64 = 24 << 10;
