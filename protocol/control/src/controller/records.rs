//! What the controller keeps of each thing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use homeward_model::{Encryption, GatewayId, Instant, Mac, Name, NetworkId, Rssi};

use super::bucket::Bucket;
use super::{ChannelId, NetworkFacts};
use crate::codec::limits;
use crate::endpoint::is_private;
use crate::{
    DeniedReason, Endpoint, EndpointKind, Half, HeldTunnel, Load, Neighbour, PresharedKey,
    PublicKey, Router, SessionId, Side, ToGateway, TunnelId, TunnelReport, TunnelState,
};

/// A device: a MAC within a network. Two networks may have devices with the same MAC, and what
/// one of them does is no business of the other.
pub(super) type DeviceKey = (NetworkId, Mac);

/// All keys of a network's devices.
fn keys_of(network: NetworkId) -> RangeInclusive<DeviceKey> {
    (network, Mac::new([0; 6]))..=(network, Mac::new([0xff; 6]))
}

/// A gateway that has a channel, or had one less than `keep` ago.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) name: Name,
    pub(super) channel: Option<Channel>,
    /// Since when it has had no channel, or has had this one.
    pub(super) since: Instant,
    /// `None` before its first Hello.
    pub(super) boot: Option<u64>,
    pub(super) software: String,
    pub(super) public_key: PublicKey,
    pub(super) home: bool,
    pub(super) prepared_max: usize,
    /// Whether log-ins at its access points ask through it.
    pub(super) carries_logins: bool,
    pub(super) observed: IpAddr,
    /// As it names them.
    pub(super) endpoints: Vec<Endpoint>,
    /// Its home network and its MAC address, if it is a hybrid device.
    pub(super) device_of: Option<(NetworkId, Mac)>,
    /// Its keys for legs beside the first, if it is a hybrid device.
    pub(super) path_keys: Vec<PublicKey>,
    /// How many such legs a tunnel to it may have.
    pub(super) legs_max: usize,
    pub(super) inner: Ipv4Addr,
    pub(super) bssids: Vec<Mac>,
    pub(super) wants: BTreeMap<NetworkId, Wanted>,
    /// Those that it says are connected to it.
    pub(super) devices: BTreeSet<DeviceKey>,
    pub(super) tunnels: BTreeSet<TunnelId>,
    /// Tunnels that it holds and that nobody else has told of yet.
    pub(super) halves: BTreeMap<TunnelId, Lone>,
    /// Whether their time was over while it could not be told.
    pub(super) overdue: bool,
    /// What it receives with, in tunnels and halves.
    pub(super) sessions: BTreeSet<SessionId>,
    /// Those that it is to hold prepared, with how likely each is to come.
    pub(super) prepared: BTreeMap<DeviceKey, f64>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) neighbours_at: Instant,
    pub(super) load: Option<(Load, Instant)>,
    pub(super) bucket: Bucket,
    /// When it was sent the map.
    pub(super) map_at: Option<Instant>,
}

/// A tunnel that one gateway holds, and what it said of it.
#[derive(Debug)]
pub(super) struct Lone {
    pub(super) half: HeldTunnel,
    pub(super) report: Option<TunnelReport>,
}

/// The sessions with which whoever holds a tunnel receives.
pub(super) fn sessions(held: &HeldTunnel) -> impl Iterator<Item = SessionId> {
    [&held.local].into_iter().chain(held.legs.iter().map(|leg| &leg.local)).map(|half| half.session)
}

impl Lone {
    /// The gateway at the foreign end, for one that `holder` holds.
    pub(super) fn foreign(&self, holder: GatewayId) -> GatewayId {
        match self.half.side {
            Side::Foreign => holder,
            Side::Home => self.half.peer,
        }
    }
}

/// A gateway's channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) version: u32,
    pub(super) heard: Instant,
    /// The last number it was asked with, since it was last heard.
    pub(super) pings: u32,
    /// Until Synced has been said: what is to follow it.
    pub(super) greeting: Option<Vec<ToGateway>>,
}

/// A network whose tunnel a gateway wants.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) macs: BTreeSet<Mac>,
    /// What it was told, if it was told something.
    pub(super) denied: Option<DeniedReason>,
}

/// Who wants to know where a gateway may be reached; nobody in particular unless said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asking {
    /// Where its channel comes from.
    pub(super) seen_at: Option<IpAddr>,
    pub(super) is_device: bool,
}

