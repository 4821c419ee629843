//! `egress` and `url` of a target.

use ipnet::{IpNet, Ipv4Net};
use rustls::pki_types::DnsName;
use url::{Host, Url};

use crate::domain::AddressKind;

use super::tree::{Unset, Value};
use super::walk::Item;

/// A target's address. `Debug` and `Display` show scheme, host and port only; path and query may
/// be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(pub url::Url);

impl std::fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.origin().ascii_serialization())
    }
}

/// `egress`: which addresses a target may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Egress {
    /// Only globally routable addresses.
    Public,
    /// Also RFC 1918, unique local and loopback addresses.
    Private,
    /// Globally routable addresses less `deny`, and what `allow` names.
    Listed {
        /// Allowed although they are not globally routable.
        allow: Vec<Network>,
        /// Refused although they would be allowed.
        deny: Vec<Network>,
    },
}

/// One entry of `egress.allow` or `egress.deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// An address or a range.
    Range(IpNet),
    /// A host by name, for whatever address it has.
    Host(HostPort),
}

/// A host name, and a port if only that one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Lower case, without a trailing dot.
    pub host: String,
    /// `None` is every port.
    pub port: Option<u16>,
}

/// Reads `egress`.
pub(super) fn egress(item: &Item<'_>) -> Egress {
    match &item.node.value {
        Value::Map(_) => {
            let mut keys = item.keys();
            let mut networks = |key| keys.get(key).map(|list| list.elements()).unwrap_or_default();
            let (allow, deny) = (networks("allow"), networks("deny"));
            keys.done();
            let read = |items: Vec<Item<'_>>| items.iter().filter_map(listed).collect();
            Egress::Listed { allow: read(allow), deny: read(deny) }
        }
        _ => {
            let quoted = item.quoted();
            item.parse(Egress::Public, |text| match text {
                "public" => Ok(Egress::Public),
                "private" => Ok(Egress::Private),
                _ => Err(format!(
                    "{quoted} is not possible here; write `public`, `private` or `{{ allow: […], deny: […] }}`"
                )),
            })
        }
    }
}

fn listed(item: &Item<'_>) -> Option<Network> {
    let quoted = item.quoted();
    item.parse(None, |text| match network(text) {
        Some(network) => Ok(Some(network)),
        None => Err(format!(
            "{quoted} is no network; write an address, a range such as `10.1.0.0/16`, a host or `host:port`"
        )),
    })
}

fn network(text: &str) -> Option<Network> {
    if let Ok(range) = text.parse::<IpNet>() {
        return Some(Network::Range(canonical(range)));
    }
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Some(Network::Range(address.to_canonical().into()));
    }
    // The host is judged, and normalised, exactly as that of a target's URL.
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\*%".contains(&byte);
    if !text.bytes().all(legal) {
        return None;
    }
    let url = Url::parse(&format!("unknown://{text}")).ok()?;
    let host = Url::parse(&format!("https://{}", url.host_str()?)).ok()?;
    let host = host.host_str()?.trim_end_matches('.').to_owned();
    (!host.is_empty()).then(|| Network::Host(HostPort { host, port: url.port() }))
}

/// A range of IPv4 that is mapped into IPv6 (RFC 4291 §2.5.5.2), as what it means: addresses are
/// judged in that form.
fn canonical(range: IpNet) -> IpNet {
    let IpNet::V6(mapped) = range else { return range };
    let bits = mapped.prefix_len().checked_sub(96);
    let plain =
        mapped.addr().to_ipv4_mapped().zip(bits).and_then(|(addr, bits)| Ipv4Net::new(addr, bits).ok());
    plain.map_or(range, IpNet::V4)
}

/// Reads a target's `url`, which `egress` and `allow_http` have to allow. Faults never show it: path
/// and query may be secret.
pub(super) fn url(item: &Item<'_>, egress: &Egress, allow_http: bool) -> Option<Url> {
    let is_unset = item.node.as_scalar().is_some_and(|scalar| scalar.unset == Unset::Yes);
    let stand_in = || is_unset.then(|| Url::parse("https://unset.invalid/").ok()).flatten();
    item.parse(None, |text| judged(text, egress, allow_http).map(Some)).or_else(stand_in)
}

fn judged(text: &str, egress: &Egress, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|reason| format!("no URL ({reason}); write for example `https://host/path`"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err("only `https://` is possible here".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a user or password in the URL is not possible; send them by `auth: { basic: … }`".to_owned()
        );
    }
    if url.fragment().is_some() {
        return Err("a fragment (`#…`) is never sent; remove it".to_owned());
    }
    match url.host() {
        Some(Host::Domain(name)) if !is_host_name(name) => {
            return Err("the host is no name that DNS and TLS can hold: between its dots stand 1 to 63 of \
                        `a-z 0-9 _ -`, no `-` first or last, and the last part is no number"
                .to_owned());
        }
        Some(host) => reachable(&host, egress)?,
        None => return Err("a host is missing; write for example `https://host/path`".to_owned()),
    }
    if url.scheme() == "http" && !allow_http && *egress != Egress::Private {
        return Err(
            "`http://` is not encrypted; write `https://`, or set `egress: private` or `allow_http: \
                    true`"
                .to_owned(),
        );
    }
    Ok(url)
}

