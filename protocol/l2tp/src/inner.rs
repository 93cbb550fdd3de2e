//! The inner IPv4 header of a session inside WireGuard.
//!
//! WireGuard carries IP packets, so the session lies in an IPv4 packet of protocol 115 between
//! the tunnel addresses of the two ends: what `ip l2tp add tunnel encap ip` sends and expects, so
//! that a kernel can be the other end. Options and IP fragments are neither sent nor taken.

use std::net::Ipv4Addr;

use crate::codec::IP_PROTOCOL;
use crate::error::InnerError;

/// Octets of the header.
pub const INNER_HEADER_LEN: usize = 20;

/// The header between two tunnel addresses, precomputed but for length and checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InnerHeader {
    octets: [u8; INNER_HEADER_LEN],
    /// The one's-complement sum of `octets`, not folded.
    sum: u32,
    local: Ipv4Addr,
    remote: Ipv4Addr,
}

impl InnerHeader {
    /// From `local` to `remote`: TTL 64, Don't Fragment, the octet for DSCP and ECN as given.
    pub fn new(local: Ipv4Addr, remote: Ipv4Addr, tos: u8) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (local.octets(), remote.octets());
        let octets =
            [0x45, tos, 0, 0, 0, 0, 0x40, 0, 64, IP_PROTOCOL, 0, 0, a, b, c, d, e, f, g, h];
        Self { octets, sum: sum(&octets), local, remote }
    }

    /// The header of a packet that carries `payload` octets of L2TP. At most 65,515 fit; the
    /// length of more is cut, and the other end drops it.
    #[inline]
    pub fn header(&self, payload: usize) -> [u8; INNER_HEADER_LEN] {
        let length = u16::try_from(payload.saturating_add(INNER_HEADER_LEN)).unwrap_or(u16::MAX);
        let [high, low] = length.to_be_bytes();
        let [check_high, check_low] = fold(self.sum + u32::from(length)).to_be_bytes();
        let mut octets = self.octets;
        let [_, _, len_high, len_low, _, _, _, _, _, _, sum_high, sum_low, ..] = &mut octets;
        (*len_high, *len_low) = (high, low);
        (*sum_high, *sum_low) = (check_high, check_low);
        octets
    }

    /// The L2TP packet within an inner packet that was received: what WireGuard padded is cut
    /// off. The header's checksum is not looked at, for WireGuard vouches for every octet.
    ///
    /// # Errors
    /// If it is not an IPv4 packet of protocol 115 from `remote` to `local`, in one piece.
    #[inline]
    pub fn open<'a>(&self, packet: &'a [u8]) -> Result<&'a [u8], InnerError> {
        let header: &[u8; INNER_HEADER_LEN] = packet.first_chunk().ok_or(InnerError::Short)?;
        let &[
            version,
            _,
            len_high,
            len_low,
            _,
            _,
            fragment_high,
            fragment_low,
            _,
            protocol,
            _,
            _,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
        ] = header;
        if version >> 4 != 4 {
            return Err(InnerError::Version);
        }
        let header_len = usize::from(version & 15) * 4;
        let total = usize::from(u16::from_be_bytes([len_high, len_low]));
        if header_len < INNER_HEADER_LEN {
            return Err(InnerError::Short);
        }
        // All but Don't Fragment must be zero.
        if fragment_high & 0x3f != 0 || fragment_low != 0 {
            return Err(InnerError::Fragment);
        }
        if protocol != IP_PROTOCOL {
            return Err(InnerError::Protocol(protocol));
        }
        if Ipv4Addr::new(a, b, c, d) != self.remote || Ipv4Addr::new(e, f, g, h) != self.local {
            return Err(InnerError::Address);
        }
        packet.get(header_len..total).ok_or(InnerError::Short)
    }
}

fn sum(octets: &[u8; INNER_HEADER_LEN]) -> u32 {
    let (words, _) = octets.as_chunks::<2>();
    words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}

/// The Internet checksum (RFC 1071) of a sum.
fn fold(sum: u32) -> u16 {
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    !u16::try_from(folded & 0xffff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const THERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn packet(len: usize) -> Vec<u8> {
        let mut packet = InnerHeader::new(THERE, HERE, 0).header(len).to_vec();
        packet.extend((1..=255u8).cycle().take(len));
        packet
    }

    #[test]
    fn the_header_is_ipv4_with_protocol_115_and_a_checksum_that_adds_up() {
        for (len, tos) in [(0, 0), (100, 0x20), (1400, 0xb8), (65_515, 0xff)] {
            let header = InnerHeader::new(HERE, THERE, tos).header(len);
            let total = u16::try_from(len + 20).unwrap().to_be_bytes();
            assert_eq!(header[..4], [0x45, tos, total[0], total[1]]);
            assert_eq!(header[4..10], [0, 0, 0x40, 0, 64, 115]);
            assert_eq!(header[12..], [10, 0, 0, 1, 10, 0, 0, 2]);
            // RFC 1071: the sum over a header with its checksum is all ones.
            assert_eq!(fold(sum(&header)), 0, "{len} {tos}");
        }
    }

    #[test]
    fn what_wireguard_padded_is_cut_off() {
        let mut padded = packet(30);
        padded.extend([0; 14]);
        let payload = InnerHeader::new(HERE, THERE, 0).open(&padded).unwrap();
        assert_eq!(payload, &padded[20..50]);
    }

    #[test]
    fn options_are_skipped() {
        let mut packet = packet(12);
        packet[0] = 0x46;
        assert_eq!(InnerHeader::new(HERE, THERE, 0).open(&packet), Ok(&packet[24..]));
    }

    #[test]
    fn only_whole_l2tp_packets_from_the_other_end_to_this_one_are_opened() {
        for (at, value, error) in [
            (0, 0x65, InnerError::Version),
            (0, 0x44, InnerError::Short),
            (2, 1, InnerError::Short),
            (6, 0x20, InnerError::Fragment),
            (6, 0x1f, InnerError::Fragment),
            (7, 1, InnerError::Fragment),
            (9, 17, InnerError::Protocol(17)),
            (15, 3, InnerError::Address),
            (19, 2, InnerError::Address),
        ] {
            let mut packet = packet(30);
            packet[at] = value;
            let opened = InnerHeader::new(HERE, THERE, 0).open(&packet);
            assert_eq!(opened, Err(error), "octet {at} as {value:#x}");
        }
        for len in 0..50 {
            let opened = InnerHeader::new(HERE, THERE, 0);
            assert_eq!(opened.open(&packet(30)[..len]), Err(InnerError::Short), "{len}");
        }
    }
}
