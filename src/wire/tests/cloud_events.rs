//! CloudEvents out, judged by the rules of the HTTP binding and the JSON format, whatever came in.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;

use super::*;
use crate::plan::{EventParts, Start};
use crate::source::{Intake, Message, Namespace, test_plan};

const MODES: [&str; 2] = ["cloudevents-binary", "cloudevents-structured"];

/// A message as its broker has it.
#[derive(Clone, Copy)]
struct Incoming<'a> {
    subject: Option<&'a str>,
    headers: &'a [(&'a str, &'a str)],
    value: &'a [u8],
}

/// A message of Kafka.
fn kafka<'a>(headers: &'a [(&'a str, &'a str)], value: &'a (impl AsRef<[u8]> + ?Sized)) -> Incoming<'a> {
    Incoming { subject: None, headers, value: value.as_ref() }
}

impl Incoming<'_> {
    /// As the intake of a source with default places makes it.
    fn event(self) -> Event {
        self.event_with(EventParts::default())
    }

    fn event_with(self, parts: EventParts) -> Event {
        let mut plan = test_plan::plan("127.0.0.1:9", &["events"], Start::Latest);
        plan.sources[0].event = parts;
        let header =
            |(name, value): &(&str, &str)| (Box::from(*name), Bytes::copy_from_slice(value.as_bytes()));
        let message = Message {
            topic: "events".into(),
            partition: 0,
            position: 7,
            timestamp_ms: Some(1_699_999_999_007),
            subject: self.subject,
            key: None,
            value: Some(self.value),
            headers: self.headers.iter().map(header).collect(),
        };
        let namespace = Namespace::Kafka { cluster: "c".into() };
        let intake = Intake::new(&plan, &plan.sources[0], SourceId(0), namespace);
        intake.read(message, Generation(1), Arc::new(Lease::unlimited()))
    }
}

/// What a receiver understands, in either mode.
#[derive(Debug, PartialEq)]
struct Understood {
    /// All but `datacontenttype`; a structured integer or boolean as its text.
    attributes: BTreeMap<String, String>,
    content_type: Option<String>,
    data: Vec<u8>,
}

impl Understood {
    fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    fn data(&self) -> &str {
        str::from_utf8(&self.data).expect("text")
    }
}

/// Reads a request as a receiver that takes nothing but what the specification allows.
fn understood(request: &Request) -> Understood {
    let content_type = request.headers.get("content-type").map(|value| value.to_str().expect("ASCII"));
    let found = match content_type {
        Some("application/cloudevents+json") => structured(request),
        content_type => binary(request, content_type),
    };
    for (name, value) in &found.attributes {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        assert!(name.bytes().all(legal), "{name} is no attribute's name");
        assert!(!value.is_empty(), "{name} is empty");
    }
    assert_eq!(found.get("specversion"), Some("1.0"));
    let time = found.get("time").expect("events have a time");
    assert!(time.ends_with('Z') || time[19..].contains(['+', '-']), "{time} has no zone");
    let source = found.get("source").expect("it is required");
    let in_uris = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    assert!(source.bytes().all(in_uris), "{source} is no URI-reference");
    assert!(found.get("id").is_some() && found.get("type").is_some(), "{found:?}");
    found
}

fn binary(request: &Request, content_type: Option<&str>) -> Understood {
    let mut attributes = BTreeMap::new();
    for (name, value) in &request.headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let value = value.to_str().expect("beyond ASCII nothing stands in headers");
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'), "{name}: {value}");
        let decoded = percent_decode_str(value).decode_utf8().expect("UTF-8").into_owned();
        attributes.insert(name.to_owned(), decoded);
    }
    let content_type = content_type.map(str::to_owned);
    Understood { attributes, content_type, data: request.body.to_vec() }
}

