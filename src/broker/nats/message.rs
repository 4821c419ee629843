use async_nats::HeaderMap;
use bytes::Bytes;

/// What JetStream says of a message that it delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// Its sequence in the stream.
    pub(crate) sequence: u64,
    /// How often it was delivered, this time included.
    pub(crate) times: u64,
    /// When the stream stored it, in milliseconds since 1970.
    pub(crate) stored_ms: i64,
    /// How many messages waited behind it for the durable then.
    pub(crate) pending: u64,
}

impl Delivered {
    /// Reads the subject for the acknowledgement of a message (ADR-15): `$JS.ACK`, from servers of
    /// today domain and account, then stream, consumer, deliveries, stream sequence, consumer
    /// sequence, time in nanoseconds, and what is pending.
    pub(crate) fn of(reply: &str) -> Option<Delivered> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let first = match tokens.len() {
            7 => 2,
            9.. => 4,
            _ => return None,
        };
        let number = |index: usize| tokens.get(first + index)?.parse::<u64>().ok();
        let stored_ms = i64::try_from(number(3)? / 1_000_000).ok()?;
        Some(Delivered { times: number(0)?, sequence: number(1)?, stored_ms, pending: number(4)? })
    }
}

/// By name, so that they have an order; values of one name in theirs.
pub(crate) fn headers(map: &HeaderMap) -> Box<[(Box<str>, Bytes)]> {
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

    #[test]
    fn both_forms_of_the_subject_for_acknowledgements_are_read() {
        let wanted = Some(Delivered { sequence: 42, times: 2, stored_ms: 1_700_000_000_123, pending: 7 });
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
}
