//! The thread that receives: sockets to interfaces. It also does what is due in time.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homeward_l2tp::{Delivery, Echo, peek_session_id};
use homeward_linux::{AddressWatch, Incoming, UdpSocket};
use homeward_model::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollTimeout};

use crate::batch::{Batch, Target};
use crate::carry::{Arrival, note_activity, poll_cores, pump};
use crate::config::Side;
use crate::engine::{ADDRESSES, AnyEntropy, Shared, Timer, WAKE};
use crate::event::Event;
use crate::link::encapsulation;
use crate::offload::coalesce::{Coalescer, Part};
use crate::offload::mss;
use crate::offload::packet::TcpPacket;
use crate::table::{Peer, Table, Tunnel, lock};
use crate::wireguard::{self, Message, Opened, Way, core_of};

/// How many messages are received in one call.
const ROOMS: usize = 8;

/// Octets of a room: the longest UDP payload.
const ROOM: usize = 65_536;

/// Room for replies.
const ARENA: usize = 64 * 1024;

/// How many calls are made for one socket before the other, and time, have their turn.
const TURN: usize = 8;

/// The longest wait, in which nothing is due.
const LONGEST: Duration = Duration::from_secs(600);

/// Where a frame lies.
#[derive(Debug, Clone, Copy)]
struct Span {
    place: Place,
    begin: usize,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Where it was received.
    Received,
    /// Where it was opened.
    Opened,
    /// Where it was put together.
    Whole,
}

/// Where frames lie until they are written.
struct Buffers {
    received: Box<[u8]>,
    opened: Box<[u8]>,
    opened_used: usize,
    whole: Vec<u8>,
}

impl Buffers {
    fn bytes(&self, span: Span) -> &[u8] {
        let buffer = match span.place {
            Place::Received => &self.received[..],
            Place::Opened => &self.opened[..],
            Place::Whole => &self.whole[..],
        };
        buffer.get(span.begin..span.begin + span.len).unwrap_or_default()
    }

    fn bytes_mut(&mut self, span: Span) -> &mut [u8] {
        let buffer = match span.place {
            Place::Received => &mut self.received[..],
            Place::Opened => &mut self.opened[..],
            Place::Whole => &mut self.whole[..],
        };
        buffer.get_mut(span.begin..span.begin + span.len).unwrap_or_default()
    }
}

/// A tunnel's frames of this batch.
struct Pending {
    tunnel: usize,
    coalescer: Coalescer<Span>,
    frames: u64,
    octets: u64,
}

/// The thread's own memory.
pub(crate) struct Ingress {
    shared: Arc<Shared>,
    sockets: Arc<[UdpSocket]>,
    addresses: AddressWatch,
    entropy: AnyEntropy,
    buffers: Buffers,
    arrivals: Vec<Incoming>,
    /// Those from `used` on are spare.
    pending: Vec<Pending>,
    used: usize,
    batch: Batch,
    events: Vec<Event>,
}

impl Ingress {
    pub(crate) fn new(
        shared: Arc<Shared>,
        sockets: Arc<[UdpSocket]>,
        addresses: AddressWatch,
        entropy: AnyEntropy,
    ) -> Self {
        Self {
            shared,
            sockets,
            addresses,
            entropy,
            buffers: Buffers {
                received: vec![0; ROOMS * ROOM].into_boxed_slice(),
                opened: vec![0; ROOMS * ROOM].into_boxed_slice(),
                opened_used: 0,
                whole: Vec::new(),
            },
            arrivals: Vec::new(),
            pending: Vec::new(),
            used: 0,
            batch: Batch::new(ARENA),
            events: Vec::new(),
        }
    }

