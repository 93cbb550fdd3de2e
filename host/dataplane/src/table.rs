//! Who and what there is: peers, tunnels, and how to find them.
//!
//! The table is behind one lock, which the two threads hold for reading while they work through a
//! batch, and a command for writing while it changes something: so a command has its effect
//! between two batches, and what it takes out is used by nobody any more.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homeward_l2tp::{Inbound, InnerHeader, Outbound, Overhead};
use homeward_linux::Tap;
use homeward_port::Port;
use slab::Slab;

use crate::config::{PeerConfig, PeerId, TunnelConfig, TunnelId};
use crate::counters::Counters;
use crate::hold::Hold;
use crate::link::Link;
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
    /// Tunnels by the session id that arrives.
    pub(crate) sessions: HashMap<u32, usize>,
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
    /// Its peer's place.
    pub(crate) peer: usize,
    pub(crate) overhead: Overhead,
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

/// Locks what only a panic elsewhere could have poisoned; what is behind the lock is whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
