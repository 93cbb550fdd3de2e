//! How the Internet sees our sockets: servers are asked by STUN, from the sockets themselves, for what
//! a NAT has for one socket says nothing of another. By each access that leads to a peer they are asked
//! on their own: what is in front of one says nothing of the other.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use homeward_linux::AddressChange;
use homeward_model::{Entropy, Instant};
use homeward_stun::{Asker, AskerSettings, Nat, Request};
use serde::Serialize;

use crate::config::ReflexiveConfig;
use crate::event::Event;
use crate::table::lock;
use crate::timers::Slot;

/// What is between our sockets and the Internet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReflexiveStatus {
    /// The interface of the access; 0 for whichever the routing table chooses.
    pub interface: u32,
    /// What the servers' answers say.
    pub nat: Nat,
    /// The servers, in order. Empty if there are none.
    pub servers: Vec<StunStatus>,
}

/// A server that says how it sees us.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StunStatus {
    /// Where it is.
    pub server: SocketAddr,
    /// Our own address towards it; `None` if it has not answered.
    pub local: Option<SocketAddr>,
    /// Where it sees us; `None` if it has not answered.
    pub mapped: Option<SocketAddr>,
    /// Milliseconds since it last answered; `None` if never.
    pub answered_ms: Option<u64>,
}

/// Who asks, for all threads.
pub(crate) struct Reflexive {
    askers: Mutex<Askers>,
    /// When something is due.
    pub(crate) slot: Slot,
    always: bool,
    /// How often a path is to say something behind a NAT.
    keepalive: Option<Duration>,
    /// Whether we are behind one.
    behind: AtomicBool,
}

/// One for each access.
pub(crate) struct Askers {
    settings: AskerSettings,
    servers: Vec<SocketAddr>,
    active: bool,
    /// By the number of the interface; 0 for the routing table's choice.
    by: Vec<(u32, Asker)>,
}

impl Reflexive {
    pub(crate) fn new(config: &ReflexiveConfig) -> Self {
        let settings = AskerSettings { interval: config.interval, ..AskerSettings::default() };
        let mut askers =
            Askers { settings, servers: Vec::new(), active: config.always, by: Vec::new() };
        askers.set_interfaces(&BTreeSet::from([0]), &mut Vec::new(), Instant::ORIGIN);
        Self {
            askers: Mutex::new(askers),
            slot: Slot::default(),
            always: config.always,
            keepalive: config.keepalive,
            behind: AtomicBool::new(false),
        }
    }

    pub(crate) fn askers(&self) -> MutexGuard<'_, Askers> {
        lock(&self.askers)
    }

    /// Notes whether there are tunnels. Gives when something is due.
    pub(crate) fn needed(&self, tunnels: bool, now: Instant) -> Option<Instant> {
        let mut askers = self.askers();
        askers.active = self.always || tunnels;
        let active = askers.active;
        askers.by.iter_mut().for_each(|(_, asker)| asker.set_active(active, now));
        askers.poll_timeout()
    }

    /// How often a path is to say something because of the NAT that we are behind.
    pub(crate) fn keepalive(&self) -> Option<Duration> {
        self.keepalive.filter(|_| self.behind.load(Ordering::Relaxed))
    }

    /// Takes what is news from the askers. Whether there was any.
    pub(crate) fn take_news(&self, askers: &mut Askers, events: &mut Vec<Event>) -> bool {
        let before = events.len();
        for (interface, asker) in &mut askers.by {
            events.extend(news(*interface, asker));
        }
        let behind = askers.by.iter().any(|(_, asker)| asker.nat().is_there());
        self.behind.store(behind, Ordering::Relaxed);
        events.len() > before
    }

    pub(crate) fn status(&self, now: Instant) -> Vec<ReflexiveStatus> {
        let age = |at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        let of = |(interface, asker): &(u32, Asker)| {
            let servers = asker.status().map(|server| StunStatus {
                server: server.server,
                local: server.mapping.and_then(|mapping| mapping.local),
                mapped: server.mapping.map(|mapping| mapping.mapped),
                answered_ms: server.answered.map(age),
            });
            let (interface, servers) = (*interface, servers.collect());
            ReflexiveStatus { interface, nat: asker.nat(), servers }
        };
        self.askers().by.iter().map(of).collect()
    }
}

impl Askers {
    /// Whom to ask by each access.
    pub(crate) fn set_servers(&mut self, servers: Vec<SocketAddr>, now: Instant) {
        for (_, asker) in &mut self.by {
            asker.set_servers(servers.iter().copied(), now);
        }
        self.servers = servers;
    }

    /// By which accesses to ask. What was learned by others is true no more, and told so.
    pub(crate) fn set_interfaces(
        &mut self,
        interfaces: &BTreeSet<u32>,
        events: &mut Vec<Event>,
        now: Instant,
    ) {
        self.by.retain_mut(|(interface, asker)| {
            let stays = interfaces.contains(interface);
            if !stays {
                asker.set_servers([], now);
                events.extend(news(*interface, asker));
            }
            stays
        });
        for &interface in interfaces {
            if self.by.iter().any(|(known, _)| *known == interface) {
                continue;
            }
            let mut asker = Asker::new(self.settings);
            asker.set_active(self.active, now);
            asker.set_servers(self.servers.iter().copied(), now);
            self.by.push((interface, asker));
        }
    }

    /// The machine's addresses have changed.
    pub(crate) fn handle_change(&mut self, now: Instant) {
        self.by.iter_mut().for_each(|(_, asker)| asker.handle_change(now));
    }

    /// Takes a datagram. Whether it was an answer to what one of them asked.
    pub(crate) fn handle_datagram(
        &mut self,
        from: SocketAddr,
        local: Option<SocketAddr>,
        datagram: &[u8],
        now: Instant,
    ) -> bool {
        self.by.iter_mut().any(|(_, asker)| asker.handle_datagram(from, local, datagram, now))
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, entropy: &mut impl Entropy) {
        self.by.iter_mut().for_each(|(_, asker)| asker.handle_timeout(now, entropy));
    }

    /// The next request to send, and the interface by which.
    pub(crate) fn poll_transmit(&mut self) -> Option<(u32, Request)> {
        self.by.iter_mut().find_map(|(interface, asker)| Some((*interface, asker.poll_transmit()?)))
    }

    /// When to call [`Self::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.by.iter().filter_map(|(_, asker)| asker.poll_timeout()).min()
    }
}

/// What an asker has learned.
fn news(interface: u32, asker: &mut Asker) -> impl Iterator<Item = Event> {
    std::iter::from_fn(move || {
        let learned = asker.poll_event()?;
        let seen = learned.mapping.map(|mapping| mapping.mapped);
        tracing::info!(server = %learned.server, interface, ?seen, "STUN");
        Some(Event::Mapped { interface, server: learned.server, mapping: learned.mapping })
    })
}

/// Whether a change of the machine's addresses may be one of where we send from: others come and go
/// with every interface.
pub(crate) fn matters(change: AddressChange) -> bool {
    let (AddressChange::New(address) | AddressChange::Gone(address)) = change else { return true };
    !address.is_loopback()
        && match address {
            IpAddr::V4(v4) => !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
}
