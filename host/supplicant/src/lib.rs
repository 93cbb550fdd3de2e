//! wpa_supplicant, driven through its control interface.
//!
//! | module | what it is |
//! |---|---|
//! | [`client`] | [`Supplicant`]: scans, networks, signal and state of one interface |
//! | [`network`] | pure: a network block ([`Network`]) and the settings it becomes |
//! | [`event`] | pure: wpa_supplicant's event lines, decoded |
//! | [`reply`] | pure: its answers, decoded |
//!
//! Written for wpa_supplicant 2.10 (Debian 12) and 2.11. Nothing is ever asked to be saved: the
//! blocks that we add live in the supplicant's memory, and go when it ends.
#![forbid(unsafe_code)]

pub mod client;
mod error;
pub mod event;
pub mod network;
pub mod reply;
#[doc(hidden)]
pub mod testing;

pub use client::{Settings, Supplicant};
pub use error::SupplicantError;
pub use event::{CertificateFault, Event};
pub use homeward_ctrl::{ControlError, InterfaceName};
pub use network::{Authority, Medium, Network, NetworkError};
pub use reply::{Bss, Listed, NetworkId, Signal, State, Status};

/// What the supplicant has to tell.
pub type Events = homeward_ctrl::Events<Event>;
