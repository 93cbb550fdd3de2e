//! What the two ends of a pseudowire agreed on: ids, cookies, sublayer, encapsulation.
//!
//! The control channel carries these; no L2TP control message does.

use std::fmt;
use std::num::NonZeroU32;

use homeward_model::Entropy;
use subtle::ConstantTimeEq;

use crate::error::CookieLengthError;

/// Names a session at the end that receives it (RFC 3931 4.1). Zero is left out: over IP it means
/// a control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub NonZeroU32);

impl SessionId {
    /// The id with this number; `None` for zero.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, never zero.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The cookie of one direction (RFC 3931 4.1, 8.2): nothing, 4 octets or 8. Who does not know it
/// cannot put a packet into the session. Compared in constant time for equal lengths, printed as
/// its length only.
#[derive(Clone, Copy)]
pub struct Cookie {
    octets: [u8; 8],
    len: u8,
}

impl Cookie {
    /// No cookie.
    pub const NONE: Self = Self { octets: [0; 8], len: 0 };

    /// A cookie of 4 octets.
    pub const fn four(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self { octets: [a, b, c, d, 0, 0, 0, 0], len: 4 }
    }

    /// A cookie of 8 octets.
    pub const fn eight(octets: [u8; 8]) -> Self {
        Self { octets, len: 8 }
    }

    /// A cookie of 8 unpredictable octets (RFC 3931 8.2 asks for 64 bits against blind attacks).
    pub fn generate(entropy: &mut impl Entropy) -> Self {
        Self::eight(entropy.octets())
    }

    /// The octets. Whoever calls this keeps them out of logs.
    pub fn expose(&self) -> &[u8] {
        self.octets.get(..self.len()).unwrap_or_default()
    }

    /// How many octets: 0, 4 or 8.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no cookie.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `octets` are this cookie, in a time that does not depend on where they differ.
    #[inline]
    pub(crate) fn matches(&self, octets: &[u8]) -> bool {
        // As one number: a loop over octets costs more than the rest of the header.
        let [a, b, c, d, ..] = self.octets;
        match self.len {
            0 => octets.is_empty(),
            4 => octets.try_into().is_ok_and(|octets| {
                u32::from_ne_bytes(octets).ct_eq(&u32::from_ne_bytes([a, b, c, d])).into()
            }),
            _ => octets.try_into().is_ok_and(|octets| {
                u64::from_ne_bytes(octets).ct_eq(&u64::from_ne_bytes(self.octets)).into()
            }),
        }
    }
}

impl TryFrom<&[u8]> for Cookie {
    type Error = CookieLengthError;

    fn try_from(octets: &[u8]) -> Result<Self, CookieLengthError> {
        if octets.is_empty() {
            Ok(Self::NONE)
        } else if let Ok(four) = <[u8; 4]>::try_from(octets) {
            Ok(Self::four(four))
        } else if let Ok(eight) = <[u8; 8]>::try_from(octets) {
            Ok(Self::eight(eight))
        } else {
            Err(CookieLengthError(octets.len()))
        }
    }
}

impl PartialEq for Cookie {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Cookie {}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} octets redacted]", self.len)
    }
}

/// What lies between the session header and the frame (RFC 3931 4.6). Both ends must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Sublayer {
    /// Nothing: no numbers, no fragments, no probes (`l2spec_type none`).
    None,
    /// The default sublayer, packets not numbered: no fragments; what arrives with a number is
    /// held to it, what arrives without one is let through. For a Linux kernel at the other end,
    /// which stalls on a gap in the numbers unless told to reorder.
    Unnumbered,
    /// The default sublayer, packets numbered, and refused without a number: replays are dropped
    /// and frames that do not fit the path are fragmented. Between gateways.
    #[default]
    Numbered,
}

impl Sublayer {
    /// Octets: 0 or 4.
    pub const fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Unnumbered | Self::Numbered => 4,
        }
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None)
    }
}

/// What carries the session's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Encapsulation {
    /// UDP (RFC 3931 4.1.2): 4 octets of flags, version and reserve come before the session id.
    #[default]
    Udp,
    /// IP protocol 115 (RFC 3931 4.1.1): the session id comes first. What Homeward puts into
    /// WireGuard; see [`inner`](crate::inner).
    Ip,
}

impl Encapsulation {
    /// Octets before the session id: 4 or 0.
    pub const fn len(self) -> usize {
        match self {
            Self::Udp => 4,
            Self::Ip => 0,
        }
    }

    /// Whether nothing comes before the session id.
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::Ip)
    }
}

/// All that the two ends of a session agreed on, as this end sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionConfig {
    /// In what arrives: this end chose it, and knows the session by it.
    pub local_session: SessionId,
    /// In what is sent: the other end chose it.
    pub remote_session: SessionId,
    /// In what arrives: this end chose it.
    pub local_cookie: Cookie,
    /// In what is sent: the other end chose it.
    pub remote_cookie: Cookie,
    /// What lies between session header and frame.
    pub sublayer: Sublayer,
    /// What carries the packets.
    pub encapsulation: Encapsulation,
}

impl SessionConfig {
    /// Octets from the start of the L2TP packet (after UDP or inner IP) to the frame, in what is
    /// sent: 4 to 20.
    pub const fn sent_header_len(&self) -> usize {
        self.encapsulation.len() + 4 + self.remote_cookie.len() + self.sublayer.len()
    }

    /// The same in what arrives.
    pub const fn received_header_len(&self) -> usize {
        self.encapsulation.len() + 4 + self.local_cookie.len() + self.sublayer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_has_0_4_or_8_octets_and_prints_none_of_them() {
        for len in 0..12usize {
            let cookie = Cookie::try_from(&[0xa7; 12][..len]);
            assert_eq!(cookie.is_ok(), [0, 4, 8].contains(&len), "{len}");
        }
        let shown = format!("{:?}", Cookie::eight([0xa7; 8]));
        assert_eq!(shown, "[8 octets redacted]");
    }

    #[test]
    fn cookies_are_equal_only_in_length_and_octets() {
        assert_eq!(Cookie::four([1, 2, 3, 4]), Cookie::try_from(&[1, 2, 3, 4][..]).unwrap());
        assert_ne!(Cookie::four([1, 2, 3, 4]), Cookie::four([1, 2, 3, 5]));
        assert_ne!(Cookie::four([0; 4]), Cookie::eight([0; 8]));
        assert_ne!(Cookie::NONE, Cookie::four([0; 4]));
    }
}
