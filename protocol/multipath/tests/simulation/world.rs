//! The world: links, ends, and what happens next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use homeward_l2tp::{
    Cookie, Delivery, Discard, Encapsulation, Fragment, HeaderTemplate, Inbound, InboundSettings,
    Sequence, SessionConfig, SessionId, Sublayer,
};
use homeward_model::Instant;
use homeward_multipath::{
    Event, Mode, PacketInfo, PathId, PathSettings, REPORT_LEN, Receiver, ReceiverSettings, Reorder,
    ReorderSettings, Report, Sender, Settings, Urgency, Verdict,
};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const A: PathId = PathId::ALL[0];
pub(crate) const B: PathId = PathId::ALL[1];

/// Octets of a report on its link: with UDP, IP and L2TP around it.
pub(crate) const REPORT: usize = REPORT_LEN + 44;

pub(crate) fn at(span: Duration) -> Instant {
    Instant::ORIGIN + span
}

/// SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One direction of a path. It keeps the order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    /// Bits per second.
    pub(crate) rate: u64,
    pub(crate) delay: Duration,
    /// The most that is added to the delay.
    pub(crate) jitter: Duration,
    /// How much it queues before it drops, in time at its rate.
    pub(crate) queue: Duration,
    /// From 0 to 1.
    pub(crate) loss: f64,
    pub(crate) up: bool,
    busy: Instant,
    last: Instant,
    pub(crate) taken: u64,
    pub(crate) dropped: u64,
}

impl Link {
    pub(crate) fn new(megabits: u64, delay: Duration) -> Self {
        Self {
            rate: megabits * 1_000_000,
            delay,
            jitter: Duration::ZERO,
            queue: 200 * MS,
            loss: 0.0,
            up: true,
            busy: Instant::ORIGIN,
            last: Instant::ORIGIN,
            taken: 0,
            dropped: 0,
        }
    }

    /// Carries nothing for a while, and loses nothing of it.
    pub(crate) fn pause(&mut self, span: Duration, now: Instant) {
        self.busy = self.busy.max(now) + span;
    }

    /// When a packet arrives, if it does.
    fn carry(&mut self, octets: usize, random: &mut Random, now: Instant) -> Option<Instant> {
        self.taken += 1;
        let queue = self.busy.since(now);
        if queue > self.queue {
            self.dropped += 1;
            return None;
        }
        let time = Duration::from_nanos(octets as u64 * 8_000_000_000 / self.rate);
        self.busy = self.busy.max(now) + time;
        if !self.up || random.share() < self.loss {
            self.dropped += 1;
            return None;
        }
        self.last = self.last.max(self.busy + self.delay + self.jitter.mul_f64(random.share()));
        Some(self.last)
    }
}

/// What an application sends, and another receives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Payload {
    /// A datagram by its number.
    Datagram { number: u64, sent: Instant },
    /// A segment of a TCP by its number in segments.
    Segment(u64),
    /// Received up to here, and beyond it these, from-to.
    Ack(u64, Vec<(u64, u64)>),
}

/// A frame to send.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) payload: Payload,
    pub(crate) octets: usize,
    pub(crate) urgency: Urgency,
}

/// Who sends at one end and receives at either.
pub(crate) trait Application {
    /// A frame came out at an end; frames to send from there go into `out`.
    fn received(&mut self, end: usize, payload: &Payload, now: Instant, out: &mut Vec<Frame>);
    /// It is time; what is to be sent from end 0, and when it wants to be called again.
    fn tick(&mut self, now: Instant, out: &mut Vec<Frame>) -> Option<Instant>;
}

#[derive(Debug)]
pub(crate) struct End {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) reorder: Reorder,
    pub(crate) inbound: Inbound,
    next: Sequence,
    wake: Option<Instant>,
    pub(crate) events: Vec<(Instant, Event)>,
    /// What was sent: when, by which path, whether it is a report, and how many octets.
    pub(crate) log: Vec<(Instant, PathId, bool, usize)>,
    /// What reached it only to be dropped as a copy.
    pub(crate) duplicates: u64,
}

