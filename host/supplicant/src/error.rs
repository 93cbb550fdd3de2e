//! What can go wrong with a supplicant.

use std::io;
use std::path::PathBuf;

use crate::{ControlError, NetworkError, NetworkId};

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
    #[error("wpa_supplicant's answer to {verb} was not understood")]
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
}

impl SupplicantError {
    /// Whether the supplicant is not there, or not the one that was: what it was told is
    /// forgotten.
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Control(error) if error.is_gone())
    }
}
