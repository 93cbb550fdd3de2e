//! The stations of a radio's BSSs: who is there, and who is put out.

use std::collections::BTreeSet;

use homeward_model::{Mac, Nai};

use super::Radio;
use crate::bss::{self, BssError};
use crate::reply::{self, Station};
use crate::{Command, ControlError, InterfaceName, RadioError};

impl Radio {
    /// The stations that a BSS knows.
    ///
    /// # Errors
    /// Those of the control socket.
    pub async fn stations(&self, interface: &InterfaceName) -> Result<Vec<Station>, RadioError> {
        let mut stations = Vec::new();
        let mut seen = BTreeSet::new();
        let mut reply = self.ask(&Command::on(interface, "STA-FIRST", "")).await?;
        while let Some(station) = reply::parse_station(&reply)
            && seen.insert(station.mac)
            && stations.len() < bss::MAX_DEVICES
        {
            let next = Command::on(interface, "STA-NEXT", &station.mac.full().to_string());
            stations.push(station);
            reply = match self.ask(&next).await {
                // It left between the two questions; the list ends early.
                Err(RadioError::Control(ControlError::Refused { .. })) => break,
                other => other?,
            };
        }
        Ok(stations)
    }

    /// What a BSS knows of one station.
    ///
    /// # Errors
    /// Those of the control socket.
    pub async fn station(
        &self,
        interface: &InterfaceName,
        mac: Mac,
    ) -> Result<Option<Station>, RadioError> {
        match self.ask(&Command::on(interface, "STA", &mac.full().to_string())).await {
            Err(RadioError::Control(ControlError::Refused { .. })) => Ok(None),
            other => Ok(reply::parse_station(&other?)),
        }
    }

    /// Disconnects a station from a BSS of ours or from the owner's. One that is known to have gone
    /// elsewhere too: it takes no notice of a BSS that it left, and a later return is not held up
    /// by an SA Query (IEEE 802.11-2020 11.13). To have the kernel forget it silently (`tx=0`)
    /// would lose what it used since the last record: hostapd asks the kernel only then.
    ///
    /// # Errors
    /// [`RadioError::NotOurs`]; those of the control socket.
    pub async fn deauthenticate(
        &self,
        interface: &InterfaceName,
        mac: Mac,
    ) -> Result<(), RadioError> {
        if *interface != self.settings.owner {
            self.check_ours(interface)?;
        }
        // To hostapd a broadcast address means all stations.
        if mac.is_group() {
            return Err(BssError::Device(mac).into());
        }
        self.send(&Command::on(interface, "DEAUTHENTICATE", &mac.full().to_string())).await
    }

    /// Puts a station out that a log-in let in, wherever it is among the BSSs that are not ours,
    /// and has hostapd forget the keys that such log-ins left: with one in its cache the station
    /// would be back without anybody being asked (IEEE 802.11-2020 12.6.8.3). hostapd forgets those
    /// of all stations of a BSS or none; who is connected stays so. How many BSSs it was put out of.
    ///
    /// # Errors
    /// Those of [`Self::status`] and of the control socket.
    pub async fn put_out(&self, mac: Mac) -> Result<usize, RadioError> {
        if mac.is_group() {
            return Err(BssError::Device(mac).into());
        }
        let mut found = 0;
        for bss in self.status().await?.bss {
            if self.is_ours(&bss.interface) {
                continue;
            }
            self.forget_keys(&bss.interface).await?;
            if self.station(&bss.interface, mac).await?.is_some_and(|station| station.login) {
                let address = mac.full().to_string();
                self.send(&Command::on(&bss.interface, "DEAUTHENTICATE", &address)).await?;
                found += 1;
            }
        }
        Ok(found)
    }

    /// The stations that log-ins let in, with the name of each, at the BSSs that are not ours; no
    /// two alike. hostapd is had to forget the keys that log-ins left, for those who have gone may
    /// be good no more, and would be let in again by them.
    ///
    /// # Errors
    /// Those of [`Self::status`] and of the control socket.
    pub async fn logins(&self) -> Result<BTreeSet<(Mac, Nai)>, RadioError> {
        let mut logins = BTreeSet::new();
        for bss in self.status().await?.bss {
            if self.is_ours(&bss.interface) {
                continue;
            }
            // First: who comes by such a key meanwhile is seen.
            self.forget_keys(&bss.interface).await?;
            for station in self.stations(&bss.interface).await? {
                if station.login
                    && station.authorized
                    && let Some(name) = station.name
                {
                    logins.insert((station.mac, name));
                }
            }
        }
        Ok(logins)
    }

    /// Has hostapd forget the keys of log-ins at a BSS. Who is connected stays so.
    async fn forget_keys(&self, interface: &InterfaceName) -> Result<(), RadioError> {
        match self.send(&Command::on(interface, "PMKSA_FLUSH", "")).await {
            // A BSS without RSN has no cache.
            Ok(()) | Err(RadioError::Control(ControlError::Refused { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
