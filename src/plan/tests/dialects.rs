use std::time::Duration;

use super::*;
use crate::domain::{Backoff, HonourRetryAfter, Ordering, Rate, StatusSet, Tier};

const WITH_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn with_dialect(dialect: &str) -> String {
    let headers = match dialect {
        "shopify" => "\nheaders: { X-Shopify-Shop-Domain: a.example, X-Shopify-API-Version: '1' }",
        _ => "",
    };
    with_target(&format!("url: https://x.example/\ndialect: {dialect}\nsecrets: ['{WITH_SECRET}']{headers}"))
}

/// The notices without their places.
fn notices(text: &str) -> Vec<String> {
    plan(text).notices.iter().filter_map(|notice| Some(notice.split_once(": ")?.1.to_owned())).collect()
}

#[test]
fn every_dialect_loads_and_all_its_rules_count() {
    for dialect in [
        "cost-katana",
        "ops-center",
        "llm-optimizer",
        "dcision",
        "standard-webhooks",
        "github",
        "stripe",
        "shopify",
        "slack",
        "cloudevents-binary",
        "cloudevents-structured",
        "raw",
    ] {
        assert_eq!(notices(&with_dialect(dialect)), [""; 0], "{dialect}");
    }
}

/// What a policy waits, at most eight times, without its jitter.
fn waits(backoff: &Backoff) -> Vec<u64> {
    match backoff {
        Backoff::Schedule { waits, .. } => waits.iter().map(Duration::as_secs).collect(),
        Backoff::Exponential { attempts, initial, factor, max_delay, .. } => {
            let wait = |retry| initial.mul_f64(factor.powi(retry)).min(*max_delay).as_secs();
            (0..attempts.unwrap_or(9) as i32 - 1).map(wait).collect()
        }
    }
}

#[test]
fn the_rules_of_the_seed_dialects_come_out_exactly() {
    let waits_of = [
        ("cost-katana", vec![5, 10, 20, 40, 80]),
        ("ops-center", vec![60, 300, 900, 3600, 7200]),
        ("llm-optimizer", vec![1, 2, 4, 8]),
        ("dcision", vec![1, 2]),
    ];
    for (dialect, expected) in waits_of {
        let plan = plan(&with_dialect(dialect));
        let [target] = &plan.targets[..] else { panic!("one target") };

        assert_eq!(waits(&target.retry.backoff), expected, "{dialect}");
        for wait in expected.into_iter().map(Duration::from_secs) {
            let held = wait <= target.retry.hold;
            assert!(held || Tier::for_wait(wait).length() == wait, "{dialect} waits {wait:?} exactly");
        }
        assert_eq!((target.breaker, target.disable_on), (None, StatusSet::default()), "{dialect}");
        let honours = target.retry.retry_after != HonourRetryAfter::Ignore;
        assert_eq!(honours, dialect == "llm-optimizer", "{dialect}");
        let order = if dialect == "dcision" { Ordering::Strict } else { Ordering::None };
        assert_eq!(target.ordering, order, "{dialect}");
    }
}

#[test]
fn the_limits_of_the_seed_dialects_are_theirs() {
    let rate = |dialect: &str| plan(&with_dialect(dialect)).targets[0].rate;

    assert_eq!(rate("llm-optimizer"), Some(Rate { per_second: 10.0, burst: 20.0 }));
    let katana = rate("cost-katana").expect("a limit");
    assert!((katana.per_second * 60.0 - 100.0).abs() < 1e-9, "100 a minute: {katana:?}");
    let off = with_dialect("llm-optimizer").replace("    secrets", "    rate: off\n    secrets");
    assert_eq!(plan(&off).targets[0].rate, None, "it can be switched off");
}

#[test]
fn every_payload_loads() {
    for payload in [
        "cost-katana",
        "ops-center",
        "llm-optimizer",
        "dcision",
        "standard-webhooks",
        "cloudevents",
        "data",
        "raw",
    ] {
        let plan = plan(&with_target(&format!("url: https://x.example/\npayload: {payload}")));
        assert_eq!(plan.targets.len(), 1, "{payload}");
    }
}

#[test]
fn a_header_that_receivers_demand_must_be_set() {
    let text = with_dialect("shopify").replace(", X-Shopify-API-Version: '1'", "");
    assert_eq!(
        faults(&text),
        [
            "h.yaml:7:5: targets.crm.headers: missing; the receivers of this dialect demand the header X-Shopify-API-Version"
        ]
    );
}

#[test]
fn secrets_alone_add_the_standard_signature() {
    let text = with_target(&format!("url: https://x.example/\nsecrets: ['{WITH_SECRET}']"));
    assert_eq!(
        setting(&text, "targets.crm.signature.headers.webhook-id"),
        "{{id}} from dialect standard-webhooks"
    );
    assert_eq!(setting(&text, "targets.crm.payload.preset"), "raw from program default");

    let unsigned = text.replace("    secrets", "    signature: none\n    secrets");
    assert_eq!(setting(&unsigned, "targets.crm.signature"), "none from h.yaml:5:16");
    assert_eq!(notices(&unsigned), ["targets.crm.signature: `none`, so its `secrets` are not used"]);
}

#[test]
fn a_signature_without_secrets_is_named() {
    let text = with_target("url: https://x.example/\ndialect: github");
    assert_eq!(notices(&text), ["targets.crm: without `secrets` its requests carry no signature"]);
}

#[test]
fn a_wrong_secret_is_refused_at_its_place_without_its_text() {
    let text = with_target("url: https://x.example/\nsecrets: ['hunter2 is no base64']");

    let lines = faults(&text);

    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.starts_with("h.yaml:5:15: targets.crm.secrets.0: "), "{line}");
    assert!(!line.contains("hunter2"), "{line}");
}
