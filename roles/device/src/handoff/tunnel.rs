//! Tunnels to ePDGs: the device's own charon, told by its VICI socket to bring the key of the hop, and to
//! dial.
//!
//! A task for each server whose session has tunnels. What it is to do is the last hop alone: an older one
//! has no key any more that an ePDG demands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_charon::{Charon, CharonError};
use homeward_daemon::{Shutdown, SystemClock};
use homeward_keychain::key::PpkKey;
use homeward_keychain::{Device, PpkId, SessionId};
use homeward_model::{Clock, Name};
use tokio::sync::{mpsc, watch};

use super::{Notice, Place};
use crate::config;

/// The last hop, as far as a tunnel is concerned.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    session: SessionId,
    network: Name,
    hops: u16,
    /// None where the key of the network before is missing.
    key: Option<(PpkId, PpkKey)>,
}

impl Hop {
    /// Of a device that has made one.
    pub(super) fn of(device: &Device) -> Option<Self> {
        let key = device.ppk().map(|ppk| (ppk.id, ppk.key.clone()));
        let (session, network) = (device.session(), device.network()?.clone());
        Some(Self { session, network, hops: device.hops(), key })
    }

    /// Which it is.
    fn at(&self) -> HopId {
        (self.session, self.hops)
    }

    /// It takes the place of the one before, if it is another.
    pub(super) fn replaces(self, before: &mut Option<Self>) -> bool {
        let another = before.as_ref().map(Self::at) != Some(self.at());
        if another {
            *before = Some(self);
        }
        another
    }
}

/// Which hop of which session.
type HopId = (SessionId, u16);

/// Which hop's tunnel was dealt with, and whether it is up.
type Standing = Option<(HopId, bool)>;

/// Whether a server is reached through its tunnel, for who is about to call it.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The networks whose tunnel leads there.
    through: BTreeSet<Name>,
    standing: watch::Receiver<Standing>,
    left: watch::Receiver<Place>,
}

impl Way {
    /// Whether the device of that hop goes through a tunnel where it is; waits until it is up. There is none
    /// where the hop has no key for it.
    pub(super) async fn is_through(&mut self, network: Option<&Name>, hop: HopId) -> bool {
        if !network.is_some_and(|at| self.through.contains(at)) {
            return false;
        }
        let of_this_hop = |standing: &Standing| standing.is_some_and(|(of, _)| of == hop);
        let standing = self.standing.wait_for(of_this_hop).await;
        // None would come any more once the daemon is ending.
        standing.is_ok_and(|standing| standing.is_some_and(|(_, up)| up))
    }

    /// Waits until the tunnels are ended that are in the way there.
    pub(super) async fn is_clear(&mut self, place: &Place) {
        let _ = self.left.wait_for(|left| left == place).await;
    }
}

/// How patient it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) retry: Duration,
    pub(super) retry_most: Duration,
}

/// The tunnels of one server's session.
#[derive(Debug)]
pub(super) struct Tunnels {
    server: Name,
    by_network: BTreeMap<Name, config::Tunnel>,
    patience: Patience,
    hops: watch::Receiver<Option<Hop>>,
    told: mpsc::UnboundedSender<Notice>,
    place: watch::Receiver<Place>,
    standing: watch::Sender<Standing>,
    /// Where traffic goes, once no tunnel is in the way.
    left: watch::Sender<Place>,
    /// What was loaded last, and where, so that it is unloaded.
    loaded: Option<(PpkId, Charon)>,
}

/// How a look at the tunnel ended.
enum Looked {
    /// Nothing is to be done until the next hop.
    Nothing,
    /// It is up: it was, or is now.
    Up { now: bool, check: Duration },
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
enum NoTunnel {
    #[error("its ePDG demands a key that this hop has not: it is the first, or marked broken")]
    NoKey,
    #[error(transparent)]
    Charon(#[from] CharonError),
}

impl Tunnels {
    pub(super) fn new(
        server: &Name,
        tunnels: &[config::Tunnel],
        patience: Patience,
        (hops, place): (watch::Receiver<Option<Hop>>, watch::Receiver<Place>),
        told: mpsc::UnboundedSender<Notice>,
    ) -> Option<Self> {
        let own = tunnels.iter().filter(|tunnel| tunnel.server == *server);
        let by_network: BTreeMap<_, _> =
            own.map(|tunnel| (tunnel.network.clone(), tunnel.clone())).collect();
        let this = Self {
            server: server.clone(),
            by_network,
            patience,
            hops,
            place,
            standing: watch::Sender::new(None),
            left: watch::Sender::new(Place::default()),
            told,
            loaded: None,
        };
        (!this.by_network.is_empty()).then_some(this)
    }

