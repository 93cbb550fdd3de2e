//! By which addresses traffic can leave an interface, and where to.

use std::net::IpAddr;

use anyhow::Context;
use homeward_daemon::Shutdown;
use homeward_linux::{DefaultRoutes, Error, Links, NetworkWatch, Networks, WayOut};
use tokio::sync::{mpsc, watch};

/// What an interface has that traffic needs to get anywhere. Addresses without a default route of
/// their family are left out: a DHCP client sets one moments before the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The addresses that reach further than the interface's own link.
    pub(crate) addresses: Vec<IpAddr>,
    /// The default routes by it.
    ways: Vec<WayOut>,
}

/// Watches an interface's addresses and default routes, and says what there is when something has
/// changed, or when it is asked.
pub(crate) struct Watcher {
    interface: String,
    watch: NetworkWatch,
}

impl Watcher {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// The kernel does not tell of addresses.
    pub(crate) fn open(interface: String) -> anyhow::Result<Self> {
        let watch = NetworkWatch::open().context("the kernel does not tell of addresses")?;
        Ok(Self { interface, watch })
    }

    /// Tells of each change, and each time that `ask` changes, until shutdown.
    pub(crate) async fn run(
        self,
        mut ask: watch::Receiver<u64>,
        out: mpsc::UnboundedSender<Found>,
        shutdown: Shutdown,
    ) {
        loop {
            let interface = self.interface.clone();
            let looked = tokio::task::spawn_blocking(move || look(&interface)).await;
            // The loop has ended only if the daemon is ending.
            let _ = out.send(looked.unwrap_or_default());
            tokio::select! {
                () = shutdown.requested() => return,
                changed = self.watch.changed() => if let Err(error) = changed {
                    tracing::error!(%error, "addresses are not watched any more");
                    return;
                },
                Ok(()) = ask.changed() => {}
            }
        }
    }
}

/// What there is now; nothing if the interface is down, or not there.
pub(crate) fn look(interface: &str) -> Found {
    let read = || {
        if !Links::open()?.by_name(interface)?.is_some_and(|link| link.up) {
            return Ok(Found::default());
        }
        let ways = DefaultRoutes::open()?.by(interface)?;
        let own = Networks::open()?.addresses(interface)?;
        let addresses = own
            .into_iter()
            .map(|own| own.address)
            .filter(|own| reaches_far(own) && ways.iter().any(|way| way.ipv6 == own.is_ipv6()))
            .collect();
        Ok(Found { addresses, ways })
    };
    match read() {
        Ok(found) => found,
        Err(Error::NoInterface(_)) => Found::default(),
        Err(error) => {
            tracing::warn!(interface, %error, "an interface's addresses are not known");
            Found::default()
        }
    }
}

fn reaches_far(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}
