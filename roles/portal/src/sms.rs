//! Credentials by short message: the loop around `homeward_smsc`.
//!
//! ```text
//! SMSC ──deliver_sm──► inbox ──whole──► budget ─► desk ──durable──► deliver_sm_resp
//!      ◄──submit_sm, a segment each────────────────┘
//! ```
//!
//! Who sends is what the SMSC says, and such senders can be forged. So a message proves less than a
//! bearer does, and gets only what is good once and not for long (`protocol/offload`'s issuing);
//! and whatever is not answered with credentials is not answered at all: nobody can have messages
//! sent to somebody else by it, beyond what that number may ask for itself.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | the `[portal.sms]` section |
//! | [`figures`] | metrics |
//! | `inbox` | messages out of segments, and which of them are in hand |

pub mod config;
pub mod figures;
mod inbox;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use homeward_daemon::{Exit, ExitContext, Metrics, Shutdown, SystemClock, SystemEntropy};
use homeward_model::{Clock, Entropy, Msisdn, UnixTime};
use homeward_offload::wire::sms::{self, Concatenation, Full, Part, Reference, Segment};
use homeward_offload::wire::{Invalid, Refused};
use homeward_smsc::{Ack, Address, Incoming, Outgoing, Resettable, Sender, Smsc, SubmitError};
use homeward_store::Way;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::budget::{Asker, Budget};
use crate::desk::{Desk, Outcome, Source};
use crate::figures::Figures as Answered;
pub use config::Config;
use figures::Figures;
use inbox::{Inbox, Taken, Ticket};

/// The word for the figures.
const TRANSPORT: &str = "sms";

/// What can be changed while it runs.
struct Told {
    config: Config,
    budget: Arc<Budget>,
}

impl Told {
    fn new(config: &Config) -> Self {
        let budget = Arc::new(Budget::new(config.requests_per_minute));
        Self { config: config.clone(), budget }
    }
}

/// What all who attend to a message share.
struct Office {
    desk: Arc<Desk>,
    told: Arc<ArcSwap<Told>>,
    sender: Sender,
    inbox: Arc<Mutex<Inbox<Ack>>>,
    answered: Answered,
    figures: Figures,
    /// Which message to somebody is which.
    reference: AtomicU8,
}

/// What can be reloaded: all but the queue, the patience, the lifetime and the limits of segments.
#[derive(Clone)]
pub struct Reloads {
    told: Arc<ArcSwap<Told>>,
    resettable: Resettable,
}

impl Reloads {
    /// Takes the configuration as it is now. A session that is bound goes on; the next one has the
    /// password, the authority and the timeouts.
    ///
    /// # Errors
    ///
    /// The file that cannot be read; then all stays as it was.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        if !config.is_on() {
            tracing::warn!("portal.sms.smsc is gone: short messages end with a restart");
            return Ok(());
        }
        self.resettable.reset(config.read()?).context("portal.sms").exit(Exit::Config)?;
        // The budget begins anew only where it is another.
        let now = self.told.load();
        if now.config.requests_per_minute == config.requests_per_minute {
            let budget = Arc::clone(&now.budget);
            self.told.store(Arc::new(Told { config: config.clone(), budget }));
        } else {
            self.told.store(Arc::new(Told::new(config)));
        }
        Ok(())
    }
}

/// The work: it ends with the process.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Short messages, started.
pub struct Started {
    /// What is to be run until it ends.
    pub work: Work,
    /// What can be reloaded.
    pub reloads: Reloads,
    sender: Sender,
    inbox: Arc<Mutex<Inbox<Ack>>>,
    figures: Figures,
    smsc: String,
}

