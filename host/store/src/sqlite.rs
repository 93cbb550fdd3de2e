//! SQLite: one file, several processes.
//!
//! `homeward core` reads and tails the outbox while `homeward admin` writes, each with a pool of
//! its own. Write-ahead logging lets readers and the one writer pass each other; a writer takes
//! its lock at the beginning (`BEGIN IMMEDIATE`), so that it never fails half-way for another. A
//! commit is on disk when it is acknowledged (`synchronous = FULL`): writes are rare, and a
//! suspended device must not come back with the power.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use homeward_model::{Clock, Entropy};
use homeward_seal::{KeyId, KeyRing, SealError, Sealer, Slot};
use sqlx::sqlite::SqliteConnection;
use sqlx::{Sqlite, SqlitePool, Transaction};

use crate::audit::{Actor, Note};
use crate::error::{Error, Result};
use crate::outbox::{Operation, OutboxRecord};
use crate::store::{Keys, Rotation};

mod account;
mod audit;
mod bearers;
mod class;
mod device;
mod enrolment;
mod gateway;
mod issuing;
mod login;
mod moves;
mod network;
mod open;
mod outbox;
mod policy;
mod roaming;
mod rotate;
mod row;
mod subscriber;
#[cfg(test)]
mod testing;

/// How to open a datastore; see [`SqliteStore::open`] for the usual way.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    path: PathBuf,
    create: bool,
    busy_timeout: Duration,
    actor: Option<Actor>,
}

impl SqliteOptions {
    /// The datastore at `path`, made if there is none; writers wait up to 5 s for each other.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let busy_timeout = Duration::from_secs(5);
        Self { path: path.into(), create: true, busy_timeout, actor: None }
    }

    /// Whether to make the file where there is none, or to refuse.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How long to wait for another process's lock before [`Error::Locked`].
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Who does what is done through the handle: see [`audit`](crate::audit).
    pub fn actor(mut self, actor: Actor) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Opens it; see [`SqliteStore::open`].
    pub async fn open(
        self,
        keys: KeyRing,
        clock: Arc<dyn Clock>,
        entropy: Box<dyn Entropy + Send>,
    ) -> Result<SqliteStore> {
        open::open(self, keys, clock, entropy).await
    }
}

/// A datastore in a SQLite file.
pub struct SqliteStore {
    path: PathBuf,
    /// Many connections, none of which writes.
    readers: SqlitePool,
    /// One connection: writers of this process queue here, not in SQLite's busy loop.
    writer: SqlitePool,
    /// A connection that only watches for others' commits.
    watcher: Arc<tokio::sync::Mutex<SqliteConnection>>,
    sealer: Arc<Sealer>,
    clock: Arc<dyn Clock>,
    entropy: Arc<Mutex<Box<dyn Entropy + Send>>>,
    /// Who does what is done through this handle.
    actor: Option<Actor>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the datastore at `path`, making the file (mode 0600) if there is none and bringing
    /// its schema up to date. `keys` is its key file's ring, `clock` dates the outbox, `entropy`
    /// makes nonces and sealing keys.
    ///
    /// Refused with an [`OpenError`](crate::OpenError) where the path is no datastore of this
    /// version or others may read it, and with [`SealError::WrongKeyFile`] where the key file is
    /// another datastore's.
    pub async fn open(
        path: &Path,
        keys: KeyRing,
        clock: Arc<dyn Clock>,
        entropy: Box<dyn Entropy + Send>,
    ) -> Result<Self> {
        SqliteOptions::new(path).open(keys, clock, entropy).await
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same datastore, by the same connections, in which `actor` does what is done through the
    /// new handle: see [`audit`](crate::audit).
    pub fn with_actor(&self, actor: Actor) -> Self {
        Self {
            path: self.path.clone(),
            readers: self.readers.clone(),
            writer: self.writer.clone(),
            watcher: Arc::clone(&self.watcher),
            sealer: Arc::clone(&self.sealer),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            actor: Some(actor),
        }
    }

    /// Closes every connection, after what is under way, and leaves no write-ahead log behind if
    /// no other process has the file open. Other handles of this datastore are of no use any more.
    pub async fn close(self) {
        self.readers.close().await;
        self.writer.close().await;
        // Closing the last connection is what folds the log into the file.
        let Some(watcher) = Arc::into_inner(self.watcher) else { return };
        if let Err(error) = sqlx::Connection::close(watcher.into_inner()).await {
            tracing::debug!(%error, "watching connection did not close");
        }
    }

    /// Begins a transaction that holds the write lock.
    async fn begin(&self) -> Result<Writer<'_>> {
        let tx = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Writer { store: self, tx })
    }

    /// Fills `room` from the store's entropy; a lock, for [`Entropy`] is one stream.
    fn with_entropy<T>(&self, work: impl FnOnce(&mut dyn Entropy) -> T) -> T {
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut **entropy)
    }
}

