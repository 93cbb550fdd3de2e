//! The guard in front of an application server.
//!
//! It follows the chain of each session: networks tell it of hops, devices prove that they have the
//! key of every one. What a device wants admitted, a call or an address and port, is admitted while
//! the chain holds; whoever stands in front of the service asks by HTTP (`/verify`), or the kernel
//! lets nobody else in (`[gate]`).
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | `guard.toml` |
//! | [`guard`] | [`Guard`]: what networks and devices are answered |
//! | [`sessions`] | [`Sessions`]: the chains that are followed |
//! | [`admitted`] | [`Admissions`]: which flows are let pass, until when |
//! | [`gate`] | the same by nftables, for services that ask nobody |
//! | [`verify`] | [`Verify`]: the answer to Kamailio, nginx (`auth_request`), Envoy (`ext_authz`) |
//! | [`digest`] | [`Digest`]: whether a SIP or HTTP request is by the device that proved its flow |
//! | [`commands`] | what its status socket can be told |
//! | [`figures`] | metrics |
//! | [`service`] | the role: all of these, started |
#![forbid(unsafe_code)]

pub mod admitted;
pub mod commands;
pub mod config;
pub mod digest;
pub mod figures;
pub mod gate;
pub mod guard;
pub mod service;
pub mod sessions;
pub mod verify;

pub use admitted::Admissions;
pub use config::Config;
pub use digest::Digest;
pub use guard::Guard;
pub use service::{doctor, run};
pub use sessions::Sessions;
pub use verify::Verify;
