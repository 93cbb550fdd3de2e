//! A phone with a tunnel of its own home, by Wi-Fi and by a bearer, on its way out and back.
//!
//! ```text
//!   10.0.0.1, root namespace: core, and what is behind the mobile network's packet gateway
//!      │ inet                                  └── sgi0 ── [ggsn] ═ GTP ═ [sgsn] ┄┄┄┄┄┄┄┄┄┄┄┐
//!      ├── home    channel 1, LAN 10.1.0.0/24: server 10.1.0.9, and whatever has its address │
//!      ├── foreign channel 6  ))) the phone's home SSID, by a tunnel of this gateway         │
//!      └── third   channel 11 )))                                                            │
//!                                  ((( wlanN ─┐ two paths of one tunnel home                 │
//!             phone: homeward device ─────────┴── home0 10.1.0.x         ─── wwan0 10.60.0.x ┘
//! ```
//!
//! Applications use `home0`, whose routes go first. What Wi-Fi has of the same LAN, and what the mobile
//! network gave, serve the tunnel alone.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_cell::{Sim, Ue};
use homeward_daemon::control::{Request, ask};
use homeward_model::{Instant, Rssi};
use homeward_net::dhcp::{self, Lease};
use homeward_net::wait::{elapse, now, wait_for};
use homeward_net::{Download, Flow, Namespace, Trickle};
use serde_json::Value;

use crate::demo::logged_at;
use crate::lab::Lab;
use crate::offload::{Carrier, FAR, NEAR, POLICY, Phone};
use crate::report::offload::Way;
use crate::report::outing::most;
use crate::station::Network;
use crate::town::{KEY, Plot, SSID, Site, roam};
use crate::{OUT, RUN};

/// How many radios it takes.
pub const RADIOS: u32 = 4;
/// The interface with the home's address.
pub const VIRTUAL: &str = "home0";
/// Whom the phone speaks to, in the home LAN.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 9);
/// How long anything may take: a scan, a join, a lease, emulated, with traffic beside.
pub const SOON: Duration = Duration::from_secs(60);

/// From one datagram of a call to the next.
const VOICE: Duration = Duration::from_millis(20);
/// From one decibel to the next, of somebody in a hurry.
const STEP: Duration = Duration::from_millis(100);
/// The same out of coverage and into it, of somebody who walks.
const PACE: Duration = Duration::from_millis(400);
/// Where two gateways are about as loud: the old one still the louder one, so that it is this lab that
/// says when the phone goes.
const CROSSING: (i8, i8) = (-63, -66);
/// How often the phone's agent is asked how it stands.
const LOOK: Duration = Duration::from_millis(200);
const CHANNELS: [u16; 3] = [2412, 2437, 2462];

/// Where the phone can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At home.
    Home,
    /// At a stranger's.
    Foreign,
    /// At another's.
    Third,
    /// Where no gateway is in reach.
    Nowhere,
}

impl Stop {
    /// The gateways, in the order of the way.
    pub const GATEWAYS: [Self; 3] = [Self::Home, Self::Foreign, Self::Third];

    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Home => SSID,
            Self::Foreign => "Oak Avenue 4",
            Self::Third => "Ash Lane 9",
            Self::Nowhere => "out of coverage",
        }
    }

    /// By which access the way home leads from there.
    pub const fn way(self) -> Way {
        match self {
            Self::Nowhere => Way::Cellular,
            _ => Way::Wifi,
        }
    }
}

/// How loud a gateway was made.
#[derive(Debug, Clone, Copy)]
pub struct Loudness {
    /// When.
    pub at: Instant,
    /// Which.
    pub stop: Stop,
    /// How loud; `None` out of reach.
    pub signal: Option<Rssi>,
}

/// All of it.
#[derive(Debug)]
pub struct Stage {
    _carrier: Carrier,
    home: Site,
    foreign: Site,
    third: Site,
    /// The phone.
    pub phone: Phone,
    /// In the home LAN.
    pub server: Namespace,
    /// What the home's DHCP server gave [`VIRTUAL`].
    pub lease: Lease,
    /// How loud gateways were, in order.
    pub loudness: Vec<Loudness>,
    /// Attached until dropped.
    _ue: Ue,
}

