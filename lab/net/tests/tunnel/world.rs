//! The two gateways, the tunnel between them, and the roamer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_dataplane::{
    Config, Dataplane, Event, Key, PeerConfig, PeerId, Side, State, TunnelConfig, TunnelId,
    TunnelStatus,
};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_linux::bridge::Bridges;
use homeward_model::Mac;
use homeward_net::dhcp::{self, Lease};
use homeward_net::wait::wait_for;
use homeward_net::{Impairment, Lab, Namespace, Site, SitePlan, Town, Translation};
use homeward_port::{Device, Settings as PortSettings};

pub(crate) const SOON: Duration = Duration::from_secs(10);
pub(crate) const ROAMER: Mac = Mac::new([2, 0, 0, 0, 0xaa, 1]);
pub(crate) const TUNNEL: TunnelId = TunnelId(1);
pub(crate) const PEER: PeerId = PeerId(1);
/// The port that both data planes listen on.
pub(crate) const PORT: u16 = 1701;
/// What home expects in each data message of the tunnel.
pub(crate) const HOME_COOKIE: [u8; 8] = [0xc0; 8];

/// How often an end behind a NAT says something.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// The name of the tunnel's interface at either end.
const TAPS: [&str; 2] = ["abroad", "home"];
/// The bridge abroad that joins the roamer to the tunnel.
const SEGMENT: &str = "seg";

/// How a world differs from the plainest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) encrypted: bool,
    pub(crate) home: SitePlan,
    pub(crate) foreign: SitePlan,
    pub(crate) path: Path,
    pub(crate) seed: u64,
    /// Whether the ends learn by STUN what is in front of them, rather than by what they are told.
    pub(crate) stun: bool,
}

/// How long the packets may be between the two gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// 1,500 octets.
    Full,
    /// So many, and routers say so.
    Told(u16),
    /// So many, and longer ones are dropped without a word.
    Silent(u16),
}

impl Plan {
    pub(crate) const fn sealed(encrypted: bool) -> Self {
        let site = SitePlan { nat: false, translation: Translation::Strict, ipv6: false };
        let path = Path::Full;
        Self { encrypted, home: site, foreign: site, path, seed: 1, stun: false }
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) town: Town,
    pub(crate) home: End,
    pub(crate) foreign: End,
    pub(crate) roamer: Namespace,
}

/// A gateway's data plane.
pub(crate) struct End {
    pub(crate) plane: Arc<Dataplane>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    gateway: Namespace,
}

impl End {
    fn start(site: &Site, key: u8, keepalive: bool) -> Result<Self> {
        let mut config = Config::new(Key::new([key; 32]));
        config.listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))];
        config.keepalive = keepalive.then_some(KEEPALIVE);
        config.reflexive.interval = Duration::from_secs(1);
        config.reflexive.keepalive = Some(KEEPALIVE);
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let told = Arc::clone(&events);
        let plane = site.gateway.enter(|| {
            let tell = move |event| told.lock().unwrap().push(event);
            Ok(Dataplane::start(config, SystemClock, SystemEntropy::new(), tell)?)
        })?;
        plane.set_inner_address(Ipv4Addr::new(10, 255, 0, key));
        Ok(Self { plane: Arc::new(plane), events, gateway: site.gateway.clone() })
    }

    /// The tunnel, as it is now.
    pub(crate) fn status(&self) -> TunnelStatus {
        let all = self.plane.status();
        all.into_iter().find(|status| status.tunnel == TUNNEL).expect("the tunnel is open")
    }

    pub(crate) fn set_peer(&self, other: &Self, key: u8, endpoints: &[Ipv4Addr]) -> Result<()> {
        self.set_peer_at(other, key, endpoints.iter().map(|to| SocketAddr::from((*to, PORT))))
    }

    pub(crate) fn set_peer_at(
        &self,
        other: &Self,
        key: u8,
        endpoints: impl Iterator<Item = SocketAddr>,
    ) -> Result<()> {
        let peer = PeerConfig {
            public_key: other.plane.public_key(),
            preshared_key: None,
            inner_address: Ipv4Addr::new(10, 255, 0, key),
            endpoints: endpoints.collect(),
            access: None,
        };
        Ok(self.plane.set_peer(PEER, peer)?)
    }

    fn open(&self, side: Side, encrypted: bool) -> Result<()> {
        let (own, other) = if side == Side::Home { (2, 1) } else { (1, 2) };
        let cookie = |end| Cookie::eight(if end == 2 { HOME_COOKIE } else { [0xa0; 8] });
        let id = |end| SessionId::new(end).context("a session is not 0");
        let config = TunnelConfig {
            peer: PEER,
            encrypted,
            session: SessionConfig {
                local_session: id(own)?,
                remote_session: id(other)?,
                local_cookie: cookie(own),
                remote_cookie: cookie(other),
                sublayer: Sublayer::Numbered,
                encapsulation: Encapsulation::Udp,
            },
            tap: TAPS[usize::from(side == Side::Home)].to_owned(),
            mac: None,
            mtu: 1500,
            port: PortSettings { devices: vec![Device::new(ROAMER)], ..PortSettings::default() },
            side,
            bond: None,
        };
        self.gateway.enter(|| Ok(self.plane.open(TUNNEL, config)?)).map(drop)
    }

    /// Waits until the other end answers.
    pub(crate) async fn up(&self) -> Result<()> {
        wait_for("the tunnel to be up", SOON, async || {
            Ok((self.status().state == State::Up).then_some(()))
        })
        .await
    }
}

