//! Frames, octet by octet. Checksums are left zero: a port looks at none.

use std::net::{Ipv4Addr, Ipv6Addr};

use homeward_model::Mac;

/// Everybody.
pub const BROADCAST: Mac = Mac::new([0xff; 6]);
/// All IPv6 nodes.
pub const ALL_NODES: Mac = Mac::new([0x33, 0x33, 0, 0, 0, 1]);

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// An Ethernet II frame.
pub fn ethernet(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination.octets()[..], &source.octets(), &ethertype.to_be_bytes(), payload].concat()
}

/// hostapd's layer-2 update frame for a station.
pub fn update(station: Mac) -> Vec<u8> {
    ethernet(BROADCAST, station, 6, &[0x00, 0x01, 0xaf, 0x81, 1 << 1, 0])
}

/// An IPv4 packet; `fragment` is the 16 bits of flags and offset.
pub fn ipv4_fragment(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(length(20 + payload.len()));
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A whole IPv4 packet.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_fragment(source, destination, protocol, 0, payload)
}

/// An IPv6 packet whose first next header is `next`.
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(payload.len()));
    packet.extend([next, 255]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// An IPv6 fragment header (RFC 8200 4.5); the offset in units of 8 octets.
pub fn fragment_header(next: u8, offset: u16, more: bool) -> [u8; 8] {
    let [o0, o1] = (offset << 3 | u16::from(more)).to_be_bytes();
    [next, 0, o0, o1, 0, 0, 0, 1]
}

/// An IPv6 destination options header of 8 octets, filled with padding.
pub const fn destination_options(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}

/// A UDP datagram.
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    [
        &source.to_be_bytes()[..],
        &destination.to_be_bytes(),
        &length(8 + payload.len()),
        &[0, 0],
        payload,
    ]
    .concat()
}

/// An ARP request (1) or reply (2).
pub fn arp(operation: u8, hardware: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut octets = vec![0, 1, 8, 0, 6, 4, 0, operation];
    octets.extend(hardware.octets());
    octets.extend(sender.octets());
    octets.extend([0; 6]);
    octets.extend(target.octets());
    octets
}

/// A neighbour solicitation, with a source link-layer address if `link` is given.
pub fn solicitation(target: Ipv6Addr, link: Option<Mac>) -> Vec<u8> {
    discovery(&[135, 0, 0, 0, 0, 0, 0, 0], Some(target), link.map(|mac| (1, mac)))
}

/// A neighbour advertisement with these flags (R 0x80, S 0x40, O 0x20).
pub fn advertisement(flags: u8, target: Ipv6Addr, link: Option<Mac>) -> Vec<u8> {
    discovery(&[136, 0, 0, 0, flags, 0, 0, 0], Some(target), link.map(|mac| (2, mac)))
}

/// A router solicitation.
pub fn router_solicitation(link: Option<Mac>) -> Vec<u8> {
    discovery(&[133, 0, 0, 0, 0, 0, 0, 0], None, link.map(|mac| (1, mac)))
}

fn discovery(head: &[u8], target: Option<Ipv6Addr>, link: Option<(u8, Mac)>) -> Vec<u8> {
    let mut octets = head.to_vec();
    octets.extend(target.iter().flat_map(|target| target.octets()));
    if let Some((kind, mac)) = link {
        octets.extend([kind, 1]);
        octets.extend(mac.octets());
    }
    octets
}

/// A router advertisement of half an hour.
pub fn router_advertisement() -> Vec<u8> {
    vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// A DHCPv4 message.
#[derive(Debug, Clone)]
pub struct Dhcp {
    /// 1 from clients, 2 from servers.
    pub operation: u8,
    /// Message type.
    pub kind: u8,
    /// Client hardware address.
    pub client: Mac,
    /// The address that the client has.
    pub has: Ipv4Addr,
    /// The address that it is given.
    pub given: Ipv4Addr,
    /// The relay.
    pub relay: Ipv4Addr,
    /// Further options, encoded.
    pub options: Vec<u8>,
}

impl Dhcp {
    /// A client's message.
    pub fn client(kind: u8, client: Mac) -> Self {
        let none = Ipv4Addr::UNSPECIFIED;
        Self { operation: 1, kind, client, has: none, given: none, relay: none, options: vec![] }
    }

    /// A server's acknowledgement.
    pub fn ack(client: Mac, given: Ipv4Addr, seconds: u32) -> Self {
        let mut options = vec![51, 4];
        options.extend(seconds.to_be_bytes());
        Self { operation: 2, given, options, ..Self::client(5, client) }
    }

    /// The UDP payload.
    pub fn octets(&self) -> Vec<u8> {
        let mut octets = vec![self.operation, 1, 6, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        octets.extend(self.has.octets());
        octets.extend(self.given.octets());
        octets.extend([0; 4]);
        octets.extend(self.relay.octets());
        octets.extend(self.client.octets());
        octets.resize(236, 0);
        octets.extend([99, 130, 83, 99, 53, 1, self.kind]);
        octets.extend(&self.options);
        octets.push(255);
        octets
    }
}

/// A DHCPv6 reply that assigns an address for so many seconds.
pub fn dhcpv6_reply(address: Ipv6Addr, seconds: u32) -> Vec<u8> {
    let mut assigned = vec![0, 5, 0, 24];
    assigned.extend(address.octets());
    assigned.extend(seconds.to_be_bytes());
    assigned.extend(seconds.to_be_bytes());
    let mut octets = vec![7, 0, 0, 1, 0, 3, 0, 12 + 28];
    octets.extend([0; 12]);
    octets.extend(assigned);
    octets
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes()
}
