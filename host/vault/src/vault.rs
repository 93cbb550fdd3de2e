//! The vault.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_daemon::{SystemClock, SystemEntropy, private};
use homeward_model::Clock;
use homeward_seal::{KeyFileError, KeyRing, Sealer, Slot};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::{Mutex, mpsc, oneshot};
use zeroize::Zeroizing;

use crate::error::VaultError;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// `HMWV`, as the first migration sets it.
const APPLICATION: i64 = 1_213_028_182;

/// SQLite's word for a file that is none of its own: `SQLITE_NOTADB`.
const NO_DATABASE: &str = "26";

/// The most changes of a transaction.
const MOST: usize = 512;

/// How many may wait; more wait to wait.
const QUEUE: usize = 4096;

const BUSY: Duration = Duration::from_secs(5);

/// What is kept: its name, and what it is.
pub type Kept = (Vec<u8>, Zeroizing<Vec<u8>>);

/// A change.
#[derive(Debug, Clone)]
pub enum Change {
    /// Keep this, in place of what is kept by that name.
    Put {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: Vec<u8>,
        /// The thing.
        plain: Zeroizing<Vec<u8>>,
    },
    /// Keep nothing by that name.
    Remove {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: Vec<u8>,
    },
}

impl Change {
    fn key(&self) -> (&'static str, &[u8]) {
        match self {
            Self::Put { kind, name, .. } | Self::Remove { kind, name } => (kind, name),
        }
    }
}

type Order = (Vec<Change>, oneshot::Sender<Result<(), Arc<VaultError>>>);

/// A vault that is open. Clones are one and the same.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
    orders: mpsc::Sender<Order>,
}

struct Inner {
    path: PathBuf,
    sealer: Sealer,
    connection: Mutex<SqliteConnection>,
    /// Held for as long as the vault is open.
    _lock: File,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.inner.path.display())
    }
}

impl Vault {
    /// Opens the vault in `path`, sealed with the keys in `key_file`; makes both, and the
    /// directory, where there are none.
    ///
    /// # Errors
    /// [`VaultError`], which says what to do.
    pub async fn open(path: &Path, key_file: &Path) -> Result<Self, VaultError> {
        if let Some(directory) = path.parent().filter(|at| !at.as_os_str().is_empty()) {
            private::directory(directory)?;
        }
        let is_new = std::fs::metadata(path).map_or(true, |found| found.len() == 0);
        let lock = lock(path)?;
        let ring = match KeyRing::load(key_file) {
            // A key that is made anew opens nothing that is there.
            Err(KeyFileError::Missing(_)) if is_new => {
                KeyRing::generate(key_file, &mut SystemEntropy::new(), SystemClock.unix())?
            }
            ring => ring?,
        };
        let fails = |source| VaultError::Database { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(false)
            .busy_timeout(BUSY)
            .synchronous(SqliteSynchronous::Full);
        let mut connection = options.clone().connect().await.map_err(|error| match &error {
            sqlx::Error::Database(at) if at.code().as_deref() == Some(NO_DATABASE) => {
                VaultError::Foreign(path.to_owned())
            }
            _ => fails(error),
        })?;
        let found = sqlx::query("PRAGMA application_id").fetch_one(&mut connection).await;
        let found: i64 = found.and_then(|row| row.try_get(0)).map_err(fails)?;
        let tables = sqlx::query("SELECT count(*) FROM sqlite_schema").fetch_one(&mut connection);
        let tables: i64 = tables.await.and_then(|row| row.try_get(0)).map_err(fails)?;
        if found != APPLICATION && tables > 0 {
            return Err(VaultError::Foreign(path.to_owned()));
        }
        connection.close().await.map_err(fails)?;
        let writing = options.journal_mode(SqliteJournalMode::Wal).connect().await;
        let mut connection = writing.map_err(fails)?;
        let schema = |source| VaultError::Schema { path: path.to_owned(), source };
        MIGRATIONS.run(&mut connection).await.map_err(schema)?;
        let inner = Arc::new(Inner {
            path: path.to_owned(),
            sealer: Sealer::new(ring),
            connection: Mutex::new(connection),
            _lock: lock,
        });
        let (orders, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(Arc::clone(&inner).keep(waiting));
        Ok(Self { inner, orders })
    }

    /// Everything of that kind, in no order.
    ///
    /// # Errors
    /// Something does not open, or is not in its place.
    pub async fn all(&self, kind: &'static str) -> Result<Vec<Kept>, VaultError> {
        let inner = &*self.inner;
        let mut connection = inner.connection.lock().await;
        let rows = sqlx::query("SELECT id, name, sealed FROM kept WHERE kind = ? ORDER BY id");
        let rows = rows.bind(kind).fetch_all(&mut *connection).await;
        let fails = |source| inner.fails(source);
        let open = |row: sqlx::sqlite::SqliteRow| -> Result<Kept, VaultError> {
            let id: i64 = row.try_get(0).map_err(fails)?;
            let name: Vec<u8> = row.try_get(1).map_err(fails)?;
            let sealed: Vec<u8> = row.try_get(2).map_err(fails)?;
            let plain = inner.sealer.open(slot(kind, id), &sealed)?;
            let misplaced = || VaultError::Misplaced { kind, path: inner.path.clone() };
            let (length, rest) = plain.split_first_chunk::<4>().ok_or_else(misplaced)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (own, thing) = rest.split_at_checked(length).ok_or_else(misplaced)?;
            if own != name {
                return Err(misplaced());
            }
            Ok((name, Zeroizing::new(thing.to_vec())))
        };
        rows.map_err(fails)?.into_iter().map(open).collect()
    }

    /// Carries the changes out, all or none, with whatever else waits. It is on disk when this
    /// returns.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<(), Arc<VaultError>> {
        let (told, answer) = oneshot::channel();
        let over = || Arc::new(VaultError::Over);
        self.orders.send((changes, told)).await.map_err(|_| over())?;
        answer.await.map_err(|_| over())?
    }
}

impl Inner {
    fn fails(&self, source: sqlx::Error) -> VaultError {
        VaultError::Database { path: self.path.clone(), source }
    }

