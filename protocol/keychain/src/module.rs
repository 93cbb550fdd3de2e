//! A network's side of one session: what its security module does.

use std::time::Duration;

use homeward_model::{Entropy, Nai, Name, UnixTime};

use crate::error::{Refusal, Side, Why};
use crate::key::{Before, ChainKey, DeviceKey, Export, HopKey, HopShare, PpkKey, Share};
use crate::message::{
    Challenge, Demand, Digest, Fetch, Fetched, MAX_HOPS, Proof, Response, SessionId, SessionKey,
    Ticket, Welcome,
};
use crate::ppk::{Ppk, PpkId};
use crate::record::{self, Directory, Record, Terms};
use crate::server::proven;
use crate::sign::{Signer, TICKET, verify};

/// To so many networks goes the key of one hop: to the one that the device went to, and those that
/// it began with and turned away from.
pub(crate) const MOST_EXPORTS: u16 = 8;

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

/// A challenge that is open. The first answer uses it up.
#[derive(Debug)]
pub struct Question {
    challenge: Challenge,
    share: Share,
}

impl Question {
    /// A network asks. `asks` is whether it wants to be told where the device was.
    pub fn new(network: Name, asks: bool, entropy: &mut impl Entropy) -> Self {
        let share = Share::new(entropy.octets());
        let challenge = Challenge { network, nonce: entropy.octets(), share: share.public(), asks };
        Self { challenge, share }
    }

    /// What the device is sent.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }
}

/// A device in a network: one hop of one session.
#[derive(Debug)]
pub struct Visit {
    pub(crate) device: Nai,
    pub(crate) key: SessionKey,
    pub(crate) server: Name,
    pub(crate) hop: u16,
    pub(crate) network: Name,
    pub(crate) stage: Stage,
}

/// How far it has come.
#[derive(Debug)]
pub(crate) enum Stage {
    Authorised(Box<Authorised>),
    Integrated(Box<Integrated>),
}

#[derive(Debug)]
pub(crate) struct Authorised {
    pub(crate) transcript: Digest,
    pub(crate) key: HopKey,
    pub(crate) ticket: Ticket,
}

#[derive(Debug)]
pub(crate) struct Integrated {
    pub(crate) key: ChainKey,
    pub(crate) share: HopShare,
    pub(crate) welcome: Welcome,
    /// Of the hops before.
    pub(crate) records: Vec<Record>,
    /// What the key was opened by.
    pub(crate) exported: Vec<Ticket>,
    pub(crate) ppk: Option<PpkKey>,
}

