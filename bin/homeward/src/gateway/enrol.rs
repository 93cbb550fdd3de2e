//! `homeward gateway enrol`: trades a token for the gateway's credential.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use homeward_channel::{ChannelConfig, Client, ClientSettings, Error, Token, read_token};
use homeward_daemon::{Exit, ExitContext, SystemClock};
use homeward_gateway::Config;
use serde_json::json;

use crate::output;
use crate::role;

#[derive(Debug, Args)]
pub(super) struct EnrolArgs {
    /// The token that `homeward admin gateway enrol` printed
    #[arg(
        long,
        value_name = "TOKEN",
        required_unless_present = "token_file",
        conflicts_with = "token_file"
    )]
    token: Option<Token>,
    /// A file with it, for your eyes only
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The core's control channel; more than once, first choice first [default: as the
    /// configuration says]
    #[arg(long, value_name = "HOST:PORT")]
    core: Vec<String>,
    /// Where to keep the credential [default: as the configuration says, or
    /// /var/lib/homeward/gateway]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: EnrolArgs, config: Option<&Path>) -> anyhow::Result<()> {
    let configured = channel(&args, config)?;
    let core = if args.core.is_empty() { configured.core } else { args.core };
    if core.is_empty() {
        let none = anyhow!(
            "say where the core is: --core HOST:PORT, or [channel] core in the configuration"
        );
        return Err(none).exit(Exit::Usage);
    }
    let token = match (args.token, &args.token_file) {
        (Some(token), _) => token,
        (None, Some(path)) => read_token(path).map_err(classify)?,
        (None, None) => return Err(anyhow!("give --token or --token-file")).exit(Exit::Usage),
    };
    let directory = args.dir.unwrap_or(configured.directory);
    let settings = ClientSettings::default();
    let client = Client::new(core, directory.clone(), settings, Arc::new(SystemClock));
    let enrolled = role::small_runtime()?.block_on(client.enrol(&token));
    let credential = enrolled.map_err(classify)?;
    let (name, until) = (credential.name(), credential.facts().not_after);
    if args.json {
        let gateway = credential.facts().gateway;
        return output::json(&json!({
            "gateway": name, "id": gateway, "directory": directory, "not_after": until.to_string(),
        }));
    }
    output::text(&format!(
        "enrolled as gateway {name}; the credential in {} is good until {until}, and the agent renews it\n",
        directory.display()
    ))
}

/// What the configuration says, if it is to be asked at all.
fn channel(args: &EnrolArgs, config: Option<&Path>) -> anyhow::Result<ChannelConfig> {
    let complete = !args.core.is_empty() && args.dir.is_some();
    match config {
        Some(path) => Ok(Config::load(path)?.channel),
        None if complete => Ok(ChannelConfig::default()),
        None => {
            let usual = role::default_config("gateway");
            let exists = usual.exists();
            if exists { Ok(Config::load(&usual)?.channel) } else { Ok(ChannelConfig::default()) }
        }
    }
}

/// Gives an error the exit status that it means.
fn classify(error: Error) -> anyhow::Error {
    let exit = match &error {
        Error::Refused { .. } | Error::NotOurCore { .. } => Exit::NoPermission,
        Error::Private(_) | Error::Make { .. } => Exit::CannotCreate,
        Error::TokenFile { .. } => Exit::NoInput,
        Error::NoCore => Exit::Usage,
        _ => Exit::Unavailable,
    };
    Err::<(), _>(error).exit(exit).err().unwrap_or_else(|| anyhow!("unknown"))
}
