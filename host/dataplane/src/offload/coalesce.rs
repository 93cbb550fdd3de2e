//! Makes TCP super-frames of the frames of a batch, so that the kernel's stack is passed once for
//! many (as `net/ipv4/tcp_offload.c` does on receipt from a card).
//!
//! Only what a cut of the super-frame would give back octet for octet is put together: consecutive
//! segments of one stream with equal headers, complete and with valid checksums. A frame that is
//! anything else passes as it is, and nothing of its stream overtakes it.

use super::checksum;
use super::packet::{ETHERNET, Network, TcpPacket};
use super::vnet::{Gso, Vnet};

/// The longest headers of what is put together: Ethernet, IPv6, TCP with all options.
const MAX_HEADER: usize = ETHERNET + 40 + 60;

/// The longest IP packet.
const MAX_PACKET: usize = 65_535;

/// The most segments of a super-frame: its parts are written in one call, which takes 1,024.
const MAX_SEGMENTS: u16 = 1000;

/// How many streams are looked for a place to append to.
const OPEN: usize = 16;

const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const DONT_FRAGMENT: u8 = 0x40;

/// A piece of a frame: octets `from` up to `to` of the frame that the handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<T> {
    /// The handle that the frame was pushed with.
    pub frame: T,
    /// Where it begins.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
}

/// A frame or super-frame that comes out.
#[derive(Debug)]
pub struct Output<'a, T> {
    /// Its virtio-net header.
    pub vnet: Vnet,
    /// Headers to put before the parts; empty if the parts are all of it.
    pub header: &'a [u8],
    /// The rest, in order.
    pub parts: &'a [Part<T>],
}

/// Puts the frames of one batch together. `T` stands for a frame's octets, which stay where they
/// are: nothing but headers is copied.
#[derive(Debug)]
pub struct Coalescer<T> {
    /// In order of output. Those from `used` on are spare.
    bundles: Vec<Bundle<T>>,
    used: usize,
    /// Bundles that take more, the latest last.
    open: Vec<usize>,
}

#[derive(Debug)]
struct Bundle<T> {
    parts: Vec<Part<T>>,
    /// Set if more may be, or were, appended.
    stream: Option<Stream>,
}

/// What is the same in all segments of a bundle, and what the next one must have.
#[derive(Debug, Clone)]
struct Stream {
    packet: TcpPacket,
    /// The headers with zero where segments differ.
    header: [u8; MAX_HEADER],
    /// Octets of payload in each segment but the last.
    size: usize,
    /// The first segment's.
    sequence: u32,
    identification: u16,
    /// Don't Fragment, which makes the identification meaningless (RFC 6864 4).
    atomic: bool,
    /// All payload so far.
    payload: usize,
    segments: u16,
    push: bool,
}

