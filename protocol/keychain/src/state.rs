//! What each side keeps over a restart. It has keys in it: it is sealed where it is kept.
//!
//! What is not done is not kept: a challenge that is open, a hop that was begun, a demand. All of
//! them are asked again.
//!
//! What came later stands at the end, and only where there is something: what was kept before is read
//! as it was written.

use zeroize::Zeroizing;

use crate::codec::{Reader, Writer};
use crate::device::{At, Device};
use crate::key::{ChainKey, ConfirmKey, HopShare, PpkKey};
use crate::message::{Digest, MAX_HOPS, Malformed, SessionId, Tag, Ticket, Welcome};
use crate::module::{Integrated, MOST_EXPORTS, Stage, Visit};
use crate::record::Record;
use crate::server::{Hop, MOST_NEXT, Policy, Server};

const DEVICE: u8 = 64;
const VISIT: u8 = 65;
const SERVER: u8 = 66;

/// What is kept.
pub type Saved = Zeroizing<Vec<u8>>;

impl Device {
    /// What is to be kept.
    pub fn save(&self) -> Saved {
        let mut out = Writer::new(DEVICE);
        out.octets(&*self.signer.seed).text(self.server.as_str()).bool(self.volunteers);
        out.list(&self.confirm, |out, key| {
            out.octets(key.expose());
        });
        out.maybe(self.at.as_ref(), |out, at| {
            out.text(at.network.as_str()).octets(at.key.expose()).octets(&at.head.0);
        });
        write_ppk(&mut out, self.at.as_ref().and_then(|at| at.ppk.as_ref()));
        Zeroizing::new(out.0)
    }

    /// As it was kept.
    ///
    /// # Errors
    /// It is not what was kept.
    pub fn restore(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, DEVICE)?;
        let (seed, server) = (read.array("seed")?, read.name("server")?);
        let volunteers = read.bool("whether it volunteers")?;
        let mut device = Self::new(seed, server, volunteers).map_err(|_| Malformed("seed"))?;
        device.confirm = read.list(MAX_HOPS, "the number of hops", |read| {
            read.array("the key of a hop").map(ConfirmKey::new)
        })?;
        device.at = read.maybe("whether it is anywhere", |read| {
            Ok(At {
                network: read.name("network")?,
                key: ChainKey::new(read.array("key")?),
                head: Digest(read.array("head")?),
                ppk: None,
            })
        })?;
        if let Some(at) = &mut device.at {
            at.ppk = read_ppk(&mut read)?;
        }
        read.end()?;
        Ok(device)
    }
}

fn write_ppk(out: &mut Writer, ppk: Option<&PpkKey>) {
    if let Some(key) = ppk {
        out.octets(key.expose());
    }
}

fn read_ppk(read: &mut Reader<'_>) -> Result<Option<PpkKey>, Malformed> {
    if read.0.is_empty() { Ok(None) } else { read.array("PPK").map(PpkKey::new).map(Some) }
}

fn write_tickets(out: &mut Writer, tickets: &[Ticket]) {
    out.list(tickets, |out, ticket| ticket.write(out));
}

fn read_tickets(read: &mut Reader<'_>) -> Result<Vec<Ticket>, Malformed> {
    read.list(MOST_EXPORTS, "the number of tickets", Ticket::read)
}

impl Visit {
    /// What is to be kept; `None` before the hop is integrated.
    pub fn save(&self) -> Option<Saved> {
        let Stage::Integrated(integrated) = &self.stage else { return None };
        let Integrated { key, share, welcome, records, exported, ppk } = &**integrated;
        let mut out = Writer::new(VISIT);
        out.text(self.device.as_str()).octets(key.expose()).octets(share.expose());
        welcome.record.write(&mut out);
        out.octets(&welcome.tag.0);
        out.list(records, |out, record| record.write(out));
        write_tickets(&mut out, exported);
        write_ppk(&mut out, ppk.as_ref());
        Some(Zeroizing::new(out.0))
    }

    /// As it was kept.
    ///
    /// # Errors
    /// It is not what was kept.
    pub fn restore(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, VISIT)?;
        let device = read.nai("device")?;
        let key = ChainKey::new(read.array("key")?);
        let share = HopShare::new(read.array("share")?);
        let record = Record::read(&mut read)?;
        let tag = Tag(read.array("tag")?);
        let records = read.list(MAX_HOPS, "the number of records", Record::read)?;
        let exported = read_tickets(&mut read)?;
        let ppk = read_ppk(&mut read)?;
        read.end()?;
        Ok(Self {
            device,
            key: record.device,
            server: record.server.clone(),
            hop: record.hop,
            network: record.network.clone(),
            stage: Stage::Integrated(Box::new(Integrated {
                key,
                share,
                welcome: Welcome { record, tag },
                records,
                exported,
                ppk,
            })),
        })
    }
}

impl Hop {
    fn write(&self, out: &mut Writer) {
        self.record.write(out);
        out.octets(self.confirm.expose());
        out.maybe(self.key.as_ref(), |out, key| {
            out.octets(key.expose());
        });
        write_tickets(out, &self.exported);
    }

    fn read(read: &mut Reader<'_>) -> Result<Self, Malformed> {
        let record = Record::read(read)?;
        Ok(Self {
            head: record.digest(),
            record,
            confirm: ConfirmKey::new(read.array("the key of a hop")?),
            key: read
                .maybe("whether there is a key", |read| read.array("key").map(ChainKey::new))?,
            exported: read_tickets(read)?,
        })
    }
}

impl Server {
    /// What is to be kept. The policy is not: it is the configuration's.
    pub fn save(&self) -> Saved {
        let mut out = Writer::new(SERVER);
        out.text(self.name.as_str()).octets(&self.session.0);
        out.list(&self.hops, |out, hop| hop.write(out));
        out.list(&self.next, |out, hop| hop.write(out));
        Zeroizing::new(out.0)
    }

    /// As it was kept, under the policy of now.
    ///
    /// # Errors
    /// It is not what was kept.
    pub fn restore(octets: &[u8], policy: Policy) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, SERVER)?;
        let name = read.name("server")?;
        let mut server = Self::new(name, SessionId(read.array("session")?), policy);
        server.hops = read.list(MAX_HOPS, "the number of hops", Hop::read)?;
        server.next = read.list(MOST_NEXT, "the number of hops on their way", Hop::read)?;
        read.end()?;
        Ok(server)
    }
}
