//! What an address is by the registries of the Internet, as far as `egress` cares.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind {
    /// Globally routable.
    Global,
    /// RFC 1918, unique local (RFC 4193) or loopback.
    Private,
    /// Link-local or the metadata service of a cloud; may hand out credentials.
    Metadata,
    /// Set aside for some other purpose by the IANA registries.
    Reserved,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressKind::Global => "public",
            AddressKind::Private => "private",
            AddressKind::Metadata => "link-local or a cloud's metadata service",
            AddressKind::Reserved => "reserved",
        })
    }
}

impl AddressKind {
    /// What `address` is. Addresses of IPv4 that are mapped into IPv6 are judged as what they mean.
    pub fn of(address: IpAddr) -> AddressKind {
        let address = address.to_canonical();
        if METADATA.contains(&address) || carried(address).is_some_and(|inner| is_metadata(&inner)) {
            return AddressKind::Metadata;
        }
        match address {
            IpAddr::V4(address) => kind_v4(address),
            IpAddr::V6(address) => kind_v6(address),
        }
    }
}

fn is_metadata(address: &IpAddr) -> bool {
    AddressKind::of(*address) == AddressKind::Metadata
}

/// The address of IPv4 to which one of IPv6 is translated or tunnelled somewhere on the way: NAT64
/// (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380), and the forms that were given up (`::a.b.c.d`,
/// `::ffff:0:a.b.c.d`).
pub fn carried(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let segments = address.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match segments {
        // The unspecified address and loopback.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0x64, 0xff9b, 0 | 1, .., high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x2002, high, low, ..] => inner(high, low),
        [0x2001, 0, .., high, low] => inner(!high, !low),
        _ => None,
    }
}

fn kind_v4(address: Ipv4Addr) -> AddressKind {
    if address.is_link_local() {
        AddressKind::Metadata
    } else if address.is_private() || address.is_loopback() {
        AddressKind::Private
    } else if RESERVED_V4.iter().any(|net| net.contains(&address)) {
        AddressKind::Reserved
    } else {
        AddressKind::Global
    }
}

fn kind_v6(address: Ipv6Addr) -> AddressKind {
    if address.is_unicast_link_local() {
        AddressKind::Metadata
    } else if address.is_unique_local() || address.is_loopback() {
        AddressKind::Private
    } else if GLOBAL_V6.contains(&address) && !RESERVED_V6.iter().any(|net| net.contains(&address)) {
        AddressKind::Global
    } else {
        AddressKind::Reserved
    }
}

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// The IANA IPv4 Special-Purpose Address Registry (RFC 6890) and multicast; RFC 1918, loopback and
/// link-local are judged before.
const RESERVED_V4: [Ipv4Net; 13] = [
    v4(0, 0, 0, 8),
    v4(100, 64, 0, 10),
    v4(192, 0, 0, 24),
    v4(192, 0, 2, 24),
    v4(192, 31, 196, 24),
    v4(192, 52, 193, 24),
    v4(192, 88, 99, 24),
    v4(192, 175, 48, 24),
    v4(198, 18, 0, 15),
    v4(198, 51, 100, 24),
    v4(203, 0, 113, 24),
    v4(224, 0, 0, 4),
    v4(240, 0, 0, 4),
];

/// The only part of IPv6 that is handed out for global unicast (RFC 4291 §2.4).
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

/// What is set aside within [`GLOBAL_V6`]: protocol assignments, documentation (twice), 6to4.
const RESERVED_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 23), v6(0x2001, 0x0db8, 32), v6(0x2002, 0, 16), v6(0x3fff, 0, 20)];

/// Metadata services outside link-local ranges: Azure, Alibaba, Oracle, and AWS and Google on IPv6.
const METADATA: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv6_may_carry_one_of_ipv4() {
        for (address, inner) in [
            ("64:ff9b::a9fe:a9fe", Some("169.254.169.254")),
            ("64:ff9b:1::a00:1", Some("10.0.0.1")),
            ("2002:a9fe:a9fe::1", Some("169.254.169.254")),
            ("2001:0:4136:e378:8000:63bf:5601:5601", Some("169.254.169.254")),
            ("::a9fe:a9fe", Some("169.254.169.254")),
            ("::ffff:0:a9fe:a9fe", Some("169.254.169.254")),
            ("::", None),
            ("::1", None),
            ("2606:4700::a9fe:a9fe", None),
            ("169.254.169.254", None),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let inner: Option<IpAddr> = inner.map(|inner| inner.parse().unwrap());
            assert_eq!(carried(address), inner, "{address}");
            let is_metadata =
                [Some(address), inner].iter().flatten().any(|one| one.to_string() == "169.254.169.254");
            assert_eq!(AddressKind::of(address) == AddressKind::Metadata, is_metadata, "{address}");
        }
    }
}
