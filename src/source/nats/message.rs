use async_nats::HeaderMap;

pub(super) use crate::broker::nats::Delivered;
use crate::broker::nats::headers;
use crate::source::Message;

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
