//! `homeward device` beside a real NetworkManager, which has an interface or leaves it to a real
//! wpa_supplicant.
//!
//! ```text
//!   [homeward device] ── [dbus-daemon] ── [NetworkManager] ┄┄ sta ══ veth ══ port
//!           └── control socket ── [wpa_supplicant -Dwired] ┄┄┘
//!     namespace "device"                                              namespace "switch"
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use homeward_daemon::control::{Request, ask};
use homeward_net::wait::{elapse, wait_for};
use homeward_net::{Lab, Namespace, NetworkManager, PrivateBus, Process, lab};
use serde_json::Value;
use tempfile::TempDir;
use zbus::{Connection, OwnedObjectPath, Variant, connection::Builder};

const LIMIT: Duration = Duration::from_secs(20);
const NAME: &str = "org.freedesktop.NetworkManager";
const PATH: &str = "/org/freedesktop/NetworkManager";

/// What somebody has NetworkManager use, once it is told to.
const HOME: &str = "[connection]\nid=home\nuuid=5f2b7c1e-6a31-4f0e-9c57-1d6f0a9b3c44\n\
    type=ethernet\ninterface-name=sta\nautoconnect=false\n\
    [ipv4]\nmethod=link-local\n[ipv6]\nmethod=disabled\n";

struct World {
    lab: Lab,
    folder: TempDir,
    place: Namespace,
    /// Where the other end of the wire is.
    _switch: Namespace,
    bus: PrivateBus,
    connection: Connection,
    device: OwnedObjectPath,
    _manager: NetworkManager,
    _supplicant: Process,
}

