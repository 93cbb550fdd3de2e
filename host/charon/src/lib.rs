//! strongSwan's IKE daemon, charon, driven by its VICI socket.
//!
//! Each command is a connection of its own: there is nothing to keep, and a daemon that was restarted
//! is not noticed otherwise than by what it has forgotten. What it is to know anew, [`Charon::shared`]
//! tells.
//!
//! The packets are `homeward-vici`'s. There are clients on crates.io; what they lack for this use is
//! that a key which went through them is wiped, and that a connection which is lost ends a command.
#![forbid(unsafe_code)]

mod charon;
mod error;

pub use charon::{Charon, Version};
pub use error::CharonError;
pub use homeward_vici::{Entry, Section};
