//! IPv4 and IPv6 headers, up to the first octet of what they carry.

use crate::MAX_EXTENSIONS;
use crate::address::Address;
use crate::verdict::Reason;

pub(crate) const ICMP: u8 = 1;
pub(crate) const IGMP: u8 = 2;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// A packet of either family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub(crate) source: Address,
    pub(crate) destination: Address,
    /// Of what is carried, behind all extension headers. Means nothing in a later fragment.
    pub(crate) protocol: u8,
    pub(crate) part: Part,
    /// What is carried; of a later fragment, from its middle.
    pub(crate) payload: &'a [u8],
}

/// How much of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, and without a fragment header.
    Whole,
    /// The beginning; or all of it, but with an IPv6 fragment header (RFC 6946).
    First,
    /// Any other: what it belongs to cannot be told.
    Later,
}

impl<'a> Packet<'a> {
    /// Decodes an IPv4 packet (RFC 791 3.1).
    #[inline]
    pub(crate) fn v4(octets: &'a [u8]) -> Result<Self, Reason> {
        const MORE: u16 = 0x2000;
        const OFFSET: u16 = 0x1fff;
        let Some([first, _, l0, l1, _, _, f0, f1, _, protocol, _, _, addresses @ ..]) =
            octets.first_chunk::<20>()
        else {
            return Err(Reason::Malformed);
        };
        let [s0, s1, s2, s3, d0, d1, d2, d3] = *addresses;
        let header = usize::from(first & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([*l0, *l1]));
        if first >> 4 != 4 || header < 20 {
            return Err(Reason::Malformed);
        }
        let fragment = u16::from_be_bytes([*f0, *f1]);
        let part = match fragment & (MORE | OFFSET) {
            0 => Part::Whole,
            MORE => Part::First,
            _ => Part::Later,
        };
        Ok(Self {
            source: Address::v4([s0, s1, s2, s3]),
            destination: Address::v4([d0, d1, d2, d3]),
            protocol: *protocol,
            part,
            payload: octets.get(header..total).ok_or(Reason::Malformed)?,
        })
    }

    /// Decodes an IPv6 packet (RFC 8200 3), following its chain of extension headers.
    ///
    /// A chain that does not end inside the packet, or is too long to be meant well, is
    /// [`Reason::HeaderChain`]; RFC 7112 5 allows no first fragment with half a chain.
    #[inline]
    pub(crate) fn v6(octets: &'a [u8]) -> Result<Self, Reason> {
        const HEADER: usize = 40;
        let Some(([first, _, _, _, l0, l1, next, _, addresses @ ..], rest)) =
            octets.split_first_chunk::<HEADER>()
        else {
            return Err(Reason::Malformed);
        };
        let (Some(source), Some(destination)) =
            (addresses.first_chunk::<16>(), addresses.last_chunk::<16>())
        else {
            return Err(Reason::Malformed);
        };
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let Some(payload) = rest.get(..length).filter(|_| first >> 4 == 6) else {
            return Err(Reason::Malformed);
        };
        let packet = Self {
            source: Address::v6(*source),
            destination: Address::v6(*destination),
            protocol: *next,
            part: Part::Whole,
            payload,
        };
        if matches!(*next, TCP | UDP) { Ok(packet) } else { packet.behind_extensions() }
    }

