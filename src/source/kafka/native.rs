//! Calls of librdkafka that the library above it does not offer, or not whole.

use std::ffi::CString;
use std::ptr;

use rdkafka::TopicPartitionList;
use rdkafka::bindings;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;

/// The lowest offset that the partition still has, as the last fetch said; without a request.
pub(super) fn cached_low<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client outlives the call, and all pointers are valid for it.
    let found = unsafe {
        bindings::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            partition,
            &mut low,
            &mut high,
        )
    };
    (found == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && low >= 0).then_some(low)
}

/// Starts a commit whose result reaches the context's `commit_callback` by way of a poll. The
/// library's own asynchronous commit never tells its result: librdkafka sends one only to the queue
/// that the commit names.
///
/// # Errors
/// The commit could not be started; no result follows.
pub(super) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    offsets: &TopicPartitionList,
) -> KafkaResult<()> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client and the list outlive the call, which copies the list. The queue's own count
    // keeps it alive for the result; this reference to it is given back.
    let started = unsafe {
        let queue = bindings::rd_kafka_queue_get_consumer(client);
        if queue.is_null() {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_GROUP
        } else {
            let started =
                bindings::rd_kafka_commit_queue(client, offsets.ptr(), queue, None, ptr::null_mut());
            bindings::rd_kafka_queue_destroy(queue);
            started
        }
    };
    match started {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        error => Err(KafkaError::ConsumerCommit(error.into())),
    }
}
