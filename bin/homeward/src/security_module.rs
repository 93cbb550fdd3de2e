//! `homeward security-module`: runs a network's security module, or asks one that runs.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use homeward_daemon::{Exit, ExitContext, Request, SystemEntropy};
use homeward_handoff::key_file;
use homeward_keychain::RootKey;
use homeward_model::{Nai, Name};
use homeward_security_module::Config;
use zeroize::Zeroizing;

use crate::asking::{Ask, Asked, At};
use crate::output;
use crate::role::{self, LogArgs};

mod show;

const ROLE: &str = "security-module";
const ASKED: Asked =
    Asked { role: ROLE, socket: |path| Ok(Config::load(path)?.control.path(ROLE)) };

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward security-module                      run with /etc/homeward/security-module.toml
  homeward security-module show-key             the public key that peers are told
  homeward security-module status
  homeward security-module visits --json | jq '.visits[].hop.network'

SIGTERM stops it; SIGHUP reloads the peers: who is new, and who is revoked.")]
pub(crate) struct ModuleArgs {
    /// The configuration file [default: /etc/homeward/security-module.toml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<ModuleCommand>,
}

#[derive(Debug, Subcommand)]
enum ModuleCommand {
    /// Show what the running module holds
    #[command(after_long_help = "Examples:
  homeward security-module status
  homeward security-module status --json | jq .visits")]
    Status(Ask),
    /// Show the running module's metrics (OpenMetrics text)
    #[command(after_long_help = "Examples:
  homeward security-module metrics | grep exports")]
    Metrics(At),
    /// Print the public key by which peers know this module; makes the key where there is none
    #[command(after_long_help = "Examples:
  homeward security-module show-key
  homeward security-module show-key --config n1.toml

What it prints goes into the `[[handoff.peers]]` of the others.")]
    ShowKey,
    /// Show which devices are here, and were, and to whom their keys were given
    #[command(after_long_help = "Examples:
  homeward security-module visits
  homeward security-module visits --session 0179605b9e28735568dd5c439468550a --json

Names of devices are shown in full: this is for the operator's eyes.")]
    Visits {
        /// Of that session alone
        #[arg(long, value_name = "SESSION")]
        session: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Enrol a device with the running module, or give it another key
    #[command(after_long_help = "Examples:
  homeward security-module derive --root d1.root --network n1.example \\
    | homeward security-module enrol d1@example.net
  homeward security-module enrol d1@example.net --version 2 --key-file d1.n1.key

The key is read from a file or from standard input: 64 hexadecimal digits. A version that is not
newer than the one that is enrolled is refused.")]
    Enrol {
        /// What the device is called in this network
        device: Nai,
        /// Grows when the device is to have another key
        #[arg(long, default_value_t = 1)]
        version: u32,
        /// Where the key is [default: standard input]
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Enrol a device no more
    #[command(after_long_help = "Examples:
  homeward security-module forget d1@example.net

Hops that it has made stay what they are; it makes none here any more.")]
    Forget {
        /// What the device is called in this network
        device: Nai,
        #[command(flatten)]
        ask: Ask,
    },
    /// Make a root key for a device: what device and operator share, and nobody else
    #[command(after_long_help = "Examples:
  homeward security-module new-root d1.root

The file is made for its owner alone. The device is given it, too; networks are given what
`derive` makes of it.")]
    NewRoot {
        /// The file that is made
        file: PathBuf,
    },
    /// Print the key that a network is to have of a device
    #[command(after_long_help = "Examples:
  homeward security-module derive --root d1.root --network n1.example
  homeward security-module derive --root d1.root --network n1.example --version 2")]
    Derive {
        /// The device's root key
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
        /// The network
        #[arg(long)]
        network: Name,
        /// Grows when the network is to have another key
        #[arg(long, default_value_t = 1)]
        version: u32,
    },
}

pub(crate) fn run(args: ModuleArgs, log: &LogArgs) -> anyhow::Result<()> {
    let config = args.config.as_deref();
    let path = || args.config.clone().unwrap_or_else(|| role::default_config(ROLE));
    let Some(command) = args.command else { return serve(&path(), log) };
    match command {
        ModuleCommand::Status(ask) => {
            ask.show(&ASKED, config, Request::new("status"), show::status)
        }
        ModuleCommand::Metrics(at) => role::metrics(&at.path(&ASKED, config)?),
        ModuleCommand::ShowKey => {
            let handoff = Config::load(&path())?.handoff;
            let identity = handoff.identity().exit(Exit::System)?;
            output::text(&format!("{}\n", identity.key()))
        }
        ModuleCommand::Visits { session, ask } => {
            let request = session.map_or_else(
                || Request::new("visits"),
                |session| Request::new("visits").with("session", session),
            );
            ask.show(&ASKED, config, request, show::visits)
        }
        ModuleCommand::Enrol { device, version, key_file, ask } => {
            let key = read_key(key_file.as_deref())?;
            let request = Request::new("enrol").with("device", device.as_str());
            let request =
                request.with("version", version).with("key", key_file::text(&key).as_str());
            ask.show(&ASKED, config, request, |_| format!("{} is enrolled\n", device.as_str()))
        }
        ModuleCommand::Forget { device, ask } => {
            let request = Request::new("forget").with("device", device.as_str());
            ask.show(&ASKED, config, request, |_| {
                format!("{} is enrolled no more\n", device.as_str())
            })
        }
        ModuleCommand::NewRoot { file } => new_root(&file),
        ModuleCommand::Derive { root, network, version } => {
            let root = RootKey::new(*read_key(Some(&root))?);
            let derived = root.device_key(&network, version);
            output::text(&format!("{}\n", *key_file::text(derived.expose())))
        }
    }
}

fn new_root(file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        let text = format!("{} is there already: nothing is written over a key", file.display());
        return Err(anyhow::anyhow!(text)).exit(Exit::Data);
    }
    key_file::make(file, &mut SystemEntropy::new()).exit(Exit::System)?;
    output::text(&format!("{} made\n", file.display()))
}

/// A key of a file, or of standard input.
fn read_key(file: Option<&Path>) -> anyhow::Result<key_file::Octets> {
    let Some(path) = file else {
        let mut text = Zeroizing::new(String::new());
        let read = std::io::stdin().read_to_string(&mut text);
        read.context("cannot read the key from standard input").exit(Exit::Data)?;
        let none = "standard input is no key: it takes 64 hexadecimal digits";
        return key_file::parse(&text).context(none).exit(Exit::Data);
    };
    key_file::load(path).exit(Exit::Data)
}

fn serve(path: &Path, log: &LogArgs) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    log.begin(&config.log)?;
    let runtime = role::runtime()?;
    role::serve(&runtime, |shutdown, reload| {
        homeward_security_module::run(config, path.to_owned(), shutdown, reload)
    })
}
