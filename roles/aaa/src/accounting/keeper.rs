//! Keeps the ledger: opens it, closes what fell silent, forgets what was kept for long enough.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use homeward_accounting::Day;
use homeward_daemon::{Exit, ExitContext, Period, Shutdown, SystemClock};
use homeward_ledger::{Counters, Ledger, Options, Retention, Settings};
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
                self.forget(SystemClock.unix()).await;
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
        let before = |keep: Period| {
            let keep = i64::try_from(keep.0.as_millis()).unwrap_or(i64::MAX);
            UnixTime(now.0.saturating_sub(keep))
        };
        let mut rules = vec![(None, before(self.config.keep_unknown))];
        rules.extend(self.classes().into_iter().map(|(id, keep)| (Some(id), before(keep))));
        let mut sessions = 0;
        for (class, before) in rules {
            let rule = Retention { class, before, exported: None };
            match self.ledger.forget_sessions(&rule).await {
                Ok(gone) => sessions += gone,
                Err(error) => tracing::warn!(%error, "old sessions not forgotten; tried again"),
            }
        }
        match self.ledger.forget_usage(Day::of(before(self.config.keep_usage))).await {
            Ok(days) if days + sessions > 0 => {
                tracing::info!(sessions, days, "forgot what was kept for long enough");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old usage not forgotten; tried again"),
        }
    }

    /// For how long the sessions of each class of service are kept.
    fn classes(&self) -> Vec<(ClassId, Period)> {
        let p = self.projection.read().unwrap_or_else(PoisonError::into_inner);
        let keep = |name: &str| self.config.keep.get(name).copied();
        let keep = |name: &str| keep(name).unwrap_or(self.config.keep_sessions);
        p.classes().map(|class| (class.id, keep(class.name.as_str()))).collect()
    }
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
    use super::*;

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