fn structured(request: &Request) -> Understood {
    let no_attribute = |name: &hyper::header::HeaderName| !name.as_str().starts_with("ce-");
    assert!(request.headers.keys().all(no_attribute), "{:?}", request.headers);
    let mut members =
        serde_json::from_str::<serde_json::Map<String, Tree>>(body(request)).expect("an object");
    let content_type =
        members.remove("datacontenttype").map(|value| value.as_str().expect("text").to_owned());
    let is_json = content_type.as_deref().is_none_or(|text| text.contains("json"));
    let data = match (members.remove("data"), members.remove("data_base64")) {
        (Some(_), Some(_)) => panic!("both kinds of data"),
        (Some(Tree::String(text)), None) if !is_json => text.into_bytes(),
        (Some(data), None) => data.to_string().into_bytes(),
        (None, Some(encoded)) => BASE64.decode(encoded.as_str().expect("text")).expect("base64"),
        (None, None) => Vec::new(),
    };
    let text = |value: Tree| match value {
        Tree::String(text) => text,
        Tree::Number(number) => {
            i32::try_from(number.as_i64().expect("an integer")).expect("of 32 bits").to_string()
        }
        Tree::Bool(flag) => flag.to_string(),
        other => panic!("{other} is no attribute's value"),
    };
    let attributes = members.into_iter().map(|(name, value)| (name, text(value))).collect();
    Understood { attributes, content_type, data }
}

/// What receivers understand of an event in the binary and in the structured mode.
fn both(event: &Event) -> [Understood; 2] {
    MODES.map(|mode| understood(&rendered(&dialect(mode, &[]), event)))
}

/// What both modes say alike.
#[track_caller]
fn alike(event: &Event) -> Understood {
    let [binary, structured] = both(event);
    assert_eq!(binary, structured);
    binary
}

