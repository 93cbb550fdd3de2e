//! The data plane's orders carried out, one at a time, on a thread of their own: making and
//! removing interfaces may take the kernel some milliseconds.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};

use anyhow::Context;
use homeward_control::{Half, OpenTunnel, Router, Side, TunnelId};
use homeward_daemon::SystemEntropy;
use homeward_dataplane::{BondConfig, Dataplane, Key, LegConfig, PeerConfig, PeerId, TunnelConfig};
use homeward_l2tp::{Cookie, Encapsulation, SessionConfig, SessionId, Sublayer};
use homeward_linux::bridge::silence_ipv6;
use homeward_model::{Encryption, Entropy, Mac, NetworkId};
use homeward_port::{AddressPolicy, Device, Neighbour};
use tokio::sync::mpsc::UnboundedSender;

use crate::agent::Input;

use crate::lan::Lan;
use crate::segments::{Segments, User};

/// The names of the interfaces of tunnels begin with this; a number follows.
pub(crate) const TAP_PREFIX: &str = "hwt";
/// The MTU of tunnels' interfaces: that of the LANs they join, whatever the path carries.
const MTU: u32 = 1500;

/// Something for the data plane to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Our address inside tunnels is this.
    Address(Ipv4Addr),
    /// Set up a tunnel, or change the one with that number. [`Report::Opened`] follows.
    Open(Box<OpenTunnel>),
    /// Take a tunnel down.
    Close(TunnelId),
    /// These servers say how the Internet sees the data plane.
    Stun(Vec<SocketAddr>),
    /// Send a frame out of a tunnel's interface, as if it had come through the tunnel.
    Inject(TunnelId, Vec<u8>),
    /// Send a frame into the home LAN.
    Lan(Vec<u8>),
}

/// What became of an [`Order`], or what happened by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A tunnel is set up here, or is not.
    Opened(TunnelId, Result<(), String>),
    /// The routers of the home LAN, with the first tunnel that ends there and whenever they have
    /// changed.
    Routers(Vec<Router>),
    /// Where others may send, as the machine's own addresses say: whenever that has changed.
    Hosts(Vec<SocketAddr>),
    /// The data plane says something.
    Event(homeward_dataplane::Event),
}

/// What a tunnel holds on this machine.
#[derive(Debug)]
struct Held {
    /// The other end, as it is known by each path.
    peers: Vec<PeerId>,
    /// Its number among the interfaces.
    number: u16,
    /// Where its interface is a port of a segment.
    network: Option<NetworkId>,
}

/// Carries out orders.
pub(crate) struct Plane {
    dataplane: Arc<Dataplane>,
    segments: Arc<Segments>,
    /// The owner's LAN, where tunnels of this home end.
    lan: Option<Lan>,
    tunnels: BTreeMap<TunnelId, Held>,
    /// What the MAC addresses of tunnels' interfaces have that is by chance.
    macs: [u8; 3],
    inputs: UnboundedSender<Input>,
}

impl Plane {
    pub(crate) fn new(
        dataplane: Arc<Dataplane>,
        segments: Arc<Segments>,
        lan: Option<Lan>,
        inputs: UnboundedSender<Input>,
    ) -> Self {
        let macs = SystemEntropy::new().octets();
        Self { dataplane, segments, lan, tunnels: BTreeMap::new(), macs, inputs }
    }

