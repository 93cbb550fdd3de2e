//! The device role: learns who the modem is, asks the operator's portal for Wi-Fi credentials
//! over cellular, has the supplicant log on when a network is strong enough, and moves connections
//! there once it leads to the Internet. Where the operator has hand-off keys, it hops with each move, and
//! proves its hops to the servers that want it.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`service`] | the loop around the offload machine: inputs, actions, status, stop |
//! | [`portal`] | asks the portal, over cellular and nothing else |
//! | [`probe`] | looks whether the Internet is reached, over Wi-Fi and nothing else |
//! | [`dial`] | connections that leave by one interface |
//! | [`handoff`] | a session for each server: hops, proofs, keys for traffic |
//! | [`home`] | the device's own tunnel home, by Wi-Fi and cellular |
//! | [`hands`] | has the supplicant do what the machine wants, and says what it does |
//! | `span` | where the next scan is to be |
//! | `addresses` | by which addresses traffic can leave by Wi-Fi |
//! | `reload` | what of a changed configuration takes effect at once |
//! | [`doctor`] | what the machine lacks |
//! | `journal`, `figures` | log lines; metrics |
//! | [`vault`] | credentials at rest, sealed; what the user has switched |
//! | `hook` | runs the program that wants to know |
#![forbid(unsafe_code)]

mod addresses;
pub mod config;
pub mod dial;
pub mod doctor;
mod figures;
pub mod handoff;
pub mod hands;
pub mod home;
mod hook;
mod journal;
pub mod portal;
pub mod probe;
mod reload;
pub mod service;
mod span;
pub mod vault;

pub use config::Config;
pub use service::run;
