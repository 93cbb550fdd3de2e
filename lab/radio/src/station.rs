//! A station: a radio with wpa_supplicant, as a phone or a laptop is.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_model::{Instant, Mac};
use homeward_net::dhcp::{self, Lease};
use homeward_net::wait::{elapse, now};
use homeward_net::{Namespace, Process};

use crate::control::{Control, Event};
use crate::gateway::Gateway;
use crate::radios::Radio;
use crate::security::Security;
use crate::{OUT, RUN};

const CONNECTED: &str = "CTRL-EVENT-CONNECTED";
const DISCONNECTED: &str = "CTRL-EVENT-DISCONNECTED";

/// A station. Its supplicant starts with the first [`join`](Self::join).
#[derive(Debug)]
pub struct Station {
    name: String,
    radio: Radio,
    folder: PathBuf,
    supplicant: Option<(Process, Control)>,
    joined: Instant,
}

/// A network that a station knows: one network block of wpa_supplicant.
#[derive(Debug, Clone)]
pub struct Network {
    ssid: String,
    security: Security,
    frequencies: String,
    extra: Vec<(String, String)>,
}

impl Network {
    /// A network that is probed for by name, on channels 1 and 6.
    pub fn new(ssid: &str, security: Security) -> Self {
        Self {
            ssid: ssid.to_owned(),
            security,
            frequencies: "2412 2437".to_owned(),
            extra: vec![("scan_ssid".into(), "1".into())],
        }
    }

    /// Looked for on these frequencies only, in MHz.
    pub fn frequencies(mut self, frequencies: &[u16]) -> Self {
        let texts: Vec<_> = frequencies.iter().map(u16::to_string).collect();
        self.frequencies = texts.join(" ");
        self
    }

    /// With a further variable of the network block, such as `bssid` or
    /// `bgscan="simple:1:-55:10"`.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A station's association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// When the supplicant reported it.
    pub at: Instant,
    /// With whom.
    pub bssid: Mac,
}

impl Station {
    pub(crate) fn new(name: &str, radio: Radio) -> Result<Self> {
        let folder = Path::new(RUN).join(name);
        fs::create_dir_all(&folder)?;
        Ok(Self { name: name.to_owned(), radio, folder, supplicant: None, joined: now() })
    }

    /// Its name, which is its namespace's too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its radio.
    pub fn radio(&self) -> &Radio {
        &self.radio
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        self.radio.namespace()
    }

    /// Its MAC address.
    pub fn mac(&self) -> Mac {
        self.radio.mac()
    }

