//! What is sent, and how it is written. All of it may come from a stranger: what is read is
//! well-formed and nothing more.

use std::fmt;

use homeward_model::{Nai, Name};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::codec::{Reader, Writer};
use crate::key::Export;
use crate::record::Record;

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

/// A session between a device and a server: random, chosen by the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

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

/// A network asks a device who it is (H1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Which network asks.
    pub network: Name,
    /// Random, for this question alone.
    pub nonce: [u8; 32],
}

/// The device's answer: who it is, for which session, where it was (H2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// What the device is called in this network.
    pub device: Nai,
    /// The session that it moves.
    pub session: SessionId,
    /// The server of that session.
    pub server: Name,
    /// Which hop this is, from 1 on.
    pub hop: u16,
    /// Random, for this answer alone.
    pub nonce: [u8; 32],
    /// The network before, and what opens its key; `None` at the first hop.
    pub ticket: Option<Ticket>,
    /// Proof of the key that the device shares with the network.
    pub(crate) tag: Tag,
}

/// Has the network of hop `hop - 1` hand a derivative of its key to the network `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Whose key it opens: the network of the hop before.
    pub of: Name,
    /// Who may have it.
    pub to: Name,
    /// The session.
    pub session: SessionId,
    /// The hop that it is for.
    pub hop: u16,
    /// The hash of the last record.
    pub head: Digest,
    /// The nonce of the challenge that the device answers to `to`.
    pub nonce: [u8; 32],
    /// Proof of the key of the hop before.
    pub(crate) tag: Tag,
}

/// A network asks the one before for its key (H3), or the server (H4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What entitles it.
    pub ticket: Ticket,
}

/// What it gets.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Eᵢ₋₁.
    pub export: Export,
    /// The records of all hops so far.
    pub records: Vec<Record>,
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
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// As in the demand.
    pub counter: u64,
    /// By the key of each hop from the first on; a network has that of its own alone.
    pub tags: Vec<Tag>,
}

const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const TICKET: u8 = 3;
const FETCH: u8 = 4;
const FETCHED: u8 = 5;
const DEMAND: u8 = 6;
const PROOF: u8 = 7;
pub(crate) const RECORD: u8 = 8;

impl Challenge {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(CHALLENGE);
        out.text(self.network.as_str()).octets(&self.nonce);
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, CHALLENGE)?;
        let challenge = Self { network: read.name("network")?, nonce: read.array("nonce")? };
        read.end()?;
        Ok(challenge)
    }
}

impl Ticket {
    /// What its tag is of, and what the export is bound to.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut out = Writer::new(TICKET);
        out.text(self.of.as_str()).text(self.to.as_str()).octets(&self.session.0);
        out.u16(self.hop).octets(&self.head.0).octets(&self.nonce);
        out.0
    }

    fn write(&self, out: &mut Writer) {
        out.octets(&self.body()).octets(&self.tag.0);
    }

    fn read(read: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut inner = Reader::new(read.0, TICKET)?;
        let ticket = Self {
            of: inner.name("the ticket's network")?,
            to: inner.name("who the ticket is for")?,
            session: SessionId(inner.array("session")?),
            hop: inner.u16("hop")?,
            head: Digest(inner.array("head")?),
            nonce: inner.array("nonce")?,
            tag: Tag(inner.array("the ticket's tag")?),
        };
        *read = inner;
        Ok(ticket)
    }
}

impl Response {
    /// What is proven: the challenge and everything that is said.
    pub(crate) fn transcript(&self, challenge: &Challenge) -> Digest {
        let mut said = challenge.encode();
        let mut out = Writer::new(RESPONSE);
        self.write(&mut out);
        said.append(&mut out.0);
        Digest::of(&said)
    }

    fn write(&self, out: &mut Writer) {
        out.text(self.device.as_str()).octets(&self.session.0).text(self.server.as_str());
        out.u16(self.hop).octets(&self.nonce);
        out.maybe(self.ticket.as_ref(), |out, ticket| ticket.write(out));
    }

    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(RESPONSE);
        self.write(&mut out);
        out.octets(&self.tag.0);
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, RESPONSE)?;
        let text = read.text("device")?;
        let device: Nai = text.parse().map_err(|_| Malformed("device"))?;
        if device.as_str() != text {
            return Err(Malformed("the case of the device's realm"));
        }
        let response = Self {
            device,
            session: SessionId(read.array("session")?),
            server: read.name("server")?,
            hop: read.u16("hop")?,
            nonce: read.array("nonce")?,
            ticket: read.maybe("whether there is a ticket", Ticket::read)?,
            tag: Tag(read.array("tag")?),
        };
        read.end()?;
        Ok(response)
    }
}

impl Fetch {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(FETCH);
        self.ticket.write(&mut out);
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, FETCH)?;
        let fetch = Self { ticket: Ticket::read(&mut read)? };
        read.end()?;
        Ok(fetch)
    }
}

impl Fetched {
    /// The message. It has a key in it: it goes over a channel that is secret and has both ends
    /// authenticated.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(FETCHED);
        out.octets(self.export.expose());
        // As many as there are: MAX_HOPS is less than what fits.
        out.u16(u16::try_from(self.records.len()).unwrap_or(u16::MAX));
        for record in &self.records {
            record.write(&mut out);
        }
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, FETCHED)?;
        let export = Export::new(read.array("export")?);
        let count = read.u16("the number of records")?;
        if count > MAX_HOPS {
            return Err(Malformed("the number of records"));
        }
        let records = (0..count).map(|_| Record::read(&mut read));
        let records = records.collect::<Result<_, _>>()?;
        read.end()?;
        Ok(Self { export, records })
    }
}

impl Demand {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(DEMAND);
        out.octets(&self.session.0).u64(self.counter).octets(&self.nonce);
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
        };
        read.end()?;
        Ok(demand)
    }
}

impl Proof {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(PROOF);
        out.u64(self.counter).u16(u16::try_from(self.tags.len()).unwrap_or(u16::MAX));
        for tag in &self.tags {
            out.octets(&tag.0);
        }
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, PROOF)?;
        let counter = read.u64("counter")?;
        let count = read.u16("the number of tags")?;
        if count > MAX_HOPS {
            return Err(Malformed("the number of tags"));
        }
        let tags = (0..count).map(|_| read.array("tag").map(Tag));
        let tags = tags.collect::<Result<_, _>>()?;
        read.end()?;
        Ok(Self { counter, tags })
    }
}
