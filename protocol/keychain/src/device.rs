//! The device's side.

use homeward_model::{Entropy, Nai, Name};

use crate::error::{Refusal, Side, Why};
use crate::key::{
    ApplicationKey, Before, ChainKey, ConfirmKey, DeviceKey, Export, HopKey, PpkKey, Share,
};
use crate::message::{
    Challenge, Demand, Digest, Flow, MAX_HOPS, Proof, Response, SessionId, Tag, Ticket, Welcome,
};
use crate::ppk::{Ppk, PpkId};
use crate::record::Record;
use crate::server::proven;
use crate::sign::{NoSeed, SessionSigner};

/// A device in one session with one server.
#[derive(Debug)]
pub struct Device {
    pub(crate) signer: SessionSigner,
    pub(crate) session: SessionId,
    pub(crate) server: Name,
    /// Whether it says where it was before it is asked (H2).
    pub(crate) volunteers: bool,
    /// By hop.
    pub(crate) confirm: Vec<ConfirmKey>,
    /// The last hop.
    pub(crate) at: Option<At>,
    pending: Option<Pending>,
}

/// Where it is.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) network: Name,
    pub(crate) key: ChainKey,
    pub(crate) head: Digest,
    pub(crate) ppk: Option<PpkKey>,
}

/// A challenge that was answered.
#[derive(Debug)]
struct Pending {
    network: Name,
    answer: Digest,
    transcript: Digest,
    key: HopKey,
    export: Option<Export>,
}

impl Device {
    /// One that has been nowhere yet. The session's key is made of `seed`, 32 random octets.
    ///
    /// # Errors
    /// The library refuses the seed.
    pub fn new(seed: [u8; 32], server: Name, volunteers: bool) -> Result<Self, NoSeed> {
        let signer = SessionSigner::new(seed)?;
        let session = SessionId::of(&signer.public(), &server);
        let (confirm, at, pending) = (Vec::new(), None, None);
        Ok(Self { signer, session, server, volunteers, confirm, at, pending })
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Its server.
    pub fn server(&self) -> &Name {
        &self.server
    }

    /// How many hops it has made.
    pub fn hops(&self) -> u16 {
        u16::try_from(self.confirm.len()).unwrap_or(u16::MAX)
    }

    /// The network of the last hop; `None` before the first.
    pub fn network(&self) -> Option<&Name> {
        self.at.as_ref().map(|at| &at.network)
    }

    /// The key of the last hop, to derive traffic keys from; `None` before the first.
    pub fn key(&self) -> Option<&ChainKey> {
        self.at.as_ref().map(|at| &at.key)
    }

    /// What the network of the last hop may demand in IKEv2; `None` where nothing was fetched: before
    /// the first hop, at it, and at one that is marked broken.
    pub fn ppk(&self) -> Option<Ppk<'_>> {
        let id = PpkId { session: self.session, hop: self.hops() };
        self.at.as_ref()?.ppk.as_ref().map(|key| Ppk { id, key })
    }

    /// A key that the server has, too, and from the second hop on no network by itself; `None` before
    /// the first. It is another with each hop. `purpose` says what for, such as `digest`.
    pub fn application(&self, purpose: &str) -> Option<ApplicationKey> {
        self.at.as_ref().map(|at| at.key.application(self.confirm.iter(), purpose))
    }

    /// Answers a network's challenge as `name`, with the key that it shares with that network. A
    /// challenge answered before is given up.
    ///
    /// # Errors
    /// It has made as many hops as there may be, or the challenge's share is none.
    pub fn answer(
        &mut self,
        challenge: &Challenge,
        name: Nai,
        key: &DeviceKey,
        entropy: &mut impl Entropy,
    ) -> Result<Response, Refusal> {
        let hop = self.hops() + 1;
        if hop > MAX_HOPS {
            return Err(Why::TooMany.at(hop));
        }
        let share = Share::new(entropy.octets());
        let shared = share.with(&challenge.share).ok_or(Why::NoChallenge.at(hop))?;
        let mut response = Response {
            device: name,
            key: self.signer.public(),
            server: self.server.clone(),
            hop,
            share: share.public(),
            ticket: None,
            tag: Tag([0; 32]),
        };
        let (network, answer) = (challenge.network.clone(), response.answer(challenge));
        let tells = self.volunteers || challenge.asks;
        let (ticket, export) = tells.then(|| self.ticket(&network, hop, answer)).unzip();
        response.ticket = ticket;
        let transcript = response.transcript(challenge);
        response.tag = key.authorise(&transcript);
        let key = key.hop(&challenge.nonce, &shared, &transcript);
        // Without a ticket there is nothing to integrate yet: the network has to ask.
        self.pending = export.map(|export| Pending { network, answer, transcript, key, export });
        Ok(response)
    }

