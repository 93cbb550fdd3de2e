//! The loop around the AAA role: sockets, status, stop.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use homeward_daemon::{Exit, ExitContext, Metrics, Part, Shutdown, SystemClock};
use homeward_model::{Clock, Seconds, UnixTime};
use homeward_radius::{Policy, ServerSettings};
use homeward_store::Store;
use homeward_transport::{RunningServer, ServerConfig, UdpServer};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::checker::Checker;
use crate::config::Config;
use crate::figures::Figures;
use crate::grants::Grants;
use crate::login::{self, Logins};
use crate::revoke::Revoker;
use crate::server::Worker;
use crate::watch::Watch;

/// How often old outbox entries are pruned.
const PRUNE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Starts to answer look-ups on a store. What the part says of itself goes into the core's status
/// as it is.
///
/// # Errors
///
/// What cannot be had at the start: the records, sockets, threads. Later failures of the store
/// are reported and survived.
pub async fn start(
    config: Config,
    store: Arc<dyn Store>,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<Part> {
    let figures = Figures::new(metrics);

    let watch = Watch::load(Arc::clone(&store)).await?;
    let counts = watch.counts();
    figures.changed(counts);
    tracing::info!(devices = counts.devices, gateways = counts.gateways, "roaming records loaded");
    if counts.gateways == 0 {
        tracing::warn!(
            "there are no gateways: nobody is answered until `homeward admin gateway create`"
        );
    }

    let eap = config.eap.context()?;
    if eap.is_none() {
        tracing::info!("no aaa.eap.certificate: EAP is not spoken");
    }
    let threads = NonZeroUsize::new(config.password_threads).unwrap_or(NonZeroUsize::MIN);
    let checker = Checker::start(threads, config.password_queue)?;
    let logins = login::Settings {
        conversations: config.eap.conversations,
        checks: (config.password_queue / 4).max(1),
        interim: Seconds(u32::try_from(config.interim.0.as_secs()).unwrap_or(u32::MAX)),
    };
    let mut running = Vec::new();
    let mut grants = Vec::new();
    for address in &config.listen {
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "plain RADIUS beyond loopback: keep it inside a tunnel");
        }
        let listen = ServerConfig {
            address: *address,
            workers: NonZeroUsize::new(config.workers),
            ..ServerConfig::default()
        };
        let server = UdpServer::bind(&listen).exit(Exit::Unavailable)?;
        let settings =
            ServerSettings { remember: config.duplicate_window.0, remembered: config.duplicates };
        let policy =
            if config.require_message_authenticator { Policy::Required } else { Policy::Auto };
        let address = server.local_address();
        let started = server.start(SystemClock, |_| {
            let given = Arc::new(Mutex::new(Grants::new(config.grants, config.grant_memory.0)));
            grants.push(Arc::clone(&given));
            let logins = Logins::new(logins, eap.clone(), checker.clone());
            Worker::new(settings, policy, watch.projection(), given, logins, figures.clone())
        });
        running.push(started.context("no thread for a RADIUS worker").exit(Exit::System)?);
        tracing::info!(%address, "answering look-ups");
    }

    let (revoke_tx, revocations) = mpsc::unbounded_channel();
    let revoker = Revoker::new(watch.projection(), config.disconnect_port, figures.clone())
        .await
        .context("no socket to send Disconnect-Requests from")?;
    let overview = Arc::new(Overview {
        listen: running.iter().map(|r| r.local_address().to_string()).collect(),
        running,
        grants: grants.clone(),
        projection: watch.projection(),
        figures: figures.clone(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(revoker.run(revocations, shutdown.clone()));
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
    let said = Arc::clone(&overview);
    let status = move || {
        let status = said.status();
        async move { status }
    };
    Ok(Part::new(status, keep(config, store, overview, tasks, shutdown)))
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

/// What `status` is made of.
struct Overview {
    listen: Vec<String>,
    running: Vec<RunningServer>,
    grants: Vec<Arc<Mutex<Grants>>>,
    projection: Arc<std::sync::RwLock<crate::projection::Projection>>,
    figures: Figures,
}

impl Overview {
    fn status(&self) -> Value {
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
