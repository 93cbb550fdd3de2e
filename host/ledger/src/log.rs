//! The write-ahead log, folded into the file beside the writer rather than by it.
//!
//! SQLite has whoever commits do that every 1,000 pages, and everybody in that batch waits for
//! it. Here a connection of its own does it all the time, while the writer goes on. Only when the
//! log is long does the writer do the little that is left by itself: a log begins anew only
//! where nothing of it is left to fold.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, Notify};

use crate::open;

/// After how many pages of log the writer has it begin anew: 32 MiB.
const LONG: i64 = 8192;

/// What writer and folder tell each other.
#[derive(Debug, Default)]
pub(crate) struct Log {
    committed: Notify,
    /// Held while it is folded: SQLite lets one connection do so, and does not let others wait.
    folding: Mutex<()>,
    /// How many pages it has, as of the last time it was folded.
    pages: AtomicI64,
}

impl Log {
    /// Something was committed.
    pub(crate) fn grew(&self) {
        self.committed.notify_one();
    }

    /// Whether the writer should have it begin anew. True once for each time it is found long.
    pub(crate) fn is_long(&self) -> bool {
        self.pages.load(Ordering::Relaxed) >= LONG && self.pages.swap(0, Ordering::Relaxed) >= LONG
    }

    /// Folds what is committed, for as long as it is let.
    pub(crate) async fn fold(self: Arc<Self>, path: PathBuf, busy_timeout: Duration) {
        let mut connection: Option<SqliteConnection> = None;
        loop {
            self.committed.notified().await;
            match self.fold_beside(&mut connection, &path, busy_timeout).await {
                Ok(pages) => self.pages.store(pages, Ordering::Relaxed),
                // The writer meets the same trouble and tells of it.
                Err(error) => {
                    tracing::debug!(%error, "the ledger's log was not folded");
                    connection = None;
                }
            }
        }
    }

    async fn fold_beside(
        &self,
        connection: &mut Option<SqliteConnection>,
        path: &Path,
        busy_timeout: Duration,
    ) -> Result<i64, sqlx::Error> {
        let _folding = self.folding.lock().await;
        let connection = match connection {
            Some(connection) => connection,
            none => none.insert(open::writer(path, busy_timeout).await?),
        };
        checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)").await.map(|(_, pages)| pages)
    }

    /// Folds what is left, in the writer's connection, which writes nothing meanwhile: the next
    /// commit begins the log anew, if nobody reads from it.
    pub(crate) async fn fold_rest(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        let _folding = self.folding.lock().await;
        checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)").await.map(drop)
    }

    /// Folds everything, syncs it, and empties the log. Whether that was possible: not where
    /// somebody reads from it for longer than the connection's busy timeout.
    pub(crate) async fn empty(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<bool, sqlx::Error> {
        let _folding = self.folding.lock().await;
        checkpoint(connection, "PRAGMA wal_checkpoint(TRUNCATE)").await.map(|(busy, _)| !busy)
    }
}

/// Whether it was kept from finishing, and how many pages the log has.
async fn checkpoint(
    connection: &mut SqliteConnection,
    how: &'static str,
) -> Result<(bool, i64), sqlx::Error> {
    let row = sqlx::query(how).fetch_one(connection).await?;
    Ok((row.try_get::<i64, _>(0)? != 0, row.try_get(1)?))
}
