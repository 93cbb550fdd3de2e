//! How many octets of a path's packets are left for frames.
//!
//! ```text
//! in the clear      IP 20/40 | UDP 8 | flags 4 | session 4 | cookie | sublayer | frame
//! inside WireGuard  IP 20/40 | UDP 8 | WireGuard 16 | [ IPv4 20 | session 4 | cookie | sublayer
//!                     | frame | zeros to a multiple of 16 ] | tag 16
//! ```

use std::net::IpAddr;

use crate::codec::ETHERNET_HEADER_LEN;
use crate::inner::INNER_HEADER_LEN;
use crate::session::{Encapsulation, SessionConfig, Sublayer};

const UDP_HEADER_LEN: usize = 8;
const WIREGUARD_HEADER_LEN: usize = 16;
const WIREGUARD_TAG_LEN: usize = 16;
/// WireGuard 5.4.6: what it seals is padded to a multiple of this.
const WIREGUARD_PAD: usize = 16;

/// What the packets of a session have around each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overhead {
    /// UDP in the clear, or IP inside WireGuard.
    pub encapsulation: Encapsulation,
    /// Octets of the cookie: 0, 4 or 8.
    pub cookie: u8,
    /// The sublayer.
    pub sublayer: Sublayer,
}

impl Overhead {
    /// Of what a session sends: in the clear if its encapsulation is UDP, inside WireGuard if it
    /// is IP.
    pub fn of(session: &SessionConfig) -> Self {
        Self {
            encapsulation: session.encapsulation,
            cookie: u8::try_from(session.remote_cookie.len()).unwrap_or(8),
            sublayer: session.sublayer,
        }
    }

    /// The largest payload (a frame, a fragment of one, or a VCCV message) whose packet to
    /// `peer` is at most `path_mtu` octets long, its IP header included. 0 if none fits.
    pub const fn largest_payload(&self, peer: IpAddr, path_mtu: usize) -> usize {
        let room = path_mtu.saturating_sub(ip_header_len(peer) + UDP_HEADER_LEN);
        match self.encapsulation {
            Encapsulation::Udp => room.saturating_sub(self.l2tp_len()),
            Encapsulation::Ip => {
                let sealed = room.saturating_sub(WIREGUARD_HEADER_LEN + WIREGUARD_TAG_LEN);
                let inner = sealed - sealed % WIREGUARD_PAD;
                inner.saturating_sub(INNER_HEADER_LEN + self.l2tp_len())
            }
        }
    }

    /// The length of the UDP payload that carries `payload` octets.
    pub const fn datagram_len(&self, payload: usize) -> usize {
        match self.encapsulation {
            Encapsulation::Udp => self.l2tp_len() + payload,
            Encapsulation::Ip => {
                let inner = INNER_HEADER_LEN + self.l2tp_len() + payload;
                let sealed = inner.next_multiple_of(WIREGUARD_PAD);
                WIREGUARD_HEADER_LEN + sealed + WIREGUARD_TAG_LEN
            }
        }
    }

    /// The length of the packet to `peer` that carries `payload` octets, its IP header included.
    pub const fn packet_len(&self, peer: IpAddr, payload: usize) -> usize {
        around(peer, self.datagram_len(payload))
    }

    /// The largest Ethernet frame, without FCS, that passes a path unfragmented.
    pub const fn largest_frame(&self, peer: IpAddr, path_mtu: usize) -> usize {
        self.largest_payload(peer, path_mtu)
    }

    /// The TCP MSS that keeps a stream's segments from being fragmented: what to lower the MSS
    /// option of SYNs to, for streams over IPv4 and over IPv6.
    pub const fn tcp_mss(&self, peer: IpAddr, path_mtu: usize) -> TcpMss {
        let packet = self.largest_frame(peer, path_mtu).saturating_sub(ETHERNET_HEADER_LEN);
        TcpMss { v4: narrow(packet.saturating_sub(40)), v6: narrow(packet.saturating_sub(60)) }
    }

    const fn l2tp_len(&self) -> usize {
        self.encapsulation.len() + 4 + self.cookie as usize + self.sublayer.len()
    }
}

/// The largest TCP segments that fit, in octets (RFC 6691: without options).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpMss {
    /// Over IPv4: the packet less 40.
    pub v4: u16,
    /// Over IPv6: the packet less 60.
    pub v6: u16,
}

/// The length of the packet to `peer` whose UDP payload has so many octets, its IP header included.
pub(crate) const fn around(peer: IpAddr, datagram: usize) -> usize {
    datagram.saturating_add(ip_header_len(peer) + UDP_HEADER_LEN)
}

const fn ip_header_len(peer: IpAddr) -> usize {
    match peer {
        IpAddr::V4(_) => 20,
        IpAddr::V6(address) => {
            // An IPv4 peer on a socket of both families.
            if address.to_ipv4_mapped().is_some() { 20 } else { 40 }
        }
    }
}

const fn narrow(octets: usize) -> u16 {
    let [.., high, low] = octets.to_be_bytes();
    if octets > u16::MAX as usize { u16::MAX } else { u16::from_be_bytes([high, low]) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn overhead(encapsulation: Encapsulation) -> Overhead {
        Overhead { encapsulation, cookie: 8, sublayer: Sublayer::Numbered }
    }

    #[test]
    fn over_1500_octets_the_largest_frames_and_segments_are() {
        let clear = overhead(Encapsulation::Udp);
        let sealed = overhead(Encapsulation::Ip);
        // 1500 - 20 - 8 - 4 - 4 - 8 - 4, and 20 less over IPv6.
        assert_eq!(clear.largest_frame(V4, 1500), 1452);
        assert_eq!(clear.largest_frame(V6, 1500), 1432);
        // 1500 - 28 - 32 = 1440, which is 90 * 16; less 20 + 4 + 8 + 4.
        assert_eq!(sealed.largest_frame(V4, 1500), 1404);
        // 1500 - 48 - 32 = 1420, of which 1408 is a multiple of 16.
        assert_eq!(sealed.largest_frame(V6, 1500), 1372);
        assert_eq!(clear.tcp_mss(V4, 1500), TcpMss { v4: 1398, v6: 1378 });
        assert_eq!(sealed.tcp_mss(V4, 1500), TcpMss { v4: 1350, v6: 1330 });
        let mapped = IpAddr::V6(std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert_eq!(clear.largest_frame(mapped, 1500), 1452);
    }

    #[test]
    fn a_path_too_narrow_for_anything_carries_nothing() {
        for encapsulation in [Encapsulation::Udp, Encapsulation::Ip] {
            for mtu in [0, 20, 47, 48] {
                assert_eq!(overhead(encapsulation).largest_payload(V4, mtu), 0);
                assert_eq!(overhead(encapsulation).tcp_mss(V6, mtu), TcpMss { v4: 0, v6: 0 });
            }
        }
    }

    proptest! {
        #[test]
        fn the_largest_payload_fits_and_one_octet_more_does_not(
            cookie in prop::sample::select(vec![0u8, 4, 8]),
            sublayer in prop::sample::select(vec![Sublayer::None, Sublayer::Numbered]),
            encapsulation in prop::sample::select(vec![Encapsulation::Udp, Encapsulation::Ip]),
            peer in prop::sample::select(vec![V4, V6]),
            mtu in 200usize..70_000,
        ) {
            let overhead = Overhead { encapsulation, cookie, sublayer };
            let largest = overhead.largest_payload(peer, mtu);
            prop_assert!(overhead.packet_len(peer, largest) <= mtu);
            prop_assert!(overhead.packet_len(peer, largest + 1) > mtu);
        }
    }
}
