//! How a daemon stops and reloads, and the signals that ask for it.
//!
//! | signal | effect |
//! |---|---|
//! | SIGTERM, SIGINT | graceful stop: [`Shutdown::requested`] |
//! | the same again | at once: [`Shutdown::at_once`] |
//! | SIGHUP | [`Reload::requested`] |

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::notify;

/// Asks every part of the process to stop. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<Stage>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    Requested,
    AtOnce,
}

impl Shutdown {
    /// One that nobody has asked for yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(Stage::Running))
    }

    /// Asks for a graceful stop.
    pub fn trigger(&self) {
        self.raise(Stage::Requested);
    }

    /// Asks for a stop without grace.
    pub fn trigger_at_once(&self) {
        self.raise(Stage::AtOnce);
    }

    /// Whether a stop was asked for; for threads and loops that cannot await.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() >= Stage::Requested
    }

    /// Waits until a stop is asked for; at once where it already was. Cancelling loses nothing.
    pub async fn requested(&self) {
        self.reached(Stage::Requested).await;
    }

    /// Waits until a stop without grace is asked for.
    pub async fn at_once(&self) {
        self.reached(Stage::AtOnce).await;
    }

    /// Runs `work`, which ends by itself once a stop is [requested](Self::requested). If it needs
    /// longer than `grace` from then, or a second signal comes, it is dropped where it stands.
    ///
    /// # Errors
    ///
    /// [`Overdue`] if `work` was dropped.
    pub async fn supervise<F: Future>(
        &self,
        grace: Duration,
        work: F,
    ) -> Result<F::Output, Overdue> {
        let overdue = async {
            self.requested().await;
            notify::stopping();
            // The output tells which: the time ran out, or nobody wants to wait.
            tokio::time::timeout(grace, self.at_once()).await.is_err()
        };
        tokio::select! {
            biased;
            output = work => Ok(output),
            timed_out = overdue => Err(if timed_out { Overdue::Grace(grace) } else { Overdue::Asked }),
        }
    }

    async fn reached(&self, stage: Stage) {
        // An error would mean that all senders are gone, and we are one.
        let _ = self.0.subscribe().wait_for(|now| *now >= stage).await;
    }

    fn raise(&self, stage: Stage) {
        self.0.send_if_modified(|now| {
            let raised = *now < stage;
            *now = (*now).max(stage);
            raised
        });
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

/// The work was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overdue {
    /// It did not end within its grace.
    #[error("stopped without grace: the work was not done within {} s", .0.as_secs_f32())]
    Grace(Duration),
    /// A second signal asked for it.
    #[error("stopped without grace: asked twice")]
    Asked,
}

/// Requests to read the configuration anew. Requests that come while one is being served are one.
#[derive(Debug)]
pub struct Reload(watch::Receiver<u64>);

/// Asks for a reload by other means than SIGHUP, such as a control command.
#[derive(Debug, Clone)]
pub struct ReloadRequester(watch::Sender<u64>);

/// A reload that is under way. The service manager hears of its end when this is dropped.
#[derive(Debug)]
#[must_use = "the reload ends when this is dropped"]
pub struct Reloading(());

impl Reload {
    /// The two ends.
    pub fn channel() -> (ReloadRequester, Self) {
        let (tx, rx) = watch::channel(0);
        (ReloadRequester(tx), Self(rx))
    }

    /// Waits for the next request, and tells the service manager that a reload begins. Pending for
    /// ever once nobody is left who could ask. Cancelling loses nothing.
    pub async fn requested(&mut self) -> Reloading {
        if self.0.changed().await.is_err() {
            return std::future::pending().await;
        }
        tracing::info!("reload requested");
        notify::reloading();
        Reloading(())
    }
}

impl ReloadRequester {
    /// Asks for a reload.
    pub fn request(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        notify::ready();
    }
}

/// Listens for SIGTERM, SIGINT and SIGHUP from now on, in a task of its own that ends with the
/// runtime. Call it before sockets are bound, so that no signal finds its default.
///
/// # Errors
///
/// If the kernel refuses a handler.
///
/// # Panics
///
/// Outside a Tokio runtime.
pub fn on_signals(shutdown: &Shutdown) -> io::Result<(ReloadRequester, Reload)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (requester, reload) = Reload::channel();
    let shutdown = shutdown.clone();
    let request = requester.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                Some(()) = hangup.recv() => {
                    request.request();
                    continue;
                }
                else => return,
            };
            if shutdown.is_requested() {
                tracing::warn!(signal = name, "stop at once");
                shutdown.trigger_at_once();
            } else {
                tracing::info!(signal = name, "graceful stop");
                shutdown.trigger();
            }
        }
    });
    Ok((requester, reload))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    /// Only a failing test waits that long.
    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), what).await.expect("it never comes")
    }

    #[tokio::test]
    async fn a_stop_reaches_every_clone_also_one_that_asks_later() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_requested());
        let other = shutdown.clone();
        let waiting = tokio::spawn(async move { other.requested().await });
        shutdown.trigger();
        soon(waiting).await.unwrap();
        assert!(shutdown.is_requested());
        soon(shutdown.clone().requested()).await;
    }

    #[tokio::test]
    async fn a_stop_at_once_is_a_stop_and_is_not_taken_back() {
        let shutdown = Shutdown::new();
        shutdown.trigger_at_once();
        shutdown.trigger();
        soon(shutdown.requested()).await;
        soon(shutdown.at_once()).await;
    }

    #[tokio::test]
    async fn work_that_ends_in_time_gives_its_output() {
        let shutdown = Shutdown::new();
        let work = async {
            shutdown.requested().await;
            7
        };
        shutdown.trigger();
        assert_eq!(shutdown.supervise(Duration::from_secs(60), work).await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_does_not_end_is_cut_off_after_its_grace() {
        let shutdown = Shutdown::new();
        shutdown.trigger();
        let grace = Duration::from_millis(5);
        let ended = soon(shutdown.supervise(grace, std::future::pending::<()>())).await;
        assert_eq!(ended, Err(Overdue::Grace(grace)));
    }

    #[tokio::test]
    async fn a_second_request_cuts_the_grace_short() {
        let shutdown = Shutdown::new();
        shutdown.trigger_at_once();
        let ended = soon(shutdown.supervise(Duration::MAX, std::future::pending::<()>())).await;
        assert_eq!(ended, Err(Overdue::Asked));
    }

    #[tokio::test]
    async fn reloads_asked_for_meanwhile_are_one() {
        let (requester, mut reload) = Reload::channel();
        requester.request();
        requester.request();
        drop(soon(reload.requested()).await);
        let second = tokio::time::timeout(Duration::from_millis(5), reload.requested()).await;
        assert!(second.is_err());
        requester.request();
        drop(soon(reload.requested()).await);
    }

    // One test for all signals: they go to the process, and tests share it.
    #[tokio::test]
    async fn signals_ask_for_a_reload_then_a_stop_then_a_stop_at_once() {
        let shutdown = Shutdown::new();
        let (_requester, mut reload) = on_signals(&shutdown).unwrap();
        raise(Signal::SIGHUP).unwrap();
        drop(soon(reload.requested()).await);
        assert!(!shutdown.is_requested());
        raise(Signal::SIGTERM).unwrap();
        soon(shutdown.requested()).await;
        raise(Signal::SIGINT).unwrap();
        soon(shutdown.at_once()).await;
    }
}
