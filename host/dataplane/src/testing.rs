//! Bodies of the fuzz targets, run over their corpora by this crate's tests too, and frames to
//! test with.

use homeward_l2tp::TcpMss;

use crate::offload::checksum;
use crate::offload::coalesce::Coalescer;
use crate::offload::mss;
use crate::offload::packet::{ETHERNET, Network, TcpPacket};
use crate::offload::segment::{Segments, complete_checksum};
use crate::offload::vnet::{Gso, Vnet};

/// A TCP frame to be.
#[derive(Debug, Clone)]
pub struct Tcp {
    /// Over IPv6.
    pub ipv6: bool,
    /// Tells streams apart.
    pub port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    pub flags: u8,
    /// TCP options, a multiple of four octets.
    pub options: Vec<u8>,
    /// IPv4 identification.
    pub identification: u16,
    /// Don't Fragment.
    pub atomic: bool,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            ipv6: false,
            port: 4000,
            sequence: 1,
            acknowledgement: 7,
            flags: 0x10,
            options: Vec::new(),
            identification: 100,
            atomic: true,
            payload: Vec::new(),
        }
    }
}

impl Tcp {
    /// The frame, with all checksums.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let length = 20 + self.options.len() + self.payload.len();
        let narrow = |value: usize| u16::try_from(value).unwrap_or(u16::MAX).to_be_bytes();
        if self.ipv6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(narrow(length));
            frame.extend([6, 64]);
            frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend(narrow(20 + length));
            frame.extend(self.identification.to_be_bytes());
            frame.extend([if self.atomic { 0x40 } else { 0 }, 0, 64, 6, 0, 0]);
            frame.extend([192, 0, 2, 1, 192, 0, 2, 2]);
            let sum = slow_sum(frame.get(ETHERNET..).unwrap_or_default());
            if let Some(room) = frame.get_mut(ETHERNET + 10..ETHERNET + 12) {
                room.copy_from_slice(&(!sum).to_be_bytes());
            }
        }
        let tcp = frame.len();
        frame.extend(self.port.to_be_bytes());
        frame.extend(80u16.to_be_bytes());
        frame.extend(self.sequence.to_be_bytes());
        frame.extend(self.acknowledgement.to_be_bytes());
        let words = u8::try_from(5 + self.options.len() / 4).unwrap_or(15);
        frame.extend([words << 4, self.flags, 1, 0, 0, 0, 0, 0]);
        frame.extend(&self.options);
        frame.extend(&self.payload);
        let sum = slow_tcp_sum(&frame, tcp, frame.len(), self.ipv6);
        if let Some(room) = frame.get_mut(tcp + 16..tcp + 18) {
            room.copy_from_slice(&(!sum).to_be_bytes());
        }
        frame
    }

    /// The same as a super-frame: the checksum is partial, and the header says how to cut it.
    pub fn super_frame(&self, size: u16) -> (Vnet, Vec<u8>) {
        let mut frame = self.frame();
        let tcp = if self.ipv6 { ETHERNET + 40 } else { ETHERNET + 20 };
        let pseudo = slow_tcp_sum(&frame, frame.len(), frame.len(), self.ipv6);
        let length = frame.len() - tcp;
        let pseudo = fold(u32::from(pseudo) + u32::try_from(length).unwrap_or(0));
        if let Some(room) = frame.get_mut(tcp + 16..tcp + 18) {
            room.copy_from_slice(&pseudo.to_be_bytes());
        }
        let narrow = |value: usize| u16::try_from(value).unwrap_or(u16::MAX);
        let vnet = Vnet {
            checksum: Some((narrow(tcp), 16)),
            gso: if self.ipv6 { Gso::Tcp6 } else { Gso::Tcp4 },
            ecn: self.flags & 0x80 != 0,
            header_len: narrow(tcp + 20 + self.options.len()),
            gso_size: size,
        };
        (vnet, frame)
    }
}

