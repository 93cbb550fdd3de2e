//! The messages of the channel, typed. The schema in `proto/` says what each is for; here are the
//! words of the rest of the code.
//!
//! Numbers, keys and addresses in these types are valid by construction or by the codec: a
//! message that was decoded keeps all of [`limits`](crate::codec::limits). Texts for people are
//! clipped to [`limits::TEXT`](crate::codec::limits::TEXT) when they are written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use homeward_model::{
    Bandwidth, BondingModes, Encryption, GatewayId, Mac, Nai, Name, NetworkId, Priority, Rssi,
    Ssid, UnixTime,
};
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::word::{Cookie, PresharedKey, PublicKey, SessionId, Side, TunnelId};

/// The versions of the protocol that this crate speaks.
pub const VERSIONS: RangeInclusive<u32> = 1..=1;

/// The highest version that both speak; `None` where there is none.
pub fn common_version(theirs: &RangeInclusive<u32>) -> Option<u32> {
    let highest = *theirs.end().min(VERSIONS.end());
    (highest >= *theirs.start().max(VERSIONS.start())).then_some(highest)
}

// ---- what a gateway says

/// A message from a gateway to the controller.
#[derive(Debug, Clone, PartialEq)]
pub enum FromGateway {
    /// The first message of a channel, and only that.
    Hello(Hello),
    /// How busy it is.
    Load(Load),
    /// All beacons that its radio hears.
    Neighbours(Vec<Neighbour>),
    /// A device connected, went, or changed.
    Device(DeviceUpdate),
    /// It wants a network's tunnel.
    Want(Want),
    /// It no longer does.
    Unwant(NetworkId),
    /// How a tunnel is.
    Tunnel(TunnelReport),
    /// What became of a [`Prepare`].
    Prepared(Prepared),
    /// Where its data plane may be reached, all of it.
    Endpoints(Vec<Endpoint>),
    /// The answer to a [`ToGateway::Ping`].
    Pong(u64),
    /// Stations that are there and that log-ins let in.
    Logins(Vec<HeldLogin>),
    /// A hybrid device wants the map of the operator's gateways.
    WantMap(WantMap),
}

/// All that a gateway holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// The versions that it speaks.
    pub versions: RangeInclusive<u32>,
    /// Random, new with each start of the process.
    pub boot: u64,
    /// Name and version of the software, for people.
    pub software: String,
    /// Its WireGuard public key.
    pub public_key: PublicKey,
    /// Where its data plane may be reached. An unspecified address says a port and nothing else.
    pub endpoints: Vec<Endpoint>,
    /// Whether it has a LAN where tunnels of its own homes can end.
    pub home: bool,
    /// How many devices it will hold prepared.
    pub prepared_max: u32,
    /// The BSSIDs of its access points.
    pub bssids: Vec<Mac>,
    /// The tunnels that it has.
    pub tunnels: Vec<HeldTunnel>,
    /// The devices that are connected to it.
    pub devices: Vec<DeviceUpdate>,
    /// The networks whose tunnels it wants.
    pub wants: Vec<Want>,
    /// The devices that it holds prepared.
    pub prepared: Vec<Prepare>,
    /// The address it has inside tunnels, if it was told one.
    pub inner_address: Option<Ipv4Addr>,
    /// Whether log-ins at its access points ask the core through it.
    pub carries_logins: bool,
    /// Of a hybrid device, its further WireGuard public keys: one for each access but the first,
    /// whose key is `public_key`. No two alike, and at most
    /// [`limits::LEGS`](crate::codec::limits::LEGS).
    pub path_keys: Vec<PublicKey>,
    /// How many further legs each of its tunnels may have; 0 from one that knows of none.
    pub legs_max: u32,
}

/// A tunnel as one side has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldTunnel {
    /// Its number.
    pub tunnel: TunnelId,
    /// Whose it is.
    pub network: NetworkId,
    /// Which end of it this is.
    pub side: Side,
    /// Who is at the other end.
    pub peer: GatewayId,
    /// What this side receives with.
    pub local: Half,
    /// What this side sends with.
    pub remote: Half,
    /// Whether it is inside WireGuard.
    pub encryption: Encryption,
    /// The pair's key, as it was told.
    pub preshared_key: PresharedKey,
    /// Its further legs.
    pub legs: Vec<Leg>,
}

