use std::net::IpAddr;

use super::receiver::{OK, Receiver};
use super::*;
use crate::plan::Network;

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn public(url: &str) -> Target {
    Target { egress: Egress::Public, ..target(url) }
}

#[test]
fn a_refused_address_gets_no_packet() {
    let receiver = Receiver::answering(OK);
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"] {
        let mut rig = Rig::new(vec![public(&receiver.url_named("http", host))]);

        let attempted = rig.make();
        assert_fault(&attempted, Fault::Blocked, "egress");
        // Nor is it repeated: it stands in the URL.
        assert!(!format!("{:?}", attempted.reply).contains("0.0"), "{attempted:?}");
    }
    assert_eq!(receiver.accepts(), 0);
}

#[test]
fn a_name_is_judged_by_all_of_its_addresses() {
    let receiver = Receiver::answering(OK);
    for answer in [&["127.0.0.1"][..], &["127.0.0.1", "192.0.2.1"], &["93.184.216.34", "127.0.0.1"]] {
        let targets = vec![public(&receiver.url_named("http", "hooks.example.com"))];
        let mut rig = Rig::with(targets, 1, Dns::Says(ips(answer)), RootCertStore::empty());

        assert_fault(&rig.make(), Fault::Blocked, "egress");
    }
    let mixed = Dns::Says(ips(&["127.0.0.1", "169.254.169.254"]));
    let targets = vec![target(&receiver.url_named("http", "hooks.example.com"))];
    assert_fault(&Rig::with(targets, 1, mixed, RootCertStore::empty()).make(), Fault::Blocked, "169.254");
    assert_eq!(receiver.accepts(), 0);
}

#[test]
fn a_denied_name_is_not_even_looked_up() {
    let host = crate::plan::HostPort { host: "hooks.example.com".into(), port: None };
    let egress = Egress::Listed { allow: Vec::new(), deny: vec![Network::Host(host)] };
    let denied = Target { egress, ..target("http://hooks.example.com/hooks?key=sesame") };
    let mut rig = Rig::with(vec![denied], 1, Dns::Never, RootCertStore::empty());

    assert_fault(&rig.make(), Fault::Blocked, "egress.deny");
}

#[test]
fn allowed_addresses_are_tried_in_turn() {
    let receiver = Receiver::answering("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let targets = vec![target(&receiver.url_named("http", "hooks.example.com"))];
    let dns = Dns::Says(ips(&["127.0.0.2", "127.0.0.3", "127.0.0.1"]));
    let mut rig = Rig::with(targets, 1, dns, RootCertStore::empty());

    assert_status(&rig.make(), 200);
    assert_status(&rig.make(), 200);
    assert_eq!(receiver.requests()[0].header("host").unwrap().split(':').next(), Some("hooks.example.com"));
}

#[test]
fn a_name_without_an_address_is_a_dns_fault() {
    let url = "http://hooks.example.com/hooks?key=sesame";
    for (dns, text) in [(Dns::Fails, "does not exist"), (Dns::Says(Vec::new()), "has no address")] {
        let mut rig = Rig::with(vec![target(url)], 1, dns, RootCertStore::empty());

        assert_fault(&rig.make(), Fault::Dns, text);
    }
}

#[test]
fn the_systems_own_names_are_known() {
    let receiver = Receiver::answering(OK);
    let targets = vec![target(&receiver.url_named("http", "localhost"))];
    let mut rig = Rig::resolving(targets, 1, Resolver::System, RootCertStore::empty());

    assert_status(&rig.make(), 200);
}

const AS_CHILD: &str = "HOOKFERRY_TEST_URL";

#[test]
fn proxies_of_the_environment_are_not_used() {
    if let Ok(url) = std::env::var(AS_CHILD) {
        return assert_status(&Rig::new(vec![target(&url)]).make(), 200);
    }
    let (receiver, proxy) = (Receiver::answering(OK), Receiver::answering(OK));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "sender::tests::egress::proxies_of_the_environment_are_not_used"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(name, format!("http://{}", proxy.address));
    }
    let output = child.env(AS_CHILD, receiver.url()).env_remove("NO_PROXY").output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!((receiver.accepts(), proxy.accepts()), (1, 0));
}
