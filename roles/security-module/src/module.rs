//! What devices and peers are answered.

use std::net::IpAddr;

use async_trait::async_trait;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_handoff::server::Caller;
use homeward_handoff::{Answers, Book, CallError, Identity, Peers, Refused, Said, Told};
use homeward_keychain::key::HopShare;
use homeward_keychain::module::{Making, Previous};
use homeward_keychain::{
    Demand, DeviceKey, Fetch, Fetched, Proof, Question, Record, Refusal, Response, Visit, Why,
};
use homeward_model::{Clock, Nai, Name, UnixTime};
use homeward_vault::Vault;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::attempts::Attempts;
use crate::config::Policy;
use crate::enrolled::Enrolled;
use crate::epdg::Epdg;
use crate::figures::Figures;
use crate::outbox::Outbox;
use crate::visits::{self, At, Visits};

/// A device that does not volunteer where it was is asked once.
const QUESTIONS: usize = 2;

/// A network's security module.
#[derive(Debug)]
pub struct Module {
    identity: Identity,
    book: Book,
    peers: Peers,
    vault: Vault,
    policy: Policy,
    figures: Figures,
    epdg: Option<Epdg>,
    enrolled: Mutex<Enrolled>,
    outbox: Mutex<Outbox>,
    visits: Mutex<Visits>,
    attempts: Mutex<Attempts>,
}

/// Why a device is turned away.
#[derive(Debug, thiserror::Error)]
pub enum Turned {
    /// It hung up, or said something else than it was asked.
    #[error("it hung up, or said what it was not asked")]
    HungUp,
    /// It is not who it says, or says what cannot be.
    #[error(transparent)]
    Chain(#[from] Refusal),
    /// The network before, or the server, says no.
    #[error("{0}")]
    Peer(CallError),
    /// Neither the network before nor the server can be reached.
    #[error("the key of the hop before is not to be had: {0}")]
    Away(CallError),
    /// It has failed too often.
    #[error("its address has failed too often")]
    TooOften,
    /// There is no room.
    #[error("there are as many hops as may be held")]
    Full,
    /// Nothing can be kept.
    #[error("nothing can be kept")]
    Vault,
    /// The ePDG does not take the key that it is to demand.
    #[error("the ePDG does not take the key that it is to demand: {0}")]
    Epdg(homeward_charon::CharonError),
}

impl Turned {
    /// For metrics.
    const fn word(&self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::Chain(_) => "refused",
            Self::Peer(_) => "refused_by_peer",
            Self::Away(_) => "previous_away",
            Self::TooOften => "too_often",
            Self::Full => "full",
            Self::Vault => "not_kept",
            Self::Epdg(_) => "epdg",
        }
    }

    /// Whether it may be different in a moment.
    const fn again(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Full | Self::Vault | Self::Epdg(_))
    }
}

impl Module {
    /// A module, with what was kept.
    ///
    /// # Errors
    /// What was kept does not open.
    pub async fn new(
        identity: Identity,
        book: Book,
        peers: Peers,
        vault: Vault,
        policy: Policy,
        epdg: Option<Epdg>,
        figures: Figures,
    ) -> anyhow::Result<Self> {
        let enrolled = Enrolled::load(&vault, &mut SystemEntropy::new()).await?;
        let outbox = Mutex::new(Outbox::load(&vault).await?);
        let visits = Visits::load(&vault, policy.visits).await?;
        figures.holds(visits.len(), visits.untold());
        if let Some(epdg) = &epdg {
            for held in visits.of(None) {
                epdg.take_up(&*held.lock().await);
            }
        }
        let attempts = Attempts::new(policy.attempts, policy.attempts_period.0);
        let (enrolled, visits) = (Mutex::new(enrolled), Mutex::new(visits));
        let attempts = Mutex::new(attempts);
        Ok(Self {
            identity,
            book,
            peers,
            vault,
            policy,
            figures,
            epdg,
            enrolled,
            outbox,
            visits,
            attempts,
        })
    }

    /// The devices that are enrolled.
    pub fn enrolled(&self) -> &Mutex<Enrolled> {
        &self.enrolled
    }

    /// What other networks are still to be told of devices.
    pub fn outbox(&self) -> &Mutex<Outbox> {
        &self.outbox
    }

