//! A device goes from network to network, by real modules and a real guard on loopback.
//!
//! ```text
//!   device ──(clear)── module n0 ─┐
//!          ──(clear)── module n1 ─┤ mutual TLS, each to each, and to the guard
//!          ──(clear)── module n2 ─┤
//!          ──(clear)── guard  s  ─┘──(HTTP /verify)── whoever stands in front of the service
//! ```
// So that clippy knows the helpers for tests too.
#![cfg(test)]

mod agent;
mod call;
mod edge;
mod enrolled;
mod gate;
mod liars;
mod moves;
mod password;
mod wireguard;
mod world;
