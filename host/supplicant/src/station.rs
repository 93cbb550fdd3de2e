//! The station of one interface, whoever runs it.

use std::fmt;
use std::time::Duration;

use homeward_ctrl::files;
use homeward_model::Mac;
use serde::{Deserialize, Serialize};

use crate::manager::{self, Managed};
use crate::network::Network;
use crate::reply::{Bss, NetworkId, Signal, Status};
use crate::{Event, Settings, Supplicant, SupplicantError};

type Result<T, E = SupplicantError> = std::result::Result<T, E>;

/// Who is to be asked for the station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// NetworkManager where it manages the interface, else wpa_supplicant.
    #[default]
    Auto,
    /// NetworkManager and nobody else.
    NetworkManager,
    /// wpa_supplicant by its control socket and nobody else.
    WpaSupplicant,
}

/// Who runs the station.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// NetworkManager, over D-Bus.
    NetworkManager,
    /// wpa_supplicant, by its control socket.
    WpaSupplicant,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkManager => "NetworkManager",
            Self::WpaSupplicant => "wpa_supplicant",
        })
    }
}

/// Where a station is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Who is to be asked.
    pub choice: Choice,
    /// The way by the control socket.
    pub control: Settings,
    /// The way by NetworkManager.
    pub manager: manager::Settings,
}

impl Place {
    /// Makes our own directory, so that it shows at once if it cannot be had.
    ///
    /// # Errors
    /// It cannot be made, or is somebody else's.
    pub fn prepare(&self) -> Result<()> {
        let path = self.control.run_dir.clone();
        files::private_dir(&path).map_err(|source| SupplicantError::File { path, source })
    }
}

/// The station of one interface. After an error that [is gone](SupplicantError::is_gone), it is
/// to be found anew.
#[derive(Debug)]
pub enum Station {
    /// wpa_supplicant's, by its control socket.
    Own(Supplicant),
    /// NetworkManager's.
    Managed(Managed),
}

impl Station {
    /// Finds the station by whoever runs it now.
    ///
    /// # Errors
    /// NetworkManager is to be asked and is not there, or does not manage the interface; or our own
    /// directory cannot be made. That wpa_supplicant is not there shows when it is asked.
    pub async fn find(place: &Place) -> Result<Self> {
        if place.choice != Choice::WpaSupplicant {
            match Managed::open(&place.manager).await {
                Ok(managed) => return Ok(Self::Managed(managed)),
                Err(error) if error.is_elsewhere() && place.choice == Choice::Auto => {
                    tracing::debug!(%error, "by the control socket");
                }
                Err(error) => return Err(error),
            }
        }
        Supplicant::new(&place.control).map(Self::Own)
    }

    /// Who runs it.
    pub const fn by(&self) -> By {
        match self {
            Self::Own(_) => By::WpaSupplicant,
            Self::Managed(_) => By::NetworkManager,
        }
    }

    /// Listens to what there is to tell.
    ///
    /// # Errors
    /// Who runs it does not answer.
    pub async fn events(&self) -> Result<StationEvents> {
        Ok(match self {
            Self::Own(supplicant) => StationEvents::Own(supplicant.events().await?),
            Self::Managed(managed) => StationEvents::Managed(managed.events().await?),
        })
    }

    /// What it is at.
    ///
    /// # Errors
    /// Who runs it does not answer.
    pub async fn status(&self) -> Result<Status> {
        match self {
            Self::Own(supplicant) => supplicant.status().await,
            Self::Managed(managed) => managed.status().await,
        }
    }

    /// Begins a scan: see [`Supplicant::scan`]. NetworkManager makes of it what it likes.
    ///
    /// # Errors
    /// Who runs it does not answer, or cannot scan.
    pub async fn scan(&self, frequencies: &[u32], listen: bool) -> Result<bool> {
        match self {
            Self::Own(supplicant) => supplicant.scan(frequencies, listen).await,
            Self::Managed(managed) => managed.scan(frequencies).await,
        }
    }

