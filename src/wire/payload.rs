use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};

use super::cloud_event::CloudEvent;
use super::handlebars::{Facts, Language, Template, TemplateFault};
use super::spec::{Member, Passing, PayloadSpec, Shape, Value, WhenAbsent};
use super::{SpecFault, Unrenderable};
use crate::domain::{Content, Data, Event};
use crate::json::{self, JsonForm, ObjectWriter};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// A target's body, compiled.
#[derive(Debug)]
pub(super) struct Payload {
    shape: Compiled,
    /// Fixed, or told by each message.
    content_type: Option<HeaderValue>,
}

#[derive(Debug)]
enum Compiled {
    Raw,
    Data(JsonForm, Passing),
    Object(Object),
    CloudEvent(CloudEvent),
    Template(Template, JsonForm),
}

/// A JSON object that is built for a receiver.
#[derive(Debug)]
struct Object {
    form: JsonForm,
    parts: Vec<Part>,
    /// Names that the rest of the data can't have.
    taken: Vec<Box<str>>,
    passing: Passing,
}

#[derive(Debug)]
enum Part {
    Named {
        /// As JSON text.
        key: Box<str>,
        value: Source,
        absent: WhenAbsent,
    },
    RestOfData,
}

#[derive(Debug)]
enum Source {
    Id,
    Type,
    Time,
    TimeMillis,
    Subject,
    Producer,
    Data,
    /// JSON text in the object's form.
    Fixed(Box<str>),
    Template(Box<Template>),
}

/// Whether an event has the value of a member.
#[derive(Clone, Copy)]
enum Found {
    Yes,
    No,
}

impl Payload {
    pub(super) fn compile(spec: &PayloadSpec, target_id: &str, faults: &mut Vec<SpecFault>) -> Payload {
        let content_type = spec.content_type.as_deref().and_then(|text| {
            let value = HeaderValue::from_str(text).ok().filter(|value| !value.is_empty());
            if value.is_none() {
                let fault = "it is empty or no header value; write for example `application/json`";
                faults.push(SpecFault { setting: "payload.content_type".into(), fault: fault.into() });
            }
            value
        });
        match &spec.shape {
            Shape::Raw => Payload { shape: Compiled::Raw, content_type },
            Shape::Data => Payload { shape: Compiled::Data(spec.json, spec.passing.clone()), content_type },
            Shape::Members(members) => Payload {
                shape: Compiled::Object(Object::compile(members, spec, target_id, faults)),
                content_type: Some(content_type.unwrap_or(JSON)),
            },
            Shape::CloudEvent { mode, extensions } => {
                let content_type = spec.content_type.as_deref();
                let passing = spec.passing.clone();
                let compiled =
                    CloudEvent::compile(*mode, spec.json, content_type, extensions, passing, faults);
                Payload { shape: Compiled::CloudEvent(compiled), content_type: None }
            }
            Shape::Template { text, file } => {
                let content_type = content_type.unwrap_or(JSON);
                let language = Language::of(&String::from_utf8_lossy(content_type.as_bytes()));
                let shape = match Template::compile(text, &[], language, &spec.roots) {
                    Ok(template) => Compiled::Template(template, spec.json),
                    Err(found) => {
                        faults.extend(found.iter().map(|fault| template_fault(fault, file.as_deref())));
                        Compiled::Raw
                    }
                };
                Payload { shape, content_type: Some(content_type) }
            }
        }
    }

    /// How its JSON is written; the message's own bytes are in no form.
    pub(super) fn form(&self) -> Option<JsonForm> {
        match &self.shape {
            Compiled::Raw => None,
            Compiled::Data(form, _) | Compiled::Template(_, form) => Some(*form),
            Compiled::Object(object) => Some(object.form),
            Compiled::CloudEvent(cloud_event) => cloud_event.form(),
        }
    }

    /// The body of an event's requests; sets their content type.
    pub(super) fn render(&self, facts: Facts<'_>, headers: &mut HeaderMap) -> Result<Bytes, Unrenderable> {
        let event = facts.event;
        let body = match &self.shape {
            Compiled::Raw => event.body.clone(),
            Compiled::Data(form, passing) => data_alone(event, *form, passing)?,
            Compiled::Object(object) => object.render(facts)?.into(),
            Compiled::CloudEvent(cloud_event) => return cloud_event.render(event, headers),
            Compiled::Template(template, form) => template.render(facts, *form)?.into(),
        };
        let content_type = self.content_type.clone().unwrap_or_else(|| match (&self.shape, &event.data) {
            (Compiled::Data(..), Data::Slice(_) | Data::Text(_)) => JSON,
            _ => told_by(event),
        });
        headers.insert(CONTENT_TYPE, content_type);
        Ok(body)
    }
}

