//! Who else is on a network: an interface's own addresses, its neighbours, its routers
//! (rtnetlink(7)).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use homeward_model::Mac;

use crate::error::{Error, Result};
use crate::link::{Link, Links};
use crate::netlink::{Attributes, Netlink, u16_at, u32_at};
use crate::routes::ip;

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix, in bits.
    pub prefix: u8,
}

/// An address of the machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnAddress {
    /// The index of the interface that has it.
    pub interface: u32,
    /// It, and its network.
    pub address: Address,
    /// Whether it is there to stay: not one of IPv6 that is temporary (RFC 8981), on its way out, or
    /// may turn out to be somebody else's (RFC 4862).
    pub lasting: bool,
}

/// A host on the network of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, if it is known.
    pub mac: Option<Mac>,
    /// It is a default router, or calls itself a router.
    pub router: bool,
}

/// The networks of one network namespace: that of the thread which called [`Networks::open`].
#[derive(Debug)]
pub struct Networks {
    route: Netlink,
    links: Links,
}

impl Networks {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// The kernel gives no socket.
    pub fn open() -> Result<Self> {
        let route = Netlink::open(libc::NETLINK_ROUTE)
            .map_err(|e| Error::refused("open a route netlink socket", "", e))?;
        Ok(Self { route, links: Links::open()? })
    }

    /// An interface's own addresses of both families.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses to tell.
    pub fn addresses(&mut self, interface: &str) -> Result<Vec<Address>> {
        let link = self.get(interface)?;
        let all = self.dump_addresses(interface)?;
        let own = all.into_iter().filter(|own| own.interface == link.index);
        let found: BTreeSet<Address> = own.map(|own| own.address).collect();
        Ok(found.into_iter().collect())
    }

    /// The addresses of all interfaces, of both families, in an order that stays.
    ///
    /// # Errors
    ///
    /// The kernel refuses to tell.
    pub fn own_addresses(&mut self) -> Result<Vec<OwnAddress>> {
        let found: BTreeSet<OwnAddress> = self.dump_addresses("")?.into_iter().collect();
        Ok(found.into_iter().collect())
    }

    fn dump_addresses(&mut self, culprit: &str) -> Result<Vec<OwnAddress>> {
        let answer = self
            .route
            .dump(libc::RTM_GETADDR, &[0; 8])
            .map_err(|e| Error::refused("list the addresses of", culprit, e))?;
        Ok(answer.iter().filter_map(|body| own_address(body)).collect())
    }

    /// The hosts on an interface's network that the kernel knows: its neighbour table, and its
    /// default routers whether they are in there or not. Groups are left out, and what failed to
    /// resolve.
    ///
    /// # Errors
    ///
    /// There is no such interface, or the kernel refuses to tell.
    pub fn neighbours(&mut self, interface: &str) -> Result<Vec<Neighbour>> {
        let link = self.get(interface)?;
        let mut found: BTreeMap<IpAddr, Neighbour> = BTreeMap::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut fixed = [0; 12];
            fixed[0] = family as u8;
            let answer = self
                .route
                .dump(libc::RTM_GETNEIGH, &fixed)
                .map_err(|e| Error::refused("list the neighbours on", interface, e))?;
            let own = answer.iter().filter(|body| u32_at(body, 4) == Some(link.index));
            for one in own.filter_map(|body| neighbour(body)) {
                found.insert(one.address, one);
            }
        }
        for router in self.routers(&link)? {
            found
                .entry(router)
                .or_insert(Neighbour { address: router, mac: None, router: true })
                .router = true;
        }
        Ok(found.into_values().collect())
    }

    /// The next hops of default routes by that interface, in any routing table.
    fn routers(&mut self, link: &Link) -> Result<BTreeSet<IpAddr>> {
        let mut found = BTreeSet::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut fixed = [0; 12];
            fixed[0] = family as u8;
            let answer = self
                .route
                .dump(libc::RTM_GETROUTE, &fixed)
                .map_err(|e| Error::refused("list the routes by", &link.name, e))?;
            for body in &answer {
                next_hops(body, link.index, &mut found);
            }
        }
        Ok(found)
    }

    fn get(&mut self, name: &str) -> Result<Link> {
        self.links.by_name(name)?.ok_or_else(|| Error::NoInterface(name.to_owned()))
    }
}

/// Of `struct ifaddrmsg`: family, prefix length, flags, scope, index.
fn own_address(body: &[u8]) -> Option<OwnAddress> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    /// Of IPv4 it says that an interface has another of that network before.
    const IFA_F_TEMPORARY: u8 = 0x01;
    const IFA_F_DADFAILED: u8 = 0x08;
    const IFA_F_DEPRECATED: u8 = 0x20;
    const IFA_F_TENTATIVE: u8 = 0x40;
    let [family, prefix, flags, ..] = *body else { return None };
    let passing = match family == libc::AF_INET6 as u8 {
        true => IFA_F_TEMPORARY | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE,
        false => 0,
    };
    let attributes = Attributes::new(body.get(8..)?);
    // On a point-to-point link the first is the peer's.
    let octets = attributes.get(IFA_LOCAL).or_else(|| attributes.get(IFA_ADDRESS))?;
    Some(OwnAddress {
        interface: u32_at(body, 4)?,
        address: Address { address: ip(octets)?, prefix },
        lasting: flags & passing == 0,
    })
}

/// Of `struct ndmsg`: family, two pads, index, state, flags, type.
fn neighbour(body: &[u8]) -> Option<Neighbour> {
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    const NUD_FAILED: u16 = 0x20;
    const NUD_NOARP: u16 = 0x40;
    const NTF_ROUTER: u8 = 0x80;
    let attributes = Attributes::new(body.get(12..)?);
    let address = ip(attributes.get(NDA_DST)?)?;
    let state = u16_at(body, 8)?;
    if state & (NUD_FAILED | NUD_NOARP) != 0 || address.is_multicast() {
        return None;
    }
    let mac = attributes.get(NDA_LLADDR).and_then(|octets| octets.try_into().ok()).map(Mac::new);
    Some(Neighbour { address, mac, router: body.get(10)? & NTF_ROUTER != 0 })
}

/// Of `struct rtmsg`: family, destination's prefix length, source's, TOS, table, protocol, scope,
/// type, flags; of several next hops, `struct rtnexthop`: length, flags, hops, index.
fn next_hops(body: &[u8], index: u32, found: &mut BTreeSet<IpAddr>) {
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    const RTA_MULTIPATH: u16 = 9;
    const NEXT_HOP: usize = 8;
    let (Some(0), Some(attributes)) = (body.get(1), body.get(12..).map(Attributes::new)) else {
        return;
    };
    let by = |index: Option<u32>, attributes: Attributes<'_>| {
        attributes.get(RTA_GATEWAY).filter(|_| index.is_some()).and_then(ip)
    };
    found.extend(by(attributes.u32(RTA_OIF).filter(|oif| *oif == index), attributes));
    let mut hops = attributes.get(RTA_MULTIPATH).unwrap_or_default();
    while let Some(length) = u16_at(hops, 0).map(usize::from)
        && let Some(hop) = hops.get(..length)
        && let Some(inner) = hop.get(NEXT_HOP..)
    {
        let own = u32_at(hop, 4).filter(|oif| *oif == index);
        found.extend(by(own, Attributes::new(inner)));
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}
