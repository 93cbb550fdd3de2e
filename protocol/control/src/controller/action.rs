//! What goes in besides messages, and what the machine wants done.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use homeward_model::{Anchor, Encryption, GatewayId, Mac, Name, NetworkId, Ssid};
use serde::{Deserialize, Serialize};

use crate::{Goodbye, HeldLogin, Terms, WantMap};

/// One channel, from its Hello to its end. Whoever runs the machine numbers them and never uses
/// a number again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelId(pub u64);

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a gateway that opened a channel, from its certificate and the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayFacts {
    /// Its number in the datastore.
    pub id: GatewayId,
    /// Its name in the datastore.
    pub name: Name,
    /// Where its channel comes from.
    pub observed: IpAddr,
    /// Whether it is in force; one that is not is sent away.
    pub active: bool,
    /// Its home network and its MAC address there, if it is no gateway for others but a hybrid
    /// device (R10): then it may have the tunnel of that network, for itself, and nothing else.
    pub device_of: Option<(NetworkId, Mac)>,
}

/// What the datastore says of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFacts {
    /// Its number in the datastore.
    pub network: NetworkId,
    /// Its SSID.
    pub ssid: Ssid,
    /// Its home gateway; `None` for a subscriber without one.
    pub home: Option<GatewayId>,
    /// Whether its class of service wants tunnels encrypted.
    pub encryption: Encryption,
    /// What each of its devices may use.
    pub terms: Terms,
    /// Its devices that are in force.
    pub devices: BTreeSet<Mac>,
    /// Whether network and account are in force.
    pub active: bool,
    /// Where its class of service has the traffic leave.
    pub anchor: Anchor,
}

/// How often devices went from one gateway to another, as far as that was learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearnedMove {
    /// From which gateway.
    pub from: GatewayId,
    /// To which.
    pub to: GatewayId,
    /// How many moves it counts for, as of then. It halves with every
    /// [`move_half_life`](super::Settings::move_half_life).
    pub weight: f64,
    /// How long ago that was.
    pub age: Duration,
}

/// Something to be done, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Answer over this channel what was asked of the map.
    SendMap {
        /// Whose.
        channel: ChannelId,
        /// What.
        wanted: WantMap,
    },
    /// Ask the store for a network's facts;
    /// [`handle_network`](crate::Controller::handle_network) follows. It is asked again after
    /// [`network_wait`](super::Settings::network_wait) without one.
    NeedNetwork(NetworkId),
    /// Nothing is about that network any more: whatever is kept for the sake of its facts may be
    /// forgotten too. If it is needed again, it is asked for again.
    ForgetNetwork(NetworkId),
    /// A gateway is connected (again), and what somebody else found of it meanwhile did not reach
    /// it: that is to be found anew. Of these devices, which it says it serves or holds the keys
    /// of, those that may not go on are told by
    /// [`handle_grant_ended`](crate::Controller::handle_grant_ended).
    Review {
        /// Which gateway.
        gateway: GatewayId,
        /// Its devices.
        devices: Vec<(NetworkId, Mac)>,
    },
    /// The same of stations there that log-ins let in; by
    /// [`handle_login_ended`](crate::Controller::handle_login_ended).
    ReviewLogins {
        /// Which gateway.
        gateway: GatewayId,
        /// Where its channel comes from.
        observed: IpAddr,
        /// Its stations.
        logins: Vec<HeldLogin>,
    },
    /// Send this as the last message of the channel, and close it. The machine has forgotten the
    /// channel already.
    Disconnect {
        /// Which channel.
        channel: ChannelId,
        /// What to say.
        goodbye: Goodbye,
    },
}