    fn ticket(&self, to: &Name, hop: u16, answer: Digest) -> (Ticket, Option<Export>) {
        let mut ticket = Ticket {
            of: self.network().cloned(),
            to: to.clone(),
            session: self.session,
            hop,
            head: self.head(),
            answer,
            signature: [0; 64],
            tag: Tag([0; 32]),
        };
        self.signer.sign(&mut ticket);
        let Some(at) = &self.at else { return (ticket, None) };
        let body = ticket.body();
        ticket.tag = at.key.ticket(&body);
        (ticket, Some(at.key.export(&body)))
    }

    /// The hash of the last record.
    fn head(&self) -> Digest {
        let root = || Record::root(self.session, &self.server);
        self.at.as_ref().map_or_else(root, |at| at.head)
    }

    /// The network says that it has integrated the hop: so does the device. `broken` is whether it
    /// goes on without the key of the hop before.
    ///
    /// Who signed the record is the server's to judge: that it is by who knows the key that the
    /// device shares with the network, is shown by the tag.
    ///
    /// # Errors
    /// It is not the network's, or not of the hop that was begun. All is as it was.
    pub fn integrate(&mut self, welcome: &Welcome, broken: bool) -> Result<(), Refusal> {
        let hop = self.hops() + 1;
        let record = &welcome.record;
        let pending = self.pending.as_ref().ok_or(Why::NoChallenge.at(hop))?;
        let fault = if pending.key.welcome(&record.encode()) != welcome.tag {
            Why::NotTheNetwork
        } else if record.session != self.session {
            Why::OtherSession
        } else if record.server != self.server {
            Why::OtherServer
        } else if record.hop != hop {
            Why::OutOfOrder { found: record.hop, expected: hop }
        } else if record.before != self.head() {
            Why::NotThatBefore
        } else if record.network != pending.network {
            Why::NotItsNetwork
        } else if record.transcript != pending.transcript || record.answer != pending.answer {
            Why::NoChallenge
        } else if record.broken && !(broken && hop > 1) {
            Why::Broken
        } else {
            let before = match &pending.export {
                None => Before::Nothing,
                Some(_) if record.broken => Before::Broken,
                Some(export) => Before::Export(export),
            };
            let head = record.digest();
            let key = pending.key.share(&self.server).integrate(before, &head);
            self.confirm.push(key.confirm());
            let network = pending.network.clone();
            let ppk = match before {
                Before::Export(export) => Some(export.ppk(&self.session, hop, &network)),
                Before::Nothing | Before::Broken => None,
            };
            self.at = Some(At { network, key, head, ppk });
            self.pending = None;
            return Ok(());
        };
        Err(fault.at(hop))
    }

    /// Proves to the server that it has the key of each hop, so that `flow` is admitted. Who asked is
    /// not looked at: the proof is good for this demand alone, which only its server can check.
    ///
    /// # Errors
    /// It is another session's demand, or for another flow; or the device has been nowhere yet.
    pub fn prove(&self, demand: &Demand, flow: &Flow) -> Result<Proof, Refusal> {
        if demand.session != self.session {
            return Err(Why::OtherSession.at(0));
        }
        if demand.flow != *flow {
            return Err(Why::OtherFlow.at(0));
        }
        let at = self.at.as_ref().ok_or(Why::NoKey.at(0))?;
        let of = |(hop, key): (u16, &ConfirmKey)| {
            key.prove(&proven(Side::Device, &self.server, hop, at.head, demand))
        };
        let tags = (1..).zip(&self.confirm).map(of).collect();
        Ok(Proof { head: at.head, tags })
    }
}
