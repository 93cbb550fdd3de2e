//! The gateway-only binary: its size, and its memory when idle.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::figures::Figure;
use crate::probe::ScriptedHostapd;
use crate::world::{Process, binary};

pub(crate) fn measure() -> Result<()> {
    let program = binary("small")?;
    Figure::alone("gateway/size", "MB", fs::metadata(&program)?.len() as f64 / 1e6, 1).record()?;
    let folder = tempfile::tempdir()?;
    let hostapd = ScriptedHostapd::start(folder.path())?;
    let config = hostapd.gateway_config(folder.path(), "127.0.0.1:9".parse()?, "")?;
    let child = std::process::Command::new(&program)
        .args(["gateway", "--config"])
        .arg(config)
        .stderr(std::process::Stdio::null())
        .spawn()
        .context("cannot run the gateway-only binary")?;
    let process = Process(child);
    // It has met hostapd: everything that it needs is in memory.
    hostapd.wait_for("ATTACH", Duration::from_secs(10))?;
    hostapd.wait_for_count("STATUS", 2, Duration::from_secs(10))?;
    Figure::alone("gateway/idle-resident", "MB", process.resident()?, 1).record()
}
