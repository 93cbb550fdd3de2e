//! `homeward core`: runs the core, or asks one that runs.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use clap::{Args, Subcommand};
use homeward_aaa::{Channel, Review};
use homeward_controller::{HeldLogin, Reviewer, Revocations};
use homeward_daemon::{Process, Reload, Request, Shutdown};
use homeward_model::{GatewayId, Mac, NetworkId};
use homeward_store::Store;

use crate::output;
use crate::role::{self, LogArgs};

pub(crate) use config::Config;

mod config;
mod enrolling;
mod status;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward core                                 run with /etc/homeward/core.toml
  homeward core --config core.toml --log debug
  homeward core status                          what the running core is doing

SIGTERM stops it; SIGHUP checks the configuration and reloads certificates.")]
pub(crate) struct CoreArgs {
    /// The configuration file [default: /etc/homeward/core.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<CoreCommand>,
}

#[derive(Debug, Subcommand)]
enum CoreCommand {
    /// Show what the running core is doing
    #[command(after_long_help = "Examples:
  homeward core status
  homeward core status --json | jq .lookups
  homeward core status --json | jq '.controller.tunnels[] | select(.home.state != \"up\")'

MAC addresses are shown in full: this is for the operator's eyes.")]
    Status {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// The core's status socket [default: as its configuration says]
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
    /// Show the running core's metrics (OpenMetrics text)
    #[command(after_long_help = "Examples:
  homeward core metrics | grep lookups")]
    Metrics {
        /// The core's status socket [default: as its configuration says]
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
    },
}

pub(crate) fn run(args: CoreArgs, log: &LogArgs) -> anyhow::Result<()> {
    let config = args.config.as_deref();
    match args.command {
        None => serve(&args.config.unwrap_or_else(|| role::default_config("core")), log),
        Some(CoreCommand::Status { json, socket }) => {
            let status = role::ask(&at(socket, config)?, &Request::new("status"))?;
            if json { output::json(&status) } else { output::text(&status::show(&status)) }
        }
        Some(CoreCommand::Metrics { socket }) => role::metrics(&at(socket, config)?),
    }
}

fn serve(path: &Path, log: &LogArgs) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    log.begin(&config.log)?;
    // Look-ups have threads of their own; this runtime watches the store and answers `status`.
    let runtime = role::runtime()?;
    role::serve(&runtime, |shutdown, reload| run_roles(config, path.to_owned(), shutdown, reload))
}

/// What AAA finds of a gateway's devices reaches it by the controller.
struct ByChannel(Revocations);

#[async_trait]
impl Channel for ByChannel {
    async fn revoke(&self, gateway: GatewayId, device: Mac) -> bool {
        self.0.revoke(gateway, device).await
    }

    async fn put_out(&self, gateway: GatewayId, station: Mac) -> bool {
        self.0.put_out(gateway, station).await
    }

    async fn carries_logins(&self, gateway: GatewayId) -> Option<bool> {
        self.0.carries_logins(gateway).await
    }
}

/// What gateways hold when they are back reaches AAA by the controller.
struct ByReview(Review);

impl Reviewer for ByReview {
    fn devices(&self, gateway: GatewayId, held: Vec<(NetworkId, Mac)>) -> Vec<(NetworkId, Mac)> {
        self.0.devices(gateway, held)
    }

    fn logins(&self, gateway: GatewayId, observed: IpAddr, held: Vec<HeldLogin>) -> Vec<Mac> {
        self.0.logins(gateway, observed, held.iter().map(|held| (held.mac, &held.name)))
    }
}

/// Runs the core's roles side by side on one datastore.
async fn run_roles(
    config: Config,
    path: PathBuf,
    shutdown: Shutdown,
    reload: Reload,
) -> anyhow::Result<()> {
    let store: Arc<dyn Store> = Arc::new(config.open_store().await?);
    let mut process = Process::new("core", env!("CARGO_PKG_VERSION"));
    let keys = config.keys()?;
    let (revocations, revoking) = Revocations::new();
    let channel: Arc<dyn Channel> = Arc::new(ByChannel(revocations));
    let base = homeward_aaa::Base {
        store: Arc::clone(&store),
        ledger: config.ledger(),
        class_keys: keys.derive(homeward_aaa::class::PURPOSE),
        proxy_key: keys.derive(homeward_aaa::realms::PURPOSE).swap_remove(0),
        decoy_key: keys.derive(homeward_aaa::decoys::PURPOSE).swap_remove(0),
        channel: Some(channel).filter(|_| config.controller.is_on()),
    };
    let aaa = homeward_aaa::start(config.aaa, base, process.metrics(), shutdown.clone());
    let homeward_aaa::Started { part, eap, radsec, review } = aaa.await?;
    process.add(part);
    if config.controller.is_on() {
        let controller = homeward_controller::start(
            config.controller,
            Arc::clone(&store),
            process.metrics(),
            revoking,
            Arc::new(ByReview(review)),
            shutdown.clone(),
        );
        let controller = controller.await?;
        process.add(controller);
    }
    let upkeep = homeward_portal::upkeep::start(
        config.portal.upkeep,
        Arc::clone(&store),
        process.metrics(),
        shutdown.clone(),
    );
    process.add(upkeep);
    let (mut module, mut enrolling) = (None, None);
    if let Some(homeward_security_module::Embedded { handoff, policy, epdg }) =
        &config.security_module
    {
        let started = homeward_security_module::start(
            handoff,
            *policy,
            epdg.as_ref(),
            process.metrics(),
            shutdown.clone(),
        );
        let homeward_security_module::Started { part, reloads, module: own, .. } = started.await?;
        process.add(part.section("security_module"));
        module = Some(reloads);
        if let Some(settings) = &config.portal.handoff {
            enrolling = Some(enrolling::handoff(settings, &keys, own)?);
        }
    }
    let mut portal = None;
    if config.portal.is_on() {
        let base = homeward_portal::Base { store, handoff: enrolling };
        let started =
            homeward_portal::start(config.portal, base, process.metrics(), shutdown.clone());
        let homeward_portal::Started { part, reloads } = started.await?;
        process.add(part);
        portal = Some(reloads);
    }
    let checked = move || match Config::load(&path) {
        Ok(config) => {
            if let (Some(module), Some(of)) = (&module, &config.security_module) {
                module.reload(&of.handoff);
                tracing::debug!("the security module's peers are reloaded");
            }
            match portal.as_ref().map_or(Ok(()), |portal| portal.reload(&config.portal)) {
                Ok(()) => tracing::debug!("the portal's certificates and tokens are reloaded"),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "the portal goes on with what it has");
                }
            }
            match radsec.as_ref().map_or(Ok(()), |radsec| radsec.reload(&config.aaa.radsec)) {
                Ok(()) => tracing::debug!("the certificates of RADIUS over TLS are reloaded"),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "RADIUS over TLS goes on with the certificates it has");
                }
            }
            match eap.reload(&config.aaa.eap) {
                Ok(()) => tracing::info!(
                    "EAP's certificates are reloaded; what else the configuration names changes with a restart, records by themselves"
                ),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "EAP goes on with the certificates that it has");
                }
            }
        }
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::error!(error, "the configuration would not load");
        }
    };
    process.serve(&config.control, &config.metrics, checked, shutdown, reload).await
}

fn at(socket: Option<PathBuf>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    role::socket("core", socket, config, |path| Ok(Config::load(path)?.socket()))
}
