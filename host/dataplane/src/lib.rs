//! The data plane: Ethernet (TAP) to L2TPv3 pseudowires, in the clear or inside WireGuard, to UDP.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | what a data plane is told: sockets, peers, tunnels |
//! | [`event`] | what it says by itself |
//! | [`status`] | how its tunnels fare |
//! | [`reflexive`] | how the Internet sees its sockets |
//! | [`error`] | what it refuses |
//! | [`key`] | key material |
//! | [`offload`] | cuts and puts together super-frames, checksums, MSS |
//!
//! ```text
//!            egress (one thread)
//!  TAP ──► port ──► cut super-frames ──► L2TPv3 ──► [IPv4, WireGuard] ──► batch ──► UDP, in runs
//!            ingress (one thread)
//!  TAP ◄── put super-frames together ◄── MSS ◄── port ◄── L2TPv3 ◄── [WireGuard, IPv4] ◄── UDP, in runs
//! ```
//!
//! On the wire: in the clear, UDP with L2TPv3 data messages (RFC 3931 4.1.2) with Ethernet frames
//! (RFC 4719); encrypted, UDP with WireGuard, in it IPv4 of protocol 115 between the inner
//! addresses, in that L2TPv3 over IP. One socket a family serves both, told apart by the first
//! octet. What servers answer by STUN (RFC 8489) is told from WireGuard by the second.

pub mod config;
pub mod error;
pub mod event;
pub mod key;
pub mod reflexive;
pub mod status;
#[doc(hidden)]
pub mod testing;

pub mod offload;

mod batch;
mod bond;
mod carry;
mod counters;
mod dataplane;
mod egress;
mod engine;
mod hold;
mod ingress;
mod link;
#[cfg(test)]
mod stranger;
mod table;
mod timers;
mod wireguard;

pub use config::{
    Access, BondConfig, Config, LegConfig, PeerConfig, PeerId, ReflexiveConfig, Side, TapInfo,
    TunnelConfig, TunnelId,
};
pub use dataplane::Dataplane;
pub use error::Error;
pub use event::{Event, PathTurn};
pub use key::Key;
pub use reflexive::{ReflexiveStatus, StunStatus};
pub use status::{BondStatus, Drops, LegStatus, State, Strangers, Traffic, TunnelStatus};
