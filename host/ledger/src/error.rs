//! What can go wrong, whose fault it is, and the repair.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;

/// What the ledger returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an entry was not taken. It is not in the ledger; leave the NAS unanswered, and it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// As many entries wait as may.
    #[error("{0} records wait to be written, and no more may: the disk is too slow, or stuck")]
    Full(usize),
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

/// Why an entry that was taken has no receipt. It is not in the ledger, or (after
/// [`Self::Io`]) may be without that being certain; leave the NAS unanswered, and it repeats.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Another process held the lock for too long.
    #[error("another process holds the ledger's lock; see who has {} open", .0.display())]
    Locked(PathBuf),
    /// There is no room.
    #[error("the file system of {} is full: make room, and the ledger goes on", .0.display())]
    Full(PathBuf),
    /// The disk or the file system fails.
    #[error("the disk under {} fails", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The file was removed, or another was put in its place: what would be written now is
    /// nowhere.
    #[error("the ledger {} was removed or replaced; put it back, or restart", .0.display())]
    Gone(PathBuf),
    /// Something else is wrong with the database.
    #[error("the ledger {} cannot be written", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The ledger was closed, or its writer has died.
    #[error("the ledger is closed")]
    Closed,
}

impl WriteError {
    /// The word for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Locked(_) => "locked",
            Self::Full(_) => "full",
            Self::Io { .. } => "io",
            Self::Gone(_) => "gone",
            Self::Database { .. } => "database",
            Self::Closed => "closed",
        }
    }

    /// What an error of SQLite on that file means.
    pub(crate) fn of(path: &std::path::Path, error: sqlx::Error) -> Self {
        let path = path.to_owned();
        // SQLITE_BUSY (5), LOCKED (6), IOERR (10), FULL (13), CANTOPEN (14), READONLY (8):
        // the low octet of their extended codes.
        let code = error.as_database_error().and_then(|e| e.code()?.parse::<u32>().ok());
        match code.map(|c| c & 0xff) {
            Some(5 | 6) => Self::Locked(path),
            Some(13) => Self::Full(path),
            Some(8 | 10 | 14) => Self::Io { path, source: Arc::new(error) },
            _ => Self::Database { path, source: Arc::new(error) },
        }
    }
}

/// Why the ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something was not written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Something could not be read.
    #[error("the ledger {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The database holds something that this version does not write.
    #[error("{what} in the ledger is {value:?}, which this version does not know")]
    Unknown {
        /// The column.
        what: &'static str,
        /// What it holds.
        value: String,
    },
    /// The file of a cursor could not be read.
    #[error("the cursor file {} cannot be read", path.display())]
    CursorFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was read, and is something else.
    #[error("{} has no cursor in it", .0.display())]
    NoCursor(PathBuf),
    /// A cursor is of another ledger, or its own has lost what it had.
    #[error(
        "{} is at {}, and the ledger has told only up to {}: it belongs to another ledger; remove \
         it, and export anew", path.display(), at.0, last.0
    )]
    CursorAhead {
        /// The file of the cursor.
        path: PathBuf,
        /// Where it is.
        at: crate::Cursor,
        /// Where the ledger is.
        last: crate::Cursor,
    },
    /// An export could not be written where it should go.
    #[error("the export cannot be written")]
    Export(#[source] std::io::Error),
}

/// Why a database file could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such directory.
    #[error("no directory {}; create it first", .0.display())]
    NoDirectory(PathBuf),
    /// There is no such file, and none was to be created.
    #[error("no ledger at {}", .0.display())]
    NoFile(PathBuf),
    /// Something else than a file.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// Others may read the file.
    #[error("{path} may be read or written by others (mode {mode:04o}); run `chmod 600 {path}`", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode, the permission bits.
        mode: u32,
    },
    /// Another process writes to it.
    #[error("{} is another process's to write; stop that one first", .0.display())]
    InUse(PathBuf),
    /// The file system refused.
    #[error("cannot open {}", path.display())]
    Io {
        /// The file or its directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a database at all.
    #[error("{} is not a SQLite database", .0.display())]
    NotADatabase(PathBuf),
    /// Another program's database.
    #[error("{} is a SQLite database, but no ledger of Homeward", .0.display())]
    Foreign(PathBuf),
    /// A newer Homeward's database.
    #[error("{} has schema {found}, this version knows up to {known}; use a newer homeward", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The newest migration in it.
        found: i64,
        /// The newest migration of this version.
        known: i64,
    },
    /// An older Homeward's database, opened to be read only.
    #[error("{} has the schema of an older version; start the core once, and it is brought up to date", .0.display())]
    OlderSchema(PathBuf),
    /// The schema could not be brought up to date.
    #[error("the schema of {} could not be brought up to date", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The writer's thread was not started.
    #[error("the ledger's thread could not be started")]
    Thread(#[source] std::io::Error),
}
