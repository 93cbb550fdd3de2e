//! What the server asks for, and the answer.

use std::fmt;
use std::str::FromStr;

use crate::codec::{Reader, Writer};
use crate::message::{DEMAND, Digest, MAX_HOPS, Malformed, PROOF, SessionId, Tag};

/// What is admitted once the chain holds: one call, one registration, one address and port. The
/// server says what, and the device proves for nothing that it did not ask for.
///
/// A text of 1 to 255 printable ASCII characters, such as `sip:3c26@192.0.2.7` or
/// `udp 10.45.0.2:5060`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow(String);

/// A text that names no flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no flow: it takes 1 to 255 printable ASCII characters")]
pub struct FlowError(String);

impl Flow {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Flow {
    type Err = FlowError;

    fn from_str(text: &str) -> Result<Self, FlowError> {
        let good = (1..=255).contains(&text.len()) && text.bytes().all(|c| (32..127).contains(&c));
        if good { Ok(Self(text.to_owned())) } else { Err(FlowError(text.to_owned())) }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server asks whether a device, or a network, has what it has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// The session.
    pub session: SessionId,
    /// Random, for this demand alone.
    pub nonce: [u8; 32],
    /// What is admitted if the answer is right.
    pub flow: Flow,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The hash of the last record, as who proves knows it: a hop that is on its way may have
    /// reached the one and not the other.
    pub head: Digest,
    /// By the key of each hop from the first on; a network has that of its own alone.
    pub tags: Vec<Tag>,
}

impl Demand {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(DEMAND);
        out.octets(&self.session.0).octets(&self.nonce).text(&self.flow.0);
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, DEMAND)?;
        let demand = Self {
            session: SessionId(read.array("session")?),
            nonce: read.array("nonce")?,
            flow: read.text("flow")?.parse().map_err(|_| Malformed("flow"))?,
        };
        read.end()?;
        Ok(demand)
    }
}

impl Proof {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(PROOF);
        out.octets(&self.head.0);
        out.list(&self.tags, |out, tag| {
            out.octets(&tag.0);
        });
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, PROOF)?;
        let proof = Self {
            head: Digest(read.array("head")?),
            tags: read.list(MAX_HOPS, "the number of tags", |read| read.array("tag").map(Tag))?,
        };
        read.end()?;
        Ok(proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_a_text_of_printable_characters_that_has_an_end() {
        for good in ["a", "udp 10.45.0.2:5060", &"x".repeat(255)] {
            assert_eq!(good.parse::<Flow>().unwrap().as_str(), good);
        }
        for bad in ["", "a\n", "caf\u{e9}", "\u{7f}", &"x".repeat(256)] {
            assert_eq!(bad.parse::<Flow>(), Err(FlowError(bad.to_owned())));
        }
    }

    #[test]
    fn a_session_is_named_by_32_digits() {
        let id = SessionId([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        let long = "ab".repeat(17);
        for bad in ["", "ab", &long, &"+a".repeat(16), &"é".repeat(16)] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }
}
