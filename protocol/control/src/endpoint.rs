//! Where a data plane may be reached, and how that is known.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Where a gateway's data plane may be reached by UDP: a candidate, in the words of RFC 8445.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// The address. An unspecified one says a port and nothing else.
    pub address: SocketAddr,
    /// How it is known.
    pub kind: EndpointKind,
    /// By which of a hybrid device's accesses, in the order of its tunnel's legs. 0 for a gateway's.
    pub leg: u8,
}

/// How an [`Endpoint`] is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum EndpointKind {
    /// It was not said, or is of a kind that this version does not know.
    #[default]
    Unsaid,
    /// The gateway's own address.
    Host,
    /// Its owner says so.
    Told,
    /// Servers see its data plane there (STUN): a NAT's address, never its own.
    Reflexive,
    /// The controller sees its channel come from there.
    Observed,
    /// A relay forwards what is sent there. Reserved.
    Relay,
}

impl Endpoint {
    /// An endpoint that is known so.
    pub const fn new(address: SocketAddr, kind: EndpointKind) -> Self {
        Self { address, kind, leg: 0 }
    }

    /// The same, by that access of a hybrid device.
    pub const fn by(self, leg: u8) -> Self {
        Self { leg, ..self }
    }
}

/// Whether an address means something in a private network only (RFC 1918, RFC 4193, RFC 6598).
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::new(address, EndpointKind::Unsaid)
    }
}

/// What the endpoints of a gateway say of the NAT in front of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Translation {
    /// Nothing is known of one.
    Unknown,
    /// It shows one address and port of the data plane, whomever that sends to, as far as is known.
    SameForAll,
    /// It shows each whom the data plane sends to another port: servers see several by one access.
    PerDestination,
}

impl Translation {
    /// Of those that a gateway tells.
    pub fn of(endpoints: &[Endpoint]) -> Self {
        let reflexive = endpoints.iter().filter(|e| e.kind == EndpointKind::Reflexive);
        let mut seen = BTreeMap::new();
        for endpoint in reflexive {
            let access = (endpoint.leg, endpoint.address.ip().to_canonical().is_ipv4());
            *seen.entry(access).or_insert(0) += 1;
        }
        match seen.into_values().max() {
            None => Self::Unknown,
            Some(1) => Self::SameForAll,
            Some(_) => Self::PerDestination,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str, kind: EndpointKind) -> Endpoint {
        Endpoint::new(address.parse().unwrap(), kind)
    }

    #[test]
    fn several_reflexive_addresses_of_a_family_and_access_are_a_nat_that_shows_each_another() {
        use EndpointKind::{Host, Observed, Reflexive};
        let own = endpoint("10.0.0.2:1701", Host);
        let seen = endpoint("192.0.2.7:1701", Observed);
        let first = endpoint("192.0.2.7:40000", Reflexive);
        let second = endpoint("192.0.2.7:40001", Reflexive);
        let v6 = endpoint("[2001:db8::1]:1701", Reflexive);
        for (endpoints, what) in [
            (&[own, seen][..], Translation::Unknown),
            (&[own, seen, first], Translation::SameForAll),
            (&[first, v6], Translation::SameForAll),
            (&[first, v6, second], Translation::PerDestination),
            (&[first, second.by(1)], Translation::SameForAll),
            (&[first, second.by(1), first.by(1)], Translation::PerDestination),
        ] {
            assert_eq!(Translation::of(endpoints), what, "{endpoints:?}");
        }
    }

    #[test]
    fn private_addresses_are_told_from_others() {
        let is_private = |address: &str| is_private(address.parse().unwrap());
        for address in [
            "10.1.2.3",
            "192.168.1.1",
            "172.31.0.1",
            "100.127.0.1",
            "fd00::1",
            "::ffff:192.168.1.1",
        ] {
            assert!(is_private(address), "{address}");
        }
        for address in ["192.0.2.1", "100.128.0.1", "100.63.0.1", "2001:db8::1", "::ffff:192.0.2.1"]
        {
            assert!(!is_private(address), "{address}");
        }
    }
}
