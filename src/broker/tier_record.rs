//! What a record in a retry tier says beside the message's value (DESIGN.md §4.4): one header,
//! `hookferry-retry`, with a JSON document. It holds the message's own key and headers too, because not every
//! broker can hold those of every other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::{BrokerLog, Failed, Failure, Kind, Move, Tier, Waiting};

/// The header that holds the document.
pub const HEADER: &str = "hookferry-retry";

/// The version that is written. A document of a later one is not read.
const VERSION: u32 = 1;

/// A delivery that waits, with the message that it is about.
#[derive(Debug, PartialEq)]
pub struct TierRecord {
    /// The source's name.
    pub source: Box<str>,
    /// What is to be known of the delivery.
    pub waiting: Waiting,
    /// The event's id.
    pub event_id: Box<str>,
    /// What kind of log the message stood in.
    pub log: BrokerLog,
    /// See [`Origin::namespace`](crate::domain::Origin::namespace).
    pub namespace: Box<str>,
    /// The topic (Kafka), the stream (JetStream) or the subject (core NATS).
    pub topic: Box<str>,
    /// The partition; 0 where the broker has none.
    pub partition: i32,
    /// Offset or sequence.
    pub position: i64,
    /// The subject that it was published to (NATS).
    pub subject: Option<Box<str>>,
    /// When the broker stored it, in milliseconds since 1970-01-01 UTC.
    pub stored_ms: i64,
    /// The message's key.
    pub key: Option<Bytes>,
    /// The message's headers, in their order.
    pub headers: Vec<(Box<str>, Bytes)>,
    /// The message has no value.
    pub tombstone: bool,
}

impl TierRecord {
    /// Of a delivery that is moved. `source` is the name of the event's source.
    pub fn new(source: &str, moved: &Move) -> TierRecord {
        let Move { event, waiting } = moved;
        let origin = &event.origin;
        TierRecord {
            source: source.into(),
            waiting: waiting.clone(),
            event_id: (&*event.id).into(),
            log: origin.log,
            namespace: (&*origin.namespace).into(),
            topic: (&*origin.topic).into(),
            partition: origin.partition,
            position: origin.position,
            subject: origin.subject.clone(),
            stored_ms: origin.stored_ms,
            key: origin.key.clone(),
            headers: event.headers.to_vec(),
            tombstone: event.kind == Kind::Tombstone,
        }
    }

