//! Network addresses of both families as one number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 or IPv6 address: IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), which no packet may have
/// as its IPv6 source, so the two families do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address(u128);

const MAPPED: u128 = 0xffff << 32;
const LOOPBACK: Address = Address(1);

impl Address {
    #[inline]
    pub(crate) const fn v4(octets: [u8; 4]) -> Self {
        Self(MAPPED | u32::from_be_bytes(octets) as u128)
    }

    #[inline]
    pub(crate) const fn v6(octets: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(octets);
        // An IPv4 address in an IPv6 header is as much nobody's as the loopback address.
        if number >> 32 == MAPPED >> 32 { LOOPBACK } else { Self(number) }
    }

    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::v6(address.octets()),
        }
    }

    pub(crate) fn ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self.0).to_canonical()
    }

    pub(crate) const fn is_v4(self) -> bool {
        self.0 >> 32 == MAPPED >> 32
    }

    const fn as_v4(self) -> Option<Ipv4Addr> {
        Ipv6Addr::from_bits(self.0).to_ipv4_mapped()
    }

    /// 0.0.0.0 or ::
    #[inline]
    pub(crate) const fn is_unspecified(self) -> bool {
        self.0 == 0 || self.0 == MAPPED
    }

    /// 169.254/16: anybody's own choice (RFC 3927).
    pub(crate) fn is_v4_link_local(self) -> bool {
        self.as_v4().is_some_and(|address| address.is_link_local())
    }

    /// fe80::/10
    pub(crate) const fn is_v6_link_local(self) -> bool {
        Ipv6Addr::from_bits(self.0).is_unicast_link_local()
    }

    /// Whether a host can have it: no group, no loopback, nothing reserved.
    pub(crate) fn is_usable(self) -> bool {
        match self.as_v4() {
            Some(address) => {
                let first = address.octets()[0];
                first != 0 && first != 127 && first < 224
            }
            None => {
                let address = Ipv6Addr::from_bits(self.0);
                !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::of(text.parse().unwrap())
    }

    #[test]
    fn addresses_of_both_families_come_back_as_they_were_put() {
        for text in ["192.0.2.1", "0.0.0.0", "::", "fe80::1", "2001:db8::ffff:c000:201"] {
            assert_eq!(address(text).ip().to_string(), text);
        }
        assert!(address("192.0.2.1").is_v4() && !address("::c000:201").is_v4());
    }

    #[test]
    fn an_ipv4_address_in_an_ipv6_header_is_no_ipv4_address_and_nobodys() {
        let mapped = "::ffff:192.0.2.1".parse::<Ipv6Addr>().unwrap();
        assert!(!Address::v6(mapped.octets()).is_usable());
        assert_ne!(Address::v6(mapped.octets()), address("192.0.2.1"));
    }

    #[test]
    fn groups_loopback_and_reserved_addresses_are_nobodys() {
        for text in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"]
        {
            assert!(!address(text).is_usable(), "{text}");
        }
        for text in ["::", "::1", "ff02::1"] {
            assert!(!address(text).is_usable(), "{text}");
        }
        for text in ["192.168.1.5", "169.254.9.9", "10.0.0.255", "fe80::1", "2001:db8::1"] {
            assert!(address(text).is_usable(), "{text}");
        }
    }
}
