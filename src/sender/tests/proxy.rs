use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use super::receiver::{OK, Receiver};
use super::tls::{Authority, loopback, secure_receiver};
use super::*;
use crate::plan::Proxy;

pub(super) const KEY: &str = "Basic YW5uOm9wZW4=";

pub(super) fn by(proxy: &Receiver) -> Proxy {
    Proxy {
        host: url::Host::Ipv4([127, 0, 0, 1].into()),
        port: proxy.address.port(),
        authorization: Some(KEY.into()),
    }
}

/// A proxy that opens tunnels, all to the same receiver.
pub(super) fn tunnelling(receiver: SocketAddr) -> Receiver {
    Receiver::playing(move |mut caller| {
        caller.request();
        caller.say("HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n");
        let (mut caller, mut receiver) = (caller.stream(), TcpStream::connect(receiver).unwrap());
        let (mut from, mut to) = (receiver.try_clone().unwrap(), caller.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut caller, &mut receiver);
        let _ = receiver.shutdown(Shutdown::Both);
    })
}

#[test]
fn an_https_receiver_is_reached_through_a_tunnel() {
    let authority = Authority::new("own");
    let receiver = secure_receiver(Authority::server(&authority.identity("hooks.example.com"), None, &[]));
    let proxy = tunnelling(receiver.address);
    let url = receiver.url_named("https", "hooks.example.com");
    let mut rig =
        Rig::with(vec![Target { proxy: Some(by(&proxy)), ..target(&url) }], 1, loopback(), authority.roots);

    for _ in 0..5 {
        assert_status(&rig.make(), 200);
    }

    let calls = proxy.requests();
    assert_eq!((calls.len(), receiver.accepts()), (1, 1));
    let line = format!("CONNECT hooks.example.com:{} HTTP/1.1\r\n", receiver.address.port());
    assert!(calls[0].head.starts_with(&line), "{}", calls[0].head);
    assert_eq!(calls[0].header("proxy-authorization"), Some(KEY));
}

#[test]
fn a_tunnel_ends_at_the_right_receiver_or_nowhere() {
    let (authority, stranger) = (Authority::new("own"), Authority::new("stranger"));
    let receiver = secure_receiver(Authority::server(&stranger.identity("hooks.example.com"), None, &[]));
    let proxy = tunnelling(receiver.address);
    let url = receiver.url_named("https", "hooks.example.com");
    let mut rig =
        Rig::with(vec![Target { proxy: Some(by(&proxy)), ..target(&url) }], 1, loopback(), authority.roots);

    assert_fault(&rig.make(), Fault::Tls, "not trusted");
}

#[test]
fn a_proxy_is_asked_itself_for_a_plain_receiver() {
    let proxy = Receiver::answering(OK);
    let url = "http://hooks.example.com:8080/hooks?key=sesame";
    let plain = Target { proxy: Some(by(&proxy)), ..target(url) };
    let mut rig = Rig::with(vec![plain], 1, loopback(), RootCertStore::empty());

    for _ in 0..3 {
        assert_status(&rig.make(), 200);
    }

    assert_eq!(proxy.accepts(), 1);
    let request = &proxy.requests()[2];
    assert!(request.head.starts_with(&format!("POST {url} HTTP/1.1\r\n")), "{}", request.head);
    assert_eq!(request.header("host"), Some("hooks.example.com:8080"));
    assert_eq!(request.header("proxy-authorization"), Some(KEY));
    assert_eq!(request.body, BODY);
}

#[test]
fn what_a_proxy_refuses_is_a_fault() {
    for (answer, wanted, text) in [
        (
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n",
            Fault::Network,
            "refuses the connection (403)",
        ),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", Fault::Auth, "user and password of `proxy`"),
        ("SSH-2.0-OpenSSH_9\r\n\r\n", Fault::Network, "does not speak HTTP"),
        ("", Fault::Network, "the connection to the proxy broke"),
    ] {
        let proxy = Receiver::playing(move |mut caller| {
            caller.request();
            caller.say(answer);
        });
        let far = Target { proxy: Some(by(&proxy)), ..target("https://hooks.example.com/hooks?key=sesame") };
        let mut rig = Rig::with(vec![far], 1, loopback(), RootCertStore::empty());

        assert_fault(&rig.make(), wanted, text);
    }
}

#[test]
fn a_proxy_that_never_answers_holds_nobody_for_long() {
    let proxy = Receiver::playing(|mut caller| {
        caller.request();
        caller.hang();
    });
    let url = "https://hooks.example.com/hooks?key=sesame";
    let connect_timeout = Duration::from_millis(250);
    let far = Target { proxy: Some(by(&proxy)), connect_timeout, ..target(url) };
    let mut rig = Rig::with(vec![far], 1, loopback(), RootCertStore::empty());

    assert_fault(&rig.make(), Fault::Timeout, "the proxy did not answer within 250ms");
}

/// The proxy stands at a private address, which is its operator's will; the receiver may not.
#[test]
fn egress_is_judged_before_a_proxy_is_asked() {
    let proxy = Receiver::answering(OK);
    let to = |url: &str| Target { egress: Egress::Public, proxy: Some(by(&proxy)), ..target(url) };
    for url in ["http://10.0.0.1/hooks", "https://169.254.169.254/hooks", "https://[::1]/hooks"] {
        assert_fault(&Rig::new(vec![to(url)]).make(), Fault::Blocked, "egress");
    }
    let private = Dns::Says(vec![IpAddr::from([93, 184, 216, 34]), IpAddr::from([10, 0, 0, 1])]);
    let mut rig = Rig::with(vec![to("http://hooks.example.com/hooks")], 1, private, RootCertStore::empty());
    assert_fault(&rig.make(), Fault::Blocked, "10.0.0.1");
    assert_eq!(proxy.accepts(), 0);

    // A name that only the proxy knows.
    let mut rig =
        Rig::with(vec![to("http://hooks.example.com/hooks")], 1, Dns::Fails, RootCertStore::empty());
    assert_status(&rig.make(), 200);
}
