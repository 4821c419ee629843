use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::receiver::{OK, Receiver};
use super::*;

/// An authority, and a receiver's TLS side with a certificate of it.
fn authority_and_server(name: &str, expired: bool) -> (RootCertStore, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, format!("authority of {name}"));
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();

    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    }
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&leaf_key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], leaf_key.serialize_der().try_into().unwrap())
        .unwrap();
    (roots, Arc::new(server))
}

/// Answers each request without a body of its own over TLS.
fn secure_receiver(server: Arc<ServerConfig>) -> Receiver {
    Receiver::playing(move |caller| {
        let connection = ServerConnection::new(server.clone()).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, caller.stream()));
        loop {
            let (mut line, mut length) = (String::new(), 0);
            while line != "\r\n" {
                line.clear();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
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

fn loopback() -> Dns {
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