    /// Works until nobody gives orders any more, then takes all tunnels down.
    pub(crate) fn run(mut self, orders: &mpsc::Receiver<Order>) {
        self.look_at_lan();
        while let Ok(order) = orders.recv() {
            self.carry_out(order);
        }
        for tunnel in self.tunnels.keys().copied().collect::<Vec<_>>() {
            self.close(tunnel);
        }
        self.dataplane.stop();
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Address(address) => self.dataplane.set_inner_address(address),
            Order::Stun(servers) => self.dataplane.set_stun(&servers),
            Order::Open(open) => {
                self.look_at_lan();
                let result = self.open(&open).map_err(|error| format!("{error:#}"));
                if let Err(error) = &result {
                    tracing::warn!(tunnel = %open.tunnel, error, "tunnel not set up");
                }
                self.report(Report::Opened(open.tunnel, result));
            }
            Order::Close(tunnel) => self.close(tunnel),
            Order::Inject(tunnel, frame) => {
                if let Err(error) = self.dataplane.inject(plane_id(tunnel), &frame) {
                    tracing::debug!(%tunnel, %error, "frame not sent");
                }
            }
            Order::Lan(frame) => {
                if let Some(Err(error)) = self.lan.as_ref().map(|lan| lan.send(&frame)) {
                    tracing::debug!(error = format!("{error:#}"), "frame not sent into the LAN");
                }
            }
        }
    }

    fn open(&mut self, open: &OpenTunnel) -> anyhow::Result<()> {
        let keys =
            std::iter::once(open.peer.public_key).chain(open.legs.iter().map(|l| l.public_key));
        let peers: Vec<PeerId> =
            (0..).map(|leg| peer_id(open, leg)).take(1 + open.legs.len()).collect();
        for ((&peer, public_key), leg) in peers.iter().zip(keys).zip(0..) {
            self.dataplane.set_peer(
                peer,
                PeerConfig {
                    public_key: public_key.0,
                    preshared_key: Some(Key::new(*open.peer.preshared_key.expose())),
                    inner_address: open.peer.inner_address,
                    endpoints: open.peer.endpoints_by(leg).collect(),
                    access: None,
                },
            )?;
        }
        let id = open.tunnel;
        let known = self.tunnels.contains_key(&id);
        let number = match self.tunnels.get(&id) {
            Some(held) => held.number,
            None => self.free_number()?,
        };
        let config = TunnelConfig {
            peer: peer_id(open, 0),
            encrypted: open.encryption == Encryption::Required,
            session: session(&open.local, &open.remote)?,
            tap: format!("{TAP_PREFIX}{number}"),
            mac: Some(self.tap_mac(number)),
            mtu: MTU,
            port: self.port(open),
            side: match open.side {
                Side::Home => homeward_dataplane::Side::Home,
                Side::Foreign => homeward_dataplane::Side::Foreign,
            },
            bond: bond(open)?,
        };
        let tap = self.dataplane.open(plane_id(id), config)?;
        if known {
            return Ok(());
        }
        let silent = silence_ipv6(&tap.name).context("the gateway would be heard in the tunnel");
        let joined = silent.and_then(|()| self.join(open, &tap.name));
        match joined {
            Ok(network) => {
                self.tunnels.insert(id, Held { peers, number, network });
                Ok(())
            }
            Err(error) => {
                self.dataplane.close(plane_id(id));
                Err(error)
            }
        }
    }

    /// Makes the interface of a tunnel a port of what the tunnel leads to here; the network,
    /// where that is a segment.
    fn join(&self, open: &OpenTunnel, tap: &str) -> anyhow::Result<Option<NetworkId>> {
        match open.side {
            Side::Home => match &self.lan {
                Some(lan) => lan.join(tap).map(|()| None),
                None => Err(anyhow::anyhow!("no home LAN here: set home.bridge")),
            },
            Side::Foreign => self
                .segments
                .join(open.network, User::Tunnel(open.tunnel), Some(tap))
                .map(|_| Some(open.network)),
        }
    }

    /// The rules of the port between a tunnel and what it joins here.
    fn port(&self, open: &OpenTunnel) -> homeward_port::Settings {
        let device = |mac| Device::new(mac).limited_to(open.terms.bandwidth);
        let lan = self.lan.as_ref().filter(|_| open.side == Side::Home);
        let protected = lan.map(|lan| lan.protected()).unwrap_or_default();
        homeward_port::Settings {
            side: match open.side {
                Side::Home => homeward_port::Side::Home,
                Side::Foreign => homeward_port::Side::Foreign,
            },
            devices: open.macs.iter().copied().map(device).collect(),
            protected: protected
                .into_iter()
                .map(|router| Neighbour { address: router.address, mac: Some(router.mac) })
                .collect(),
            addresses: AddressPolicy::default(),
            ..homeward_port::Settings::default()
        }
    }

    fn close(&mut self, tunnel: TunnelId) {
        let Some(held) = self.tunnels.remove(&tunnel) else { return };
        self.dataplane.close(plane_id(tunnel));
        if let Some(network) = held.network {
            self.segments.leave(network, User::Tunnel(tunnel));
        }
        for peer in held.peers {
            if !self.tunnels.values().any(|other| other.peers.contains(&peer)) {
                self.dataplane.remove_peer(peer);
            }
        }
    }

    /// Looks who is router of the LAN now, and reports it if that is news.
    fn look_at_lan(&mut self) {
        if let Some(routers) = self.lan.as_mut().and_then(Lan::look) {
            self.report(Report::Routers(routers));
        }
    }

    /// That of the interface with that number. The highest there are: a bridge that has been given
    /// none takes the lowest of its ports', and its own LAN would not find it until it has asked anew.
    fn tap_mac(&self, number: u16) -> Mac {
        let ([a, b, c], [d, e]) = (self.macs, number.to_be_bytes());
        Mac::new([0xfe, a, b, c, d, e])
    }

    fn free_number(&self) -> anyhow::Result<u16> {
        let taken = |n: &u16| self.tunnels.values().any(|held| held.number == *n);
        let free = (0..u16::MAX).find(|n| !taken(n));
        free.ok_or_else(|| anyhow::anyhow!("there are as many tunnels as there can be"))
    }

    fn report(&self, report: Report) {
        // Nobody listens any more: the gateway is ending.
        let _ = self.inputs.send(Input::Plane(report));
    }
}

/// How the data plane calls the other end by a path: by its number, and those of a device with
/// several accesses apart from all gateways.
const fn peer_id(open: &OpenTunnel, leg: i64) -> PeerId {
    PeerId(open.peer.gateway.0 | leg << 56)
}

