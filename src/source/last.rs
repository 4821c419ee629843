//! The last messages of a source, for whoever wants to see what would become of them: read without its
//! group or durable, and without a trace on the broker.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Message, kafka, nats};
use crate::plan::{Broker, NatsMode, Plan, Source};

/// How long a broker may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A message that was read.
#[derive(Debug, Clone)]
pub struct LastMessage {
    /// Its topic (Kafka) or stream (JetStream).
    pub topic: Arc<str>,
    /// Its partition; 0 where there are none.
    pub partition: i32,
    /// Its offset or sequence.
    pub position: i64,
    /// When it was stored, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: Option<i64>,
    /// The subject that it was published to (NATS).
    pub subject: Option<Box<str>>,
    /// Its key (Kafka).
    pub key: Option<Bytes>,
    /// Its value; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Box<[(Box<str>, Bytes)]>,
}

impl LastMessage {
    pub(super) fn of(message: Message<'_>) -> LastMessage {
        LastMessage {
            topic: message.topic,
            partition: message.partition,
            position: message.position,
            timestamp_ms: message.timestamp_ms,
            subject: message.subject.map(Box::from),
            key: message.key.map(Bytes::copy_from_slice),
            value: message.value.map(Bytes::copy_from_slice),
            headers: message.headers,
        }
    }

    /// As an intake wants it.
    pub fn message(&self) -> Message<'_> {
        Message {
            topic: self.topic.clone(),
            partition: self.partition,
            position: self.position,
            timestamp_ms: self.timestamp_ms,
            subject: self.subject.as_deref(),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: self.headers.clone(),
        }
    }
}

/// The last `count` messages that a source of the plan would read, the oldest first. On Kafka the last
/// ones of all its partitions together, by their time.
///
/// # Errors
/// The broker does not answer, or keeps no messages (core NATS); for people.
pub fn last_messages(plan: &Plan, source: &Source, count: usize) -> Result<Vec<LastMessage>, String> {
    let mut messages = match &source.broker {
        Broker::Kafka(settings) => kafka::last_messages(plan, source, settings, count)?,
        Broker::Nats(settings) => match &settings.mode {
            NatsMode::JetStream(stream) => nats::last_messages(plan, source, settings, stream, count)?,
            NatsMode::Core { .. } => {
                return Err("core NATS keeps no messages that could be looked at".to_owned());
            }
        },
    };
    messages.sort_by_key(|message| message.timestamp_ms);
    messages.drain(..messages.len().saturating_sub(count));
    Ok(messages)
}
