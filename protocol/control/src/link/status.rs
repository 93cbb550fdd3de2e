//! What the gateway's owner sees of the channel. MAC addresses are not in it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use homeward_model::{Encryption, GatewayId, Instant, NetworkId};
use serde::{Deserialize, Serialize};

use super::{Link, State};
use crate::{DeniedReason, GoodbyeReason, OpenTunnel, Side, TunnelId, TunnelState};

/// A link at one moment. Times are in milliseconds, ages and what is left alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How the channel is.
    pub state: ChannelState,
    /// For how long.
    pub state_ms: u64,
    /// When the next attempt is made, while waiting.
    pub retry_ms: Option<u64>,
    /// Attempts that failed in a row.
    pub attempts: u32,
    /// Why there is no channel, until there is one.
    pub problem: Option<String>,
    /// The controller's reason, if it ended the channel. `revoked`: a person must act.
    pub goodbye: Option<GoodbyeReason>,
    /// For how long the gateway has been going on by itself.
    pub offline_ms: Option<u64>,
    /// Whether that is longer than its owner set.
    pub expired: bool,
    /// Its number in the datastore, while connected.
    pub gateway: Option<GatewayId>,
    /// Its name in the datastore, while connected.
    pub name: Option<String>,
    /// The address of its data plane inside tunnels.
    pub inner_address: Option<Ipv4Addr>,
    /// Where the controller sees it, while connected.
    pub observed_address: Option<IpAddr>,
    /// The protocol's version, while connected.
    pub version: Option<u32>,
    /// The tunnels, by number.
    pub tunnels: Vec<TunnelStatus>,
    /// The networks that are wanted in vain, by number.
    pub denied: Vec<DeniedStatus>,
    /// How many networks are wanted.
    pub wants: usize,
    /// How many devices are connected.
    pub devices: usize,
    /// How many devices are held prepared.
    pub prepared: usize,
}

/// How the channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelState {
    /// There is none; the next attempt is due later.
    Waiting,
    /// It is being opened.
    Connecting,
    /// It is open; what each side has is being compared.
    Greeting,
    /// It is open, and both sides say what changes.
    Open,
}

/// One end of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Its number.
    pub tunnel: TunnelId,
    /// Whose it is.
    pub network: NetworkId,
    /// Which end.
    pub side: Side,
    /// The gateway at the other end.
    pub peer: String,
    /// Whether it is inside WireGuard.
    pub encryption: Encryption,
    /// How many devices may send through it.
    pub devices: usize,
    /// How many legs it has beside the first.
    #[serde(default)]
    pub further_legs: usize,
    /// How it is, once the data plane has said.
    pub state: Option<TunnelState>,
    /// For how long.
    pub state_ms: Option<u64>,
    /// Why it is not good.
    pub reason: Option<String>,
    /// What somebody has to do about it, where nothing will happen by itself.
    pub repair: Option<String>,
    /// The largest datagram that reaches the other side.
    pub path_mtu: Option<u16>,
}

/// A network that is wanted in vain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedStatus {
    /// Which.
    pub network: NetworkId,
    /// Why, for machines.
    pub reason: DeniedReason,
    /// Why, for people.
    pub message: String,
    /// When it is asked for again.
    pub retry_ms: Option<u64>,
}

impl Link {
    /// All of it, at `now`.
    pub fn status(&self, now: Instant) -> Status {
        let until = |at: Instant| milliseconds(at.since(now));
        let welcome = self.welcome.as_ref();
        let denied = self.wants.iter().filter_map(|(network, wanted)| {
            let (reason, message) = wanted.denied.clone()?;
            let retry_ms = wanted.retry.map(until);
            Some(DeniedStatus { network: *network, reason, message, retry_ms })
        });
        Status {
            state: match self.state {
                State::Waiting { .. } => ChannelState::Waiting,
                State::Connecting { .. } => ChannelState::Connecting,
                State::Greeting { .. } => ChannelState::Greeting,
                State::Open => ChannelState::Open,
            },
            state_ms: milliseconds(now.since(self.since)),
            retry_ms: match self.state {
                State::Waiting { until: at } => Some(until(at)),
                _ => None,
            },
            attempts: self.attempts,
            problem: self.last_reason.clone(),
            goodbye: self.last_goodbye,
            offline_ms: self.offline.map(|since| milliseconds(now.since(since))),
            expired: self.expired,
            gateway: welcome.map(|w| w.gateway),
            name: welcome.map(|w| w.name.to_string()),
            inner_address: self.inner_address,
            observed_address: welcome.map(|w| w.observed_address),
            version: welcome.map(|w| w.version),
            tunnels: self.tunnels.values().map(|t| self.tunnel_status(t, now)).collect(),
            denied: denied.collect(),
            wants: self.wants.len(),
            devices: self.devices.len(),
            prepared: self.prepared.len(),
        }
    }

    fn tunnel_status(&self, open: &OpenTunnel, now: Instant) -> TunnelStatus {
        let said = self.reports.get(&open.tunnel);
        let report = said.map(|(report, _)| report);
        TunnelStatus {
            tunnel: open.tunnel,
            network: open.network,
            side: open.side,
            peer: open.peer.name.to_string(),
            encryption: open.encryption,
            devices: open.macs.len(),
            further_legs: open.legs.len(),
            state: report.map(|r| r.state),
            state_ms: said.map(|(_, since)| milliseconds(now.since(*since))),
            repair: report.and_then(|r| self.repair(open, r.state)),
            reason: report.map(|r| r.reason.clone()).filter(|reason| !reason.is_empty()),
            path_mtu: report.and_then(|r| r.path_mtu),
        }
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
