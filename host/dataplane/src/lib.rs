//! The data plane: Ethernet (TAP) to L2TPv3 pseudowires, in the clear or inside WireGuard, to UDP.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | what a data plane is told: sockets, peers, tunnels |
//! | [`event`] | what it says by itself |
//! | [`status`] | how its tunnels fare |
//! | [`error`] | what it refuses |
//! | [`key`] | key material |

pub mod config;
pub mod error;
pub mod event;
pub mod key;
pub mod status;
#[doc(hidden)]
pub mod testing;

pub mod offload;

mod dataplane;

pub use config::{
    Config, PeerConfig, PeerId, PortSettings, SessionConfig, Side, TapInfo, TunnelConfig, TunnelId,
};
pub use dataplane::Dataplane;
pub use error::Error;
pub use event::Event;
pub use key::Key;
pub use status::{Drops, State, Traffic, TunnelStatus};
