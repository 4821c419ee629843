use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::receiver::{OK, Receiver};
use super::*;
use crate::plan::TargetTls;

/// An authority, and what it signs.
pub(super) struct Authority {
    pub(super) pem: String,
    pub(super) roots: RootCertStore,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate of an authority, and its key.
pub(super) struct Identity {
    pub(super) cert: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority of {name}"));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Authority { pem: certificate.pem(), roots, issuer: Issuer::new(params, key) }
    }

    pub(super) fn identity(&self, name: &str) -> Identity {
        self.issued(name, false)
    }

    fn issued(&self, name: &str, expired: bool) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { cert, key: key.serialize_pem() }
    }

    /// The TLS side of a receiver with this certificate, which wants one of `clients` from whoever calls.
    pub(super) fn server(
        identity: &Identity,
        clients: Option<&Authority>,
        alpn: &[&[u8]],
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots.clone()), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut server = builder.with_single_cert(chain, key).unwrap();
        server.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(server)
    }
}

fn authority_and_server(name: &str, expired: bool) -> (RootCertStore, Arc<ServerConfig>) {
    let authority = Authority::new(name);
    let server = Authority::server(&authority.issued(name, expired), None, &[]);
    (authority.roots, server)
}

/// Answers each request without a body of its own over TLS.
pub(super) fn secure_receiver(server: Arc<ServerConfig>) -> Receiver {
    Receiver::playing(move |caller| {
        let connection = ServerConnection::new(server.clone()).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, caller.stream()));
        loop {
            let (mut line, mut length) = (String::new(), 0);
            while line != "\r\n" {
                line.clear();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    // What is left unread when it closes would take the last words with it.
                    let _ = std::io::copy(&mut stream.get_mut().sock, &mut std::io::sink());
                    return;
                }
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
            }
            std::io::Read::read_exact(&mut stream, &mut vec![0; length]).unwrap();
            stream.get_mut().write_all(OK.as_bytes()).unwrap();
        }
    })
}

pub(super) fn loopback() -> Dns {
    Dns::Says(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
}

#[test]
fn a_trusted_receiver_is_asked_over_one_kept_connection() {
    let (roots, server) = authority_and_server("hooks.example.com", false);
    let receiver = secure_receiver(server);
    let targets = vec![target(&receiver.url_named("https", "hooks.example.com"))];
    let mut rig = Rig::with(targets, 1, loopback(), roots);

    for _ in 0..5 {
        assert_status(&rig.make(), 200);
    }
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn a_certificate_may_name_an_address() {
    let (roots, server) = authority_and_server("127.0.0.1", false);
    let receiver = secure_receiver(server);
    let targets = vec![target(&receiver.url_named("https", "127.0.0.1"))];

    assert_status(&Rig::with(targets, 1, Dns::Fails, roots).make(), 200);
}

#[test]
fn a_certificate_that_proves_nothing_is_a_tls_fault() {
    let (roots, _) = authority_and_server("hooks.example.com", false);
    let (other_roots, other_server) = authority_and_server("other.example.com", false);
    let (old_roots, old_server) = authority_and_server("hooks.example.com", true);
    let cases = [
        (roots, other_server.clone(), "not trusted"),
        (other_roots, other_server, "for another host"),
        (old_roots, old_server, "has expired"),
    ];
    for (roots, server, text) in cases {
        let receiver = secure_receiver(server);
        let targets = vec![target(&receiver.url_named("https", "hooks.example.com"))];

        assert_fault(&Rig::with(targets, 1, loopback(), roots).make(), Fault::Tls, text);
    }
}

#[test]
fn a_receiver_without_tls_is_a_tls_fault() {
    let plain = Receiver::playing(|mut caller| {
        caller.say("HTTP/1.1 400 Bad Request\r\n\r\n");
        caller.hang();
    });
    let mute = Receiver::playing(drop);
    for (receiver, text) in [(plain, "does not speak TLS"), (mute, "in the TLS handshake")] {
        let targets = vec![target(&receiver.url_named("https", "127.0.0.1"))];

        assert_fault(&Rig::new(targets).make(), Fault::Tls, text);
    }
}

fn with_tls(receiver: &Receiver, tls: TargetTls) -> Target {
    Target { tls: Some(tls), ..target(&receiver.url_named("https", "hooks.example.com")) }
}

#[test]
fn a_ca_of_the_target_is_trusted_instead_of_the_systems() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let receiver = secure_receiver(Authority::server(&own.identity("hooks.example.com"), None, &[]));
    let targets = vec![
        with_tls(&receiver, TargetTls::of(Some(&own.pem), None)),
        with_tls(&receiver, TargetTls::of(Some(&other.pem), None)),
        target(&receiver.url_named("https", "hooks.example.com")),
    ];
    // The machine trusts the receiver.
    let mut rig = Rig::with(targets, 1, loopback(), own.roots.clone());

    assert_status(&rig.make(), 200);
    let attempt = rig.attempt(1);
    assert_fault(&rig.make_this(attempt), Fault::Tls, "not trusted");
    let attempt = rig.attempt(2);
    assert_status(&rig.make_this(attempt), 200);

    // The machine trusts nobody.
    let target = with_tls(&receiver, TargetTls::of(Some(&own.pem), None));
    assert_status(&Rig::with(vec![target], 1, loopback(), RootCertStore::empty()).make(), 200);
}

#[test]
fn a_receiver_that_wants_a_certificate_gets_the_targets() {
    let (own, clients, strangers) =
        (Authority::new("own"), Authority::new("clients"), Authority::new("strangers"));
    let server = Authority::server(&own.identity("hooks.example.com"), Some(&clients), &[]);
    let receiver = secure_receiver(server);
    let tls = |identity: Option<&Identity>| {
        with_tls(&receiver, TargetTls::of(Some(&own.pem), identity.map(|one| (&*one.cert, &*one.key))))
    };
    let (right, wrong) = (clients.identity("hookferry"), strangers.identity("hookferry"));
    let targets = vec![tls(Some(&right)), tls(None), tls(Some(&wrong))];
    let mut rig = Rig::with(targets, 1, loopback(), RootCertStore::empty());

    for _ in 0..3 {
        assert_status(&rig.make(), 200);
    }
    assert_eq!(receiver.accepts(), 1);
    let attempt = rig.attempt(1);
    assert_fault(&rig.make_this(attempt), Fault::Tls, "CertificateRequired");
    let attempt = rig.attempt(2);
    assert_fault(&rig.make_this(attempt), Fault::Tls, "the receiver ended the TLS handshake");
}

#[test]
fn the_machines_authorities_are_asked_where_the_target_names_none() {
    let token_url = |url: &str| crate::plan::OAuth2 {
        token_url: crate::plan::TargetUrl(url.parse().unwrap()),
        shown: "***".into(),
        client_id: "me".into(),
        client_secret: "secret".into(),
        scopes: Vec::new(),
        audience: None,
    };
    let own = || Some(TargetTls::of(Some(&Authority::new("own").pem), None));
    let (plain, secure) = ("http://hooks.example.com/", "https://hooks.example.com/");
    for (target, uses, needs) in [
        (target(plain), false, false),
        (target(secure), true, true),
        (Target { tls: own(), ..target(secure) }, false, false),
        (Target { oauth2: Some(token_url(plain)), ..target(plain) }, false, false),
        (Target { oauth2: Some(token_url(secure)), ..target(plain) }, true, true),
        (Target { oauth2: Some(token_url(secure)), tls: own(), ..target(secure) }, true, false),
    ] {
        assert_eq!((trust::uses_system(&target), trust::needs_system(&target)), (uses, needs), "{target:?}");
    }
}
