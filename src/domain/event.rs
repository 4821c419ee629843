use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Field, Generation, Lease, SourceId};

/// What an event without a byte takes, with its place in the ledger.
const EVENT_COST: usize = 512;
/// What a header takes beside its name and value.
const HEADER_COST: usize = 64;

/// Priorities of routes and events go from minus this to this; higher first.
pub const HIGHEST_PRIORITY: i16 = 1000;

/// One message from a source, with the parts that were found in it. Immutable, and shared by all
/// deliveries that it causes. Its bytes are copied once at intake: a kept broker buffer would pin
/// the whole fetch that it came in.
#[derive(Debug)]
pub struct Event {
    /// The source that it came from.
    pub source: SourceId,
    /// Stable over retries, crashes and replays (DESIGN.md §4.2). Printable ASCII without `.`.
    pub id: Arc<str>,
    /// The event type, if one was found.
    pub event_type: Option<Arc<str>>,
    /// When it happened.
    pub time: EventTime,
    /// What it is about, if one was found.
    pub subject: Option<Box<str>>,
    /// The event's key (`event.key`), if one was found.
    pub key: Option<Box<str>>,
    /// The tenant that it belongs to (`event.tenant`), if one was found.
    pub tenant: Option<Arc<str>>,
    /// `event.priority`, if one was found; within [`HIGHEST_PRIORITY`].
    pub priority: Option<i16>,
    /// Who produced it: a URI-reference (`event.source`).
    pub producer: Arc<str>,
    /// What the message is, before any route looks at it.
    pub kind: Kind,
    /// The message's value. Empty for a tombstone, and for an oversized message.
    pub body: Bytes,
    /// Whether the body is a JSON document.
    pub content: Content,
    /// What payload presets call `data`.
    pub data: Data,
    /// The message's own headers, in their order.
    pub headers: Box<[(Box<str>, Bytes)]>,
    /// The values that routes look at, one for each of [`Plan::fields`](crate::plan::Plan::fields);
    /// `None` where the event has no such value.
    pub fields: Box<[Option<Field>]>,
    /// Where it stands in the broker.
    pub origin: Origin,
    /// The assignment under which it was read.
    pub generation: Generation,
    /// Checked before each request starts.
    pub lease: Arc<Lease>,
}

impl Event {
    /// What this event counts against the window, in bytes: about the memory that it takes. Body,
    /// key, headers and the texts that were copied out of them, and what each costs beside its text.
    pub fn weight(&self) -> u64 {
        let headers: usize =
            self.headers.iter().map(|(name, value)| HEADER_COST + name.len() + value.len()).sum();
        let key = self.origin.key.as_ref().map_or(0, Bytes::len);
        let texts = [
            self.event_type.as_deref(),
            self.subject.as_deref(),
            self.key.as_deref(),
            self.tenant.as_deref(),
        ];
        let texts: usize = texts.iter().flatten().map(|text| text.len()).sum();
        let data = if let Data::Text(text) = &self.data { text.len() } else { 0 };
        let fields: usize = self.fields.iter().flatten().map(Field::weight).sum();
        (EVENT_COST + self.body.len() + headers + key + texts + data + fields) as u64
    }
}

/// What a message is, before any route looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message with a value within `limits.max_event`.
    Regular,
    /// A message without a value.
    Tombstone,
    /// A message larger than `limits.max_event`; its value, of this many bytes, was not kept.
    Oversized(usize),
}

/// Whether the body is a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The whole body is valid JSON in valid UTF-8.
    Json,
    /// It is not; the text says why, with a hint where there is one.
    NotJson(Box<str>),
}

/// What payload presets call `data`: the value at the first present of `event.data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// The JSON text at this range of the body.
    Slice(Range<usize>),
    /// A JSON text that does not stand in the body (for example a header's value as JSON string).
    Text(Box<str>),
    /// The event has none.
    Absent,
}

/// When an event happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTime {
    /// Milliseconds since 1970-01-01 UTC.
    pub unix_ms: i64,
    /// RFC 3339, exactly as the event gave it, if it gave it in that form.
    pub text: Option<Box<str>>,
}

/// What keeps the messages that events are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BrokerLog {
    /// A partition of a Kafka topic.
    Kafka,
    /// A JetStream stream.
    JetStream,
    /// Nothing: core NATS hands a message over once.
    Nats,
}

/// Where an event stands in its broker, and what its broker knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What kind of log it stands in.
    pub log: BrokerLog,
    /// The topic (Kafka), the stream (JetStream) or the subject (core NATS).
    pub topic: Arc<str>,
    /// The partition; 0 where the broker has none.
    pub partition: i32,
    /// Offset (Kafka) or sequence (JetStream); core NATS: the number in this process.
    pub position: i64,
    /// The subject that it was published to; `None` on Kafka.
    pub subject: Option<Box<str>>,
    /// When the broker stored it, in milliseconds since 1970-01-01 UTC.
    pub stored_ms: i64,
    /// The message's key as it is on the broker.
    pub key: Option<Bytes>,
    /// What tells this log from others of the same name: the id that a Kafka cluster gives itself, when
    /// a JetStream stream was made; empty for core NATS.
    pub namespace: Arc<str>,
}

/// `kafka:topic/partition/offset`, `jetstream:stream/sequence` or `nats:subject`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { topic, partition, position, .. } = self;
        match self.log {
            BrokerLog::Kafka => write!(f, "kafka:{topic}/{partition}/{position}"),
            BrokerLog::JetStream => write!(f, "jetstream:{topic}/{position}"),
            BrokerLog::Nats => write!(f, "nats:{topic}"),
        }
    }
}

#[cfg(test)]
impl Origin {
    /// A place on Kafka.
    pub(crate) fn kafka(topic: &str, position: i64) -> Origin {
        let topic = topic.into();
        let log = BrokerLog::Kafka;
        Origin {
            log,
            topic,
            partition: 0,
            position,
            subject: None,
            stored_ms: 0,
            key: None,
            namespace: "".into(),
        }
    }
}
