//! The kernel's side of a gateway: what it asks of Linux, and nothing else.
//!
//! | module | does |
//! |---|---|
//! | [`nl80211`] | radios and their interfaces; makes and removes the monitor interface |
//! | [`link`](mod@link) | interfaces of any kind: up, down, address, bridge |
//! | [`tap`] | Ethernet interfaces whose other end is this process |
//! | [`child`] | programs that do not outlive who started them |
//! | [`frames`] | all Ethernet frames of an interface, in batches |
//! | [`addresses`] | which of the machine's addresses come and go; when interfaces change |
//! | [`udp`] | datagrams in runs and batches, for a tunnel |
//! | [`packet`] | a raw socket on an interface, with a filter inside the kernel |
//! | [`bridge`] | bridges that carry strangers' frames: make, shut, delete; ports; who is behind which |
//! | [`firewall`] | what strangers on the gateway's bridges may reach, by nftables |
//! | [`gate`] | a service closed to all but who is let through, by nftables |
//! | [`qdisc`] | the owner first on a link that is shared with roamers |
//! | [`neighbour`] | an interface's addresses, neighbours and routers |
//! | [`routes`] | default routes: where an interface leads out |
//! | [`steering`] | where new connections go: by Wi-Fi or by cellular |
//! | [`machine`] | what `doctor` asks: capabilities, file systems |
//! | [`error`] | what the kernel refused, on which interface, and what to do about it |
//!
//! The floor's promise: all `unsafe` code and all netlink of the house are here. The unsafe calls
//! are in `sys`, a handful, each with its reason.
//!
//! Netlink calls block, for microseconds mostly, but the kernel may hold its lock for longer when
//! interfaces come and go: make them at start, or on a blocking thread. A netlink socket belongs
//! to the network namespace of the thread that opened it.

pub mod addresses;
pub mod bridge;
pub mod child;
pub mod error;
pub mod firewall;
pub mod frames;
pub mod gate;
pub mod link;
pub mod machine;
pub mod neighbour;
mod netlink;
mod nft;
pub mod nl80211;
pub mod packet;
pub mod qdisc;
pub mod routes;
pub mod steering;
mod sys;
pub mod tap;
pub mod udp;

pub use addresses::{AddressChange, AddressWatch, NetworkWatch};
pub use bridge::{Bridges, FdbEntry, PortFlags};
pub use error::{Error, Result};
pub use firewall::{Breakout, Firewall, Rules};
pub use frames::{Frame, FrameSocket};
pub use gate::{Carrier, Endpoint, Gate, Service};
pub use link::{Link, Links};
pub use neighbour::{Address, Neighbour, Networks, OwnAddress};
pub use nl80211::{Interface, InterfaceType, Monitor, Nl80211, Phy, ensure_monitor};
pub use packet::{Filter, PacketSocket, Received};
pub use qdisc::Shaper;
pub use routes::{DefaultRoutes, WayOut};
pub use steering::Steering;
pub use tap::{Tap, TapSettings};
pub use udp::{Incoming, Outgoing, UdpSettings, UdpSocket};
