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
    /// Grows by one with each demand.
    pub counter: u64,
    /// Random, for this demand alone.
    pub nonce: [u8; 32],
    /// What is admitted if the answer is right.
    pub flow: Flow,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// As in the demand.
    pub counter: u64,
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
        out.octets(&self.session.0).u64(self.counter).octets(&self.nonce).text(&self.flow.0);
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
            counter: read.u64("counter")?,
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
        out.u64(self.counter).octets(&self.head.0);
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
            counter: read.u64("counter")?,
            head: Digest(read.array("head")?),
            tags: read.list(MAX_HOPS, "the number of tags", |read| read.array("tag").map(Tag))?,
        };
        read.end()?;
        Ok(proof)
    }
}
