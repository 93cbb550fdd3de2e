//! Runs a role: logs, runtime, signals; and asks one that runs.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use homeward_daemon::log::{self, LogConfig, LogFormat};
use homeward_daemon::{Exit, ExitContext, Reload, Request, Shutdown, control, lifecycle};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::output;

/// How long a role may take to stop.
const GRACE: Duration = Duration::from_secs(20);

/// What the command line says about log lines.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Logging")]
pub(crate) struct LogArgs {
    /// Which log lines: error, warn, info, debug, trace, or such as info,homeward_gateway=debug
    #[arg(long = "log", global = true, value_name = "FILTER")]
    filter: Option<String>,
    /// Form of log lines
    #[arg(long = "log-format", global = true, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl LogArgs {
    /// Begins logging: as the configuration says, where the command line does not.
    pub(crate) fn begin(&self, configured: &LogConfig) -> anyhow::Result<()> {
        let format = self.format.map(|format| match format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        });
        let config = LogConfig {
            filter: self.filter.clone().or_else(|| configured.filter.clone()),
            format: format.unwrap_or(configured.format),
        };
        let wrong = if self.filter.is_some() { Exit::Usage } else { Exit::Config };
        log::init(&config).exit(wrong)
    }

    /// Begins logging for a command that ends: warnings only, unless told otherwise.
    pub(crate) fn begin_quietly(&self) -> anyhow::Result<()> {
        self.begin(&LogConfig { filter: Some("warn".into()), ..LogConfig::default() })
    }
}

/// Where a role's configuration is unless told otherwise.
pub(crate) fn default_config(role: &str) -> PathBuf {
    Path::new("/etc/homeward").join(format!("{role}.toml"))
}

/// Runs a role until it ends or a signal ends it.
pub(crate) fn serve<W, F>(runtime: &Runtime, work: W) -> anyhow::Result<()>
where
    W: FnOnce(Shutdown, Reload) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        // Kept, or a role would see that nobody can ask for a reload.
        let (_requester, reload) = lifecycle::on_signals(&shutdown)
            .context("cannot listen for signals")
            .exit(Exit::System)?;
        let role = work(shutdown.clone(), reload);
        shutdown.supervise(GRACE, role).await?
    })
}

/// A runtime with threads, for roles that many ask at a time.
#[cfg(any(feature = "core", feature = "security-module", feature = "guard"))]
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .exit(Exit::System)
}

/// A runtime on this thread alone.
pub(crate) fn small_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .exit(Exit::System)
}

/// Sends a request to the role that listens on `socket`.
pub(crate) fn ask(socket: &Path, request: &Request) -> anyhow::Result<Value> {
    Ok(small_runtime()?.block_on(control::ask(socket, request))?)
}

/// Has a running role read its configuration again, and says what became of it.
#[cfg(any(feature = "gateway", feature = "device"))]
pub(crate) fn reload(socket: &Path, json: bool) -> anyhow::Result<()> {
    let reloaded = ask(socket, &Request::new("reload"))?;
    match json {
        true => output::json(&reloaded)?,
        false => output::text(&crate::answer::reloaded(&reloaded))?,
    }
    let failed = reloaded["failed"].as_array().is_some_and(|failed| !failed.is_empty());
    anyhow::ensure!(!failed, "some settings could not take effect");
    Ok(())
}

/// Shows a running role's metrics (OpenMetrics text).
pub(crate) fn metrics(socket: &Path) -> anyhow::Result<()> {
    let answer = ask(socket, &Request::new("metrics"))?;
    let text = answer.as_str().context("the role answered without metrics").exit(Exit::Data)?;
    output::text(text)
}

/// The socket to ask on: the one given, else the one in the configuration, else, if the default
/// configuration is not there or may not be read, the default.
pub(crate) fn socket(
    role: &str,
    given: Option<PathBuf>,
    config: Option<&Path>,
    read: impl FnOnce(&Path) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<PathBuf> {
    if let Some(socket) = given {
        return Ok(socket);
    }
    if let Some(path) = config {
        return read(path);
    }
    let usual = default_config(role);
    match std::fs::File::open(&usual) {
        Ok(_) => read(&usual),
        Err(_) => Ok(control::default_path(role)),
    }
}

/// A span in the two largest units that matter: `3d4h`, `12m5s`, `250ms`.
#[cfg(any(feature = "core", feature = "gateway", feature = "device"))]
pub(crate) fn span(millis: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    let Some(first) = UNITS.iter().position(|(_, unit)| millis >= *unit) else {
        return format!("{millis}ms");
    };
    let mut rest = millis;
    let mut text = String::new();
    for (name, unit) in UNITS.iter().skip(first).take(2) {
        if rest >= *unit {
            text.push_str(&format!("{}{name}", rest / unit));
        }
        rest %= unit;
    }
    text
}

#[cfg(all(test, any(feature = "core", feature = "gateway", feature = "device")))]
mod tests {
    use super::*;

    #[test]
    fn a_span_shows_its_two_largest_units() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1000, "1s"),
            (61_500, "1m1s"),
            (3_600_000, "1h"),
            (3_605_000, "1h"),
            (273_600_000, "3d4h"),
        ] {
            assert_eq!(span(millis), text);
        }
    }
}
