//! Frames of a tunnel of several paths.

use std::net::SocketAddr;
use std::sync::MutexGuard;

use homeward_l2tp::inner::INNER_HEADER_LEN;
use homeward_l2tp::{MAX_HEADER_LEN, Outbound, Piece, TcpMss};
use homeward_linux::UdpSocket;
use homeward_model::Instant;
use homeward_multipath::{
    MAX_PATHS, PacketInfo, PathId, Route, Sender as Paths, Urgency, classify,
};

use super::forward::{Out, forward_all};
use super::{Egress, Wire, outlet};
use crate::batch::{Batch, Target};
use crate::bond::{Bond, take_events};
use crate::carry::{LARGEST_PAYLOAD, PLAIN, finish_plain, note_refused, seal, target};
use crate::counters::Counters;
use crate::engine::Timer;
use crate::link::Way;
use crate::status::{State, Traffic};
use crate::table::{Leg, Peer, Table, Tunnel};
use crate::wireguard::INITIATION;

/// Where the octets of a frame begin in the thread's own memory: all that may come before them fits.
const CONTENT: usize = INNER_HEADER_LEN + MAX_HEADER_LEN;

/// With less room than this the batch goes out before another datagram is put into it.
const DATAGRAM: usize = if PLAIN > INITIATION { 2 * PLAIN } else { 2 * INITIATION };

impl Egress {
    /// As [`drain`](Self::drain), by as many paths as each packet is to go.
    pub(super) fn drain_bond(
        &mut self,
        table: &Table,
        place: usize,
        tunnel: &Tunnel,
        bond: &Bond,
        now: Instant,
    ) {
        let sealed = tunnel.config.encrypted;
        let mut ways: [Option<LegOut<'_>>; MAX_PATHS] = [const { None }; MAX_PATHS];
        let mut largest = LARGEST_PAYLOAD;
        for ((room, path), leg) in ways.iter_mut().zip(PathId::ALL).zip(&tunnel.legs) {
            let Some(peer) = table.peers.get(leg.peer) else { continue };
            let Some((way, interface, keys)) = outlet(peer, sealed) else { continue };
            let target = target(&way, interface, &tunnel.counters);
            let wire = Wire::new(keys, &mut self.batch, &target, now);
            // A frame fits whatever path it goes by: which, is found out for each piece of it.
            largest = largest.min(leg.overhead.largest_payload(way.to.ip(), way.mtu.into()));
            *room = Some(LegOut { path, leg, peer, target, wire, way, octets: 0, longest: 0 });
        }
        let open: Route = ways.iter().flatten().map(|leg| leg.path).collect();
        bond.note_open(open, now);
        if open.is_empty() {
            drop(ways);
            let away = |leg: &Leg| {
                let peer = table.peers.get(leg.peer);
                peer.is_none_or(|peer| peer.link(sealed).route().state() == State::Unreachable)
            };
            return self.hold(tunnel, !tunnel.legs.iter().all(away), now);
        }
        let mut out = BondOut {
            batch: &mut self.batch,
            plain: &mut self.plain,
            sockets: &self.sockets,
            paths: bond.sender(),
            ways,
            largest,
            small: bond.small(),
            urgency: Urgency::default(),
            counters: &tunnel.counters,
            sent: Traffic::default(),
            now,
        };
        let (header, frame) = (&mut self.header, &mut self.frame);
        let lost = forward_all(tunnel, &mut out, header, frame, self.shared.hold, now, |_| {});
        let due = out.paths.poll_timeout();
        take_events(tunnel.id, &mut out.paths, &mut self.events);
        let (gone, sent) = out.finish();
        for Gone { place, peer, to, octets, longest } in gone.into_iter().flatten() {
            self.note_sent(place, peer, sealed, to, octets, longest, now);
        }
        tunnel.counters.sent.add(sent.frames, sent.octets);
        self.shared.arm(&bond.slot, Timer::Bond(place), due);
        if let Some(error) = lost {
            self.lose(tunnel, &error);
        }
        note_refused(&self.shared, table, &mut self.batch, now);
    }
}

/// A path that there is.
struct LegOut<'a> {
    path: PathId,
    leg: &'a Leg,
    peer: &'a Peer,
    target: Target,
    wire: Wire<'a>,
    way: Way,
    /// Octets of all datagrams, and of the longest.
    octets: usize,
    longest: usize,
}

/// What went by a path.
struct Gone<'a> {
    /// The peer's place.
    place: usize,
    peer: &'a Peer,
    to: SocketAddr,
    octets: usize,
    longest: usize,
}

