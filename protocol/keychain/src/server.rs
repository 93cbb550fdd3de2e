//! The application server's side: it follows the chain of one session, and serves the device only
//! while all of it holds.

use std::collections::BTreeSet;
use std::time::Duration;

use homeward_model::{Entropy, Name, UnixTime};
use subtle::Choice;

use crate::codec::Writer;
use crate::error::{Refusal, Side, Why};
use crate::key::{ApplicationKey, Before, ChainKey, ConfirmKey, HopShare};
use crate::message::{
    Demand, Digest, Fetch, Fetched, Flow, MAX_HOPS, Proof, SessionId, Tag, Ticket,
};
use crate::module::Last;
use crate::record::{Directory, Record, Terms};

/// What the server lets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How far clocks may be apart.
    pub skew: Duration,
    /// Whether hops are admitted, and marked, whose key of the hop before is missing.
    pub broken: bool,
    /// The most hops of a chain; never more than [`MAX_HOPS`].
    pub hops: u16,
    /// Where a chain may begin; `None` is anywhere. The first network knows all keys that there are
    /// then, and could begin a chain without the device: best it is the server's own.
    pub first: Option<BTreeSet<Name>>,
}

impl Default for Policy {
    /// Five seconds, nothing broken, 64 hops, from anywhere.
    fn default() -> Self {
        Self { skew: Duration::from_secs(5), broken: false, hops: MAX_HOPS, first: None }
    }
}

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// How many hops it has.
    pub hops: u16,
    /// What is admitted.
    pub flow: Flow,
    /// Those whose key of the hop before is missing.
    pub broken: Vec<u16>,
}

/// A demand that was made, and not answered yet. There is one of it, with whoever asks: others that
/// ask meanwhile take nothing away from it.
#[derive(Debug)]
pub struct Asked(Demand);

impl std::ops::Deref for Asked {
    type Target = Demand;

    fn deref(&self) -> &Demand {
        &self.0
    }
}

/// So many hops may be on their way: begun by a network, and not yet proven by the device.
pub(crate) const MOST_NEXT: u16 = 4;

/// A session, as the server follows it.
///
/// A hop that a network tells of is on its way until the device says that it made it: by a proof, or
/// by going on from there. Until then the device may as well still be where it was.
#[derive(Debug)]
pub struct Server {
    pub(crate) name: Name,
    pub(crate) session: SessionId,
    pub(crate) policy: Policy,
    /// Those that the device made.
    pub(crate) hops: Vec<Hop>,
    /// Those that it may be making: each follows the last of `hops`.
    pub(crate) next: Vec<Hop>,
}

#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) record: Record,
    pub(crate) head: Digest,
    pub(crate) confirm: ConfirmKey,
    /// Gone when it is neither the last nor on its way.
    pub(crate) key: Option<ChainKey>,
    /// What its key was opened by.
    pub(crate) exported: Vec<Ticket>,
}

impl Server {
    /// A session that no network is in yet.
    pub fn new(name: Name, session: SessionId, policy: Policy) -> Self {
        let (hops, next) = (Vec::new(), Vec::new());
        Self { name, session, policy, hops, next }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The records of the hops that the device made: where it was, who says so, and when.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.hops.iter().map(|hop| &hop.record)
    }

    /// The records of the hops that are on their way.
    pub fn begun(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.next.iter().map(|hop| &hop.record)
    }

    /// The key of the last hop, to derive traffic keys from.
    pub fn key(&self) -> Option<&ChainKey> {
        self.hops.last().and_then(|hop| hop.key.as_ref())
    }

    /// The key that the device has in [its place](crate::Device::application), at the last hop that it
    /// made.
    pub fn application(&self, purpose: &str) -> Option<ApplicationKey> {
        let confirm = self.hops.iter().map(|hop| &hop.confirm);
        self.key().map(|key| key.application(confirm, purpose))
    }

