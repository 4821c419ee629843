//! A dead letter as it is read again: what its headers say, and what of it can be redriven.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::record::{MORE_ROUTES, PREFIX, is_ours};
use crate::broker::tier_record::TierRecord;
use crate::domain::{BrokerLog, DeadLetterReason, Failed, Failure, Tier, Waiting};

/// Where a dead letter stands: `topic/partition/offset` on Kafka, `stream/sequence` on JetStream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LetterPosition {
    /// The topic or the stream.
    pub place: Arc<str>,
    /// The partition; `None` on JetStream.
    pub partition: Option<i32>,
    /// Offset or sequence.
    pub number: i64,
}

impl fmt::Display for LetterPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.partition {
            Some(partition) => write!(f, "{}/{partition}/{}", self.place, self.number),
            None => write!(f, "{}/{}", self.place, self.number),
        }
    }
}

impl FromStr for LetterPosition {
    type Err = String;

    fn from_str(text: &str) -> Result<LetterPosition, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let read = match *parts.as_slice() {
            [place, number] => number.parse().ok().map(|number| (place, None, number)),
            [place, partition, number] => {
                partition.parse().ok().zip(number.parse().ok()).map(|(p, number)| (place, Some(p), number))
            }
            _ => None,
        };
        let (place, partition, number) = read.filter(|(place, ..)| !place.is_empty()).ok_or(
            "a position is written as `list` shows it: TOPIC/PARTITION/OFFSET (Kafka) or STREAM/SEQUENCE \
             (JetStream)",
        )?;
        Ok(LetterPosition { place: place.into(), partition, number })
    }
}

/// What is kept of the value of a dead letter's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterValue {
    /// All of it; empty where only headers were asked for.
    Kept(Bytes),
    /// The message had none.
    Absent,
    /// It was left out for its size.
    Omitted,
}

/// What was done about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterState {
    /// Nothing yet.
    Pending,
    /// It was handed to the running replicas again.
    Redriven,
    /// It was given up.
    Purged,
}

impl LetterState {
    /// The text in records and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            LetterState::Pending => "pending",
            LetterState::Redriven => "redriven",
            LetterState::Purged => "purged",
        }
    }
}

/// A record or message of the dead letters, as it came from its broker.
#[derive(Debug)]
pub(super) struct RawLetter {
    pub(super) position: LetterPosition,
    /// When the broker stored it, in milliseconds since 1970-01-01 UTC.
    pub(super) written_ms: i64,
    pub(super) key: Option<Bytes>,
    pub(super) headers: Box<[(Box<str>, Bytes)]>,
    pub(super) value: Option<Bytes>,
}

/// A dead letter that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetterRecord {
    /// Where it stands.
    pub position: LetterPosition,
    /// When it was written, in milliseconds since 1970-01-01 UTC.
    pub written_ms: i64,
    /// What was done about it.
    pub state: LetterState,
    /// The name of the event's source; `None` if nothing tells it.
    pub source: Option<Box<str>>,
    /// The event's id.
    pub event_id: Box<str>,
    /// Its type.
    pub event_type: Option<Box<str>>,
    /// The target's name; `None` for an event's own dead letter.
    pub target: Option<Box<str>>,
    /// The names of its routes.
    pub routes: Vec<Box<str>>,
    /// There were more routes than could be named.
    pub more_routes: bool,
    /// Why it is there.
    pub reason: Box<str>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The failed attempts, if there were any.
    pub failure: Option<Failure>,
    /// What went wrong, for people.
    pub last_error: Option<Box<str>>,
    /// Where the message was: `kafka:topic/partition/offset` and the like.
    pub origin: Box<str>,
    /// See [`Origin::namespace`](crate::domain::Origin::namespace).
    pub namespace: Box<str>,
    /// The subject that the message was published to (NATS).
    pub subject: Option<Box<str>>,
    /// When the broker stored the message, in milliseconds since 1970-01-01 UTC.
    pub stored_ms: Option<i64>,
    /// The message's key.
    pub key: Option<Bytes>,
    /// The message's own headers.
    pub headers: Vec<(Box<str>, Bytes)>,
    /// `omitted` or `partial`, where not all of the message's headers are kept.
    pub headers_kept: Option<Box<str>>,
    /// The message's value.
    pub value: LetterValue,
}

