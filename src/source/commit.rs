//! What a commit says beside its offset: what is settled above it, and which accounts are deferred.
//!
//! Text, because brokers keep it as a string: base64 of version, checksum, place and contents. Reading it never fails
//! loudly: what is damaged, of another version, or was copied beside another offset, topic or cluster is ignored, and
//! costs duplicates only. Format: `docs/formats.md`.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

mod owing;

pub use self::owing::Owing;
use self::owing::fitting;

/// The version that this release writes, and the only one so far.
const VERSION: u8 = 1;
/// The most characters that are written; brokers take 4,096 bytes by default.
const MAX_TEXT: usize = 3_072;
/// The same in bytes before base64.
pub(super) const MAX_BYTES: usize = MAX_TEXT / 4 * 3;

/// Settled runs that lie so close together are told by a bit for each record, and not by two numbers for each run; but
/// for a few of them that would not pay.
const CLOSE: i64 = 16;
const FEW: usize = 4;

/// What checksum, version and the window take at most, and the size of an entry without holes at most.
const FRAME: usize = 32;
const SMALLEST_ENTRY: usize = 4 + 10 + 3;
/// What an orphan's end takes beside that.
const END: usize = 10;

/// No account's hash: the entry of accounts that the configuration does not have and that there was no room to name.
const UNNAMED: u32 = 0;

/// What commits call an account.
#[must_use]
pub fn hash(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes()).max(UNNAMED + 1)
}

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
    /// Offsets below `next` that it still owes, ascending. A last one that is not below says that the configuration did
    /// not have the account, and up to where its records had been read by then.
    pub holes: Vec<i64>,
}

impl Entry {
    /// Nobody here knows the account; what was read of the partition ends at `end`.
    pub fn orphan(&mut self, end: i64) {
        if !self.is_orphan() {
            self.holes.push(end.max(self.next));
        }
    }

    /// Whether the configuration does not have the account.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        self.holes.last().is_some_and(|end| *end >= self.next)
    }

    /// The topic no longer has what lies below `low`. False if nothing is left of what the account owed, and the
    /// configuration does not have it.
    pub fn expire(&mut self, low: i64) -> bool {
        let is_over = self.is_orphan() && self.holes.last().is_some_and(|end| *end <= low);
        self.next = self.next.max(low);
        self.holes.retain(|hole| *hole >= low);
        !is_over
    }

    /// Its holes, and up to where its records had been read, if it is an orphan.
    fn parts(&self) -> (&[i64], Option<i64>) {
        match self.holes.split_last() {
            Some((end, holes)) if self.is_orphan() => (holes, Some(*end)),
            _ => (&self.holes, None),
        }
    }

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
    /// About how many settled records it leaves out for want of room: they would be read and sent again.
    pub lost: u64,
}

/// Writes a commit of what `contents` says.
#[must_use]
pub fn encode(place: Place<'_>, contents: Contents) -> Written {
    let Contents { window, settled, entries } = contents;
    write(place, window, settled, entries.iter().map(Owing::from).collect())
}

/// Writes a commit.
///
/// What has no room is left out so that it costs duplicates only: settled ranges at the upper end; an entry's holes by
/// lowering its `next`; whole entries, those that owe the least, by lowering the window to what they owe and forgetting
/// what is settled from there on. Entries of accounts that the configuration does not have come first, because nobody
/// would remember them; if even they have no room, one without a name stands for the rest, and the window stays below it
/// for as long as it is there.
#[must_use]
pub fn write(place: Place<'_>, mut window: i64, mut settled: Vec<Range<i64>>, mut entries: Vec<Owing<'_>>) -> Written {
    let base = entries.iter().map(|entry| entry.lowest).min().map_or(window, |lowest| lowest.min(window));
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(&crc32fast::hash(place.cluster.as_bytes()).to_le_bytes());
    body.extend_from_slice(&crc32fast::hash(place.topic.as_bytes()).to_le_bytes());
    put(&mut body, i64::from(place.partition));
    put(&mut body, base);

    let room = MAX_BYTES - FRAME - body.len();
    let total = length(&settled);
    let wanted = set(window, &settled, room).0.len();
    entries.sort_unstable_by_key(|entry| (!entry.is_orphan(), entry.lowest, entry.account));
    let written = fitting(&entries, base, (room / 2).max(room - wanted));
    let mut lost = written.lost;
    let unnamed = entries.iter().filter(|entry| entry.account == UNNAMED).map(|entry| entry.lowest);
    if let Some(lowest) = unnamed.chain(written.omitted).min() {
        // What the window passes for it is owed by everybody else again.
        lost += u64::try_from(window - lowest).unwrap_or(0).max(1);
        window = window.min(lowest);
        settled.retain_mut(|range| {
            range.end = range.end.min(lowest);
            range.start < range.end
        });
    }
    let (written_set, told) = set(window, &settled, room - written.bytes.len());
    lost += total - told;
    put(&mut body, window - base);
    put_count(&mut body, written.count);
    body.extend_from_slice(&written.bytes);
    body.extend_from_slice(&written_set);

    let mut bytes = Vec::with_capacity(body.len() + 5);
    bytes.push(VERSION);
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Written { base, text: BASE64.encode(bytes), lost }
}

