//! The virtio-net header in front of a TAP's frames (virtio 1.2, 5.1.6), legacy form: 10 octets,
//! numbers in the machine's byte order.

use homeward_linux::tap::VNET_HEADER;

/// The checksum of what begins at `csum_start` is still to be computed.
const NEEDS_CSUM: u8 = 1;
/// The super-frame's first segment carries CWR (RFC 3168); a bit beside the kind.
const GSO_ECN: u8 = 0x80;

/// What a super-frame is to be cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gso {
    /// It is a frame like any other.
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// Something that we did not say we could do.
    Other(u8),
}

/// What the kernel says of a frame, or we say to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vnet {
    /// Where the transport header begins and, from there, where its checksum is. Given if the
    /// checksum is still to be computed; the field then holds the pseudo-header's sum.
    pub checksum: Option<(u16, u16)>,
    /// What to cut it into.
    pub gso: Gso,
    /// Whether CWR is set, which is the first segment's only.
    pub ecn: bool,
    /// Octets of all headers, as a hint.
    pub header_len: u16,
    /// Octets of payload in each segment but the last.
    pub gso_size: u16,
}

impl Vnet {
    /// A whole frame with all its checksums.
    pub const PLAIN: Self =
        Self { checksum: None, gso: Gso::None, ecn: false, header_len: 0, gso_size: 0 };

    /// Reads the header.
    pub fn decode(octets: &[u8; VNET_HEADER]) -> Self {
        let [flags, kind, h0, h1, g0, g1, s0, s1, o0, o1] = *octets;
        let word = |a, b| u16::from_ne_bytes([a, b]);
        Self {
            checksum: (flags & NEEDS_CSUM != 0).then(|| (word(s0, s1), word(o0, o1))),
            gso: match kind & !GSO_ECN {
                0 => Gso::None,
                1 => Gso::Tcp4,
                4 => Gso::Tcp6,
                other => Gso::Other(other),
            },
            ecn: kind & GSO_ECN != 0,
            header_len: word(h0, h1),
            gso_size: word(g0, g1),
        }
    }

    /// Writes the header.
    pub fn encode(&self) -> [u8; VNET_HEADER] {
        let kind = match self.gso {
            Gso::None => 0,
            Gso::Tcp4 => 1,
            Gso::Tcp6 => 4,
            Gso::Other(other) => other,
        } | if self.ecn { GSO_ECN } else { 0 };
        let (start, offset) = self.checksum.unwrap_or_default();
        let [h0, h1] = self.header_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = start.to_ne_bytes();
        let [o0, o1] = offset.to_ne_bytes();
        [self.checksum.is_some().into(), kind, h0, h1, g0, g1, s0, s1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        assert_eq!(Vnet::decode(&[0; 10]), Vnet::PLAIN);
        assert_eq!(Vnet::PLAIN.encode(), [0; 10]);
        for gso in [Gso::None, Gso::Tcp4, Gso::Tcp6, Gso::Other(3)] {
            for ecn in [false, true] {
                let vnet =
                    Vnet { checksum: Some((34, 16)), gso, ecn, header_len: 66, gso_size: 1398 };
                assert_eq!(Vnet::decode(&vnet.encode()), vnet);
            }
        }
    }
}
