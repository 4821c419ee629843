//! CloudEvents 1.0 out, in the two modes of its HTTP binding (DIALECTS.md §1).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::payload::{data_of, rfc3339, write_passing};
use super::spec::{CloudEventMode, Passing};
use super::{SpecFault, Unrenderable};
use crate::domain::{Content, Data, Envelope, Event, header_text};
use crate::json::{self, JsonForm, Member, ObjectWriter};

const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json");
const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// What an attribute's value in a header may not hold as it is (HTTP binding §3.1.3.2); nor anything
/// beyond ASCII.
const NOT_IN_HEADERS: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// What no URI-reference holds (RFC 3986); nor anything beyond ASCII.
const NOT_IN_URIS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Attributes that are no extensions, and the names that the JSON format keeps for data.
const RESERVED: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

/// A target's CloudEvents, compiled.
#[derive(Debug)]
pub(super) struct CloudEvent {
    mode: CloudEventMode,
    form: JsonForm,
    /// What the data is said to be, whatever the event says.
    content_type: Option<Box<str>>,
    /// Constant extension attributes, by name.
    extensions: Vec<(Box<str>, Value<'static>)>,
    /// Which members of the data are sent.
    passing: Passing,
}

/// An attribute's value.
#[derive(Debug, Clone)]
enum Value<'e> {
    Text(Cow<'e, str>),
    /// An integer or a boolean, which JSON writes without quotes.
    Bare(Cow<'e, str>),
}

/// What an event carries, and what else is known of it.
struct Described<'e> {
    data: Carried<'e>,
    content_type: Option<Cow<'e, str>>,
    schema: Option<Cow<'e, str>>,
    extensions: Vec<(Cow<'e, str>, Value<'e>)>,
}

/// An event's data.
enum Carried<'e> {
    Nothing,
    /// The whole body, whatever it is.
    Body,
    /// A JSON text.
    Json(Cow<'e, str>),
    /// A text that is no JSON document, as the JSON string that the event had it in.
    Quoted(&'e str),
    Bytes(Vec<u8>),
}

impl CloudEvent {
    pub(super) fn compile(
        mode: CloudEventMode,
        form: JsonForm,
        content_type: Option<&str>,
        extensions: &[(String, String)],
        passing: Passing,
        faults: &mut Vec<SpecFault>,
    ) -> CloudEvent {
        if content_type.is_some_and(is_envelope) {
            let fault = "this is the content type of a whole CloudEvent; write that of its data";
            faults.push(SpecFault { setting: "payload.content_type".into(), fault: fault.into() });
        }
        let mut compiled = Vec::with_capacity(extensions.len());
        for (name, raw) in extensions {
            match extension(name, raw) {
                Ok(value) => compiled.push((name.as_str().into(), value)),
                Err(fault) => faults
                    .push(SpecFault { setting: format!("payload.extra.{name}"), fault: fault.to_owned() }),
            }
        }
        CloudEvent { mode, form, content_type: content_type.map(Box::from), extensions: compiled, passing }
    }

    /// How its JSON is written; in binary mode the data is in no form.
    pub(super) fn form(&self) -> Option<JsonForm> {
        (self.mode == CloudEventMode::Structured).then_some(self.form)
    }

    /// The body of an event's requests; sets their content type and, in binary mode, the `ce-` headers.
    pub(super) fn render(&self, event: &Event, headers: &mut HeaderMap) -> Result<Bytes, Unrenderable> {
        let mut described = self.described(event)?;
        if !self.passing.is_everything() {
            described.data = self.passing_of(event, &described)?;
        }
        let attributes = attributes(event, &described)?;
        match self.mode {
            CloudEventMode::Binary => binary(event, &described, &attributes, headers),
            CloudEventMode::Structured => {
                headers.insert(CONTENT_TYPE, STRUCTURED);
                self.structured(event, &described, &attributes)
            }
        }
    }

    fn described<'e>(&'e self, event: &'e Event) -> Result<Described<'e>, Unrenderable> {
        let envelope = Envelope::of(&event.headers);
        let mut described = match (envelope, members_of(event)) {
            (Envelope::Structured, Some(members)) => from_structured(event, &members)?,
            (Envelope::Binary, _) => from_binary(event),
            (Envelope::None | Envelope::Structured, _) => from_plain(event),
        };
        if let Some(content_type) = &self.content_type {
            described.content_type = Some(Cow::Borrowed(content_type));
        }
        for (name, value) in &self.extensions {
            set(&mut described.extensions, Cow::Borrowed(name), value.clone());
        }
        Ok(described)
    }

    /// Those members of the data that are sent.
    fn passing_of<'e>(&self, event: &Event, described: &Described<'_>) -> Result<Carried<'e>, Unrenderable> {
        let is_json = described.content_type.as_deref().is_none_or(is_json);
        let raw = match &described.data {
            Carried::Nothing => return Ok(Carried::Nothing),
            Carried::Json(raw) => Some(&**raw),
            Carried::Body if event.content == Content::Json && is_json => str::from_utf8(&event.body).ok(),
            Carried::Bytes(bytes) if is_json && json::is_document(bytes) => str::from_utf8(bytes).ok(),
            Carried::Body | Carried::Quoted(_) | Carried::Bytes(_) => None,
        };
        let mut out = Vec::with_capacity(raw.map_or(0, str::len));
        write_passing(raw.unwrap_or_default().trim(), JsonForm::Exact, &self.passing, &mut out)?;
        Ok(Carried::Json(Cow::Owned(String::from_utf8(out).unwrap_or_default())))
    }

