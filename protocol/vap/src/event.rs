//! What happened: one event for each thing worth a log line or a counter.

use std::fmt;
use std::time::Duration;

use homeward_model::{Mac, NetworkId, Refusal, RefusalReason, Security, Ssid};

use crate::{Bss, LookupId, VapId};

/// Something that happened. MACs print redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the words of the crate; each variant says what it means"
)]
pub enum Event {
    /// The core is being asked.
    LookupStarted { id: LookupId, mac: Mac, ssid: Ssid, asked: Asked },
    /// The core said yes. `changed` is false where a refresh brought nothing new.
    LookupGranted {
        id: LookupId,
        mac: Mac,
        ssid: Ssid,
        network: NetworkId,
        at_home: bool,
        changed: bool,
        took: Duration,
    },
    /// The core said no, or granted what cannot be served.
    LookupRefused { id: LookupId, mac: Mac, ssid: Ssid, refusal: Refusal, took: Duration },
    /// The core did not answer. `granted`: the device has a grant in memory, which stays good.
    LookupUnreachable { id: LookupId, mac: Mac, ssid: Ssid, granted: bool, took: Duration },
    /// An answer to a question that is no longer open: revoked, evicted or answered already.
    AnswerDropped { id: LookupId },
    /// A probe was answered from memory.
    MemoryHit { mac: Mac, ssid: Ssid, network: NetworkId },
    /// Nothing is done about a probe (or a stranger's wrong key).
    ProbeIgnored { mac: Mac, ssid: Ssid, why: Ignored },
    /// A granted device is not served, for want of room.
    NoRoom { mac: Mac, ssid: Ssid, network: NetworkId, why: NoRoom },
    /// A grant left the memory.
    GrantForgotten { mac: Mac, ssid: Ssid, why: Forgotten },

    /// A BSS is being added.
    VapAdding { vap: VapId, network: NetworkId, ssid: Ssid, security: Security, devices: usize },
    /// A BSS is on the air. `took` is hostapd's time; `after_probe` is counted from the probe
    /// that asked for it.
    VapUp { vap: VapId, network: NetworkId, took: Duration, after_probe: Duration },
    /// hostapd refused a BSS; it is tried again after `retry_in` if it is still wanted.
    VapAddFailed { vap: VapId, network: NetworkId, error: String, retry_in: Duration },
    /// A BSS is being removed.
    VapRemoving { vap: VapId, network: Option<NetworkId>, why: Removed },
    /// A BSS is gone.
    VapRemoved { vap: VapId, network: Option<NetworkId>, took: Duration },
    /// hostapd did not remove a BSS; it is asked again after `retry_in`.
    VapRemoveFailed { vap: VapId, error: String, retry_in: Duration },
    /// The devices of a BSS are as wanted.
    DevicesSet { bss: Bss, devices: usize, took: Duration },
    /// hostapd did not take the devices of a BSS; it is asked again after `retry_in`.
    DevicesSetFailed { bss: Bss, error: String, retry_in: Duration },

    /// A device is connected. `after_probe`: since it was last heard probing, where it is a
    /// device of ours.
    DeviceConnected { bss: Bss, mac: Mac, after_probe: Option<Duration> },
    /// A device is no longer connected, after `connected`.
    DeviceDisconnected { bss: Bss, mac: Mac, connected: Duration },
    /// A device has lost its place. `connected`: it was put out.
    DeviceWithdrawn { bss: Option<Bss>, mac: Mac, ssid: Ssid, why: Withdrawn, connected: bool },
    /// A station without permission is connected and is put out.
    StrangerPutOut { vap: VapId, mac: Mac },
    /// A device may have the wrong key. `granted`: it is one of ours.
    WrongKey { bss: Bss, mac: Mac, granted: bool },
    /// A device that is expected could associate now.
    Prepared { mac: Mac, ssid: Ssid, network: NetworkId },
    /// A device is not prepared for, or not any more.
    PreparationEnded { mac: Mac, ssid: Ssid, why: Unprepared },

    /// The core revoked a device.
    Revoked { mac: Mac, ssid: Option<Ssid>, entries: usize, sessions: usize },

    /// hostapd went away, and with it these many VAPs and connected devices.
    HostapdLost { vaps: usize, devices: usize },
    /// hostapd is there; these many VAPs are wanted.
    HostapdReady { vaps: usize },
    /// The core answers again; these many grants are asked for anew.
    CoreBack { grants: usize },
}