impl<T: Copy> Coalescer<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bundles: Vec::new(), used: 0, open: Vec::new() }
    }

    /// Whether nothing was pushed since it was last drained.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Takes a frame; `packet` is what is decoded of it.
    #[inline]
    pub fn push(&mut self, frame: &[u8], packet: Option<TcpPacket>, handle: T) {
        let Some(packet) = packet else {
            return self.begin(Part { frame: handle, from: 0, to: frame.len() }, None);
        };
        let Some(stream) = Stream::of(frame, packet) else {
            self.close(frame, &packet);
            return self.begin(Part { frame: handle, from: 0, to: frame.len() }, None);
        };
        // The latest bundle of the stream is the only one that may take it.
        let same = self.open.iter().rposition(|at| {
            self.bundles.get(*at).and_then(|bundle| bundle.stream.as_ref()).is_some_and(|open| {
                open.packet.network == packet.network && open.flow() == stream.flow()
            })
        });
        if let Some(place) = same {
            let at = self.open.get(place).copied().unwrap_or_default();
            if let Some(bundle) = self.bundles.get_mut(at)
                && let Some(open) = &mut bundle.stream
                && open.append(&stream)
            {
                bundle.parts.push(Part { frame: handle, from: packet.payload, to: packet.end });
                if open.is_full(&stream) {
                    self.open.remove(place);
                }
                return;
            }
            self.open.remove(place);
        }
        let ends = stream.push;
        self.begin(Part { frame: handle, from: 0, to: frame.len() }, Some(stream));
        if !ends {
            if self.open.len() == OPEN {
                self.open.remove(0);
            }
            self.open.push(self.used - 1);
        }
    }

    /// Hands out what was put together, in order, and is empty again.
    pub fn drain(&mut self, mut out: impl FnMut(Output<'_, T>)) {
        for bundle in self.bundles.iter_mut().take(self.used) {
            match bundle.stream.take().filter(|stream| stream.segments > 1) {
                Some(mut stream) => {
                    // Only the first frame's headers come along.
                    if let Some(first) = bundle.parts.first_mut() {
                        (first.from, first.to) =
                            (stream.packet.payload, stream.packet.payload + stream.size);
                    }
                    let vnet = stream.finish();
                    let header = stream.header.get(..stream.packet.payload).unwrap_or_default();
                    out(Output { vnet, header, parts: &bundle.parts });
                }
                None => out(Output { vnet: Vnet::PLAIN, header: &[], parts: &bundle.parts }),
            }
            bundle.parts.clear();
        }
        self.used = 0;
        self.open.clear();
    }

    fn begin(&mut self, part: Part<T>, stream: Option<Stream>) {
        match self.bundles.get_mut(self.used) {
            Some(spare) => {
                spare.parts.push(part);
                spare.stream = stream;
            }
            None => self.bundles.push(Bundle { parts: vec![part], stream }),
        }
        self.used += 1;
    }

    /// Lets nothing more of the frame's stream be appended to what came before the frame.
    fn close(&mut self, frame: &[u8], packet: &TcpPacket) {
        let Some(flow) = flow(frame, packet) else { return };
        let bundles = &self.bundles;
        self.open.retain(|at| {
            bundles.get(*at).and_then(|bundle| bundle.stream.as_ref()).is_some_and(|open| {
                open.packet.network != packet.network || open.flow() != Some(flow)
            })
        });
    }
}

