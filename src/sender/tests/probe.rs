//! Targets that are tried without a request.

use super::receiver::{OK, Receiver};
use super::tls::{Authority, loopback, secure_receiver};
use super::*;
use crate::plan::{HttpVersion, OAuth2, TargetTls, TargetUrl};
use crate::sender::Contacts;
use crate::sender::probe::probe_by;

fn try_all(targets: Vec<Target>, dns: Dns) -> Vec<Probed> {
    let contacts = Contacts::trusting(&RootCertStore::empty(), &plan(targets), None, 1).unwrap();
    probe_by(contacts, &Resolver::Given(Arc::new(dns))).unwrap()
}

/// Why no connection can be opened.
fn refusal(target: Target, dns: Dns) -> String {
    let probed = try_all(vec![target], dns);
    assert_eq!((probed.len(), &probed[0].token), (1, &None));
    let reason = probed[0].connection.clone().expect_err("it can't be reached");
    assert!(!reason.contains("sesame"), "{reason}");
    reason.into()
}

#[test]
fn targets_are_reached_without_a_request() {
    let authority = Authority::new("own");
    let identity = authority.identity("hooks.example.com");
    let own = Authority::new("clients");
    let client = own.identity("us");
    let plain = Receiver::answering(OK);
    let secure = secure_receiver(Authority::server(&identity, None, &[]));
    let strict = secure_receiver(Authority::server(&identity, Some(&own), &[b"h2"]));
    let trusting = |client| Some(TargetTls::of(Some(&authority.pem), client));
    let url = |receiver: &Receiver| receiver.url_named("https", "hooks.example.com");
    let targets = vec![
        target(&plain.url()),
        Target { enabled: false, ..target("http://127.0.0.1:1/") },
        Target { tls: trusting(None), ..target(&url(&secure)) },
        Target {
            http: HttpVersion::Two,
            tls: trusting(Some((&client.cert, &client.key))),
            ..target(&url(&strict))
        },
    ];

    let probed = try_all(targets, loopback());

    let well = |index| Probed { target: TargetId(index), connection: Ok(()), token: None };
    assert_eq!(probed, [well(0), well(2), well(3)]);
    assert_eq!((plain.accepts(), secure.accepts(), strict.accepts()), (1, 1, 1));
    assert!(plain.requests().is_empty());
}

#[test]
fn what_keeps_a_target_from_being_reached_is_named() {
    let plain = Receiver::answering(OK);
    let busy = Receiver::answering("HTTP/1.1 503 Busy\r\n\r\n");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let authority = Authority::new("own");
    let identity = authority.identity("hooks.example.com");
    let server = |clients| secure_receiver(Authority::server(&identity, clients, &[]));
    let (secure, strict) = (server(None), server(Some(&authority)));
    let url = |receiver: &Receiver| receiver.url_named("https", "hooks.example.com");
    let trusting = Some(TargetTls::of(Some(&authority.pem), None));
    for (target, dns, text) in [
        (target(&format!("http://{gone}/sesame")), Dns::Fails, "could not connect: connection refused"),
        (
            Target { egress: Egress::Public, ..target(&plain.url()) },
            Dns::Fails,
            "the target's egress does not allow",
        ),
        (target("https://hooks.example.com/sesame"), Dns::Fails, "the host name does not exist"),
        (target(&url(&secure)), loopback(), "an authority that is not trusted here"),
        (
            Target { tls: trusting, ..target(&url(&strict)) },
            loopback(),
            "the receiver ended the TLS handshake",
        ),
        (
            Target { proxy: Some(super::proxy::by(&busy)), ..target("https://10.0.0.1/sesame") },
            Dns::Fails,
            "the proxy refuses the connection (503)",
        ),
    ] {
        let refusal = refusal(target, dns);
        assert!(refusal.contains(text), "{refusal}");
    }
}

#[test]
fn a_token_is_had_or_the_reason() {
    let receiver = Receiver::answering(OK);
    let endpoint = |answer: &'static str| Receiver::answering(answer);
    let gives = endpoint("HTTP/1.1 200 OK\r\ncontent-length: 27\r\n\r\n{\"access_token\":\"t-sesame\"}");
    let refuses =
        endpoint("HTTP/1.1 400 Bad Request\r\ncontent-length: 26\r\n\r\n{\"error\":\"invalid_client\"}");
    let with = |endpoint: &Receiver| {
        let oauth2 = OAuth2 {
            token_url: TargetUrl(endpoint.url().parse().unwrap()),
            shown: "***".into(),
            client_id: "me".into(),
            client_secret: "sesame".into(),
            scopes: Vec::new(),
            audience: None,
        };
        Target { oauth2: Some(oauth2), ..target(&receiver.url()) }
    };

    let probed = try_all(vec![with(&gives), with(&refuses)], Dns::Fails);

    assert_eq!(probed[0].token, Some(Ok(())));
    assert_eq!(probed[1].token, Some(Err("the token endpoint answered 400 (invalid_client)".into())));
    assert!(probed.iter().all(|probed| probed.connection == Ok(())));
    assert!(receiver.requests().is_empty());
}
