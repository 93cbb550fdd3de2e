//! VICI, pure: what strongSwan's IKE daemon, charon, is told to do, and what it answers.
//!
//! The protocol is that of `libcharon/plugins/vici/README.md` in strongSwan's source. A stream of
//! segments, each with its length before it; a segment is a [`Packet`], with a name, a message or both;
//! a message is a [`Section`]: a tree of sections, lists and values.
//!
//! | module | holds |
//! |---|---|
//! | [`section`] | messages: [`Section`], [`Entry`] |
//! | [`packet`] | [`Packet`], and the length before it |
//! | [`command`] | the commands that are used here, and what their answers say |
//! | [`error`] | what cannot be written, read or done |
//!
//! Values may be keys: they are wiped when they are dropped, and no log has them.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod command;
pub mod error;
pub mod packet;
pub mod section;
#[doc(hidden)]
pub mod testing;

pub use error::{Failed, Malformed, TooLong};
pub use packet::Packet;
pub use section::{Entry, Section};
