use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::event_id::{self, Part};
use super::event_time;
use super::looks::{Compiler, Look, Profile};
use super::words::Words;
use crate::domain::{
    BrokerLog, Content, Data, Envelope, Event, EventTime, Field, Generation, HIGHEST_PRIORITY, Kind, Lease,
    Origin, SourceId, header_text,
};
use crate::json::{self, Selection};
use crate::plan::Plan;

/// Turns a source's messages into events: finds the parts of each event and the fields that routes
/// look at. Compiled once for a source; pure.
///
/// Each part is the first that is present in its list of places. Of several headers with one name
/// the last counts, as Kafka's own clients have it; a header counts if it is not empty and UTF-8, a
/// JSON string, number or boolean if it is not empty text. CloudEvents are recognised by their
/// content type (structured) or by `ce_specversion` (binary), and then the envelope supplies every
/// part that the configuration does not set (DESIGN.md §4.9).
#[derive(Debug)]
pub struct Intake {
    source: SourceId,
    namespace: Namespace,
    namespace_text: Arc<str>,
    /// `/<source name>`: the producer where nothing else says it.
    producer: Arc<str>,
    max_event: usize,
    body: Selection,
    data: Selection,
    /// Event types and producers, which come again and again.
    words: Words,
    plain: Profile,
    structured: Profile,
    binary: Profile,
}

/// What the messages of a source are told apart by, beside their place: their ids are made with it
/// where events bring none of their own (DESIGN.md §4.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// The id that a Kafka cluster gives itself.
    Kafka {
        /// It.
        cluster: Box<str>,
    },
    /// A JetStream stream. Sequences begin anew in a stream that was made anew.
    JetStream {
        /// When it was made: nanoseconds since 1970, as text.
        created: Box<str>,
    },
    /// Core NATS: a message has no place, comes once, and gets an id by chance.
    Nats,
}

impl Namespace {
    /// As it stands in [`Origin::namespace`].
    fn text(&self) -> &str {
        match self {
            Namespace::Kafka { cluster } => cluster,
            Namespace::JetStream { created } => created,
            Namespace::Nats => "",
        }
    }

    fn log(&self) -> BrokerLog {
        match self {
            Namespace::Kafka { .. } => BrokerLog::Kafka,
            Namespace::JetStream { .. } => BrokerLog::JetStream,
            Namespace::Nats => BrokerLog::Nats,
        }
    }
}

/// One message as it is on the broker.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its topic (Kafka), stream (JetStream) or subject (core NATS).
    pub topic: Arc<str>,
    /// Its partition; 0 where there are none.
    pub partition: i32,
    /// Its offset (Kafka) or sequence (JetStream).
    pub position: i64,
    /// Its timestamp in milliseconds since 1970-01-01 UTC; `None` from brokers that record none.
    pub timestamp_ms: Option<i64>,
    /// The subject that it was published to (NATS).
    pub subject: Option<&'a str>,
    /// Its key (Kafka).
    pub key: Option<&'a [u8]>,
    /// Its value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, in their order. A header without a value has an empty one.
    pub headers: Box<[(Box<str>, Bytes)]>,
}

impl Intake {
    /// Prepares the intake of one source of the plan, whose messages stand in `namespace`.
    pub fn new(plan: &Plan, source: &crate::plan::Source, id: SourceId, namespace: Namespace) -> Intake {
        let mut compiler = Compiler::default();
        let plain = compiler.plain(&source.event, &plan.fields);
        let structured = compiler.structured(&source.event, &plan.fields);
        let binary = compiler.binary(&source.event, &plan.fields);
        Intake {
            source: id,
            namespace_text: namespace.text().into(),
            namespace,
            producer: format!("/{}", source.name).into(),
            max_event: plan.limits.max_event,
            body: Selection::new(compiler.body_paths()),
            data: Selection::new(compiler.data_paths()),
            words: Words::default(),
            plain,
            structured,
            binary,
        }
    }

