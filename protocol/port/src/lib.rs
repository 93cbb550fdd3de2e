//! A switch port for strangers, pure: what may pass between a roamer and its home LAN.
//!
//! The home end of a roamer's tunnel is a port of the home's LAN bridge. Who is behind it is known,
//! but not what it sends: the device may be infected, and the gateway that forwards its frames is
//! somebody else's. So the port does what a careful switch does at a socket in a lobby. Every
//! frame of the tunnel passes through our own data path anyway; it asks here, and nothing is left
//! in the kernel that a crash could leave behind
//! ([ADR 7](../../../docs/adr/0007-port-security-in-the-data-path.md)).
//!
//! [`Port::from_stranger`] and [`Port::to_stranger`] are handed whole Ethernet frames, super-frames
//! of up to 64 KiB included, and give a [`Verdict`]. They allocate nothing (but grow, rarely and
//! to a bound, the tables of addresses learned), and never panic. One port has both directions,
//! for what is learned in one decides in the other: where two threads share it, lock it per
//! batch of frames.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod address;
mod addresses;
mod bucket;
mod dhcp;
mod frame;
mod groups;
mod icmpv6;
mod ip;
mod listen;
mod neighbours;
mod port;
mod rules;
pub mod settings;
#[doc(hidden)]
pub mod testing;
pub mod verdict;

pub use port::Port;
pub use settings::{
    AddressPolicy, Binding, Device, FrameRate, GroupLimits, Neighbour, Origin, Rate, Settings, Side,
};
pub use verdict::{Counters, Reason, Tally, Verdict};

/// The most IPv6 extension headers in one packet that are followed; more are dropped.
pub const MAX_EXTENSIONS: usize = 8;
/// The most IPv4 addresses of one device at a time.
pub const MAX_IPV4: usize = 4;
/// The most IPv6 addresses of one device at a time.
pub const MAX_IPV6: usize = 16;
/// The most hosts of the LAN whose addresses are remembered from what they send.
pub const MAX_NEIGHBOURS: usize = 256;
