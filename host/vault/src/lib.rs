//! Sealed things by name: what a role needs of its state after a restart.
//!
//! A [`Vault`] is one SQLite file and one key file (`homeward-seal`). A thing has a kind and a name,
//! and is octets, which are sealed, and open only as what they were kept as. What
//! [`Vault::commit`] returns from is on disk; changes that wait are committed together, for a disk
//! syncs as often for a hundred as for one.
//!
//! It is read once, at the start ([`Vault::all`]): roles work from memory.
#![forbid(unsafe_code)]

mod error;
mod vault;

pub use error::VaultError;
pub use vault::{Change, Kept, Vault};
