//! A Kafka record as the core sees it, and the form in which it is kept until its calls are settled.
//!
//! The record is kept beside its calls, because a dead letter holds the record as it came: key, value and headers.

/// A record's headers, in the form in which they are kept: name and value of each, one behind the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// What [`put_header`] wrote.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The values of this name, in order, without those that are nothing.
    pub fn named(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.0;
        let next = move || Some((take(&mut rest)?.0?, take(&mut rest)?.0));
        std::iter::from_fn(next).filter_map(move |(key, value)| if key == name.as_bytes() { value } else { None })
    }
}

/// Appends a header.
pub fn put_header(out: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    put(out, Some(name.as_bytes()));
    put(out, value);
}

/// Headers, as they are kept.
#[must_use]
pub fn kept<'h, V: Into<Option<&'h [u8]>>>(headers: impl IntoIterator<Item = (&'h str, V)>) -> Vec<u8> {
    let mut out = Vec::new();
    headers.into_iter().for_each(|(name, value)| put_header(&mut out, name, value.into()));
    out
}

/// A record, borrowed from the consumer.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Index of its partition.
    pub slot: u32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// The last header of this name that has a value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.named(name).last()
    }

    /// Appends the kept form.
    pub fn keep(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp_ms.unwrap_or(i64::MIN).to_le_bytes());
        put(out, self.key);
        put(out, self.value);
        out.extend_from_slice(self.headers.0);
    }
}

/// A kept record, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Its timestamp.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
}

impl<'a> Kept<'a> {
    /// Only the timestamp.
    #[must_use]
    pub fn timestamp(bytes: &[u8]) -> Option<i64> {
        let timestamp = i64::from_le_bytes(*bytes.first_chunk::<8>()?);
        (timestamp != i64::MIN).then_some(timestamp)
    }

    /// Reads the kept form.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (timestamp, mut rest) = bytes.split_first_chunk::<8>()?;
        let timestamp = i64::from_le_bytes(*timestamp);
        let key = take(&mut rest)?.0;
        let value = take(&mut rest)?.0;
        let mut headers = Vec::new();
        while !rest.is_empty() {
            let name = std::str::from_utf8(take(&mut rest)?.0?).ok()?;
            headers.push((name, take(&mut rest)?.0));
        }
        Some(Self { timestamp_ms: (timestamp != i64::MIN).then_some(timestamp), key, value, headers })
    }
}

/// Length and bytes; `u32::MAX` for nothing.
fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let length = bytes.map_or(u32::MAX, |bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1));
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// What `put` wrote; `None` if the bytes end before it does.
fn take<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length);
    if length == u32::MAX {
        *rest = after;
        return Some(Field(None));
    }
    let (bytes, after) = after.split_at_checked(length as usize)?;
    *rest = after;
    Some(Field(Some(bytes)))
}

/// Bytes, or the nothing that Kafka has in their place.
struct Field<'a>(Option<&'a [u8]>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_whole() {
        let last = Some(&b"last"[..]);
        let headers = [("tenant", Some(&b"acme"[..])), ("empty", Some(b"")), ("tenant", last), ("tenant", None)];
        let written = kept(headers);
        let (value, all) = (Some(&b"{}"[..]), Headers::of(&written));
        let record = Record { slot: 0, offset: 1, timestamp_ms: Some(5), key: None, value, headers: all };
        let mut bytes = Vec::new();
        record.keep(&mut bytes);
        let kept = Kept::read(&bytes);
        assert_eq!(kept.as_ref().map(|k| (k.timestamp_ms, k.key, k.value)), Some((Some(5), None, value)));
        assert_eq!(kept.map(|k| k.headers), Some(headers.to_vec()));
        assert_eq!(record.header("tenant"), last, "a value that is nothing is none");
        assert_eq!(record.header("empty"), Some(&b""[..]));
        assert_eq!((record.header("none"), record.header("tenan")), (None, None));
        assert_eq!(Kept::read(&bytes[..bytes.len() - 1]), None);
    }
}
