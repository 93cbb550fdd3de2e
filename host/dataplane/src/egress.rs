//! The thread that sends: interfaces to sockets.

use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::Duration;

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
use crate::link::Way;
use crate::offload::mss;
use crate::offload::packet::TcpPacket;
use crate::offload::segment::{Segments, complete_checksum};
use crate::offload::vnet::{Gso, Vnet};
use crate::status::{State, Traffic};
use crate::table::{Peer, Table, Tunnel, lock};
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
            for event in ready.iter().take(count) {
                if event.data() == WAKE {
                    self.look_again();
                    continue;
                }
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

    /// Looks after the tunnels whose peer came or went.
    #[cold]
    fn look_again(&mut self) {
        let shared = Arc::clone(&self.shared);
        for tunnel in shared.sender_woke() {
            let table = shared.table();
            // One that was closed meanwhile is not there any more.
            if let Ok(tunnel) = table.tunnel(tunnel) {
                self.drain(&table, tunnel, shared.now());
            }
        }
    }

    /// Puts what waited into the batch, and what the interface has; where the peer is not there,
    /// that waits.
    fn drain(&mut self, table: &Table, tunnel: &Tunnel, now: Instant) {
        let Some(peer) = table.peers.get(tunnel.peer) else { return };
        let sealed = tunnel.config.encrypted;
        let link = peer.link(sealed);
        // What holds for all of them is found out once.
        let Some((way, interface, keys)) = outlet(peer, sealed) else {
            let wanted = link.route().state() != State::Unreachable;
            return self.hold(tunnel, wanted, now);
        };
        let target = target(&way, interface, &tunnel.counters);
        let wire = match keys {
            None => Wire::Clear,
            Some((inner, cores)) => {
                if let Some(len) = cores.begin(self.batch.room()) {
                    self.batch.push(&target, len);
                }
                Wire::Sealed(inner, cores.sealer())
            }
        };
        let largest = tunnel.overhead.largest_payload(way.to.ip(), way.mtu.into());
        let mut sender = Sender {
            batch: &mut self.batch,
            plain: &mut self.plain,
            target,
            wire,
            way,
            largest: largest.min(LARGEST_PAYLOAD),
            overhead: &tunnel.overhead,
            counters: &tunnel.counters,
            packets: 0,
            octets: 0,
            longest: 0,
            sent: Traffic::default(),
        };
        sender.wake(now);
        let mut outbound = lock(&tunnel.outbound);
        let mut hold = lock(&tunnel.hold);
        tunnel.counters.no_path.add(hold.expire(self.shared.hold, now));
        while let Some(mut held) = hold.take() {
            sender.forward(&mut outbound, &Vnet::decode(&held.header), &mut held.frame);
            if sender.batch.left() < LOW {
                sender.batch.flush(&self.sockets);
            }
        }
        drop(hold);
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
            route.sent(way.to, octets, longest, now);
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

    /// Reads what the interface has, and has nowhere to send it. It waits if it is `wanted`; if
    /// not, what waits already does so no longer.
    #[cold]
    fn hold(&mut self, tunnel: &Tunnel, wanted: bool, now: Instant) {
        let mut hold = lock(&tunnel.hold);
        let lost = &tunnel.counters.no_path;
        if !wanted {
            lost.add(hold.clear());
        }
        let patience = if wanted { self.shared.hold } else { Duration::ZERO };
        for _ in 0..TURN {
            match tunnel.tap.read(&mut self.header, &mut self.frame) {
                Ok(Some(len)) => {
                    let frame = self.frame.get(..len).unwrap_or_default();
                    if admits(tunnel, frame, now) {
                        lost.add(hold.push(&self.header, frame, patience, now));
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

/// What packets are sealed with.
type Keys<'a> = (&'a InnerHeader, &'a Cores);

/// Where frames for a peer go, and inside what; `None` while it is not there. An address that is
/// not proven is sent no frame: what it may be sent goes into its proof.
fn outlet(peer: &Peer, sealed: bool) -> Option<(Way, u32, Option<Keys<'_>>)> {
    let interface = peer.interface()?;
    let way = peer.link(sealed).route().way().filter(|way| way.proven)?;
    match (sealed, &peer.inner, &peer.cores) {
        (false, _, _) => Some((way, interface, None)),
        (true, Some(inner), Some(cores)) => Some((way, interface, Some((inner, cores)))),
        (true, _, _) => None,
    }
}

/// What is around a tunnel's packets.
enum Wire<'a> {
    Clear,
    /// WireGuard, held for all of them.
    Sealed(&'a InnerHeader, MutexGuard<'a, Core>),
}

/// Puts the packets of an interface's frames into the batch.
struct Sender<'a> {
    batch: &'a mut Batch,
    plain: &'a mut [u8],
    target: Target,
    wire: Wire<'a>,
    way: Way,
    /// The most octets of a frame in a packet.
    largest: usize,
    overhead: &'a Overhead,
    counters: &'a Counters,
    packets: usize,
    /// Octets of all datagrams, and of the longest.
    octets: usize,
    longest: usize,
    sent: Traffic,
}

impl Sender<'_> {
    /// Tells WireGuard the time; what it has to say goes out first.
    fn wake(&mut self, now: Instant) {
        let Wire::Sealed(_, core) = &mut self.wire else { return };
        if self.batch.left() >= wireguard::INITIATION
            && let Some(len) = core.wake(self.batch.room(), now)
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
        self.packets += 1;
        let Wire::Sealed(inner, core) = &mut self.wire else {
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
        let len = seal(core, packet, &self.target, self.batch);
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
    use crate::stranger::Stranger;

    #[test]
    fn no_frame_goes_to_an_address_that_is_not_proven() {
        for (sealed, session) in [(false, false), (true, false), (true, true)] {
            let stranger = Stranger::new(sealed, session, 100_000);
            let way = stranger.peer.link(sealed).route().way();
            assert!(way.is_some_and(|way| way.to == stranger.arrival.from), "it is known");
            assert!(outlet(&stranger.peer, sealed).is_none(), "{sealed} {session}");
        }
    }
}
