//! Tunnels opened, changed and taken out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use homeward_l2tp::{Inbound, InboundSettings, Outbound};
use homeward_linux::{Tap, TapSettings};
use homeward_port::Port;
use nix::sys::epoll::{EpollEvent, EpollFlags};

use super::{Dataplane, Threads, port_side};
use crate::bond::Bond;
use crate::config::{BondConfig, TapInfo, TunnelConfig, TunnelId};
use crate::counters::Counters;
use crate::engine::Timer;
use crate::error::Error;
use crate::link::encapsulation;
use crate::table::{Leg, Table, Tunnel, lock};
use crate::timers::Slot;

/// How many sequence numbers back a copy is recognised where there are several paths: one may be
/// behind the other by so much.
const BOND_WINDOW: usize = 1 << 16;

/// What there is already of a tunnel that is to be opened.
struct Found {
    /// The places of the peers of its legs.
    peers: Vec<usize>,
    /// Its own place.
    place: Option<usize>,
    /// Its interface, if that stays.
    tap: Option<Arc<Tap>>,
    /// Whether all of it stays but what can be changed in place.
    same: bool,
}

impl Dataplane {
    /// Opens a tunnel and makes its interface, or changes the tunnel with that id: what did not
    /// change goes on without loss. Another `tap` name or `mac` makes another interface; another
    /// peer, session or `encrypted`, of any leg, begins the session anew.
    ///
    /// # Errors
    ///
    /// A peer is not known, a session id is taken, there are too many legs, there is an interface
    /// of that name, or the kernel refuses. The tunnel is then as it was.
    pub fn open(&self, tunnel: TunnelId, config: TunnelConfig) -> Result<TapInfo, Error> {
        let mut commands = self.commands();
        if self.shared.is_stopping() {
            return Err(Error::Stopped);
        }
        let now = self.shared.now();
        let mut config = config;
        config.session.encapsulation = encapsulation(config.encrypted);
        for leg in config.bond.iter_mut().flat_map(|bond| &mut bond.legs) {
            leg.session.encapsulation = encapsulation(config.encrypted);
        }
        config.port.side = port_side(config.side);
        let Found { peers, place: old, tap, same } = self.find(tunnel, &config)?;

        let tap = match tap {
            Some(tap) => tap,
            None => {
                let (name, mtu, mac) = (config.tap.clone(), config.mtu, config.mac);
                let tap = Tap::open(&TapSettings { name, mtu, mac })
                    .map_err(|source| Error::Tap { tunnel, source })?;
                Arc::new(tap)
            }
        };
        tap.set_mtu(config.mtu).map_err(|source| Error::Tap { tunnel, source })?;
        let info = info(&tap);
        if let (Some(old), true) = (old, same) {
            let mut table = self.shared.table_mut();
            if let Some(known) = table.tunnels.get_mut(old) {
                lock(&known.port).reconfigure(config.port.clone(), now);
                if let (Some(bond), Some(wanted)) = (&known.bond, &config.bond) {
                    bond.configure(wanted, now);
                }
                known.config = config;
            }
            return Ok(info);
        }

        if config.encrypted {
            for peer in &peers {
                self.need_cores(&mut commands, *peer);
            }
        }
        let new = Tunnel {
            id: tunnel,
            legs: legs(&peers, &config),
            bond: config.bond.as_ref().map(|bond| Bond::new(bond, now)),
            tap: Arc::clone(&tap),
            gone: false.into(),
            hold: Mutex::default(),
            outbound: Mutex::new(Outbound::new(&config.session)),
            inbound: Mutex::new(Inbound::new(&config.session, inbound(config.bond.as_ref()))),
            slot: Slot::default(),
            port: Mutex::new(Port::new(config.port.clone(), now)),
            counters: Arc::new(Counters::default()),
            config,
        };
        // The old one goes first: its interface may be the same, under the same place in epoll.
        let replaced = old.and_then(|old| self.take_out(old));
        let mut table = self.shared.table_mut();
        let mut events = Vec::new();
        let Table { peers, tunnels, tunnel_ids, sessions, .. } = &mut *table;
        let entry = tunnels.vacant_entry();
        let place = entry.key();
        for (number, leg) in (0..).zip(&new.legs) {
            sessions.insert(leg.session.local_session.get(), (place, number));
            let Some(known) = peers.get(leg.peer) else { continue };
            let sealed = new.config.encrypted;
            let link = known.link(sealed);
            let mut route = link.route();
            let (path, endpoints) = (self.shared.path_settings(), &known.endpoints);
            route.add_carrier(tunnel, &leg.session, &path, endpoints, now, &mut events);
            self.shared.arm(&link.slot, Timer::Link(leg.peer, sealed), route.due());
        }
        entry.insert(new);
        tunnel_ids.insert(tunnel, place);
        drop(table);
        drop(replaced);
        self.shared.tell(&mut events);
        let event = EpollEvent::new(EpollFlags::EPOLLIN, place as u64);
        self.shared.interfaces.add(&*tap, event).map_err(|errno| {
            drop(self.take_out(place));
            Error::System(errno.into())
        })?;
        self.note_tunnels();
        Ok(info)
    }