    /// How the server is reached.
    pub(super) fn way(&self) -> Way {
        let through = self.by_network.iter().filter(|(_, tunnel)| tunnel.through);
        let through = through.map(|(network, _)| network.clone()).collect();
        Way { through, standing: self.standing.subscribe(), left: self.left.subscribe() }
    }

    /// Keeps the tunnel of the last hop up until shutdown. What is up then stays.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let (mut failures, mut of) = (0, None);
        loop {
            let place = self.place.borrow_and_update().clone();
            if *self.left.borrow() != place {
                tokio::select! {
                    () = shutdown.requested() => return,
                    () = self.leave(&place) => drop(self.left.send_replace(place)),
                }
            }
            let hop = self.hops.borrow_and_update().clone();
            let at = hop.as_ref().map(Hop::at);
            if of != at {
                (failures, of) = (0, at);
            }
            let (mut moved, mut elsewhere) = (self.hops.clone(), self.place.clone());
            let looked = tokio::select! {
                () = shutdown.requested() => return,
                // Whatever was dialled, its key is over.
                Ok(()) = moved.changed() => continue,
                Ok(()) = elsewhere.changed() => continue,
                looked = self.look(hop.as_ref(), failures > 0) => looked,
            };
            match &looked {
                Ok(Looked::Up { .. }) => self.stands(at, true),
                Err(NoTunnel::NoKey) => self.stands(at, false),
                Ok(Looked::Nothing) | Err(NoTunnel::Charon(_)) => {}
            }
            let wait = match looked {
                Ok(Looked::Nothing) => None,
                Ok(Looked::Up { now, check }) => {
                    failures = 0;
                    if let Some(Hop { network, hops, .. }) = hop.as_ref().filter(|_| now) {
                        let (server, network, hops) = (self.server.clone(), network.clone(), *hops);
                        tracing::info!(%server, hops, "the tunnel is up");
                        self.tell(Notice::Connected { server, network, hops });
                    }
                    Some(check)
                }
                Err(error) => {
                    let wait = self.patience.retry.saturating_mul(1 << failures.min(16));
                    failures += 1;
                    let retry = matches!(error, NoTunnel::Charon(_));
                    let error = match &error {
                        NoTunnel::NoKey => error.to_string(),
                        NoTunnel::Charon(error) => error.in_full(),
                    };
                    let server = self.server.clone();
                    tracing::warn!(%server, failures, error, "no tunnel");
                    self.tell(Notice::NotConnected { server, failures, error });
                    retry.then(|| wait.min(self.patience.retry_most))
                }
            };
            let until = wait.map(|wait| SystemClock.now() + wait);
            tokio::select! {
                () = shutdown.requested() => return,
                Ok(()) = self.hops.changed() => {}
                Ok(()) = self.place.changed() => {}
                () = SystemClock.until(until) => {}
            }
        }
    }

    /// Dials unless the tunnel of that hop was dialled, and charon still knows its key.
    async fn look(&mut self, hop: Option<&Hop>, failed: bool) -> Result<Looked, NoTunnel> {
        let Some(hop) = hop else { return Ok(Looked::Nothing) };
        let Some(tunnel) = self.by_network.get(&hop.network).cloned() else {
            self.unload().await;
            return Ok(Looked::Nothing);
        };
        let (id, key) = hop.key.as_ref().ok_or(NoTunnel::NoKey)?;
        let charon = Charon::new(tunnel.vici.clone(), tunnel.timeout.0);
        let (name, check) = (id.to_string(), tunnel.check.0);
        if !failed && charon.shared().await?.contains(&name) {
            self.loaded = Some((*id, charon));
            return Ok(Looked::Up { now: false, check });
        }
        if self.loaded.as_ref().is_some_and(|(of, _)| of != id) {
            self.unload().await;
        }
        self.loaded = Some((*id, charon.clone()));
        charon.load_ppk(&name, key.expose()).await?;
        charon.load_connection(&tunnel.name, tunnel.with_key(&name)).await?;
        // That of the hop before, or what a try before this one has left.
        charon.terminate(&tunnel.name).await?;
        charon.initiate(&tunnel.name, &tunnel.child).await?;
        Ok(Looked::Up { now: true, check })
    }

