//! A machine with a bus, polkit and ModemManager.

use anyhow::{Context, Result};
use homeward_net::process::Process;
use homeward_net::{Lab, Namespace, PrivateBus};
use tempfile::TempDir;
use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath};

use super::LIMIT;
use super::at::AtModem;
use super::bus::Polkit;

const NAME: &str = "org.freedesktop.ModemManager1";
const FIRST: &str = "/org/freedesktop/ModemManager1/Modem/0";

/// All but what is tested.
pub(crate) struct Machine {
    pub(crate) place: Namespace,
    pub(crate) bus: PrivateBus,
    pub(crate) polkit: Polkit,
    _dir: TempDir,
}

impl Machine {
    pub(crate) async fn build(lab: &Lab, place: Namespace) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let bus = PrivateBus::start(lab.folder(), &place, dir.path()).await?;
        let polkit = Polkit::start(&bus).await?;
        Ok(Self { place, bus, polkit, _dir: dir })
    }

    async fn connect(&self) -> Result<Connection> {
        Ok(Builder::address(self.bus.address().as_str()).build().await?)
    }

    /// Starts ModemManager. It looks for no modem, and would find none.
    pub(crate) async fn manager(&self, lab: &Lab) -> Result<Process> {
        // Not by its environment, which is this process's: threads read it.
        let address = self.bus.variable();
        let command = [
            "env",
            &address,
            "ModemManager",
            "--debug",
            "--no-auto-scan",
            "--test-enable",
            "--test-no-udev",
            "--test-no-suspend-resume",
            "--test-no-qrtr",
        ];
        let mut manager = lab.process("ModemManager", &self.place, &command)?;
        manager.says("service name 'org.freedesktop.ModemManager1' was acquired", LIMIT).await?;
        Ok(manager)
    }

    /// Tells ModemManager of a modem.
    pub(crate) async fn plug(&self, modem: &AtModem) -> Result<()> {
        let ports = vec![modem.port()];
        self.connect()
            .await?
            .call_method(
                Some(NAME),
                "/org/freedesktop/ModemManager1",
                Some("org.freedesktop.ModemManager1.Test"),
                "SetProfile",
                &("test0", "generic", ports),
            )
            .await
            .context("ModemManager does not take the modem")?;
        Ok(())
    }

    /// How many messages ModemManager has of the first modem, whole or in part.
    pub(crate) async fn messages(&self) -> Result<usize> {
        let messaging = "org.freedesktop.ModemManager1.Modem.Messaging";
        let connection = self.connect().await?;
        let said = connection.call_method(Some(NAME), FIRST, Some(messaging), "List", &()).await?;
        Ok(said.body().deserialize::<Vec<OwnedObjectPath>>()?.len())
    }

    /// Has the first modem look for a network, as whoever manages connections does.
    pub(crate) async fn enable(&self) -> Result<()> {
        let modem = "org.freedesktop.ModemManager1.Modem";
        let connection = self.connect().await?;
        connection.call_method(Some(NAME), FIRST, Some(modem), "Enable", &true).await?;
        Ok(())
    }
}
