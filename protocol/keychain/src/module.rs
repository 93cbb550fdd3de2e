//! A network's side of one session: what its security module does.

use std::time::Duration;

use homeward_model::{Nai, Name, UnixTime};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::error::{Refusal, Side, Why};
use crate::key::{Before, ChainKey, DeviceKey, Export, HopShare};
use crate::message::{
    Challenge, Demand, Digest, Fetch, Fetched, MAX_HOPS, Proof, Response, SessionId, Ticket,
};
use crate::record::{self, Directory, Record, Terms};
use crate::server::proven;

/// To so many networks goes the key of one hop: to the one that the device went to, and those that
/// it began with and turned away from.
const MOST_EXPORTS: usize = 8;

/// Signs hop records for one network.
#[derive(Debug)]
pub struct Signer {
    network: Name,
    pair: Ed25519KeyPair,
}

/// The octets are no seed of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the seed of an Ed25519 key: 32 octets are needed")]
pub struct NoSeed;

impl Signer {
    /// With the key of that seed (RFC 8032 5.1.5): 32 random octets.
    ///
    /// # Errors
    /// The library refuses it.
    pub fn new(network: Name, seed: &[u8; 32]) -> Result<Self, NoSeed> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| NoSeed)?;
        Ok(Self { network, pair })
    }

    /// Whose it is.
    pub fn network(&self) -> &Name {
        &self.network
    }

    /// The key that others know the network by.
    pub fn public(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().first_chunk().copied().unwrap_or_default()
    }

    pub(crate) fn sign(&self, record: &mut Record) {
        let signature = self.pair.sign(&record.signed());
        record.signature = signature.as_ref().first_chunk().copied().unwrap_or([0; 64]);
    }
}

/// What came of asking the network before.
#[derive(Debug)]
pub enum Previous {
    /// There is none: it is the first hop.
    None,
    /// It gave its key.
    Fetched(Fetched),
    /// It could not be reached, and the policy is to go on without.
    Missing,
}

/// When and how a record is made.
#[derive(Debug, Clone, Copy)]
pub struct Making {
    /// What time it is.
    pub now: UnixTime,
    /// For how long the hop is good.
    pub lifetime: Duration,
    /// How far clocks may be apart.
    pub skew: Duration,
    /// Whether earlier hops may be broken.
    pub broken: bool,
}

/// A device in a network: one hop of one session.
#[derive(Debug)]
pub struct Visit {
    device: Nai,
    session: SessionId,
    server: Name,
    hop: u16,
    network: Name,
    nonce: [u8; 32],
    transcript: Digest,
    share: HopShare,
    ticket: Option<Ticket>,
    integrated: Option<Integrated>,
}

#[derive(Debug)]
struct Integrated {
    key: ChainKey,
    head: Digest,
    /// Of all hops, this one last.
    records: Vec<Record>,
    /// What the key was opened by.
    exported: Vec<Ticket>,
}

impl Visit {
    /// Authorises a device that answers `challenge`, which is used up by that, with the key that
    /// the network shares with the device that the answer names.
    ///
    /// # Errors
    /// The device is not who it says, or says what cannot be.
    pub fn authorise(
        challenge: Challenge,
        response: &Response,
        key: &DeviceKey,
    ) -> Result<Self, Refusal> {
        let hop = response.hop;
        let transcript = response.transcript(&challenge);
        if key.authorise(&transcript) != response.tag {
            return Err(Why::NotAuthorised.at(hop));
        }
        if !(1..=MAX_HOPS).contains(&hop) {
            return Err(Why::TooMany.at(hop));
        }
        let fits = |ticket: &Ticket| {
            ticket.session == response.session
                && ticket.hop == hop
                && ticket.to == challenge.network
                && ticket.nonce == challenge.nonce
        };
        match &response.ticket {
            None if hop > 1 => return Err(Why::NoTicket.at(hop)),
            Some(_) if hop == 1 => return Err(Why::NotItsTicket.at(hop)),
            Some(ticket) if !fits(ticket) => return Err(Why::NotItsTicket.at(hop)),
            _ => {}
        }
        Ok(Self {
            device: response.device.clone(),
            session: response.session,
            server: response.server.clone(),
            hop,
            share: key.hop(&challenge, &transcript).share(&response.server),
            network: challenge.network,
            nonce: challenge.nonce,
            transcript,
            ticket: response.ticket.clone(),
            integrated: None,
        })
    }

    /// Who it is, in this network.
    pub fn device(&self) -> &Nai {
        &self.device
    }

