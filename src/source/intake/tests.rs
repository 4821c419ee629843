use std::sync::Arc;

use bytes::Bytes;

use super::{Intake, Message, Namespace};
use crate::domain::{Content, Data, Event, Field, Generation, Kind, Lease, Path, Place, SourceId};
use crate::plan::{EventParts, Plan};
use crate::source::test_plan;

fn intake_of(plan: &Plan) -> Intake {
    Intake::new(plan, &plan.sources[0], SourceId(0), Namespace::Kafka { cluster: "cluster-1".into() })
}

fn intake(parts: EventParts, fields: Vec<Place>) -> Intake {
    let mut plan = test_plan::offline(fields);
    plan.sources[0].event = parts;
    intake_of(&plan)
}

fn plain() -> Intake {
    intake(EventParts::default(), Vec::new())
}

fn message<'a>(value: Option<&'a str>, headers: &[(&str, &str)]) -> Message<'a> {
    let header = |(name, value): &(&str, &str)| (Box::from(*name), Bytes::copy_from_slice(value.as_bytes()));
    Message {
        topic: "events".into(),
        partition: 3,
        position: 42,
        subject: None,
        timestamp_ms: Some(1_777_898_400_123),
        key: Some(b"customer-1"),
        value: value.map(str::as_bytes),
        headers: headers.iter().map(header).collect(),
    }
}

fn read(intake: &Intake, message: Message<'_>) -> Event {
    intake.read(message, Generation(7), Arc::new(Lease::unlimited()))
}

fn body(names: &[&str]) -> Place {
    Place::Body(Path(names.iter().map(|name| Box::from(*name)).collect()))
}

fn data(names: &[&str]) -> Place {
    Place::Data(Path(names.iter().map(|name| Box::from(*name)).collect()))
}

fn header(name: &str) -> Place {
    Place::Header(name.into())
}

fn data_text(event: &Event) -> Option<String> {
    match &event.data {
        Data::Slice(range) => Some(String::from_utf8(event.body[range.clone()].to_vec()).expect("UTF-8")),
        Data::Text(text) => Some(text.to_string()),
        Data::Absent => None,
    }
}

