//! Data messages on the wire.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-------------------------------+
//! |T| (ignored)             | Ver=3 |           (ignored)           |  over UDP only (RFC 3931 4.1.2.1)
//! +-----------------------------------------------------------------+
//! |                          Session ID                             |
//! +-----------------------------------------------------------------+
//! |                 Cookie, 0, 4 or 8 octets ...                    |
//! +-+-+-+-+-+-+-+-+-------------------------------------------------+
//! |V|S|B|E|(ign.) |             Sequence Number                     |  default sublayer (RFC 3931 4.6)
//! +-+-+-+-+-+-+-+-+-------------------------------------------------+
//! |                 Ethernet frame without FCS ...                  |  RFC 4719
//! ```
//!
//! V: a VCCV message instead of a frame (RFC 5085). S: the sequence number counts. B and E: see
//! [`Fragment`] (RFC 4623).

use crate::error::Discard;
use crate::session::{Encapsulation, SessionConfig, SessionId, Sublayer};

/// The IP protocol number of L2TPv3 (RFC 3931 4.1.1).
pub const IP_PROTOCOL: u8 = 115;

/// The most octets from the start of the L2TP packet to the frame.
pub const MAX_HEADER_LEN: usize = 20;

/// The most fragments that a frame is cut into, or put together from.
pub const MAX_FRAGMENTS: usize = 16;

/// Octets of an Ethernet header.
pub const ETHERNET_HEADER_LEN: usize = 14;

const TYPE_BIT: u8 = 0x80;
const VERSION_MASK: u8 = 0x0f;
const VERSION: u8 = 3;
const FLAG_V: u8 = 0x80;
const FLAG_S: u8 = 0x40;
const FLAG_B: u8 = 0x20;
const FLAG_E: u8 = 0x10;

/// A sequence number: 24 bits, and then from 0 again (RFC 3931 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sequence(u32);

impl Sequence {
    const MASK: u32 = 0x00ff_ffff;
    const HALF: u32 = 0x0080_0000;

    /// The low 24 bits of `number`.
    pub const fn new(number: u32) -> Self {
        Self(number & Self::MASK)
    }

    /// The number, below 2^24.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number `count` later.
    #[must_use]
    pub const fn plus(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count) & Self::MASK)
    }

    /// How far this number is ahead of `other`, from -2^23 + 1 (behind) to 2^23: RFC 3931
    /// appendix C counts the 2^23 - 1 numbers before one as behind it.
    pub const fn ahead_of(self, other: Self) -> i32 {
        let ahead = self.0.wrapping_sub(other.0) & Self::MASK;
        if ahead <= Self::HALF { ahead.cast_signed() } else { -((1 << 24) - ahead.cast_signed()) }
    }
}

/// Which part of a frame a packet carries: bits B and E of the sublayer (RFC 4623 4.1 and 5.5).
/// Note that the bits are not flags for beginning and end: 00 is the whole, 01 the first part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fragment {
    /// All of it (B = 0, E = 0).
    #[default]
    Whole,
    /// The first part (B = 0, E = 1).
    First,
    /// A part that is neither first nor last (B = 1, E = 1).
    Middle,
    /// The last part (B = 1, E = 0).
    Last,
}

impl Fragment {
    const fn bits(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::First => FLAG_E,
            Self::Middle => FLAG_B | FLAG_E,
            Self::Last => FLAG_B,
        }
    }

    const fn from_bits(octet: u8) -> Self {
        match (octet & FLAG_B != 0, octet & FLAG_E != 0) {
            (false, false) => Self::Whole,
            (false, true) => Self::First,
            (true, true) => Self::Middle,
            (true, false) => Self::Last,
        }
    }

    /// Whether a frame begins here.
    pub const fn begins(self) -> bool {
        matches!(self, Self::Whole | Self::First)
    }

    /// Whether a frame ends here.
    pub const fn ends(self) -> bool {
        matches!(self, Self::Whole | Self::Last)
    }
}

/// Whom a packet is for: the first thing to know of it, and all that is looked at before its
/// session is found.
///
/// # Errors
/// If it is too short to say, a control message, or not version 3.
pub fn peek_session_id(packet: &[u8], encapsulation: Encapsulation) -> Result<SessionId, Discard> {
    split_session_id(packet, encapsulation).map(|(session, _)| session)
}

fn split_session_id(
    packet: &[u8],
    encapsulation: Encapsulation,
) -> Result<(SessionId, &[u8]), Discard> {
    let packet = match encapsulation {
        Encapsulation::Ip => packet,
        Encapsulation::Udp => {
            let (&[flags, version, _, _], rest) =
                packet.split_first_chunk().ok_or(Discard::Short)?;
            if flags & TYPE_BIT != 0 {
                return Err(Discard::ControlMessage);
            }
            if version & VERSION_MASK != VERSION {
                return Err(Discard::Version);
            }
            rest
        }
    };
    let (id, rest) = packet.split_first_chunk().ok_or(Discard::Short)?;
    // Zero is reserved: over IP it marks control messages, over UDP no session has it.
    match (SessionId::new(u32::from_be_bytes(*id)), encapsulation) {
        (Some(id), _) => Ok((id, rest)),
        (None, Encapsulation::Ip) => Err(Discard::ControlMessage),
        (None, Encapsulation::Udp) => Err(Discard::OtherSession),
    }
}

