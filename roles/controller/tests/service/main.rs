//! The role on a datastore in memory, with gateways that come over real TLS.
//!
//! ```text
//!  gw-1 (home of smithnet) ──┐
//!  gw-2 (foreign)          ──┼── controller ── store
//! ```
#![expect(clippy::unwrap_used, reason = "all of this crate is tests, its helpers too")]

mod changes;
mod channels;
mod reviews;
mod stun;
mod world;
