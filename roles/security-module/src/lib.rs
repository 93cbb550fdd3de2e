//! A network's security module.
//!
//! It authorises devices by the keys that it shares with them (H1), has the network before give what
//! a device's ticket opens (H3), or the application server (H4), integrates, signs a record of it,
//! and tells the server. To networks that a device goes on to it gives what their ticket opens.
//!
//! | module | holds |
//! |---|---|
//! | [`commands`] | what its status socket can be told |
//! | [`config`] | `security-module.toml` |
//! | [`module`] | [`Module`]: what devices and peers are answered |
//! | [`visits`] | [`Visits`]: which devices are here, and were, in which sessions |
//! | [`epdg`] | [`Epdg`]: strongSwan, which demands the key of the network before |
//! | [`enrolled`] | [`Enrolled`]: the keys that are shared with devices |
//! | [`enrolling`] | a root key for a device, and what networks are given of it |
//! | [`outbox`] | [`Outbox`]: what other networks are still to be told of devices |
//! | [`attempts`] | [`Attempts`]: who has failed too often |
//! | [`figures`] | metrics |
//! | [`service`] | the role: all of these, started |
#![forbid(unsafe_code)]

pub mod attempts;
pub mod commands;
pub mod config;
pub mod enrolled;
pub mod enrolling;
pub mod epdg;
pub mod figures;
pub mod module;
pub mod outbox;
pub mod service;
pub mod visits;

pub use attempts::Attempts;
pub use config::{Config, Embedded, EpdgConfig};
pub use enrolled::Enrolled;
pub use epdg::Epdg;
pub use module::Module;
pub use outbox::Outbox;
pub use service::{Started, doctor, run, start};
pub use visits::Visits;
