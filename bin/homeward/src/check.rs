//! `homeward check-config`: reads a configuration as the role would, and says what is wrong.

use std::path::{Path, PathBuf};

use clap::Args;
use homeward_daemon::config::ConfigError;
use serde_json::json;

use crate::cli::Role;
use crate::output;

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  homeward check-config core /etc/homeward/core.toml
  homeward check-config gateway gateway.toml && systemctl reload homeward-gateway

Exit status 78 if the file is wrong; the error names file, line, column and key. What the file
points to (secrets, sockets, interfaces) is looked at by `homeward doctor`.")]
pub(crate) struct CheckArgs {
    /// Whose configuration it is
    role: Role,
    /// The file
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CheckArgs) -> anyhow::Result<()> {
    load(args.role, &args.file)?;
    if args.json {
        output::json(&json!({ "role": args.role.as_str(), "file": args.file, "ok": true }))
    } else {
        output::text("ok\n")
    }
}

fn load(role: Role, file: &Path) -> Result<(), ConfigError> {
    match role {
        #[cfg(feature = "core")]
        Role::Core => crate::core::Config::load(file).map(drop),
        #[cfg(feature = "gateway")]
        Role::Gateway => {
            use homeward_gateway::{Config, doctor};
            homeward_daemon::config::load_with(file, |config: &Config| {
                config.check()?;
                doctor::check_bridge(config)
            })
            .map(drop)
        }
        #[cfg(feature = "device")]
        Role::Device => homeward_device::Config::load(file).map(drop),
        #[cfg(feature = "security-module")]
        Role::SecurityModule => homeward_security_module::Config::load(file).map(drop),
        #[cfg(feature = "guard")]
        Role::Guard => homeward_guard::Config::load(file).map(drop),
    }
}
