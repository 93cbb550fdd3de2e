//! Opening a file: what may be wrong with it, and its schema.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use homeward_model::{Clock, Entropy};
use homeward_seal::{KeyId, KeyRing, Lock, SealError, Sealer};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

use super::{SqliteOptions, SqliteStore};
use crate::error::{Error, OpenError, Result};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// `HMWD`, as the first migration sets it.
const APPLICATION: i64 = 0x484d_5744;

/// Readers run in parallel up to here; each costs a thread and a page cache.
const READERS: u32 = 4;

pub(super) async fn open(
    options: SqliteOptions,
    keys: KeyRing,
    clock: Arc<dyn Clock>,
    entropy: Box<dyn Entropy + Send>,
) -> Result<SqliteStore> {
    let SqliteOptions { path, create, busy_timeout, actor } = options;
    inspect(&path, create)?;
    let connect = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(busy_timeout)
        .synchronous(SqliteSynchronous::Full)
        // What is deleted is overwritten: a revoked key does not linger, not even sealed.
        .pragma("secure_delete", "ON");

    let mut watcher = connect.connect().await.map_err(|e| reason(&path, e))?;
    let is_new = identify(&path, &mut watcher).await?;
    migrate(&path, &mut watcher).await?;
    let sealer = Sealer::new(keys);
    claim(&mut watcher, &sealer).await?;
    if is_new {
        tracing::info!(path = %path.display(), "datastore created");
    }

    let connect = connect.journal_mode(SqliteJournalMode::Wal);
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .connect_lazy_with(connect.clone().pragma("query_only", "ON"));
    // In-process writers queue for the one connection; each waits as long as SQLite would.
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(busy_timeout.saturating_mul(2))
        .connect_lazy_with(connect);
    Ok(SqliteStore {
        path,
        readers,
        writer,
        watcher: Arc::new(tokio::sync::Mutex::new(watcher)),
        sealer: Arc::new(sealer),
        clock,
        entropy: Arc::new(Mutex::new(entropy)),
        actor,
    })
}

/// Looks at the file before SQLite does, for SQLite only says "unable to open"; makes it where
/// there is none. SQLite gives its log the mode of the file.
fn inspect(path: &Path, create: bool) -> Result<(), OpenError> {
    let fail = |source| OpenError::Io { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(OpenError::NotAFile(path.to_owned())),
        Ok(found) => {
            let mode = found.permissions().mode() & 0o7777;
            if mode & 0o077 != 0 {
                return Err(OpenError::Mode { path: path.to_owned(), mode });
            }
            // SQLite would open a file that it may not write read-only, and fail later. The file
            // is not opened here for that: to close it would drop SQLite's locks of this process.
            if mode & 0o200 == 0 {
                return Err(fail(io::ErrorKind::PermissionDenied.into()));
            }
            Ok(())
        }
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
    // Another process may be making the datastore right now. sqlx makes its own table ahead of the
    // first migration, which then brings our tables and the application's id at once: so its
    // table says nothing, and ours are looked for before the id.
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

/// Brings the schema up to date, one process at a time.
async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<()> {
    let known = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0);
    let found = schema_version(connection).await?;
    if found == Some(known) {
        return Ok(());
    }
    // sqlx has no lock of its own for SQLite: two processes would both apply the same migration.
    let locked = path.to_owned();
    let lock = tokio::task::spawn_blocking(move || Lock::of(&locked)).await;
    let _lock = lock.map_err(|e| Error::Database(e.into()))??;
    // Not before the file is known to be ours, for this writes to it.
    sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *connection).await?;
    MIGRATIONS.run_direct(None, connection, false).await.map_err(|e| {
        let path = path.to_owned();
        match e {
            MigrateError::VersionMissing(found) if found > known => {
                OpenError::NewerSchema { path, found, known }.into()
            }
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => match e.into() {
                Error::Locked => Error::Locked,
                other => OpenError::Migrate { path, source: other.into() }.into(),
            },
            other => Error::from(OpenError::Migrate { path, source: other.into() }),
        }
    })
}

/// The newest migration in the file.
async fn schema_version(connection: &mut SqliteConnection) -> Result<Option<i64>> {
    const TABLE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    if sqlx::query_scalar::<_, i64>(TABLE).fetch_one(&mut *connection).await? == 0 {
        return Ok(None);
    }
    const NEWEST: &str = "SELECT max(version) FROM _sqlx_migrations WHERE success";
    Ok(sqlx::query_scalar(NEWEST).fetch_one(connection).await?)
}

/// Binds a new datastore to its key file, and refuses another datastore's key file at once rather
/// than at the first key.
async fn claim(connection: &mut SqliteConnection, sealer: &Sealer) -> Result<()> {
    const KEY: &str = "SELECT key FROM sealing";
    let mut key: Option<Vec<u8>> = sqlx::query_scalar(KEY).fetch_optional(&mut *connection).await?;
    if key.is_none()
        && let Some((newest, _)) = sealer.ring().newest()
    {
        // Another process may come first with a key file of its own; the first one stands.
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO sealing (one, key) VALUES (1, ?) ON CONFLICT DO NOTHING")
            .bind(newest.octets().to_vec())
            .execute(&mut *tx)
            .await?;
        key = sqlx::query_scalar(KEY).fetch_optional(&mut *tx).await?;
        tx.commit().await?;
    }
    let key = key.unwrap_or_default();
    let key = key.as_slice().try_into().map_err(|e| Error::Database(Box::new(e)))?;
    let key = KeyId::new(key);
    match sealer.ring_with(key)? {
        Some(_) => Ok(()),
        None => {
            let path = sealer.ring().path().to_owned();
            Err(SealError::WrongKeyFile { key, path }.into())
        }
    }
}

