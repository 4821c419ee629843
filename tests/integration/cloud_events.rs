//! CloudEvents out of every kind of message, in both modes, as receivers get them.

use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::receiver::{Answer, Receiver, Request};
use crate::record::Record;
use crate::scene::{SECRET, event};
use crate::stage::{Stage, on_every_broker};

on_every_broker!(
    every_message_becomes_a_cloud_event,
    an_event_without_a_type_is_a_dead_letter,
    a_receiver_is_asked_once_before_the_first_delivery
);

/// An attribute, in either mode.
fn attribute(request: &Request, name: &str) -> Option<String> {
    match request.path.as_str() {
        "/binary" => request.header(&format!("ce-{name}")).map(str::to_owned),
        _ => request.json().get(name).and_then(Value::as_str).map(str::to_owned),
    }
}

/// The data and its content type, in either mode.
fn data(request: &Request) -> (Value, String) {
    if request.path == "/binary" {
        let content_type = request.header("content-type").unwrap_or_default();
        return (request.json(), content_type.to_owned());
    }
    let mut envelope = request.json();
    let content_type = envelope["datacontenttype"].as_str().unwrap_or_default().to_owned();
    (envelope["data"].take(), content_type)
}

fn every_message_becomes_a_cloud_event<S: Stage>() {
    let scene = S::new("cloudevents", 1);
    let receiver = Receiver::ok();
    let structured = json!({ "specversion": "1.0", "id": "structured", "source": "/theirs", "type": "test.made",
        "time": "2024-02-29T12:00:00Z", "region": "eu", "data": { "n": 1 } });
    scene.publish([
        Record::json(&json!({ "event_id": "plain", "type": "test.made", "data": { "n": 1 } })),
        Record::bytes("{\"n\":1}")
            .with("ce_specversion", "1.0")
            .with("ce_id", "binary")
            .with("ce_source", "/theirs")
            .with("ce_type", "test.made")
            .with("ce_time", "2024-02-29T12:00:00Z")
            .with("ce_region", "eu")
            .with("content-type", "application/json"),
        Record::json(&structured).with("content-type", "application/cloudevents+json"),
    ]);
    let url = receiver.url("");
    let bridge = Bridge::ready(&scene.config(&format!(
        "targets:
  binary: {{ url: '{url}/binary', egress: private, dialect: cloudevents-binary }}
  structured: {{ url: '{url}/structured', egress: private, dialect: cloudevents-structured, secrets: ['{SECRET}'] }}
routes:
  - {{ types: ['*'], to: [binary, structured] }}"
    )));
    receiver.wait_count(6);
    scene.wait_settled();

    for path in ["/binary", "/structured"] {
        let mut requests = receiver.requests_to(path);
        requests.sort_by_key(|request| attribute(request, "id"));
        let ids: Vec<Option<String>> = requests.iter().map(|request| attribute(request, "id")).collect();
        assert_eq!(ids, ["binary", "plain", "structured"].map(|id| Some(id.to_owned())), "{path}");
        for request in &requests {
            let said = |name| attribute(request, name);
            assert_eq!(data(request), (json!({ "n": 1 }), "application/json".to_owned()), "{request:?}");
            assert_eq!(said("specversion").as_deref(), Some("1.0"));
            assert_eq!(said("type").as_deref(), Some("test.made"));
            assert!(said("time").is_some(), "{request:?}");
            assert_eq!(said("subject"), None);
            let theirs = said("id").as_deref() != Some("plain");
            assert_eq!(said("source").as_deref(), Some(if theirs { "/theirs" } else { "/events" }));
            assert_eq!(said("region").as_deref(), theirs.then_some("eu"));
            if theirs {
                assert_eq!(said("time").as_deref(), Some("2024-02-29T12:00:00Z"));
            }
            let attributes = request.headers.iter().filter(|(name, _)| name.starts_with("ce-")).count();
            assert_eq!(attributes == 0, path == "/structured", "{request:?}");
            assert_eq!(request.header("webhook-signature").is_some(), path == "/structured");
            if path == "/structured" {
                assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
            }
        }
    }
    bridge.stop();
}

fn an_event_without_a_type_is_a_dead_letter<S: Stage>() {
    let scene = S::new("cloudevents", 1);
    let receiver = Receiver::ok();
    scene.publish([Record::json(&json!({ "event_id": "e-1" }))]);
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/"), "dialect: cloudevents-structured", ""));
    let letter = &scene.wait_letters(1)[0];
    assert_eq!(letter.header("hookferry-reason"), Some("template"), "{letter:?}");
    let error = letter.header("hookferry-last-error").unwrap_or_default();
    assert!(error.contains("needs the event's type"), "{letter:?}");
    assert_eq!(receiver.count(), 0);
    bridge.stop();
}

/// DIALECTS.md, table 2, `cloudevents`: the `OPTIONS` handshake.
fn a_receiver_is_asked_once_before_the_first_delivery<S: Stage>() {
    const EVENTS: usize = 20;
    let scene = S::new("handshake", 1);
    let receiver = Receiver::start(|request| match request.header("webhook-request-origin") {
        Some(origin) => {
            let grant = format!("{origin}\r\nWebHook-Allowed-Rate: 6000");
            Answer::Header(200, "WebHook-Allowed-Origin", grant)
        }
        None => Answer::Status(200),
    });
    scene.publish((0..EVENTS).map(event));
    let keys = "dialect: cloudevents-structured, handshake: { origin: hooks.example.com }";
    let bridge = Bridge::ready(&scene.one_target(&receiver.url("/in"), keys, ""));
    receiver.wait_count(EVENTS + 1);
    scene.wait_settled();

    let requests = receiver.requests();
    let asks = |request: &Request| request.header("webhook-request-origin") == Some("hooks.example.com");
    assert_eq!(requests.iter().position(|request| asks(request)), Some(0));
    assert_eq!(requests.iter().filter(|request| asks(request)).count(), 1);
    assert_eq!((requests[0].path.as_str(), requests[0].body.len()), ("/in", 0));
    bridge.wait_log(&["WARN", "write `rate: { limit: 6000/m }`"]);
    bridge.stop();
}
