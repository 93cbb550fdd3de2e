//! Offload, pure: how a device gets its Wi-Fi credentials over cellular, and when it uses them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`wire`] | the messages between a device and the portal, and their forms |
//! | [`issuing`] | whether a request is answered, and with what |
//! | [`manager`] | the device's side: when it asks, joins, moves and comes back |
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod issuing;
pub mod manager;
#[doc(hidden)]
pub mod testing;
pub mod wire;
