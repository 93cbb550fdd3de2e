//! Two ends and a network between them, in virtual time.
//!
//! ```text
//!   end 0 (10.0.0.1) ──────── loss, delay, reordering, ──────── end 1 (10.0.0.2)
//!                             duplication, MTU, NAT
//! ```
//!
//! The network also keeps the books: no end may send an address more than came from it before
//! the address has returned a nonce, but for what is allowed for an address that was named.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homeward_l2tp::{Echo, EchoKind, Nonce, Path, PathEvent, PathSettings, Probe};
use homeward_model::{Entropy, Instant};
use homeward_radius::testing::Counted;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SEC: Duration = Duration::from_secs(1);

pub(crate) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 1701))
}

/// What the network does to packets.
#[derive(Debug, Clone)]
pub(crate) struct Net {
    /// From one end to the other.
    pub(crate) delay: Duration,
    /// Up to so much more, at random: what reorders.
    pub(crate) jitter: Duration,
    /// Of 100 packets.
    pub(crate) loss: u8,
    pub(crate) duplicates: u8,
    /// IP packets longer than this vanish.
    pub(crate) mtu: u16,
    /// Packets to or from these addresses vanish.
    pub(crate) dead: BTreeSet<SocketAddr>,
    /// Before each end is a NAT that lets in only what comes from where the end sent to, for so long
    /// after it last did.
    pub(crate) holes: Option<Duration>,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            delay: 10 * MS,
            jitter: Duration::ZERO,
            loss: 0,
            duplicates: 0,
            mtu: 1500,
            dead: BTreeSet::new(),
            holes: None,
        }
    }
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    Data,
    Echo(Echo),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// Of UDP payload.
    pub(crate) octets: usize,
    pub(crate) load: Load,
}

/// One end.
pub(crate) struct End {
    pub(crate) path: Path,
    settings: Arc<PathSettings>,
    /// Where it sends from; it receives at all addresses in `at`.
    pub(crate) source: SocketAddr,
    pub(crate) at: BTreeSet<SocketAddr>,
    pub(crate) events: Vec<(Instant, PathEvent)>,
    /// Whether it answers requests from where they came to, rather than from `source`.
    pub(crate) answers_in_place: bool,
    asked: BTreeMap<Nonce, SocketAddr>,
    /// Every packet it sent.
    pub(crate) sent: Vec<(Instant, Packet)>,
    /// Frames that arrived.
    pub(crate) frames: usize,
    books: BTreeMap<SocketAddr, Book>,
    nonces: BTreeSet<(SocketAddr, Nonce)>,
    told: BTreeSet<SocketAddr>,
    entropy: Counted,
}

#[derive(Default)]
struct Book {
    received: usize,
    sent: usize,
    challenges: usize,
    proven: bool,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) net: Net,
    pub(crate) ends: [End; 2],
    flights: BTreeMap<(Instant, u64), Packet>,
    /// When what was sent last passed a NAT, from where to where.
    passed: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    count: u64,
    random: Counted,
}

impl World {
    /// Two ends that know each other's address.
    pub(crate) fn new(net: Net, settings: PathSettings) -> Self {
        Self::with(net, settings.clone(), settings, &[address(2)], &[address(1)])
    }

