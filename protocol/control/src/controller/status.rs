//! What an operator sees. MAC addresses are spelled in full: this goes to the operator's eyes,
//! not into logs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_model::{Encryption, GatewayId, Instant, Mac, Name, NetworkId, Rssi};
use serde::{Deserialize, Serialize};

use super::records::{Asking, Device, DeviceKey, End, Gateway, Preparation, Tunnel};
use super::{ChannelId, Controller};
use crate::{DeniedReason, Load, TunnelId, TunnelState};

/// The whole operator at one moment. Times are in milliseconds, ages and what is left alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The gateways that have a channel, or had one not long ago, by number.
    pub gateways: Vec<GatewayStatus>,
    /// The tunnels, by number.
    pub tunnels: Vec<TunnelStatus>,
    /// The devices that are somewhere or held prepared, by network and MAC.
    pub devices: Vec<DeviceStatus>,
    /// How many of what there is.
    pub totals: Totals,
    /// What was counted since the start.
    pub counters: Counters,
}

/// How many of what there is; all of it is bounded by the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Gateways with a channel.
    pub connected: usize,
    /// Gateways.
    pub gateways: usize,
    /// Networks whose facts are in memory.
    pub networks: usize,
    /// Tunnels.
    pub tunnels: usize,
    /// Halves of tunnels that wait for their other half.
    pub halves: usize,
    /// Devices in memory.
    pub devices: usize,
    /// Preparations.
    pub prepared: usize,
    /// Gateways from which moves are remembered.
    pub graph_nodes: usize,
    /// Pairs of gateways between which moves are remembered.
    pub graph_edges: usize,
    /// Deadlines.
    pub timers: usize,
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Its number in the datastore.
    pub gateway: GatewayId,
    /// Its name in the datastore.
    pub name: Name,
    /// Its channel; `None` while it has none.
    pub channel: Option<ChannelId>,
    /// For how long it has had this channel, or none.
    pub since_ms: u64,
    /// How long ago it was heard, while it has a channel.
    pub heard_ms: Option<u64>,
    /// The protocol's version, while it has a channel.
    pub version: Option<u32>,
    /// Its software.
    pub software: String,
    /// Where its channel comes from.
    pub observed_address: IpAddr,
    /// Where others are told to reach its data plane, in that order.
    pub endpoints: Vec<SocketAddr>,
    /// The address of its data plane inside tunnels.
    pub inner_address: Ipv4Addr,
    /// Whether it has a LAN where tunnels can end.
    pub home: bool,
    /// The home network of a hybrid device.
    #[serde(default)]
    pub device_of: Option<NetworkId>,
    /// How many tunnels it has.
    pub tunnels: usize,
    /// How many devices are connected to it.
    pub devices: usize,
    /// How many devices it holds prepared.
    pub prepared: usize,
    /// How many networks it wants.
    pub wants: usize,
    /// The networks it wants in vain, and why.
    pub denied: Vec<(NetworkId, DeniedReason)>,
    /// How busy it says it is.
    pub load: Option<Load>,
    /// How long ago it said so.
    pub load_ms: Option<u64>,
    /// The gateways whose beacons it hears.
    pub hears: Vec<(GatewayId, Rssi)>,
}

/// One tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Its number.
    pub tunnel: TunnelId,
    /// Whose it is.
    pub network: NetworkId,
    /// Whether it is inside WireGuard.
    pub encryption: Encryption,
    /// The home side.
    pub home: EndStatus,
    /// The foreign side.
    pub foreign: EndStatus,
    /// How many legs it has beside the first.
    #[serde(default)]
    pub further_legs: usize,
    /// How long this process has known it.
    pub since_ms: u64,
}

/// One end of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndStatus {
    /// Which gateway.
    pub gateway: GatewayId,
    /// How it says it is.
    pub state: Option<TunnelState>,
    /// Why that is not good.
    pub reason: Option<String>,
    /// The largest datagram that reaches the other side.
    pub path_mtu: Option<u16>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceStatus {
    /// Which.
    pub mac: Mac,
    /// Of which network.
    pub network: NetworkId,
    /// Where it is.
    pub gateway: Option<GatewayId>,
    /// For how long.
    pub connected_ms: Option<u64>,
    /// Its signal there.
    pub signal: Option<Rssi>,
    /// Whether that is its own home's access point.
    pub at_home: bool,
    /// Whether it has been there for long.
    pub settled: bool,
    /// Where it is prepared, and whether it is ready there.
    pub prepared: Vec<(GatewayId, bool)>,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Messages that gateways sent, Hellos included.
    pub messages: u64,
    /// Gateways that were turned away at their Hello.
    pub turned_away: u64,
    /// Tunnels set up.
    pub opened: u64,
    /// Tunnels taken over after a restart.
    pub adopted: u64,
    /// Tunnels taken down.
    pub closed: u64,
    /// Wishes that were not granted.
    pub denied: u64,
    /// Moves of devices from gateway to gateway.
    pub moves: u64,
    /// Gateways told to let a device go.
    pub evicted: u64,
    /// Preparations asked for.
    pub prepared: u64,
    /// Devices that came where they were prepared.
    pub came_prepared: u64,
    /// Revocations told to gateways.
    pub revoked: u64,
    /// Stations that gateways were told to put out because their log-in had ended.
    pub put_out: u64,
}

