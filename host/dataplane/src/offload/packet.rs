//! Where the headers of a TCP packet in an Ethernet frame are.

/// Octets of an Ethernet header.
pub const ETHERNET: usize = 14;

/// The most extension headers that are followed, as many as [`homeward_port::MAX_EXTENSIONS`].
const MAX_EXTENSIONS: usize = 8;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;

/// The network protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A TCP packet in an Ethernet frame: where its parts begin. All offsets are from the frame's
/// start, and within it; headers are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpPacket {
    /// The network protocol.
    pub network: Network,
    /// Where the TCP header begins.
    pub tcp: usize,
    /// Where its payload begins.
    pub payload: usize,
    /// Where the IP packet ends; Ethernet padding may follow.
    pub end: usize,
}

impl TcpPacket {
    /// Finds the parts. `None` if it is anything but a TCP packet, whole, in one fragment, without
    /// VLAN tag, with headers that agree with its length.
    #[inline]
    pub fn decode(frame: &[u8]) -> Option<Self> {
        Self::in_frame(frame, false)
    }

    /// The same for a super-frame, whose length field may be zero where it would not fit (IPv6
    /// larger than 64 KiB never comes from a TAP), and is not trusted otherwise.
    #[inline]
    pub fn decode_super(frame: &[u8]) -> Option<Self> {
        Self::in_frame(frame, true)
    }

    #[inline]
    fn in_frame(frame: &[u8], to_the_end: bool) -> Option<Self> {
        let (ethernet, packet) = frame.split_first_chunk::<ETHERNET>()?;
        let [.., high, low] = *ethernet;
        let (network, tcp, length) = match [high, low] {
            ETHERTYPE_IPV4 => {
                let (header, length) = ipv4(packet)?;
                (Network::V4, header, length)
            }
            ETHERTYPE_IPV6 => {
                let (header, length) = ipv6(packet)?;
                (Network::V6, header, length)
            }
            _ => return None,
        };
        let length = if to_the_end { packet.len() } else { length };
        let segment = packet.get(tcp..length)?;
        let header: &[u8; 20] = segment.first_chunk()?;
        let [.., offset, _, _, _, _, _, _, _] = *header;
        let data = usize::from(offset >> 4) * 4;
        if data < 20 || data > segment.len() {
            return None;
        }
        let tcp = ETHERNET + tcp;
        Some(Self { network, tcp, payload: tcp + data, end: ETHERNET + length })
    }

    /// The pseudo-header's sum (RFC 9293 3.1, RFC 8200 8.1) for `length` octets of TCP.
    #[inline]
    pub fn pseudo_sum(&self, frame: &[u8], length: usize) -> u32 {
        let addresses = match self.network {
            Network::V4 => frame.get(ETHERNET + 12..ETHERNET + 20),
            Network::V6 => frame.get(ETHERNET + 8..ETHERNET + 40),
        };
        let length = u32::try_from(length).unwrap_or_default();
        let fixed = u32::from(TCP) + (length >> 16) + (length & 0xffff);
        super::checksum::add(super::checksum::sum(addresses.unwrap_or_default()), fixed)
    }
}

/// Where TCP begins in an IPv4 packet, and where the packet ends.
#[inline]
fn ipv4(packet: &[u8]) -> Option<(usize, usize)> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let [version, _, t0, t1, _, _, f0, f1, _, protocol, ..] = *header;
    let length = usize::from(u16::from_be_bytes([t0, t1]));
    let words = usize::from(version & 15);
    let whole = u16::from_be_bytes([f0, f1]) & 0x3fff == 0;
    let fine = version >> 4 == 4 && words >= 5 && whole && protocol == TCP;
    (fine && length <= packet.len()).then_some((words * 4, length))
}

/// The same for IPv6. Fragments have no TCP header that could be relied on.
#[inline]
fn ipv6(packet: &[u8]) -> Option<(usize, usize)> {
    let header: &[u8; 40] = packet.first_chunk()?;
    let [version, _, _, _, l0, l1, mut next, ..] = *header;
    let length = 40 + usize::from(u16::from_be_bytes([l0, l1]));
    if version >> 4 != 6 || length > packet.len() {
        return None;
    }
    let mut at = 40;
    for _ in 0..=MAX_EXTENSIONS {
        match next {
            TCP => return Some((at, length)),
            // Hop-by-hop, routing, destination options (RFC 8200 4.3 to 4.6).
            0 | 43 | 60 => {
                let &[following, units] = packet.get(at..)?.first_chunk()?;
                next = following;
                at += 8 * (usize::from(units) + 1);
            }
            _ => return None,
        }
    }
    None
}
