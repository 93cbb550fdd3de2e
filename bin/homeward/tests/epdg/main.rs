//! A network behind an ePDG: strongSwan at both ends, by the files in `packaging/edge`, a core that has the
//! network's security module as a part of it, and the network before. Each in a namespace of its own.
//!
//! ```text
//!   device                     router                    epdg
//!   charon, agent ══ w1, w2 ══ 10.1.0.1, 10.2.0.1 ══ e ══ 10.9.0.2: charon; core with module n1
//!   10.1.0.2, 10.2.0.2         10.9.0.1                   (RADIUS on loopback); module n0; guard
//!   10.45.1.x in the tunnel                               10.45.0.1: a service
//! ```
// So that clippy knows the helpers for tests too.
#![cfg(test)]

mod demands;
mod lab;
mod moves;
