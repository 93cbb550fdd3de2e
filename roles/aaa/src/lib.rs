//! The AAA role: answers look-ups from memory, and takes grants back when the records change.
//!
//! | module | does |
//! |---|---|
//! | [`accounting`] | what NASes report: into the ledger, and answered once it is on disk |
//! | [`admission`] | whether a log-in is let in: a pure function |
//! | [`password`] | passwords, held against what is stored |
//! | `login`, `conversations`, `directory`, `checker` | log-ins as a worker handles them |
//! | `spender` | log-ins that are good for one log-on, spent |
//! | [`decoys`] | names that nobody has, made to look like those that somebody has |
//! | `tries` | how often a password may be tried, and a NAS may ask |
//! | [`realms`] | partners: whose subscribers are asked about elsewhere |
//! | [`pki`] | an authority of the operator's own for EAP's certificate |
//! | [`eap`] | what EAP is spoken with |
//! | [`radsec`] | RADIUS over TLS: which certificates, and whose |
//! | [`config`] | the `[aaa]` section of the configuration |
//! | [`projection`] | the hot records, in memory |
//! | [`watch`] | keeps the projection as the store is |
//! | [`usage`] | what everybody has used, in memory |
//! | [`class`] | the Class that joins accounting to what was let in |
//! | `front`, `desk` | what workers do before they know what a datagram says, and after |
//! | [`decision`] | the answer to a look-up: a pure function |
//! | [`server`] | a worker: datagrams in, answers out |
//! | [`grants`] | who was told to serve whom |
//! | [`changes`] | which sessions are to be told that they are allowed something else |
//! | `courier`, `held` | the way of a revocation to a gateway, which may be away |
//! | [`review`] | what a gateway holds when it is back, looked at anew |
//! | [`revoke`] | tells gateways to stop, and NASes to change what a session is allowed |
//! | [`figures`] | metrics |
//! | [`service`] | the loop around them: sockets, status, stop |
#![forbid(unsafe_code)]

pub mod accounting;
pub mod admission;
pub mod changes;
mod checker;
pub mod class;
pub mod config;
mod conversations;
mod courier;
pub mod decision;
pub mod decoys;
mod desk;
mod directory;
pub mod eap;
pub mod figures;
mod front;
pub mod grants;
mod hashing;
mod held;
pub mod login;
mod overview;
pub mod password;
pub mod pki;
pub mod projection;
pub mod radsec;
pub mod realms;
pub mod review;
pub mod revoke;
pub mod server;
pub mod service;
mod spender;
#[cfg(test)]
mod testing;
mod tries;
pub mod usage;
pub mod watch;

pub use config::Config;
pub use courier::Channel;
pub use review::Review;
pub use service::{Base, Started, start};