    /// The same by another plan.
    pub(super) fn adopt(&mut self, plan: &Plan) {
        if let Some(source) = plan.sources.get(usize::from(self.source.0)) {
            *self = Intake::new(plan, source, self.source, self.namespace.clone());
        }
    }

    /// Looks once more into an event, for fields that were not looked at when it was read.
    pub fn find_fields(&self, event: &mut Event) {
        let message = Message {
            topic: event.origin.topic.clone(),
            partition: event.origin.partition,
            position: event.origin.position,
            // 0 stands for a broker that records none.
            timestamp_ms: Some(event.origin.stored_ms).filter(|stored_ms| *stored_ms != 0),
            subject: event.origin.subject.as_deref(),
            key: event.origin.key.as_deref(),
            value: (event.kind == Kind::Regular).then_some(&*event.body),
            headers: event.headers.clone(),
        };
        event.fields = self.read(message, event.generation, event.lease.clone()).fields;
    }

    /// Without `limits.max_event`: for messages that were accepted once, whatever the limit is now.
    pub fn without_limit(self) -> Intake {
        Intake { max_event: usize::MAX, ..self }
    }

    /// Reads one message that came under `generation` and `lease`. The value's bytes are copied
    /// once, and its JSON is read once.
    pub fn read(&self, message: Message<'_>, generation: Generation, lease: Arc<Lease>) -> Event {
        let (kind, value) = match message.value {
            None => (Kind::Tombstone, None),
            Some(value) if value.len() > self.max_event => (Kind::Oversized(value.len()), None),
            Some(value) => (Kind::Regular, Some(value)),
        };
        let mut found = Vec::new();
        let content = match value {
            None => Content::NotJson("the message's value is not there to be read".into()),
            Some(value) => match json::read(value, &self.body, &mut found) {
                Ok(()) => Content::Json,
                Err(fault) => {
                    found.clear();
                    Content::NotJson(fault.to_string().into())
                }
            },
        };
        let profile = self.profile(&message.headers);
        let mut reading = Reading {
            intake: self,
            message: &message,
            body: value.unwrap_or_default(),
            found,
            data: Data::Absent,
            data_place: 0,
        };
        reading.choose_data(profile);
        let parts = reading.parts(profile);
        let data = reading.data;

        Event {
            source: self.source,
            id: parts.id,
            event_type: parts.event_type,
            time: parts.time,
            subject: parts.subject,
            key: parts.key,
            priority: parts.priority,
            tenant: parts.tenant,
            producer: parts.producer,
            kind,
            body: value.map_or_else(Bytes::new, Bytes::copy_from_slice),
            content,
            data,
            fields: parts.fields,
            origin: Origin {
                log: self.namespace.log(),
                topic: message.topic,
                partition: message.partition,
                position: message.position,
                subject: message.subject.map(Box::from),
                stored_ms: message.timestamp_ms.unwrap_or_default(),
                key: message.key.map(Bytes::copy_from_slice),
                namespace: self.namespace_text.clone(),
            },
            headers: message.headers,
            generation,
            lease,
        }
    }

    fn profile(&self, headers: &[(Box<str>, Bytes)]) -> &Profile {
        match Envelope::of(headers) {
            Envelope::None => &self.plain,
            Envelope::Structured => &self.structured,
            Envelope::Binary => &self.binary,
        }
    }

    /// DESIGN.md §4.2.
    fn origin_id(&self, message: &Message<'_>) -> Arc<str> {
        let topic = Part::Text(&message.topic);
        match &self.namespace {
            Namespace::Kafka { cluster } => event_id::hashed([
                Part::Text(cluster),
                topic,
                Part::Number(message.partition.into()),
                Part::Number(message.position),
                Part::Number(message.timestamp_ms.unwrap_or(-1)),
            ]),
            Namespace::JetStream { created } => {
                event_id::hashed([topic, Part::Text(created), Part::Number(message.position)])
            }
            Namespace::Nats => event_id::by_chance(),
        }
    }
}

