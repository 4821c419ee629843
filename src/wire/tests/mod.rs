//! Every dialect as `presets.yaml` states it, with expectations that were computed outside of this
//! program (Python's and Node.js's own HMAC and Ed25519).

mod cloud_events;
mod faults;
mod payloads;
mod signatures;
mod verification;

use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value as Tree;

use super::*;
use crate::domain::{Content, Data, Event, EventTime, Generation, Kind, Lease, Origin, SourceId};

/// When the attempt is made: 2023-11-14T22:13:20.123Z.
const NOW_MS: i64 = 1_700_000_000_123;

const BODY: &str = r#"{"type":"cost.spike_detected","data":{"title":"a","cost":{"amount":525.50}} }"#;

/// An event of type `cost.spike_detected` whose data is what [`BODY`] calls so.
fn event() -> Event {
    with_body(BODY, "data")
}

/// An event with this JSON body, whose data is the value of this member.
fn with_body(body: &str, member: &str) -> Event {
    let data = crate::json::members(body)
        .and_then(|members| members.into_iter().find(|one| one.name() == member))
        .map(|one| {
            let start = one.value.as_ptr().addr() - body.as_ptr().addr();
            Data::Slice(start..start + one.value.len())
        });
    Event {
        source: SourceId(0),
        id: "evt_42".into(),
        event_type: Some("cost.spike_detected".into()),
        time: EventTime { unix_ms: 1_699_999_999_000, text: Some("2023-11-14T22:13:19Z".into()) },
        subject: None,
        key: None,
        priority: None,
        tenant: None,
        producer: "/orders".into(),
        kind: Kind::Regular,
        body: Bytes::copy_from_slice(body.as_bytes()),
        content: Content::Json,
        data: data.unwrap_or(Data::Absent),
        headers: Box::default(),
        fields: Box::default(),
        origin: Origin::kafka("events", 0),
        generation: Generation(1),
        lease: Arc::new(Lease::unlimited()),
    }
}

fn secrets(texts: &[&str]) -> Vec<SecretString> {
    texts.iter().map(|text| SecretString::from(*text)).collect()
}

/// The specification of a target that only names a dialect and its secrets.
fn dialect(name: &str, texts: &[&str]) -> RequestSpec {
    let presets: Tree =
        serde_saphyr::from_str(include_str!("../../plan/presets.yaml")).expect("presets.yaml parses");
    let dialect = &presets["dialects"][name];
    let own = &dialect["payload"];
    let name = own.as_str().or(own["preset"].as_str()).expect("a payload's name");
    let mut payload = payload_spec(&presets["payloads"][name]);
    if let Shape::CloudEvent { mode, .. } = &mut payload.shape {
        *mode = match own["mode"].as_str() {
            Some("binary") => CloudEventMode::Binary,
            Some("structured") => CloudEventMode::Structured,
            other => panic!("{other:?} is no mode"),
        };
    }
    payload.content_type = own["content_type"].as_str().map(str::to_owned);
    RequestSpec {
        target_id: "wh_7".to_owned(),
        payload,
        signature: Some(&dialect["signature"])
            .filter(|form| form.is_object())
            .map(|form| signature_spec(form, texts)),
        headers: pairs(&dialect["headers"]).map(|(name, value)| header(&name, &value)).collect(),
        auth: Vec::new(),
    }
}

fn header(name: &str, value: &str) -> HeaderSpec {
    HeaderSpec {
        name: name.to_owned(),
        value: value.into(),
        literal: Vec::new(),
        visibility: Visibility::Receiver,
    }
}

fn pairs(map: &Tree) -> impl Iterator<Item = (String, String)> {
    let map = map.as_object().into_iter().flatten();
    map.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
}

fn signature_spec(form: &Tree, texts: &[&str]) -> SignatureSpec {
    let text = |key: &str| form[key].as_str().expect("text").to_owned();
    SignatureSpec {
        secrets: secrets(texts),
        message: text("message"),
        algorithm: match &*text("algorithm") {
            "hmac-sha256" => Algorithm::HmacSha256,
            other => panic!("no dialect has {other}"),
        },
        key: match &*text("key") {
            "text" => KeyForm::Text,
            "base64" => KeyForm::Base64,
            other => panic!("{other} is no key form"),
        },
        encoding: match &*text("encoding") {
            "hex" => Encoding::Hex,
            "base64" => Encoding::Base64,
            other => panic!("{other} is no encoding"),
        },
        each: text("each"),
        ed25519: form["ed25519"].as_str().map(str::to_owned),
        join: text("join"),
        timestamp: match &*text("timestamp") {
            "seconds" => TimestampForm::Seconds,
            "milliseconds" => TimestampForm::Milliseconds,
            other => panic!("no dialect has {other}"),
        },
        headers: pairs(&form["headers"]).collect(),
    }
}

fn payload_spec(preset: &Tree) -> PayloadSpec {
    if preset == "cloudevents" {
        let shape = Shape::CloudEvent { mode: CloudEventMode::Binary, extensions: Vec::new() };
        return PayloadSpec { shape, ..PayloadSpec::raw() };
    }
    let Some(members) = preset["members"].as_array() else {
        assert_eq!(preset, "raw");
        return PayloadSpec::raw();
    };
    let json = match preset["json"].as_str() {
        Some("js") => JsonForm::Js,
        Some("exact") => JsonForm::Exact,
        other => panic!("no preset has {other:?}"),
    };
    PayloadSpec { shape: Shape::Members(members.iter().map(member).collect()), json, ..PayloadSpec::raw() }
}

fn member(member: &Tree) -> Member {
    if member == "rest_of_data" {
        return Member::RestOfData;
    }
    let (name, value) = member.as_object().and_then(|map| map.iter().next()).expect("one entry");
    let text = value.as_str();
    let required = text.and_then(|text| text.strip_suffix('?'));
    let absent = if required.is_some() { WhenAbsent::LeaveOut } else { WhenAbsent::Refuse };
    let value = match required.or(text) {
        Some("event.id") => Value::EventId,
        Some("event.type") => Value::EventType,
        Some("event.time") => Value::EventTime,
        Some("event.time_ms") => Value::EventTimeMillis,
        Some("event.data") => Value::EventData,
        Some("target.id") => Value::TargetId,
        _ => Value::Literal(value["const"].to_string()),
    };
    Member::Named { name: name.clone(), value, absent }
}

fn named(name: &str, value: Value) -> Member {
    Member::Named { name: name.to_owned(), value, absent: WhenAbsent::LeaveOut }
}

fn compiled(spec: &RequestSpec) -> Blueprint {
    Blueprint::compile(spec).expect("it compiles")
}

fn rendered(spec: &RequestSpec, event: &Event) -> Request {
    compiled(spec).render(event, 1, NOW_MS).expect("it renders")
}

fn body(request: &Request) -> &str {
    str::from_utf8(&request.body).expect("UTF-8")
}

/// All headers as `name: value`, in the order of their names.
fn headers(request: &Request) -> Vec<String> {
    let text = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        format!("{name}: {}", value.to_str().expect("visible ASCII"))
    };
    let mut headers: Vec<String> = request.headers.iter().map(text).collect();
    headers.sort();
    headers
}
