//! Between a device and a network.

use homeward_model::{Nai, Name};

use crate::codec::{Reader, Writer};
use crate::message::{CHALLENGE, Digest, Malformed, RESPONSE, SessionId, SessionKey, Tag, Ticket};

/// A network asks a device who it is (H1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Which network asks.
    pub network: Name,
    /// Random, for this question alone.
    pub nonce: [u8; 32],
    /// The network's share of a secret of this hop (X25519, RFC 7748).
    pub share: [u8; 32],
    /// Whether it asks where the device was before (H2). A device may say so without.
    pub asks: bool,
}

/// The device's answer: who it is, for which session, where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// What the device is called in this network.
    pub device: Nai,
    /// The key of the session that it moves.
    pub key: SessionKey,
    /// The server of that session.
    pub server: Name,
    /// Which hop this is, from 1 on.
    pub hop: u16,
    /// The device's share of a secret of this hop (X25519), random, for this answer alone.
    pub share: [u8; 32],
    /// Where it was before, and what opens the key of that; `None` where it wants to be asked.
    pub ticket: Option<Ticket>,
    /// Proof of the key that the device shares with the network.
    pub(crate) tag: Tag,
}

impl Challenge {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(CHALLENGE);
        out.text(self.network.as_str()).octets(&self.nonce).octets(&self.share);
        out.bool(self.asks);
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, CHALLENGE)?;
        let challenge = Self {
            network: read.name("network")?,
            nonce: read.array("nonce")?,
            share: read.array("share")?,
            asks: read.bool("whether it asks")?,
        };
        read.end()?;
        Ok(challenge)
    }
}

impl Response {
    /// The session that it is of.
    pub fn session(&self) -> SessionId {
        SessionId::of(&self.key, &self.server)
    }

    /// What the ticket is of: the challenge, and who answers it with which share. A ticket is good in
    /// no answer but the one that the device put it in.
    pub(crate) fn answer(&self, challenge: &Challenge) -> Digest {
        let mut out = Writer::default();
        out.text("homeward keychain 1 answer").octets(&challenge.encode());
        self.write_own(&mut out);
        Digest::of(&out.0)
    }

    /// What is proven: the challenge and everything that is said.
    pub(crate) fn transcript(&self, challenge: &Challenge) -> Digest {
        let mut said = challenge.encode();
        let mut out = Writer::new(RESPONSE);
        self.write(&mut out);
        said.append(&mut out.0);
        Digest::of(&said)
    }

    /// All but the ticket.
    fn write_own(&self, out: &mut Writer) {
        out.text(self.device.as_str()).octets(&self.key.0).text(self.server.as_str());
        out.u16(self.hop).octets(&self.share);
    }

    fn write(&self, out: &mut Writer) {
        self.write_own(out);
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
        let response = Self {
            device: read.nai("device")?,
            key: SessionKey(read.array("the session's key")?),
            server: read.name("server")?,
            hop: read.u16("hop")?,
            share: read.array("share")?,
            ticket: read.maybe("whether there is a ticket", Ticket::read)?,
            tag: Tag(read.array("tag")?),
        };
        read.end()?;
        Ok(response)
    }
}