/// Begins to take requests by short message at that desk. `answered` counts them with the others.
///
/// # Errors
///
/// A secret or an authority that cannot be read. That there is no SMSC is no error: it may come.
pub fn start(
    config: &Config,
    desk: Arc<Desk>,
    answered: Answered,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<Started> {
    let settings = config.read()?;
    if settings.tls.is_none() {
        tracing::info!("the session with the SMSC is in the clear: keep it inside a tunnel");
    }
    let queue = settings.queue;
    let opened = homeward_smsc::open(settings, metrics);
    let (received, sender, smsc, resettable) = opened.context("portal.sms").exit(Exit::Config)?;
    let told = Arc::new(ArcSwap::from_pointee(Told::new(config)));
    let inbox = Arc::new(Mutex::new(Inbox::new(config.segments())));
    let figures = Figures::new(metrics);
    let mut first = [0];
    SystemEntropy::new().fill(&mut first);
    let office = Arc::new(Office {
        desk,
        told: Arc::clone(&told),
        sender: sender.clone(),
        inbox: Arc::clone(&inbox),
        answered,
        figures: figures.clone(),
        reference: AtomicU8::new(first[0]),
    });
    let work = Box::pin(run(office, received, smsc, queue, shutdown));
    let smsc = config.smsc.clone().unwrap_or_default();
    Ok(Started { work, reloads: Reloads { told, resettable }, sender, inbox, figures, smsc })
}

impl Started {
    /// What is to be said of it.
    pub fn status(&self) -> impl Fn() -> Value + Send + Sync + 'static {
        let (sender, inbox) = (self.sender.clone(), Arc::clone(&self.inbox));
        let (figures, smsc) = (self.figures.clone(), self.smsc.clone());
        move || {
            let (in_hand, unfinished) = lock(&inbox).counts();
            let (received, answers) = figures.status();
            json!({
                "smsc": smsc,
                "bound": sender.is_bound(),
                "trouble": sender.trouble(),
                "received": received,
                "answers": answers,
                "in_hand": in_hand,
                "unfinished": unfinished,
            })
        }
    }
}

fn lock<A>(inbox: &Mutex<Inbox<A>>) -> MutexGuard<'_, Inbox<A>> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(
    office: Arc<Office>,
    received: Receiver<Incoming>,
    smsc: Smsc,
    queue: usize,
    shutdown: Shutdown,
) {
    // The session outlives the stop until what is in hand is answered.
    let over = Shutdown::new();
    let session = smsc.run(over.clone());
    let serving = async {
        serve(office, received, queue, &shutdown).await;
        over.trigger();
    };
    tokio::join!(session, serving);
}

