//! The life of virtual access points (VAPs) on one radio, as one pure machine with the
//! gateway's memory in it.
//!
//! [`Radio`] is fed what was heard (probe requests, the core's answers, hostapd's results and
//! events) and is asked what to do ([`Radio::poll_action`]), what happened
//! ([`Radio::poll_event`]) and when to call again ([`Radio::poll_timeout`]).
//!
//! ```text
//!  probe ─► memory ── known ──────────────► member of its network's VAP ─► AddBss / SetDevices
//!             │                                ▲            │
//!             └─ unknown ─► budget ─► LookUp ──┘            └─ idle, refused, revoked ─► RemoveBss
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`settings`] | the limits and times |
//! | [`action`], [`event`], [`status`] | what comes out |
//! | `radio` | the machine: what goes in |
//! | `answers` | look-ups, their answers, revocations and what time brings |
//! | `serve` | which device is served where, reconciled with what hostapd confirmed |
//! | `prepare` | places held for devices that have not come yet |
//! | `results` | what hostapd reports |
//! | `vap` | the states of a VAP, its slot, and its removal |
//! | `roster` | the devices of one BSS: who may, who is connected |
//! | `memory` | what the core said, bounded |
//! | `budget` | how many unknown devices may be asked about |
//!
//! A VAP is kept for a network as long as it has members. A member is a device the core granted
//! that is connected, was heard within [`Settings::vap_idle`], or is prepared. Everything else follows by
//! comparing what is wanted with what hostapd has confirmed.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod action;
pub mod event;
pub mod settings;
pub mod status;

mod answers;
mod budget;
mod memory;
mod prepare;
mod radio;
mod results;
mod roster;
mod serve;
mod vap;

pub use action::{Action, Answer, Bss, LookupId, Revoked, VapId};
pub use event::{Asked, Event, Forgotten, Ignored, NoRoom, Removed, Unprepared, Withdrawn};
pub use radio::Radio;
pub use settings::Settings;
pub use status::{
    Counters, DeviceStatus, EntryState, EntryStatus, HomeStatus, Status, VapState, VapStatus,
};
