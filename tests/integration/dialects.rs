//! Every signature preset is accepted by a verifier that is written from its own description.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::bridge::Bridge;
use crate::receiver::{Receiver, Request};
use crate::record::Record;
use crate::scene::{SECRET, Scene};
use crate::stage::Stage;

const PLAIN: &str = "a-plain-secret";
const NEAR_MS: i64 = 60_000;

fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

/// A header's text, which must be there.
fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.header(name).unwrap_or_else(|| panic!("{} lacks {name}: {:#?}", request.path, request.headers))
}

/// A timestamp header that must be close to now, in units of so many milliseconds.
fn fresh<'a>(request: &'a Request, name: &str, unit: i64) -> &'a str {
    let text = header(request, name);
    let age = now_ms() - text.parse::<i64>().unwrap() * unit;
    assert!(age.abs() < NEAR_MS, "{name}: {text}");
    text
}

fn verify(request: &Request) {
    let (body, key) = (request.body.as_slice(), PLAIN.as_bytes());
    assert_eq!(header(request, "content-type").split(';').next(), Some("application/json"));
    match request.path.as_str() {
        "/cost-katana" => {
            let ts = fresh(request, "x-costkatana-timestamp", 1);
            let wanted = format!("sha256={}", hex(&mac(key, &[ts.as_bytes(), b".", body])));
            assert_eq!(header(request, "x-costkatana-signature"), wanted);
            assert_eq!(header(request, "x-costkatana-event-id"), "d-1");
            assert_eq!(header(request, "x-costkatana-webhook-id"), "cost-katana");
            assert_eq!(header(request, "user-agent"), "CostKatana-Webhook/1.0");
            assert_eq!(request.json()["event_id"], "d-1");
            assert_eq!(request.json()["severity"], "high");
        }
        "/ops-center" => {
            assert_eq!(header(request, "x-webhook-signature"), hex(&mac(key, &[body])));
            assert_eq!(header(request, "x-webhook-event"), "cost.alert");
            assert_eq!(header(request, "user-agent"), "Ops-Center-Webhook/1.0");
            assert_eq!(request.json()["webhook_id"], "ops-center");
        }
        "/llm-optimizer" => {
            let ts = fresh(request, "x-webhook-timestamp", 1);
            let wanted = hex(&mac(key, &[ts.as_bytes(), b".", body]));
            assert_eq!(header(request, "x-webhook-signature"), wanted);
            assert_eq!(header(request, "x-webhook-algorithm"), "sha256");
            assert_eq!(header(request, "x-webhook-event-id"), "d-1");
            let value = request.json();
            let members: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(members, ["id", "eventType", "timestamp", "data", "version"]);
        }
        "/dcision" => {
            let ts = fresh(request, "x-dcisionai-timestamp", 1000);
            let wanted = hex(&mac(key, &[ts.as_bytes(), b".", body]));
            assert_eq!(header(request, "x-dcisionai-signature"), wanted);
            assert_eq!(request.json()["event"], "cost.alert");
        }
        "/standard-webhooks" => {
            let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).unwrap();
            let ts = fresh(request, "webhook-timestamp", 1000);
            let parts: [&[u8]; 5] = [b"d-1", b".", ts.as_bytes(), b".", body];
            let wanted = format!("v1,{}", STANDARD.encode(mac(&key, &parts)));
            assert_eq!(header(request, "webhook-signature"), wanted);
            assert_eq!(header(request, "webhook-id"), "d-1");
        }
        "/github" => {
            let wanted = format!("sha256={}", hex(&mac(key, &[body])));
            assert_eq!(header(request, "x-hub-signature-256"), wanted);
            assert_eq!(header(request, "x-github-event"), "cost.alert");
        }
        "/stripe" => {
            let signature = header(request, "stripe-signature");
            let (ts, _) = signature.strip_prefix("t=").unwrap().split_once(',').unwrap();
            let each = |key: &str| hex(&mac(key.as_bytes(), &[ts.as_bytes(), b".", body]));
            let wanted = format!("t={ts},v1={},v1={}", each(PLAIN), each("the-old-one"));
            assert_eq!(signature, wanted);
        }
        "/shopify" => {
            assert_eq!(header(request, "x-shopify-hmac-sha256"), STANDARD.encode(mac(key, &[body])));
            assert_eq!(header(request, "x-shopify-topic"), "cost/alert");
        }
        "/slack" => {
            let ts = fresh(request, "x-slack-request-timestamp", 1000);
            let wanted = format!("v0={}", hex(&mac(key, &[b"v0:", ts.as_bytes(), b":", body])));
            assert_eq!(header(request, "x-slack-signature"), wanted);
        }
        "/general" => {
            let ts = fresh(request, "x-time", 1000);
            let wanted = format!("v9={}", hex(&mac(key, &[ts.as_bytes(), b"|d-1|", body])));
            assert_eq!(header(request, "x-sig"), wanted);
        }
        "/chat" => {
            let wanted = r#"{"text": "Too much: \"525.5\"", "n": 525.5, "try": 1}"#;
            assert_eq!(str::from_utf8(body).unwrap(), wanted);
            assert_eq!(header(request, "x-kind"), "event cost.alert");
        }
        "/cloudevents" => {
            assert_eq!(header(request, "ce-id"), "d-1");
            assert_eq!(header(request, "ce-type"), "cost.alert");
            assert_eq!(header(request, "ce-time"), "2025-01-02T03:04:05Z");
            assert_eq!(request.json()["title"], "Too much");
        }
        other => panic!("nothing should come to {other}"),
    }
}