    /// Gives a peer WireGuard, if it has none yet. Its arithmetic takes a while: without the lock.
    fn need_cores(&self, commands: &mut Threads, peer: usize) {
        let known = {
            let table = self.shared.table();
            let known = table.peers.get(peer).filter(|known| known.cores.is_none());
            known.map(|known| (Arc::clone(&known.identity), known.config.clone()))
        };
        let Some((identity, config)) = known else { return };
        let cores = self.cores(commands, &identity, &config, self.shared.now());
        self.shared.table_mut().set_cores(peer, Some(cores));
    }

    fn find(&self, tunnel: TunnelId, config: &TunnelConfig) -> Result<Found, Error> {
        let table = self.shared.table();
        if config.bond.as_ref().is_some_and(|bond| bond.legs.len() >= homeward_multipath::MAX_PATHS)
        {
            return Err(Error::TooManyLegs(tunnel));
        }
        if config.encrypted && table.inner_address.is_none() {
            return Err(Error::NoInnerAddress(tunnel));
        }
        let old = table.tunnel_ids.get(&tunnel).copied();
        let mut peers = Vec::new();
        for leg in config.legs() {
            let peer = table.peer_ids.get(&leg.peer).copied();
            peers.push(peer.ok_or(Error::UnknownPeer { tunnel, peer: leg.peer })?);
            let session = leg.session.local_session.get();
            if let Some(&(holder, _)) = table.sessions.get(&session)
                && Some(holder) != old
            {
                let holder = table.tunnels.get(holder).map_or(tunnel, |holder| holder.id);
                return Err(Error::SessionTaken { tunnel, session, holder });
            }
        }
        let known = old.and_then(|at| table.tunnels.get(at));
        let tap = known
            .filter(|known| known.config.tap == config.tap && known.config.mac == config.mac)
            .filter(|known| !known.gone.load(Ordering::Relaxed))
            .map(|known| Arc::clone(&known.tap));
        let same = tap.is_some()
            && known.is_some_and(|known| {
                known.config.encrypted == config.encrypted
                    && known.legs.iter().map(|leg| leg.peer).eq(peers.iter().copied())
                    && known.config.legs().eq(config.legs())
            });
        Ok(Found { peers, place: old, tap, same })
    }

    /// Takes a tunnel out of the table. Nobody uses it any more once this returns; its interface
    /// goes when what is given is dropped.
    pub(super) fn take_out(&self, place: usize) -> Option<Tunnel> {
        let mut table = self.shared.table_mut();
        let tunnel = table.tunnels.try_remove(place)?;
        table.tunnel_ids.remove(&tunnel.id);
        for leg in &tunnel.legs {
            table.sessions.remove(&leg.session.local_session.get());
            if let Some(peer) = table.peers.get(leg.peer) {
                peer.link(tunnel.config.encrypted).route().remove_carrier(tunnel.id);
            }
        }
        // One that is gone is not there any more.
        let _ = self.shared.interfaces.delete(&*tunnel.tap);
        Some(tunnel)
    }
}

fn legs(peers: &[usize], config: &TunnelConfig) -> Vec<Leg> {
    peers.iter().zip(config.legs()).map(|(peer, leg)| Leg::new(*peer, leg.session)).collect()
}

fn inbound(bond: Option<&BondConfig>) -> InboundSettings {
    match bond {
        None => InboundSettings::default(),
        Some(_) => InboundSettings { window: BOND_WINDOW, ..InboundSettings::default() },
    }
}

fn info(tap: &Tap) -> TapInfo {
    TapInfo { name: tap.name().to_owned(), index: tap.index(), mac: tap.mac(), mtu: tap.mtu() }
}
