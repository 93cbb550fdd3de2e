//! The station of an interface: wpa_supplicant's, driven through its control interface, or
//! NetworkManager's, over D-Bus.
//!
//! | module | what it is |
//! |---|---|
//! | [`station`] | [`Station`]: scans, networks, signal and state of one interface, by either |
//! | [`client`] | [`Supplicant`]: the same by wpa_supplicant's control socket, and more |
//! | [`manager`] | [`Managed`]: the same by NetworkManager and the wpa_supplicant that it runs |
//! | [`network`] | pure: a network block ([`Network`]) and the settings it becomes |
//! | [`event`] | pure: wpa_supplicant's event lines, decoded |
//! | [`reply`] | pure: its answers, decoded |
//!
//! Written for wpa_supplicant 2.10 (Debian 12) and 2.11, and NetworkManager 1.42 (Debian 12) and
//! later. Nothing is ever asked to be saved: the blocks that we add live in the supplicant's memory,
//! and go when it ends; the profiles live in NetworkManager's, which keeps them in `/run`, for root
//! alone, over a restart of its own.
#![forbid(unsafe_code)]

pub mod client;
mod error;
pub mod event;
pub mod manager;
pub mod network;
pub mod reply;
pub mod station;
#[doc(hidden)]
pub mod testing;

pub use client::{Settings, Supplicant};
pub use error::SupplicantError;
pub use event::{CertificateFault, Event};
pub use homeward_ctrl::{ControlError, InterfaceName};
pub use manager::Managed;
pub use network::{Authority, Medium, Network, NetworkError};
pub use reply::{Bss, Listed, NetworkId, Signal, State, Status};
pub use station::{By, Choice, Place, Station, StationEvents};

/// What the supplicant has to tell by its control socket.
pub type Events = homeward_ctrl::Events<Event>;
