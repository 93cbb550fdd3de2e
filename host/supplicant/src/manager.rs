//! The station of an interface that NetworkManager manages.
//!
//! NetworkManager has the profiles and says which is used. What is heard, and how a log-on goes, is
//! asked of the wpa_supplicant that it runs, over the same bus: it knows dBm, frequencies and what
//! is wrong with a certificate, where NetworkManager has a percentage and a reason of one number.

mod bus;
mod ear;
mod hearing;
mod profile;
mod radio;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homeward_ctrl::files;
use homeward_model::Mac;
use zbus::{OwnedObjectPath, OwnedVariant, Variant};

use self::bus::{Bus, MANAGER, Properties, SUPPLICANT, read, take};
pub use self::ear::Events;
use crate::network::{Authority, MARK, Network};
use crate::reply::{Bss, MAX_BSS, MAX_NETWORKS, NetworkId, Signal, State, Status};
use crate::{InterfaceName, SupplicantError};

const MANAGER_PATH: &str = "/org/freedesktop/NetworkManager";
const SETTINGS_PATH: &str = "/org/freedesktop/NetworkManager/Settings";
const SETTINGS: &str = "org.freedesktop.NetworkManager.Settings";
const CONNECTION: &str = "org.freedesktop.NetworkManager.Settings.Connection";
const ACTIVE: &str = "org.freedesktop.NetworkManager.Connection.Active";
const DEVICE: &str = "org.freedesktop.NetworkManager.Device";
const SUPPLICANT_PATH: &str = "/fi/w1/wpa_supplicant1";
const INTERFACE: &str = "fi.w1.wpa_supplicant1.Interface";
const BSS: &str = "fi.w1.wpa_supplicant1.BSS";
/// An object path that names nothing.
const NOTHING: &str = "/";
/// `NM_DEVICE_TYPE_WIFI`.
const WIFI: u32 = 2;
/// `NM_DEVICE_STATE_UNAVAILABLE`: the radio is off, or the cable out.
const UNAVAILABLE: u32 = 20;
/// `NM_SETTINGS_ADD_CONNECTION2_FLAG_IN_MEMORY`, and of Update2 the flag of that name.
const IN_MEMORY: u32 = 2;

type Result<T, E = SupplicantError> = std::result::Result<T, E>;

/// Which interface of which NetworkManager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The bus that it is on, if that is not the system's.
    pub bus: Option<String>,
    /// The interface.
    pub interface: InterfaceName,
    /// A directory of ours for authorities' certificates, of this interface alone; made private.
    /// Not given to NetworkManager as they are: it would write them to a file of its own, and go
    /// on without one where it cannot.
    pub run_dir: PathBuf,
    /// The metric of the routes that it makes for our networks.
    pub metric: u32,
    /// How long to wait for an answer.
    pub patience: Duration,
}

/// A client of NetworkManager, for one interface that it manages.
///
/// After an error that [is gone](SupplicantError::is_gone), this is to be opened anew.
#[derive(Debug)]
pub struct Managed {
    bus: Bus,
    settings: Settings,
    device: OwnedObjectPath,
    wireless: bool,
    /// The unique names of NetworkManager and wpa_supplicant: nobody else is believed.
    owners: [String; 2],
    ours: Mutex<BTreeMap<NetworkId, Ours>>,
    /// Files of authorities that were made.
    files: AtomicU32,
}

/// A profile of ours.
#[derive(Debug)]
struct Ours {
    network: Network,
    /// The file with the authorities, and whether it is of our making.
    ca: (PathBuf, bool),
    /// The access point that it is used by alone.
    only: Option<Mac>,
}