impl Controller {
    /// All of it, at `now`.
    pub fn status(&self, now: Instant) -> Status {
        let gateways = self.gateways.iter().filter(|(_, g)| g.boot.is_some());
        let held = self.devices.iter().filter(|(_, d)| {
            !d.claims.is_empty() || d.prepared.values().any(|p| *p != Preparation::Failed)
        });
        Status {
            gateways: gateways.map(|(id, g)| self.gateway_status(*id, g, now)).collect(),
            tunnels: self.tunnels.iter().map(|(id, t)| tunnel_status(*id, t, now)).collect(),
            devices: held.map(|(key, d)| device_status(*key, d, now)).collect(),
            totals: self.totals(),
            counters: self.counters,
        }
    }

    /// How many of what there is, and what was counted: what metrics need, at little cost.
    pub fn totals(&self) -> Totals {
        let (graph_nodes, graph_edges) = self.graph.size();
        let sum = |of: fn(&Gateway) -> usize| self.gateways.values().map(of).sum();
        Totals {
            connected: self.channels.len(),
            gateways: self.gateways.len(),
            networks: self.networks.len(),
            tunnels: self.tunnels.len(),
            halves: sum(|g| g.halves.len()),
            devices: self.devices.len(),
            prepared: sum(|g| g.prepared.len()),
            graph_nodes,
            graph_edges,
            timers: self.timers.len(),
        }
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn gateway_status(&self, id: GatewayId, record: &Gateway, now: Instant) -> GatewayStatus {
        let channel = record.channel.as_ref();
        let denied = record.wants.iter().filter_map(|(n, wanted)| Some((*n, wanted.denied?)));
        let hears = record.neighbours.iter().filter_map(|n| {
            let owner = self.bssids.get(&n.bssid)?;
            Some((*owner, n.signal))
        });
        let endpoints = record.reachable(Asking::default());
        GatewayStatus {
            gateway: id,
            name: record.name.clone(),
            channel: channel.map(|c| c.id),
            since_ms: milliseconds(now.since(record.since)),
            heard_ms: channel.map(|c| milliseconds(now.since(c.heard))),
            version: channel.map(|c| c.version),
            software: record.software.clone(),
            observed_address: record.observed,
            endpoints: endpoints.iter().map(|endpoint| endpoint.address).collect(),
            inner_address: record.inner,
            home: record.home,
            device_of: record.device_of.map(|(network, _)| network),
            tunnels: record.tunnels.len(),
            devices: record.devices.len(),
            prepared: record.prepared.len(),
            wants: record.wants.len(),
            denied: denied.collect(),
            load: record.load.map(|(load, _)| load),
            load_ms: record.load.map(|(_, at)| milliseconds(now.since(at))),
            hears: hears.collect(),
        }
    }
}

fn tunnel_status(tunnel: TunnelId, record: &Tunnel, now: Instant) -> TunnelStatus {
    TunnelStatus {
        tunnel,
        network: record.network,
        encryption: record.encryption,
        home: end_status(&record.home),
        foreign: end_status(&record.foreign),
        further_legs: record.home.legs.len(),
        since_ms: milliseconds(now.since(record.since)),
    }
}

fn end_status(end: &End) -> EndStatus {
    EndStatus {
        gateway: end.gateway,
        state: end.state,
        reason: (!end.reason.is_empty()).then(|| end.reason.clone()),
        path_mtu: end.path_mtu,
    }
}

fn device_status((network, mac): DeviceKey, record: &Device, now: Instant) -> DeviceStatus {
    let claim = record.location.and_then(|gateway| record.claims.get(&gateway));
    let prepared = record.prepared.iter().filter(|(_, state)| **state != Preparation::Failed);
    DeviceStatus {
        mac,
        network,
        gateway: record.location,
        connected_ms: claim.map(|c| milliseconds(now.since(c.at))),
        signal: claim.and_then(|c| c.signal),
        at_home: claim.is_some_and(|c| c.at_home),
        settled: record.settled,
        prepared: prepared.map(|(id, state)| (*id, *state == Preparation::Ready)).collect(),
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
