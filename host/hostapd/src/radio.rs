//! Virtual access points added to, changed on and removed from a running hostapd.
//!
//! All goes over the global control socket. Two commands are never sent, because they reach
//! further than they say: `DISABLE` (takes the whole radio down, whichever BSS it names) and
//! `REMOVE` of a radio's first BSS (takes all its BSSs along). The first BSS is the owner's.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_ctrl::files::{self, Transient};
use homeward_model::{DeviceKey, Mac, Passphrase, Security};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::bss::{self, BANNER, BssConfig, BssPaths, VapDevice};
use crate::reply::{self, RadioStatus};
use crate::{Command, Control, ControlError, Events, InterfaceName, RadioError, bssid};

mod stations;

/// The files of a BSS in the run directory: its interface's name and one of these.
const FILE_KINDS: [&str; 3] = [PSK, ACCEPT, CONF];
const PSK: &str = "psk";
const ACCEPT: &str = "accept";
const CONF: &str = "conf";

/// How to reach a radio, and what on it is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// hostapd's global control socket, as given to it with `-g`.
    pub socket: PathBuf,
    /// A directory of ours for sockets and keys; made private. A tmpfs in production: what is in
    /// it shall not outlive the machine's power.
    pub run_dir: PathBuf,
    /// The interface of the owner's BSS, the radio's first.
    pub owner: InterfaceName,
    /// What the names of our interfaces begin with. Nobody else's may.
    pub prefix: String,
    /// How long to wait for a command that changes nothing much. hostapd has one thread: after a
    /// `REMOVE` it looks for the interface that went, and a kernel that runs `modprobe` for each
    /// such question can keep the next answer waiting for seconds.
    pub command_timeout: Duration,
    /// How long to wait for `ADD`, `REMOVE` and reloads of keys.
    pub change_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: "/run/hostapd.global".into(),
            run_dir: "/run/homeward/hostapd".into(),
            owner: InterfaceName::default(),
            prefix: "hw".to_owned(),
            command_timeout: Duration::from_secs(5),
            change_timeout: Duration::from_secs(10),
        }
    }
}

/// What became of new keys for the owner's own BSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HomeKeys {
    /// They are in force.
    Loaded,
    /// They were already.
    Unchanged,
    /// They are in the file, but loading them would have disconnected stations of the owner.
    /// Try again later.
    Deferred {
        /// How many stations.
        stations: usize,
    },
}

/// One radio of a running hostapd.
#[derive(Debug)]
pub struct Radio {
    settings: Settings,
    control: Control,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    vaps: BTreeMap<InterfaceName, Vap>,
    /// Whether the owner's hostapd has read the current `wpa_psk_file`; unknown at the start.
    home_loaded: bool,
}

#[derive(Debug)]
struct Vap {
    security: Security,
    /// Who is on the accept list, with the key in force.
    admitted: BTreeMap<Mac, DeviceKey>,
    /// The SAE password that hostapd finds first for each address. It can only be added to the
    /// list, so those of dropped devices stay; the accept list keeps the devices out.
    sae: BTreeMap<Mac, Passphrase>,
    /// Whether the `wpa_psk_file` has what hostapd has not read yet.
    psk_owed: bool,
    /// hostapd reads it again when the radio is taken down and up, so it stays with the BSS.
    psk_file: Transient,
}

impl Radio {
    /// The radio that `settings` name. Nothing is sent yet, so hostapd need not run.
    ///
    /// # Errors
    /// [`RadioError::Prefix`], or a run directory that cannot be used.
    pub fn open(settings: Settings) -> Result<Self, RadioError> {
        let Settings { prefix, owner, .. } = &settings;
        // With a letter behind it the prefix must be a name, else no interface could bear it.
        let possible = format!("{prefix}0").parse::<InterfaceName>().is_ok();
        if prefix.is_empty() || !possible || owner.as_str().starts_with(prefix.as_str()) {
            let (prefix, owner) = (prefix.clone(), owner.clone());
            return Err(RadioError::Prefix { prefix, owner });
        }
        let control = Control::global(&settings.socket, &settings.run_dir)?;
        Ok(Self { settings, control, state: Mutex::default() })
    }

