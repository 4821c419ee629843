use std::sync::Arc;

use rdkafka::Message as _;
use rdkafka::message::BorrowedMessage;

use crate::broker::kafka::headers;
pub(super) use crate::broker::kafka::timestamp_ms;
use crate::source::Message;

/// A Kafka record as the intake wants it.
pub(super) fn message<'a>(record: &'a BorrowedMessage<'_>, topic: Arc<str>) -> Message<'a> {
    Message {
        topic,
        partition: record.partition(),
        position: record.offset(),
        subject: None,
        timestamp_ms: timestamp_ms(record),
        key: record.key(),
        value: record.payload(),
        headers: headers(record),
    }
}