    /// Tunnels that do not stay are ended once traffic goes by another way: also those that were dialled before
    /// a restart.
    async fn leave(&self, place: &Place) {
        // Until it is known where traffic goes, it goes where it went.
        if place.line.is_none() {
            return;
        }
        let own = place.network.as_ref().and_then(|network| self.by_network.get(network));
        for tunnel in self.by_network.values().filter(|tunnel| !tunnel.stays) {
            if own.is_some_and(|own| own.name == tunnel.name && own.vici == tunnel.vici) {
                continue;
            }
            let charon = Charon::new(tunnel.vici.clone(), tunnel.timeout.0);
            if let Err(error) = charon.terminate(&tunnel.name).await {
                let (server, error) = (&self.server, error.in_full());
                tracing::warn!(%server, error, "a tunnel that is not to stay may be up yet");
            }
        }
    }

    fn stands(&self, at: Option<HopId>, up: bool) {
        self.standing.send_replace(at.map(|at| (at, up)));
    }

    /// The key of the hop before is of no use any more. A charon that is away has forgotten it.
    async fn unload(&mut self) {
        if let Some((id, charon)) = self.loaded.take()
            && let Err(error) = charon.unload(&id.to_string()).await
        {
            tracing::debug!(%error, "a key that is over is not unloaded");
        }
    }

    fn tell(&self, notice: Notice) {
        // The loop has ended only if the daemon is ending.
        let _ = self.told.send(notice);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TUNNEL: &str = r#"
network = "town.example"
server = "sip.example"
vici = "/run/charon.vici"
child = "home"
MORE
connection = { children = { home = { remote_ts = ["0.0.0.0/0"] } } }
"#;

    fn tunnels(more: &str) -> Tunnels {
        let tunnel: config::Tunnel = homeward_daemon::config::parse(
            "t.toml".as_ref(),
            &TUNNEL.replace("MORE", more),
            |_| Ok(()),
        )
        .unwrap();
        let (hops, place) = (watch::Sender::new(None), watch::Sender::new(Place::default()));
        let patience = Patience { retry: Duration::ZERO, retry_most: Duration::ZERO };
        let told = mpsc::unbounded_channel().0;
        let at = (hops.subscribe(), place.subscribe());
        Tunnels::new(&"sip.example".parse().unwrap(), &[tunnel], patience, at, told).unwrap()
    }

    fn hop(seed: u8, hops: u16) -> HopId {
        (Device::new([seed; 32], "sip.example".parse().unwrap(), true).unwrap().session(), hops)
    }

    #[tokio::test]
    async fn the_guard_is_called_once_the_tunnel_of_that_hop_is_up() {
        let (tunnels, town) = (tunnels(""), "town.example".parse().unwrap());
        let mut way = tunnels.way();
        for (before, up) in [(None, false), (Some(hop(1, 1)), true), (Some(hop(2, 2)), true)] {
            tunnels.stands(before, up);
            tokio::select! {
                biased;
                through = way.is_through(Some(&town), hop(1, 2)) => panic!("{before:?}: {through}"),
                () = std::future::ready(()) => {}
            }
        }
        tunnels.stands(Some(hop(1, 2)), true);
        assert!(way.is_through(Some(&town), hop(1, 2)).await);
    }

    #[tokio::test]
    async fn where_there_is_no_tunnel_to_come_the_guard_is_called_by_the_network() {
        let (tunnels, town) = (tunnels(""), "town.example".parse().unwrap());
        let mut way = tunnels.way();
        let elsewhere = "lte.example".parse().unwrap();
        assert!(!way.is_through(Some(&elsewhere), hop(1, 1)).await);
        assert!(!way.is_through(None, hop(1, 1)).await);
        tunnels.stands(Some(hop(1, 1)), false);
        assert!(!way.is_through(Some(&town), hop(1, 1)).await, "the first hop has no key");
        let beside = super::tests::tunnels("through = false");
        let mut way = beside.way();
        tokio::select! {
            biased;
            through = way.is_through(Some(&town), hop(1, 2)) => assert!(!through),
            () = std::future::ready(()) => panic!("it waits for a tunnel"),
        }
    }
}
