use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::wire::verify::{Refusal, TOLERANCE, Verifier};

const TEXT_SECRETS: [&str; 2] = ["new-secret-0123456789abcdef", "old-secret-0123456789abcdef"];
/// The bytes 0 to 31 and 64 to 87.
const WHSEC_SECRETS: [&str; 2] =
    ["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whsec_QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZX"];
const WHSK_SECRETS: [&str; 2] = [
    "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "whsk_QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=",
];
/// Of the first of them, as Python's `cryptography` gives it.
const WHPK: &str = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

const DIALECTS: [&str; 9] = [
    "cost-katana",
    "ops-center",
    "llm-optimizer",
    "dcision",
    "standard-webhooks",
    "github",
    "stripe",
    "shopify",
    "slack",
];

/// What receivers of each dialect need to judge a request, and whether the header holds a list.
fn judged_by(name: &str) -> (&[&'static str], bool) {
    match name {
        "cost-katana" => (&["x-costkatana-signature", "x-costkatana-timestamp"], false),
        "ops-center" => (&["x-webhook-signature"], false),
        "llm-optimizer" => (&["x-webhook-signature", "x-webhook-timestamp"], false),
        "dcision" => (&["x-dcisionai-signature", "x-dcisionai-timestamp"], false),
        "standard-webhooks" => (&["webhook-id", "webhook-timestamp", "webhook-signature"], true),
        "github" => (&["x-hub-signature-256"], false),
        "stripe" => (&["stripe-signature"], true),
        "shopify" => (&["x-shopify-hmac-sha256"], false),
        "slack" => (&["x-slack-signature", "x-slack-request-timestamp"], false),
        other => panic!("there is no {other}"),
    }
}

fn live(name: &str) -> [&'static str; 2] {
    if name == "standard-webhooks" { WHSEC_SECRETS } else { TEXT_SECRETS }
}

fn standard(texts: &[&str]) -> RequestSpec {
    dialect("standard-webhooks", texts)
}

/// A form that no dialect has: everything is signed, and the type is only known as a path.
fn general(texts: &[&str]) -> RequestSpec {
    let mut spec = dialect("raw", &[]);
    spec.signature = Some(SignatureSpec {
        secrets: secrets(texts),
        message: "{{event.type_path}}|{{target.id}}|{{timestamp}}|{{id}}|{{body}}".into(),
        algorithm: Algorithm::HmacSha512,
        key: KeyForm::Text,
        encoding: Encoding::Base64,
        each: "({{id}} s={{signature}})".into(),
        ed25519: None,
        join: "".into(),
        timestamp: TimestampForm::Rfc3339,
        headers: vec![
            ("X-Sig".into(), "at={{timestamp}}; [{{signatures}}]+*".into()),
            ("X-Where".into(), "{{id}} {{event.type_path}} {{timestamp}}".into()),
        ],
    });
    spec
}

fn verifier(spec: &RequestSpec) -> Verifier {
    let signature = spec.signature.as_ref().expect("it signs");
    Verifier::compile(signature, &spec.target_id).expect("a receiver can judge it")
}

fn refused(verifier: &Verifier, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Refusal {
    verifier.verify(headers, body, now_ms).expect_err("it must be refused")
}

fn set(headers: &HeaderMap, name: &str, value: &str) -> HeaderMap {
    let mut headers = headers.clone();
    headers
        .insert(HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value).expect("a value"));
    headers
}

#[test]
fn every_dialect_is_judged_by_its_headers_alone() {
    for name in DIALECTS {
        let spec = dialect(name, &live(name));
        let Request { headers, body } = rendered(&spec, &event());
        let (wanted, has_list) = judged_by(name);
        let verifier = verifier(&spec);

        let mut named: Vec<&str> = verifier.headers().map(HeaderName::as_str).collect();
        named.sort_unstable();
        let mut sorted = wanted.to_vec();
        sorted.sort_unstable();
        assert_eq!(named, sorted, "{name}");

        let mut only = HeaderMap::new();
        wanted.iter().for_each(|name| drop(only.insert(*name, headers[*name].clone())));
        let verified = verifier.verify(&only, &body, NOW_MS).expect(name);
        assert_eq!(verified.secret, 0, "{name}");
        assert_eq!(
            verified.signed_ms.is_some(),
            spec.signature.as_ref().is_some_and(|s| s.message.contains("timestamp")),
            "{name}"
        );

        for missing in wanted {
            let mut fewer = only.clone();
            fewer.remove(*missing);
            let refusal = refused(&verifier, &fewer, &body, NOW_MS);
            assert_eq!(refusal, Refusal::Missing((*missing).into()), "{name}");
        }

        let knows_old_only = self::verifier(&dialect(name, &live(name)[1..]));
        match has_list {
            true => assert_eq!(knows_old_only.verify(&only, &body, NOW_MS).expect(name).secret, 0),
            false => assert_eq!(refused(&knows_old_only, &only, &body, NOW_MS).code(), "no_match", "{name}"),
        }
        let [new, old] = live(name);
        let expects_a_newer = self::verifier(&dialect(name, &[old, new]));
        let place = expects_a_newer.verify(&only, &body, NOW_MS).expect(name).secret;
        assert_eq!(place, usize::from(!has_list), "{name}: the first of its own that fits");
    }
}

#[test]
fn the_known_vector_of_standard_webhooks_holds() {
    let verifier = verifier(&dialect("standard-webhooks", &["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]));
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
        ("webhook-timestamp", "1649367553"),
        ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;

    let verified = verifier.verify(&headers, body, 1_649_367_553_000).expect("the vector");
    assert_eq!(verified.id.as_deref(), Some("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"));
    assert_eq!(verified.signed_ms, Some(1_649_367_553_000));

    let list = "v1a,xyz v2,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw= \
                v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    let listed = set(&headers, "webhook-signature", list);
    assert_eq!(verifier.verify(&listed, body, 1_649_367_553_000).map(|verified| verified.secret), Ok(0));
}

#[test]
fn ed25519_is_judged_with_the_public_key_or_the_private_one() {
    let spec = standard(&WHSK_SECRETS);
    let Request { headers, body } = rendered(&spec, &event());
    for keys in [&[WHPK][..], &WHSK_SECRETS, &WHSK_SECRETS[1..]] {
        let verified = verifier(&standard(keys)).verify(&headers, &body, NOW_MS);
        assert_eq!(verified.map(|verified| verified.secret), Ok(0), "{keys:?}");
    }
    let other = standard(&["whsk_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="]);
    assert_eq!(
        refused(&verifier(&other), &headers, &body, NOW_MS),
        Refusal::NoMatch { signatures: 2, secrets: 1 }
    );
    for bad in ["whpk_AAAA", "whpk_!", "whpk_AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        let signature = standard(&[bad]).signature.expect("it signs");
        let faults = Verifier::compile(&signature, "wh_7").expect_err(bad);
        assert_eq!(faults[0].setting, "secrets.0", "{bad}");
    }
}

#[test]
fn each_secret_of_a_mixed_list_is_judged_in_its_own_way() {
    let [symmetric, private] = [WHSEC_SECRETS[0], WHSK_SECRETS[0]];
    for order in [[symmetric, private], [private, symmetric]] {
        let Request { headers, body } = rendered(&standard(&order), &event());
        let judged = |keys: &[&str]| {
            verifier(&standard(keys)).verify(&headers, &body, NOW_MS).map(|verified| verified.secret)
        };
        for (keys, made_by) in [
            (&[symmetric][..], 0),
            (&[WHPK], 0),
            (&[private], 0),
            (&[WHSEC_SECRETS[1], WHPK], 1),
            (&[WHSK_SECRETS[1], symmetric], 1),
        ] {
            assert_eq!(judged(keys), Ok(made_by), "{keys:?}");
        }
        assert!(judged(&[WHSEC_SECRETS[1], WHSK_SECRETS[1]]).is_err());
    }
}

#[test]
fn a_timestamp_is_tolerated_for_five_minutes_both_ways() {
    let allowed = TOLERANCE.as_millis() as i64;
    assert_eq!(allowed, 5 * 60 * 1000);
    for name in ["cost-katana", "llm-optimizer", "dcision", "standard-webhooks", "stripe", "slack"] {
        let spec = dialect(name, &live(name));
        let verifier = verifier(&spec);
        let Request { headers, body } = rendered(&spec, &event());
        let signed_ms = verifier.verify(&headers, &body, NOW_MS).expect(name).signed_ms.expect("a time");

        for near in [signed_ms - allowed, signed_ms + allowed] {
            assert!(verifier.verify(&headers, &body, near).is_ok(), "{name}");
        }
        let age = TOLERANCE + Duration::from_millis(1);
        let late = refused(&verifier, &headers, &body, signed_ms + allowed + 1);
        assert_eq!(late, Refusal::TooOld { age, tolerance: TOLERANCE }, "{name}");
        let early = refused(&verifier, &headers, &body, signed_ms - allowed - 1);
        assert_eq!(early, Refusal::InFuture { ahead: age, tolerance: TOLERANCE }, "{name}");
    }
    let spec = dialect("github", &live("github"));
    let Request { headers, body } = rendered(&spec, &event());
    assert!(verifier(&spec).verify(&headers, &body, i64::MAX).is_ok(), "it carries no time");
}

#[test]
fn what_is_wrong_with_a_header_is_said_without_repeating_it() {
    let spec = dialect("stripe", &live("stripe"));
    let verifier = verifier(&spec);
    let Request { headers, body } = rendered(&spec, &event());
    let good = headers["stripe-signature"].to_str().expect("text").to_owned();
    let reason = |value: &str| {
        let refusal = refused(&verifier, &set(&headers, "stripe-signature", value), &body, NOW_MS);
        assert_eq!(refusal.code(), "malformed_header", "{value}");
        let text = refusal.to_string();
        assert!(!text.contains("1700000000") && !text.contains("v1="), "{text}");
        text
    };

    let form = "the header `stripe-signature` is malformed: it is not of the form that the sender writes (with \
                `{{timestamp}}` `{{signatures}}`)";
    assert_eq!(reason(""), form);
    assert_eq!(reason(&good.replace("t=", "time=")), form);
    assert_eq!(reason(&good.replace("t=1", "t=x1")), form);
    let none = "the header `stripe-signature` is malformed: it holds no signature of the form that the sender writes \
                (with `{{signature}}`)";
    assert_eq!(reason(&good.replace("v1=", "v2=")), none);
    assert_eq!(reason(&good.to_ascii_uppercase().replace("T=", "t=").replace("V1", "v1")), none);
    assert_eq!(reason("t=1700000000,v1=ab"), none);
    let many = format!("t=1700000000{}", format!(",v1={}", "a".repeat(64)).repeat(33));
    assert!(reason(&many).ends_with("it holds more than 32 signatures"));
    let mut twice = headers.clone();
    twice.append("stripe-signature", headers["stripe-signature"].clone());
    assert!(
        refused(&verifier, &twice, &body, NOW_MS).to_string().ends_with("it stands in the request twice")
    );
    let far = set(&headers, "stripe-signature", &good.replace("t=1700000000", "t=999999999999999999"));
    assert!(refused(&verifier, &far, &body, NOW_MS).to_string().ends_with("its timestamp is no time"));
}

#[test]
fn headers_that_contradict_each_other_are_refused() {
    let spec = general(&TEXT_SECRETS);
    let Request { headers, body } = rendered(&spec, &event());
    let verifier = verifier(&spec);
    assert!(verifier.verify(&headers, &body, NOW_MS).is_ok());
    let other = set(&headers, "x-where", "evt_42 cost/spike_detected 2023-11-14T22:13:21Z");
    assert_eq!(
        refused(&verifier, &other, &body, NOW_MS).to_string(),
        "the header `x-where` is malformed: it contradicts the header `x-sig`"
    );
}

#[test]
fn a_form_that_no_receiver_can_judge_is_a_fault() {
    let faults = |change: fn(&mut SignatureSpec)| {
        let mut signature = dialect("standard-webhooks", &WHSEC_SECRETS).signature.expect("it signs");
        change(&mut signature);
        let faults = Verifier::compile(&signature, "wh_7").expect_err("it has faults");
        faults.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        faults(|s| s.secrets.clear()),
        ["secrets: there is none, and without one nothing can be judged"]
    );
    assert_eq!(
        faults(|s| s.headers.retain(|(name, _)| name == "webhook-signature")),
        [
            "signature.headers: `{{id}}` is signed, but no header holds it, so that no receiver can verify; write it in one",
            "signature.headers: `{{timestamp}}` is signed, but no header holds it, so that no receiver can verify; write it in one",
        ]
    );
    assert_eq!(
        faults(|s| s.headers.truncate(2)),
        [
            "signature.headers: no header carries the signature; write `{{signature}}` or `{{signatures}}` in one"
        ]
    );
    assert_eq!(faults(|s| s.message = "{{bdy}}".into()).len(), 1);
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?}", verifier(&dialect("stripe", &["hunter2-stripe-secret"])));
    assert!(shown.starts_with("Verifier") && !shown.contains("hunter2"), "{shown}");
}

/// Every form that a signature can have.
fn forms() -> impl Strategy<Value = RequestSpec> {
    (0..DIALECTS.len() + 3, any::<bool>()).prop_map(|(form, is_rotated)| {
        let live = |all: [&'static str; 2]| all[..=usize::from(is_rotated)].to_vec();
        match DIALECTS.get(form) {
            Some(name) => dialect(name, &live(self::live(name))),
            None if form == DIALECTS.len() => standard(&live(WHSK_SECRETS)),
            None if form == DIALECTS.len() + 1 => standard(&live([WHSK_SECRETS[0], WHSEC_SECRETS[1]])),
            None => general(&live(TEXT_SECRETS)),
        }
    })
}

/// A raw body, so that every byte of it is of the test's choice.
fn signed(mut spec: RequestSpec, body: &[u8], id: &str, now_ms: i64) -> (RequestSpec, Request) {
    spec.payload = payload_spec(&"raw".into());
    let mut event = event();
    event.id = id.into();
    event.body = Bytes::copy_from_slice(body);
    let request = compiled(&spec).render(&event, 1, now_ms).expect("it renders");
    (spec, request)
}

/// Of two signatures, each is enough.
fn with_one_secret(mut spec: RequestSpec) -> RequestSpec {
    spec.signature.as_mut().expect("it signs").secrets.truncate(1);
    spec
}

proptest! {
    #[test]
    fn what_is_signed_verifies(
        spec in forms(), body in prop::collection::vec(any::<u8>(), 0..200),
        id in "[!-~&&[^.]]{1,40}", now_ms in 1_000_000_000_000_i64..4_000_000_000_000, late in -300_000_i64..=299_000,
    ) {
        let (spec, request) = signed(spec, &body, &id, now_ms);
        let verified = verifier(&spec).verify(&request.headers, &request.body, now_ms + late);
        prop_assert_eq!(verified.map(|verified| verified.secret), Ok(0), "{:?}", request);
    }

    #[test]
    fn any_other_body_is_refused(
        spec in forms(), body in prop::collection::vec(any::<u8>(), 1..200), place in any::<prop::sample::Index>(), bits in 1_u8..,
    ) {
        let (spec, request) = signed(spec, &body, "evt_42", NOW_MS);
        let mut other = body.clone();
        *place.get_mut(&mut other) ^= bits;
        let refusal = verifier(&spec).verify(&request.headers, &other, NOW_MS);
        prop_assert!(matches!(refusal, Err(Refusal::NoMatch { .. })), "{:?}", refusal);
        let shorter = &body[..body.len() - 1];
        prop_assert!(verifier(&spec).verify(&request.headers, shorter, NOW_MS).is_err());
    }

    #[test]
    fn any_other_header_is_refused(
        spec in forms(), which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), byte in b' '..=b'~',
    ) {
        let (spec, request) = signed(with_one_secret(spec), b"{}", "evt_42", NOW_MS);
        let verifier = verifier(&spec);
        let names: Vec<&HeaderName> = verifier.headers().collect();
        let name = *which.get(&names);
        let mut value = request.headers[name].as_bytes().to_vec();
        let old = std::mem::replace(place.get_mut(&mut value), byte);
        prop_assume!(old != byte);
        let mut headers = request.headers.clone();
        headers.insert(name, HeaderValue::from_bytes(&value).expect("visible"));
        let refusal = verifier.verify(&headers, &request.body, NOW_MS);
        prop_assert!(refusal.is_err(), "{name}: {:?}: {:?}", String::from_utf8(value), refusal);
    }

    #[test]
    fn whatever_comes_is_answered(spec in forms(), value in "[ -~]{0,300}", body in prop::collection::vec(any::<u8>(), 0..50)) {
        let verifier = verifier(&spec);
        let headers = verifier.headers().map(|name| (name.clone(), HeaderValue::try_from(&value).expect("visible")));
        prop_assert!(verifier.verify(&headers.collect(), &body, NOW_MS).is_err());
    }
}
