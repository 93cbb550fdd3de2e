//! The hybrid lab: a device with two ways home, in namespaces.
//!
//! ```text
//!     home LAN                                             the device
//!   tv ──┐ br0, dnsmasq                            wlan 10.1.0.2 ══ cable ══╗
//!        ├──────[home gateway]── eth0 ══ internet                           ║
//!   "vip" ┘ the tunnel's end            10.1.0.1 ══════════════════ [data plane]── vip, with an
//!                                       10.2.0.1 ══════════════════         ║      address of the
//!                                                  wwan 10.2.0.2 ══ cable ══╝      home LAN
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`links`] | both data planes, and the two links between them, as bad as they are told |
//! | [`receiver`] | where the device is, as a real gpsd has it |
//! | [`street`] | the same with Homeward's own: core, home gateway, device |
//!
//! Nothing is left of it.

pub mod links;
pub mod receiver;
pub mod street;

pub use links::{CELLULAR, Links, VIP, WIFI, cellular, wifi};
pub use receiver::Receiver;
pub use street::Street;
