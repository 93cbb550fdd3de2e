//! The handle on a running data plane.

mod tunnels;

use std::fmt;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use homeward_l2tp::{InnerHeader, PathSettings};
use homeward_linux::tap::VNET_HEADER;
use homeward_linux::{AddressWatch, UdpSettings, UdpSocket};
use homeward_model::{Clock, Entropy, Instant};
use homeward_port::Settings as PortSettings;

use crate::config::{Config, PeerConfig, PeerId, Side, TunnelId};
use crate::egress::Egress;
use crate::engine::{AnyEntropy, Shared, Timer};
use crate::error::Error;
use crate::event::Event;
use crate::ingress::Ingress;
use crate::reflexive::{Askers, ReflexiveStatus};
use crate::status::{self, Strangers, TunnelStatus};
use crate::table::{Peer, Table, Tunnel, lock};
use crate::wireguard::{Cores, Identity, Way};

/// A running data plane: two threads, one a direction. Dropping it stops it; its interfaces go.
///
/// Commands take effect at once and disturb no traffic but their own tunnel's. They come from any
/// thread; one that makes or removes an interface (`open`, `close`, `remove_peer`) may take the
/// kernel some milliseconds: call those from a thread that may block.
pub struct Dataplane {
    shared: Arc<Shared>,
    /// None once it was stopped.
    sockets: Mutex<Option<Arc<[UdpSocket]>>>,
    addresses: Vec<SocketAddr>,
    threads: Mutex<Threads>,
}

