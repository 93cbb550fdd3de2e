//! The loop around the AAA role: sockets, status, stop.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use homeward_daemon::{Exit, ExitContext, Metrics, Part, Shutdown, SystemClock};
use homeward_ledger::User;
use homeward_model::{Clock, Seconds, Secret, UnixTime};
use homeward_radius::{Policy, ServerSettings};
use homeward_store::Store;
use homeward_transport::server::Service;
use homeward_transport::{RunningServer, ServerConfig, UdpServer};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use crate::accounting::recover::{Memory, Recovery};
use crate::accounting::{keeper, worker};
use crate::changes::Retell;
use crate::checker::Checker;
use crate::class::Signer;
use crate::config::Config;
use crate::courier::{self, Channel};
use crate::decision::Known;
use crate::decoys::Decoys;
use crate::eap::Speech;
use crate::figures::Figures;
use crate::grants::{Grants, Revocation};
use crate::held::Held;
use crate::login::{self, Logins};
use crate::overview::Overview;
use crate::projection::Projection;
use crate::radsec::{self, Radsec};
use crate::realms::{self, relay};
use crate::review::Review;
use crate::revoke::Revoker;
use crate::server::{Shared, Worker};
use crate::spender::Spender;
use crate::tries::Tries;
use crate::usage::Usage;
use crate::watch::Watch;

/// How often old outbox entries are pruned.
const PRUNE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Grants that are decided again at a time: a look-up waits for no more of them.
const SLICE: usize = 512;

/// What the role stands on.
pub struct Base {
    /// The roaming records.
    pub store: Arc<dyn Store>,
    /// Where the ledger is.
    pub ledger: PathBuf,
    /// What Classes are signed with, the newest first; see [`crate::class::PURPOSE`].
    pub class_keys: Vec<Zeroizing<[u8; 32]>>,
    /// What Proxy-States are marked with; see [`crate::realms::PURPOSE`].
    pub proxy_key: Zeroizing<[u8; 32]>,
    /// What names that nobody has are given a kind of password with ([`crate::decoys::PURPOSE`]).
    pub decoy_key: Zeroizing<[u8; 32]>,
    /// The control channel to gateways, where there is one.
    pub channel: Option<Arc<dyn Channel>>,
}

/// The role, started.
pub struct Started {
    /// For the process.
    pub part: Part,
    /// What can be reloaded.
    pub eap: Speech,
    /// The same of RADIUS over TLS, where it is served.
    pub radsec: Option<Radsec>,
    /// Whom the control channel asks what of a gateway's may go on.
    pub review: Review,
}

