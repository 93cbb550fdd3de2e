//! The control sockets of hostapd and wpa_supplicant, which speak one protocol.
//!
//! | module | what it is |
//! |---|---|
//! | [`control`] | [`Control`]: one control socket; [`Events`]: what it has to tell |
//! | [`line`](mod@line) | pure: the form of an event line, and what all events have in common |
//! | [`interface`] | pure: names of interfaces that are safe wherever they stand |
//! | [`files`] | the files that the daemons read: private, replaced whole |
#![forbid(unsafe_code)]

pub mod control;
pub mod files;
pub mod interface;
pub mod line;

pub use control::{Command, Control, ControlError, Events};
pub use interface::{InterfaceName, InterfaceNameError};
pub use line::{Line, Told};