/// Puts the packets of an interface's frames into the batch, once for each path they go by.
struct BondOut<'a, 't> {
    batch: &'a mut Batch,
    plain: &'a mut [u8],
    sockets: &'a [UdpSocket],
    paths: MutexGuard<'a, Paths>,
    ways: [Option<LegOut<'t>>; MAX_PATHS],
    /// The most octets of a frame in a packet.
    largest: usize,
    /// Octets up to which a frame is urgent.
    small: usize,
    /// That of the frame whose pieces are sent.
    urgency: Urgency,
    counters: &'a Counters,
    sent: Traffic,
    now: Instant,
}

impl<'t> BondOut<'_, 't> {
    /// What went by which path; whatever holds a lock is let go.
    fn finish(self) -> ([Option<Gone<'t>>; MAX_PATHS], Traffic) {
        let gone = self.ways.map(|way| {
            let LegOut { leg, peer, way, octets, longest, .. } = way?;
            let (place, to) = (leg.peer, way.to);
            (octets > 0).then_some(Gone { place, peer, to, octets, longest })
        });
        (gone, self.sent)
    }
}

impl Out for BondOut<'_, '_> {
    #[inline]
    fn begin(&mut self, frame: &[u8]) {
        self.urgency = classify(frame, self.small);
    }

    #[inline]
    fn send(
        &mut self,
        outbound: &Outbound,
        piece: &Piece,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let _ = outbound;
        let octets = self.ways.iter().flatten().next().map_or(0, |one| {
            // Near enough on the others: what they differ in is IPv6's header.
            one.leg.overhead.datagram_len(piece.len)
        });
        let packet = PacketInfo { octets, urgency: self.urgency };
        let route = self.paths.route(packet, self.now);
        if route.is_empty() {
            self.counters.no_path.add(1);
            return false;
        }
        let Some(len) = self.plain.get_mut(CONTENT..).and_then(write) else {
            self.counters.malformed.add(1);
            return false;
        };
        let mut sent = false;
        for path in route {
            let way = self.ways.get_mut(usize::from(path.get())).and_then(Option::as_mut);
            let Some(way) = way else { continue };
            if self.batch.left() < DATAGRAM {
                self.batch.flush(self.sockets);
            }
            let octets = way.put(self.batch, self.plain, piece, len);
            self.paths.sent(path, piece.sequence, octets, self.now);
            sent |= octets > 0;
        }
        sent
    }

    fn largest(&self) -> usize {
        self.largest
    }

    fn mss(&self) -> TcpMss {
        let fits = self
            .ways
            .iter()
            .flatten()
            .map(|one| one.leg.overhead.tcp_mss(one.way.to.ip(), one.way.mtu.into()));
        let least = fits.reduce(|a, b| TcpMss { v4: a.v4.min(b.v4), v6: a.v6.min(b.v6) });
        least.unwrap_or(TcpMss { v4: u16::MAX, v6: u16::MAX })
    }

    fn counters(&self) -> &Counters {
        self.counters
    }

    fn note_frame(&mut self, octets: usize) {
        self.sent.frames += 1;
        self.sent.octets += octets as u64;
    }
}

impl LegOut<'_> {
    /// Puts a piece into the batch, whose `len` octets lie at [`CONTENT`]. Gives the octets of the
    /// datagram.
    #[inline]
    fn put(&mut self, batch: &mut Batch, plain: &mut [u8], piece: &Piece, len: usize) -> usize {
        let header = self.leg.template.header(piece.sequence, piece.fragment);
        let begin = CONTENT - header.len();
        let Some(place) = plain.get_mut(begin..CONTENT) else { return 0 };
        place.copy_from_slice(&header);
        let octets = match &mut self.wire {
            Wire::Clear => {
                let packet = plain.get(begin..CONTENT + len).unwrap_or_default();
                let Some(room) = batch.room().get_mut(..packet.len()) else { return 0 };
                room.copy_from_slice(packet);
                let octets = packet.len();
                batch.push(&self.target, octets);
                octets
            }
            Wire::Sealed(inner, core) => {
                let content = plain.get_mut(begin - INNER_HEADER_LEN..).unwrap_or_default();
                let Some(packet) = finish_plain(content, inner, header.len() + len) else {
                    return 0;
                };
                seal(core, packet, &self.target, batch)
            }
        };
        self.octets += octets;
        self.longest = self.longest.max(octets);
        octets
    }
}
