//! The radio lab: gateways and stations in one VM with simulated radios.
//!
//! A scenario is one test function. On the host it starts a VM that runs the same test of the
//! same binary; in the guest its body runs, as root, with radios of its own:
//!
//! ```no_run
//! use std::time::Duration;
//! use homeward_radio::{ApConfig, Network, Security};
//!
//! // #[test]
//! fn a_station_joins_an_access_point() {
//!     homeward_radio::scenario(|lab| async move {
//!         let home = lab.gateway("home").await?;
//!         let security = Security::wpa2("correct horse battery");
//!         let ap = home.access_point(&ApConfig::new("Home").security(security.clone())).await?;
//!         let mut phone = lab.station("phone")?;
//!         phone.join(&Network::new("Home", security)).await?;
//!         let connection = phone.connected_within(Duration::from_secs(20)).await?;
//!         assert_eq!(connection.bssid, ap.bssid());
//!         Ok(())
//!     });
//! }
//! ```
//!
//! ```text
//! the host ─ cargo test ─ QEMU (KVM where it works, else emulated) ─ the guest:
//!
//!   root namespace                    bridge inet 10.0.0.1/24: the Internet; the core runs here
//!        │ up1                             │ up2
//!        │                                 │
//!   ┌────┴─────────────────────┐      ┌────┴─────────────────────┐
//!   │ eth0 10.0.0.11           │      │ eth0 10.0.0.12           │
//!   │ namespace home           │      │ namespace foreign        │
//!   │ br0 10.1.0.1/24, DHCP    │      │ br0 10.2.0.1/24, DHCP    │
//!   │ wlan0 on phy0: hostapd   │      │ wlan1 on phy1: hostapd   │
//!   └──────────────))) cell 1  │      └──────────────))) cell 2  │
//!                    ┌─────────┴──────────────────┐ (((──────────┘
//!                    │ namespace phone            │
//!                    │ wlan2 on phy2: supplicant  │   near(&[&home]), near(&[&foreign]), …
//!                    └────────────────────────────┘
//!   hwsim0 in the root namespace hears every frame of every radio
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`scenario`](mod@scenario) | a test function that runs in the guest |
//! | [`kernel`] | Debian's kernel, fetched and unpacked beside the build |
//! | [`lab`] | the guest's side: makes gateways, stations, captures |
//! | [`gateway`], [`station`], [`security`] | the two ends of a radio link |
//! | [`radios`], [`control`] | reach and signal; talking to hostapd and wpa_supplicant |
//! | [`air`] | what is on the air |
//! | [`flow`], [`timeline`], [`wait`] | of the network lab: how long traffic is silent; moments on one clock; waiting for conditions |
//! | [`town`] | three gateways of an operator, and a phone that walks between them |
//! | [`operator`] | a core and agents: the product itself |
//! | [`offload`] | a phone that offloads by itself: a mobile network, a portal, and its agent |
//! | [`outing`] | a phone with a tunnel of its own home, by Wi-Fi and cellular, on its way out and back |
//! | [`demo`], [`report`] | the main job with commentary, and what is kept of it |
//! | [`roam`](mod@roam) | how long a phone is silent when it roams |
//! | [`floor`] | how fast a BSS that a script adds on a probe can serve |
//!
//! All that a run leaves is in `target/lab/<test name>/`: `log` (what the body printed), one log
//! per program, `console`. `HOMEWARD_LAB_LIVE=1` repeats the log while it grows;
//! `HOMEWARD_LAB_CACHE` moves the kernel; `HOMEWARD_LAB_KVM=1` uses KVM inside a virtual
//! machine, too; `HOMEWARD_LAB_PARALLEL=1` lets several VMs run at once,
//! at the price of their timing.
//!
//! Emulated, the guest runs plain code at nearly full speed, but a system call costs 2.5 times and
//! fork with exec 50 times as much, and ciphers as much: measure latencies with sockets, not with
//! programs, and no throughput.

pub mod air;
pub mod control;
pub mod demo;
pub mod floor;
pub mod gateway;
pub mod handoff;
pub mod kernel;
pub mod lab;
pub mod offload;
pub mod operator;
pub mod outing;
pub mod radios;
pub mod report;
pub mod roam;
pub mod scenario;
pub mod security;
pub mod station;
pub mod town;
mod vm;

pub use air::{Air, Flood};
pub use control::Control;
pub use gateway::{AccessPoint, ApConfig, Gateway};
pub use homeward_net::{Flow, Namespace, Process, Timeline, flow, timeline, wait};
pub use lab::Lab;
pub use scenario::{Scenario, scenario};
pub use security::Security;
pub use station::{Network, Station};

/// Where the guest leaves what the host shall keep.
pub(crate) const OUT: &str = "/out";

/// Where sockets and generated configuration are in the guest: a tmpfs.
pub(crate) const RUN: &str = "/run/lab";
