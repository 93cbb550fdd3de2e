//! What is sent, and how it is written. All of it may come from a stranger: what is read is
//! well-formed and nothing more.

mod chain;
mod hop;
mod proof;

use std::fmt;

use homeward_model::Name;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::codec::Writer;

pub(crate) use chain::body;
pub use chain::{Fetch, Fetched, Ticket, Welcome};
pub use hop::{Challenge, Response};
pub use proof::{Demand, Flow, FlowError, Proof};

/// What is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of the key chain: {0} is wrong or missing")]
pub struct Malformed(pub(crate) &'static str);

/// The most hops of a chain. Longer ones begin anew: each costs a tag in every proof.
pub const MAX_HOPS: u16 = 64;

/// A hash (SHA-256).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub(crate) fn of(octets: &[u8]) -> Self {
        Self(digest(&SHA256, octets).as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// The key that a device signs by for the time of one session (Ed25519, RFC 8032).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub [u8; 32]);

/// A session between a device and a server. It is a hash of the device's key and the server, so that
/// nobody else can begin one that is called the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// Of the session that is signed for by that key with that server.
    pub fn of(key: &SessionKey, server: &Name) -> Self {
        let mut out = Writer::default();
        out.text("homeward keychain 1 session").octets(&key.0).text(server.as_str());
        Self(Digest::of(&out.0).0.first_chunk().copied().unwrap_or_default())
    }
}

/// In hexadecimal, 32 digits.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl std::str::FromStr for SessionId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut id = [0; 16];
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Malformed("a session (32 hexadecimal digits)"));
        }
        for (at, octet) in id.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).unwrap_or_default();
            *octet = u8::from_str_radix(digits, 16).map_err(|_| Malformed("a session"))?;
        }
        Ok(Self(id))
    }
}

/// Proof of a key (HMAC-SHA-256). Compared in constant time.
#[derive(Clone, Copy)]
pub struct Tag(pub(crate) [u8; 32]);

impl Tag {
    pub(crate) fn is(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.is(other).into()
    }
}

impl Eq for Tag {}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(…)")
    }
}

pub(crate) const CHALLENGE: u8 = 1;
pub(crate) const RESPONSE: u8 = 2;
pub(crate) const TICKET: u8 = 3;
pub(crate) const FETCH: u8 = 4;
pub(crate) const FETCHED: u8 = 5;
pub(crate) const DEMAND: u8 = 6;
pub(crate) const PROOF: u8 = 7;
pub(crate) const RECORD: u8 = 8;
pub(crate) const WELCOME: u8 = 9;
