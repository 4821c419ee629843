use super::*;

const WHSEC: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The faults of the standard dialect with something changed, as text.
fn faults(change: impl FnOnce(&mut RequestSpec)) -> Vec<String> {
    let mut spec = dialect("standard-webhooks", &[WHSEC]);
    change(&mut spec);
    let faults = Blueprint::compile(&spec).expect_err("it has faults");
    faults.iter().map(ToString::to_string).collect()
}

fn signature(spec: &mut RequestSpec) -> &mut SignatureSpec {
    spec.signature.as_mut().expect("it signs")
}

#[test]
fn headers_that_are_not_free_are_refused() {
    for (name, remedy) in [
        ("Host", "the sender writes this header itself; remove it"),
        ("content-length", "the sender writes this header itself; remove it"),
        ("Transfer-Encoding", "the sender writes this header itself; remove it"),
        ("Connection", "the sender writes this header itself; remove it"),
        ("Content-Type", "set `payload.content_type` instead"),
        ("Webhook-ID", "the signature writes this header; remove it here, or from `signature.headers`"),
        ("no name", "this is no header name; write letters, digits and `-`"),
    ] {
        let seen = faults(|spec| spec.headers.push(header(name, "x")));
        assert_eq!(seen, [format!("headers.{name}: {remedy}")]);
    }
    let seen = faults(|spec| {
        let headers = [("X-A", "1"), ("x-a", "2"), ("X-B", "line\nbreak")];
        spec.headers.extend(headers.map(|(name, value)| header(name, value)));
    });
    assert_eq!(
        seen,
        [
            "headers.x-a: the header is set twice (names differ only in case); keep one",
            "headers.X-B: the value has a control character, for example a line break; remove it",
        ]
    );
}

#[test]
fn wrong_secrets_are_named_by_place_and_never_shown() {
    let remedy = |text: &str, algorithm| {
        let seen = faults(|spec| {
            signature(spec).algorithm = algorithm;
            signature(spec).ed25519 = None;
            signature(spec).secrets = secrets(&[text]);
        });
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(!seen[0].contains("hunter2"), "{seen:?}");
        seen[0].strip_prefix("secrets.0: ").expect("the place").to_owned()
    };
    let hmac = Algorithm::HmacSha256;

    assert!(remedy("hunter2-hunter2!", hmac).contains("24 to 64 random bytes"));
    assert!(remedy("whsec_hunter2", hmac).contains("whsec_<base64>"));
    assert!(remedy("whsec_aHVudGVyMg==", hmac).starts_with("a whsec_ secret has 24 to 64 bytes"));
    assert!(remedy("hunter2A", hmac).contains("shorter than 16 bytes"));
    assert!(remedy(&format!("whsec_{}", "A".repeat(88)), hmac).starts_with("a whsec_ secret has 24 to 64"));
    assert!(remedy(&WHSEC.replace("whsec", "whsk"), hmac).contains("signature.algorithm: ed25519"));
    assert!(remedy(WHSEC, Algorithm::Ed25519).contains("whsk_<base64>"));
    assert!(remedy(&WHSEC.replace("whsec", "whpk"), Algorithm::Ed25519).contains("public key"));
    assert!(remedy("whsk_aHVudGVyMg==", Algorithm::Ed25519).contains("32 bytes"));
    let other_half = format!("whsk_{}", "A".repeat(84) + "Ag==");
    assert!(remedy(&other_half, Algorithm::Ed25519).contains("does not belong to its seed"));
    let seen = faults(|spec| {
        signature(spec).key = KeyForm::Text;
        signature(spec).secrets = secrets(&["good enough", ""]);
    });
    assert_eq!(seen, ["secrets.1: the secret is empty; give one with at least 24 random bytes"]);
}

#[test]
fn all_faults_are_reported_at_once() {
    let seen = faults(|spec| {
        spec.target_id = "two words".to_owned();
        spec.payload.content_type = Some("a\nb".to_owned());
        spec.payload.shape = Shape::Members(vec![
            named("a", Value::EventId),
            named("a", Value::EventTime),
            named("b", Value::Literal("{".into())),
        ]);
        let signature = signature(spec);
        signature.message = "{{bdy}}".to_owned();
        signature.each = "v1".to_owned();
        signature.join = "\n".to_owned();
        signature.headers.extend([
            ("Host".to_owned(), "x".to_owned()),
            ("WEBHOOK-id".to_owned(), "{{id}}".to_owned()),
            ("X-Open".to_owned(), "{{id".to_owned()),
            ("X-Line".to_owned(), "a\tb".to_owned()),
        ]);
        spec.headers.push(header("Connection", "close"));
    });

    let settings: Vec<&str> = seen.iter().filter_map(|fault| fault.split(": ").next()).collect();
    assert_eq!(
        settings,
        [
            "id",
            "signature.message",
            "signature.each",
            "signature.join",
            "signature.headers.Host",
            "signature.headers.WEBHOOK-id",
            "signature.headers.X-Open",
            "signature.headers.X-Line",
            "headers.Connection",
            "payload.content_type",
            "payload.members.a",
            "payload.members.b",
        ]
    );
}

#[test]
fn a_signature_that_no_header_carries_is_a_fault() {
    let seen = faults(|spec| signature(spec).headers.truncate(2));
    assert_eq!(
        seen,
        [
            "signature.headers: no header carries the signature; write `{{signature}}` or `{{signatures}}` in one"
        ]
    );
}

#[test]
fn debug_shows_no_secret() {
    let mut spec = dialect("stripe", &["hunter2-stripe-secret"]);
    spec.headers.push(header("X-Api-Key", "hunter2-api-key"));
    let blueprint = compiled(&spec);

    let shown = format!("{blueprint:?} {spec:?} {:?}", blueprint.render(&event(), 1, NOW_MS));

    assert!(shown.contains("x-api-key"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