impl<T: Copy> Default for Coalescer<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// The stream of a segment that may be put together with others; `None` if it must pass alone.
    #[inline]
    fn of(frame: &[u8], packet: TcpPacket) -> Option<Self> {
        let plain = match packet.network {
            Network::V4 => ETHERNET + 20,
            Network::V6 => ETHERNET + 40,
        };
        let payload = packet.end.checked_sub(packet.payload).filter(|octets| *octets > 0)?;
        if packet.tcp != plain || !valid(frame, &packet) {
            return None;
        }
        let mut header = [0; MAX_HEADER];
        header.get_mut(..packet.payload)?.copy_from_slice(frame.get(..packet.payload)?);
        let (ip, tcp) = header.split_at_mut_checked(packet.tcp)?;
        let ip = ip.get_mut(ETHERNET..)?;
        let (mut identification, mut atomic) = (0, true);
        match packet.network {
            Network::V4 => {
                let [_, _, l0, l1, i0, i1, f0, _, _, _, s0, s1, ..] = ip.first_chunk_mut::<20>()?;
                if *f0 & !DONT_FRAGMENT != 0 {
                    return None;
                }
                identification = u16::from_be_bytes([*i0, *i1]);
                atomic = *f0 & DONT_FRAGMENT != 0;
                (*l0, *l1, *i0, *i1, *s0, *s1) = (0, 0, 0, 0, 0, 0);
            }
            Network::V6 => {
                let [_, _, _, _, l0, l1, ..] = ip.first_chunk_mut::<40>()?;
                (*l0, *l1) = (0, 0);
            }
        }
        let [_, _, _, _, q0, q1, q2, q3, .., flags, _, _, c0, c1, _, _] =
            tcp.first_chunk_mut::<20>()?;
        if *flags & !PSH != ACK {
            return None;
        }
        let sequence = u32::from_be_bytes([*q0, *q1, *q2, *q3]);
        let push = *flags & PSH != 0;
        *flags &= !PSH;
        (*q0, *q1, *q2, *q3, *c0, *c1) = (0, 0, 0, 0, 0, 0);
        Some(Self {
            packet,
            header,
            size: payload,
            sequence,
            identification,
            atomic,
            payload,
            segments: 1,
            push,
        })
    }

    #[inline]
    fn flow(&self) -> Option<[&[u8]; 2]> {
        flow(&self.header, &self.packet)
    }

    /// Appends the next segment, if that is what it is.
    #[inline]
    fn append(&mut self, next: &Self) -> bool {
        let headers = self.packet.payload;
        let expected = self.sequence.wrapping_add(u32::try_from(self.payload).unwrap_or(0));
        let numbered =
            self.atomic || next.identification == self.identification.wrapping_add(self.segments);
        let fits = headers - ETHERNET + self.payload + next.payload <= MAX_PACKET
            && self.segments < MAX_SEGMENTS;
        let same = next.packet.payload == headers
            && self.header.get(..headers) == next.header.get(..headers);
        if !(same && numbered && fits && next.sequence == expected && next.payload <= self.size) {
            return false;
        }
        self.payload += next.payload;
        self.segments += 1;
        self.push = next.push;
        true
    }

    /// Whether nothing can follow `last`: a cut would give a segment shorter than the others, or
    /// with PSH, only at the end.
    fn is_full(&self, last: &Self) -> bool {
        self.push || last.payload < self.size
    }

    /// Fills in the header of the super-frame.
    fn finish(&mut self) -> Vnet {
        let TcpPacket { network, tcp, payload, .. } = self.packet;
        let length = payload - tcp + self.payload;
        let pseudo = self.packet.pseudo_sum(&self.header, length);
        let total = payload - ETHERNET + self.payload;
        if let Some((ip, segment)) = self.header.split_at_mut_checked(tcp) {
            let ip = ip.get_mut(ETHERNET..).unwrap_or_default();
            match network {
                Network::V4 => {
                    if let Some([_, _, l0, l1, i0, i1, ..]) = ip.first_chunk_mut::<20>() {
                        [*l0, *l1] = narrow(total).to_be_bytes();
                        [*i0, *i1] = self.identification.to_be_bytes();
                    }
                    let sum = checksum::finish(checksum::sum(ip));
                    if let Some([.., s0, s1, _, _, _, _, _, _, _, _]) = ip.first_chunk_mut::<20>() {
                        [*s0, *s1] = sum.to_be_bytes();
                    }
                }
                Network::V6 => {
                    if let Some([_, _, _, _, l0, l1, ..]) = ip.first_chunk_mut::<40>() {
                        [*l0, *l1] = narrow(total - 40).to_be_bytes();
                    }
                }
            }
            if let Some([_, _, _, _, q0, q1, q2, q3, .., flags, _, _, c0, c1, _, _]) =
                segment.first_chunk_mut::<20>()
            {
                [*q0, *q1, *q2, *q3] = self.sequence.to_be_bytes();
                *flags |= if self.push { PSH } else { 0 };
                // Not complemented: the kernel, or the card, adds the rest.
                let [_, _, p0, p1] = pseudo.to_be_bytes();
                [*c0, *c1] = [p0, p1];
            }
        }
        Vnet {
            checksum: Some((narrow(tcp), 16)),
            gso: match network {
                Network::V4 => Gso::Tcp4,
                Network::V6 => Gso::Tcp6,
            },
            ecn: false,
            header_len: narrow(payload),
            gso_size: narrow(self.size),
        }
    }
}

/// What tells a stream from others: addresses and ports.
#[inline]
fn flow<'a>(frame: &'a [u8], packet: &TcpPacket) -> Option<[&'a [u8]; 2]> {
    let addresses = match packet.network {
        Network::V4 => frame.get(ETHERNET + 12..ETHERNET + 20),
        Network::V6 => frame.get(ETHERNET + 8..ETHERNET + 40),
    };
    Some([addresses?, frame.get(packet.tcp..packet.tcp + 4)?])
}

/// Whether the checksums of IPv4 and TCP are right. A wrong one must stay visible, which it would
/// not in a super-frame.
#[inline]
fn valid(frame: &[u8], packet: &TcpPacket) -> bool {
    let ip = frame.get(ETHERNET..packet.tcp).unwrap_or_default();
    let segment = frame.get(packet.tcp..packet.end).unwrap_or_default();
    let pseudo = packet.pseudo_sum(frame, segment.len());
    (packet.network == Network::V6 || checksum::holds(checksum::sum(ip)))
        && checksum::holds(checksum::add(pseudo, checksum::sum(segment)))
}

fn narrow(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
