//! What is small and urgent.
//!
//! Urgent is what somebody waits for: a frame whose loss costs a time-out and whose copy costs
//! little. Nothing longer than an Ethernet frame is ([`LARGEST`]): super-frames are bulk.

use serde::Serialize;

/// Octets of a frame up to which a packet that carries data is urgent, unless set otherwise.
pub const SMALL: usize = 300;

/// The most octets of an urgent frame: Ethernet's longest, with two tags.
pub const LARGEST: usize = 1522;

/// How a frame is treated in [`Mode::Automatic`](crate::Mode::Automatic).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Mirrored, if there is budget left.
    Urgent,
    /// Striped.
    #[default]
    Bulk,
}

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad.
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// CS5, VOICE-ADMIT, EF, CS6 and CS7 (RFC 2474, RFC 5865, RFC 3246).
const EXPEDITED: [u8; 5] = [40, 44, 46, 48, 56];

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const FIN_SYN_RST: u8 = 0x07;
/// DNS; DHCP; DHCPv6.
const PORTS: [u16; 5] = [53, 67, 68, 546, 547];

/// IPv6 extension headers that are looked behind: hop-by-hop options, routing, destination options.
const OPTIONS: [u8; 3] = [0, 43, 60];
const FRAGMENT: u8 = 44;
const MAX_EXTENSIONS: usize = 8;

/// The urgency of an Ethernet frame without FCS, which may have one or two 802.1Q tags. `small` is
/// [`SMALL`] or another number of octets, of the whole frame.
///
/// Urgent are, by IPv4 or IPv6:
/// - ARP, ICMP, DNS and DHCP,
/// - what begins or ends a TCP connection,
/// - DSCP CS5, VOICE-ADMIT, EF, CS6 and CS7,
/// - other UDP datagrams, and TCP segments with data, in frames of up to `small` octets.
///
/// A TCP segment that only acknowledges is bulk: the next one says the same.
pub fn classify(frame: &[u8], small: usize) -> Urgency {
    if frame.len() <= LARGEST && is_urgent(frame, frame.len() <= small) == Some(true) {
        Urgency::Urgent
    } else {
        Urgency::Bulk
    }
}

/// `None` if the frame ends too soon to say.
fn is_urgent(frame: &[u8], small: bool) -> Option<bool> {
    let mut rest = frame.get(12..)?;
    let mut tags = 0;
    loop {
        let (ethertype, payload) = word(rest)?;
        match ethertype {
            ARP => return Some(true),
            IPV4 => return ipv4(payload, small),
            IPV6 => return ipv6(payload, small),
            tag if TAGS.contains(&tag) && tags < 2 => rest = payload.get(2..)?,
            _ => return Some(false),
        }
        tags += 1;
    }
}