    /// The control socket, for what has no method here.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Listens to the events of all BSSs.
    ///
    /// # Errors
    /// Those of the control socket.
    pub async fn events(&self) -> Result<Events, RadioError> {
        Ok(self.control.events(self.settings.change_timeout).await?)
    }

    /// Asks whether hostapd lives. To be called every few seconds.
    ///
    /// # Errors
    /// Those of the control socket; see [`RadioError::is_gone`].
    pub async fn ping(&self) -> Result<(), RadioError> {
        Ok(self.control.ping(self.settings.command_timeout).await?)
    }

    /// What the radio does, and its BSSs.
    ///
    /// # Errors
    /// Those of the control socket, [`RadioError::Status`].
    pub async fn status(&self) -> Result<RadioStatus, RadioError> {
        // Not INTERFACES: hostapd 2.10 cuts that reply at 256 octets, without a word.
        let owner = &self.settings.owner;
        let reply = self.ask(&Command::on(owner, "STATUS", "")).await?;
        reply::parse_status(&reply).ok_or_else(|| RadioError::Status { owner: owner.clone() })
    }

    /// Adds a BSS that admits `devices` and nobody else, and returns its BSSID. Its stations and
    /// beacons aside, nothing on the radio changes, nor does it if this fails.
    ///
    /// # Errors
    /// Before anything is sent: [`RadioError::NotOurs`], [`RadioError::Exists`],
    /// [`RadioError::NotReady`], [`RadioError::BssidTaken`], [`RadioError::NoBssid`],
    /// [`RadioError::Bss`], [`RadioError::File`]. Then those of the control socket: after a
    /// time-out the BSS may come up later, and is among [`Self::orphans`] then.
    pub async fn add_bss(
        &self,
        config: &BssConfig,
        devices: &[VapDevice],
    ) -> Result<Mac, RadioError> {
        let interface = &config.interface;
        self.check_ours(interface)?;
        let mut state = self.state.lock().await;
        let status = self.status().await?;
        if state.vaps.contains_key(interface)
            || status.bss.iter().any(|bss| bss.interface == *interface)
        {
            return Err(RadioError::Exists { interface: interface.clone() });
        }
        // On a radio that is not up, hostapd says OK and starts the BSS who knows when; of a phy
        // that it does not know it makes a new radio with our BSS for its first.
        if !status.enabled() {
            let owner = self.settings.owner.clone();
            return Err(RadioError::NotReady { owner, state: status.state });
        }
        let config =
            BssConfig { bssid: Some(choose_bssid(config.bssid, &status)?), ..config.clone() };

        let psk_file = Transient::new(self.file(interface, PSK));
        let accept_file = Transient::new(self.file(interface, ACCEPT));
        let conf_file = Transient::new(self.file(interface, CONF));
        let paths =
            BssPaths { psk: psk_file.path().to_owned(), accept: accept_file.path().to_owned() };
        let text = bss::render(&config, devices, &paths)?;
        write(accept_file.path(), bss::accept_file(devices).as_bytes())?;
        if config.security.allows_psk() {
            write(psk_file.path(), bss::psk_file(devices).as_bytes())?;
        }
        write(conf_file.path(), text.as_bytes())?;

        let argument = format!("bss_config={}:{}", status.phy, conf_file.path().display());
        self.change(&Command::new("ADD", &argument)).await?;
        tracing::debug!(%interface, devices = devices.len(), "BSS added");

        let admitted: BTreeMap<_, _> = devices.iter().map(|d| (d.mac, d.key.clone())).collect();
        let sae = admitted.iter().filter(|_| config.security.allows_sae());
        let sae = sae.filter_map(|(mac, key)| Some((*mac, key.passphrase()?.clone()))).collect();
        let vap = Vap { security: config.security, admitted, sae, psk_owed: false, psk_file };
        state.vaps.insert(interface.clone(), vap);
        config.bssid.ok_or(RadioError::NoBssid { phy: status.phy })
    }

