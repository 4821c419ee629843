//! Every row of the table of payloads (DIALECTS.md §2): the whole body, so that each member that a
//! row names is there, in its place and form.

use hookferry::wire::Request;
use hookferry::wire::verify::Verifier;
use serde_json::{Value, json};

use crate::rendering::{self, AT_MS};

/// All that receivers of the first system read, and what they can't know: a member that passes through
/// and one that has the name of another.
const COST: &str = r#"{
  "event_id": "e-1", "type": "cost.spike_detected", "time": "2025-01-02T03:04:05Z",
  "data": {
    "severity": "high", "title": "Too \"much\"", "description": "<by half>\n\u2028 & more",
    "resource": { "type": "model", "id": "m-1", "name": "large" },
    "metrics": { "current": 150.0, "threshold": 1e2, "changePercentage": 50.50, "unit": "USD", "estimated_savings": 12.50 },
    "cost": { "amount": 525.50, "currency": "USD", "period": "day", "breakdown": { "output": 25.5, "input": 500 } },
    "user": { "id": "u-1", "name": "Ada", "email": "ada@example.com" },
    "project": { "id": "p-1", "name": "Production" },
    "optimization_id": "o-1", "event_type": "not this one"
  }
}"#;

const PLAIN: &str = r#"{"event_id": "e-1", "type": "order.paid", "time": "2025-01-02T03:04:05Z", "subject": "order/7", "source": "/shop", "correlation": "c-1", "data": {"n": 1.50, "list": [ ]}}"#;

/// What a target with these keys sends.
fn sent(keys: &str, body: &str) -> String {
    text(&rendering::request(keys, body.as_bytes(), &[], AT_MS))
}

fn text(request: &Request) -> String {
    String::from_utf8(request.body.to_vec()).expect("UTF-8")
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.get(name).map(|value| value.to_str().expect("visible ASCII"))
}

/// Names and values of all `ce-` headers, in the order of their names.
fn attributes(request: &Request) -> Vec<(&str, &str)> {
    let mut attributes: Vec<(&str, &str)> = request
        .headers
        .keys()
        .filter_map(|name| Some((name.as_str().strip_prefix("ce-")?, header(request, name.as_str())?)))
        .collect();
    attributes.sort_unstable();
    attributes
}

#[test]
fn row_1_cost_katana() {
    let keys = "dialect: cost-katana, payload: { extra: { costkatana: { version: '2.0', environment: production } } }";
    assert_eq!(
        sent(keys, COST),
        concat!(
            r#"{"event_id":"e-1","event_type":"cost.spike_detected","occurred_at":"2025-01-02T03:04:05Z","#,
            r#""severity":"high","title":"Too \"much\"","description":"<by half>\n"#,
            "\u{2028}",
            r#" & more","resource":{"type":"model","id":"m-1","name":"large"},"#,
            r#""metrics":{"current":150,"threshold":100,"changePercentage":50.5,"unit":"USD","estimated_savings":12.5},"#,
            r#""cost":{"amount":525.5,"currency":"USD","period":"day","breakdown":{"output":25.5,"input":500}},"#,
            r#""user":{"id":"u-1","name":"Ada","email":"ada@example.com"},"project":{"id":"p-1","name":"Production"},"#,
            r#""optimization_id":"o-1","costkatana":{"version":"2.0","environment":"production"}}"#
        )
    );
    assert_eq!(
        sent(
            "dialect: cost-katana",
            r#"{"event_id":"e-2","type":"a.b","time":"2025-01-02T03:04:05Z","data":{}}"#
        ),
        r#"{"event_id":"e-2","event_type":"a.b","occurred_at":"2025-01-02T03:04:05Z"}"#,
        "absent parts are left out"
    );
}