    /// The same packet seen behind its extension headers.
    fn behind_extensions(mut self) -> Result<Self, Reason> {
        const FRAGMENT: u8 = 44;
        const AUTHENTICATION: u8 = 51;
        for _ in 0..=MAX_EXTENSIONS {
            let [next, length] = match (self.protocol, self.payload) {
                // Hop-by-hop, routing, destination options, mobility, HIP, shim6: what begins
                // with the next header's number and its own length (RFC 6564).
                (0 | 43 | 60 | 135 | 139 | 140 | FRAGMENT | AUTHENTICATION, payload) => {
                    *payload.first_chunk::<2>().ok_or(Reason::HeaderChain)?
                }
                _ => return Ok(self),
            };
            let octets = match self.protocol {
                FRAGMENT => {
                    let header = self.payload.first_chunk::<8>().ok_or(Reason::HeaderChain)?;
                    let [_, _, o0, o1, ..] = *header;
                    if u16::from_be_bytes([o0, o1]) >> 3 != 0 {
                        return Ok(Self { part: Part::Later, ..self });
                    }
                    self.part = Part::First;
                    8
                }
                AUTHENTICATION => (usize::from(length) + 2) * 4,
                _ => (usize::from(length) + 1) * 8,
            };
            self.payload = self.payload.get(octets..).ok_or(Reason::HeaderChain)?;
            self.protocol = next;
        }
        Err(Reason::HeaderChain)
    }
}

/// The source of an IPv4 packet of which nothing else matters: whole, without options, TCP or UDP
/// between ports that mean nothing to a switch. What is quick to recognise, not all there is.
#[inline]
pub(crate) fn plain_v4(octets: &[u8]) -> Option<Address> {
    let [0x45, _, l0, l1, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, _, _, _, _, ports @ ..] =
        octets.first_chunk::<24>()?
    else {
        return None;
    };
    let total = usize::from(u16::from_be_bytes([*l0, *l1]));
    let whole = u16::from_be_bytes([*f0, *f1]) & 0x3fff == 0;
    let plain = whole && (28..=octets.len()).contains(&total) && is_plain(*protocol, *ports);
    plain.then(|| Address::v4([*s0, *s1, *s2, *s3]))
}

/// Likewise of an IPv6 packet without extension headers.
#[inline]
pub(crate) fn plain_v6(octets: &[u8]) -> Option<Address> {
    let [first, _, _, _, l0, l1, protocol, _, addresses @ .., p0, p1, p2, p3] =
        octets.first_chunk::<44>()?;
    let end = usize::from(u16::from_be_bytes([*l0, *l1])) + 40;
    let plain = first >> 4 == 6
        && (48..=octets.len()).contains(&end)
        && is_plain(*protocol, [*p0, *p1, *p2, *p3]);
    if plain { addresses.first_chunk().map(|source| Address::v6(*source)) } else { None }
}

#[inline]
fn is_plain(protocol: u8, [s0, s1, d0, d1]: [u8; 4]) -> bool {
    let means_nothing = |port: u16| port > 1023 || matches!(port, 53 | 443);
    match protocol {
        TCP => true,
        UDP => {
            means_nothing(u16::from_be_bytes([s0, s1]))
                && means_nothing(u16::from_be_bytes([d0, d1]))
        }
        _ => false,
    }
}

/// A UDP datagram's ports and payload (RFC 768).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Udp<'a> {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Udp<'a> {
    pub(crate) fn decode(octets: &'a [u8]) -> Option<Self> {
        let ([s0, s1, d0, d1, ..], payload) = octets.split_first_chunk::<8>()?;
        Some(Self {
            source: u16::from_be_bytes([*s0, *s1]),
            destination: u16::from_be_bytes([*d0, *d1]),
            payload,
        })
    }
}

/// ARP for IPv4 on Ethernet (RFC 826).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arp {
    pub(crate) sender_hardware: [u8; 6],
    pub(crate) sender: Address,
    pub(crate) target: Address,
}

impl Arp {
    /// Decodes a request or a reply; nothing else is ARP here.
    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        let [0, 1, 8, 0, 6, 4, 0, 1 | 2, rest @ ..] = octets.first_chunk::<28>()? else {
            return None;
        };
        let [h0, h1, h2, h3, h4, h5, s0, s1, s2, s3, _, _, _, _, _, _, t0, t1, t2, t3] = *rest;
        Some(Self {
            sender_hardware: [h0, h1, h2, h3, h4, h5],
            sender: Address::v4([s0, s1, s2, s3]),
            target: Address::v4([t0, t1, t2, t3]),
        })
    }
}
