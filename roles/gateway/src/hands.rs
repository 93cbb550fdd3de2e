//! Has hostapd do things, one at a time, and tells what became of them.
//!
//! hostapd has one thread, so there is nothing to gain from asking it two things at once. When it
//! goes away, all VAPs went with it: that is reported once, and orders meant for the one that was
//! are dropped by their epoch. A station that is to be put out waits for the next instead: whose
//! log-in was deleted is not told of twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use homeward_daemon::{Shutdown, SystemClock};
use homeward_hostapd::{
    Accounting, BssConfig, BssEvent, Event, Events, HomeKeys, InterfaceName, Radio, RadioError,
    VapDevice,
};
use homeward_linux::bridge::{narrow, silence_ipv6};
use homeward_model::{Clock, DeviceKey, Mac, Nai, NetworkId, Seconds, Security, Ssid};
use homeward_vap::{Bss, VapId};
use tokio::sync::mpsc;

use crate::segments::{Segments, User};

/// How often hostapd is asked whether it lives.
const PING: Duration = Duration::from_secs(2);
/// The pause before hostapd is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Something for hostapd to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the actions of homeward_vap, which say what they mean")]
pub enum Order {
    AddBss {
        vap: VapId,
        /// Where its traffic goes.
        way: Way,
        ssid: Ssid,
        security: Security,
        devices: Vec<(Mac, DeviceKey)>,
        idle_timeout: Option<Seconds>,
    },
    SetDevices {
        vap: VapId,
        devices: Vec<(Mac, DeviceKey)>,
    },
    SetHomeDevices {
        devices: Vec<(Mac, DeviceKey)>,
    },
    RemoveBss {
        vap: VapId,
    },
    Deauthenticate {
        bss: Bss,
        mac: Mac,
    },
    /// A log-in has ended: put the station out that it let in, at any of the owner's BSSs.
    PutOut {
        mac: Mac,
    },
    /// Tell which stations log-ins let in.
    TellLogins,
}

impl Order {
    /// Whether it is as good for another hostapd than the one that it was meant for.
    fn is_for_any(&self) -> bool {
        matches!(self, Self::PutOut { .. })
    }
}

/// Where the traffic of a VAP goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Into the tunnel to that network's home.
    Home(NetworkId),
    /// Out here, over the bridge for that.
    Local,
}

/// The owner's access point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its SSID, where it has one.
    pub ssid: Option<Ssid>,
    /// Its BSSID.
    pub bssid: Mac,
}

/// What became of an [`Order`], or what hostapd did by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "as the inputs of homeward_vap::Radio, which say what they mean")]
pub enum Report {
    /// hostapd is there and has no VAP of ours. Orders are to bear this epoch from now on.
    Ready {
        epoch: u64,
        owner: Owner,
    },
    /// hostapd is gone.
    Lost,
    BssAdded(VapId, Result<(), String>),
    BssRemoved(VapId, Result<(), String>),
    DevicesSet(VapId, Result<(), String>),
    HomeDevicesSet(Result<(), String>),
    Connected(Bss, Mac),
    Disconnected(Bss, Mac),
    KeyMismatch(Bss, Mac),
    /// The stations that log-ins let in at the owner's BSSs.
    Logins(Vec<(Mac, Nai)>),
}

/// What the hands need to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach hostapd.
    pub hostapd: homeward_hostapd::Settings,
    /// The bridge that VAPs join.
    pub bridge: Option<InterfaceName>,
    /// The file for the household's devices.
    pub home: Option<PathBuf>,
    /// The most devices of a VAP.
    pub max_devices: u16,
    /// Where hostapd reports what stations use.
    pub accounting: Option<Accounting>,
}

/// The hands.
pub struct Hands {
    settings: Settings,
    radio: Radio,
    segments: Arc<Segments>,
    vaps: BTreeMap<InterfaceName, (VapId, Way)>,
    reports: mpsc::UnboundedSender<Report>,
}

