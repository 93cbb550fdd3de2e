//! A bus of the test's own, with those on it that ModemManager asks.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use homeward_net::process::Process;
use homeward_net::wait::wait_for;
use homeward_net::{Lab, Namespace};
use tempfile::TempDir;
use zbus::{Connection, OwnedVariant, connection::Builder, interface};

use super::LIMIT;

/// Nobody but this test is on it: the system's bus is not touched.
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

/// A bus.
pub(crate) struct PrivateBus {
    dir: TempDir,
    pub(crate) daemon: Process,
}

impl PrivateBus {
    /// Starts one.
    pub(crate) async fn start(lab: &Lab, place: &Namespace) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("bus.conf");
        let socket = dir.path().join("bus");
        std::fs::write(&config, CONFIG.replace("SOCKET", &socket.display().to_string()))?;
        let option = format!("--config-file={}", config.display());
        let command = ["dbus-daemon", &option, "--nofork", "--nopidfile", "--nosyslog"];
        let mut daemon = lab.process("dbus", place, &command)?;
        daemon.makes(&socket, LIMIT).await?;
        let this = Self { dir, daemon };
        this.listens().await?;
        Ok(this)
    }

    /// Kills it and starts it anew.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.daemon.kill();
        std::fs::remove_file(self.socket())?;
        self.daemon.restart()?;
        let socket = self.socket();
        self.daemon.makes(&socket, LIMIT).await?;
        self.listens().await
    }

    /// Waits until it takes connections: its socket is there before it listens.
    async fn listens(&self) -> Result<()> {
        let socket = self.socket();
        wait_for("a bus that listens", LIMIT, async || {
            Ok(UnixStream::connect(&socket).ok().map(drop))
        })
        .await
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("bus")
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        Ok(Builder::address(self.address().as_str()).build().await?)
    }
}

/// polkit, as far as ModemManager asks it: whoever asks may, or may not.
pub(crate) struct Polkit {
    allowed: Arc<AtomicBool>,
    _connection: Connection,
}

impl Polkit {
    pub(crate) async fn start(bus: &PrivateBus) -> Result<Self> {
        let allowed = Arc::new(AtomicBool::new(true));
        let authority = Authority(Arc::clone(&allowed));
        let connection = Builder::address(bus.address().as_str())
            .serve_at("/org/freedesktop/PolicyKit1/Authority", authority)
            .name("org.freedesktop.PolicyKit1")
            .build()
            .await
            .context("no polkit")?;
        Ok(Self { allowed, _connection: connection })
    }

    pub(crate) fn allow(&self, whether: bool) {
        self.allowed.store(whether, Ordering::Relaxed);
    }
}

struct Authority(Arc<AtomicBool>);

type Verdict = (bool, bool, HashMap<String, String>);

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Authority {
    /// (is authorized, is a challenge, details), of a subject, an action and some more.
    fn check_authorization(
        &self,
        _subject: (String, HashMap<String, OwnedVariant>),
        _action: String,
        _details: HashMap<String, String>,
        _flags: u32,
        _cancellation: String,
    ) -> (Verdict,) {
        ((self.0.load(Ordering::Relaxed), false, HashMap::new()),)
    }

    #[zbus(property)]
    fn backend_name(&self) -> String {
        "test".to_owned()
    }

    #[zbus(property)]
    fn backend_version(&self) -> String {
        "1".to_owned()
    }

    #[zbus(property)]
    fn backend_features(&self) -> u32 {
        0
    }
}
