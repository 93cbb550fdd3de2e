//! The desk: one service behind all transports.
//!
//! It finds out who asks from where the request came, never from what it says; looks up what that
//! subscriber is entitled to and has; has [`issuing`] decide; and issues. Requests of one
//! subscriber are answered one after the other, so that the second finds what the first was given.
//!
//! Whatever is refused takes the same steps to the same answer: the look-ups are made before
//! anything is decided, and of a subscriber that only the request names they are made as well.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Account, Apn, Clock, Imsi, Msisdn, Name, Status, Subscriber, Verifier};
use homeward_offload::issuing::{self, Decision, Given, Made, Policies, Realm};
use homeward_offload::wire::{CredentialAnswer, CredentialRequest, HandoffKeys};
use homeward_store::{
    Entity, Error, Issued, NewIssue, NewLogin, NewSubscriber, OutboxRecord, Seq, Store, Way,
};
use tokio::sync::Mutex;

use crate::committer::Committer;
use crate::figures::Figures;
use crate::handoff::Handoff;

/// A bearer that is live.
pub use homeward_offload::issuing::Bearer as Held;

/// How long an answer may take before there is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests of one subscriber queue at one of these; two subscribers that share one lose nothing
/// but a moment.
const QUEUES: usize = 1024;

/// From where a request came: what says who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// From an address of the cellular network.
    Address {
        /// The address.
        address: IpAddr,
        /// The access point name by which it came, where that is known.
        apn: Option<Apn>,
    },
    /// From a telephone number, by message.
    Number(Msisdn),
}

/// Knows which address is whose.
pub trait Whose: Send + Sync + 'static {
    /// The live bearer that has that address.
    fn at(&self, address: IpAddr, apn: Option<&Apn>) -> Option<Held>;
    /// A live bearer of the subscriber that has that number.
    fn of_number(&self, number: Msisdn) -> Option<Held>;
}

/// Knows of no bearer: everybody is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Whose for Nobody {
    fn at(&self, _: IpAddr, _: Option<&Apn>) -> Option<Held> {
        None
    }

    fn of_number(&self, _: Msisdn) -> Option<Held> {
        None
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Credentials.
    Given(Box<CredentialAnswer>),
    /// None. Why is for the log and the figures.
    Refused,
    /// Something here failed; another try may succeed.
    Failed,
}

/// What the desk is told once.
#[derive(Clone)]
pub struct Terms {
    /// The realm of what is issued.
    pub realm: Realm,
    /// What the operator may set of issuing.
    pub settings: issuing::Settings,
    /// The account that pays for subscribers without a record, if any does.
    pub unknown_subscribers: Option<Name>,
    /// Hand-off keys, where they are given.
    pub handoff: Option<Handoff>,
}

/// The desk.
pub struct Desk {
    terms: Terms,
    store: Arc<dyn Store>,
    whose: Arc<dyn Whose>,
    committer: Committer,
    figures: Figures,
    queues: Box<[Mutex<()>; QUEUES]>,
    hasher: RandomState,
    shelf: Mutex<Shelf>,
    entropy: std::sync::Mutex<SystemEntropy>,
}

impl Desk {
    /// One on that store.
    ///
    /// # Errors
    ///
    /// If the account that is to pay for unknown subscribers is not there, or the store fails.
    pub async fn new(
        terms: Terms,
        store: Arc<dyn Store>,
        whose: Arc<dyn Whose>,
        committer: Committer,
        figures: Figures,
    ) -> anyhow::Result<Self> {
        if let Some(name) = &terms.unknown_subscribers {
            store.require_account(name).await.context("portal.unknown_subscribers")?;
        }
        let shelf = Shelf::load(&*store).await.context("cannot read the policies")?;
        Ok(Self {
            terms,
            store,
            whose,
            committer,
            figures,
            queues: Box::new(std::array::from_fn(|_| Mutex::default())),
            hasher: RandomState::new(),
            shelf: Mutex::new(shelf),
            entropy: std::sync::Mutex::new(SystemEntropy::new()),
        })
    }

    /// Whether the datastore answers.
    pub async fn is_well(&self) -> bool {
        self.store.outbox_head().await.is_ok()
    }