#[test]
fn row_1_cost_katana_with_a_template() {
    let template = r#"{"text": "{{event.data.title}}\n{{event.data.description}}", "username": "{{user.name}}, {{project.name}}",
      "event": ["{{event.eventId}}", "{{event.eventType}}", "{{event.occurredAt}}", "{{event.userId}}", "{{event.projectId}}"],
      "at": "{{timestamp}}", "by": "{{costKatana.version}}", "cost": {{json event.data.cost.breakdown}},
      "raw": "{{{event.data.resource.name}}}"{{#if event.data.severity}}, "severity": "{{event.data.severity}}"{{/if}}{{#if event.data.gone}}, "gone": 1{{/if}}}"#;
    let keys = format!(
        "dialect: cost-katana, secrets: [a-secret-of-the-test], payload: {{ template: '{template}', extra: {{ costKatana: {{ version: '2.0' }} }} }}"
    );
    let request = rendering::request(&keys, COST.as_bytes(), &[], AT_MS);
    assert_eq!(
        text(&request),
        concat!(
            r#"{"text":"Too \"much\"\n<by half>\n"#,
            "\u{2028}",
            r#" & more","username":"Ada, Production","#,
            r#""event":["e-1","cost.spike_detected","2025-01-02T03:04:05Z","u-1","p-1"],"#,
            r#""at":"2025-01-02T03:04:05Z","by":"2.0","cost":{"output":25.5,"input":500},"raw":"large","severity":"high"}"#
        )
    );
    let plan = rendering::plan(&keys);
    let signature = plan.targets[0].request.signature.as_ref().expect("it signs");
    let verifier = Verifier::compile(signature, "t").expect("it compiles");
    verifier.verify(&request.headers, &request.body, AT_MS).expect("the rendered text is what is signed");
}

#[test]
fn row_2_ops_center() {
    assert_eq!(
        sent("dialect: ops-center, id: wh-9", PLAIN),
        r#"{"event":"order.paid","timestamp":"2025-01-02T03:04:05Z","data":{"n":1.50,"list":[]},"webhook_id":"wh-9"}"#
    );
}

#[test]
fn row_3_llm_optimizer() {
    assert_eq!(
        sent("dialect: llm-optimizer", PLAIN),
        r#"{"id":"e-1","eventType":"order.paid","timestamp":1735787045000,"data":{"n":1.5,"list":[]},"version":"1.0"}"#
    );
    let keys = "dialect: llm-optimizer, payload: { extra: { version: '2.1', source: '{{event.source}}', correlationId: '{{body.correlation}}', metadata: '{{body.gone}}' } }";
    assert_eq!(
        sent(keys, PLAIN),
        r#"{"id":"e-1","eventType":"order.paid","timestamp":1735787045000,"data":{"n":1.5,"list":[]},"version":"2.1","source":"/shop","correlationId":"c-1"}"#
    );
}

#[test]
fn row_4_dcision() {
    assert_eq!(sent("dialect: dcision", PLAIN), r#"{"event":"order.paid","data":{"n":1.5,"list":[]}}"#);
}

#[test]
fn row_5_standard_webhooks() {
    assert_eq!(
        sent("dialect: standard-webhooks", PLAIN),
        r#"{"type":"order.paid","timestamp":"2025-01-02T03:04:05Z","data":{"n":1.50,"list":[]}}"#
    );
}

#[test]
fn row_6_cloudevents() {
    let envelope = json!({ "specversion": "1.0", "id": "e-2", "source": "/theirs", "type": "order.paid",
        "time": "2025-01-02T03:04:05+01:00", "dataschema": "https://x.example/s", "region": "eu", "data": { "n": 1 } })
    .to_string();
    let told = [("content-type", "application/cloudevents+json; charset=utf-8")];

    let binary = |body: &str, headers: &[_]| {
        rendering::request("dialect: cloudevents-binary", body.as_bytes(), headers, AT_MS)
    };
    let plain = binary(PLAIN, &[]);
    assert_eq!(
        (&*text(&plain), header(&plain, "content-type")),
        (r#"{"n": 1.50, "list": [ ]}"#, Some("application/json"))
    );
    let own = [
        ("id", "e-1"),
        ("source", "/shop"),
        ("specversion", "1.0"),
        ("subject", "order/7"),
        ("time", "2025-01-02T03:04:05Z"),
        ("type", "order.paid"),
    ];
    assert_eq!(attributes(&plain), own);
    let passed = binary(&envelope, &told);
    assert_eq!((&*text(&passed), header(&passed, "content-type")), (r#"{"n":1}"#, Some("application/json")));
    let theirs = [
        ("dataschema", "https://x.example/s"),
        ("id", "e-2"),
        ("region", "eu"),
        ("source", "/theirs"),
        ("specversion", "1.0"),
        ("time", "2025-01-02T03:04:05+01:00"),
        ("type", "order.paid"),
    ];
    assert_eq!(attributes(&passed), theirs);

    for (body, headers, wanted) in [(PLAIN, &[][..], &own[..]), (&envelope, &told, &theirs)] {
        let request = rendering::request("dialect: cloudevents-structured", body.as_bytes(), headers, AT_MS);
        assert_eq!(attributes(&request), [], "no attribute has a header");
        assert_eq!(header(&request, "content-type"), Some("application/cloudevents+json"));
        let mut members: Value = serde_json::from_slice(&request.body).expect("JSON");
        let data = members["data"].take();
        assert_eq!(data["n"].as_f64(), Some(if body == PLAIN { 1.5 } else { 1.0 }));
        let mut expected = json!({ "datacontenttype": "application/json", "data": null });
        wanted.iter().for_each(|(name, value)| expected[*name] = json!(value));
        assert_eq!(members, expected);
    }
}

#[test]
fn row_7_raw() {
    for body in [&b" {\"b\": 1.0, \"a\": \"\\u00e9\"}\n"[..], &b"\x00\xff no JSON"[..]] {
        let request = rendering::request("dialect: raw", body, &[("content-type", "text/x-own")], AT_MS);
        assert_eq!(&*request.body, body);
        assert_eq!(header(&request, "content-type"), Some("text/x-own"));
    }
}
