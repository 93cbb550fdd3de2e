//! `homeward guard`: runs the guard of an application server, or asks one that runs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use homeward_daemon::{Exit, ExitContext, Request};
use homeward_guard::Config;
use homeward_handoff::evidence;

use crate::asking::{Ask, Asked, At};
use crate::key::KeyArgs;
use crate::output;
use crate::role::{self, LogArgs};

mod show;

const ROLE: &str = "guard";
const ASKED: Asked =
    Asked { role: ROLE, socket: |path| Ok(Config::load(path)?.control.path(ROLE)) };

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward guard                                run with /etc/homeward/guard.toml
  homeward guard show-key                       the public key that networks are told
  homeward guard trace                          where every device was, who says so, and when
  curl -i 'http://127.0.0.1:7081/verify?flow=udp%2010.45.0.2:5060'

SIGTERM stops it; SIGHUP reloads the peers, and ends what goes through one that is revoked.")]
pub(crate) struct GuardArgs {
    /// The configuration file [default: /etc/homeward/guard.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<GuardCommand>,
}

#[derive(Debug, Subcommand)]
enum GuardCommand {
    /// Show what the running guard follows
    #[command(after_long_help = "Examples:
  homeward guard status
  homeward guard status --json | jq .flows")]
    Status(Ask),
    /// Show the running guard's metrics (OpenMetrics text)
    #[command(after_long_help = "Examples:
  homeward guard metrics | grep proofs")]
    Metrics(At),
    /// Print the public key by which networks know this server; makes the key where there is none
    #[command(after_long_help = "Examples:
  homeward guard show-key

What it prints goes into the `[[handoff.peers]]` of the networks.")]
    ShowKey,
    /// Show each network that a session went through, when, by which module, and what is admitted
    #[command(after_long_help = "Examples:
  homeward guard trace
  homeward guard trace 0179605b9e28735568dd5c439468550a
  homeward guard trace --json | jq '.sessions[].hops[] | {network, at, signed, standing}'

With --json each hop has its record in hexadecimal, with the signatures of device and network, for
whoever checks it again: `homeward guard check-trace`. docs/keychain.md says what is in it.")]
    Trace {
        /// The session: all of them, if none is named
        session: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Print a key that a session's last hop brought, as its device has it, too
    #[command(after_long_help = "Examples:
  homeward guard key 0179605b9e28735568dd5c439468550a wireguard --base64

From the second hop on, no network has it by itself. With each hop that the device proves it is another;
there is none once the chain does not hold any more. The device's is `homeward device key`.")]
    Key {
        /// The session
        session: String,
        /// What it is for, such as wireguard; the same at both ends
        purpose: String,
        #[command(flatten)]
        key: KeyArgs,
        #[command(flatten)]
        ask: Ask,
    },
    /// Check a trace again that was kept: signatures, hashes, and whose keys they are by
    #[command(after_long_help = "Examples:
  homeward guard trace --json > evidence.json
  homeward guard check-trace evidence.json
  homeward guard trace --json | homeward guard check-trace

The guard need not run, nor be this machine: what is needed is a configuration with its name and the keys
of the networks. Exit status 65 if anything is wrong with the trace; that a network is revoked now is said,
and is none of it.")]
    CheckTrace {
        /// What `homeward guard trace --json` printed [default: standard input]
        file: Option<PathBuf>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(args: GuardArgs, log: &LogArgs) -> anyhow::Result<()> {
    let config = args.config.as_deref();
    let path = || args.config.clone().unwrap_or_else(|| role::default_config(ROLE));
    let Some(command) = args.command else { return serve(&path(), log) };
    match command {
        GuardCommand::Status(ask) => ask.show(&ASKED, config, Request::new("status"), show::status),
        GuardCommand::Metrics(at) => role::metrics(&at.path(&ASKED, config)?),
        GuardCommand::ShowKey => {
            let handoff = Config::load(&path())?.handoff;
            let identity = handoff.identity().exit(Exit::System)?;
            output::text(&format!("{}\n", identity.key()))
        }
        GuardCommand::Trace { session, ask } => {
            let request = Request::new("trace");
            let request = match session {
                Some(session) => request.with("session", session),
                None => request,
            };
            ask.show(&ASKED, config, request, show::trace)
        }
        GuardCommand::Key { session, purpose, key, ask } => {
            let request = Request::new("key").with("session", session).with("purpose", purpose);
            ask.show(&ASKED, config, request, |answer| key.text(answer))
        }
        GuardCommand::CheckTrace { file, json } => {
            let config = Config::load(&path())?;
            check_trace(&config, file.as_deref(), json)
        }
    }
}

fn check_trace(config: &Config, file: Option<&Path>, json: bool) -> anyhow::Result<()> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))
            .exit(Exit::NoInput)?,
        None => std::io::read_to_string(std::io::stdin())
            .context("cannot read the trace from standard input")
            .exit(Exit::NoInput)?,
    };
    let directory = config.handoff.directory().map_err(anyhow::Error::msg)?;
    let (server, skew) = (&config.handoff.name, config.policy.skew.0);
    let checked = evidence::check(&text, server, &directory, skew).exit(Exit::Data)?;
    let wrong = checked.iter().filter(|session| session.fault.is_some()).count();
    if json {
        output::json(&serde_json::json!({ "ok": wrong == 0, "sessions": checked }))?;
    } else {
        output::text(&show::checked(&checked))?;
    }
    match wrong {
        0 => Ok(()),
        _ => Err(anyhow::anyhow!("{wrong} of {} sessions are not whole", checked.len()))
            .exit(Exit::Data),
    }
}

fn serve(path: &Path, log: &LogArgs) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    log.begin(&config.log)?;
    let runtime = role::runtime()?;
    role::serve(&runtime, |shutdown, reload| {
        homeward_guard::run(config, path.to_owned(), shutdown, reload)
    })
}
