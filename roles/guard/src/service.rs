//! The role: its parts, started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeward_daemon::doctor::{Finding, Findings};
use homeward_daemon::{Exit, ExitContext, Metrics, Part, Process, Reload, Shutdown, SystemClock};
use homeward_handoff::{Book, Identity, Peers, Server};
use homeward_http::{Limits, Listen};
use homeward_model::Clock;
use homeward_vault::Vault;
use serde_json::json;

use crate::commands;
use crate::config::Config;
use crate::digest::Digest;
use crate::figures::Figures;
use crate::gate::{self, Gate, Keeper};
use crate::guard::Guard;
use crate::verify::Verify;

/// How often the guard looks whether what was admitted still may be.
const UPKEEP: Duration = Duration::from_secs(1);

/// A guard, started.
pub struct Started {
    /// For the process.
    pub part: Part,
    /// The guard.
    pub guard: Arc<Guard>,
    /// What can be reloaded.
    pub reloads: Reloads,
    /// Where it listens.
    pub local: homeward_handoff::Listen,
    /// Where it is asked whether flows are admitted.
    pub verify: Vec<SocketAddr>,
}

/// What can be reloaded: whom the guard deals with, and what its gate closes.
#[derive(Debug, Clone)]
pub struct Reloads {
    book: Book,
    identity: Identity,
    gate: Option<Gate>,
}

impl Reloads {
    /// Takes the peers that the configuration names now, and the services. What goes through a
    /// peer that is revoked ends within a second. Whether there is a gate stays as it is.
    pub fn reload(&self, config: &Config) {
        config.handoff.fill(&self.book, &self.identity);
        match (&self.gate, &config.gate) {
            (Some(gate), Some(config)) => gate.replace(config),
            (None, None) => {}
            _ => tracing::warn!("[gate] comes or goes with a restart"),
        }
    }
}

/// Starts a guard.
///
/// # Errors
/// What cannot be had at the start: keys, addresses, what was kept.
pub async fn start(
    config: &Config,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<Started> {
    let handoff = &config.handoff;
    let identity = handoff.identity().exit(Exit::System)?;
    let book = handoff.book(&identity);
    let vault = Vault::open(&handoff.state, &handoff.state_key_file).await.exit(Exit::Data)?;
    let peers = Peers::new(identity.clone(), book.clone(), handoff.peer_settings());
    let figures = Figures::new(metrics);
    let policy = config.policy.clone();
    let keeper = config.gate.as_ref().map(|gate| Keeper::new(gate, figures.clone()));
    let (gate, keeper) = keeper.unzip();
    let guard =
        Guard::new(identity.clone(), book.clone(), peers, vault, policy, figures, gate.clone());
    let guard = Arc::new(guard.await.exit(Exit::Data)?);
    // Of what was admitted before, some may have ended meanwhile.
    guard.sweep().await;
    if let Some(keeper) = &keeper {
        keeper.close(&guard).await.exit(Exit::System)?;
    }
    let listen = handoff.listen();
    let server = Server::bind(
        &listen,
        handoff.server_settings(),
        &identity,
        book.clone(),
        Arc::clone(&guard) as _,
    );
    let server = server.await.exit(Exit::Unavailable)?;
    let local = server.local().clone();
    let at = local.clone();
    let listen = Listen {
        addresses: config.verify.listen.iter().map(|address| (*address, None)).collect(),
        proxies: Vec::new(),
    };
    let verify = homeward_http::Server::bind(
        listen,
        // Few who ask, and all of them much.
        Limits {
            connections_per_client: 4096,
            idle: Duration::from_secs(300),
            ..Limits::default()
        },
        None,
        Arc::new(Verify::new(
            Arc::clone(&guard),
            config.verify.clone(),
            Digest::new(config.digest.clone(), &handoff.name),
        )),
        homeward_http::Figures::new(metrics, "guard_http"),
        shutdown.clone(),
    );
    let verify = verify.await.exit(Exit::Unavailable)?;
    let verify_at = verify.local().to_vec();
    let asked = addresses(&verify_at);
    tracing::info!(
        server = %identity.name(), key = %identity.key(), peers = ?local.peers,
        devices = ?local.devices, verify = ?asked, "guard open"
    );
    let kept_up = Arc::clone(&guard);
    let work = async move {
        let upkeep = async {
            loop {
                SystemClock.until(Some(SystemClock.now() + UPKEEP)).await;
                kept_up.sweep().await;
            }
        };
        let keeping = async {
            if let Some(keeper) = keeper {
                keeper.keep(Arc::clone(&kept_up)).await;
            }
            std::future::pending().await
        };
        let serving = async { tokio::join!(server.serve(shutdown), verify.serve()) };
        tokio::select! {
            _ = serving => Ok(()),
            () = upkeep => Ok(()),
            () = keeping => Ok(()),
        }
    };
    let (said, name, key) = (Arc::clone(&guard), identity.name().clone(), identity.key());
    let closing = gate.clone();
    let status = move || {
        let (guard, local, asked) = (Arc::clone(&said), local.clone(), asked.clone());
        let closed = closing.iter().flat_map(Gate::closed).map(|service| service.to_string());
        let closed: Vec<String> = closed.collect();
        let (name, key) = (name.to_string(), key.to_string());
        async move {
            let sessions = guard.sessions().lock().await.len();
            let flows = guard.admitted().lock().await.len();
            json!({
                "server": name,
                "key": key,
                "listen": addresses(&local.peers),
                "devices_listen": addresses(&local.devices),
                "verify": asked,
                "closed": closed,
                "sessions": sessions,
                "flows": flows,
            })
        }
    };
    let part = commands::add(Part::new(status, work), &guard);
    let reloads = Reloads { book, identity, gate };
    Ok(Started { part, guard, reloads, local: at, verify: verify_at })
}

/// What is wrong on this machine, and the repair.
pub async fn doctor(config: &Config) -> Vec<Finding> {
    let mut found = homeward_handoff::doctor::examine(&config.handoff).await;
    let mut findings = Findings::default();
    gate::examine(config.gate.as_ref(), &mut findings);
    found.extend(findings.into_vec());
    found
}

/// Runs a guard, with the configuration read from `path`, until shutdown.
///
/// # Errors
/// What cannot be had at the start.
pub async fn run(
    config: Config,
    path: PathBuf,
    shutdown: Shutdown,
    reload: Reload,
) -> anyhow::Result<()> {
    let mut process = Process::new("guard", env!("CARGO_PKG_VERSION"));
    let Started { part, reloads, .. } = start(&config, process.metrics(), shutdown.clone()).await?;
    process.add(part);
    let again = move || match Config::load(&path) {
        Ok(config) => {
            reloads.reload(&config);
            tracing::info!(
                "peers and services are reloaded; what else has changed does with a restart"
            );
        }
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "the configuration would not load");
        }
    };
    process.serve(&config.control, &config.metrics, again, shutdown, reload).await
}

fn addresses(local: &[SocketAddr]) -> Vec<String> {
    local.iter().map(ToString::to_string).collect()
}
