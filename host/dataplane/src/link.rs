//! The way to a peer's tunnels of one kind (in the clear, or inside WireGuard): where it is, what
//! fits through, whether it is there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homeward_l2tp::path::PathState;
use homeward_l2tp::{
    Echo, Encapsulation, HeaderTemplate, Overhead, Path, PathEvent, PathSettings, Probe,
    SessionConfig, Sublayer,
};
use homeward_linux::AddressChange;
use homeward_model::{Entropy, Instant};

use crate::carry::Arrival;
use crate::config::TunnelId;
use crate::event::Event;
use crate::status::State;
use crate::timers::Slot;

/// The path MTU that is taken for granted where nothing can be probed.
const UNPROBED_MTU: u16 = 1500;

/// How long a new address is waited for when one is gone.
const ANNOUNCE: Duration = Duration::from_millis(200);

/// The way to a peer's tunnels of one kind.
#[derive(Debug)]
pub(crate) struct Link {
    route: Mutex<Route>,
    /// When its path is to be looked at.
    pub(crate) slot: Slot,
    /// Nanoseconds on the clock when the peer was last heard; 0 if never.
    heard: AtomicU64,
}

/// What is known of the way.
#[derive(Debug)]
pub(crate) struct Route {
    kind: Kind,
    /// The tunnels, with the header of their probes.
    carriers: BTreeMap<TunnelId, Carrier>,
    /// Our address that the peer last sent to: what we send comes from there.
    local: Option<IpAddr>,
    /// When to tell the peer where we are, since that address is ours no more.
    announce: Option<Instant>,
}

#[derive(Debug)]
struct Carrier {
    template: HeaderTemplate,
    sublayer: Sublayer,
}

#[derive(Debug)]
enum Kind {
    /// The peer answers probes.
    Probed(Box<Path>),
    /// It does not: a kernel. Inside WireGuard it may move, in the clear it may not.
    Fixed { endpoint: Option<SocketAddr>, up: bool },
}

/// Where to send now, and how much fits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub(crate) to: SocketAddr,
    pub(crate) from: Option<IpAddr>,
    pub(crate) mtu: u16,
    /// Whether any number of octets may go there.
    pub(crate) proven: bool,
}

impl Link {
    /// A link without tunnels.
    pub(crate) fn new() -> Self {
        let kind = Kind::Fixed { endpoint: None, up: false };
        let route = Route { kind, carriers: BTreeMap::new(), local: None, announce: None };
        Self { route: Mutex::new(route), slot: Slot::default(), heard: AtomicU64::new(0) }
    }

    pub(crate) fn route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the peer was last heard.
    pub(crate) fn heard(&self) -> Option<Instant> {
        Some(self.heard.load(Ordering::Relaxed)).filter(|at| *at != 0).map(Instant::from_nanos)
    }

    /// Does what is due.
    pub(crate) fn timeout(
        &self,
        settings: &PathSettings,
        now: Instant,
        entropy: &mut impl Entropy,
    ) {
        let mut route = self.route();
        // Silence may be our own doing: the address that we send from may be ours no more, which
        // the kernel does not mind.
        if self.heard().is_none_or(|at| now.since(at) >= settings.probe) {
            route.local = None;
        }
        let announce = route.announce.take_if(|at| *at <= now).is_some();
        if let Kind::Probed(path) = &mut route.kind {
            if announce {
                // A probe is due anyway, for it may be another path; the peer sees where it is from.
                path.check_mtu(now);
            }
            path.handle_timeout(now, entropy);
        }
    }

    /// Notes authentic packets.
    pub(crate) fn received(
        &self,
        arrival: Arrival,
        octets: usize,
        sealed: bool,
        now: Instant,
        events: &mut Vec<Event>,
    ) {
        let Arrival { from, to: local } = arrival;
        self.heard.store(now.as_nanos().max(1), Ordering::Relaxed);
        let mut route = self.route();
        route.heard_at(from, local);
        match &mut route.kind {
            Kind::Probed(path) => path.handle_received(from, octets, now),
            Kind::Fixed { endpoint, up } => {
                let moved = sealed && *endpoint != Some(from);
                if moved {
                    *endpoint = Some(from);
                }
                let first = !std::mem::replace(up, true);
                if moved || first {
                    for &tunnel in route.carriers.keys() {
                        if moved {
                            events.push(Event::Moved { tunnel, endpoint: from });
                        }
                        if first {
                            events.push(Event::Up { tunnel });
                        }
                    }
                }
            }
        }
    }
}