    /// Admits exactly `devices` from now on. A device that is not among them any more, or whose
    /// key changed, is disconnected; the others notice nothing, with one exception: on a
    /// [`Security::Wpa2Wpa3`] BSS a new device disconnects the stations that came by SAE, because
    /// hostapd then reads the PSKs anew and holds no PSK of theirs. They are back at once.
    ///
    /// # Errors
    /// [`RadioError::Unknown`]; [`RadioError::Bss`] before anything is sent; [`RadioError::File`];
    /// those of the control socket. What was dropped is out first; the rest may be repeated.
    pub async fn set_devices(
        &self,
        interface: &InterfaceName,
        devices: &[VapDevice],
    ) -> Result<(), RadioError> {
        let mut state = self.state.lock().await;
        let vap = state
            .vaps
            .get_mut(interface)
            .ok_or_else(|| RadioError::Unknown { interface: interface.clone() })?;
        bss::check_devices(vap.security, devices)?;
        let wanted: BTreeMap<Mac, &VapDevice> = devices.iter().map(|d| (d.mac, d)).collect();
        let dropped: Vec<Mac> =
            vap.admitted.keys().filter(|mac| !wanted.contains_key(mac)).copied().collect();
        let changed: Vec<Mac> = wanted
            .values()
            .filter(|d| vap.admitted.get(&d.mac).is_some_and(|key| *key != d.key))
            .map(|d| d.mac)
            .collect();
        let added: Vec<&VapDevice> =
            devices.iter().filter(|d| !vap.admitted.contains_key(&d.mac)).collect();
        if dropped.is_empty() && changed.is_empty() && added.is_empty() && !vap.psk_owed {
            return Ok(());
        }

        // Out: hostapd disconnects who is no longer on its list.
        for mac in &dropped {
            self.acl(interface, "ACCEPT_ACL DEL_MAC", *mac).await?;
            vap.admitted.remove(mac);
        }
        // Keys, before anyone who needs them is let in.
        if vap.security.allows_sae() {
            for device in devices {
                self.set_sae_password(interface, vap, device).await?;
            }
            if !dropped.is_empty() || !changed.is_empty() {
                // Else who holds a cached PMK would return without the new password.
                self.send(&Command::on(interface, "PMKSA_FLUSH", "")).await?;
            }
        }
        if vap.security.allows_psk() {
            vap.psk_owed = true;
            write(vap.psk_file.path(), bss::psk_file(devices).as_bytes())?;
            let needed = !added.is_empty() || !changed.is_empty();
            if needed || self.bystanders(interface).await? == 0 {
                self.change(&Command::on(interface, "RELOAD_WPA_PSK", "")).await?;
                vap.psk_owed = false;
            }
        }
        for mac in &changed {
            // A reload has disconnected a station with another PSK; one that came by SAE stays. And
            // one that failed SAE is measured by the old password until hostapd forgets it, for
            // it keeps the element derived from that: minutes, or 5 s after this.
            if vap.security.allows_sae() {
                self.deauthenticate(interface, *mac).await?;
            }
            if let Some(device) = wanted.get(mac) {
                vap.admitted.insert(*mac, device.key.clone());
            }
        }
        for device in &added {
            self.acl(interface, "ACCEPT_ACL ADD_MAC", device.mac).await?;
            vap.admitted.insert(device.mac, device.key.clone());
        }
        for mac in &dropped {
            if self.station(interface, *mac).await?.is_some_and(|s| s.associated) {
                self.deauthenticate(interface, *mac).await?;
            }
        }
        tracing::debug!(
            %interface,
            dropped = dropped.len(),
            changed = changed.len(),
            added = added.len(),
            "devices changed"
        );
        Ok(())
    }

    /// Removes a BSS of ours, one found among [`Self::orphans`] included, with its stations. A BSS
    /// that is not there counts as removed.
    ///
    /// # Errors
    /// [`RadioError::NotOurs`] for the radio's first BSS and for names without our prefix, those
    /// of [`Self::status`] and of the control socket. The BSS is not forgotten then.
    pub async fn remove_bss(&self, interface: &InterfaceName) -> Result<(), RadioError> {
        self.check_ours(interface)?;
        let mut state = self.state.lock().await;
        let status = self.status().await?;
        let place = status.bss.iter().position(|bss| bss.interface == *interface);
        if place == Some(0) {
            return Err(self.not_ours(interface));
        }
        if place.is_some() || !status.complete {
            match self.change(&Command::new("REMOVE", interface.as_str())).await {
                Err(RadioError::Control(ControlError::Refused { .. })) if place.is_none() => {}
                other => other?,
            }
        }
        state.vaps.remove(interface);
        for kind in FILE_KINDS {
            // Those of an orphan; our own are gone by now.
            remove(&self.file(interface, kind))?;
        }
        tracing::debug!(%interface, "BSS removed");
        Ok(())
    }