impl Hands {
    /// Hands that report into `reports`. Its volume is bounded by the machine's own limits: one
    /// operation a VAP.
    ///
    /// # Errors
    ///
    /// If the settings do not tell our interfaces from the owner's, or the run directory cannot
    /// be used.
    pub(crate) fn new(
        settings: Settings,
        segments: Arc<Segments>,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<Self, RadioError> {
        let radio = Radio::open(settings.hostapd.clone())?;
        Ok(Self { settings, radio, segments, vaps: BTreeMap::new(), reports })
    }

    /// Works until shutdown, then removes every VAP: without the agent nobody would revoke a key.
    pub async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<(u64, Order)>,
        shutdown: Shutdown,
    ) {
        let mut complained = false;
        for epoch in 1.. {
            let error = tokio::select! {
                () = shutdown.requested() => break,
                error = self.serve(epoch, &mut orders, &mut complained) => error,
            };
            if !std::mem::replace(&mut complained, true) {
                tracing::error!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "no hostapd; waiting for it"
                );
            }
            let later = SystemClock.now() + PAUSE;
            tokio::select! {
                () = shutdown.requested() => break,
                () = SystemClock.until(Some(later)) => {}
            }
        }
        for (interface, (vap, way)) in std::mem::take(&mut self.vaps) {
            if let Err(error) = self.radio.remove_bss(&interface).await {
                tracing::warn!(%interface, %error, "VAP not removed at the end");
            }
            self.leave(vap, way);
        }
    }

    /// Serves one hostapd for as long as it lives; returns why that ended.
    async fn serve(
        &mut self,
        epoch: u64,
        orders: &mut mpsc::UnboundedReceiver<(u64, Order)>,
        complained: &mut bool,
    ) -> RadioError {
        let (mut events, owner) = match self.greet().await {
            Ok(greeted) => greeted,
            Err(error) => return error,
        };
        *complained = false;
        self.report(Report::Ready { epoch, owner });
        let error = self.work(epoch, orders, &mut events).await;
        self.radio.forget().await;
        self.vaps.clear();
        self.segments.vaps_gone();
        self.report(Report::Lost);
        error
    }

    /// Meets hostapd: listens to it, and removes what a killed agent left.
    async fn greet(&mut self) -> Result<(Events, Owner), RadioError> {
        let status = self.radio.status().await?;
        let own = status.bss.first();
        if !status.enabled() {
            let owner = self.settings.hostapd.owner.clone();
            return Err(RadioError::NotReady { owner, state: status.state });
        }
        let owner = Owner {
            ssid: own.and_then(|b| b.ssid),
            bssid: own.map_or(Mac::new([0; 6]), |b| b.bssid),
        };
        let events = self.radio.events().await?;
        for interface in self.radio.orphans().await? {
            tracing::warn!(%interface, "removing a VAP that an earlier agent left");
            self.radio.remove_bss(&interface).await?;
        }
        Ok((events, owner))
    }

    async fn work(
        &mut self,
        epoch: u64,
        orders: &mut mpsc::UnboundedReceiver<(u64, Order)>,
        events: &mut Events,
    ) -> RadioError {
        let mut ping = SystemClock.now() + PING;
        loop {
            let outcome = tokio::select! {
                event = events.next() => event.map(|event| self.heard(event)).map_err(RadioError::from),
                order = orders.recv() => match order {
                    Some((meant_for, order)) if meant_for == epoch || order.is_for_any() => {
                        self.carry_out(order).await
                    }
                    Some(_) => Ok(()),
                    None => std::future::pending().await,
                },
                () = SystemClock.until(Some(ping)) => {
                    ping = SystemClock.now() + PING;
                    self.check(events).await
                }
            };
            if let Err(error) = outcome {
                return error;
            }
        }
    }

    /// Looks whether hostapd lives, still tells us its events, and has our VAPs. Its owner may
    /// have had it read its configuration anew, which makes the radio without them.
    async fn check(&mut self, events: &mut Events) -> Result<(), RadioError> {
        events.check(self.settings.hostapd.command_timeout).await?;
        match self.radio.vanished().await?.into_iter().next() {
            Some(interface) => Err(RadioError::Unknown { interface }),
            None => Ok(()),
        }
    }

    fn heard(&mut self, event: BssEvent) {
        let bss = match &event.interface {
            Some(interface) if *interface == self.settings.hostapd.owner => Bss::Home,
            Some(interface) => match self.vaps.get(interface) {
                Some((vap, _)) => Bss::Vap(*vap),
                None => return,
            },
            None => return,
        };
        self.report(match event.event {
            Event::StationConnected { mac, .. } => Report::Connected(bss, mac),
            Event::StationDisconnected { mac } => Report::Disconnected(bss, mac),
            Event::PskMismatch { mac } => Report::KeyMismatch(bss, mac),
            _ => return,
        });
    }

    /// Carries out an order and reports; an error is one that ends this hostapd.
    async fn carry_out(&mut self, order: Order) -> Result<(), RadioError> {
        match order {
            Order::AddBss { vap, way, ssid, security, devices, idle_timeout } => {
                let interface = self.interface(vap)?;
                let mut config = BssConfig::new(interface.clone(), ssid, security);
                config.bridge = match self.bridge(vap, way).await {
                    Ok(bridge) => bridge,
                    Err(error) => {
                        self.report(Report::BssAdded(vap, Err(format!("{error:#}"))));
                        return Ok(());
                    }
                };
                config.max_stations = self.settings.max_devices;
                config.accounting = self.settings.accounting.clone();
                if let Some(Seconds(seconds)) = idle_timeout {
                    config.max_inactivity = u16::try_from(seconds).unwrap_or(u16::MAX).max(1);
                }
                // Before the command: a station may be quicker than hostapd's answer.
                self.vaps.insert(interface.clone(), (vap, way));
                let added = self.radio.add_bss(&config, &listed(devices)).await.map(|_| ());
                let result = self.told(added)?;
                if result.is_err() {
                    self.vaps.remove(&interface);
                    self.leave(vap, way);
                } else {
                    silence(interface).await;
                }
                self.report(Report::BssAdded(vap, result));
            }
            Order::SetDevices { vap, devices } => {
                let set = self.radio.set_devices(&self.interface(vap)?, &listed(devices)).await;
                let result = self.told(set)?;
                self.report(Report::DevicesSet(vap, result));
            }
            Order::SetHomeDevices { devices } => {
                let result = self.set_home(devices).await?;
                self.report(Report::HomeDevicesSet(result));
            }
            Order::RemoveBss { vap } => {
                let interface = self.interface(vap)?;
                let removed = self.radio.remove_bss(&interface).await;
                let result = self.told(removed)?;
                if result.is_ok()
                    && let Some((vap, way)) = self.vaps.remove(&interface)
                {
                    self.leave(vap, way);
                }
                self.report(Report::BssRemoved(vap, result));
            }
            Order::Deauthenticate { bss, mac } => {
                let interface = match bss {
                    Bss::Home => self.settings.hostapd.owner.clone(),
                    Bss::Vap(vap) => self.interface(vap)?,
                };
                let put_out = self.radio.deauthenticate(&interface, mac).await;
                if let Err(error) = self.told(put_out)? {
                    tracing::debug!(%bss, %mac, error, "station not put out; it may be gone");
                }
            }
            Order::PutOut { mac } => {
                let put_out = self.radio.put_out(mac).await;
                match self.told(put_out.map(|found| {
                    tracing::info!(%mac, found, "a log-in has ended");
                }))? {
                    Ok(()) => {}
                    Err(error) => tracing::error!(
                        %mac, error,
                        "a station whose log-in has ended is not put out"
                    ),
                }
            }
            Order::TellLogins => {
                let logins = self.radio.logins().await;
                let told = logins.map(|l| self.report(Report::Logins(l.into_iter().collect())));
                if let Err(error) = self.told(told)? {
                    tracing::error!(
                        error,
                        "whom log-ins let in is not known: one that has ended meanwhile goes on"
                    );
                }
            }
        }
        Ok(())
    }

    /// The bridge that a VAP joins. One that roamers share with the gateway itself tells them of
    /// no other address of the gateway's.
    async fn bridge(&self, vap: VapId, way: Way) -> anyhow::Result<Option<InterfaceName>> {
        let Way::Home(network) = way else {
            let Some(bridge) = self.settings.bridge.clone() else { return Ok(None) };
            // Each time, for its owner may have made the bridge anew since.
            let narrowed =
                tokio::task::spawn_blocking(move || narrow(bridge.as_str()).map(|()| bridge));
            return Ok(Some(narrowed.await?.context("roam.bridge")?));
        };
        let segments = Arc::clone(&self.segments);
        let join = move || segments.join(network, User::Vap(vap), None);
        let bridge = tokio::task::spawn_blocking(join).await??;
        Ok(Some(bridge.parse()?))
    }

    /// A VAP has left its bridge.
    fn leave(&self, vap: VapId, way: Way) {
        if let Way::Home(network) = way {
            let segments = Arc::clone(&self.segments);
            // Nobody waits for it, and the next who needs the segment waits its turn.
            tokio::task::spawn_blocking(move || segments.leave(network, User::Vap(vap)));
        }
    }

    async fn set_home(
        &self,
        devices: Vec<(Mac, DeviceKey)>,
    ) -> Result<Result<(), String>, RadioError> {
        let Some(path) = &self.settings.home else { return Ok(Ok(())) };
        let set = self.radio.home_devices(path, &listed(devices)).await;
        Ok(match set {
            Ok(HomeKeys::Deferred { stations }) => Err(format!(
                "loading them now would disconnect {stations} stations of the household"
            )),
            other => self.told(other.map(|_| ()))?,
        })
    }

    /// Tells a failure that concerns one order from one that ends this hostapd.
    fn told(&self, outcome: Result<(), RadioError>) -> Result<Result<(), String>, RadioError> {
        match outcome {
            Ok(()) => Ok(Ok(())),
            Err(error) if error.is_gone() => Err(error),
            Err(error) => Ok(Err(format!("{:#}", anyhow::Error::from(error)))),
        }
    }

    fn interface(&self, vap: VapId) -> Result<InterfaceName, RadioError> {
        let name = format!("{}{}", self.settings.hostapd.prefix, vap.slot());
        name.parse().map_err(|_| RadioError::Prefix {
            prefix: self.settings.hostapd.prefix.clone(),
            owner: self.settings.hostapd.owner.clone(),
        })
    }

    fn report(&self, report: Report) {
        // Nobody listens any more: the agent is ending.
        let _ = self.reports.send(report);
    }
}