/// Whether all checksums of a TCP frame are right, by the book.
pub fn sound(frame: &[u8]) -> bool {
    let Some(packet) = TcpPacket::decode(frame) else { return false };
    let ip = frame.get(ETHERNET..packet.tcp).unwrap_or_default();
    let header = packet.network == Network::V6 || slow_sum(ip) == 0xffff;
    let ipv6 = packet.network == Network::V6;
    header && slow_tcp_sum(frame, packet.tcp, packet.end, ipv6) == 0xffff
}

/// RFC 1071, word for word.
fn slow_sum(octets: &[u8]) -> u16 {
    octets.chunks(2).fold(0, |sum, pair| {
        let word = match *pair {
            [high, low] => u16::from_be_bytes([high, low]),
            [high] => u16::from_be_bytes([high, 0]),
            _ => 0,
        };
        fold(u32::from(sum) + u32::from(word))
    })
}

fn slow_tcp_sum(frame: &[u8], tcp: usize, end: usize, ipv6: bool) -> u16 {
    let addresses = if ipv6 { 22..54 } else { 26..34 };
    let length = u32::try_from(end - tcp).unwrap_or(0);
    let fixed = fold(6 + (length >> 16) + (length & 0xffff));
    let addresses = slow_sum(frame.get(addresses).unwrap_or_default());
    let segment = slow_sum(frame.get(tcp..end).unwrap_or_default());
    fold(u32::from(fold(u32::from(fixed) + u32::from(addresses))) + u32::from(segment))
}

fn fold(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap_or(0)
}

/// A TAP's frame: 10 octets of virtio-net header, 2 of the largest frame, the frame. Whatever it
/// is, each segment is sound, and their payloads are the frame's.
pub fn cut(data: &[u8]) {
    let Some((header, rest)) = data.split_first_chunk::<10>() else { return };
    let Some((largest, frame)) = rest.split_first_chunk::<2>() else { return };
    let (vnet, largest) = (Vnet::decode(header), usize::from(u16::from_be_bytes(*largest)));
    let mut frame = frame.to_vec();
    match vnet.gso {
        Gso::None => {
            if let Some((start, offset)) = vnet.checksum {
                let _ = complete_checksum(&mut frame, start, offset);
            }
            lower(&mut frame);
        }
        _ => {
            let Ok(mut segments) = Segments::new(&frame, &vnet, largest) else { return };
            let Some(packet) = TcpPacket::decode_super(&frame) else { return };
            let mut whole = Vec::new();
            let mut room = vec![0; 65_549];
            for left in (1..=segments.left()).rev() {
                assert_eq!(segments.left(), left);
                let len = segments.next_len();
                let Some(written) = segments.write_next(&mut room) else { return };
                assert_eq!(written, len);
                assert!(len <= largest);
                let segment = room.get(..len).unwrap_or_default();
                assert!(sound(segment), "{segment:02x?}");
                whole.extend(segment.get(packet.payload..).unwrap_or_default());
            }
            assert_eq!(segments.write_next(&mut room), None);
            assert_eq!(Some(&*whole), frame.get(packet.payload..packet.end));
        }
    }
}

/// A batch of frames, each behind two octets of length. What comes out, cut again, is what went
/// in, in the order of each stream.
pub fn join(mut data: &[u8]) {
    let mut frames: Vec<&[u8]> = Vec::new();
    while let Some((len, rest)) = data.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len)).min(rest.len());
        let (frame, rest) = rest.split_at(len);
        frames.push(frame);
        data = rest;
    }
    joins(&frames);
}

