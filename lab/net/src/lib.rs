//! The network lab: namespaces, links with loss and delay, real DHCP; no virtual machine.
//!
//! A scenario is one test function, whose body gets namespaces of its own. It runs as root, or
//! else as root of a user namespace:
//!
//! ```no_run
//! use std::time::Duration;
//! use homeward_net::{Impairment, SitePlan, Town, lab};
//!
//! // #[test]
//! fn the_internet_is_slow_at_times() {
//!     lab(|lab| async move {
//!         let town = Town::build(&lab, SitePlan::default(), SitePlan::default(), 1).await?;
//!         let tv = town.home.host("tv").await?;
//!         town.home.cable.set(Impairment::delayed(Duration::from_millis(50)));
//!         let trip = tv.namespace.ping(homeward_net::town::CORE, Duration::from_secs(5)).await?;
//!         assert!(trip >= Duration::from_millis(100));
//!         Ok(())
//!     });
//! }
//! ```
//!
//! ```text
//!   home: tv, printer ── br0 [gateway] eth0 ══ cable ══ internet ══ cable ══ eth0 [gateway] br0 ── pc :foreign
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`lab`](mod@lab) | a test function with namespaces of its own |
//! | [`town`] | two sites and the Internet between them, as above; drawn in full there |
//! | [`namespace`], [`process`], [`tool`] | namespaces, and programs in them; all go with the test |
//! | [`cable`], [`wire`] | a link that is as bad as it is told; what it decides, purely |
//! | [`bus`], [`network_manager`] | a D-Bus of a test's own, and the NetworkManager on it |
//! | [`dhcp`] | dnsmasq, and clients: DHCPv4, DHCPv6, router advertisements |
//! | [`printer`] | a web page and an mDNS name, and those who look for them |
//! | [`capture`], [`sweep`](mod@sweep) | what arrives at an interface; who answers to whom |
//! | [`flow`], [`download`], [`trickle`] | traffic that is watched: every 10 ms a datagram; TCP; a key and its echo |
//! | [`timeline`], [`wait`], [`random`], [`place`] | moments on one clock; conditions; seeds; where a test is |
//!
//! The logs of a test are in `target/lab/<its name>/`. Nothing else is left of it, for a namespace
//! is held by its process alone: not by a name in the file system that would have to be found and
//! removed after a crash.

pub mod bus;
pub mod cable;
pub mod capture;
pub mod dhcp;
pub mod download;
pub mod flow;
pub mod lab;
pub mod namespace;
pub mod network_manager;
pub mod place;
pub mod printer;
pub mod process;
pub mod random;
pub mod sweep;
pub mod timeline;
pub mod tool;
pub mod town;
pub mod trickle;
pub mod wait;
pub mod wire;

pub use bus::PrivateBus;
pub use cable::{Cable, Lane};
pub use capture::Capture;
pub use download::Download;
pub use flow::Flow;
pub use lab::{Lab, lab};
pub use namespace::Namespace;
pub use network_manager::NetworkManager;
pub use printer::Printer;
pub use process::Process;
pub use sweep::{Sweep, sweep};
pub use timeline::Timeline;
pub use town::{Site, SitePlan, Town, Translation};
pub use trickle::Trickle;
pub use wire::{Counters, Impairment};