    /// Receives until it is told to stop.
    pub(crate) fn run(mut self, sockets: &nix::sys::epoll::Epoll) {
        let shared = Arc::clone(&self.shared);
        let mut ready = [EpollEvent::empty(); 8];
        while !shared.is_stopping() {
            let count = match sockets.wait(&mut ready, timeout(&shared)) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "the data plane receives no more");
                    return;
                }
            };
            for event in ready.iter().take(count) {
                match event.data() {
                    WAKE => shared.receiver_woke(),
                    ADDRESSES => self.note_addresses(),
                    socket => self.receive(usize::try_from(socket).unwrap_or(usize::MAX)),
                }
            }
            self.do_what_is_due();
            shared.tell(&mut self.events);
        }
    }

    /// Tells all links which of our addresses came and went.
    fn note_addresses(&mut self) {
        let changes = self.addresses.changes();
        let (shared, now) = (Arc::clone(&self.shared), self.shared.now());
        let table = shared.table();
        for (place, peer) in &table.peers {
            for sealed in [false, true] {
                let mut route = peer.link(sealed).route();
                changes.iter().for_each(|change| route.address_changed(*change, now));
                drop(route);
                self.look_after(place, peer, sealed, None, now);
            }
            if self.batch.left() < ARENA / 2 {
                self.batch.flush(&self.sockets);
            }
        }
        self.batch.flush(&self.sockets);
        self.batch.too_big.clear();
    }

    /// Receives what a socket has.
    fn receive(&mut self, socket: usize) {
        let (shared, sockets) = (Arc::clone(&self.shared), Arc::clone(&self.sockets));
        let Some(socket) = sockets.get(socket) else { return };
        for _ in 0..TURN {
            self.arrivals.clear();
            let rooms = self.buffers.received.chunks_mut(ROOM);
            let arrivals = &mut self.arrivals;
            let received = match socket.receive(rooms, |incoming| arrivals.push(incoming)) {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "nothing received");
                    return;
                }
            };
            if received == 0 {
                return;
            }
            let now = shared.now();
            let table = shared.table();
            for at in 0..self.arrivals.len() {
                self.take(&table, at, now);
            }
            self.write_frames(&table);
            self.batch.flush(&self.sockets);
            self.batch.too_big.clear();
            self.buffers.opened_used = 0;
            self.buffers.whole.clear();
            drop(table);
            if received < ROOMS {
                return;
            }
        }
    }

    /// Takes a message: one datagram, or a run of them.
    fn take(&mut self, table: &Table, at: usize, now: Instant) {
        let Some(incoming) = self.arrivals.get(at).copied() else { return };
        let size = incoming.segment.map_or(incoming.len, usize::from).max(1);
        let arrival = Arrival { from: incoming.from, to: incoming.to };
        let mut heard = Heard { peer: usize::MAX, sealed: false, octets: 0 };
        let mut begin = 0;
        while begin < incoming.len {
            let len = size.min(incoming.len - begin);
            let span = Span { place: Place::Received, begin: at * ROOM + begin, len };
            begin += len;
            let from = match self.buffers.bytes(span).first() {
                Some(0) => self.take_clear(table, span, arrival, now),
                Some(1..=4) => self.take_wireguard(table, span, arrival, now),
                _ => {
                    count(&self.shared.refused.unknown);
                    None
                }
            };
            let Some((peer, sealed)) = from else { continue };
            if (heard.peer, heard.sealed) != (peer, sealed) {
                self.hear(table, heard, arrival, now);
                heard = Heard { peer, sealed, octets: 0 };
            }
            heard.octets += len;
        }
        self.hear(table, heard, arrival, now);
    }

    /// Tells the link of what came from there.
    fn hear(&mut self, table: &Table, heard: Heard, arrival: Arrival, now: Instant) {
        let Heard { peer: place, sealed, octets } = heard;
        let Some(peer) = table.peers.get(place) else { return };
        let link = peer.link(sealed);
        link.received(arrival.from, arrival.to, octets, sealed, now, &mut self.events);
        self.look_after(place, peer, sealed, Some(arrival), now);
        if sealed {
            let due = note_activity(peer, now);
            self.shared.timers.arm(&peer.slot, Timer::Cores(place), due);
        }
    }

    /// Does what is due on a link, and has it come up when something is.
    fn look_after(
        &mut self,
        place: usize,
        peer: &Peer,
        sealed: bool,
        arrival: Option<Arrival>,
        now: Instant,
    ) {
        let link = peer.link(sealed);
        let mut due = link.route().due();
        if due.is_some_and(|due| due <= now) {
            link.timeout(&self.shared.path, now, &mut self.entropy);
            due = pump(peer, sealed, arrival, &mut self.batch, &mut self.events, now);
        }
        if let Some(due) = due {
            self.shared.timers.arm(&link.slot, Timer::Link(place, sealed), due);
        }
    }

    /// Takes a datagram with L2TP in the clear. Gives the link that it is an authentic one of.
    #[inline]
    fn take_clear(
        &mut self,
        table: &Table,
        span: Span,
        arrival: Arrival,
        now: Instant,
    ) -> Option<(usize, bool)> {
        match self.take_l2tp(table, span, None, span.len, arrival, now) {
            Taken::Data(peer) => Some((peer, false)),
            Taken::Echo | Taken::Nothing => None,
        }
    }

    /// Takes an L2TP packet, in the clear or opened.
    #[inline]
    fn take_l2tp(
        &mut self,
        table: &Table,
        span: Span,
        sealed_by: Option<usize>,
        datagram: usize,
        arrival: Arrival,
        now: Instant,
    ) -> Taken {
        let sealed = sealed_by.is_some();
        let Buffers { received, opened, whole, .. } = &mut self.buffers;
        let buffer = if sealed { opened } else { received };
        let packet = buffer.get(span.begin..span.begin + span.len).unwrap_or_default();
        let place = peek_session_id(packet, encapsulation(sealed))
            .ok()
            .and_then(|session| table.sessions.get(&session.get()).copied());
        let Some((place, tunnel)) = place.and_then(|at| Some((at, table.tunnels.get(at)?))) else {
            count(&self.shared.refused.unknown);
            return Taken::Nothing;
        };
        // A session belongs to one peer, and is inside WireGuard or not: never as it comes.
        if tunnel.config.encrypted != sealed || sealed_by.is_some_and(|peer| peer != tunnel.peer) {
            count(&self.shared.refused.unknown);
            return Taken::Nothing;
        }
        let mut inbound = lock(&tunnel.inbound);
        let frame = match inbound.accept(packet, now) {
            Ok(Delivery::Frame(frame)) => {
                if packet.as_ptr_range().contains(&frame.as_ptr()) {
                    // A whole frame is the packet's end.
                    let begin = span.begin + (packet.len() - frame.len());
                    Span { begin, len: frame.len(), ..span }
                } else {
                    let begin = whole.len();
                    whole.extend_from_slice(frame);
                    Span { place: Place::Whole, begin, len: frame.len() }
                }
            }
            Ok(Delivery::Control(message)) => {
                let echo = Echo::decode(message).ok();
                drop(inbound);
                if let Some(echo) = echo {
                    let heard = Heard { peer: tunnel.peer, sealed, octets: datagram };
                    self.take_echo(table, heard, &echo, arrival, now);
                }
                return Taken::Echo;
            }
            Ok(Delivery::Pending) => {
                let due = inbound.poll_timeout();
                drop(inbound);
                if let Some(due) = due {
                    self.shared.timers.arm(&tunnel.slot, Timer::Fragments(place), due);
                }
                return Taken::Data(tunnel.peer);
            }
            Err(_) => return Taken::Nothing, // the session has counted it
        };
        drop(inbound);
        self.deliver(table, place, tunnel, frame, now);
        Taken::Data(tunnel.peer)
    }

    fn take_echo(
        &mut self,
        table: &Table,
        heard: Heard,
        echo: &Echo,
        arrival: Arrival,
        now: Instant,
    ) {
        let Heard { peer: place, sealed, octets } = heard;
        let Some(peer) = table.peers.get(place) else { return };
        let link = peer.link(sealed);
        link.route().echo(arrival.from, arrival.to, echo, octets, now);
        let arrival = Some(arrival);
        let due = pump(peer, sealed, arrival, &mut self.batch, &mut self.events, now);
        if let Some(due) = due {
            self.shared.timers.arm(&link.slot, Timer::Link(place, sealed), due);
        }
        self.look_after(place, peer, sealed, arrival, now);
    }

    /// Puts a frame to those that its interface is to be written.
    #[inline]
    fn deliver(&mut self, table: &Table, place: usize, tunnel: &Tunnel, span: Span, now: Instant) {
        let frame = self.buffers.bytes_mut(span);
        {
            let mut port = lock(&tunnel.port);
            let verdict = match tunnel.config.side {
                Side::Home => port.from_stranger(frame, now),
                Side::Foreign => port.to_stranger(frame, now),
            };
            if !verdict.passes() {
                return; // the port has counted it
            }
        }
        let packet = TcpPacket::decode(frame);
        if let Some(packet) = &packet {
            mss::clamp(frame, packet, || {
                let link = table.peers.get(tunnel.peer)?.link(tunnel.config.encrypted);
                let way = link.route().way()?;
                Some(tunnel.overhead.tcp_mss(way.to.ip(), way.mtu.into()))
            });
        }
        let known = self.pending.iter().take(self.used).position(|one| one.tunnel == place);
        let at = known.unwrap_or_else(|| {
            match self.pending.get_mut(self.used) {
                Some(spare) => spare.tunnel = place,
                None => self.pending.push(Pending {
                    tunnel: place,
                    coalescer: Coalescer::new(),
                    frames: 0,
                    octets: 0,
                }),
            }
            self.used += 1;
            self.used - 1
        });
        if let Some(pending) = self.pending.get_mut(at) {
            pending.frames += 1;
            pending.octets += span.len as u64;
            pending.coalescer.push(self.buffers.bytes(span), packet, span);
        }
    }

    /// Writes the frames of this batch to their interfaces.
    fn write_frames(&mut self, table: &Table) {
        let buffers = &self.buffers;
        for pending in self.pending.iter_mut().take(self.used) {
            let Some(tunnel) = table.tunnels.get(pending.tunnel) else { continue };
            let mut parts: Vec<IoSlice<'_>> = Vec::new();
            let (mut lost, mut lost_octets) = (0, 0);
            pending.coalescer.drain(|output| {
                let vnet = output.vnet.encode();
                // The slices live no longer than the header: a new list each time, from old memory.
                let mut list = recycle(std::mem::take(&mut parts));
                list.push(IoSlice::new(&vnet));
                if !output.header.is_empty() {
                    list.push(IoSlice::new(output.header));
                }
                list.extend(output.parts.iter().map(|part| IoSlice::new(piece(buffers, part))));
                if let Err(error) = tunnel.tap.write(&list) {
                    tracing::trace!(%error, interface = tunnel.tap.name(), "frame not written");
                    lost += output.parts.len() as u64;
                    lost_octets += output.parts.iter().map(|p| p.to - p.from).sum::<usize>() as u64;
                }
                parts = recycle(list);
            });
            tunnel.counters.tap.add(lost);
            let octets = pending.octets.saturating_sub(lost_octets);
            tunnel.counters.received.add(pending.frames - lost, octets);
            (pending.frames, pending.octets) = (0, 0);
        }
        self.used = 0;
    }

    /// Takes a WireGuard message. Gives the link that it is an authentic one of.
    #[inline]
    fn take_wireguard(
        &mut self,
        table: &Table,
        span: Span,
        arrival: Arrival,
        now: Instant,
    ) -> Option<(usize, bool)> {
        let message = self.buffers.bytes(span);
        match wireguard::kind(message) {
            Some(wireguard::DATA) => {
                let index = wireguard::data_index(message)?;
                self.take_data(table, index, span, arrival, now)
            }
            Some(_) => self.take_handshake(table, span, arrival, now),
            None => {
                count(&self.shared.refused.unknown);
                None
            }
        }
    }

    #[inline]
    fn take_data(
        &mut self,
        table: &Table,
        index: u32,
        span: Span,
        arrival: Arrival,
        now: Instant,
    ) -> Option<(usize, bool)> {
        let known = table.cores.get(&index).and_then(|(at, way)| {
            let peer = table.peers.get(*at)?;
            Some((*at, *way, peer, peer.cores.as_ref()?))
        });
        let Some((place, way, peer, cores)) = known else {
            count(&self.shared.refused.unknown);
            return None;
        };
        let begin = self.buffers.opened_used;
        let message = self.buffers.received.get(span.begin..span.begin + span.len)?;
        let room = self.buffers.opened.get_mut(begin..)?;
        if room.len() < message.len() {
            return None;
        }
        let opened = {
            let mut core = cores.lock(way);
            if let Some(len) = core.wake(self.batch.room(), now) {
                self.batch.push(&reply_to(arrival), len);
            }
            core.open(message, room)
        };
        let len = match opened {
            Ok(Opened::Packet(len)) => len,
            Ok(Opened::Nothing) => return Some((place, true)),
            Ok(Opened::Reply(_)) | Err(()) => {
                count(&self.shared.refused.wireguard);
                return None;
            }
        };
        self.buffers.opened_used += len;
        let packet = self.buffers.opened.get(begin..begin + len)?;
        let inner = peer.inner.as_ref()?;
        let Ok(content) = inner.open(packet) else {
            count(&self.shared.refused.unknown);
            return Some((place, true));
        };
        let at = begin + (content.as_ptr() as usize - packet.as_ptr() as usize);
        let inside = Span { place: Place::Opened, begin: at, len: content.len() };
        // Authentic it is, whatever L2TP makes of it; but the path was told of an echo already.
        match self.take_l2tp(table, inside, Some(place), span.len, arrival, now) {
            Taken::Echo => None,
            Taken::Data(_) | Taken::Nothing => Some((place, true)),
        }
    }

    #[cold]
    fn take_handshake(
        &mut self,
        table: &Table,
        span: Span,
        arrival: Arrival,
        now: Instant,
    ) -> Option<(usize, bool)> {
        let shared = Arc::clone(&self.shared);
        let mut cookie = [0; 64];
        let message = self.buffers.bytes(span);
        let (place, way) = match shared.identity.screen(message, arrival.from.ip(), &mut cookie) {
            Some(Message::Initiation(key)) => (table.keys.get(&key).copied(), Way::In),
            Some(Message::For(index)) => match table.cores.get(&core_of(index)) {
                Some((place, way)) => (Some(*place), *way),
                None => (None, Way::In),
            },
            Some(Message::Cookie(octets)) => {
                if let Some(room) = self.batch.room().get_mut(..octets.len()) {
                    room.copy_from_slice(octets);
                    self.batch.push(&reply_to(arrival), octets.len());
                }
                return None;
            }
            None => (None, Way::In),
        };
        let known = place.and_then(|at| {
            let peer = table.peers.get(at)?;
            Some((at, peer, peer.cores.as_ref()?))
        });
        let Some((place, peer, cores)) = known else {
            count(&shared.refused.wireguard);
            return None;
        };
        if self.batch.left() < 4096 {
            return None;
        }
        let mut core = cores.lock(way);
        if let Some(len) = core.wake(self.batch.room(), now) {
            self.batch.push(&reply_to(arrival), len);
        }
        let message = self.buffers.received.get(span.begin..span.begin + span.len)?;
        let opened = core.open(message, self.batch.room());
        drop(core);
        match opened {
            Ok(Opened::Reply(len)) => {
                // It is shorter than what it answers.
                self.batch.push(&reply_to(arrival), len);
                let heard = Heard { peer: place, sealed: true, octets: span.len };
                self.hear(table, heard, arrival, now);
                peer.link(true).route().spend(arrival.from, len, now);
                self.send_waiting(peer, cores, way, arrival, now);
            }
            Ok(_) => {}
            Err(()) => count(&shared.refused.wireguard),
        }
        None
    }

    /// Sends the packets that waited for a session, as far as the address may be sent them.
    fn send_waiting(
        &mut self,
        peer: &Peer,
        cores: &wireguard::Cores,
        way: Way,
        arrival: Arrival,
        now: Instant,
    ) {
        while self.batch.left() >= 4096 {
            let Some(len) = cores.lock(way).next_waiting(self.batch.room()) else { return };
            if peer.link(true).route().spend(arrival.from, len, now) {
                self.batch.push(&reply_to(arrival), len);
            }
        }
    }

    fn do_what_is_due(&mut self) {
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        if shared.timers.next().is_none_or(|due| due > now) {
            return;
        }
        let table = shared.table();
        while let Some((due, timer)) = shared.timers.pop(now) {
            match timer {
                Timer::Link(place, sealed) => {
                    let Some(peer) = table.peers.get(place) else { continue };
                    if peer.link(sealed).slot.claim(due) {
                        self.look_after(place, peer, sealed, None, now);
                    }
                }
                Timer::Cores(place) => {
                    let Some(peer) = table.peers.get(place) else { continue };
                    if peer.slot.claim(due)
                        && let Some(due) = poll_cores(&shared, peer, &mut self.batch, now)
                    {
                        shared.timers.arm(&peer.slot, timer, due);
                    }
                }
                Timer::Fragments(place) => {
                    let Some(tunnel) = table.tunnels.get(place) else { continue };
                    if tunnel.slot.claim(due) {
                        let mut inbound = lock(&tunnel.inbound);
                        inbound.handle_timeout(now);
                        if let Some(due) = inbound.poll_timeout() {
                            shared.timers.arm(&tunnel.slot, timer, due);
                        }
                    }
                }
            }
            if self.batch.left() < ARENA / 2 {
                self.batch.flush(&self.sockets);
            }
        }
        self.batch.flush(&self.sockets);
        self.batch.too_big.clear();
    }
}