/// What commands hold against each other, so that what one has found another does not change.
struct Threads {
    running: Vec<JoinHandle<()>>,
    next_core: u32,
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
        mut entropy: impl Entropy + Send + 'static,
        events: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let sockets = config
            .listen
            .iter()
            .map(|&address| {
                UdpSocket::open(&UdpSettings {
                    address,
                    dscp: config.dscp,
                    mark: config.mark,
                    receive_buffer: config.receive_buffer,
                    send_buffer: config.send_buffer,
                })
                .map_err(|source| Error::Listen { address, source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if sockets.is_empty() {
            return Err(Error::NoAddress);
        }
        // Where a core's numbers begin says nothing about how many there are.
        let next_core = u32::from_ne_bytes(entropy.octets()) >> 8;
        let path = PathSettings { keepalive: config.keepalive, ..PathSettings::default() };
        let system = |errno: nix::Error| Error::System(errno.into());
        let identity = Identity::new(&config.private_key);
        let (clock, tell) = (Box::new(clock), Box::new(events));
        let shared = Arc::new(
            Shared::new(identity, path, &config.reflexive, config.hold, clock, tell)
                .map_err(system)?,
        );
        let sockets: Arc<[UdpSocket]> = sockets.into();
        let addresses: Vec<SocketAddr> = sockets.iter().map(UdpSocket::local_address).collect();
        for address in &addresses {
            tracing::info!(%address, "the data plane listens");
        }
        let watch = AddressWatch::open().map_err(Error::System)?;
        let events = shared.arrivals(&sockets, &watch).map_err(system)?;
        let dataplane = Self {
            shared: Arc::clone(&shared),
            sockets: Mutex::new(Some(Arc::clone(&sockets))),
            addresses,
            threads: Mutex::new(Threads { running: Vec::new(), next_core }),
        };
        let entropy = AnyEntropy(Box::new(entropy));
        let ingress = Ingress::new(Arc::clone(&shared), Arc::clone(&sockets), watch, entropy);
        let egress = Egress::new(shared, sockets);
        // A thread that cannot be had ends the other one, as the handle is dropped.
        dataplane.spawn("tunnel-out", move || egress.run())?;
        dataplane.spawn("tunnel-in", move || ingress.run(&events))?;
        Ok(dataplane)
    }

    fn spawn(&self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread =
            std::thread::Builder::new().name(name.into()).spawn(body).map_err(Error::System)?;
        self.commands().running.push(thread);
        Ok(())
    }

    /// Whether it carries anything: until it is stopped, or one of its threads ends by a defect.
    /// In the second case all tunnels are told [`Event::Gone`].
    pub fn is_running(&self) -> bool {
        !self.shared.is_stopping()
    }

    /// The X25519 public key that belongs to the private key it was started with.
    pub fn public_key(&self) -> [u8; 32] {
        self.shared.identity.public_key()
    }

    /// The addresses it listens on, with the port that was given for port 0.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }

    /// Names the servers that say how the Internet sees our sockets (STUN), in place of those that
    /// were named before; the first four that the sockets reach. They are asked at once, and again
    /// while there is a tunnel; by each access that a peer is reached by, where there are such peers.
    /// What they say comes as [`Event::Mapped`].
    pub fn set_stun(&self, servers: &[SocketAddr]) {
        let now = self.shared.now();
        let servers = self.reachable(servers);
        self.change_askers(|askers, _| askers.set_servers(servers, now));
    }

    /// Changes whom to ask or by what, and has it done.
    fn change_askers(&self, change: impl FnOnce(&mut Askers, &mut Vec<Event>)) {
        let (mut events, reflexive) = (Vec::new(), &self.shared.reflexive);
        let mut askers = reflexive.askers();
        change(&mut askers, &mut events);
        reflexive.take_news(&mut askers, &mut events);
        let due = askers.poll_timeout();
        drop(askers);
        self.shared.arm(&reflexive.slot, Timer::Reflexive, due);
        self.shared.tell(&mut events);
    }

    /// Has the servers asked by the accesses that peers are reached by now.
    fn note_accesses(&self) {
        let interfaces = self.shared.table().interfaces();
        let now = self.shared.now();
        self.change_askers(|askers, events| askers.set_interfaces(&interfaces, events, now));
    }

    /// How the Internet sees our sockets, as far as is known: by each access.
    pub fn reflexive(&self) -> Vec<ReflexiveStatus> {
        self.shared.reflexive.status(self.shared.now())
    }

    /// Has the servers asked while there is a tunnel.
    fn note_tunnels(&self) {
        let any = !self.shared.table().tunnels.is_empty();
        let due = self.shared.reflexive.needed(any, self.shared.now());
        self.shared.arm(&self.shared.reflexive.slot, Timer::Reflexive, due);
    }

    /// Sets our address inside WireGuard, which encrypted tunnels need.
    pub fn set_inner_address(&self, address: Ipv4Addr) {
        let _commands = self.commands();
        let mut table = self.shared.table_mut();
        table.inner_address = Some(address);
        for (_, peer) in &mut table.peers {
            peer.inner = Some(InnerHeader::new(address, peer.config.inner_address, 0));
        }
    }

    /// Makes a peer known, or changes it. Its WireGuard session survives unless a key changed; its
    /// present endpoint survives as long as it works.
    ///
    /// # Errors
    ///
    /// Another peer has the public key.
    pub fn set_peer(&self, peer: PeerId, config: PeerConfig) -> Result<(), Error> {
        let mut commands = self.commands();
        let now = self.shared.now();
        let identity = match &config.access {
            None => Arc::clone(&self.shared.identity),
            Some(access) => Arc::new(Identity::new(&access.private_key)),
        };
        let keys = (identity.public_key(), config.public_key);
        let (place, rekey, encrypted) = {
            let table = self.shared.table();
            let place = table.peer_ids.get(&peer).copied();
            if let Some(&holder) = table.keys.get(&keys)
                && Some(holder) != place
            {
                let holder = table.peers.get(holder).map_or(peer, |holder| holder.id);
                return Err(Error::KeyTaken { peer, holder });
            }
            let known = place.and_then(|at| table.peers.get(at));
            let rekey = known.is_some_and(|known| {
                known.keys() != keys || known.config.preshared_key != config.preshared_key
            });
            (place, rekey, known.is_some_and(|known| known.cores.is_some()))
        };
        // Its arithmetic takes a while: without the lock.
        let cores =
            (rekey && encrypted).then(|| self.cores(&mut commands, &identity, &config, now));
        let mute = config.access.as_ref().is_some_and(|access| access.interface == 0);
        let endpoints = if mute { Vec::new() } else { self.reachable(&config.endpoints) };
        let mut table = self.shared.table_mut();
        let inner = table.inner_address.map(|own| InnerHeader::new(own, config.inner_address, 0));
        let place = match place {
            Some(place) => place,
            None => {
                let place =
                    table.peers.insert(Peer::new(peer, config.clone(), Arc::clone(&identity)));
                table.peer_ids.insert(peer, place);
                place
            }
        };
        if let Some(cores) = cores {
            table.set_cores(place, Some(cores));
        }
        let Table { peers, keys, .. } = &mut *table;
        let Some(known) = peers.get_mut(place) else { return Ok(()) };
        keys.remove(&known.keys());
        keys.insert((identity.public_key(), config.public_key), place);
        if known.endpoints != endpoints || rekey {
            for sealed in [false, true] {
                let link = known.link(sealed);
                let mut route = link.route();
                route.set_endpoints(&endpoints, now);
                if rekey {
                    route.try_anew(now);
                }
                self.shared.arm(&link.slot, Timer::Link(place, sealed), route.due());
            }
        }
        let of_accesses = known.config.access.is_some() || config.access.is_some();
        (known.inner, known.endpoints, known.config) = (inner, endpoints, config);
        known.identity = identity;
        table.note_identities();
        drop(table);
        if of_accesses {
            self.note_accesses();
        }
        Ok(())
    }

    /// Forgets a peer, and closes what tunnels lead to it. Nothing happens if it is not known.
    pub fn remove_peer(&self, peer: PeerId) {
        let _commands = self.commands();
        let place = self.shared.table().peer_ids.get(&peer).copied();
        let Some(place) = place else { return };
        let tunnels: Vec<usize> = {
            let table = self.shared.table();
            {
                let leads = |t: &Tunnel| t.legs.iter().any(|leg| leg.peer == place);
                table.tunnels.iter().filter(|(_, t)| leads(t)).map(|(at, _)| at).collect()
            }
        };
        for tunnel in tunnels {
            drop(self.take_out(tunnel));
        }
        let mut table = self.shared.table_mut();
        table.set_cores(place, None);
        table.peer_ids.remove(&peer);
        let removed = table.peers.try_remove(place);
        if let Some(known) = &removed {
            table.keys.remove(&known.keys());
            table.note_identities();
        }
        drop(table);
        if removed.is_some_and(|known| known.config.access.is_some()) {
            self.note_accesses();
        }
        self.note_tunnels();
    }

    /// Changes what strangers may send and receive.
    ///
    /// # Errors
    ///
    /// There is no such tunnel.
    pub fn set_port(&self, tunnel: TunnelId, port: PortSettings) -> Result<(), Error> {
        let _commands = self.commands();
        let now = self.shared.now();
        let mut table = self.shared.table_mut();
        let known = table.tunnel_mut(tunnel)?;
        known.config.port = PortSettings { side: port_side(known.config.side), ..port };
        lock(&known.port).reconfigure(known.config.port.clone(), now);
        Ok(())
    }

    /// Closes a tunnel; its interface goes. Whether there was one.
    pub fn close(&self, tunnel: TunnelId) -> bool {
        let _commands = self.commands();
        let place = self.shared.table().tunnel_ids.get(&tunnel).copied();
        let closed = place.and_then(|place| self.take_out(place)).is_some();
        self.note_tunnels();
        closed
    }

    /// Writes a frame out of the tunnel's interface as if it had come through the tunnel; no port
    /// is asked. It has no frame check sequence.
    ///
    /// # Errors
    ///
    /// There is no such tunnel, or the interface does not take the frame.
    pub fn inject(&self, tunnel: TunnelId, frame: &[u8]) -> Result<(), Error> {
        let table = self.shared.table();
        let known = table.tunnel(tunnel)?;
        known
            .tap
            .write(&[IoSlice::new(&[0; VNET_HEADER]), IoSlice::new(frame)])
            .map_err(|source| Error::Inject { tunnel, source })
    }

    /// How the tunnels fare, by id.
    pub fn status(&self) -> Vec<TunnelStatus> {
        let now = self.shared.now();
        let table = self.shared.table();
        let places = table.tunnel_ids.values();
        places.filter_map(|at| status::of(&table, table.tunnels.get(*at)?, now)).collect()
    }

    /// How many datagrams belonged to no tunnel.
    pub fn strangers(&self) -> Strangers {
        let refused = &self.shared.refused;
        Strangers {
            unknown: refused.unknown.load(Ordering::Relaxed),
            wireguard: refused.wireguard.load(Ordering::Relaxed),
        }
    }

    /// The addresses that a tunnel's port knows to be its devices': for the port that takes over.
    ///
    /// # Errors
    ///
    /// There is no such tunnel.
    pub fn bindings(&self, tunnel: TunnelId) -> Result<Vec<homeward_port::Binding>, Error> {
        let now = self.shared.now();
        let table = self.shared.table();
        Ok(lock(&table.tunnel(tunnel)?.port).bindings(now).collect())
    }

    /// Stops: the threads end, the interfaces go, the sockets close. No tunnel can be opened from
    /// then on. Idempotent.
    pub fn stop(&self) {
        self.shared.stop();
        let running = std::mem::take(&mut self.commands().running);
        for thread in running {
            if thread.join().is_err() {
                tracing::error!("a thread of the data plane panicked: this is a defect");
            }
        }
        *lock(&self.sockets) = None;
        let _commands = self.commands();
        let places: Vec<usize> =
            self.shared.table().tunnels.iter().map(|(place, _)| place).collect();
        for place in places {
            drop(self.take_out(place));
        }
    }

    fn commands(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cores(
        &self,
        commands: &mut Threads,
        identity: &Identity,
        config: &PeerConfig,
        now: Instant,
    ) -> Cores {
        let table = self.shared.table();
        let mut free = || loop {
            let index = commands.next_core;
            commands.next_core = (index + 1) & 0x00ff_ffff;
            if !table.cores.contains_key(&index) {
                return index;
            }
        };
        let indices = [free(), free()];
        drop(table);
        let preshared = config.preshared_key.as_ref();
        Cores::new(identity, config.public_key, preshared, indices, now)
    }

    /// Those of the addresses that a socket of ours can send to.
    fn reachable(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let canonical = addresses.iter().map(|address| match address.ip().to_canonical() {
            ip if ip != address.ip() => SocketAddr::new(ip, address.port()),
            _ => *address,
        });
        let sockets = lock(&self.sockets).clone().unwrap_or_default();
        canonical.filter(|at| sockets.iter().any(|socket| socket.reaches(*at))).collect()
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Dataplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataplane").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Table {
    pub(crate) fn tunnel(&self, tunnel: TunnelId) -> Result<&Tunnel, Error> {
        let place = self.tunnel_ids.get(&tunnel).copied();
        place.and_then(|at| self.tunnels.get(at)).ok_or(Error::UnknownTunnel(tunnel))
    }

    fn tunnel_mut(&mut self, tunnel: TunnelId) -> Result<&mut Tunnel, Error> {
        let place = self.tunnel_ids.get(&tunnel).copied();
        place.and_then(|at| self.tunnels.get_mut(at)).ok_or(Error::UnknownTunnel(tunnel))
    }

    fn set_cores(&mut self, place: usize, new: Option<Cores>) {
        let Some(peer) = self.peers.get_mut(place) else { return };
        for index in peer.cores.as_ref().map_or([].as_slice(), |cores| &cores.indices) {
            self.cores.remove(index);
        }
        if let Some(new) = &new {
            let [outward, inward] = new.indices;
            self.cores.insert(outward, (place, Way::Out));
            self.cores.insert(inward, (place, Way::In));
        }
        peer.cores = new;
    }
}

fn port_side(side: Side) -> homeward_port::Side {
    match side {
        Side::Home => homeward_port::Side::Home,
        Side::Foreign => homeward_port::Side::Foreign,
    }
}