impl World {
    /// Builds it, with the roamer abroad and the tunnel up.
    pub(crate) async fn build(lab: &Lab, plan: Plan) -> Result<Self> {
        let world = Self::at_home(lab, plan).await?;
        world.move_abroad().await?;
        world.home.up().await?;
        world.foreign.up().await?;
        Ok(world)
    }

    /// Builds it, with the roamer in the home LAN, and an idle tunnel prepared.
    pub(crate) async fn at_home(lab: &Lab, plan: Plan) -> Result<Self> {
        let town = Town::build(lab, plan.home, plan.foreign, plan.seed).await?;
        match plan.path {
            Path::Full => {}
            Path::Told(mtu) => town.narrow(&town.home, mtu)?,
            Path::Silent(mtu) => {
                town.home.cable.set(Impairment { mtu: mtu.into(), ..Impairment::NONE });
            }
        }
        let foreign = End::start(&town.foreign, 1, plan.foreign.nat && !plan.stun)?;
        let home = End::start(&town.home, 2, plan.home.nat && !plan.stun)?;
        // Where there is a box in front of an end, only that end can begin.
        let reach = |site: &Site| match site.nat {
            Some(_) => Vec::new(),
            None => vec![site.address()],
        };
        foreign.set_peer(&home, 2, &reach(&town.home))?;
        home.set_peer(&foreign, 1, &reach(&town.foreign))?;
        foreign.open(Side::Foreign, plan.encrypted)?;
        home.open(Side::Home, plan.encrypted)?;

        town.foreign.gateway.enter(|| {
            let mut bridges = Bridges::open()?;
            bridges.create(SEGMENT, 1500)?;
            bridges.enslave(TAPS[0], SEGMENT)?;
            Ok(())
        })?;
        town.foreign.gateway.ip(&format!("link set {SEGMENT} up\nlink set {} up", TAPS[0]))?;
        let home_end = TAPS[1];
        town.home.gateway.ip(&format!("link set {home_end} master br0 up"))?;

        let roamer = lab.namespace("roamer")?;
        roamer.join("eth0", &town.home.gateway, "lan-roamer")?;
        roamer.ip(&format!("link set eth0 address {}", spelled(ROAMER)))?;
        town.home.gateway.ip("link set lan-roamer master br0")?;
        let lab = lab.clone();
        Ok(Self { lab, town, home, foreign, roamer })
    }

    /// The roamer walks out of the house and into the café: its cable is pulled out of the home's
    /// bridge and put into the segment abroad.
    pub(crate) async fn move_abroad(&self) -> Result<()> {
        let there = self.town.foreign.gateway.path();
        self.town.home.gateway.ip(&format!(
            "link set lan-roamer nomaster\nlink set lan-roamer netns {}",
            there.display()
        ))?;
        self.town.foreign.gateway.enter(|| Ok(Bridges::open()?.enslave("lan-roamer", SEGMENT)?))?;
        self.town.foreign.gateway.ip("link set lan-roamer up")
    }

    /// And back.
    pub(crate) async fn move_home(&self) -> Result<()> {
        let there = self.town.home.gateway.path();
        self.town.foreign.gateway.ip(&format!(
            "link set lan-roamer nomaster\nlink set lan-roamer netns {}",
            there.display()
        ))?;
        self.town.home.gateway.ip("link set lan-roamer master br0 up")
    }

    /// The roamer's address, by DHCP from wherever it is.
    pub(crate) async fn lease(&self) -> Result<Lease> {
        let folder = self.lab.folder();
        dhcp::lease(folder, folder, "roamer", &self.roamer, "eth0", SOON).await
    }
}

pub(crate) fn spelled(mac: Mac) -> String {
    mac.octets().map(|octet| format!("{octet:02x}")).join(":")
}