impl World {
    async fn build(lab: &Lab) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        let at = |name: &str| folder.path().join(name);
        let (place, switch) = (lab.namespace("device")?, lab.namespace("switch")?);
        place.join("sta", &switch, "port")?;
        place.ip("link set lo up")?;
        fs::create_dir(at("profiles"))?;
        let home = at("profiles/home.nmconnection");
        fs::write(&home, HOME)?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o600))?;
        let bus = PrivateBus::start(lab.folder(), &place, folder.path()).await?;
        let manager =
            NetworkManager::start(lab.folder(), &place, &bus, folder.path(), &["sta"]).await?;
        let conf = at("supplicant.conf");
        fs::write(&conf, format!("ctrl_interface={}\nap_scan=0\n", at("wpa").display()))?;
        let conf = conf.display().to_string();
        let command = ["wpa_supplicant", "-D", "wired", "-i", "sta", "-c", &conf];
        let mut supplicant = lab.process("supplicant", &place, &command)?;
        supplicant.makes(&at("wpa/sta"), LIMIT).await?;
        let connection = Builder::address(bus.address().as_str()).build().await?;
        let device = connection
            .call_method(Some(NAME), PATH, Some(NAME), "GetDeviceByIpIface", &"sta")
            .await?
            .body()
            .deserialize()?;
        Ok(Self {
            lab: lab.clone(),
            folder,
            place,
            _switch: switch,
            bus,
            connection,
            device,
            _manager: manager,
            _supplicant: supplicant,
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The device's configuration, with who is to run the station.
    fn config(&self, by: &str) -> Result<String> {
        // Who chose the supplicant has no use for a bus.
        let bus = match by {
            "wpa-supplicant" => String::new(),
            _ => format!("bus = \"{}\"\n", self.bus.address()),
        };
        let text = format!(
            "[portal]\nurl = \"https://portal.example.net/x\"\n\
             [check]\nurl = \"http://check.example.net/\"\n\
             [wlan]\ninterface = \"sta\"\nby = \"{by}\"\n{bus}supplicant = {:?}\n\
             run_directory = {:?}\n\
             [modem]\nimsi = \"999700123456789\"\ninterface = \"nosuch1\"\n\
             [steer]\nenabled = false\n\
             [state]\ndirectory = {:?}\nkey_file = {:?}\n\
             [control]\nsocket = {:?}\n",
            self.at("wpa"),
            self.at("run"),
            self.at("state"),
            self.at("state/device.keys"),
            self.at("device.sock"),
        );
        let path = self.at("device.toml");
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Runs the binary on a machine whose system bus is the lab's.
    fn run(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let system = self.bus.variable();
        let command = [&["env", &system, env!("CARGO_BIN_EXE_homeward")], arguments].concat();
        self.lab.process(name, &self.place, &command)
    }

    async fn start(&self, by: &str) -> Result<Process> {
        let config = self.config(by)?;
        let name = format!("device-{}", fs::read_dir(self.lab.folder())?.count());
        let mut device = self.run(&name, &["device", "--config", &config])?;
        device.says("device is running", LIMIT).await?;
        Ok(device)
    }

    /// What the doctor finds of who runs the station.
    async fn doctor(&self, by: &str) -> Result<Vec<(String, String)>> {
        let config = self.config(by)?;
        let name = format!("doctor-{}", fs::read_dir(self.lab.folder())?.count());
        let mut doctor = self.run(&name, &["doctor", "device", "--config", &config, "--json"])?;
        doctor.ended(LIMIT).await?;
        let log = doctor.log();
        let report: Value = serde_json::from_str(&log).with_context(|| log.clone())?;
        let found = report["findings"].as_array().context("no findings")?.iter();
        let words = |f: &Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
        let found = found.map(|f| (words(f, "severity"), words(f, "what")));
        let about = |what: &str| what.contains("NetworkManager") || what.contains("supplicant");
        Ok(found.filter(|(_, what)| about(what)).collect())
    }

    async fn ask(&self, what: &str) -> Result<Value> {
        Ok(ask(&self.at("device.sock"), &Request::new(what)).await?)
    }

    /// Waits until the device's status is like that.
    async fn comes_to(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<()> {
        let mut last = Value::Null;
        let waited = wait_for(what, LIMIT, async || {
            last = self.ask("status").await?;
            Ok(is(&last).then_some(()))
        });
        waited.await.with_context(|| format!("{last:#}"))
    }

    async fn has(&self, by: &str) -> Result<()> {
        let has = |status: &Value| {
            status["wifi"]["by"] == by && status["machine"]["supplicant"]["ready"] == true
        };
        self.comes_to(&format!("a station by {by}"), has).await
    }

    async fn lent(&self, whether: bool) -> Result<()> {
        let is = |status: &Value| status["machine"]["supplicant"]["lent"] == whether;
        self.comes_to(&format!("a station that is lent: {whether}"), is).await
    }

    async fn causes(&self) -> Result<Vec<String>> {
        let why = self.ask("why").await?;
        let causes = why["causes"].as_array().into_iter().flatten();
        Ok(causes.filter_map(|cause| cause["cause"].as_str()).map(str::to_owned).collect())
    }

    /// Has NetworkManager use the profile [`HOME`]; returns how it is ended.
    async fn go_home(&self) -> Result<OwnedObjectPath> {
        let settings = "org.freedesktop.NetworkManager.Settings";
        let home = "5f2b7c1e-6a31-4f0e-9c57-1d6f0a9b3c44";
        let path = format!("{PATH}/Settings");
        let profile: OwnedObjectPath = self
            .connection
            .call_method(Some(NAME), path, Some(settings), "GetConnectionByUuid", &home)
            .await?
            .body()
            .deserialize()?;
        let body = (profile, self.device.clone(), OwnedObjectPath::try_from("/")?);
        let active = self
            .connection
            .call_method(Some(NAME), PATH, Some(NAME), "ActivateConnection", &body)
            .await?;
        Ok(active.body().deserialize()?)
    }

    async fn leave_home(&self, active: OwnedObjectPath) -> Result<()> {
        self.connection
            .call_method(Some(NAME), PATH, Some(NAME), "DeactivateConnection", &active)
            .await?;
        Ok(())
    }

    /// Has NetworkManager manage the interface, or leave it.
    async fn manage(&self, whether: bool) -> Result<()> {
        let body = ("org.freedesktop.NetworkManager.Device", "Managed", Variant::from(whether));
        let properties = "org.freedesktop.DBus.Properties";
        self.connection
            .call_method(Some(NAME), &self.device, Some(properties), "Set", &body)
            .await?;
        Ok(())
    }
}

/// What a doctor found, in short.
fn said(severity: &str, what: &str) -> (String, String) {
    (severity.to_owned(), what.to_owned())
}

#[test]
fn a_station_that_somebody_has_network_manager_use_is_left_alone_until_it_is_free() {
    lab(|lab| async move {
        let world = World::build(&lab).await?;
        // It is in use when the device comes, then free, then in use again.
        let active = world.go_home().await?;
        let device = world.start("auto").await?;
        world.has("network-manager").await?;
        world.lent(true).await?;
        ensure!(world.causes().await?.contains(&"lent".to_owned()), "{:?}", world.causes().await?);
        world.leave_home(active).await?;
        world.lent(false).await?;
        ensure!(!world.causes().await?.contains(&"lent".to_owned()), "{:?}", world.causes().await?);
        world.go_home().await?;
        world.lent(true).await?;
        // It had the same station all the while.
        ensure!(!device.log().contains("the supplicant is gone"), "{}", device.log());
        Ok(())
    });
}

#[test]
fn a_station_is_network_managers_from_when_it_takes_the_interface_until_it_leaves_it() {
    lab(|lab| async move {
        let world = World::build(&lab).await?;
        world.manage(false).await?;
        let socket = format!("{}/sta", world.at("wpa").display());
        let by_socket = [said("ok", &format!("the supplicant answers on {socket}"))];
        let unmanaged = world.doctor("network-manager").await?;
        ensure!(
            matches!(&unmanaged[..], [(severity, what)] if severity == "fail"
                && what.starts_with("NetworkManager does not serve for sta: ")),
            "{unmanaged:?}"
        );
        assert_eq!(world.doctor("auto").await?, by_socket);
        assert_eq!(world.doctor("wpa-supplicant").await?, by_socket);

        let device = world.start("auto").await?;
        world.has("wpa-supplicant").await?;
        world.manage(true).await?;
        world.has("network-manager").await?;
        assert_eq!(world.doctor("auto").await?, [said("ok", "NetworkManager runs sta")]);
        let not_asked = "NetworkManager manages sta, but is not to be asked";
        let expected = [&by_socket[..], &[said("warn", not_asked)]].concat();
        assert_eq!(world.doctor("wpa-supplicant").await?, expected);
        world.manage(false).await?;
        world.has("wpa-supplicant").await?;
        drop(device);

        // Who chose the supplicant keeps it. The interface is looked at every 5 s.
        world.manage(true).await?;
        let device = world.start("wpa-supplicant").await?;
        world.has("wpa-supplicant").await?;
        elapse(Duration::from_secs(6)).await;
        world.has("wpa-supplicant").await?;
        ensure!(!device.log().contains("the supplicant is gone"), "{}", device.log());
        Ok(())
    });
}
