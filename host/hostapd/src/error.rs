//! What can go wrong with a radio.

use std::io;
use std::path::PathBuf;

use homeward_model::Mac;

use crate::{BssError, ControlError, InterfaceName};

/// Why a change to the radio failed.
#[derive(Debug, thiserror::Error)]
pub enum RadioError {
    /// The command had no effect, or none that is known.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The BSS or its devices cannot be configured so.
    #[error(transparent)]
    Bss(#[from] BssError),
    /// The settings would make the owner's interface one of ours, or all of them.
    #[error(
        "prefix {prefix:?} does not tell our interfaces from the owner's {owner}: choose another"
    )]
    Prefix {
        /// The prefix.
        prefix: String,
        /// The owner's interface.
        owner: InterfaceName,
    },
    /// The interface is not ours to add, change or remove.
    #[error("{interface} is not ours: it is the radio's first, or does not begin with {prefix:?}")]
    NotOurs {
        /// The interface.
        interface: InterfaceName,
        /// What ours begin with.
        prefix: String,
    },
    /// There is a BSS of that name.
    #[error("{interface} exists: remove it first")]
    Exists {
        /// The interface.
        interface: InterfaceName,
    },
    /// We have added no such BSS, or have forgotten it.
    #[error("{interface} was not added here, or is forgotten")]
    Unknown {
        /// The interface.
        interface: InterfaceName,
    },
    /// The radio is not on the air. hostapd would say OK to a BSS now, and not start it.
    #[error("the radio of {owner} is {state}, not ENABLED: wait for it, or see hostapd's log")]
    NotReady {
        /// The owner's interface.
        owner: InterfaceName,
        /// hostapd's word for the state.
        state: String,
    },
    /// hostapd's answer to `STATUS` makes no sense.
    #[error("hostapd's status of {owner} was not understood")]
    Status {
        /// The owner's interface.
        owner: InterfaceName,
    },
    /// Another BSS of the radio has that BSSID.
    #[error("BSSID {0} is taken")]
    BssidTaken(Mac),
    /// All addresses that the driver allows are taken.
    #[error("{phy} has no free address for another BSS")]
    NoBssid {
        /// The radio.
        phy: String,
    },
    /// The file was not written by us, so it is not replaced.
    #[error("{} has content that is not homeward's: name an empty file", .0.display())]
    ForeignFile(PathBuf),
    /// A file could not be written, read or removed.
    #[error("{}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl RadioError {
    /// Whether hostapd is not there, or not the one that was. All BSSs of ours went with it:
    /// [`Radio::forget`](crate::Radio::forget) them.
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Control(error) if error.is_gone())
    }
}