#[test]
fn every_preset_and_the_general_form_verify() {
    let scene = Scene::new("dialects", 1);
    let receiver = Receiver::ok();
    let value = json!({
        "event_id": "d-1", "type": "cost.alert", "time": "2025-01-02T03:04:05Z",
        "data": { "severity": "high", "title": "Too much", "cost": { "amount": 525.50, "currency": "USD" } }
    });
    scene.cluster.produce(&scene.topic, [Record::json(&value)]);
    let url = receiver.url("");
    let plain = ["cost-katana", "ops-center", "llm-optimizer", "dcision", "github", "slack"];
    let mut targets: String = plain
        .iter()
        .map(|d| {
            format!("  {d}: {{ url: '{url}/{d}', egress: private, dialect: {d}, secrets: ['{PLAIN}'] }}\n")
        })
        .collect();
    targets += &format!(
        "  standard-webhooks: {{ url: '{url}/standard-webhooks', egress: private, dialect: standard-webhooks, secrets: ['{SECRET}'] }}
  stripe: {{ url: '{url}/stripe', egress: private, dialect: stripe, secrets: ['{PLAIN}', the-old-one] }}
  shopify:
    url: '{url}/shopify'
    egress: private
    dialect: shopify
    secrets: ['{PLAIN}']
    headers: {{ X-Shopify-Shop-Domain: shop.example.com, X-Shopify-API-Version: '2025-01' }}
  general:
    url: '{url}/general'
    egress: private
    secrets: ['{PLAIN}']
    signature:
      message: '{{{{timestamp}}}}|{{{{id}}}}|{{{{body}}}}'
      algorithm: hmac-sha256
      key: text
      encoding: hex
      each: 'v9={{{{signature}}}}'
      timestamp: seconds
      headers: {{ X-Sig: '{{{{signatures}}}}', X-Time: '{{{{timestamp}}}}' }}
  chat:
    url: '{url}/chat'
    egress: private
    headers: {{ X-Kind: 'event {{{{event.type}}}}' }}
    payload:
      template: '{{\"text\": \"{{{{event.data.title}}}}: \\\"{{{{body.data.cost.amount}}}}\\\"\", \"n\": {{{{event.data.cost.amount}}}}, \"try\": {{{{attempt}}}}}}'
  cloudevents: {{ url: '{url}/cloudevents', egress: private, dialect: cloudevents-binary }}
"
    );
    let all = "cost-katana, ops-center, llm-optimizer, dcision, standard-webhooks, github, stripe, shopify, slack, general, chat, cloudevents";
    let bridge = Bridge::ready(
        &scene.config(&format!("targets:\n{targets}routes:\n  - {{ types: ['*'], to: [{all}] }}")),
    );
    receiver.wait_count(12);
    scene.cluster.wait_committed_to_end(&scene.group, &scene.topic);
    receiver.requests().iter().for_each(|request| verify(request));
    assert_eq!(receiver.count(), 12);
    bridge.stop();
}

#[test]
fn integers_that_javascript_cannot_hold_are_kept_and_said_once() {
    const EVENTS: usize = 30;
    let scene = Scene::new("dialects", 1);
    let receiver = Receiver::ok();
    let body = r#"{"type":"cost.alert","data":{"n":9007199254740993}}"#;
    scene.cluster.produce(&scene.topic, (0..EVENTS).map(|_| Record::bytes(body)));
    let url = receiver.url("");
    let bridge = Bridge::ready(&scene.config(&format!(
        "targets:
  kept: {{ url: '{url}/kept', egress: private, dialect: dcision, ordering: none }}
  rounded: {{ url: '{url}/rounded', egress: private, dialect: dcision, ordering: none, payload: {{ big_integers: round }} }}
  exact: {{ url: '{url}/exact', egress: private, payload: data }}
routes:
  - {{ types: ['*'], to: [kept, rounded, exact] }}"
    )));
    receiver.wait_count(3 * EVENTS);
    scene.cluster.wait_committed_to_end(&scene.group, &scene.topic);
    for (path, digits) in [("/kept", "740993"), ("/rounded", "740992"), ("/exact", "740993")] {
        for request in receiver.requests_to(path) {
            let body = str::from_utf8(&request.body).unwrap();
            assert!(body.contains(&format!("\"n\":9007199254{digits}}}")), "{path}: {body}");
        }
    }
    let said = bridge.log_lines(&["beyond 2^53"]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("kept"), "{said:?}");
    bridge.stop();
}