#[async_trait]
impl Keys for SqliteStore {
    async fn rotate_keys(&self) -> Result<Rotation> {
        rotate::rotate(self).await
    }
}

/// A transaction that holds the write lock. Rolled back unless committed.
struct Writer<'a> {
    store: &'a SqliteStore,
    tx: Transaction<'static, Sqlite>,
}

impl Writer<'_> {
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }

    async fn commit(self) -> Result<()> {
        Ok(self.tx.commit().await?)
    }

    /// Notes that a record was made.
    async fn created(&mut self, record: OutboxRecord) -> Result<()> {
        if self.store.actor.is_some() {
            self.note(Note::of(Operation::Create, None, Some(&record), None)?).await?;
        }
        self.log(Operation::Create, record).await
    }

    /// Notes that a record was changed; `secret` is the name of one that was replaced.
    async fn updated(
        &mut self,
        before: OutboxRecord,
        after: OutboxRecord,
        secret: Option<&'static str>,
    ) -> Result<()> {
        if self.store.actor.is_some() {
            self.note(Note::of(Operation::Update, Some(&before), Some(&after), secret)?).await?;
        }
        self.log(Operation::Update, after).await
    }

    /// Notes that a record was deleted.
    async fn deleted(&mut self, record: OutboxRecord) -> Result<()> {
        if self.store.actor.is_some() {
            self.note(Note::of(Operation::Delete, Some(&record), None, None)?).await?;
        }
        self.log(Operation::Delete, record).await
    }

    /// Notes that something that hangs on a record was changed, for those who follow.
    async fn touched(&mut self, record: OutboxRecord) -> Result<()> {
        self.log(Operation::Update, record).await
    }

    /// Writes the outbox entry of a mutation.
    async fn log(&mut self, operation: Operation, record: OutboxRecord) -> Result<()> {
        let (entity, id, time) = (record.entity(), record.id(), self.store.clock.unix());
        let statement = sqlx::query(
            "INSERT INTO outbox (entity, record, operation, payload, time) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(entity.as_str())
        .bind(id)
        .bind(operation.as_str())
        .bind(record.to_json()?)
        .bind(time.0);
        statement.execute(self.connection()).await?;
        tracing::debug!(entity = entity.as_str(), id, operation = operation.as_str(), "stored");
        Ok(())
    }

    /// The identifier that the table's next row gets. Asked for beforehand where the row holds a
    /// sealed value, for that is bound to the identifier.
    async fn next_id(&mut self, table: &'static str) -> Result<i64> {
        let last = sqlx::query_scalar::<_, i64>("SELECT seq FROM sqlite_sequence WHERE name = ?")
            .bind(table)
            .fetch_optional(self.connection())
            .await?;
        Ok(last.unwrap_or(0) + 1)
    }

    /// The key that seals. Read in the transaction: a rotation in another process may have
    /// replaced the one that was known.
    async fn sealing_key(&mut self) -> Result<KeyId> {
        let octets = sqlx::query_scalar::<_, Vec<u8>>("SELECT key FROM sealing")
            .fetch_one(self.connection())
            .await?;
        let octets = octets.as_slice().try_into().map_err(|e| Error::Database(Box::new(e)))?;
        Ok(KeyId::new(octets))
    }

    /// Runs a statement that takes an identifier.
    async fn delete(&mut self, statement: &'static str, id: i64) -> Result<()> {
        sqlx::query(statement).bind(id).execute(self.connection()).await?;
        Ok(())
    }

    /// Runs a statement that takes an identifier and counts.
    async fn count(&mut self, statement: &'static str, id: i64) -> Result<u64> {
        let count = sqlx::query_scalar::<_, u64>(statement).bind(id);
        Ok(count.fetch_one(self.connection()).await?)
    }

    fn seal(&self, slot: Slot, key: KeyId, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.store.with_entropy(|entropy| self.store.sealer.seal(slot, key, plain, entropy))
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_BUSY (5) and SQLITE_LOCKED (6) are the low octet of their extended codes.
        let code = error.as_database_error().and_then(|e| e.code()?.parse::<u32>().ok());
        match (&error, code.map(|c| c & 0xff)) {
            (_, Some(5 | 6)) | (sqlx::Error::PoolTimedOut, _) => Self::Locked,
            _ => Self::Database(error.into()),
        }
    }
}