impl Managed {
    /// Finds the interface.
    ///
    /// # Errors
    /// There is no bus, no NetworkManager on it, or it does not manage the interface (see
    /// [`SupplicantError::is_elsewhere`]); or its supplicant is none that is known here.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let bus = Bus::connect(settings.bus.as_deref(), settings.patience).await?;
        let away = SupplicantError::Away { service: MANAGER };
        let manager = bus.owner(MANAGER).await?.ok_or(away)?;
        let interface = settings.interface.as_str();
        let unmanaged = || SupplicantError::Unmanaged { interface: settings.interface.clone() };
        let found =
            bus.call(MANAGER, MANAGER_PATH, MANAGER, "GetDeviceByIpIface", &interface).await;
        let device: OwnedObjectPath = match found {
            Ok(reply) => read(&reply, "GetDeviceByIpIface")?,
            Err(SupplicantError::Refused { name, .. }) if name == "UnknownDevice" => {
                return Err(unmanaged());
            }
            Err(error) => return Err(error),
        };
        let mut about = bus.properties(MANAGER, &device, DEVICE).await?;
        if take(&mut about, "Managed") != Some(true) {
            return Err(unmanaged());
        }
        let wireless = take(&mut about, "DeviceType") == Some(WIFI);
        let none = SupplicantError::OtherSupplicant { interface: settings.interface.clone() };
        let supplicant = bus.owner(SUPPLICANT).await?.ok_or(none)?;
        Ok(Self {
            bus,
            settings: settings.clone(),
            device,
            wireless,
            owners: [manager, supplicant],
            ours: Mutex::default(),
            files: AtomicU32::new(0),
        })
    }

    /// Listens to what there is to tell.
    ///
    /// # Errors
    /// The bus is gone.
    pub async fn events(&self) -> Result<Events> {
        let interface = self.settings.interface.clone();
        Events::listen(self.bus.clone(), self.device.clone(), interface, self.owners.clone()).await
    }

    /// What the station is at. Whether a TLS session was resumed is not told.
    ///
    /// # Errors
    /// It does not answer, or the interface is not managed any more.
    pub async fn status(&self) -> Result<Status> {
        let mut device = self.bus.properties(MANAGER, &self.device, DEVICE).await?;
        if take(&mut device, "Managed") != Some(true) {
            return Err(SupplicantError::Unmanaged { interface: self.settings.interface.clone() });
        }
        let available = take(&mut device, "State").is_some_and(|state: u32| state > UNAVAILABLE);
        let mut status = Status {
            state: if available { State::Idle } else { State::Off },
            address: take::<String>(&mut device, "HwAddress").and_then(|v| v.parse().ok()),
            id: self.used(&mut device).await?,
            ours: false,
            bssid: None,
            ssid: None,
            frequency: None,
            authorized: false,
            resumed: false,
        };
        status.ours = status.id.is_some_and(|id| self.ours().contains_key(&id));
        if self.wireless {
            // While it scans, the other may be one by chance.
            let kind = "org.freedesktop.NetworkManager.Device.Wireless";
            let mut radio = self.bus.properties(MANAGER, &self.device, kind).await?;
            let own: Option<String> = take(&mut radio, "PermHwAddress");
            status.address = own.and_then(|v| v.parse().ok()).or(status.address);
        }
        let Some(path) = ear::interface_path(&self.bus, &self.settings.interface).await? else {
            return Ok(status);
        };
        let mut about = self.bus.properties(SUPPLICANT, &path, INTERFACE).await?;
        let state: String = take(&mut about, "State").unwrap_or_default();
        if available && let Some(state) = State::parse(&state.to_ascii_uppercase()) {
            status.state = state;
        }
        status.authorized = status.state == State::Completed;
        if let Some(mut bss) = ear::current(&self.bus, &mut about).await? {
            status.bssid = radio::bssid(&mut bss);
            let name: Option<Vec<u8>> = take(&mut bss, "SSID");
            status.ssid = name.and_then(|octets| radio::ssid(&octets));
            status.frequency = take::<u16>(&mut bss, "Frequency").map(u32::from);
        }
        Ok(status)
    }

    /// The profile that the device uses, or is about to.
    async fn used(&self, device: &mut Properties) -> Result<Option<NetworkId>> {
        let Some(active) = take::<OwnedObjectPath>(device, "ActiveConnection") else {
            return Ok(None);
        };
        if active.as_str() == NOTHING {
            return Ok(None);
        }
        match self.bus.properties(MANAGER, &active, ACTIVE).await {
            Ok(mut about) => {
                let profile: Option<OwnedObjectPath> = take(&mut about, "Connection");
                Ok(profile.and_then(|path| number(&path)))
            }
            // It ended while it was asked about.
            Err(SupplicantError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a scan of all that the station can hear, or of these frequencies (MHz) if there are
    /// any. False if one is under way, whose results will do as well.
    ///
    /// # Errors
    /// It does not answer, or cannot scan: on a wire, or with the radio off.
    pub async fn scan(&self, frequencies: &[u32]) -> Result<bool> {
        /// The width of a channel, in MHz.
        const WIDTH: u32 = 20;
        let mut wanted = BTreeMap::from([("Type", Variant::from("active"))]);
        if !frequencies.is_empty() {
            let channels: Vec<(u32, u32)> = frequencies.iter().map(|f| (*f, WIDTH)).collect();
            wanted.insert("Channels", Variant::from(channels));
        }
        let path = self.interface().await?;
        match self.bus.call(SUPPLICANT, &path, INTERFACE, "Scan", &wanted).await {
            Ok(_) => Ok(true),
            Err(SupplicantError::Refused { name, .. }) if name == "ScanError" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The access points that were heard of late, in no order: see [`Bss::age`].
    ///
    /// # Errors
    /// It does not answer.
    pub async fn heard(&self) -> Result<Vec<Bss>> {
        let path = self.interface().await?;
        let mut about = self.bus.properties(SUPPLICANT, &path, INTERFACE).await?;
        let all: Vec<OwnedObjectPath> = take(&mut about, "BSSs").unwrap_or_default();
        let mut found = Vec::new();
        for path in all.into_iter().take(MAX_BSS) {
            match self.bus.properties(SUPPLICANT, &path, BSS).await {
                Ok(about) => found.extend(radio::bss(about)),
                // It was forgotten meanwhile.
                Err(SupplicantError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The signal of the access point in use; `None` on none, and on a wire.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn signal(&self) -> Result<Option<Signal>> {
        let path = self.interface().await?;
        match self.bus.call(SUPPLICANT, &path, INTERFACE, "SignalPoll", &()).await {
            Ok(reply) => {
                let all: OwnedVariant = read(&reply, "SignalPoll")?;
                Ok(radio::signal(all.into()))
            }
            Err(SupplicantError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The profiles that are of our making, of an earlier process of ours too.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn own_networks(&self) -> Result<Vec<NetworkId>> {
        let reply = self.bus.call(MANAGER, SETTINGS_PATH, SETTINGS, "ListConnections", &()).await?;
        let all: Vec<OwnedObjectPath> = read(&reply, "ListConnections")?;
        let mut own = Vec::new();
        for path in all {
            let Some(id) = number(&path) else { continue };
            let mut settings = match self.kept(&path).await {
                Ok(settings) => settings,
                // It went meanwhile.
                Err(SupplicantError::Refused { .. }) => continue,
                Err(error) => return Err(error),
            };
            let data = settings.get_mut("user").and_then(|user| user.remove("data"));
            let data: BTreeMap<String, String> =
                data.and_then(|data| data.try_into().ok()).unwrap_or_default();
            let marked = data.get(profile::MARKED).is_some_and(|mark| mark == MARK);
            if marked && own.len() < MAX_NETWORKS {
                own.push(id);
            }
        }
        Ok(own)
    }

    /// Adds a network, in NetworkManager's memory alone. It is not used before
    /// [`join`](Self::join).
    ///
    /// # Errors
    /// The network is none, or NetworkManager does not take it.
    pub async fn add(&self, network: &Network) -> Result<NetworkId> {
        network.check()?;
        let ca = self.authority(&network.authority)?;
        let ours = Ours { network: network.clone(), ca, only: None };
        let none = BTreeMap::<&str, Variant<'_>>::new();
        let body = (self.profile(&ours), IN_MEMORY, none);
        let reply = self.bus.call(MANAGER, SETTINGS_PATH, SETTINGS, "AddConnection2", &body).await;
        let added = reply.and_then(|reply| {
            let (path, _): (OwnedObjectPath, BTreeMap<String, OwnedVariant>) =
                read(&reply, "AddConnection2")?;
            number(&path).ok_or(SupplicantError::Answer { verb: "AddConnection2" })
        });
        let id = match added {
            Ok(id) => id,
            Err(error) => {
                forget(&ours)?;
                return Err(error);
            }
        };
        self.ours().insert(id, ours);
        match self.pins(id).await {
            Ok(()) => Ok(id),
            Err(error) => {
                if let Err(also) = self.remove(id).await {
                    tracing::warn!(%id, error = %also, "half a network left behind");
                }
                Err(error)
            }
        }
    }

    /// The file with an authority's certificates, and whether it was made.
    fn authority(&self, authority: &Authority) -> Result<(PathBuf, bool)> {
        let text = match authority {
            Authority::File(path) => return Ok((path.clone(), false)),
            Authority::Pem(text) => text,
        };
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.settings.run_dir.join(format!("ca.{number}.pem"));
        files::private_dir(&self.settings.run_dir)
            .and_then(|()| files::replace(&path, text.as_bytes()))
            .map_err(|source| SupplicantError::File { path: path.clone(), source })?;
        Ok((path, true))
    }

    /// Makes sure that a profile of ours is used with its server alone.
    async fn pins(&self, id: NetworkId) -> Result<()> {
        let mut kept = self.kept(&profile_path(id)).await?;
        let ours = self.ours();
        let pins = |ours: &Ours| profile::pins(&mut kept, &ours.network, &ours.ca.0);
        let pinned = ours.get(&id).is_some_and(pins);
        pinned.then_some(()).ok_or(SupplicantError::Unpinned { id })
    }

    /// What NetworkManager has of a profile, without its secrets.
    async fn kept(&self, path: &str) -> Result<BTreeMap<String, Properties>> {
        let reply = self.bus.call(MANAGER, path, CONNECTION, "GetSettings", &()).await?;
        read(&reply, "GetSettings")
    }

    /// Goes to a network of ours now. NetworkManager has no list of access points to keep away
    /// from: while there are any, the network is used by `best` alone.
    ///
    /// # Errors
    /// It does not answer, there is no such network, or somebody has changed it so that it would be
    /// used with any server.
    pub async fn join(&self, id: NetworkId, best: Mac, avoid: &[Mac]) -> Result<()> {
        let only = (!avoid.is_empty() && !avoid.contains(&best)).then_some(best);
        let changed = match self.ours().get_mut(&id) {
            Some(ours) if ours.only != only => {
                ours.only = only;
                Some(self.profile(ours))
            }
            _ => None,
        };
        let path = profile_path(id);
        if let Some(settings) = changed {
            let body = (settings, IN_MEMORY, BTreeMap::<&str, Variant<'_>>::new());
            self.bus.call(MANAGER, &path, CONNECTION, "Update2", &body).await?;
        }
        // Others may change profiles, too.
        self.pins(id).await?;
        let paths = [path.as_str(), self.device.as_str(), NOTHING].map(OwnedObjectPath::try_from);
        let [Ok(profile), Ok(device), Ok(any)] = paths else {
            return Err(SupplicantError::Answer { verb: "ActivateConnection" });
        };
        let body = (profile, device, any);
        self.bus.call(MANAGER, MANAGER_PATH, MANAGER, "ActivateConnection", &body).await.map(drop)
    }

    /// Leaves the network that the station is on, if it is one of ours, and joins none.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn leave(&self) -> Result<()> {
        let mut device = self.bus.properties(MANAGER, &self.device, DEVICE).await?;
        let active: Option<OwnedObjectPath> =
            device.get("ActiveConnection").and_then(|path| path.try_clone().ok()?.try_into().ok());
        let used = self.used(&mut device).await?;
        let (Some(active), Some(id)) = (active, used) else { return Ok(()) };
        if !self.ours().contains_key(&id) {
            return Ok(());
        }
        match self.bus.call(MANAGER, MANAGER_PATH, MANAGER, "DeactivateConnection", &active).await {
            Err(SupplicantError::Refused { name, .. }) if name == "ConnectionNotActive" => Ok(()),
            other => other.map(drop),
        }
    }

    /// Forgets a network. False if there is none of that number.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn remove(&self, id: NetworkId) -> Result<bool> {
        let ours = self.ours().remove(&id);
        ours.as_ref().map_or(Ok(()), forget)?;
        match self.bus.call(MANAGER, &profile_path(id), CONNECTION, "Delete", &()).await {
            Ok(_) => Ok(true),
            Err(SupplicantError::Refused { name, .. })
                if ["UnknownMethod", "UnknownObject"].contains(&name.as_str()) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn profile(&self, ours: &Ours) -> profile::Settings {
        let Settings { interface, metric, .. } = &self.settings;
        profile::profile(&ours.network, &ours.ca.0, interface.as_str(), *metric, ours.only)
    }

    fn ours(&self) -> MutexGuard<'_, BTreeMap<NetworkId, Ours>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The supplicant's interface, as an object.
    async fn interface(&self) -> Result<String> {
        let found = ear::interface_path(&self.bus, &self.settings.interface).await?;
        found
            .ok_or_else(|| SupplicantError::RadioOff { interface: self.settings.interface.clone() })
    }
}

/// Takes away what a profile needed of ours.
fn forget(ours: &Ours) -> Result<()> {
    let (path, made) = &ours.ca;
    match made {
        true => files::remove(path)
            .map_err(|source| SupplicantError::File { path: path.clone(), source }),
        false => Ok(()),
    }
}

/// A profile's number is the end of its path.
fn number(path: &str) -> Option<NetworkId> {
    NetworkId::parse(path.strip_prefix(SETTINGS_PATH)?.strip_prefix('/')?)
}

fn profile_path(id: NetworkId) -> String {
    format!("{SETTINGS_PATH}/{id}")
}
