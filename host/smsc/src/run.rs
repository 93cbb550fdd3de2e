//! Sessions, one after the other.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
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
    is: watch::Receiver<Is>,
    patience: Duration,
}

/// Whether a session is bound, and why not.
#[derive(Debug, Clone, Default)]
struct Is {
    bound: bool,
    trouble: Option<String>,
}

/// Changes what a session is told. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Resettable(watch::Sender<Arc<Settings>>);

impl Resettable {
    /// Takes other settings for the next session; one that is bound goes on as it is. Who waits to
    /// try again does so at once. The queue and the patience stay what they were.
    ///
    /// # Errors
    ///
    /// A setting that is not allowed; then all stay as they were.
    pub fn reset(&self, settings: Settings) -> Result<(), Error> {
        settings.check()?;
        self.0.send_replace(Arc::new(settings));
        Ok(())
    }
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
        self.is.borrow().bound
    }

    /// Why no session is bound, where one was tried.
    pub fn trouble(&self) -> Option<String> {
        self.is.borrow().trouble.clone()
    }

    /// Waits until a session is bound, or none is; `false` if nothing runs that could.
    pub async fn until_bound(&self, is: bool) -> bool {
        self.is.clone().wait_for(|now| now.bound == is).await.is_ok()
    }
}

/// A session with an SMSC, and the next one when it is lost.
pub struct Smsc {
    settings: watch::Receiver<Arc<Settings>>,
    pub(crate) figures: Figures,
    pub(crate) incoming: mpsc::Sender<Incoming>,
    pub(crate) jobs: mpsc::Receiver<Job>,
    /// What the SMSC is to be asked again, first.
    pub(crate) again: VecDeque<Job>,
    is: watch::Sender<Is>,
}

/// What comes in, what sends, what has to [run](Smsc::run) for that, and what changes it.
///
/// # Errors
///
/// A setting that is not allowed.
pub fn open(
    settings: Settings,
    metrics: &mut Metrics,
) -> Result<(mpsc::Receiver<Incoming>, Sender, Smsc, Resettable), Error> {
    settings.check()?;
    let figures = Figures::new(metrics);
    let (incoming, received) = mpsc::channel(settings.queue);
    let (sent, jobs) = mpsc::channel(settings.queue);
    let (now, is) = watch::channel(Is::default());
    let sender = Sender { jobs: sent, is, patience: settings.patience };
    let (resettable, settings) = watch::channel(Arc::new(settings));
    let smsc = Smsc { settings, figures, incoming, jobs, again: VecDeque::new(), is: now };
    Ok((received, sender, smsc, Resettable(resettable)))
}

impl Smsc {
    /// Holds sessions until it is stopped.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut entropy = SystemEntropy::new();
        let mut pause = self.settings.borrow().pause;
        let mut last = String::new();
        while !shutdown.is_requested() {
            let settings = self.settings.borrow_and_update().clone();
            let began = SystemClock.now();
            let binding = async {
                tokio::select! {
                    biased;
                    () = shutdown.requested() => None,
                    bound = session::bind(&settings) => Some(bound),
                }
            };
            let Some(bound) = self.meanwhile(binding).await else { return };
            let ended = match bound {
                Ok(link) => {
                    tracing::info!(smsc = settings.smsc, "bound to the SMSC");
                    last.clear();
                    self.set(true, None);
                    let ended = session::hold(&mut self, settings.clone(), link, &shutdown).await;
                    // One that lasted is a new beginning; an SMSC that accepts a bind and then goes
                    // is one that fails.
                    if SystemClock.now().since(began) >= settings.longest_pause {
                        pause = settings.pause;
                    }
                    ended
                }
                Err(error) => Err(error),
            };
            let Err(error) = ended else {
                self.set(false, None);
                return;
            };
            self.figures.session(error.word());
            // What goes on failing for the same reason is said once.
            let said = chain(&error);
            if said == last {
                tracing::debug!(error = said, "no session with the SMSC");
            } else {
                tracing::warn!(error = said, "no session with the SMSC: trying again");
            }
            self.set(false, Some(said.clone()));
            last = said;
            let mut octet = [0];
            entropy.fill(&mut octet);
            let until = SystemClock.now() + jittered(pause, octet[0]);
            match self.wait(until, &shutdown).await {
                Waited::Over => pause = (pause * 2).min(settings.longest_pause),
                Waited::Reset => pause = self.settings.borrow().pause,
                Waited::Stop => return,
            }
        }
    }

    /// Waits for the next try.
    async fn wait(&mut self, until: Instant, shutdown: &Shutdown) -> Waited {
        let mut settings = self.settings.clone();
        let waiting = async {
            tokio::select! {
                biased;
                () = shutdown.requested() => Waited::Stop,
                Ok(()) = settings.changed() => Waited::Reset,
                () = SystemClock.until(Some(until)) => Waited::Over,
            }
        };
        self.meanwhile(waiting).await
    }

    /// Does that, and meanwhile takes what is to be sent and gives up what has waited too long.
    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = std::pin::pin!(what);
        loop {
            let next = self.again.iter().map(|job| job.until).min();
            let has_room = self.again.len() < self.jobs.max_capacity();
            tokio::select! {
                biased;
                done = &mut what => return done,
                Some(job) = self.jobs.recv(), if has_room => self.again.push_back(job),
                () = SystemClock.until(next) => self.give_up(SystemClock.now()),
            }
        }
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

    fn set(&self, bound: bool, trouble: Option<String>) {
        self.figures.bound(bound);
        self.is.send_replace(Is { bound, trouble });
    }
}

/// How a pause ended.
enum Waited {
    /// It was over.
    Over,
    /// There are other settings.
    Reset,
    /// The process stops.
    Stop,
}

/// Half of it for certain, and up to all of it: so that not everybody comes back at once.
fn jittered(pause: Duration, random: u8) -> Duration {
    pause / 2 + pause / 512 * u32::from(random)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_between_half_of_it_and_all_of_it() {
        let pause = Duration::from_secs(512);
        assert_eq!(jittered(pause, 0), Duration::from_secs(256));
        assert_eq!(jittered(pause, 255), Duration::from_secs(511));
    }
}
