//! The core as a RADIUS server, asked by FreeRADIUS's own client and by wpa_supplicant's EAP.
//!
//! ```text
//!   radclient, eapol_test ──127.0.0.1──► homeward core ◄──SQLite── homeward admin
//! ```
// So that clippy knows the helpers below for tests too.
#![cfg(test)]

mod accounting;
mod coa;
mod core;
mod differential;
mod disk;
mod dissector;
mod logins;
mod lookups;
mod matrix;
mod nas;
mod pki;
mod put_out;
mod pyrad;
mod radsec;
mod realms;
mod realms_by_tls;
mod terms;
mod uplink;
