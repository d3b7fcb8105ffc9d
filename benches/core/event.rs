//! The records: Segment track messages as producers write them, of exactly the size that is asked for.
//!
//! Each holds `"seq":"` and sixteen digits, by which the sink counts what it gets. What differs from message to message
//! is what differs in life: ids, the user, the time.

use std::io::Write as _;

/// How large a record's value is, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Size {
    /// A mobile application's event: 340 bytes.
    Small,
    /// A browser's event with a list of products: 1,020 bytes.
    Large,
}

impl Size {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Small => 340,
            Self::Large => 1_020,
        }
    }

    fn event(self) -> &'static str {
        match self {
            Self::Small => "Product Viewed",
            Self::Large => "Checkout Started",
        }
    }

    fn properties(self) -> &'static str {
        match self {
            Self::Small => SMALL_PROPERTIES,
            Self::Large => LARGE_PROPERTIES,
        }
    }

    fn context(self) -> &'static str {
        match self {
            Self::Small => SMALL_CONTEXT,
            Self::Large => LARGE_CONTEXT,
        }
    }
}

const SMALL_PROPERTIES: &str = r#""product":{"id":"sku-12345","price":79.9},"in_stock":true"#;
const SMALL_CONTEXT: &str = r#"{"app":{"version":"4.12"},"device":{"type":"ios"}}"#;
const LARGE_PROPERTIES: &str = r#""order_id":"50314b8e9bcf000000000000","value":125.4,"shipping":10,"currency":"EUR","coupon":"hasbros","products":[{"product_id":"507f1f77bcf86cd799439011","sku":"45790-32","name":"Monopoly: 3rd Edition","price":19,"quantity":1,"category":"Games"},{"product_id":"505bd76785ebb509fc183733","sku":"46493-32","name":"Uno Card Game","price":3,"quantity":2,"category":"Games"}]"#;
const LARGE_CONTEXT: &str = r#"{"ip":"192.0.2.17","locale":"hu-HU","timezone":"Europe/Budapest","userAgent":"Mozilla/5.0 (X11; Linux x86_64)","library":{"name":"analytics.js","version":"2.11.1"},"page":{"path":"/checkout","url":"https://shop.example.com/checkout","referrer":"https://www.example.com/search?q=board+games","title":"Checkout"},"app":{"version":"4.12.0"}}"#;

/// What a record's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// A message in the Segment spec.
    Segment,
    /// MoEngage's own element.
    Transition,
    /// Iterable's own element.
    TrackBulk,
}

impl Form {
    /// As the header `forebay-shape` names it.
    pub(crate) fn shape(self) -> Option<&'static str> {
        match self {
            Self::Segment => None,
            Self::Transition => Some("transition"),
            Self::TrackBulk => Some("events/trackBulk"),
        }
    }
}

/// One record to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) size: Size,
    pub(crate) form: Form,
    /// Its number, or whatever else the sink is to read.
    pub(crate) seq: u64,
    pub(crate) user: u64,
    /// RFC 3339.
    pub(crate) time: &'a str,
}

impl Event<'_> {
    /// Writes the value over what is in `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Self { size, form, seq, user, time } = *self;
        let (event, properties) = (size.event(), size.properties());
        let (head, tail) = match form {
            Form::Segment => (
                format!(
                    r#"{{"type":"track","messageId":"0b0f6a8e-5c0c-4b55-9f77-{seq:012x}","userId":"user-{user:07}","event":"{event}","timestamp":"{time}","properties":{{"seq":"{seq:016}",{properties},"note":""#
                ),
                format!(r#""}},"context":{}}}"#, size.context()),
            ),
            Form::Transition => (
                format!(
                    r#"{{"type":"event","customer_id":"user-{user:07}","device_id":"d-1","actions":[{{"action":"{event}","platform":"iOS","current_time":"{time}","attributes":{{"seq":"{seq:016}",{properties},"note":""#
                ),
                r#""}}]}"#.to_owned(),
            ),
            Form::TrackBulk => (
                format!(
                    r#"{{"eventName":"{event}","userId":"user-{user:07}","id":"0b0f6a8e-5c0c-4b55-9f77-{seq:012x}","createdAt":1795207200,"dataFields":{{"seq":"{seq:016}",{properties},"note":""#
                ),
                r#""}}"#.to_owned(),
            ),
        };
        out.clear();
        out.extend_from_slice(head.as_bytes());
        let room = size.bytes().checked_sub(head.len() + tail.len()).expect("the parts are shorter than the whole");
        // Not the same byte again and again: that would compress to nothing.
        for at in 0..room as u64 {
            out.push(b'a' + u8::try_from((seq ^ (at * 7)) % 26).unwrap_or(0));
        }
        let _written = out.write_all(tail.as_bytes());
    }
}
