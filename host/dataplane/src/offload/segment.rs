//! Cuts a TCP super-frame into frames, and completes partial checksums: what a network card with
//! TSO would do (`net/ipv4/tcp_offload.c` does the same in the kernel).

use super::checksum;
use super::packet::{ETHERNET, Network, TcpPacket};
use super::vnet::{Gso, Vnet};

/// The longest headers: Ethernet, IPv6 or IPv4 with all that may come before TCP, TCP. Longer
/// ones do not come from a kernel that does TSO.
pub const MAX_HEADERS: usize = 512;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// A super-frame that contradicts its virtio-net header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the frame contradicts its virtio-net header")]
pub struct Malformed;

/// A super-frame about to be cut.
#[derive(Debug)]
pub struct Segments<'a> {
    frame: &'a [u8],
    packet: TcpPacket,
    /// Octets of payload in each segment but the last.
    size: usize,
    /// The sum of what is the same in every segment: pseudo-header without length, and the TCP
    /// header with sequence number, flags and checksum zero.
    constant: u32,
    sequence: u32,
    flags: u8,
    /// IPv4: the identification of the first segment, and the header's sum without
    /// identification, length and checksum.
    identification: u16,
    network_sum: u32,
    next: usize,
}

impl<'a> Segments<'a> {
    /// Prepares to cut a frame that came with that header into frames of at most `largest`
    /// octets, Ethernet header included. A frame that is no super-frame is one segment.
    ///
    /// # Errors
    ///
    /// It is not TCP of the kind that the header says, its headers do not agree, or `largest` has
    /// no room for a payload.
    #[inline]
    pub fn new(frame: &'a [u8], vnet: &Vnet, largest: usize) -> Result<Self, Malformed> {
        let packet = TcpPacket::decode_super(frame).ok_or(Malformed)?;
        let kind = match packet.network {
            Network::V4 => Gso::Tcp4,
            Network::V6 => Gso::Tcp6,
        };
        // The kernel says where TCP begins; a frame that says otherwise is not understood.
        if vnet.gso != kind || vnet.checksum != Some((u16(packet.tcp)?, 16)) {
            return Err(Malformed);
        }
        let room = largest.checked_sub(packet.payload).filter(|room| *room > 0);
        let size = usize::from(vnet.gso_size).min(room.ok_or(Malformed)?);
        let header = frame.get(packet.tcp..packet.payload).ok_or(Malformed)?;
        let fixed: &[u8; 20] = header.first_chunk().ok_or(Malformed)?;
        let [_, _, _, _, q0, q1, q2, q3, .., flags, _, _, c0, c1, _, _] = *fixed;
        if size == 0 || packet.payload > MAX_HEADERS || packet.payload >= packet.end {
            return Err(Malformed);
        }
        // The whole header's sum, without what will differ: its words are subtracted by adding
        // their complements.
        let sequence = u32::from_be_bytes([q0, q1, q2, q3]);
        let mut constant = checksum::add(packet.pseudo_sum(frame, 0), checksum::sum(header));
        for word in [[q0, q1], [q2, q3], [c0, c1], [0, flags]] {
            constant = checksum::add(constant, u32::from(!u16::from_be_bytes(word)));
        }
        let (mut identification, mut network_sum) = (0, 0);
        if packet.network == Network::V4 {
            let header = frame.get(ETHERNET..packet.tcp).ok_or(Malformed)?;
            let fixed: &[u8; 20] = header.first_chunk().ok_or(Malformed)?;
            let [_, _, l0, l1, i0, i1, _, _, _, _, s0, s1, ..] = *fixed;
            identification = u16::from_be_bytes([i0, i1]);
            network_sum = checksum::sum(header);
            for word in [[l0, l1], [i0, i1], [s0, s1]] {
                network_sum = checksum::add(network_sum, u32::from(!u16::from_be_bytes(word)));
            }
        }
        Ok(Self {
            frame,
            packet,
            size,
            constant,
            sequence,
            flags,
            identification,
            network_sum,
            next: 0,
        })
    }

    /// How many segments are left.
    #[inline]
    pub fn left(&self) -> usize {
        let payload = self.packet.end - self.packet.payload;
        payload.div_ceil(self.size).saturating_sub(self.next)
    }

