//! Interfaces and their addresses, as the kernel has them.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_linux::{Error, Links, NetworkWatch, Networks};

use crate::ModemError;

/// The network namespace of the thread that opened it.
pub(crate) struct Network {
    watch: NetworkWatch,
    tables: Arc<Mutex<(Links, Networks)>>,
}

impl Network {
    pub(crate) fn open() -> Result<Self, ModemError> {
        // Watched before it is looked at, so that nothing is missed in between.
        let watch = NetworkWatch::open().map_err(ModemError::Network)?;
        let tables = Arc::new(Mutex::new((Links::open()?, Networks::open()?)));
        Ok(Self { watch, tables })
    }

    /// Waits until interfaces or addresses have changed. Cancel-safe.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        self.watch.changed().await
    }

    /// The addresses of an interface that reach further than its link; none if it is down, or not
    /// there.
    pub(crate) async fn addresses(&self, interface: &str) -> Vec<IpAddr> {
        let (tables, name) = (Arc::clone(&self.tables), interface.to_owned());
        let look = move || {
            let mut tables = tables.lock().unwrap_or_else(PoisonError::into_inner);
            let (links, networks) = &mut *tables;
            if !links.by_name(&name)?.is_some_and(|link| link.up) {
                return Ok(Vec::new());
            }
            networks.addresses(&name)
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(found)) => {
                let far = found.into_iter().map(|found| found.address).filter(reaches_far);
                far.collect()
            }
            // It went in between; or it is no interface's name, but a serial port's.
            Ok(Err(Error::NoInterface(_) | Error::Name(_))) | Err(_) => Vec::new(),
            Ok(Err(error)) => {
                tracing::warn!(interface, %error, "an interface's addresses are not known");
                Vec::new()
            }
        }
    }
}

fn reaches_far(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    }
}