/// The paths of a tunnel besides its own. Only a device has several, and how they are used is its to
/// say, as far as its class of service allows it.
fn bond(open: &OpenTunnel) -> anyhow::Result<Option<BondConfig>> {
    if open.legs.is_empty() {
        return Ok(None);
    }
    let legs = (1..).zip(&open.legs).map(|(number, leg)| {
        let session = session(&leg.local, &leg.remote)?;
        anyhow::Ok(LegConfig { peer: peer_id(open, number), session })
    });
    let legs = legs.collect::<Result<_, _>>()?;
    Ok(Some(BondConfig { follows: Some(open.terms.bonding), ..BondConfig::new(legs) }))
}

/// The session, in L2TP's words.
fn session(local: &Half, remote: &Half) -> anyhow::Result<SessionConfig> {
    let id = |half: &Half| SessionId::new(half.session.get()).context("session 0 is none");
    let cookie = |half: &Half| Cookie::eight(*half.cookie.expose());
    Ok(SessionConfig {
        local_session: id(local)?,
        remote_session: id(remote)?,
        local_cookie: cookie(local),
        remote_cookie: cookie(remote),
        sublayer: Sublayer::default(),
        // The data plane's to say: it depends on the encryption.
        encapsulation: Encapsulation::Udp,
    })
}

/// The same number, in the data plane's words.
fn plane_id(tunnel: TunnelId) -> homeward_dataplane::TunnelId {
    homeward_dataplane::TunnelId(tunnel.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_namespace, ip, setting};
    use homeward_control::{Peer, PresharedKey, PublicKey, Terms};
    use homeward_daemon::SystemClock;
    use homeward_linux::Links;
    use homeward_model::GatewayId;

    fn tunnel(id: u64, side: Side) -> OpenTunnel {
        let half = |n: u32| Half {
            session: homeward_control::SessionId::new(n).unwrap(),
            cookie: homeward_control::Cookie::new([7; 8]),
        };
        OpenTunnel {
            tunnel: TunnelId(id),
            network: NetworkId(3),
            side,
            peer: Peer {
                gateway: GatewayId(1),
                name: "elm".parse().unwrap(),
                public_key: PublicKey([9; 32]),
                preshared_key: PresharedKey::new([3; 32]),
                inner_address: "100.64.0.1".parse().unwrap(),
                endpoints: vec![],
            },
            encryption: Encryption::Required,
            local: half(10 + id as u32),
            remote: half(20 + id as u32),
            macs: vec![Mac::new([2, 0, 0x5e, 0, 0, 1])],
            terms: Terms::default(),
            routers: vec![],
            legs: vec![],
        }
    }

    #[test]
    fn a_tunnel_is_a_port_of_what_it_leads_to_and_the_gateway_is_silent_there() {
        let name =
            "plane::tests::a_tunnel_is_a_port_of_what_it_leads_to_and_the_gateway_is_silent_there";
        in_namespace(name, || {
            ip("link set lo up");
            ip("link add br-lan type bridge");
            ip("link add port address f2:ff:ff:ff:ff:ff type veth peer name port-x");
            ip("link set port master br-lan");
            ip("link set br-lan up");
            let address = || Links::open().unwrap().by_name("br-lan").unwrap().unwrap().mac;
            let before = address();
            let config = homeward_dataplane::Config {
                listen: vec!["127.0.0.1:0".parse().unwrap()],
                ..homeward_dataplane::Config::new(Key::new([1; 32]))
            };
            let dataplane =
                Dataplane::start(config, SystemClock, SystemEntropy::new(), |_| {}).unwrap();
            let (inputs, mut reports) = tokio::sync::mpsc::unbounded_channel();
            let segments = Arc::new(Segments::open().unwrap());
            let lan = Some(Lan::open("br-lan").unwrap());
            let mut plane = Plane::new(Arc::new(dataplane), segments, lan, inputs);
            plane.carry_out(Order::Address("100.64.0.7".parse().unwrap()));
            for (id, side, bridge) in [(1, Side::Foreign, "hwb3"), (2, Side::Home, "br-lan")] {
                plane.carry_out(Order::Open(Box::new(tunnel(id, side))));
                let opened =
                    std::iter::from_fn(|| reports.try_recv().ok()).find_map(|input| match input {
                        Input::Plane(Report::Opened(id, result)) => Some((id, result)),
                        _ => None,
                    });
                assert_eq!(opened, Some((TunnelId(id), Ok(()))));
                let tap = format!("hwt{}", id - 1);
                let found = Links::open().unwrap().bridge_of(&tap).unwrap().unwrap();
                assert_eq!(found.name, bridge);
                assert_eq!(setting(&format!("ipv6/conf/{tap}/disable_ipv6")), "1");
            }
            assert_eq!(setting("ipv6/conf/hwb3/disable_ipv6"), "1");
            assert_eq!(setting("ipv6/conf/br-lan/disable_ipv6"), "0", "the owner's own");
            assert_eq!(address(), before, "the LAN knows it by that");
            plane.carry_out(Order::Close(TunnelId(1)));
            assert_eq!(Links::open().unwrap().by_name("hwb3").unwrap(), None);
        });
    }
}