fn template_fault(fault: &TemplateFault, file: Option<&str>) -> SpecFault {
    match file {
        Some(file) => {
            SpecFault { setting: "payload.template_file".to_owned(), fault: format!("{file}:{fault}") }
        }
        None => SpecFault { setting: "payload.template".to_owned(), fault: format!("at {fault}") },
    }
}

/// The event's data as the whole body.
fn data_alone(event: &Event, form: JsonForm, passing: &Passing) -> Result<Bytes, Unrenderable> {
    match (data_of(event), &event.content) {
        (Some(data), _) => {
            let mut out = Vec::with_capacity(data.len());
            write_passing(data, form, passing, &mut out)?;
            Ok(out.into())
        }
        (None, Content::NotJson(_)) if passing.is_everything() => Ok(event.body.clone()),
        (None, Content::NotJson(reason)) => Err(not_json(reason)),
        (None, Content::Json) => Ok(Bytes::new()),
    }
}

/// Writes the event's data, or those of its members that are sent.
pub(super) fn write_passing(
    data: &str,
    form: JsonForm,
    passing: &Passing,
    out: &mut Vec<u8>,
) -> Result<(), Unrenderable> {
    if passing.is_everything() {
        return write_json(data, form, out);
    }
    let members = json::members(data).ok_or_else(|| {
        Unrenderable("some members of the event's data are sent, and it is no JSON object".into())
    })?;
    let mut object = ObjectWriter::open(form, out);
    for member in members.iter().filter(|member| passing.passes(&member.name())) {
        write_json(member.value, form, object.member(member.key))?;
    }
    object.close();
    Ok(())
}

fn write_json(raw: &str, form: JsonForm, out: &mut Vec<u8>) -> Result<(), Unrenderable> {
    json::write(raw, form, out)
        .map_err(|error| Unrenderable(format!("the event's data can't be written: {error}").into()))
}

/// What a message says of its own body, else what is known of it.
fn told_by(event: &Event) -> HeaderValue {
    let told = event.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    told.filter(|(_, value)| !value.is_empty())
        .and_then(|(_, value)| HeaderValue::from_maybe_shared(value.clone()).ok())
        .unwrap_or(if event.content == Content::Json { JSON } else { BYTES })
}

impl Object {
    fn compile(
        members: &[Member],
        spec: &PayloadSpec,
        target_id: &str,
        faults: &mut Vec<SpecFault>,
    ) -> Object {
        let (form, passing) = (spec.json, spec.passing.clone());
        let mut object =
            Object { form, parts: Vec::with_capacity(members.len()), taken: Vec::new(), passing };
        for member in members {
            let Member::Named { name, value, absent } = member else {
                object.parts.push(Part::RestOfData);
                continue;
            };
            if object.taken.iter().any(|taken| **taken == **name) {
                faults.push(member_fault(name, "the member is named twice; keep one"));
                continue;
            }
            match source(value, spec, target_id) {
                Ok(value) => object.parts.push(Part::Named { key: quoted(name), value, absent: *absent }),
                Err(fault) if matches!(value, Value::Tree(_)) => {
                    faults.push(SpecFault { setting: format!("payload.extra.{name}"), fault });
                }
                Err(fault) => faults.push(member_fault(name, &fault)),
            }
            object.taken.push(name.as_str().into());
        }
        object
    }

    fn render(&self, facts: Facts<'_>) -> Result<Vec<u8>, Unrenderable> {
        let event = facts.event;
        let data = data_of(event);
        let mut out = Vec::with_capacity(data.map_or(0, str::len) + 256);
        let mut object = ObjectWriter::open(self.form, &mut out);
        for part in &self.parts {
            match part {
                Part::Named { key, value, absent } => {
                    match (self.write_named(key, value, facts, data, &mut object)?, absent) {
                        (Found::Yes, _) | (Found::No, WhenAbsent::LeaveOut) => {}
                        (Found::No, WhenAbsent::Refuse) => return Err(lacks(value)),
                    }
                }
                Part::RestOfData => self.write_rest(event, data, &mut object)?,
            }
        }
        object.close();
        Ok(out)
    }