#[test]
fn a_plain_event_becomes_a_cloud_event() {
    let found =
        alike(&kafka(&[], r#"{"event_id":"e-1","type":"a.b","subject":"s","data":{"n":1.25}}"#).event());

    assert_eq!(found.get("id"), Some("e-1"));
    assert_eq!(found.get("source"), Some("/orders"));
    assert_eq!(found.get("type"), Some("a.b"));
    assert_eq!(found.get("subject"), Some("s"));
    assert_eq!(found.get("time"), Some("2023-11-14T22:13:19.007Z"));
    assert_eq!(found.content_type.as_deref(), Some("application/json"));
    assert_eq!(found.attributes.len(), 6, "{found:?}");
    assert_eq!(found.data(), r#"{"n":1.25}"#);
}

#[test]
fn json_data_is_sent_as_it_is() {
    let raw = r#"{"type":"a","data":{"b":1.50,"a":"\u00e9","z":1e2}}"#;
    let event = kafka(&[], raw).event();

    assert_eq!(body(&rendered(&dialect(MODES[0], &[]), &event)), r#"{"b":1.50,"a":"\u00e9","z":1e2}"#);
    let structured = rendered(&dialect(MODES[1], &[]), &event);
    assert!(
        body(&structured).ends_with(r#""data":{"b":1.50,"a":"\u00e9","z":1e2}}"#),
        "{}",
        body(&structured)
    );
    // A body that is its own data keeps every byte, in binary mode.
    let spaced = kafka(&[("event-type", "a")], " { \"n\" : 1 }\n").event();
    assert_eq!(body(&rendered(&dialect(MODES[0], &[]), &spaced)), " { \"n\" : 1 }\n");
    assert!(body(&rendered(&dialect(MODES[1], &[]), &spaced)).ends_with(r#""data":{"n":1}}"#));
}

#[test]
fn a_binary_cloud_event_of_kafka_passes_through() {
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "k-1"),
        ("ce_source", "/shop/ä b?x=%41&y=100%"),
        ("ce_type", "order.paid"),
        ("ce_subject", "Zoë \"42\" 5%"),
        ("ce_time", "2024-02-29T12:00:00.5+02:00"),
        ("ce_dataschema", "https://schema.example/order"),
        ("ce_traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("ce_Region", "eu-Süd"),
        ("ce_no_name", "x"),
        ("ce_empty", ""),
        ("content-type", "application/vnd.order+json"),
        ("other", "x"),
    ];
    let found = alike(&kafka(&headers, r#"{"n":1}"#).event());

    let expected = [
        ("dataschema", "https://schema.example/order"),
        ("id", "k-1"),
        ("region", "eu-Süd"),
        ("source", "/shop/%C3%A4%20b?x=%41&y=100%25"),
        ("specversion", "1.0"),
        ("subject", "Zoë \"42\" 5%"),
        ("time", "2024-02-29T12:00:00.5+02:00"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("type", "order.paid"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(found.attributes, BTreeMap::from(expected));
    assert_eq!(found.content_type.as_deref(), Some("application/vnd.order+json"));
    assert_eq!(found.data(), r#"{"n":1}"#);
}

#[test]
fn a_header_holds_a_value_as_the_binding_encodes_it() {
    let headers = [("ce_specversion", "1.0"), ("ce_type", "a b"), ("ce_note", "Euro € \"100%\"\n😀~")];
    let request = rendered(&dialect(MODES[0], &[]), &kafka(&headers, "{}").event());

    assert_eq!(request.headers["ce-type"], "a%20b");
    assert_eq!(request.headers["ce-note"], "Euro%20%E2%82%AC%20%22100%25%22%0A%F0%9F%98%80~");
}

#[test]
fn a_structured_cloud_event_passes_through() {
    let envelope = r#" {"specversion":"1.0","id":"s-1","source":"https://shop.example/x","type":"order.paid",
        "subject":null,"time":"2024-02-29T12:00:00Z","datacontenttype":"application/json; charset=utf-8",
        "dataschema":"urn:x","count":5,"big":5000000000,"flag":true,"nothing":null,"list":[1],"fooBar":"x",
        "data":{"a":[1,2]}}"#;
    let headers = [("content-type", "application/cloudevents+json; charset=UTF-8")];
    let event = kafka(&headers, envelope).event();
    let found = alike(&event);

    assert_eq!(found.get("id"), Some("s-1"));
    assert_eq!(found.get("source"), Some("https://shop.example/x"));
    assert_eq!(found.get("time"), Some("2024-02-29T12:00:00Z"));
    assert_eq!((found.get("subject"), found.get("nothing"), found.get("list")), (None, None, None));
    assert_eq!(
        (found.get("count"), found.get("big"), found.get("flag")),
        (Some("5"), Some("5000000000"), Some("true"))
    );
    assert_eq!(found.get("dataschema"), Some("urn:x"));
    assert!(!found.attributes.contains_key("fooBar") && !found.attributes.contains_key("foobar"));
    assert_eq!(found.content_type.as_deref(), Some("application/json; charset=utf-8"));
    assert_eq!(found.data(), r#"{"a":[1,2]}"#);
    let request = rendered(&dialect(MODES[1], &[]), &event);
    for part in [r#""count":5,"#, r#""big":"5000000000","#, r#""flag":true,"#] {
        assert!(body(&request).contains(part), "{part} in {}", body(&request));
    }
}

#[test]
fn a_message_of_nats_passes_through() {
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "n-1"),
        ("ce-source", "/nats"),
        ("ce-type", "a%20b"),
        ("ce-region", "S%C3%BCd%25"),
        ("Content-Type", "text/plain"),
    ];
    let found = alike(&Incoming { subject: Some("a.b"), ..kafka(&headers, "plain text") }.event());

    assert_eq!((found.get("type"), found.get("region")), (Some("a b"), Some("Süd%")));
    assert_eq!((found.content_type.as_deref(), found.data()), (Some("text/plain"), "plain text"));
}

#[test]
fn what_is_not_json_is_base64_in_structured_mode() {
    let bytes = [0xff, 0x00, 0xfe];
    let event = kafka(&[("event-type", "a"), ("event-id", "e-1")], &bytes).event();
    let found = alike(&event);
    assert_eq!((found.content_type.as_deref(), &*found.data), (Some("application/octet-stream"), &bytes[..]));
    let request = rendered(&dialect(MODES[1], &[]), &event);
    assert!(body(&request).ends_with(r#""data_base64":"/wD+"}"#), "{}", body(&request));

    // What says that it is no JSON is none, whatever it looks like; what says that it is may not be.
    for (said, value) in [("text/plain", "123"), ("application/json", "{broken")] {
        let event = kafka(&[("event-type", "a"), ("content-type", said)], value).event();
        let found = alike(&event);
        assert_eq!((found.content_type.as_deref(), found.data()), (Some(said), value));
        assert!(body(&rendered(&dialect(MODES[1], &[]), &event)).contains(r#""data_base64":"#), "{said}");
    }
}

#[test]
fn the_kinds_of_structured_data_pass_through() {
    let headers = [("content-type", "application/cloudevents+json")];
    let cases = [
        (r#""data":"text""#, "application/json", r#""text""#),
        (r#""data":"te\u0078t","datacontenttype":"text/plain""#, "text/plain", "text"),
        (r#""data_base64":"/wD+""#, "application/octet-stream", "\u{0}"),
        (r#""data_base64":"eyJhIjoxfQ==""#, "application/json", r#"{"a":1}"#),
        (r#""data_base64":"aGk=","datacontenttype":"text/plain""#, "text/plain", "hi"),
    ];
    for (data, content_type, expected) in cases {
        let envelope = format!(r#"{{"specversion":"1.0","id":"s-1","source":"/s","type":"t",{data}}}"#);
        let found = alike(&kafka(&headers, &envelope).event());
        assert_eq!(found.content_type.as_deref(), Some(content_type), "{data}");
        let expected = if expected == "\u{0}" { &[0xff, 0x00, 0xfe][..] } else { expected.as_bytes() };
        assert_eq!(found.data, expected, "{data}");
    }
    let none = kafka(&headers, r#"{"specversion":"1.0","id":"s-1","source":"/s","type":"t"}"#).event();
    assert_eq!((alike(&none).content_type, alike(&none).data), (None, Vec::new()));
    let wrong = kafka(&headers, r#"{"id":"s-1","source":"/s","type":"t","data_base64":"%"}"#).event();
    for mode in MODES {
        let fault = compiled(&dialect(mode, &[])).render(&wrong, 1, NOW_MS).expect_err("unrenderable");
        assert_eq!(fault.to_string(), "the event's data_base64 is no base64");
    }
}

#[test]
fn the_data_of_a_source_may_be_set() {
    let place = crate::domain::Place::Body(crate::domain::Path(vec!["payload".into()]));
    let parts = EventParts { data: Some(vec![place]), ..EventParts::default() };
    let headers = [("content-type", "application/cloudevents+json")];
    let envelope = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"x","payload":{"a":1}}"#;
    let found = alike(&kafka(&headers, envelope).event_with(parts));

    assert_eq!((found.content_type.as_deref(), found.data()), (Some("application/json"), r#"{"a":1}"#));
}

#[test]
fn a_body_is_never_said_to_be_another_cloud_event() {
    for said in ["application/cloudevents-batch+json", "Application/CloudEvents+JSON"] {
        let event = kafka(&[("content-type", said), ("event-type", "a")], "[]").event();
        let event = Event { event_type: Some("a".into()), ..event };
        let request = rendered(&dialect(MODES[0], &[]), &event);
        assert_eq!(request.headers["content-type"], "application/json", "{said}");
    }
}

#[test]
fn an_event_without_a_type_is_unrenderable() {
    for mode in MODES {
        let event = Event { event_type: None, ..event() };
        let fault = compiled(&dialect(mode, &[])).render(&event, 1, NOW_MS).expect_err("unrenderable");
        assert_eq!(fault.to_string(), "a CloudEvent needs the event's type, and the event has none");
    }
}

#[test]
fn what_is_empty_or_can_not_be_written_is_left_out() {
    let time = EventTime { unix_ms: i64::MAX, text: None };
    let event = Event { subject: Some("".into()), time, ..event() };
    for mode in MODES {
        let request = rendered(&dialect(mode, &[]), &event);
        assert!(request.headers.get("ce-subject").is_none() && request.headers.get("ce-time").is_none());
        assert!(!body(&request).contains("subject") && !body(&request).contains("\"time\""));
    }
    let empty = Event { body: Bytes::new(), data: Data::Absent, ..event };
    let request = rendered(&dialect(MODES[0], &[]), &empty);
    assert!(request.body.is_empty() && request.headers.get("content-type").is_none());
    assert!(!body(&rendered(&dialect(MODES[1], &[]), &empty)).contains("data"));
}

#[test]
fn more_attributes_than_headers_can_be_are_unrenderable() {
    let mut event = kafka(&[("ce_specversion", "1.0"), ("ce_type", "a")], "{}").event();
    let header = |n: usize| (format!("ce_x{n}").into_boxed_str(), Bytes::from_static(b"1"));
    event.headers = event.headers.into_iter().chain((0..40_000).map(header)).collect();

    let fault = compiled(&dialect(MODES[0], &[])).render(&event, 1, NOW_MS).expect_err("unrenderable");
    assert!(fault.to_string().starts_with("headers can't hold the attributes"), "{fault}");
    let name = format!("ce_{}", "x".repeat(70_000));
    let long = [("ce_specversion", "1.0"), ("ce_type", "a"), (name.as_str(), "1")];
    let fault = compiled(&dialect(MODES[0], &[])).render(&kafka(&long, "{}").event(), 1, NOW_MS);
    assert!(fault.is_err());
}

#[test]
fn extensions_content_type_and_signature_can_be_configured() {
    let extensions = [("region", "\"eu\""), ("tier", "3"), ("vip", "true"), ("ratio", "1.5")];
    let headers = [("ce_specversion", "1.0"), ("ce_type", "a"), ("ce_id", "e-1"), ("ce_region", "us")];
    let event = kafka(&headers, "{\"b\":1,\"a\":2}").event();
    for mode in MODES {
        let mut spec = dialect(mode, &[]);
        let Shape::CloudEvent { extensions: own, .. } = &mut spec.payload.shape else {
            panic!("a CloudEvent")
        };
        *own = extensions.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        spec.payload.content_type = Some("application/vnd.a+json".to_owned());
        spec.payload.json = JsonForm::Sorted;
        spec.signature = dialect("standard-webhooks", &["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]).signature;

        let request = rendered(&spec, &event);

        let found = understood(&request);
        for (name, value) in [("region", "eu"), ("tier", "3"), ("vip", "true"), ("ratio", "1.5")] {
            assert_eq!(found.get(name), Some(value));
        }
        assert_eq!(found.content_type.as_deref(), Some("application/vnd.a+json"));
        assert!(request.headers.contains_key("webhook-signature"));
    }
    for (name, value) in
        [("traceId", "1"), ("", "1"), ("id", "\"x\""), ("data", "1"), ("a", "[]"), ("a", "\"\"")]
    {
        let mut spec = dialect(MODES[0], &[]);
        spec.payload.shape = Shape::CloudEvent {
            mode: CloudEventMode::Binary,
            extensions: vec![(name.to_owned(), value.to_owned())],
        };
        let faults = Blueprint::compile(&spec).expect_err("a fault");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(faults[0].setting, format!("payload.extra.{name}"));
    }
    let mut spec = dialect(MODES[1], &[]);
    spec.payload.content_type = Some("application/cloudevents+json".to_owned());
    spec.headers = vec![header("CE-Id", "x")];
    let settings: Vec<String> =
        Blueprint::compile(&spec).expect_err("faults").into_iter().map(|fault| fault.setting).collect();
    assert_eq!(settings, ["headers.CE-Id", "payload.content_type"]);
}