impl Stage {
    /// Builds it, with the phone at home, attached, and its tunnel up. `home` is what its agent has in
    /// `[home]`, besides what it must: a `hold`, say.
    ///
    /// # Errors
    /// If a part does not come up.
    pub async fn build(lab: &Lab, home: &str) -> Result<Self> {
        let mut carrier = Carrier::start(lab, POLICY, "lifetime = \"7d\"").await?;
        // From the mobile network to the gateways.
        Namespace::ROOT.sysctl("net.ipv4.ip_forward", "1")?;
        let mut sites = Vec::new();
        for (stop, name, channel, place) in [
            (Stop::Home, "home", 1, "gb/london/se1"),
            (Stop::Foreign, "foreign", 6, "gb/london/n7"),
            (Stop::Third, "third", 11, "gb/london/e2"),
        ] {
            let plot = Plot::lay(lab, name, stop.name(), channel).await?;
            sites.push(plot.settle(&carrier.operator, place, "").await?);
        }
        let [at_home, foreign, third] =
            <[Site; 3]>::try_from(sites).ok().context("three gateways were built")?;
        let smith = carrier.operator.home("smith", "home", SSID, "wpa2-psk").await?;
        let server = at_home.host("server", SERVER)?;

        let sim = Sim::numbered(1)?;
        let table = carrier.operator.hybrid(&smith, "anna-phone").await?;
        let table = format!("\n{table}interface = \"{VIRTUAL}\"\nssid = \"{SSID}\"\n{home}\n");
        let mut phone = carrier.phone("phone", &sim, &table).await?;
        let security = carrier.operator.device(&smith, phone.station.mac(), KEY).await?;
        let ue = carrier.network.attach(&phone.modem()?, &sim).await?;
        at_home.gateway.radio().set_signal(NEAR)?;
        phone.station.near(&[&at_home.gateway])?;
        let network = Network::new(SSID, security).frequencies(&CHANNELS);
        phone.station.join(&network).await?;
        phone.station.connected_within(SOON).await?;
        is_up(&phone, 1).await?;
        let lease = lease(&phone).await?;
        ensure!(lease.router == at_home.gateway.lan_address(), "not of the home LAN: {lease:?}");
        phone.station.namespace().ping(SERVER, SOON).await?;
        // A way that nobody saw begin is not learned.
        carrier.operator.locates(phone.station.mac(), SOON).await?;
        let loudness = vec![Loudness { at: now(), stop: Stop::Home, signal: Some(NEAR) }];
        Ok(Self {
            _carrier: carrier,
            home: at_home,
            foreign,
            third,
            phone,
            server,
            lease,
            loudness,
            _ue: ue,
        })
    }

    /// Waits until the tunnel is held by both accesses, before it is needed by the other.
    ///
    /// # Errors
    /// If it is not.
    pub async fn holds_both(&self) -> Result<()> {
        is_up(&self.phone, 2).await
    }

    /// Begins what is to go on all the way.
    ///
    /// # Errors
    /// If the server is not reached.
    pub async fn traffic(&self, pace: u64) -> Result<Traffic> {
        let (phone, server) = (self.phone.station.namespace(), &self.server);
        let began = now();
        Ok(Traffic {
            began,
            download: Download::paced(server, phone, SERVER, 8000, Some(pace)).await?,
            trickle: Trickle::start(server, phone, SERVER, 22).await?,
            down: Flow::every(VOICE, server, phone, self.lease.address, 5000)?,
            up: Flow::every(VOICE, phone, server, SERVER, 5001)?,
            watch: Watch::start(&self.phone.socket),
        })
    }

    /// Goes from one place to the next; when it left the one: when it was told to roam, was out of
    /// reach, or was in reach again.
    ///
    /// # Errors
    /// If it does not get there.
    pub async fn go(&mut self, from: Stop, to: Stop) -> Result<Instant> {
        match (from, to) {
            (_, Stop::Nowhere) => self.vanish(from).await,
            (Stop::Nowhere, _) => self.appear(to).await,
            _ => self.pass(from, to).await,
        }
    }

