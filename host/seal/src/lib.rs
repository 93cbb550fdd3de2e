//! Secrets at rest: a ring of keys in a file of their owner's, and AES-256-GCM with them.
//!
//! [`KeyRing`] is the key file, [`Sealer`] seals and opens with its keys, and a [`Slot`] says where a
//! sealed value belongs: it opens nowhere else.
//!
//! The crate's promise: what it has sealed is read by nobody without the key file, and by whoever
//! has it for as long as the key is in there. Where sealed values are kept is its users' affair:
//! rows of a database or files.
#![forbid(unsafe_code)]

mod keyring;
mod sealer;
#[doc(hidden)]
pub mod testing;

pub use keyring::{KeyFileError, KeyId, KeyRing, Lock};
pub use sealer::{SealError, Sealer, Slot};