#[derive(Debug, Clone)]
enum Packet {
    Data { bytes: Vec<u8>, number: Sequence, octets: usize },
    Report(Report),
}

#[derive(Debug)]
enum Happening {
    Arrival { end: usize, path: PathId, packet: Packet },
    Wake(usize),
    Tick,
    Change(usize),
}

type Change = Box<dyn FnMut(&mut World)>;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) ends: [End; 2],
    /// By sending end and path.
    pub(crate) links: [[Link; 2]; 2],
    pub(crate) random: Random,
    payloads: Vec<Frame>,
    template: HeaderTemplate,
    queue: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    changes: Vec<Option<Change>>,
    order: u64,
}

fn session() -> SessionConfig {
    let id = SessionId::new(7).unwrap();
    let cookie = Cookie::eight([1; 8]);
    SessionConfig {
        local_session: id,
        remote_session: id,
        local_cookie: cookie,
        remote_cookie: cookie,
        sublayer: Sublayer::Numbered,
        encapsulation: Encapsulation::Udp,
    }
}

impl World {
    /// Two ends with two paths, both as the two links say in either direction.
    pub(crate) fn new(mode: Mode, links: [Link; 2], seed: u64) -> Self {
        Self::with(mode, links, seed, Settings::default(), ReorderSettings::default())
    }

    pub(crate) fn with(
        mode: Mode,
        links: [Link; 2],
        seed: u64,
        settings: Settings,
        reorder: ReorderSettings,
    ) -> Self {
        let now = at(SECOND);
        let end = || {
            let mut sender = Sender::new(settings, now);
            sender.set_mode(mode);
            for path in [A, B] {
                sender.set_path(path, PathSettings::default(), now);
            }
            let mut order = Reorder::new(reorder);
            order.set_mode(mode);
            for path in [A, B] {
                order.set_live(path, true, now);
            }
            let window = InboundSettings { window: 1 << 15, ..InboundSettings::default() };
            End {
                sender,
                receiver: Receiver::new(ReceiverSettings { report: settings.report }),
                reorder: order,
                inbound: Inbound::new(&session(), window),
                next: Sequence::new(0xff_f000),
                wake: None,
                events: Vec::new(),
                log: Vec::new(),
                duplicates: 0,
            }
        };
        let mut world = Self {
            now,
            ends: [end(), end()],
            links: [links; 2],
            random: Random(seed),
            payloads: Vec::new(),
            template: HeaderTemplate::new(&session()),
            queue: BinaryHeap::new(),
            happenings: Vec::new(),
            changes: Vec::new(),
            order: 0,
        };
        for end in 0..2 {
            world.push(now, Happening::Wake(end));
        }
        world.push(now, Happening::Tick);
        world
    }

    /// Has something done later, `after` the beginning.
    pub(crate) fn later(&mut self, after: Duration, change: impl FnMut(&mut Self) + 'static) {
        self.changes.push(Some(Box::new(change)));
        let change = Happening::Change(self.changes.len() - 1);
        self.push(at(SECOND + after), change);
    }

    fn push(&mut self, when: Instant, happening: Happening) {
        self.happenings.push(Some(happening));
        self.order += 1;
        self.queue.push(Reverse((when, self.order, self.happenings.len() - 1)));
    }

