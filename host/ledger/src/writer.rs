//! The thread that writes: it takes what is waiting, commits it as one, and only then tells.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_accounting::Cause;
use homeward_model::{Mac, UnixTime};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, Known, Sequences};
use crate::cache::Cache;
use crate::counters::Counters;
use crate::entry::{Entry, Receipt};
use crate::error::WriteError;
use crate::ledger::Retention;
use crate::log::Log;
use crate::open::{self, WriteLock};
use crate::row::{Columns, Row, session_columns};
use crate::settings::Settings;

/// Who is told of an entry.
pub(crate) type Reply = Box<dyn FnOnce(Result<Receipt, WriteError>) + Send>;

/// How many sessions are closed in one transaction, so that entries need not wait for long.
const SLICE: i64 = 256;

/// How many records are deleted in one transaction: some milliseconds.
const RECORDS: i64 = 1024;

/// How many batches of entries go before each piece of upkeep while entries wait.
const BATCHES: u32 = 4;

/// Which of some sessions the rule still has: one may have been heard of since they were looked
/// for, and what came late is billing's to read.
pub(crate) const FIND: &str = "SELECT s.id, s.nas, s.name, s.newest FROM json_each(?1) one \
     CROSS JOIN session s ON s.id = one.value WHERE s.phase = 'closed' AND s.ended < ?2 \
     AND NOT EXISTS (SELECT 1 FROM closing c WHERE c.session = s.id AND c.seq > ?3)";

/// Deletes records of sessions, from the newest of each back, the newest of all first; gives whose
/// each was, and the one before it.
pub(crate) const CUT: &str = "DELETE FROM record WHERE seq IN (WITH RECURSIVE chain (seq) AS ( \
     SELECT value FROM json_each(?1) UNION ALL SELECT r.prev FROM chain c \
     CROSS JOIN record r ON r.seq = c.seq WHERE r.prev > 0 LIMIT ?2) SELECT seq FROM chain) \
     RETURNING session, seq, prev";

/// Deletes the closings of sessions.
pub(crate) const CLOSINGS: &str =
    "DELETE FROM closing WHERE session IN (SELECT value FROM json_each(?1))";

/// Deletes sessions.
pub(crate) const SESSIONS: &str =
    "DELETE FROM session WHERE id IN (SELECT value FROM json_each(?1))";

/// The oldest restart whose sessions may still be open.
pub(crate) const PENDING: &str =
    "SELECT id, nas, at, bssid FROM restart WHERE done = 0 ORDER BY id LIMIT 1";

/// What a restart has ended.
pub(crate) const ENDED: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM session s WHERE s.nas = ?1 AND s.phase <> 'closed' AND s.began < ?2 \
     AND (?3 IS NULL OR s.bssid IS NULL OR s.bssid = ?3) ORDER BY s.id LIMIT ?4"
);

/// What the writer is asked.
pub(crate) enum Command {
    /// To keep a record.
    Entry(Box<Entry>, Reply),
    /// To close those of these sessions that are still silent.
    CloseSilent { ids: Vec<i64>, now: UnixTime, reply: oneshot::Sender<Result<u64, WriteError>> },
    /// To delete those of these sessions that the rule still has, with all that is about them.
    Forget { ids: Vec<i64>, rule: Retention, reply: oneshot::Sender<Result<Forgot, WriteError>> },
    /// To delete the usage of days before this one, so many rows at most.
    ForgetUsage { before: i64, limit: u32, reply: oneshot::Sender<Result<u64, WriteError>> },
}

/// What one transaction has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Forgot {
    /// Sessions that are gone whole.
    pub(crate) sessions: u64,
    /// Records, those of a session that is not yet gone whole among them.
    pub(crate) records: u64,
}

