//! What goes into the machine and comes out of it.

use std::net::{Ipv4Addr, SocketAddr};

use homeward_control::link::{self, Action};
use homeward_control::{FromGateway, OpenTunnel, TunnelId, TunnelState};
use homeward_coverage::{Advice, Fix, Heard};
use homeward_model::{BondingModes, Mac, Rssi};
use homeward_multipath::{Mode, PathId, PathSettings};
use serde::Serialize;

use crate::config::{Bond, Hold};
use crate::home::coverage::Foreseen;

/// The device's accesses, in the order of the tunnel's legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// The station.
    Wifi,
    /// The bearer.
    Cellular,
}

impl Access {
    pub(crate) const ALL: [Self; 2] = [Self::Wifi, Self::Cellular];

    pub(crate) const fn path(self) -> PathId {
        match self {
            Self::Wifi => PathId::ALL[0],
            Self::Cellular => PathId::ALL[1],
        }
    }

    pub(super) fn of(path: PathId) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.path() == path)
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Wifi => Self::Cellular,
            Self::Cellular => Self::Wifi,
        }
    }
}

/// An interface that can be sent by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) name: String,
    pub(crate) index: u32,
}

/// Which accesses there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    pub(crate) wifi: Option<Way>,
    pub(crate) cellular: Option<Way>,
}

impl Ways {
    pub(super) fn of(&self, access: Access) -> Option<&Way> {
        match access {
            Access::Wifi => self.wifi.as_ref(),
            Access::Cellular => self.cellular.as_ref(),
        }
    }
}

/// What the tunnel is to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) open: OpenTunnel,
    /// The number of the interface of each access; 0 for one that is not used.
    pub(crate) interfaces: [u32; 2],
    pub(crate) mode: Mode,
    pub(crate) preferred: Access,
    pub(crate) paths: Vec<PathSettings>,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// Open or close the channel.
    Channel(Action),
    /// Have the channel leave by this interface.
    By(Option<String>),
    /// Say something on it.
    Say(Box<FromGateway>),
    /// Our address inside the tunnel is this.
    Address(Ipv4Addr),
    /// These servers say how the Internet sees us.
    Stun(Vec<SocketAddr>),
    /// Set the tunnel up, or change it.
    Open(Box<Plan>),
    /// Take it down.
    Close(TunnelId),
    /// Something that people may want to know.
    Tell(Notice),
    /// A map of the operator's gateways, to be kept and given back.
    Map(Vec<u8>),
}

/// What there is to go by for coverage.
#[derive(Debug, Clone)]
pub enum Found {
    /// All that a scan heard.
    Heard(Vec<Heard>),
    /// The access point that the station is on.
    Signal(Mac, Rssi),
    /// Where the device is.
    Fix(Fix),
}

/// What happened to the tunnel home.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "notice")]
pub enum Notice {
    /// The home gateway answers: what has the home LAN's address can be used.
    #[serde(rename = "home-up")]
    Up {
        /// What has that address.
        interface: String,
    },
    /// It answers by no access.
    #[serde(rename = "home-down")]
    Down {
        /// The same.
        interface: String,
    },
    /// An access came to work, or no longer does.
    #[serde(rename = "home-access")]
    Access {
        /// Which.
        access: Access,
        /// Whether it does.
        works: bool,
    },
    /// The quota of an access is used up.
    #[serde(rename = "home-quota")]
    Quota {
        /// Which.
        access: Access,
    },
    /// The class of service no longer allows how both accesses are used.
    #[serde(rename = "home-bond")]
    Bond {
        /// What the user wants.
        wanted: Bond,
        /// How they are used.
        used: Mode,
    },
    /// Coverage is about to end, ends, begins or lasts.
    #[serde(rename = "home-coverage")]
    Coverage {
        /// What the tunnel does.
        advice: Advice,
        /// How likely it is right, 0 to 1.
        confidence: f64,
        /// How long until the edge, where that is foreseen.
        lead_ms: Option<u64>,
        /// What speaks for it, in sentences.
        why: String,
    },
}

/// How the tunnel stands.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) interface: String,
    pub(crate) state: Option<TunnelState>,
    pub(crate) bond: Bond,
    pub(crate) mode: Mode,
    pub(crate) preferred: Access,
    pub(crate) allowed: Option<BondingModes>,
    pub(crate) channel: link::Status,
    pub(crate) coverage: Option<Foreseen>,
}

/// What the configuration says.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) interface: String,
    pub(crate) bond: Bond,
    pub(crate) hold: Hold,
    pub(crate) cellular: PathSettings,
}
