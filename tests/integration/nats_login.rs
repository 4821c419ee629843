//! Servers that let in only whom they know, that speak TLS, and that are several.

use async_nats::ConnectOptions;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::bridge::Bridge;
use crate::nats::{PrivateServer, Server, lasting_port};
use crate::nats_credentials::Realm;
use crate::nats_scene::NatsScene;
use crate::process::Folder;
use crate::receiver::{Answer, Receiver};
use crate::scene::{event, one_target};
use crate::stage::Stage;

/// A user's nkey, made for these tests.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

/// Reads and writes there with these keys of `nats`: one event is delivered, one is a dead letter.
fn works(server: Server, keys: &str) {
    let scene = NatsScene::stream_on(server, "login");
    let receiver = Receiver::start(|request| match request.json()["n"].as_u64() {
        Some(0) => Answer::Status(400),
        _ => Answer::Status(200),
    });
    scene.publish([event(0), event(1)]);
    let target = one_target(&receiver.url("/"), "", "");
    let bridge = Bridge::ready(&scene.nats_config(keys, &target));
    receiver.wait_events(2);
    assert_eq!(scene.wait_letters(1)[0].header("hookferry-event-id"), Some("e-0"));
    scene.wait_settled();
    bridge.stop();
}

/// Is not let in with these keys, says so, and shows none of these secrets.
fn refused(server: Server, keys: &str, says: &str, secrets: &[&str]) {
    let scene = NatsScene::named(server, "login");
    let receiver = Receiver::ok();
    let bridge = Bridge::start(&scene.nats_config(keys, &one_target(&receiver.url("/"), "", "")));
    bridge.wait_not_ready(says);
    bridge.wait_log(&["WARN", says]);
    assert_eq!(bridge.get("/healthz").map(|(status, _)| status), Some(200), "waiting is healthy");
    let shown = format!("{}{}", bridge.log(), bridge.get("/readyz").unwrap().1);
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} is shown:\n{shown}");
    }
}

#[test]
fn a_user_and_password_are_used_and_never_shown() {
    let config = "authorization { user: ferry, password: right-one }";
    let options = ConnectOptions::with_user_and_password("ferry".into(), "right-one".into());
    let mut private = PrivateServer::with(config, options);
    let server = private.start();
    works(server.clone(), "user: ferry, password: right-one");
    refused(server, "user: ferry, password: wrong-one", "`password`", &["wrong-one"]);
}

#[test]
fn a_token_is_used() {
    let options = ConnectOptions::with_token("the-token".into());
    let mut private = PrivateServer::with("authorization { token: the-token }", options);
    let server = private.start();
    works(server.clone(), "token: the-token");
    refused(server, "", "`token`", &[]);
}

#[test]
fn an_nkey_is_used() {
    let config = format!("authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}");
    let mut private = PrivateServer::with(&config, ConnectOptions::with_nkey(SEED.into()));
    works(private.start(), &format!("nkey: {SEED}"));
}

#[test]
fn credentials_are_a_file_or_its_text() {
    let realm = Realm::new();
    let mut private = PrivateServer::with(&realm.server_config(), realm.options());
    let server = private.start();
    let folder = Folder::new("credentials");
    let file = folder.file("nats.creds", &realm.credentials());
    works(server.clone(), &format!("creds: '{}'", file.display()));
    works(server.clone(), &format!("creds: '${{file:{}}}'", file.display()));
    let stranger = folder.file("stranger.creds", &Realm::new().credentials());
    refused(server, &format!("creds: '{}'", stranger.display()), "`creds`", &[]);
}

#[test]
fn a_private_authority_is_trusted_if_it_is_named() {
    let folder = Folder::new("authority");
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = folder.file("ca.pem", &params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = folder.file("server.pem", &leaf.signed_by(&key, &issuer).unwrap().pem());
    let key = folder.file("server.key", &key.serialize_pem());
    for (handshake, keys) in [("false", ""), ("true", ", first: true")] {
        let config = format!(
            "tls {{ cert_file: '{}', key_file: '{}', handshake_first: {handshake} }}",
            leaf.display(),
            key.display()
        );
        let options = ConnectOptions::new().add_root_certificates(authority.clone()).require_tls(true);
        let options = if keys.is_empty() { options } else { options.tls_first() };
        let mut private = PrivateServer::with_tls(&config, options);
        let server = private.start();
        works(server.clone(), &format!("tls: {{ ca: '{}'{keys} }}", authority.display()));
        if keys.is_empty() {
            refused(server, "", "`tls`", &[]);
        }
    }
}

#[test]
fn of_several_servers_the_first_may_be_dead() {
    let scene = NatsScene::stream("several");
    let receiver = Receiver::ok();
    scene.publish([event(0)]);
    let (server, dead) = (scene.server.url(), format!("nats://127.0.0.1:{}", lasting_port()));
    let config = scene.one_target(&receiver.url("/"), "", "").replace(server, &format!("{dead},{server}"));
    assert!(config.contains(&dead));
    let bridge = Bridge::ready(&config);
    receiver.wait_events(1);
    scene.wait_settled();
    bridge.stop();
}