    /// A network has integrated the next hop. `from` is who says so, as the channel has
    /// authenticated it. One that is said again changes nothing. Of those that are on their way a
    /// few are kept: a network that a device turned away from cannot hold it up.
    ///
    /// # Errors
    /// It is not the next hop of this session, or not to be trusted. All is as it was.
    pub fn extend<D: Directory>(
        &mut self,
        from: &Name,
        record: Record,
        share: &HopShare,
        directory: &D,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        if record.network != *from {
            return Err(Why::NotItsNetwork.at(record.hop));
        }
        if self.hops.iter().chain(&self.next).any(|hop| hop.record == record) {
            return Ok(());
        }
        // Of one that is on its way, if the device has gone on from there: it signed that.
        let made = self.next.iter().position(|hop| hop.head == record.before);
        let last = made.and_then(|made| self.next.get(made)).or(self.hops.last());
        let next = last.map_or(0, |last| last.record.hop).saturating_add(1);
        if record.hop != next {
            return Err(Why::OutOfOrder { found: record.hop, expected: next }.at(next));
        }
        if next > self.policy.hops.min(MAX_HOPS) {
            return Err(Why::TooMany.at(next));
        }
        let may_begin = |first: &BTreeSet<Name>| first.contains(&record.network);
        if last.is_none() && !self.policy.first.as_ref().is_none_or(may_begin) {
            return Err(Why::NotFirst.at(next));
        }
        record.check(last.map(|last| &last.record), &self.terms(directory, now))?;
        let export = match last {
            Some(Hop { key: Some(key), .. }) if !record.broken => {
                // As the device has made its ticket out, and the network before has opened it.
                Some(key.export(&record.ticket()))
            }
            _ => None,
        };
        let before = match &export {
            Some(export) => Before::Export(export),
            None if record.broken => Before::Broken,
            None => Before::Nothing,
        };
        let head = record.digest();
        let key = share.integrate(before, &head);
        if let Some(made) = made {
            self.make(made);
        } else if self.next.len() >= usize::from(MOST_NEXT) {
            // One of its own, if it has any there: a network crowds out no other.
            let own = self.next.iter().position(|hop| hop.record.network == *from);
            self.next.remove(own.unwrap_or(0));
        }
        let (confirm, exported) = (key.confirm(), Vec::new());
        self.next.push(Hop { record, head, confirm, key: Some(key), exported });
        Ok(())
    }

    /// The device made that hop of `next`: the others it turned away from.
    fn make(&mut self, at: usize) {
        if let Some(last) = self.hops.last_mut() {
            last.key = None;
        }
        let made = self.next.swap_remove(at);
        self.next.clear();
        self.hops.push(made);
    }

    /// Gives a derivative of the key of the hop that the ticket names to the network that the device
    /// went to, in the place of the network before: it is found by where it is, not by what that one
    /// is called (H4). As [`Visit::export`](crate::Visit::export).
    ///
    /// # Errors
    /// The network is not entitled to it.
    pub fn export(&mut self, from: &Name, fetch: &Fetch) -> Result<Fetched, Refusal> {
        let session = self.session;
        let made: Vec<Record> = self.records().cloned().collect();
        let on_its_way = self.next.iter_mut().find(|hop| hop.head == fetch.ticket.head);
        let begun = on_its_way.is_some();
        let Some(hop) = on_its_way.or(self.hops.last_mut()) else { return Err(Why::NoKey.at(0)) };
        let Hop { record, head, key: Some(key), exported, .. } = hop else {
            return Err(Why::NoKey.at(hop.record.hop));
        };
        let (network, device) = (&record.network, &record.device);
        let last = Last { network, device, session, hop: record.hop, head: *head };
        let export = last.export(key, from, &fetch.ticket, exported)?;
        let records = made.into_iter().chain(begun.then(|| record.clone())).collect();
        Ok(Fetched { export, records })
    }

    /// Asks for proof.
    pub fn demand(&self, flow: Flow, entropy: &mut impl Entropy) -> Asked {
        Asked(Demand { session: self.session, nonce: entropy.octets(), flow })
    }

    /// The network that proves beside the device, if the device proves by that head.
    pub fn network(&self, device: &Proof) -> Option<&Name> {
        let mut known = self.next.iter().chain(self.hops.last());
        known.find(|hop| hop.head == device.head).map(|hop| &hop.record.network)
    }

