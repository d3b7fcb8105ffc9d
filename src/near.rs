//! Memory that is asked for before it is needed.
//!
//! Why `unsafe`: calls are appended to memory that was on the wire, or that belongs to one of a thousand accounts. It is
//! near no processor, and a store that waits for it holds up all stores behind it. Safe code can ask for memory only by
//! reading it, which waits, and what a vector has not filled cannot be read at all. Measured, the core alone, old and new in
//! turns: with 1,000 accounts 0.78 small, 0.71 large; with eight 1.00 and 0.87 (`docs/performance.md`).
//!
//! Invariant: nothing but the address matters. Asking reads nothing, writes nothing and faults nowhere, whatever is there.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "a processor is told in no other way what it will need")
)]

#[cfg(target_arch = "x86_64")]
use std::arch::asm;

/// What a processor fetches at a time, in bytes.
const LINE: usize = 64;
/// No more is asked for at a time, in bytes: what is longer comes by itself, as it is walked along.
const MOST: usize = 4_096;

/// Asks for a value, to read it.
#[inline]
pub(crate) fn to_read<T: ?Sized>(value: &T) {
    each_line(value, |line| {
        // SAFETY: see above.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!("prefetcht0 [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(target_arch = "x86_64"))]
        not_asked(line);
    });
}

/// Asks for a value, to change it.
#[inline]
pub(crate) fn to_write<T: ?Sized>(value: &T) {
    each_line(value, |line| {
        // SAFETY: see above. Processors of AMD's know it, Intel's of the last twenty years at least do nothing then.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
        #[cfg(not(target_arch = "x86_64"))]
        not_asked(line);
    });
}

/// Elsewhere it was not measured.
#[cfg(not(target_arch = "x86_64"))]
const fn not_asked(_line: *const u8) {}

/// Asks for memory of `into` that is not filled: for `count` places, so many behind its end; as far as it has them.
#[inline]
pub(crate) fn to_fill<T>(into: &mut Vec<T>, behind: usize, count: usize) {
    let room = into.spare_capacity_mut().get(behind..).unwrap_or_default();
    to_write(&room[..count.min(room.len())]);
}

/// An address in each of the lines that a value lies in, from its beginning on.
#[inline]
fn each_line<T: ?Sized>(value: &T, mut ask: impl FnMut(*const u8)) {
    let begin = std::ptr::from_ref(value).cast::<u8>();
    let size = size_of_val(value).min(MOST);
    for at in (0..size).step_by(LINE) {
        ask(begin.wrapping_add(at));
    }
    // Its last line may be one more: its first need not begin with it.
    ask(begin.wrapping_add(size.saturating_sub(1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_of_a_value_are_asked_for() {
        let bytes = vec![0_u8; 3 * MOST];
        for (begin, size) in (0..LINE).flat_map(|begin| [1, 63, 64, 65, 100, 2 * LINE, 1_000].map(|size| (begin, size)))
        {
            let value = &bytes[begin..begin + size];
            let line = |byte: *const u8| byte.addr() / LINE;
            let mut asked = Vec::new();
            each_line(value, |at| asked.push(line(at)));
            asked.dedup();
            let lies_in: Vec<usize> = (line(&raw const value[0])..=line(&raw const value[size - 1])).collect();
            assert_eq!(asked, lies_in, "{size} bytes from {begin} on");
        }
        let mut count = 0;
        each_line(bytes.as_slice(), |_| count += 1);
        assert_eq!(count, MOST / LINE + 1);
    }

    #[test]
    fn asking_changes_nothing_and_needs_no_room() {
        let mut bytes = Vec::with_capacity(100);
        bytes.extend_from_slice(b"filled");
        for (behind, count) in [(0, 0), (0, 94), (90, 1_000), (1_000, 1), (usize::MAX, usize::MAX)] {
            to_fill(&mut bytes, behind, count);
            to_fill(&mut Vec::<u64>::new(), behind, count);
            to_read(&bytes);
        }
        assert_eq!((bytes.as_slice(), bytes.capacity()), (b"filled".as_slice(), 100));
    }
}