/// Starts to answer look-ups on a store. What the part says of itself goes into the core's status
/// as it is.
///
/// # Errors
///
/// What cannot be had at the start: the records, the ledger, sockets, threads. Later failures of
/// the store and the ledger are reported and survived.
pub async fn start(
    config: Config,
    base: Base,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<Started> {
    let Base { store, ledger, class_keys, proxy_key, decoy_key, channel } = base;
    let figures = Figures::new(metrics);

    let watch = Watch::load(Arc::clone(&store), Decoys::new(&decoy_key)).await?;
    let counts = watch.counts();
    figures.changed(counts);
    tracing::info!(devices = counts.devices, gateways = counts.gateways, "roaming records loaded");
    if counts.gateways == 0 {
        tracing::warn!(
            "there are no gateways: nobody is answered until `homeward admin gateway create`"
        );
    }

    let records = config.accounting.listen(&config.listen);
    let (ledger, usage) = if records.is_empty() {
        tracing::warn!("aaa.accounting.listen is empty: nothing is accounted, no quota holds");
        (None, Usage::default())
    } else {
        let path = ledger;
        let ledger = keeper::open(&path, config.accounting.settings(config.interim)).await?;
        let usage = Usage::load(ledger.reader(), SystemClock.unix()).await?;
        tracing::info!(ledger = %path.display(), users = usage.len(), "usage loaded");
        (Some(ledger), usage)
    };

    let eap = Speech::load(&config.eap)?;
    if eap.now().is_none() {
        tracing::info!("no aaa.eap.certificate: EAP is not spoken");
    }
    let threads = NonZeroUsize::new(config.password_threads).unwrap_or(NonZeroUsize::MIN);
    let checker = Checker::start(threads, config.password_queue)?;
    let logins = login::Settings {
        conversations: config.eap.conversations,
        checks: (config.password_queue / 4).max(1),
        interim: Seconds(u32::try_from(config.interim.0.as_secs()).unwrap_or(u32::MAX)),
    };
    let settings =
        ServerSettings { remember: config.duplicate_window.0, remembered: config.duplicates };
    let policy = if config.require_message_authenticator { Policy::Required } else { Policy::Auto };
    let relay = match realms::config::ways(&config.realms, &config.partner, &config.radsec)? {
        Some(ways) => {
            let (settings, limits) = (config.realms.settings()?, config.realms.limits());
            let key = homeward_proxy::Key::new(&Secret::new(&proxy_key[..]));
            Some(relay::start(ways, settings, limits, key, figures.clone()))
        }
        None => None,
    };
    let (relay, relaying) = relay.unzip();
    let (spender, spending) = Spender::new();
    let shared = Shared {
        spender,
        relay: relay.clone(),
        projection: watch.projection(),
        usage,
        tries: Arc::new(Tries::new(config.limits())),
        signer: Arc::new(Signer::new(class_keys.iter().map(|key| &key[..]))),
        figures: figures.clone(),
    };
    let mut running = Vec::new();
    let mut grants = Vec::new();
    for address in &config.listen {
        running.push(serve("look-ups", *address, config.workers, || {
            let given = Arc::new(Mutex::new(Grants::new(config.grants, config.grant_memory.0)));
            grants.push(Arc::clone(&given));
            let logins = Logins::new(logins, Some(eap.clone()), checker.clone());
            Worker::new(settings, policy, shared.clone(), given, logins)
        })?);
    }
    let radsec = Radsec::load(&config.radsec, &store, watch.projection()).await?;
    let given = || Arc::new(Mutex::new(Grants::new(config.grants, config.grant_memory.0)));
    let by_tls: Vec<_> = (0..threads_of(config.workers)).map(|_| given()).collect();
    if radsec.is_some() {
        grants.extend(by_tls.iter().cloned());
    }
    // As many as all workers remember.
    let most = config.grants.saturating_mul(threads_of(config.workers));
    let before = Arc::new(Mutex::new(Grants::new(most, config.grant_memory.0)));
    grants.push(Arc::clone(&before));
    let (spent_tx, spent) = mpsc::unbounded_channel();
    let queue = config.accounting.queue;
    let mut accounting = Vec::new();
    if let Some(ledger) = &ledger {
        for address in &records {
            accounting.push(serve("accounting records", *address, config.workers, || {
                let (shared, ledger) = (shared.clone(), Arc::clone(ledger));
                let (grants, spent) = (grants.clone(), spent_tx.clone());
                worker::Worker::new(settings, policy, shared, ledger, grants, spent, queue)
            })?);
        }
    }

    let mut over_tls = Vec::new();
    for address in radsec.iter().flat_map(|_| &config.radsec.listen) {
        let workers = by_tls.iter().map(|given| radsec::All {
            logins: Worker::new(
                settings,
                policy,
                shared.clone(),
                Arc::clone(given),
                Logins::new(logins, Some(eap.clone()), checker.clone()),
            ),
            records: ledger.as_ref().map(|ledger| {
                let (shared, ledger) = (shared.clone(), Arc::clone(ledger));
                let (grants, spent) = (grants.clone(), spent_tx.clone());
                worker::Worker::new(settings, policy, shared, ledger, grants, spent, queue)
            }),
        });
        let server = radsec.as_ref().map(|r| r.serve(&config.radsec, *address, workers.collect()));
        over_tls.extend(server.transpose()?);
    }

    let (mut revoke_tx, revocations) = mpsc::unbounded_channel();
    let revoker = Revoker::new(watch.projection(), config.disconnect_port, figures.clone())
        .await
        .context("no socket to send Disconnect-Requests and CoA-Requests from")?;
    let mut tasks = JoinSet::new();
    if let Some(radsec) = &radsec {
        tasks.spawn(radsec.clone().renew(config.radsec.clone(), shutdown.clone()));
    }
    let (mut orders, ordered) = mpsc::unbounded_channel();
    let held = Arc::new(Held::new(config.held_put_outs));
    tasks.spawn(revoker.run(revocations, ordered, shutdown.clone()));
    if let Some(channel) = channel {
        let (carried_tx, carried) = mpsc::unbounded_channel();
        let (orders_tx, carried_orders) = mpsc::unbounded_channel();
        let by_radius = courier::ByRadius {
            revocations: std::mem::replace(&mut revoke_tx, carried_tx),
            orders: std::mem::replace(&mut orders, orders_tx),
        };
        let (held, figures, shutdown) = (Arc::clone(&held), figures.clone(), shutdown.clone());
        tasks.spawn(courier::carry(
            channel,
            carried,
            carried_orders,
            by_radius,
            held,
            figures,
            shutdown,
        ));
    }
    let review = Review {
        projection: watch.projection(),
        usage: shared.usage.clone(),
        grants: Arc::clone(&before),
        held,
        revocations: revoke_tx.clone(),
        figures: figures.clone(),
    };
    tasks.spawn(spending.run(Arc::clone(&store), shutdown.clone()));
    if let Some(relaying) = relaying {
        tasks.spawn(relaying.run(shutdown.clone()));
    }
    if let Some(ledger) = &ledger {
        let keeper = keeper::Keeper {
            ledger: Arc::clone(ledger),
            projection: watch.projection(),
            silence: config.accounting.settings(config.interim).accounting.silence(),
            config: config.accounting.clone(),
        };
        tasks.spawn(keeper.run(shutdown.clone()));
        let memory = Memory {
            projection: watch.projection(),
            usage: shared.usage.clone(),
            grants: before,
            revocations: revoke_tx.clone(),
        };
        let recovery = Recovery { ledger: Arc::clone(ledger), memory };
        tasks.spawn(recovery.run(shutdown.clone()));
    }
    let overview = Arc::new(Overview {
        listen: addresses(&running),
        accounting_listen: addresses(&accounting),
        running,
        accounting,
        over_tls,
        grants: grants.clone(),
        shared: shared.clone(),
        ledger,
    });
    overview.count_in(metrics);
    let retell = Retell {
        shared: shared.clone(),
        grants: grants.clone(),
        refused: config.change_refused,
        orders,
    };
    let recall = Recall { shared, grants, revocations: revoke_tx };
    tasks.spawn(recall.clone().follow(spent, shutdown.clone()));
    tasks.spawn(watch.follow(shutdown.clone(), move |projection, before| {
        figures.changed(projection.counts());
        recall.all(projection);
        retell.all(projection, before);
    }));
    let said = Arc::clone(&overview);
    let status = move || {
        let status = said.status();
        async move { status }
    };
    let part = Part::new(status, keep(config, store, overview, tasks, shutdown));
    Ok(Started { part, eap, radsec, review })
}

/// Starts a server, with a worker from `make` for each of its threads.
fn serve<S: Service + Send + 'static>(
    what: &str,
    address: SocketAddr,
    workers: usize,
    mut make: impl FnMut() -> S,
) -> anyhow::Result<RunningServer> {
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "plain RADIUS beyond loopback: keep it inside a tunnel");
    }
    let workers = NonZeroUsize::new(workers);
    let listen = ServerConfig { address, workers, ..ServerConfig::default() };
    let server = UdpServer::bind(&listen).exit(Exit::Unavailable)?;
    let address = server.local_address();
    let started = server.start(SystemClock, |_| make());
    let started = started.context("no thread for a RADIUS worker").exit(Exit::System)?;
    tracing::info!(%address, "answering {what}");
    Ok(started)
}

