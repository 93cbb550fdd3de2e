//! The portal role: hands devices their Wi-Fi credentials over the cellular network.
//!
//! A device that is attached asks from the address that its packet gateway gave it. What the
//! gateway's accounting says of that address is believed, what the device says is not: it gets what
//! its subscriber is entitled to, or a refusal that says nothing.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | the `[portal]` section of the configuration |
//! | [`routes`] | what devices ask: credentials in JSON, XML and SOAP, and what describes them |
//! | [`desk`] | who asks, what they are entitled to, what they get |
//! | [`committer`] | issues what waits in one transaction |
//! | [`budget`] | how often a bearer may ask |
//! | [`bearers`] | which address is whose, as packet gateways account for it |
//! | [`sms`] | the same by short message, through an SMSC |
//! | [`acme`] | the certificate, where an ACME server issues it |
//! | [`api`] | the administrators' API: JSON over HTTPS, by bearer tokens |
//! | [`handoff`] | hand-off keys beside credentials |
//! | [`figures`] | metrics |
//! | [`upkeep`] | takes from the datastore what has had its time |
//! | [`service`] | the role: all of these, started |
#![forbid(unsafe_code)]

pub mod acme;
pub mod api;
pub mod bearers;
pub mod budget;
pub mod committer;
pub mod config;
pub mod desk;
pub mod figures;
pub mod handoff;
pub mod routes;
pub mod service;
pub mod sms;
pub mod upkeep;

pub use config::Config;
pub use service::{Base, Started, start};
