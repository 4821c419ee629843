//! Which addresses a target may have: a pure decision, made on the parsed host and on resolved
//! addresses, never on text (DESIGN.md §5, HTTP).

use std::net::IpAddr;

use url::Host;

use crate::domain::{AddressKind, carried};
use crate::plan::{Egress, HostPort, Network};

/// Why a target may not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `egress.deny` names the host.
    #[error("egress.deny names this host")]
    Host,
    /// `egress.deny` holds this address.
    #[error("egress.deny holds the address {0}")]
    Denied(IpAddr),
    /// The address is not globally routable, and `egress` does not allow it.
    #[error("the address {0} is {1}, which the target's egress does not allow")]
    Kept(IpAddr, AddressKind),
}

impl Refusal {
    /// For people, without the address.
    pub(super) fn without_address(&self) -> String {
        match self {
            Refusal::Host => self.to_string(),
            Refusal::Denied(_) => "egress.deny holds its address".to_owned(),
            Refusal::Kept(_, kind) => {
                format!("its address is {kind}, which the target's egress does not allow")
            }
        }
    }
}

/// Decides whether a target at `host` and `port` may be connected to at `addresses`: those that
/// its name resolved to, or the one that stands in its URL. One refused address refuses all, so
/// that an answer can't mix in an internal address. Without addresses only the name is judged.
///
/// `deny` wins over `allow`, also where it holds what an address is translated to ([`carried`]). Link-local and metadata addresses are allowed only by an entry that
/// is exactly this address; neither a range nor a host name lets them through.
///
/// # Errors
/// The first reason found, without the target's name.
pub fn judge(egress: &Egress, host: &Host<String>, port: u16, addresses: &[IpAddr]) -> Result<(), Refusal> {
    let (allow, deny): (&[Network], &[Network]) = match egress {
        Egress::Listed { allow, deny } => (allow, deny),
        Egress::Public | Egress::Private => (&[], &[]),
    };
    let named = |list: &[Network]| {
        list.iter().any(|network| matches!(network, Network::Host(entry) if names(entry, host, port)))
    };
    if named(deny) {
        return Err(Refusal::Host);
    }
    let host_allowed = named(allow);
    for address in addresses.iter().map(IpAddr::to_canonical) {
        let denied = |address| deny.iter().any(|network| holds(network, address, port));
        if denied(address) || carried(address).is_some_and(denied) {
            return Err(Refusal::Denied(address));
        }
        let kind = AddressKind::of(address);
        let allowed = match kind {
            AddressKind::Global => true,
            AddressKind::Metadata => allow.iter().any(|network| is_exactly(network, address, port)),
            AddressKind::Private if *egress == Egress::Private => true,
            AddressKind::Private | AddressKind::Reserved => {
                host_allowed || allow.iter().any(|network| holds(network, address, port))
            }
        };
        if !allowed {
            return Err(Refusal::Kept(address, kind));
        }
    }
    Ok(())
}

fn names(entry: &HostPort, host: &Host<String>, port: u16) -> bool {
    entry.port.is_none_or(|only| only == port)
        && match host {
            Host::Domain(name) => name.trim_end_matches('.').eq_ignore_ascii_case(&entry.host),
            Host::Ipv4(address) => literal(&entry.host) == Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => literal(&entry.host) == Some(IpAddr::V6(*address).to_canonical()),
        }
}

fn holds(network: &Network, address: IpAddr, port: u16) -> bool {
    match network {
        Network::Range(range) => range.contains(&address),
        Network::Host(_) => is_exactly(network, address, port),
    }
}

fn is_exactly(network: &Network, address: IpAddr, port: u16) -> bool {
    match network {
        Network::Range(range) => {
            range.prefix_len() == range.max_prefix_len() && range.addr().to_canonical() == address
        }
        Network::Host(entry) => {
            entry.port.is_none_or(|only| only == port) && literal(&entry.host) == Some(address)
        }
    }
}