/// A further leg of a tunnel to a hybrid device, which has several accesses: a session of its own,
/// inside a WireGuard session of its own. All legs of a tunnel, the first included, share one space
/// of sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// The other end's key for this leg: at the home's end the device's for that access, at the
    /// device's end the home gateway's own, which is the same for all.
    pub public_key: PublicKey,
    /// What this side receives with.
    pub local: Half,
    /// What this side sends with.
    pub remote: Half,
}

/// One direction of a tunnel: what its receiver accepts (RFC 3931 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Half {
    /// The session.
    pub session: SessionId,
    /// The cookie.
    pub cookie: Cookie,
}

/// How busy a gateway is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Load {
    /// Connected roamers.
    pub devices: u32,
    /// VAPs on the air.
    pub vaps: u32,
    /// The most it will have.
    pub vaps_max: u32,
    /// Tunnels.
    pub tunnels: u32,
    /// Octets received from tunnels since the process started.
    pub octets_in: u64,
    /// Octets sent into tunnels since the process started.
    pub octets_out: u64,
}

/// A beacon that a gateway's radio hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Whose.
    pub bssid: Mac,
    /// How well.
    pub signal: Rssi,
}

/// A device connected, went, or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceUpdate {
    /// Which device.
    pub mac: Mac,
    /// Of which network.
    pub network: NetworkId,
    /// Whether it is connected.
    pub connected: bool,
    /// Its signal, where known. On the wire 0 dBm is "not known".
    pub signal: Option<Rssi>,
    /// Whether it is connected to its own home's access point here.
    pub at_home: bool,
    /// Counts the updates of this gateway from 1; [`Link`](crate::Link) does. 0 is none.
    pub sequence: u64,
    /// How long ago it connected or went, to the millisecond; [`Link`](crate::Link) knows.
    pub age: Duration,
}

/// A gateway wants a network's tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Which.
    pub network: NetworkId,
    /// The devices of the network that it serves or prepares for.
    pub macs: Vec<Mac>,
}

/// How a tunnel is, at one end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelReport {
    /// Which.
    pub tunnel: TunnelId,
    /// How it is.
    pub state: TunnelState,
    /// For people, where the state is not good.
    pub reason: String,
    /// From the home side: the routers of its LAN.
    pub routers: Vec<Router>,
    /// The largest datagram that reaches the other side, IP header included, where known.
    pub path_mtu: Option<u16>,
}

/// The state of one end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelState {
    /// Set up here; the other side has not answered yet.
    Ready,
    /// The other side answers.
    Up,
    /// The other side does not answer on any endpoint.
    Unreachable,
    /// It could not be set up here.
    Failed,
}

/// A router of a home LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Router {
    /// Its IP address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: Mac,
}

/// What became of a [`Prepare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Which device.
    pub mac: Mac,
    /// Of which network.
    pub network: NetworkId,
    /// Whether record, VAP and tunnel are held.
    pub ready: bool,
    /// For people, where they are not.
    pub reason: String,
}

/// A station that is there, and the log-in that let it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLogin {
    /// Which station.
    pub mac: Mac,
    /// The log-in's name, as the Access-Accept had it.
    pub name: Nai,
}

/// What a hybrid device wants of the map of the operator's gateways.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WantMap {
    /// The parts that it wants; none is all of it.
    pub regions: Vec<MapRegion>,
    /// When the map was issued that it has.
    pub issued: Option<UnixTime>,
}

/// A tile of Web Mercator's grid, by the number that its quadkey is in base 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRegion {
    /// At most 15.
    pub zoom: u8,
    /// Less than 4 to the power of `zoom`.
    pub number: u32,
}

// ---- what the controller says

