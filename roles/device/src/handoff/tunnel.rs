//! Tunnels to ePDGs: the device's own charon, told by its VICI socket to bring the key of the hop, and to
//! dial.
//!
//! A task for each server whose session has tunnels. What it is to do is the last hop alone: an older one
//! has no key any more that an ePDG demands.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_charon::{Charon, CharonError};
use homeward_daemon::{Shutdown, SystemClock};
use homeward_keychain::key::PpkKey;
use homeward_keychain::{Device, PpkId, SessionId};
use homeward_model::{Clock, Name};
use tokio::sync::{mpsc, watch};

use super::Notice;
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
    fn at(&self) -> (SessionId, u16) {
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
        hops: watch::Receiver<Option<Hop>>,
        told: mpsc::UnboundedSender<Notice>,
    ) -> Option<Self> {
        let own = tunnels.iter().filter(|tunnel| tunnel.server == *server);
        let by_network: BTreeMap<_, _> =
            own.map(|tunnel| (tunnel.network.clone(), tunnel.clone())).collect();
        let this = Self { server: server.clone(), by_network, patience, hops, told, loaded: None };
        (!this.by_network.is_empty()).then_some(this)
    }

    /// Keeps the tunnel of the last hop up until shutdown. What is up then stays.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let (mut failures, mut of) = (0, None);
        loop {
            let hop = self.hops.borrow_and_update().clone();
            let at = hop.as_ref().map(Hop::at);
            if of != at {
                (failures, of) = (0, at);
            }
            let mut moved = self.hops.clone();
            let looked = tokio::select! {
                () = shutdown.requested() => return,
                // Whatever was dialled, its key is over.
                Ok(()) = moved.changed() => continue,
                looked = self.look(hop.as_ref(), failures > 0) => looked,
            };
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