    /// Who asks from there.
    pub fn who(&self, source: &Source) -> Option<Held> {
        match source {
            Source::Address { address, apn } => self.whose.at(*address, apn.as_ref()),
            Source::Number(number) => self.whose.of_number(*number),
        }
    }

    /// Answers a request that came from `source`; `transport` is a word for the figures.
    pub async fn ask(
        &self,
        source: &Source,
        request: &CredentialRequest,
        way: Way,
        transport: &'static str,
    ) -> Outcome {
        let began = SystemClock.now();
        let answered = tokio::time::timeout(PATIENCE, self.answer(source, request, way)).await;
        self.figures.took(SystemClock.now().since(began).as_secs_f64());
        let (outcome, word) = match answered {
            Ok(Ok(Answered::Given(mut answer, why))) => {
                answer.handoff = self.keys(request, way).await;
                let why = why.map(issuing::Why::as_str);
                tracing::debug!(imsi = request.imsi.as_str(), transport, issued = why, "given");
                (Outcome::Given(answer), if why.is_some() { "issued" } else { "kept" })
            }
            Ok(Ok(Answered::Refused(reason))) => {
                tracing::debug!(imsi = request.imsi.as_str(), transport, reason, "refused");
                (Outcome::Refused, reason)
            }
            Ok(Err(error)) => {
                tracing::error!(error = format!("{error:#}"), transport, "no answer");
                (Outcome::Failed, "failed")
            }
            Err(_) => {
                tracing::error!(transport, "no answer within {} s", PATIENCE.as_secs());
                (Outcome::Failed, "failed")
            }
        };
        self.figures.answered(transport, word);
        outcome
    }

    /// Hand-off keys for who was given credentials: they are given whatever becomes of those.
    async fn keys(&self, request: &CredentialRequest, way: Way) -> Option<HandoffKeys> {
        let handoff = self.terms.handoff.as_ref()?;
        // Who reads a message, or forges its sender, gets no key.
        if !request.handoff || way != Way::Https {
            return None;
        }
        // Of two requests at once the later's key counts, and is what the later is told.
        let _turn = self.queue(request.imsi).lock().await;
        let keys = handoff.keys(request.imsi, &self.terms.realm).await;
        self.figures.enrolled(keys.is_some());
        keys
    }

