//! The one place that calls librdkafka by hand: to take messages by the batch, to read a commit's metadata and a
//! record's headers as bytes, and to commit so that the answer is heard.
//!
//! Why `unsafe`: the binding's own accessors panic on metadata and header names that are not UTF-8, and anybody may
//! have committed anything under our group's name or put anything before a record. It asks for one message at a time,
//! which costs more than reading it: see [`intake`].
#![expect(
    unsafe_code,
    reason = "the binding panics on text that is not UTF-8, hears no commit's answer, has no batches"
)]

pub mod intake;

use std::ffi::CStr;
use std::ptr;

use rdkafka::TopicPartitionList;
use rdkafka::bindings::{
    rd_kafka_commit_queue, rd_kafka_header_get_all, rd_kafka_headers_destroy, rd_kafka_headers_t,
    rd_kafka_message_detach_headers, rd_kafka_message_t, rd_kafka_message_timestamp, rd_kafka_queue_destroy,
    rd_kafka_queue_get_consumer, rd_kafka_topic_name,
};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;

use super::record::put_header;

/// The metadata of the element at `index`; empty if there is none.
#[must_use]
pub fn metadata(list: &TopicPartitionList, index: usize) -> &[u8] {
    // SAFETY: `ptr` is the list that `list` owns and that outlives the result. librdkafka keeps `cnt` initialised
    // elements behind `elems`, and `metadata_size` bytes behind a `metadata` that is not null. Nothing else has a
    // mutable reference: `list` is borrowed for as long as the result lives.
    unsafe {
        let list = &*list.ptr();
        if index >= usize::try_from(list.cnt).unwrap_or(0) || list.elems.is_null() {
            return &[];
        }
        let element = &*list.elems.add(index);
        if element.metadata.is_null() {
            return &[];
        }
        std::slice::from_raw_parts(element.metadata.cast::<u8>(), element.metadata_size)
    }
}

/// Commits without waiting. The answer comes to the context's `commit_callback`, by the consumer's own queue.
///
/// The binding's asynchronous commit asks for no answer at all (librdkafka answers only to a queue, or to a callback of
/// the configuration, which the binding never sets), and without answers nobody knows whether the group still has us.
pub fn commit<C: ConsumerContext>(consumer: &BaseConsumer<C>, offsets: &TopicPartitionList) -> KafkaResult<()> {
    // SAFETY: the client lives as long as `consumer`. The queue is one more reference to the consumer's own, given back
    // here; librdkafka keeps what it needs of it, copies the offsets, and takes neither a callback nor an opaque.
    let error = unsafe {
        let queue = rd_kafka_queue_get_consumer(consumer.client().native_ptr());
        if queue.is_null() {
            return Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownGroup));
        }
        let error = rd_kafka_commit_queue(consumer.client().native_ptr(), offsets.ptr(), queue, None, ptr::null_mut());
        rd_kafka_queue_destroy(queue);
        error
    };
    if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        Ok(())
    } else {
        Err(KafkaError::ConsumerCommit(error.into()))
    }
}

/// A message where librdkafka has it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(&'a rd_kafka_message_t);

impl<'a> View<'a> {
    /// Of a message of the binding's.
    #[must_use]
    pub fn of(message: &'a BorrowedMessage<'_>) -> Self {
        // SAFETY: the message owns what it points to, is alive for `'a`, and nobody writes to it.
        Self(unsafe { &*message.ptr() })
    }

