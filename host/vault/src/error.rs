//! What can be wrong with a vault, and the repair.

use std::io;
use std::path::PathBuf;

use homeward_daemon::private::PrivateError;
use homeward_seal::{KeyFileError, SealError};

/// Why a vault does not open, or does not keep.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Its directory or its file may be read by others, or cannot be made.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The file cannot be read or made.
    #[error("cannot open the vault {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the vault {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Something else is in that file.
    #[error("{} is no vault: name another file, or move that one away", .0.display())]
    Foreign(PathBuf),
    /// SQLite says no.
    #[error("the vault {} fails", path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// It is of a version that is not known.
    #[error("the vault {} is of a later version", path.display())]
    Schema {
        /// Which.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// The key file cannot be used.
    #[error("the vault's key file cannot be used")]
    Key(#[from] KeyFileError),
    /// Something in it does not open.
    #[error("what is in the vault does not open")]
    Seal(#[from] SealError),
    /// A thing is kept under another name than its own.
    #[error("a {kind} in the vault {} is under another name than its own: the file was altered", path.display())]
    Misplaced {
        /// What it is.
        kind: &'static str,
        /// Which vault.
        path: PathBuf,
    },
    /// What keeps things has ended.
    #[error("nothing is kept any more: the process stops, or the vault failed")]
    Over,
}
