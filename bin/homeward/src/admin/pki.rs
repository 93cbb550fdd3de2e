//! `homeward admin pki`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use homeward_aaa::pki::{Overview, Pki, default_directory};
use homeward_daemon::{SystemClock, SystemEntropy};
use homeward_model::{Clock, Seconds};

use super::spelling::Spelled;
use crate::output::{self, Table, fields};

#[derive(Debug, Subcommand)]
#[command(after_long_help = "Examples, from the first authority to the next:
  homeward admin pki create --name 'Example Wi-Fi' --server eap.example.net
  homeward admin pki renew                       every year; then SIGHUP to the core
  homeward admin pki prepare --name 'Example Wi-Fi'
                                                 years before the first ends: devices get both
  homeward admin pki switch                      once all devices have both; then SIGHUP
  homeward admin pki retire

The core's configuration then says, for both of them:
  [aaa.eap]
  certificate = \"/etc/homeward/eap/server.pem\"
  key = \"/etc/homeward/eap/server.pem\"
and devices are given trust.pem from there.")]
pub(super) enum Verb {
    /// Make an authority for EAP, and the server's certificate
    #[command(after_long_help = "Example:
  homeward admin pki create --name 'Example Wi-Fi' --server eap.example.net")]
    Create {
        /// What the authority is called; a number follows
        #[arg(long, value_name = "TEXT")]
        name: String,
        /// The server's name, which devices check
        #[arg(long, value_name = "NAME", required = true)]
        server: Vec<String>,
        #[command(flatten)]
        lifetime: Lifetime,
        #[command(flatten)]
        place: Directory,
    },
    /// Make a new certificate for the server, by the same authority
    #[command(after_long_help = "Example:
  homeward admin pki renew && systemctl reload homeward-core")]
    Renew {
        /// Other names than it has
        #[arg(long, value_name = "NAME")]
        server: Vec<String>,
        #[command(flatten)]
        lifetime: Lifetime,
        #[command(flatten)]
        place: Directory,
    },
    /// Make the next authority, for devices to have before it signs
    #[command(after_long_help = "Example:
  homeward admin pki prepare --name 'Example Wi-Fi'")]
    Prepare {
        /// What it is called; a number follows
        #[arg(long, value_name = "TEXT")]
        name: String,
        #[command(flatten)]
        place: Directory,
    },
    /// Have the next authority sign the server's certificate
    #[command(after_long_help = "Examples:
  homeward admin pki switch
  homeward admin pki switch --overlap 30d        if all devices have trust.pem since then")]
    Switch {
        /// How long devices must have been able to get the next authority
        #[arg(long, value_name = "SPAN", default_value = "90d", value_parser = Seconds::read)]
        overlap: Seconds,
        #[command(flatten)]
        lifetime: Lifetime,
        #[command(flatten)]
        place: Directory,
    },
    /// Take the authorities before the present one away
    #[command(after_long_help = "Example:
  homeward admin pki retire")]
    Retire {
        #[command(flatten)]
        place: Directory,
    },
    /// Show the authorities and the server's certificate
    #[command(after_long_help = "Example:
  homeward admin pki show --json")]
    Show {
        #[command(flatten)]
        place: Directory,
    },
}

#[derive(Debug, Args)]
pub(super) struct Lifetime {
    /// How long the server's certificate is good for; some devices take none above 825d
    #[arg(long, value_name = "SPAN", default_value = "397d", value_parser = Seconds::read)]
    lifetime: Seconds,
}

impl Lifetime {
    fn span(&self) -> Duration {
        span(self.lifetime)
    }
}

fn span(seconds: Seconds) -> Duration {
    Duration::from_secs(seconds.0.into())
}

#[derive(Debug, Args)]
pub(super) struct Directory {
    /// Where the files are [default: /etc/homeward/eap]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Directory {
    fn pki(&self) -> Pki {
        Pki::at(self.directory.clone().unwrap_or_else(|| default_directory().to_owned()))
    }
}

/// Needs no datastore.
pub(super) fn run(verb: &Verb, json: bool) -> anyhow::Result<()> {
    let (now, mut entropy) = (SystemClock.unix(), SystemEntropy::new());
    let entropy = &mut entropy;
    let (overview, next) = match verb {
        Verb::Create { name, server, lifetime, place } => (
            place.pki().create(name, server, lifetime.span(), now, entropy)?,
            "give trust.pem to devices, and name server.pem in the core's [aaa.eap]",
        ),
        Verb::Renew { server, lifetime, place } => (
            place.pki().renew(server, lifetime.span(), now, entropy)?,
            "have the core reload (SIGHUP)",
        ),
        Verb::Prepare { name, place } => (
            place.pki().prepare(name, now, entropy)?,
            "give trust.pem to all devices; then `homeward admin pki switch`",
        ),
        Verb::Switch { overlap, lifetime, place } => (
            place.pki().switch(span(*overlap), lifetime.span(), now, entropy)?,
            "have the core reload (SIGHUP); then `homeward admin pki retire`",
        ),
        Verb::Retire { place } => (place.pki().retire()?, "give trust.pem to new devices"),
        Verb::Show { place } => (place.pki().overview()?, ""),
    };
    if json {
        return output::json(&overview);
    }
    let left = overview.server.until.0.saturating_sub(now.0);
    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)).as_secs() / 86_400;
    output::text(&show(&overview, left, next))
}

fn show(overview: &Overview, left: u64, next: &str) -> String {
    let mut table = Table::new(["authority", "name", "since", "until", "signs"]);
    for ca in &overview.authorities {
        table.row([
            ca.number.to_string(),
            super::spelling::plain(&ca.name),
            ca.since.to_string(),
            ca.until.to_string(),
            if ca.signs { "yes" } else { "" }.to_owned(),
        ]);
    }
    let mut rest = vec![
        ("server", super::spelling::plain(&overview.server.names.join(", "))),
        ("until", format!("{} ({left} days)", overview.server.until)),
    ];
    if !next.is_empty() {
        rest.push(("next", next.to_owned()));
    }
    format!("{table}\n{}", fields(&rest))
}