impl Gateway {
    /// Where somebody else may reach its data plane, in the order in which to try: what is seen of
    /// its channel first, for that is what its NAT, if there is one, shows of it; then what it says.
    /// What is seen of a hybrid device says nothing of either access: its channel goes by whichever
    /// there is. Addresses of its own LAN are said only to `whom` they mean something: to those behind the same
    /// NAT first, and to hybrid devices, whose Wi-Fi may be there, last.
    pub(super) fn reachable(&self, whom: Asking) -> Vec<Endpoint> {
        let first = self.endpoints.first().filter(|_| self.device_of.is_none());
        let seen = first.map(|first| {
            let address = SocketAddr::new(self.observed, first.address.port());
            Endpoint::new(address, EndpointKind::Observed)
        });
        let together = whom.seen_at == Some(self.observed);
        let (mut nearby, mut all, mut last) = (Vec::new(), Vec::<Endpoint>::new(), Vec::new());
        for mut endpoint in seen.into_iter().chain(self.endpoints.iter().copied()) {
            let ip = endpoint.address.ip().to_canonical();
            endpoint.address.set_ip(ip);
            if !usable(ip) {
                continue;
            }
            let said = [&mut nearby, &mut all, &mut last].into_iter().flatten();
            let same =
                |said: &Endpoint| (said.address, said.leg) == (endpoint.address, endpoint.leg);
            if let Some(said) = said.into_iter().find(|said| same(said)) {
                // What it says itself says more.
                if endpoint.kind != EndpointKind::Unsaid && said.kind == EndpointKind::Observed {
                    said.kind = endpoint.kind;
                }
                continue;
            }
            match self.is_of_its_lan(&endpoint) {
                false => all.push(endpoint),
                true if together => nearby.push(endpoint),
                true if whom.is_device => last.push(endpoint),
                true => {}
            }
        }
        nearby.extend(all);
        nearby.extend(last);
        nearby.truncate(limits::PEER_ENDPOINTS);
        nearby
    }

    /// Whether an endpoint means nothing to those who are elsewhere: it is of a private network, and
    /// what is seen of the gateway is not, or there is a NAT in between.
    fn is_of_its_lan(&self, endpoint: &Endpoint) -> bool {
        let mut same = self.endpoints.iter().filter(|e| e.leg == endpoint.leg);
        let translated = same.any(|e| e.kind == EndpointKind::Reflexive);
        let elsewhere = translated || !(is_private(self.observed) || self.observed.is_loopback());
        endpoint.kind == EndpointKind::Host && is_private(endpoint.address.ip()) && elsewhere
    }

    pub(super) fn is_connected(&self) -> bool {
        self.channel.is_some()
    }

    /// The devices of a network that it says are connected to it.
    pub(super) fn devices_of(&self, network: NetworkId) -> impl Iterator<Item = Mac> {
        self.devices.range(keys_of(network)).map(|(_, mac)| *mac)
    }

    /// The devices of a network that it is to hold prepared.
    pub(super) fn prepared_of(&self, network: NetworkId) -> impl Iterator<Item = Mac> {
        self.prepared.range(keys_of(network)).map(|((_, mac), _)| *mac)
    }

    /// The least likely of the devices that it holds prepared.
    pub(super) fn weakest(&self) -> Option<(DeviceKey, f64)> {
        let weakest = self.prepared.iter().min_by(|a, b| a.1.total_cmp(b.1))?;
        Some((*weakest.0, *weakest.1))
    }
}

/// Whether another machine can send there: a link-local address means nothing elsewhere.
fn usable(address: IpAddr) -> bool {
    let elsewhere = match address {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(elsewhere || address.is_unspecified() || address.is_multicast())
}

/// A network that some gateway wants, holds a tunnel of, or has a device of.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) facts: Facts,
    /// When the store was asked for what `facts` are: later changes are not in them.
    pub(super) as_of: Instant,
    /// When the store was asked, if it has not answered.
    pub(super) asked: Option<Instant>,
    /// Whether to ask again then: something has changed in between.
    pub(super) ask_again: bool,
    pub(super) wanters: BTreeSet<GatewayId>,
    /// By foreign gateway.
    pub(super) tunnels: BTreeMap<GatewayId, TunnelId>,
    /// By who holds them.
    pub(super) halves: BTreeSet<(GatewayId, TunnelId)>,
    /// Devices that are connected or prepared somewhere.
    pub(super) devices: BTreeSet<Mac>,
}

/// What is known of a network.
#[derive(Debug)]
pub(super) enum Facts {
    /// The store has not answered yet.
    Pending,
    /// There is no such network.
    Missing,
    Known(NetworkFacts),
}

