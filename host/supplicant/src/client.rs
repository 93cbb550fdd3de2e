//! The supplicant of one interface.

use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_ctrl::{Command, Control, ControlError, files};
use homeward_model::{Mac, Rssi, Ssid};
use zeroize::Zeroizing;

use crate::network::{Authority, MARK, Network};
use crate::reply::{self, BSS_MASK, Bss, Listed, MAX_BSS, MAX_NETWORKS, NetworkId, Signal, Status};
use crate::{Event, Events, SupplicantError};

/// How to reach a supplicant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its control socket for the interface: `/run/wpa_supplicant/wlan0`.
    pub socket: PathBuf,
    /// A directory of ours for sockets and authorities' certificates, of this interface alone;
    /// made private. On a tmpfs: what is in it is of no use after the machine has restarted.
    pub run_dir: PathBuf,
    /// How long to wait for an answer.
    pub patience: Duration,
    /// A network of somebody else's that stays usable whatever network of ours is used: the home
    /// network.
    pub keep: Option<Ssid>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: "/run/wpa_supplicant/wlan0".into(),
            run_dir: "/run/homeward/supplicant".into(),
            patience: Duration::from_secs(5),
            keep: None,
        }
    }
}

/// A client of a supplicant, which need not run yet. Commands go one at a time.
///
/// After an error that [is gone](SupplicantError::is_gone), all blocks are, too.
#[derive(Debug)]
pub struct Supplicant {
    control: Control,
    run_dir: PathBuf,
    patience: Duration,
    keep: Option<Ssid>,
}

type Result<T, E = SupplicantError> = std::result::Result<T, E>;