#[test]
fn the_parts_of_a_plain_event_are_found_at_their_default_places() {
    let json = r#"{"event_id":"e-1","event_type":"billing.paid","time":"2026-05-04T12:30:00+02:00",
        "subject":"inv-9","source":"/billing","data":{"amount":5}}"#;
    let event = read(&plain(), message(Some(json), &[("trace", "t1")]));

    assert_eq!(&*event.id, "e-1");
    assert_eq!(event.event_type.as_deref(), Some("billing.paid"));
    assert_eq!(event.time.text.as_deref(), Some("2026-05-04T12:30:00+02:00"));
    assert_eq!(event.time.unix_ms, 1_777_890_600_000);
    assert_eq!(event.subject.as_deref(), Some("inv-9"));
    assert_eq!(event.key.as_deref(), Some("customer-1"));
    assert_eq!(&*event.producer, "/billing");
    assert_eq!(event.kind, Kind::Regular);
    assert_eq!(event.content, Content::Json);
    assert_eq!(event.body, json.as_bytes());
    assert_eq!(data_text(&event).as_deref(), Some(r#"{"amount":5}"#));
    assert_eq!(&*event.headers, &[(Box::from("trace"), Bytes::from("t1"))]);
    assert_eq!((&*event.origin.topic, event.origin.partition, event.origin.position), ("events", 3, 42));
    assert_eq!(event.origin.stored_ms, 1_777_898_400_123);
    assert_eq!(event.origin.key.as_deref(), Some(b"customer-1".as_slice()));
    assert_eq!(event.generation, Generation(7));
}

#[test]
fn the_first_present_place_wins_and_headers_come_first() {
    let json = r#"{"type":"from.body","event":"other"}"#;
    let with = |headers: &[(&str, &str)]| read(&plain(), message(Some(json), headers)).event_type;

    assert_eq!(with(&[("Event-Type", "from.header")]).as_deref(), Some("from.header"));
    assert_eq!(with(&[("event-type", "first"), ("event-type", "last")]).as_deref(), Some("last"));
    assert_eq!(with(&[("event-type", "")]).as_deref(), Some("from.body"), "an empty header is absent");
    assert_eq!(with(&[]).as_deref(), Some("from.body"));
    let only_event = read(&plain(), message(Some(r#"{"type":null,"event":"x.y"}"#), &[]));
    assert_eq!(only_event.event_type.as_deref(), Some("x.y"), "null is absent");
}

#[test]
fn what_is_nowhere_is_absent_or_made_from_the_origin() {
    let event = read(&plain(), message(Some("[1]"), &[]));

    assert_eq!(event.event_type, None);
    assert_eq!(event.subject, None);
    assert_eq!(&*event.producer, "/orders");
    assert_eq!((event.time.unix_ms, event.time.text.as_deref()), (1_777_898_400_123, None));
    assert_eq!(data_text(&event).as_deref(), Some("[1]"), "the whole body is the data");
    // Computed apart from this code, over the length-prefixed
    // cluster-1, events, 3, 42, 1777898400123.
    assert_eq!(&*event.id, ORIGIN_ID);
}

const ORIGIN_ID: &str = "evt_c0ebaeb09db9cf4e6712407f95299084";

#[test]
fn an_id_follows_the_origin_and_nothing_else() {
    let id = |intake: &Intake, change: &dyn Fn(&mut Message<'_>)| {
        let mut message = message(Some("{}"), &[]);
        change(&mut message);
        read(intake, message).id
    };
    let same = id(&plain(), &|_| {});

    assert_eq!(same, id(&plain(), &|message| message.key = None));
    assert_eq!(same, id(&plain(), &|message| message.value = Some(b"not json")));
    assert_ne!(same, id(&plain(), &|message| message.position = 43));
    assert_ne!(same, id(&plain(), &|message| message.partition = 4));
    assert_ne!(same, id(&plain(), &|message| message.topic = "event".into()));
    assert_ne!(same, id(&plain(), &|message| message.timestamp_ms = Some(0)));
    let plan = test_plan::offline(Vec::new());
    let elsewhere =
        Intake::new(&plan, &plan.sources[0], SourceId(0), Namespace::Kafka { cluster: "cluster-2".into() });
    assert_ne!(same, id(&elsewhere, &|_| {}));
}

#[test]
fn an_own_id_that_receivers_could_misread_is_hashed() {
    let event = read(&plain(), message(Some(r#"{"event_id":"a.b"}"#), &[]));
    assert!(event.id.starts_with("evt_") && event.id.len() == 36, "{}", event.id);
    let number = read(&plain(), message(Some(r#"{"event_id":17}"#), &[]));
    assert_eq!(&*number.id, "17");
}

#[test]
fn set_places_replace_the_defaults() {
    let parts = EventParts {
        priority: None,
        tenant: None,
        event_type: Some(vec![header("kind"), Place::Topic]),
        id: Some(vec![Place::Origin]),
        subject: Some(vec![body(&["items", "1", "sku"])]),
        key: Some(vec![body(&["customer", "id"])]),
        producer: Some(vec![Place::Const("/const".into())]),
        time: Some(vec![body(&["at"])]),
        data: Some(vec![body(&["payload", "inner"])]),
    };
    let json = r#"{"type":"ignored","at":1777898400,"items":[{},{"sku":"s-2"}],"customer":{"id":5},
        "payload":{"inner": [true]}}"#;
    let event = read(&intake(parts, Vec::new()), message(Some(json), &[]));

    assert_eq!(event.event_type.as_deref(), Some("events"));
    assert_eq!(&*event.id, "kafka:cluster-1/events/3/42");
    assert_eq!(event.subject.as_deref(), Some("s-2"));
    assert_eq!(event.key.as_deref(), Some("5"));
    assert_eq!(&*event.producer, "/const");
    assert_eq!(event.time.unix_ms, 1_777_898_400_000);
    assert_eq!(data_text(&event).as_deref(), Some("[true]"));
}

#[test]
fn a_priority_is_a_number_within_bounds() {
    let intake =
        intake(EventParts { priority: Some(vec![body(&["p"])]), ..EventParts::default() }, Vec::new());

    for (value, priority) in [
        ("5", Some(5)),
        ("\"-7\"", Some(-7)),
        ("2.9", Some(2)),
        ("1e9", Some(1000)),
        ("-1001", Some(-1000)),
        ("\"urgent\"", None),
        ("\"NaN\"", None),
        ("true", None),
        ("null", None),
        ("[1]", None),
    ] {
        let event = read(&intake, message(Some(&format!(r#"{{"p":{value}}}"#)), &[]));
        assert_eq!(event.priority, priority, "{value}");
    }
    let silent = read(&plain(), message(Some(r#"{"p":5,"priority":5}"#), &[]));
    assert_eq!(silent.priority, None, "no place is looked at unless it is set");
}

#[test]
fn fields_are_read_for_routes() {
    let fields = vec![
        body(&["cost", "amount"]),
        body(&["nothing"]),
        data(&["severity"]),
        header("region"),
        Place::Topic,
        Place::Key,
        Place::Broker,
        body(&["tags"]),
        body(&["nil"]),
    ];
    let json = r#"{"cost":{"amount":10.5},"data":{"severity":"high"},"tags":["a",1],"nil":null}"#;
    let event = read(&intake(EventParts::default(), fields), message(Some(json), &[("Region", "eu")]));

    let text = |text: &str| Some(Field::Text(text.into()));
    assert_eq!(
        *event.fields,
        [
            Some(Field::Float(10.5)),
            None,
            text("high"),
            text("eu"),
            text("events"),
            text("customer-1"),
            Some(Field::Integer(1_777_898_400_123)),
            Some(Field::List([Field::Text("a".into()), Field::Integer(1)].into())),
            Some(Field::Null),
        ]
    );
}

#[test]
fn a_field_below_data_follows_the_data_place_that_is_present() {
    let parts =
        EventParts { priority: None, data: Some(vec![body(&["a"]), body(&["b"])]), ..EventParts::default() };
    let intake = intake(parts, vec![data(&["x"])]);
    let field = |json: &str| read(&intake, message(Some(json), &[])).fields[0].clone();

    assert_eq!(field(r#"{"a":{"x":1},"b":{"x":2}}"#), Some(Field::Integer(1)));
    assert_eq!(field(r#"{"b":{"x":2}}"#), Some(Field::Integer(2)));
    assert_eq!(field(r#"{"a":{},"b":{"x":2}}"#), None, "a is the data, and has no x");
}

#[test]
fn data_from_a_header_is_a_json_string() {
    let parts = EventParts { priority: None, data: Some(vec![header("note")]), ..EventParts::default() };
    let event = read(&intake(parts, vec![data(&[])]), message(Some("{}"), &[("note", "say \"hi\"")]));

    assert_eq!(event.data, Data::Text(r#""say \"hi\"""#.into()));
    assert_eq!(event.fields[0], Some(Field::Text("say \"hi\"".into())));
}

#[test]
fn a_structured_cloud_event_is_its_envelope() {
    let json = r#"{"specversion":"1.0","id":"ce-1","type":"com.example.paid","source":"/shop","subject":"s",
        "time":"2026-05-04T12:30:00Z","event_type":"wrong","data":{"n":1}}"#;
    let headers = [("Content-Type", "application/cloudevents+json; charset=utf-8"), ("ce_type", "wrong")];
    let event = read(&plain(), message(Some(json), &headers));

    assert_eq!(&*event.id, "ce-1");
    assert_eq!(event.event_type.as_deref(), Some("com.example.paid"));
    assert_eq!(&*event.producer, "/shop");
    assert_eq!(event.subject.as_deref(), Some("s"));
    assert_eq!(event.time.text.as_deref(), Some("2026-05-04T12:30:00Z"));
    assert_eq!(data_text(&event).as_deref(), Some(r#"{"n":1}"#));
}

#[test]
fn a_structured_cloud_event_may_carry_its_data_in_base64() {
    let headers = [("content-type", "application/cloudevents+json")];
    let intake = intake(EventParts::default(), vec![data(&["n"])]);
    // {"n":1}
    let document = read(&intake, message(Some(r#"{"id":"1","data_base64":"eyJuIjoxfQ=="}"#), &headers));
    assert_eq!(document.data, Data::Text(r#"{"n":1}"#.into()));
    assert_eq!(document.fields[0], Some(Field::Integer(1)));

    let bytes = read(&intake, message(Some(r#"{"id":"1","data_base64":"AAEC"}"#), &headers));
    assert_eq!(data_text(&bytes).as_deref(), Some(r#""AAEC""#));
    assert_eq!(bytes.fields[0], None);
}

#[test]
fn a_binary_cloud_event_is_its_headers() {
    for prefix in ["ce_", "ce-"] {
        let named = |name: &str| format!("{prefix}{name}");
        let [version, id, kind, source] = ["specversion", "id", "type", "source"].map(named);
        let headers = [(&*version, "1.0"), (&*id, "ce-2"), (&*kind, "a.b"), (&*source, "/s")];
        let json = r#"{"type":"wrong","event_id":"wrong","data":1,"subject":"wrong"}"#;
        let event = read(&plain(), message(Some(json), &headers));

        assert_eq!(&*event.id, "ce-2");
        assert_eq!(event.event_type.as_deref(), Some("a.b"));
        assert_eq!(&*event.producer, "/s");
        assert_eq!(event.subject, None, "the envelope has none");
        assert_eq!(data_text(&event).as_deref(), Some(json), "the whole body is the data");
    }
}

#[test]
fn what_the_configuration_sets_wins_over_an_envelope() {
    let parts =
        EventParts { priority: None, event_type: Some(vec![body(&["kind"])]), ..EventParts::default() };
    let headers = [("ce_specversion", "1.0"), ("ce_type", "envelope"), ("ce_id", "ce-3")];
    let event = read(&intake(parts, Vec::new()), message(Some(r#"{"kind":"own"}"#), &headers));

    assert_eq!(event.event_type.as_deref(), Some("own"));
    assert_eq!(&*event.id, "ce-3");
}

#[test]
fn a_body_that_is_not_json_keeps_its_bytes_and_the_parts_of_its_headers() {
    let event = read(&plain(), message(Some("plain text"), &[("event-type", "note")]));

    assert!(matches!(event.content, Content::NotJson(_)));
    assert_eq!(event.event_type.as_deref(), Some("note"));
    assert_eq!(event.body, "plain text");
    assert_eq!(event.data, Data::Absent);
    let registry = read(&plain(), message(Some("\0\0\0\0\u{1}x"), &[]));
    let Content::NotJson(reason) = registry.content else { panic!("it is not JSON") };
    assert!(reason.contains("byte 0"), "{reason}");
}

#[test]
fn broken_json_gives_no_parts() {
    let event = read(&plain(), message(Some(r#"{"type":"a.b","subject":"s""#), &[]));

    assert!(matches!(event.content, Content::NotJson(_)));
    assert_eq!(event.event_type, None);
    assert_eq!(event.subject, None);
}

#[test]
fn a_tombstone_and_an_oversized_message_have_no_body() {
    let tombstone = read(&plain(), message(None, &[("event-type", "gone")]));
    assert_eq!(tombstone.kind, Kind::Tombstone);
    assert!(tombstone.body.is_empty() && matches!(tombstone.content, Content::NotJson(_)));
    assert_eq!(tombstone.event_type.as_deref(), Some("gone"));

    let mut plan = test_plan::offline(Vec::new());
    plan.limits.max_event = 10;
    let at_the_limit = read(&intake_of(&plan), message(Some("1234567890"), &[]));
    assert_eq!(at_the_limit.kind, Kind::Regular);
    let oversized = read(&intake_of(&plan), message(Some("12345678901"), &[]));
    assert_eq!(oversized.kind, Kind::Oversized(11));
    assert!(oversized.body.is_empty() && oversized.data == Data::Absent);
}

#[test]
fn an_empty_value_is_no_tombstone() {
    let event = read(&plain(), message(Some(""), &[]));
    assert_eq!(event.kind, Kind::Regular);
    assert!(matches!(event.content, Content::NotJson(_)));
}

/// What a reload lets routes look at is found in events that were read before it.
#[test]
fn fields_are_found_later_as_they_would_have_been_at_once() {
    let places = vec![
        body(&["amount"]),
        header("kind"),
        data(&["name"]),
        Place::Key,
        Place::Broker,
        Place::Origin,
        Place::Topic,
    ];
    let value = r#"{"event_id":"e-1","amount":12,"data":{"name":"n"}}"#;
    let message = || message(Some(value), &[("kind", "late")]);
    let later = intake(EventParts::default(), places.clone());
    let mut event = read(&intake(EventParts::default(), places[..1].to_vec()), message());
    assert_eq!(event.fields.len(), 1);

    later.find_fields(&mut event);

    assert_eq!(event.fields, read(&later, message()).fields);
    assert!(event.fields.iter().all(Option::is_some), "{:?}", event.fields);
    assert_eq!(&*event.id, "e-1");
}