    /// Asks the home's DHCP server once more for the address.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn renew(&self) -> Result<Lease> {
        lease(&self.phone).await
    }

    /// What the phone's agent said of the way home, and when.
    pub fn decisions(&self) -> Vec<(Instant, String)> {
        let log = self.phone.device.log();
        let said = log.lines().filter(|line| !line.contains("DEBUG"));
        let of_home = said.filter_map(|line| line.split_once("homeward_device::service"));
        let of_home = of_home.filter_map(|(before, said)| {
            let told = [": the way home ", ": home notice="].into_iter();
            let (_, words) = told.filter_map(|mark| said.split_once(mark)).next()?;
            Some((logged_at(before)?, words.to_owned()))
        });
        of_home.collect()
    }

    fn site(&self, stop: Stop) -> Result<&Site> {
        match stop {
            Stop::Home => Ok(&self.home),
            Stop::Foreign => Ok(&self.foreign),
            Stop::Third => Ok(&self.third),
            Stop::Nowhere => anyhow::bail!("there is no gateway out of coverage"),
        }
    }

    fn reach(&mut self, stops: &[Stop]) -> Result<()> {
        let sites: Vec<_> = stops.iter().map(|stop| self.site(*stop)).collect::<Result<_>>()?;
        let gateways: Vec<_> = sites.into_iter().map(|site| &site.gateway).collect();
        self.phone.station.near(&gateways)?;
        let at = now();
        let gone = Stop::GATEWAYS.into_iter().filter(|stop| !stops.contains(stop));
        self.loudness.extend(gone.map(|stop| Loudness { at, stop, signal: None }));
        Ok(())
    }

    fn set(&mut self, stop: Stop, signal: Rssi) -> Result<()> {
        self.site(stop)?.gateway.radio().set_signal(signal)?;
        self.loudness.push(Loudness { at: now(), stop, signal: Some(signal) });
        Ok(())
    }

    /// Walks: each of these gateways changes by so much.
    async fn walk(&mut self, ramps: &[(Stop, i8, i8)], step_takes: Duration) -> Result<()> {
        let steps = ramps.iter().map(|(_, from, to)| from.abs_diff(*to)).max().unwrap_or_default();
        for step in 1..=i16::from(steps) {
            for (stop, from, to) in ramps {
                let (from, to) = (i16::from(*from), i16::from(*to));
                let dbm = from + (to - from) * step / i16::from(steps);
                self.set(*stop, Rssi(i8::try_from(dbm)?))?;
            }
            elapse(step_takes).await;
        }
        Ok(())
    }

    /// From one gateway to another that is in reach before the first one is not.
    async fn pass(&mut self, from: Stop, to: Stop) -> Result<Instant> {
        self.set(to, FAR)?;
        self.reach(&[from, to])?;
        let (old, new) = CROSSING;
        self.walk(&[(from, NEAR.0, old), (to, FAR.0, new)], STEP).await?;
        let bssid = match to {
            Stop::Home => self.home.ap.bssid(),
            _ => self.site(to)?.heard(&self.phone.station).await?,
        };
        let left = roam(&self.phone.station, bssid, SOON).await?;
        self.walk(&[(from, old, FAR.0), (to, new, NEAR.0)], STEP).await?;
        self.reach(&[to])?;
        Ok(left)
    }

    /// Out of everybody's reach; the supplicant has noticed when this returns.
    async fn vanish(&mut self, from: Stop) -> Result<Instant> {
        self.walk(&[(from, NEAR.0, FAR.0)], PACE).await?;
        let left = now();
        self.reach(&[])?;
        self.phone.station.disconnected_since(left, SOON).await?;
        Ok(left)
    }

    /// Back into reach, scanning like a device in a hurry.
    async fn appear(&mut self, to: Stop) -> Result<Instant> {
        self.set(to, FAR)?;
        let back = now();
        self.reach(&[to])?;
        self.walk(&[(to, FAR.0, NEAR.0)], PACE).await?;
        self.phone.station.scan_until_connected_since(&CHANNELS, back, SOON).await?;
        Ok(back)
    }
}

