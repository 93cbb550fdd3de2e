//! What networks and devices are answered.

use std::sync::Arc;

use async_trait::async_trait;
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_handoff::server::Caller;
use homeward_handoff::{Answers, Book, CallError, Directory, Identity, Peers, Refused, Said, Told};
use homeward_keychain::key::{ApplicationKey, HopShare};
use homeward_keychain::message::Digest;
use homeward_keychain::server::Admitted;
use homeward_keychain::{
    Demand, Fetch, Fetched, Flow, Proof, Record, Refusal, SessionId, Side, Why,
};
use homeward_linux::Endpoint;
use homeward_model::{Clock, Name, UnixTime};
use homeward_vault::{Change, Vault};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::admitted::{self, Admission, Admissions};
use crate::config::Policy;
use crate::figures::Figures;
use crate::gate::{self, Gate};
use crate::sessions::{self, Held, Sessions};

/// The guard.
#[derive(Debug)]
pub struct Guard {
    identity: Identity,
    book: Book,
    peers: Peers,
    vault: Vault,
    policy: Policy,
    figures: Figures,
    gate: Option<Gate>,
    sessions: Mutex<Sessions>,
    admitted: Mutex<Admissions>,
}

/// Why a device is turned away.
#[derive(Debug, thiserror::Error)]
pub enum Turned {
    /// It hung up, or said something else than it was asked.
    #[error("it hung up, or said what it was not asked")]
    HungUp,
    /// Nobody has told of that session.
    #[error("no network has told of that session")]
    NoSession,
    /// The chain does not hold.
    #[error(transparent)]
    Chain(#[from] Refusal),
    /// The network that it is in does not prove.
    #[error("{0}")]
    Network(CallError),
    /// Another has that flow, or it has too many.
    #[error("another session has that flow, or this one has as many as it may")]
    Flow,
    /// The flow names an address that is not the device's.
    #[error("the flow names another address than the device calls from (policy.own_address)")]
    Address,
    /// The flow names an address in another way than the one that it is written in.
    #[error("the flow is to be written {0}")]
    Spelled(Endpoint),
    /// Nothing can be kept.
    #[error("nothing can be kept")]
    Vault,
    /// The kernel does not let it through.
    #[error("the gate cannot be changed")]
    Gate,
}

impl Turned {
    /// For metrics.
    const fn word(&self) -> &'static str {
        match self {
            Self::HungUp => "hung_up",
            Self::NoSession => "no_session",
            Self::Chain(_) => "refused",
            Self::Network(_) => "network_away",
            Self::Flow => "no_flow",
            Self::Address => "not_its_address",
            Self::Spelled(_) => "spelled",
            Self::Vault => "not_kept",
            Self::Gate => "gate",
        }
    }

    /// Whether it may be different in a moment: a hop may be on its way.
    fn again(&self) -> bool {
        match self {
            Self::NoSession | Self::Vault | Self::Gate => true,
            Self::Chain(refusal) => refusal.why == Why::NotTold,
            Self::Network(error) => error.is_away(),
            Self::HungUp | Self::Flow | Self::Address | Self::Spelled(_) => false,
        }
    }
}

impl Guard {
    /// A guard, with what was kept; `gate` is closed to what is not admitted, where there is one.
    ///
    /// # Errors
    /// What was kept does not open.
    pub async fn new(
        identity: Identity,
        book: Book,
        peers: Peers,
        vault: Vault,
        policy: Policy,
        figures: Figures,
        gate: Option<Gate>,
    ) -> anyhow::Result<Self> {
        let name = identity.name().clone();
        let sessions = Sessions::load(&vault, name, policy.chain(), policy.sessions).await?;
        let admitted = Mutex::new(Admissions::load(&vault, policy.flows).await?);
        let sessions = Mutex::new(sessions);
        Ok(Self { identity, book, peers, vault, policy, figures, gate, sessions, admitted })
    }

    /// The sessions that are followed.
    pub fn sessions(&self) -> &Mutex<Sessions> {
        &self.sessions
    }

    /// The flows that are admitted.
    pub fn admitted(&self) -> &Mutex<Admissions> {
        &self.admitted
    }

    /// What it counts.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Whom it deals with, as it stands.
    pub fn directory(&self) -> Arc<Directory> {
        self.book.now()
    }

    /// Whether a flow passes now.
    pub async fn passes(&self, flow: &Flow) -> Option<Admission> {
        let found = self.admitted.lock().await.get(flow, SystemClock.unix()).cloned();
        self.figures.verified(found.is_some());
        found
    }