    /// The topic's name; `?` if it is not UTF-8, which no broker takes.
    #[must_use]
    pub fn topic(self) -> &'a str {
        // SAFETY: a message that is no error has a topic, which it keeps alive; its name ends with a zero.
        let name = unsafe { CStr::from_ptr(rd_kafka_topic_name(self.0.rkt)) };
        name.to_str().unwrap_or("?")
    }

    /// The partition.
    #[must_use]
    pub const fn partition(self) -> i32 {
        self.0.partition
    }

    /// The offset.
    #[must_use]
    pub const fn offset(self) -> i64 {
        self.0.offset
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn timestamp_ms(self) -> Option<i64> {
        // SAFETY: the message is alive; librdkafka takes no kind to be written.
        let ms = unsafe { rd_kafka_message_timestamp(self.0, ptr::null_mut()) };
        (ms != -1).then_some(ms)
    }

    /// The key.
    #[must_use]
    pub fn key(self) -> Option<&'a [u8]> {
        // SAFETY: a key that is not null has `key_len` bytes, which belong to the message.
        (!self.0.key.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(self.0.key.cast::<u8>().cast_const(), self.0.key_len) })
    }

    /// The value.
    #[must_use]
    pub fn value(self) -> Option<&'a [u8]> {
        // SAFETY: a value that is not null has `len` bytes, which belong to the message.
        (!self.0.payload.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(self.0.payload.cast::<u8>().cast_const(), self.0.len) })
    }

    /// Appends its headers as they are kept ([`super::record::Headers`]). A name that is not UTF-8 becomes `?`.
    ///
    /// librdkafka makes a list of them, three pieces of memory and one a header. It goes back at once, and not with the
    /// message: so the next message's is made of the very same memory.
    pub fn take_headers(self, out: &mut Vec<u8>) {
        let mut list = ptr::null_mut();
        let message = ptr::from_ref(self.0).cast_mut();
        // SAFETY: the message is alive. librdkafka notes in its own part of it that the list is ours from here on.
        let error = unsafe { rd_kafka_message_detach_headers(message, &raw mut list) };
        if error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && !list.is_null() {
            let list = List(list);
            (0..).map_while(|index| list.at(index)).for_each(|(name, value)| put_header(out, name, value));
        }
    }
}

/// A list of headers that is ours.
struct List(*mut rd_kafka_headers_t);

impl List {
    fn at(&self, index: usize) -> Option<(&str, Option<&[u8]>)> {
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list lives as long as `self`; an index beyond its end is an error.
        let error = unsafe { rd_kafka_header_get_all(self.0, index, &raw mut name, &raw mut value, &raw mut size) };
        if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return None;
        }
        // SAFETY: on success the name is a string that ends with a zero, and a value that is not null has `size` bytes;
        // both belong to the list.
        let (name, value) = unsafe {
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            (CStr::from_ptr(name), value)
        };
        Some((name.to_str().unwrap_or("?"), value))
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: the list is ours, and nobody has a view of it any more.
        unsafe { rd_kafka_headers_destroy(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::{ClientConfig, Offset};

    use super::super::record::kept;
    use super::*;

    #[test]
    fn metadata_is_read_as_it_is_and_nothing_is_read_beyond_the_list() {
        let mut list = TopicPartitionList::new();
        list.add_partition("a", 0).set_metadata("written by us");
        list.add_partition("a", 1);
        assert_eq!(metadata(&list, 0), b"written by us");
        assert_eq!(metadata(&list, 1), b"");
        assert_eq!(metadata(&list, 2), b"");
    }

    #[test]
    fn headers_are_taken_as_they_came_and_as_often_as_one_likes() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("a", 1, 1).unwrap();
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "g");
        let producer: BaseProducer = client.create().unwrap();
        let given = [("tenant", Some(&b"acme"[..])), ("none", None), ("empty", Some(b"")), ("tenant", Some(b"\0\xff"))];
        let headers =
            given.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: *value }));
        producer.send(BaseRecord::<(), _>::to("a").payload("with").headers(headers)).unwrap();
        producer.send(BaseRecord::<(), _>::to("a").payload("without")).unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
        let consumer: BaseConsumer = client.create().unwrap();
        let mut places = TopicPartitionList::new();
        places.add_partition_offset("a", 0, Offset::Beginning).unwrap();
        consumer.assign(&places).unwrap();
        let expected = [kept(given), Vec::new()];
        for expected in expected {
            let message = consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
            let mut taken = b"before".to_vec();
            View::of(&message).take_headers(&mut taken);
            View::of(&message).take_headers(&mut taken);
            assert_eq!(taken, [&b"before"[..], &expected, &expected].concat());
        }
    }
}
