//! From a record's value to an [`Event`].

use super::{Context, Event, Kind, Origin, RawForm};
use crate::json::{Fault, Raw, Tape};
use crate::outcome::{Reason, Refusal};

/// The length of the header that schema registries put before a value: a zero byte and a schema's id.
const HEADER: usize = 5;

impl<'a> Event<'a> {
    /// Decodes a record's value, and notes on the tape where its values stand. Of a field that occurs twice the last one
    /// counts; unknown ones are left alone.
    pub fn decode(value: &'a [u8], origin: Origin<'a>, tape: &'a mut Tape) -> Result<Self, Refusal> {
        check(value, tape)?;
        let mut event = Self::empty(origin, tape.value());
        event.read()?;
        Ok(event)
    }

    /// The same in its place: an event is large, and to move it costs as much as a part of decoding it.
    pub fn decode_in<'e>(
        place: &'e mut Option<Self>,
        value: &'a [u8],
        origin: Origin<'a>,
        tape: &'a mut Tape,
    ) -> Result<&'e Self, Refusal> {
        check(value, tape)?;
        let event = place.insert(Self::empty(origin, tape.value()));
        event.read()?;
        Ok(event)
    }

    /// Decodes the value of a raw record: any JSON object.
    pub fn decode_raw(
        value: &'a [u8],
        origin: Origin<'a>,
        form: RawForm<'a>,
        tape: &'a mut Tape,
    ) -> Result<Self, Refusal> {
        check(value, tape)?;
        Ok(Self { raw: Some(form), ..Self::empty(origin, tape.value()) })
    }

    const fn empty(origin: Origin<'a>, whole: Raw<'a>) -> Self {
        Self {
            origin,
            kind: Kind::Track,
            user_id: None,
            anonymous_id: None,
            previous_id: None,
            group_id: None,
            message_id: None,
            event: None,
            name: None,
            category: None,
            channel: None,
            timestamp: None,
            original_timestamp: None,
            traits: None,
            properties: None,
            context: Context::NONE,
            integrations: None,
            whole,
            raw: None,
        }
    }

    /// Reads the fields of the message.
    #[inline]
    fn read(&mut self) -> Result<(), Refusal> {
        let mut kind = None;
        for field in self.whole.fields() {
            self.take(&field.name_bytes(), field.value, &mut kind);
        }
        self.kind = kind_of(kind)?;
        Ok(())
    }

    /// Keeps a field of the message, if it is one of those that an event has.
    fn take(&mut self, name: &[u8], value: Raw<'a>, kind: &mut Option<Raw<'a>>) {
        let object = || value.is_object().then_some(value);
        let present = || (!value.is_null()).then_some(value);
        match name {
            b"type" => *kind = Some(value),
            b"userId" => self.user_id = value.id(),
            b"anonymousId" => self.anonymous_id = value.id(),
            b"previousId" => self.previous_id = value.id(),
            b"groupId" => self.group_id = value.id(),
            b"messageId" => self.message_id = value.id(),
            b"event" => self.event = value.string(),
            b"name" => self.name = value.string(),
            b"category" => self.category = value.string(),
            b"channel" => self.channel = value.string(),
            b"timestamp" => self.timestamp = present(),
            b"originalTimestamp" => self.original_timestamp = present(),
            b"traits" => self.traits = object(),
            b"properties" => self.properties = object(),
            b"integrations" => self.integrations = object(),
            b"context" => self.context = Context::of(value),
            _ => {}
        }
    }
}

impl<'a> Context<'a> {
    const NONE: Self = Self { traits: None, device: None, app: None, os: None, timezone: None };

    /// The parts of a value; none, if it is no object.
    fn of(value: Raw<'a>) -> Self {
        let mut parts = Self::NONE;
        for field in value.fields() {
            let value = field.value;
            match &*field.name_bytes() {
                b"traits" => parts.traits = Some(value).filter(|value| value.is_object()),
                b"device" => parts.device = Some(value),
                b"app" => parts.app = Some(value),
                b"os" => parts.os = Some(value),
                b"timezone" => parts.timezone = Some(value),
                _ => {}
            }
        }
        parts
    }
}

/// Takes in the object that a record's value is.
fn check(value: &[u8], tape: &mut Tape) -> Result<(), Refusal> {
    let (text, skipped) = text_of(value)?;
    tape.read(text).map_err(|fault| malformed(fault, skipped))
}

/// The text of a value, and how many bytes stand before it.
fn text_of(value: &[u8]) -> Result<(&str, usize), Refusal> {
    let (json, skipped) = without_header(value)?;
    let text = simdutf8::compat::from_utf8(json).map_err(|error| {
        Refusal::new(Reason::Malformed, format!("not UTF-8 at byte {}", error.valid_up_to() + skipped))
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Refusal::new(Reason::Malformed, format!("byte order mark at byte {skipped}")));
    }
    Ok((text, skipped))
}

fn malformed(fault: Fault, skipped: usize) -> Refusal {
    Refusal::new(Reason::Malformed, Fault { at: fault.at + skipped, what: fault.what }.to_string())
}

fn kind_of(value: Option<Raw<'_>>) -> Result<Kind, Refusal> {
    let unknown = |detail| Err(Refusal::new(Reason::UnknownType, detail));
    let Some(value) = value else { return unknown("the message has no `type`".to_owned()) };
    let Some(name) = value.string() else { return unknown("`type` is not a string".to_owned()) };
    match Kind::of(&name) {
        Some(kind) => Ok(kind),
        None => unknown(format!("unknown `type` \"{}\"", name.chars().take(64).collect::<String>())),
    }
}

/// The JSON of a value, and how many bytes stand before it.
fn without_header(value: &[u8]) -> Result<(&[u8], usize), Refusal> {
    if value.first() == Some(&0) {
        let json = value.get(HEADER..).unwrap_or_default();
        if json.trim_ascii_start().first() == Some(&b'{') {
            return Ok((json, HEADER));
        }
        return Err(Refusal::new(Reason::Encoding, "a schema registry's header, and no JSON object behind it"));
    }
    if looks_binary(value) {
        return Err(Refusal::new(Reason::Encoding, "binary: neither JSON nor text"));
    }
    Ok((value, 0))
}

/// Whether this is Avro, Protobuf, UTF-16 or something compressed: it does not begin like a JSON object, and its
/// beginning holds control characters, which no text does.
fn looks_binary(value: &[u8]) -> bool {
    if value.trim_ascii_start().first() == Some(&b'{') {
        return false;
    }
    let head = value.get(..value.len().min(256)).unwrap_or_default();
    head.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
}
