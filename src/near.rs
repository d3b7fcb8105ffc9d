//! Memory that is asked for before it is needed.
//!
//! Why `unsafe`: calls are appended to memory that was on the wire, or that belongs to one of a thousand accounts. It is
//! near no processor, and a store that waits for it holds up all stores behind it. Safe code can ask for memory only by
//! reading it, which waits, and what a vector has not filled cannot be read at all. What it brings stands in
//! `docs/performance.md`.
//!
//! Invariant: nothing but the address matters. Asking reads nothing, writes nothing and faults nowhere, whatever is there.
#![expect(unsafe_code, reason = "a processor is told in no other way what it will need")]

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
    });
}

/// Asks for a value, to change it.
#[inline]
pub(crate) fn to_write<T: ?Sized>(value: &T) {
    each_line(value, |line| {
        // SAFETY: see above. All 64-bit processors know it; old ones do nothing then.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly));
        }
    });
}

/// Asks for memory of `into` that is not filled: for `count` places, so many behind its end; as far as it has them.
#[inline]
pub(crate) fn to_fill<T>(into: &mut Vec<T>, behind: usize, count: usize) {
    let room = into.spare_capacity_mut().get(behind..).unwrap_or_default();
    to_write(&room[..count.min(room.len())]);
}

/// The addresses of the lines that a value lies in, and of one more: it need not begin with one.
#[inline]
fn each_line<T: ?Sized>(value: &T, ask: impl Fn(*const u8)) {
    let begin = std::ptr::from_ref(value).cast::<u8>();
    for line in 0..=size_of_val(value).min(MOST) / LINE {
        ask(begin.wrapping_add(line * LINE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
