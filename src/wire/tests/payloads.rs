use hyper::header::CONTENT_TYPE;

use super::*;

fn body_of(name: &str, event: &Event) -> String {
    body(&rendered(&dialect(name, &[]), event)).to_owned()
}

fn refusal(name: &str, event: &Event) -> String {
    compiled(&dialect(name, &[])).render(event, 1, NOW_MS).expect_err("unrenderable").to_string()
}

/// The event has id, time and an empty body that is valid JSON; all else is absent.
fn bare() -> Event {
    Event {
        event_type: None,
        time: EventTime { unix_ms: 1_699_999_999_007, text: None },
        ..with_body("{}", "")
    }
}

#[test]
fn an_event_without_what_receivers_need_is_unrenderable() {
    let typed = Event { event_type: Some("t".into()), ..bare() };
    for name in ["ops-center", "llm-optimizer", "dcision", "standard-webhooks"] {
        assert_eq!(
            refusal(name, &bare()),
            "the payload needs the event's type, and the event has none",
            "{name}"
        );
        assert_eq!(
            refusal(name, &typed),
            "the payload needs the event's data, and the event has none",
            "{name}"
        );
    }
}

#[test]
fn what_receivers_can_do_without_is_left_out() {
    let untyped = Event { event_type: None, ..with_body(r#"{"a":1}"#, "") };
    let untyped = Event { data: Data::Slice(0..7), ..untyped };
    assert_eq!(
        body_of("cost-katana", &untyped),
        r#"{"event_id":"evt_42","occurred_at":"2023-11-14T22:13:19Z","a":1}"#
    );
}

#[test]
fn the_rest_of_the_data_keeps_its_order_and_loses_its_collisions() {
    let event = with_body(
        r#"{"data":{"z":1.0,"event_id":"x","b":{"2":0,"1":0},"\u006fccurred_at":0,"7":"first","z":2.50,"event_type":"y"}}"#,
        "data",
    );

    assert_eq!(
        body_of("cost-katana", &event),
        r#"{"7":"first","event_id":"evt_42","event_type":"cost.spike_detected","occurred_at":"2023-11-14T22:13:19Z","z":2.5,"b":{"1":0,"2":0}}"#
    );
    let untyped = Event { event_type: None, ..event };
    assert!(!body_of("cost-katana", &untyped).contains("event_type"), "a left-out name stays taken");
}

#[test]
fn the_rest_of_the_data_needs_an_object() {
    assert_eq!(
        refusal("cost-katana", &with_body(r#"{"data":[1]}"#, "data")),
        "the payload is made of the members of the event's data, which is no JSON object"
    );
    assert_eq!(
        refusal("cost-katana", &with_body("{}", "data")),
        "the payload is made of the event's data, and it has none"
    );
}

#[test]
fn a_body_that_is_not_json_is_only_delivered_raw() {
    let content = Content::NotJson("expected value at line 1 column 1".into());
    let event = Event { content, ..with_body("hello", "") };

    for name in ["cost-katana", "ops-center", "llm-optimizer", "dcision", "standard-webhooks"] {
        assert_eq!(
            refusal(name, &event),
            "the payload needs the event's data, and the body is not JSON: expected value at line 1 column 1",
            "{name}"
        );
    }
    let request = rendered(&dialect("raw", &[]), &event);
    assert_eq!(body(&request), "hello");
    assert_eq!(request.headers[CONTENT_TYPE], "application/octet-stream");
    let from_a_header = Event { data: Data::Text("\"text\"".into()), ..event };
    assert_eq!(body_of("dcision", &from_a_header), r#"{"event":"cost.spike_detected","data":"text"}"#);
}

#[test]
fn text_in_event_parts_is_escaped() {
    let mut event = with_body(r#"{"data":0}"#, "data");
    event.event_type = Some("a\"b\n\u{1f600}".into());

    assert_eq!(body_of("dcision", &event), r#"{"event":"a\"b\n😀","data":0}"#);
}

#[test]
fn subject_and_constants_can_be_members() {
    let mut spec = dialect("raw", &[]);
    spec.payload.shape = Shape::Members(vec![
        named("about", Value::EventSubject),
        named("fixed", Value::Literal(r#" { "b" : 1.0 , "a" : "x y" } "#.to_owned())),
    ]);
    let mut event = event();

    assert_eq!(body(&rendered(&spec, &event)), r#"{"fixed":{"b":1.0,"a":"x y"}}"#);
    event.subject = Some("order/1".into());
    spec.payload.json = JsonForm::Sorted;
    assert_eq!(body(&rendered(&spec, &event)), r#"{"about":"order/1","fixed":{"a":"x y","b":1.0}}"#);
}

#[test]
fn a_raw_body_is_the_messages_own_memory_and_content_type() {
    let mut event = event();
    event.headers = [
        ("x-internal".into(), Bytes::from_static(b"1")),
        ("Content-Type".into(), Bytes::from_static(b"application/cloudevents+json")),
    ]
    .into();
    let mut spec = dialect("raw", &[]);
    let request = rendered(&spec, &event);

    assert_eq!(request.body.as_ptr(), event.body.as_ptr());
    assert_eq!(request.headers[CONTENT_TYPE], "application/cloudevents+json");
    assert!(!request.headers.contains_key("x-internal"), "message headers are not forwarded");
    spec.payload.content_type = Some("text/plain".to_owned());
    assert_eq!(rendered(&spec, &event).headers[CONTENT_TYPE], "text/plain");
    event.headers = [("content-type".into(), Bytes::from_static(b"text/plain\r\nx: y"))].into();
    assert_eq!(rendered(&dialect("raw", &[]), &event).headers[CONTENT_TYPE], "application/json");
}

#[test]
fn data_that_is_nested_too_deep_for_its_form_is_unrenderable() {
    let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let event = with_body(&deep, "data");

    assert_eq!(
        refusal("dcision", &event),
        "the event's data can't be written: the JSON is nested deeper than 128 levels"
    );
    assert!(body_of("standard-webhooks", &event).contains("[[[["));
}
