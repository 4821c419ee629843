use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use bytes::Bytes;
use rdkafka::bindings;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message as _, Timestamp};

/// When a record was created or appended, in milliseconds since 1970.
pub(crate) fn timestamp_ms(record: &BorrowedMessage<'_>) -> Option<i64> {
    match record.timestamp() {
        Timestamp::NotAvailable => None,
        Timestamp::CreateTime(unix_ms) | Timestamp::LogAppendTime(unix_ms) => Some(unix_ms),
    }
}

/// Copies a record's headers. Not through the library's own reading, which panics on a header's
/// name that is not UTF-8; such a name is taken with U+FFFD in it.
pub(crate) fn headers(record: &BorrowedMessage<'_>) -> Box<[(Box<str>, Bytes)]> {
    let mut headers = Vec::new();
    let mut native = ptr::null_mut();
    // SAFETY: the record is valid while it is borrowed. On success `native` points to headers that
    // the record owns; names are C strings and values have the size that comes with them, and both
    // are copied before this function returns.
    unsafe {
        let found = bindings::rd_kafka_message_headers(record.ptr(), &mut native);
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return headers.into();
        }
        let mut name: *const c_char = ptr::null();
        let mut value: *const c_void = ptr::null();
        let mut size = 0;
        while bindings::rd_kafka_header_get_all(native, headers.len(), &mut name, &mut value, &mut size)
            == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            let value = match value.is_null() {
                true => Bytes::new(),
                false => Bytes::copy_from_slice(std::slice::from_raw_parts(value.cast(), size)),
            };
            headers.push((CStr::from_ptr(name).to_string_lossy().into(), value));
        }
    }
    headers.into()
}
