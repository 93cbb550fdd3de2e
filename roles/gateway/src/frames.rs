//! The few Ethernet frames that a gateway sends by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use homeward_model::Mac;

/// EtherType of ARP (RFC 826).
const ARP: [u8; 2] = [0x08, 0x06];
/// EtherType of IPv6 (RFC 2464 3).
const IPV6: [u8; 2] = [0x86, 0xdd];

/// Tells a station where its router is: an ARP reply (RFC 826), or a neighbour advertisement with
/// the override flag (RFC 4861 4.4). Sent by itself, it spares the station the question, and with
/// it up to a second: a Linux station forgets its neighbours when it loses its carrier, and waits
/// that long before it asks a second time.
pub(crate) fn router_is_at(router: IpAddr, mac: Mac, station: Mac) -> Vec<u8> {
    match router {
        IpAddr::V4(address) => arp_reply(address, mac, station),
        IpAddr::V6(address) => advertisement(address, mac, station),
    }
}

fn arp_reply(address: Ipv4Addr, mac: Mac, station: Mac) -> Vec<u8> {
    let mut frame = header(station, mac, ARP);
    // Ethernet, IPv4, address lengths, reply.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac.octets());
    frame.extend(address.octets());
    frame.extend(station.octets());
    // The station's own address is not known here, and no receiver of a reply looks at it.
    frame.extend(address.octets());
    frame
}

fn advertisement(address: Ipv6Addr, mac: Mac, station: Mac) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    // Type, code, checksum, router and override flags, target, target link-layer address.
    let mut message = vec![136, 0, 0, 0, 0xa0, 0, 0, 0];
    message.extend(address.octets());
    message.extend([2, 1]);
    message.extend(mac.octets());
    let length = u8::try_from(message.len()).unwrap_or(u8::MAX);
    // The pseudo-header of RFC 8200 8.1.
    let mut summed: Vec<u8> = Vec::with_capacity(72);
    summed.extend(address.octets());
    summed.extend(all_nodes.octets());
    summed.extend([0, 0, 0, length, 0, 0, 0, ICMPV6]);
    summed.extend(&message);
    let checksum = checksum(&summed).to_be_bytes();
    if let Some(room) = message.get_mut(2..4) {
        room.copy_from_slice(&checksum);
    }
    // To all nodes in IP, to this station in Ethernet (RFC 6085): others have not lost theirs.
    let mut frame = header(station, mac, IPV6);
    frame.extend([0x60, 0, 0, 0, 0, length, ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(all_nodes.octets());
    frame.extend(message);
    frame
}

/// The layer-2 update frame of IEEE 802.11F, as access points send it when a station associates:
/// an LLC XID response to everybody with the station as its source. Bridges learn from it where
/// the station is now.
pub(crate) fn update(station: Mac) -> Vec<u8> {
    let mut frame = header(Mac::new([0xff; 6]), station, [0, 6]);
    // DSAP null, SSAP null and response, XID with the final bit, class 1 with a window of 1.
    frame.extend([0, 1, 0xaf, 0x81, 1, 2]);
    frame.resize(60, 0);
    frame
}

fn header(destination: Mac, source: Mac, ethertype: [u8; 2]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(96);
    frame.extend(destination.octets());
    frame.extend(source.octets());
    frame.extend(ethertype);
    frame
}

/// The Internet checksum (RFC 1071).
fn checksum(octets: &[u8]) -> u16 {
    let sum = octets.chunks(2).fold(0u32, |sum, pair| {
        let high = u32::from(pair.first().copied().unwrap_or(0)) << 8;
        sum + high + u32::from(pair.get(1).copied().unwrap_or(0))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Mac = Mac::new([2, 0, 0x5e, 1, 1, 1]);
    const PHONE: Mac = Mac::new([2, 0, 0x5e, 2, 2, 2]);

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn an_arp_reply_tells_one_station_where_its_router_is() {
        let frame = router_is_at("10.1.0.1".parse().unwrap(), ROUTER, PHONE);
        assert_eq!(
            frame,
            hex("02005e020202 02005e010101 0806 0001 0800 06 04 0002
                 02005e010101 0a010001 02005e020202 0a010001")
        );
    }

    #[test]
    fn a_neighbour_advertisement_has_a_right_checksum() {
        let address: Ipv6Addr = "fe80::5eff:fe01:101".parse().unwrap();
        let frame = router_is_at(address.into(), ROUTER, PHONE);
        assert_eq!(frame.len(), 14 + 40 + 32);
        // Summed over pseudo-header and message, a right checksum gives zero.
        let mut summed = frame[22..54].to_vec();
        summed.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        summed.extend(&frame[54..]);
        assert_eq!(checksum(&summed), 0);
        assert_eq!(frame[54..62], [136, 0, frame[56], frame[57], 0xa0, 0, 0, 0]);
    }

    #[test]
    fn an_update_frame_is_an_llc_xid_from_the_station_to_everybody() {
        let frame = update(PHONE);
        assert_eq!(frame[..20], hex("ffffffffffff 02005e020202 0006 0001af 810102"));
        assert_eq!(frame.len(), 60, "no shorter than Ethernet allows");
    }
}
