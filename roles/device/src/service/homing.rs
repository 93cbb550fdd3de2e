//! What the tunnel home is told, and the scans that it needs.

use homeward_coverage as coverage;
use homeward_model::{Mac, Rssi};
use homeward_offload::manager::{Heard, Scanning};

use super::Device;
use crate::hands::Order;
use crate::home::{Access, Found};

impl Device {
    /// Tells the tunnel home by what it can go, if that is news. A network that somebody else chose
    /// leads there as well: if it does not, that shows by its silence.
    pub(super) fn go_home(&mut self, lent: bool) {
        let Some(home) = &self.home else { return };
        let wifi = Some(&self.config.wlan.interface).filter(|_| !self.wifi.addresses.is_empty());
        let cellular = self.cellular.as_ref().map(|line| line.interface.clone());
        let (preferred, why) = match (self.by_wifi() || lent, wifi.is_some()) {
            (_, false) => (Access::Cellular, "Wi-Fi has no address"),
            (true, true) => (Access::Wifi, "Wi-Fi leads home"),
            (false, true) => (Access::Cellular, "Wi-Fi is not for use"),
        };
        let told = (wifi.cloned(), cellular, preferred);
        if self.home_told.as_ref() != Some(&told) {
            home.go(told.0.clone(), told.1.clone(), told.2);
            let (wifi, cellular) = (told.0.is_some(), told.1.is_some());
            tracing::info!(?preferred, wifi, cellular, why, "the way home");
            self.home_told = Some(told);
        }
    }

    /// Whether Wi-Fi is what traffic is to go by.
    pub(super) const fn by_wifi(&self) -> bool {
        self.on_wifi || self.at_home
    }

    /// Tells it what a scan heard. The home network counts, and those of the operator's that it has
    /// given credentials for.
    pub(super) fn heard<'a>(&self, heard: impl Iterator<Item = &'a Heard>) {
        let Some(home) = &self.home else { return };
        let own = self.config.home.as_ref().and_then(|home| home.ssid);
        let known = |ssid| own == Some(ssid) || self.networks.contains(&ssid);
        let heard = heard.map(|Heard { bssid, ssid, signal, .. }| coverage::Heard {
            bssid: *bssid,
            known: known(*ssid),
            rssi: *signal,
        });
        home.found(Found::Heard(heard.collect()));
    }

    /// Tells it how strong the access point is that the station is on.
    pub(super) fn signal(&self, bssid: Option<Mac>, signal: Rssi) {
        if let (Some(home), Some(bssid)) = (&self.home, bssid) {
            home.found(Found::Signal(bssid, signal));
        }
    }

    /// Scans as often as one of both needs it: offload, and foreseeing where coverage ends.
    pub(super) fn scan(&mut self) {
        let coverage = self.config.home.as_ref().map(|home| &home.coverage);
        let own = coverage.filter(|coverage| coverage.enabled).map(|coverage| Scanning {
            interval: if self.near_edge { coverage.scan_near.0 } else { coverage.scan.0 },
            // What is used is not interrupted for long.
            known: self.by_wifi(),
        });
        let all = self.wanted.into_iter().chain(own);
        let scanning = all.min_by_key(|scanning| scanning.interval);
        if scanning != self.scanning {
            self.scanning = scanning;
            self.order(Order::Scan(scanning));
        }
    }
}