/// As the sender judges it, which needs every target's host before it starts.
pub(super) fn is_host_name(name: &str) -> bool {
    DnsName::try_from(name).is_ok()
}

/// Refuses a host of which it is certain, without asking any name server, that `egress` will not
/// allow it.
fn reachable(host: &Host<&str>, egress: &Egress) -> Result<(), String> {
    let kind = match host {
        Host::Ipv4(address) => AddressKind::of((*address).into()),
        Host::Ipv6(address) => AddressKind::of((*address).into()),
        Host::Domain(name) => match name.trim_end_matches('.').rsplit('.').next() {
            Some("localhost") => AddressKind::Private,
            _ => AddressKind::Global,
        },
    };
    match (egress, kind) {
        (Egress::Listed { .. }, _) | (_, AddressKind::Global) => Ok(()),
        (Egress::Private, AddressKind::Private) => Ok(()),
        (Egress::Public, AddressKind::Private) => {
            Err("a private address is never called with `egress: public`; set `egress: private`".to_owned())
        }
        (_, AddressKind::Metadata | AddressKind::Reserved) => Err(format!(
            "the address is {kind} and never called; if it is meant, name it exactly in `egress: {{ allow: […] }}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str, port: Option<u16>) -> Option<Network> {
        Some(Network::Host(HostPort { host: host.to_owned(), port }))
    }

    #[test]
    fn networks_are_ranges_addresses_or_hosts() {
        assert_eq!(network("10.1.0.0/16"), "10.1.0.0/16".parse().ok().map(Network::Range));
        assert_eq!(network("::1"), "::1/128".parse().ok().map(Network::Range));
        assert_eq!(network("::ffff:10.1.0.0/112"), "10.1.0.0/16".parse().ok().map(Network::Range));
        assert_eq!(network("::ffff:10.1.2.3"), "10.1.2.3/32".parse().ok().map(Network::Range));
        assert_eq!(network("Host.Internal:8443"), host("host.internal", Some(8443)));
        assert_eq!(network("host.internal."), host("host.internal", None));
        for wrong in ["", "a b", "https://x", "a/b", "10.1.0.0/99", "host:99999", "*.x"] {
            assert_eq!(network(wrong), None, "{wrong}");
        }
    }

    fn is_possible(text: &str, egress: &Egress, allow_http: bool) -> bool {
        judged(text, egress, allow_http).is_ok()
    }

    #[test]
    fn a_url_is_judged_by_its_parts() {
        assert!(is_possible("https://example.com/a?b", &Egress::Public, false));
        assert!(is_possible("http://example.com/", &Egress::Public, true));
        assert!(is_possible("http://example.com/", &Egress::Private, false));
        for wrong in [
            "http://example.com",
            "ftp://example.com",
            "example.com",
            "https://u:p@example.com",
            "https://e.x/#a",
        ] {
            assert!(!is_possible(wrong, &Egress::Public, false), "{wrong}");
        }
    }

    #[test]
    fn a_host_that_neither_dns_nor_tls_can_hold_is_refused() {
        let long = format!("https://{}.example.com/", "a".repeat(64));
        let longer = format!("https://{}example.com/", "abcdefghi.".repeat(25));
        for wrong in [
            "https://a..b/",
            "https://.a/",
            "https://a../",
            "https://./",
            "https://-x.example.com/",
            "https://x-.example.com/",
            "http://a..b/",
            "https://a!b.example.com/",
            &long,
            &longer,
        ] {
            let fault = judged(wrong, &Egress::Private, false).expect_err(wrong);
            assert!(fault.contains("between its dots stand 1 to 63"), "{wrong}: {fault}");
        }
        let longest = format!("https://{}.example.com/", "a".repeat(63));
        for right in ["https://a.b./", "https://a_b.example.com/", "https://xn--bcher-kva.example/", &longest]
        {
            assert!(is_possible(right, &Egress::Public, false), "{right}");
        }
    }

    #[test]
    fn a_host_that_egress_will_refuse_is_named_at_once() {
        for private in
            ["http://localhost:8080/", "https://10.0.0.5/", "https://[::1]/", "https://a.LOCALHOST./"]
        {
            let fault = judged(private, &Egress::Public, true).unwrap_err();
            assert!(fault.ends_with("set `egress: private`"), "{private}: {fault}");
            assert!(!fault.contains("allow_http"), "{private}: {fault}");
            assert!(is_possible(private, &Egress::Private, false), "{private}");
            assert!(is_possible(private, &Egress::Listed { allow: vec![], deny: vec![] }, true), "{private}");
        }
        for egress in [Egress::Public, Egress::Private] {
            let fault = judged("http://169.254.169.254/", &egress, true).unwrap_err();
            assert!(fault.contains("allow: […]"), "{fault}");
        }
    }
}
