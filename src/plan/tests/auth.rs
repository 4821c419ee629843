//! `auth`, `tls`, `proxy`, `method` and `http` of a target.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use secrecy::ExposeSecret;

use super::{environment, faults, plan, plan_with, setting, with_target};
use crate::domain::{Content, Data, Event, EventTime, Generation, Kind, Lease, Origin, SourceId};
use crate::plan::{HttpVersion, Plan, Target, examine_text};

const URL: &str = "url: https://x.example/in\n";

fn target(keys: &str) -> Target {
    plan(&with_target(&format!("{URL}{keys}"))).into_target()
}

/// The faults of a target with these keys, without the place in the file.
fn faults_of(keys: &str) -> Vec<String> {
    let lines = faults(&with_target(&format!("{URL}{keys}")));
    lines.iter().map(|line| line.split_once(": ").map_or(&**line, |(_, fault)| fault).to_owned()).collect()
}

/// A header of the request that this plan's first target gets.
fn header(plan: &Plan, name: &str) -> Option<String> {
    let event = Event {
        source: SourceId(0),
        id: "evt_1".into(),
        event_type: None,
        time: EventTime { unix_ms: 0, text: None },
        subject: None,
        key: None,
        priority: None,
        tenant: None,
        producer: "/s".into(),
        kind: Kind::Regular,
        body: Bytes::from_static(b"{}"),
        content: Content::Json,
        data: Data::Absent,
        headers: Box::default(),
        fields: Box::default(),
        origin: Origin::kafka("t", 0),
        generation: Generation(1),
        lease: Arc::new(Lease::unlimited()),
    };
    let request = plan.targets[0].blueprint.render(&event, 1, 0).expect("it renders");
    let value = request.headers.get(name)?;
    assert!(value.is_sensitive(), "{name} is not marked");
    assert!(!format!("{request:?}").contains("hunter2"), "{request:?}");
    Some(value.to_str().expect("text").to_owned())
}

