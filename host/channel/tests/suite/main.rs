//! Real TLS on loopback: a core with a gatekeeper in memory, and gateways.
//!
//! | module | proves |
//! |---|---|
//! | [`enrolment`] | a token is good once, for a while, and for one core only |
//! | [`channel`] | what is said arrives; who does not read is cut off; why a channel ended |
//! | [`admission`] | which certificates are let in |
//! | [`renewal`] | a certificate is renewed in time, with a new key |
//! | [`foreign`] | no octets make a decoder panic |
#![expect(clippy::unwrap_used, reason = "all of this crate is tests, its helpers too")]

mod admission;
mod channel;
mod enrolment;
mod foreign;
mod renewal;
mod world;
