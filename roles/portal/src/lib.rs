//! The portal role: hands devices their Wi-Fi credentials over the cellular network.
//!
//! A device that is attached asks from the address that its packet gateway gave it. What the
//! gateway's accounting says of that address is believed, what the device says is not: it gets what
//! its subscriber is entitled to, or a refusal that says nothing.
//!
//! | module | does |
//! |---|---|
//! | [`api`] | the administrators' API: JSON over HTTPS, by bearer tokens |
//! | [`config`] | the `[portal]` section of the configuration |
//! | [`http`] | the listener: TLS, PROXY protocol, HTTP, and limits that slow clients run into |
#![forbid(unsafe_code)]

pub mod api;
pub mod config;
pub mod http;
#[doc(hidden)]
pub mod testing;

pub use config::Config;