impl Visit {
    /// Authorises a device that answers a question, with the key that the network shares with the
    /// device that the answer names.
    ///
    /// # Errors
    /// The device is not who it says, or says what cannot be. [`Why::NoTicket`] where it has to be
    /// asked where it was.
    pub fn authorise(
        question: Question,
        response: &Response,
        key: &DeviceKey,
    ) -> Result<Self, Refusal> {
        let Question { challenge, share } = question;
        let hop = response.hop;
        let transcript = response.transcript(&challenge);
        if key.authorise(&transcript) != response.tag {
            return Err(Why::NotAuthorised.at(hop));
        }
        if !(1..=MAX_HOPS).contains(&hop) {
            return Err(Why::TooMany.at(hop));
        }
        let shared = share.with(&response.share).ok_or(Why::NotAuthorised.at(hop))?;
        let ticket = response.ticket.clone().ok_or(Why::NoTicket.at(hop))?;
        let session = response.session();
        let fits = ticket.session == session
            && ticket.hop == hop
            && ticket.to == challenge.network
            && ticket.answer == response.answer(&challenge)
            && ticket.of.is_none() == (hop == 1);
        if !fits {
            return Err(Why::NotItsTicket.at(hop));
        }
        if !verify(&response.key.0, TICKET, &ticket.body(), &ticket.signature) {
            return Err(Why::Signature(Side::Device).at(hop));
        }
        let key = key.hop(&challenge.nonce, &shared, &transcript);
        let stage = Stage::Authorised(Box::new(Authorised { transcript, key, ticket }));
        Ok(Self {
            device: response.device.clone(),
            key: response.key,
            server: response.server.clone(),
            hop,
            network: challenge.network,
            stage,
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
        SessionId::of(&self.key, &self.server)
    }

    /// The key that the device signs by in it.
    pub fn session_key(&self) -> SessionKey {
        self.key
    }

    /// Its server.
    pub fn server(&self) -> &Name {
        &self.server
    }

    /// Which hop of the session it is.
    pub fn hop(&self) -> u16 {
        self.hop
    }

    /// What the network before is to be asked, and which that is; `None` at the first hop, and once
    /// the hop is integrated.
    pub fn fetch(&self) -> Option<(&Name, Fetch)> {
        let Stage::Authorised(at) = &self.stage else { return None };
        Some((at.ticket.of.as_ref()?, Fetch { ticket: at.ticket.clone() }))
    }

    /// Integrates the hop, once: what comes of it is [`welcome`](Self::welcome) and
    /// [`share`](Self::share).
    ///
    /// # Errors
    /// What was fetched is no chain that this hop can follow, or it is integrated already.
    pub fn integrate<D: Directory>(
        &mut self,
        previous: Previous,
        signer: &Signer,
        directory: &D,
        making: &Making,
    ) -> Result<(), Refusal> {
        let (hop, session) = (self.hop, self.session());
        if *signer.network() != self.network {
            return Err(Why::NotItsNetwork.at(hop));
        }
        let Stage::Authorised(at) = &self.stage else { return Err(Why::NoChallenge.at(hop)) };
        let (records, export) = match (previous, &at.ticket.of) {
            (Previous::None, None) => (Vec::new(), None),
            (Previous::Fetched(fetched), Some(of)) => {
                let terms = Terms {
                    session,
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
                if head != at.ticket.head || last.is_none_or(|last| last.network != *of) {
                    return Err(Why::NotThatBefore.at(hop));
                }
                (fetched.records, Some(fetched.export))
            }
            (Previous::Missing, Some(_)) => (Vec::new(), None),
            (Previous::None, Some(_)) => return Err(Why::NoKey.at(hop - 1)),
            (Previous::Fetched(_) | Previous::Missing, None) => {
                return Err(Why::OutOfOrder { found: hop, expected: 1 }.at(hop));
            }
        };
        let mut record = Record {
            session,
            server: self.server.clone(),
            hop,
            network: self.network.clone(),
            key: signer.public(),
            device: self.key,
            previous: at.ticket.of.clone(),
            before: at.ticket.head,
            answer: at.ticket.answer,
            transcript: at.transcript,
            at: making.now,
            until: UnixTime(making.now.0.saturating_add(record::ms(making.lifetime))),
            epoch: directory.epoch(),
            broken: export.is_none() && hop > 1,
            by_device: at.ticket.signature,
            by_network: [0; 64],
        };
        signer.sign(&mut record);
        let before = match &export {
            Some(export) => Before::Export(export),
            None if hop > 1 => Before::Broken,
            None => Before::Nothing,
        };
        let share = at.key.share(&self.server);
        let key = share.integrate(before, &record.digest());
        let welcome = Welcome { tag: at.key.welcome(&record.encode()), record };
        let exported = Vec::new();
        let ppk = export.map(|export| export.ppk(&session, hop, &self.network));
        let integrated = Integrated { key, share, welcome, records, exported, ppk };
        self.stage = Stage::Integrated(Box::new(integrated));
        Ok(())
    }

    fn integrated(&self) -> Result<&Integrated, Refusal> {
        match &self.stage {
            Stage::Integrated(integrated) => Ok(integrated),
            Stage::Authorised(_) => Err(Why::NoKey.at(self.hop)),
        }
    }

    /// What the device is sent; `None` before the hop is integrated.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.integrated().ok().map(|integrated| &integrated.welcome)
    }

    /// What the server is given, with the record; `None` before the hop is integrated.
    pub fn share(&self) -> Option<&HopShare> {
        self.integrated().ok().map(|integrated| &integrated.share)
    }

    /// The key of the hop, to derive traffic keys from; `None` before it is integrated.
    pub fn key(&self) -> Option<&ChainKey> {
        self.integrated().ok().map(|integrated| &integrated.key)
    }

    /// What the network may demand of the device in IKEv2; `None` where nothing was fetched: before
    /// the hop is integrated, at the first, and at one that is marked broken.
    pub fn ppk(&self) -> Option<Ppk<'_>> {
        let id = PpkId { session: self.session(), hop: self.hop };
        self.integrated().ok()?.ppk.as_ref().map(|key| Ppk { id, key })
    }

    /// Whom the key of the hop was given to.
    pub fn given_to(&self) -> impl Iterator<Item = &Name> {
        let integrated = self.integrated().ok();
        integrated.into_iter().flat_map(|at| at.exported.iter().map(|ticket| &ticket.to))
    }

    /// The records of all hops that are known, this one last.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let integrated = self.integrated().ok();
        integrated.into_iter().flat_map(|at| at.records.iter().chain([&at.welcome.record]))
    }

