//! `sources`.

use std::time::Duration;

use jiff::Timestamp;

use super::kafka::{Kafka, kafka};
use super::nats::{Nats, nats};
use super::places::{EventParts, event_parts};
use super::units;
use super::walk::{Item, did_you_mean};
use crate::domain::{Place, SourceId};

/// One of `sources`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// `kafka` or `nats`: where it reads.
    pub broker: Broker,
    /// The source whose broker keeps its dead letters; itself, unless `store` or `dead_letters.on`
    /// says otherwise.
    pub store: SourceId,
    /// What a message without a value does.
    pub tombstones: Tombstones,
    /// Where the parts of an event are.
    pub event: EventParts,
}

/// The broker of a source.
#[derive(Debug, Clone)]
pub enum Broker {
    /// `sources.NAME.kafka`.
    Kafka(Kafka),
    /// `sources.NAME.nats`.
    Nats(Nats),
}

impl Source {
    /// Its settings, if it reads from Kafka.
    pub fn kafka(&self) -> Option<&Kafka> {
        match &self.broker {
            Broker::Kafka(kafka) => Some(kafka),
            Broker::Nats(_) => None,
        }
    }

    /// Its settings, if it reads from NATS.
    pub fn nats(&self) -> Option<&Nats> {
        match &self.broker {
            Broker::Nats(nats) => Some(nats),
            Broker::Kafka(_) => None,
        }
    }
}

/// `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Only what comes from now on.
    Latest,
    /// Everything that the broker still has.
    Earliest,
    /// What came in at most so long ago.
    Ago(Duration),
    /// What came in since this time, in milliseconds since 1970-01-01 UTC.
    At(i64),
}

/// `tombstones`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstones {
    /// Acknowledge and count.
    Ignore,
    /// Deliver as an empty body.
    Deliver,
    /// Write to the dead letters.
    DeadLetter,
}

/// Reads source number `id` of those with these names; its layers are all laid. `store` is where its
/// dead letters are if it does not say so itself.
pub(super) fn source(item: &Item<'_>, id: SourceId, names: &[String], store: Option<SourceId>) -> Source {
    let name = names.get(usize::from(id.0)).cloned().unwrap_or_default();
    let mut keys = item.keys();
    let broker = match (keys.get("kafka"), keys.get("nats")) {
        (Some(_), Some(nats)) => {
            nats.fault("a source reads from one broker; write two sources, or remove `kafka` or `nats`");
            None
        }
        (Some(item), None) => Some(Broker::Kafka(kafka(&item))),
        (None, Some(item)) => Some(Broker::Nats(nats(&item))),
        (None, None) => {
            keys.missing(
                "kafka",
                "write `kafka: { brokers: …, topics: […] }`, or `nats: { servers: …, subjects: […] }`",
            );
            None
        }
    };
    let choices = [
        ("ignore", Tombstones::Ignore),
        ("deliver", Tombstones::Deliver),
        ("dead_letter", Tombstones::DeadLetter),
    ];
    let tombstones = keys.get("tombstones").map_or(Tombstones::Ignore, |item| item.choice(&choices));
    let parts = keys.get("event");
    let event = parts.as_ref().map_or_else(EventParts::default, event_parts);
    if let (Some(Broker::Kafka(_)), Some(item)) = (&broker, parts)
        && event.places().any(|place| matches!(place, Place::Subject { .. }))
    {
        item.fault(
            "`subject:` is for NATS; a Kafka message has no subject. Write `topic`, `key` or `header:NAME`",
        );
    }
    let store = keys.get("store").and_then(|item| named_source(&item, names)).or(store);
    keys.done();
    Source { name, broker: broker.unwrap_or_else(unread), store: store.unwrap_or(id), tombstones, event }
}

/// Stands for a broker with a fault.
fn unread() -> Broker {
    Broker::Kafka(Kafka {
        brokers: String::new(),
        topics: Vec::new(),
        group: String::new(),
        start: Start::Latest,
        properties: Vec::new(),
    })
}

/// The source that a value names.
pub(super) fn named_source(item: &Item<'_>, names: &[String]) -> Option<SourceId> {
    item.parse(None, |text| match names.iter().position(|name| name == text) {
        Some(index) => Ok(u16::try_from(index).ok().map(SourceId)),
        None => {
            let hint = did_you_mean(text, names.iter().map(String::as_str));
            Err(format!("there is no source {}{hint}", item.quoted()))
        }
    })
}

/// `start`: where a group or durable that is new begins.
pub(super) fn start(item: &Item<'_>) -> Start {
    let quoted = item.quoted();
    item.parse(Start::Latest, |text| match (text, units::duration(text), text.parse::<Timestamp>()) {
        ("latest", ..) => Ok(Start::Latest),
        ("earliest", ..) => Ok(Start::Earliest),
        (_, Some(Duration::ZERO), _) => Ok(Start::Latest),
        (_, Some(ago), _) => Ok(Start::Ago(ago)),
        (_, _, Ok(time)) => Ok(Start::At(time.as_millisecond())),
        _ => Err(format!(
            "{quoted} is not possible here; write `latest`, `earliest`, a duration such as `2h`, or a time such \
             as `2026-01-31T12:00:00Z`"
        )),
    })
}