/// A message from the controller to a gateway.
#[derive(Debug, Clone, PartialEq)]
pub enum ToGateway {
    /// The answer to [`Hello`].
    Welcome(Welcome),
    /// The controller ends the channel.
    Goodbye(Goodbye),
    /// All tunnels that the gateway is to have.
    Synced(Vec<TunnelId>),
    /// Sets up a tunnel, or changes it.
    Open(OpenTunnel),
    /// Takes a tunnel down.
    Close(CloseTunnel),
    /// There is no tunnel for a network that was wanted.
    Denied(Denied),
    /// To the home side: a device is at the far end of a tunnel now.
    Arrived(Arrived),
    /// To hold record, VAP and tunnel for a device that may come.
    Prepare(Prepare),
    /// To do so no longer.
    Withdraw(Withdraw),
    /// The device has connected elsewhere.
    Evict(Evict),
    /// A device or a network is no longer entitled.
    Revoke(Revoke),
    /// A log-in has ended: the station that it let in is to be put out.
    PutOut(Mac),
    /// The answer to [`FromGateway::WantMap`].
    Map(CoverageMap),
    /// To be answered with [`FromGateway::Pong`].
    Ping(u64),
}

/// The map of the operator's gateways, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoverageMap {
    /// In its own form; none: there is none, or none that is newer.
    pub octets: Vec<u8>,
    /// For people: why there is none.
    pub problem: String,
}

/// The controller took a gateway in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version that is spoken from here on.
    pub version: u32,
    /// The gateway's number in the datastore.
    pub gateway: GatewayId,
    /// Its name in the datastore.
    pub name: Name,
    /// The address of its data plane inside tunnels.
    pub inner_address: Ipv4Addr,
    /// Where its channel comes from, as the controller sees it.
    pub observed_address: IpAddr,
    /// How often it is to report its load and neighbours. To the millisecond.
    pub report_interval: Duration,
    /// How often the controller says something at least. To the millisecond; zero from one that
    /// makes no promise.
    pub ping_interval: Duration,
    /// Where a data plane is told how the Internet sees it (STUN, by UDP). An unspecified address
    /// says a port at the address that the channel leads to.
    pub stun: Vec<SocketAddr>,
}

/// Why the controller ends a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// For machines.
    pub reason: GoodbyeReason,
    /// For people.
    pub message: String,
}

/// Why the controller ends a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GoodbyeReason {
    /// No version in common.
    Version,
    /// The gateway is suspended or its credential was revoked.
    Revoked,
    /// The same gateway opened another channel.
    Replaced,
    /// The controller stops or is full; come back later.
    Unavailable,
    /// What the gateway said cannot be understood.
    Protocol,
    /// A reason this version does not know.
    Other,
}

/// A tunnel, for one of its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTunnel {
    /// Its number.
    pub tunnel: TunnelId,
    /// Whose it is.
    pub network: NetworkId,
    /// Which end this is.
    pub side: Side,
    /// Who is at the other end.
    pub peer: Peer,
    /// Whether it is inside WireGuard.
    pub encryption: Encryption,
    /// What this side receives with.
    pub local: Half,
    /// What this side sends with.
    pub remote: Half,
    /// The devices that may send through it, in ascending order.
    pub macs: Vec<Mac>,
    /// What each device may use.
    pub terms: Terms,
    /// For the foreign side: the routers of the home LAN, once the home side has told them.
    pub routers: Vec<Router>,
    /// The further legs, in the order of the hybrid device's `path_keys`; the first is `peer`'s key
    /// with `local` and `remote`. None of any other tunnel.
    pub legs: Vec<Leg>,
}

impl OpenTunnel {
    /// The tunnel as it is told in the next [`Hello`].
    pub fn held(&self) -> HeldTunnel {
        HeldTunnel {
            tunnel: self.tunnel,
            network: self.network,
            side: self.side,
            peer: self.peer.gateway,
            local: self.local.clone(),
            remote: self.remote.clone(),
            encryption: self.encryption,
            preshared_key: self.peer.preshared_key.clone(),
            legs: self.legs.clone(),
        }
    }
}

/// The gateway at the other end of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number in the datastore.
    pub gateway: GatewayId,
    /// Its name in the datastore.
    pub name: Name,
    /// Its WireGuard public key.
    pub public_key: PublicKey,
    /// The key that the two share besides (WireGuard's pre-shared key): one for the pair.
    pub preshared_key: PresharedKey,
    /// Its address inside the tunnel.
    pub inner_address: Ipv4Addr,
    /// Where to reach it, in the order in which to try.
    pub endpoints: Vec<Endpoint>,
}