impl Route {
    /// Adds a tunnel; `endpoints` are all candidates. What the others know is told to it.
    pub(crate) fn add_carrier(
        &mut self,
        tunnel: TunnelId,
        session: &SessionConfig,
        settings: &PathSettings,
        endpoints: &[SocketAddr],
        now: Instant,
        events: &mut Vec<Event>,
    ) {
        match self.state() {
            State::Up => {
                events.push(Event::Up { tunnel });
                events.extend(self.path_mtu().map(|mtu| Event::PathMtu { tunnel, mtu }));
            }
            State::Unreachable => events.push(Event::Unreachable { tunnel }),
            State::Ready | State::Gone => {}
        }
        let carrier =
            Carrier { template: HeaderTemplate::new(session), sublayer: session.sublayer };
        self.carriers.insert(tunnel, carrier);
        match (&self.kind, session.sublayer) {
            (Kind::Probed(_), _) => {}
            (Kind::Fixed { .. }, Sublayer::Numbered) => {
                let settings =
                    Arc::new(PathSettings { overhead: Overhead::of(session), ..settings.clone() });
                let path = Path::new(settings, endpoints.iter().copied(), now);
                self.kind = Kind::Probed(Box::new(path));
            }
            (Kind::Fixed { endpoint, up }, _) => {
                let endpoint = endpoint.or_else(|| endpoints.first().copied());
                self.kind = Kind::Fixed { endpoint, up: *up };
            }
        }
    }

    /// Removes a tunnel. Without any, nothing is known any more.
    pub(crate) fn remove_carrier(&mut self, tunnel: TunnelId) {
        self.carriers.remove(&tunnel);
        if self.carriers.is_empty() {
            self.kind = Kind::Fixed { endpoint: None, up: false };
            (self.local, self.announce) = (None, None);
        }
    }

    /// Notes that an address came or went. What we sent from one that is gone comes from another
    /// from now on, and the peer is told so: at once if a new one came, soon if there may be one
    /// already. An idle peer would not notice otherwise, and lose us.
    pub(crate) fn address_changed(&mut self, change: AddressChange, now: Instant) {
        match change {
            AddressChange::Gone(address) if self.local == Some(address) => {
                (self.local, self.announce) = (None, Some(now + ANNOUNCE));
            }
            AddressChange::Lost if self.local.is_some() => {
                (self.local, self.announce) = (None, Some(now + ANNOUNCE));
            }
            AddressChange::New(_) if self.announce.is_some() => self.announce = Some(now),
            _ => {}
        }
    }

    /// Another key was set: what does not answer may do so now.
    pub(crate) fn try_anew(&mut self, now: Instant) {
        if let Kind::Probed(path) = &mut self.kind {
            path.try_anew(now);
        }
    }

    /// Says after how long a silence the peer is sent something.
    pub(crate) fn set_keepalive(&mut self, keepalive: Option<Duration>) {
        if let Kind::Probed(path) = &mut self.kind {
            path.set_keepalive(keepalive);
        }
    }

    /// Takes a new list of candidates.
    pub(crate) fn set_endpoints(&mut self, endpoints: &[SocketAddr], now: Instant) {
        match &mut self.kind {
            Kind::Probed(path) => path.handle_candidates(endpoints.iter().copied(), now),
            Kind::Fixed { endpoint, .. } => {
                if endpoint.is_none_or(|at| !endpoints.contains(&at)) && !endpoints.is_empty() {
                    *endpoint = endpoints.first().copied();
                }
            }
        }
    }

    /// Where to send now.
    #[inline]
    pub(crate) fn way(&self) -> Option<Way> {
        let from = self.local;
        match &self.kind {
            Kind::Probed(path) => {
                let to = path.destination()?;
                let proven = path.may_send(to, usize::MAX);
                Some(Way { to, from: from.filter(|_| proven), mtu: path.mtu(), proven })
            }
            Kind::Fixed { endpoint, .. } => {
                Some(Way { to: (*endpoint)?, from, mtu: UNPROBED_MTU, proven: true })
            }
        }
    }

