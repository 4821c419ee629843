use std::collections::BTreeMap;

use super::explained as explained_as;
use super::*;
use crate::plan::{Layers, examine_text};

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

fn examined(config: &str) -> Examined {
    let names = ["PATH_TOKEN", "CRM_SECRET", "API_TOKEN", "LEAST"];
    let texts = SECRETS.into_iter().chain(["77"]);
    let environment: BTreeMap<String, String> =
        names.into_iter().zip(texts).map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let layers = Layers { environment, ..Layers::default() };
    examine_text("test.yaml", config, &layers).unwrap_or_else(|faults| panic!("{faults}"))
}

fn explained(body: &str) -> (String, serde_json::Value) {
    explained_by(&examined(CONFIG), body)
}

fn explained_by(examined: &Examined, body: &str) -> (String, serde_json::Value) {
    let question =
        Question { event: "-".into(), source: None, headers: Vec::new(), key: None, subject: None };
    let answer = |format| explained_as(examined, &question, body.as_bytes(), format).expect("one source");
    (answer(Format::Text), serde_json::from_str(&answer(Format::Json)).expect("JSON"))
}

#[test]
fn order_and_priority_are_shown_where_there_are_any() {
    let config = CONFIG
        .replace("in\n    dialect: ops-center", "in\n    ordering: by_key")
        .replace("to: [shop]", "to: [shop], priority: 5");
    let (text, document) = explained_by(&examined(&config), r#"{"type":"order.created"}"#);
    assert!(text.contains("target shop (by route all-orders, in order for each key, priority 5):"), "{text}");
    let request = &document["requests"][0];
    assert_eq!((&request["ordering"], &request["priority"]), (&json!("by_key"), &json!(5)));
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
    assert!(text.contains("POST https://crm.example.com/***\n"), "{text}");
    assert!(text.contains("POST https://shop.example.com/in\n"), "{text}");
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

#[test]
fn an_oversized_event_meets_no_route() {
    let config = format!("limits: {{ max_event: 10B }}\n{CONFIG}");
    let (text, document) = explained_by(&examined(&config), r#"{"type":"order.created"}"#);
    assert!(text.contains("its 24 bytes are over limits.max_event: dead letter `oversized`"), "{text}");
    assert!(!text.contains("route"), "{text}");
    assert!(text.ends_with("no request would be made\n"), "{text}");
    assert_eq!((&document["routes"], &document["requests"]), (&json!([]), &json!([])));
}

#[test]
fn the_headers_of_a_dialect_are_shown() {
    let (text, _) = explained(r#"{"event_id":"e-1","type":"order.created","amount":100}"#);
    assert!(text.contains("user-agent: Ops-Center-Webhook/1.0"), "{text}");
}

#[test]
fn what_came_from_the_environment_is_not_shown_even_if_it_is_sent_or_compared() {
    let config = CONFIG
        .replace("{ gte: 100 }", "{ gte: \"${env:LEAST}\", lt: 900 }")
        .replace("dialect: ops-center", "dialect: ops-center\n    id: \"${env:API_TOKEN}\"")
        .replace(
            "dialect: github",
            "payload: { preset: dcision, extra: { key: \"${env:PATH_TOKEN}\" } }\n    signature: { message: '{{body}}', headers: { X-S: 'k=${env:CRM_SECRET} {{signature}}' } }",
        );
    let examined = examined(&config);
    let refused = explained_by(&examined, r#"{"event_id":"e-1","type":"order.created","amount":76}"#);
    assert!(refused.0.contains("where body:amount gte ***, lt ***: the event has 76"), "{}", refused.0);
    let taken = explained_by(&examined, r#"{"event_id":"e-1","type":"order.created","amount":100}"#);
    assert!(taken.0.contains("x-s: k=*** ") && taken.0.contains("\"key\":\"***\""), "{}", taken.0);
    for (text, document) in [refused, taken] {
        for secret in SECRETS.into_iter().chain(["77"]) {
            assert!(!text.contains(secret) && !document.to_string().contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn extra_members_follow_the_presets_own_and_replace_those_of_the_same_name() {
    let config = CONFIG.replace(
        "dialect: github",
        "dialect: github\n    payload: { preset: llm-optimizer, extra: { version: '2', a: { z: [1.10, null, true, +1], b: 'x' } } }",
    );
    let body =
        r#"{"event_id":"e-1","type":"order.created","time":"2025-01-02T03:04:05Z","amount":100,"data":1}"#;
    let (_, document) = explained_by(&examined(&config), body);
    assert_eq!(
        document["requests"][0]["body"],
        r#"{"id":"e-1","eventType":"order.created","timestamp":1735787045000,"data":1,"version":"2","a":{"z":[1.1,null,true,1],"b":"x"}}"#
    );
}

#[test]
fn a_url_is_masked_as_check_does() {
    let file = std::env::temp_dir().join(format!("hookferry-explain-{}", std::process::id()));
    std::fs::write(&file, "https://hidden.example.com/in").expect("a temporary file");
    let reference = format!("\"${{file:{}}}\"", file.display());
    let examined = examined(&CONFIG.replace("https://shop.example.com/in", &reference));
    // What is left in the temporary folder harms nobody.
    let _ = std::fs::remove_file(&file);

    let (text, document) = explained_by(&examined, r#"{"event_id":"e-1","type":"order.created","amount":1}"#);

    assert!(text.contains("POST ***\n"), "{text}");
    assert_eq!(document["requests"][0]["url"], "***");
    assert!(!text.contains("hidden") && !document.to_string().contains("hidden"), "{text}");
}

#[test]
fn tokens_of_a_nats_subject_make_the_type() {
    const AUDIT: &str = "
sources:
  audit:
    nats: { servers: 'nats://localhost:4222', stream: AUDIT, subjects: ['audit.>'] }
    event: { type: ['subject:2..'] }
targets: { siem: { url: https://siem.example.com/in } }
routes: [{ name: users, types: ['user.*'], to: [siem] }]
";
    let explained = |subject: Option<&str>| {
        let subject = subject.map(str::to_owned);
        let question = Question { event: "-".into(), source: None, headers: Vec::new(), key: None, subject };
        explained_as(&examined(AUDIT), &question, b"{}", Format::Text).expect("one source")
    };

    let taken = explained(Some("audit.user.created"));
    let refused = explained(Some("audit.system.started"));

    assert!(taken.contains("type user.created\n") && taken.contains("route users: takes it\n"), "{taken}");
    assert!(refused.contains("the type system.started is not among its `types`"), "{refused}");
}

#[test]
fn a_token_and_a_method_are_shown() {
    let config = CONFIG.replace(
        "in\n    dialect: ops-center",
        "in\n    method: PUT\n    auth: { oauth2: { token_url: 'https://id.example/t', client_id: me, client_secret: b } }",
    );
    let (text, document) = explained_by(&examined(&config), r#"{"type":"order.created"}"#);
    assert!(text.contains("PUT https://shop.example.com/in\n"), "{text}");
    assert!(text.contains("authorization: ***"), "{text}");
    assert_eq!(document["requests"][0]["method"], "PUT");
}

#[test]
fn what_goes_to_the_dead_letters_before_any_route_is_said() {
    let config = |unknown: &str| {
        format!(
            "{CONFIG}event_types: {{ declare: {{ order.created: }}, catalogues: [ops-center], unknown: {unknown} }}\n"
        )
    };
    let body = r#"{"event_id":"e-1","type":"order.lost"}"#;
    let (text, document) = explained_by(&examined(&config("dead_letter")), body);
    assert!(
        text.contains("no event type `order.lost` is declared (`event_types`): dead letter `schema`"),
        "{text}"
    );
    assert!(text.contains("no request would be made"), "{text}");
    assert_eq!(document["routes"], json!([]));
    let (text, _) = explained_by(&examined(&config("warn")), body);
    assert!(
        text.contains("no event type `order.lost` is declared") && text.contains("target shop"),
        "{text}"
    );
}
