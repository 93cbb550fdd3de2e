//! The thread that sends: interfaces to sockets.

mod bond;
mod forward;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::time::Duration;

use homeward_l2tp::inner::INNER_HEADER_LEN;
use homeward_l2tp::{InnerHeader, Outbound, Overhead, Piece, TcpMss};
use homeward_linux::UdpSocket;
use homeward_linux::tap::{MAX_READ, VNET_HEADER};
use homeward_model::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollTimeout};

use self::forward::{Out, forward_all};
use crate::batch::{Batch, Target};
use crate::carry::{
    Keys, LARGEST_PAYLOAD, PLAIN, finish_plain, note_activity, note_refused, outlet, seal, target,
};
use crate::config::Side;
use crate::counters::Counters;
use crate::engine::{Alarm, Shared, Timer, WAKE};
use crate::event::Event;
use crate::link::Way;
use crate::status::{State, Traffic};
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
                    self.drain(&table, place, tunnel, shared.now());
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
            let place = table.tunnel_ids.get(&tunnel).copied();
            if let Some((place, tunnel)) = place.and_then(|at| Some((at, table.tunnels.get(at)?))) {
                self.drain(&table, place, tunnel, shared.now());
            }
        }
    }

    /// Puts what waited into the batch, and what the interface has; where the peer is not there,
    /// that waits.
    fn drain(&mut self, table: &Table, place: usize, tunnel: &Tunnel, now: Instant) {
        if let Some(bond) = &tunnel.bond {
            return self.drain_bond(table, place, tunnel, bond, now);
        }
        let Some(leg) = tunnel.legs.first() else { return };
        let Some(peer) = table.peers.get(leg.peer) else { return };
        let sealed = tunnel.config.encrypted;
        let link = peer.link(sealed);
        // What holds for all of them is found out once.
        let Some((way, interface, keys)) = outlet(peer, sealed) else {
            let wanted = link.route().state() != State::Unreachable;
            return self.hold(tunnel, wanted, now);
        };
        let target = target(&way, interface, &tunnel.counters);
        let wire = Wire::new(keys, &mut self.batch, &target, now);
        let largest = leg.overhead.largest_payload(way.to.ip(), way.mtu.into());
        let mut sender = Sender {
            batch: &mut self.batch,
            plain: &mut self.plain,
            target,
            wire,
            way,
            largest: largest.min(LARGEST_PAYLOAD),
            overhead: &leg.overhead,
            counters: &tunnel.counters,
            packets: 0,
            octets: 0,
            longest: 0,
            sent: Traffic::default(),
        };
        let (header, frame) = (&mut self.header, &mut self.frame);
        let lost = forward_all(tunnel, &mut sender, header, frame, self.shared.hold, now, |out| {
            if out.batch.left() < LOW {
                out.batch.flush(&self.sockets);
            }
        });
        let (octets, longest) = (sender.octets, sender.longest);
        let (packets, sent) = (sender.packets, sender.sent);
        drop(sender);
        if packets > 0 {
            tunnel.counters.sent.add(sent.frames, sent.octets);
            self.note_sent(leg.peer, peer, sealed, way.to, octets, longest, now);
        }
        if let Some(error) = lost {
            self.lose(tunnel, &error);
        }
        note_refused(&self.shared, table, &mut self.batch, now);
    }

    /// Tells a link what was sent by it.
    #[expect(clippy::too_many_arguments, reason = "the words of one link")]
    fn note_sent(
        &self,
        place: usize,
        peer: &Peer,
        sealed: bool,
        to: SocketAddr,
        octets: usize,
        longest: usize,
        now: Instant,
    ) {
        let link = peer.link(sealed);
        let mut route = link.route();
        route.sent(to, octets, longest, now);
        let due = route.due();
        drop(route);
        self.shared.arm(&link.slot, Timer::Link(place, sealed), due);
        if sealed {
            let due = note_activity(peer, now);
            self.shared.arm(&peer.slot, Timer::Cores(place), Some(due));
        }
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

/// What is around a tunnel's packets.
enum Wire<'a> {
    Clear,
    /// WireGuard, held for all of them.
    Sealed(&'a InnerHeader, MutexGuard<'a, Core>),
}

impl<'a> Wire<'a> {
    /// Begins a session where there is none, and tells WireGuard the time; what it has to say goes
    /// out first.
    fn new(keys: Option<Keys<'a>>, batch: &mut Batch, target: &Target, now: Instant) -> Self {
        let Some((inner, cores)) = keys else { return Self::Clear };
        if let Some(len) = cores.begin(batch.room()) {
            batch.push(target, len);
        }
        let mut core = cores.sealer();
        if batch.left() >= wireguard::INITIATION
            && let Some(len) = core.wake(batch.room(), now)
        {
            batch.push(target, len);
        }
        Self::Sealed(inner, core)
    }
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

impl Out for Sender<'_> {
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

    fn largest(&self) -> usize {
        self.largest
    }

    fn mss(&self) -> TcpMss {
        self.overhead.tcp_mss(self.way.to.ip(), self.way.mtu.into())
    }

    fn counters(&self) -> &Counters {
        self.counters
    }

    fn note_frame(&mut self, octets: usize) {
        self.sent.frames += 1;
        self.sent.octets += octets as u64;
    }
}

impl Sender<'_> {
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
