//! Default routes: where an interface leads out, and how one is written.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result};
use crate::link::Links;
use crate::netlink::{Attributes, Body, Netlink};

/// The routing protocol that marks what is ours (`ip route show proto 72`); of those that no
/// daemon has taken (`/etc/iproute2/rt_protos`).
pub const PROTOCOL: u8 = 72;

pub(crate) const MAIN: u32 = 254;
pub(crate) const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];

const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
const RTN_UNICAST: u8 = 1;
const RTN_UNREACHABLE: u8 = 7;
const RT_SCOPE_LINK: u8 = 253;

/// How an interface leads to everywhere, in one family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WayOut {
    /// Whether that is IPv6; else it is IPv4.
    pub ipv6: bool,
    /// By which router; `None` where whatever is sent is everywhere heard.
    pub router: Option<IpAddr>,
}

/// The default routes of one network namespace: that of the thread which called
/// [`DefaultRoutes::open`].
#[derive(Debug)]
pub struct DefaultRoutes {
    netlink: Netlink,
    links: Links,
}

impl DefaultRoutes {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket.
    pub fn open() -> Result<Self> {
        let netlink = Netlink::open(libc::NETLINK_ROUTE)
            .map_err(|e| Error::refused("open a route netlink socket", "", e))?;
        Ok(Self { netlink, links: Links::open()? })
    }

    /// The ways out by that interface that the system itself has, which are those of the main
    /// table; in an order that stays.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses to tell.
    pub fn by(&mut self, interface: &str) -> Result<Vec<WayOut>> {
        let link = self.links.by_name(interface)?;
        let index = link.ok_or_else(|| Error::NoInterface(interface.to_owned()))?.index;
        let mut found = Vec::new();
        for of in FAMILIES {
            for route in defaults(&mut self.netlink, of)? {
                match route.way {
                    Way::By { interface, gateway } if interface == index && route.table == MAIN => {
                        found.push(WayOut { ipv6: of != FAMILIES[0], router: gateway });
                    }
                    Way::By { .. } | Way::Nowhere => {}
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The interfaces that have such a way out, by index.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn interfaces(&mut self) -> Result<BTreeSet<u32>> {
        let mut found = BTreeSet::new();
        for of in FAMILIES {
            let all = defaults(&mut self.netlink, of)?.into_iter();
            found.extend(all.filter(|route| route.table == MAIN).filter_map(
                |route| match route.way {
                    Way::By { interface, .. } => Some(interface),
                    Way::Nowhere => None,
                },
            ));
        }
        Ok(found)
    }
}

/// Where a default route leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    By { interface: u32, gateway: Option<IpAddr> },
    Nowhere,
}

/// A default route as the kernel has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DefaultRoute {
    pub(crate) family: u8,
    pub(crate) table: u32,
    pub(crate) protocol: u8,
    pub(crate) metric: u32,
    pub(crate) way: Way,
}

/// All default routes of a family, of any table.
pub(crate) fn defaults(netlink: &mut Netlink, family: u8) -> Result<Vec<DefaultRoute>> {
    let mut header = [0; 12];
    if let Some(first) = header.first_mut() {
        *first = family;
    }
    let answer = netlink
        .dump(libc::RTM_GETROUTE, &header)
        .map_err(|e| Error::refused("list the default routes", "", e))?;
    Ok(answer.iter().filter_map(|body| default(body)).collect())
}

/// `struct rtmsg`: family, destination's and source's prefix lengths, TOS, table, protocol, scope,
/// type, flags.
pub(crate) fn route(family: u8, table: u32, way: Way, metric: Option<u32>) -> Body {
    let (kind, scope) = match way {
        Way::By { gateway: None, .. } if family == FAMILIES[0] => (RTN_UNICAST, RT_SCOPE_LINK),
        Way::By { .. } => (RTN_UNICAST, 0),
        Way::Nowhere => (RTN_UNREACHABLE, 0),
    };
    let mut body = Body::new(&[family, 0, 0, 0, 0, PROTOCOL, scope, kind, 0, 0, 0, 0])
        .with_u32(RTA_TABLE, table);
    if let Way::By { interface, gateway } = way {
        body = body.with_u32(RTA_OIF, interface);
        if let Some(gateway) = gateway {
            body = body.with(RTA_GATEWAY, &octets(gateway));
        }
    }
    match metric {
        Some(metric) if metric > 0 => body.with_u32(RTA_PRIORITY, metric),
        _ => body,
    }
}

/// A default route; `None` for other routes, and for one with several next hops.
fn default(body: &[u8]) -> Option<DefaultRoute> {
    let [family, to, from, _, table, protocol, _, kind, ..] = *body else { return None };
    if to != 0 || from != 0 {
        return None;
    }
    let attributes = Attributes::new(body.get(12..)?);
    let way = match kind {
        RTN_UNICAST => Way::By {
            interface: attributes.u32(RTA_OIF)?,
            gateway: attributes.get(RTA_GATEWAY).and_then(ip),
        },
        RTN_UNREACHABLE => Way::Nowhere,
        _ => return None,
    };
    let table = attributes.u32(RTA_TABLE).unwrap_or(table.into());
    let metric = attributes.u32(RTA_PRIORITY).unwrap_or(0);
    Some(DefaultRoute { family, table, protocol, metric, way })
}

pub(crate) fn family(address: &IpAddr) -> u8 {
    let [v4, v6] = FAMILIES;
    if address.is_ipv4() { v4 } else { v6 }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(crate) fn ip(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(|octets| IpAddr::from(Ipv4Addr::from(octets)));
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_of_a_route_is_read_again() {
        let gateway = Some("192.0.2.1".parse().unwrap());
        for way in [
            Way::By { interface: 3, gateway },
            Way::By { interface: 3, gateway: None },
            Way::Nowhere,
        ] {
            let body = route(FAMILIES[0], 300, way, Some(5));
            let read = default(body.octets()).unwrap();
            assert_eq!((read.table, read.protocol, read.metric, read.way), (300, PROTOCOL, 5, way));
            for end in 0..body.octets().len() {
                // Cut off anywhere, it is read as less or not at all.
                let _ = default(&body.octets()[..end]);
            }
        }
    }
}
