//! Echo messages: how a path is probed. Homeward's own, in VCCV messages (RFC 5085).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+-------------------------------+
//! |0 0 0 1|   0   |       0       |     Channel Type 0x7FF8       |  RFC 4385 5, experimental
//! +-------+-------+---------------+---------------+---------------+
//! |      'H'      |      'w'      |  Version = 1  |     Type      |  1 request, 2 reply
//! +---------------+---------------+---------------+---------------+
//! |                                                               |
//! |                       Nonce, 8 octets                         |
//! |                                                               |
//! +---------------------------------------------------------------+
//! |                 Padding, zeros, requests only ...             |
//! +---------------------------------------------------------------+
//! ```
//!
//! A reply repeats the request's nonce and has no padding, so it is never longer than the
//! request. Padding is ignored on receipt. A kernel's L2TP takes no notice of the V bit and would
//! hand the message to its interface as a frame: probe only peers that speak this.

use homeward_model::Entropy;

use crate::error::EchoError;

/// Octets of a message without padding.
pub const ECHO_LEN: usize = 16;

/// The version spoken.
pub const VERSION: u8 = 1;

/// What our messages begin with: an associated channel, version 0, of an experimental type (RFC 5586
/// 10.1: 0x7FF8 to 0x7FFF).
pub const CHANNEL: [u8; 4] = [0x10, 0, 0x7f, 0xf8];

/// What follows it, before version and type. Types 1 and 2 are echo messages, 3 is the report of
/// `homeward_multipath`.
pub const MAGIC: [u8; 2] = *b"Hw";

/// Request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EchoKind {
    /// Asks for a reply with the same nonce.
    Request,
    /// Is one.
    Reply,
}

/// What a reply must repeat: unpredictable, so that who returns it has received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce(pub [u8; 8]);

impl Nonce {
    /// A new one.
    pub fn generate(entropy: &mut impl Entropy) -> Self {
        Self(entropy.octets())
    }
}

/// An echo message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Request or reply.
    pub kind: EchoKind,
    /// The nonce.
    pub nonce: Nonce,
    /// Octets of padding; none in a reply.
    pub padding: u16,
}

impl Echo {
    /// Decodes the payload of a VCCV message: [`Delivery::Control`](crate::Delivery::Control).
    ///
    /// # Errors
    /// If it is not one of these messages.
    pub fn decode(message: &[u8]) -> Result<Self, EchoError> {
        let short = EchoError::Short(message.len());
        let (channel, rest) = message.split_first_chunk::<4>().ok_or(short)?;
        let (&[h, w, version, kind], rest) = rest.split_first_chunk().ok_or(short)?;
        let (nonce, padding) = rest.split_first_chunk().ok_or(short)?;
        if *channel != CHANNEL {
            return Err(EchoError::Channel);
        }
        if [h, w] != MAGIC {
            return Err(EchoError::Magic);
        }
        if version != VERSION {
            return Err(EchoError::Version(version));
        }
        let kind = match kind {
            1 => EchoKind::Request,
            2 => EchoKind::Reply,
            other => return Err(EchoError::Kind(other)),
        };
        let padding = u16::try_from(padding.len()).unwrap_or(u16::MAX);
        Ok(Self { kind, nonce: Nonce(*nonce), padding })
    }

    /// The octets of the message, its padding included.
    pub const fn len(&self) -> usize {
        ECHO_LEN + self.padding as usize
    }

    /// Never: there is always a nonce.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The message without its padding: [`padding`](Self::padding) zeros go after it.
    pub fn head(&self) -> [u8; ECHO_LEN] {
        let ([a, b, c, d], [h, w]) = (CHANNEL, MAGIC);
        let kind = match self.kind {
            EchoKind::Request => 1,
            EchoKind::Reply => 2,
        };
        let [n0, n1, n2, n3, n4, n5, n6, n7] = self.nonce.0;
        [a, b, c, d, h, w, VERSION, kind, n0, n1, n2, n3, n4, n5, n6, n7]
    }

    /// Writes the message into the beginning of `room`, and says how long it is; `None` if it
    /// does not fit.
    pub fn write(&self, room: &mut [u8]) -> Option<usize> {
        let room = room.get_mut(..self.len())?;
        let (head, padding) = room.split_first_chunk_mut()?;
        *head = self.head();
        padding.fill(0);
        Some(self.len())
    }

    /// The reply to a request.
    pub const fn reply(nonce: Nonce) -> Self {
        Self { kind: EchoKind::Reply, nonce, padding: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(padding: u16) -> Vec<u8> {
        let echo = Echo { kind: EchoKind::Request, nonce: Nonce(*b"01234567"), padding };
        let mut room = vec![0xff; 100];
        let len = echo.write(&mut room).unwrap();
        room.truncate(len);
        room
    }

    #[test]
    fn a_request_has_the_octets_that_the_module_documents() {
        assert_eq!(request(3), b"\x10\0\x7f\xf8Hw\x01\x0101234567\0\0\0");
        let echo = Echo { kind: EchoKind::Request, nonce: Nonce(*b"01234567"), padding: 3 };
        assert_eq!(Echo::decode(&request(3)), Ok(echo));
        assert_eq!(Echo::reply(echo.nonce).head(), *b"\x10\0\x7f\xf8Hw\x01\x0201234567");
        assert_eq!(echo.write(&mut [0; 18]), None, "no room");
    }

    #[test]
    fn other_messages_are_refused() {
        for (at, value, error) in [
            (0, 0x11, EchoError::Channel),
            (1, 1, EchoError::Channel),
            (2, 0, EchoError::Channel),
            (3, 0x21, EchoError::Channel),
            (4, b'h', EchoError::Magic),
            (5, b'W', EchoError::Magic),
            (6, 0, EchoError::Version(0)),
            (6, 2, EchoError::Version(2)),
            (7, 0, EchoError::Kind(0)),
            (7, 3, EchoError::Kind(3)),
        ] {
            let mut octets = request(0);
            octets[at] = value;
            assert_eq!(Echo::decode(&octets), Err(error), "octet {at} as {value}");
        }
        for len in 0..ECHO_LEN {
            assert_eq!(Echo::decode(&request(0)[..len]), Err(EchoError::Short(len)));
        }
    }
}
