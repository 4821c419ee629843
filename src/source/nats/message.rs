use async_nats::HeaderMap;
use bytes::Bytes;

use crate::source::Message;

/// What JetStream says of a message that it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Its sequence in the stream.
    pub(super) sequence: u64,
    /// How often it was delivered, this time included.
    pub(super) times: u64,
    /// When the stream stored it, in milliseconds since 1970.
    pub(super) stored_ms: i64,
}

impl Delivered {
    /// Reads the subject for the acknowledgement of a message (ADR-15): `$JS.ACK`, from servers of
    /// today domain and account, then stream, consumer, deliveries, stream sequence, consumer
    /// sequence, time in nanoseconds, and what is pending.
    pub(super) fn of(reply: &str) -> Option<Delivered> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let first = match tokens.len() {
            7 => 2,
            9.. => 4,
            _ => return None,
        };
        let number = |index: usize| tokens.get(first + index)?.parse::<u64>().ok();
        let stored_ms = i64::try_from(number(3)? / 1_000_000).ok()?;
        Some(Delivered { times: number(0)?, sequence: number(1)?, stored_ms })
    }
}

/// A NATS message as the intake wants it. A key-value bucket's marker of a deletion has no value;
/// any other empty payload is an empty value.
pub(super) fn message<'a>(
    native: &'a async_nats::Message,
    topic: std::sync::Arc<str>,
    delivered: Option<Delivered>,
    now_ms: i64,
) -> Message<'a> {
    let deleted = native.payload.is_empty() && native.headers.as_ref().is_some_and(is_deletion);
    Message {
        topic,
        partition: 0,
        position: delivered.map_or(0, |delivered| i64::try_from(delivered.sequence).unwrap_or(i64::MAX)),
        subject: Some(native.subject.as_str()),
        timestamp_ms: Some(delivered.map_or(now_ms, |delivered| delivered.stored_ms)),
        key: None,
        value: (!deleted).then_some(&native.payload[..]),
        headers: native.headers.as_ref().map(headers).unwrap_or_default(),
    }
}

fn is_deletion(headers: &HeaderMap) -> bool {
    headers.get("KV-Operation").is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"))
}

/// By name, so that they have an order; values of one name in theirs.
fn headers(map: &HeaderMap) -> Box<[(Box<str>, Bytes)]> {
    let mut headers: Vec<(Box<str>, Bytes)> = Vec::with_capacity(map.len());
    for (name, values) in map.iter() {
        let name: &str = name.as_ref();
        headers.extend(values.iter().map(|value| (name.into(), Bytes::from(value.as_str().to_owned()))));
    }
    headers.sort_by(|(left, _), (right, _)| left.cmp(right));
    headers.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(payload: &'static str, headers: &[(&str, &str)]) -> async_nats::Message {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, *value);
        }
        async_nats::Message {
            subject: "audit.user.login".into(),
            reply: None,
            payload: payload.into(),
            headers: Some(map),
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn both_forms_of_the_subject_for_acknowledgements_are_read() {
        let wanted = Some(Delivered { sequence: 42, times: 2, stored_ms: 1_700_000_000_123 });
        for reply in [
            "$JS.ACK.AUDIT.hookferry.2.42.50.1700000000123456789.7",
            "$JS.ACK._.ABCDEF.AUDIT.hookferry.2.42.50.1700000000123456789.7",
            "$JS.ACK.hub.ABCDEF.AUDIT.hookferry.2.42.50.1700000000123456789.7.token",
        ] {
            assert_eq!(Delivered::of(reply), wanted, "{reply}");
        }
        for wrong in ["_INBOX.a.b", "$JS.ACK.AUDIT.x.2.42", "$JS.ACK.A.b.x.y.z.1.2"] {
            assert_eq!(Delivered::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn headers_have_an_order_and_all_their_values() {
        let native = native("{}", &[("b", "1"), ("a", "x"), ("b", "2")]);
        let message = message(&native, "AUDIT".into(), None, 7);
        let shown: Vec<_> = message.headers.iter().map(|(name, value)| (&**name, &value[..])).collect();
        assert_eq!(shown, [("a", &b"x"[..]), ("b", b"1"), ("b", b"2")]);
        assert_eq!((message.subject, message.timestamp_ms), (Some("audit.user.login"), Some(7)));
    }

    #[test]
    fn only_a_deletion_has_no_value() {
        let value = |payload, headers: &[_]| {
            let native = native(payload, headers);
            message(&native, "KV".into(), None, 0).value.map(<[u8]>::to_vec)
        };
        assert_eq!(value("", &[]), Some(Vec::new()));
        assert_eq!(value("", &[("KV-Operation", "DEL")]), None);
        assert_eq!(value("x", &[("KV-Operation", "DEL")]), Some(b"x".to_vec()));
    }
}
