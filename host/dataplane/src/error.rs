//! What a data plane refuses, and why.

use std::io;
use std::net::SocketAddr;

use homeward_multipath::MAX_PATHS;

use crate::config::{PeerId, TunnelId};

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket cannot be had.
    #[error(
        "cannot listen on UDP {address}: another process may have it (`ss -ulpn` shows which), \
         or it is no address of this machine"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// Nowhere to listen.
    #[error("there is no address to listen on: name one")]
    NoAddress,
    /// The system gives no thread, epoll or event descriptor.
    #[error("the system refuses a thread or a descriptor: raise its limits")]
    System(#[source] io::Error),
    /// The TAP interface.
    #[error("tunnel {}: no TAP interface", tunnel.0)]
    Tap {
        /// Which tunnel.
        tunnel: TunnelId,
        /// The kernel's reason.
        source: homeward_linux::Error,
    },
    /// A tunnel to a peer that is not known.
    #[error("tunnel {} leads to gateway {}, which is not known: set the peer first", tunnel.0, peer.0)]
    UnknownPeer {
        /// Which tunnel.
        tunnel: TunnelId,
        /// The peer.
        peer: PeerId,
    },
    /// More paths than a tunnel can have.
    #[error("tunnel {}: more than {MAX_PATHS} paths", .0.0)]
    TooManyLegs(TunnelId),
    /// There is no such tunnel.
    #[error("there is no tunnel {}", .0.0)]
    UnknownTunnel(TunnelId),
    /// Another tunnel has the session id.
    #[error("tunnel {}: session id {session:#x} is tunnel {}'s", tunnel.0, holder.0)]
    SessionTaken {
        /// Which tunnel.
        tunnel: TunnelId,
        /// The session id.
        session: u32,
        /// Who has it.
        holder: TunnelId,
    },
    /// A session id of 0 means a control message (RFC 3931 4.1.2).
    #[error("tunnel {}: a session id must not be 0", .0.0)]
    NoSession(TunnelId),
    /// Another peer has the public key.
    #[error("gateways {} and {} have the same public key", peer.0, holder.0)]
    KeyTaken {
        /// Which peer.
        peer: PeerId,
        /// Who has it.
        holder: PeerId,
    },
    /// The inner address is missing.
    #[error("tunnel {}: encrypted, but this gateway has no inner address yet", .0.0)]
    NoInnerAddress(TunnelId),
    /// The interface does not take a frame.
    #[error("tunnel {}: its interface does not take the frame", tunnel.0)]
    Inject {
        /// Which tunnel.
        tunnel: TunnelId,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The data plane was stopped.
    #[error("the data plane was stopped")]
    Stopped,
}
