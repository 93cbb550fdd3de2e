//! What can go wrong with a supplicant.

use std::io;
use std::path::PathBuf;

use crate::{ControlError, InterfaceName, NetworkError, NetworkId};

/// Why the supplicant did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SupplicantError {
    /// The command had no effect, or none that is known.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The network cannot be described to it.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// It does not take one setting of a network. An older build may lack it.
    #[error("wpa_supplicant refuses the setting {setting} of network {id}: see its log")]
    Setting {
        /// The network's number.
        id: NetworkId,
        /// The setting's name.
        setting: &'static str,
    },
    /// An answer makes no sense.
    #[error("the answer to {verb} was not understood")]
    Answer {
        /// What was asked.
        verb: &'static str,
    },
    /// The authority's certificate cannot be put where the supplicant reads it.
    #[error("cannot write {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// NetworkManager did not keep whose certificate the server must have.
    #[error(
        "NetworkManager does not keep the authority and the server's name of profile {id}: see its log"
    )]
    Unpinned {
        /// The profile's number.
        id: NetworkId,
    },
    /// The bus that NetworkManager would be on cannot be had.
    #[error("no D-Bus to find NetworkManager on: is dbus running?")]
    NoBus(#[source] zbus::Error),
    /// A service is not on the bus, or does not answer.
    #[error("{service} is not on the bus: is it running?")]
    Away {
        /// Its name.
        service: &'static str,
    },
    /// The bus was lost while a service was asked.
    #[error("the bus was lost while {service} was asked")]
    Lost {
        /// Its name.
        service: &'static str,
        /// How.
        source: zbus::Error,
    },
    /// NetworkManager leaves the interface alone, or does not know it.
    #[error(
        "NetworkManager does not manage {interface}: have it do so by `nmcli device set {interface} managed yes`, or run wpa_supplicant there with ctrl_interface"
    )]
    Unmanaged {
        /// The interface.
        interface: InterfaceName,
    },
    /// NetworkManager has taken the interface from whoever ran it before.
    #[error("NetworkManager manages {interface} now")]
    Taken {
        /// The interface.
        interface: InterfaceName,
    },
    /// NetworkManager has another supplicant.
    #[error(
        "NetworkManager manages {interface}, but wpa_supplicant is not on the bus: start it with -u; `wifi.backend=iwd` is of no use here"
    )]
    OtherSupplicant {
        /// The interface.
        interface: InterfaceName,
    },
    /// The supplicant has no such interface now.
    #[error("wpa_supplicant does not run {interface} now: is the radio on?")]
    RadioOff {
        /// The interface.
        interface: InterfaceName,
    },
    /// A service on the bus refused.
    #[error("{service} refuses {verb} ({name}): {reason}")]
    Refused {
        /// Its name.
        service: &'static str,
        /// What was asked.
        verb: &'static str,
        /// The last word of the error's name.
        name: String,
        /// Its words.
        reason: String,
    },
}

impl SupplicantError {
    /// Whether the supplicant is not there, or not the one that was: what it was told is
    /// forgotten.
    pub const fn is_gone(&self) -> bool {
        match self {
            Self::Control(error) => error.is_gone(),
            Self::NoBus(_) | Self::Away { .. } | Self::Lost { .. } => true,
            Self::Unmanaged { .. } | Self::Taken { .. } => true,
            _ => false,
        }
    }

    /// Whether NetworkManager has nothing to do with the interface: it is not there, or leaves it
    /// alone. Then the interface is its supplicant's.
    pub const fn is_elsewhere(&self) -> bool {
        matches!(self, Self::NoBus(_) | Self::Away { .. } | Self::Unmanaged { .. })
    }
}
