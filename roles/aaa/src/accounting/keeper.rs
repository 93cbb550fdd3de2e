//! Keeps the ledger: opens it, closes what fell silent, forgets what was kept for long enough.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use homeward_accounting::Day;
use homeward_daemon::{Exit, ExitContext, Shutdown, SystemClock};
use homeward_ledger::{Counters, Cursor, Error, Ledger, Options, Retention, Settings};
use homeward_model::{ClassId, Clock, Instant, UnixTime};

use super::AccountingConfig;
use crate::projection::Projection;

/// How often silent sessions are looked for.
const SILENCE: Duration = Duration::from_secs(60);

/// How often what was kept for long enough is forgotten.
const FORGET: Duration = Duration::from_secs(3600);

/// Opens the ledger at `path`.
///
/// # Errors
///
/// If it cannot be opened: it is another's, or no ledger, or others may read it.
pub async fn open(path: &Path, settings: Settings) -> anyhow::Result<Arc<Ledger>> {
    let ledger = Options::new(path).settings(settings).open().await.exit(Exit::Config)?;
    Ok(Arc::new(ledger))
}

/// Looks after the ledger.
pub(crate) struct Keeper {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) projection: Arc<RwLock<Projection>>,
    pub(crate) config: AccountingConfig,
    /// How long a session may be silent.
    pub(crate) silence: Duration,
}

impl Keeper {
    /// Does so until shutdown.
    pub(crate) async fn run(self, shutdown: Shutdown) {
        let now = SystemClock.now();
        let (mut look, mut forget) = (now + SILENCE, now + FORGET);
        let mut ear = Ear { since: now, lost: lost(self.ledger.counters()) };
        loop {
            let due = look.min(forget);
            tokio::select! {
                () = shutdown.requested() => return,
                () = SystemClock.until(Some(due)) => {}
            }
            let now = SystemClock.now();
            if due == look {
                look = now + SILENCE;
                if ear.listening(now, lost(self.ledger.counters())) >= self.silence {
                    self.close_silent().await;
                }
            } else {
                forget = now + FORGET;
                tokio::select! {
                    // What was deleted stays so; the rest is for the next time.
                    () = shutdown.requested() => return,
                    () = self.forget(SystemClock.unix()) => {}
                }
            }
        }
    }

    async fn close_silent(&self) {
        match self.ledger.close_silent(SystemClock.unix()).await {
            Ok(0) => {}
            Ok(sessions) => tracing::info!(sessions, "closed sessions that had fallen silent"),
            Err(error) => tracing::warn!(%error, "silent sessions not closed; tried again"),
        }
    }

    async fn forget(&self, now: UnixTime) {
        let sessions = match self.forget_sessions(now).await {
            Ok(sessions) => sessions,
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "old sessions not forgotten; tried again");
                0
            }
        };
        match self.ledger.forget_usage(Day::of(ago(now, self.config.keep_usage.0))).await {
            Ok(days) if days + sessions > 0 => {
                tracing::info!(sessions, days, "forgot what was kept for long enough");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old usage not forgotten; tried again"),
        }
    }

    async fn forget_sessions(&self, now: UnixTime) -> Result<u64, Error> {
        let reader = self.ledger.reader();
        let exported = exported(&self.config.exports, reader.last_closing().await?)?;
        let mut gone = 0;
        // Of nobody's, and of classes that exist no more, too.
        let classes = reader.classes_ended().await?.into_iter().map(Some);
        for class in classes.chain([None]) {
            let before = ago(now, self.keep(class));
            gone += self.ledger.forget_sessions(&Retention { class, before, exported }).await?;
        }
        Ok(gone)
    }

    /// For how long the sessions of a class of service are kept after their end.
    fn keep(&self, class: Option<ClassId>) -> Duration {
        let Some(class) = class else { return self.config.keep_unknown.0 };
        let p = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        let own = p.class(class).and_then(|class| class.retention);
        own.map_or(self.config.keep_sessions.0, Duration::from)
    }
}

fn ago(now: UnixTime, span: Duration) -> UnixTime {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    UnixTime(now.0.saturating_sub(span))
}

/// How far all exports have read, as their cursor files say; `None` where there are none to wait
/// for. `last` is as far as can be read.
fn exported(files: &[PathBuf], last: Cursor) -> Result<Option<Cursor>, Error> {
    let mut least = None;
    for path in files {
        let at = Cursor::read(path)?.unwrap_or_default();
        if at > last {
            return Err(Error::CursorAhead { path: path.clone(), at, last });
        }
        least = Some(least.map_or(at, |least: Cursor| least.min(at)));
    }
    Ok(least)
}

/// How many entries were not written.
fn lost(counters: &Counters) -> u64 {
    counters.unacknowledged.get() + counters.refused.get()
}

/// A session is silent only if it could have been heard: not while the core was away, nor while
/// the ledger took nothing.
struct Ear {
    /// When it began to hear everything.
    since: Instant,
    /// Entries that were lost until then.
    lost: u64,
}

impl Ear {
    /// For how long it has heard everything, if so many entries were lost until now.
    fn listening(&mut self, now: Instant, lost: u64) -> Duration {
        if std::mem::replace(&mut self.lost, lost) != lost {
            self.since = now;
        }
        now.since(self.since)
    }
}

#[cfg(test)]
mod tests {
    use homeward_accounting::testing::{nas, record};
    use homeward_accounting::{Kind, Period as Span};
    use homeward_ledger::{Entry, Owner, Subject, User};
    use homeward_model::{AccountId, ClassOfService, Coverage, Days, DeviceId, QuotaPeriod};
    use tempfile::TempDir;

    use super::*;
    use crate::testing;

