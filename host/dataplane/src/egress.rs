//! The thread that sends: interfaces to sockets.

use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use homeward_l2tp::inner::INNER_HEADER_LEN;
use homeward_l2tp::{InnerHeader, Outbound, Piece};
use homeward_linux::UdpSocket;
use homeward_linux::tap::{MAX_READ, VNET_HEADER};
use homeward_model::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollTimeout};

use crate::batch::{Batch, Target};
use crate::carry::{LARGEST_PAYLOAD, PLAIN, finish_plain, note_activity, seal, target};
use crate::config::Side;
use crate::engine::{Alarm, Shared, Timer, WAKE};
use crate::event::Event;
use crate::link::Way;
use crate::offload::mss;
use crate::offload::packet::TcpPacket;
use crate::offload::segment::{Segments, complete_checksum};
use crate::offload::vnet::{Gso, Vnet};
use crate::table::{Peer, Table, Tunnel, lock};
use crate::wireguard::{self, Core};

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
                    self.drain(&table, place, tunnel, shared.now());
                }
            }
            self.flush(&shared.table(), shared.now());
            shared.tell(&mut self.events);
        }
    }

    /// Reads what the interface has, and puts it into the batch.
    fn drain(&mut self, table: &Table, place: usize, tunnel: &Tunnel, now: Instant) {
        let Some(peer) = table.peers.get(tunnel.peer) else { return };
        let mut outbound = lock(&tunnel.outbound);
        let mut octets = 0;
        for _ in 0..TURN {
            match tunnel.tap.read(&mut self.header, &mut self.frame) {
                Ok(Some(len)) => {
                    octets += len;
                    self.forward(peer, tunnel, &mut outbound, len, now);
                }
                Ok(None) => break,
                Err(error) => {
                    self.lose(place, tunnel, &error);
                    break;
                }
            }
            if self.batch.left() < LOW {
                self.flush(table, now);
            }
            if octets >= TURN_OCTETS {
                break;
            }
        }
    }

    /// Sends one frame or super-frame.
    fn forward(
        &mut self,
        peer: &Peer,
        tunnel: &Tunnel,
        outbound: &mut Outbound,
        len: usize,
        now: Instant,
    ) {
        let counters = &tunnel.counters;
        let vnet = Vnet::decode(&self.header);
        let frame = self.frame.get_mut(..len).unwrap_or_default();
        {
            let mut port = lock(&tunnel.port);
            let verdict = match tunnel.config.side {
                Side::Home => port.to_stranger(frame, now),
                Side::Foreign => port.from_stranger(frame, now),
            };
            if !verdict.passes() {
                return; // the port has counted it
            }
        }
        let sealed = tunnel.config.encrypted;
        let link = peer.link(sealed);
        let Some(way) = link.route().way() else { return counters.no_path.add(1) };
        let largest = tunnel.overhead.largest_payload(way.to.ip(), way.mtu.into());
        let largest = largest.min(LARGEST_PAYLOAD);

        let mut core = None;
        if sealed {
            let (Some(inner), Some(cores)) = (peer.inner, &peer.cores) else {
                return counters.no_path.add(1);
            };
            core = Some((inner, cores));
            let due = note_activity(peer, now);
            self.shared.arm(&peer.slot, Timer::Cores(tunnel.peer), Some(due));
        }
        let mut sender = Sender {
            batch: &mut self.batch,
            plain: &mut self.plain,
            target: target(&way, counters),
            core: core.map(|(inner, cores)| {
                let held = way.proven.then(|| cores.lock(wireguard::Way::Out));
                (inner, cores, held)
            }),
            link,
            way,
            tunnel,
            now,
            octets: 0,
            packets: 0,
        };
        sender.wake();
        let mut frames = 1;
        let mut sent = len;
        if vnet.gso == Gso::None {
            if let Some((start, offset)) = vnet.checksum
                && complete_checksum(frame, start, offset).is_err()
            {
                return counters.malformed.add(1);
            }
            if let Some(packet) = TcpPacket::decode(frame) {
                let limit = || Some(tunnel.overhead.tcp_mss(way.to.ip(), way.mtu.into()));
                mss::clamp(frame, &packet, limit);
            }
            // The session counts what cannot be cut.
            let Ok(pieces) = outbound.plan(len, largest) else { return };
            for piece in pieces {
                let octets = piece.of(frame);
                sender.send(outbound, &piece, |room| {
                    room.get_mut(..octets.len())?.copy_from_slice(octets);
                    Some(octets.len())
                });
            }
        } else {
            let Ok(mut segments) = Segments::new(frame, &vnet, largest) else {
                return counters.malformed.add(1);
            };
            (frames, sent) = (0, 0);
            while segments.left() > 0 {
                let len = segments.next_len();
                // It is no longer than the largest payload: one piece.
                let Ok(mut pieces) = outbound.plan(len, largest) else { break };
                let Some(piece) = pieces.next() else { break };
                sender.send(outbound, &piece, |room| segments.write_next(room));
                frames += 1;
                sent += len;
            }
        }
        let (octets, packets) = (sender.octets, sender.packets);
        drop(sender);
        if packets > 0 {
            counters.sent.add(frames, sent as u64);
        }
        if octets > 0 {
            let mut route = link.route();
            if way.proven {
                route.sent(way.to, octets, now);
            }
            let due = route.due();
            drop(route);
            self.shared.arm(&link.slot, Timer::Link(tunnel.peer, sealed), due);
        }
    }

    fn flush(&mut self, table: &Table, now: Instant) {
        if self.batch.is_empty() {
            return;
        }
        self.batch.flush(&self.sockets);
        for big in self.batch.too_big.drain(..) {
            // Rare: an interface of ours has become narrower.
            for (place, peer) in &table.peers {
                for sealed in [false, true] {
                    let link = peer.link(sealed);
                    let mut route = link.route();
                    route.too_big(big.to, big.octets, now);
                    let due = route.due();
                    drop(route);
                    self.shared.arm(&link.slot, Timer::Link(place, sealed), due);
                }
            }
        }
    }

    /// An interface that cannot be read is one that somebody deleted.
    #[cold]
    fn lose(&mut self, place: usize, tunnel: &Tunnel, error: &std::io::Error) {
        if tunnel.gone.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(interface = tunnel.tap.name(), tunnel = tunnel.id.0, %error, "interface gone");
        let _ = (place, self.shared.interfaces.delete(&*tunnel.tap));
        self.events.push(Event::Gone { tunnel: tunnel.id });
    }
}

