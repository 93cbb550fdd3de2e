//! Hop records: what device and network sign of a hop. They are public to whoever is on the way, say
//! who vouches for what, and hang together by their hashes.

use std::time::Duration;

use homeward_model::{Name, UnixTime};

use crate::codec::{Reader, Writer};
use crate::error::{Refusal, Side, Why};
use crate::message::{Digest, MAX_HOPS, Malformed, RECORD, SessionId, SessionKey, body};
use crate::sign::{HOP, TICKET, verify};

/// One hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The session.
    pub session: SessionId,
    /// Its server.
    pub server: Name,
    /// Which hop it is, from 1 on.
    pub hop: u16,
    /// Whose it is.
    pub network: Name,
    /// The key that the network signs with (Ed25519, RFC 8032).
    pub key: [u8; 32],
    /// The key that the device signs with, in this session.
    pub device: SessionKey,
    /// The network of the hop before, as the device says; `None` at the first.
    pub previous: Option<Name>,
    /// The hash of the record before; of the first, [`Record::root`].
    pub before: Digest,
    /// The hash of the network's challenge and of the device's answer, as the device signed it.
    pub answer: Digest,
    /// The hash of challenge and answer.
    pub transcript: Digest,
    /// When it was made, by the network's clock.
    pub at: UnixTime,
    /// Until when it is good.
    pub until: UnixTime,
    /// Up to which revocation its module knew.
    pub epoch: u64,
    /// Whether the key of the hop before is missing.
    pub broken: bool,
    /// The device's signature, of the ticket that it gave the network.
    pub by_device: [u8; 64],
    /// The network's signature, of all this.
    pub by_network: [u8; 64],
}

/// Whom a chain may go through.
pub trait Directory {
    /// How a network with that key stands.
    fn standing(&self, network: &Name, key: &[u8; 32]) -> Standing;

    /// Up to which revocation every module has to know.
    fn epoch(&self) -> u64;
}

/// How a network's module stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is trusted.
    Good,
    /// It is not known, or not by that key.
    Unknown,
    /// It was, and is no more.
    Revoked,
}

/// What a list of records is held against.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a, D> {
    /// The session that it is to be of.
    pub session: SessionId,
    /// The server that it is to be for.
    pub server: &'a Name,
    /// Whom it may go through.
    pub directory: &'a D,
    /// What time it is.
    pub now: UnixTime,
    /// How far clocks may be apart.
    pub skew: Duration,
    /// Whether hops are let pass whose key of the hop before is missing.
    pub broken: bool,
}

impl Record {
    /// What the first record follows.
    pub fn root(session: SessionId, server: &Name) -> Digest {
        let mut out = Writer::default();
        out.text("homeward keychain 1 root").octets(&session.0).text(server.as_str());
        Digest::of(&out.0)
    }

    /// Its hash, which the next one names.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// What the network signs.
    pub(crate) fn signed(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.write_body(&mut out);
        out.0
    }

    fn write_body(&self, out: &mut Writer) {
        out.octets(&self.session.0).text(self.server.as_str()).u16(self.hop);
        out.text(self.network.as_str()).octets(&self.key).octets(&self.device.0);
        out.maybe(self.previous.as_ref(), |out, previous| {
            out.text(previous.as_str());
        });
        out.octets(&self.before.0).octets(&self.answer.0).octets(&self.transcript.0);
        out.time(self.at).time(self.until).u64(self.epoch).bool(self.broken);
        out.octets(&self.by_device);
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.write_body(out);
        out.octets(&self.by_network);
    }