async fn serve(
    office: Arc<Office>,
    mut received: Receiver<Incoming>,
    queue: usize,
    shutdown: &Shutdown,
) {
    let mut attending = JoinSet::new();
    loop {
        let deadline = lock(&office.inbox).poll_timeout();
        tokio::select! {
            biased;
            () = shutdown.requested() => break,
            Some(ended) = attending.join_next() => report(ended),
            incoming = received.recv(), if attending.len() < queue => match incoming {
                Some(incoming) => {
                    if let Some(work) = office.take(incoming) {
                        attending.spawn(work);
                    }
                }
                None => break,
            },
            () = SystemClock.until(deadline) => {
                let dropped = lock(&office.inbox).handle_timeout(SystemClock.now());
                office.figures.unfinished(dropped);
            }
        }
    }
    // What is left in there the SMSC is told to deliver later.
    drop(received);
    let patience = match office.sender.is_bound() {
        true => office.told.load().config.response_timeout.0,
        false => Duration::ZERO,
    };
    let rest = async {
        while let Some(ended) = attending.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(patience, rest).await.is_err() {
        tracing::warn!("stopped with answers by short message that the SMSC has not taken");
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a short message was not attended to");
    }
}

/// A message that is whole.
struct Message {
    ticket: Ticket,
    sender: Msisdn,
    /// To where it was sent.
    to: Address,
    full: Full,
}

impl Office {
    /// Takes what came; gives what is to be done for it, if anything is.
    fn take(self: &Arc<Self>, incoming: Incoming) -> Option<impl Future<Output = ()> + use<>> {
        let Incoming { from, to, esm_class, data_coding, octets, concatenation, receipt, ack } =
            incoming;
        if let Some(receipt) = receipt {
            let (id, state) = (receipt.message_id, receipt.state.as_str());
            tracing::debug!(id, state, "a delivery receipt");
            self.figures.received("receipt");
            ack.done();
            return None;
        }
        let Some(sender) = from.msisdn() else {
            self.figures.received("no-number");
            ack.done();
            return None;
        };
        let part = Part::decode(esm_class, data_coding, &octets).and_then(|mut part| {
            if let (None, Some(sar)) = (part.concatenation, concatenation) {
                let reference = Reference::Long(sar.reference);
                part.concatenation = Some(Concatenation::new(reference, sar.total, sar.number)?);
            }
            Ok(part)
        });
        let now = SystemClock.now();
        let taken = match part {
            Ok(part) => lock(&self.inbox).take(now, sender, part, ack),
            Err(invalid) => Taken::Invalid(ack, invalid),
        };
        let (ticket, full) = match taken {
            Taken::Whole(ticket, full) => {
                self.figures.received("whole");
                if !self.told.load().budget.may(Asker::Number(sender), now) {
                    self.answered.answered(TRANSPORT, "too-often");
                    self.settle(ticket);
                    lock(&self.inbox).answered(ticket);
                    return None;
                }
                (ticket, full)
            }
            Taken::Again(ticket, full) => {
                self.figures.received("again");
                (ticket, full)
            }
            Taken::Part(ack) => {
                self.figures.received("part");
                ack.done();
                return None;
            }
            Taken::Repeated(ack) => {
                self.figures.received("repeated");
                if let Some(ack) = ack {
                    ack.done();
                }
                return None;
            }
            Taken::Invalid(ack, invalid) => {
                tracing::debug!(%invalid, "a short message that is none of ours");
                self.figures.received("invalid");
                ack.done();
                return None;
            }
        };
        let office = Arc::clone(self);
        Some(async move { office.attend(Message { ticket, sender, to, full }).await })
    }

    /// Tells the SMSC that it may forget a message.
    fn settle(&self, ticket: Ticket) {
        let acks = lock(&self.inbox).settled(ticket);
        acks.into_iter().for_each(Ack::done);
    }

    async fn attend(&self, message: Message) {
        let Message { ticket, sender, .. } = message;
        let text = match self.ask(sender, &message.full).await {
            Asked::Answer(text, expires) => Some((text, expires)),
            Asked::Nothing => None,
            Asked::Failed => {
                // Dropped, they tell the SMSC to deliver it again.
                drop(lock(&self.inbox).failed(SystemClock.now(), ticket));
                return;
            }
        };
        self.settle(ticket);
        if let Some((text, expires)) = text {
            let outcome = self.answer(sender, message.to, &text, expires).await;
            self.figures.answer(outcome);
        }
        lock(&self.inbox).answered(ticket);
    }

    async fn ask(&self, sender: Msisdn, full: &Full) -> Asked {
        let read = |text: Zeroizing<String>| Ok((sms::decode_request(&text)?, sms::nonce(&text)));
        // The answer has the request's nonce, so that the device knows what it is the answer to.
        let (request, nonce) = match full.text().and_then(read) {
            Ok(read) => read,
            Err(invalid) => {
                tracing::debug!(%invalid, "a short message that is no request");
                self.answered.answered(TRANSPORT, "invalid");
                return Asked::Nothing;
            }
        };
        let source = Source::Number(sender);
        match self.desk.ask(&source, &request, Way::Sms, TRANSPORT).await {
            Outcome::Given(given) => match sms::encode_answer(&given) {
                Ok(text) => Asked::Answer(sms::with_nonce(text, nonce), given.expires),
                Err(invalid) => {
                    tracing::error!(%invalid, "what was issued cannot be said");
                    Asked::Nothing
                }
            },
            Outcome::Refused => {
                let may_know = self.told.load().config.refusals && self.desk.who(&source).is_some();
                match may_know {
                    true => {
                        let text = Zeroizing::new(sms::encode_refused(Refused));
                        Asked::Answer(sms::with_nonce(text, nonce), None)
                    }
                    false => Asked::Nothing,
                }
            }
            Outcome::Failed => Asked::Failed,
        }
    }

    /// Sends a text in as many segments as it takes; gives a word for what became of it.
    async fn answer(
        &self,
        to: Msisdn,
        asked: Address,
        text: &str,
        expires: Option<UnixTime>,
    ) -> &'static str {
        let told = self.told.load_full();
        let segments = match self.cut(text, told.config.answer_segments) {
            Ok(segments) => segments,
            Err(invalid) => {
                tracing::error!(
                    %invalid,
                    "an answer that is too long for short messages: shorten the policy, or allow \
                     more by portal.sms.answer_segments"
                );
                return "too-long";
            }
        };
        let until = SystemClock.now() + told.config.patience.0;
        for segment in segments {
            let outgoing = Outgoing {
                from: told.config.own().unwrap_or_else(|| asked.clone()),
                to: Address::of(to),
                esm_class: segment.esm_class(),
                data_coding: sms::DATA_CODING,
                octets: segment.octets,
                wants_receipt: told.config.receipts,
                validity: Some(validity(told.config.validity.0, expires, SystemClock.unix())),
            };
            let error = loop {
                match self.sender.submit(outgoing.clone()).await {
                    Ok(id) => {
                        tracing::debug!(id, "the SMSC has taken a segment");
                        break None;
                    }
                    // It may have been taken: a segment that comes twice is the same one.
                    Err(SubmitError::Lost) if SystemClock.now() < until => {}
                    Err(error) => break Some(error),
                }
            };
            if let Some(error) = error {
                tracing::warn!(%error, "an answer by short message is not sent");
                return match error {
                    SubmitError::Invalid { .. } => "invalid",
                    SubmitError::Refused(_) => "refused",
                    SubmitError::TooLate => "too-late",
                    SubmitError::Lost => "lost",
                    SubmitError::Full => "full",
                    SubmitError::Stopped => "stopped",
                };
            }
        }
        "sent"
    }

    fn cut(&self, text: &str, most: u8) -> Result<Vec<Segment>, Invalid> {
        let reference = self.reference.fetch_add(1, Ordering::Relaxed);
        let segments = sms::split(text, Reference::Short(reference))?;
        if segments.len() > usize::from(most) {
            let what = format!("{} segments; {most} at most", segments.len());
            return Err(Invalid { at: "the message".to_owned(), what });
        }
        Ok(segments)
    }
}

/// What a message is answered.
enum Asked {
    /// With that text, which is of use until then.
    Answer(Zeroizing<String>, Option<UnixTime>),
    /// Not at all.
    Nothing,
    /// Not now.
    Failed,
}

/// How long an answer may be on its way: what has run out is of no use.
fn validity(most: Duration, expires: Option<UnixTime>, now: UnixTime) -> Duration {
    let left = expires.map(|at| u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0));
    left.map_or(most, |ms| most.min(Duration::from_millis(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_on_its_way_no_longer_than_it_is_of_use() {
        let hour = Duration::from_secs(3600);
        let now = UnixTime(1_000_000);
        assert_eq!(validity(hour, None, now), hour);
        assert_eq!(validity(hour, Some(UnixTime(1_060_000)), now), Duration::from_secs(60));
        assert_eq!(validity(hour, Some(UnixTime(i64::MAX)), now), hour);
        assert_eq!(validity(hour, Some(UnixTime(0)), now), Duration::ZERO);
    }
}