    async fn answer(
        &self,
        source: &Source,
        request: &CredentialRequest,
        way: Way,
    ) -> anyhow::Result<Answered> {
        let held = self.who(source);
        let imsi = held.as_ref().map_or(request.imsi, |held| held.imsi);
        let _turn = self.queue(imsi).lock().await;
        let mut known = self.known(imsi).await?;
        if known.subscriber.is_none() && held.as_ref().is_some_and(|h| h.imsi == request.imsi) {
            known.subscriber = self.take_in(imsi).await?;
            known.account = self.payer(known.subscriber.as_ref()).await?;
        }
        let policies = self.policies().await?;
        let now = SystemClock.unix();
        let bearer = held.as_ref();
        let facts = issuing::Facts {
            request,
            way: match source {
                Source::Address { .. } => issuing::Way::Bearer(bearer),
                Source::Number(sender) => issuing::Way::Sms { sender: *sender, bearer },
            },
            subscriber: known.subscriber.as_ref(),
            account: known.account.as_ref(),
            policies: &policies,
            given: known.issued.as_ref().map(given),
            // It would only say in the log what the store ends by itself.
            station: None,
            now,
        };
        let issue = match issuing::decide(&self.terms.settings, &facts) {
            Decision::Refuse(reason) => return Ok(Answered::Refused(reason.as_str())),
            Decision::Keep(answer) => return Ok(Answered::Given(answer, None)),
            Decision::Issue(issue) => issue,
        };
        let made = {
            let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
            issue.make(&self.terms.realm, &mut *entropy, now)?
        };
        let address = match source {
            Source::Address { address, .. } => Some(*address),
            Source::Number(_) => None,
        };
        let new = NewIssue {
            login: login(&issue, &made),
            imsi: issue.imsi,
            imei: issue.imei,
            mac: issue.mac,
            address,
            issued: now,
            renew_from: made.answer.renew_from,
            way,
        };
        match self.committer.issue(new).await? {
            Ok(_) => Ok(Answered::Given(Box::new(made.answer), Some(issue.why))),
            // What was true when it was looked up is so no more.
            Err(Error::NoSubscriber(_) | Error::Suspended { .. } | Error::NoSuch { .. }) => {
                Ok(Answered::Refused("gone"))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn queue(&self, imsi: Imsi) -> &Mutex<()> {
        let at = usize::try_from(self.hasher.hash_one(imsi)).unwrap_or(0) % QUEUES;
        // There is one at every place.
        &self.queues[at]
    }

    /// What the datastore knows of that SIM.
    async fn known(&self, imsi: Imsi) -> anyhow::Result<Known> {
        let subscriber = self.store.subscriber_with_imsi(imsi).await?;
        let issued = self.store.issued_to(imsi).await?;
        let account = self.payer(subscriber.as_ref()).await?;
        Ok(Known { subscriber, account, issued })
    }

    async fn payer(&self, subscriber: Option<&Subscriber>) -> anyhow::Result<Option<Account>> {
        match subscriber {
            Some(subscriber) => Ok(self.store.account(subscriber.account).await?),
            None => Ok(None),
        }
    }

    /// The policies, as they are now.
    async fn policies(&self) -> anyhow::Result<Arc<Policies>> {
        let mut shelf = self.shelf.lock().await;
        shelf.refresh(&*self.store).await?;
        Ok(Arc::clone(&shelf.policies))
    }

    /// Makes a record for a subscriber that has none, if somebody pays for it.
    async fn take_in(&self, imsi: Imsi) -> anyhow::Result<Option<Subscriber>> {
        let Some(name) = &self.terms.unknown_subscribers else { return Ok(None) };
        let account = self.store.require_account(name).await?.id;
        let (msisdn, label, status) = (None, String::new(), Status::Active);
        let new = NewSubscriber { imsi, msisdn, account, label, status };
        match self.store.create_subscriber(&new).await {
            Ok(subscriber) => Ok(Some(subscriber)),
            // An administrator was faster.
            Err(Error::ImsiTaken { .. }) => Ok(self.store.subscriber_with_imsi(imsi).await?),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the datastore knows of a SIM.
struct Known {
    subscriber: Option<Subscriber>,
    account: Option<Account>,
    issued: Option<Issued>,
}

enum Answered {
    /// Credentials, and why they are new, if they are.
    Given(Box<CredentialAnswer>, Option<issuing::Why>),
    /// A refusal, and the word for why.
    Refused(&'static str),
}

fn given(issued: &Issued) -> Given<'_> {
    Given {
        login: &issued.login,
        imsi: issued.imsi,
        imei: issued.imei,
        mac: issued.mac,
        issued: issued.issued,
        renew_from: issued.renew_from,
    }
}

fn login(issue: &issuing::Issue<'_>, made: &Made) -> NewLogin {
    NewLogin {
        account: issue.account.id,
        name: made.answer.username.clone(),
        verifier: Verifier::Password(made.answer.password.clone()),
        mac: made.mac,
        expires: made.answer.expires,
        uses: made.uses,
        label: String::new(),
        status: Status::Active,
    }
}

/// All policies, as they are now: there are few, and every request needs one.
struct Shelf {
    at: Seq,
    policies: Arc<Policies>,
}

/// How many outbox entries are read at a time.
const ENTRIES: u32 = 1000;

impl Shelf {
    async fn load(store: &dyn Store) -> homeward_store::Result<Self> {
        // The head first: what changes while this loads is then read again.
        let at = store.outbox_head().await?;
        let policies = store.policies().await?.into_iter().collect();
        Ok(Self { at, policies: Arc::new(policies) })
    }

    /// Loads them again if one has changed since.
    async fn refresh(&mut self, store: &dyn Store) -> homeward_store::Result<()> {
        let head = store.outbox_head().await?;
        while self.at < head {
            let entries = match store.outbox_after(self.at, ENTRIES).await {
                Ok(entries) => entries,
                Err(Error::OutboxPruned { .. }) => {
                    *self = Self::load(store).await?;
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            let Some(last) = entries.last() else { break };
            self.at = last.seq;
            let concerns =
                |record: &OutboxRecord| matches!(record.entity(), Entity::Policy | Entity::Class);
            if entries.iter().any(|entry| concerns(&entry.record)) {
                *self = Self::load(store).await?;
                return Ok(());
            }
        }
        Ok(())
    }
}
