//! What happened: one event for each thing worth a log line or a counter.

use std::time::Duration;

use homeward_model::{GatewayId, Mac, NetworkId};

use super::ChannelId;
use crate::word::words;
use crate::{DeniedReason, GoodbyeReason, TunnelId, TunnelState};

/// Something that happened. MACs print redacted.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "the fields are the words of the crate; each variant says what it means"
)]
pub enum Event {
    /// A gateway has a channel. `rebooted`: it is another process than before; `away`: for how
    /// long it had none, if it had one before.
    Connected {
        gateway: GatewayId,
        channel: ChannelId,
        version: u32,
        software: String,
        rebooted: bool,
        away: Option<Duration>,
        tunnels: usize,
    },
    /// A gateway was turned away at its Hello.
    TurnedAway { gateway: GatewayId, reason: GoodbyeReason },
    /// A gateway has no channel any more.
    Lost { gateway: GatewayId, why: Lost, connected: Duration },
    /// A gateway has been away for too long; all of its is given up.
    GivenUp { gateway: GatewayId, tunnels: usize },
    /// A tunnel was set up.
    TunnelOpened { tunnel: TunnelId, network: NetworkId, home: GatewayId, foreign: GatewayId },
    /// A tunnel that both sides still had was taken over.
    TunnelAdopted { tunnel: TunnelId, network: NetworkId, home: GatewayId, foreign: GatewayId },
    /// A tunnel was taken down after `lived`.
    TunnelClosed {
        tunnel: TunnelId,
        network: NetworkId,
        home: GatewayId,
        foreign: GatewayId,
        why: Closed,
        lived: Duration,
    },
    /// A gateway reports another state of its end of a tunnel.
    TunnelReported { tunnel: TunnelId, gateway: GatewayId, state: TunnelState, reason: String },
    /// A gateway holds half a tunnel whose other half nobody has (any more).
    HalfDropped { tunnel: TunnelId, gateway: GatewayId },
    /// A wish was not granted.
    Denied { gateway: GatewayId, network: NetworkId, reason: DeniedReason },
    /// A device is at another gateway; `from` is where it was within
    /// [`move_window`](super::Settings::move_window), and `gap` for how long it was nowhere.
    DeviceMoved {
        mac: Mac,
        network: NetworkId,
        from: Option<GatewayId>,
        to: GatewayId,
        gap: Duration,
        prepared: bool,
    },
    /// A device is nowhere.
    DeviceGone { mac: Mac, network: NetworkId, from: GatewayId },
    /// A gateway still has a device that is elsewhere.
    Evicted { mac: Mac, network: NetworkId, gateway: GatewayId },
    /// A gateway is to prepare for a device; `share` is how likely it is to go there, about.
    Prepared { mac: Mac, network: NetworkId, gateway: GatewayId, share: f64 },
    /// A gateway could not prepare for a device.
    PrepareFailed { mac: Mac, network: NetworkId, gateway: GatewayId, reason: String },
    /// A gateway need not hold a device prepared any more.
    Withdrawn { mac: Mac, network: NetworkId, gateway: GatewayId, why: Withdrawn },
    /// A device (`None`: a whole network) is revoked at a gateway that holds it.
    Revoked { network: NetworkId, mac: Option<Mac>, gateway: GatewayId },
    /// What a gateway said was left aside, for want of room or because it cannot be so.
    Ignored { gateway: GatewayId, why: Ignored },
}

/// Why a gateway has no channel any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// It ended.
    Ended,
    /// It opened another.
    Replaced,
    /// It did not answer.
    Silent,
    /// It said too much.
    Flooding,
    /// It said what it must not say there.
    Protocol,
    /// It was revoked or suspended.
    Barred,
}

/// Why a tunnel was taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closed {
    /// The foreign gateway no longer wants it.
    Unwanted,
    /// The network is suspended or gone.
    Revoked,
    /// The network has another home, other encryption, or another anchor, or the hybrid device
    /// another number of accesses.
    Changed,
    /// One of its gateways rebooted and has nothing of it.
    Rebooted,
    /// One of its gateways has been away for too long.
    Away,
    /// One of its gateways was revoked or suspended.
    Barred,
}

/// Why a gateway need not hold a device prepared any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Withdrawn {
    /// The device stays where it is.
    Settled,
    /// Other gateways are nearer now.
    Moved,
    /// The device is nowhere.
    Absent,
    /// The gateway holds as many as it may, and others are likelier.
    GaveWay,
    /// The device is no longer entitled.
    Revoked,
    /// The controller knows nothing of it.
    Unknown,
}

/// Why something was left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ignored {
    /// More connected devices than a gateway may have.
    Devices,
    /// More devices than are remembered.
    DeviceMemory,
    /// More networks than are remembered.
    Networks,
    /// A BSSID that another gateway has.
    Bssid,
    /// A tunnel that is not the gateway's.
    Tunnel,
    /// What only a gateway says, from a hybrid device.
    HybridDevice,
}

words! {
    Lost {
        Ended => "ended", Replaced => "replaced", Silent => "silent", Flooding => "flooding",
        Protocol => "protocol", Barred => "barred",
    }
    Closed {
        Unwanted => "unwanted", Revoked => "revoked", Changed => "changed",
        Rebooted => "rebooted", Away => "away", Barred => "barred",
    }
    Withdrawn {
        Settled => "settled", Moved => "moved", Absent => "absent", GaveWay => "gave-way",
        Revoked => "revoked", Unknown => "unknown",
    }
    Ignored {
        Devices => "devices", DeviceMemory => "device-memory", Networks => "networks",
        Bssid => "bssid", Tunnel => "tunnel", HybridDevice => "hybrid-device",
    }
}
