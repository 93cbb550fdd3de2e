//! The ledger that is written to.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use homeward_accounting::Day;
use homeward_model::{ClassId, UnixTime};
use tokio::sync::{mpsc, oneshot};

use crate::counters::Counters;
use crate::entry::{Entry, Receipt};
use crate::error::{OpenError, Result, SubmitError, WriteError};
use crate::export::Cursor;
use crate::open;
use crate::reader::LedgerReader;
use crate::settings::Settings;
use crate::writer::{Command, Forgot, Reply, Writer};

/// How many sessions or rows a maintenance transaction takes, so that entries need not wait for
/// long.
const SLICE: u32 = 256;

/// How many sessions are deleted in one transaction; their records are more to write than theirs.
const OLD: u32 = 64;

/// How to open a ledger; see [`Ledger::open`] for the usual way.
#[derive(Debug, Clone)]
pub struct Options {
    path: PathBuf,
    create: bool,
    settings: Settings,
}

impl Options {
    /// The ledger at `path`, made if there is none, with the default [`Settings`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), create: true, settings: Settings::default() }
    }

    /// Whether to make the file where there is none, or to refuse.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// How it behaves.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Opens it; see [`Ledger::open`].
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub async fn open(self) -> Result<Ledger> {
        let Self { path, create, settings } = self;
        let lock = open::prepare(&path, create, settings.busy_timeout).await?;
        let reader = LedgerReader::connect(&path, settings.busy_timeout);
        let counters = Arc::new(Counters::default());
        let (commands, received) = mpsc::channel(settings.queue.max(1));
        let writer = Writer::new(path, settings, Arc::clone(&counters), received, lock);
        let (done, gone) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(OpenError::Thread)?;
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || {
                runtime.block_on(writer.run());
                // Nobody may wait for it any more.
                drop(done);
            })
            .map_err(OpenError::Thread)?;
        Ok(Ledger { commands, counters, reader, settings, gone })
    }
}

/// The accounting ledger, in a SQLite file, as its one writer.
///
/// What is submitted is written by a thread of its own: all that is waiting goes into one
/// transaction, which is synced to disk before anybody in it has a [`Receipt`]. A transaction
/// that fails fails everybody in it; the ledger goes on by itself when the cause is gone.
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
    reader: LedgerReader,
    settings: Settings,
    gone: oneshot::Receiver<()>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("path", &self.reader.path()).finish_non_exhaustive()
    }
}

/// An entry on its way to disk: resolves to its [`Receipt`]. Dropping it takes nothing back.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Receipt, WriteError>>);

impl Future for Pending {
    type Output = Result<Receipt, WriteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|r| r.unwrap_or(Err(WriteError::Closed)))
    }
}

impl Pending {
    /// Waits for it; for threads that are not on Tokio.
    ///
    /// # Errors
    /// Why it was not written.
    ///
    /// # Panics
    /// If called on a thread of Tokio's.
    pub fn wait(self) -> Result<Receipt, WriteError> {
        self.0.blocking_recv().unwrap_or(Err(WriteError::Closed))
    }
}

/// Which sessions have been kept for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Those of this class of service; `None` are those of nobody's.
    pub class: Option<ClassId>,
    /// Those that ended before.
    pub before: UnixTime,
    /// Those whose closings billing has all read, where it reads them; see
    /// [`LedgerReader::closings`].
    pub exported: Option<Cursor>,
}

impl Ledger {
    /// Opens the ledger at `path`, making the file (mode 0600) if there is none and bringing its
    /// schema up to date.
    ///
    /// # Errors
    /// [`OpenError`] where the path is no ledger of this version, others may read it, or another
    /// process writes to it.
    pub async fn open(path: &Path) -> Result<Self> {
        Options::new(path).open().await
    }

    /// Takes an entry. It is durable when the [`Pending`] says so, not before.
    ///
    /// # Errors
    /// If as many wait as may ([`Settings::queue`]); leave the NAS unanswered.
    pub fn submit(&self, entry: Entry) -> Result<Pending, SubmitError> {
        let (reply, receipt) = oneshot::channel();
        // Who waited may be gone; the entry is kept all the same.
        self.submit_with(entry, move |result| drop(reply.send(result)))?;
        Ok(Pending(receipt))
    }