    /// Writes one member, if the event has its value.
    fn write_named<'a>(
        &'a self,
        key: &'a str,
        value: &Source,
        facts: Facts<'_>,
        data: Option<&str>,
        object: &mut ObjectWriter<'a, '_>,
    ) -> Result<Found, Unrenderable> {
        let event = facts.event;
        match value {
            Source::Id => json::quote(&event.id, object.member(key)),
            Source::Type => match &event.event_type {
                Some(event_type) => json::quote(event_type, object.member(key)),
                None => return Ok(Found::No),
            },
            Source::Time => match &event.time.text {
                Some(text) => json::quote(text, object.member(key)),
                None => json::quote(&rfc3339(event.time.unix_ms)?, object.member(key)),
            },
            Source::TimeMillis => {
                object.member(key).extend_from_slice(event.time.unix_ms.to_string().as_bytes());
            }
            Source::Subject => match &event.subject {
                Some(subject) => json::quote(subject, object.member(key)),
                None => return Ok(Found::No),
            },
            Source::Data => match (data, &event.content) {
                (Some(data), _) => write_passing(data, self.form, &self.passing, object.member(key))?,
                (None, Content::NotJson(reason)) => return Err(not_json(reason)),
                (None, Content::Json) => return Ok(Found::No),
            },
            Source::Fixed(text) => object.member(key).extend_from_slice(text.as_bytes()),
            Source::Producer => json::quote(&event.producer, object.member(key)),
            Source::Template(template) => match template.render_member(facts, self.form)? {
                Some(text) => object.member(key).extend_from_slice(&text),
                None => return Ok(Found::No),
            },
        }
        Ok(Found::Yes)
    }

    fn write_rest<'a>(
        &'a self,
        event: &Event,
        data: Option<&'a str>,
        object: &mut ObjectWriter<'a, '_>,
    ) -> Result<(), Unrenderable> {
        let Some(data) = data else {
            return Err(match &event.content {
                Content::NotJson(reason) => not_json(reason),
                Content::Json => {
                    Unrenderable("the payload is made of the event's data, and it has none".into())
                }
            });
        };
        let members = json::members(data).ok_or_else(|| {
            Unrenderable(
                "the payload is made of the members of the event's data, which is no JSON object".into(),
            )
        })?;
        for member in members {
            let name = member.name();
            if self.passing.passes(&name) && !self.taken.iter().any(|taken| **taken == *name) {
                write_json(member.value, self.form, object.member(member.key))?;
            }
        }
        Ok(())
    }
}

fn source(value: &Value, spec: &PayloadSpec, target_id: &str) -> Result<Source, String> {
    Ok(match value {
        Value::EventId => Source::Id,
        Value::EventType => Source::Type,
        Value::EventTime => Source::Time,
        Value::EventTimeMillis => Source::TimeMillis,
        Value::EventSubject => Source::Subject,
        Value::EventSource => Source::Producer,
        Value::EventData => Source::Data,
        Value::TargetId => Source::Fixed(quoted(target_id)),
        Value::Literal(text) => Source::Fixed(literal(text, spec.json)?),
        Value::Tree(tree) => {
            Source::Template(Template::of_tree(tree, &spec.roots).map(Box::new).map_err(|faults| {
                let faults: Vec<String> = faults.iter().map(|fault| format!("at {fault}")).collect();
                faults.join("; ")
            })?)
        }
    })
}

fn literal(text: &str, form: JsonForm) -> Result<Box<str>, &'static str> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| "its constant is no JSON value")?;
    let mut out = Vec::new();
    json::write(text.trim(), form, &mut out).map_err(|_| "its constant is nested too deep")?;
    String::from_utf8(out).map(Into::into).map_err(|_| "its constant is no JSON value")
}

fn member_fault(name: &str, fault: &str) -> SpecFault {
    SpecFault { setting: format!("payload.members.{name}"), fault: fault.to_owned() }
}

fn quoted(text: &str) -> Box<str> {
    let mut out = Vec::with_capacity(text.len() + 2);
    json::quote(text, &mut out);
    String::from_utf8_lossy(&out).into()
}

/// The event's `data` as JSON text.
pub(super) fn data_of(event: &Event) -> Option<&str> {
    match &event.data {
        Data::Slice(range) => event.body.get(range.clone()).and_then(|data| str::from_utf8(data).ok()),
        Data::Text(text) => Some(text),
        Data::Absent => None,
    }
}

fn lacks(value: &Source) -> Unrenderable {
    let what = match value {
        Source::Type => "type",
        Source::Subject => "subject",
        _ => "data",
    };
    Unrenderable(format!("the payload needs the event's {what}, and the event has none").into())
}

fn not_json(reason: &str) -> Unrenderable {
    Unrenderable(format!("the payload needs the event's data, and the body is not JSON: {reason}").into())
}

/// A time with milliseconds and `Z`.
pub(super) fn rfc3339(unix_ms: i64) -> Result<String, Unrenderable> {
    let time = jiff::Timestamp::from_millisecond(unix_ms)
        .map_err(|_| Unrenderable("the event's time is beyond the year 9999".into()))?;
    Ok(format!("{time:.3}"))
}
