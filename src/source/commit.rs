//! What a commit says beside its offset: what is settled above it, and which accounts are deferred.
//!
//! Text, because brokers keep it as a string: base64 of version, checksum, place and contents. Reading it never fails
//! loudly: what is damaged, of another version, or was copied beside another offset, topic or cluster is ignored, and
//! costs duplicates only. Format: `docs/formats.md`.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

/// The version that this release writes, and the only one so far.
const VERSION: u8 = 1;
/// The most characters that are written; brokers take 4,096 bytes by default.
const MAX_TEXT: usize = 3_072;
/// The same in bytes before base64.
const MAX_BYTES: usize = MAX_TEXT / 4 * 3;

/// The place that metadata belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The cluster's id, empty if unknown.
    pub cluster: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
}

/// A deferred account: from where on it must be read again, and what it owes below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Hash of the account's name.
    pub account: u32,
    /// Where reading for it goes on.
    pub next: i64,
    /// Offsets below `next` that it still owes, ascending.
    pub holes: Vec<i64>,
}

/// What metadata says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Contents {
    /// Where the new owner begins to read.
    pub window: i64,
    /// Settled ranges above it, ascending.
    pub settled: Vec<Range<i64>>,
    /// Deferred accounts.
    pub entries: Vec<Entry>,
}

/// Why metadata was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No text, or text of another program.
    #[error("it is not Forebay's")]
    Foreign,
    /// Written by a release that this one does not know.
    #[error("its version is {0}, and this release reads {VERSION}")]
    Version(u8),
    /// Its checksum does not match.
    #[error("it is damaged")]
    Damaged,
    /// It belongs to another offset, topic, partition or cluster.
    #[error("it belongs to another offset, topic, partition or cluster")]
    Elsewhere,
}

/// Writes metadata for a commit at `base`. Settled ranges that do not fit are left out at the upper end; the second
/// value says whether that happened.
#[must_use]
pub fn encode(
    place: Place<'_>,
    base: i64,
    window: i64,
    settled: impl Iterator<Item = Range<i64>>,
    entries: &[Entry],
) -> (String, bool) {
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(&crc32fast::hash(place.cluster.as_bytes()).to_le_bytes());
    body.extend_from_slice(&crc32fast::hash(place.topic.as_bytes()).to_le_bytes());
    put(&mut body, i64::from(place.partition));
    put(&mut body, base);
    put(&mut body, window - base);
    put_count(&mut body, entries.len());
    for entry in entries {
        body.extend_from_slice(&entry.account.to_le_bytes());
        put(&mut body, entry.next - base);
        put_count(&mut body, entry.holes.len());
        let mut last = base;
        for &hole in &entry.holes {
            put(&mut body, hole - last);
            last = hole;
        }
    }
    let (mut end, mut cut) = (window, false);
    for range in settled {
        let before = body.len();
        put(&mut body, range.start - end);
        put(&mut body, range.end - range.start);
        if body.len() + 5 > MAX_BYTES {
            body.truncate(before);
            cut = true;
            break;
        }
        end = range.end;
    }
    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(VERSION);
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    (BASE64.encode(bytes), cut)
}

/// Reads the metadata of a commit at `offset`.
pub fn decode(text: &[u8], place: Place<'_>, offset: i64) -> Result<Contents, Unusable> {
    if text.is_empty() || text.len() > 2 * MAX_TEXT {
        return Err(Unusable::Foreign);
    }
    let bytes = BASE64.decode(text).map_err(|_| Unusable::Foreign)?;
    let (&version, rest) = bytes.split_first().ok_or(Unusable::Foreign)?;
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    let (checksum, body) = rest.split_first_chunk::<4>().ok_or(Unusable::Damaged)?;
    if u32::from_le_bytes(*checksum) != crc32fast::hash(body) {
        return Err(Unusable::Damaged);
    }
    let mut reader = Reader(body);
    let cluster = reader.word().ok_or(Unusable::Damaged)?;
    let topic = reader.word().ok_or(Unusable::Damaged)?;
    let partition = reader.number().ok_or(Unusable::Damaged)?;
    let base = reader.number().ok_or(Unusable::Damaged)?;
    let here = cluster == crc32fast::hash(place.cluster.as_bytes())
        && topic == crc32fast::hash(place.topic.as_bytes())
        && partition == i64::from(place.partition)
        && base == offset;
    if !here {
        return Err(Unusable::Elsewhere);
    }
    reader.contents(base).ok_or(Unusable::Damaged)
}

