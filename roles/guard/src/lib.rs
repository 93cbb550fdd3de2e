//! The guard in front of an application server.
//!
//! It follows the chain of each session: networks tell it of hops, devices prove that they have the
//! key of every one. What a device wants admitted, a call or an address and port, is admitted while
//! the chain holds; whoever stands in front of the service asks by HTTP (`/verify`).
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | `guard.toml` |
//! | [`guard`] | [`Guard`]: what networks and devices are answered |
//! | [`sessions`] | [`Sessions`]: the chains that are followed |
//! | [`endpoint`] | [`Endpoint`]: a flow that names an address
//! | [`admitted`] | [`Admissions`]: which flows are let pass, until when |
//! | [`verify`] | [`Verify`]: the answer to Kamailio, nginx (`auth_request`), Envoy (`ext_authz`) |
//! | [`digest`] | [`Digest`]: whether a SIP or HTTP request is by the device that proved its flow
//! | [`commands`] | what its status socket can be told |
//! | [`figures`] | metrics |
//! | [`service`] | the role: all of these, started |
#![forbid(unsafe_code)]

pub mod admitted;
pub mod commands;
pub mod config;
pub mod digest;
pub mod endpoint;
pub mod figures;
pub mod guard;
pub mod service;
pub mod sessions;
pub mod verify;

pub use admitted::Admissions;
pub use config::Config;
pub use digest::Digest;
pub use endpoint::Endpoint;
pub use guard::Guard;
pub use service::{doctor, run};
pub use sessions::Sessions;
pub use verify::Verify;
