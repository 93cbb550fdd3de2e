//! Which address is whose: the loop around [`homeward_bearer`].
//!
//! Packet gateways account for their sessions to a RADIUS listener of the portal's own. What a
//! report changes is applied at once and stored before the report is answered, all that waits in
//! one transaction; the portal starts with what was stored.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | the `[portal.bearers]` section |
//! | [`figures`] | metrics |
//! | `listener` | the worker of the accounting port |
//! | `keeper` | stores what changes |

pub mod config;
pub mod figures;
mod keeper;
mod listener;

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use homeward_bearer::{Bearer, Table};
use homeward_daemon::{Exit, ExitContext, Metrics, Shutdown, SystemClock};
use homeward_model::{Apn, Clock, Msisdn, Name};
use homeward_radius::SharedSecret;
use homeward_store::{BearerChange, Bearers as Kept};
use homeward_transport::{ServerConfig, UdpServer};
use serde_json::{Value, json};

use crate::desk::{Held, Whose};
pub use config::Config;
use figures::Figures;
use listener::{Desk, Known, Order, Worker};
use tokio::sync::mpsc::WeakUnboundedSender;

/// What the worker, the keeper and whoever asks share.
#[derive(Debug)]
struct Shared {
    table: RwLock<Table>,
    /// Who may report, the narrowest prefix first.
    gateways: ArcSwap<Vec<Arc<Known>>>,
    figures: Figures,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a gateway of that name may report.
    fn is_known(&self, gateway: &Name) -> bool {
        self.gateways.load().iter().any(|known| known.source.gateway == *gateway)
    }
}

/// Knows which address is whose. Clones are one and the same.
#[derive(Debug, Clone)]
pub struct Bearers(Arc<Shared>);

impl Bearers {
    /// The live bearer that has that address, by that access point name if one is given. `None`
    /// also where it cannot be said whose it is.
    pub fn find(&self, address: IpAddr, apn: Option<&Apn>) -> Option<Bearer> {
        self.0.read().bearer_of(address, apn).cloned()
    }

    /// A live bearer of the subscriber that has that number.
    pub fn with_msisdn(&self, number: &Msisdn) -> Option<Bearer> {
        self.0.read().bearer_with_msisdn(number).cloned()
    }
}

fn held(bearer: &Bearer) -> Held {
    Held { imsi: bearer.imsi, imei: bearer.imei }
}

impl Whose for Bearers {
    fn at(&self, address: IpAddr, apn: Option<&Apn>) -> Option<Held> {
        self.0.read().bearer_of(address, apn).map(held)
    }

    fn of_number(&self, number: Msisdn) -> Option<Held> {
        self.0.read().bearer_with_msisdn(&number).map(held)
    }
}

/// The listener, started.
pub struct Started {
    /// Who knows whose an address is.
    pub bearers: Bearers,
    /// Where reports come to.
    pub listening: SocketAddr,
    /// What can be reloaded.
    pub reloads: Reloads,
    /// What is to be run until it ends.
    pub work: Work,
}

/// What of the listener can be reloaded: who may report.
#[derive(Clone)]
pub struct Reloads {
    shared: Arc<Shared>,
    /// The keeper's work ends with the worker, and not with whoever could reload.
    orders: WeakUnboundedSender<Order>,
}

impl Reloads {
    /// Takes the packet gateways, and their secrets, as they are configured now. The bearers of one
    /// that is configured no more are nobody's from then on.
    ///
    /// # Errors
    ///
    /// The secret that cannot be read; then all stays as it was.
    pub fn reload(&self, config: &Config) -> anyhow::Result<()> {
        let gateways = known(config)?;
        let mut changes = Vec::new();
        {
            // Under the lock, so that no report of one that goes is applied behind this.
            let mut table = self.shared.write();
            let before = self.shared.gateways.swap(Arc::new(gateways));
            let now = SystemClock.now();
            for gateway in before.iter().filter(|g| !self.shared.is_known(&g.source.gateway)) {
                tracing::info!(gateway = %gateway.source.gateway, "a packet gateway no more");
                changes.extend(table.forget_gateway(&gateway.source.gateway, now));
            }
            let live = i64::try_from(table.len()).unwrap_or(i64::MAX);
            self.shared.figures.live.set(live);
        }
        if let Some(orders) = self.orders.upgrade()
            && !changes.is_empty()
        {
            // It fails only if the process stops.
            let _ = orders.send(Order { changes, number: None });
        }
        Ok(())
    }
}

/// The listener's work: it ends with the process, or with an error.
pub type Work = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

