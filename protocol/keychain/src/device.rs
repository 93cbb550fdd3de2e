//! The device's side.

use homeward_model::{Entropy, Nai, Name};

use crate::error::{Refusal, Side, Why};
use crate::key::{Before, ChainKey, ConfirmKey, DeviceKey, Export, HopShare};
use crate::message::{
    Challenge, Demand, Digest, MAX_HOPS, Proof, Response, SessionId, Tag, Ticket,
};
use crate::record::Record;
use crate::server::proven;

/// A device in one session with one server.
#[derive(Debug)]
pub struct Device {
    session: SessionId,
    server: Name,
    /// By hop.
    confirm: Vec<ConfirmKey>,
    /// The last hop.
    at: Option<At>,
    pending: Option<Pending>,
    /// Of the last demand.
    counter: u64,
}

/// Where it is.
#[derive(Debug)]
struct At {
    network: Name,
    key: ChainKey,
    head: Digest,
}

/// A challenge that was answered.
#[derive(Debug)]
struct Pending {
    network: Name,
    nonce: [u8; 32],
    transcript: Digest,
    share: HopShare,
    export: Option<Export>,
}

impl Device {
    /// One that has been nowhere yet.
    pub fn new(session: SessionId, server: Name) -> Self {
        Self { session, server, confirm: Vec::new(), at: None, pending: None, counter: 0 }
    }

    /// How many hops it has made.
    pub fn hops(&self) -> u16 {
        u16::try_from(self.confirm.len()).unwrap_or(u16::MAX)
    }

    /// The key of the last hop, to derive traffic keys from; `None` before the first.
    pub fn key(&self) -> Option<&ChainKey> {
        self.at.as_ref().map(|at| &at.key)
    }

    /// Answers a network's challenge as `name`, with the key that it shares with that network. A
    /// challenge answered before is given up.
    ///
    /// # Errors
    /// It has made as many hops as there may be.
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
        let mut export = None;
        let ticket = self.at.as_ref().map(|at| {
            let mut ticket = Ticket {
                of: at.network.clone(),
                to: challenge.network.clone(),
                session: self.session,
                hop,
                head: at.head,
                nonce: challenge.nonce,
                tag: Tag([0; 32]),
            };
            let body = ticket.body();
            ticket.tag = at.key.ticket(&body);
            export = Some(at.key.export(&body));
            ticket
        });
        let mut response = Response {
            device: name,
            session: self.session,
            server: self.server.clone(),
            hop,
            nonce: entropy.octets(),
            ticket,
            tag: Tag([0; 32]),
        };
        let transcript = response.transcript(challenge);
        response.tag = key.authorise(&transcript);
        let share = key.hop(challenge, &transcript).share(&self.server);
        let (network, nonce) = (challenge.network.clone(), challenge.nonce);
        self.pending = Some(Pending { network, nonce, transcript, share, export });
        Ok(response)
    }

    /// The network says that it has integrated the hop: so does the device. `broken` is whether it
    /// goes on without the key of the hop before.
    ///
    /// Who signed the record is the server's to judge: a record that is not the network's own leads
    /// to a key that the network does not have.
    ///
    /// # Errors
    /// The record is not of the hop that was begun. All is as it was.
    pub fn integrate(&mut self, record: &Record, broken: bool) -> Result<(), Refusal> {
        let hop = self.hops() + 1;
        let pending = self.pending.as_ref().ok_or(Why::NoChallenge.at(hop))?;
        let root = || Record::root(self.session, &self.server);
        let head = self.at.as_ref().map_or_else(root, |at| at.head);
        let fault = if record.session != self.session {
            Why::OtherSession
        } else if record.server != self.server {
            Why::OtherServer
        } else if record.hop != hop {
            Why::OutOfOrder { found: record.hop, expected: hop }
        } else if record.before != head {
            Why::NotThatBefore
        } else if record.network != pending.network {
            Why::NotItsNetwork
        } else if record.transcript != pending.transcript || record.nonce != pending.nonce {
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
            let key = pending.share.integrate(before, &head);
            self.confirm.push(key.confirm());
            self.at = Some(At { network: pending.network.clone(), key, head });
            self.pending = None;
            return Ok(());
        };
        Err(fault.at(hop))
    }

    /// Proves to the server that it has the key of each hop.
    ///
    /// # Errors
    /// It is another session's demand, or no newer than the last: nothing is proven twice.
    pub fn prove(&mut self, demand: &Demand) -> Result<Proof, Refusal> {
        if demand.session != self.session {
            return Err(Why::OtherSession.at(0));
        }
        let Some(at) = self.at.as_ref().filter(|_| demand.counter > self.counter) else {
            return Err(Why::NotAsked.at(0));
        };
        self.counter = demand.counter;
        let of = |(hop, key): (u16, &ConfirmKey)| {
            key.prove(&proven(Side::Device, &self.server, hop, at.head, demand))
        };
        Ok(Proof { counter: demand.counter, tags: (1..).zip(&self.confirm).map(of).collect() })
    }
}
