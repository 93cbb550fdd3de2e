//! Hand-off keys: for each server a session, which hops to each network that traffic goes by, and
//! proves to the server what flows it has admitted.
//!
//! A task for each server drives a [`Plan`](homeward_keychain::Plan); this one tells all of them where traffic goes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use homeward_daemon::Shutdown;
use homeward_keychain::Flow;
use homeward_model::{Imsi, Name, Ssid};
use homeward_offload::manager;
use homeward_offload::wire::HandoffKeys;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::config;
use crate::dial::Line;

pub(crate) mod asked;
pub(crate) mod keys;
mod sessions;
mod tunnel;
mod walker;

use keys::{Keys, Source};
use sessions::Sessions;
use tunnel::{Patience, Tunnels};
use walker::{Base, Walker};

/// Where traffic goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Which network that is, if it has a module.
    pub network: Option<Name>,
    /// By what it is reached.
    pub line: Option<Line>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "notice", rename_all = "kebab-case")]
pub enum Notice {
    /// A hop is integrated: keys for traffic are others now.
    HandedOff {
        /// The server whose session it is.
        server: Name,
        /// Where the device is.
        network: Name,
        /// The hops of the session.
        hops: u16,
    },
    /// A server admits a flow.
    Admitted {
        /// Which.
        server: Name,
        /// What.
        flow: String,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// The tunnel to a network's ePDG is up, with the key of that hop.
    Connected {
        /// The server whose session it is.
        server: Name,
        /// Whose ePDG it is.
        network: Name,
        /// Which hop that is.
        hops: u16,
    },
    /// It is not.
    NotConnected {
        /// The server whose session it is.
        server: Name,
        /// How many times in a row.
        failures: u32,
        /// In words.
        error: String,
    },
    /// A network did not let the device in, or a server did not admit it.
    NotProven {
        /// Whose session it is.
        server: Name,
        /// How many times in a row.
        failures: u32,
        /// In words.
        error: String,
    },
}

/// Where the session with one server stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The server.
    pub server: Name,
    /// What the server calls the session.
    pub session: String,
    /// The hops that were made in it.
    pub hops: u16,
    /// The network of the last hop.
    pub at: Option<Name>,
    /// The network that traffic goes by, if it has a module.
    pub here: Option<Name>,
    /// Whether the last hop is where traffic goes.
    pub there: bool,
    /// What failed last, in words, since something last went well.
    pub error: Option<String>,
    /// How many times in a row.
    pub failures: u32,
    /// What is kept admitted.
    pub flows: Vec<FlowStatus>,
}

/// Where a flow stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowStatus {
    /// Which.
    pub flow: String,
    /// For how long it is admitted yet, in milliseconds; none: it is not.
    pub admitted_ms: Option<u64>,
}

/// What a walker is asked.
#[derive(Debug)]
enum Ask {
    Open(Flow, oneshot::Sender<Result<(), String>>),
    Close(Flow, oneshot::Sender<bool>),
    Key(Shared, String, oneshot::Sender<Option<Key>>),
}

/// Who else has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// The server, and from the second hop on no network by itself: for passwords at the service.
    WithServer,
    /// The server and the network of the hop: for what goes between device and network.
    WithNetwork,
}

/// A key of the last hop.
#[derive(Debug, Serialize)]
pub struct Key {
    /// Which hop: with the next, it is another.
    pub hop: u16,
    /// The network of that hop.
    pub network: Name,
    /// 64 hexadecimal digits.
    pub key: Zeroizing<String>,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no such server.
    #[error("{0} is no server of [[handoff.servers]]")]
    NoServer(Name),
    /// There is no `[handoff]`.
    #[error("this device has no [handoff] in its configuration")]
    Off,
    /// Nobody is there any more to do it.
    #[error("the device is stopping")]
    Stopping,
    /// It is no flow, or one too many.
    #[error("{0}")]
    Flow(String),
    /// There was no hop yet.
    #[error("there is no key yet: no network has let the device in for {0}")]
    NoKey(Name),
}

/// The walkers.
#[derive(Debug)]
pub struct Handoff {
    config: config::Handoff,
    source: Source,
    keys: watch::Sender<Option<Arc<Keys>>>,
    place: watch::Sender<Place>,
    walkers: BTreeMap<Name, Speaking>,
    tasks: JoinSet<()>,
}

/// The ends of a walker that others hold.
#[derive(Debug)]
struct Speaking {
    asks: mpsc::UnboundedSender<Ask>,
    status: watch::Receiver<Status>,
}