    /// Puts it in reach of these gateways and of no others.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn near(&self, gateways: &[&Gateway]) -> Result<()> {
        self.radio.set_cells(gateways.iter().fold(0, |cells, g| cells | g.radio().cells()))
    }

    /// Puts it out of everybody's reach.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn out_of_reach(&self) -> Result<()> {
        self.near(&[])
    }

    /// Makes `network` the one network that it knows, and lets it look for it.
    ///
    /// # Errors
    /// If wpa_supplicant does not start or refuses the network block.
    pub async fn join(&mut self, network: &Network) -> Result<()> {
        self.run_supplicant().await?;
        let control = self.control()?;
        control.request("REMOVE_NETWORK", "all").await?;
        control.request("BSS_FLUSH", "0").await?;
        let id = control.request("ADD_NETWORK", "").await?;
        let own =
            [("ssid", format!("\"{}\"", network.ssid)), ("scan_freq", network.frequencies.clone())];
        let security = network.security.supplicant_variables();
        let extra = network.extra.iter().map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in own.into_iter().chain(security).chain(extra) {
            control.request("SET_NETWORK", &format!("{id} {name} {value}")).await?;
        }
        let joined = now();
        control.request("SELECT_NETWORK", &id).await?;
        self.joined = joined;
        Ok(())
    }

    /// Starts the supplicant, if it does not run, without a network: for others to tell it some.
    ///
    /// # Errors
    /// If wpa_supplicant does not start.
    pub async fn run_supplicant(&mut self) -> Result<()> {
        if self.supplicant.is_none() {
            self.supplicant = Some(self.start_supplicant().await?);
        }
        Ok(())
    }

    /// The folder with the supplicant's control socket, which has the interface's name.
    pub fn supplicant_folder(&self) -> PathBuf {
        self.folder.join("wpa")
    }

    /// Forgets all networks, which ends a connection.
    ///
    /// # Errors
    /// If nothing was joined.
    pub async fn leave(&self) -> Result<()> {
        self.control()?.request("REMOVE_NETWORK", "all").await.map(drop)
    }

    /// Waits until it is connected, from the last [`join`](Self::join) on.
    ///
    /// # Errors
    /// If it is not within `limit`.
    pub async fn connected_within(&self, limit: Duration) -> Result<Connection> {
        self.connected_since(self.joined, limit).await
    }

    /// Waits for the first connection made at or after `since`.
    ///
    /// # Errors
    /// If there is none within `limit`.
    pub async fn connected_since(&self, since: Instant, limit: Duration) -> Result<Connection> {
        let event = self.control()?.event(since, CONNECTED, limit).await;
        connection(&event.with_context(|| format!("{} does not connect", self.name))?)
    }

    /// [`connected_within`](Self::connected_within), while it scans these frequencies (MHz) every
    /// 100 ms, as an eager device does, rather than at wpa_supplicant's leisure.
    ///
    /// # Errors
    /// If it is not connected within `limit`.
    pub async fn scan_until_connected(
        &self,
        frequencies: &[u16],
        limit: Duration,
    ) -> Result<Connection> {
        self.scan_until_connected_since(frequencies, self.joined, limit).await
    }

    /// The same, from `since` on: of one that knew its network before.
    ///
    /// # Errors
    /// If it is not connected within `limit`.
    pub async fn scan_until_connected_since(
        &self,
        frequencies: &[u16],
        since: Instant,
        limit: Duration,
    ) -> Result<Connection> {
        let texts: Vec<_> = frequencies.iter().map(u16::to_string).collect();
        let channels = format!("freq={}", texts.join(","));
        let control = self.control()?;
        let end = now() + limit;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            if let Some(event) = control.events_since(since, CONNECTED).first() {
                return connection(event);
            }
            if now() >= end {
                return self.connected_since(since, Duration::ZERO).await;
            }
            // A scan in the midst of an association would only delay it.
            if !self.is_associating(since).await? {
                control.try_request("SCAN", &channels).await?;
            }
        }
    }

    /// Lets `span` pass and makes sure that it does not connect meanwhile.
    ///
    /// # Errors
    /// If it does connect.
    pub async fn never_connects_within(&self, span: Duration) -> Result<()> {
        let since = now();
        elapse(span).await;
        let connections = self.control()?.events_since(since, CONNECTED);
        ensure!(connections.is_empty(), "{} connected: {connections:?}", self.name);
        Ok(())
    }

    /// Waits until it is disconnected, at or after `since`.
    ///
    /// # Errors
    /// If it is not within `limit`.
    pub async fn disconnected_since(&self, since: Instant, limit: Duration) -> Result<Event> {
        self.control()?.event(since, DISCONNECTED, limit).await
    }

    /// The disconnects from `since` on.
    ///
    /// # Errors
    /// If nothing was joined.
    pub fn disconnects_since(&self, since: Instant) -> Result<Vec<Event>> {
        Ok(self.control()?.events_since(since, DISCONNECTED))
    }

    /// Gets an address by DHCP (busybox's udhcpc).
    ///
    /// # Errors
    /// If it gets none within `limit`.
    pub async fn dhcp(&self, limit: Duration) -> Result<Lease> {
        let interface = self.radio.interface();
        dhcp::lease(Path::new(OUT), &self.folder, &self.name, self.namespace(), &interface, limit)
            .await
    }

    /// Pings `to` until an answer comes; returns the round trip.
    ///
    /// # Errors
    /// If none comes within `limit`.
    pub async fn ping(&self, to: Ipv4Addr, limit: Duration) -> Result<Duration> {
        self.namespace().ping(to, limit).await
    }

    /// The supplicant's control socket.
    ///
    /// # Errors
    /// If nothing was joined yet.
    pub fn control(&self) -> Result<&Control> {
        let supplicant = self.supplicant.as_ref();
        supplicant
            .map(|(_, control)| control)
            .with_context(|| format!("{} has not joined", self.name))
    }

    async fn is_associating(&self, since: Instant) -> Result<bool> {
        let tried = self.control()?.events_since(since, "SME: Trying to authenticate");
        if tried.is_empty() {
            return Ok(false);
        }
        let status = self.control()?.request("STATUS", "").await?;
        Ok(["AUTHENTICATING", "ASSOCIATING", "ASSOCIATED", "4WAY_HANDSHAKE", "GROUP_HANDSHAKE"]
            .iter()
            .any(|state| status.contains(&format!("wpa_state={state}"))))
    }

    async fn start_supplicant(&self) -> Result<(Process, Control)> {
        let conf = self.folder.join("wpa_supplicant.conf");
        let sockets = self.supplicant_folder();
        fs::write(&conf, format!("ctrl_interface={}\nap_scan=1\n", sockets.display()))?;
        let interface = self.radio.interface();
        let conf = conf.to_string_lossy().into_owned();
        let mut process = Process::start(
            Path::new(OUT),
            &format!("{}-wpa", self.name),
            self.namespace(),
            &["wpa_supplicant", "-t", "-i", &interface, "-c", &conf],
        )?;
        let socket = sockets.join(&interface);
        process.makes(&socket, Duration::from_secs(20)).await?;
        let control = Control::connect(&socket).await?;
        Ok((process, control))
    }
}

fn connection(event: &Event) -> Result<Connection> {
    // CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:00:00 completed [id=0 id_str=]
    let mut words = event.text().split_whitespace().skip_while(|word| *word != "to").skip(1);
    let bssid = words.next().and_then(|mac| mac.parse().ok());
    let bssid = bssid.with_context(|| format!("no BSSID in {:?}", event.text()))?;
    Ok(Connection { at: event.at, bssid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_names_its_bss() {
        let text =
            "CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]";
        let told = |text: &'static str| homeward_hostapd::Event::Other(text.into());
        let event = Event { at: Instant::from_nanos(5), event: told(text) };
        let expected = Connection { at: event.at, bssid: "02:00:00:00:01:00".parse().unwrap() };
        assert_eq!(connection(&event).unwrap(), expected);
        let other = Event { at: event.at, event: told("CTRL-EVENT-CONNECTED") };
        assert!(connection(&other).is_err());
    }
}
