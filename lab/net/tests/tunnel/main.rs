//! The tunnel home, at the level of the data plane: two gateways' data planes, a home LAN, a
//! roamer, and the Internet between them as bad as it gets.
//!
//! ```text
//!     home LAN                                              abroad
//!   tv ──┐ br0, dnsmasq                                  seg ┌── port ══ eth0  the roamer
//!        ├──────[home gateway]── eth0 ══ internet ══ eth0 ──[foreign gateway]── br0 ── pc
//!   "home" ┘ the tunnel's end                    "abroad" ┘
//! ```
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod attacks;
mod crowd;
mod hard_paths;
mod idle;
mod nats;
mod roaming;
mod world;
