//! Who and what there is: peers, tunnels, and how to find them.
//!
//! The table is behind one lock, which the two threads hold for reading while they work through a
//! batch, and a command for writing while it changes something: so a command has its effect
//! between two batches, and what it takes out is used by nobody any more.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
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
use crate::wireguard::{Cores, Way};

/// Everything.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) inner_address: Option<Ipv4Addr>,
    pub(crate) peers: Slab<Peer>,
    pub(crate) peer_ids: BTreeMap<PeerId, usize>,
    /// Peers by public key.
    pub(crate) keys: HashMap<[u8; 32], usize>,
    /// Cores by index.
    pub(crate) cores: HashMap<u32, (usize, Way)>,
    pub(crate) tunnels: Slab<Tunnel>,
    pub(crate) tunnel_ids: BTreeMap<TunnelId, usize>,
    /// Tunnels by the session id that arrives.
    pub(crate) sessions: HashMap<u32, usize>,
}

/// A peer gateway.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) config: PeerConfig,
    /// Those of its endpoints that our sockets reach.
    pub(crate) endpoints: Vec<SocketAddr>,
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
    pub(crate) fn new(id: PeerId, config: PeerConfig) -> Self {
        Self {
            id,
            config,
            endpoints: Vec::new(),
            inner: None,
            cores: None,
            slot: Slot::default(),
            active: AtomicU64::new(0),
            clear: Link::new(),
            sealed: Link::new(),
        }
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