/// What a packet came to.
enum Taken {
    /// It was an authentic one of this peer's.
    Data(usize),
    /// It was an echo, and the path was told.
    Echo,
    /// It was nothing.
    Nothing,
}

/// What was heard of a link within one message.
#[derive(Debug, Clone, Copy)]
struct Heard {
    peer: usize,
    sealed: bool,
    octets: usize,
}

fn reply_to(arrival: Arrival) -> Target {
    Target { to: arrival.from, from: arrival.to, counters: None }
}

fn piece<'a>(buffers: &'a Buffers, part: &Part<Span>) -> &'a [u8] {
    buffers.bytes(part.frame).get(part.from..part.to).unwrap_or_default()
}

/// The memory of a list, for a list of slices that live for another time.
fn recycle<'b>(mut list: Vec<IoSlice<'_>>) -> Vec<IoSlice<'b>> {
    list.clear();
    // Collected in place: the standard library reuses the allocation.
    list.into_iter().map(|_| IoSlice::new(&[])).collect()
}

fn timeout(shared: &Shared) -> EpollTimeout {
    let wait = shared.timers.next().map_or(LONGEST, |due| due.since(shared.now())).min(LONGEST);
    // Rounded up: what is woken too early would spin until it is time.
    let millis = wait.as_nanos().div_ceil(1_000_000);
    EpollTimeout::try_from(u32::try_from(millis).unwrap_or(u32::MAX)).unwrap_or(EpollTimeout::NONE)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
