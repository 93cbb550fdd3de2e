//! The thread that sends: interfaces to sockets.

use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use homeward_l2tp::inner::INNER_HEADER_LEN;
use homeward_l2tp::{InnerHeader, Outbound, Overhead, Piece};
use homeward_linux::UdpSocket;
use homeward_linux::tap::{MAX_READ, VNET_HEADER};
use homeward_model::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollTimeout};

use crate::batch::{Batch, Target};
use crate::carry::{
    LARGEST_PAYLOAD, PLAIN, finish_plain, note_activity, note_refused, seal, target,
};
use crate::config::Side;
use crate::counters::Counters;
use crate::engine::{Alarm, Shared, Timer, WAKE};
use crate::event::Event;
use crate::link::{Link, Way};
use crate::offload::mss;
use crate::offload::packet::TcpPacket;
use crate::offload::segment::{Segments, complete_checksum};
use crate::offload::vnet::{Gso, Vnet};
use crate::status::Traffic;
use crate::table::{Table, Tunnel, lock};
use crate::wireguard::{self, Core, Cores};

/// Room for datagrams: what two super-frames become.
const ARENA: usize = 160 * 1024;

/// Below this the batch goes out before the next frame is read: a super-frame may need as much.
const LOW: usize = 80 * 1024;

/// How many frames, and octets of them, of one interface are read before another has its turn.
const TURN: usize = 64;
const TURN_OCTETS: usize = 512 * 1024;

/// The thread's own memory.
pub(crate) struct Egress {
    shared: Arc<Shared>,
    sockets: Arc<[UdpSocket]>,
    header: [u8; VNET_HEADER],
    frame: Box<[u8]>,
    plain: Box<[u8]>,
    batch: Batch,
    events: Vec<Event>,
}

impl Egress {
    pub(crate) fn new(shared: Arc<Shared>, sockets: Arc<[UdpSocket]>) -> Self {
        Self {
            shared,
            sockets,
            header: [0; VNET_HEADER],
            frame: vec![0; MAX_READ].into_boxed_slice(),
            plain: vec![0; PLAIN].into_boxed_slice(),
            batch: Batch::new(ARENA),
            events: Vec::new(),
        }
    }

    /// Sends until it is told to stop.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _alarm = Alarm(Arc::clone(&shared));
        let mut ready = [EpollEvent::empty(); 64];
        while !shared.is_stopping() {
            let count = match shared.interfaces.wait(&mut ready, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "the data plane sends no more");
                    return;
                }
            };
            for event in ready.iter().take(count).filter(|event| event.data() != WAKE) {
                // Anew for each interface: a command waits for no more than one has to send.
                let table = shared.table();
                let place = usize::try_from(event.data()).unwrap_or(usize::MAX);
                // One that was closed meanwhile is not there any more.
                if let Some(tunnel) = table.tunnels.get(place) {
                    self.drain(&table, tunnel, shared.now());
                }
            }
            self.flush(&shared.table(), shared.now());
            shared.tell(&mut self.events);
        }
    }

    /// Reads what the interface has, and puts it into the batch.
    fn drain(&mut self, table: &Table, tunnel: &Tunnel, now: Instant) {
        let Some(peer) = table.peers.get(tunnel.peer) else { return };
        let sealed = tunnel.config.encrypted;
        let link = peer.link(sealed);
        // What holds for all of them is found out once.
        let way = link.route().way();
        let wire = match (sealed, &peer.inner, &peer.cores) {
            (false, _, _) => Some(Wire::Clear),
            (true, Some(inner), Some(cores)) => Some(Wire::Sealed(inner, cores)),
            (true, _, _) => None,
        };
        let Some((way, wire)) = way.zip(wire) else { return self.refuse(tunnel, now) };
        let largest = tunnel.overhead.largest_payload(way.to.ip(), way.mtu.into());
        let mut sender = Sender {
            batch: &mut self.batch,
            plain: &mut self.plain,
            target: target(&way, &tunnel.counters),
            core: match wire {
                Wire::Sealed(_, cores) if way.proven => Some(cores.lock(wireguard::Way::Out)),
                _ => None,
            },
            wire,
            link,
            way,
            largest: largest.min(LARGEST_PAYLOAD),
            overhead: &tunnel.overhead,
            counters: &tunnel.counters,
            now,
            packets: 0,
            octets: 0,
            longest: 0,
            sent: Traffic::default(),
        };
        sender.wake();
        let mut outbound = lock(&tunnel.outbound);
        let mut lost = None;
        let mut read = 0;
        for _ in 0..TURN {
            match tunnel.tap.read(&mut self.header, &mut self.frame) {
                Ok(Some(len)) => {
                    let frame = self.frame.get_mut(..len).unwrap_or_default();
                    if admits(tunnel, frame, now) {
                        sender.forward(&mut outbound, &Vnet::decode(&self.header), frame);
                    }
                    read += len;
                }
                Ok(None) => break,
                Err(error) => {
                    lost = Some(error);
                    break;
                }
            }
            if sender.batch.left() < LOW {
                sender.batch.flush(&self.sockets);
            }
            if read >= TURN_OCTETS {
                break;
            }
        }
        drop(outbound);
        let (octets, longest) = (sender.octets, sender.longest);
        let (packets, sent) = (sender.packets, sender.sent);
        drop(sender);
        if packets > 0 {
            tunnel.counters.sent.add(sent.frames, sent.octets);
            let mut route = link.route();
            if way.proven {
                route.sent(way.to, octets, longest, now);
            }
            let due = route.due();
            drop(route);
            self.shared.arm(&link.slot, Timer::Link(tunnel.peer, sealed), due);
            if sealed {
                let due = note_activity(peer, now);
                self.shared.arm(&peer.slot, Timer::Cores(tunnel.peer), Some(due));
            }
        }
        if let Some(error) = lost {
            self.lose(tunnel, &error);
        }
        note_refused(&self.shared, table, &mut self.batch, now);
    }

    /// Reads what the interface has, and has nowhere to send it.
    #[cold]
    fn refuse(&mut self, tunnel: &Tunnel, now: Instant) {
        for _ in 0..TURN {
            match tunnel.tap.read(&mut self.header, &mut self.frame) {
                Ok(Some(len)) => {
                    let frame = self.frame.get(..len).unwrap_or_default();
                    if admits(tunnel, frame, now) {
                        tunnel.counters.no_path.add(1);
                    }
                }
                Ok(None) => return,
                Err(error) => return self.lose(tunnel, &error),
            }
        }
    }

    fn flush(&mut self, table: &Table, now: Instant) {
        if !self.batch.is_empty() {
            self.batch.flush(&self.sockets);
            note_refused(&self.shared, table, &mut self.batch, now);
        }
    }

    /// An interface that cannot be read is one that somebody deleted.
    #[cold]
    fn lose(&mut self, tunnel: &Tunnel, error: &std::io::Error) {
        if tunnel.gone.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(interface = tunnel.tap.name(), tunnel = tunnel.id.0, %error, "interface gone");
        let _ = self.shared.interfaces.delete(&*tunnel.tap);
        self.events.push(Event::Gone { tunnel: tunnel.id });
    }
}

