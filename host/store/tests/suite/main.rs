//! What every datastore does, run on SQLite and in memory; and what SQLite does besides.
//!
//! | module | proves |
//! |---|---|
//! | [`contract`] | one function per behaviour, run on each datastore |
//! | [`differential`] | any sequence of operations has the same answers on each |
//! | [`file`] | what may be wrong with a file, a key file, a lock |
//! | [`processes`] | two independent pools share one file |
//! | [`secrecy`] | no secret is on disk in the clear |
#![expect(clippy::unwrap_used, reason = "all of this crate is tests, its helpers too")]

mod contract;
mod differential;
mod file;
mod processes;
mod secrecy;
mod world;
