//! Opening a file: what may be wrong with it, and its schema.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::error::{OpenError, Result, WriteError};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// `HMWL`, as the first migration sets it.
const APPLICATION: i64 = 0x484d_574c;

/// The right to write to a ledger: `flock` on its file, which SQLite's own locks do not meet.
/// Freed when dropped, which must not be before SQLite has closed the file: closing any
/// descriptor of it would drop SQLite's locks of this process.
#[derive(Debug)]
pub(crate) struct WriteLock {
    file: File,
}

impl WriteLock {
    /// Whether the file that is locked is the one at that path. SQLite would go on to write to
    /// one that was removed.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let key = |found: fs::Metadata| (found.dev(), found.ino());
        match (self.file.metadata(), fs::metadata(path)) {
            (Ok(own), Ok(there)) => key(own) == key(there),
            _ => false,
        }
    }
}

/// Makes the ledger where there is none, brings its schema up to date, and takes the right to
/// write to it.
pub(crate) async fn prepare(
    path: &Path,
    create: bool,
    busy_timeout: Duration,
) -> Result<WriteLock> {
    inspect(path, create)?;
    let fail = |source| OpenError::Io { path: path.to_owned(), source };
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(path.to_owned()).into()),
        Err(TryLockError::Error(source)) => return Err(fail(source).into()),
    }
    let lock = WriteLock { file };
    let connect = options(path, busy_timeout);
    let mut connection = connect.connect().await.map_err(|e| reason(path, e))?;
    let is_new = identify(path, &mut connection).await?;
    // Not before the file is known to be ours, for this writes to it.
    let wal = sqlx::query("PRAGMA journal_mode = WAL").execute(&mut connection).await;
    wal.map_err(|e| WriteError::of(path, e))?;
    migrate(path, &mut connection).await?;
    connection.close().await.map_err(|e| WriteError::of(path, e))?;
    if is_new {
        tracing::info!(path = %path.display(), "ledger created");
    }
    Ok(lock)
}

/// The connection that writes. What it commits is on disk when the commit returns.
pub(crate) async fn writer(
    path: &Path,
    busy_timeout: Duration,
) -> Result<SqliteConnection, sqlx::Error> {
    options(path, busy_timeout)
        .journal_mode(SqliteJournalMode::Wal)
        // See `log`.
        .pragma("wal_autocheckpoint", "0")
        // A statement over many rows keeps a journal of its own: no file for that.
        .pragma("temp_store", "MEMORY")
        .connect()
        .await
}

/// How connections that read connect.
pub(crate) fn reader(path: &Path, busy_timeout: Duration) -> SqliteConnectOptions {
    options(path, busy_timeout).pragma("query_only", "ON")
}

/// Checks that the file is a ledger of this version, without changing it.
pub(crate) async fn check(path: &Path, busy_timeout: Duration) -> Result<()> {
    inspect(path, false)?;
    let connect = reader(path, busy_timeout);
    let mut connection = connect.connect().await.map_err(|e| reason(path, e))?;
    if identify(path, &mut connection).await? {
        return Err(OpenError::Foreign(path.to_owned()).into());
    }
    let known = newest();
    match schema_version(path, &mut connection).await? {
        Some(found) if found > known => {
            Err(OpenError::NewerSchema { path: path.to_owned(), found, known }.into())
        }
        Some(found) if found == known => Ok(()),
        _ => Err(OpenError::OlderSchema(path.to_owned()).into()),
    }
}

fn options(path: &Path, busy_timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .foreign_keys(false)
        .busy_timeout(busy_timeout)
        .synchronous(SqliteSynchronous::Full)
}

/// Looks at the file before SQLite does, for SQLite only says "unable to open"; makes it where
/// there is none. SQLite gives its log the mode of the file.
fn inspect(path: &Path, create: bool) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(OpenError::NotAFile(path.to_owned())),
        Ok(found) => match found.permissions().mode() & 0o7777 {
            mode if mode & 0o077 != 0 => Err(OpenError::Mode { path: path.to_owned(), mode }),
            _ => Ok(()),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
            if let Some(parent) = parent.filter(|p| !p.is_dir()) {
                return Err(OpenError::NoDirectory(parent.to_owned()));
            }
            if !create {
                return Err(OpenError::NoFile(path.to_owned()));
            }
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                // Another process was first: good.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                made => made.map(drop).map_err(fail),
            }
        }
        Err(e) => Err(fail(e)),
    }
}

/// Whether the file is new and empty; an error if it is another program's.
async fn identify(path: &Path, connection: &mut SqliteConnection) -> Result<bool> {
    // sqlx makes its own table ahead of the first migration: it says nothing.
    const OURS: &str = "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> '_sqlx_migrations'";
    let tables = sqlx::query_scalar::<_, i64>(OURS).fetch_one(&mut *connection).await;
    let tables = tables.map_err(|e| reason(path, e))?;
    let application = sqlx::query_scalar::<_, i64>("PRAGMA application_id");
    let application = application.fetch_one(connection).await;
    match (application.map_err(|e| reason(path, e))?, tables) {
        (_, 0) => Ok(true),
        (APPLICATION, _) => Ok(false),
        _ => Err(OpenError::Foreign(path.to_owned()).into()),
    }
}

/// Brings the schema up to date. The write lock keeps other processes out.
async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<()> {
    let known = newest();
    if schema_version(path, connection).await? == Some(known) {
        return Ok(());
    }
    MIGRATIONS.run_direct(None, connection, false).await.map_err(|e| {
        let path = path.to_owned();
        match e {
            MigrateError::VersionMissing(found) if found > known => {
                OpenError::NewerSchema { path, found, known }.into()
            }
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => {
                match WriteError::of(&path, e) {
                    WriteError::Database { source, .. } => {
                        OpenError::Migrate { path, source: Box::new(source) }.into()
                    }
                    other => other.into(),
                }
            }
            other => crate::Error::from(OpenError::Migrate { path, source: other.into() }),
        }
    })
}

/// The newest migration of this version.
fn newest() -> i64 {
    MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0)
}

/// The newest migration in the file.
async fn schema_version(path: &Path, connection: &mut SqliteConnection) -> Result<Option<i64>> {
    const TABLE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    const NEWEST: &str = "SELECT max(version) FROM _sqlx_migrations WHERE success";
    let read = async {
        if sqlx::query_scalar::<_, i64>(TABLE).fetch_one(&mut *connection).await? == 0 {
            return Ok(None);
        }
        sqlx::query_scalar(NEWEST).fetch_one(connection).await
    };
    read.await.map_err(|e| WriteError::of(path, e).into())
}

/// Why SQLite would not have the file.
fn reason(path: &Path, error: sqlx::Error) -> crate::Error {
    // SQLITE_NOTADB and SQLITE_CORRUPT.
    let code = error.as_database_error().and_then(|e| e.code()?.parse::<u32>().ok());
    match code.map(|c| c & 0xff) {
        Some(26 | 11) => OpenError::NotADatabase(path.to_owned()).into(),
        _ => WriteError::of(path, error).into(),
    }
}