    pub(crate) fn read(read: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            session: SessionId(read.array("session")?),
            server: read.name("server")?,
            hop: read.u16("hop")?,
            network: read.name("network")?,
            key: read.array("the network's key")?,
            device: SessionKey(read.array("the device's key")?),
            previous: read.maybe("whether there is a network before", |read| {
                read.name("the network before")
            })?,
            before: Digest(read.array("the hash of the record before")?),
            answer: Digest(read.array("answer")?),
            transcript: Digest(read.array("transcript")?),
            at: read.time("time")?,
            until: read.time("end")?,
            epoch: read.u64("epoch")?,
            broken: read.bool("whether it is broken")?,
            by_device: read.array("the device's signature")?,
            by_network: read.array("the network's signature")?,
        })
    }

    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(RECORD);
        self.write(&mut out);
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, RECORD)?;
        let record = Self::read(&mut read)?;
        read.end()?;
        Ok(record)
    }

    /// Whether it may follow `before`, the record before it, as far as anybody can tell without
    /// keys.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check<D: Directory>(
        &self,
        before: Option<&Self>,
        terms: &Terms<'_, D>,
    ) -> Result<(), Refusal> {
        // The records of the hops before it are missing with their key.
        let anchored = before.is_none() && self.broken && terms.broken && self.hop > 1;
        let first = if anchored { self.hop } else { 1 };
        let expected = before.map_or(first, |before| before.hop.saturating_add(1));
        let previous = before.map(|before| &before.network);
        let fault = if self.server != *terms.server {
            Why::OtherServer
        } else if self.session != terms.session
            || self.session != SessionId::of(&self.device, &self.server)
        {
            Why::OtherSession
        } else if self.hop != expected {
            Why::OutOfOrder { found: self.hop, expected }
        } else if self.hop > MAX_HOPS {
            Why::TooMany
        } else if !anchored && self.before != before.map_or_else(|| self.own_root(), Self::digest) {
            Why::NotThatBefore
        } else if !anchored && self.previous.as_ref() != previous {
            Why::NotFromThere
        } else if before.is_some_and(|before| self.is_older(before, terms)) {
            Why::Untimely
        } else {
            return self.check_signatures().and_then(|()| self.still_good(terms));
        };
        Err(fault.at(expected))
    }

    /// Whether what may change still speaks for it: its network's standing, and time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn still_good<D: Directory>(&self, terms: &Terms<'_, D>) -> Result<(), Refusal> {
        let (directory, now) = (terms.directory, terms.now);
        let fault = match directory.standing(&self.network, &self.key) {
            Standing::Unknown => Why::UnknownNetwork,
            Standing::Revoked => Why::Revoked,
            Standing::Good if self.epoch < directory.epoch() => {
                Why::OldEpoch { found: self.epoch, needed: directory.epoch() }
            }
            Standing::Good
                if self.at.0 > now.0.saturating_add(ms(terms.skew)) || self.until <= self.at =>
            {
                Why::Untimely
            }
            Standing::Good if self.until <= now => Why::Expired,
            Standing::Good if self.broken && !(terms.broken && self.hop > 1) => Why::Broken,
            Standing::Good => return Ok(()),
        };
        Err(fault.at(self.hop))
    }

    fn own_root(&self) -> Digest {
        Self::root(self.session, &self.server)
    }

    /// Whether it is older than the one before by more than clocks may be apart.
    fn is_older<D>(&self, before: &Self, terms: &Terms<'_, D>) -> bool {
        self.at.0.saturating_add(ms(terms.skew)) < before.at.0
    }

    /// What the device signed: its ticket.
    pub(crate) fn ticket(&self) -> Vec<u8> {
        let Self { previous, network, session, hop, before, answer, .. } = self;
        body(previous.as_ref(), network, *session, *hop, before, answer)
    }

    /// Whether device and network signed it, whoever they are.
    ///
    /// # Errors
    /// Who did not.
    pub fn check_signatures(&self) -> Result<(), Refusal> {
        if !verify(&self.device.0, TICKET, &self.ticket(), &self.by_device) {
            return Err(Why::Signature(Side::Device).at(self.hop));
        }
        let by_network = verify(&self.key, HOP, &self.signed(), &self.by_network);
        if by_network { Ok(()) } else { Err(Why::Signature(Side::Network).at(self.hop)) }
    }
}

pub(crate) fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Checks a list of records; the hash of the last. It begins with the first hop, or with one that is
/// broken where those are let pass.
///
/// # Errors
/// The first that is wrong, and why.
pub fn check<D: Directory>(records: &[Record], terms: &Terms<'_, D>) -> Result<Digest, Refusal> {
    let mut before = None;
    for record in records {
        record.check(before, terms)?;
        before = Some(record);
    }
    Ok(before.map_or_else(|| Record::root(terms.session, terms.server), Record::digest))
}
