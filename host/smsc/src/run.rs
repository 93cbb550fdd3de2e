//! Sessions, one after the other.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_daemon::{Metrics, Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, Instant};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Error, SubmitError};
use crate::figures::Figures;
use crate::message::{Incoming, Outgoing};
use crate::session;
use crate::settings::Settings;

/// A message that waits for its turn.
pub(crate) struct Job {
    pub(crate) outgoing: Outgoing,
    pub(crate) until: Instant,
    pub(crate) answer: oneshot::Sender<Result<String, SubmitError>>,
}

/// Sends messages. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Sender {
    jobs: mpsc::Sender<Job>,
    bound: watch::Receiver<bool>,
    patience: Duration,
}

impl Sender {
    /// Has a message sent; gives what the SMSC calls it, which its receipt will name.
    ///
    /// # Errors
    ///
    /// Why it was not, or may not have been.
    pub async fn submit(&self, outgoing: Outgoing) -> Result<String, SubmitError> {
        outgoing.pdu()?;
        let (answer, answered) = oneshot::channel();
        let job = Job { outgoing, until: SystemClock.now() + self.patience, answer };
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => SubmitError::Full,
            mpsc::error::TrySendError::Closed(_) => SubmitError::Stopped,
        })?;
        answered.await.unwrap_or(Err(SubmitError::Stopped))
    }

    /// Whether a session is bound.
    pub fn is_bound(&self) -> bool {
        *self.bound.borrow()
    }

    /// Waits until a session is bound, or none is; `false` if nothing runs that could.
    pub async fn until_bound(&self, is: bool) -> bool {
        self.bound.clone().wait_for(|bound| *bound == is).await.is_ok()
    }
}

/// A session with an SMSC, and the next one when it is lost.
pub struct Smsc {
    pub(crate) settings: Settings,
    pub(crate) figures: Figures,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) jobs: mpsc::Receiver<Job>,
    /// What the SMSC is to be asked again, first.
    pub(crate) again: VecDeque<Job>,
    bound: watch::Sender<bool>,
}

/// What comes in, what sends, and what has to [run](Smsc::run) for that.
///
/// # Errors
///
/// A setting that is not allowed.
pub fn open(
    settings: Settings,
    metrics: &mut Metrics,
) -> Result<(mpsc::Receiver<Incoming>, Sender, Smsc), Error> {
    settings.check()?;
    let figures = Figures::new(metrics);
    let (incoming, received) = mpsc::channel(settings.queue);
    let (sent, jobs) = mpsc::channel(settings.queue);
    let (bound, is_bound) = watch::channel(false);
    let sender = Sender { jobs: sent, bound: is_bound, patience: settings.patience };
    let smsc = Smsc { settings, figures, incoming, jobs, again: VecDeque::new(), bound };
    Ok((received, sender, smsc))
}

impl Smsc {
    /// Holds sessions until it is stopped.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut entropy = SystemEntropy::new();
        let mut pause = self.settings.pause;
        let mut last = String::new();
        while !shutdown.is_requested() {
            let bound = tokio::select! {
                biased;
                () = shutdown.requested() => return,
                bound = session::bind(&self.settings) => bound,
            };
            let ended = match bound {
                Ok(link) => {
                    tracing::info!(smsc = self.settings.smsc, "bound to the SMSC");
                    (pause, last) = (self.settings.pause, String::new());
                    self.set_bound(true);
                    let ended = session::hold(&mut self, link, &shutdown).await;
                    self.set_bound(false);
                    ended
                }
                Err(error) => Err(error),
            };
            let error = match ended {
                Ok(()) => return,
                Err(error) => error,
            };
            self.figures.session(error.word());
            // What goes on failing for the same reason is said once.
            let said = chain(&error);
            if said == last {
                tracing::debug!(error = said, "no session with the SMSC");
            } else {
                tracing::warn!(error = said, "no session with the SMSC: trying again");
            }
            last = said;
            let until = SystemClock.now() + jittered(pause, &mut entropy);
            pause = (pause * 2).min(self.settings.longest_pause);
            if !self.wait(until, &shutdown).await {
                return;
            }
        }
    }

    /// Waits, and gives up what has waited too long.
    async fn wait(&mut self, until: Instant, shutdown: &Shutdown) -> bool {
        tokio::select! {
            biased;
            () = shutdown.requested() => return false,
            () = SystemClock.until(Some(until)) => {}
        }
        let now = SystemClock.now();
        while let Ok(job) = self.jobs.try_recv() {
            self.again.push_back(job);
        }
        self.give_up(now);
        true
    }

    /// Gives up what has waited too long.
    pub(crate) fn give_up(&mut self, now: Instant) {
        for job in std::mem::take(&mut self.again) {
            if job.until > now {
                self.again.push_back(job);
            } else {
                self.figures.submitted("too_late");
                let _ = job.answer.send(Err(SubmitError::TooLate));
            }
        }
    }

    fn set_bound(&self, is: bool) {
        self.figures.bound(is);
        self.bound.send_replace(is);
    }
}

/// Half of it for certain, and up to all of it: so that not everybody comes back at once.
fn jittered(pause: Duration, entropy: &mut SystemEntropy) -> Duration {
    let mut octet = [0];
    entropy.fill(&mut octet);
    pause / 2 + pause / 512 * u32::from(octet[0])
}

fn chain(error: &Error) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        said = format!("{said}: {error}");
        source = error.source();
    }
    said
}
