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
pub(super) const MAX_BYTES: usize = MAX_TEXT / 4 * 3;

/// What checksum, version and the window take at most, and the size of an entry without holes at most.
const FRAME: usize = 32;
const SMALLEST_ENTRY: usize = 4 + 10 + 3;

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

impl Entry {
    /// The lowest offset that it owes.
    #[must_use]
    pub fn lowest(&self) -> i64 {
        self.holes.first().map_or(self.next, |hole| self.next.min(*hole))
    }
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

/// A commit: its offset, its metadata, and whether some of what is known had no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The offset: the lowest that anybody owes.
    pub base: i64,
    /// The metadata.
    pub text: String,
    /// Whether something was left out: it costs duplicates.
    pub cut: bool,
}

/// Writes a commit.
///
/// What has no room is left out so that it costs duplicates only: settled ranges at the upper end; an entry's holes by
/// lowering its `next`; whole entries, those that owe the least, by lowering the window to what they owe and forgetting
/// what is settled from there on.
#[must_use]
pub fn encode(place: Place<'_>, contents: Contents) -> Written {
    let Contents { mut window, mut settled, mut entries } = contents;
    let base = entries.iter().map(Entry::lowest).min().map_or(window, |lowest| lowest.min(window));
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(&crc32fast::hash(place.cluster.as_bytes()).to_le_bytes());
    body.extend_from_slice(&crc32fast::hash(place.topic.as_bytes()).to_le_bytes());
    put(&mut body, i64::from(place.partition));
    put(&mut body, base);

    let room = MAX_BYTES - FRAME - body.len();
    let wanted = ranges(window, &settled, room).0.len();
    entries.sort_by_key(Entry::lowest);
    let (written, omitted, mut cut) = fitting(&entries, base, (room / 2).max(room - wanted));
    if let Some(lowest) = omitted {
        window = window.min(lowest);
        settled.retain_mut(|range| {
            range.end = range.end.min(lowest);
            range.start < range.end
        });
        cut = true;
    }
    let (written_ranges, ranges_cut) = ranges(window, &settled, room - written.bytes.len());
    put(&mut body, window - base);
    put_count(&mut body, written.count);
    body.extend_from_slice(&written.bytes);
    body.extend_from_slice(&written_ranges);

    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(VERSION);
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Written { base, text: BASE64.encode(bytes), cut: cut || ranges_cut }
}

/// The settled ranges above `window` that fit into `room`, and whether some did not.
fn ranges(window: i64, settled: &[Range<i64>], room: usize) -> (Vec<u8>, bool) {
    let (mut out, mut end) = (Vec::new(), window);
    for range in settled {
        let before = out.len();
        put(&mut out, range.start - end);
        put(&mut out, range.end - range.start);
        if out.len() > room {
            out.truncate(before);
            return (out, true);
        }
        end = range.end;
    }
    (out, false)
}

#[derive(Default)]
struct Entries {
    count: usize,
    bytes: Vec<u8>,
}

/// The entries that fit into `room`, each with its fair share of it; the lowest offset that an omitted one owes; and
/// whether holes were cut.
fn fitting(entries: &[Entry], base: i64, room: usize) -> (Entries, Option<i64>, bool) {
    let (mut written, mut cut) = (Entries::default(), false);
    for (index, entry) in entries.iter().enumerate() {
        let left = room - written.bytes.len();
        if left < SMALLEST_ENTRY {
            return (written, Some(entry.lowest()), true);
        }
        let share = (left / (entries.len() - index)).max(SMALLEST_ENTRY);
        let (mut holes, mut last, mut count) = (Vec::new(), base, 0);
        for &hole in &entry.holes {
            let before = holes.len();
            put(&mut holes, hole - last);
            if holes.len() + SMALLEST_ENTRY > share {
                holes.truncate(before);
                break;
            }
            (last, count) = (hole, count + 1);
        }
        let next = entry.holes.get(count).copied().unwrap_or(entry.next);
        cut |= count < entry.holes.len();
        written.count += 1;
        written.bytes.extend_from_slice(&entry.account.to_le_bytes());
        put(&mut written.bytes, next - base);
        put_count(&mut written.bytes, count);
        written.bytes.extend_from_slice(&holes);
    }
    (written, None, cut)
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
        encode(HERE, Contents { window: base, settled: settled.to_vec(), entries: Vec::new() }).text
    }

    #[test]
    fn what_is_written_is_read() {
        let entries = vec![Entry { account: 7, next: 1_500, holes: vec![1_001, 1_400] }];
        let settled = vec![1_003..1_004, 1_010..2_000, i64::from(u32::MAX)..i64::from(u32::MAX) + 1];
        let contents = Contents { window: 1_002, settled, entries };
        let Written { base, text, cut } = encode(HERE, contents.clone());
        assert_eq!((base, cut), (1_001, false));
        assert_eq!(decode(text.as_bytes(), HERE, base), Ok(contents));
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
    fn settled_ranges_that_do_not_fit_are_cut_at_the_upper_end() {
        let settled: Vec<_> = (0..5_000).map(|n| 1_000 + 3 * n + 1..1_000 + 3 * n + 2).collect();
        let written = encode(HERE, Contents { window: 1_000, settled: settled.clone(), entries: Vec::new() });
        assert!(written.cut && written.text.len() <= MAX_TEXT);
        let read = decode(written.text.as_bytes(), HERE, 1_000).map(|contents| contents.settled);
        let read = read.unwrap_or_default();
        assert!(read.len() > 1_000);
        assert_eq!(read[..], settled[..read.len()]);
    }

    /// Whatever is left out: nobody owes anything that the metadata calls settled.
    #[test]
    fn what_has_no_room_is_owed_and_not_settled() {
        for (accounts, holes, ranges) in [(1, 20_000, 0), (10, 1_000, 3_000), (400, 3, 100), (2_000, 0, 3_000)] {
            let entry = |n: i64| Entry {
                account: u32::try_from(n).unwrap(),
                next: 600_000 + n,
                holes: (0..holes).map(|hole| 5_000 + 7 * hole + 300 * n).filter(|hole| *hole < 600_000).collect(),
            };
            let entries: Vec<Entry> = (0..accounts).map(entry).collect();
            let settled: Vec<_> = (0..ranges).map(|n| 610_000 + 3 * n..610_001 + 3 * n).collect();
            let contents = Contents { window: 605_000, settled, entries };
            let written = encode(HERE, contents.clone());
            assert!(written.cut && written.text.len() <= MAX_TEXT, "{accounts} accounts: {}", written.text.len());
            let read = decode(written.text.as_bytes(), HERE, written.base).unwrap();
            assert!(written.base <= 605_000 && read.window >= written.base);
            let mut kept = 0;
            for entry in &contents.entries {
                let owed = entry.holes.iter().copied().chain([entry.next, entry.next + 10, 700_000]);
                match read.entries.iter().find(|read| read.account == entry.account) {
                    Some(read) => {
                        kept += 1;
                        assert!(owed.clone().all(|offset| offset >= read.next || read.holes.contains(&offset)));
                    }
                    None => assert!(owed.clone().all(|offset| {
                        offset >= read.window && !read.settled.iter().any(|range| range.contains(&offset))
                    })),
                }
            }
            assert!(kept >= 100.min(accounts), "{kept} of {accounts} entries found room");
        }
    }
}