    /// The access points that it has heard of late, in no order.
    ///
    /// # Errors
    /// Who runs it does not answer.
    pub async fn heard(&self) -> Result<Vec<Bss>> {
        match self {
            Self::Own(supplicant) => supplicant.heard().await,
            Self::Managed(managed) => managed.heard().await,
        }
    }

    /// The signal of the access point that it is on.
    ///
    /// # Errors
    /// Who runs it does not answer.
    pub async fn signal(&self) -> Result<Option<Signal>> {
        match self {
            Self::Own(supplicant) => supplicant.signal().await,
            Self::Managed(managed) => managed.signal().await,
        }
    }

    /// The networks that are of our making, of an earlier process of ours too.
    ///
    /// # Errors
    /// Who runs it does not answer.
    pub async fn own_networks(&self) -> Result<Vec<NetworkId>> {
        match self {
            Self::Own(supplicant) => supplicant.own_networks().await,
            Self::Managed(managed) => managed.own_networks().await,
        }
    }

    /// Adds a network, which is not used before [`join`](Self::join).
    ///
    /// # Errors
    /// The network is none, or is not taken.
    pub async fn add(&self, network: &Network) -> Result<NetworkId> {
        match self {
            Self::Own(supplicant) => supplicant.add(network).await,
            Self::Managed(managed) => managed.add(network).await,
        }
    }

    /// Goes to a network of ours now, by none of the access points to `avoid`; `best` is the one
    /// that is best now.
    ///
    /// # Errors
    /// Who runs it does not answer, or there is no such network.
    pub async fn join(&self, id: NetworkId, best: Mac, avoid: &[Mac]) -> Result<()> {
        match self {
            Self::Own(supplicant) => {
                supplicant.ignore(avoid).await?;
                supplicant.select(id).await
            }
            Self::Managed(managed) => managed.join(id, best, avoid).await,
        }
    }

    /// Leaves the one of these networks, which are ours, that it is on, and joins none of them before
    /// it is told to.
    ///
    /// # Errors
    /// Who runs it does not answer.
    pub async fn leave(&self, ours: impl IntoIterator<Item = NetworkId>) -> Result<()> {
        match self {
            Self::Own(supplicant) => supplicant.leave(ours).await,
            Self::Managed(managed) => managed.leave().await,
        }
    }

    /// Joins none of these networks, which are ours, before it is told to, and stays on what it is on,
    /// which is none of them.
    ///
    /// # Errors
    /// Who runs it does not answer.
    pub async fn stand_back(&self, ours: impl IntoIterator<Item = NetworkId>) -> Result<()> {
        match self {
            Self::Own(supplicant) => supplicant.stand_back(ours).await,
            // NetworkManager joins none of ours by itself.
            Self::Managed(_) => Ok(()),
        }
    }

    /// Forgets a network. False if there is none of that number.
    ///
    /// # Errors
    /// Who runs it does not answer.
    pub async fn remove(&self, id: NetworkId) -> Result<bool> {
        match self {
            Self::Own(supplicant) => supplicant.remove(id).await,
            Self::Managed(managed) => managed.remove(id).await,
        }
    }
}

/// What there is to tell of a station.
#[derive(Debug)]
pub enum StationEvents {
    /// By wpa_supplicant.
    Own(homeward_ctrl::Events<Event>),
    /// By NetworkManager and its wpa_supplicant.
    Managed(manager::Events),
}

impl StationEvents {
    /// Waits for the next event. Cancel-safe. That there will be no more may show in
    /// [`check`](Self::check) only.
    ///
    /// # Errors
    /// Who told them is gone.
    pub async fn next(&mut self) -> Result<Event> {
        match self {
            Self::Own(events) => events.next().await.map_err(SupplicantError::from),
            Self::Managed(events) => events.next().await,
        }
    }

    /// Asks whether who tells them is still there. To be called every few seconds.
    ///
    /// # Errors
    /// It is not.
    pub async fn check(&mut self, patience: Duration) -> Result<()> {
        match self {
            Self::Own(events) => events.check(patience).await.map_err(SupplicantError::from),
            Self::Managed(events) => events.check(patience).await,
        }
    }
}