    /// Runs until `after` the beginning.
    pub(crate) fn run(&mut self, app: &mut dyn Application, after: Duration) {
        let until = at(SECOND + after);
        while let Some(Reverse((when, _, index))) = self.queue.peek().copied() {
            if when > until {
                break;
            }
            self.queue.pop();
            self.now = when;
            match self.happenings[index].take().unwrap() {
                Happening::Arrival { end, path, packet } => self.arrival(end, path, packet, app),
                Happening::Wake(end) => {
                    if self.ends[end].wake.is_some_and(|wake| wake > when) {
                        continue;
                    }
                    self.ends[end].wake = None;
                    self.ends[end].sender.handle_timeout(when);
                    self.ends[end].receiver.handle_timeout(when);
                    self.ends[end].reorder.handle_timeout(when);
                    self.settle(end, app);
                }
                Happening::Tick => {
                    let mut out = Vec::new();
                    let next = app.tick(when, &mut out);
                    self.send(0, out);
                    self.settle(0, app);
                    if let Some(next) = next {
                        self.push(next, Happening::Tick);
                    }
                }
                Happening::Change(index) => {
                    let mut change = self.changes[index].take().unwrap();
                    change(self);
                }
            }
        }
        self.now = until;
    }

    fn send(&mut self, end: usize, frames: Vec<Frame>) {
        for frame in frames {
            let info = PacketInfo { octets: frame.octets, urgency: frame.urgency };
            let route = self.ends[end].sender.route(info, self.now);
            if route.is_empty() {
                continue;
            }
            let number = self.ends[end].next;
            self.ends[end].next = number.plus(1);
            let mut bytes = self.template.header(number, Fragment::Whole).to_vec();
            bytes.extend([0; 14]);
            bytes.extend((self.payloads.len() as u64).to_be_bytes());
            let octets = frame.octets;
            self.payloads.push(frame);
            for path in route {
                self.ends[end].sender.sent(path, number, octets, self.now);
                let packet = Packet::Data { bytes: bytes.clone(), number, octets };
                self.transmit(end, path, packet, octets);
            }
        }
    }

    fn transmit(&mut self, end: usize, path: PathId, packet: Packet, octets: usize) {
        let report = matches!(packet, Packet::Report(_));
        self.ends[end].log.push((self.now, path, report, octets));
        let link = &mut self.links[end][usize::from(path.get())];
        if let Some(when) = link.carry(octets, &mut self.random, self.now) {
            self.push(when, Happening::Arrival { end: 1 - end, path, packet });
        }
    }