/// The address that an entry's text is, if it is one (`10.1.2.3:8443` has a port, so it is no range).
fn literal(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipnet::IpNet;

    use super::*;

    fn host(text: &str) -> Host<String> {
        Host::parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn listed(allow: &[&str], deny: &[&str]) -> Egress {
        let read = |list: &[&str]| {
            let network = |text: &&str| match text.parse::<IpNet>() {
                Ok(range) => Network::Range(range),
                Err(_) => match text.rsplit_once(':') {
                    Some((host, port)) => {
                        Network::Host(HostPort { host: host.into(), port: Some(port.parse().unwrap()) })
                    }
                    None => Network::Host(HostPort { host: (*text).into(), port: None }),
                },
            };
            list.iter().map(network).collect()
        };
        Egress::Listed { allow: read(allow), deny: read(deny) }
    }

    fn passes(egress: &Egress, addresses: &[&str]) -> bool {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| ip(text)).collect();
        judge(egress, &host("hooks.example.com"), 443, &addresses).is_ok()
    }

    #[test]
    fn public_takes_only_globally_routable_addresses() {
        for address in
            ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1", "2001:200::1", "::ffff:1.1.1.1"]
        {
            assert!(passes(&Egress::Public, &[address]), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::a00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::",
            "3fff::1",
            "4000::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!passes(&Egress::Public, &[address]), "{address}");
        }
    }

    #[test]
    fn private_adds_private_addresses_but_no_metadata() {
        for address in
            ["1.1.1.1", "10.0.0.1", "127.0.0.1", "192.168.1.1", "::1", "fd12::1", "::ffff:10.0.0.1"]
        {
            assert!(passes(&Egress::Private, &[address]), "{address}");
        }
        for address in [
            "0.0.0.0",
            "100.64.0.1",
            "169.254.169.254",
            "169.254.1.1",
            "168.63.129.16",
            "100.100.100.200",
            "fe80::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::",
            "::ffff:169.254.169.254",
            "224.0.0.1",
        ] {
            assert!(!passes(&Egress::Private, &[address]), "{address}");
        }
    }

    #[test]
    fn one_refused_address_refuses_a_mixed_answer() {
        assert!(passes(&Egress::Public, &["1.1.1.1", "8.8.8.8"]));
        assert!(!passes(&Egress::Public, &["1.1.1.1", "10.0.0.1"]));
        assert!(!passes(&Egress::Public, &["1.1.1.1", "::ffff:10.0.0.1"]));
    }

    #[test]
    fn lists_allow_and_deny_ranges() {
        let egress = listed(&["10.1.0.0/16", "fd12::/16"], &["10.1.9.0/24", "8.8.8.8/32"]);

        assert!(passes(&egress, &["1.1.1.1"]));
        assert!(passes(&egress, &["10.1.2.3"]));
        assert!(passes(&egress, &["::ffff:10.1.2.3"]));
        assert!(passes(&egress, &["fd12::7"]));
        assert!(!passes(&egress, &["10.2.0.1"]));
        assert!(!passes(&egress, &["10.1.9.1"]), "deny wins");
        assert!(!passes(&egress, &["8.8.8.8"]));
        assert!(!passes(&egress, &["127.0.0.1"]));

        let translated = listed(&["64:ff9b::/96"], &["10.1.9.0/24"]);
        assert!(passes(&translated, &["64:ff9b::a01:801"]));
        assert!(!passes(&translated, &["64:ff9b::a01:901"]), "deny wins over what it is translated to");
    }

    #[test]
    fn metadata_is_allowed_only_by_exactly_its_address() {
        for wide in ["0.0.0.0/0", "169.254.0.0/16", "169.254.169.254/31", "hooks.example.com"] {
            assert!(!passes(&listed(&[wide], &[]), &["169.254.169.254"]), "{wide}");
        }
        assert!(!passes(&listed(&["100.64.0.0/10"], &[]), &["100.100.100.200"]));
        assert!(!passes(&listed(&["fd00::/8"], &[]), &["fd00:ec2::254"]));
        for wide in ["64:ff9b::/96", "hooks.example.com"] {
            assert!(!passes(&listed(&[wide], &[]), &["64:ff9b::a9fe:a9fe"]), "translated, and {wide}");
        }
        assert!(passes(&listed(&["169.254.169.254/32"], &[]), &["169.254.169.254"]));
        assert!(passes(&listed(&["169.254.169.254"], &[]), &["::ffff:169.254.169.254"]));
        assert!(passes(&listed(&["fd00:ec2::254/128"], &[]), &["fd00:ec2::254"]));
    }

    #[test]
    fn hosts_are_named_with_or_without_a_port() {
        let inner = [ip("10.0.0.1")];
        let egress = listed(&["host.internal:8443", "plain.internal", "10.7.7.7:81"], &["bad.example.com"]);

        assert!(judge(&egress, &host("host.internal"), 8443, &inner).is_ok());
        assert!(judge(&egress, &host("HOST.internal."), 8443, &inner).is_ok());
        assert!(judge(&egress, &host("host.internal"), 443, &inner).is_err());
        assert!(judge(&egress, &host("plain.internal"), 1, &inner).is_ok());
        assert!(judge(&egress, &host("other.internal"), 8443, &inner).is_err());
        assert!(judge(&egress, &host("10.7.7.7"), 81, &[ip("10.7.7.7")]).is_ok());
        assert!(judge(&egress, &host("10.7.7.7"), 82, &[ip("10.7.7.7")]).is_err());
        assert_eq!(judge(&egress, &host("bad.example.com"), 443, &[]), Err(Refusal::Host));
        assert_eq!(judge(&egress, &host("bad.example.com"), 443, &[ip("1.1.1.1")]), Err(Refusal::Host));
    }

    #[test]
    fn odd_spellings_of_an_address_are_that_address() {
        for text in ["0x7f.1", "2130706433", "0177.0.0.1", "127.1"] {
            assert_eq!(host(text), Host::<String>::Ipv4(Ipv4Addr::LOCALHOST), "{text}");
        }
    }
}
