//! `homeward gateway`: runs the agent, or asks one that runs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use homeward_daemon::Request;
use homeward_gateway::Config;

use crate::output;
use crate::role::{self, LogArgs};

mod enrol;
mod status;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward gateway                              run with /etc/homeward/gateway.toml
  homeward gateway --config gateway.toml --log info,homeward_vap=debug
  homeward gateway status                       the radio, its VAPs, devices and memory
  homeward gateway reload                       read the configuration again

SIGTERM stops it and removes its VAPs; SIGHUP reloads.")]
pub(crate) struct GatewayArgs {
    /// The configuration file [default: /etc/homeward/gateway.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<GatewayCommand>,
}

#[derive(Debug, Subcommand)]
enum GatewayCommand {
    /// Show the radio, its VAPs, their devices, and the memory
    #[command(after_long_help = "Examples:
  homeward gateway status
  homeward gateway status --json | jq '.radio.vaps[].ssid'

MAC addresses are shown in full: this is for the operator's eyes.")]
    Status {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show the running agent's metrics (OpenMetrics text)
    #[command(after_long_help = "Examples:
  homeward gateway metrics | grep probe_to_bss")]
    Metrics(At),
    /// Have the running agent read its configuration again
    #[command(after_long_help = "Examples:
  homeward gateway reload

Limits in [roam], roam.uplinks, [owner], tunnel.advertise and tunnel.offline take effect at once. What
has changed besides is listed: it takes effect with a restart. A file that is wrong changes nothing.")]
    Reload {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Enrol this gateway for its operator's control channel, with a token
    #[command(after_long_help = "Examples:
  homeward gateway enrol --core core.example:4719 --token-file gw-1.token
  homeward gateway enrol --core 192.0.2.1:4719 --token hw1_…

The token is good once. The key is made here and never leaves; an earlier credential is replaced.
A running agent takes the new one when it next connects.")]
    Enrol(enrol::EnrolArgs),
}

#[derive(Debug, Args)]
struct At {
    /// The agent's status socket [default: as its configuration says]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl At {
    fn path(self, config: Option<&Path>) -> anyhow::Result<PathBuf> {
        role::socket("gateway", self.socket, config, |path| Ok(Config::load(path)?.control.socket))
    }
}

pub(crate) fn run(args: GatewayArgs, log: &LogArgs) -> anyhow::Result<()> {
    let config = args.config.as_deref();
    match args.command {
        None => serve(&args.config.unwrap_or_else(|| role::default_config("gateway")), log),
        Some(GatewayCommand::Status { json, at }) => {
            let status = role::ask(&at.path(config)?, &Request::new("status"))?;
            if json { output::json(&status) } else { output::text(&status::show(&status)) }
        }
        Some(GatewayCommand::Enrol(enrol)) => {
            log.begin_quietly()?;
            enrol::run(enrol, config)
        }
        Some(GatewayCommand::Metrics(at)) => role::metrics(&at.path(config)?),
        Some(GatewayCommand::Reload { json, at }) => role::reload(&at.path(config)?, json),
    }
}

fn serve(path: &Path, log: &LogArgs) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    log.begin(&config.log)?;
    let runtime = role::small_runtime()?;
    role::serve(&runtime, |shutdown, reload| {
        homeward_gateway::run(config, path.to_owned(), shutdown, reload)
    })
}