/// What was found in one message, without what is taken over as it is.
struct Parts {
    id: Arc<str>,
    event_type: Option<Arc<str>>,
    time: EventTime,
    subject: Option<Box<str>>,
    key: Option<Box<str>>,
    priority: Option<i16>,
    tenant: Option<Arc<str>>,
    producer: Arc<str>,
    fields: Box<[Option<Field>]>,
}

/// One message while its parts are looked up.
struct Reading<'a> {
    intake: &'a Intake,
    message: &'a Message<'a>,
    body: &'a [u8],
    /// Raw JSON texts at the intake's body paths; empty if the body is not JSON.
    found: Vec<Option<&'a str>>,
    data: Data,
    /// Which entry of the profile's data places `data` came from.
    data_place: usize,
}

impl<'a> Reading<'a> {
    fn parts(&self, profile: &Profile) -> Parts {
        let outside = self.outside_data(profile);
        let time = |look: &Look| match look {
            Look::Broker => self.message.timestamp_ms.map(|unix_ms| EventTime { unix_ms, text: None }),
            look => event_time::parse(&self.text(look, &outside)?),
        };
        let stored = EventTime { unix_ms: self.message.timestamp_ms.unwrap_or_default(), text: None };
        Parts {
            id: self
                .first(&profile.id, &outside)
                .map_or_else(|| self.intake.origin_id(self.message), |id| event_id::own(&id)),
            event_type: self.first(&profile.event_type, &outside).map(|text| self.intake.words.share(&text)),
            time: profile.time.iter().find_map(time).unwrap_or(stored),
            subject: self.first(&profile.subject, &outside).map(Box::from),
            key: self.first(&profile.key, &outside).map(Box::from),
            priority: self.first(&profile.priority, &outside).and_then(|text| priority(&text)),
            tenant: self.first(&profile.tenant, &outside).map(|text| self.intake.words.share(&text)),
            producer: self
                .first(&profile.producer, &outside)
                .map_or_else(|| self.intake.producer.clone(), |text| self.intake.words.share(&text)),
            fields: profile.fields.iter().map(|look| self.field(look, &outside)).collect(),
        }
    }

