//! ICMPv6: neighbour discovery (RFC 4861) and the types that hosts have no business with.

use crate::address::Address;
use crate::frame::Key;

pub(crate) const MLD_QUERY: u8 = 130;
pub(crate) const MLD_REPORT: u8 = 131;
pub(crate) const MLD_DONE: u8 = 132;
pub(crate) const ROUTER_SOLICITATION: u8 = 133;
pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(crate) const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
pub(crate) const REDIRECT: u8 = 137;
pub(crate) const ROUTER_RENUMBERING: u8 = 138;
pub(crate) const MLD2_REPORT: u8 = 143;
/// Multicast router advertisement and termination (RFC 4286).
pub(crate) const MULTICAST_ROUTER: [u8; 2] = [151, 153];

/// A solicitation or advertisement, of a neighbour or (a solicitation) by a host for routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Discovery {
    /// The neighbour asked for or advertised; unspecified in a router solicitation.
    pub(crate) target: Address,
    /// The R flag of an advertisement.
    pub(crate) router: bool,
    /// Whether it says a link-layer address.
    pub(crate) says_link: bool,
    /// Whether all link-layer addresses that it says are the one expected.
    pub(crate) links_match: bool,
}

impl Discovery {
    /// Decodes the three types that a host sends (RFC 4861 4.1, 4.3, 4.4), whole with their ICMPv6
    /// header; `None` for one that is cut or whose options do not add up.
    pub(crate) fn decode(octets: &[u8], link: Key) -> Option<Self> {
        let ([kind, _, _, _, flags, _, _, _], rest) = octets.split_first_chunk::<8>()?;
        let (target, options) = match *kind {
            ROUTER_SOLICITATION => (Address::v6([0; 16]), rest),
            NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => {
                let (target, options) = rest.split_first_chunk::<16>()?;
                (Address::v6(*target), options)
            }
            _ => return None,
        };
        let router = *kind == NEIGHBOUR_ADVERTISEMENT && flags & 0x80 != 0;
        let mut discovery = Self { target, router, says_link: false, links_match: true };
        let mut rest = options;
        while let [kind, length, ..] = *rest {
            let (option, behind) =
                rest.split_at_checked(usize::from(length) * 8).filter(|_| length > 0)?;
            // Source and target link-layer address, one unit long on Ethernet (RFC 2464 6).
            if matches!(kind, 1 | 2) {
                let same = matches!(*option, [_, 1, a, b, c, d, e, f]
                    if link.mac().octets() == [a, b, c, d, e, f]);
                discovery.says_link = true;
                discovery.links_match &= same;
            }
            rest = behind;
        }
        rest.is_empty().then_some(discovery)
    }
}