    fn structured(
        &self,
        event: &Event,
        described: &Described<'_>,
        attributes: &[(&str, Value<'_>)],
    ) -> Result<Bytes, Unrenderable> {
        let content_type = described.content_type.as_deref();
        let is_json = event.content == Content::Json && content_type.is_none_or(is_json);
        // Names hold nothing that JSON escapes.
        let keys: Vec<String> = attributes.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let mut out = Vec::with_capacity(event.body.len() + 512);
        let mut object = ObjectWriter::open(self.form, &mut out);
        for (key, (_, value)) in keys.iter().zip(attributes) {
            value.write(object.member(key));
        }
        if let Some(content_type) = content_type {
            json::quote(content_type, object.member("\"datacontenttype\""));
        }
        let data: Result<&str, &[u8]> = match &described.data {
            Carried::Nothing => {
                object.close();
                return Ok(out.into());
            }
            Carried::Body if is_json => Ok(str::from_utf8(&event.body).unwrap_or_default()),
            Carried::Body => Err(&event.body),
            Carried::Json(raw) => Ok(raw),
            Carried::Quoted(raw) => Ok(raw),
            Carried::Bytes(bytes) => Err(bytes),
        };
        match data {
            Ok(raw) => json::write(raw.trim(), self.form, object.member("\"data\"")).map_err(|error| {
                Unrenderable(format!("the event's data can't be written: {error}").into())
            })?,
            Err(bytes) => json::quote(&BASE64.encode(bytes), object.member("\"data_base64\"")),
        }
        object.close();
        Ok(out.into())
    }
}

impl Value<'_> {
    fn text(&self) -> &str {
        match self {
            Value::Text(text) | Value::Bare(text) => text,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Text(text) => json::quote(text, out),
            Value::Bare(text) => out.extend_from_slice(text.as_bytes()),
        }
    }
}

fn binary(
    event: &Event,
    described: &Described<'_>,
    attributes: &[(&str, Value<'_>)],
    headers: &mut HeaderMap,
) -> Result<Bytes, Unrenderable> {
    if let Some(content_type) = &described.content_type {
        let value = HeaderValue::from_str(content_type)
            .map_err(|_| Unrenderable("a header can't hold the event's datacontenttype".into()))?;
        headers.insert(CONTENT_TYPE, value);
    }
    for (name, value) in attributes {
        let encoded = utf8_percent_encode(value.text(), NOT_IN_HEADERS).to_string();
        let header = HeaderName::from_bytes(format!("ce-{name}").as_bytes()).ok();
        let header = header.zip(HeaderValue::try_from(encoded).ok());
        // More than a map of headers holds, no receiver takes either.
        header.and_then(|(name, value)| headers.try_insert(name, value).ok()).ok_or_else(|| {
            Unrenderable(
                "headers can't hold the attributes of the event: too many, or too long a name".into(),
            )
        })?;
    }
    Ok(match &described.data {
        Carried::Nothing => Bytes::new(),
        Carried::Body => event.body.clone(),
        Carried::Json(raw) => Bytes::copy_from_slice(raw.as_bytes()),
        Carried::Quoted(raw) => json::text(raw).unwrap_or_default().into_owned().into(),
        Carried::Bytes(bytes) => Bytes::copy_from_slice(bytes),
    })
}

/// All attributes but `datacontenttype`, in their order, each with a value that is not empty.
fn attributes<'e>(
    event: &'e Event,
    described: &'e Described<'_>,
) -> Result<Vec<(&'e str, Value<'e>)>, Unrenderable> {
    let text = |text: &'e str| Some(Value::Text(Cow::Borrowed(text))).filter(|_| !text.is_empty());
    let event_type =
        event.event_type.as_deref().and_then(text).ok_or_else(|| {
            Unrenderable("a CloudEvent needs the event's type, and the event has none".into())
        })?;
    let time = event.time.text.as_deref().map(Cow::Borrowed);
    // Without a time that can be written there is none: the attribute is optional.
    let time = time.or_else(|| rfc3339(event.time.unix_ms).ok().map(Cow::Owned));
    let optional = [
        ("subject", event.subject.as_deref().and_then(text)),
        ("time", time.map(Value::Text)),
        ("dataschema", described.schema.as_deref().and_then(text)),
    ];
    let mut attributes = vec![
        ("specversion", Value::Text(Cow::Borrowed("1.0"))),
        ("id", Value::Text(Cow::Borrowed(&*event.id))),
        ("source", Value::Text(uri_reference(&event.producer))),
        ("type", event_type),
    ];
    attributes.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    attributes.extend(described.extensions.iter().map(|(name, value)| (&**name, value.clone())));
    Ok(attributes)
}

/// A message that is no CloudEvent, or no legible one.
fn from_plain(event: &Event) -> Described<'_> {
    let (data, content_type) = carried(event);
    Described { data, content_type, schema: None, extensions: Vec::new() }
}

/// A CloudEvent in the binary mode of Kafka (`ce_`, text as it is) or of HTTP and NATS (`ce-`,
/// percent-encoded).
fn from_binary(event: &Event) -> Described<'_> {
    let mut described = from_plain(event);
    for (name, value) in &event.headers {
        let Some((prefix, name)) = name.split_at_checked(3) else { continue };
        let text = str::from_utf8(value).ok().map(Cow::Borrowed);
        let text = match prefix.to_ascii_lowercase().as_str() {
            "ce_" => text,
            "ce-" => text.and_then(|text| {
                let decoded = percent_decode_str(&text).decode_utf8().ok()?.into_owned();
                Some(Cow::Owned(decoded))
            }),
            _ => None,
        };
        let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
        match name.to_ascii_lowercase() {
            name if name == "dataschema" => described.schema = Some(text),
            name if is_extension(&name) => {
                set(&mut described.extensions, Cow::Owned(name), Value::Text(text));
            }
            _ => {}
        }
    }
    described
}

