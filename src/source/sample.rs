use std::sync::Arc;

use bytes::Bytes;

use super::{Intake, Message, Namespace};
use crate::domain::{Event, Generation, Lease, Moment, SourceId, SubjectPattern};
use crate::plan::{Broker, NatsMode, Plan, Source, Topic};

/// A message that is on no broker, to see what would become of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample<'a> {
    /// Its value.
    pub body: &'a [u8],
    /// Its headers, in order.
    pub headers: &'a [(String, String)],
    /// Its key (Kafka).
    pub key: Option<&'a str>,
    /// The subject that it is published to (NATS); the source's first one if it is not said.
    pub subject: Option<&'a str>,
}

impl Sample<'_> {
    /// The event as it would be read at the start of the source's first topic, now.
    pub fn read(&self, plan: &Plan, source: &Source) -> Event {
        let index = plan.sources.iter().position(|known| known.name == source.name).unwrap_or_default();
        let (topic, namespace) = standing(source);
        let header = |(name, value): &(String, String)| (name.as_str().into(), Bytes::from(value.clone()));
        let message = Message {
            topic,
            partition: 0,
            position: 0,
            subject: self.subject.or(first_subject(source)),
            timestamp_ms: Some(Moment::now().wall_ms),
            key: self.key.map(str::as_bytes),
            value: Some(self.body),
            headers: self.headers.iter().map(header).collect(),
        };
        let intake = Intake::new(plan, source, SourceId(index as u16), namespace);
        intake.read(message, Generation(0), Arc::new(Lease::unlimited()))
    }
}

/// Where the event would stand: the topic, stream or subject, and what tells it apart there.
fn standing(source: &Source) -> (Arc<str>, Namespace) {
    let nowhere = || "sample".into();
    match &source.broker {
        Broker::Kafka(kafka) => {
            let topic = kafka.topics.first().map_or("", |(Topic::Name(name) | Topic::Regex(name))| name);
            (topic.into(), Namespace::Kafka { cluster: nowhere() })
        }
        Broker::Nats(nats) => match &nats.mode {
            NatsMode::JetStream(js) => {
                (js.stream.as_str().into(), Namespace::JetStream { created: nowhere() })
            }
            NatsMode::Core { .. } => (first_subject(source).unwrap_or_default().into(), Namespace::Nats),
        },
    }
}

fn first_subject(source: &Source) -> Option<&str> {
    source.nats()?.subjects.first().map(SubjectPattern::as_str)
}