    /// A session's key for a purpose, such as `wireguard`, at the hop that it proved last; `None`
    /// where its chain does not hold any more. The device has the same.
    pub async fn application(&self, session: SessionId, purpose: &str) -> Option<ApplicationKey> {
        let held = self.sessions.lock().await.get(session)?;
        let server = held.lock().await;
        server.stands(&*self.book.now(), SystemClock.unix()).ok()?;
        server.application(purpose)
    }

    async fn converse(&self, caller: &mut Caller) -> Result<(), Turned> {
        // A device may want several flows, one after the other.
        while let Some(said) = timeout(self.policy.proof.0, caller.heard()).await.ok().flatten() {
            let Said::Open(session, flow) = said else { return Err(Turned::HungUp) };
            let admitted = self.open(caller, session, flow).await?;
            caller.tell(Told::Admitted(admitted.hops, self.policy.admitted.0)).await;
            self.figures.proof("admitted");
        }
        Ok(())
    }

    async fn open(
        &self,
        caller: &mut Caller,
        session: SessionId,
        flow: Flow,
    ) -> Result<Admitted, Turned> {
        let held = self.sessions.lock().await.get(session).ok_or(Turned::NoSession)?;
        if !self.admitted.lock().await.may(&flow, session, SystemClock.unix()) {
            return Err(Turned::Flow);
        }
        let from = caller.from.ip().to_canonical();
        let end = gate::endpoint(&flow);
        // Or there were two flows of the same packets, and one would end the other's.
        if let Some(end) = end.filter(|end| end.to_string() != flow.as_str()) {
            return Err(Turned::Spelled(end));
        }
        let elsewhere = end.is_some_and(|at| at.address != from);
        if self.policy.own_address && elsewhere {
            return Err(Turned::Address);
        }
        let began = SystemClock.now();
        let (asked, likely) = {
            let server = held.lock().await;
            let likely = server.begun().last().or(server.records().last());
            let likely = likely.map(|record| record.network.clone()).ok_or(Turned::NoSession)?;
            (server.demand(flow, &mut SystemEntropy::new()), likely)
        };
        let asking = async {
            caller.tell(Told::Demand(asked.clone())).await;
            timeout(self.policy.proof.0, caller.heard()).await.ok().flatten()
        };
        // The network is asked meanwhile: most often it is the one that told of the last hop.
        let (said, guessed) = tokio::join!(asking, self.peers.prove(&likely, &asked));
        let Some(Said::Proof(device)) = said else { return Err(Turned::HungUp) };
        let network = held.lock().await.network(&device).cloned();
        let network = match network.filter(|network| *network != likely) {
            Some(network) => self.peers.prove(&network, &asked).await,
            None => guessed,
        };
        // Where it did not prove, the chain says what is missing, if it is not that alone.
        let (network, away) = match network {
            Ok(proof) => (proof, None),
            Err(error) => (nothing(), Some(error)),
        };
        let directory = self.book.now();
        let mut server = held.lock().await;
        let checked = server.check(asked, &device, &network, &*directory, SystemClock.unix());
        let admitted = match (checked, away) {
            (Err(Refusal { why: Why::NotProven(Side::Network), .. }), Some(e)) => {
                return Err(Turned::Network(e));
            }
            (checked, _) => checked?,
        };
        let until = self.until(sessions::until(&server));
        let Admitted { flow, hops, broken } = admitted.clone();
        let admission = Admission { session, until, hops, broken };
        // Another may have proven it meanwhile. While the disk is written, others go on.
        let may = {
            let mut flows = self.admitted.lock().await;
            let may = flows.may(&flow, session, SystemClock.unix());
            if may {
                flows.admit(flow.clone(), admission.clone());
            }
            may
        };
        let mut changes = vec![sessions::keep(&server)];
        changes.extend(may.then(|| admission.keep(&flow)));
        if self.vault.commit(changes).await.is_err() {
            self.admitted.lock().await.withdraw(&flow, session);
            if let Some(gate) = &self.gate {
                gate.shut(vec![flow]);
            }
            return Err(Turned::Vault);
        }
        if !may {
            return Err(Turned::Flow);
        }
        drop(server);
        if let Some(gate) = &self.gate
            && !timeout(self.policy.proof.0, gate.admit(&flow)).await.unwrap_or(false)
        {
            return Err(Turned::Gate);
        }
        self.figures.took(SystemClock.now().since(began).as_secs_f64());
        Ok(admitted)
    }

    /// As long as the policy lets it, and no longer than the chain is good.
    fn until(&self, chain: UnixTime) -> UnixTime {
        let span = i64::try_from(self.policy.admitted.0.as_millis()).unwrap_or(i64::MAX);
        UnixTime(SystemClock.unix().0.saturating_add(span)).min(chain)
    }