/// What [`join`] says, of these frames; gives how many came out.
pub fn joins(frames: &[&[u8]]) -> usize {
    let mut coalescer = Coalescer::new();
    for (at, frame) in frames.iter().enumerate() {
        coalescer.push(frame, TcpPacket::decode(frame), at);
    }
    let mut seen = vec![false; frames.len()];
    let mut outputs = 0;
    coalescer.drain(|output| {
        outputs += 1;
        let mut whole = output.header.to_vec();
        for part in output.parts {
            let frame = frames.get(part.frame).copied().unwrap_or_default();
            whole.extend(frame.get(part.from..part.to).unwrap_or_default());
            if let Some(seen) = seen.get_mut(part.frame) {
                assert!(!std::mem::replace(seen, true), "frame {} comes out twice", part.frame);
            }
        }
        if output.vnet == Vnet::PLAIN {
            assert_eq!(output.parts.len(), 1);
            let at = output.parts.first().map(|part| part.frame).unwrap_or_default();
            assert_eq!(frames.get(at).copied(), Some(&*whole));
            return;
        }
        let mut segments =
            Segments::new(&whole, &output.vnet, 65_549).expect("a super-frame can be cut");
        assert_eq!(segments.left(), output.parts.len());
        for part in output.parts {
            let mut room = vec![0; segments.next_len()];
            segments.write_next(&mut room).expect("there is room");
            let frame = frames.get(part.frame).copied().unwrap_or_default();
            let frame = frame.get(..room.len()).unwrap_or_default();
            assert_eq!(without_identification(frame), without_identification(&room));
        }
    });
    assert!(seen.iter().all(|seen| *seen), "a frame was lost");
    outputs
}

/// The frame without IPv4's identification and header checksum, where the identification means
/// nothing (RFC 6864 4.1).
fn without_identification(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if let Some([.., 8, 0, _, _, _, _, i0, i1, f0, _, _, _, s0, s1]) = frame.first_chunk_mut::<26>()
        && *f0 & 0x40 != 0
    {
        (*i0, *i1, *s0, *s1) = (0, 0, 0, 0);
    }
    frame
}

/// Lowers a SYN's MSS, and checks that nothing but it and the checksum changed, and that a sound
/// frame is sound after it.
pub fn lower(frame: &mut [u8]) {
    let before = frame.to_vec();
    let was_sound = sound(frame);
    let limit = || Some(TcpMss { v4: 1350, v6: 1330 });
    let clamp = |frame: &mut [u8]| {
        TcpPacket::decode(frame).is_some_and(|packet| mss::clamp(frame, &packet, limit))
    };
    if clamp(frame) {
        assert!(!was_sound || sound(frame), "{frame:02x?}");
        let changed = before.iter().zip(frame.iter()).filter(|(a, b)| a != b).count();
        assert!((1..=4).contains(&changed), "{changed} octets changed");
        assert!(!clamp(frame), "it was lowered before");
    } else {
        assert_eq!(before, frame);
    }
    let _ = checksum::sum(frame);
}

/// A message that says it is WireGuard's, for a gateway with one peer. It may be anything.
pub fn wireguard(data: &[u8]) {
    use homeward_model::Instant;

    use crate::key::Key;
    use crate::wireguard::{Cores, Identity, Message, Way, core_of, data_index, kind};

    let identity = Identity::new(&Key::new([1; 32]));
    let peer = Identity::new(&Key::new([2; 32])).public_key();
    let cores = Cores::new(&identity, peer, None, [0, 1], Instant::ORIGIN);
    let mut cookie = [0; 64];
    let from = std::net::IpAddr::from([192, 0, 2, 1]);
    let index = match kind(data) {
        Some(crate::wireguard::DATA) => data_index(data),
        Some(_) => match identity.screen(data, from, &mut cookie) {
            Some(Message::Initiation(key)) => (key == peer).then_some(1),
            Some(Message::For(index)) => Some(core_of(index)),
            Some(Message::Cookie(_)) | None => None,
        },
        None => None,
    };
    let Some(index) = index else { return };
    let way = if index == 0 { Way::Out } else { Way::In };
    let mut room = vec![0; data.len().max(256)];
    let _ = cores.lock(way).open(data, &mut room);
}