    /// How long the next segment will be, Ethernet header included; 0 if there is none.
    #[inline]
    pub fn next_len(&self) -> usize {
        let begin = self.packet.payload + self.next * self.size;
        match self.packet.end.checked_sub(begin) {
            None | Some(0) => 0,
            Some(rest) => self.packet.payload + rest.min(self.size),
        }
    }

    /// Leaves the next segment out, as if it had been lost on the way.
    pub fn skip(&mut self) {
        self.next += 1;
    }

    /// Writes the next segment into `room`, and says how long it is. `None` if there is none, or
    /// the room is less than [`next_len`](Self::next_len).
    #[inline]
    pub fn write_next(&mut self, room: &mut [u8]) -> Option<usize> {
        let len = self.next_len();
        if len == 0 {
            return None;
        }
        let room = room.get_mut(..len)?;
        let TcpPacket { network, tcp, payload, end } = self.packet;
        let offset = self.next * self.size;
        let data = self.frame.get(payload + offset..payload + offset + (len - payload))?;
        let (headers, body) = room.split_at_mut_checked(payload)?;
        headers.copy_from_slice(self.frame.get(..payload)?);
        body.copy_from_slice(data);

        let first = self.next == 0;
        let last = payload + offset + data.len() == end;
        let (ip, segment) = headers.split_at_mut_checked(tcp)?;
        let ip = ip.get_mut(ETHERNET..)?;
        let total = len - ETHERNET;
        match network {
            Network::V4 => self.finish_ipv4(ip, total)?,
            Network::V6 => {
                let [_, _, _, _, l0, l1, ..] = ip.first_chunk_mut::<40>()?;
                [*l0, *l1] = u16(total - 40).ok()?.to_be_bytes();
            }
        }

        // A window reduced by the peer's CWR is said once, the end of the stream at its end.
        let mut flags = self.flags;
        flags &= if last { 0xff } else { !(FIN | PSH) };
        flags &= if first { 0xff } else { !CWR };
        let sequence = self.sequence.wrapping_add(u32::try_from(offset).ok()?);
        let length = u32::try_from(len - tcp).ok()?;
        let mut sum = checksum::add(self.constant, sequence >> 16);
        sum = checksum::add(sum, sequence & 0xffff);
        sum = checksum::add(sum, u32::from(flags));
        sum = checksum::add(sum, length);
        // The header is of whole words, so the payload begins a word.
        sum = checksum::add(sum, checksum::sum(data));
        let [_, _, _, _, q0, q1, q2, q3, .., f, _, _, c0, c1, _, _] =
            segment.first_chunk_mut::<20>()?;
        [*q0, *q1, *q2, *q3] = sequence.to_be_bytes();
        *f = flags;
        [*c0, *c1] = checksum::finish(sum).to_be_bytes();
        self.next += 1;
        Some(len)
    }

    fn finish_ipv4(&self, ip: &mut [u8], total: usize) -> Option<()> {
        let total = u16(total).ok()?;
        let number = self.identification.wrapping_add(u16(self.next).ok()?);
        let sum = checksum::add(self.network_sum, u32::from(total));
        let sum = checksum::add(sum, u32::from(number));
        let [_, _, l0, l1, i0, i1, _, _, _, _, s0, s1, ..] = ip.first_chunk_mut::<20>()?;
        [*l0, *l1] = total.to_be_bytes();
        [*i0, *i1] = number.to_be_bytes();
        [*s0, *s1] = checksum::finish(sum).to_be_bytes();
        Some(())
    }
}

/// Computes the checksum that a frame's virtio-net header says is still missing, and writes it.
///
/// # Errors
///
/// The header points outside of the frame.
#[inline]
pub fn complete_checksum(frame: &mut [u8], start: u16, offset: u16) -> Result<(), Malformed> {
    let start = usize::from(start);
    let covered = frame.get(start..).filter(|_| start >= ETHERNET).ok_or(Malformed)?;
    let field = start + usize::from(offset);
    if usize::from(offset) + 2 > covered.len() {
        return Err(Malformed);
    }
    // The field holds the pseudo-header's sum and takes part. Zero would mean "none" in UDP, and
    // is the same number as 0xffff everywhere.
    let value = match checksum::finish(checksum::sum(covered)) {
        0 => 0xffff,
        value => value,
    };
    let room = frame.get_mut(field..field + 2).ok_or(Malformed)?;
    room.copy_from_slice(&value.to_be_bytes());
    Ok(())
}

fn u16(value: usize) -> Result<u16, Malformed> {
    u16::try_from(value).map_err(|_| Malformed)
}
