//! Looks for quotes and for what a string cannot hold as it is.

use wide::u8x16;

/// Notes where the quotes of a text stand, a bit a byte. False if the text holds backslashes or control characters anywhere:
/// else each string is what stands between two of them.
pub(super) fn find_all(text: &[u8], words: &mut Vec<u64>) -> bool {
    let (mut least, mut slashes) = (u8x16::splat(u8::MAX), u8x16::splat(0));
    let mut look = |block: &[u8; 64]| {
        let (parts, _) = block.as_chunks::<16>();
        let mut word = 0;
        for (part, place) in parts.iter().zip([0, 16, 32, 48]) {
            let part = u8x16::new(*part);
            least = least.min(part);
            slashes |= part.simd_eq(u8x16::splat(b'\\'));
            word |= u64::from(part.simd_eq(u8x16::splat(b'"')).to_bitmask()) << place;
        }
        word
    };
    let (blocks, rest) = text.as_chunks::<64>();
    words.clear();
    words.extend(blocks.iter().map(&mut look));
    let mut tail = [b' '; 64];
    tail[..rest.len()].copy_from_slice(rest);
    words.push(look(&tail));
    !slashes.any() && least.to_array().iter().all(|byte| *byte >= 0x20)
}

/// The first byte at or behind `at` that a string cannot hold as it is: a quote, a backslash or a control character.
pub(crate) fn special(bytes: &[u8], at: usize) -> usize {
    find::<true, true>(bytes, at)
}

/// The first quote or backslash at or behind `at`.
pub(crate) fn quote(bytes: &[u8], at: usize) -> usize {
    find::<true, false>(bytes, at)
}

/// The first backslash at or behind `at`.
pub(crate) fn backslash(bytes: &[u8], at: usize) -> usize {
    find::<false, false>(bytes, at)
}

/// The first backslash, or quote, or control character, or the end; eight bytes at a time, because the strings of
/// messages are too short for what wider searches cost to begin.
#[inline]
fn find<const QUOTE: bool, const CONTROL: bool>(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // A byte of a word is zero exactly if subtracting one borrows from its high bit. What borrows spoil lies above
    // the first hit, and only the first hit is used.
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let slash = word ^ (ONES * 0x5c);
        let mut hits = slash.wrapping_sub(ONES) & !slash;
        if QUOTE {
            let quote = word ^ (ONES * 0x22);
            hits |= quote.wrapping_sub(ONES) & !quote;
        }
        if CONTROL {
            hits |= word.wrapping_sub(ONES * 0x20) & !word;
        }
        if hits & HIGH != 0 {
            return at + (hits & HIGH).trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let hit = |byte: &u8| *byte == b'\\' || (QUOTE && *byte == b'"') || (CONTROL && *byte < 0x20);
    while bytes.get(at).is_some_and(|byte| !hit(byte)) {
        at += 1;
    }
    at
}