fn ipv4(packet: &[u8], small: bool) -> Option<bool> {
    let (&[version, tos, l0, l1, _, _, f0, f1, _, protocol], _) = packet.split_first_chunk()?;
    let header = usize::from(version & 0x0f) * 4;
    if version >> 4 != 4 || header < 20 {
        return Some(false);
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let first = u16::from_be_bytes([f0, f1]) & 0x1fff == 0;
    let payload = packet.get(header..length.clamp(header, packet.len().max(header)))?;
    transport(tos, protocol, first, payload, small)
}

fn ipv6(packet: &[u8], small: bool) -> Option<bool> {
    let (&[v, c, _, _, l0, l1, mut next, _], rest) = packet.split_first_chunk()?;
    if v >> 4 != 6 {
        return Some(false);
    }
    let class = v << 4 | c >> 4;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let payload = rest.get(32..)?;
    let mut payload = payload.get(..length.min(payload.len()))?;
    let mut first = true;
    for _ in 0..MAX_EXTENSIONS {
        let length = match next {
            FRAGMENT => {
                let (&[_, _, o0, o1], _) = payload.split_first_chunk()?;
                first &= u16::from_be_bytes([o0, o1]) & 0xfff8 == 0;
                8
            }
            options if OPTIONS.contains(&options) => 8 + 8 * usize::from(*payload.get(1)?),
            _ => break,
        };
        next = *payload.first()?;
        payload = payload.get(length..)?;
        if !first {
            break;
        }
    }
    transport(class, next, first, payload, small)
}

/// `first`: whether the packet is whole, or a fragment with the header of the transport protocol.
fn transport(class: u8, protocol: u8, first: bool, payload: &[u8], small: bool) -> Option<bool> {
    if EXPEDITED.contains(&(class >> 2)) {
        return Some(true);
    }
    match protocol {
        ICMP | ICMPV6 => Some(true),
        UDP if !first => Some(small),
        UDP => {
            let (source, rest) = word(payload)?;
            let (destination, _) = word(rest)?;
            Some(small || PORTS.contains(&source) || PORTS.contains(&destination))
        }
        TCP if first => {
            let (offset, flags) = (*payload.get(12)?, *payload.get(13)?);
            let data = payload.len() > usize::from(offset >> 4) * 4;
            Some(flags & FIN_SYN_RST != 0 || small && data)
        }
        _ => Some(false),
    }
}

fn word(octets: &[u8]) -> Option<(u16, &[u8])> {
    octets.split_first_chunk().map(|(word, rest)| (u16::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ethernet(tags: usize, ethertype: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 7]);
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(payload);
        frame.resize(frame.len().max(60), 0);
        frame
    }

    fn v4(tos: u8, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let [f0, f1] = fragment.to_be_bytes();
        let mut packet = vec![0x45, tos, length[0], length[1], 0, 0, f0, f1, 64, protocol];
        packet.resize(20, 1);
        packet.extend(payload);
        packet
    }

    fn v6(class: u8, next: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let mut packet = vec![0x60 | class >> 4, class << 4, 0, 0, length[0], length[1], next, 64];
        packet.resize(40, 1);
        packet.extend(payload);
        packet
    }

    fn udp(from: u16, to: u16, data: usize) -> Vec<u8> {
        let mut datagram = [from.to_be_bytes(), to.to_be_bytes()].concat();
        datagram.resize(8 + data, 0);
        datagram
    }

    fn tcp(flags: u8, data: usize) -> Vec<u8> {
        let mut segment = vec![0; 20];
        (segment[12], segment[13]) = (0x80, flags); // 12 octets of options
        segment.resize(32 + data, 0);
        segment
    }

    fn is_urgent_in_any_frame(tos: u8, protocol: u8, payload: &[u8]) -> bool {
        let kinds: Vec<_> = (0..3)
            .flat_map(|tags| {
                let next = if protocol == ICMP { ICMPV6 } else { protocol };
                [
                    ethernet(tags, IPV4, &v4(tos, protocol, 0, payload)),
                    ethernet(tags, IPV6, &v6(tos, next, payload)),
                ]
            })
            .map(|frame| classify(&frame, SMALL) == Urgency::Urgent)
            .collect();
        assert!(kinds.iter().all(|kind| *kind == kinds[0]), "{kinds:?}");
        kinds[0]
    }

    #[test]
    fn what_somebody_waits_for_is_urgent_whatever_its_size() {
        assert_eq!(classify(&ethernet(0, ARP, &[0; 28]), SMALL), Urgency::Urgent);
        assert_eq!(classify(&ethernet(1, ARP, &[0; 28]), SMALL), Urgency::Urgent);
        assert!(is_urgent_in_any_frame(0, ICMP, &[8; 1400]));
        for port in PORTS {
            assert!(is_urgent_in_any_frame(0, UDP, &udp(port, 40_000, 1200)), "from {port}");
            assert!(is_urgent_in_any_frame(0, UDP, &udp(40_000, port, 1200)), "to {port}");
        }
        for dscp in EXPEDITED {
            assert!(is_urgent_in_any_frame(dscp << 2, UDP, &udp(5000, 5000, 1200)), "{dscp}");
            assert!(is_urgent_in_any_frame(dscp << 2 | 3, 50, &[0; 1200]), "{dscp}, ECN, ESP");
        }
        for flags in [0x02, 0x12, 0x11, 0x04, 0x14] {
            assert!(is_urgent_in_any_frame(0, TCP, &tcp(flags, 1000)), "{flags:#x}");
        }
    }

    #[test]
    fn data_is_urgent_while_it_is_small() {
        assert!(is_urgent_in_any_frame(0, UDP, &udp(5000, 5000, 172)));
        assert!(!is_urgent_in_any_frame(0, UDP, &udp(5000, 5000, 300)));
        assert!(is_urgent_in_any_frame(0, TCP, &tcp(0x18, 100)));
        assert!(!is_urgent_in_any_frame(0, TCP, &tcp(0x18, 1000)));
        let at = |len| ethernet(0, IPV4, &v4(0, UDP, 0, &udp(5000, 5000, len - 42)));
        assert_eq!(classify(&at(SMALL), SMALL), Urgency::Urgent);
        assert_eq!(classify(&at(SMALL + 1), SMALL), Urgency::Bulk);
        assert_eq!(classify(&at(500), 500), Urgency::Urgent);
    }

    #[test]
    fn a_segment_that_only_acknowledges_is_bulk_though_ethernet_pads_it() {
        assert!(!is_urgent_in_any_frame(0, TCP, &tcp(0x10, 0)));
        let mut segment = tcp(0x10, 0);
        segment[12] = 0x50;
        segment.truncate(20);
        let frame = ethernet(0, IPV4, &v4(0, TCP, 0, &segment));
        assert_eq!((frame.len(), classify(&frame, SMALL)), (60, Urgency::Bulk));
    }

    #[test]
    fn what_is_not_known_is_bulk() {
        for frame in [
            ethernet(0, 0x888e, &[0; 50]),
            ethernet(3, ARP, &[0; 28]),
            ethernet(0, IPV4, &v4(0, 47, 0, &[0; 20])),
            ethernet(0, IPV4, &v6(0, ICMPV6, &[0; 20])),
            ethernet(0, IPV6, &v4(0, ICMP, 0, &[0; 60])),
            ethernet(0, IPV4, &v4(0, UDP, 0, &udp(53, 53, 1490))),
            ethernet(0, IPV4, &v4(0, TCP, 100, &tcp(0x02, 1000))),
        ] {
            assert_eq!(classify(&frame, SMALL), Urgency::Bulk, "{:x?}", &frame[12..40]);
        }
        assert_eq!(classify(&[], SMALL), Urgency::Bulk);
    }

    #[test]
    fn fragments_and_extension_headers_are_looked_behind() {
        let fragment = v4(0, UDP, 100, &[0; 100]);
        assert_eq!(classify(&ethernet(0, IPV4, &fragment), SMALL), Urgency::Urgent);
        assert_eq!(classify(&ethernet(0, IPV4, &fragment), 100), Urgency::Bulk);
        let dns = [&[UDP, 0, 0, 0, 0, 0, 0, 0][..], &udp(9, 53, 900)].concat();
        for extension in [0, 43, 60, FRAGMENT] {
            let frame = ethernet(0, IPV6, &v6(0, extension, &dns));
            assert_eq!(classify(&frame, SMALL), Urgency::Urgent, "{extension}");
        }
        let later = [&[UDP, 0, 0, 8, 0, 0, 0, 0][..], &udp(9, 53, 900)].concat();
        let frame = ethernet(0, IPV6, &v6(0, FRAGMENT, &later));
        assert_eq!(classify(&frame, SMALL), Urgency::Bulk);
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(
            mut frame in proptest::collection::vec(any::<u8>(), 0..200),
            ethertype in prop::sample::select(vec![IPV4, IPV6, ARP, 0x8100, 0]),
            version in prop::sample::select(vec![0x45, 0x4f, 0x60, 0x40]),
            protocol in prop::sample::select(vec![TCP, UDP, FRAGMENT, 0, 43, 60]),
            cut in any::<prop::sample::Index>(),
        ) {
            if frame.len() > 30 {
                frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
                (frame[14], frame[20], frame[23]) = (version, protocol, protocol);
            }
            frame.truncate(cut.index(frame.len() + 1));
            classify(&frame, SMALL);
        }
    }
}
