//! How the Internet sees our sockets: servers are asked by STUN, from the sockets themselves, for what
//! a NAT has for one socket says nothing of another.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use homeward_linux::AddressChange;
use homeward_model::Instant;
use homeward_stun::{Asker, AskerSettings, Nat};
use serde::Serialize;

use crate::config::ReflexiveConfig;
use crate::event::Event;
use crate::table::lock;
use crate::timers::Slot;

/// What is between our sockets and the Internet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReflexiveStatus {
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
    asker: Mutex<Asker>,
    /// When something is due.
    pub(crate) slot: Slot,
    always: bool,
    /// How often a path is to say something behind a NAT.
    keepalive: Option<Duration>,
    /// Whether we are behind one.
    behind: AtomicBool,
}

impl Reflexive {
    pub(crate) fn new(config: &ReflexiveConfig) -> Self {
        let settings = AskerSettings { interval: config.interval, ..AskerSettings::default() };
        let mut asker = Asker::new(settings);
        asker.set_active(config.always, Instant::ORIGIN);
        Self {
            asker: Mutex::new(asker),
            slot: Slot::default(),
            always: config.always,
            keepalive: config.keepalive,
            behind: AtomicBool::new(false),
        }
    }

    pub(crate) fn asker(&self) -> MutexGuard<'_, Asker> {
        lock(&self.asker)
    }

    /// Notes whether there are tunnels. Gives when something is due.
    pub(crate) fn needed(&self, tunnels: bool, now: Instant) -> Option<Instant> {
        let mut asker = self.asker();
        asker.set_active(self.always || tunnels, now);
        asker.poll_timeout()
    }

    /// How often a path is to say something because of the NAT that we are behind.
    pub(crate) fn keepalive(&self) -> Option<Duration> {
        self.keepalive.filter(|_| self.behind.load(Ordering::Relaxed))
    }

    /// Takes what is news from the asker. Whether there was any.
    pub(crate) fn take_news(&self, asker: &mut Asker, events: &mut Vec<Event>) -> bool {
        let before = events.len();
        while let Some(learned) = asker.poll_event() {
            tracing::info!(server = %learned.server, seen = ?learned.mapping.map(|m| m.mapped), "STUN");
            events.push(Event::Mapped { server: learned.server, mapping: learned.mapping });
        }
        self.behind.store(asker.nat().is_there(), Ordering::Relaxed);
        events.len() > before
    }

    pub(crate) fn status(&self, now: Instant) -> ReflexiveStatus {
        let asker = self.asker();
        let age = |at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        let servers = asker.status().map(|server| StunStatus {
            server: server.server,
            local: server.mapping.and_then(|mapping| mapping.local),
            mapped: server.mapping.map(|mapping| mapping.mapped),
            answered_ms: server.answered.map(age),
        });
        ReflexiveStatus { nat: asker.nat(), servers: servers.collect() }
    }
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
