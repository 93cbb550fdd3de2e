//! How tunnels fare, for `status` and metrics.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use homeward_l2tp::Discard;
use homeward_model::Instant;
use homeward_multipath::ReorderCounters;
use serde::Serialize;

use crate::config::{PeerId, Side, TunnelId};
use crate::table::{Leg, Table, Tunnel, lock};

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
    /// How its paths fare, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond: Option<BondStatus>,
}

/// The paths of a tunnel, as they are now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BondStatus {
    /// Where each leads, in order.
    pub legs: Vec<LegStatus>,
    /// How packets are spread over them, and how each fares.
    #[serde(flatten)]
    pub sends: homeward_multipath::Status,
    /// What was done for the order of what was received.
    pub reorder: ReorderCounters,
    /// Milliseconds that a missing packet is waited for.
    pub patience_ms: u64,
}

/// A path of a tunnel, as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LegStatus {
    /// The other end, as it is known by this path.
    pub peer: PeerId,
    /// Whether it answers.
    pub state: State,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// The largest datagram that reaches it, IP header included; `None` if not known.
    pub path_mtu: Option<u16>,
    /// Milliseconds since it was last heard; `None` if never.
    pub last_heard_ms: Option<u64>,
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
    /// Data messages of a tunnel of several paths that were there before by another: copies.
    pub copies: u64,
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

/// How a tunnel fares; `None` if its peer is not known any more.
pub(crate) fn of(table: &Table, tunnel: &Tunnel, now: Instant) -> Option<TunnelStatus> {
    let legs: Vec<LegStatus> =
        tunnel.legs.iter().filter_map(|leg| of_leg(table, tunnel, leg, now)).collect();
    // That of the path that is there, or of the first.
    let best = legs.iter().find(|leg| leg.state == State::Up).or(legs.first())?.clone();
    let counters = &tunnel.counters;
    Some(TunnelStatus {
        tunnel: tunnel.id,
        peer: tunnel.config.peer,
        tap: tunnel.tap.name().to_owned(),
        side: tunnel.config.side,
        encrypted: tunnel.config.encrypted,
        state: if tunnel.gone.load(Ordering::Relaxed) { State::Gone } else { best.state },
        endpoint: best.endpoint,
        path_mtu: best.path_mtu,
        last_heard_ms: legs.iter().filter_map(|leg| leg.last_heard_ms).min(),
        sent: counters.sent.get(),
        received: counters.received.get(),
        drops: drops(tunnel),
        bond: tunnel.bond.as_ref().map(|bond| bond.status(legs, now)),
    })
}

fn of_leg(table: &Table, tunnel: &Tunnel, leg: &Leg, now: Instant) -> Option<LegStatus> {
    let peer = table.peers.get(leg.peer)?;
    let link = peer.link(tunnel.config.encrypted);
    let heard = link.heard().map(|at| now.since(at).as_millis());
    let route = link.route();
    Some(LegStatus {
        peer: peer.id,
        state: route.state(),
        endpoint: route.way().map(|way| way.to),
        path_mtu: route.path_mtu(),
        last_heard_ms: heard.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
    })
}

fn drops(tunnel: &Tunnel) -> Drops {
    let counters = &tunnel.counters;
    let port = lock(&tunnel.port).counters();
    let unfit = lock(&tunnel.outbound).counters().too_long;
    let inbound = *lock(&tunnel.inbound).counters();
    let discarded = |reasons: &[Discard]| -> u64 {
        reasons.iter().map(|reason| inbound.discarded(*reason)).sum()
    };
    Drops {
        port: port.from_stranger.dropped_in_all() + port.to_stranger.dropped_in_all(),
        no_path: counters.no_path.get(),
        socket_full: counters.socket_full.get(),
        socket_error: counters.socket_error.get(),
        tap: counters.tap.get(),
        malformed: counters.malformed.get() + discarded(&[Discard::Runt]),
        too_long: unfit + counters.too_long.get(),
        cookie: discarded(&[Discard::Cookie]),
        replayed: if tunnel.bond.is_some() {
            discarded(&[Discard::Stale])
        } else {
            discarded(&[Discard::Duplicate, Discard::Stale])
        },
        copies: if tunnel.bond.is_some() { discarded(&[Discard::Duplicate]) } else { 0 },
        unexpected: discarded(&[
            Discard::Short,
            Discard::ControlMessage,
            Discard::Version,
            Discard::OtherSession,
            Discard::Unnumbered,
            Discard::UnexpectedFragment,
        ]),
        reassembly: inbound.timed_out + inbound.evicted + discarded(&[Discard::Fragment]),
    }
}