#[test]
fn each_kind_of_auth_writes_its_header() {
    for (auth, name, value) in [
        ("{ bearer: hunter2 }", "authorization", "Bearer hunter2"),
        // As in RFC 7617 §2.
        (
            "{ basic: { username: Aladdin, password: open sesame } }",
            "authorization",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        ("{ basic: { username: key, password: '' } }", "authorization", "Basic a2V5Og=="),
        ("{ header: { X-Api-Key: hunter2, X-Other: b } }", "x-api-key", "hunter2"),
    ] {
        let plan = plan(&with_target(&format!("{URL}auth: {auth}")));
        assert_eq!(header(&plan, name).as_deref(), Some(value), "{auth}");
    }
    let plan = plan(&with_target(&format!(
        "{URL}auth: {{ oauth2: {{ token_url: 'https://id.example/t', client_id: a, client_secret: b }} }}"
    )));
    assert_eq!(header(&plan, "authorization"), None, "it is known only when it is sent");
}

#[test]
fn client_credentials_are_read_whole() {
    let oauth2 = target(
        "auth: { oauth2: { token_url: 'https://id.example/t', client_id: me, client_secret: hunter2, \
         scopes: [a b, c], audience: api } }",
    )
    .oauth2
    .expect("oauth2");
    assert_eq!(oauth2.token_url.0.as_str(), "https://id.example/t");
    assert_eq!(oauth2.client_id.expose_secret(), "me");
    assert_eq!(oauth2.client_secret.expose_secret(), "hunter2");
    assert_eq!(oauth2.scopes, ["a", "b", "c"]);
    assert_eq!(oauth2.audience.as_deref(), Some("api"));
    assert!(!format!("{oauth2:?}").contains("hunter2"));
}

#[test]
fn faults_of_auth_are_named() {
    const ONE: &str = "write one of `bearer`, `basic`, `header` or `oauth2`";
    for (auth, fault) in [
        ("hunter2", format!("targets.crm.auth: a map is expected here; {ONE}")),
        ("{}", format!("targets.crm.auth: {ONE}")),
        (
            "{ bearer: a, basic: { username: a, password: b } }",
            format!("targets.crm.auth: there is more than one way here; {ONE}"),
        ),
        ("{ bearer: '' }", "targets.crm.auth.bearer: it is empty".to_owned()),
        (
            "{ bearer: Bearer hunter2 }",
            "targets.crm.auth.bearer: write only the token; `Bearer` is put before it".to_owned(),
        ),
        (
            r#"{ bearer: "hunter2\nx" }"#,
            "targets.crm.auth.bearer: the value has a control character, for example a line break; remove it"
                .to_owned(),
        ),
        (
            "{ basic: { username: 'a:b', password: c } }",
            "targets.crm.auth.basic.username: a user's name has no `:` here, because it ends at the first one"
                .to_owned(),
        ),
        ("{ basic: { username: a } }", "targets.crm.auth.basic.password: missing; write `password: …`; it may be empty".to_owned()),
        (
            "{ header: { Host: a } }",
            "targets.crm.auth.header.Host: the sender writes this header itself; remove it".to_owned(),
        ),
        (
            "{ header: { X-A: a, x-a: b } }",
            "targets.crm.auth.header.x-a: the header is set twice (names differ only in case); keep one".to_owned(),
        ),
        (
            "{ oauth2: { token_url: 'http://id.example/', client_id: a, client_secret: b } }",
            "targets.crm.auth.oauth2.token_url: `http://` is not encrypted; write `https://`, or set `egress: private` or `allow_http: true`".to_owned(),
        ),
        (
            "{ oauth2: { token_url: 'https://10.0.0.5/', client_id: a, client_secret: b } }",
            "targets.crm.auth.oauth2.token_url: a private address is never called with `egress: public`; set `egress: private`".to_owned(),
        ),
        ("{ barer: a }", "targets.crm.auth.barer: unknown key; did you mean `bearer`?".to_owned()),
    ] {
        let found = faults_of(&format!("auth: {auth}"));
        assert!(found.contains(&fault), "{auth}: {found:#?}");
        assert!(!found.concat().contains("hunter2"), "{found:?}");
    }
    let found = faults_of("auth: { oauth2: { scopes: [a] } }");
    for key in ["token_url", "client_id", "client_secret"] {
        assert!(found.iter().any(|fault| fault.contains(&format!("oauth2.{key}: missing"))), "{found:?}");
    }
}

#[test]
fn nothing_else_writes_the_headers_of_auth() {
    assert_eq!(
        faults_of("auth: { bearer: a }\nheaders: { Authorization: b }"),
        ["targets.crm.headers.Authorization: `auth` writes this header; remove it here, or `auth`"]
    );
    let oauth2 = "auth: { oauth2: { token_url: 'https://id.example/', client_id: a, client_secret: b } }";
    assert_eq!(faults_of(&format!("{oauth2}\nheaders: {{ authorization: b }}")).len(), 1);
    let signed = "secrets: [0123456789abcdef0123456789]\nsignature: { message: '{{body}}', headers: { X-Sig: '{{signature}}' } }";
    assert_eq!(
        faults_of(&format!("auth: {{ header: {{ x-sig: a }} }}\n{signed}")),
        [
            "targets.crm.auth.header.x-sig: the signature writes the header `x-sig` too; remove this, or the header from `signature.headers`"
        ]
    );
}

#[test]
fn a_later_layer_may_choose_another_kind_of_auth() {
    let folder = std::env::temp_dir().join(format!("hookferry-auth-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let base = folder.join("base.yaml");
    let over = folder.join("over.yaml");
    let first = with_target(&format!("{URL}auth: {{ basic: {{ username: a, password: b }} }}"));
    std::fs::write(&base, first.replace("to: [crm]", "name: all, to: [crm]")).expect("written");
    std::fs::write(&over, "targets: { crm: { auth: { bearer: c } } }").expect("written");
    let layers = crate::plan::Layers { paths: vec![base, over], ..Default::default() };
    let plan = crate::plan::load(&layers).unwrap_or_else(|faults| panic!("{faults}"));
    std::fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(header(&plan, "authorization").as_deref(), Some("Bearer c"));
}

#[test]
fn secrets_of_auth_and_proxies_are_masked() {
    let text = |keys: &str| with_target(&format!("{URL}{keys}"));
    let shown = |keys: &str, path: &str| {
        let shown = setting(&text(keys), &format!("targets.crm.{path}"));
        shown.split(" from ").next().unwrap_or_default().to_owned()
    };
    assert_eq!(shown("auth: { bearer: hunter2 }", "auth.bearer"), "***");
    assert_eq!(shown("auth: { header: { X-Key: hunter2 } }", "auth.header.X-Key"), "***");
    let basic = "auth: { basic: { username: ann, password: hunter2 } }";
    assert_eq!(shown(basic, "auth.basic.password"), "***");
    assert_eq!(shown(basic, "auth.basic.username"), "ann");
    let oauth2 = "auth: { oauth2: { token_url: 'https://id.example/t?k=hunter2', client_id: me, client_secret: hunter2 } }";
    assert_eq!(shown(oauth2, "auth.oauth2.client_secret"), "***");
    assert_eq!(shown(oauth2, "auth.oauth2.token_url"), "https://id.example/t?***");
    assert_eq!(shown("proxy: 'http://ann:hunter2@proxy:3128'", "proxy"), "http://***@proxy:3128");
    assert_eq!(shown("proxy: 'http://proxy:3128'", "proxy"), "http://proxy:3128");

    let layers = environment(&[("T", "hunter2"), ("P", "http://ann:hunter2@proxy:3128")]);
    let text = text("auth: { bearer: \"${env:T}\" }\nproxy: \"${env:P}\"");
    let plan = plan_with(&text, &layers);
    assert!(!format!("{plan:?}").contains("hunter2"));
    let examined = examine_text("h.yaml", &text, &layers).expect("no fault");
    assert!(!format!("{:?}", examined.settings).contains("hunter2"));
}

/// PEM texts: an authority, a certificate of it, and the certificate's key.
fn pem() -> [String; 3] {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("an authority").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["crm".to_owned()]).expect("parameters");
    [authority, params.signed_by(&key, &issuer).expect("signed").pem(), key.serialize_pem()]
}

/// A target whose `tls` comes from the environment.
fn with_tls(texts: [&str; 3]) -> (String, crate::plan::Layers) {
    let text = with_target(&format!(
        "{URL}tls: {{ ca: \"${{env:CA}}\", cert: \"${{env:CERT}}\", key: \"${{env:KEY}}\" }}"
    ));
    let [ca, cert, key] = texts;
    (text, environment(&[("CA", ca), ("CERT", cert), ("KEY", key)]))
}

#[test]
fn tls_is_pem_text() {
    let [ca, cert, key] = pem();
    let (text, layers) = with_tls([&ca, &cert, &key]);
    let plan = plan_with(&text, &layers);
    let (hash, tls) = (plan.hash.clone(), plan.into_target().tls.expect("tls"));
    assert_eq!(tls.ca.as_ref().map(|roots| roots.len()), Some(1));
    assert!(tls.client.is_some());
    assert_eq!(tls, plan_with(&text, &layers).into_target().tls.expect("tls"));
    let (text, layers) = with_tls([&cert, &cert, &key]);
    let other = plan_with(&text, &layers);
    assert_ne!(Some(&tls), other.targets[0].tls.as_ref());
    assert_ne!(other.hash, hash, "another authority is another plan");

    let only = plan_with(
        &with_target(&format!("{URL}tls: {{ ca: \"${{env:CA}}\" }}")),
        &environment(&[("CA", &ca)]),
    );
    assert!(only.targets[0].tls.as_ref().is_some_and(|tls| tls.client.is_none()));
}

#[test]
fn faults_of_tls_are_named() {
    let [ca, cert, key] = pem();
    let other = KeyPair::generate().expect("a key").serialize_pem();
    let broken = cert.replacen("MII", "!!!", 1);
    for (texts, fault) in [
        (["/etc/ca.pem", &cert, &key], "tls.ca: there is no certificate in it; write the text of a PEM file"),
        ([&ca, &broken, &key], "tls.cert: its PEM text is damaged"),
        ([&ca, &cert, &other], "tls.key: the key does not belong to the certificate `cert`"),
        ([&ca, &cert, &cert], "tls.key: there is no private key in it"),
    ] {
        let (text, layers) = with_tls(texts);
        let found = super::faults_with(&text, &layers).join("\n");
        assert!(found.contains(&format!("targets.crm.{fault}")), "{found}");
        assert!(!found.contains("BEGIN"), "{found}");
    }
    assert_eq!(
        faults_of("tls: { cert: a }"),
        [
            "targets.crm.tls.key: missing; `cert` needs the key that belongs to it",
            "targets.crm.tls.cert: there is no certificate in it; write the text of a PEM file, for example `\"${file:/etc/hookferry/tls.pem}\"`",
        ]
    );
    let plain = with_target("url: http://x.example/\nallow_http: true\ntls: {}");
    assert_eq!(
        faults(&plain),
        [
            "h.yaml:6:10: targets.crm.tls: there is no TLS to an `http://` URL; remove this, or write `https://`"
        ]
    );
    let shared = with_target("url: http://x.example/\nallow_http: true");
    assert!(plan(&format!("defaults: {{ tls: {{}} }}\n{shared}")).targets[0].tls.is_none());
}

#[test]
fn proxies_have_a_host_and_perhaps_a_user() {
    let proxy = target("proxy: 'http://ann:op%20en@proxy.internal:3128'").proxy.expect("a proxy");
    assert_eq!((proxy.to_string().as_str(), proxy.port), ("proxy.internal:3128", 3128));
    let authorization = proxy.authorization.expect("a user");
    assert_eq!(authorization.expose_secret(), "Basic YW5uOm9wIGVu");
    assert!(target("proxy: 'off'").proxy.is_none());
    for (wrong, part) in [
        ("https://proxy:3128", "only an `http://` proxy is possible"),
        ("socks5://proxy:1080", "only an `http://` proxy is possible"),
        ("http://ann:hunter2@proxy:3128/x", "a proxy has no path"),
        ("http://a%3Ahunter2:b@proxy:3128", "a user's name has no `:` here"),
        ("http://ann:hunter2%FF@proxy:3128", "user or password is not UTF-8"),
        ("proxy", "no URL"),
    ] {
        let found = faults_of(&format!("proxy: '{wrong}'"));
        assert!(found.len() == 1 && found[0].starts_with(&format!("targets.crm.proxy: {part}")), "{found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn method_version_and_patience_have_defaults_and_choices() {
    let usual = target("");
    assert_eq!((usual.method, usual.http), (Method::POST, HttpVersion::One));
    assert_eq!(usual.connect_timeout, Duration::from_secs(3));
    let set = target("method: PUT\nhttp: 2\nconnect_timeout: 500ms");
    assert_eq!((set.method, set.http), (Method::PUT, HttpVersion::Two));
    assert_eq!(set.connect_timeout, Duration::from_millis(500));
    assert_eq!(
        faults_of("method: put\nhttp: 3\nconnect_timeout: 0s"),
        [
            "targets.crm.method: `put` is not possible here; write `POST`, `PUT`, `PATCH` or `DELETE`",
            "targets.crm.http: `3` is not possible here; write `1` or `2`; did you mean `1`?",
            "targets.crm.connect_timeout: `0s` is too short; it must be at least 10ms",
        ]
    );
}

#[test]
fn headers_of_connections_have_no_place_in_http_2() {
    let keys = "headers: { Keep-Alive: timeout=5, X-A: b }";
    assert_eq!(
        faults_of(&format!("http: 2\n{keys}")),
        ["targets.crm.headers.Keep-Alive: HTTP/2 has no such header; remove it, or write `http: 1`"]
    );
    assert_eq!(target(keys).http, HttpVersion::One);
    assert_eq!(
        faults_of("http: 2\nauth: { header: { Upgrade: a } }"),
        ["targets.crm.auth.header.Upgrade: HTTP/2 has no such header; remove it, or write `http: 1`"]
    );
}

#[test]
fn a_handshake_names_its_origin() {
    assert_eq!(target("").handshake, None);
    assert_eq!(target("handshake: off").handshake, None);
    let handshake = target("handshake: { origin: hooks.example.com }").handshake;
    assert_eq!(handshake.map(|handshake| handshake.origin).as_deref(), Some("hooks.example.com"));
    for (value, fault) in [
        ("{}", ".origin: missing; write your own name, for example `origin: hooks.example.com`"),
        ("hooks.example.com", ": write `off`, or for example `{ origin: hooks.example.com }`"),
        ("{ origin: 'https://x/' }", ".origin: an origin is a host name, for example `hooks.example.com`"),
        (r#"{ origin: "a\r\nb" }"#, ".origin: an origin is a host name, for example `hooks.example.com`"),
    ] {
        assert_eq!(faults_of(&format!("handshake: {value}")), [format!("targets.crm.handshake{fault}")]);
    }
}

#[test]
fn a_token_url_from_a_file_is_not_shown() {
    let file = std::env::temp_dir().join(format!("hookferry-token-url-{}", std::process::id()));
    std::fs::write(&file, "https://hunter2.example/t").expect("written");
    let keys = format!(
        "auth: {{ oauth2: {{ token_url: \"${{file:{}}}\", client_id: a, client_secret: b }} }}",
        file.display()
    );
    let oauth2 = target(&keys).oauth2.expect("tokens");
    std::fs::remove_file(&file).expect("removed");
    assert_eq!((&*oauth2.shown, oauth2.token_url.0.host_str()), ("***", Some("hunter2.example")));
    assert!(!format!("{oauth2:?}").contains("hunter2"), "{oauth2:?}");
    let plain =
        target("auth: { oauth2: { token_url: 'https://id.example/t', client_id: a, client_secret: b } }");
    assert_eq!(plain.oauth2.map(|oauth2| oauth2.shown).as_deref(), Some("https://id.example"));
}
