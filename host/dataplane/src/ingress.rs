//! The thread that receives: sockets to interfaces. It also does what is due in time.

mod bonded;
mod frames;
mod sealed;
mod seen;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homeward_l2tp::{Delivery, Echo, peek_session_id};
use homeward_linux::udp::TooLong;
use homeward_linux::{AddressWatch, Incoming, UdpSocket};
use homeward_model::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags, EpollTimeout};

use self::bonded::Came;
use self::frames::{Buffers, Pending, Place, Span};

use crate::batch::{Batch, Target};
use crate::carry::{Arrival, note_activity, note_refused, poll_cores, pump, tell_links};
use crate::engine::{ADDRESSES, Alarm, AnyEntropy, Shared, Timer, WAKE};
use crate::event::Event;
use crate::link::encapsulation;
use crate::table::{Peer, Table, lock};
use crate::wireguard::Way;

/// How many messages are received before their frames are written. Frames of one stream in one
/// batch become one: the more the better, as long as they are there already.
const ROOMS: usize = 64;

/// Octets of a room: the longest UDP payload, and three cache lines more, lest the beginnings of
/// all rooms share the same few lines of the cache.
const ROOM: usize = 65_536 + 192;

/// A batch ends with the call in which it has so many octets.
const BATCH: usize = 128 * 1024;

/// How many messages are received in one call: few if they are runs, for what is received then
/// should still be in the cache when it is looked at.
const CALL_RUNS: usize = 4;
const CALL_SINGLES: usize = 16;

/// Room for replies.
const ARENA: usize = 64 * 1024;

/// How many batches of one socket are taken before the other, and time, have their turn.
const TURN: usize = 8;

/// The longest wait, in which nothing is due.
const LONGEST: Duration = Duration::from_secs(600);