impl Started {
    /// What is to be said of it in a status.
    pub fn status(&self) -> impl Fn() -> Value + Send + Sync + 'static {
        let (shared, listening) = (Arc::clone(&self.bearers.0), self.listening.to_string());
        move || {
            let mut said = shared.figures.status();
            if let Some(said) = said.as_object_mut() {
                said.insert("listen".to_owned(), json!(listening));
            }
            said
        }
    }
}

/// Starts the listener at that address, with what was stored.
///
/// # Errors
///
/// What cannot be had at the start: secrets, the address, what was stored.
pub async fn start(
    config: &Config,
    address: SocketAddr,
    store: Arc<dyn Kept>,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<Started> {
    let gateways = known(config)?;
    let names: Vec<Name> = gateways.iter().map(|g| g.source.gateway.clone()).collect();
    let table = load(config, &*store, &names).await.context("cannot read the bearers")?;
    let figures = Figures::new(metrics);
    figures.live.set(i64::try_from(table.len()).unwrap_or(i64::MAX));
    tracing::info!(count = table.len(), "bearers of before");
    let gateways = ArcSwap::from_pointee(gateways);
    let shared = Arc::new(Shared { table: RwLock::new(table), gateways, figures });

    // One worker, so that reports are applied and stored in one order.
    let listen =
        ServerConfig { address, workers: Some(NonZeroUsize::MIN), receive_buffer: Some(4 << 20) };
    let server = UdpServer::bind(&listen).exit(Exit::Unavailable)?;
    let listening = server.local_address();
    let desk = Arc::new(Desk::default());
    let (orders, handed_in) = tokio::sync::mpsc::unbounded_channel();
    let reloads = Reloads { shared: Arc::clone(&shared), orders: orders.downgrade() };
    let worker = Worker::new(Arc::clone(&shared), orders, Arc::clone(&desk));
    let mut worker = Some(worker);
    let running = server.start(SystemClock, move |_| {
        worker.take().unwrap_or_else(|| unreachable!("there is one worker"))
    });
    let running = running.context("cannot start the bearers' worker").exit(Exit::Unavailable)?;
    tracing::info!(address = %listening, "hearing packet gateways");
    let keeping = keeper::run(handed_in, desk, Arc::clone(&shared), store);
    let work = Box::pin(async move {
        let serving = async move {
            let died = tokio::select! {
                () = shutdown.requested() => None,
                died = running.died() => Some(died),
            };
            // Stopping waits for the worker, with which the keeper's work ends.
            let stopped = tokio::task::spawn_blocking(move || running.stop()).await;
            match died {
                Some(died) => Err(died.into()),
                None => stopped.map(|_| ()).context("the bearers' worker"),
            }
        };
        tokio::join!(serving, keeping).0
    });
    Ok(Started { bearers: Bearers(shared), listening, reloads, work })
}

/// The packet gateways that are configured, with their secrets, the narrowest prefix first.
fn known(config: &Config) -> anyhow::Result<Vec<Arc<Known>>> {
    let mut gateways = Vec::with_capacity(config.gateways.len());
    for gateway in &config.gateways {
        let named = || format!("the secret of packet gateway {}", gateway.name);
        let secret = gateway.secret.read().with_context(named).exit(Exit::Config)?;
        let secret = SharedSecret::new(&secret).with_context(named).exit(Exit::Config)?;
        if secret.is_short() {
            tracing::warn!(gateway = %gateway.name, "its secret is shorter than 16 octets");
        }
        let known = Known { net: gateway.address.0, source: gateway.source(), secret };
        gateways.push(Arc::new(known));
    }
    gateways.sort_by_key(|g| std::cmp::Reverse(g.net.prefix_len()));
    Ok(gateways)
}

/// What was stored of the gateways of these names; what is of others is cleared.
async fn load(config: &Config, store: &dyn Kept, names: &[Name]) -> anyhow::Result<Table> {
    let mut table = Table::new(config.settings());
    let (today, now) = (SystemClock.unix(), SystemClock.now());
    let mut others = BTreeSet::new();
    for stored in store.bearers().await? {
        if !names.iter().any(|name| name.as_str() == stored.gateway) {
            others.insert(stored.gateway);
        } else if let Some(bearer) = keeper::loaded(stored) {
            table.restore(bearer, today, now);
        }
    }
    let clear = |gateway| BearerChange::Clear { gateway };
    let changes: Vec<BearerChange> = others.into_iter().map(clear).collect();
    if !changes.is_empty() {
        tracing::info!(gateways = changes.len(), "packet gateways that are no more: forgotten");
        store.apply_bearers(&changes).await?;
    }
    Ok(table)
}