    /// End 0 at 10.0.0.1 told of `first`, end 1 at 10.0.0.2 told of `second`.
    pub(crate) fn with(
        net: Net,
        one: PathSettings,
        other: PathSettings,
        first: &[SocketAddr],
        second: &[SocketAddr],
    ) -> Self {
        let now = Instant::ORIGIN + SEC;
        let end = |host: u8, settings: PathSettings, told: &[SocketAddr]| {
            let settings = Arc::new(settings);
            End {
                path: Path::new(settings.clone(), told.iter().copied(), now),
                settings,
                source: address(host),
                at: BTreeSet::from([address(host)]),
                events: Vec::new(),
                answers_in_place: false,
                asked: BTreeMap::new(),
                sent: Vec::new(),
                frames: 0,
                books: BTreeMap::new(),
                nonces: BTreeSet::new(),
                told: told.iter().copied().collect(),
                entropy: Counted(host.into()),
            }
        };
        let ends = [end(1, one, first), end(2, other, second)];
        Self {
            now,
            net,
            ends,
            flights: BTreeMap::new(),
            passed: BTreeMap::new(),
            count: 0,
            random: Counted(77),
        }
    }

    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.random = Counted(seed);
        self.ends[0].entropy = Counted(seed ^ 0xaaaa);
        self.ends[1].entropy = Counted(seed ^ 0x5555);
        self
    }

    /// Lets the world go on for so long.
    pub(crate) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        self.settle();
        loop {
            let arrival = self.flights.keys().next().map(|(at, _)| *at);
            let timers = self.ends.iter().filter_map(|end| end.path.poll_timeout());
            let next = timers.chain(arrival).min().filter(|next| *next <= until);
            let Some(next) = next else { break };
            assert!(next >= self.now || arrival != Some(next), "time goes forward");
            self.now = self.now.max(next);
            let now = self.now;
            while let Some(entry) = self.flights.first_entry()
                && entry.key().0 <= now
            {
                let packet = entry.remove();
                self.arrive(packet);
            }
            for end in &mut self.ends {
                if end.path.poll_timeout().is_some_and(|due| due <= now) {
                    end.path.handle_timeout(now, &mut end.entropy);
                    let due = end.path.poll_timeout();
                    assert!(due.is_none_or(|due| due > now), "it spins");
                }
            }
            self.settle();
        }
        self.now = until;
    }

    /// Has an end send a frame, if it knows where to and may.
    pub(crate) fn send(&mut self, end: usize, octets: usize) -> bool {
        let now = self.now;
        let path = &mut self.ends[end].path;
        let Some(to) = path.destination() else { return false };
        if !path.may_send(to, octets) {
            return false;
        }
        path.handle_sent(to, octets, octets, now);
        self.transmit(end, to, octets, Load::Data);
        self.settle();
        true
    }

    /// Both ends send a frame every `interval` for so long.
    pub(crate) fn converse(&mut self, interval: Duration, span: Duration) {
        let until = self.now + span;
        while self.now < until {
            self.send(0, 200);
            self.send(1, 200);
            self.run(interval);
        }
    }

    /// Puts a packet on the network as if it came from anywhere.
    pub(crate) fn inject(&mut self, packet: Packet) {
        let at = self.now + self.net.delay;
        self.launch(at, packet);
    }

    /// Names new candidates to an end.
    pub(crate) fn tell(&mut self, end: usize, told: &[SocketAddr]) {
        let now = self.now;
        self.ends[end].told.extend(told);
        self.ends[end].path.handle_candidates(told.iter().copied(), now);
    }

    pub(crate) fn move_to(&mut self, end: usize, host: u8) {
        self.ends[end].source = address(host);
        self.ends[end].at = BTreeSet::from([address(host)]);
    }

    pub(crate) fn events(&mut self, end: usize) -> Vec<PathEvent> {
        self.ends[end].events.drain(..).map(|(_, event)| event).collect()
    }

    pub(crate) fn packets_sent(&self) -> usize {
        self.ends.iter().map(|end| end.sent.len()).sum()
    }

    fn settle(&mut self) {
        for end in 0..2 {
            while let Some(Probe { to, echo }) = self.ends[end].path.poll_transmit() {
                let octets = self.ends[end].settings.overhead.datagram_len(echo.len());
                self.transmit(end, to, octets, Load::Echo(echo));
            }
            while let Some(event) = self.ends[end].path.poll_event() {
                self.ends[end].events.push((self.now, event));
            }
        }
    }

    fn transmit(&mut self, end: usize, to: SocketAddr, octets: usize, load: Load) {
        let from = self.ends[end].source_of(load);
        let packet = Packet { from, to, octets, load };
        self.ends[end].keep_books(self.now, &packet);
        self.passed.insert((from, to), self.now);
        if usize::from(self.net.mtu) < octets + 28
            || self.net.dead.contains(&packet.to)
            || self.net.dead.contains(&packet.from)
            || self.chance(self.net.loss)
        {
            return;
        }
        let copies = 1 + usize::from(self.chance(self.net.duplicates));
        for _ in 0..copies {
            let more = self.net.jitter.as_nanos() as u64;
            let more = if more == 0 { 0 } else { u64::from_be_bytes(self.random.octets()) % more };
            self.launch(self.now + self.net.delay + Duration::from_nanos(more), packet);
        }
    }

    fn launch(&mut self, at: Instant, packet: Packet) {
        self.count += 1;
        self.flights.insert((at, self.count), packet);
    }

    fn chance(&mut self, of_100: u8) -> bool {
        let [random] = self.random.octets();
        of_100 > 0 && u32::from(random) * 100 < u32::from(of_100) * 256
    }

    fn arrive(&mut self, packet: Packet) {
        let now = self.now;
        if let Some(open) = self.net.holes
            && self.passed.get(&(packet.to, packet.from)).is_none_or(|at| now >= *at + open)
        {
            return;
        }
        let Some(end) = self.ends.iter_mut().find(|end| end.at.contains(&packet.to)) else {
            return;
        };
        end.books.entry(packet.from).or_default().received += packet.octets;
        match packet.load {
            Load::Data => {
                end.frames += 1;
                end.path.handle_received(packet.from, packet.octets, now);
            }
            Load::Echo(echo) => {
                if echo.kind == EchoKind::Reply && end.nonces.contains(&(packet.from, echo.nonce)) {
                    end.books.entry(packet.from).or_default().proven = true;
                }
                end.asked.insert(echo.nonce, packet.to);
                end.path.handle_echo(packet.from, &echo, packet.octets, now);
            }
        }
        self.settle();
    }
}

impl End {
    fn source_of(&self, load: Load) -> SocketAddr {
        match load {
            Load::Echo(Echo { kind: EchoKind::Reply, nonce, .. }) if self.answers_in_place => {
                self.asked.get(&nonce).copied().unwrap_or(self.source)
            }
            _ => self.source,
        }
    }

    fn keep_books(&mut self, now: Instant, packet: &Packet) {
        self.sent.push((now, *packet));
        // A challenge that pays for its answer has 72 octets in the clear.
        let opening = self.settings.opening.max(72) as usize;
        let told = self.told.contains(&packet.to);
        let book = self.books.entry(packet.to).or_default();
        book.sent += packet.octets;
        if let Load::Echo(Echo { kind: EchoKind::Request, nonce, .. }) = packet.load {
            self.nonces.insert((packet.to, nonce));
            book.challenges += 1;
        }
        let allowed = if told { opening * book.challenges } else { 0 };
        assert!(
            book.proven || book.sent <= book.received + allowed,
            "{} octets to {}, which has sent {} and is not proven",
            book.sent,
            packet.to,
            book.received
        );
    }
}
