//! `homeward core`: runs the core, or asks one that runs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use homeward_aaa::Config;
use homeward_daemon::{Exit, ExitContext};
use serde_json::Value;

use crate::output;
use crate::role::{self, LogArgs};

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward core                                 run with /etc/homeward/core.toml
  homeward core --config core.toml --log debug
  homeward core status                          what the running core is doing

SIGTERM stops it; SIGHUP checks the configuration.")]
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
  homeward core status --json | jq .lookups")]
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
            let status = role::ask(&at(socket, config)?, "status")?;
            if json { output::json(&status) } else { output::text(&show(&status)) }
        }
        Some(CoreCommand::Metrics { socket }) => role::metrics(&at(socket, config)?),
    }
}

fn serve(path: &Path, log: &LogArgs) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    log.begin(&config.log)?;
    // Look-ups have threads of their own; this runtime watches the store and answers `status`.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .exit(Exit::System)?;
    role::serve(&runtime, |shutdown, reload| {
        homeward_aaa::run(config, path.to_owned(), shutdown, reload)
    })
}

fn at(socket: Option<PathBuf>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    role::socket("core", socket, config, |path| Ok(Config::load(path)?.control.socket))
}

/// The status for people.
fn show(status: &Value) -> String {
    let count = |value: &Value| value.as_u64().unwrap_or(0).to_string();
    let lookups = &status["lookups"];
    let listen: Vec<&str> =
        status["listen"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let records = ["accounts", "classes", "gateways", "networks", "devices"]
        .map(|kind| format!("{} {kind}", count(&status["records"][kind])));
    let refused: Vec<String> = lookups["refused"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(reason, n)| format!("{} {reason}", count(n)))
        .collect();
    output::fields(&[
        ("version", status["version"].as_str().unwrap_or_default().to_owned()),
        ("up", role::span(status["uptime_ms"].as_u64().unwrap_or(0))),
        ("listening on", listen.join(", ")),
        ("records", records.join(", ")),
        ("datagrams", count(&status["datagrams"])),
        ("granted", count(&lookups["granted"])),
        ("refused", if refused.is_empty() { "0".to_owned() } else { refused.join(", ") }),
        ("repeated", count(&lookups["duplicates"])),
        ("status-server", count(&lookups["status_server"])),
        ("grants out", count(&status["grants_out"])),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_shows_what_was_granted_and_why_the_rest_was_not() {
        let status = json!({
            "role": "core", "version": "0.1.0", "uptime_ms": 61_000, "listen": ["127.0.0.1:1812"],
            "datagrams": 12, "grants_out": 1,
            "lookups": {"granted": 3, "refused": {"unknown-device": 4}, "duplicates": 0, "status_server": 1},
            "records": {"accounts": 1, "classes": 1, "gateways": 2, "networks": 1, "devices": 5},
        });
        let text = show(&status);
        assert!(text.contains("up             1m1s\n"), "{text}");
        assert!(
            text.contains(
                "records        1 accounts, 1 classes, 2 gateways, 1 networks, 5 devices\n"
            ),
            "{text}"
        );
        assert!(text.contains("refused        4 unknown-device\n"), "{text}");
    }
}