    /// The network.
    pub fn network(&self) -> &Name {
        &self.network
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Its server.
    pub fn server(&self) -> &Name {
        &self.server
    }

    /// Which hop of the session it is.
    pub fn hop(&self) -> u16 {
        self.hop
    }

    /// What the network before is to be asked, and which that is; `None` at the first hop.
    pub fn fetch(&self) -> Option<(&Name, Fetch)> {
        let ticket = self.ticket.as_ref()?;
        Some((&ticket.of, Fetch { ticket: ticket.clone() }))
    }

    /// Integrates the hop: the record goes to the device and, with the share, to the server.
    ///
    /// # Errors
    /// What was fetched is no chain that this hop can follow.
    pub fn integrate<D: Directory>(
        &mut self,
        previous: Previous,
        signer: &Signer,
        directory: &D,
        making: &Making,
    ) -> Result<(Record, HopShare), Refusal> {
        let hop = self.hop;
        if signer.network != self.network {
            return Err(Why::NotItsNetwork.at(hop));
        }
        let root = || Record::root(self.session, &self.server);
        let (mut records, export, head) = match (previous, &self.ticket) {
            (Previous::None, None) => (Vec::new(), None, root()),
            (Previous::Fetched(fetched), Some(ticket)) => {
                let terms = Terms {
                    session: self.session,
                    server: &self.server,
                    directory,
                    now: making.now,
                    skew: making.skew,
                    broken: making.broken,
                };
                let head = record::check(&fetched.records, &terms)?;
                let last = fetched.records.last();
                if last.is_none_or(|last| last.hop.saturating_add(1) != hop) {
                    let found = last.map_or(0, |last| last.hop);
                    return Err(Why::OutOfOrder { found, expected: hop - 1 }.at(hop - 1));
                }
                if head != ticket.head || last.is_none_or(|last| last.network != ticket.of) {
                    return Err(Why::NotThatBefore.at(hop));
                }
                (fetched.records, Some(fetched.export), head)
            }
            (Previous::Missing, Some(ticket)) => (Vec::new(), None, ticket.head),
            (Previous::None, Some(_)) => return Err(Why::NoKey.at(hop - 1)),
            (Previous::Fetched(_) | Previous::Missing, None) => {
                return Err(Why::OutOfOrder { found: hop, expected: 1 }.at(hop));
            }
        };
        let mut record = Record {
            session: self.session,
            server: self.server.clone(),
            hop,
            network: self.network.clone(),
            key: signer.public(),
            before: head,
            nonce: self.nonce,
            transcript: self.transcript,
            at: making.now,
            until: UnixTime(making.now.0.saturating_add(record::ms(making.lifetime))),
            epoch: directory.epoch(),
            broken: export.is_none() && hop > 1,
            signature: [0; 64],
        };
        signer.sign(&mut record);
        let before = match &export {
            Some(export) => Before::Export(export),
            None if hop > 1 => Before::Broken,
            None => Before::Nothing,
        };
        let head = record.digest();
        let key = self.share.integrate(before, &head);
        records.push(record.clone());
        self.integrated = Some(Integrated { key, head, records, exported: Vec::new() });
        Ok((record, self.share.clone()))
    }

    /// The key of the hop, to derive traffic keys from; `None` before it is integrated.
    pub fn key(&self) -> Option<&ChainKey> {
        self.integrated.as_ref().map(|integrated| &integrated.key)
    }

    /// Gives a derivative of the hop's key to the network that the device went to. `from` is who
    /// asks, as the channel has authenticated it. Who asks again is given the same; another may ask,
    /// too, that the device turned to, but not any number.
    ///
    /// # Errors
    /// It is not entitled to it.
    pub fn export(&mut self, from: &Name, fetch: &Fetch) -> Result<Fetched, Refusal> {
        let hop = self.hop;
        let integrated = self.integrated.as_mut().ok_or(Why::NoKey.at(hop))?;
        let last =
            Last { network: &self.network, session: self.session, hop, head: integrated.head };
        let (key, exported) = (&integrated.key, &mut integrated.exported);
        let export = last.export(key, from, &fetch.ticket, exported)?;
        Ok(Fetched { export, records: integrated.records.clone() })
    }

    /// Proves to the server that the network has the key of its hop.
    ///
    /// # Errors
    /// It has none, or the demand is another session's.
    pub fn prove(&self, demand: &Demand) -> Result<Proof, Refusal> {
        if demand.session != self.session {
            return Err(Why::OtherSession.at(self.hop));
        }
        let integrated = self.integrated.as_ref().ok_or(Why::NoKey.at(self.hop))?;
        let said = proven(Side::Network, &self.server, self.hop, integrated.head, demand);
        let tags = vec![integrated.key.confirm().prove(&said)];
        Ok(Proof { counter: demand.counter, tags })
    }
}

/// The last hop of a chain, whose key may be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last<'a> {
    pub(crate) network: &'a Name,
    pub(crate) session: SessionId,
    pub(crate) hop: u16,
    pub(crate) head: Digest,
}

impl Last<'_> {
    /// What `from` gets for that ticket, which is noted in `exported`.
    pub(crate) fn export(
        &self,
        key: &ChainKey,
        from: &Name,
        ticket: &Ticket,
        exported: &mut Vec<Ticket>,
    ) -> Result<Export, Refusal> {
        let expected = self.hop.saturating_add(1);
        let fault = if ticket.session != self.session {
            Why::OtherSession
        } else if ticket.to != *from || ticket.of != *self.network {
            Why::NotItsTicket
        } else if ticket.hop != expected {
            Why::OutOfOrder { found: ticket.hop, expected }
        } else if ticket.head != self.head {
            Why::NotThatBefore
        } else if key.ticket(&ticket.body()) != ticket.tag {
            Why::ForgedTicket
        } else if !exported.contains(ticket) && exported.len() >= MOST_EXPORTS {
            Why::Exported
        } else {
            if !exported.contains(ticket) {
                exported.push(ticket.clone());
            }
            return Ok(key.export(&ticket.body()));
        };
        Err(fault.at(expected))
    }
}
