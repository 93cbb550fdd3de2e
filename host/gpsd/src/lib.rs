//! Where the machine is, as gpsd has it: its JSON over TCP (`gpsd_json(5)`), version 3 of the protocol.
//!
//! | module | what it is |
//! |---|---|
//! | [`report`] | pure: a line of gpsd's, decoded |
//! | [`mod@watch`] | [`watch()`]: fixes as they come, from a gpsd that may come and go |
//!
//! What a receiver says is not trusted here, nor is it checked: that is for whoever uses it
//! ([`homeward_coverage`]). No log has a position.
#![forbid(unsafe_code)]

pub mod report;
#[doc(hidden)]
pub mod testing;
pub mod watch;

pub use report::{Report, parse};
pub use watch::{Gpsd, watch};