/// What goes on all the way, between the phone's virtual address and the server at home.
#[derive(Debug)]
pub struct Traffic {
    /// When it began.
    pub began: Instant,
    /// Over one TCP connection.
    pub download: Download,
    /// As by SSH.
    pub trickle: Trickle,
    /// A call, to the phone.
    pub down: Flow,
    /// A call, from the phone.
    pub up: Flow,
    /// Which way it goes.
    pub watch: Watch,
}

impl Traffic {
    /// Waits until it goes that way, in both directions, after `since`.
    ///
    /// # Errors
    /// If it does not, with how the tunnel stands.
    pub async fn goes(&self, way: Way, since: Instant) -> Result<()> {
        let what = format!("traffic by {}", way.words());
        let waited = wait_for(&what, SOON, async || {
            let after = since + Duration::from_millis(100);
            let some = |flow: &Flow| flow.outage(after, now()).arrived > 20;
            let by = self.watch.now_by(since) == Some(way);
            Ok((by && some(&self.down) && some(&self.up)).then_some(()))
        });
        waited.await.with_context(|| format!("the last status was {:#}", self.watch.last()))
    }

    /// The addresses that the phone speaks from.
    pub fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        let mut all = self.up.all_from();
        all.insert(self.trickle.from());
        all
    }
}

/// What went by each access from one look to the next, by the phone's own account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it was looked.
    pub at: Instant,
    /// Packets that the phone sent since the look before.
    pub wifi: u64,
    /// The same.
    pub cellular: u64,
}

impl Sample {
    /// By which access most of it went; `None` where nothing did.
    pub const fn way(&self) -> Option<Way> {
        most(self.wifi, self.cellular)
    }
}

/// Looks again and again which way traffic goes, until dropped.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    samples: Vec<Sample>,
    last: Value,
}

impl Watch {
    fn start(socket: &Path) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let task = tokio::spawn(look(socket.to_owned(), Arc::clone(&seen)));
        Self { seen, task }
    }

    /// All looks so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.seen().samples.clone()
    }

    /// By which access traffic went at the last look, if that was well after `since`.
    fn now_by(&self, since: Instant) -> Option<Way> {
        let seen = self.seen();
        // What it tells of began with the look before.
        seen.samples.last().filter(|sample| sample.at > since + LOOK * 2)?.way()
    }

    /// How the tunnel home stood at the last look.
    pub fn last(&self) -> Value {
        self.seen().last.clone()
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(socket: PathBuf, seen: Arc<Mutex<Seen>>) {
    let mut before = None;
    loop {
        elapse(LOOK).await;
        let Ok(mut status) = ask(&socket, &Request::new("status")).await else { continue };
        let home = status["home"].take();
        let packets = |path: usize| home["tunnel"]["bond"]["paths"][path]["packets"].as_u64();
        let counts = packets(0).zip(packets(1));
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((wifi, cellular)), Some((old_wifi, old_cellular))) = (counts, before) {
            let sample = Sample {
                at: now(),
                wifi: wifi.saturating_sub(old_wifi),
                cellular: cellular.saturating_sub(old_cellular),
            };
            seen.samples.push(sample);
        }
        before = counts.or(before);
        seen.last = home;
    }
}

/// Waits until the phone's tunnel is up by so many accesses.
async fn is_up(phone: &Phone, paths: usize) -> Result<()> {
    let mut last = Value::Null;
    wait_for("the tunnel home", SOON, async || {
        last = phone.ask(&Request::new("status")).await?["home"].take();
        let legs = last["tunnel"]["bond"]["legs"].as_array();
        let up = legs.into_iter().flatten().filter(|leg| leg["state"] == "up").count();
        Ok((up >= paths).then_some(()))
    })
    .await
    .with_context(|| format!("the last status was {last:#}"))
}

/// The address of the virtual interface, by DHCP from the home LAN.
async fn lease(phone: &Phone) -> Result<Lease> {
    let folder = Path::new(RUN).join("phone-home0");
    std::fs::create_dir_all(&folder)?;
    let name = "phone-home0";
    dhcp::lease(Path::new(OUT), &folder, name, phone.station.namespace(), VIRTUAL, SOON).await
}
