//! Events that no retry can help, written to a topic with the reason and their origin.
//!
//! A thread of its own with an idempotent producer. Guarantees that a letter is acknowledged only when the broker has
//! it, and that one the broker refuses for its size is written again alone, then without its value. Tries for ever: a
//! call whose letter is not written stays owed. Holds what its records hold: personal data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

use crate::pipeline::DeadLetter;
use crate::source::record::Kept;

/// The producer takes what the source's brokers could ever have taken.
const MAX_MESSAGE: usize = 64_000_000;
/// Between two attempts at a letter that the broker did not take.
const PAUSE: Duration = Duration::from_millis(100);
/// An acknowledgement is heard within this.
const SOON: Duration = Duration::from_millis(5);
/// Of what librdkafka has to say, so much is heard at a time: acknowledgements come many in one.
const HEARD: usize = 16;
/// The most of the vendor's words that a letter keeps.
const MAX_DETAIL: usize = 1_024;

/// The version of the headers: `docs/formats.md`.
const VERSION: &str = "1";
/// The headers that a letter gets; a record's own of these names are left out, so that each stands once.
const OURS: [&str; 11] = [
    "forebay-version",
    "forebay-reason",
    "forebay-detail",
    "forebay-tenant",
    "forebay-account",
    "forebay-destination",
    "forebay-topic",
    "forebay-partition",
    "forebay-offset",
    "forebay-time",
    "forebay-truncated",
];

/// Names of a lane's account, for the headers.
#[derive(Clone, Debug)]
pub struct Names {
    /// The tenant.
    pub tenant: String,
    /// The account.
    pub account: String,
    /// The destination.
    pub destination: &'static str,
}

/// How much of the record a letter carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Whole,
    /// The broker found a batch too large: whole, but in a batch of its own.
    Alone,
    /// And that too.
    WithoutValue,
    /// And that too: the record's own headers and key are what is large.
    OriginOnly,
}

impl Size {
    const fn is_truncated(self) -> bool {
        matches!(self, Self::WithoutValue | Self::OriginOnly)
    }
}

/// A letter on its way, and how it goes.
#[derive(Debug)]
struct Mail {
    letter: DeadLetter,
    size: Size,
    /// The broker did not take it the last time.
    failed: bool,
}

/// The handle of the thread.
#[derive(Debug)]
pub struct Letters {
    queue: Sender<Box<Mail>>,
}

impl Letters {
    /// Queues a letter; how many there can be is bounded by the pipeline.
    pub fn write(&self, letter: DeadLetter) {
        let mail = Box::new(Mail { letter, size: Size::Whole, failed: false });
        if self.queue.send(mail).is_err() {
            tracing::error!("the dead-letter thread is gone; its events stay owed");
        }
    }
}

/// The thread's own part.
pub struct Writer {
    topic: String,
    names: Vec<Names>,
    /// Heard by this thread alone: rdkafka's own for it spins through the last millisecond of every 100.
    producer: BaseProducer<Postman>,
    queue: Receiver<Box<Mail>>,
}

/// Takes the broker's answers.
struct Postman {
    again: Sender<Box<Mail>>,
    acknowledge: Arc<dyn Fn(u64) + Send + Sync>,
}

/// A writer to `topic`; `names` are indexed by account. The writer has to be run on a thread of its own.
pub fn new(
    config: &ClientConfig,
    topic: &str,
    names: Vec<Names>,
    acknowledge: impl Fn(u64) + Send + Sync + 'static,
) -> Result<(Letters, Writer), KafkaError> {
    let (queue, incoming) = mpsc::channel();
    let postman = Postman { again: queue.clone(), acknowledge: Arc::new(acknowledge) };
    let mut config = config.clone();
    // No time-out: while the brokers are away, letters wait in the producer, in order.
    for (name, value) in
        [("enable.idempotence", "true"), ("acks", "all"), ("linger.ms", "5"), ("message.timeout.ms", "0")]
    {
        config.set(name, value);
    }
    if config.get("compression.type").is_none() && config.get("compression.codec").is_none() {
        config.set("compression.type", "zstd");
    }
    config.set("message.max.bytes", MAX_MESSAGE.to_string());
    let producer = config.create_with_context(postman)?;
    Ok((Letters { queue }, Writer { topic: topic.to_owned(), names, producer, queue: incoming }))
}

