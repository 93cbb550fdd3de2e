//! What the machine wants done, and the names of things in it.

use std::fmt;

use homeward_model::{
    Anchor, DeviceKey, Grant, Mac, NetworkId, Refusal, Rssi, Seconds, Security, Ssid,
};

/// The name of one VAP from its ADD to its removal.
///
/// The slot is small (0 to `max_vaps` − 1), names the interface (`vap0`, …) and is used again
/// only when the BSS in it is gone; the generation tells a VAP from the slot's former ones, so
/// that a late result cannot hit a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VapId {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

impl VapId {
    /// An id as the machine would make it: for tests of whoever carries out its actions.
    pub const fn new(slot: u16, generation: u32) -> Self {
        Self { slot, generation }
    }

    /// The slot, counted from 0 on this radio.
    pub const fn slot(self) -> u16 {
        self.slot
    }

    /// How many VAPs had this slot before.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for VapId {
    /// `vap` and the slot: `vap0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vap{}", self.slot)
    }
}

/// One question to the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId(pub u64);

impl fmt::Display for LookupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One BSS of the radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bss {
    /// The owner's own, which the machine neither adds nor removes.
    Home,
    /// A VAP.
    Vap(VapId),
}

impl From<VapId> for Bss {
    fn from(vap: VapId) -> Self {
        Self::Vap(vap)
    }
}

impl fmt::Display for Bss {
    /// `home`, or the VAP's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("home"),
            Self::Vap(vap) => vap.fmt(f),
        }
    }
}

/// Something to be done, in the order given.
///
/// For one VAP there is at most one of `AddBss`, `SetDevices` and `RemoveBss` under way; each
/// must be followed by its result ([`handle_bss_added`](crate::Radio::handle_bss_added),
/// [`handle_devices_set`](crate::Radio::handle_devices_set),
/// [`handle_bss_removed`](crate::Radio::handle_bss_removed)), whatever it is, unless
/// [`handle_hostapd_lost`](crate::Radio::handle_hostapd_lost) comes first. Commands not yet sent
/// when hostapd is lost are dropped by whoever sends them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the core; [`handle_answer`](crate::Radio::handle_answer) follows.
    LookUp {
        /// The question's number.
        id: LookupId,
        /// Who asks to be served.
        mac: Mac,
        /// Under which SSID.
        ssid: Ssid,
        /// The signal of its last probe.
        signal: Option<Rssi>,
    },
    /// Add a BSS to hostapd.
    AddBss {
        /// Its name from now on.
        vap: VapId,
        /// Whose it is.
        network: NetworkId,
        /// What it announces.
        ssid: Ssid,
        /// How devices authenticate.
        security: Security,
        /// Where their traffic leaves.
        anchor: Anchor,
        /// Who may, by MAC, each with its own key. Never empty.
        devices: Vec<(Mac, DeviceKey)>,
        /// When a silent device is disconnected: the shortest any of the devices was granted.
        idle_timeout: Option<Seconds>,
    },
    /// Replace the devices of a VAP, all of them.
    SetDevices {
        /// Where.
        vap: VapId,
        /// Who may, by MAC. Never empty.
        devices: Vec<(Mac, DeviceKey)>,
    },
    /// Replace the core's devices of the owner's BSS, all of them;
    /// [`handle_home_devices_set`](crate::Radio::handle_home_devices_set) follows.
    SetHomeDevices {
        /// Who may, by MAC. Often empty.
        devices: Vec<(Mac, DeviceKey)>,
    },
    /// Remove a BSS from hostapd. That there is none is success.
    RemoveBss {
        /// Which.
        vap: VapId,
    },
    /// Put a station out. No result is expected; a station that is not there is no failure.
    Deauthenticate {
        /// Where.
        bss: Bss,
        /// Whom.
        mac: Mac,
    },
}

/// What became of a [`Action::LookUp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Serve the device.
    Granted(Grant),
    /// Do not.
    Refused(Refusal),
    /// No server answered in time.
    Unreachable,
}

/// What a revocation hit. Nothing at all is a NAK (RFC 5176 3.5, Error-Cause 503).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Revoked {
    /// Entries dropped from memory.
    pub entries: usize,
    /// Connected stations put out.
    pub sessions: usize,
}

impl Revoked {
    /// Whether it hit nothing.
    pub const fn is_empty(self) -> bool {
        self.entries == 0 && self.sessions == 0
    }
}