    /// Gives the owner's own BSS the keys of the household's roaming devices: replaces its
    /// `wpa_psk_file`, at `path`, and has hostapd read it. A `wpa_passphrase` beside it in the
    /// owner's configuration stays in force; devices that keep their key notice nothing.
    ///
    /// # Errors
    /// [`RadioError::ForeignFile`] if the file has content of someone else's;
    /// [`RadioError::Bss`], [`RadioError::File`], those of the control socket.
    pub async fn home_devices(
        &self,
        path: &Path,
        devices: &[VapDevice],
    ) -> Result<HomeKeys, RadioError> {
        bss::check_devices(Security::Wpa2Psk, devices)?;
        let mut state = self.state.lock().await;
        let text = bss::psk_file(devices);
        let old = match std::fs::read(path) {
            Ok(old) => Zeroizing::new(old),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
            Err(source) => return Err(RadioError::File { path: path.to_owned(), source }),
        };
        if !old.starts_with(BANNER.as_bytes()) && !old.trim_ascii().is_empty() {
            return Err(RadioError::ForeignFile(path.to_owned()));
        }
        if *old != *text.as_bytes() {
            state.home_loaded = false;
            write(path, text.as_bytes())?;
        } else if state.home_loaded {
            return Ok(HomeKeys::Unchanged);
        }
        let owner = &self.settings.owner;
        let stations = self.bystanders(owner).await?;
        if stations > 0 {
            return Ok(HomeKeys::Deferred { stations });
        }
        self.change(&Command::on(owner, "RELOAD_WPA_PSK", "")).await?;
        state.home_loaded = true;
        Ok(HomeKeys::Loaded)
    }

    /// BSSs of this radio that bear our prefix and were not added here: an agent that was killed
    /// left them. To be removed. Key files that belong to no BSS any more are removed here.
    ///
    /// # Errors
    /// Those of [`Self::status`], [`RadioError::File`].
    pub async fn orphans(&self) -> Result<Vec<InterfaceName>, RadioError> {
        let state = self.state.lock().await;
        let status = self.status().await?;
        if status.complete {
            self.sweep(&status)?;
        }
        let names = status.bss.into_iter().skip(1).map(|bss| bss.interface);
        Ok(names.filter(|n| self.is_ours(n) && !state.vaps.contains_key(n)).collect())
    }

    /// BSSs that were added here and that hostapd has no longer, though it runs: its
    /// configuration was reloaded (SIGHUP), which makes the radio anew from the file. They are
    /// forgotten. To be called every few seconds.
    ///
    /// # Errors
    /// Those of [`Self::status`].
    pub async fn vanished(&self) -> Result<Vec<InterfaceName>, RadioError> {
        let mut state = self.state.lock().await;
        if state.vaps.is_empty() {
            return Ok(Vec::new());
        }
        let status = self.status().await?;
        if !status.complete {
            return Ok(Vec::new());
        }
        let lives = |name: &InterfaceName| status.bss.iter().any(|bss| bss.interface == *name);
        let gone: Vec<_> = state.vaps.keys().filter(|name| !lives(name)).cloned().collect();
        state.vaps.retain(|name, _| lives(name));
        Ok(gone)
    }

    /// Forgets all BSSs and removes their files: for when hostapd has ended. Returns their names.
    pub async fn forget(&self) -> Vec<InterfaceName> {
        let mut state = self.state.lock().await;
        state.home_loaded = false;
        std::mem::take(&mut state.vaps).into_keys().collect()
    }

    /// How many stations a reload of the PSKs would disconnect for no fault of theirs: hostapd
    /// keeps those only whose key is among the PSKs it read, and a key from SAE or 802.1X is not
    /// (hostapd 2.10 and 2.11, `hostapd_ctrl_iface_kick_mismatch_psk_sta_iter`).
    async fn bystanders(&self, interface: &InterfaceName) -> Result<usize, RadioError> {
        let stations = self.stations(interface).await?;
        Ok(stations.iter().filter(|station| station.associated && !station.psk).count())
    }

