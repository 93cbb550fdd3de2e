//! The loop around the AAA role: store, sockets, status, reload, stop.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use homeward_daemon::metrics::Endpoint as MetricsEndpoint;
use homeward_daemon::{
    Control, ControlError, Exit, ExitContext, Metrics, Reload, Request, Shutdown, SystemClock,
    SystemEntropy, notify,
};
use homeward_model::{Clock, Instant, UnixTime};
use homeward_radius::{Policy, ServerSettings};
use homeward_store::{KeyRing, SqliteOptions, SqliteStore, Store};
use homeward_transport::{RunningServer, ServerConfig, UdpServer};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::figures::Figures;
use crate::grants::Grants;
use crate::revoke::Revoker;
use crate::server::Worker;
use crate::watch::Watch;

/// The commands of the status socket.
const COMMANDS: [&str; 2] = ["status", "metrics"];
/// How often old outbox entries are pruned.
const PRUNE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Runs the core until shutdown, on the database that the configuration names.
///
/// # Errors
///
/// What cannot be had at the start: the database, its keys, sockets. Later failures of the store
/// are reported and survived.
pub async fn run(
    config: Config,
    path: PathBuf,
    shutdown: Shutdown,
    reload: Reload,
) -> anyhow::Result<()> {
    let store = open(&config).await?;
    run_with(config, path, Arc::new(store), shutdown, reload).await
}

/// Opens the database that the configuration names.
///
/// # Errors
///
/// If the database or its key file cannot be used.
pub async fn open(config: &Config) -> anyhow::Result<SqliteStore> {
    let ring = KeyRing::load(&config.store.key_file).exit(Exit::Config)?;
    let options = SqliteOptions::new(&config.store.path).create(false);
    let store = options.open(ring, Arc::new(SystemClock), Box::new(SystemEntropy::new())).await;
    store.exit(Exit::Config)
}