/// The gateway is no host on the air of a roamer's home. As a port of a bridge the interface hears
/// nothing anyway, so a kernel that will not have this costs a few frames and no service.
async fn silence(interface: InterfaceName) {
    let name = interface.clone();
    match tokio::task::spawn_blocking(move || silence_ipv6(name.as_str())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%interface, %error, "the gateway speaks IPv6 to roamers"),
        Err(error) => tracing::warn!(%interface, %error, "not silenced"),
    }
}

fn listed(devices: Vec<(Mac, DeviceKey)>) -> Vec<VapDevice> {
    devices.into_iter().map(|(mac, key)| VapDevice { mac, key }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_namespace, ip, run, setting};

    fn hands(directory: &std::path::Path) -> Hands {
        let settings = Settings {
            hostapd: homeward_hostapd::Settings {
                socket: directory.join("hostapd"),
                run_dir: directory.join("run"),
                owner: "wlan0".parse().unwrap(),
                prefix: "vap".into(),
                ..Default::default()
            },
            bridge: Some("br-roam".parse().unwrap()),
            home: None,
            max_devices: 8,
            accounting: None,
        };
        let segments = Arc::new(Segments::open().unwrap());
        Hands::new(settings, segments, mpsc::unbounded_channel().0).unwrap()
    }

    #[test]
    fn no_roamer_is_on_the_breakout_bridge_before_it_is_narrow() {
        let name = "hands::tests::no_roamer_is_on_the_breakout_bridge_before_it_is_narrow";
        in_namespace(name, || {
            let directory = tempfile::tempdir().unwrap();
            let hands = hands(directory.path());
            let vap = VapId::new(0, 0);
            let error = run(hands.bridge(vap, Way::Local)).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.starts_with("roam.bridge: ") && error.contains("br-roam"), "{error}");
            for _ in 0..2 {
                ip("link add br-roam type bridge");
                assert_eq!(setting("ipv4/conf/br-roam/arp_ignore"), "0", "Linux's habit");
                let bridge = run(hands.bridge(vap, Way::Local)).unwrap();
                assert_eq!(bridge, Some("br-roam".parse().unwrap()));
                assert_eq!(setting("ipv4/conf/br-roam/arp_ignore"), "1");
                assert_eq!(setting("ipv4/conf/br-roam/rp_filter"), "1");
                ip("link del br-roam");
            }
        });
    }
}