    /// Puts a device's SAE password first among those for its address, if it is not.
    ///
    /// hostapd looks through the list from its newest entry and cannot remove one. An empty
    /// `SET sae_password ` does not clear it either: it adds an entry with an empty password for
    /// *every* station (hostapd 2.10 and 2.11, `parse_sae_password`).
    async fn set_sae_password(
        &self,
        interface: &InterfaceName,
        vap: &mut Vap,
        device: &VapDevice,
    ) -> Result<(), RadioError> {
        let Some(passphrase) = device.key.passphrase() else { return Ok(()) };
        if vap.sae.get(&device.mac) == Some(passphrase) {
            return Ok(());
        }
        if let Some(value) = bss::sae_password(device) {
            self.change(&Command::on(interface, "SET sae_password", &value)).await?;
            vap.sae.insert(device.mac, passphrase.clone());
        }
        Ok(())
    }

    async fn acl(
        &self,
        interface: &InterfaceName,
        verb: &'static str,
        mac: Mac,
    ) -> Result<(), RadioError> {
        self.send(&Command::on(interface, verb, &mac.full().to_string())).await
    }

    async fn ask(&self, command: &Command) -> Result<String, RadioError> {
        Ok(self.control.request(command, self.settings.command_timeout).await?)
    }

    async fn send(&self, command: &Command) -> Result<(), RadioError> {
        Ok(self.control.command(command, self.settings.command_timeout).await?)
    }

    async fn change(&self, command: &Command) -> Result<(), RadioError> {
        Ok(self.control.command(command, self.settings.change_timeout).await?)
    }

    fn is_ours(&self, interface: &InterfaceName) -> bool {
        interface.as_str().starts_with(&self.settings.prefix)
    }

    fn check_ours(&self, interface: &InterfaceName) -> Result<(), RadioError> {
        if self.is_ours(interface) { Ok(()) } else { Err(self.not_ours(interface)) }
    }

    fn not_ours(&self, interface: &InterfaceName) -> RadioError {
        let (interface, prefix) = (interface.clone(), self.settings.prefix.clone());
        RadioError::NotOurs { interface, prefix }
    }

    /// Removes files of BSSs that hostapd does not have. Those of a BSS that it has stay: it reads
    /// them again when the radio is taken down and up, and without them would not bring up even
    /// the owner's.
    fn sweep(&self, status: &RadioStatus) -> Result<(), RadioError> {
        let dir = &self.settings.run_dir;
        let fault = |source| RadioError::File { path: dir.clone(), source };
        for entry in std::fs::read_dir(dir).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|s| s.parse().ok());
            let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            if let Some(name) = name
                && FILE_KINDS.contains(&kind)
                && self.is_ours(&name)
                && !status.bss.iter().any(|bss| bss.interface == name)
            {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn file(&self, interface: &InterfaceName, kind: &str) -> PathBuf {
        self.settings.run_dir.join(format!("{interface}.{kind}"))
    }
}

/// The BSSID asked for, or the first that is free.
fn choose_bssid(wanted: Option<Mac>, status: &RadioStatus) -> Result<Mac, RadioError> {
    let taken = |mac: Mac| status.bss.iter().any(|bss| bss.bssid == mac);
    if let Some(mac) = wanted {
        return if taken(mac) { Err(RadioError::BssidTaken(mac)) } else { Ok(mac) };
    }
    let mask = Path::new("/sys/class/ieee80211").join(&status.phy).join("address_mask");
    // Where sysfs does not show the radio (another network namespace), any address is tried.
    let mask = std::fs::read_to_string(mask).ok().and_then(|text| text.trim().parse().ok());
    let mask = mask.unwrap_or(Mac::new([0; 6]));
    let first = status.bss.first();
    first
        .and_then(|own| {
            (1..=u8::MAX).map_while(|n| bssid::derive(own.bssid, mask, n)).find(|mac| !taken(*mac))
        })
        .ok_or_else(|| RadioError::NoBssid { phy: status.phy.clone() })
}

fn write(path: &Path, content: &[u8]) -> Result<(), RadioError> {
    files::replace(path, content)
        .map_err(|source| RadioError::File { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), RadioError> {
    files::remove(path).map_err(|source| RadioError::File { path: path.to_owned(), source })
}
