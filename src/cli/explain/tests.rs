use std::collections::BTreeMap;

use super::*;
use crate::plan::{Layers, load_text};

const CONFIG: &str = r#"
sources:
  orders: { kafka: { brokers: 'localhost:9092', topics: [events] } }
targets:
  crm:
    url: "https://crm.example.com/hooks/${env:PATH_TOKEN}"
    dialect: github
    secrets: ["${env:CRM_SECRET}"]
    headers: { Authorization: "Bearer ${env:API_TOKEN}" }
  shop:
    url: https://shop.example.com/in
    dialect: ops-center
routes:
  - { name: dear, types: ['order.*'], where: { amount: { gte: 100 } }, to: [crm] }
  - { name: all-orders, types: ['order.*'], to: [shop] }
  - { name: users, types: ['user.*'], to: [crm] }
"#;
const SECRETS: [&str; 3] = ["pathtoken7c1f", "signingkey9d2e", "apitoken4b8a"];

fn plan() -> Plan {
    let names = ["PATH_TOKEN", "CRM_SECRET", "API_TOKEN"];
    let environment: BTreeMap<String, String> =
        names.into_iter().zip(SECRETS).map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    load_text("test.yaml", CONFIG, &Layers { environment, ..Layers::default() })
        .expect("a valid configuration")
}

fn explained(body: &str) -> (String, serde_json::Value) {
    let plan = plan();
    let question = Question { event: "-".into(), source: None, headers: Vec::new(), key: None };
    let event = event(&plan, &plan.sources[0], &question, body.as_bytes());
    let explanation = explanation(&plan, &event, 1_700_000_000_000);
    (text(&explanation), document(&explanation))
}

#[test]
fn each_route_says_whether_it_takes_the_event_and_why_not() {
    let (text, document) = explained(r#"{"event_id":"e-1","type":"order.created","amount":99}"#);
    assert!(text.starts_with("event e-1, type order.created\n"), "{text}");
    assert!(text.contains("route dear: does not: where body:amount gte 100: the event has 99\n"), "{text}");
    assert!(text.contains("route all-orders: takes it\n"), "{text}");
    assert!(
        text.contains("route users: does not: the type order.created is not among its `types`\n"),
        "{text}"
    );
    assert_eq!(document["routes"][1], json!({ "route": "all-orders", "takes": true }));
    assert_eq!(document["requests"].as_array().map(Vec::len), Some(1));
    assert_eq!(document["requests"][0]["target"], "shop");
}

#[test]
fn requests_are_shown_with_their_signature_and_without_secrets() {
    let body = r#"{"event_id":"e-1","type":"order.created","amount":100}"#;
    let (text, document) = explained(body);
    assert!(text.contains("POST https://crm.example.com/…"), "{text}");
    assert!(text.contains("authorization: ***"), "{text}");
    let headers = document["requests"][0]["headers"].to_string();
    assert!(headers.contains("x-hub-signature-256\",\"sha256="), "{headers}");
    assert_eq!(document["requests"][0]["body"], body);
    for secret in SECRETS {
        assert!(!text.contains(secret) && !document.to_string().contains(secret), "{secret} in {text}");
    }
}

#[test]
fn an_event_that_nobody_can_judge_is_named_poisoned() {
    let (text, document) = explained("{");
    assert!(text.contains("the body is not JSON: "), "{text}");
    assert!(text.contains("route users: does not: it needs a type, and the event has none"), "{text}");
    assert!(text.ends_with("no request would be made\n"), "{text}");
    assert_eq!(document["requests"], json!([]));
}
