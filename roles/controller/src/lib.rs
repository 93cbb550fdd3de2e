//! The controller role: brings gateways together.
//!
//! A loop around [`homeward_control::Controller`], which decides: it hears gateways over
//! `host/channel`, is told what the store says and what changes in it, and carries out what it
//! decides. No look-up in the store is ever waited for in the loop.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | the `[controller]` section of the configuration |
//! | [`authority`] | the certificate authority, made at the first start |
//! | [`gate`] | whom the channel's server lets in: the store's word |
//! | [`facts`] | what the controller is to know of a network |
//! | [`watch`] | follows the store for what changes |
//! | [`hub`] | the machine, its channels, and its look-ups |
//! | [`journal`] | what happened: a log line and a counter each |
//! | [`figures`] | metrics |
//! | [`revocations`] | devices that AAA has put out, on their way to gateways, and back |
//! | [`stun`] | tells data planes how the Internet sees them |
//! | [`service`] | the loop around them |
#![forbid(unsafe_code)]

pub mod authority;
pub mod config;
pub mod facts;
pub mod figures;
pub mod gate;
pub mod hub;
pub mod journal;
pub mod revocations;
pub mod service;
pub mod stun;
pub mod watch;

pub use config::Config;
pub use homeward_control::HeldLogin;
pub use revocations::{Reviewer, Revocations, Revoking};
pub use service::start;