    const BEGAN: UnixTime = UnixTime(1_800_000_000_000);

    /// A keeper of a ledger of its own, with classes of service of which gold says how long.
    struct World {
        directory: TempDir,
        keeper: Keeper,
    }

    const GOLD: ClassId = ClassId(1);
    const PLAIN: ClassId = ClassId(2);
    const DELETED: ClassId = ClassId(3);

    impl World {
        async fn new(exports: &[&str]) -> Self {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("ledger.db");
            let ledger = open(&path, Settings::default()).await.unwrap();
            let mut projection = Projection::default();
            let gold = testing::class(Coverage::Local);
            let retention = Some(Days::try_from(30).unwrap());
            projection.put_class(ClassOfService { id: GOLD, retention, ..gold.clone() });
            projection.put_class(ClassOfService { id: PLAIN, ..gold });
            let projection = Arc::new(RwLock::new(projection));
            let exports = exports.iter().map(|name| directory.path().join(name)).collect();
            let config = AccountingConfig { exports, ..AccountingConfig::default() };
            let silence = Duration::from_secs(900);
            Self { directory, keeper: Keeper { ledger, projection, config, silence } }
        }

        async fn report(&self, name: &str, kind: Kind, class: Option<ClassId>) {
            let record = record(nas("gw-17"), name, kind, BEGAN, 60, (100, 200));
            let (account, user) = (AccountId(1), User::Device(DeviceId(11)));
            let owner = class.map(|class| Owner { account, user, class });
            let entry = Entry { record, received: BEGAN, owner, host: None };
            self.keeper.ledger.submit(entry).unwrap().await.unwrap();
        }

        /// A session of each kind that there is.
        async fn with_sessions(exports: &[&str]) -> Self {
            let world = Self::new(exports).await;
            for (name, class) in [
                ("gold", Some(GOLD)),
                ("plain", Some(PLAIN)),
                ("deleted", Some(DELETED)),
                ("unknown", None),
            ] {
                world.report(name, Kind::Stop, class).await;
            }
            world.report("open", Kind::Interim, Some(GOLD)).await;
            world
        }

        /// What there is still, so many days later.
        async fn after(&self, days: i64) -> Vec<&'static str> {
            self.keeper.forget(UnixTime(BEGAN.0 + days * 86_400_000)).await;
            let mut left = Vec::new();
            for name in ["gold", "plain", "deleted", "unknown", "open"] {
                let reader = self.keeper.ledger.reader();
                if !reader.sessions_named(&nas("gw-17"), name).await.unwrap().is_empty() {
                    left.push(name);
                }
            }
            left
        }

        /// What an account has used, by its days.
        async fn used(&self) -> u64 {
            let month = Span::of(QuotaPeriod::Month, BEGAN);
            let account = Subject::Account(AccountId(1));
            self.keeper.ledger.reader().usage(account, month).await.unwrap().input
        }

        fn exported(&self, name: &str, cursor: &str) {
            std::fs::write(self.directory.path().join(name), cursor).unwrap();
        }
    }

    #[tokio::test]
    async fn sessions_are_kept_as_long_as_their_class_says_or_else_the_core() {
        let world = World::with_sessions(&[]).await;
        assert_eq!(world.after(29).await, ["gold", "plain", "deleted", "unknown", "open"]);
        assert_eq!(world.after(31).await, ["plain", "deleted", "unknown", "open"]);
        assert_eq!(world.after(91).await, ["plain", "deleted", "open"]);
        assert_eq!(world.used().await, 400, "what was used stays used");
        assert_eq!(world.after(399).await, ["plain", "deleted", "open"]);
        assert_eq!(world.after(401).await, ["open"]);
        assert_eq!(world.used().await, 400, "what was used stays used");
        assert_eq!(world.after(801).await, ["open"]);
        assert_eq!(world.used().await, 0);
    }

    #[tokio::test]
    async fn a_class_that_says_something_else_now_is_heeded_for_its_old_sessions_too() {
        let world = World::with_sessions(&[]).await;
        let class = ClassOfService { id: GOLD, ..testing::class(Coverage::Local) };
        world.keeper.projection.write().unwrap().put_class(class);
        assert_eq!(world.after(31).await.first(), Some(&"gold"));
    }

    #[tokio::test]
    async fn what_not_every_export_has_taken_is_kept_however_old() {
        let world = World::with_sessions(&["billing", "audit"]).await;
        let all = ["gold", "plain", "deleted", "unknown", "open"];
        assert_eq!(world.after(500).await, all, "no export yet");
        world.exported("billing", "4\n");
        assert_eq!(world.after(500).await, all, "the other has taken nothing");
        world.exported("audit", "1\n");
        assert_eq!(world.after(500).await, ["plain", "deleted", "unknown", "open"]);
        world.exported("audit", "nothing of the kind\n");
        assert_eq!(world.after(500).await, ["plain", "deleted", "unknown", "open"]);
        world.exported("audit", "5\n");
        assert_eq!(world.after(500).await.len(), 4, "the cursor of another ledger");
        world.exported("audit", "3\n");
        assert_eq!(world.after(500).await, ["unknown", "open"]);
        world.exported("audit", "4\n");
        assert_eq!(world.after(500).await, ["open"]);
    }

    #[test]
    fn who_could_not_be_heard_is_not_silent() {
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let mut ear = Ear { since: at(0), lost: 0 };
        let mut after = |seconds, lost| ear.listening(at(seconds), lost).as_secs();
        assert_eq!([after(60, 0), after(900, 0)], [60, 900]);
        assert_eq!([after(960, 7), after(1020, 7), after(1080, 8)], [0, 60, 0]);
        assert_eq!(after(2000, 8), 920);
    }
}