/// Puts the packets of one frame or super-frame into the batch.
struct Sender<'a> {
    batch: &'a mut Batch,
    plain: &'a mut [u8],
    target: Target,
    /// WireGuard, if it is inside: held for as long as the frame takes, except where the octets
    /// that an address may be sent have to be asked for each packet.
    core: Option<(InnerHeader, &'a wireguard::Cores, Option<MutexGuard<'a, Core>>)>,
    link: &'a crate::link::Link,
    way: Way,
    tunnel: &'a Tunnel,
    now: Instant,
    octets: usize,
    packets: usize,
}

impl Sender<'_> {
    /// Tells WireGuard the time; what it has to say goes out first.
    fn wake(&mut self) {
        let Some((_, _, Some(core))) = &mut self.core else { return };
        if self.batch.left() >= wireguard::INITIATION
            && let Some(len) = core.wake(self.batch.room(), self.now)
        {
            self.batch.push(&self.target, len);
        }
    }

    /// Sends a piece of a frame, which `write` puts into a room that is large enough.
    #[inline]
    fn send(
        &mut self,
        outbound: &Outbound,
        piece: &Piece,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        let header = outbound.header(piece);
        let datagram = self.tunnel.overhead.datagram_len(piece.len);
        if !self.way.proven && !self.link.route().spend(self.way.to, datagram, self.now) {
            return self.tunnel.counters.unproven.add(1);
        }
        let sent = match &mut self.core {
            None => {
                let room = self.batch.room();
                let written = room
                    .get_mut(..header.len())
                    .map(|place| place.copy_from_slice(&header))
                    .and_then(|()| write(room.get_mut(header.len()..)?));
                match written {
                    Some(len) => {
                        self.batch.push(&self.target, header.len() + len);
                        header.len() + len
                    }
                    None => {
                        self.tunnel.counters.socket_full.add(1);
                        0
                    }
                }
            }
            Some((inner, cores, held)) => {
                let begin = INNER_HEADER_LEN + header.len();
                let written = self
                    .plain
                    .get_mut(INNER_HEADER_LEN..begin)
                    .map(|place| place.copy_from_slice(&header))
                    .and_then(|()| write(self.plain.get_mut(begin..)?));
                let Some(len) = written else {
                    return self.tunnel.counters.malformed.add(1);
                };
                let Some(packet) = finish_plain(self.plain, inner, header.len() + len) else {
                    return self.tunnel.counters.malformed.add(1);
                };
                match held {
                    Some(core) => seal(core, packet, &self.target, self.batch),
                    None => {
                        let mut core = cores.lock(wireguard::Way::Out);
                        seal(&mut core, packet, &self.target, self.batch)
                    }
                }
            }
        };
        self.octets += sent;
        self.packets += 1;
    }
}
