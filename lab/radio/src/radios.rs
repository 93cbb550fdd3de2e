//! Simulated radios: who hears whom, and how loudly.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use homeward_model::{Mac, Rssi};
use homeward_net::Namespace;
use homeward_net::tool::run_tool;

/// The transmit power of the simulated radios, in dBm: what the world regulatory domain allows on
/// channels 1 to 11. The simulation adds it to `rx_rssi`.
const TRANSMIT_POWER: i64 = 20;

/// One simulated radio (`phyN`), in the namespace of the node that owns it.
///
/// Radios hear each other where their [`cells`](Self::set_cells) have a bit in common.
#[derive(Debug, Clone)]
pub struct Radio {
    index: u32,
    namespace: Namespace,
    cells: Arc<Mutex<u32>>,
}

impl Radio {
    /// Takes the radio with that index out of the root namespace into `namespace`.
    pub(crate) fn assign(index: u32, namespace: &Namespace) -> Result<Self> {
        let radio =
            Self { index, namespace: namespace.clone(), cells: Arc::new(Mutex::new(u32::MAX)) };
        if let Some(name) = namespace.name() {
            run_tool("iw", &["phy", &radio.phy(), "set", "netns", "name", name])?;
        }
        Ok(radio)
    }

    /// Its name: `phy0`, `phy1`, …
    pub fn phy(&self) -> String {
        format!("phy{}", self.index)
    }

    /// Its first interface: `wlan0`, `wlan1`, …, of the same number as the phy.
    pub fn interface(&self) -> String {
        format!("wlan{}", self.index)
    }

    /// The MAC address of its first interface.
    pub fn mac(&self) -> Mac {
        // As mac80211_hwsim numbers them: the index in octets 3 and 4.
        let [high, low, ..] = (self.index << 16).to_be_bytes();
        Mac::new([2, 0, 0, high, low, 0])
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Which cells it is in, one a bit. Two radios hear each other if they share a cell.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_cells(&self, cells: u32) -> Result<()> {
        *self.cells.lock().unwrap_or_else(PoisonError::into_inner) = cells;
        self.debugfs("group", &format!("{cells:#x}"))
    }

    /// The cells it was last put in.
    pub fn cells(&self) -> u32 {
        *self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How loudly all others hear it from now on: -80 to -1 dBm.
    ///
    /// One level for all who hear; ramp two gateways against each other for a walk between them.
    ///
    /// # Errors
    /// If the level is outside that range.
    pub fn set_signal(&self, signal: Rssi) -> Result<()> {
        let level = i64::from(signal.0) - TRANSMIT_POWER;
        if !(-100..0).contains(&level) {
            bail!("{signal} cannot be simulated: use -80 to -1 dBm");
        }
        // Linux 6.1 reads no minus sign here, but the two's complement.
        self.debugfs("rx_rssi", &level.cast_unsigned().to_string())
    }

    /// Adds a monitor interface of that name to the radio and brings it up.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn add_monitor(&self, name: &str) -> Result<()> {
        let (own, name) = (self.interface(), name.to_owned());
        self.namespace.enter(move || {
            homeward_linux::ensure_monitor(&own, &name)?;
            Ok(())
        })
    }

    fn debugfs(&self, file: &str, value: &str) -> Result<()> {
        let path =
            PathBuf::from(format!("/sys/kernel/debug/ieee80211/{}/hwsim/{file}", self.phy()));
        let mut open = fs::File::options()
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        open.write_all(value.as_bytes())
            .with_context(|| format!("{} refuses {value}", path.display()))
    }
}
