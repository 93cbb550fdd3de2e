//! What a stranger may say on the home LAN, and of which addresses it speaks when it does.

use crate::address::Address;
use crate::dhcp::{BOOT_REQUEST, DECLINE, Message, RELAY_V6, RELEASE};
use crate::frame::Key;
use crate::icmpv6::{
    Discovery, MLD_DONE, MLD_QUERY, MLD_REPORT, MLD2_REPORT, MULTICAST_ROUTER,
    NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, REDIRECT, ROUTER_ADVERTISEMENT,
    ROUTER_RENUMBERING, ROUTER_SOLICITATION,
};
use crate::ip::{Arp, ICMP, ICMPV6, IGMP, Packet, Part, TCP, UDP, Udp};
use crate::verdict::Reason;

/// EIGRP, OSPF, PIM, VRRP (and CARP).
const ROUTING: [u8; 4] = [88, 89, 103, 112];
/// RIP and RIPng.
const RIP: [u16; 2] = [520, 521];
/// HSRP for both families, GLBP: always to a group.
const REDUNDANCY: [u16; 3] = [1985, 2029, 3222];

/// What a frame says that the table of addresses must decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    /// The address that it comes from; `None` where it may come from none.
    pub(crate) source: Option<Address>,
    /// What else it says.
    pub(crate) says: Says,
    /// What it is if the addresses are not the device's.
    pub(crate) otherwise: Reason,
}

/// What a frame says of an address, beyond coming from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    Nothing,
    /// "I have it."
    Claims(Address),
    /// "Does anybody have it? I would take it." (RFC 5227 2.1.1, RFC 4862 5.4.2)
    Probes(Address),
    /// "I give it back", to a DHCP server.
    Returns(Address),
}

impl Statement {
    const fn from(source: Address) -> Self {
        Self { source: Some(source), says: Says::Nothing, otherwise: Reason::SourceAddress }
    }
}

/// ARP inspection: the sender is who sent the frame.
pub(crate) fn arp(octets: &[u8], device: Key) -> Result<Statement, Reason> {
    let arp = Arp::decode(octets).ok_or(Reason::Malformed)?;
    if arp.sender_hardware != device.mac().octets() {
        return Err(Reason::ArpSpoof);
    }
    let says = match arp.sender.is_unspecified() {
        true => Says::Probes(arp.target),
        false => Says::Claims(arp.sender),
    };
    Ok(Statement { source: None, says, otherwise: Reason::ArpSpoof })
}

/// What an IPv4 packet may be.
#[inline]
pub(crate) fn ipv4(octets: &[u8], device: Key, group: bool) -> Result<Statement, Reason> {
    let packet = Packet::v4(octets)?;
    let mut statement = Statement::from(packet.source);
    if packet.protocol == TCP || packet.part == Part::Later {
        return Ok(statement);
    }
    match packet.protocol {
        UDP => {
            let udp = Udp::decode(packet.payload).ok_or(Reason::Malformed)?;
            match (udp.source, udp.destination) {
                // Clients look at the destination, and not all of them at the source.
                (67, _) | (_, 68) => return Err(Reason::DhcpServer),
                (_, 67) if packet.part != Part::Whole => return Err(Reason::Fragment),
                (_, 67) => {
                    statement.says = dhcp_client(udp.payload, device)?;
                    statement.unspecified_is_fine();
                }
                (_, to) => no_router(to, group)?,
            }
        }
        ICMP => match packet.payload {
            // Redirect; router advertisement (RFC 1256).
            [5 | 9, ..] => return Err(Reason::Router),
            [_, _, _, _, ..] => {}
            _ => return Err(Reason::Malformed),
        },
        IGMP => match packet.payload {
            // Reports of all versions, leave, and a host's question for multicast routers. Not:
            // queries, DVMRP, PIM, multicast routers' answers (RFC 4286).
            [0x12 | 0x16 | 0x17 | 0x22 | 0x31, ..] => statement.unspecified_is_fine(),
            _ => return Err(Reason::Querier),
        },
        protocol if ROUTING.contains(&protocol) => return Err(Reason::Routing),
        _ => {}
    }
    Ok(statement)
}