impl Handoff {
    /// Starts a task for each server. What happens is told to `told`.
    ///
    /// # Errors
    ///
    /// The root key, or what is kept, cannot be had.
    pub fn start(
        config: &config::Handoff,
        state: &config::State,
        told: mpsc::UnboundedSender<Notice>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let (source, kept) = Source::open(config, state)?;
        let keys = watch::Sender::new(kept.map(Arc::new));
        let sessions = Arc::new(Mutex::new(Sessions::open(state)?));
        let place = watch::Sender::new(Place::default());
        let base = Arc::new(Base { config: config.clone(), sessions, told });
        let (mut walkers, mut tasks) = (BTreeMap::new(), JoinSet::new());
        for server in &config.servers {
            let (ask_tx, asks) = mpsc::unbounded_channel();
            let mut walker =
                Walker::new(Arc::clone(&base), server, place.subscribe(), keys.subscribe())?;
            let patience = Patience { retry: config.retry.0, retry_most: config.retry_most.0 };
            let (told, at) = (base.told.clone(), (walker.hops(), place.subscribe()));
            let tunnels = Tunnels::new(&server.name, &config.tunnels, patience, at, told);
            if let Some(tunnels) = tunnels {
                walker.goes(tunnels.way());
                tasks.spawn(tunnels.run(shutdown.clone()));
            }
            let status = walker.status();
            tasks.spawn(walker.run(asks, shutdown.clone()));
            walkers.insert(server.name.clone(), Speaking { asks: ask_tx, status });
        }
        Ok(Self { config: config.clone(), source, keys, place, walkers, tasks })
    }

    /// Whether keys are wanted of the portal, and whose there are.
    pub(crate) fn facts(&self) -> manager::Keys {
        self.source.facts()
    }

    /// Keys came of the portal, while that SIM was in the device: they are used from now on.
    pub(crate) fn enrolled(&mut self, imsi: Imsi, given: &HandoffKeys) {
        let Some(keys) = self.source.take(imsi, given) else { return };
        tracing::info!(version = given.version, "the portal has enrolled the device for hand-offs");
        self.keys.send_replace(Some(Arc::new(keys)));
    }

    /// Where the keys come from, and which they are.
    pub(crate) fn keys_status(&self) -> Value {
        self.source.status(self.keys.borrow().as_deref())
    }

    /// Traffic goes by that line: of Wi-Fi with that SSID, or of cellular.
    pub fn go(&self, ssid: Option<&Ssid>, line: Option<Line>) {
        let network = line.as_ref().and_then(|_| self.config.network(ssid));
        let place = Place { network: network.map(|network| network.name.clone()), line };
        self.place.send_if_modified(|now| {
            let moved = *now != place;
            *now = place;
            moved
        });
    }

    /// Where all sessions stand.
    pub fn status(&self) -> Vec<Status> {
        self.walkers.values().map(|walker| walker.status.borrow().clone()).collect()
    }

    fn walker(&self, server: &Name) -> Result<&Speaking, AskError> {
        self.walkers.get(server).ok_or_else(|| AskError::NoServer(server.clone()))
    }

    /// Has a flow kept admitted from now on, or no longer; whether that changes anything. It answers
    /// once the step that is being done is over.
    ///
    /// # Errors
    ///
    /// There is no such server, or it is no flow, or one too many.
    pub fn flow(
        &self,
        server: &Name,
        flow: &str,
        open: bool,
    ) -> Result<impl Future<Output = Result<bool, AskError>> + Send + use<>, AskError> {
        let flow: Flow = flow.parse().map_err(|e| AskError::Flow(format!("{e}")))?;
        let asks = self.walker(server)?.asks.clone();
        Ok(async move {
            if open {
                let (answer, answered) = oneshot::channel();
                asks.send(Ask::Open(flow, answer)).map_err(|_| AskError::Stopping)?;
                let opened = answered.await.map_err(|_| AskError::Stopping)?;
                opened.map(|()| true).map_err(AskError::Flow)
            } else {
                let (answer, answered) = oneshot::channel();
                asks.send(Ask::Close(flow, answer)).map_err(|_| AskError::Stopping)?;
                answered.await.map_err(|_| AskError::Stopping)
            }
        })
    }

    /// The key for that purpose, of the last hop of a server's session.
    ///
    /// # Errors
    ///
    /// There is no such server; or no hop yet.
    pub fn key(
        &self,
        server: &Name,
        shared: Shared,
        purpose: &str,
    ) -> Result<impl Future<Output = Result<Key, AskError>> + Send + use<>, AskError> {
        let (asks, server) = (self.walker(server)?.asks.clone(), server.clone());
        let purpose = purpose.to_owned();
        Ok(async move {
            let (answer, answered) = oneshot::channel();
            asks.send(Ask::Key(shared, purpose, answer)).map_err(|_| AskError::Stopping)?;
            answered.await.map_err(|_| AskError::Stopping)?.ok_or(AskError::NoKey(server))
        })
    }

    /// Ends the tasks.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

fn lock(sessions: &Mutex<Sessions>) -> std::sync::MutexGuard<'_, Sessions> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}