impl Network {
    pub(super) fn unknown(now: Instant) -> Self {
        Self {
            facts: Facts::Pending,
            as_of: now,
            asked: None,
            ask_again: false,
            wanters: BTreeSet::new(),
            tunnels: BTreeMap::new(),
            halves: BTreeSet::new(),
            devices: BTreeSet::new(),
        }
    }

    pub(super) fn known(&self) -> Option<&NetworkFacts> {
        match &self.facts {
            Facts::Known(facts) => Some(facts),
            Facts::Pending | Facts::Missing => None,
        }
    }

    /// Whether the store says that this device may be served. Not while it has said nothing.
    pub(super) fn entitles(&self, mac: Mac) -> bool {
        self.known().is_some_and(|facts| facts.active && facts.devices.contains(&mac))
    }

    pub(super) fn is_unused(&self) -> bool {
        self.wanters.is_empty()
            && self.tunnels.is_empty()
            && self.halves.is_empty()
            && self.devices.is_empty()
    }
}

/// A tunnel between two gateways, for one network.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) network: NetworkId,
    pub(super) encryption: Encryption,
    pub(super) home: End,
    pub(super) foreign: End,
    /// As the home side told them.
    pub(super) routers: Vec<Router>,
    pub(super) since: Instant,
}

/// One end of a tunnel.
#[derive(Debug)]
pub(super) struct End {
    pub(super) gateway: GatewayId,
    /// What it receives with.
    pub(super) half: Half,
    /// The same of each further leg.
    pub(super) legs: Vec<Half>,
    /// The digest of what it was last told, over the channel it has.
    pub(super) told: Option<u64>,
    pub(super) state: Option<TunnelState>,
    pub(super) reason: String,
    pub(super) path_mtu: Option<u16>,
}

impl End {
    pub(super) fn new(gateway: GatewayId, half: Half, legs: Vec<Half>) -> Self {
        let reason = String::new();
        Self { gateway, half, legs, told: None, state: None, reason, path_mtu: None }
    }

    /// All that it receives with.
    pub(super) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        [&self.half].into_iter().chain(&self.legs).map(|half| half.session)
    }
}

impl Tunnel {
    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Home => &self.home,
            Side::Foreign => &self.foreign,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Home => &mut self.home,
            Side::Foreign => &mut self.foreign,
        }
    }

    /// Which side the gateway is; `None`: neither.
    pub(super) fn side_of(&self, gateway: GatewayId) -> Option<Side> {
        [Side::Home, Side::Foreign].into_iter().find(|side| self.end(*side).gateway == gateway)
    }
}

/// The key of two gateways, and how many tunnels are between them.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: PresharedKey,
    pub(super) tunnels: usize,
}

/// Two gateways, in an order of their own.
pub(super) fn pair(a: GatewayId, b: GatewayId) -> (GatewayId, GatewayId) {
    (a.min(b), a.max(b))
}

/// A device that is connected or prepared somewhere, or that was.
#[derive(Debug, Default)]
pub(super) struct Device {
    /// The gateways that say it is connected there. More than one while it moves.
    pub(super) claims: BTreeMap<GatewayId, Claim>,
    /// The latest of them, if the device is entitled.
    pub(super) location: Option<GatewayId>,
    /// Where it was last, until when, while it is nowhere.
    pub(super) left: Option<(GatewayId, Instant)>,
    /// Its last moves, oldest first.
    pub(super) moves: VecDeque<Move>,
    /// Where it is to be held prepared.
    pub(super) prepared: BTreeMap<GatewayId, Preparation>,
    /// Whether it has been where it is for long.
    pub(super) settled: bool,
    /// Its place among those that may be forgotten: the least goes first.
    pub(super) stamp: u64,
}

/// What a gateway says of a device that is connected to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    /// Since when it is connected.
    pub(super) at: Instant,
    /// When the gateway said so.
    pub(super) told: Instant,
    /// The number of the update that said so.
    pub(super) sequence: u64,
    pub(super) signal: Option<Rssi>,
    pub(super) at_home: bool,
    /// Whether the gateway was told to let it go.
    pub(super) evicted: bool,
}

/// A move of a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) from: GatewayId,
    pub(super) to: GatewayId,
    pub(super) at: Instant,
}

/// How the preparation of a device at a gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preparation {
    Asked,
    Ready,
    /// The gateway could not. It is not asked again before the device moves.
    Failed,
}