    fn arrival(&mut self, at: usize, path: PathId, packet: Packet, app: &mut dyn Application) {
        let now = self.now;
        let end = &mut self.ends[at];
        match packet {
            Packet::Report(mut report) => {
                if let Some(received) = &mut report.received {
                    // The ends have clocks of their own, and one runs faster.
                    let drift = now.as_nanos() / 1000 / 20_000;
                    let shift = if at == 0 { 0x8000_0000 + drift as u32 } else { 0x7fff_0000 };
                    received.arrived = received.arrived.wrapping_add(shift);
                }
                let report = Report::decode(&report.encode()).unwrap();
                end.sender.handle_report(path, &report, now);
                end.receiver.handle_report(path, &report, now);
                if let Some(rtt) = end.sender.rtt(path) {
                    end.receiver.set_rtt(path, rtt);
                    end.reorder.set_rtt(path, rtt);
                }
            }
            Packet::Data { bytes, number, octets } => {
                end.sender.heard(path, now);
                end.receiver.received(path, number, octets, now);
                match end.inbound.accept(&bytes, now) {
                    Ok(Delivery::Frame(frame)) => {
                        let id = id(frame);
                        let verdict = end.reorder.accept(path, number, Some(frame), now);
                        if verdict == Verdict::Pass {
                            self.deliver(at, id, app);
                        }
                    }
                    Err(Discard::Duplicate) => {
                        end.receiver.duplicate(path);
                        end.duplicates += 1;
                        end.reorder.duplicate(path, number, now);
                    }
                    Err(Discard::Stale) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        self.settle(at, app);
    }

    fn deliver(&mut self, end: usize, id: usize, app: &mut dyn Application) {
        let payload = self.payloads[id].payload.clone();
        let mut out = Vec::new();
        app.received(end, &payload, self.now, &mut out);
        self.send(end, out);
    }

    /// Does what there is to do after anything happened at an end.
    fn settle(&mut self, at: usize, app: &mut dyn Application) {
        while let Some(id) = self.ends[at].reorder.pop().map(id) {
            self.deliver(at, id, app);
        }
        let now = self.now;
        while let Some((path, report)) = self.ends[at].receiver.poll_report(now) {
            self.transmit(at, path, Packet::Report(report), REPORT);
        }
        while let Some((path, report)) = self.ends[at].sender.poll_transmit(now) {
            self.transmit(at, path, Packet::Report(report), REPORT);
        }
        while let Some(event) = self.ends[at].sender.poll_event() {
            let end = &mut self.ends[at];
            end.events.push((now, event));
            match event {
                Event::Dead(path) => end.reorder.set_live(path, false, now),
                Event::Alive(path) => end.reorder.set_live(path, true, now),
                Event::Exhausted(_) => {}
            }
        }
        while let Some(id) = self.ends[at].reorder.pop().map(id) {
            self.deliver(at, id, app);
        }
        let end = &mut self.ends[at];
        let due =
            [end.sender.poll_timeout(), end.receiver.poll_timeout(), end.reorder.poll_timeout()];
        if let Some(due) = due.into_iter().flatten().min() {
            let due = due.max(now + Duration::from_nanos(1));
            if end.wake.is_none_or(|wake| due < wake) {
                end.wake = Some(due);
                self.push(due, Happening::Wake(at));
            }
        }
    }
}

fn id(frame: &[u8]) -> usize {
    u64::from_be_bytes(*frame[14..].first_chunk().unwrap()) as usize
}

/// Datagrams of one size at one rate from end 0.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) octets: usize,
    pub(crate) gap: Duration,
    pub(crate) urgency: Urgency,
    /// When it begins and ends, after the beginning of all.
    pub(crate) starts: Duration,
    pub(crate) ends: Duration,
    pub(crate) sent: u64,
    /// What came out at end 1: when, and its number, and how long it took.
    pub(crate) received: Vec<(Instant, u64, Duration)>,
}

impl Stream {
    pub(crate) fn new(bits_per_second: u64, octets: usize, ends: Duration) -> Self {
        Self {
            octets,
            gap: Duration::from_nanos(octets as u64 * 8_000_000_000 / bits_per_second),
            urgency: Urgency::Bulk,
            starts: Duration::ZERO,
            ends,
            sent: 0,
            received: Vec::new(),
        }
    }

    /// Datagrams that came out, from one time to another after the beginning.
    pub(crate) fn between(&self, from: Duration, to: Duration) -> Vec<(u64, Duration)> {
        let span = at(SECOND + from)..at(SECOND + to);
        let received = self.received.iter().filter(|(when, ..)| span.contains(when));
        received.map(|(_, number, took)| (*number, *took)).collect()
    }

    /// Datagrams that came out behind one of a higher number.
    pub(crate) fn out_of_order(&self) -> u64 {
        let mut highest = 0;
        let mut count = 0;
        for (_, number, _) in &self.received {
            if *number < highest {
                count += 1;
            }
            highest = highest.max(*number);
        }
        count
    }
}

impl Application for Stream {
    fn received(&mut self, _: usize, payload: &Payload, now: Instant, _: &mut Vec<Frame>) {
        let Payload::Datagram { number, sent } = payload else { panic!("{payload:?}") };
        self.received.push((now, *number, now.since(*sent)));
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Frame>) -> Option<Instant> {
        if now < at(SECOND + self.starts) {
            return Some(at(SECOND + self.starts));
        }
        if now >= at(SECOND + self.ends) {
            return None;
        }
        let payload = Payload::Datagram { number: self.sent, sent: now };
        self.sent += 1;
        out.push(Frame { payload, octets: self.octets, urgency: self.urgency });
        Some(now + self.gap)
    }
}
