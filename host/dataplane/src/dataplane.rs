//! The handle on a running data plane.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};

use homeward_linux::{Tap, TapSettings};
use homeward_model::{Clock, Entropy};

use crate::config::{Config, PeerConfig, PeerId, PortSettings, TapInfo, TunnelConfig, TunnelId};
use crate::error::Error;
use crate::event::Event;
use crate::status::TunnelStatus;

/// A running data plane: two threads, one a direction. Dropping it stops it; its interfaces go.
///
/// Commands take effect at once and disturb no traffic but their own tunnel's. They come from any
/// thread; one that makes or removes an interface (`open`, `close`) may take the kernel some
/// milliseconds: call those from a thread that may block.
#[derive(Debug)]
pub struct Dataplane {
    sockets: Vec<UdpSocket>,
    state: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    inner_address: Option<Ipv4Addr>,
    peers: BTreeMap<PeerId, PeerConfig>,
    tunnels: BTreeMap<TunnelId, (TunnelConfig, Tap)>,
}

impl Dataplane {
    /// Starts a data plane in the calling thread's network namespace. `events` is called on its
    /// threads and must not block: hand the event to a channel.
    ///
    /// # Errors
    ///
    /// An address cannot be had, or the system gives no thread.
    pub fn start(
        config: Config,
        clock: impl Clock + 'static,
        entropy: impl Entropy + Send + 'static,
        events: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let _ = (clock, entropy, events);
        let sockets = config
            .listen
            .iter()
            .map(|&address| {
                UdpSocket::bind(address).map_err(|source| Error::Listen { address, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if sockets.is_empty() {
            return Err(Error::NoAddress);
        }
        Ok(Self { sockets, state: Mutex::default() })
    }

    /// The X25519 public key that belongs to the private key it was started with.
    pub fn public_key(&self) -> [u8; 32] {
        [0; 32]
    }

    /// The addresses it listens on, with the port that was given for port 0.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Sets our address inside WireGuard, which encrypted tunnels need.
    pub fn set_inner_address(&self, address: Ipv4Addr) {
        self.registry().inner_address = Some(address);
    }

    /// Makes a peer known, or changes it. Its WireGuard session survives unless a key changed; its
    /// present endpoint survives as long as it works.
    ///
    /// # Errors
    ///
    /// Another peer has the public key.
    pub fn set_peer(&self, peer: PeerId, config: PeerConfig) -> Result<(), Error> {
        let mut registry = self.registry();
        let same = registry
            .peers
            .iter()
            .find(|(id, other)| **id != peer && other.public_key == config.public_key);
        if let Some((&holder, _)) = same {
            return Err(Error::KeyTaken { peer, holder });
        }
        registry.peers.insert(peer, config);
        Ok(())
    }

    /// Forgets a peer, and closes what tunnels lead to it. Nothing happens if it is not known.
    pub fn remove_peer(&self, peer: PeerId) {
        let mut registry = self.registry();
        registry.peers.remove(&peer);
        registry.tunnels.retain(|_, (config, _)| config.peer != peer);
    }

    /// Opens a tunnel and makes its interface, or changes the tunnel with that id: what did not
    /// change goes on without loss. Another `tap` name or `mac` makes another interface.
    ///
    /// # Errors
    ///
    /// The peer is not known, the session id is 0 or taken, there is an interface of that name, or
    /// the kernel refuses. The tunnel is then as it was.
    pub fn open(&self, tunnel: TunnelId, config: TunnelConfig) -> Result<TapInfo, Error> {
        let mut registry = self.registry();
        if !registry.peers.contains_key(&config.peer) {
            return Err(Error::UnknownPeer { tunnel, peer: config.peer });
        }
        if config.encrypted && registry.inner_address.is_none() {
            return Err(Error::NoInnerAddress(tunnel));
        }
        let settings = TapSettings { name: config.tap.clone(), mtu: config.mtu, mac: config.mac };
        let tap = Tap::open(&settings).map_err(|source| Error::Tap { tunnel, source })?;
        let info = TapInfo {
            name: tap.name().to_owned(),
            index: tap.index(),
            mac: tap.mac(),
            mtu: tap.mtu(),
        };
        registry.tunnels.insert(tunnel, (config, tap));
        Ok(info)
    }

    /// Changes what strangers may send and receive.
    ///
    /// # Errors
    ///
    /// There is no such tunnel.
    pub fn set_port(&self, tunnel: TunnelId, port: PortSettings) -> Result<(), Error> {
        let mut registry = self.registry();
        let (config, _) = registry.tunnels.get_mut(&tunnel).ok_or(Error::UnknownTunnel(tunnel))?;
        config.port = port;
        Ok(())
    }

    /// Closes a tunnel; its interface goes. Whether there was one.
    pub fn close(&self, tunnel: TunnelId) -> bool {
        self.registry().tunnels.remove(&tunnel).is_some()
    }

    /// Writes a frame out of the tunnel's interface as if it had come through the tunnel; no port
    /// is asked. It has no frame check sequence.
    ///
    /// # Errors
    ///
    /// There is no such tunnel, or the interface does not take the frame.
    pub fn inject(&self, tunnel: TunnelId, frame: &[u8]) -> Result<(), Error> {
        let registry = self.registry();
        let (_, tap) = registry.tunnels.get(&tunnel).ok_or(Error::UnknownTunnel(tunnel))?;
        let header = [0; homeward_linux::tap::VNET_HEADER];
        tap.write(&[std::io::IoSlice::new(&header), std::io::IoSlice::new(frame)])
            .map_err(|source| Error::Inject { tunnel, source })
    }

    /// How the tunnels fare, by id.
    pub fn status(&self) -> Vec<TunnelStatus> {
        Vec::new()
    }

    /// Stops: the threads end, the interfaces go, the sockets close. Idempotent.
    pub fn stop(&self) {
        self.registry().tunnels.clear();
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
