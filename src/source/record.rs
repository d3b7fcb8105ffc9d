//! A Kafka record as the core sees it, and the form in which it is kept until its calls are settled.
//!
//! The record is kept beside its calls, because a dead letter holds the record as it came: key, value and headers.

/// A record's headers.
pub trait Headers {
    /// How many there are.
    fn count(&self) -> usize;
    /// The header at `index`.
    fn at(&self, index: usize) -> Option<(&str, Option<&[u8]>)>;
}

/// No headers.
impl Headers for () {
    fn count(&self) -> usize {
        0
    }

    fn at(&self, _index: usize) -> Option<(&str, Option<&[u8]>)> {
        None
    }
}

impl Headers for &[(&str, &[u8])] {
    fn count(&self) -> usize {
        self.len()
    }

    fn at(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        self.get(index).map(|(name, value)| (*name, Some(*value)))
    }
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
    pub headers: &'a dyn Headers,
}

impl<'a> Record<'a> {
    /// The last header of this name that has a value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        (0..self.headers.count())
            .rev()
            .filter_map(|index| self.headers.at(index))
            .find_map(|(key, value)| if key == name { value } else { None })
    }

    /// Appends the kept form.
    pub fn keep(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp_ms.unwrap_or(i64::MIN).to_le_bytes());
        put(out, self.key);
        put(out, self.value);
        for index in 0..self.headers.count() {
            if let Some((name, value)) = self.headers.at(index) {
                put(out, Some(name.as_bytes()));
                put(out, value);
            }
        }
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
        let headers: &[(&str, &[u8])] = &[("tenant", b"acme"), ("empty", b""), ("tenant", b"last")];
        let record =
            Record { slot: 0, offset: 1, timestamp_ms: Some(5), key: None, value: Some(b"{}"), headers: &headers };
        let mut bytes = Vec::new();
        record.keep(&mut bytes);
        let kept = Kept::read(&bytes);
        assert_eq!(kept.as_ref().map(|k| (k.timestamp_ms, k.key, k.value)), Some((Some(5), None, Some(&b"{}"[..]))));
        let expected: Vec<_> = headers.iter().map(|(name, value)| (*name, Some(*value))).collect();
        assert_eq!(kept.map(|k| k.headers), Some(expected));
        assert_eq!(record.header("tenant"), Some(&b"last"[..]));
        assert_eq!(Kept::read(&bytes[..bytes.len() - 1]), None);
    }
}
