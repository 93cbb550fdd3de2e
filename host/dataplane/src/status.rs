//! How tunnels fare, for `status` and metrics.

use std::net::SocketAddr;

use serde::Serialize;

use crate::config::{PeerId, Side, TunnelId};

/// The state of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Set up here; the other end has not answered yet.
    Ready,
    /// The other end answers.
    Up,
    /// The other end answers on none of its endpoints.
    Unreachable,
    /// The TAP interface was deleted by somebody else.
    Gone,
}

/// A tunnel, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TunnelStatus {
    /// Which tunnel.
    pub tunnel: TunnelId,
    /// The gateway at the other end.
    pub peer: PeerId,
    /// Its interface.
    pub tap: String,
    /// Which end this is.
    pub side: Side,
    /// Inside WireGuard, or in the clear.
    pub encrypted: bool,
    /// Its state.
    pub state: State,
    /// Where frames are sent to.
    pub endpoint: Option<SocketAddr>,
    /// The largest datagram that reaches the other end, IP header included; `None` if not known.
    pub path_mtu: Option<u16>,
    /// Milliseconds since the other end was last heard; `None` if never.
    pub last_heard_ms: Option<u64>,
    /// Frames into the tunnel. A super-frame counts as the frames that it became.
    pub sent: Traffic,
    /// Frames out of the tunnel.
    pub received: Traffic,
    /// What did not pass, by reason.
    pub drops: Drops,
}

/// What passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Traffic {
    /// Ethernet frames.
    pub frames: u64,
    /// Octets of those, without frame check sequence.
    pub octets: u64,
}

/// What did not pass, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Drops {
    /// Frames that the port refused: filtered or over a limit.
    pub port: u64,
    /// Frames for a peer that does not answer, or that waited in vain until it does.
    pub no_path: u64,
    /// Datagrams that the socket refused because its buffer was full.
    pub socket_full: u64,
    /// Datagrams that the socket refused for another reason.
    pub socket_error: u64,
    /// Frames that the TAP refused, because it is down or gone.
    pub tap: u64,
    /// Frames that are malformed.
    pub malformed: u64,
    /// Frames that are too long for the path and cannot be cut, and datagrams that turned out to
    /// be.
    pub too_long: u64,
    /// Data messages with a wrong cookie.
    pub cookie: u64,
    /// Data messages that were there before, or are too old to tell.
    pub replayed: u64,
    /// Data messages that are not what the ends agreed on.
    pub unexpected: u64,
    /// Parts of frames that were given up, for the rest did not come in time or in bounds.
    pub reassembly: u64,
}

/// Datagrams that belong to no tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Strangers {
    /// Neither L2TP nor WireGuard, or for no session or peer of ours.
    pub unknown: u64,
    /// WireGuard messages that did not open: replayed, forged, or of a session that is over.
    pub wireguard: u64,
}