/// A CloudEvent in the JSON format.
fn from_structured<'e>(event: &'e Event, members: &[Member<'e>]) -> Result<Described<'e>, Unrenderable> {
    let raw = |wanted: &str| {
        let member = members.iter().find(|member| member.name() == wanted)?;
        (member.value != "null").then_some(member.value)
    };
    let text = |wanted: &str| json::text(raw(wanted)?).filter(|text| !text.is_empty());
    let said = text("datacontenttype").filter(|said| !is_envelope(said));
    let is_here = |place: Option<&str>| match (&event.data, place, data_of(event)) {
        (Data::Slice(_), Some(place), Some(data)) => std::ptr::eq(place.as_ptr(), data.as_ptr()),
        _ => false,
    };
    let (own, base64) = (raw("data"), raw("data_base64"));
    let json_said = said.as_deref().is_none_or(is_json);
    let (data, content_type) = match data_of(event) {
        None => (Carried::Nothing, said),
        Some(data) if is_here(own) && (json_said || !data.starts_with('"')) => {
            (Carried::Json(data.into()), said.or(Some(Cow::Borrowed(JSON))))
        }
        Some(data) if is_here(own) => (Carried::Quoted(data), said),
        // What it encodes is a JSON document, or any bytes.
        Some(data) if own.is_none() && (is_here(base64) || (base64.is_some() && !is_slice(event))) => {
            let content_type = if is_slice(event) { BYTES } else { JSON };
            let bytes =
                json::text(base64.unwrap_or(data)).and_then(|text| BASE64.decode(text.as_bytes()).ok());
            let bytes = bytes.ok_or_else(|| Unrenderable("the event's data_base64 is no base64".into()))?;
            (Carried::Bytes(bytes), said.or(Some(Cow::Borrowed(content_type))))
        }
        // `event.data` of the source is something else.
        Some(data) => (Carried::Json(data.into()), Some(Cow::Borrowed(JSON))),
    };
    let mut extensions = Vec::new();
    for member in members {
        let name = member.name();
        if is_extension(&name)
            && let Some(value) = value(member.value)
        {
            extensions.push((name, value));
        }
    }
    Ok(Described { data, content_type, schema: text("dataschema"), extensions })
}

fn is_slice(event: &Event) -> bool {
    matches!(event.data, Data::Slice(_))
}

/// Sets an extension, in its old place if it was there.
fn set<'e>(extensions: &mut Vec<(Cow<'e, str>, Value<'e>)>, name: Cow<'e, str>, value: Value<'e>) {
    match extensions.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => extensions.push((name, value)),
    }
}

