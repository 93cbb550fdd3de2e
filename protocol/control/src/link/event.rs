//! What the controller wants of the gateway, and what became of the channel.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use homeward_model::{GatewayId, Mac, Name, NetworkId, Ssid};

use crate::{CoverageMap, DeniedReason, GoodbyeReason, OpenTunnel, TunnelId};

/// Something to be done with the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a channel; [`handle_connected`](crate::Link::handle_connected) or
    /// [`handle_lost`](crate::Link::handle_lost) follows.
    Connect,
    /// Close the channel, or give the attempt up. Nothing is to follow.
    Disconnect,
}

/// Something for the gateway to do or to know, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The controller took the gateway in; what it holds is being compared.
    Connected {
        /// Its number in the datastore.
        gateway: GatewayId,
        /// Its name in the datastore.
        name: Name,
        /// The address of its data plane inside tunnels.
        inner_address: Ipv4Addr,
        /// Where the controller sees it.
        observed_address: IpAddr,
        /// How often to report load and neighbours.
        report_interval: Duration,
        /// Where to ask how the Internet sees the data plane.
        stun: Vec<SocketAddr>,
        /// The protocol's version.
        version: u32,
    },
    /// All that was missed has been made good.
    Synced {
        /// How many tunnels the gateway has.
        tunnels: usize,
    },
    /// There is no channel (any more): what is known goes on. Once for a row of failed attempts.
    Lost {
        /// Why, for people.
        reason: String,
        /// The controller's reason, if it ended the channel.
        goodbye: Option<GoodbyeReason>,
        /// When the next attempt is made.
        retry_in: Duration,
    },
    /// There has been no channel for [`offline`](super::Settings::offline). Tunnels that are up
    /// stay up; whom the gateway serves on the strength of old answers is the gateway's to end.
    Expired,
    /// The answer to [`want_map`](crate::Link::want_map).
    Map(CoverageMap),
    /// Set a tunnel up, or change the one with that number. May say what is so already.
    Open(OpenTunnel),
    /// Take a tunnel down.
    Close {
        /// Which.
        tunnel: TunnelId,
        /// Whose it was.
        network: NetworkId,
        /// Why, for people.
        reason: String,
    },
    /// There is no tunnel for a network that was wanted. It may come all the same, later.
    Denied {
        /// Which network.
        network: NetworkId,
        /// Why, for machines.
        reason: DeniedReason,
        /// Why, for people.
        message: String,
    },
    /// To the home side: a device is at the far end of a tunnel now. May be said again.
    Arrived {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Whose it is.
        network: NetworkId,
        /// Which device.
        mac: Mac,
    },
    /// Hold record, VAP and tunnel for a device that may come; answer with
    /// [`prepared`](crate::Link::prepared).
    Prepare {
        /// Which device.
        mac: Mac,
        /// The SSID it will ask for.
        ssid: Ssid,
        /// Its network.
        network: NetworkId,
    },
    /// Do so no longer.
    Withdraw {
        /// Which device.
        mac: Mac,
        /// Of which network.
        network: NetworkId,
    },
    /// The device has connected elsewhere: drop its association, without a word on the air, and
    /// say so with [`device`](crate::Link::device).
    Evict {
        /// Which device.
        mac: Mac,
        /// Of which network.
        network: NetworkId,
    },
    /// A log-in has ended: put the station out that it let in.
    PutOut {
        /// Which station.
        mac: Mac,
    },
    /// A device, or with `None` all of a network, is no longer entitled.
    Revoke {
        /// Which network.
        network: NetworkId,
        /// Which device.
        mac: Option<Mac>,
    },
}
