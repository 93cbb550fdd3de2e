//! hostapd, driven live through its control interface.
//!
//! | module | what it is |
//! |---|---|
//! | [`radio`] | [`Radio`]: virtual access points added to, changed on and removed from a running hostapd |
//! | [`bss`] | pure: the configuration of one BSS ([`BssConfig`]) and the text hostapd reads |
//! | [`bssid`] | pure: the BSSID of the nth virtual access point of a radio |
//! | [`event`] | pure: hostapd's event lines, decoded |
//! | [`reply`] | pure: hostapd's answers to `STATUS` and `STA`, decoded |
//!
//! The sockets themselves are [`homeward_ctrl`]'s.
//!
//! Written for hostapd 2.10 (Debian 12) and 2.11. The comments name the traps of either that
//! decided how something is done.
#![forbid(unsafe_code)]

pub mod bss;
pub mod bssid;
mod error;
pub mod event;
pub mod radio;
pub mod reply;
#[doc(hidden)]
pub mod testing;

pub use bss::{Accounting, BssConfig, BssError, VapDevice};
pub use error::RadioError;
pub use event::{BssEvent, Event};
pub use homeward_ctrl::{Command, Control, ControlError, InterfaceName, InterfaceNameError};
pub use radio::{HomeKeys, Radio, Settings};
pub use reply::{BssStatus, RadioStatus, Station};

/// What hostapd has to tell.
pub type Events = homeward_ctrl::Events<BssEvent>;
