//! A device with two ways home, at the level of the data plane: two links as bad as they get, one
//! address, and what its user notices of it.
//!
//! ```text
//!     home LAN                                             the device
//!   tv ──┐ br0, dnsmasq                            wlan 10.1.0.2 ══ cable ══╗
//!        ├──────[home gateway]── eth0 ══ internet                           ║
//!   "vip" ┘ the tunnel's end            10.1.0.1 ══════════════════ [data plane]── vip, with an
//!                                       10.2.0.1 ══════════════════         ║      address of the
//!                                                  wwan 10.2.0.2 ══ cable ══╝      home LAN
//! ```
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod moving;
mod spreading;
mod world;
