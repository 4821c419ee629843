use super::*;

const NEW: &str = "new-secret-0123456789abcdef";
const OLD: &str = "old-secret-0123456789abcdef";
/// The bytes 0 to 31.
const NEW_WHSEC: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// The bytes 64 to 87.
const OLD_WHSEC: &str = "whsec_QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZX";

const OURS: &str = concat!("user-agent: hookferry/", env!("CARGO_PKG_VERSION"));

#[test]
fn cost_katana() {
    let request = rendered(&dialect("cost-katana", &[NEW, OLD]), &event());

    assert_eq!(
        body(&request),
        r#"{"event_id":"evt_42","event_type":"cost.spike_detected","occurred_at":"2023-11-14T22:13:19Z","title":"a","cost":{"amount":525.5}}"#
    );
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            "user-agent: CostKatana-Webhook/1.0",
            "x-costkatana-event-id: evt_42",
            "x-costkatana-signature: sha256=b328745a0435d1a989e7975ceca950a8e6e3d09dd5cc787d72734776fcfe48ee",
            "x-costkatana-timestamp: 1700000000123",
            "x-costkatana-webhook-id: wh_7",
        ]
    );
}

#[test]
fn ops_center() {
    let request = rendered(&dialect("ops-center", &[NEW]), &event());

    assert_eq!(
        body(&request),
        r#"{"event":"cost.spike_detected","timestamp":"2023-11-14T22:13:19Z","data":{"title":"a","cost":{"amount":525.50}},"webhook_id":"wh_7"}"#
    );
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            "user-agent: Ops-Center-Webhook/1.0",
            "x-webhook-event: cost.spike_detected",
            "x-webhook-signature: 5033132544a58a35aced124ebe32c68d623ba4f0b89974093b7dd512eaa32c10",
        ]
    );
}

#[test]
fn llm_optimizer() {
    let request = rendered(&dialect("llm-optimizer", &[NEW]), &event());

    assert_eq!(
        body(&request),
        r#"{"id":"evt_42","eventType":"cost.spike_detected","timestamp":1699999999000,"data":{"title":"a","cost":{"amount":525.5}},"version":"1.0"}"#
    );
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            "user-agent: LLM-Auto-Optimizer-Webhook/1.0",
            "x-webhook-algorithm: sha256",
            "x-webhook-event-id: evt_42",
            "x-webhook-event-type: cost.spike_detected",
            "x-webhook-signature: f40a34d02df48438f4e1f2b6e64a41b4256cf806ca3c6b2792e82cbc39c1c458",
            "x-webhook-timestamp: 1700000000123",
        ]
    );
}

#[test]
fn dcision() {
    let request = rendered(&dialect("dcision", &[NEW]), &event());

    assert_eq!(
        body(&request),
        r#"{"event":"cost.spike_detected","data":{"title":"a","cost":{"amount":525.5}}}"#
    );
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            OURS,
            "x-dcisionai-signature: c2d6dd3da02d888e7b826a5e00000bec3f8e91ce8c2e6b0fc4d09c54c5344107",
            "x-dcisionai-timestamp: 1700000000",
        ]
    );
}

#[test]
fn standard_webhooks_carries_one_signature_for_each_live_secret() {
    let request = rendered(&dialect("standard-webhooks", &[NEW_WHSEC, OLD_WHSEC]), &event());

    assert_eq!(
        body(&request),
        r#"{"type":"cost.spike_detected","timestamp":"2023-11-14T22:13:19Z","data":{"title":"a","cost":{"amount":525.50}}}"#
    );
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            OURS,
            "webhook-id: evt_42",
            "webhook-signature: v1,eDmxCdchO7LEPc5GC4ckakmnaLatIWlnO+vtWxys59g= v1,DwFjhtXVHaAKWTdImLvrYlExgif0HW8ynzepoknxUDM=",
            "webhook-timestamp: 1700000000",
        ]
    );
}

#[test]
fn standard_webhooks_known_vector() {
    let mut spec = dialect("standard-webhooks", &["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]);
    spec.payload = payload_spec(&"raw".into());
    let mut event = with_body(r#"{"email":"test@example.com","username":"test_user"}"#, "");
    event.id = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk".into();

    let request = compiled(&spec).render(&event, 1, 1_649_367_553_999).expect("it renders");

    assert_eq!(request.headers["webhook-signature"], "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
}

#[test]
fn standard_webhooks_with_ed25519() {
    let expected =
        "v1a,rzuqBHEbvU+oUVm+k5loDz1P87rQKY0LJy7qqf1VXxQ7QCgy+2AcoRc23JzTPUkx3agJX3mf3Zl/vO4/3TkkBQ==";
    let seed = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let pair =
        "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";
    for key in [seed, pair] {
        let request = rendered(&dialect("standard-webhooks", &[key]), &event());
        assert_eq!(request.headers["webhook-signature"], expected);
    }
    let both = rendered(&dialect("standard-webhooks", &[NEW_WHSEC, seed, OLD_WHSEC]), &event());
    assert_eq!(
        both.headers["webhook-signature"],
        format!(
            "v1,eDmxCdchO7LEPc5GC4ckakmnaLatIWlnO+vtWxys59g= {expected} v1,DwFjhtXVHaAKWTdImLvrYlExgif0HW8ynzepoknxUDM="
        ),
        "each secret signs in its own way"
    );
}

#[test]
fn github() {
    let request = rendered(&dialect("github", &[NEW, OLD]), &event());

    assert_eq!(body(&request), BODY);
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            OURS,
            "x-github-delivery: evt_42",
            "x-github-event: cost.spike_detected",
            "x-hub-signature-256: sha256=bde98f423e9d2bec3a0bf869ddd11898d74da515b0d6866bae986b3f2cde8197",
        ]
    );
}

#[test]
fn stripe_signs_with_the_whole_text_of_each_secret() {
    let new = format!("whsec_{NEW}");
    let old = format!("whsec_{OLD}");
    let request = rendered(&dialect("stripe", &[&new, &old]), &event());

    assert_eq!(body(&request), BODY);
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            "stripe-signature: t=1700000000,v1=a5f5426e207b6f156b2faf4cfcff52e4855e19a349abacf356f338207c8d3664,v1=3da11f48f2e7a7d2274f21100b7e5ca752d2b8d38f08732d3fe94f5394bcadde",
            OURS,
        ]
    );
}

