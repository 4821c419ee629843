use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::bindings;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;

use super::context::MemberContext;
use super::partition::PartitionName;

/// Sends commits and takes their results, which the library's own asynchronous commit never tells.
/// The results have a queue of their own, so that they come in while no record is wanted.
pub(super) struct CommitQueue {
    queue: NonNull<bindings::rd_kafka_queue_t>,
    consumer: Arc<BaseConsumer<MemberContext>>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for CommitQueue {}

impl CommitQueue {
    /// `None` if librdkafka gives no queue.
    pub(super) fn new(consumer: Arc<BaseConsumer<MemberContext>>) -> Option<CommitQueue> {
        // SAFETY: the client is alive, and stays so for as long as the queue: both are held here.
        let queue = NonNull::new(unsafe { bindings::rd_kafka_queue_new(consumer.client().native_ptr()) })?;
        Some(CommitQueue { queue, consumer })
    }

    /// Starts a commit; [`Self::next`] tells how it ended.
    ///
    /// # Errors
    /// It could not be started; no result follows.
    pub(super) fn commit(&self, offsets: &TopicPartitionList) -> KafkaResult<()> {
        let client = self.consumer.client().native_ptr();
        // SAFETY: all pointers are valid for the call, which copies the list.
        let started = unsafe {
            bindings::rd_kafka_commit_queue(client, offsets.ptr(), self.queue.as_ptr(), None, ptr::null_mut())
        };
        match started {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            error => Err(KafkaError::ConsumerCommit(error.into())),
        }
    }

    /// The result of the oldest commit that has ended and was not told yet: what was committed.
    pub(super) fn next(&self) -> Option<KafkaResult<Vec<(PartitionName, i64)>>> {
        // SAFETY: the queue is alive. The event is ours until it is destroyed, and what is read of
        // it is copied before.
        unsafe {
            let event = bindings::rd_kafka_queue_poll(self.queue.as_ptr(), 0);
            if event.is_null() {
                return None;
            }
            let result = match bindings::rd_kafka_event_error(event) {
                error if error.is_error() => Err(KafkaError::ConsumerCommit(error.into())),
                _ => committed(bindings::rd_kafka_event_topic_partition_list(event)),
            };
            bindings::rd_kafka_event_destroy(event);
            Some(result)
        }
    }
}

impl Drop for CommitQueue {
    fn drop(&mut self) {
        // SAFETY: it is not used again, and the client is still alive.
        unsafe { bindings::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// Reads a result. One refused partition makes the whole commit a failure: it is made again.
///
/// # Safety
/// `list` is null or valid.
unsafe fn committed(
    list: *const bindings::rd_kafka_topic_partition_list_t,
) -> KafkaResult<Vec<(PartitionName, i64)>> {
    // SAFETY: as the caller promises; a valid list has `cnt` elements, and topics are C strings.
    let elements = unsafe {
        match list.as_ref() {
            Some(list) if list.cnt > 0 => slice::from_raw_parts(list.elems, list.cnt as usize),
            _ => &[],
        }
    };
    let read = |element: &bindings::rd_kafka_topic_partition_t| {
        if element.err.is_error() {
            return Err(KafkaError::ConsumerCommit(element.err.into()));
        }
        // SAFETY: see above.
        let topic = unsafe { CStr::from_ptr(element.topic) }.to_string_lossy();
        Ok((PartitionName { topic: topic.into(), number: element.partition }, element.offset))
    };
    elements.iter().map(read).collect()
}