    /// Ends what does not hold any more, and forgets what has had its time.
    pub async fn sweep(&self) {
        let (now, directory) = (SystemClock.unix(), self.book.now());
        let mut over = self.admitted.lock().await.sweep(now);
        let admitted = self.admitted.lock().await.sessions();
        for session in admitted {
            let held = self.sessions.lock().await.get(session);
            let stands = match held {
                Some(held) => held.lock().await.stands(&*directory, now).map_err(|e| e.to_string()),
                None => Err("the session is not followed any more".to_owned()),
            };
            if let Err(reason) = stands {
                let ended = self.admitted.lock().await.end(session);
                if let Some(gate) = &self.gate {
                    gate.shut(ended.clone());
                }
                let flows = ended.len();
                self.figures.ended(flows);
                over.extend(ended);
                tracing::warn!(%session, flows, reason, "the chain does not hold any more");
            }
        }
        let mut changes: Vec<Change> = {
            let admitted = self.admitted.lock().await;
            // What was proven again meanwhile stays.
            over.iter().filter(|flow| !admitted.has(flow)).map(admitted::forget).collect()
        };
        let all = self.sessions.lock().await.of(None);
        for (session, held) in all {
            // One that is being proven is not over.
            let over = held.try_lock().is_ok_and(|server| sessions::until(&server) <= now);
            if over {
                changes.push(self.sessions.lock().await.forget(session));
            }
        }
        if !changes.is_empty() {
            // What is still there after a restart has had its time then, too.
            let _ = self.vault.commit(changes).await;
        }
        let sessions = self.sessions.lock().await.len();
        self.figures.holds(sessions, self.admitted.lock().await.len());
    }

    /// The session of a hop; it is begun with the first.
    async fn session(&self, record: &Record) -> Result<Held, Refused> {
        let mut sessions = self.sessions.lock().await;
        if let Some(held) = sessions.get(record.session) {
            return Ok(held);
        }
        let full = Refused::Later("as many sessions are followed as may be");
        let server = sessions.begin(record.session).ok_or(full)?;
        Ok(sessions.hold(server))
    }

    async fn extended(&self, from: &Name, record: Record, share: &HopShare) -> Result<(), Refused> {
        let held = self.session(&record).await?;
        let mut server = held.lock().await;
        let (session, hop, broken) = (record.session, record.hop, record.broken);
        let now = SystemClock.unix();
        let extended = server.extend(from, record, share, &*self.book.now(), now);
        if let Err(refusal) = extended {
            if server.records().len() + server.begun().len() == 0 {
                // It was begun for nothing.
                drop(self.sessions.lock().await.forget(session));
            }
            return Err(refusal.into());
        }
        let kept = self.vault.commit(vec![sessions::keep(&server)]).await;
        kept.map_err(|_| Refused::Later("nothing can be kept"))?;
        tracing::info!(%session, hop, network = %from, broken, "a hop");
        Ok(())
    }
}

/// What a network that does not answer has proven.
fn nothing() -> Proof {
    Proof { head: Digest([0; 32]), tags: Vec::new() }
}

#[async_trait]
impl Answers for Guard {
    /// In the place of the network before (H4).
    async fn fetch(&self, from: &Name, fetch: Fetch) -> Result<Fetched, Refused> {
        let session = fetch.ticket.session;
        let found = self.sessions.lock().await.get(session);
        let held = found.ok_or(Refusal { hop: 0, why: Why::NoKey })?;
        let mut server = held.lock().await;
        let fetched = server.export(from, &fetch)?;
        let kept = self.vault.commit(vec![sessions::keep(&server)]).await;
        kept.map_err(|_| Refused::Later("nothing can be kept"))?;
        tracing::info!(%session, to = %from, "key given in the place of the network before");
        Ok(fetched)
    }

    async fn extend(&self, from: &Name, record: Record, share: HopShare) -> Result<(), Refused> {
        let extended = self.extended(from, record, &share).await;
        self.figures.hop(if extended.is_ok() { "taken" } else { "refused" });
        extended
    }

    async fn prove(&self, _: &Name, _: Demand) -> Result<Proof, Refused> {
        Err(Refused::NotHere)
    }

    async fn device(&self, mut caller: Caller) {
        if let Err(turned) = self.converse(&mut caller).await {
            self.figures.proof(turned.word());
            tracing::info!(server = %self.identity.name(), reason = %turned, "not admitted");
            caller.tell(Told::Refused { again: turned.again() }).await;
        }
    }
}