/// As [`run`], on a store that is at hand.
///
/// # Errors
///
/// As [`run`].
pub async fn run_with(
    config: Config,
    path: PathBuf,
    store: Arc<dyn Store>,
    shutdown: Shutdown,
    mut reload: Reload,
) -> anyhow::Result<()> {
    let mut metrics = Metrics::new("core", env!("CARGO_PKG_VERSION"));
    let figures = Figures::new(&mut metrics);
    let metrics = metrics.share();

    let watch = Watch::load(Arc::clone(&store)).await?;
    let counts = watch.counts();
    figures.changed(counts);
    tracing::info!(devices = counts.devices, gateways = counts.gateways, "roaming records loaded");
    if counts.gateways == 0 {
        tracing::warn!(
            "there are no gateways: nobody is answered until `homeward admin gateway create`"
        );
    }

    let mut running = Vec::new();
    let mut grants = Vec::new();
    for address in &config.aaa.listen {
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "plain RADIUS beyond loopback: keep it inside a tunnel");
        }
        let listen = ServerConfig {
            address: *address,
            workers: NonZeroUsize::new(config.aaa.workers),
            ..ServerConfig::default()
        };
        let server = UdpServer::bind(&listen).exit(Exit::Unavailable)?;
        let settings = ServerSettings {
            remember: config.aaa.duplicate_window.0,
            remembered: config.aaa.duplicates,
        };
        let policy =
            if config.aaa.require_message_authenticator { Policy::Required } else { Policy::Auto };
        let address = server.local_address();
        let started = server.start(SystemClock, |_| {
            let given =
                Arc::new(Mutex::new(Grants::new(config.aaa.grants, config.aaa.grant_memory.0)));
            grants.push(Arc::clone(&given));
            Worker::new(settings, policy, watch.projection(), given, figures.clone())
        });
        running.push(started.context("no thread for a RADIUS worker").exit(Exit::System)?);
        tracing::info!(%address, "answering look-ups");
    }

    let (revoke_tx, revocations) = mpsc::unbounded_channel();
    let revoker = Revoker::new(watch.projection(), config.aaa.disconnect_port, figures.clone())
        .await
        .context("no socket to send Disconnect-Requests from")?;
    let control = Control::bind(&config.control.socket, Default::default())?;
    let endpoint = match config.metrics.listen {
        Some(address) => Some(MetricsEndpoint::bind(address).await.exit(Exit::Unavailable)?),
        None => None,
    };
    let overview = Arc::new(Overview {
        started: SystemClock.now(),
        listen: running.iter().map(|r| r.local_address().to_string()).collect(),
        running,
        grants: grants.clone(),
        projection: watch.projection(),
        figures: figures.clone(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(revoker.run(revocations, shutdown.clone()));
    tasks.spawn(control.serve(
        {
            let (overview, metrics) = (Arc::clone(&overview), Arc::clone(&metrics));
            move |request| {
                let answer = overview.answer(&request, &metrics);
                async move { answer }
            }
        },
        shutdown.clone(),
    ));
    if let Some(endpoint) = endpoint {
        tasks.spawn(endpoint.serve(metrics, || Ok(()), shutdown.clone()));
    }
    tasks.spawn(watch.follow(shutdown.clone(), {
        let figures = figures.clone();
        move |projection, _| {
            figures.changed(projection.counts());
            for given in &grants {
                let revoked =
                    given.lock().unwrap_or_else(PoisonError::into_inner).revoked(projection);
                for revocation in revoked {
                    // The revoker has ended only if the core is ending.
                    let _ = revoke_tx.send(revocation);
                }
            }
        }
    }));
    notify::ready();
    let keep_alive = notify::keep_alive();
    tokio::pin!(keep_alive);
    let mut prune = SystemClock.now() + PRUNE;
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            died = overview.died() => {
                shutdown.trigger();
                return Err(died.into());
            }
            _reloading = reload.requested() => match Config::load(&path) {
                Ok(_) => tracing::info!("the configuration is sound; what it names changes with a restart, records by themselves"),
                Err(error) => tracing::error!(error = format!("{:#}", anyhow::Error::from(error)), "the configuration would not load"),
            },
            () = SystemClock.until(Some(prune)) => {
                prune = SystemClock.now() + PRUNE;
                let retention = i64::try_from(config.aaa.outbox_retention.0.as_millis()).unwrap_or(i64::MAX);
                let before = UnixTime(SystemClock.unix().0.saturating_sub(retention));
                match store.prune_outbox(before).await {
                    Ok(entries) => tracing::debug!(entries, "outbox pruned"),
                    Err(error) => tracing::warn!(%error, "outbox not pruned"),
                }
            }
            () = &mut keep_alive => {}
        }
    }
    tracing::info!("stopping");
    tasks.shutdown().await;
    Ok(())
}

/// What `status` is made of.
struct Overview {
    started: Instant,
    listen: Vec<String>,
    running: Vec<RunningServer>,
    grants: Vec<Arc<Mutex<Grants>>>,
    projection: Arc<std::sync::RwLock<crate::projection::Projection>>,
    figures: Figures,
}

impl Overview {
    fn answer(&self, request: &Request, metrics: &Metrics) -> Result<Value, ControlError> {
        match request.command.as_str() {
            "status" => Ok(self.status()),
            "metrics" => Ok(Value::String(metrics.text())),
            other => Err(ControlError::unknown(other, &COMMANDS)),
        }
    }

    fn status(&self) -> Value {
        let now = SystemClock.now();
        let out: usize = self
            .grants
            .iter()
            .map(|g| g.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum();
        let mut received = 0;
        for server in &self.running {
            received += server.counters().received;
        }
        let records = self.projection.read().unwrap_or_else(PoisonError::into_inner).counts();
        json!({
            "role": "core",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_ms": u64::try_from(now.since(self.started).as_millis()).unwrap_or(u64::MAX),
            "listen": self.listen,
            "datagrams": received,
            "lookups": self.figures.lookups(),
            "grants_out": out,
            "records": records,
        })
    }

    /// Waits until a worker of any server dies.
    async fn died(&self) -> homeward_transport::WorkerDied {
        let waits = self.running.iter().map(|server| Box::pin(server.died())).collect::<Vec<_>>();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        first(waits).await
    }
}

/// The first of several futures to be ready.
async fn first<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(|cx| {
        for future in &mut futures {
            if let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(cx) {
                return std::task::Poll::Ready(output);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