    /// The value of [`HEADER`].
    pub fn encode(&self) -> String {
        let waiting = &self.waiting;
        let document = Document {
            v: VERSION,
            source: self.source.clone(),
            target: waiting.target.clone(),
            routes: waiting.routes.clone(),
            tier: waiting.tier.name().into(),
            due: waiting.due_ms,
            not_before: waiting.not_before_ms,
            attempts: waiting.attempts,
            first: waiting.first_ms,
            moves: waiting.moves,
            idle_moves: waiting.idle_moves,
            priority: waiting.priority,
            failure: waiting.failure.as_ref().map(Failures::of),
            event: Message {
                id: self.event_id.clone(),
                log: log_name(self.log).into(),
                namespace: self.namespace.clone(),
                topic: self.topic.clone(),
                partition: self.partition,
                position: self.position,
                subject: self.subject.clone(),
                stored: self.stored_ms,
                key: self.key.as_ref().map(Text::of),
                headers: self.headers.iter().map(|(name, value)| (name.clone(), Text::of(value))).collect(),
                tombstone: self.tombstone,
            },
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// Reads the value of [`HEADER`].
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn decode(text: &[u8]) -> Result<TierRecord, String> {
        let version: Version =
            serde_json::from_slice(text).map_err(|error| format!("`{HEADER}` can't be read: {error}"))?;
        if version.v != VERSION {
            return Err(format!(
                "`{HEADER}` has version {}, and this program reads version {VERSION}; it was written by a later one",
                version.v
            ));
        }
        let document: Document =
            serde_json::from_slice(text).map_err(|error| format!("`{HEADER}` can't be read: {error}"))?;
        document.record()
    }
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Document {
    v: u32,
    source: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<Box<str>>,
    routes: Vec<Box<str>>,
    tier: Box<str>,
    due: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<i64>,
    attempts: u32,
    first: i64,
    moves: u32,
    idle_moves: u32,
    #[serde(default)]
    priority: i16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Failures>,
    event: Message,
}

#[derive(Serialize, Deserialize)]
struct Message {
    id: Box<str>,
    log: Box<str>,
    namespace: Box<str>,
    topic: Box<str>,
    partition: i32,
    position: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Box<str>>,
    stored: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Text>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(Box<str>, Text)>,
    #[serde(default)]
    tombstone: bool,
}

#[derive(Serialize, Deserialize)]
struct Failures {
    first: i64,
    last: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    history: Vec<(i64, Box<str>)>,
}

impl Failures {
    fn of(failure: &Failure) -> Failures {
        Failures {
            first: failure.first_ms,
            last: failure.last_ms,
            status: failure.last_status,
            error: failure.last_error.clone(),
            history: failure.history.iter().map(|failed| (failed.at_ms, failed.result.clone())).collect(),
        }
    }
}

/// Bytes, as text where they are text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(Box<str>),
    Bytes { base64: Box<str> },
}

impl Text {
    fn of(bytes: &Bytes) -> Text {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Plain(text.into()),
            Err(_) => Text::Bytes { base64: BASE64.encode(bytes).into() },
        }
    }

    fn bytes(self) -> Result<Bytes, String> {
        match self {
            Text::Plain(text) => Ok(Bytes::from(String::from(text))),
            Text::Bytes { base64 } => BASE64
                .decode(base64.as_bytes())
                .map(Bytes::from)
                .map_err(|error| format!("`{HEADER}` can't be read: {error}")),
        }
    }
}

impl Document {
    fn record(self) -> Result<TierRecord, String> {
        let Document { event, .. } = self;
        let headers: Result<Vec<_>, String> =
            event.headers.into_iter().map(|(name, value)| Ok((name, value.bytes()?))).collect();
        let failure = self.failure.map(|failure| Failure {
            first_ms: failure.first,
            last_ms: failure.last,
            last_status: failure.status,
            last_error: failure.error,
            history: (failure.history.into_iter()).map(|(at_ms, result)| Failed { at_ms, result }).collect(),
        });
        Ok(TierRecord {
            source: self.source,
            waiting: Waiting {
                target: self.target,
                routes: self.routes,
                tier: Tier::named(&self.tier)
                    .ok_or_else(|| format!("`{HEADER}` names no tier: `{}`", self.tier))?,
                due_ms: self.due,
                not_before_ms: self.not_before,
                attempts: self.attempts,
                first_ms: self.first,
                moves: self.moves,
                idle_moves: self.idle_moves,
                priority: self.priority,
                failure,
            },
            event_id: event.id,
            log: log_named(&event.log).ok_or_else(|| format!("`{HEADER}` names no log: `{}`", event.log))?,
            namespace: event.namespace,
            topic: event.topic,
            partition: event.partition,
            position: event.position,
            subject: event.subject,
            stored_ms: event.stored,
            key: event.key.map(Text::bytes).transpose()?,
            headers: headers?,
            tombstone: event.tombstone,
        })
    }
}

const LOGS: [(BrokerLog, &str); 3] =
    [(BrokerLog::Kafka, "kafka"), (BrokerLog::JetStream, "jetstream"), (BrokerLog::Nats, "nats")];

fn log_name(log: BrokerLog) -> &'static str {
    LOGS.iter().find(|(own, _)| *own == log).map_or("", |(_, name)| name)
}

fn log_named(name: &str) -> Option<BrokerLog> {
    LOGS.iter().find(|(_, own)| *own == name).map(|(log, _)| *log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> TierRecord {
        TierRecord {
            source: "orders".into(),
            waiting: Waiting {
                target: Some("crm".into()),
                routes: vec!["billing".into()],
                tier: Tier::FIVE_MINUTES,
                due_ms: 1_700_000_300_000,
                not_before_ms: Some(1_700_009_000_000),
                attempts: 2,
                first_ms: 1_700_000_000_000,
                moves: 3,
                idle_moves: 1,
                priority: -5,
                failure: Some(Failure {
                    first_ms: 1,
                    last_ms: 2,
                    last_status: Some(503),
                    last_error: None,
                    history: vec![Failed { at_ms: 1, result: "timeout".into() }],
                }),
            },
            event_id: "e-1".into(),
            log: BrokerLog::JetStream,
            namespace: "1700".into(),
            topic: "AUDIT".into(),
            partition: 0,
            position: 7,
            subject: Some("audit.x".into()),
            stored_ms: 5,
            key: Some(Bytes::from_static(b"\xff\x00")),
            headers: vec![
                ("a".into(), Bytes::from_static(b"b\r\n")),
                ("c".into(), Bytes::from_static(b"\xfe")),
            ],
            tombstone: true,
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let written = record();
        let read = TierRecord::decode(written.encode().as_bytes());
        assert_eq!(read, Ok(record()));
    }

    /// Headers of HTTP's kind can hold it: there is no line break in it, whatever the message held.
    #[test]
    fn it_is_one_line() {
        assert!(!record().encode().contains(['\r', '\n']));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let later = record().encode().replacen("\"v\":1", "\"v\":2", 1);
        let fault = TierRecord::decode(later.as_bytes()).expect_err("a later version");
        assert!(fault.contains("has version 2"), "{fault}");
        assert!(TierRecord::decode(b"{").is_err());
        let other = record().encode().replacen("\"5m\"", "\"7m\"", 1);
        assert!(TierRecord::decode(other.as_bytes()).expect_err("no tier").contains("7m"));
    }
}
