//! `homeward-cell-bridge`: RADIUS accounting (3GPP TS 29.061) of what an osmo-ggsn says in its VTY.
//! A stand-in, for the lab, for what a packet gateway sends by itself.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use homeward_cell::bridge::{Config, Nas, ReporterSettings, run};
use homeward_cell::vty;
use homeward_daemon::log::LogConfig;
use homeward_daemon::{Shutdown, SystemEntropy, lifecycle, log};
use homeward_model::{Entropy, Secret};
use homeward_radius::SharedSecret;

/// Reports an osmo-ggsn's PDP contexts by RADIUS accounting.
#[derive(Debug, Parser)]
struct Arguments {
    /// The GGSN's VTY.
    #[arg(long, default_value_t = vty::ADDRESS)]
    vty: SocketAddr,
    /// The GGSN's name in its configuration.
    #[arg(long, default_value = "ggsn0")]
    ggsn: String,
    /// Who is told.
    #[arg(long)]
    to: SocketAddr,
    /// The file with the RADIUS secret; white space at its ends does not count.
    #[arg(long)]
    secret_file: PathBuf,
    /// NAS-IP-Address of the reports.
    #[arg(long)]
    nas_address: Ipv4Addr,
    /// Country and network code of the network, five or six digits.
    #[arg(long)]
    plmn: String,
    /// The file with telephone numbers and equipment by IMSI, in JSON.
    #[arg(long)]
    register: Option<PathBuf>,
    /// Milliseconds from one look at the GGSN to the next.
    #[arg(long, default_value_t = 50)]
    look_ms: u64,
    /// Milliseconds from one Interim-Update of a context to the next.
    #[arg(long, default_value_t = 60_000)]
    interim_ms: u64,
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere else to say it.
            let _ = writeln!(std::io::stderr(), "homeward-cell-bridge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> Result<()> {
    log::init(&LogConfig::default())?;
    let file = &arguments.secret_file;
    let secret = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the secret in {}", file.display()))?;
    let secret = SharedSecret::new(&Secret::new(secret.trim().as_bytes().to_vec()))
        .with_context(|| format!("in {}", file.display()))?;
    // Unlike those of the bridge before, with which they would be taken for the same sessions.
    let random = u32::from_be_bytes(SystemEntropy::new().octets());
    let config = Config {
        vty: arguments.vty,
        nas: Nas {
            address: arguments.nas_address,
            identifier: arguments.ggsn.clone(),
            plmn: arguments.plmn,
        },
        ggsn: arguments.ggsn,
        to: arguments.to,
        secret,
        register: arguments.register,
        look: Duration::from_millis(arguments.look_ms.max(1)),
        reporter: ReporterSettings {
            interim: Duration::from_millis(arguments.interim_ms.max(1)),
            first_charging_id: random.max(1),
        },
        farewell: Duration::from_secs(5),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        lifecycle::on_signals(&shutdown)?;
        run(config, shutdown).await
    })
}
