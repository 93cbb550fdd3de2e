//! The role: its parts, started.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeward_daemon::doctor::Finding;
use homeward_daemon::{Exit, ExitContext, Metrics, Part, Process, Reload, Shutdown, SystemClock};
use homeward_handoff::{Book, HandoffConfig, Identity, Peers, Server};
use homeward_model::Clock;
use homeward_vault::Vault;
use serde_json::json;

use crate::commands;
use crate::config::{Config, EpdgConfig, Policy};
use crate::enrolling::Again;
use crate::epdg::{self, Epdg};
use crate::figures::Figures;
use crate::module::Module;

/// How often the module looks for what has had its time, and tells servers what they missed.
const UPKEEP: Duration = Duration::from_secs(1);

/// A module, started.
pub struct Started {
    /// For the process.
    pub part: Part,
    /// The module.
    pub module: Arc<Module>,
    /// What can be reloaded.
    pub reloads: Reloads,
    /// Where it listens.
    pub local: homeward_handoff::Listen,
}

/// What can be reloaded: whom the module deals with.
#[derive(Debug, Clone)]
pub struct Reloads {
    book: Book,
    identity: Identity,
}

impl Reloads {
    /// Takes the peers that the configuration names now.
    pub fn reload(&self, handoff: &HandoffConfig) {
        handoff.fill(&self.book, &self.identity);
    }
}

/// Starts a module.
///
/// # Errors
/// What cannot be had at the start: keys, addresses, what was kept.
pub async fn start(
    handoff: &HandoffConfig,
    policy: Policy,
    epdg: Option<&EpdgConfig>,
    metrics: &mut Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<Started> {
    let identity = handoff.identity().exit(Exit::System)?;
    let book = handoff.book(&identity);
    let vault = Vault::open(&handoff.state, &handoff.state_key_file).await.exit(Exit::Data)?;
    let peers = Peers::new(identity.clone(), book.clone(), handoff.peer_settings());
    let mut figures = Figures::new(metrics);
    let epdg = epdg.map(|config| {
        figures = figures.clone().with_epdg(metrics);
        Epdg::new(config.clone(), figures.clone())
    });
    let module = Module::new(identity.clone(), book.clone(), peers, vault, policy, epdg, figures);
    let module = Arc::new(module.await.exit(Exit::Data)?);
    let listen = handoff.listen();
    let server = Server::bind(
        &listen,
        handoff.server_settings(),
        &identity,
        book.clone(),
        Arc::clone(&module) as _,
    );
    let server = server.await.exit(Exit::Unavailable)?;
    let local = server.local().clone();
    let at = local.clone();
    tracing::info!(
        network = %identity.name(), key = %identity.key(), peers = ?local.peers,
        devices = ?local.devices, "security module open"
    );
    let kept_up = Arc::clone(&module);
    let work = async move {
        let upkeep = async {
            loop {
                SystemClock.until(Some(SystemClock.now() + UPKEEP)).await;
                kept_up.sweep(SystemClock.unix()).await;
                kept_up.tell_again().await;
            }
        };
        let telling = async {
            let mut again = Again::new();
            loop {
                SystemClock.until(Some(SystemClock.now() + UPKEEP)).await;
                again.round(&kept_up).await;
            }
        };
        let epdg = async {
            match kept_up.epdg() {
                Some(epdg) => epdg.keep_up().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = server.serve(shutdown) => Ok(()),
            () = upkeep => Ok(()),
            () = telling => Ok(()),
            () = epdg => Ok(()),
        }
    };
    let (said, name, key) = (Arc::clone(&module), identity.name().clone(), identity.key());
    let status = move || {
        let (module, local) = (Arc::clone(&said), local.clone());
        let (name, key) = (name.to_string(), key.to_string());
        async move {
            let devices = module.enrolled().lock().await.len();
            let unenrolled: serde_json::Map<String, serde_json::Value> = {
                let outbox = module.outbox().lock().await;
                outbox.networks().map(|(name, count)| (name.to_string(), count.into())).collect()
            };
            let visits = module.visits().lock().await;
            json!({
                "network": name,
                "key": key,
                "listen": addresses(&local.peers),
                "devices_listen": addresses(&local.devices),
                "enrolled": devices,
                "unenrolled": unenrolled,
                "visits": visits.len(),
                "untold": visits.untold(),
                "epdg": module.epdg().map(Epdg::status),
            })
        }
    };
    let reloads = Reloads { book, identity };
    let part = commands::add(Part::new(status, work), &module);
    Ok(Started { part, module, reloads, local: at })
}

/// What is wrong on this machine, and the repair.
pub async fn doctor(handoff: &HandoffConfig, epdg: Option<&EpdgConfig>) -> Vec<Finding> {
    let mut findings = homeward_handoff::doctor::examine(handoff).await;
    if let Some(epdg) = epdg {
        findings.extend(epdg::doctor(epdg).await);
    }
    findings
}

/// Runs a module alone, with the configuration read from `path`, until shutdown.
///
/// # Errors
/// What cannot be had at the start.
pub async fn run(
    config: Config,
    path: PathBuf,
    shutdown: Shutdown,
    reload: Reload,
) -> anyhow::Result<()> {
    let mut process = Process::new("security-module", env!("CARGO_PKG_VERSION"));
    let Config { handoff, policy, epdg, .. } = &config;
    let started = start(handoff, *policy, epdg.as_ref(), process.metrics(), shutdown.clone());
    let Started { part, reloads, .. } = started.await?;
    process.add(part);
    let again = move || match Config::load(&path) {
        Ok(config) => {
            reloads.reload(&config.handoff);
            tracing::info!("the peers are reloaded; what else has changed does with a restart");
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
