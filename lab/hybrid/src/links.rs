//! The device, its home, and the links between them, at the level of the data plane.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_dataplane::{
    Access, BondConfig, BondStatus, Config, Dataplane, Event, Key, LegConfig, PathTurn, PeerConfig,
    PeerId, Side, State, TunnelConfig, TunnelId, TunnelStatus,
};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_linux::Links as Interfaces;
use homeward_model::{BondingModes, Instant, Mac};
use homeward_multipath::{Mode, PathId};
use homeward_net::dhcp::{self, Lease};
use homeward_net::wait::{now, wait_for};
use homeward_net::{Cable, Impairment, Lab, Namespace, SitePlan, Town};
use homeward_port::{Device as Guest, Settings as PortSettings};

/// How long anything may take.
pub const SOON: Duration = Duration::from_secs(10);
/// Of the device's virtual interface.
pub const VIP: Mac = Mac::new([2, 0, 0, 0, 0xbb, 1]);
/// The tunnel.
pub const TUNNEL: TunnelId = TunnelId(1);
/// The device's path by Wi-Fi.
pub const WIFI: PathId = PathId::ALL[0];
/// The other one.
pub const CELLULAR: PathId = PathId::ALL[1];

const PORT: u16 = 1701;
const TAP: &str = "vip";
/// The accesses: interface, second octet of the addresses, key.
const ACCESSES: [(&str, u8, u8); 2] = [("wlan", 1, 11), ("wwan", 2, 12)];

/// A Wi-Fi like link: 10 ms there and back, 2 ms of jitter.
pub fn wifi(rate: u64) -> Impairment {
    Impairment {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(2),
        rate: Some(rate),
        queue: queue(rate, 100),
        ..Impairment::NONE
    }
}

/// A cellular like link: 60 ms there and back, 20 ms of jitter.
pub fn cellular(rate: u64) -> Impairment {
    Impairment {
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(20),
        rate: Some(rate),
        queue: queue(rate, 100),
        ..Impairment::NONE
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Octets that a link of that rate takes so many milliseconds to send.
fn queue(rate: u64, millis: u64) -> usize {
    usize::try_from(rate * millis / 8000).unwrap_or(usize::MAX)
}

/// All of it. All goes when it is dropped.
#[derive(Debug)]
pub struct Links {
    /// The home, and the Internet.
    pub town: Town,
    /// The device.
    pub device: Namespace,
    /// To the device (forth) and from it (back).
    pub wlan: Cable,
    /// The same.
    pub wwan: Cable,
    /// The device's end.
    pub away: End,
    /// The home gateway's.
    pub home: End,
    lab: Lab,
    encrypted: bool,
    /// Of the device's accesses.
    interfaces: [u32; 2],
}

/// A data plane.
#[derive(Debug)]
pub struct End {
    /// What carries the tunnel.
    pub plane: Arc<Dataplane>,
    side: Side,
    place: Namespace,
    turns: Arc<Mutex<Vec<Turn>>>,
}

/// When a path came to answer, or no longer did.
pub type Turn = (Instant, PathId, PathTurn);

impl End {
    fn start(place: &Namespace, key: u8, side: Side) -> Result<Self> {
        let mut config = Config::new(Key::new([key; 32]));
        config.listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))];
        let turns = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&turns);
        let note = move |event| {
            if let Event::Path { path, turn, .. } = event {
                lock(&noted).push((now(), path, turn));
            }
        };
        let plane = place
            .enter(|| Ok(Dataplane::start(config, SystemClock, SystemEntropy::new(), note)?))?;
        plane.set_inner_address(Ipv4Addr::new(10, 255, 0, key));
        Ok(Self { plane: Arc::new(plane), side, place: place.clone(), turns })
    }

    /// When its paths came to answer and no longer did, since that was asked last.
    pub fn turns(&self) -> Vec<Turn> {
        std::mem::take(&mut *lock(&self.turns))
    }

    /// The tunnel, as it is now.
    ///
    /// # Errors
    /// If there is none.
    pub fn status(&self) -> Result<TunnelStatus> {
        let all = self.plane.status();
        all.into_iter().find(|status| status.tunnel == TUNNEL).context("no tunnel")
    }

    /// Its paths, as they are now.
    ///
    /// # Errors
    /// If there is no tunnel of several paths.
    pub fn bond(&self) -> Result<BondStatus> {
        self.status()?.bond.context("no bond")
    }

    fn open(&self, encrypted: bool, bond: BondConfig) -> Result<()> {
        let session = |number: u32| {
            let home = self.side == Side::Home;
            let (own, other) = if home { (2, 1) } else { (1, 2) };
            let id = |end: u32| SessionId::new(number * 16 + end).context("a session is not 0");
            let cookie = |end| Cookie::eight([end; 8]);
            anyhow::Ok(SessionConfig {
                local_session: id(own)?,
                remote_session: id(other)?,
                local_cookie: cookie(if home { 2 } else { 1 }),
                remote_cookie: cookie(if home { 1 } else { 2 }),
                sublayer: Sublayer::Numbered,
                encapsulation: Encapsulation::Udp,
            })
        };
        let config = TunnelConfig {
            peer: PeerId(1),
            encrypted,
            session: session(1)?,
            tap: TAP.to_owned(),
            mac: (self.side == Side::Foreign).then_some(VIP),
            mtu: 1500,
            port: PortSettings { devices: vec![Guest::new(VIP)], ..PortSettings::default() },
            side: self.side,
            bond: Some(BondConfig {
                legs: vec![LegConfig { peer: PeerId(2), session: session(2)? }],
                ..bond
            }),
        };
        self.place.enter(|| Ok(self.plane.open(TUNNEL, config)?)).map(drop)
    }
}