    /// Whether what was admitted still may be: each network's standing, and time.
    ///
    /// # Errors
    /// The first hop that does not hold any more, and why.
    pub fn stands<D: Directory>(&self, directory: &D, now: UnixTime) -> Result<(), Refusal> {
        let terms = self.terms(directory, now);
        self.records().try_for_each(|record| record.still_good(&terms))
    }

    /// Checks the proofs of the device and of the network that it is in. What was asked is good for
    /// one check, whatever comes of it. All tags are compared, however many are wrong.
    ///
    /// # Errors
    /// The first hop that does not hold, and why.
    pub fn check<D: Directory>(
        &mut self,
        Asked(demand): Asked,
        device: &Proof,
        network: &Proof,
        directory: &D,
        now: UnixTime,
    ) -> Result<Admitted, Refusal> {
        if demand.session != self.session {
            return Err(Why::OtherSession.at(0));
        }
        let next = self.next.iter().position(|hop| hop.head == device.head);
        let chain = || self.hops.iter().chain(next.and_then(|next| self.next.get(next)));
        let hops = u16::try_from(chain().count()).unwrap_or(u16::MAX);
        let Some(last) = chain().last().filter(|last| last.head == device.head) else {
            return Err(self.elsewhere(device));
        };
        let said = |side, hop| proven(side, &self.name, hop, last.head, &demand);
        let none = Tag([0; 32]);
        let mut right = Choice::from(1);
        let mut first = 0u16;
        for (hop, of) in (1u16..).zip(chain()) {
            let tag = device.tags.get(usize::from(hop) - 1);
            // None is like a wrong one.
            let good = of.confirm.prove(&said(Side::Device, hop)).is(tag.unwrap_or(&none));
            // The first that is wrong, without a branch on it.
            let newly = right & !good;
            first = subtle::ConditionallySelectable::conditional_select(&first, &hop, newly);
            right &= good;
        }
        let own = match network.tags.as_slice() {
            [tag] => last.confirm.prove(&said(Side::Network, hops)).is(tag),
            _ => Choice::from(0),
        };
        if !bool::from(right) {
            return Err(Why::NotProven(Side::Device).at(first));
        }
        if device.tags.len() != usize::from(hops) {
            let found = u16::try_from(device.tags.len()).unwrap_or(u16::MAX);
            return Err(Why::OutOfOrder { found, expected: hops }.at(hops.saturating_add(1)));
        }
        if !bool::from(own) {
            return Err(Why::NotProven(Side::Network).at(hops));
        }
        let terms = self.terms(directory, now);
        chain().try_for_each(|hop| hop.record.still_good(&terms))?;
        let broken = chain().map(|hop| &hop.record).filter(|record| record.broken);
        let broken = broken.map(|record| record.hop).collect();
        if let Some(next) = next {
            self.make(next);
        }
        Ok(Admitted { hops, flow: demand.flow, broken })
    }

    /// Why a proof by that head is none: it is of where the device was, or of where nobody said that
    /// it is.
    fn elsewhere(&self, device: &Proof) -> Refusal {
        let last = self.hops.last().map_or(0, |last| last.record.hop);
        match self.hops.iter().find(|hop| hop.head == device.head) {
            Some(Hop { record, .. }) => {
                Why::OutOfOrder { found: record.hop, expected: last }.at(record.hop)
            }
            None => {
                let found = u16::try_from(device.tags.len()).unwrap_or(u16::MAX);
                Why::NotTold.at(found.max(1))
            }
        }
    }

    fn terms<'a, D>(&'a self, directory: &'a D, now: UnixTime) -> Terms<'a, D> {
        let Policy { skew, broken, .. } = self.policy;
        Terms { session: self.session, server: &self.name, directory, now, skew, broken }
    }
}

/// What a proof is of: who proves which hop of which chain, to whom, and that it was asked now.
pub(crate) fn proven(
    side: Side,
    server: &Name,
    hop: u16,
    head: Digest,
    demand: &Demand,
) -> Vec<u8> {
    let mut out = Writer::default();
    out.u8(match side {
        Side::Device => 1,
        Side::Network => 2,
    });
    out.text(server.as_str()).u16(hop).octets(&head.0).octets(&demand.encode());
    out.0
}
