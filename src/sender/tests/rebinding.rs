//! Names whose answers change: what was judged is what is connected to.

use std::net::IpAddr;

use super::name_server::{Asked, NameServer, Record};
use super::receiver::{OK, Receiver};
use super::*;
use crate::plan::Network;

const NAME: &str = "hooks.example.com";

/// Stands for a public address, of which no test may make connections.
const ALLOWED: &str = "127.0.0.1";

/// What rebinding is after: it can be reached where egress does not hold.
const INNER: &str = "127.0.0.2";

const CLOSING: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

fn address(text: &str) -> Vec<Record> {
    vec![Record::Address(text.parse().unwrap())]
}

fn allowing(addresses: &[&str], url: &str) -> Target {
    let only = |text: &&str| Network::Range(text.parse::<IpAddr>().unwrap().into());
    let egress = Egress::Listed { allow: addresses.iter().map(only).collect(), deny: Vec::new() };
    Target { egress, ..target(url) }
}

fn rig(target: Target, names: &NameServer) -> Rig {
    Rig::resolving(vec![target], 1, names.resolver(), RootCertStore::empty())
}

/// The inner address at every question but the first.
fn rebinding(ttl: u32) -> NameServer {
    NameServer::start(ttl, |_, before| address(if before == 0 { ALLOWED } else { INNER }))
}

#[test]
fn an_attempt_asks_once_and_connects_to_what_was_judged() {
    let receiver = Receiver::answering(CLOSING);
    let names = rebinding(0);
    let mut rig = rig(allowing(&[ALLOWED], &receiver.url_named("http", NAME)), &names);

    assert_status(&rig.make(), 200);
    assert_eq!(names.asked(NAME), Asked { ipv4: 1, ipv6: 1 });
    // The next connection asks again, since nothing was to be kept, and judges again.
    assert_fault(&rig.make(), Fault::Blocked, INNER);
    assert_eq!(names.asked(NAME), Asked { ipv4: 2, ipv6: 2 });
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn an_address_that_took_connections_before_is_judged_like_any_other() {
    let receiver = Receiver::answering(CLOSING);
    let names = NameServer::start(0, |_, before| match before {
        0 => address(ALLOWED),
        _ => [address(ALLOWED), address(INNER)].concat(),
    });
    let mut rig = rig(allowing(&[ALLOWED], &receiver.url_named("http", NAME)), &names);

    assert_status(&rig.make(), 200);
    assert_fault(&rig.make(), Fault::Blocked, INNER);
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn a_kept_answer_is_judged_for_each_target() {
    let receiver = Receiver::answering(OK);
    let url = receiver.url_named("http", NAME);
    let names = rebinding(300);
    let targets = vec![allowing(&[ALLOWED], &url), Target { egress: Egress::Public, ..target(&url) }];
    let mut rig = Rig::resolving(targets, 1, names.resolver(), RootCertStore::empty());

    assert_status(&rig.make(), 200);
    let other = rig.attempt(1);
    assert_fault(&rig.make_this(other), Fault::Blocked, ALLOWED);
    assert_eq!(names.asked(NAME).ipv4, 1, "one answer for both");
    assert_eq!(receiver.accepts(), 1);
}

#[test]
fn a_name_that_fails_once_is_not_let_through() {
    let receiver = Receiver::answering(OK);
    // Without an address at first, and that answer is to be forgotten at once.
    let names = NameServer::start(0, |_, before| if before == 0 { Vec::new() } else { address(INNER) });
    let mut rig = rig(allowing(&[ALLOWED], &receiver.url_named("http", NAME)), &names);

    assert_fault(&rig.make(), Fault::Dns, "no address");
    assert_fault(&rig.make(), Fault::Blocked, INNER);
    assert_eq!(receiver.accepts(), 0);
}

#[test]
fn a_redirect_is_an_answer_and_nothing_is_connected_to() {
    let inner = Receiver::answering(OK);
    for place in ["http://169.254.169.254/latest/meta-data/", &inner.url(), "//127.0.0.1:1/", "/elsewhere"] {
        for status in [301, 302, 303, 307, 308] {
            let head = format!("HTTP/1.1 {status} x\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n");
            let receiver =
                Receiver::playing(move |mut caller| while caller.request().is_some() && caller.say(&head) {});
            // Even where both addresses are allowed.
            let mut rig = Rig::new(vec![target(&receiver.url())]);

            let attempted = rig.make();

            assert_status(&attempted, status);
            assert!(!target("http://127.0.0.1/").success.contains(status));
            assert_eq!((receiver.accepts(), receiver.requests().len()), (1, 1), "{status} {place}");
        }
    }
    assert_eq!(inner.accepts(), 0);
}