    /// Takes an entry, and calls `reply` with its receipt, or with why there is none. It is
    /// called on the writer's thread, which everybody waits for: hand the answer on, and return.
    ///
    /// # Errors
    /// As [`Self::submit`]; `reply` is then not called.
    pub fn submit_with(
        &self,
        entry: Entry,
        reply: impl FnOnce(Result<Receipt, WriteError>) + Send + 'static,
    ) -> Result<(), SubmitError> {
        let reply: Reply = Box::new(reply);
        self.commands.try_send(Command::Entry(Box::new(entry), reply)).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => {
                self.counters.refused.add(1);
                SubmitError::Full(self.settings.queue)
            }
            mpsc::error::TrySendError::Closed(_) => SubmitError::Closed,
        })
    }

    /// How many entries wait to be written.
    pub fn waiting(&self) -> usize {
        self.commands.max_capacity() - self.commands.capacity()
    }

    /// Closes the sessions that have been silent for too long, at their last figures, and gives
    /// how many. To be called every minute or so. Reads through all open sessions, a few at a
    /// time and beside the writer; entries go on meanwhile.
    ///
    /// # Errors
    /// What could not be read or written. What was closed before stays closed.
    pub async fn close_silent(&self, now: UnixTime) -> Result<u64> {
        let silence = i64::try_from(self.settings.accounting.silence().as_millis());
        let since = UnixTime(now.0.saturating_sub(silence.unwrap_or(i64::MAX)));
        let (mut after, mut closed) = (None, 0);
        loop {
            let (ids, next) = self.reader.silent_since(since, after, SLICE).await?;
            if !ids.is_empty() {
                closed += self.ask(|reply| Command::CloseSilent { ids, now, reply }).await?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(closed),
            }
        }
    }

    /// Deletes sessions that have been kept for long enough, with their records and closings, and
    /// gives how many. A few at a time; entries go on meanwhile. Usage stays, and what goes on or
    /// billing has not read stays whole.
    ///
    /// # Errors
    /// What could not be read or written. What was deleted before stays deleted.
    pub async fn forget_sessions(&self, rule: &Retention) -> Result<u64> {
        let mut gone = 0;
        loop {
            let ids = self.reader.ended_before(rule, OLD).await?;
            if ids.is_empty() {
                return Ok(gone);
            }
            let rule = *rule;
            let now = self.ask(|reply| Command::Forget { ids, rule, reply }).await?;
            // One that was heard of again in between stays; it is not asked for for ever.
            if now == Forgot::default() {
                return Ok(gone);
            }
            gone += now.sessions;
        }
    }

    /// Deletes the usage of the days before `day`, and gives how many rows. A few at a time.
    ///
    /// # Errors
    /// What could not be written. What was deleted before stays deleted.
    pub async fn forget_usage(&self, day: Day) -> Result<u64> {
        let mut gone = 0;
        loop {
            let (before, limit) = (day.0, SLICE);
            let now = self.ask(|reply| Command::ForgetUsage { before, limit, reply }).await?;
            gone += now;
            if now < u64::from(SLICE) {
                return Ok(gone);
            }
        }
    }

    /// What is read from it.
    pub const fn reader(&self) -> &LedgerReader {
        &self.reader
    }

    /// What it has done.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Writes what was submitted, and closes the file; no write-ahead log is left behind if no
    /// other process reads.
    pub async fn close(self) {
        let Self { commands, reader, gone, .. } = self;
        reader.close().await;
        drop(commands);
        // An error is a writer that has gone already.
        drop(gone.await);
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, WriteError>>) -> Command,
    ) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply)).await;
        sent.map_err(|_| WriteError::Closed)?;
        answer.await.unwrap_or(Err(WriteError::Closed))
    }
}

#[cfg(test)]
mod tests {
    use homeward_accounting::Kind;
    use homeward_accounting::testing::{nas, record};
    use homeward_model::{AccountId, DeviceId};
    use tempfile::TempDir;

    use super::*;
    use crate::entry::{Owner, User};

    const BEGAN: UnixTime = UnixTime(1_800_000_000_000);
    const CLASS: ClassId = ClassId(1);

    fn entry(name: &str, kind: Kind, seconds: u32) -> Entry {
        let record = record(nas("gw-17"), name, kind, BEGAN, seconds, (u64::from(seconds), 0));
        let user = User::Device(DeviceId(11));
        let owner = Some(Owner { account: AccountId(1), user, class: CLASS });
        let received = record.event.unwrap_or(BEGAN);
        Entry { record, received, owner, host: None }
    }

    async fn report(ledger: &Ledger, name: &str, kind: Kind, seconds: u32) {
        ledger.submit(entry(name, kind, seconds)).unwrap().await.unwrap();
    }