/// How many records the ranges hold.
fn length(ranges: &[Range<i64>]) -> u64 {
    ranges.iter().map(|range| u64::try_from(range.end - range.start).unwrap_or(0)).sum()
}

/// The settled ranges above `window` as far as they fit into `room`, and how many records they hold: each as a run, or
/// several that lie close together as bits.
fn set(window: i64, settled: &[Range<i64>], room: usize) -> (Vec<u8>, u64) {
    let (mut out, mut end, mut told) = (Vec::new(), window, 0);
    let mut rest = settled;
    while let Some(run) = rest.first() {
        let start = run.start.max(end);
        if start >= run.end {
            rest = &rest[1..];
            continue;
        }
        let close = rest.windows(2).take_while(|pair| pair[1].end - pair[0].end <= CLOSE).count();
        let before = out.len();
        put(&mut out, start - end);
        if close >= FEW && run.end - start <= CLOSE {
            let left = room.saturating_sub(out.len() + 3);
            let bits = usize::try_from(rest[close].end - start).unwrap_or(usize::MAX);
            let bits = bits_of(start, rest, bits.div_ceil(8).min(left));
            put(&mut out, -i64::try_from(bits.len()).unwrap_or(0));
            if bits.is_empty() || out.len() + bits.len() > room {
                out.truncate(before);
                break;
            }
            out.extend_from_slice(&bits);
            told += bits.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
            end = start + 8 * i64::try_from(bits.len()).unwrap_or(0);
        } else {
            put(&mut out, run.end - start);
            if out.len() > room {
                out.truncate(before);
                break;
            }
            told += u64::try_from(run.end - start).unwrap_or(0);
            end = run.end;
        }
    }
    (out, told)
}

/// A bit for each record of `8 * length` from `start` on, the lowest first: whether one of the ranges holds it.
fn bits_of(start: i64, settled: &[Range<i64>], length: usize) -> Vec<u8> {
    let mut bits = vec![0_u8; length];
    let index = |offset: i64| usize::try_from(offset.saturating_sub(start)).unwrap_or(0).min(8 * length);
    for range in settled.iter().take_while(|range| index(range.start) < 8 * length) {
        for bit in index(range.start)..index(range.end) {
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    bits
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

/// How many bytes [`put`] writes.
fn length_of(number: i64) -> usize {
    let bits = (number << 1) ^ (number >> 63);
    (64 - (bits | 1).leading_zeros()).div_ceil(7) as usize
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
            let length = self.number()?;
            if start < end || length == 0 {
                return None;
            }
            if length > 0 {
                end = start.checked_add(length)?;
                push_run(&mut settled, start..end);
            } else {
                let bits = usize::try_from(length.unsigned_abs()).ok()?;
                let (bits, rest) = self.0.split_at_checked(bits)?;
                self.0 = rest;
                end = start.checked_add(8 * i64::try_from(bits.len()).ok()?)?;
                push_bits(&mut settled, start, bits);
            }
        }
        Some(Contents { window, settled, entries })
    }
}

/// What [`bits_of`] wrote.
fn push_bits(settled: &mut Vec<Range<i64>>, start: i64, bits: &[u8]) {
    let each = bits.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    for (offset, _) in (start..).zip(each).filter(|(_, is_settled)| *is_settled) {
        push_run(settled, offset..offset + 1);
    }
}

fn push_run(settled: &mut Vec<Range<i64>>, run: Range<i64>) {
    match settled.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => settled.push(run),
    }
}

#[cfg(test)]
mod tests;