/// A dead letter on its way back: a record for the retry tier [`Tier::NOW`], and whose it is.
#[derive(Debug)]
pub struct Redrive {
    /// The dead letter.
    pub position: LetterPosition,
    /// When it was written; tells it from another one that has its position later.
    pub written_ms: i64,
    /// What the tier's record says.
    pub record: TierRecord,
    /// Its value.
    pub value: Option<Bytes>,
}

impl DeadLetterRecord {
    /// Reads a record; `None` if it was not written by hookferry. `only_source` is the source's name where
    /// no other has its dead letters there.
    pub(super) fn decode(raw: RawLetter, only_source: Option<&str>) -> Option<DeadLetterRecord> {
        let RawLetter { position, written_ms, key, headers, value } = raw;
        let said = Said(&headers);
        let reason = said.text("reason")?;
        let event_id = said.text("event-id")?;
        let value = match said.text("value").as_deref() {
            Some("omitted") => LetterValue::Omitted,
            Some("none") => LetterValue::Absent,
            // Earlier versions did not say it.
            _ if value.as_ref().is_none_or(Bytes::is_empty)
                && *reason == *DeadLetterReason::Tombstone.as_str() =>
            {
                LetterValue::Absent
            }
            _ => value.map_or(LetterValue::Absent, LetterValue::Kept),
        };
        let routes = said.text("route");
        let routes = routes.iter().flat_map(|routes| routes.split(','));
        let failure = said.time("first-failure").zip(said.time("last-failure"));
        let failure = failure.map(|(first_ms, last_ms)| Failure {
            first_ms,
            last_ms,
            last_status: said.text("last-status").and_then(|status| status.parse().ok()),
            last_error: said.text("last-error"),
            history: said.text("history").map(|history| failed_attempts(&history)).unwrap_or_default(),
        });
        Some(DeadLetterRecord {
            position,
            written_ms,
            state: LetterState::Pending,
            source: said.text("source").or(only_source.map(Into::into)),
            event_id,
            event_type: said.text("event-type"),
            target: said.text("target"),
            more_routes: routes.clone().any(|route| route == MORE_ROUTES),
            routes: routes.filter(|route| *route != MORE_ROUTES).map(Into::into).collect(),
            reason,
            attempts: said.text("attempts").and_then(|attempts| attempts.parse().ok()).unwrap_or(0),
            last_error: said.text("last-error"),
            failure,
            origin: said.text("origin").unwrap_or_default(),
            namespace: said.text("namespace").unwrap_or_default(),
            subject: said.text("subject"),
            stored_ms: said.time("stored"),
            // On NATS a key has no place of its own.
            key: key.or_else(|| said.bytes("key").cloned()),
            headers_kept: said.text("headers"),
            headers: headers.iter().filter(|(name, _)| !is_ours(name)).cloned().collect(),
            value,
        })
    }

    /// What redrives it: a delivery to its target alone, or, for an event's own dead letter, to whatever its
    /// routes say now. It starts with all of its attempts; id, origin and history stay.
    ///
    /// # Errors
    /// Why it can't be redriven, for people.
    pub fn redrive(&self, now_ms: i64, priority: i16) -> Result<Redrive, String> {
        let value = match &self.value {
            LetterValue::Kept(value) => Some(value.clone()),
            LetterValue::Absent => None,
            LetterValue::Omitted => {
                return Err("its value was left out for its size; publish the event again".to_owned());
            }
        };
        let source = self.source.clone().ok_or("it does not say which source its event came from")?;
        if self.target.is_none() && (self.routes.is_empty() || self.more_routes) {
            return Err("it does not name all of its routes; publish the event again".to_owned());
        }
        let (log, topic, partition, position) =
            place(&self.origin).ok_or_else(|| format!("its origin `{}` can't be read", self.origin))?;
        let stored_ms = self.stored_ms.unwrap_or(self.written_ms);
        let waiting = Waiting {
            target: self.target.clone(),
            routes: self.routes.clone(),
            tier: Tier::NOW,
            due_ms: now_ms,
            not_before_ms: None,
            attempts: 0,
            // `retry.max_age` counts from here: it has all of it again. When it failed first stays in `failure`.
            first_ms: now_ms,
            moves: 0,
            idle_moves: 0,
            priority,
            failure: self.failure.clone(),
        };
        let record = TierRecord {
            source,
            waiting,
            event_id: self.event_id.clone(),
            log,
            namespace: self.namespace.clone(),
            topic: topic.into(),
            partition,
            position,
            subject: self.subject.clone(),
            stored_ms,
            key: self.key.clone(),
            headers: self.headers.clone(),
            tombstone: value.is_none(),
        };
        Ok(Redrive { position: self.position.clone(), written_ms: self.written_ms, record, value })
    }
}

