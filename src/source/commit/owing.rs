//! What deferred accounts owe, as it is written into a commit: as many entries, and holes of each, as have room. Pure.

use super::{END, Entry, MAX_BYTES, SMALLEST_ENTRY, UNNAMED, length_of, put, put_count};
use crate::source::deferral;

/// A deferred account's debt as it is to be written: of its holes no more are looked at than there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Owing<'a> {
    pub(super) account: u32,
    next: i64,
    pub(super) lowest: i64,
    /// Up to where an orphan's records had been read.
    end: Option<i64>,
    holes: Holes<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Holes<'a> {
    These(&'a [i64]),
    Of(&'a deferral::Entry),
}

impl<'a> Owing<'a> {
    /// An account that is read again from `next` on, and owes the entry's holes below.
    #[must_use]
    pub fn of(account: u32, next: i64, entry: &'a deferral::Entry) -> Self {
        let lowest = entry.offsets().next().map_or(next, |hole| hole.min(next));
        Self { account, next, lowest, end: None, holes: Holes::Of(entry) }
    }

    /// Whether the configuration does not have it.
    pub(super) fn is_orphan(&self) -> bool {
        self.end.is_some()
    }

    /// What it takes at most when none of its holes has room.
    fn smallest(&self) -> usize {
        SMALLEST_ENTRY + if self.is_orphan() { END } else { 0 }
    }

    fn holes(&self) -> Box<dyn Iterator<Item = i64> + 'a> {
        let next = self.next;
        match self.holes {
            Holes::These(holes) => Box::new(holes.iter().copied()),
            Holes::Of(entry) => Box::new(entry.offsets().take_while(move |hole| *hole < next)),
        }
    }

    /// About what it takes with all of its holes; no more exactly than there could be room for.
    fn size(&self, base: i64) -> usize {
        let apart = match self.holes {
            Holes::These(holes) => apart(holes.iter().copied()),
            Holes::Of(entry) => entry.measured(|entry| apart(entry.offsets())),
        };
        self.smallest() + apart + if self.lowest < self.next { length_of(self.lowest - base) } else { 0 }
    }
}

impl<'a> From<&'a Entry> for Owing<'a> {
    fn from(entry: &'a Entry) -> Self {
        let (holes, end) = entry.parts();
        Self { account: entry.account, next: entry.next, lowest: entry.lowest(), end, holes: Holes::These(holes) }
    }
}

/// What the holes behind the first one take.
fn apart(holes: impl Iterator<Item = i64>) -> usize {
    let (mut size, mut last) = (0, None);
    for hole in holes {
        #[cfg(test)]
        crate::work::count(crate::work::Work::Hole);
        size += last.map_or(0, |last| length_of(hole - last));
        last = Some(hole);
        if size > MAX_BYTES {
            break;
        }
    }
    size
}

/// The entries that fit, each with its fair share of the room.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) count: usize,
    pub(super) bytes: Vec<u8>,
    /// The lowest offset that an entry owes that did not fit.
    pub(super) omitted: Option<i64>,
    /// About how many settled records holes that did not fit make owed again: an entry's part of the stretch.
    pub(super) lost: u64,
}

impl Entries {
    /// Writes an entry with the holes that fit into `room`; how far that lowers its `next`.
    fn push(&mut self, entry: &Owing<'_>, base: i64, room: usize) -> i64 {
        let (mut holes, mut count, mut last, mut next) = (Vec::new(), 0, base, entry.next);
        for hole in entry.holes() {
            let before = holes.len();
            put(&mut holes, hole - last);
            if holes.len() > room - entry.smallest() {
                holes.truncate(before);
                next = next.min(hole);
                break;
            }
            last = hole;
            count += 1;
        }
        // Without it the next owner would take the window for it, which may be far below.
        if let Some(end) = entry.end {
            put(&mut holes, end - last);
            count += 1;
        }
        self.count += 1;
        self.bytes.extend_from_slice(&entry.account.to_le_bytes());
        put(&mut self.bytes, next - base);
        put_count(&mut self.bytes, count);
        self.bytes.extend_from_slice(&holes);
        entry.next - next
    }
}

/// Orphans come first.
pub(super) fn fitting(entries: &[Owing<'_>], base: i64, room: usize) -> Entries {
    let share = fair_share(entries.iter().map(|entry| entry.size(base)).collect(), room);
    let orphans = entries.partition_point(Owing::is_orphan);
    let mut written = Entries::default();
    for (index, entry) in entries.iter().enumerate() {
        let left = room - written.bytes.len();
        let rest = &entries[index..orphans.max(index)];
        // Room for one that stands for the rest.
        let kept = if rest.len() > 1 { SMALLEST_ENTRY + END } else { 0 };
        if left < entry.smallest() + kept {
            written.omitted = entries[index..].iter().map(|entry| entry.lowest).min();
            if kept > 0 {
                written.push(&Owing::from(&unnamed(rest)), base, left);
            }
            return written;
        }
        let lowered = written.push(entry, base, share.max(entry.smallest()).min(left - kept));
        if lowered > 0 {
            written.lost += u64::try_from(lowered).unwrap_or(0) / entries.len() as u64 + 1;
        }
    }
    written
}

/// One entry for all of these.
fn unnamed(orphans: &[Owing<'_>]) -> Entry {
    let next = orphans.iter().map(|orphan| orphan.lowest).min().unwrap_or(0);
    let end = orphans.iter().filter_map(|orphan| orphan.end).max();
    Entry { account: UNNAMED, next, holes: end.into_iter().collect() }
}

/// The most that each may take so that all fit: what the small ones do not take is for the large ones.
fn fair_share(mut sizes: Vec<usize>, room: usize) -> usize {
    sizes.sort_unstable();
    let mut left = room;
    for (index, &size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - index);
        if size > share {
            return share;
        }
        left -= size;
    }
    room
}
