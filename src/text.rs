//! Questions to short texts which are asked of each event: answered by whole blocks, or by what nearly all texts are.

/// Whether all bytes are of a kind. `is` should be made of comparisons alone: then a block is looked at in a few
/// instructions.
#[inline]
pub(crate) fn all(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    match bytes.len() {
        16.. => by_blocks::<16>(bytes, is),
        8.. => by_blocks::<8>(bytes, is),
        _ => bytes.iter().all(|byte| is(*byte)),
    }
}

/// The same of what is no shorter than a block. The last one overlaps the one before it.
#[inline]
fn by_blocks<const N: usize>(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk::<N>() {
        // Not `all`: to stop at the first byte would be to look at each by itself.
        if !block.iter().fold(true, |so_far, byte| so_far & is(*byte)) {
            return false;
        }
        let is_short = !behind.is_empty() && behind.len() < N;
        rest = if is_short { &bytes[bytes.len() - N..] } else { behind };
    }
    true
}

/// A text without the white space around it.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::{all, trim};

    #[test]
    fn each_byte_is_looked_at() {
        for length in 0..70 {
            let mut bytes = vec![b'a'; length];
            assert!(all(&bytes, |byte| byte == b'a'), "{length}");
            for at in 0..length {
                bytes[at] = b'b';
                assert!(!all(&bytes, |byte| byte == b'a'), "{at} of {length}");
                bytes[at] = b'a';
            }
        }
    }

    #[test]
    fn white_space_goes() {
        for text in ["", " ", "a", " a", "a ", "ab", " a b ", "\u{a0}ab", "ab\u{2003}", "é b", "\0a\0", "a\u{b}"] {
            assert_eq!(trim(text), text.trim(), "{text:?}");
        }
    }
}