    async fn keep(self: Arc<Self>, mut waiting: mpsc::Receiver<Order>) {
        let mut orders = Vec::with_capacity(MOST);
        while waiting.recv_many(&mut orders, MOST).await > 0 {
            // Of two changes of one thing the later counts.
            let mut last = BTreeMap::new();
            for change in orders.iter().flat_map(|(changes, _)| changes) {
                last.insert(change.key(), change);
            }
            let outcome = self.write(last.into_values()).await.map_err(Arc::new);
            if let Err(error) = &outcome {
                let chain: &dyn std::error::Error = &**error;
                tracing::error!(error = chain, "nothing was kept");
            }
            for (_, told) in orders.drain(..) {
                // Whoever asked may be gone.
                let _ = told.send(outcome.clone());
            }
        }
    }

    async fn write<'a>(&self, changes: impl Iterator<Item = &'a Change>) -> Result<(), VaultError> {
        let mut connection = self.connection.lock().await;
        let mut writing = connection.begin().await.map_err(|e| self.fails(e))?;
        for change in changes {
            let (kind, name) = change.key();
            match change {
                Change::Remove { .. } => {
                    let gone = sqlx::query("DELETE FROM kept WHERE kind = ? AND name = ?");
                    let gone = gone.bind(kind).bind(name).execute(&mut *writing).await;
                    gone.map_err(|e| self.fails(e))?;
                }
                Change::Put { plain, .. } => {
                    let id = sqlx::query(
                        "INSERT INTO kept (kind, name, sealed) VALUES (?, ?, x'') \
                         ON CONFLICT (kind, name) DO UPDATE SET sealed = x'' RETURNING id",
                    );
                    let row = id.bind(kind).bind(name).fetch_one(&mut *writing).await;
                    let id = row.and_then(|row| row.try_get(0)).map_err(|e| self.fails(e))?;
                    let sealed = self.seal(slot(kind, id), name, plain)?;
                    let put = sqlx::query("UPDATE kept SET sealed = ? WHERE id = ?");
                    let put = put.bind(sealed).bind(id).execute(&mut *writing).await;
                    put.map_err(|e| self.fails(e))?;
                }
            }
        }
        writing.commit().await.map_err(|e| self.fails(e))
    }

    fn seal(&self, slot: Slot, name: &[u8], thing: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(4 + name.len() + thing.len()));
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        plain.extend_from_slice(&length.to_be_bytes());
        plain.extend_from_slice(name);
        plain.extend_from_slice(thing);
        let ring = self.sealer.ring();
        let missing = || KeyFileError::Missing(ring.path().to_owned());
        let (key, _) = ring.newest().ok_or_else(missing)?;
        Ok(self.sealer.seal(slot, key, &plain, &mut SystemEntropy::new())?)
    }
}

fn slot(kind: &'static str, row: i64) -> Slot {
    Slot { table: "kept", column: kind, row }
}

/// One process at a time: it works from memory.
fn lock(path: &Path) -> Result<File, VaultError> {
    let fails = |source| VaultError::Io { path: path.to_owned(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(fails)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(VaultError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(fails(io::Error::other(source))),
    }
}
