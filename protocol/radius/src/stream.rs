//! Packets out of a stream of octets (RFC 6613 2.6.4, RFC 6614): one after the other, each as long as
//! its Length field says.
//!
//! Only the Length is looked at. One that no packet can have leaves nobody knowing where the next
//! packet begins: the stream is over. Whatever else is wrong with a packet is the matter of whoever
//! decodes it, and the next packet is found all the same.

use crate::packet::{HEADER_LEN, MAX_PACKET_LEN};

/// Octets that are kept: one packet of any length, and what else the reader got with it.
const BUFFER: usize = 2 * MAX_PACKET_LEN;

/// A Length field that no packet can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {0} octets in a stream: RADIUS has {HEADER_LEN} to {MAX_PACKET_LEN}")]
pub struct LostStream(pub usize);

/// Takes packets out of a stream. Read into [`Self::room`], say how much with [`Self::filled`],
/// and take packets until [`Self::next_packet`] has none.
#[derive(Debug)]
pub struct Packets {
    octets: Box<[u8]>,
    /// Where the first octet is that was not taken.
    start: usize,
    /// Where what was read ends.
    end: usize,
}

impl Packets {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self { octets: vec![0; BUFFER].into_boxed_slice(), start: 0, end: 0 }
    }

    /// Room for what is read next. Never empty once [`Self::next_packet`] has no more.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if BUFFER - self.start < MAX_PACKET_LEN {
            self.octets.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.octets.get_mut(self.end..).unwrap_or_default()
    }

    /// So many octets were read into the room.
    pub fn filled(&mut self, octets: usize) {
        self.end = self.end.saturating_add(octets).min(BUFFER);
    }

    /// The next packet, if all of it is there.
    ///
    /// # Errors
    /// [`LostStream`], from then on.
    pub fn next_packet(&mut self) -> Result<Option<&[u8]>, LostStream> {
        let waiting = self.octets.get(self.start..self.end).unwrap_or_default();
        let Some(&[_, _, high, low]) = waiting.first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(HEADER_LEN..=MAX_PACKET_LEN).contains(&length) {
            return Err(LostStream(length));
        }
        let packet = waiting.get(..length);
        if packet.is_some() {
            self.start += length;
        }
        Ok(packet)
    }

    /// Whether a part of a packet waits for its rest.
    pub const fn is_amid(&self) -> bool {
        self.start != self.end
    }
}

impl Default for Packets {
    fn default() -> Self {
        Self::new()
    }
}
