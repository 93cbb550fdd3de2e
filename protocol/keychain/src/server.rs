//! The application server's side: it follows the chain of one session, and serves the device only
//! while all of it holds.

use std::time::Duration;

use homeward_model::{Entropy, Name, UnixTime};
use subtle::Choice;

use crate::codec::Writer;
use crate::error::{Refusal, Side, Why};
use crate::key::{Before, ChainKey, ConfirmKey, HopShare};
use crate::message::{Demand, Digest, Fetch, Fetched, MAX_HOPS, Proof, SessionId, Tag, Ticket};
use crate::module::Last;
use crate::record::{Directory, Record, Terms};

/// What the server lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How far clocks may be apart.
    pub skew: Duration,
    /// Whether hops are admitted, and marked, whose key of the hop before is missing.
    pub broken: bool,
    /// The most hops of a chain; never more than [`MAX_HOPS`].
    pub hops: u16,
}

impl Default for Policy {
    /// Five seconds, nothing broken, 64 hops.
    fn default() -> Self {
        Self { skew: Duration::from_secs(5), broken: false, hops: MAX_HOPS }
    }
}

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// How many hops it has.
    pub hops: u16,
    /// Those whose key of the hop before is missing.
    pub broken: Vec<u16>,
}

/// A session, as the server follows it.
#[derive(Debug)]
pub struct Server {
    name: Name,
    session: SessionId,
    policy: Policy,
    hops: Vec<Hop>,
    /// Of the last hop.
    key: Option<ChainKey>,
    /// Of the hop before it, until the device has proven the last; older ones are gone.
    before: Option<ChainKey>,
    exported: Vec<Ticket>,
    counter: u64,
    open: Option<Demand>,
}

#[derive(Debug)]
struct Hop {
    record: Record,
    confirm: ConfirmKey,
    /// Whether the device has proven it.
    proven: bool,
}

impl Server {
    /// A session that no network is in yet.
    pub fn new(name: Name, session: SessionId, policy: Policy) -> Self {
        Self {
            name,
            session,
            policy,
            hops: Vec::new(),
            key: None,
            before: None,
            exported: Vec::new(),
            counter: 0,
            open: None,
        }
    }