/// A data message, its cookie verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataMessage<'a> {
    /// Whether the payload is a VCCV message (RFC 5085) and no frame.
    pub control: bool,
    /// The sequence number, if it has one.
    pub sequence: Option<Sequence>,
    /// Which part of a frame the payload is.
    pub fragment: Fragment,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> DataMessage<'a> {
    /// Decodes a packet of this session, from the start of the L2TP header.
    ///
    /// # Errors
    /// If it is cut off, a control message, not version 3, not of this session, or does not have
    /// the cookie.
    #[inline]
    pub fn decode(packet: &'a [u8], session: &SessionConfig) -> Result<Self, Discard> {
        let (id, rest) = split_session_id(packet, session.encapsulation)?;
        if id != session.local_session {
            return Err(Discard::OtherSession);
        }
        let (cookie, rest) =
            rest.split_at_checked(session.local_cookie.len()).ok_or(Discard::Short)?;
        if !session.local_cookie.matches(cookie) {
            return Err(Discard::Cookie);
        }
        if session.sublayer.is_empty() {
            let (sequence, fragment) = (None, Fragment::Whole);
            return Ok(Self { control: false, sequence, fragment, payload: rest });
        }
        let (&[flags, a, b, c], payload) = rest.split_first_chunk().ok_or(Discard::Short)?;
        let sequence =
            (flags & FLAG_S != 0).then(|| Sequence::new(u32::from_be_bytes([0, a, b, c])));
        let fragment = Fragment::from_bits(flags);
        Ok(Self { control: flags & FLAG_V != 0, sequence, fragment, payload })
    }
}

/// A header to put before a payload.
#[derive(Clone, Copy)]
pub struct Header {
    /// Flush right, so that the sublayer is always in the same place.
    octets: [u8; MAX_HEADER_LEN],
    start: usize,
}

impl AsRef<[u8]> for Header {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.octets.get(self.start..).unwrap_or_default()
    }
}

impl std::ops::Deref for Header {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_ref()
    }
}

impl std::fmt::Debug for Header {
    /// The cookie is in it: prints the length only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Header[{} octets]", self.len())
    }
}

/// The header of a session, precomputed but for the sublayer. `Copy`: each thread that sends in
/// the session has its own.
#[derive(Debug, Clone, Copy)]
pub struct HeaderTemplate {
    /// As sent in a packet without number and fragment bits.
    header: Header,
    sublayer: Sublayer,
}

impl HeaderTemplate {
    /// The template of a session's sending direction.
    pub fn new(session: &SessionConfig) -> Self {
        let mut octets = [0; MAX_HEADER_LEN];
        let version: &[u8] = match session.encapsulation {
            Encapsulation::Udp => &[0, VERSION, 0, 0],
            Encapsulation::Ip => &[],
        };
        let id = session.remote_session.get().to_be_bytes();
        let sublayer = [0; 4];
        let parts = [
            version,
            &id,
            session.remote_cookie.expose(),
            sublayer.get(..session.sublayer.len()).unwrap_or_default(),
        ];
        let mut start = MAX_HEADER_LEN;
        for (room, octet) in octets.iter_mut().rev().zip(parts.iter().copied().flatten().rev()) {
            *room = *octet;
            start -= 1;
        }
        Self { header: Header { octets, start }, sublayer: session.sublayer }
    }

    /// The octets of every header that it gives: 4 to 20.
    #[inline]
    pub const fn len(&self) -> usize {
        MAX_HEADER_LEN - self.header.start
    }

    /// Never: there is always a session id.
    pub const fn is_empty(&self) -> bool {
        self.header.start == MAX_HEADER_LEN
    }

    /// The header of a packet. The sequence number goes in if the session is numbered, the
    /// fragment bits if it has a sublayer.
    #[inline]
    pub fn header(&self, sequence: Sequence, fragment: Fragment) -> Header {
        match self.sublayer {
            Sublayer::None => self.header,
            Sublayer::Unnumbered => self.with_sublayer([fragment.bits(), 0, 0, 0]),
            Sublayer::Numbered => {
                let [_, a, b, c] = sequence.get().to_be_bytes();
                self.with_sublayer([FLAG_S | fragment.bits(), a, b, c])
            }
        }
    }

    /// The header of a VCCV message (RFC 5085), which has no number: whoever sends these need
    /// not be who sends frames. `None` in a session without sublayer.
    pub fn control_header(&self) -> Option<Header> {
        (!self.sublayer.is_empty()).then(|| self.with_sublayer([FLAG_V, 0, 0, 0]))
    }

    #[inline]
    fn with_sublayer(&self, octets: [u8; 4]) -> Header {
        let mut header = self.header;
        if let Some(room) = header.octets.last_chunk_mut() {
            *room = octets;
        }
        header
    }
}
