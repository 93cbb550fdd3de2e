//! Which addresses an interface has that traffic can leave from.

use std::net::IpAddr;

use anyhow::Context;
use homeward_daemon::Shutdown;
use homeward_linux::{Error, Links, NetworkWatch, Networks};
use tokio::sync::{mpsc, watch};

/// Watches an interface's addresses, and says so when they have changed, or when it is asked.
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
        out: mpsc::UnboundedSender<Vec<IpAddr>>,
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

/// The addresses that reach further than the interface's own link; none if it is down, or not
/// there.
pub(crate) fn look(interface: &str) -> Vec<IpAddr> {
    let read = || {
        if !Links::open()?.by_name(interface)?.is_some_and(|link| link.up) {
            return Ok(Vec::new());
        }
        Networks::open()?.addresses(interface)
    };
    match read() {
        Ok(found) => found.into_iter().map(|found| found.address).filter(reaches_far).collect(),
        Err(Error::NoInterface(_)) => Vec::new(),
        Err(error) => {
            tracing::warn!(interface, %error, "an interface's addresses are not known");
            Vec::new()
        }
    }
}

fn reaches_far(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}