    /// The text at the first place that is present.
    fn first<'b>(&'b self, looks: &'b [Look], outside: &[Option<&'b str>]) -> Option<Cow<'b, str>> {
        looks.iter().find_map(|look| self.text(look, outside))
    }

    /// The first data place that is present as JSON.
    fn choose_data(&mut self, profile: &Profile) {
        for (place, look) in profile.data.iter().enumerate() {
            let data = match look {
                Look::Body(index) => self.slice(*index).map(Data::Slice),
                Look::Base64(index) => self.decoded(*index),
                Look::Data { .. } => None,
                look => self.text(look, &[]).map(|text| Data::Text(quoted(&text))),
            };
            if let Some(data) = data {
                self.data = data;
                self.data_place = place;
                return;
            }
        }
    }

    /// `data_base64` (CloudEvents JSON format §3.1.1): the JSON document that it encodes, else the
    /// base64 text itself.
    fn decoded(&self, index: usize) -> Option<Data> {
        let encoded = json::text(self.raw(index)?)?;
        let document = BASE64.decode(encoded.as_bytes()).ok().filter(|bytes| {
            let nothing = Selection::new(&[]);
            json::read(bytes, &nothing, &mut Vec::new()).is_ok()
        });
        match document.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(document) => Some(Data::Text(document.into())),
            None => self.slice(index).map(Data::Slice),
        }
    }

    /// What `data:PATH` finds where `data` does not stand in the body; empty in the common case.
    fn outside_data(&self, profile: &Profile) -> Vec<Option<&str>> {
        let mut found = Vec::new();
        if let (Data::Text(text), true) = (&self.data, profile.looks_inside_data)
            && json::read(text.as_bytes(), &self.intake.data, &mut found).is_err()
        {
            found.clear();
        }
        found
    }

    fn raw(&self, index: usize) -> Option<&'a str> {
        self.found.get(index).copied().flatten().filter(|raw| *raw != "null")
    }

    fn raw_data<'b>(
        &'b self,
        in_body: &[Option<usize>],
        inside: usize,
        outside: &[Option<&'b str>],
    ) -> Option<&'b str> {
        match self.data {
            Data::Slice(_) => self.raw(in_body.get(self.data_place).copied().flatten()?),
            Data::Text(_) => outside.get(inside).copied().flatten().filter(|raw| *raw != "null"),
            Data::Absent => None,
        }
    }

    /// Where a raw text, which is a slice of the body, stands in it.
    fn slice(&self, index: usize) -> Option<Range<usize>> {
        let raw = self.raw(index)?;
        let start = (raw.as_ptr() as usize).checked_sub(self.body.as_ptr() as usize)?;
        Some(start..start + raw.len())
    }

    fn text<'b>(&'b self, look: &'b Look, outside: &[Option<&'b str>]) -> Option<Cow<'b, str>> {
        let text = match look {
            Look::Header(name) => Cow::Borrowed(header_text(&self.message.headers, name)?),
            Look::Body(index) | Look::Base64(index) => json::text(self.raw(*index)?)?,
            Look::Data { in_body, inside } => json::text(self.raw_data(in_body, *inside, outside)?)?,
            Look::Encoded(name) => {
                percent_decode_str(header_text(&self.message.headers, name)?).decode_utf8().ok()?
            }
            Look::Subject { first, rest } => Cow::Borrowed(tokens(self.message.subject?, *first, *rest)?),
            Look::Topic => Cow::Borrowed(&*self.message.topic),
            Look::Key => Cow::Borrowed(std::str::from_utf8(self.message.key?).ok()?),
            Look::Broker => Cow::Owned(self.message.timestamp_ms?.to_string()),
            Look::Origin => Cow::Owned(self.origin()),
            Look::Const(text) => Cow::Borrowed(&**text),
        };
        (!text.is_empty()).then_some(text)
    }

    fn field(&self, look: &Look, outside: &[Option<&str>]) -> Option<Field> {
        match look {
            Look::Body(index) => self.found.get(*index).copied().flatten().map(json::field),
            Look::Data { in_body, inside } => self.raw_data(in_body, *inside, outside).map(json::field),
            Look::Broker => self.message.timestamp_ms.map(Field::Integer),
            look => self.text(look, outside).map(|text| Field::Text(text.into())),
        }
    }

    fn origin(&self) -> String {
        let Message { topic, partition, position, .. } = self.message;
        match &self.intake.namespace {
            Namespace::Kafka { cluster } => format!("kafka:{cluster}/{topic}/{partition}/{position}"),
            Namespace::JetStream { .. } => format!("jetstream:{topic}/{position}"),
            Namespace::Nats => format!("nats:{topic}"),
        }
    }
}

/// A number, or a text that is one; anything else is no priority. Without a fraction, and kept in range.
fn priority(text: &str) -> Option<i16> {
    let number: f64 = text.trim().parse().ok()?;
    let highest = f64::from(HIGHEST_PRIORITY);
    number.is_finite().then(|| number.clamp(-highest, highest) as i16)
}

/// The tokens of a subject from number `first` (from 1) on: that one, or all that follow too.
fn tokens(subject: &str, first: usize, rest: bool) -> Option<&str> {
    let mut tail = subject;
    for _ in 1..first {
        tail = tail.split_once('.')?.1;
    }
    Some(if rest { tail } else { tail.split('.').next().unwrap_or_default() })
}

fn quoted(text: &str) -> Box<str> {
    let mut json = Vec::with_capacity(text.len() + 2);
    json::quote(text, &mut json);
    String::from_utf8(json).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
