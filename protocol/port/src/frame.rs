//! Ethernet II and IEEE 802.3 frames: what a port needs of their headers.

use std::ops::RangeInclusive;

use homeward_model::Mac;

use crate::verdict::Reason;

/// Where the payload of an untagged frame begins.
pub(crate) const HEADER: usize = 14;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and what came before 802.1ad.
const TAGS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
/// Below this the field is a length (IEEE 802.3 3.2.6).
const SMALLEST_ETHERTYPE: u16 = 0x0600;
/// IEEE 802.1Q 8.6.3: 01-80-C2-00-00-00 to -0F.
const RESERVED: RangeInclusive<u64> = 0x0180_c200_0000..=0x0180_c200_000f;
const BROADCAST: u64 = 0xffff_ffff_ffff;

/// A MAC address as a number, the first octet most significant: quick to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    pub(crate) const fn of(mac: Mac) -> Self {
        let [a, b, c, d, e, f] = mac.octets();
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    pub(crate) const fn mac(self) -> Mac {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        Mac::new([a, b, c, d, e, f])
    }

    #[inline]
    pub(crate) const fn is_group(self) -> bool {
        self.0 & 1 << 40 != 0
    }

    pub(crate) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn is_reserved(self) -> bool {
        RESERVED.contains(&self.0)
    }

    pub(crate) const fn is_broadcast(self) -> bool {
        self.0 == BROADCAST
    }
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ipv4,
    Arp,
    Ipv6,
    /// An access point's layer-2 update: no payload worth a look.
    Update,
}

/// A frame's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ethernet<'a> {
    pub(crate) destination: Key,
    pub(crate) source: Key,
    ethertype: u16,
    /// What follows the EtherType or length.
    pub(crate) payload: &'a [u8],
}

impl<'a> Ethernet<'a> {
    #[inline]
    pub(crate) fn decode(frame: &'a [u8]) -> Result<Self, Reason> {
        let Some((header, payload)) = frame.split_first_chunk::<HEADER>() else {
            return Err(Reason::Malformed);
        };
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        Ok(Self {
            destination: Key(u64::from_be_bytes([0, 0, d0, d1, d2, d3, d4, d5])),
            source: Key(u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5])),
            ethertype: u16::from_be_bytes([t0, t1]),
            payload,
        })
    }

    /// What the frame carries, if strangers may have it carried.
    #[inline]
    pub(crate) fn kind(&self) -> Result<Kind, Reason> {
        match self.ethertype {
            ETHERTYPE_IPV4 => Ok(Kind::Ipv4),
            ETHERTYPE_IPV6 => Ok(Kind::Ipv6),
            ETHERTYPE_ARP => Ok(Kind::Arp),
            tag if TAGS.contains(&tag) => Err(Reason::Vlan),
            length if length < SMALLEST_ETHERTYPE && self.is_update() => Ok(Kind::Update),
            _ => Err(Reason::Protocol),
        }
    }

    /// Whether it is the frame that an access point sends on a station's behalf when it
    /// associates, so that bridges learn where it is now (IEEE Std 802.11F 5.4): an 802.2 XID
    /// response from the null LSAP, three octets of information, broadcast, padded at most to
    /// Ethernet's least length.
    fn is_update(&self) -> bool {
        const LENGTH: u16 = 6;
        const SMALLEST_PAYLOAD: usize = 46;
        const UNNUMBERED_XID: u8 = 0xaf;
        const FINAL: u8 = 0x10;
        let [dsap, ssap, control, format, ..] = *self.payload else { return false };
        self.destination.is_broadcast()
            && self.ethertype == LENGTH
            && (usize::from(LENGTH)..=SMALLEST_PAYLOAD).contains(&self.payload.len())
            && (dsap, ssap) == (0x00, 0x01)
            && control & !FINAL == UNNUMBERED_XID & !FINAL
            && format == 0x81
    }
}