/// Why SQLite would not have the file.
fn reason(path: &Path, error: sqlx::Error) -> Error {
    // SQLITE_NOTADB and SQLITE_CORRUPT.
    let code = error.as_database_error().and_then(|e| e.code()?.parse::<u32>().ok());
    match code.map(|c| c & 0xff) {
        Some(26 | 11) => OpenError::NotADatabase(path.to_owned()).into(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::os::unix::fs::PermissionsExt;

    use homeward_model::{Coverage, GatewayId, ServiceTerms, UnixTime};
    use sqlx::migrate::Migration;
    use tempfile::TempDir;

    use super::*;
    use crate::sqlite::{gateway, testing};
    use crate::{Classes, NewClass, Outbox, OutboxRecord, Seq};
    use homeward_seal::testing::XorshiftEntropy;

    /// A datastore as the schema's version `version` has it, with some SQL run on it.
    async fn older(version: i64, statements: &[&'static str]) -> TempDir {
        let directory = TempDir::new().unwrap();
        let keys = directory.path().join("keys");
        KeyRing::generate(&keys, &mut XorshiftEntropy::new(1), UnixTime(0)).unwrap();
        let path = directory.path().join("db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        let upto = MIGRATIONS.iter().filter(|migration| migration.version <= version);
        let upto: Vec<Migration> = upto.cloned().collect();
        let migrator = Migrator { migrations: Cow::Owned(upto), ..Migrator::DEFAULT };
        migrator.run_direct(None, &mut connection, false).await.unwrap();
        for statement in statements {
            sqlx::query(*statement).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        directory
    }

    #[tokio::test]
    async fn a_class_of_an_older_schema_is_in_no_vlan_and_leaves_retention_to_the_ledger() {
        const CLASS: &str = "INSERT INTO class VALUES (7, 'gold', 'local', 0, NULL, NULL, NULL, \
             NULL, 'off', 0, 0, NULL, NULL, 300, 'home')";
        let directory = older(4, &[CLASS]).await;
        let store = testing::open(directory.path(), 1).await;
        let class = store.class_named(&"gold".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((class.id.0, class.terms.vlan, class.retention), (7, None, None));
        assert_eq!(class.terms.idle_timeout.map(|seconds| seconds.0), Some(300));
    }

    #[tokio::test]
    async fn a_gateway_of_an_older_schema_is_no_hybrid_device() {
        const GATEWAY: &str = "INSERT INTO gateway VALUES (7, 'gw-7', x'020000000007', 'gb/london', \
             'north', NULL, x'00', 'homeward', 'active')";
        const TOLD: &str = "INSERT INTO outbox VALUES (1, 'gateway', 7, 'create', '{\"id\":7,\
             \"name\":\"gw-7\",\"mac\":\"02:00:00:00:00:07\",\"place\":\"gb/london\",\
             \"operator\":\"north\",\"address\":null,\"lookup\":\"homeward\",\
             \"status\":\"active\"}', 5)";
        let directory = older(7, &[GATEWAY, TOLD]).await;
        let store = testing::open(directory.path(), 1).await;
        let found = gateway::find(&mut store.readers.acquire().await.unwrap(), GatewayId(7)).await;
        assert_eq!(found.unwrap().unwrap().facts.device(), None);
        let told = store.outbox_after(Seq::ZERO, 9).await.unwrap();
        let OutboxRecord::Gateway(facts) = &told[0].record else { panic!("{told:?}") };
        assert_eq!((facts.id, facts.device()), (GatewayId(7), None));
    }

    #[tokio::test]
    async fn an_outbox_of_an_older_schema_keeps_its_entries_and_its_numbers() {
        const CLASS: &str = "INSERT INTO outbox VALUES (41, 'class', 1, 'delete', '{\"id\":1,\
             \"name\":\"gold\",\"coverage\":\"local\"}', 5)";
        for (statements, entries) in [
            (&[CLASS][..], 1),
            // All of them pruned: the next is 42 all the same.
            (&[CLASS, "DELETE FROM outbox", "UPDATE outbox_pruned SET seq = 41"][..], 0),
        ] {
            let directory = older(3, statements).await;
            let store = testing::open(directory.path(), 1).await;
            assert_eq!(store.outbox_head().await.unwrap(), Seq(41));
            let pruned = if entries == 0 { Seq(41) } else { Seq::ZERO };
            assert_eq!(store.outbox_after(pruned, 9).await.unwrap().len(), entries);
            let (name, terms) = ("gold".parse().unwrap(), ServiceTerms::default());
            let new = NewClass { name, coverage: Coverage::National, terms, retention: None };
            store.create_class(&new).await.unwrap();
            assert_eq!(store.outbox_head().await.unwrap(), Seq(42));
            assert_eq!(store.outbox_after(Seq(41), 9).await.unwrap()[0].seq, Seq(42));
        }
    }
}
