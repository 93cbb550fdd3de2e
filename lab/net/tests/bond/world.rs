//! The device, its home, and the links between them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_dataplane::{
    Access, BondConfig, BondStatus, Config, Dataplane, Key, LegConfig, PeerConfig, PeerId, Side,
    State, TunnelConfig, TunnelId, TunnelStatus,
};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_linux::Links;
use homeward_model::Mac;
use homeward_multipath::{Mode, PathId};
use homeward_net::dhcp::{self, Lease};
use homeward_net::wait::wait_for;
use homeward_net::{Cable, Impairment, Lab, Namespace, SitePlan, Town};
use homeward_port::{Device as Guest, Settings as PortSettings};

pub(crate) const SOON: Duration = Duration::from_secs(10);
/// Of the device's virtual interface.
pub(crate) const VIP: Mac = Mac::new([2, 0, 0, 0, 0xbb, 1]);
pub(crate) const TUNNEL: TunnelId = TunnelId(1);
/// The device's paths.
pub(crate) const WIFI: PathId = PathId::ALL[0];
pub(crate) const CELLULAR: PathId = PathId::ALL[1];

const PORT: u16 = 1701;
const TAP: &str = "vip";
/// The accesses: interface, second octet of the addresses, key.
const ACCESSES: [(&str, u8, u8); 2] = [("wlan", 1, 11), ("wwan", 2, 12)];

/// A Wi-Fi like link: 10 ms there and back, 2 ms of jitter.
pub(crate) fn wifi(rate: u64) -> Impairment {
    Impairment {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(2),
        rate: Some(rate),
        queue: queue(rate, 100),
        ..Impairment::NONE
    }
}

/// A cellular like link: 60 ms there and back, 20 ms of jitter.
pub(crate) fn cellular(rate: u64) -> Impairment {
    Impairment {
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(20),
        rate: Some(rate),
        queue: queue(rate, 100),
        ..Impairment::NONE
    }
}

/// Octets that a link of that rate takes so many milliseconds to send.
fn queue(rate: u64, millis: u64) -> usize {
    usize::try_from(rate * millis / 8000).unwrap_or(usize::MAX)
}

/// All of it.
pub(crate) struct World {
    pub(crate) town: Town,
    pub(crate) device: Namespace,
    /// To the device (forth) and from it (back).
    pub(crate) wlan: Cable,
    pub(crate) wwan: Cable,
    pub(crate) away: End,
    pub(crate) home: End,
    lab: Lab,
    encrypted: bool,
}

/// A data plane.
pub(crate) struct End {
    pub(crate) plane: Arc<Dataplane>,
    side: Side,
    place: Namespace,
}

impl End {
    fn start(place: &Namespace, key: u8, side: Side) -> Result<Self> {
        let mut config = Config::new(Key::new([key; 32]));
        config.listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))];
        let plane = place
            .enter(|| Ok(Dataplane::start(config, SystemClock, SystemEntropy::new(), |_| {})?))?;
        plane.set_inner_address(Ipv4Addr::new(10, 255, 0, key));
        Ok(Self { plane: Arc::new(plane), side, place: place.clone() })
    }

    /// The tunnel, as it is now.
    pub(crate) fn status(&self) -> TunnelStatus {
        let all = self.plane.status();
        all.into_iter().find(|status| status.tunnel == TUNNEL).expect("the tunnel is open")
    }

    /// Its paths, as they are now.
    pub(crate) fn bond(&self) -> BondStatus {
        self.status().bond.expect("it is a bond")
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

impl World {
    /// Builds it, with both paths up, and unimpaired links.
    pub(crate) async fn build(lab: &Lab, encrypted: bool, mode: Mode) -> Result<Self> {
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
        let mut links = device.enter(|| Ok(Links::open()?))?;
        for (id, (name, _, key)) in (1..).zip(ACCESSES) {
            let interface = device.enter(|| Ok(links.by_name(name)?))?.context("its link")?.index;
            let to_home = PeerConfig {
                public_key: home.plane.public_key(),
                preshared_key: None,
                inner_address: Ipv4Addr::new(10, 255, 0, 2),
                endpoints: vec![(town.home.address(), PORT).into()],
                access: Some(Access { interface, private_key: Key::new([key; 32]) }),
            };
            away.plane.set_peer(PeerId(id), to_home)?;
            let to_device = PeerConfig {
                public_key: Key::new([key; 32]).public_key(),
                preshared_key: None,
                inner_address: Ipv4Addr::new(10, 255, 0, 1),
                endpoints: Vec::new(),
                access: None,
            };
            home.plane.set_peer(PeerId(id), to_device)?;
        }
        let world = Self {
            town,
            device,
            wlan: wlan?,
            wwan: wwan?,
            away,
            home,
            lab: lab.clone(),
            encrypted,
        };
        world.set(mode)?;
        world.town.home.gateway.ip(&format!("link set {TAP} master br0 up"))?;
        world.device.ip(&format!("link set {TAP} up"))?;
        for end in [&world.home, &world.away] {
            wait_for("both paths", SOON, async || {
                let up = end.bond().legs.iter().all(|leg| leg.state == State::Up);
                Ok(up.then_some(()))
            })
            .await?;
        }
        Ok(world)
    }

    /// Has both ends use the paths in this way, and prefer Wi-Fi.
    pub(crate) fn set(&self, mode: Mode) -> Result<()> {
        self.configure(BondConfig { mode, ..BondConfig::new(Vec::new()) })
    }

    /// Has both ends use the paths so.
    pub(crate) fn configure(&self, bond: BondConfig) -> Result<()> {
        self.away.open(self.encrypted, bond.clone())?;
        self.home.open(self.encrypted, bond)
    }

    /// The device's address, by DHCP from the home LAN.
    pub(crate) async fn lease(&self) -> Result<Lease> {
        let folder = self.lab.folder();
        dhcp::lease(folder, folder, "device", &self.device, TAP, SOON).await
    }
}