/// What an IPv6 packet may be.
#[inline]
pub(crate) fn ipv6(octets: &[u8], device: Key, group: bool) -> Result<Statement, Reason> {
    let packet = Packet::v6(octets)?;
    let mut statement = Statement::from(packet.source);
    if packet.protocol == TCP || packet.part == Part::Later {
        return Ok(statement);
    }
    match packet.protocol {
        UDP => {
            let udp = Udp::decode(packet.payload).ok_or(Reason::HeaderChain)?;
            match (udp.source, udp.destination) {
                (547, _) | (_, 546) => return Err(Reason::DhcpServer),
                (_, 547) if packet.part != Part::Whole => return Err(Reason::Fragment),
                (_, 547) => match udp.payload {
                    [kind, ..] if !RELAY_V6.contains(kind) => {}
                    _ => return Err(Reason::DhcpClient),
                },
                (_, to) => no_router(to, group)?,
            }
        }
        ICMPV6 => icmpv6(&packet, device, &mut statement)?,
        protocol if ROUTING.contains(&protocol) => return Err(Reason::Routing),
        // IPv4, IPv6, DCCP, GRE, ESP, no next header, SCTP, UDP-Lite. What is none of these might
        // be an extension header that a host knows and we do not (RFC 7113 2, rule 3).
        4 | 41 | 33 | 47 | 50 | 59 | 132 | 136 => {}
        _ => return Err(Reason::HeaderChain),
    }
    Ok(statement)
}

fn icmpv6(packet: &Packet<'_>, device: Key, statement: &mut Statement) -> Result<(), Reason> {
    let [kind, _, _, _, ..] = *packet.payload else { return Err(Reason::HeaderChain) };
    match kind {
        ROUTER_ADVERTISEMENT | REDIRECT | ROUTER_RENUMBERING => Err(Reason::Router),
        MLD_QUERY => Err(Reason::Querier),
        kind if MULTICAST_ROUTER.contains(&kind) => Err(Reason::Querier),
        MLD_REPORT | MLD_DONE | MLD2_REPORT => {
            statement.unspecified_is_fine();
            Ok(())
        }
        ROUTER_SOLICITATION | NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT => {
            if packet.part != Part::Whole {
                return Err(Reason::Fragment);
            }
            statement.otherwise = Reason::NeighbourSpoof;
            let discovery = Discovery::decode(packet.payload, device).ok_or(Reason::Malformed)?;
            if !discovery.links_match || discovery.router {
                return Err(Reason::NeighbourSpoof);
            }
            if kind == NEIGHBOUR_ADVERTISEMENT {
                statement.says = Says::Claims(discovery.target);
            } else if packet.source.is_unspecified() {
                if discovery.says_link {
                    return Err(Reason::NeighbourSpoof);
                }
                statement.source = None;
                if kind == NEIGHBOUR_SOLICITATION {
                    statement.says = Says::Probes(discovery.target);
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A DHCP client speaks for itself, without a relay, and in one way to be read.
fn dhcp_client(payload: &[u8], device: Key) -> Result<Says, Reason> {
    let message = Message::decode(payload).ok_or(Reason::DhcpClient)?;
    let own = message.operation == BOOT_REQUEST
        && message.client == Some(device)
        && message.identifier.is_none_or(|identifier| identifier == device)
        && !message.relayed
        && !message.ambiguous;
    if !own {
        return Err(Reason::DhcpClient);
    }
    Ok(match (message.kind, message.requested) {
        (Some(RELEASE), _) => Says::Returns(message.has),
        (Some(DECLINE), Some(address)) => Says::Returns(address),
        _ => Says::Nothing,
    })
}

fn no_router(port: u16, group: bool) -> Result<(), Reason> {
    if RIP.contains(&port) || (group && REDUNDANCY.contains(&port)) {
        return Err(Reason::Routing);
    }
    Ok(())
}

impl Statement {
    fn unspecified_is_fine(&mut self) {
        self.source = self.source.filter(|source| !source.is_unspecified());
    }
}