/// Why the core is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The device was heard for the first time.
    FirstHeard,
    /// The device was heard before, and there was no answer to be had, or none any more.
    HeardAgain,
    /// A grant is due to be confirmed.
    Refresh,
    /// A granted device failed with its key: it may have a new one.
    WrongKey,
    /// It is expected here.
    Prepared,
}

/// Why nothing is done about a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// Its signal is below the minimum.
    Weak,
    /// Its SSID is never looked up.
    Ssid,
    /// Its source is a group address: forged.
    GroupAddress,
    /// The question is already under way.
    Pending,
    /// The core refused it a short while ago.
    Refused(RefusalReason),
    /// The core did not answer a moment ago.
    Unreachable,
    /// Too many unknown devices are about.
    Budget,
    /// The memory is full of devices being served.
    Memory,
    /// The device is at home here, and the owner's AP looks after its own.
    AtHome,
}

/// What there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// Another VAP: none of those there is empty and unused long enough.
    Vap,
    /// Another device on its network's VAP: all there are connected.
    Device,
}

/// Why a device lost its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// Neither connected nor heard for a while.
    Idle,
    /// Its VAP gave way to another network's, or its place to another device.
    GaveWay,
    /// The core refused it.
    Refused(RefusalReason),
    /// The core revoked it.
    Revoked,
    /// The core has been silent too long.
    Stale,
    /// It belongs elsewhere now: another network, or home.
    Moved,
    /// The settings changed.
    Settings,
}

/// Why a device is not prepared for, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unprepared {
    /// It is not expected any more.
    Withdrawn,
    /// As many as may be are prepared.
    Limit,
    /// There is no room for its VAP, its key or its record.
    NoRoom,
    /// Its address or SSID is none that is served.
    NotServed,
    /// It is at home here.
    AtHome,
    /// The core did not answer.
    Unreachable,
    /// What was known of it had to make room, or timed out.
    Forgotten,
    /// It lost its place.
    Lost(Withdrawn),
}

/// Why a BSS is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// Nobody needs it.
    Unused,
    /// Its network has another security or SSID now.
    Changed,
    /// Its devices could not be set; it is made anew.
    Unsettable,
    /// Its ADD failed: what may be there under that name goes.
    AddFailed,
    /// Its ADD was reported after hostapd was lost: nobody owns it.
    Orphan,
}

/// Why a grant left the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// Nobody used it.
    Unused,
    /// The core has been silent too long.
    Stale,
    /// Others needed the room.
    Pressure,
    /// The settings changed.
    Settings,
}

/// `Display` for an enum of reasons: the words for logs, status and metric labels.
macro_rules! words {
    ($($type:ident { $($pattern:pat => $word:expr),+ $(,)? })+) => { $(
        impl $type {
            /// The word for logs, status and metric labels.
            pub const fn as_str(self) -> &'static str {
                match self { $($pattern => $word),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+ };
}

words! {
    Asked {
        Self::FirstHeard => "first-heard", Self::HeardAgain => "heard-again",
        Self::Refresh => "refresh", Self::WrongKey => "wrong-key", Self::Prepared => "prepared",
    }
    Ignored {
        Self::Weak => "weak", Self::Ssid => "ssid", Self::GroupAddress => "group-address",
        Self::Pending => "pending", Self::Refused(reason) => reason.as_str(),
        Self::Unreachable => "unreachable", Self::Budget => "budget", Self::Memory => "memory",
        Self::AtHome => "at-home",
    }
    NoRoom { Self::Vap => "vap", Self::Device => "device" }
    Withdrawn {
        Self::Idle => "idle", Self::GaveWay => "gave-way",
        Self::Refused(reason) => reason.as_str(), Self::Revoked => "revoked",
        Self::Stale => "stale", Self::Moved => "moved", Self::Settings => "settings",
    }
    Unprepared {
        Self::Withdrawn => "withdrawn", Self::Limit => "limit", Self::NoRoom => "no-room",
        Self::NotServed => "not-served", Self::AtHome => "at-home",
        Self::Unreachable => "unreachable", Self::Forgotten => "forgotten",
        Self::Lost(why) => why.as_str(),
    }
    Removed {
        Self::Unused => "unused", Self::Changed => "changed", Self::Unsettable => "unsettable",
        Self::AddFailed => "add-failed", Self::Orphan => "orphan",
    }
    Forgotten {
        Self::Unused => "unused", Self::Stale => "stale", Self::Pressure => "pressure",
        Self::Settings => "settings",
    }
}
