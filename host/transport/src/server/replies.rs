//! The answers of one batch, and the ways that they take.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Datagram;
use crate::radsec::{Ask, Version};

/// The way back to who sent a datagram. Keep it for as long as the answer may come: on a TLS
/// connection it counts as a request that is outstanding.
#[derive(Debug, Clone)]
pub struct Path {
    pub(super) to: SocketAddr,
    pub(super) from: IpAddr,
    pub(super) tls: Option<Asked>,
}

impl Path {
    /// Who asked.
    pub const fn source(&self) -> SocketAddr {
        self.to
    }

    /// The TLS connection, if that is the way.
    pub const fn tls(&self) -> Option<&Asked> {
        self.tls.as_ref()
    }
}

/// A request that came by TLS.
#[derive(Debug, Clone)]
pub struct Asked(pub(crate) Arc<Ask>);

impl Asked {
    /// Whose certificate the peer showed: what [`Doorkeeper`](crate::radsec::Doorkeeper) said.
    pub fn peer(&self) -> u64 {
        self.0.connection.peer
    }

    /// What is spoken on the connection.
    pub fn version(&self) -> Version {
        self.0.connection.version
    }
}

/// The answers of one batch; they leave together, once all its datagrams were looked at. Buffers
/// are kept from batch to batch.
#[derive(Debug, Default)]
pub struct Replies {
    slots: Vec<Slot>,
    /// Slots in use; those behind are kept for their buffers.
    used: usize,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) to: SocketAddr,
    pub(super) from: IpAddr,
    pub(super) bytes: Vec<u8>,
    tls: Option<Asked>,
}

impl Replies {
    /// An empty buffer. What is put into it is sent to the datagram's source, from the address
    /// that the datagram was sent to, or on the connection that it came by; if it stays empty,
    /// nothing is sent.
    pub fn to(&mut self, datagram: &Datagram<'_>) -> &mut Vec<u8> {
        let place = self.reserve(datagram);
        self.at(place)
    }

    /// The same for a datagram that came earlier ([`Datagram::path`]).
    pub fn late(&mut self, path: &Path) -> &mut Vec<u8> {
        let place = self.reserve_late(path);
        self.at(place)
    }

    /// A place for the answer to a datagram, to be filled before the batch is sent
    /// ([`Service::finish`](super::Service::finish)).
    pub fn reserve(&mut self, datagram: &Datagram<'_>) -> usize {
        self.slot(datagram.source, datagram.local, datagram.tls)
    }

    /// The same for a datagram that came earlier.
    pub fn reserve_late(&mut self, path: &Path) -> usize {
        self.slot(path.to, path.from, path.tls.as_ref())
    }

    /// The buffer at a place that was reserved for this batch.
    ///
    /// # Panics
    ///
    /// If there was no such place.
    pub fn at(&mut self, place: usize) -> &mut Vec<u8> {
        match self.slots.get_mut(place).filter(|_| place < self.used) {
            Some(slot) => &mut slot.bytes,
            None => unreachable!("no place {place} was reserved for this batch"),
        }
    }

    fn slot(&mut self, to: SocketAddr, from: IpAddr, tls: Option<&Asked>) -> usize {
        match self.slots.get_mut(self.used) {
            Some(slot) => {
                (slot.to, slot.from, slot.tls) = (to, from, tls.cloned());
                slot.bytes.clear();
            }
            None => self.slots.push(Slot { to, from, bytes: Vec::new(), tls: tls.cloned() }),
        }
        self.used += 1;
        self.used - 1
    }

    /// What is to be sent.
    pub(super) fn filled(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().take(self.used).filter(|slot| !slot.bytes.is_empty())
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    /// Hands over what is to be sent by TLS, and is empty then.
    pub(crate) fn send_by_tls(&mut self, mut send: impl FnMut(Asked, Vec<u8>)) {
        for slot in self.slots.iter_mut().take(self.used) {
            if let Some(asked) = slot.tls.take()
                && !slot.bytes.is_empty()
            {
                send(asked, std::mem::take(&mut slot.bytes));
            }
        }
        self.used = 0;
    }
}
