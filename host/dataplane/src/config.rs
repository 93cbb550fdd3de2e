//! What a data plane is told: its sockets, its peers, its tunnels.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use homeward_l2tp::SessionConfig;
use homeward_model::{BondingModes, Mac};
use homeward_multipath::{Mode, PathId, PathSettings, ReorderSettings, Settings};
use homeward_port::Settings as PortSettings;
use serde::Serialize;

use crate::key::Key;

/// The registered port of L2TP (RFC 3931 4.1.2), where a data plane listens by default.
pub const PORT: u16 = 1701;

/// What a data plane is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens: one address, or one of each family. An IPv6 wildcard serves IPv4 too.
    pub listen: Vec<SocketAddr>,
    /// Its X25519 private key.
    pub private_key: Key,
    /// The DiffServ code point (0 to 63) of what it sends: by default 1, "lower effort"
    /// (RFC 8622), which yields to everything else.
    pub dscp: u8,
    /// The firewall mark of what it sends (`SO_MARK`), for policy routing.
    pub mark: Option<u32>,
    /// Octets of kernel memory for datagrams that have arrived and have not been read yet.
    pub receive_buffer: usize,
    /// Octets of kernel memory for datagrams that are on their way out.
    pub send_buffer: usize,
    /// After how long a silence a peer is sent something that keeps a NAT's mapping open. Never by
    /// default: an idle peer costs nothing. One of two ends is enough, the one behind the NAT.
    pub keepalive: Option<Duration>,
    /// For how long a frame waits for a peer that has not answered yet; with zero none does. A
    /// tunnel's newest 32 wait, of 32 KiB in all.
    pub hold: Duration,
    /// How servers are asked how the Internet sees the sockets, once some are named
    /// ([`set_stun`](crate::Dataplane::set_stun)).
    pub reflexive: ReflexiveConfig,
}

/// How servers are asked how the Internet sees the sockets (STUN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReflexiveConfig {
    /// How often, less up to a fifth by chance. 30 s unless set.
    pub interval: Duration,
    /// Whether also without a tunnel. They are asked once in any case.
    pub always: bool,
    /// After how long a silence a peer is sent something where the answers say that there is a NAT,
    /// unless [`keepalive`](field@Config::keepalive) says how long. 25 s unless set.
    pub keepalive: Option<Duration>,
}

impl Default for ReflexiveConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            always: false,
            keepalive: Some(Duration::from_secs(25)),
        }
    }
}

impl Config {
    /// The defaults, with this key.
    pub fn new(private_key: Key) -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT))],
            private_key,
            dscp: 1,
            mark: None,
            receive_buffer: 4 << 20,
            send_buffer: 2 << 20,
            keepalive: None,
            hold: Duration::from_secs(3),
            reflexive: ReflexiveConfig::default(),
        }
    }
}

/// A peer gateway: its number in the datastore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PeerId(pub i64);

/// A tunnel: the controller's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TunnelId(pub u64);

/// What is known of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its X25519 public key.
    pub public_key: [u8; 32],
    /// WireGuard's pre-shared key, if both have one.
    pub preshared_key: Option<Key>,
    /// Its address inside WireGuard.
    pub inner_address: Ipv4Addr,
    /// Where it may be reached by UDP, in the order in which to try. Empty if it is behind a NAT:
    /// then it has to send first.
    pub endpoints: Vec<SocketAddr>,
    /// By which of several accesses it is reached; the routing table's choice, and the data plane's
    /// own key, if `None`.
    pub access: Option<Access>,
}

/// One of several accesses of this machine, such as its Wi-Fi or its cellular one. Through several,
/// one machine can be several peers at once, each with a WireGuard session of its own: a session
/// does not survive that its packets overtake each other by far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The number of the interface that everything leaves by, whatever the routing table prefers.
    /// 0 while there is none: then nothing leaves.
    pub interface: u32,
    /// Our X25519 private key for this access; a key is for one access.
    pub private_key: Key,
}

/// Which end of a tunnel this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The tunnel ends on the home LAN: the stranger is at the far end.
    Home,
    /// The tunnel ends on a VAP: the stranger is on this side.
    Foreign,
}

/// A tunnel's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct TunnelConfig {
    /// The gateway at the other end.
    pub peer: PeerId,
    /// Inside WireGuard, or in the clear.
    pub encrypted: bool,
    /// The L2TPv3 session. Its encapsulation is set to what `encrypted` says.
    pub session: SessionConfig,
    /// The name of its TAP interface: 1 to 15 characters. Must not exist.
    pub tap: String,
    /// The TAP's MAC address; the kernel's choice if `None`.
    pub mac: Option<Mac>,
    /// The TAP's MTU: 1,500, whatever the path to the peer carries.
    pub mtu: u32,
    /// What strangers may send and receive. Its side is set to what `side` says.
    pub port: PortSettings,
    /// Which end this is.
    pub side: Side,
    /// What there is to it where the other end is reached by several paths.
    pub bond: Option<BondConfig>,
}

impl TunnelConfig {
    /// Its paths, its own first.
    pub(crate) fn legs(&self) -> impl Iterator<Item = LegConfig> + '_ {
        let own = LegConfig { peer: self.peer, session: self.session };
        std::iter::once(own).chain(self.bond.iter().flat_map(|bond| bond.legs.iter().copied()))
    }
}

/// One of several paths to the other end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegConfig {
    /// The other end, as it is known by this path.
    pub peer: PeerId,
    /// The L2TPv3 session of this path. All paths share one space of sequence numbers.
    pub session: SessionConfig,
}

/// A tunnel of several paths (R12). What is in it besides [`legs`](field@Self::legs) changes in
/// place.
#[derive(Debug, Clone, PartialEq)]
pub struct BondConfig {
    /// The paths besides the tunnel's own, which is path 0; at most three.
    pub legs: Vec<LegConfig>,
    /// What each path may be used for, in order; those that are not named, for everything.
    pub paths: Vec<PathSettings>,
    /// How packets are spread over them.
    pub mode: Mode,
    /// The path that [`Mode::Single`] prefers.
    pub preferred: PathId,
    /// Whether this end does as the other one does, as far as that is in here: then `mode` and
    /// `preferred` hold until the other end says otherwise.
    pub follows: Option<BondingModes>,
    /// Octets up to which a frame is urgent in [`Mode::Automatic`].
    pub small: usize,
    /// The times and limits of what is sent. Those of a tunnel that is open stay.
    pub settings: Settings,
    /// The times and limits of what is received. Those of a tunnel that is open stay.
    pub reorder: ReorderSettings,
}

impl BondConfig {
    /// Further paths, one of which is used at a time, with the defaults.
    pub fn new(legs: Vec<LegConfig>) -> Self {
        Self {
            legs,
            paths: Vec::new(),
            mode: Mode::default(),
            preferred: PathId::default(),
            follows: None,
            small: homeward_multipath::classify::SMALL,
            settings: Settings::default(),
            reorder: ReorderSettings::default(),
        }
    }
}

/// An interface that a tunnel has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TapInfo {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its MAC address.
    pub mac: Mac,
    /// The largest IP packet that fits into a frame, in octets.
    pub mtu: u32,
}