#[test]
fn shopify() {
    let mut spec = dialect("shopify", &[NEW]);
    spec.headers.push(header("X-Shopify-Shop-Domain", "a.example"));
    spec.headers.push(header("X-Shopify-API-Version", "2025-01"));
    let request = rendered(&spec, &event());

    assert_eq!(body(&request), BODY);
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            OURS,
            "x-shopify-api-version: 2025-01",
            "x-shopify-hmac-sha256: vemPQj6dK+w6C/hp3dEYmNdNpRWw1oZrrphrPyzegZc=",
            "x-shopify-shop-domain: a.example",
            "x-shopify-topic: cost/spike_detected",
            "x-shopify-webhook-id: evt_42",
        ]
    );
}

#[test]
fn slack() {
    let request = rendered(&dialect("slack", &[NEW]), &event());

    assert_eq!(body(&request), BODY);
    assert_eq!(
        headers(&request),
        [
            "content-type: application/json",
            OURS,
            "x-slack-request-timestamp: 1700000000",
            "x-slack-signature: v0=33a03d15420aefcaf046d4629cb28157fbaa2cee0d7c8cad89f3276c973f8f8a",
        ]
    );
}

#[test]
fn the_general_form_signs_with_sha_512_over_any_message() {
    let mut spec = dialect("raw", &[]);
    spec.signature = Some(SignatureSpec {
        secrets: secrets(&[NEW]),
        message: "{{timestamp}}|{{id}}|{{body}}".into(),
        algorithm: Algorithm::HmacSha512,
        key: KeyForm::Text,
        encoding: Encoding::Hex,
        each: "{{signature}}".into(),
        ed25519: None,
        join: ",".into(),
        timestamp: TimestampForm::Rfc3339,
        headers: vec![("X-Sig".into(), "{{signatures}}; at={{timestamp}}; of={{target.id}}".into())],
    });

    assert_eq!(
        rendered(&spec, &event()).headers["x-sig"],
        "7103dd8c128376428c63e1914a03cf12301c28d3d291f14abc6ee7934a63d96a04ba93e9b56b16ecf2e134a25f99d18457b4c2424722e7eab66f24c5a8b59f34; at=2023-11-14T22:13:20Z; of=wh_7"
    );
}

#[test]
fn without_secrets_only_the_signature_is_missing() {
    assert_eq!(
        headers(&rendered(&dialect("standard-webhooks", &[]), &event())),
        ["content-type: application/json", OURS, "webhook-id: evt_42", "webhook-timestamp: 1700000000"]
    );
    assert_eq!(headers(&rendered(&dialect("raw", &[]), &event())), ["content-type: application/json", OURS]);
}

#[test]
fn each_attempt_is_signed_anew_and_keeps_the_id() {
    let blueprint = compiled(&dialect("standard-webhooks", &[NEW_WHSEC]));
    let first = blueprint.render(&event(), 1, NOW_MS).expect("it renders");
    let second = blueprint.render(&event(), 1, NOW_MS + 1000).expect("it renders");

    assert_eq!(first.headers["webhook-id"], second.headers["webhook-id"]);
    assert_eq!(second.headers["webhook-timestamp"], "1700000001");
    assert_ne!(first.headers["webhook-signature"], second.headers["webhook-signature"]);
    assert_eq!(blueprint.render(&event(), 1, NOW_MS), Ok(first));
}

#[test]
fn a_type_that_a_header_cannot_hold_is_unrenderable() {
    let refusal = |event_type: Option<&str>| {
        let mut event = event();
        event.event_type = event_type.map(Into::into);
        compiled(&dialect("github", &[NEW])).render(&event, 1, NOW_MS).expect_err("unrenderable").to_string()
    };
    let held = "the header `x-github-event` can't hold the event's type: a header holds visible ASCII only";

    assert_eq!(refusal(Some("a\nX-Evil: 1")), held);
    assert_eq!(refusal(Some("größe")), held);
    assert_eq!(refusal(Some(" a")), held);
    assert_eq!(refusal(None), "the header `x-github-event` names the event's type, and the event has none");
}