impl Peer {
    /// Where it may be reached by that leg of a tunnel.
    pub fn endpoints_by(&self, leg: u8) -> impl Iterator<Item = SocketAddr> {
        self.endpoints.iter().filter(move |known| known.leg == leg).map(|known| known.address)
    }
}

/// What each device of a tunnel may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// Which roamers go first.
    pub priority: Priority,
    /// The most that each device may send and receive. A rate of 0 is written as 1 bit/s: on the
    /// wire 0 is unlimited.
    pub bandwidth: Bandwidth,
    /// Which combinations of two legs are allowed.
    pub bonding: BondingModes,
    /// The signal below which a device is to be handed on; `None` leaves it to the gateway.
    pub handoff_threshold: Option<Rssi>,
}

/// Takes a tunnel down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseTunnel {
    /// Which.
    pub tunnel: TunnelId,
    /// Why, for people.
    pub reason: String,
}

/// There is no tunnel for a network that was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Which network.
    pub network: NetworkId,
    /// Why, for machines.
    pub reason: DeniedReason,
    /// Why, for people.
    pub message: String,
    /// When to ask again, to the millisecond; `None`: the controller says when it changes.
    pub retry_after: Option<Duration>,
}

/// Why there is no tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeniedReason {
    /// There is no such network.
    UnknownNetwork,
    /// The network has no home gateway.
    NoHomeGateway,
    /// The home gateway has no channel; the tunnel comes by itself once it has.
    HomeGatewayAway,
    /// The network is suspended.
    Suspended,
    /// One of the two gateways, or the controller, has as many tunnels as it may have.
    Limit,
    /// The home gateway has no LAN for it to end on.
    NoHomeLan,
    /// The gateway that asks is the network's home.
    AtHome,
    /// The class of service has the traffic leave at the foreign gateway.
    LocalBreakout,
    /// Who asks is a hybrid device of another network.
    NotYours,
    /// A reason this version does not know.
    Other,
}

/// To the home side: a device is at the far end of a tunnel now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Which tunnel.
    pub tunnel: TunnelId,
    /// Which device.
    pub mac: Mac,
}

/// To hold record, VAP and tunnel for a device that may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepare {
    /// Which device.
    pub mac: Mac,
    /// The SSID it will ask for.
    pub ssid: Ssid,
    /// Its network.
    pub network: NetworkId,
}

/// To hold nothing for a device any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Withdraw {
    /// Which device.
    pub mac: Mac,
    /// Of which network.
    pub network: NetworkId,
}

/// A device has connected elsewhere: drop its association, without a word on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evict {
    /// Which device.
    pub mac: Mac,
    /// Of which network.
    pub network: NetworkId,
    /// The last update of the device from this gateway that the controller knows; 0: none.
    pub sequence: u64,
}

/// A device, or all of a network, is no longer entitled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoke {
    /// Which network.
    pub network: NetworkId,
    /// Which device; `None`: all of the network.
    pub mac: Option<Mac>,
}

impl FromGateway {
    /// What kind of message it is, for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Load(_) => "load",
            Self::Neighbours(_) => "neighbours",
            Self::Device(_) => "device",
            Self::Want(_) => "want",
            Self::Unwant(_) => "unwant",
            Self::Tunnel(_) => "tunnel",
            Self::Prepared(_) => "prepared",
            Self::Endpoints(_) => "endpoints",
            Self::Pong(_) => "pong",
            Self::Logins(_) => "logins",
            Self::WantMap(_) => "want-map",
        }
    }
}

impl ToGateway {
    /// What kind of message it is, for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Goodbye(_) => "goodbye",
            Self::Synced(_) => "synced",
            Self::Open(_) => "open",
            Self::Close(_) => "close",
            Self::Denied(_) => "denied",
            Self::Arrived(_) => "arrived",
            Self::Prepare(_) => "prepare",
            Self::Withdraw(_) => "withdraw",
            Self::Evict(_) => "evict",
            Self::Revoke(_) => "revoke",
            Self::PutOut(_) => "put-out",
            Self::Map(_) => "map",
            Self::Ping(_) => "ping",
        }
    }
}