/// The data of an event that stands in its body, and what it is.
fn carried(event: &Event) -> (Carried<'_>, Option<Cow<'_, str>>) {
    if event.body.is_empty() {
        return (Carried::Nothing, None);
    }
    let is_whole = match &event.data {
        Data::Absent => true,
        Data::Slice(_) => data_of(event).is_some_and(|data| data.as_bytes() == event.body.trim_ascii()),
        Data::Text(_) => false,
    };
    match data_of(event).filter(|_| !is_whole) {
        Some(data) => (Carried::Json(data.into()), Some(Cow::Borrowed(JSON))),
        None => {
            let told = header_text(&event.headers, "content-type").filter(|told| !is_envelope(told));
            let known = if event.content == Content::Json { JSON } else { BYTES };
            (Carried::Body, Some(Cow::Borrowed(told.unwrap_or(known))))
        }
    }
}

/// The members of a body that is a JSON object.
fn members_of(event: &Event) -> Option<Vec<Member<'_>>> {
    let body = str::from_utf8(&event.body).ok().filter(|_| event.content == Content::Json)?;
    json::members(body.trim())
}

/// An attribute's value out of JSON; `None` for what CloudEvents has no type for, and for nothing.
fn value(raw: &str) -> Option<Value<'_>> {
    match raw.as_bytes().first()? {
        b't' | b'f' => Some(Value::Bare(Cow::Borrowed(raw))),
        b'-' | b'0'..=b'9' if raw.parse::<i32>().is_ok() => Some(Value::Bare(Cow::Borrowed(raw))),
        // A number that is none of CloudEvents' integers keeps its digits.
        b'-' | b'0'..=b'9' => Some(Value::Text(Cow::Borrowed(raw))),
        b'"' => json::text(raw).filter(|text| !text.is_empty()).map(Value::Text),
        _ => None,
    }
}

/// A configured extension.
fn extension(name: &str, raw: &str) -> Result<Value<'static>, &'static str> {
    if !is_extension(name) {
        return Err("no name of an extension attribute: those have `a-z` and `0-9` only, and are none of \
                    CloudEvents' own attributes");
    }
    match value(raw.trim()) {
        Some(Value::Text(text)) => Ok(Value::Text(Cow::Owned(text.into_owned()))),
        Some(Value::Bare(text)) => Ok(Value::Bare(Cow::Owned(text.into_owned()))),
        None => Err("an extension attribute is a text that is not empty, a number or a boolean"),
    }
}

fn is_extension(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name.bytes().all(legal) && !RESERVED.contains(&name)
}

/// Whether a content type is that of a CloudEvent, or of several: receivers would take the body for it.
fn is_envelope(content_type: &str) -> bool {
    let start = content_type.trim_start().as_bytes().get(.."application/cloudevents".len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"application/cloudevents"))
}

/// Whether a content type is JSON (CloudEvents JSON format §3.1).
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// A text as a URI-reference: what none can hold is percent-encoded, all else stays.
fn uri_reference(text: &str) -> Cow<'_, str> {
    let mut pieces = text.split('%');
    let encoded = |piece| utf8_percent_encode(piece, NOT_IN_URIS).to_string();
    let mut uri = encoded(pieces.next().unwrap_or_default());
    for piece in pieces {
        let is_triplet = piece.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
        uri.push_str(if is_triplet { "%" } else { "%25" });
        uri.push_str(&encoded(piece));
    }
    if uri == text { Cow::Borrowed(text) } else { Cow::Owned(uri) }
}
