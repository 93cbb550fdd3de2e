//! The answers of one batch.

use std::net::{IpAddr, SocketAddr};

use super::Datagram;

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
}

impl Replies {
    /// An empty buffer. What is put into it is sent to the datagram's source, from the address
    /// that the datagram was sent to; if it stays empty, nothing is sent.
    pub fn to(&mut self, datagram: &Datagram<'_>) -> &mut Vec<u8> {
        self.late(datagram.source, datagram.local)
    }

    /// The same for a datagram that came earlier: its source, and the address of ours that it was
    /// sent to.
    pub fn late(&mut self, to: SocketAddr, from: IpAddr) -> &mut Vec<u8> {
        match self.slots.get_mut(self.used) {
            Some(slot) => {
                (slot.to, slot.from) = (to, from);
                slot.bytes.clear();
            }
            None => self.slots.push(Slot { to, from, bytes: Vec::new() }),
        }
        self.used += 1;
        match self.slots.get_mut(self.used - 1) {
            Some(slot) => &mut slot.bytes,
            None => unreachable!("the slot was just made"),
        }
    }

    /// What is to be sent.
    pub(super) fn filled(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().take(self.used).filter(|slot| !slot.bytes.is_empty())
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
    }
}