    /// The records of all hops: where the device was, who says so, and when.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.hops.iter().map(|hop| &hop.record)
    }

    /// The key of the last hop, to derive traffic keys from.
    pub fn key(&self) -> Option<&ChainKey> {
        self.key.as_ref()
    }

    /// A network has integrated the next hop. `from` is who says so, as the channel has
    /// authenticated it. One that is said again changes nothing. One that the device never proved
    /// makes way for another: a network that a device turned away from cannot hold it up.
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
        let next = u16::try_from(self.hops.len()).unwrap_or(u16::MAX).saturating_add(1);
        if record.network != *from {
            return Err(Why::NotItsNetwork.at(record.hop));
        }
        let last = self.hops.last();
        if last.is_some_and(|last| last.record == record) {
            return Ok(());
        }
        let again = last.is_some_and(|last| !last.proven && record.hop.saturating_add(1) == next);
        let (next, last, key) = if again {
            (record.hop, self.hops.iter().rev().nth(1), &self.before)
        } else {
            (next, last, &self.key)
        };
        if record.hop != next {
            return Err(Why::OutOfOrder { found: record.hop, expected: next }.at(next));
        }
        if next > self.policy.hops.min(MAX_HOPS) {
            return Err(Why::TooMany.at(next));
        }
        record.check(last.map(|last| &last.record), &self.terms(directory, now))?;
        let export = match (last, key) {
            (Some(last), Some(key)) if !record.broken => {
                // As the device has made it out, and the network before has opened it.
                let ticket = Ticket {
                    of: last.record.network.clone(),
                    to: record.network.clone(),
                    session: self.session,
                    hop: record.hop,
                    head: record.before,
                    nonce: record.nonce,
                    tag: Tag([0; 32]),
                };
                Some(key.export(&ticket.body()))
            }
            _ => None,
        };
        let before = match &export {
            Some(export) => Before::Export(export),
            None if record.broken => Before::Broken,
            None => Before::Nothing,
        };
        let key = share.integrate(before, &record.digest());
        if again {
            self.hops.pop();
        } else {
            self.before = self.key.take();
        }
        self.hops.push(Hop { confirm: key.confirm(), record, proven: false });
        self.key = Some(key);
        self.exported.clear();
        Ok(())
    }

    /// Gives a derivative of the last hop's key to the network that the device went to, in the
    /// place of the network before: it is found by where it is, not by what that one is called
    /// (H4). As [`Visit::export`](crate::Visit::export).
    ///
    /// # Errors
    /// The network is not entitled to it.
    pub fn export(&mut self, from: &Name, fetch: &Fetch) -> Result<Fetched, Refusal> {
        let (Some(last), Some(key)) = (self.hops.last(), &self.key) else {
            return Err(Why::NoKey.at(0));
        };
        let record = &last.record;
        let (network, hop) = (&record.network, record.hop);
        let last = Last { network, session: self.session, hop, head: record.digest() };
        let export = last.export(key, from, &fetch.ticket, &mut self.exported)?;
        Ok(Fetched { export, records: self.records().cloned().collect() })
    }

    /// Asks for proof, and forgets what it asked before.
    pub fn demand(&mut self, entropy: &mut impl Entropy) -> Demand {
        self.counter += 1;
        let (session, counter) = (self.session, self.counter);
        let demand = Demand { session, counter, nonce: entropy.octets() };
        self.open = Some(demand.clone());
        demand
    }

    /// Checks the proofs of the device and of the network that it is in. A demand is good for one
    /// check, whatever comes of it. All tags are compared, however many are wrong.
    ///
    /// # Errors
    /// The first hop that does not hold, and why.
    pub fn check<D: Directory>(
        &mut self,
        device: &Proof,
        network: &Proof,
        directory: &D,
        now: UnixTime,
    ) -> Result<Admitted, Refusal> {
        let demand = self.open.take();
        let Some(demand) = demand.filter(|demand| {
            !self.hops.is_empty()
                && [device, network].iter().all(|proof| proof.counter == demand.counter)
        }) else {
            return Err(Why::NotAsked.at(0));
        };
        let head = self.head();
        let said = |side, hop| proven(side, &self.name, hop, head, &demand);
        let none = Tag([0; 32]);
        let mut right = Choice::from(1);
        let mut first = 0u16;
        for (hop, of) in (1u16..).zip(&self.hops) {
            let tag = device.tags.get(usize::from(hop) - 1);
            // None is like a wrong one.
            let good = of.confirm.prove(&said(Side::Device, hop)).is(tag.unwrap_or(&none));
            // The first that is wrong, without a branch on it.
            let newly = right & !good;
            first = subtle::ConditionallySelectable::conditional_select(&first, &hop, newly);
            right &= good;
        }
        let hops = u16::try_from(self.hops.len()).unwrap_or(u16::MAX);
        let own = match (self.hops.last(), network.tags.as_slice()) {
            (Some(last), [tag]) => last.confirm.prove(&said(Side::Network, hops)).is(tag),
            _ => Choice::from(0),
        };
        if !bool::from(right) {
            return Err(Why::NotProven(Side::Device).at(first));
        }
        if device.tags.len() > self.hops.len() {
            // It has been where nobody told the server of.
            let (found, expected) = (u16::try_from(device.tags.len()).unwrap_or(u16::MAX), hops);
            return Err(Why::OutOfOrder { found, expected }.at(hops.saturating_add(1)));
        }
        if !bool::from(own) {
            return Err(Why::NotProven(Side::Network).at(hops));
        }
        let terms = self.terms(directory, now);
        self.records().try_for_each(|record| record.still_good(&terms))?;
        if let Some(last) = self.hops.last_mut() {
            last.proven = true;
            self.before = None;
        }
        let broken = self.records().filter(|record| record.broken).map(|record| record.hop);
        Ok(Admitted { hops, broken: broken.collect() })
    }

    fn head(&self) -> Digest {
        let last = self.hops.last();
        last.map_or_else(|| Record::root(self.session, &self.name), |last| last.record.digest())
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
