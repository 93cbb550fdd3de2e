//! Who and what there is: peers, tunnels, and how to find them.
//!
//! The table is behind one lock, which the two threads hold for reading while they work through a
//! batch, and a command for writing while it changes something: so a command has its effect
//! between two batches, and what it takes out is used by nobody any more.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homeward_l2tp::{
    HeaderTemplate, Inbound, InnerHeader, Outbound, Overhead, SessionConfig, TcpMss,
};
use homeward_linux::Tap;
use homeward_port::Port;
use slab::Slab;

use crate::bond::Bond;
use crate::config::{PeerConfig, PeerId, TunnelConfig, TunnelId};
use crate::counters::Counters;
use crate::hold::Hold;
use crate::link::Link;
use crate::status::State;
use crate::timers::Slot;
use crate::wireguard::{Cores, Identity, Message, Way};

/// Everything.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) inner_address: Option<Ipv4Addr>,
    pub(crate) peers: Slab<Peer>,
    pub(crate) peer_ids: BTreeMap<PeerId, usize>,
    /// Peers by our public key and theirs.
    pub(crate) keys: HashMap<([u8; 32], [u8; 32]), usize>,
    /// Who we are besides, through accesses of their own.
    pub(crate) identities: Vec<Arc<Identity>>,
    /// Cores by index.
    pub(crate) cores: HashMap<u32, (usize, Way)>,
    pub(crate) tunnels: Slab<Tunnel>,
    pub(crate) tunnel_ids: BTreeMap<TunnelId, usize>,
    /// Tunnels, and which of their legs, by the session id that arrives.
    pub(crate) sessions: HashMap<u32, (usize, u8)>,
}

impl Table {
    /// What a WireGuard message is, and which of our public keys it is for.
    pub(crate) fn screen(
        &self,
        first: &Identity,
        message: &[u8],
        from: IpAddr,
        room: &mut [u8; 64],
    ) -> Option<([u8; 32], Message)> {
        let others = self.identities.iter().map(|identity| &**identity);
        // A handshake message says by its MAC for whom it is: no other's arithmetic is spent on it.
        std::iter::once(first)
            .chain(others)
            .find_map(|who| Some((who.public_key(), who.screen(message, from, room)?)))
    }

    /// Whether a tunnel has a path by which its other end answers.
    pub(crate) fn is_reachable(&self, tunnel: TunnelId) -> bool {
        let known = self.tunnel_ids.get(&tunnel).and_then(|at| self.tunnels.get(*at));
        known.is_some_and(|known| {
            let peers = known.legs.iter().filter_map(|leg| self.peers.get(leg.peer));
            let mut links = peers.map(|peer| peer.link(known.config.encrypted));
            links.any(|link| link.route().state() == State::Up)
        })
    }

    /// Notes who we are to peers, from their accesses.
    pub(crate) fn note_identities(&mut self) {
        let mut all: Vec<Arc<Identity>> = Vec::new();
        for (_, peer) in self.peers.iter().filter(|(_, peer)| peer.config.access.is_some()) {
            if !all.iter().any(|known| known.public_key() == peer.identity.public_key()) {
                all.push(Arc::clone(&peer.identity));
            }
        }
        self.identities = all;
    }

    /// The interfaces of the accesses by which peers are reached; 0, the routing table's choice, if no
    /// peer has one.
    pub(crate) fn interfaces(&self) -> BTreeSet<u32> {
        let accesses = self.peers.iter().filter_map(|(_, peer)| peer.config.access.as_ref());
        let mut all: BTreeSet<u32> = accesses.map(|access| access.interface).collect();
        // By an access without an interface nothing is sent.
        if !all.remove(&0) && all.is_empty() {
            all.insert(0);
        }
        all
    }
}

/// A peer gateway.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) config: PeerConfig,
    /// Those of its endpoints that our sockets reach.
    pub(crate) endpoints: Vec<SocketAddr>,
    /// Who we are to it.
    pub(crate) identity: Arc<Identity>,
    /// The header inside WireGuard, once both addresses are known.
    pub(crate) inner: Option<InnerHeader>,
    /// WireGuard, once there is an encrypted tunnel.
    pub(crate) cores: Option<Cores>,
    /// When WireGuard's timers are to be looked at.
    pub(crate) slot: Slot,
    /// Nanoseconds on the clock when WireGuard last carried anything.
    pub(crate) active: AtomicU64,
    clear: Link,
    sealed: Link,
}

impl Peer {
    pub(crate) fn new(id: PeerId, config: PeerConfig, identity: Arc<Identity>) -> Self {
        Self {
            id,
            config,
            endpoints: Vec::new(),
            identity,
            inner: None,
            cores: None,
            slot: Slot::default(),
            active: AtomicU64::new(0),
            clear: Link::new(),
            sealed: Link::new(),
        }
    }

    /// The interface by which everything leaves, 0 leaving it to the routing table; `None` while
    /// there is none.
    #[inline]
    pub(crate) fn interface(&self) -> Option<u32> {
        match &self.config.access {
            None => Some(0),
            Some(access) => Some(access.interface).filter(|number| *number != 0),
        }
    }

    /// The keys by which it is known: ours and its own.
    pub(crate) fn keys(&self) -> ([u8; 32], [u8; 32]) {
        (self.identity.public_key(), self.config.public_key)
    }

    pub(crate) fn link(&self, sealed: bool) -> &Link {
        if sealed { &self.sealed } else { &self.clear }
    }
}

/// A tunnel.
pub(crate) struct Tunnel {
    pub(crate) id: TunnelId,
    pub(crate) config: TunnelConfig,
    /// Its paths: at least one.
    pub(crate) legs: Vec<Leg>,
    /// What several paths take besides.
    pub(crate) bond: Option<Box<Bond>>,
    pub(crate) tap: Arc<Tap>,
    /// Whether the interface was deleted by somebody else.
    pub(crate) gone: AtomicBool,
    /// What waits for the peer.
    pub(crate) hold: Mutex<Hold>,
    pub(crate) outbound: Mutex<Outbound>,
    pub(crate) inbound: Mutex<Inbound>,
    /// When fragments are to be given up.
    pub(crate) slot: Slot,
    pub(crate) port: Mutex<Port>,
    pub(crate) counters: Arc<Counters>,
}

/// A path of a tunnel: a session of its own, with the other end as it is known by that path.
#[derive(Debug)]
pub(crate) struct Leg {
    /// The peer's place.
    pub(crate) peer: usize,
    pub(crate) session: SessionConfig,
    pub(crate) template: HeaderTemplate,
    pub(crate) overhead: Overhead,
}

impl Leg {
    pub(crate) fn new(peer: usize, session: SessionConfig) -> Self {
        let (template, overhead) = (HeaderTemplate::new(&session), Overhead::of(&session));
        Self { peer, session, template, overhead }
    }
}

impl Tunnel {
    /// The largest TCP segments that pass all its paths that there are.
    pub(crate) fn tcp_mss(&self, table: &Table) -> Option<TcpMss> {
        let fits = self.legs.iter().filter_map(|leg| {
            let way = table.peers.get(leg.peer)?.link(self.config.encrypted).route().way()?;
            Some(leg.overhead.tcp_mss(way.to.ip(), way.mtu.into()))
        });
        fits.reduce(|a, b| TcpMss { v4: a.v4.min(b.v4), v6: a.v6.min(b.v6) })
    }
}

/// Locks what only a panic elsewhere could have poisoned; what is behind the lock is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