impl Links {
    /// Builds it, with both paths up: a Wi-Fi like link of 100 Mbit/s, a cellular like one of 50.
    ///
    /// # Errors
    /// If the kernel refuses, or nothing comes in time.
    pub async fn build(lab: &Lab, encrypted: bool, mode: Mode) -> Result<Self> {
        let town = Town::build(lab, SitePlan::default(), SitePlan::default(), 1).await?;
        let device = lab.namespace("device")?;
        let [wlan, wwan] = ACCESSES.map(|(name, net, _)| {
            let cable = Cable::lay(&town.internet, name, &device, name, u64::from(net))?;
            town.internet.ip(&format!("addr add 10.{net}.0.1/24 dev {name}"))?;
            device.ip(&format!(
                "addr add 10.{net}.0.2/24 dev {name}\n\
                 route add default via 10.{net}.0.1 dev {name} metric {net}"
            ))?;
            anyhow::Ok(cable)
        });
        // What comes by one link may have to leave by the other.
        device.sysctl("net.ipv4.conf.all.rp_filter", "0")?;
        let away = End::start(&device, 1, Side::Foreign)?;
        let home = End::start(&town.home.gateway, 2, Side::Home)?;
        let mut links = device.enter(|| Ok(Interfaces::open()?))?;
        let mut interfaces = [0; 2];
        for ((id, (name, _, key)), room) in (1..).zip(ACCESSES).zip(&mut interfaces) {
            *room = device.enter(|| Ok(links.by_name(name)?))?.context("its link")?.index;
            let to_device = PeerConfig {
                public_key: Key::new([key; 32]).public_key(),
                preshared_key: None,
                inner_address: Ipv4Addr::new(10, 255, 0, 1),
                endpoints: Vec::new(),
                access: None,
            };
            home.plane.set_peer(PeerId(id), to_device)?;
        }
        let (wlan, wwan, lab) = (wlan?, wwan?, lab.clone());
        wlan.set(wifi(100_000_000));
        wwan.set(cellular(50_000_000));
        let world = Self { town, device, wlan, wwan, away, home, lab, encrypted, interfaces };
        world.hold(WIFI, true)?;
        world.hold(CELLULAR, true)?;
        world.set(mode)?;
        world.town.home.gateway.ip(&format!("link set {TAP} master br0 up"))?;
        world.device.ip(&format!("link set {TAP} up"))?;
        for end in [&world.home, &world.away] {
            wait_for("both paths", SOON, async || {
                let up = end.bond()?.legs.iter().all(|leg| leg.state == State::Up);
                Ok(up.then_some(()))
            })
            .await?;
        }
        Ok(world)
    }

    /// Has the device hold its tunnel by an access, or not: it is made, or nothing is sent there.
    ///
    /// # Errors
    /// If the data plane refuses.
    pub fn hold(&self, path: PathId, held: bool) -> Result<()> {
        let at = usize::from(path.get());
        let (&interface, (_, _, key)) =
            self.interfaces.get(at).zip(ACCESSES.get(at)).context("an access")?;
        let interface = if held { interface } else { 0 };
        let to_home = PeerConfig {
            public_key: self.home.plane.public_key(),
            preshared_key: None,
            inner_address: Ipv4Addr::new(10, 255, 0, 2),
            endpoints: vec![(self.town.home.address(), PORT).into()],
            access: Some(Access { interface, private_key: Key::new([*key; 32]) }),
        };
        Ok(self.away.plane.set_peer(PeerId(i64::from(path.get()) + 1), to_home)?)
    }

    /// Has the device use the paths in this way, and prefer Wi-Fi.
    ///
    /// # Errors
    /// If the kernel refuses, or nothing comes in time.
    pub fn set(&self, mode: Mode) -> Result<()> {
        self.prefer(mode, WIFI)
    }

    /// Has the device use the paths in this way, and prefer that one.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn prefer(&self, mode: Mode, preferred: PathId) -> Result<()> {
        self.configure(BondConfig { mode, preferred, ..BondConfig::new(Vec::new()) })
    }

    /// Has the device use the paths so; home does as the device does.
    ///
    /// # Errors
    /// If the kernel refuses, or nothing comes in time.
    pub fn configure(&self, bond: BondConfig) -> Result<()> {
        let allowed = BondingModes { mirrored: true, striped: true };
        let home = BondConfig { follows: Some(allowed), ..bond.clone() };
        self.away.open(self.encrypted, bond)?;
        // Nothing of it is told to home, which hears it from the device.
        let home = BondConfig { mode: Mode::Single, preferred: WIFI, ..home };
        self.home.open(self.encrypted, home)
    }

    /// The device's address, by DHCP from the home LAN.
    ///
    /// # Errors
    /// If the kernel refuses, or nothing comes in time.
    pub async fn lease(&self) -> Result<Lease> {
        let folder = self.lab.folder();
        dhcp::lease(folder, folder, "device", &self.device, TAP, SOON).await
    }
}