/// The target's name in a dead letter's headers; `None` if they are of no dead letter.
pub(super) fn target_of(headers: &[(Box<str>, Bytes)]) -> Option<Option<Box<str>>> {
    let said = Said(headers);
    said.bytes("reason").map(|_| said.text("target"))
}

/// Our own headers.
struct Said<'a>(&'a [(Box<str>, Bytes)]);

impl<'a> Said<'a> {
    fn bytes(&self, name: &str) -> Option<&'a Bytes> {
        let own = |header: &str| is_ours(header) && header[PREFIX.len()..].eq_ignore_ascii_case(name);
        self.0.iter().find(|(header, _)| own(header)).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<Box<str>> {
        self.bytes(name).map(|value| String::from_utf8_lossy(value).into())
    }

    fn time(&self, name: &str) -> Option<i64> {
        unix_ms(&self.text(name)?)
    }
}

fn unix_ms(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

fn failed_attempts(history: &str) -> Vec<Failed> {
    let entries = history.split(", ").filter_map(|entry| entry.split_once(' '));
    entries
        .filter_map(|(time, result)| Some(Failed { at_ms: unix_ms(time)?, result: result.into() }))
        .collect()
}

/// Reads what [`Origin`](crate::domain::Origin) writes.
fn place(origin: &str) -> Option<(BrokerLog, &str, i32, i64)> {
    let (log, place) = origin.split_once(':')?;
    match log {
        "kafka" => {
            let (rest, offset) = place.rsplit_once('/')?;
            let (topic, partition) = rest.rsplit_once('/')?;
            Some((BrokerLog::Kafka, topic, partition.parse().ok()?, offset.parse().ok()?))
        }
        "jetstream" => {
            let (stream, sequence) = place.rsplit_once('/')?;
            Some((BrokerLog::JetStream, stream, 0, sequence.parse().ok()?))
        }
        "nats" => Some((BrokerLog::Nats, place, 0, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(headers: &[(&str, &str)], value: Option<&'static str>) -> RawLetter {
        let header = |(name, value): &(&str, &str)| ((*name).into(), Bytes::from((*value).to_owned()));
        RawLetter {
            position: "x.dlq/1/7".parse().expect("a position"),
            written_ms: 9_000,
            key: None,
            headers: headers.iter().map(header).collect(),
            value: value.map(Bytes::from),
        }
    }

    const LETTER: [(&str, &str); 16] = [
        ("trace", "t"),
        ("hookferry-event-id", "e-1"),
        ("hookferry-event-type", "a.b"),
        ("hookferry-target", "crm"),
        ("hookferry-route", "billing,audit"),
        ("hookferry-reason", "exhausted"),
        ("hookferry-attempts", "8"),
        ("hookferry-first-failure", "1970-01-01T00:00:00Z"),
        ("hookferry-last-failure", "1970-01-01T00:00:01.5Z"),
        ("hookferry-last-status", "503"),
        ("hookferry-history", "1970-01-01T00:00:00Z timeout, 1970-01-01T00:00:01.5Z 503"),
        ("hookferry-source", "orders"),
        ("hookferry-origin", "kafka:ev.ents/1/7"),
        ("hookferry-namespace", "c"),
        ("hookferry-stored", "1970-01-01T00:00:00.25Z"),
        ("hookferry-key", "k"),
    ];

    fn letter() -> DeadLetterRecord {
        DeadLetterRecord::decode(raw(&LETTER, Some("{}")), None).expect("a letter")
    }

    #[test]
    fn a_redrive_is_one_delivery_with_all_attempts_and_its_history() {
        let redrive = letter().redrive(10_000, 3).expect("it can be redriven");
        let TierRecord { source, waiting, event_id, headers, key, stored_ms, .. } = redrive.record;
        assert_eq!((&*source, &*event_id, stored_ms), ("orders", "e-1", 250));
        assert_eq!((waiting.target.as_deref(), &*waiting.routes[0]), (Some("crm"), "billing"));
        assert_eq!((waiting.attempts, waiting.due_ms, waiting.tier), (0, 10_000, Tier::NOW));
        assert_eq!((waiting.first_ms, waiting.priority), (10_000, 3), "max_age begins anew");
        let failure = waiting.failure.expect("its history");
        assert_eq!((failure.last_status, failure.last_ms), (Some(503), 1500));
        assert_eq!(failure.history[1], Failed { at_ms: 1500, result: "503".into() });
        assert_eq!(headers, [("trace".into(), Bytes::from_static(b"t"))]);
        assert_eq!((key.as_deref(), redrive.value.as_deref()), (Some(&b"k"[..]), Some(&b"{}"[..])));
    }

    #[test]
    fn an_event_is_redriven_through_all_of_its_routes_or_not() {
        let own = DeadLetterRecord { target: None, ..letter() };
        assert!(own.redrive(0, 0).is_ok_and(|redrive| redrive.record.waiting.target.is_none()));
        let cut = DeadLetterRecord { more_routes: true, ..own };
        assert!(cut.redrive(0, 0).expect_err("not exact").contains("routes"));
        assert!(DeadLetterRecord { more_routes: true, ..letter() }.redrive(0, 0).is_ok());
    }

    #[test]
    fn a_value_that_was_left_out_is_no_tombstone() {
        let with = |more: &[(&str, &str)], value| {
            let headers: Vec<_> = LETTER.iter().chain(more).copied().collect();
            DeadLetterRecord::decode(raw(&headers, value), None).expect("a letter")
        };
        let omitted = with(&[("hookferry-value", "omitted")], None);
        assert!(omitted.redrive(0, 0).expect_err("no value").contains("left out for its size"));
        let tombstone = with(&[("hookferry-value", "none")], Some(""));
        let redrive = tombstone.redrive(0, 0).expect("it can be redriven");
        assert!(redrive.record.tombstone && redrive.value.is_none());
        let empty = with(&[], Some("")).redrive(0, 0).expect("it can be redriven");
        assert!(!empty.record.tombstone && empty.value.is_some_and(|value| value.is_empty()));
    }

    #[test]
    fn what_earlier_versions_did_not_say_is_found_otherwise() {
        let early: Vec<_> = LETTER.iter().copied().filter(|(name, _)| *name != "hookferry-source").collect();
        let source = |only| DeadLetterRecord::decode(raw(&early, Some("")), only).expect("a letter").source;
        assert_eq!((source(Some("orders")).as_deref(), source(None)), (Some("orders"), None));
        assert!(DeadLetterRecord::decode(raw(&[("trace", "t")], Some("x")), None).is_none(), "not ours");
    }

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for text in ["x.dlq/1/7", "x-dlq/7"] {
            let position: LetterPosition = text.parse().expect("a position");
            assert_eq!(position.to_string(), text);
        }
        for text in ["7", "x/y/7", "/1/7", "a/b/c/7", "x/-"] {
            assert!(text.parse::<LetterPosition>().is_err(), "{text}");
        }
        assert_eq!(place("jetstream:AUDIT/42"), Some((BrokerLog::JetStream, "AUDIT", 0, 42)));
        assert_eq!(place("nats:a.b"), Some((BrokerLog::Nats, "a.b", 0, 0)));
    }
}