    /// What this network is called.
    pub fn name(&self) -> &Name {
        self.identity.name()
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The hops that are held.
    pub fn visits(&self) -> &Mutex<Visits> {
        &self.visits
    }

    /// Whom it deals with, as it stands.
    pub fn directory(&self) -> std::sync::Arc<homeward_handoff::Directory> {
        self.book.now()
    }

    /// Where things are kept.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The network's ePDG, if it has one.
    pub fn epdg(&self) -> Option<&Epdg> {
        self.epdg.as_ref()
    }

    async fn converse(&self, caller: &mut Caller) -> Result<(), Turned> {
        let from = caller.from.ip();
        if !self.attempts.lock().await.may(from, SystemClock.now()) {
            return Err(Turned::TooOften);
        }
        let Some(Said::Hello) = self.hears(caller).await else { return Err(Turned::HungUp) };
        let (visit, began) = self.authorise(caller, from).await?;
        if !self.visits.lock().await.has_room() {
            return Err(Turned::Full);
        }
        let visit = self.integrate(visit).await?;
        let welcome = visit.welcome().cloned().ok_or(Turned::HungUp)?;
        // Before the device hears of it: it may dial at once.
        let demanding = match &self.epdg {
            Some(epdg) => Some(epdg.demand(&visit).await.map_err(Turned::Epdg)?),
            None => None,
        };
        self.settle(visit).await?;
        if let Some(demanding) = demanding {
            demanding.settled();
        }
        caller.tell(Told::Welcome(Box::new(welcome))).await;
        self.figures.took(SystemClock.now().since(began).as_secs_f64());
        Ok(())
    }

    async fn hears(&self, caller: &mut Caller) -> Option<Said> {
        timeout(self.policy.challenge.0, caller.heard()).await.ok().flatten()
    }

    /// Asks who it is; and where it was, if it does not say so by itself.
    async fn authorise(
        &self,
        caller: &mut Caller,
        from: IpAddr,
    ) -> Result<(Visit, homeward_model::Instant), Turned> {
        let network = self.identity.name();
        for round in 0..QUESTIONS {
            let question = Question::new(network.clone(), round > 0, &mut SystemEntropy::new());
            caller.tell(Told::Challenge(question.challenge().clone())).await;
            let Some(Said::Response(response)) = self.hears(caller).await else {
                return Err(Turned::HungUp);
            };
            let began = SystemClock.now();
            match self.authorised(question, &response).await {
                Ok(visit) => return Ok((visit, began)),
                Err(Refusal { why: Why::NoTicket, .. }) if round + 1 < QUESTIONS => {}
                Err(refusal) => {
                    self.attempts.lock().await.failed(from, SystemClock.now());
                    return Err(refusal.into());
                }
            }
        }
        Err(Turned::HungUp)
    }

    async fn authorised(&self, question: Question, response: &Response) -> Result<Visit, Refusal> {
        let key = self.enrolled.lock().await.key(&response.device);
        Visit::authorise(question, response, &key)
    }

    async fn integrate(&self, mut visit: Visit) -> Result<Visit, Turned> {
        let previous = self.previous(&visit).await?;
        let making = Making {
            now: SystemClock.unix(),
            lifetime: self.policy.lifetime.0,
            skew: self.policy.skew.0,
            broken: self.policy.broken,
        };
        visit.integrate(previous, self.identity.signer(), &*self.book.now(), &making)?;
        Ok(visit)
    }

    /// What the network before gives; or the server, where that one is away.
    async fn previous(&self, visit: &Visit) -> Result<Previous, Turned> {
        let Some((of, fetch)) = visit.fetch() else { return Ok(Previous::None) };
        let own = self.identity.name();
        if of == own {
            let fetched = self.export(own, &fetch).await;
            self.figures.fetch(if fetched.is_ok() { "own" } else { "refused" });
            return match fetched {
                Ok(fetched) => Ok(Previous::Fetched(fetched)),
                Err(Refused::Chain(refusal)) => Err(Turned::Chain(refusal)),
                Err(_) => Err(Turned::Vault),
            };
        }
        let server = async {
            if !self.policy.ask_server {
                return None;
            }
            SystemClock.until(Some(SystemClock.now() + self.policy.ask_server_after.0)).await;
            tracing::info!(network = %of, server = %visit.server(), "the server is asked, too");
            Some(self.peers.fetch(visit.server(), &fetch).await)
        };
        tokio::pin!(server);
        let network = self.peers.fetch(of, &fetch);
        tokio::pin!(network);
        // Both give the same: whoever does first. A network that is there and says no has the word.
        let (mut away, mut stands_in) = (None, true);
        let away = loop {
            tokio::select! {
                asked = &mut network, if away.is_none() => match asked {
                    Ok(fetched) => {
                        self.figures.fetch("network");
                        return Ok(Previous::Fetched(fetched));
                    }
                    Err(error) if error.is_away() || error.is_nowhere() => away = Some(error),
                    Err(error) => {
                        self.figures.fetch("refused");
                        return Err(Turned::Peer(error));
                    }
                },
                asked = &mut server, if stands_in => match asked {
                    Some(Ok(fetched)) => {
                        self.figures.fetch("server");
                        return Ok(Previous::Fetched(fetched));
                    }
                    Some(Err(error)) => {
                        tracing::info!(%error, "nor does the server give it");
                        stands_in = false;
                    }
                    None => stands_in = false,
                },
            }
            match away.take() {
                Some(error) if !stands_in => break error,
                error => away = error,
            }
        };
        self.figures.fetch("away");
        if self.policy.broken { Ok(Previous::Missing) } else { Err(Turned::Away(away)) }
    }

    /// Keeps the hop, and tells the server of it. A server that is away is told later: it is whom
    /// the device needs next, anyway.
    async fn settle(&self, visit: Visit) -> Result<(), Turned> {
        let at = (visit.session(), visit.hop());
        let (Some(saved), Some(welcome), Some(share)) =
            (visit.save(), visit.welcome(), visit.share())
        else {
            return Err(Turned::HungUp);
        };
        let kept = self.vault.commit(vec![visits::keep(at, saved)]);
        let told = self.peers.extend(visit.server(), &welcome.record, share);
        let (kept, told) = tokio::join!(kept, told);
        kept.map_err(|_| Turned::Vault)?;
        match told {
            Ok(()) => {
                self.visits.lock().await.hold(visit);
            }
            Err(error) if error.is_away() => {
                tracing::warn!(server = %visit.server(), %error, "the server is told later");
                let untold = vec![visits::keep_untold(at)];
                self.vault.commit(untold).await.map_err(|_| Turned::Vault)?;
                let mut visits = self.visits.lock().await;
                visits.hold(visit);
                visits.not_told(at);
            }
            Err(error) => return Err(Turned::Peer(error)),
        }
        Ok(())
    }

    /// Tells servers what they have not heard of; how many are left.
    pub async fn tell_again(&self) -> usize {
        let untold = self.visits.lock().await.to_tell();
        for (at, held) in untold {
            let (server, record, share) = {
                let visit = held.lock().await;
                let (Some(welcome), Some(share)) = (visit.welcome(), visit.share()) else {
                    continue;
                };
                (visit.server().clone(), welcome.record.clone(), share.clone())
            };
            match self.peers.extend(&server, &record, &share).await {
                Err(error) if error.is_away() => continue,
                Err(error) => tracing::warn!(%server, %error, "the server does not take a hop"),
                Ok(()) => tracing::info!(%server, "the server was told"),
            }
            self.visits.lock().await.told(at);
            // If it is told again after a restart, nothing changes by it.
            let _ = self.vault.commit(vec![visits::forget_untold(at)]).await;
        }
        self.count().await
    }

    async fn count(&self) -> usize {
        let visits = self.visits.lock().await;
        self.figures.holds(visits.len(), visits.untold());
        visits.untold()
    }

    /// Lets go of hops that have had their time.
    pub async fn sweep(&self, now: UnixTime) {
        let gone = self.visits.lock().await.sweep(now);
        if let Some(epdg) = &self.epdg {
            epdg.ended(&gone);
        }
        if !gone.is_empty() {
            // What is still there after a restart has had its time then, too.
            let gone = gone.into_iter().flat_map(visits::forget_visit).collect();
            let _ = self.vault.commit(gone).await;
        }
        self.count().await;
    }

    /// Gives what a ticket opens to who it is for. That it was given is on disk before it leaves.
    async fn export(&self, to: &Name, fetch: &Fetch) -> Result<Fetched, Refused> {
        let ticket = &fetch.ticket;
        let hop = ticket.hop.saturating_sub(1);
        let at: At = (ticket.session, hop);
        let found = self.visits.lock().await.at(at);
        let held = found.ok_or(Refusal { hop, why: Why::NoKey })?;
        let mut visit = held.lock().await;
        let fetched = visit.export(to, fetch)?;
        let saved = visit.save().ok_or(Refused::NotHere)?;
        let kept = self.vault.commit(vec![visits::keep(at, saved)]).await;
        kept.map_err(|_| Refused::Later("nothing can be kept"))?;
        if let Some(epdg) = self.epdg.as_ref().filter(|_| to != self.identity.name()) {
            epdg.leaves(ticket.session);
        }
        tracing::info!(session = %ticket.session, hop, %to, "key given");
        Ok(fetched)
    }
}

#[async_trait]
impl Answers for Module {
    async fn fetch(&self, from: &Name, fetch: Fetch) -> Result<Fetched, Refused> {
        let fetched = self.export(from, &fetch).await;
        self.figures.export(if fetched.is_ok() { "given" } else { "refused" });
        fetched
    }