impl Writer {
    /// Runs until `stop`, or until only a new producer could go on.
    pub fn run(self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let patience = if self.producer.in_flight_count() > 0 { SOON } else { PAUSE };
            match self.queue.recv_timeout(patience) {
                Ok(mail) => self.send(mail, stop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            (0..HEARD).for_each(|_| self.producer.poll(Duration::ZERO));
            if let Some((code, reason)) = self.producer.client().fatal_error() {
                tracing::error!(
                    ?code,
                    reason,
                    "the dead-letter producer cannot go on; the process must be started again"
                );
                return;
            }
        }
        if let Err(error) = self.producer.flush(Duration::from_secs(1)) {
            tracing::warn!(%error, "dead letters were not all acknowledged; their events come again");
        }
    }

    fn send(&self, mut mail: Box<Mail>, stop: &AtomicBool) {
        if std::mem::take(&mut mail.failed) {
            self.producer.poll(PAUSE);
        }
        while !stop.load(Ordering::Relaxed) {
            let alone = mail.size != Size::Whole;
            if alone {
                self.wait_for_all(stop);
            }
            let (key, value, headers) = self.compose(&mail);
            let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
            let mut record = BaseRecord::with_opaque_to(&self.topic, mail).headers(headers);
            if let Some(key) = &key {
                record = record.key(key);
            }
            if let Some(value) = &value {
                record = record.payload(value);
            }
            match self.producer.send(record) {
                Ok(()) if alone => return self.wait_for_all(stop),
                Ok(()) => return,
                Err((error, record)) => {
                    mail = record.delivery_opaque;
                    let too_large = is_too_large(&error) && mail.size != Size::OriginOnly;
                    if too_large {
                        mail.size = smaller(mail.size);
                    } else {
                        tracing::debug!(%error, "the dead-letter producer is full; waiting");
                        self.producer.poll(PAUSE);
                    }
                }
            }
        }
    }

    /// Waits until nothing is on its way: what is sent next begins a batch, and what comes after is in another.
    fn wait_for_all(&self, stop: &AtomicBool) {
        while self.producer.in_flight_count() > 0 && !stop.load(Ordering::Relaxed) {
            // The brokers may be away: then it takes longer than this.
            let _later = self.producer.flush(PAUSE);
        }
    }

    /// Key, value and headers of a letter.
    fn compose<'a>(&self, mail: &'a Mail) -> (Option<&'a [u8]>, Option<&'a [u8]>, OwnedHeaders) {
        let letter = &mail.letter;
        let kept = Kept::read(&letter.record);
        let mut headers = OwnedHeaders::new();
        let (mut key, mut value, mut time) = (None, None, None);
        if let Some(kept) = kept {
            time = kept.timestamp_ms;
            if mail.size != Size::OriginOnly {
                key = kept.key;
                for (name, value) in kept.headers.iter().filter(|(name, _)| !OURS.contains(name)) {
                    headers = headers.insert(Header { key: name, value: *value });
                }
            }
            if !mail.size.is_truncated() {
                value = kept.value;
            }
        }
        let names = letter.account.and_then(|account| self.names.get(account as usize));
        let tenant = names.map(|names| names.tenant.as_str()).or(letter.tenant.as_deref()).unwrap_or("_unknown");
        let detail = cut(&letter.refusal.detail, MAX_DETAIL);
        let time = time.and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(|time| time.to_string());
        let values = [
            Some(VERSION.to_owned()),
            Some(letter.refusal.reason.name().to_owned()),
            Some(detail),
            Some(cut(tenant, 256)),
            names.map(|names| names.account.clone()),
            names.map(|names| names.destination.to_owned()),
            Some(letter.topic.to_string()),
            Some(letter.partition.to_string()),
            Some(letter.offset.to_string()),
            time,
            mail.size.is_truncated().then(|| "true".to_owned()),
        ];
        for (name, value) in OURS.into_iter().zip(values) {
            if let Some(value) = value {
                headers = headers.insert(Header { key: name, value: Some(value.as_bytes()) });
            }
        }
        (key, value, headers)
    }
}

/// The first bytes of a text, at a character's end.
fn cut(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn is_too_large(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize)
    )
}

const fn smaller(size: Size) -> Size {
    match size {
        Size::Whole => Size::Alone,
        Size::Alone => Size::WithoutValue,
        Size::WithoutValue | Size::OriginOnly => Size::OriginOnly,
    }
}

impl ClientContext for Postman {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka (dead letters): {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "Kafka (dead letters): {reason}");
    }
}

impl ProducerContext for Postman {
    type DeliveryOpaque = Box<Mail>;

    fn delivery(&self, result: &DeliveryResult<'_>, mut mail: Box<Mail>) {
        match result {
            Ok(_) => (self.acknowledge)(mail.letter.id),
            Err((error, _)) => {
                let letter = &mail.letter;
                let (partition, offset) = (letter.partition, letter.offset);
                if is_too_large(error) && mail.size != Size::OriginOnly {
                    mail.size = smaller(mail.size);
                    if mail.size.is_truncated() {
                        tracing::warn!(
                            partition,
                            offset,
                            "a dead letter is too large for its topic; written without its value"
                        );
                    }
                } else {
                    tracing::warn!(partition, offset, %error, "failed to write a dead letter; trying on");
                    mail.failed = true;
                }
                // Nobody listens any more only when the process ends: then the event stays owed.
                let _ending = self.again.send(mail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_at_a_characters_end() {
        assert_eq!(cut("abc", 10), "abc");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn a_letter_shrinks_in_steps_and_never_below_its_origin() {
        assert_eq!(smaller(Size::Whole), Size::Alone);
        assert_eq!(smaller(Size::Alone), Size::WithoutValue);
        assert_eq!(smaller(Size::WithoutValue), Size::OriginOnly);
        assert!(!Size::Alone.is_truncated() && Size::WithoutValue.is_truncated());
        assert_eq!(smaller(Size::OriginOnly), Size::OriginOnly);
    }
}