/// The thread's own memory.
pub(crate) struct Ingress {
    shared: Arc<Shared>,
    sockets: Arc<[UdpSocket]>,
    addresses: AddressWatch,
    entropy: AnyEntropy,
    buffers: Buffers,
    arrivals: Vec<Incoming>,
    hints: Hints,
    /// Whether the last call found runs of datagrams rather than single ones.
    runs: bool,
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
                opened: vec![0; BATCH + CALL_SINGLES * ROOM].into_boxed_slice(),
                opened_used: 0,
                whole: Vec::new(),
            },
            arrivals: Vec::new(),
            hints: Hints::default(),
            runs: false,
            pending: Vec::new(),
            used: 0,
            batch: Batch::new(ARENA),
            events: Vec::new(),
        }
    }

    /// Receives until it is told to stop.
    pub(crate) fn run(mut self, sockets: &Epoll) {
        let shared = Arc::clone(&self.shared);
        let _alarm = Alarm(Arc::clone(&shared));
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
                    socket => {
                        let socket = usize::try_from(socket).unwrap_or(usize::MAX);
                        if event.events().contains(EpollFlags::EPOLLERR) {
                            self.note_complaints(socket);
                        }
                        self.receive(socket);
                    }
                }
            }
            self.do_what_is_due();
            shared.tell(&mut self.events);
        }
    }

    /// Tells all links which of our addresses came and went.
    fn note_addresses(&mut self) {
        let changes = self.addresses.changes();
        self.note_own_addresses(&changes);
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
                self.flush(&table, now);
            }
        }
        self.flush(&table, now);
    }

    /// Tells the links what routers say that they cannot carry.
    fn note_complaints(&mut self, socket: usize) {
        let (shared, now) = (Arc::clone(&self.shared), self.shared.now());
        let Some(socket) = self.sockets.get(socket) else { return };
        let mut complaints = Vec::new();
        let read = socket.complaints(|complaint| {
            // Who sends many of them is heard once.
            if !complaints.contains(&complaint) {
                complaints.push(complaint);
            }
        });
        if let Err(error) = read {
            tracing::debug!(%error, "no complaints read");
        }
        let table = shared.table();
        for TooLong { to, mtu } in complaints {
            tracing::debug!(%to, mtu, "a router says that packets are too long");
            tell_links(&shared, &table, |route| route.too_big(to, mtu, now));
        }
    }

    /// Sends what the batch has.
    fn flush(&mut self, table: &Table, now: Instant) {
        if !self.batch.is_empty() {
            self.batch.flush(&self.sockets);
            note_refused(&self.shared, table, &mut self.batch, now);
        }
    }

    /// Receives what a socket has.
    fn receive(&mut self, socket: usize) {
        let (shared, sockets) = (Arc::clone(&self.shared), Arc::clone(&self.sockets));
        let Some(socket) = sockets.get(socket) else { return };
        for _ in 0..TURN {
            let more = self.gather(socket);
            if self.arrivals.is_empty() {
                return;
            }
            let now = shared.now();
            let table = shared.table();
            self.hints = Hints::default();
            for at in 0..self.arrivals.len() {
                self.take(&table, at, now);
            }
            self.write_frames(&table);
            self.flush(&table, now);
            self.buffers.opened_used = 0;
            self.buffers.whole.clear();
            drop(table);
            if !more {
                return;
            }
        }
    }

    /// Receives a batch, without waiting. Whether there may be more.
    fn gather(&mut self, socket: &UdpSocket) -> bool {
        self.arrivals.clear();
        let mut octets = 0;
        while octets < BATCH && self.arrivals.len() < ROOMS {
            let taken = self.arrivals.len();
            let call = if self.runs { CALL_RUNS } else { CALL_SINGLES }.min(ROOMS - taken);
            let rooms = self.buffers.received.chunks_mut(ROOM).skip(taken).take(call);
            let arrivals = &mut self.arrivals;
            let received = match socket.receive(rooms, |incoming| arrivals.push(incoming)) {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "nothing received");
                    return false;
                }
            };
            let now = self.arrivals.iter().skip(taken).map(|incoming| incoming.len).sum::<usize>();
            self.runs = now >= received * 8192;
            octets += now;
            if received < call {
                return false;
            }
        }
        true
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
        link.received(arrival, octets, sealed, now, &mut self.events);
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
        let found = peek_session_id(packet, encapsulation(sealed)).ok().and_then(|session| {
            // Most packets are of the session that the last one was of.
            if self.hints.session.0 != session.get() {
                let (place, leg) = *table.sessions.get(&session.get())?;
                self.hints.session = (session.get(), place, leg);
            }
            let (_, place, number) = self.hints.session;
            let tunnel = table.tunnels.get(place)?;
            Some((place, tunnel, number, tunnel.legs.get(usize::from(number))?))
        });
        let Some((place, tunnel, number, leg)) = found else {
            count(&self.shared.refused.unknown);
            return Taken::Nothing;
        };
        // A session belongs to one peer, and is inside WireGuard or not: never as it comes.
        if tunnel.config.encrypted != sealed || sealed_by.is_some_and(|peer| peer != leg.peer) {
            count(&self.shared.refused.unknown);
            return Taken::Nothing;
        }
        if let Some(bond) = &tunnel.bond {
            let came = Came { place, number, leg, sealed, datagram, arrival, now };
            return self.take_bonded(table, tunnel, bond, span, came);
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
                    let heard = Heard { peer: leg.peer, sealed, octets: datagram };
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
                return Taken::Data(leg.peer);
            }
            Err(_) => return Taken::Nothing, // the session has counted it
        };
        drop(inbound);
        self.deliver(table, place, tunnel, frame, now);
        Taken::Data(leg.peer)
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
                        && let Some(due) = poll_cores(peer, &mut self.batch, now)
                    {
                        shared.timers.arm(&peer.slot, timer, due);
                    }
                }
                Timer::Bond(place) => {
                    let Some(tunnel) = table.tunnels.get(place) else { continue };
                    let Some(bond) = &tunnel.bond else { continue };
                    if bond.slot.claim(due) {
                        self.look_after_bond(&table, place, tunnel, bond, now);
                    }
                }
                Timer::Reflexive => {
                    if shared.reflexive.slot.claim(due) {
                        self.ask_servers(&table, now);
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
                self.flush(&table, now);
            }
        }
        self.write_frames(&table);
        self.buffers.whole.clear();
        self.flush(&table, now);
    }
}

/// What was looked up last in the table that a batch is taken with. No session and no core has
/// the number that it begins with.
#[derive(Debug, Clone, Copy)]
struct Hints {
    session: (u32, usize, u8),
    core: (u32, usize, Way),
}

impl Default for Hints {
    fn default() -> Self {
        Self { session: (0, 0, 0), core: (u32::MAX, 0, Way::In) }
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

fn reply_to(arrival: Arrival, peer: &Peer) -> Target {
    let interface = peer.interface().unwrap_or_default();
    Target { to: arrival.from, from: arrival.to, interface, counters: None }
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