    async fn extend(&self, _: &Name, _: Record, _: HopShare) -> Result<(), Refused> {
        Err(Refused::NotHere)
    }

    async fn prove(&self, from: &Name, demand: Demand) -> Result<Proof, Refused> {
        let last = self.visits.lock().await.last(demand.session);
        let held = last.ok_or(Refusal { hop: 0, why: Why::NoKey })?;
        let visit = held.lock().await;
        if visit.server() != from {
            return Err(Refusal { hop: visit.hop(), why: Why::OtherServer }.into());
        }
        Ok(visit.prove(&demand)?)
    }

    async fn enrol(
        &self,
        from: &Name,
        device: Nai,
        version: u32,
        key: DeviceKey,
    ) -> Result<(), Refused> {
        self.enrolled_by(from, (device, version, key)).await
    }

    async fn device(&self, mut caller: Caller) {
        let from = caller.from;
        match self.converse(&mut caller).await {
            Ok(()) => self.figures.device("welcomed"),
            Err(turned) => {
                self.figures.device(turned.word());
                // Whose it was is said at DEBUG alone.
                tracing::info!(reason = %turned, "a device was turned away");
                tracing::debug!(%from, reason = %turned, "a device was turned away");
                caller.tell(Told::Refused { again: turned.again() }).await;
            }
        }
        self.count().await;
    }
}