impl Supplicant {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// Our own directory cannot be made.
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            control: Control::interface(&settings.socket, &settings.run_dir)?,
            run_dir: settings.run_dir.clone(),
            patience: settings.patience,
            keep: settings.keep,
        })
    }

    /// Asks whether it lives.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.control.ping(self.patience).await?)
    }

    /// Listens to what it has to tell.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn events(&self) -> Result<Events> {
        Ok(self.control.events::<Event>(self.patience).await?)
    }

    /// What it is at.
    ///
    /// # Errors
    /// It does not answer, or not to the question.
    pub async fn status(&self) -> Result<Status> {
        let reply = self.request("STATUS", "").await?;
        reply::parse_status(&reply).ok_or(SupplicantError::Answer { verb: "STATUS" })
    }

    /// Begins a scan of all that the station can hear, or of these frequencies (MHz) if there are
    /// any; [`Event::ScanResults`] tells its end. False if one is under way, whose results will do
    /// as well. Where it is to `listen` only, the supplicant makes nothing of what it hears: else it may
    /// join what it heard, or roam to it, also what it heard some time ago.
    ///
    /// # Errors
    /// It does not answer, or cannot scan: on a wire, or with the radio off.
    pub async fn scan(&self, frequencies: &[u32], listen: bool) -> Result<bool> {
        let listed: Vec<String> = frequencies.iter().map(u32::to_string).collect();
        let only = listen.then(|| "TYPE=ONLY".to_owned());
        let of = (!listed.is_empty()).then(|| format!("freq={}", listed.join(",")));
        let which = only.into_iter().chain(of).collect::<Vec<_>>().join(" ");
        match self.control.command(&Command::new("SCAN", &which), self.patience).await {
            Ok(()) => Ok(true),
            Err(ControlError::Refused { reply, .. }) if reply == "FAIL-BUSY" => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The access points that it has heard of late, in no order: see [`Bss::age`].
    ///
    /// # Errors
    /// It does not answer.
    pub async fn heard(&self) -> Result<Vec<Bss>> {
        let mut found = Vec::new();
        let mut from = 0;
        // An answer holds 4,096 octets, some 25 access points: asked on from where it ended.
        while found.len() < MAX_BSS {
            // Without a last number, what follows would be taken for one.
            let range = format!("RANGE={from}-{} MASK={BSS_MASK:#x}", i32::MAX);
            let reply = self.request("BSS", &range).await?;
            let part = reply::parse_bss(&reply);
            let Some(last) = part.iter().map(|(number, _)| *number).max() else { break };
            found.extend(part.into_iter().map(|(_, bss)| bss));
            match last.checked_add(1) {
                Some(next) if next > from => from = next,
                _ => break,
            }
        }
        found.truncate(MAX_BSS);
        Ok(found)
    }

    /// The signal of the access point that it is on; `None` on none, and on a wire.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn signal(&self) -> Result<Option<Signal>> {
        match self.request("SIGNAL_POLL", "").await {
            Ok(reply) => Ok(reply::parse_signal(&reply)),
            Err(SupplicantError::Control(ControlError::Refused { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has [`Event::SignalChanged`] told when the signal of the access point that it is on crosses
    /// a line. False where the driver cannot: then [`signal`](Self::signal) is to be asked.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn watch_signal(&self, line: Rssi, hysteresis: u8) -> Result<bool> {
        let line = format!("THRESHOLD={} HYSTERESIS={hysteresis}", line.0);
        self.flag("SIGNAL_MONITOR", &line).await
    }

    /// All networks that it knows, whoever made them.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn networks(&self) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        let mut after = String::new();
        while found.len() < MAX_NETWORKS {
            let reply = self.request("LIST_NETWORKS", &after).await?;
            let part = reply::parse_networks(&reply);
            let Some(last) = part.last() else { break };
            let next = format!("LAST_ID={}", last.id);
            found.extend(part);
            if next == after {
                break;
            }
            after = next;
        }
        found.truncate(MAX_NETWORKS);
        Ok(found)
    }

    /// The networks that are of our making, of an earlier process of ours too.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn own_networks(&self) -> Result<Vec<NetworkId>> {
        let mut own = Vec::new();
        for network in self.networks().await? {
            match self.request("GET_NETWORK", &format!("{} id_str", network.id)).await {
                Ok(mark) if mark.trim_matches('"') == MARK => own.push(network.id),
                Ok(_) | Err(SupplicantError::Control(ControlError::Refused { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(own)
    }

    /// Adds a network. It is not used before [`enable`](Self::enable) or [`select`](Self::select).
    ///
    /// # Errors
    /// The network is none, or the supplicant does not take it: then nothing is left of it.
    pub async fn add(&self, network: &Network) -> Result<NetworkId> {
        network.check()?;
        let reply = self.request("ADD_NETWORK", "").await?;
        let id = NetworkId::parse(reply.trim())
            .ok_or(SupplicantError::Answer { verb: "ADD_NETWORK" })?;
        match self.set(id, network).await {
            Ok(()) => Ok(id),
            Err(error) => {
                if let Err(also) = self.remove(id).await {
                    tracing::warn!(%id, error = %also, "half a network left behind");
                }
                Err(error)
            }
        }
    }

    /// Changes a network of ours: new credentials for the same one, say. What is connected stays
    /// so, and uses them the next time; see [`reassociate`](Self::reassociate).
    ///
    /// # Errors
    /// The network is none, or the supplicant does not take it: it may then have a part of it.
    pub async fn set(&self, id: NetworkId, network: &Network) -> Result<()> {
        network.check()?;
        let ca = match &network.authority {
            Authority::Pem(text) => {
                let path = self.ca_file(id);
                files::replace(&path, text.as_bytes())
                    .map_err(|source| SupplicantError::File { path: path.clone(), source })?;
                path
            }
            Authority::File(path) => path.clone(),
        };
        for (setting, value) in network.settings(&ca) {
            let line = Zeroizing::new(format!("{id} {setting} {}", value.as_str()));
            let command = Command::new("SET_NETWORK", &line);
            match self.control.command(&command, self.patience).await {
                Err(ControlError::Refused { .. }) => {
                    return Err(SupplicantError::Setting { id, setting });
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Lets a network be used when it is heard and none of greater priority is.
    ///
    /// # Errors
    /// It does not answer, or there is no such network.
    pub async fn enable(&self, id: NetworkId) -> Result<()> {
        self.order("ENABLE_NETWORK", id).await
    }

    /// Has a network no longer used, and leaves it if it is.
    ///
    /// # Errors
    /// It does not answer, or there is no such network.
    pub async fn disable(&self, id: NetworkId) -> Result<()> {
        self.order("DISABLE_NETWORK", id).await
    }

    /// Goes to a network now. **All others are disabled**, those that are not ours, too, but for
    /// [`keep`](Settings::keep).
    ///
    /// # Errors
    /// It does not answer, or there is no such network.
    pub async fn select(&self, id: NetworkId) -> Result<()> {
        let mut kept = match self.keep {
            Some(_) => self.networks().await?,
            None => Vec::new(),
        };
        kept.retain(|one| one.ssid == self.keep && one.enabled && one.id != id);
        self.order("SELECT_NETWORK", id).await?;
        for network in kept {
            self.enable(network.id).await?;
        }
        Ok(())
    }

    /// Keeps away from these access points from now on, and from no others: those that it had
    /// given up by itself are tried again, too.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ignore(&self, bssids: &[Mac]) -> Result<()> {
        self.control.command(&Command::new("BSSID_IGNORE", "clear"), self.patience).await?;
        for bssid in bssids {
            let bssid = bssid.full().to_string();
            self.control.command(&Command::new("BSSID_IGNORE", &bssid), self.patience).await?;
        }
        Ok(())
    }

    /// Forgets a network. False if there is none of that number.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn remove(&self, id: NetworkId) -> Result<bool> {
        let was = self.flag("REMOVE_NETWORK", &id.to_string()).await?;
        let path = self.ca_file(id);
        files::remove(&path).map_err(|source| SupplicantError::File { path, source })?;
        Ok(was)
    }

    /// Leaves the network that it is on, which is one of `ours`, and joins none of them before
    /// [`select`](Self::select).
    ///
    /// # Errors
    /// It does not answer.
    pub async fn leave(&self, ours: impl IntoIterator<Item = NetworkId>) -> Result<()> {
        self.disconnect().await?;
        self.stand_back(ours).await?;
        match self.keep {
            Some(_) => self.reconnect().await,
            None => Ok(()),
        }
    }

    /// Joins none of `ours` before [`select`](Self::select), and stays where it is.
    ///
    /// # Errors
    /// It does not answer, or there is no such network.
    pub async fn stand_back(&self, ours: impl IntoIterator<Item = NetworkId>) -> Result<()> {
        for id in ours {
            self.disable(id).await?;
        }
        Ok(())
    }

    /// Leaves the network that it is on, and joins none before [`reconnect`](Self::reconnect) or
    /// [`select`](Self::select).
    ///
    /// # Errors
    /// It does not answer.
    pub async fn disconnect(&self) -> Result<()> {
        Ok(self.control.command(&Command::new("DISCONNECT", ""), self.patience).await?)
    }

    /// Joins a network again, if it is on none.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn reconnect(&self) -> Result<()> {
        Ok(self.control.command(&Command::new("RECONNECT", ""), self.patience).await?)
    }

    /// Joins the network that it is on, or was about to join, anew: at once, where it would wait
    /// after a failure. For credentials that were changed.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn reassociate(&self) -> Result<()> {
        Ok(self.control.command(&Command::new("REASSOCIATE", ""), self.patience).await?)
    }

    fn ca_file(&self, id: NetworkId) -> PathBuf {
        Path::join(&self.run_dir, format!("ca.{id}.pem"))
    }

    async fn request(&self, verb: &'static str, arguments: &str) -> Result<String> {
        Ok(self.control.request(&Command::new(verb, arguments), self.patience).await?)
    }

    async fn order(&self, verb: &'static str, id: NetworkId) -> Result<()> {
        let command = Command::new(verb, &id.to_string());
        Ok(self.control.command(&command, self.patience).await?)
    }

    /// A command that may be refused without harm: whether it was not.
    async fn flag(&self, verb: &'static str, arguments: &str) -> Result<bool> {
        match self.control.command(&Command::new(verb, arguments), self.patience).await {
            Ok(()) => Ok(true),
            Err(ControlError::Refused { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