/// Why a transaction failed.
enum Failure {
    Sql(sqlx::Error),
    /// Another process has the lock.
    Busy,
    /// The file is not where it was.
    Gone,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// The writer's state.
pub(crate) struct Writer {
    path: PathBuf,
    settings: Settings,
    counters: Arc<Counters>,
    commands: mpsc::Receiver<Command>,
    connection: Option<SqliteConnection>,
    known: Known,
    /// Whether a transaction has failed in a way that may have left the log different on disk
    /// from what the kernel has of it.
    suspect: bool,
    /// Whether there may be restarts whose sessions are still open.
    restarts: bool,
    log: Arc<Log>,
    /// Freed last.
    lock: WriteLock,
}

impl Writer {
    pub(crate) fn new(
        path: PathBuf,
        settings: Settings,
        counters: Arc<Counters>,
        commands: mpsc::Receiver<Command>,
        lock: WriteLock,
    ) -> Self {
        let known = Known {
            sessions: Cache::new(settings.sessions),
            nases: HashMap::new(),
            sequences: Sequences::default(),
        };
        Self {
            path,
            settings,
            counters,
            commands,
            connection: None,
            known,
            suspect: false,
            restarts: true,
            log: Arc::default(),
            lock,
        }
    }

    /// Serves until every handle is gone and what was submitted is written.
    pub(crate) async fn run(mut self) {
        let fold = Arc::clone(&self.log).fold(self.path.clone(), self.settings.busy_timeout);
        let folding = tokio::spawn(fold);
        let mut batch = Vec::new();
        // What else is to be done, and how many batches it has waited for.
        let (mut upkeep, mut batches) = (VecDeque::new(), 0);
        loop {
            let first = if self.restarts || !upkeep.is_empty() {
                self.commands.try_recv().ok()
            } else {
                match self.commands.recv().await {
                    Some(command) => Some(command),
                    None => break,
                }
            };
            let mut next = first;
            let any = next.is_some();
            while let Some(command) = next {
                match command {
                    Command::Entry(entry, reply) => batch.push((*entry, reply)),
                    other => upkeep.push_back(other),
                }
                next = match batch.len() < self.settings.batch {
                    true => self.commands.try_recv().ok(),
                    false => None,
                };
            }
            self.commit_entries(&mut batch).await;
            batches += u32::from(!upkeep.is_empty());
            // Who waits for an answer goes first, and upkeep on all the same.
            if !any || batches >= BATCHES {
                batches = 0;
                if let Some(command) = upkeep.pop_front() {
                    self.maintain(command).await;
                }
            }
            // Closing what restarts have ended goes on between batches.
            if self.restarts {
                self.close_restarted().await;
            }
        }
        // Closing the last connection is what folds the rest of the log, and removes it.
        folding.abort();
        drop(folding.await);
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "ledger did not close");
        }
    }

    /// Commits a batch and tells everybody in it; empties it.
    async fn commit_entries(&mut self, batch: &mut Vec<(Entry, Reply)>) {
        if batch.is_empty() {
            return;
        }
        let (entries, replies): (Vec<Entry>, Vec<Reply>) = batch.drain(..).unzip();
        match self.keep(&entries).await {
            // One that the database will not have must not keep others from being kept.
            Err(WriteError::Database { .. }) if entries.len() > 1 => {
                for (entry, reply) in entries.iter().zip(replies) {
                    let one = self.keep(std::slice::from_ref(entry)).await;
                    reply(one.and_then(|r| r.into_iter().next().ok_or(WriteError::Closed)));
                }
            }
            Err(error) => replies.into_iter().for_each(|reply| reply(Err(error.clone()))),
            Ok(receipts) => {
                for (reply, receipt) in replies.into_iter().zip(receipts) {
                    reply(Ok(receipt));
                }
            }
        }
    }

    /// Writes entries in one transaction. Their receipts are given when it is on disk.
    async fn keep(&mut self, entries: &[Entry]) -> Result<Vec<Receipt>, WriteError> {
        let mut was_down = self.connection.is_none();
        let mut receipts = self.transaction(async |batch| batch.apply(entries).await).await;
        if let Err(WriteError::Full(_)) = receipts {
            // The log may be what takes the room, and connecting anew empties it. If that does not
            // make enough of it, nothing of ours can.
            was_down = true;
            receipts = self.transaction(async |batch| batch.apply(entries).await).await;
        }
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        match &receipts {
            Ok(receipts) => {
                self.counters.durable.add(count);
                let restart = |r: &Receipt| r.session.is_none() && !r.repeated;
                self.restarts |= was_down || receipts.iter().any(restart);
            }
            Err(_) => self.counters.unacknowledged.add(count),
        }
        receipts
    }

    /// Does `work` in a transaction and commits it; after a failure, nothing that was known is
    /// trusted.
    async fn transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Batch<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, WriteError> {
        match self.try_transaction(work).await {
            Ok(done) => Ok(done),
            Err(Failure::Gone) => Err(self.failed(WriteError::Gone(self.path.clone()))),
            Err(Failure::Busy) => Err(self.failed(WriteError::Locked(self.path.clone()))),
            Err(Failure::Sql(error)) => Err(self.failed(WriteError::of(&self.path, error))),
        }
    }

    async fn try_transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Batch<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, Failure> {
        if !self.lock.is_at(&self.path) {
            return Err(Failure::Gone);
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(
                connect(&self.path, &self.settings, &mut self.known, &self.log, &mut self.suspect)
                    .await?,
            ),
        };
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut batch = Batch::new(&mut tx, &mut self.known, &self.settings.accounting);
        let value = work(&mut batch).await?;
        let done = batch.write().await?;
        if !self.lock.is_at(&self.path) {
            return Err(Failure::Gone);
        }
        tx.commit().await?;
        done.remember(&mut self.known, &self.counters);
        self.log.grew();
        if self.log.is_long()
            && let Err(error) = self.log.fold_rest(connection).await
        {
            // What is committed stays so; the next commit meets the same trouble.
            tracing::debug!(%error, "the ledger's log was not folded");
        }
        Ok(value)
    }

    /// Takes a failure in: counts it, says so, and forgets what may not be so.
    fn failed(&mut self, error: WriteError) -> WriteError {
        self.known.sessions.clear();
        self.known.nases.clear();
        self.connection = None;
        // Looked for again when a transaction succeeds.
        self.restarts = false;
        let counter = match &error {
            WriteError::Locked(_) => &self.counters.failed_locked,
            WriteError::Full(_) => &self.counters.failed_full,
            WriteError::Io { .. } => &self.counters.failed_io,
            WriteError::Gone(_) => &self.counters.failed_gone,
            _ => &self.counters.failed_database,
        };
        counter.add(1);
        self.suspect |= !matches!(error, WriteError::Locked(_) | WriteError::Gone(_));
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, source, "the ledger was not written");
        error
    }

    async fn maintain(&mut self, command: Command) {
        // Who asked may be gone; what was done is done.
        match command {
            Command::Entry(_, reply) => reply(Err(WriteError::Closed)),
            Command::CloseSilent { ids, now, reply } => {
                drop(reply.send(self.close_silent(&ids, now).await));
            }
            Command::Forget { ids, rule, reply } => {
                drop(reply.send(self.forget(&ids, &rule).await));
            }
            Command::ForgetUsage { before, limit, reply } => {
                drop(reply.send(self.forget_usage(before, limit).await));
            }
        }
    }

    async fn close_silent(&mut self, ids: &[i64], now: UnixTime) -> Result<u64, WriteError> {
        const BY_ID: &str =
            concat!("SELECT ", session_columns!(), " FROM session s WHERE s.id = ?");
        let settings = self.settings.accounting;
        self.transaction(async |batch| {
            let mut rows = Vec::new();
            for id in ids {
                let row = sqlx::query(BY_ID).bind(id).fetch_optional(batch.connection()).await?;
                rows.extend(row.as_ref().map(Row::read).transpose()?);
            }
            Ok(batch.close(rows, Cause::Lost, now, |s| s.is_silent(now, &settings)))
        })
        .await
    }

    /// Closes some of the sessions that the oldest unfinished restart has ended.
    async fn close_restarted(&mut self) {
        // A failure is told to whoever submits next; the restart stays unfinished until then.
        self.restarts = self.close_slice().await.unwrap_or(false);
    }

    async fn close_slice(&mut self) -> Result<bool, WriteError> {
        const DONE: &str = "UPDATE restart SET done = 1 WHERE id = ?";
        self.transaction(async |batch| {
            let pending = sqlx::query(PENDING).fetch_optional(batch.connection()).await?;
            let Some(pending) = pending else { return Ok(false) };
            let mut columns = Columns::from(&pending, 0);
            let (id, nas, at): (i64, i64, i64) =
                (columns.next()?, columns.next()?, columns.next()?);
            let bssid: Option<Mac> = columns.mac()?;
            let rows = sqlx::query(ENDED)
                .bind(nas)
                .bind(at)
                .bind(bssid.map(|m| m.octets().to_vec()))
                .bind(SLICE)
                .fetch_all(batch.connection())
                .await?;
            let rows = rows.iter().map(Row::read).collect::<Result<Vec<_>, _>>()?;
            if i64::try_from(rows.len()).unwrap_or(SLICE) < SLICE {
                sqlx::query(DONE).bind(id).execute(batch.connection()).await?;
            }
            let at = UnixTime(at);
            batch.close(rows, Cause::Restart, at, |s| s.ends_with(at, bssid));
            Ok(true)
        })
        .await
    }

    async fn forget(&mut self, ids: &[i64], rule: &Retention) -> Result<Forgot, WriteError> {
        const LAST: &str = "UPDATE session SET newest = ? WHERE id = ?";
        let read = rule.exported.map_or(i64::MAX, |c| c.0);
        self.transaction(async |batch| {
            let find = sqlx::query_as(FIND).bind(list(ids)).bind(rule.before.0).bind(read);
            let found: Vec<(i64, i64, String, i64)> = find.fetch_all(batch.connection()).await?;
            let newest: Vec<i64> = found.iter().map(|(.., newest)| *newest).collect();
            let cut = sqlx::query_as(CUT).bind(list(&newest)).bind(RECORDS);
            let cut: Vec<(i64, i64, i64)> = cut.fetch_all(batch.connection()).await?;
            let mut left: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
            for (session, seq, before) in &cut {
                let oldest = left.entry(*session).or_insert((*seq, *before));
                *oldest = (*seq, *before).min(*oldest);
            }
            // What was long goes a piece at a time, from its newest record back.
            left.retain(|_, (_, before)| *before > 0);
            for (id, (_, before)) in &left {
                sqlx::query(LAST).bind(before).bind(id).execute(batch.connection()).await?;
            }
            let mut whole = Vec::new();
            for (id, nas, name, _) in found {
                batch.forget((nas, name));
                whole.extend(Some(id).filter(|id| !left.contains_key(id)));
            }
            sqlx::query(CLOSINGS).bind(list(&whole)).execute(batch.connection()).await?;
            sqlx::query(SESSIONS).bind(list(&whole)).execute(batch.connection()).await?;
            let count = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
            Ok(Forgot { sessions: count(whole.len()), records: count(cut.len()) })
        })
        .await
    }

    async fn forget_usage(&mut self, before: i64, limit: u32) -> Result<u64, WriteError> {
        const USAGE: &str = "DELETE FROM usage WHERE (account, user_kind, user, day) IN ( \
             SELECT account, user_kind, user, day FROM usage WHERE day < ? ORDER BY day LIMIT ?)";
        self.transaction(async |batch| {
            let delete = sqlx::query(USAGE).bind(before).bind(limit);
            Ok(delete.execute(batch.connection()).await?.rows_affected())
        })
        .await
    }
}

/// Numbers as SQLite's `json_each` takes them.
fn list(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// Connects, and learns what a new connection has to know.
async fn connect(
    path: &Path,
    settings: &Settings,
    known: &mut Known,
    log: &Log,
    suspect: &mut bool,
) -> Result<SqliteConnection, Failure> {
    let mut connection = open::writer(path, settings.busy_timeout).await?;
    if *suspect {
        // After a failed sync the kernel may hold pages of the log as clean that are not on disk,
        // and what is written behind them would be lost with them. So all of it goes into the
        // database file and is synced there, and the log begins anew.
        if !log.empty(&mut connection).await? {
            return Err(Failure::Busy);
        }
        *suspect = false;
        tracing::info!(path = %path.display(), "ledger goes on");
    }
    known.sequences = Sequences::read(&mut connection).await?;
    Ok(connection)
}