    /// Gives a derivative of the hop's key to the network that the device went to. `from` is who
    /// asks, as the channel has authenticated it. Who asks again is given the same; another may ask,
    /// too, that the device turned to, but not any number.
    ///
    /// # Errors
    /// It is not entitled to it.
    pub fn export(&mut self, from: &Name, fetch: &Fetch) -> Result<Fetched, Refusal> {
        let (hop, session) = (self.hop, self.session());
        let Stage::Integrated(integrated) = &mut self.stage else {
            return Err(Why::NoKey.at(hop));
        };
        let Integrated { key, welcome, records, exported, .. } = &mut **integrated;
        let (network, device, head) = (&self.network, &self.key, welcome.record.digest());
        let last = Last { network, device, session, hop, head };
        let export = last.export(key, from, &fetch.ticket, exported)?;
        let records = records.iter().chain([&welcome.record]).cloned().collect();
        Ok(Fetched { export, records })
    }

    /// Proves to the server that the network has the key of its hop.
    ///
    /// # Errors
    /// It has none, or the demand is another session's.
    pub fn prove(&self, demand: &Demand) -> Result<Proof, Refusal> {
        if demand.session != self.session() {
            return Err(Why::OtherSession.at(self.hop));
        }
        let integrated = self.integrated()?;
        let head = integrated.welcome.record.digest();
        let said = proven(Side::Network, &self.server, self.hop, head, demand);
        let tags = vec![integrated.key.confirm().prove(&said)];
        Ok(Proof { head, tags })
    }
}

/// The last hop of a chain, whose key may be asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last<'a> {
    pub(crate) network: &'a Name,
    pub(crate) device: &'a SessionKey,
    pub(crate) session: SessionId,
    pub(crate) hop: u16,
    pub(crate) head: Digest,
}

impl Last<'_> {
    /// What `from` gets for that ticket, which is noted in `exported` as the last of that network.
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
        } else if ticket.to != *from || ticket.of.as_ref() != Some(self.network) {
            Why::NotItsTicket
        } else if ticket.hop != expected {
            Why::OutOfOrder { found: ticket.hop, expected }
        } else if ticket.head != self.head {
            Why::NotThatBefore
        } else if key.ticket(&ticket.body()) != ticket.tag
            || !verify(&self.device.0, TICKET, &ticket.body(), &ticket.signature)
        {
            Why::ForgedTicket
        } else {
            // By network: one that has the device answer it again and again takes no other's place.
            exported.retain(|known| known.to != ticket.to);
            if exported.len() < usize::from(MOST_EXPORTS) {
                exported.push(ticket.clone());
                return Ok(key.export(&ticket.body()));
            }
            Why::Exported
        };
        Err(fault.at(expected))
    }
}
