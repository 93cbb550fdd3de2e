//! A D-Bus of a test's own: the system's is not touched.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::wait::wait_for;

/// How long the daemon may take to come up.
const START: Duration = Duration::from_secs(30);

/// Nobody but the test's own programs is on it.
const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"#;

/// A bus, until dropped.
#[derive(Debug)]
pub struct PrivateBus {
    folder: PathBuf,
    daemon: Process,
}

impl PrivateBus {
    /// Starts one in `place`, its socket in `folder`, which is there, and its log in `logs`.
    ///
    /// # Errors
    /// If dbus-daemon is not installed, or does not come up.
    pub async fn start(logs: &Path, place: &Namespace, folder: &Path) -> Result<Self> {
        let config = folder.join("bus.conf");
        let socket = folder.join("bus");
        fs::write(&config, CONFIG.replace("SOCKET", &socket.display().to_string()))?;
        let option = format!("--config-file={}", config.display());
        let command = ["dbus-daemon", &option, "--nofork", "--nopidfile", "--nosyslog"];
        let daemon = Process::start(logs, "dbus", place, &command)?;
        let mut this = Self { folder: folder.to_owned(), daemon };
        this.listens().await?;
        Ok(this)
    }

    /// Kills it and starts it anew.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart(&mut self) -> Result<()> {
        self.daemon.kill();
        fs::remove_file(self.socket())?;
        self.daemon.restart()?;
        self.listens().await
    }

    /// Waits until it takes connections: its socket is there before it listens.
    async fn listens(&mut self) -> Result<()> {
        let socket = self.socket();
        self.daemon.makes(&socket, START).await?;
        wait_for("a bus that listens", START, async || {
            Ok(UnixStream::connect(&socket).ok().map(drop))
        })
        .await
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("bus")
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    /// How a program is told, with `env`, that this is the system's bus. Not by this process's own
    /// environment, which threads read.
    pub fn variable(&self) -> String {
        format!("DBUS_SYSTEM_BUS_ADDRESS={}", self.address())
    }
}
