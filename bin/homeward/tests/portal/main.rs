//! The core as a credential portal: from a bearer that a packet gateway reports to a session that
//! is cut, over loopback in a namespace of the test's own.
//!
//! ```text
//!   packet gateway (radclient) ──accounting──► 127.0.0.1 ┐
//!   devices (curl, zeep) 10.45.0.x ──HTTPS──► 10.64.0.1  ├ homeward core ◄──SQLite── homeward admin
//!   NAS (radclient, eapol_test) ──RADIUS────► 127.0.0.1  ┘      │
//!   NAS (pyrad) ◄──Disconnect-Request───────────────────────────┘
//! ```
//!
//! A device that has messages and no bearer is drawn in `by_message`.
//!
//! With a certificate by ACME there is Pebble besides, which asks pebble-challtestsrv for names and
//! comes to the portal's own port, or to port 80's.
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod acme;
mod by_message;
mod cell;
mod core;
mod enrolled;
mod enumerating;
mod given;
mod kept;
mod nas;
mod refused;
mod soap;
mod used;