/// A zigzag variable-length number.
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "zigzag and seven bits at a time")]
fn put(out: &mut Vec<u8>, number: i64) {
    let mut bits = ((number << 1) ^ (number >> 63)) as u64;
    while bits >= 0x80 {
        out.push((bits as u8 & 0x7f) | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put(out, i64::try_from(count).unwrap_or(i64::MAX));
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*word))
    }

    fn number(&mut self) -> Option<i64> {
        let mut bits = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            bits |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
            }
        }
        None
    }

    fn count(&mut self) -> Option<usize> {
        // Each item takes at least a byte: a larger count is a lie, and would only reserve memory.
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len())
    }

    fn contents(&mut self, base: i64) -> Option<Contents> {
        let window = base.checked_add(self.number()?).filter(|window| *window >= base)?;
        let mut entries = Vec::new();
        for _ in 0..self.count()? {
            let account = self.word()?;
            let next = base.checked_add(self.number()?)?;
            let (mut holes, mut last) = (Vec::new(), base);
            for _ in 0..self.count()? {
                last = last.checked_add(self.number()?)?;
                holes.push(last);
            }
            entries.push(Entry { account, next, holes });
        }
        let (mut settled, mut end) = (Vec::new(), window);
        while !self.0.is_empty() {
            let start = end.checked_add(self.number()?)?;
            let stop = start.checked_add(self.number()?)?;
            if start < end || stop <= start {
                return None;
            }
            settled.push(start..stop);
            end = stop;
        }
        Some(Contents { window, settled, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place { cluster: "c", topic: "events", partition: 3 };

    fn written(base: i64, settled: &[Range<i64>]) -> String {
        encode(HERE, base, base, settled.iter().cloned(), &[]).0
    }

    #[test]
    fn what_is_written_is_read() {
        let entries = vec![Entry { account: 7, next: 1_500, holes: vec![1_001, 1_400] }];
        let settled = vec![1_003..1_004, 1_010..2_000, i64::from(u32::MAX)..i64::from(u32::MAX) + 1];
        let (text, cut) = encode(HERE, 1_000, 1_002, settled.clone().into_iter(), &entries);
        assert!(!cut);
        assert_eq!(decode(text.as_bytes(), HERE, 1_000), Ok(Contents { window: 1_002, settled, entries }));
    }

    #[test]
    fn a_copy_beside_another_offset_topic_partition_or_cluster_is_ignored() {
        let text = written(1_000, &[1_001..1_002, 1_003..1_005]);
        for place in [Place { cluster: "d", ..HERE }, Place { topic: "other", ..HERE }, Place { partition: 4, ..HERE }]
        {
            assert_eq!(decode(text.as_bytes(), place, 1_000), Err(Unusable::Elsewhere));
        }
        assert_eq!(decode(text.as_bytes(), HERE, 999), Err(Unusable::Elsewhere));
    }

    #[test]
    fn any_damage_is_noticed() {
        let text = written(1_000, &[1_001..1_002, 1_005..1_009]);
        for index in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[index] = if damaged[index] == b'A' { b'B' } else { b'A' };
            assert!(decode(&damaged, HERE, 1_000).is_err(), "character {index}");
            assert!(decode(&text.as_bytes()[..index], HERE, 1_000).is_err(), "cut at {index}");
        }
        for foreign in [&b""[..], b"hello, group", &[0xff, 0xfe, 0x00], b"AgAAAA"] {
            assert!(decode(foreign, HERE, 1_000).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_at_the_upper_end() {
        let settled: Vec<_> = (0..5_000).map(|n| 1_000 + 3 * n + 1..1_000 + 3 * n + 2).collect();
        let (text, cut) = encode(HERE, 1_000, 1_000, settled.clone().into_iter(), &[]);
        assert!(cut && text.len() <= MAX_TEXT);
        let read = decode(text.as_bytes(), HERE, 1_000).map(|contents| contents.settled);
        let read = read.unwrap_or_default();
        assert!(read.len() > 1_000);
        assert_eq!(read[..], settled[..read.len()]);
    }
}
