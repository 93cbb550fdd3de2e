//! The two machines together: gateways' links and the controller over a transport that may break.
//!
//! ```text
//!  agent ◄─► Link ── wire: encoded, late, cut off in the middle ── Controller ◄─► store
//!  agent ◄─► Link ── wire ─────────────────────────────────────────┘
//! ```
#![cfg(test)]

mod agent;
mod hybrid;
mod limits;
mod link;
mod preparation;
mod resync;
mod simulation;
mod tunnels;
mod whereabouts;
mod world;