/// How many threads that number of them is; 0 is one a core.
fn threads_of(workers: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if workers == 0 { cores() } else { workers }
}

fn addresses(servers: &[RunningServer]) -> Vec<String> {
    servers.iter().map(|server| server.local_address().to_string()).collect()
}

/// Takes back what was granted and would not be any more.
#[derive(Clone)]
struct Recall {
    shared: Shared,
    grants: Vec<Arc<Mutex<Grants>>>,
    revocations: UnboundedSender<Revocation>,
}

impl Recall {
    /// Looks at all grants, after the records have changed.
    fn all(&self, records: &Projection) {
        let known = Known { records, usage: &self.shared.usage, now: SystemClock.unix() };
        let mut sent = HashSet::new();
        for given in &self.grants {
            let mut from = Some(0);
            while let Some(at) = from {
                let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
                let (revoked, next) = given.revoked(&known, at, SLICE);
                drop(given);
                self.send(revoked, &mut sent);
                from = next;
            }
        }
    }

    /// Looks at the grants of users whose quota is spent, until shutdown.
    async fn follow(self, mut spent: UnboundedReceiver<User>, shutdown: Shutdown) {
        loop {
            let user = tokio::select! {
                () = shutdown.requested() => return,
                user = spent.recv() => user,
            };
            let Some(user) = user else { return shutdown.requested().await };
            tracing::debug!(%user, "the quota is spent");
            let p = self.shared.projection.read().unwrap_or_else(PoisonError::into_inner);
            let (records, usage) = (&*p, &self.shared.usage);
            let known = Known { records, usage, now: SystemClock.unix() };
            let mut sent = HashSet::new();
            for given in &self.grants {
                let mut given = given.lock().unwrap_or_else(PoisonError::into_inner);
                self.send(given.revoked_of(&known, user), &mut sent);
            }
        }
    }

    /// Sends what is not `sent` yet: one grant may be in the memory of several, for it was given
    /// before a restart and after, or to several ports of a NAS.
    fn send(&self, revoked: Vec<Revocation>, sent: &mut HashSet<Revocation>) {
        for revocation in revoked {
            if sent.insert(revocation.clone()) {
                // The revoker has ended only if the core is ending.
                let _ = self.revocations.send(revocation);
            }
        }
    }
}

/// Looks after the servers until shutdown.
async fn keep(
    config: Config,
    store: Arc<dyn Store>,
    overview: Arc<Overview>,
    mut tasks: JoinSet<()>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut prune = SystemClock.now() + PRUNE;
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            died = overview.died() => return Err(died.into()),
            () = SystemClock.until(Some(prune)) => {
                prune = SystemClock.now() + PRUNE;
                let retention = i64::try_from(config.outbox_retention.0.as_millis()).unwrap_or(i64::MAX);
                let before = UnixTime(SystemClock.unix().0.saturating_sub(retention));
                match store.prune_outbox(before).await {
                    Ok(entries) => tracing::debug!(entries, "outbox pruned"),
                    Err(error) => tracing::warn!(%error, "outbox not pruned"),
                }
            }
        }
    }
    tasks.shutdown().await;
    Ok(())
}
