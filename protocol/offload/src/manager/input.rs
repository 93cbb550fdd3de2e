//! What the machine is told.

use std::time::Duration;

use homeward_model::{Imei, Imsi, Mac, Nai, Rssi, Secret, Ssid, UnixTime, WlanPolicy};
use serde::{Deserialize, Serialize};

use crate::wire::HandoffKeys;

/// What the modem says, all of it each time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModemFacts {
    /// Whether there is a modem at all.
    pub present: bool,
    /// Who its SIM is; `None` without one, or while it is locked.
    pub imsi: Option<Imsi>,
    /// Which equipment it is.
    pub imei: Option<Imei>,
    /// Whether a network has taken it in.
    pub registration: Registration,
    /// Whether there is a bearer that the portal can be asked over.
    pub bearer: bool,
    /// Whether short messages come and go.
    pub messages: bool,
}

/// How a modem stands with its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registration {
    /// It is not known.
    #[default]
    Unknown,
    /// It is not registered, and does not try.
    Idle,
    /// It looks for a network.
    Searching,
    /// The network refused it.
    Denied,
    /// It is at home.
    Home,
    /// It is a guest in another network.
    Roaming,
}

/// One access point of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Which.
    pub bssid: Mac,
    /// What it announces.
    pub ssid: Ssid,
    /// How strong it is.
    pub signal: Rssi,
    /// Whether it wants a log-on by 802.1X.
    pub enterprise: bool,
}

/// What the supplicant says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupplicantEvent {
    /// It is there, and has none of the machine's networks: it was started, or is spoken to for
    /// the first time.
    Ready {
        /// The address that the station uses.
        mac: Mac,
    },
    /// It is gone.
    Lost,
    /// Whether the radio may send: false while a switch (rfkill) has it off.
    Radio(bool),
    /// Whether the station is on a network that somebody else has it use: that is left alone, and
    /// none is joined meanwhile.
    Lent(bool),
    /// What became of [`Action::Program`](super::Action::Program).
    Programmed(super::ProgramId, Result<(), String>),
    /// The station is associated; the log-on follows.
    Associated {
        /// With whom.
        bssid: Mac,
    },
    /// Logged on, and keys are in place.
    Connected {
        /// With whom.
        bssid: Mac,
    },
    /// The access point did not take the station.
    AssociationFailed {
        /// Which; `None` where it is not known.
        bssid: Option<Mac>,
    },
    /// The log-on was refused: name or password.
    Rejected,
    /// The server's certificate is not what the policy pins.
    WrongServer {
        /// What is wrong with it, in the supplicant's words.
        what: String,
    },
    /// There is no association any more.
    Disconnected,
}

impl SupplicantEvent {
    /// What it is, in a word, for logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ready { .. } => "ready",
            Self::Lost => "lost",
            Self::Radio(true) => "radio on",
            Self::Radio(false) => "radio off",
            Self::Lent(true) => "lent",
            Self::Lent(false) => "not lent",
            Self::Programmed(_, Ok(())) => "programmed",
            Self::Programmed(_, Err(_)) => "not programmed",
            Self::Associated { .. } => "associated",
            Self::Connected { .. } => "connected",
            Self::AssociationFailed { .. } => "association failed",
            Self::Rejected => "rejected",
            Self::WrongServer { .. } => "wrong server",
            Self::Disconnected => "disconnected",
        }
    }
}

/// What a portal answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name to log on with.
    pub username: Nai,
    /// Its password.
    pub password: Secret,
    /// Until when they are good; `None`: for life.
    pub expires: Option<UnixTime>,
    /// From when on new ones may be had.
    pub renew_from: Option<UnixTime>,
    /// Whether one log-on spends them.
    pub one_time: bool,
    /// What the operator has decided about Wi-Fi.
    pub policy: WlanPolicy,
    /// What time the portal says it is: the `Date` of its answer.
    pub date: Option<UnixTime>,
    /// The keys for hand-offs that came with it.
    pub handoff: Option<HandoffKeys>,
}

/// Whether the device has hand-off keys of its portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keys {
    /// It wants none: it has no hand-offs, or keys that somebody gave it by hand.
    #[default]
    Unwanted,
    /// It has those that came while this SIM was in it; `None`: none, or others are to come. With
    /// another SIM it is to have others: who has a SIM has its name among networks.
    Of(Option<Imsi>),
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The portal was not reached, or went away. The words are for people.
    Away(String),
    /// The portal has too much to do, and said for how long.
    Busy(Option<Duration>),
    /// The portal refused. It does not say why.
    Refused,
    /// What came is no answer. The words are for people.
    Invalid(String),
}

/// What a check of connectivity found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connectivity {
    /// What was asked for came.
    Open,
    /// Something else came: somebody wants to be visited first.
    Captive,
    /// Nothing came.
    Dead,
}

/// What the user has switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// Whether Wi-Fi is to be used at all.
    pub offload: bool,
    /// Whether networks that are counted as dear may be used.
    pub metered: bool,
}

impl Default for Switches {
    /// Wi-Fi is used, where it is not dear.
    fn default() -> Self {
        Self { offload: true, metered: false }
    }
}
