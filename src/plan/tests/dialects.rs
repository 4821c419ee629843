use super::*;

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
fn every_dialect_loads_and_names_its_rules_that_are_not_enforced() {
    let unenforced = |dialect: &str| match dialect {
        "cost-katana" | "llm-optimizer" => {
            vec![format!("targets.crm: `rate` of the dialect {dialect} is not enforced yet")]
        }
        "dcision" => vec![format!("targets.crm: `ordering` of the dialect {dialect} is not enforced yet")],
        _ => Vec::new(),
    };
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
        "raw",
    ] {
        assert_eq!(notices(&with_dialect(dialect)), unenforced(dialect), "{dialect}");
    }
}

#[test]
fn every_payload_loads() {
    for payload in ["cost-katana", "ops-center", "llm-optimizer", "dcision", "standard-webhooks", "raw"] {
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