    /// Whether so many octets may go there, which may not be proven; they are taken off.
    pub(crate) fn spend(&mut self, to: SocketAddr, octets: usize, now: Instant) -> bool {
        match &mut self.kind {
            Kind::Probed(path) => {
                let may = path.may_send(to, octets);
                if may {
                    path.handle_sent(to, octets, octets, now);
                }
                may
            }
            Kind::Fixed { .. } => true,
        }
    }

    /// Notes what was sent to a proven address: so many octets, and those of the longest datagram.
    #[inline]
    pub(crate) fn sent(&mut self, to: SocketAddr, octets: usize, longest: usize, now: Instant) {
        if let Kind::Probed(path) = &mut self.kind {
            path.handle_sent(to, octets, longest, now);
        }
    }

    /// Takes an echo message.
    pub(crate) fn echo(
        &mut self,
        from: SocketAddr,
        local: Option<IpAddr>,
        echo: &Echo,
        octets: usize,
        now: Instant,
    ) {
        self.heard_at(from, local);
        if let Kind::Probed(path) = &mut self.kind {
            path.handle_echo(from, echo, octets, now);
        }
    }

    /// A datagram of so many octets was too long for our own interface.
    pub(crate) fn refused(&mut self, to: SocketAddr, octets: usize, now: Instant) {
        if let Kind::Probed(path) = &mut self.kind {
            let headers = if to.is_ipv4() { 28 } else { 48 };
            let length = u16::try_from(octets + headers).unwrap_or(u16::MAX);
            path.handle_refused(to, length, now);
        }
    }

    /// A router says that it carries no more than `mtu` octets.
    pub(crate) fn too_big(&mut self, to: SocketAddr, mtu: u16, now: Instant) {
        if let Kind::Probed(path) = &mut self.kind {
            path.handle_too_big(to, mtu, now);
        }
    }

    /// When something is due.
    #[inline]
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Probed(path) => match (path.poll_timeout(), self.announce) {
                (Some(due), Some(announce)) => Some(due.min(announce)),
                (due, announce) => due.or(announce),
            },
            Kind::Fixed { .. } => None,
        }
    }

    /// The next probe to send, with the header to put before it. Probes that no tunnel can carry
    /// are not sent.
    pub(crate) fn next_probe(&mut self) -> Option<(Probe, homeward_l2tp::Header)> {
        let Kind::Probed(path) = &mut self.kind else { return None };
        let probe = path.poll_transmit()?;
        let header = self
            .carriers
            .values()
            .filter(|carrier| carrier.sublayer == Sublayer::Numbered)
            .find_map(|carrier| carrier.template.control_header())?;
        Some((probe, header))
    }

    /// What happened, told to each tunnel.
    pub(crate) fn take_events(&mut self, events: &mut Vec<Event>) {
        let Kind::Probed(path) = &mut self.kind else { return };
        while let Some(event) = path.poll_event() {
            for &tunnel in self.carriers.keys() {
                events.push(match event {
                    PathEvent::Up { .. } => Event::Up { tunnel },
                    PathEvent::Moved { to, .. } => Event::Moved { tunnel, endpoint: to },
                    PathEvent::Unreachable => Event::Unreachable { tunnel },
                    PathEvent::Mtu(mtu) => Event::PathMtu { tunnel, mtu },
                });
            }
        }
    }

    /// Whether the peer is there, as far as is known.
    pub(crate) fn state(&self) -> State {
        match &self.kind {
            Kind::Probed(path) => match path.state() {
                PathState::Trying => State::Ready,
                PathState::Up => State::Up,
                PathState::Unreachable => State::Unreachable,
            },
            Kind::Fixed { up, .. } => {
                if *up {
                    State::Up
                } else {
                    State::Ready
                }
            }
        }
    }

    /// The path MTU, where it was measured.
    pub(crate) fn path_mtu(&self) -> Option<u16> {
        match &self.kind {
            Kind::Probed(path) => (path.state() == PathState::Up).then(|| path.mtu()),
            Kind::Fixed { .. } => None,
        }
    }

    /// Notes which of our addresses the peer sends to, once it is where we send to.
    fn heard_at(&mut self, from: SocketAddr, local: Option<IpAddr>) {
        if local != self.local && self.way().is_none_or(|way| way.to == from) {
            self.local = local;
        }
    }
}

/// What a session's packets go over.
pub(crate) const fn encapsulation(sealed: bool) -> Encapsulation {
    if sealed { Encapsulation::Ip } else { Encapsulation::Udp }
}
