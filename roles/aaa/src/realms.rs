//! Realms of others: requests of their subscribers go to them, and what they answer to the NAS.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | `[aaa.realms]` and `[[aaa.partner]]` |
//! | [`relay`] | the loop around [`homeward_proxy`]: to partners, and back to the workers |
//! | `links` | sockets and connections to partners |
//!
//! A worker decides by itself what is local, which costs a look into a table; the rest goes
//! through the one relay, so that partners' servers are watched once.

pub mod config;
pub mod relay;

mod links;

/// What the key of Proxy-States is derived for.
pub const PURPOSE: &str = "homeward radius proxy-state 1";

pub use config::{Partner, RealmsConfig};
