//! The cellular lab: a real packet core with real GTP bearers, in namespaces.
//!
//! Osmocom's GGSN and its SGSN emulator (both of Debian's package `osmo-ggsn`) stand for a mobile
//! network: a device that attaches gets an address by a Create PDP Context, and what it sends goes
//! through GTP-U to the packet gateway, which lets nothing out from an address that it did not
//! give. The radio before it is not there.
//!
//! ```text
//!  [phone]  wwan0 10.60.0.2 ┄┄┐ tun                           ┌─ tun gi0 10.60.0.1/24 (APN internet)
//!  [laptop] wwan0 10.60.0.3 ┄┄┤                               ├─ tun gi1 10.61.0.1/24 (APN ims)
//!                             │                               │
//!                        sgsnemu ×2 ═══ GTP: C 2123, U 2152 ══ osmo-ggsn ── VTY 127.0.0.1:4260
//!                          [sgsn] gn0                gn0 [ggsn]          │
//!                   10.90.0.2, 10.90.0.3             10.90.0.1           └─ homeward-cell-bridge
//!                                                         │ sgi0 10.91.0.1        ┆ RADIUS
//!                                                         │                       ┆ accounting
//!                                                         └──────── sgi0 10.91.0.2 [services]
//!                                                                   the portal, the core, …
//! ```
//!
//! A device is a namespace of its own; each bearer has an SGSN of its own, so that one can die
//! without the others. The services' namespace is the caller's, and has a route to the devices.
//!
//! | module | does |
//! |---|---|
//! | [`network`] | [`CellularNetwork`]: the packet core; [`attach`](CellularNetwork::attach) |
//! | [`ue`] | [`Sim`], [`Device`] and [`Ue`], a device with a bearer |
//! | [`vty`] | the GGSN's own account of its PDP contexts |
//! | [`register`] | what a mobile network knows beside it: telephone numbers, equipment |
//! | [`bridge`] | RADIUS accounting of what the VTY tells: the stand-in for what this GGSN does not send |
//!
//! It runs like the network lab, as root or in a user namespace, and likewise nothing is left of
//! it.

pub mod bridge;
pub mod network;
pub mod register;
pub mod ue;
pub mod vty;

pub use network::{ApnPlan, CellularNetwork, CellularPlan};
pub use ue::{Device, Sim, Ue};
