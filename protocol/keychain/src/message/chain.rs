//! What a hop is chained to the one before by, and what a device gets of it.

use homeward_model::Name;

use crate::codec::{Reader, Writer};
use crate::key::Export;
use crate::message::{
    Digest, FETCH, FETCHED, MAX_HOPS, Malformed, SessionId, TICKET, Tag, WELCOME,
};
use crate::record::Record;

/// A device goes from one network to another: it says so under its signature, and has the one
/// before hand a derivative of its key to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Whose key it opens: the network of the hop before. `None` at the first hop.
    pub of: Option<Name>,
    /// Who may have it: where the device goes.
    pub to: Name,
    /// The session.
    pub session: SessionId,
    /// The hop that it is for.
    pub hop: u16,
    /// The hash of the last record; at the first hop, [`Record::root`].
    pub head: Digest,
    /// The hash of the challenge of `to` and of what the device answers with this ticket: what it is
    /// called there, and its share.
    pub answer: Digest,
    /// The device's signature, by the session's key.
    pub signature: [u8; 64],
    /// Proof of the key of the hop before; at the first hop, of nothing.
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

/// The network has integrated the hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Of the hop.
    pub record: Record,
    /// Proof of the hop's key: it is the network that the device answered.
    pub(crate) tag: Tag,
}

impl Ticket {
    /// What it says: what its signature and tag are of, and what the export is bound to.
    pub(crate) fn body(&self) -> Vec<u8> {
        let Self { of, to, session, hop, head, answer, .. } = self;
        body(of.as_ref(), to, *session, *hop, head, answer)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.octets(&self.body()).octets(&self.signature).octets(&self.tag.0);
    }

    pub(crate) fn read(read: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut inner = Reader::new(read.0, TICKET)?;
        let ticket = Self {
            of: inner.maybe("whether there is a network before", |read| {
                read.name("the ticket's network")
            })?,
            to: inner.name("who the ticket is for")?,
            session: SessionId(inner.array("session")?),
            hop: inner.u16("hop")?,
            head: Digest(inner.array("head")?),
            answer: Digest(inner.array("answer")?),
            signature: inner.array("the ticket's signature")?,
            tag: Tag(inner.array("the ticket's tag")?),
        };
        *read = inner;
        Ok(ticket)
    }
}

/// What a ticket says, of its parts.
pub(crate) fn body(
    of: Option<&Name>,
    to: &Name,
    session: SessionId,
    hop: u16,
    head: &Digest,
    answer: &Digest,
) -> Vec<u8> {
    let mut out = Writer::new(TICKET);
    out.maybe(of, |out, of| {
        out.text(of.as_str());
    });
    out.text(to.as_str()).octets(&session.0).u16(hop).octets(&head.0).octets(&answer.0);
    out.0
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
        out.list(&self.records, |out, record| record.write(out));
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, FETCHED)?;
        let export = Export::new(read.array("export")?);
        let records = read.list(MAX_HOPS, "the number of records", Record::read)?;
        read.end()?;
        Ok(Self { export, records })
    }
}

impl Welcome {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(WELCOME);
        self.record.write(&mut out);
        out.octets(&self.tag.0);
        out.0
    }

    /// Reads it.
    ///
    /// # Errors
    /// What it is not.
    pub fn decode(octets: &[u8]) -> Result<Self, Malformed> {
        let mut read = Reader::new(octets, WELCOME)?;
        let welcome = Self { record: Record::read(&mut read)?, tag: Tag(read.array("tag")?) };
        read.end()?;
        Ok(welcome)
    }
}