/// Whether the port lets a frame from the interface pass. If not, it has counted it.
#[inline]
fn admits(tunnel: &Tunnel, frame: &[u8], now: Instant) -> bool {
    let mut port = lock(&tunnel.port);
    let verdict = match tunnel.config.side {
        Side::Home => port.to_stranger(frame, now),
        Side::Foreign => port.from_stranger(frame, now),
    };
    verdict.passes()
}

/// What is around a tunnel's packets.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Clear,
    Sealed(&'a InnerHeader, &'a Cores),
}

/// Puts the packets of an interface's frames into the batch.
struct Sender<'a> {
    batch: &'a mut Batch,
    plain: &'a mut [u8],
    target: Target,
    wire: Wire<'a>,
    /// WireGuard, held for all of them; not where the octets that an address may be sent have to
    /// be asked for with each.
    core: Option<MutexGuard<'a, Core>>,
    link: &'a Link,
    way: Way,
    /// The most octets of a frame in a packet.
    largest: usize,
    overhead: &'a Overhead,
    counters: &'a Counters,
    now: Instant,
    packets: usize,
    /// Octets of all datagrams, and of the longest.
    octets: usize,
    longest: usize,
    sent: Traffic,
}

impl Sender<'_> {
    /// Tells WireGuard the time; what it has to say goes out first.
    fn wake(&mut self) {
        let Some(core) = &mut self.core else { return };
        if self.batch.left() >= wireguard::INITIATION
            && let Some(len) = core.wake(self.batch.room(), self.now)
        {
            self.batch.push(&self.target, len);
        }
    }

    /// Sends one frame or super-frame.
    #[inline]
    fn forward(&mut self, outbound: &mut Outbound, vnet: &Vnet, frame: &mut [u8]) {
        let counters = self.counters;
        if vnet.gso != Gso::None {
            let Ok(mut segments) = Segments::new(frame, vnet, self.largest) else {
                return counters.malformed.add(1);
            };
            while segments.left() > 0 {
                let len = segments.next_len();
                // It is no longer than the largest payload: one piece.
                let Ok(mut pieces) = outbound.plan(len, self.largest) else { return };
                let Some(piece) = pieces.next() else { return };
                if self.send(outbound, &piece, |room| segments.write_next(room)) {
                    self.sent.frames += 1;
                    self.sent.octets += len as u64;
                } else {
                    segments.skip();
                }
            }
            return;
        }
        if let Some((start, offset)) = vnet.checksum
            && complete_checksum(frame, start, offset).is_err()
        {
            return counters.malformed.add(1);
        }
        if let Some(packet) = TcpPacket::decode(frame) {
            let (overhead, way) = (self.overhead, &self.way);
            mss::clamp(frame, &packet, || Some(overhead.tcp_mss(way.to.ip(), way.mtu.into())));
        }
        // The session counts what cannot be cut.
        let Ok(pieces) = outbound.plan(frame.len(), self.largest) else { return };
        let mut all = true;
        for piece in pieces {
            let octets = piece.of(frame);
            all &= self.send(outbound, &piece, |room| {
                room.get_mut(..octets.len())?.copy_from_slice(octets);
                Some(octets.len())
            });
        }
        if all {
            self.sent.frames += 1;
            self.sent.octets += frame.len() as u64;
        }
    }

    /// Sends a piece of a frame, which `write` puts into a room that is large enough. Whether it
    /// may go; if not, that is counted.
    #[inline]
    fn send(
        &mut self,
        outbound: &Outbound,
        piece: &Piece,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let header = outbound.header(piece);
        let counters = self.counters;
        if !self.way.proven {
            let mut datagram = self.overhead.datagram_len(piece.len);
            if matches!(self.wire, Wire::Sealed(..)) {
                datagram = datagram.max(wireguard::INITIATION); // without a session, that
            }
            if !self.link.route().spend(self.way.to, datagram, self.now) {
                counters.unproven.add(1);
                return false;
            }
        }
        self.packets += 1;
        let Wire::Sealed(inner, cores) = self.wire else {
            let room = self.batch.room();
            let written = room
                .get_mut(..header.len())
                .map(|place| place.copy_from_slice(&header))
                .and_then(|()| write(room.get_mut(header.len()..)?));
            match written {
                Some(len) => {
                    self.batch.push(&self.target, header.len() + len);
                    self.note(header.len() + len);
                }
                None => counters.socket_full.add(1),
            }
            return written.is_some();
        };
        let begin = INNER_HEADER_LEN + header.len();
        let written = self
            .plain
            .get_mut(INNER_HEADER_LEN..begin)
            .map(|place| place.copy_from_slice(&header))
            .and_then(|()| write(self.plain.get_mut(begin..)?));
        let packet = written.and_then(|len| finish_plain(self.plain, inner, header.len() + len));
        let Some(packet) = packet else {
            counters.malformed.add(1);
            return false;
        };
        let len = match &mut self.core {
            Some(core) => seal(core, packet, &self.target, self.batch),
            None => seal(&mut cores.lock(wireguard::Way::Out), packet, &self.target, self.batch),
        };
        self.note(len);
        true
    }

    /// Notes a datagram.
    #[inline]
    fn note(&mut self, octets: usize) {
        self.octets += octets;
        self.longest = self.longest.max(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stranger::{AT, Stranger};

    /// What is sent to an address from which `came` octets came, which is not proven, of three
    /// frames of so many octets: all datagrams' octets.
    fn sent(sealed: bool, session: bool, came: usize, frame: usize) -> usize {
        let stranger = Stranger::new(sealed, session, came);
        let (link, mut batch, mut plain) =
            (stranger.peer.link(sealed), Batch::new(ARENA), [0; PLAIN]);
        let (overhead, counters) = (Overhead::of(&stranger.session), Arc::default());
        let way = link.route().way().unwrap();
        assert!(!way.proven);
        let wire = match (&stranger.peer.inner, &stranger.peer.cores) {
            (Some(inner), Some(cores)) if sealed => Wire::Sealed(inner, cores),
            _ => Wire::Clear,
        };
        let mut sender = Sender {
            batch: &mut batch,
            plain: &mut plain,
            target: target(&way, &counters),
            wire,
            core: None,
            link,
            way,
            largest: overhead.largest_payload(way.to.ip(), way.mtu.into()),
            overhead: &overhead,
            counters: &counters,
            now: AT,
            packets: 0,
            octets: 0,
            longest: 0,
            sent: Traffic::default(),
        };
        let mut outbound = Outbound::new(&stranger.session);
        let vnet = Vnet::decode(&[0; VNET_HEADER]);
        for _ in 0..3 {
            sender.forward(&mut outbound, &vnet, &mut vec![0x55; frame]);
        }
        sender.batch.octets()
    }

    #[test]
    fn no_address_is_sent_more_than_came_from_it_before_it_is_proven() {
        for (sealed, session) in [(false, false), (true, false), (true, true)] {
            for frame in [14, 60, 100, 590, 1300] {
                for came in (0..2000).step_by(7) {
                    let sent = sent(sealed, session, came, frame);
                    let what = format!("{sealed} {session}: frames of {frame}");
                    assert!(sent <= came, "{what}: {sent} octets for {came}");
                }
                let all = sent(sealed, session, 6000, frame);
                assert!(all > 0, "{sealed} {session}: as much as came may go");
            }
        }
    }
}
