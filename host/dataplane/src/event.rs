//! What a data plane says by itself.

use std::net::SocketAddr;

use homeward_multipath::PathId;
use homeward_stun::Mapping;

use crate::config::TunnelId;

/// Something changed. Events of one tunnel come in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The other end answers: for the first time, or again.
    Up {
        /// Which tunnel.
        tunnel: TunnelId,
    },
    /// The other end answers on none of its endpoints. It is still being tried, ever more seldom.
    Unreachable {
        /// Which tunnel.
        tunnel: TunnelId,
    },
    /// The largest datagram that reaches the other end became known, or changed.
    PathMtu {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Octets, IP header included.
        mtu: u16,
    },
    /// A path of a tunnel of several has come to answer, or no longer does. While another does, the
    /// tunnel stays up.
    Path {
        /// Which tunnel.
        tunnel: TunnelId,
        /// Which of its paths.
        path: PathId,
        /// What became of it.
        turn: PathTurn,
    },
    /// The other end has another address.
    Moved {
        /// Which tunnel.
        tunnel: TunnelId,
        /// The address.
        endpoint: SocketAddr,
    },
    /// A server says how it sees our sockets, for the first time or differently.
    Mapped {
        /// By which interface it was asked; 0 for the routing table's choice.
        interface: u32,
        /// Which server.
        server: SocketAddr,
        /// How it sees them; `None`: what it said is not to be believed any more.
        mapping: Option<Mapping>,
    },
    /// The TAP interface was deleted by somebody else, or the data plane runs no more
    /// ([`Dataplane::is_running`](crate::Dataplane::is_running)). The tunnel carries nothing any
    /// more: close it, or open it again.
    Gone {
        /// Which tunnel.
        tunnel: TunnelId,
    },
}

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathTurn {
    /// It answers.
    Alive,
    /// It does not answer any more, under traffic or to probes.
    Dead,
    /// Its quota is used up: nothing is sent on it.
    Exhausted,
}

impl Event {
    /// The tunnel, if it is one whose peer came or went.
    pub(crate) fn turned(&self) -> Option<TunnelId> {
        match *self {
            Self::Up { tunnel } | Self::Unreachable { tunnel } => Some(tunnel),
            Self::PathMtu { .. }
            | Self::Moved { .. }
            | Self::Gone { .. }
            | Self::Path { .. }
            | Self::Mapped { .. } => None,
        }
    }
}