    /// What the keeper found old may be told more of before the writer comes to delete it.
    #[tokio::test]
    async fn what_is_heard_of_between_looking_and_deleting_is_kept() {
        let directory = TempDir::new().unwrap();
        let ledger = Ledger::open(&directory.path().join("ledger.db")).await.unwrap();
        for name in ["corrected", "goes-on", "young", "old"] {
            report(&ledger, name, Kind::Stop, 60).await;
        }
        report(&ledger, "too-young", Kind::Stop, 5000).await;
        let exported = Some(ledger.reader().last_closing().await.unwrap());
        report(&ledger, "not-exported", Kind::Stop, 60).await;
        let before = UnixTime(BEGAN.0 + 100_000);
        let rule = Retention { class: Some(CLASS), before, exported };
        let ids = ledger.reader().ended_before(&rule, SLICE).await.unwrap();
        assert_eq!(ids.len(), 4);
        report(&ledger, "corrected", Kind::Stop, 70).await;
        report(&ledger, "goes-on", Kind::Interim, 500).await;
        report(&ledger, "young", Kind::Stop, 5000).await;
        let told = ledger.reader().closings(Cursor::default(), 100).await.unwrap();
        let of_old = ledger.reader().sessions_named(&nas("gw-17"), "old").await.unwrap()[0].id;
        let forgot = ledger.ask(|reply| Command::Forget { ids, rule, reply }).await.unwrap();
        assert_eq!(forgot, Forgot { sessions: 1, records: 1 });
        for (name, kept) in [("corrected", 1), ("goes-on", 1), ("young", 1), ("old", 0)] {
            let found = ledger.reader().sessions_named(&nas("gw-17"), name).await.unwrap();
            assert_eq!(found.len(), kept, "{name}");
        }
        let left = ledger.reader().closings(Cursor::default(), 100).await.unwrap();
        let kept: Vec<_> = told.into_iter().filter(|row| row.session != of_old).collect();
        assert_eq!(left, kept, "what billing is told of those that are kept");
        ledger.close().await;
    }

    /// The same where no export is waited for: phase and age are asked about again.
    #[tokio::test]
    async fn what_goes_on_or_ended_later_than_was_thought_is_kept_though_nobody_exports() {
        let directory = TempDir::new().unwrap();
        let ledger = Ledger::open(&directory.path().join("ledger.db")).await.unwrap();
        for name in ["goes-on", "young"] {
            report(&ledger, name, Kind::Interim, 60).await;
        }
        report(&ledger, "old", Kind::Stop, 60).await;
        let silent = ledger.close_silent(UnixTime(BEGAN.0 + 10_000_000)).await.unwrap();
        assert_eq!(silent, 2);
        let before = UnixTime(BEGAN.0 + 100_000);
        let rule = Retention { class: Some(CLASS), before, exported: None };
        let ids = ledger.reader().ended_before(&rule, SLICE).await.unwrap();
        assert_eq!(ids.len(), 3);
        report(&ledger, "goes-on", Kind::Interim, 70).await;
        report(&ledger, "young", Kind::Stop, 5000).await;
        let due = ledger.reader().ended_before(&rule, SLICE).await.unwrap();
        assert_eq!(due.len(), 1, "who looks now finds one");
        let forgot = ledger.ask(|reply| Command::Forget { ids, rule, reply }).await.unwrap();
        assert_eq!(forgot, Forgot { sessions: 1, records: 1 });
        for (name, kept) in [("goes-on", 1), ("young", 1), ("old", 0)] {
            let found = ledger.reader().sessions_named(&nas("gw-17"), name).await.unwrap();
            assert_eq!(found.len(), kept, "{name}");
        }
        ledger.close().await;
    }

    /// Who waits for an answer goes before what may be deleted at any time; but not for ever.
    #[tokio::test]
    async fn while_records_come_one_piece_is_deleted_after_every_few_transactions() {
        let directory = TempDir::new().unwrap();
        let settings = Settings { batch: 1, ..Settings::default() };
        let options = Options::new(directory.path().join("ledger.db")).settings(settings);
        let ledger = Arc::new(options.open().await.unwrap());
        report(&ledger, "old", Kind::Stop, 60).await;
        report(&ledger, "older", Kind::Stop, 50).await;
        let before = UnixTime(BEGAN.0 + 100_000);
        let rule = Retention { class: Some(CLASS), before, exported: None };
        let ids = ledger.reader().ended_before(&rule, SLICE).await.unwrap();
        let (seen, mut each) = mpsc::unbounded_channel();
        let writers = Arc::clone(&ledger);
        // On the writer's thread, which takes nothing until all of it waits.
        let all_wait = move |_| {
            let forget = |id| {
                let (reply, forgot) = oneshot::channel();
                let ids = vec![id];
                writers.commands.try_send(Command::Forget { ids, rule, reply }).ok().unwrap();
                forgot
            };
            let pieces: Vec<_> = ids.into_iter().map(forget).collect();
            let pieces = Arc::new(std::sync::Mutex::new(pieces));
            for n in 1..=10 {
                let (seen, pieces) = (seen.clone(), Arc::clone(&pieces));
                let entry = entry(&format!("new-{n}"), Kind::Start, 0);
                let look = move |_| {
                    let mut pieces = pieces.lock().unwrap();
                    for (piece, forgot) in pieces.iter_mut().enumerate() {
                        // Told once.
                        if forgot.try_recv().is_ok() {
                            seen.send((piece, n)).unwrap();
                        }
                    }
                };
                writers.submit_with(entry, look).unwrap();
            }
        };
        ledger.submit_with(entry("new-0", Kind::Start, 0), all_wait).unwrap();
        let mut first = Vec::new();
        while let Some(piece) = each.recv().await {
            first.push(piece);
        }
        assert_eq!(first, [(0, 5), (1, 9)], "four transactions first, then one, and so on");
    }
}
